"""The browser's code without a browser: how modules are joined, the explorer's arithmetic against PyTorch's, and its colours."""

from __future__ import annotations

import base64
import copy
import json
import os
import random
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import colour_tables
import matplotlib
import numpy as np
import pytest
import torch
from chains import lively
from deno import find_deno_bin
from torch import Tensor, nn

from vgg_viz.gallery import bundle
from vgg_viz.gallery.explorer import SCRIPTS
from vgg_viz.gallery.page import EXAMPLES_SCRIPTS, FRAME_SCRIPTS, VIEWER_SCRIPTS
from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import load
from vgg_viz.models.names import ACTIVATION_KINDS, KINDS, layers
from vgg_viz.studies.explorer_live import network
from vgg_viz.studies.explorer_steps import own_numbers
from vgg_viz.studies.inputs import specimen_batch

# ---------------------------------------------------------------- joining


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """Modules of a test's own in place of the package's."""

    def put(**texts: str) -> None:
        for name, text in texts.items():
            (tmp_path / f"{name}.js").write_text(text, encoding="utf-8")

    monkeypatch.setattr(bundle, "STATIC", tmp_path)
    for cached in (bundle.script, bundle._read):
        cached.cache_clear()
    yield put
    for cached in (bundle.script, bundle._read):
        cached.cache_clear()


def test_a_module_comes_once_and_after_all_that_it_imports(modules):
    modules(
        leaf="export const leaf = 1;\n",
        left='import { leaf } from "./leaf.js";\n\n/**\n * Said.\n * @returns {number}\n */\n'
        "export function left() {\n  return leaf; // once\n}\n",
        right='import {\n  leaf, other,\n} from "./two.js";\nimport { left } from "./left.js";\n// a comment\nleft(leaf, other);\n',
        two="const leaf = 2; // not for others\n",
    )
    assert bundle.script("left.js") == (
        '(() => {\n"use strict";\nconst leaf = 1;\n\nfunction left() {\nreturn leaf; // once\n}\n})();\n'
    )
    with pytest.raises(bundle.BundleError, match=r"right\.js imports leaf, other, which two\.js does not export"):
        bundle.script("right.js")


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (
            {
                "a": 'import { b } from "./b.js";\nexport const a = b;\n',
                "b": 'import { a } from "./a.js";\nexport const b = a;\n',
            },
            r"in a circle: a\.js -> b\.js -> a\.js",
        ),
        (
            {"a": 'import { b } from "./b.js";\nconst same = b;\n', "b": "const same = 1;\nexport const b = same;\n"},
            r"a\.js and b\.js both declare same",
        ),
        ({"a": 'import * as b from "./b.js";\n', "b": "export const b = 1;\n"}, "import "),
        ({"a": "export default 1;\n"}, "export default"),
        ({"a": 'import { b as c } from "./b.js";\n', "b": "export const b = 1;\n"}, "b as c"),
        ({"a": 'const late = () => import("./b.js");\n', "b": ""}, "import"),
        ({"a": "console.log(import.meta.url);\n"}, "import"),
        ({"a": "const b = 1;\nexport { b };\n"}, "export { b }"),
    ],
)
def test_what_joining_does_not_cover_is_refused(modules, texts, said):
    modules(**texts)
    with pytest.raises(bundle.BundleError, match=said):
        bundle.script("a.js")


@pytest.mark.parametrize(
    "entries",
    [FRAME_SCRIPTS, VIEWER_SCRIPTS, (*VIEWER_SCRIPTS, *EXAMPLES_SCRIPTS), (*VIEWER_SCRIPTS, "serve.js"), SCRIPTS],
)
def test_the_script_of_every_page_is_one_function_without_imports(entries):
    text = bundle.script(*entries)
    assert text.startswith('(() => {\n"use strict";\n')
    assert not re.search(r"^\s*(import|export)\b", text, re.MULTILINE)
    assert "</script" not in text.lower()


def test_every_module_is_in_a_page():
    text = "".join(bundle.script(*entries) for entries in ((*VIEWER_SCRIPTS, *EXAMPLES_SCRIPTS, "serve.js"), SCRIPTS))
    for file in set(bundle.STATIC.glob("*.js")) - {bundle.STATIC / "theme.js"}:
        for _, name in bundle._declarations(file.name):
            assert re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", text), f"{name} of {file.name}"


# ---------------------------------------------------------------- the explorer's arithmetic


def ask(*cases: dict[str, Any]) -> list[Any]:
    """What the engine says to each case."""
    run = subprocess.run(
        [find_deno_bin(), "run", "--no-config", "--no-lock", "--cached-only", str(Path(__file__).parent / "engine.js")],
        input="\n".join(map(json.dumps, cases)),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, "NO_COLOR": "1", "DENO_NO_UPDATE_CHECK": "1"},
    )
    assert run.returncode == 0, run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]


