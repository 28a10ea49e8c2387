"""Side by side: two pictures, or two networks, on one locked scale, with the numbers that PyTorch gives."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from pages import go, problems
from test_live_explorer import Net, number, ready, text

from vgg_viz.capture.hooks import activations
from vgg_viz.data import shapes
from vgg_viz.errors import InputRefused
from vgg_viz.gallery.explorer import Explorer, Rival, render_explorer
from vgg_viz.maths.images import encode_png
from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import load
from vgg_viz.models.names import layers
from vgg_viz.records import Batch, Checkpoint
from vgg_viz.studies.answers import select_images
from vgg_viz.studies.explorer_live import explore_pair, network, pictures
from vgg_viz.studies.explorer_stored import stored_network
from vgg_viz.studies.inputs import load_inputs, specimen_batch
from vgg_viz.studies.preset import preset_for
from vgg_viz.studies.subject import Subject

pytestmark = pytest.mark.browser
PIXELS = """([which, places]) => {
  const canvas = document.querySelectorAll("[data-part=beside-maps] canvas")[which];
  const copy = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  return places.map(([x, y]) => {
    copy.drawImage(canvas, Math.floor(x * canvas.width), Math.floor(y * canvas.height), 1, 1, 0, 0, 1, 1);
    return [...copy.getImageData(0, 0, 1, 1).data].slice(0, 3);
  });
}"""


def shaken(checkpoint: Checkpoint, amount: float = 0.02) -> Checkpoint:
    """The same network after a little training would be like this: every weight moved a little."""
    generator = torch.Generator().manual_seed(0)
    moved = {
        name: values + amount * torch.randn(values.shape, generator=generator)
        for name, values in checkpoint.weights.items()
    }
    return replace(checkpoint, weights=moved, provenance=replace(checkpoint.provenance, file="shaken.pt"))


def subject(checkpoint: Checkpoint) -> Subject:
    """What the report would look at."""
    preset = preset_for("quick", 0.01)
    inputs = load_inputs(checkpoint, images=None, data=None, preset=preset, gigamacs=0.01, seed=0)
    return Subject(checkpoint, build(checkpoint), inputs, preset, 0)


def said(model: torch.nn.Module, image: torch.Tensor) -> dict[str, np.ndarray]:
    """Every layer of a network on one picture."""
    found = activations(model, image[None], [layer.name for layer in layers(model) if layer.kind != "drop"])
    return {
        **{name: values[0].numpy() for name, values in found.maps.items()},
        "softmax": found.logits[0].softmax(0).numpy(),
    }


class Pair:
    """Two networks, the pictures, and the page that shows them side by side."""

    def __init__(self, file: Path, first: Net, second: torch.nn.Module, classes: tuple[str, ...]) -> None:
        self.file, self.first, self.second, self.classes = file, first, second, classes
        explorer = Explorer(
            "first.pt",
            "a test",
            network(first.model, first.classes),
            pictures(first.batch),
            rival=Rival("second.pt", "another", network(second, classes)),
        )
        file.write_text(render_explorer(explorer), encoding="utf-8")

    def truth(self, i: int, j: int | None = None) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """What the first says about picture `i`, and the second about `j` (the same)."""
        return self.first.truth(i), said(self.second, self.first.batch.images[i if j is None else j])


@pytest.fixture(scope="session")
def one(tmp_path_factory: pytest.TempPathFactory) -> Net:
    checkpoint = load(None)
    batch = select_images(specimen_batch(checkpoint.specimens, checkpoint.architecture.image_side), list(range(6)))
    return Net(
        tmp_path_factory.mktemp("beside") / "one.html",
        build(checkpoint),
        checkpoint.classes,
        replace(batch, masks=None),
    )


@pytest.fixture(scope="session")
def pair(one: Net) -> Pair:
    return Pair(one.file.with_name("pair.html"), one, build(shaken(load(None))), one.classes)


@pytest.fixture(scope="session")
def renamed(one: Net) -> Pair:
    """The second knows nine of the classes in another order, and one that the first does not know."""
    model, order = build(shaken(load(None))), [3, 1, 0, 2, 4, 5, 6, 7, 8, 9]
    with torch.no_grad():
        last = [layer.module for layer in layers(model) if layer.kind == "fc"][-1]
        last.weight.copy_(last.weight[order])
        last.bias.copy_(last.bias[order])
    return Pair(one.file.with_name("renamed.html"), one, model, (*(one.classes[i] for i in order[:-1]), "yak"))


@pytest.fixture(scope="session")
def other(one: Net) -> Pair:
    """Another architecture: wider from the second block on, so that a few layers have the same name and shape."""
    model = build("tiny_vgg", image_side=64, num_classes=3, seed=4, padding=1)
    return Pair(one.file.with_name("other.html"), one, model, ("yak", *one.classes[:2]))


def wait(page: Any, part: str, words: str) -> None:
    """Until a part of the page says so."""
    said = "([part, words]) => document.querySelector(`[data-part=${part}]`).textContent.includes(words)"
    page.wait_for_function(said, arg=[part, words])


def three(page: Any) -> list[float]:
    return [
        number(value.lstrip("+")) for value in page.locator("[data-part=beside-maps] [data-value]").all_inner_texts()
    ]


def ends(page: Any) -> list[list[float]]:
    bars = page.locator("[data-part=beside-bars] .bar-ends").all()
    return [[number(end) for end in bar.locator("span").all_inner_texts()] for bar in bars]


# ---------------------------------------------------------------- the page for two checkpoints


def test_two_subjects_become_one_page_with_both_networks(opened, tmp_path):
    first, second = subject(load(None)), subject(shaken(load(None)))
    explorer = explore_pair(first, second)
    assert explorer.rival is not None
    assert explorer.network["weights"] != explorer.rival.network["weights"]
    assert explorer.rival.network == network(second.model, second.classes)
    (tmp_path / "explorer.html").write_text(render_explorer(explorer), encoding="utf-8")
    page = ready(opened(tmp_path / "explorer.html"))
    assert "shaken.pt" in page.locator(".subtitle").inner_text()
    assert "shaken.pt" in text(page, "beside-text")
    assert page.locator("[data-part=against] option").all_inner_texts() == [
        first.checkpoint.provenance.file,
        "shaken.pt",
    ]


@pytest.mark.parametrize("large_first", [True, False])
def test_a_pair_with_a_network_that_does_not_run_live_is_refused_by_name(large_first):
    small = load(None)
    large = replace(
        small,
        architecture=build("vgg11", image_side=64, num_classes=10).architecture,
        provenance=replace(small.provenance, file="large.pt"),
    )
    with torch.device("meta"):
        model = build("vgg11", image_side=64, num_classes=10)
    both = [Subject(large, model, subject(small).inputs, preset_for("quick", 1), 0), subject(small)]
    with pytest.raises(InputRefused, match=r"large\.pt: With 611 M multiply-adds"):
        explore_pair(*(both if large_first else both[::-1]))


# ---------------------------------------------------------------- the numbers


@pytest.mark.parametrize("layer", ["normalise", "conv1_1", "relu2_1", "pool2", "fc3", "softmax"])
def test_the_three_numbers_are_those_of_pytorch(opened, pair, layer):
    page = ready(opened(pair.file, f"#picture=2&layer={layer}&unit=3&cell=5,9&second=4"))
    a, b = pair.truth(1, 3)
    at = 2 if a[layer].ndim == 1 else (2, 4, 8)
    assert three(page) == pytest.approx([a[layer][at], b[layer][at], b[layer][at] - a[layer][at]], rel=6e-3, abs=1e-4)


@pytest.mark.parametrize(("layer", "colours"), [("conv2_1", "RdBu_r"), ("relu2_1", "viridis")])
@pytest.mark.parametrize("scope", ["each layer", "each unit", "the network"])
def test_the_scale_is_locked_and_the_legend_equals_the_data(opened, pair, layer, colours, scope):
    page = ready(opened(pair.file, f"#layer={layer}&unit=3&cell=5,9&second=2"))
    page.get_by_role("radio", name=scope).check()
    a, b = pair.truth(0, 1)
    every = [name for name in a if name not in ("normalise", "softmax")]
    names = every if scope == "the network" else [layer]
    unit = slice(2, 3) if scope == "each unit" else slice(None)
    top = max(float(np.abs(values[unit]).max()) for name in names for values in (a[name], b[name], b[name] - a[name]))
    if colours == "viridis":
        assert ends(page) == [pytest.approx([0, top / 2, top], rel=6e-3), pytest.approx([-top, 0, top], rel=6e-3)]
    else:
        assert ends(page) == [pytest.approx([-top, 0, top], rel=6e-3)]
    maps = (a[layer][2], b[layer][2], b[layer][2] - a[layer][2])
    h, w = maps[0].shape
    for which, values in enumerate(maps):
        table = matplotlib.colormaps["RdBu_r" if which == 2 else colours]
        cells = ((14, 20), (2, 2), (20, 9))
        shown = page.evaluate(PIXELS, [which, [[(column + 0.5) / w, (row + 0.5) / h] for row, column in cells]])
        for (row, column), seen in zip(cells, shown, strict=True):
            share = values[row, column] / top
            index = min(255, int((share if table.name == "viridis" else (share + 1) / 2) * 256))
            near = [np.array(table(np.clip(index + step, 0, 255))[:3]) * 255 for step in (-1, 0, 1)]
            assert min(np.abs(colour - seen).max() for colour in near) <= 1.01, (which, row, column)


def test_the_same_picture_in_the_same_network_differs_nowhere_and_looks_neutral(opened, one):
    page = ready(opened(one.file, "#layer=conv2_2&unit=2&cell=5,9&second=same"))
    assert three(page)[2] == 0
    neutral = (np.array(matplotlib.colormaps["RdBu_r"](128)[:3]) * 255).round()
    assert np.abs(neutral - page.evaluate(PIXELS, [2, [[0.9, 0.9]]])[0]).max() <= 1
    assert {number(value) for value in page.locator("[data-part=beside-layers] .term-value").all_inner_texts()} == {0}


def test_the_bars_say_where_the_two_part_ways_and_lead_there(opened, pair):
    page = ready(opened(pair.file, "#picture=3"))
    a, b = pair.truth(2)
    rows = page.locator("[data-part=beside-layers] button")
    names = [row.split("\n")[0] for row in rows.all_inner_texts()]
    assert names == ["input", *list(a)[1:]]
    found = [number(value) for value in page.locator("[data-part=beside-layers] .term-value").all_inner_texts()]
    truth = [float(np.abs(b[name] - a[name]).mean()) for name in a]
    assert found == pytest.approx(truth, rel=6e-3, abs=1e-6)
    bars = page.locator("[data-part=beside-layers] .guess-bar span")
    widths = bars.evaluate_all("(bars) => bars.map((bar) => Number.parseFloat(bar.style.width))")
    assert widths == pytest.approx([100 * value / max(truth) for value in truth], abs=0.5)
    rows.nth(names.index("pool1")).click()
    assert text(page, "beside-value").startswith("pool1, unit 1, ")
    assert rows.nth(names.index("pool1")).get_attribute("aria-pressed") == "true"
    assert rows.nth(names.index("pool1")).evaluate("(button) => button === document.activeElement")


def test_probabilities_are_matched_by_the_names_of_the_classes(opened, renamed):
    page = ready(opened(renamed.file, "#picture=2"))
    a, b = (found["softmax"] for found in renamed.truth(1))
    names = (*renamed.first.classes, "yak")
    rows = page.locator("[data-part=beside-classes] tr").evaluate_all("""(rows) => rows.map((row) =>
        [row.querySelector("th"), ...row.querySelectorAll("td")].map((cell) => cell.innerText))""")
    assert len(rows) == len(names)
    for (head, *shown), name in zip(rows, names, strict=True):
        assert head.strip() == name
        for cell, classes, shares in ((shown[0], renamed.first.classes, a), (shown[1], renamed.classes, b)):
            if name not in classes:
                assert cell == "no such class"
            else:
                assert number(cell.removesuffix(" %")) == pytest.approx(100 * shares[classes.index(name)], abs=0.51)
        if name in renamed.first.classes and name in renamed.classes:
            apart = 100 * (b[renamed.classes.index(name)] - a[renamed.first.classes.index(name)])
            assert number(shown[2].removesuffix(" pp").lstrip("+")) == pytest.approx(apart, abs=0.051)
        else:
            assert shown[2] == "–"


def test_scores_of_other_classes_are_not_compared_cell_by_cell(opened, renamed):
    page = ready(opened(renamed.file, "#layer=fc3"))
    assert not page.locator("[data-part=beside-look]").is_visible()
    assert page.locator("[data-part=beside-layers] button").count() == len(renamed.first.truth(0)) - 2


def test_of_two_architectures_only_what_can_be_compared_is_offered_and_it_says_so(opened, other):
    page = ready(opened(other.file, "#layer=conv2_2"))
    a, b = other.truth(0)
    both = [name for name in a if name in b and a[name].shape == b[name].shape and name not in ("fc3", "softmax")]
    alike = ["input" if name == "normalise" else name for name in both]
    assert 0 < len(alike) < len(a)
    assert [row.split("\n")[0] for row in page.locator("[data-part=beside-layers] button").all_inner_texts()] == alike
    assert re.search(rf"\b{len(alike)}\b.*\b{len(a)}\b", text(page, "beside-text"))
    assert not page.locator("[data-part=beside-look]").is_visible()
    page.locator("[data-part=beside-layers] button").first.click()
    assert page.locator("[data-part=beside-look]").is_visible()
    page.locator("[data-part=against]").select_option(label="first.pt")
    assert page.locator("[data-part=beside-layers] button").count() == len(a)


# ---------------------------------------------------------------- choosing


def test_one_cursor_reads_all_three_by_pointer_and_by_keyboard(opened, pair):
    page = ready(opened(pair.file, "#layer=conv2_1&unit=2&cell=5,9"))
    a, b = (found["conv2_1"][1] for found in pair.truth(0))
    stage = page.locator("[data-part=beside-maps]")
    for which in range(3):
        canvas = stage.locator("canvas").nth(which)
        size = canvas.bounding_box()["width"]
        canvas.hover(position={"x": (3 + 6 * which + 0.5) / 28 * size, "y": 10.5 / 28 * size})
        wait(page, "beside-value", f"row 11, column {4 + 6 * which}:")
        at = (10, 3 + 6 * which)
        assert three(page) == pytest.approx([a[at], b[at], b[at] - a[at]], rel=6e-3, abs=1e-4)
        assert f"row 11, column {4 + 6 * which}: " in text(page, "value")  # the closer look follows
    page.mouse.move(2, 2)
    stage.focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    wait(page, "beside-value", "row 6, column 11:")
    assert three(page) == pytest.approx([a[5, 10], b[5, 10], b[5, 10] - a[5, 10]], rel=6e-3, abs=1e-4)
    wait(page, "live", "row 6, column 11: first ")


def test_the_second_picture_and_network_stand_in_the_address(opened, pair):
    page = ready(opened(pair.file))
    page.locator("[data-part=second]").select_option(index=3)
    page.locator("[data-part=against]").select_option(label="first.pt")
    page.wait_for_function("() => location.hash.includes('second=3') && location.hash.includes('against=1')")
    shown, told = three(page), text(page, "beside-text")
    page.reload()
    assert (three(ready(page)), text(page, "beside-text")) == (shown, told)
    a = pair.first.truth(0)["conv2_2"][0]
    b = pair.first.truth(2)["conv2_2"][0]
    assert shown[:2] == pytest.approx([a[13, 13], b[13, 13]], rel=6e-3, abs=1e-4)
    for address in (
        "second=99&against=9",
        "second=-4&against=-4",
        "second=x&against=__proto__",
        "second=own",
        "second=second",
    ):
        go(page, address)
        assert page.locator("[data-part=beside-layers] button").count() > 0
        assert text(page, "beside-value") != ""


def test_a_second_picture_of_ones_own_is_compared_and_survives_another_first(opened, one):
    page = ready(opened(one.file, "#layer=conv1_1&unit=1&cell=8,8", anew=True))
    image = one.batch.images[5]
    mine = {"name": "</b>mine.png", "mimeType": "image/png", "buffer": encode_png(image)}
    page.locator("[data-part=second-file]").set_input_files(mine)
    wait(page, "beside-text", "</b>mine")
    b = said(one.model, image)["conv1_1"][0, 7, 7]
    for i in (0, 3):
        page.locator("[data-part=strip] [role=option]").nth(i).click()
        a = one.truth(i)["conv1_1"][0, 7, 7]
        assert three(page) == pytest.approx([a, b, b - a], rel=6e-3, abs=1e-4)
    page.locator("[data-part=second-file]").set_input_files(
        {"name": "x.txt", "mimeType": "text/plain", "buffer": b"no picture"}
    )
    wait(page, "beside-text", "no picture that the browser")


def test_the_first_picture_of_ones_own_can_be_the_second_too(opened, one):
    page = ready(opened(one.file, "#layer=conv1_1&unit=1&cell=8,8", anew=True))
    mine = {"name": "a.png", "mimeType": "image/png", "buffer": encode_png(one.batch.images[4])}
    page.locator("[data-part=file]").set_input_files(mine)
    page.wait_for_selector("[role=option][aria-label*='Your own'][aria-selected=true]")
    page.locator("[data-part=second]").select_option(label="your own picture")
    assert three(page)[2] == 0
    page.locator("[data-part=strip] [role=option]").nth(1).click()
    a, b = one.truth(0)["conv1_1"][0, 7, 7], one.truth(4)["conv1_1"][0, 7, 7]
    assert three(page) == pytest.approx([a, b, b - a], rel=6e-3, abs=1e-4)


def test_a_network_of_another_size_gets_the_picture_scaled_and_says_so(opened, one, tmp_path):
    model = build("vgg11_bn", width=0.06, image_side=96, num_classes=2, seed=3, pooled=2, head=(20,))
    both = Pair(tmp_path / "sizes.html", one, model, one.classes[:2])
    page = ready(opened(both.file))
    assert "96 px" in text(page, "beside-text")
    assert not page.locator("[data-part=beside-parted]").is_visible()
    rows = page.locator("[data-part=beside-classes] tr").all()[:2]
    shares = [number(row.locator("td").nth(1).inner_text().removesuffix(" %")) for row in rows]
    assert sum(shares) == pytest.approx(100, abs=1.1)


def test_of_a_network_too_large_to_run_two_pictures_are_compared_as_they_were_written_down(opened, tmp_path):
    model = build("vgg11_bn", num_classes=4, image_side=64, width=0.25, seed=2).eval()
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(4))
    batch = Batch(images, torch.tensor([0, 1]), ("one", "two"))
    stored, answers = stored_network(model, batch, "abcd")
    shown = tuple({**picture, **answer} for picture, answer in zip(pictures(batch), answers, strict=True))
    html = render_explorer(Explorer("large", "a test", stored, shown, stored="It is too large."))
    (tmp_path / "stored.html").write_text(html, encoding="utf-8")
    page = ready(opened(tmp_path / "stored.html", "#second=2"))
    a, b = said(model, images[0]), said(model, images[1])
    assert page.locator("[data-part=second-choose]").count() == 0
    assert "256" in text(page, "beside-text")
    for step in stored["steps"][1:]:
        go(page, f"layer={step['name']}&unit={step.get('units', [3])[0] + 1}&second=2")
        unit = step.get("units", [3])[0]
        one, two = (found[step["name"]][unit] for found in (a, b))
        if one.ndim:
            shape = step["shape"][1:]
            row, column = (int(page.locator(f"[data-part={axis}]").input_value()) - 1 for axis in ("row", "column"))
            small = (torch.nn.functional.adaptive_avg_pool2d(torch.tensor(maps)[None], shape)[0] for maps in (one, two))
            one, two = (float(maps[row, column]) for maps in small)
        assert three(page)[:2] == pytest.approx([one, two], rel=0.02, abs=0.02), step["name"]


# ---------------------------------------------------------------- for everybody


@pytest.mark.parametrize("width", [1280, 320])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", ["pair", "other"])
def test_axe_finds_nothing_and_nothing_scrolls_sideways(opened, request, name, theme, width):
    page = ready(opened(request.getfixturevalue(name).file, "#layer=relu2_1", color_scheme=theme, width=width))
    assert problems(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    cut = page.locator(".parting").evaluate_all(
        "(rows) => rows.filter((row) => row.scrollWidth > row.clientWidth + 1).length"
    )
    assert cut == 0


def test_painted_pictures_of_a_network_without_labels_are_named_by_their_files(opened, one, tmp_path):
    drawn = shapes.paint(2, seed=0, split="test", side=64)
    net = Net(tmp_path / "plain.html", one.model, one.classes, Batch(drawn.images, None, ("a.png", "b.png")))
    page = ready(opened(net.file))
    assert re.match(r"First: picture 1 \(a\.png\)\. Second: picture 2 \(b\.png\)\.", text(page, "beside-text"))
