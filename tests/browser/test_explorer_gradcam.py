"""The way back through the live network is PyTorch's: gradients, Grad-CAM and its sum, saliency, and what a box can see."""

from __future__ import annotations

import base64
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pages import go
from test_live_explorer import BASE64, Net, deep_net, number, numbers, ready, sample_net, text
from torch import nn

import vgg_viz
from vgg_viz.attribution import Options
from vgg_viz.gallery.explorer import Explorer, render_explorer
from vgg_viz.maths.receptive_field import Field, Window, fields
from vgg_viz.models.build import build
from vgg_viz.models.names import layers
from vgg_viz.records import Batch
from vgg_viz.studies.answers import select_images
from vgg_viz.studies.explorer_live import pictures
from vgg_viz.studies.explorer_stored import stored_network

pytestmark = pytest.mark.browser
# What the view hands out: gradients of one number of one step, and the map of the moment with its weights.
ASK = """(from, place) => {
  let found;
  const then = (gradients, cam) => { found = [gradients, [["map", cam.map], ["weights", cam.weights], ["slopes", cam.slopes]]]; };
  document.getElementById("ui-explorer").dispatchEvent(new CustomEvent("explorer:gradient", { detail: { from, place, then } }));
  return found;
}"""
GRADIENTS = f"""([from, place, picture]) => {{
  if (picture !== null) document.querySelectorAll("[data-part=strip] [role=option]")[picture].click();
  return ({ASK})(from, place)[0].map(([name, values]) => [name, {BASE64}(Float32Array.from(values))]);
}}"""
SHOWN = f"() => ({ASK})(0, 0)[1].map(([name, values]) => [name, {BASE64}(Float32Array.from(values))])"
SUPPORTS = f"""([picture, places]) => {{
  document.querySelectorAll("[data-part=strip] [role=option]")[picture].click();
  return places.map(([from, place]) => {{
    const [, slopes] = ({ASK})(from, place)[0].find(([name]) => name === "pixels");
    return {BASE64}(Uint8Array.from(slopes, (one) => one !== 0));
  }});
}}"""


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Net:
    return sample_net(tmp_path_factory.mktemp("cam"))


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Net:
    return deep_net(tmp_path_factory.mktemp("cam"))


@pytest.fixture(scope="module")
def padded(tmp_path_factory: pytest.TempPathFactory) -> Net:
    model = build("tiny_vgg", padding=1, image_side=32, num_classes=3, seed=5)
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1)).mul(255).round() / 255
    return Net(
        tmp_path_factory.mktemp("cam") / "padded.html", model, ("a", "b", "c"), Batch(images, None, ("1", "2", "3"))
    )


def floats(rows: list[list[str]]) -> dict[str, np.ndarray]:
    return {name: np.frombuffer(base64.b64decode(data), "<f4") for name, data in rows}


def gradients(page: Any, step: int, place: int, picture: int | None = None) -> dict[str, np.ndarray]:
    return floats(page.evaluate(GRADIENTS, [step, place, picture]))


def shown_cam(page: Any) -> dict[str, np.ndarray]:
    return floats(page.evaluate(SHOWN))


def by_autograd(net: Net, i: int, place: int) -> dict[str, np.ndarray]:
    """d logit `place` / d output of every layer, and d pixels, for picture `i`."""
    pixels = net.batch.images[i : i + 1].clone().requires_grad_()
    values, outputs = pixels, {"pixels": pixels}
    for layer in layers(net.model):
        if layer.kind != "drop":
            values = outputs[layer.name] = layer.module(values.clone())  # a copy: ReLUs work in place
            values.retain_grad()
    values[0, place].backward()
    return {name: output.grad[0].numpy() for name, output in outputs.items()}


# ---------------------------------------------------------------- gradients


@pytest.mark.parametrize("name", ["sample", "deep", "padded"])
def test_the_gradient_of_a_score_at_every_step_is_that_of_autograd(opened, request, name):
    net = request.getfixturevalue(name)
    page, times = ready(opened(net.file)), []
    scores = len(numbers(page)) - 2
    for i in range(len(net.batch)):
        place = (int(net.truth(i)["softmax"].argmax()) + i) % len(net.classes)
        found, truth = gradients(page, scores, place, i), by_autograd(net, i, place)
        assert list(found) == list(truth)
        for step, wanted in truth.items():
            assert np.abs(wanted).max() > 0
            assert np.abs(found[step] - wanted.ravel()).max() < 1e-4 * np.abs(wanted).max(), (i, step)
        times.append(float(page.evaluate("document.getElementById('ui-explorer').dataset.backward")))
    print(f"backward pass of {name} in the page: {np.median(times):.1f} ms (median of {len(times)})")