def packed(steps: list[dict[str, Any]], *, channels: int, side: int) -> dict[str, Any]:
    """A network of given steps as `report.explorer_live.network` writes it; weights and biases are tensors."""
    block: list[Tensor] = []
    for step in steps:
        for key in ("weight", "bias"):
            if key in step:
                first = sum(one.numel() for one in block)
                block.append(step[key].detach().flatten())
                step[key] = [first, step[key].numel()]
    numbers = torch.cat(block).numpy().astype("<f4") if block else np.zeros(0, "<f4")
    weights = base64.b64encode(numbers.tobytes()).decode()
    return {"side": side, "channels": channels, "steps": steps, "weights": weights}


def near(found: list[float], wanted: Tensor, within: float, where: str = "") -> None:
    """Equal within a share of the largest number."""
    flat = wanted.detach().flatten().numpy()
    assert len(found) == len(flat)
    assert np.abs(np.array(found) - flat).max() <= within * max(np.abs(flat).max(), 1e-30), where


def window(kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> dict[str, int]:
    return {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}


ACTIVATION_MODULES = (
    nn.ReLU(),
    nn.LeakyReLU(0.1),
    nn.ELU(0.7),
    nn.ReLU6(),
    nn.SELU(),
    nn.GELU(),
    nn.SiLU(),
    nn.Mish(),
    nn.Softplus(),
    nn.Hardswish(),
    nn.Tanh(),
    nn.Sigmoid(),
)
LAYERS = {
    **{
        f"convolution {w}": ("conv", window(*w), nn.Conv2d(3, 4, w[0], w[1], w[2], w[3]))
        for w in [
            (3, 1, 1, 1),
            (3, 1, 0, 1),
            (1, 1, 0, 1),
            (5, 2, 2, 1),
            (3, 2, 1, 2),
            (2, 3, 0, 1),
            (3, 1, 4, 3),
            (9, 1, 0, 1),
        ]
    },
    **{f"max-pooling {w}": ("pool", window(*w), nn.MaxPool2d(*w)) for w in [(2, 2), (3, 2), (3, 1), (2, 3)]},
    **{
        f"max-pooling padded {w} {ceil}": ("pool", window(*w), nn.MaxPool2d(*w, ceil_mode=ceil))
        for w, ceil in [((3, 2, 1), False), ((3, 2, 0), True), ((2, 2, 1), True), ((5, 4, 2), True)]
    },
    **{
        f"mean of windows {w} {ceil} {pads}": (
            "avgpool",
            window(*w),
            nn.AvgPool2d(*w, ceil_mode=ceil, count_include_pad=pads),
        )
        for w, ceil in [((2, 2, 0), False), ((3, 2, 1), False), ((3, 3, 1), True), ((4, 3, 2), True), ((2, 2, 0), True)]
        for pads in (True, False)
    },
    **{f"mean of {side}": ("avgpool", None, nn.AdaptiveAvgPool2d(side)) for side in (1, 2, 4, 9)},
    **{f"largest of {side}": ("pool", None, nn.AdaptiveMaxPool2d(side)) for side in (1, 4)},
    **{f"local response norm {size}": ("lrn", None, nn.LocalResponseNorm(size, 0.5, 0.75, 2)) for size in (2, 3, 5)},
    **{KINDS[type(module)]: (KINDS[type(module)], None, module) for module in ACTIVATION_MODULES},
}


@pytest.fixture(scope="module")
def single() -> dict[str, tuple[dict[str, Any], Tensor, list[Tensor]]]:
    """Each layer alone on a picture of 9 × 9, in one run: (what the engine says, what PyTorch says, its gradient and the place).

    PyTorch computes in float64: in float32 its kernels differ from one processor to the next by more than what is allowed.
    """
    torch.manual_seed(0)
    found, cases = {}, []
    for name, (kind, shape, module) in LAYERS.items():
        pixels = torch.randn(1, 3, 9, 9) * (1 if isinstance(module, nn.Tanh) else 3)  # far from 0 its slope is lost
        exact = pixels.detach().double().requires_grad_()
        out = copy.deepcopy(module).double()(exact)
        place = out.numel() // 2
        (slope,) = torch.autograd.grad(out.flatten()[place], exact)
        step = {"name": name, "kind": kind, "shape": list(out.shape[1:]), "window": shape, "field": None}
        if isinstance(module, nn.Conv2d):
            step |= {"weight": module.weight, "bias": module.bias}
        step |= {"values": own_numbers(module), "pads": getattr(module, "count_include_pad", False)}
        cases.append(
            {
                "kind": "network",
                "network": packed([step], channels=3, side=9),
                "pixels": pixels.flatten().tolist(),
                "from": 0,
                "place": place,
            }
        )
        found[name] = (out, slope)
    return {name: (said, *found[name]) for name, said in zip(found, ask(*cases), strict=True)}


def test_every_activation_of_a_chain_is_one_of_the_pages():
    assert {KINDS[type(module)] for module in ACTIVATION_MODULES} == ACTIVATION_KINDS


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_and_its_way_back_are_pytorchs(single, name):
    said, out, slope = single[name]
    near(said["answers"][0], out, 1e-6)
    near(said["gradients"][-1], slope, 1e-6)


def through(model: nn.Module, images: Tensor, names: list[str], place: int) -> tuple[list[Tensor], list[Tensor]]:
    """Every layer's output in float64, and the gradient of one score with respect to each and to the pixels."""
    model = copy.deepcopy(model).double()
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., Tensor]:
        def hook(_module: nn.Module, _inputs: Any, out: Tensor) -> Tensor:
            outputs[name] = out.clone()
            return outputs[name].clone()  # what follows may change it in place

        return hook

    handles = [layer.module.register_forward_hook(keep(layer.name)) for layer in layers(model)]
    try:
        images = images.double().requires_grad_()
        slopes = torch.autograd.grad(model(images)[0, place], [*(outputs[name] for name in names), images])
    finally:
        for handle in handles:
            handle.remove()
    return [outputs[name] for name in names], list(slopes)


