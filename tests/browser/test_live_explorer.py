"""The network in the page is the network: every activation, every printed sum, every box, in a real browser."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_page import HOSTILE
from pages import go

from vgg_viz.capture.hooks import activations
from vgg_viz.data import shapes
from vgg_viz.gallery.explorer import Explorer, render_explorer
from vgg_viz.maths.images import decode, encode_png
from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import load
from vgg_viz.models.geometry import geometry
from vgg_viz.models.names import layers
from vgg_viz.records import Batch
from vgg_viz.studies.answers import select_images
from vgg_viz.studies.explorer_live import network, pictures
from vgg_viz.studies.inputs import specimen_batch

pytestmark = pytest.mark.browser
EXPLAINER = Path(__file__).parents[3] / "shared" / "data" / "cnn-explainer"
BASE64 = """((values) => {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return bytes.toBase64?.() ?? btoa(Array.from(bytes, (one) => String.fromCharCode(one)).join(""));
})"""
READ = f"""(picture) => {{
  let found;
  if (picture !== null) document.querySelectorAll("[data-part=strip] [role=option]")[picture].click();
  document.getElementById("ui-explorer").dispatchEvent(new CustomEvent("explorer:read", {{ detail: (steps) => {{ found = steps; }} }}));
  return found.map(([name, values]) => [name, {BASE64}(values)]);
}}"""


class Net:
    """A network, its pictures, and the page that runs it."""

    def __init__(self, file: Path, model: torch.nn.Module, classes: tuple[str, ...], batch: Batch) -> None:
        self.file, self.model, self.classes, self.batch = file, model, classes, batch
        file.write_text(
            render_explorer(Explorer(file.stem, "a test", network(model, classes), pictures(batch))), encoding="utf-8"
        )

    def truth(self, i: int) -> dict[str, np.ndarray]:
        """What PyTorch says about picture `i`, by layer."""
        found = activations(
            self.model,
            self.batch.images[i : i + 1],
            [layer.name for layer in layers(self.model) if layer.kind != "drop"],
        )
        maps = {name: values[0].numpy() for name, values in found.maps.items()}
        return {**maps, "softmax": found.logits[0].softmax(0).numpy()}


def ready(page: Any) -> Any:
    page.wait_for_selector("#ui-explorer[data-ready]")
    return page


def numbers(page: Any, picture: int | None = None) -> dict[str, np.ndarray]:
    """What the page says of every layer, of a picture of the strip that is clicked or of the one that is shown."""
    return {name: np.frombuffer(base64.b64decode(text), "<f4") for name, text in page.evaluate(READ, picture)}


def milliseconds(page: Any) -> float:
    return float(page.evaluate("document.getElementById('ui-explorer').dataset.milliseconds"))


def text(page: Any, part: str) -> str:
    return page.locator(f"[data-part={part}]").inner_text()


def number(said: str) -> float:
    return float(said.replace("−", "-").replace("\xa0", " ").strip())


def result(page: Any) -> float:
    """The number at the end of the arithmetic."""
    return number(page.locator("[data-part=sums] .sum strong").last.inner_text())


def sample_net(folder: Path) -> Net:
    checkpoint = load(None)
    batch = select_images(specimen_batch(checkpoint.specimens, checkpoint.architecture.image_side), list(range(20)))
    return Net(folder / "sample.html", build(checkpoint), checkpoint.classes, replace(batch, masks=None))


def deep_net(folder: Path) -> Net:
    """Grey, padded, with batch norm that does something, an uneven average pool, a hidden layer and hostile names."""
    model = build("vgg11_bn", width=0.06, image_side=96, in_channels=1, num_classes=10, pooled=2, head=(200,), seed=3)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in layers(model):
            if layer.kind == "bn":
                for values, low, high in (
                    (layer.module.weight, 0.5, 2),
                    (layer.module.bias, -1, 1),
                    (layer.module.running_mean, -1, 1),
                    (layer.module.running_var, 0.3, 2),
                ):
                    values.copy_(torch.rand(values.shape, generator=generator) * (high - low) + low)
    images = shapes.paint(4, seed=0, split="test", side=96).images.mean(1, keepdim=True).mul(255).round() / 255
    batch = Batch(images, torch.arange(4), HOSTILE[:4])
    return Net(folder / "deep.html", model, HOSTILE, batch)


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Net:
    return sample_net(tmp_path_factory.mktemp("explorer"))


@pytest.fixture(scope="session")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Net:
    return deep_net(tmp_path_factory.mktemp("explorer"))


# ---------------------------------------------------------------- the same numbers


def compare(page: Any, net: Net, fit: Callable[[dict[str, np.ndarray]], None] = lambda _: None) -> list[float]:
    times = []
    for i in range(len(net.batch)):
        found, truth = numbers(page, i), net.truth(i)
        assert list(found) == list(truth)
        for name, values in truth.items():
            assert np.abs(found[name] - values.ravel()).max() < 1e-4, (i, name)
        times.append(milliseconds(page))
        fit(found)
    return times


def test_every_activation_of_every_layer_is_that_of_pytorch_on_20_pictures(opened, sample):
    times = compare(ready(opened(sample.file)), sample)
    print(f"forward pass in the page: {np.median(times):.1f} ms (median of {len(times)})")
    assert len(times) == 20


def test_batch_norm_padding_grey_pictures_and_uneven_pools_are_right_too(opened, deep):
    compare(ready(opened(deep.file)), deep)


def test_a_wrong_weight_would_be_noticed(opened, sample, tmp_path):
    other = build(
        replace(load(None), weights={k: v + (k == "conv_block_1.0.bias") * 1e-3 for k, v in load(None).weights.items()})
    )
    wrong = Net(tmp_path / "wrong.html", other, sample.classes, sample.batch)
    with pytest.raises(AssertionError):
        compare(ready(opened(wrong.file)), sample)


@pytest.mark.skipif(not EXPLAINER.is_dir(), reason="CNN Explainer's weights are not here")
def test_cnn_explainers_own_weights_get_14_of_their_20_pictures(opened, tmp_path):
    words = ("boat", "bug", "pizza", "pepper", "bus", "koala", "espresso", "panda", "orange", "car")
    files = sorted((EXPLAINER / "images").glob("*.jpeg"))
    batch = Batch(
        torch.stack([decode(file) for file in files]),
        torch.tensor([words.index(file.stem.split("_")[0]) for file in files]),
        tuple(file.name for file in files),
    )
    checkpoint = load(EXPLAINER)
    net = Net(tmp_path / "explainer.html", build(checkpoint), checkpoint.classes, batch)
    answers: list[int] = []
    compare(ready(opened(net.file)), net, lambda found: answers.append(int(found["softmax"].argmax())))
    assert sum(answer == label for answer, label in zip(answers, batch.labels.tolist(), strict=True)) == 14


# ---------------------------------------------------------------- the printed numbers


@pytest.mark.parametrize(
    ("layer", "unit", "row", "column"), [("conv1_1", 1, 1, 1), ("conv2_2", 7, 26, 3), ("conv1_2", 10, 30, 60)]
)
def test_the_terms_of_a_convolution_add_up_to_the_activation(opened, sample, layer, unit, row, column):
    page = ready(opened(sample.file, f"#picture=3&layer={layer}&unit={unit}&cell={row},{column}"))
    value = sample.truth(2)[layer][unit - 1, row - 1, column - 1]
    terms = [number(one) for one in page.locator("[data-part=sums] .term-value").all_inner_texts()]
    conv = next(one.module for one in layers(sample.model) if one.name == layer)
    assert len(terms) == conv.in_channels + 1
    assert terms[-1] == pytest.approx(conv.bias[unit - 1].item(), abs=5.1e-5)
    assert result(page) == pytest.approx(value, abs=1e-4)
    assert sum(terms) == pytest.approx(value, abs=len(terms) * 5.1e-5)
    page.locator("button.term").nth(1).click()
    tables = page.locator("[data-part=sums] .number-grid").all()
    grids = [[number(cell) for cell in grid.locator("td").all_inner_texts()] for grid in tables]
    assert grids[1] == pytest.approx(conv.weight[unit - 1, 1].flatten().tolist(), abs=5.1e-5)
    assert sum(grids[2]) == pytest.approx(terms[1], abs=5e-4)


def test_padding_is_shown_as_zeros_and_hatched_on_the_picture(opened, deep):
    page = ready(opened(deep.file, "#layer=conv1_1&unit=1&cell=1,1"))
    window = page.locator("[data-part=sums] .number-grid").first
    assert window.inner_text().count("padding") == 5
    assert result(page) == pytest.approx(deep.truth(0)["conv1_1"][0, 0, 0], abs=1e-4)
    assert "x −1 to 1, y −1 to 1; 56 % of that is padding" in text(page, "seen-text")


@pytest.mark.parametrize("name", ["sample", "deep"])
def test_every_layer_of_every_kind_ends_with_its_own_value(opened, sample, deep, name):
    net = {"sample": sample, "deep": deep}[name]
    page, truths = ready(opened(net.file)), net.truth(1)
    for layer, truth in truths.items():
        unit = min(4, truth.shape[0])
        row = column = min(2, truth.shape[-1]) if truth.ndim == 3 else 1
        go(page, f"picture=2&layer={layer}&unit={unit}&cell={row},{column}")
        value = truth[unit - 1] if truth.ndim == 1 else truth[unit - 1, row - 1, column - 1]
        assert result(page) == pytest.approx(float(value), abs=1e-4), layer


def test_the_box_on_the_picture_is_the_receptive_field(opened, sample):
    page = ready(opened(sample.file))
    for row in geometry(sample.model):
        if len(row.shape) == 3 and row.kind != "normalise":
            go(page, f"layer={row.name}&cell=5,9")
            box = row.field.box(4, 8)
            assert f"x {box.x0} to {box.x1 - 1}, y {box.y0} to {box.y1 - 1}." in text(page, "seen-text")


def test_the_legend_always_equals_the_data(opened, sample):
    page, truth = ready(opened(sample.file, "#layer=conv2_1&unit=2")), sample.truth(0)
    every = [values for name, values in truth.items() if name not in ("normalise", "softmax")]
    for scope, values in (
        ("each layer", [truth["conv2_1"]]),
        ("each unit", [truth["conv2_1"][1]]),
        ("the network", every),
    ):
        page.get_by_role("radio", name=scope).check()
        top = max(float(np.abs(one).max()) for one in values)
        assert number(text(page, "high")) == pytest.approx(top, rel=6e-3)
        assert number(text(page, "low")) == pytest.approx(-top, rel=6e-3)
    page.locator("[data-part=layer]").select_option(label="relu2_1")
    assert (number(text(page, "low")), number(text(page, "high"))) == (0, pytest.approx(top, rel=6e-3))


# ---------------------------------------------------------------- choosing


def test_the_whole_view_stands_in_the_address(opened, sample):
    page = ready(opened(sample.file))
    page.locator("[data-part=strip] [role=option]").nth(4).click()
    page.locator("[data-part=layer]").select_option(label="pool1")
    for name, value in (("unit", "7"), ("row", "12"), ("column", "3")):
        page.locator(f"[data-part={name}]").fill(value)
        page.locator(f"[data-part={name}]").press("Tab")
    page.get_by_role("radio", name="each unit").check()
    page.wait_for_function("() => location.hash.includes('range=unit')")
    said = text(page, "value")
    assert said.startswith("pool1, unit 7, row 12, column 3: ")
    page.reload()
    assert text(ready(page), "value") == said
    assert page.get_by_role("radio", name="each unit").is_checked()
    assert page.locator("[role=option][aria-selected=true]").count() == 1


def test_an_address_that_the_reader_goes_to_stays_though_the_state_before_was_about_to_be_written(opened, sample):
    page = ready(opened(sample.file, "#layer=conv1_1&unit=2&cell=9,9"))
    page.evaluate("""async () => {
      const later = window.setTimeout, late = [], unit = document.querySelector("[data-part=unit]");
      window.setTimeout = (done, after) => (after === 120 ? late.push(done) : later(done, after));
      Object.assign(unit, { value: 5 }).dispatchEvent(new Event("change"));
      window.setTimeout = later;
      const told = new Promise((done) => addEventListener("hashchange", done, { once: true }));
      location.hash = "layer=conv1_1&unit=7&cell=3,4";
      late.forEach((done) => done());
      await told;
    }""")
    assert text(page, "value").startswith("conv1_1, unit 7, row 3, column 4: ")
    assert "unit=7" in page.evaluate("location.hash")


def test_a_bad_address_is_clamped_to_something_that_exists(opened, sample):
    page = ready(opened(sample.file, "#layer=nowhere&unit=-3&cell=x,y&picture=1e9&range=__proto__"))
    for address in (
        "unit=99999&cell=999,-5&picture=0&input=77",
        "%E0%A4%A",
        "layer=fc3&unit=NaN&cell=3,3",
        "layer=normalise&unit=9&input=2",
        "layer=softmax&unit=400",
        "<script>",
        "layer=conv1_1&picture=-1&input=-9&range=",
    ):
        assert re.match(r".+: [−\d.e]+$", text(page, "value"))
        assert page.locator("[data-part=sums] .sum").count() > 0
        assert page.locator("[role=option][aria-selected=true]").count() == 1
        go(page, address)
    assert text(page, "value").startswith("conv1_1, unit 1, ")


def test_a_wide_network_is_scrolled_to_the_chosen_layer(opened, deep):
    page = ready(opened(deep.file, "#layer=conv5_2", anew=True))
    spot = page.locator(".layer.current").bounding_box()
    assert 0 < spot["x"] < spot["x"] + spot["width"] < 1280
    assert page.locator("[data-part=board-scroll]").evaluate("(box) => box.scrollLeft") > 0


def test_the_board_and_the_map_are_walked_by_keyboard(opened, sample):
    page = ready(opened(sample.file, "#layer=conv1_1&unit=1&cell=5,5"))
    page.locator("[data-part=board-scroll]").focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    assert text(page, "value").startswith("relu1_1, unit 3, row 5, column 5: ")
    page.locator("[data-part=stage]").focus()
    page.keyboard.press("ArrowRight")
    assert text(page, "value").startswith("relu1_1, unit 3, row 5, column 6: ")
    page.wait_for_function("() => document.querySelector('[data-part=live]').textContent.includes('column 6')")


def test_pointing_shows_and_clicking_keeps(opened, sample):
    page = ready(opened(sample.file, "#layer=conv2_2&unit=1"))
    before = text(page, "value")
    canvas = page.locator(".layer.relu canvas").first
    canvas.hover(position={"x": 22, "y": 48 * 2 + 22})
    page.wait_for_function(
        "() => document.querySelector('[data-part=value]').textContent.startsWith('relu1_1, unit 3')"
    )
    page.mouse.move(2, 2)
    page.wait_for_function("(before) => document.querySelector('[data-part=value]').textContent === before", arg=before)
    canvas.click(position={"x": 22, "y": 48 * 2 + 22})
    page.mouse.move(2, 2)
    assert re.match(r"relu1_1, unit 3, row 3\d, column 3\d: ", text(page, "value"))  # the middle of the map of 62 × 62


def test_a_picture_of_ones_own_goes_through_the_network_and_nowhere_else(opened, sample):
    image = sample.batch.images[7]
    page = ready(opened(sample.file, anew=True))
    page.locator("[data-part=file]").set_input_files(
        {"name": "</b>me.png", "mimeType": "image/png", "buffer": encode_png(image)}
    )
    page.wait_for_selector("[role=option][aria-label*='Your own'][aria-selected=true]")
    found, truth = numbers(page), sample.truth(7)
    assert np.abs(found["fc3"] - truth["fc3"]).max() < 1e-4
    page.locator("[data-part=file]").set_input_files(
        {"name": "broken.png", "mimeType": "image/png", "buffer": b"no picture"}
    )
    page.wait_for_function(
        "() => document.querySelector('[data-part=verdict]').textContent.includes('no picture that the browser')"
    )


# ---------------------------------------------------------------- for everybody


def test_hostile_names_are_text(opened, deep):
    page = ready(opened(deep.file, "#layer=softmax"))
    assert page.title() != "owned"
    assert page.locator("main img[onerror], main img[src=x]").count() == 0
    assert HOSTILE[0] in page.locator("table.softmax").inner_text()