def test_equal_maxima_send_the_gradient_where_pytorch_sends_it(opened, sample, tmp_path):
    """A flat picture: every window of the pools is a tie."""
    net = Net(
        tmp_path / "flat.html",
        sample.model,
        sample.classes,
        Batch(torch.full((1, 3, 64, 64), 200 / 255), None, ("flat",)),
    )
    page = ready(opened(net.file))
    found, truth = gradients(page, len(numbers(page)) - 2, 1), by_autograd(net, 0, 1)
    ties = truth["relu1_2"].reshape(-1, 2, truth["relu1_2"].shape[-1])
    assert (ties[:, 1] == 0).all()
    assert (ties[:, 0, ::2] != 0).any()
    assert np.abs(found["relu1_2"] - truth["relu1_2"].ravel()).max() < 1e-4 * np.abs(truth["relu1_2"]).max()


def test_a_wrong_gradient_would_be_noticed(opened, sample):
    page = ready(opened(sample.file))
    found, truth = gradients(page, len(numbers(page)) - 2, 0)["conv1_2"], by_autograd(sample, 0, 1)["conv1_2"]
    assert np.abs(found - truth.ravel()).max() > 1e-2 * np.abs(truth).max()


# ---------------------------------------------------------------- Grad-CAM and saliency


@pytest.mark.parametrize("target", ["predicted", "true", "runner-up", 2])
def test_the_map_is_that_of_attribute(opened, sample, target):
    page = ready(opened(sample.file, "#picture=3"))
    for layer in ("", "conv1_1", "relu1_2", "pool1", "conv2_2", "relu2_2", "pool2"):
        go(page, f"picture=3&cam={layer}&class={target + 1 if isinstance(target, int) else target}")
        wanted = vgg_viz.attribute(
            sample.model,
            sample.batch.images[2:3],
            method="grad_cam",
            layer=layer or None,
            target=target,
            labels=sample.batch.labels[2:3],
            options=Options(relu=False),
        )
        found = shown_cam(page)["map"]
        assert page.locator("[data-part=cam-layer] option:checked").inner_text() == wanted.layer
        assert np.abs(found - wanted.values[0].numpy().ravel()).max() < 1e-4
        assert np.abs(found - wanted.values[0].numpy().ravel()).max() < 1e-3 * np.abs(found).max()


def test_the_default_layer_is_the_reports_in_a_deep_network_too(opened, deep):
    page = ready(opened(deep.file))
    wanted = vgg_viz.attribute(deep.model, deep.batch.images[:1], method="grad_cam")
    assert page.locator("[data-part=cam-layer] option:checked").inner_text() == wanted.layer
    found = np.maximum(shown_cam(page)["map"], 0)
    assert np.abs(found - wanted.values[0].numpy().ravel()).max() < 1e-4 * max(1, np.abs(found).max())
    assert wanted.layer in text(page, "cam-why") or "ReLU after" in text(page, "cam-why")


def test_the_gradient_at_the_pixels_is_saliency(opened, sample):
    page = ready(opened(sample.file, "#picture=5"))
    wanted = vgg_viz.attribute(sample.model, sample.batch.images[4:5], method="saliency").values[0].numpy()
    assert np.abs(shown_cam(page)["slopes"] - wanted.ravel()).max() < 1e-4 * wanted.max()
    assert number(text(page, "pixels-high")) == pytest.approx(wanted.max(), rel=6e-3)
    page.locator("[data-part=cam-stage]").focus()
    page.keyboard.press("ArrowRight")
    row, column = map(int, re.search(r"row (\d+), column (\d+)", text(page, "cam-value")).groups())
    # relu2_2 sees 14 px, and its units start 2 px apart, the first at 0.
    box = wanted[2 * (row - 1) : 2 * (row - 1) + 14, 2 * (column - 1) : 2 * (column - 1) + 14]
    share = number(re.match(r"[\d.]+", text(page, "pixels-value")).group()) / 100
    assert share == pytest.approx(box.sum() / wanted.sum(), abs=6e-3)