@pytest.mark.parametrize("which", ["sample", "grey with batch norm"])
def test_a_network_and_its_way_back_are_pytorchs(which):
    if which == "sample":
        checkpoint = load(None)
        model = build(checkpoint).eval()
        image = specimen_batch(checkpoint.specimens, checkpoint.architecture.image_side).images[:1]
    else:
        model = build("vgg11_bn", seed=3, image_side=32, in_channels=1, num_classes=5, width=0.125).eval()
        image = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    told = network(model, [str(i) for i in range(10)])
    names, place = [step["name"] for step in told["steps"]], 2
    (said,) = ask(
        {"kind": "network", "network": told, "pixels": image.flatten().tolist(), "from": len(names) - 1, "place": place}
    )
    answers, slopes = through(model, image, names, place)
    for found, wanted in zip(said["answers"], answers, strict=True):
        near(found, wanted, 1e-5)
    for found, wanted in zip(said["gradients"], slopes, strict=True):
        near(found, wanted, 1e-4)
    kinds = [step["kind"] for step in told["steps"]]
    assert said["colours"][0] == "grey"
    assert {colour for kind, colour in zip(kinds, said["colours"], strict=True) if kind == "relu"} == {"unsigned"}
    assert {colour for kind, colour in zip(kinds, said["colours"], strict=True) if kind in ("conv", "bn")} == {"signed"}


# Chains that are no VGG of the paper, each with something that the page might take for its usual form.
CHAINS = (
    "8 8s2 16 16s2 | K",
    "+leaky0.2 6 A2 6 A3s2p1 6 A3s2p1x | 8 K",
    "4+relu+bn M3s2p1 6+bn+elu M3s2c G3 | bn 9+bn+relu drop0.3 K",
    "5/5 lrn M 6/1b0 6/3d2 G | K",
    "6 M 6 | 8/4 K/1 G",
    "4 M 4 A2s1p1 GM2 | 7+tanh K",
    "+gelu 4 4 M | 6+silu K",
    "bn 4+ 4+bn M relu | K+sigmoid",
)


def random_chain(seed: int) -> str:
    """A plan of one to three blocks, by the same words as `chains.plans`."""
    pick = random.Random(seed).choice
    words = [pick(["+relu", "+bn+relu", "+leaky0.2", "+elu", "+relu+bn"])]
    for _ in range(pick([1, 2, 3])):
        words += [
            pick("2345") + pick(["", "/1", "/5", "/3d2", "/3p0", "/2s2"]) + pick(["", "", "+bn+leaky0.1", "+"])
            for _ in range(pick([1, 2]))
        ]
        words += [pick(["M", "A2", "M3s2p1", "M2s1", "M3s2c", "A3s2p1", "A3s2p1x", "A2s2c", "lrn"])]
    head = [pick(["6", "5 drop0.3", "4+bn+relu", "7+tanh", "3b0", ""]), "K"]
    return " ".join([*words, *pick([[], ["G"], ["G2"], ["G3"], ["GM"]]), "|", *head])