@pytest.mark.parametrize("layer", ["conv2_1", "relu2_2", "pool1"])
def test_the_rows_add_up_to_the_map(opened, sample, layer):
    page = ready(opened(sample.file, f"#picture=2&cam={layer}&cam-cell=9,7"))
    cam = shown_cam(page)
    wanted = cam["map"].reshape(dict(zip(sample.truth(1), sample.truth(1).values(), strict=True))[layer].shape[1:])[
        8, 6
    ]
    terms = [number(one) for one in page.locator("[data-part=cam-rows] .cam-term-value:visible").all_inner_texts()]
    assert len(terms) == 10
    assert [abs(one) for one in terms] == sorted((abs(one) for one in terms), reverse=True)
    printed = number(page.locator("[data-part=cam-sum] strong").inner_text())
    assert printed == pytest.approx(wanted, abs=6e-4 * max(map(abs, terms)))
    assert sum(terms) == pytest.approx(printed, abs=6e-4 * max(map(abs, terms)))
    activation = sample.truth(1)[layer][:, 8, 6]
    units = [int(one.split()[1]) - 1 for one in page.locator("button.cam-row .cam-name").all_inner_texts()]
    assert terms == pytest.approx(
        [float(cam["weights"][k] * activation[k]) for k in units], rel=2e-3, abs=1e-3 * max(map(abs, terms))
    )


def test_of_many_units_the_smaller_ones_stand_in_one_row(opened, deep):
    page = ready(opened(deep.file, "#cam=relu5_2&cam-cell=1,1"))
    units = deep.truth(0)["relu5_2"].shape[0]
    assert units > 12
    assert text(page, "cam-rows").count(f"{units - 11} others together") == 1
    terms = [number(one) for one in page.locator("[data-part=cam-rows] .cam-term-value:visible").all_inner_texts()]
    assert sum(terms) == pytest.approx(
        number(page.locator("[data-part=cam-sum] strong").inner_text()), abs=2e-3 * max(map(abs, terms))
    )


def test_a_row_shows_its_own_map_and_opens_its_unit(opened, sample):
    page = ready(opened(sample.file, "#picture=2&cam-cell=13,13&sign=both"))
    whole = page.locator("[data-part=cam-map]").evaluate("(canvas) => canvas.toDataURL()")
    row = page.locator("button.cam-row").nth(1)
    name = row.locator(".cam-name").inner_text()
    ends = text(page, "cam-low"), text(page, "cam-high")
    row.focus()
    title = "(start) => document.querySelector('[data-part=cam-title]').textContent.startsWith(start)"
    page.wait_for_function(title, arg=f"{name} alone")
    assert (text(page, "cam-low"), text(page, "cam-high")) == ends
    assert page.locator("[data-part=cam-map]").evaluate("(canvas) => canvas.toDataURL()") != whole
    page.keyboard.press("Enter")
    assert text(page, "value").startswith(f"relu2_2, {name}, row 13, column 13: ")
    assert row.get_attribute("aria-pressed") == "true"
    page.locator("[data-part=cam-stage]").focus()
    page.wait_for_function(title, arg="Grad-CAM")
    assert page.locator("[data-part=cam-map]").evaluate("(canvas) => canvas.toDataURL()") == whole


def test_without_opacity_the_photo_is_untouched(opened, sample):
    page = ready(opened(sample.file, "#picture=2&opacity=0&cam-cell=1,1"))
    corner = page.locator("[data-part=cam-map]").evaluate(
        "(canvas) => [...canvas.getContext('2d').getImageData(303, 303, 1, 1).data]"
    )
    assert corner[:3] == (sample.batch.images[1][:, 50, 50] * 255).round().int().tolist()


def test_the_choices_stand_in_the_address(opened, sample):
    page = ready(opened(sample.file))
    page.locator("[data-part=cam-quick] button[value=runner-up]").click()
    page.locator("[data-part=cam-layer]").select_option(label="conv2_1")
    page.get_by_label("positive part only").uncheck()
    page.locator("[data-part=cam-stage]").click(position={"x": 20, "y": 40})
    page.mouse.move(2, 2)
    said = text(page, "cam-value")
    page.wait_for_function("() => location.hash.includes('cam-cell=')")
    assert "class=runner-up" in page.url
    page.reload()
    assert text(ready(page), "cam-value") == said
    assert not page.get_by_label("positive part only").is_checked()
    assert page.locator("[data-part=cam-quick] button[value=runner-up]").get_attribute("aria-pressed") == "true"


def test_a_bad_address_is_clamped(opened, sample):
    page = ready(opened(sample.file, "#class=__proto__&cam=fc3&cam-cell=x"))
    for address in (
        "class=999&cam=normalise&cam-cell=-5,9999",
        "class=-1&cam=softmax&cam-cell=,&opacity=1e9",
        "class=true&cam=constructor&cam-cell=3",
        "class=%00&opacity=NaN&sign=__proto__&cam-cell=1e9,1e9",
    ):
        assert re.match(r"\w+, row \d+, column \d+: [−\d.e]+$", text(page, "cam-value"))
        go(page, address)
    assert text(page, "cam-value").startswith("relu2_2, row 1, column 1: ")


def test_a_page_that_only_carries_numbers_says_what_is_missing(opened, sample, tmp_path):
    file, few = tmp_path / "stored.html", select_images(sample.batch, [0, 1])
    stored, answers = stored_network(sample.model, few, sample.classes)
    shown = tuple({**picture, **said} for picture, said in zip(pictures(few, exact=False), answers, strict=True))
    file.write_text(
        render_explorer(Explorer("net", "a test", stored, shown, stored="It is too large.")), encoding="utf-8"
    )
    page = ready(opened(file))
    assert page.locator("[data-part=cam-missing]").is_visible()
    assert not page.locator("[data-part=cam]").is_visible()
    assert not page.locator("[data-part=cam-class]").is_visible()
    assert text(page, "value")


# ---------------------------------------------------------------- boxes are what has a gradient


@dataclass(frozen=True)
class Planted:
    """A network of positive weights only: whatever a unit can see has a gradient, except where a pool chose another cell."""

    name: str
    side: int
    windows: tuple[tuple[str, Window], ...]


def conv(*window: int) -> tuple[str, Window]:
    return "conv", Window(*window)


def pool(kernel: int = 2, stride: int = 2) -> tuple[str, Window]:
    return "pool", Window(kernel, stride)


RELU = ("relu", Window())
PLANTED = (  # kernel, stride, padding, dilation
    Planted("valid", 32, (conv(3), RELU, conv(3), pool(), conv(3), RELU, pool())),
    Planted("padded", 24, (conv(3, 1, 1), conv(3, 1, 1), pool(), conv(3, 1, 1), pool(), conv(1))),
    Planted("strided", 33, (conv(5, 2, 2), RELU, conv(3, 2, 0), conv(2, 1, 1))),
    Planted("dilated", 30, (conv(3, 1, 1), conv(3, 1, 2, 2), RELU, conv(3, 2, 4, 2))),
    Planted("dilated with holes", 40, (conv(3, 1, 0, 2), conv(3, 2, 0, 3), RELU, conv(2, 1, 0, 4))),
    Planted("overlapping pools, wide rim", 28, (conv(3, 1, 4), pool(3), conv(4, 3, 2))),
)