def test_the_page_says_what_torch_says_for_every_chain():
    plans = [*CHAINS, *map(random_chain, range(16))]
    models, cases, images = [], [], torch.rand(len(plans), 3, 24, 24, generator=torch.Generator().manual_seed(5))
    for place, plan in enumerate(plans):
        models.append(lively(build(plan, num_classes=4, image_side=24), seed=place))
        told = network(models[-1], "abcd")
        last = len(told["steps"]) - 1
        cases.append(
            {"kind": "network", "network": told, "pixels": images[place].flatten().tolist(), "from": last, "place": 1}
        )
    for place, said in enumerate(ask(*cases)):
        names = [step["name"] for step in cases[place]["network"]["steps"]]
        answers, slopes = through(models[place], images[place : place + 1], names, 1)
        assert len(said["answers"][-1]) == 4
        for name, found, wanted in zip(names, said["answers"], answers, strict=True):
            near(found, wanted, 1e-5, f"{plans[place]}: {name}")
        for found, wanted in zip(said["gradients"], slopes, strict=True):
            near(found, wanted, 1e-4)
        if any(module for module in models[place].modules() if isinstance(module, nn.LeakyReLU)):
            leaky = [
                colour
                for step, colour in zip(cases[place]["network"]["steps"], said["colours"], strict=True)
                if step["kind"] == "leaky_relu"
            ]
            assert set(leaky) == {"signed"}


@pytest.mark.parametrize(("row", "column"), [(0, 0), (2, 3), (4, 4)])
def test_the_terms_of_a_convolution_add_up_to_its_value(row, column):
    torch.manual_seed(1)
    module, pixels = nn.Conv2d(3, 2, 3, stride=2, padding=1), torch.randn(1, 3, 9, 9)
    step = {
        "name": "conv",
        "kind": "conv",
        "shape": [2, 5, 5],
        "window": window(3, 2, 1),
        "field": None,
        "weight": module.weight,
        "bias": module.bias,
    }
    (terms,) = ask(
        {
            "kind": "terms",
            "network": packed([step], channels=3, side=9),
            "pixels": pixels.flatten().tolist(),
            "unit": 1,
            "row": row,
            "column": column,
        }
    )
    assert sum(term["sum"] for term in terms) + module.bias[1].item() == pytest.approx(
        module(pixels)[0, 1, row, column].item(), rel=1e-5
    )
    padded = nn.functional.pad(pixels, (1, 1, 1, 1))[0, :, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
    for term, seen in zip(terms, padded, strict=True):
        near(term["seen"], seen, 0)
        inside = [
            [1 <= y <= 9 and 1 <= x <= 9 for x in range(2 * column, 2 * column + 3)]
            for y in range(2 * row, 2 * row + 3)
        ]
        assert term["inside"] == [value for line in inside for value in line]


def test_softmax_is_pytorchs_for_scores_of_any_size():
    scores = [[1.0, 2.0, -3.0], [1000.0, 999.0, 0.0], [-1e30, 0.0, 1e30], [5.0]]
    for found, asked in zip(ask(*({"kind": "softmax", "scores": one} for one in scores)), scores, strict=True):
        near(found, torch.tensor(asked).softmax(0), 1e-6)


# ---------------------------------------------------------------- colours and words


def test_the_colour_tables_are_matplotlibs():
    assert colour_tables.FILE.read_text(encoding="utf-8") == colour_tables.module(), "run python tests/colour_tables.py"


@pytest.mark.parametrize(
    ("of", "ends", "low", "high", "table"),
    [
        ("signed", [-1.0, 3.0], -3.0, 3.0, "RdBu_r"),
        ("signed", [0.0, 0.0], 0.0, 0.0, "RdBu_r"),
        ("unsigned", [0.0, 5.0], 0.0, 5.0, "viridis"),
        ("unsigned", [0.0, 0.0], 0.0, 0.0, "viridis"),
        ("grey", [0.2, 0.6], 0.2, 0.6, "gray"),
    ],
)
def test_a_value_gets_the_colour_that_matplotlib_gives_it(of, ends, low, high, table):
    values = np.linspace(low - 0.5, high + 0.5, 101).tolist()
    (said,) = ask({"kind": "colours", "of": of, "ends": ends, "values": values})
    assert (said["scale"]["low"], said["scale"]["high"]) == (low, high)
    place = (np.array(values) - low) / (high - low) if high > low else np.full(101, 0.5 if of == "signed" else 0.0)
    wanted = matplotlib.colormaps[table](np.clip(place, 0, 1), bytes=True)[:, :3]
    assert np.abs(np.array(said["colours"]) - wanted.astype(int)).max() <= (1 if of == "grey" else 0)


def test_numbers_are_written_with_three_digits_and_a_true_minus():
    (said,) = ask({"kind": "words", "values": [0, -1.2345, 123456, 0.00012, 0.5, 0.034, 1]})
    assert [number for number, _ in said] == ["0", "−1.23", "1.2e+5", "1.2e−4", "0.5", "0.034", "1"]
    assert [percent for _, percent in said[4:]] == ["50 %", "3.4 %", "100 %"]