def planted_page(planted: Planted, file: Path) -> tuple[list[dict[str, Any]], nn.Sequential, Batch]:
    """The page of a planted network, its steps, the same in PyTorch, and pictures that rise towards each corner."""
    generator, side, block, steps, modules = torch.Generator().manual_seed(2), planted.side, [], [], []
    shape, filled = (1, side, side), 0

    def add(kind: str, window: Window | None, field: Any, module: nn.Module, **weights: torch.Tensor) -> None:
        nonlocal filled
        step: dict[str, Any] = {
            "name": f"{kind}_{len(steps)}",
            "kind": kind,
            "shape": list(shape),
            "window": window and asdict(window),
            "field": field and {"size": field.size, "jump": field.jump, "centre": field.centre},
        }
        for name, values in weights.items():
            step[name] = [filled, values.numel()]
            block.append(values.detach().flatten())
            filled += values.numel()
        steps.append(step)
        modules.append(module)

    add("normalise", None, Field(), nn.Identity(), weight=torch.ones(1), bias=torch.zeros(1))
    for (kind, window), field in zip(planted.windows, fields([window for _, window in planted.windows]), strict=True):
        channels = 2 if kind == "conv" else shape[0]
        module: nn.Module = nn.ReLU()
        weights = {}
        if kind == "conv":
            module = nn.Conv2d(shape[0], channels, window.kernel, window.stride, window.padding, window.dilation)
            with torch.no_grad():
                module.weight.copy_(torch.rand(module.weight.shape, generator=generator) * 0.5 + 0.1)
                module.bias.fill_(0.1)
            weights = {"weight": module.weight, "bias": module.bias}
        elif kind == "pool":
            module = nn.MaxPool2d(window.kernel, window.stride)
        shape = (channels, window.out(shape[1]), window.out(shape[2]))
        add(kind, window if kind != "relu" else None, field, module, **weights)
    count = int(np.prod(shape))
    shape = (count,)
    add("flatten", None, None, nn.Flatten())
    head = nn.Linear(count, 2)
    shape = (2,)
    add("fc", None, None, head, weight=head.weight, bias=head.bias)
    ramp = torch.arange(side, dtype=torch.float32) / (side - 1)
    images = torch.stack([(y[:, None] + x[None, :]) / 2 for y in (ramp, 1 - ramp) for x in (ramp, 1 - ramp)])[:, None]
    batch = Batch((images * 250 + 4).round() / 255, None, tuple("1234"))
    numbers = torch.cat(block).numpy().astype("<f4").tobytes()
    data = {
        "side": side,
        "channels": 1,
        "classes": ["a", "b"],
        "steps": steps,
        "weights": base64.b64encode(numbers).decode(),
    }
    file.write_text(render_explorer(Explorer("planted", "a test", data, pictures(batch))), encoding="utf-8")
    return steps, nn.Sequential(*modules), batch


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name)
def test_the_box_of_a_cell_is_exactly_what_has_a_gradient_clipped_at_the_border(opened, tmp_path, planted):
    steps, chain, batch = planted_page(planted, tmp_path / "planted.html")
    page, side, clipped, inner = ready(opened(tmp_path / "planted.html")), planted.side, 0, 0
    found = numbers(page)["fc_" + str(len(steps) - 1)]
    assert (
        np.abs(found - chain(batch.images[:1]).detach().numpy().ravel()).max() < 1e-4 * np.abs(found).max()
    )  # the same network
    places: dict[tuple[int, int, int], int] = {}
    boxes: dict[tuple[int, int, int], tuple[int, int, int, int]] = {}
    seen: dict[tuple[int, int, int], np.ndarray] = {}
    for i, step in list(enumerate(steps[:-2]))[1:]:  # the first is the picture itself
        units, h, w = step["shape"]
        for row, column in {(0, 0), (h - 1, w - 1), (0, w - 1), (h // 2, w // 3), (h // 3, w // 2)}:
            places[i, row, column] = ((units - 1) * h + row) * w + column
    for picture in range(4):
        found = page.evaluate(SUPPORTS, [picture, [[i, place] for (i, _, _), place in places.items()]])
        for key, mask in zip(places, found, strict=True):
            support = np.frombuffer(base64.b64decode(mask), np.uint8).reshape(side, side) != 0
            seen[key] = seen.get(key, False) | support
    for i, row, column in seen:
        go(page, f"layer={steps[i]['name']}&cell={row + 1},{column + 1}")
        said = text(page, "seen-text").replace("−", "-")
        x0, x1, y0, y1 = map(int, re.search(r"x (-?\d+) to (-?\d+), y (-?\d+) to (-?\d+)", said).groups())
        boxes[i, row, column] = (x0, y0, x1, y1)
    for key, mask in seen.items():
        x0, y0, x1, y1 = boxes[key]
        clipped += min(x0, y0) < 0 or max(x1, y1) >= side
        inner += not (min(x0, y0) < 0 or max(x1, y1) >= side)
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        lit = (columns[0], rows[0], columns[-1], rows[-1]) if len(rows) else None
        on_picture = (max(x0, 0), max(y0, 0), min(x1, side - 1), min(y1, side - 1))
        empty = on_picture[0] > on_picture[2] or on_picture[1] > on_picture[3]
        assert lit == (None if empty else on_picture), (steps[key[0]]["name"], key)
    assert inner > 3
    assert clipped > 3 or all(window.padding == 0 for _, window in planted.windows)
