"""Figures people keep: PNG at two sizes and SVG, whole, opaque, with their legends, with the numbers that PyTorch gives."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
import torch
from fake_page import HOSTILE, attention
from PIL import Image
from test_explorer_beside import Pair, shaken
from test_live_explorer import Net, number, ready
from test_viewer import show

from vgg_viz.attribution.single_pass import grad_cam_all_layers
from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import load
from vgg_viz.models.names import layers
from vgg_viz.studies.answers import select_images
from vgg_viz.studies.inputs import specimen_batch

pytestmark = pytest.mark.browser
SVG = "{http://www.w3.org/2000/svg}"
GROUND = {"light": (250, 249, 246), "dark": (13, 15, 18)}
PARTS = ("board", "closer", "beside")
TRIED = ("cam", "brush", "sandbox")


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    checkpoint = load(None)
    batch = replace(
        select_images(specimen_batch(checkpoint.specimens, checkpoint.architecture.image_side), list(range(3))),
        masks=None,
    )
    net = Net(tmp_path_factory.mktemp("export") / "one.html", build(checkpoint), checkpoint.classes, batch)
    return Pair(net.file.with_name("pair.html"), net, build(shaken(checkpoint)), checkpoint.classes)


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Net:
    checkpoint = load(None)
    batch = select_images(specimen_batch(checkpoint.specimens, checkpoint.architecture.image_side), list(range(3)))
    batch = replace(batch, masks=None, names=HOSTILE[:3])
    return Net(tmp_path_factory.mktemp("hostile") / "hostile.html", build(checkpoint), HOSTILE, batch)


def saved(page: Any, holder: str, button: str) -> tuple[str, bytes]:
    """The name and the bytes of what a button gives."""
    with page.expect_download() as download:
        page.locator(f"[data-part={holder}]").get_by_role("button", name=button).click()
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def decoded(data: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(data))
    assert image.format == "PNG"
    pixels = np.asarray(image.convert("RGBA"))
    assert pixels[..., 3].min() == 255, "a figure on any ground needs its own"
    return pixels[..., :3].astype(np.int16)


def has(pixels: np.ndarray, colour: Any) -> bool:
    wanted = np.round(np.array(colour[:3]) * 255).astype(np.int16)
    return bool((np.abs(pixels - wanted).max(-1) <= 2).any())


def many(pixels: np.ndarray) -> bool:
    """More than a hundred colours, found already in every fourth row and column."""
    return len(np.unique(pixels[::4, ::4] @ [65536, 256, 1])) > 100


def texts(data: bytes) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(data).iter(f"{SVG}text")]


def after(rows: list[str], label: str, count: int = 1) -> list[float]:
    """The numbers that follow a label in the SVG."""
    at = rows.index(label)
    return [number(text.removesuffix(" pp").removesuffix(" %").lstrip("+")) for text in rows[at + 1 : at + 1 + count]]


# ---------------------------------------------------------------- PNG


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("part", PARTS)
def test_a_view_is_saved_at_exactly_one_and_two_times_its_size(opened, pair, part, theme):
    page = ready(opened(pair.file, "#layer=conv2_1&unit=4&second=2", color_scheme=theme))
    small, large = (decoded(saved(page, f"{part}-save", name)[1]) for name in ("Save PNG", "PNG at 2×"))
    svg = ElementTree.fromstring(saved(page, f"{part}-save", "SVG")[1])
    assert small.shape[:2] == (int(svg.get("height")), int(svg.get("width")))
    assert large.shape[:2] == (2 * small.shape[0], 2 * small.shape[1])
    for pixels in (small, large):
        assert tuple(pixels[0, 0]) == tuple(pixels[-1, -1]) == GROUND[theme]
        assert many(pixels)
        for place in (0.0, 0.5, 1.0):  # the colour bar, from end to end
            assert has(pixels, matplotlib.colormaps["RdBu_r"](place)), place


@pytest.mark.parametrize("part", TRIED)
def test_what_the_reader_tries_out_is_saved_too(opened, pair, part):
    page = ready(opened(pair.file, "#picture=2&sign=both&brush-fill=mean"))
    stage = page.locator("[data-part=brush-stage]")
    stage.scroll_into_view_if_needed()
    stage.click()  # one dab of the brush
    page.wait_for_function("() => !document.querySelector('.changed-note').hidden")
    small, large = (decoded(saved(page, f"{part}-save", name)[1]) for name in ("Save PNG", "PNG at 2×"))
    svg = ElementTree.fromstring(saved(page, f"{part}-save", "SVG")[1])
    assert small.shape[:2] == (int(svg.get("height")), int(svg.get("width")))
    assert large.shape[:2] == (2 * small.shape[0], 2 * small.shape[1])
    assert tuple(small[0, 0]) == tuple(large[-1, -1]) == GROUND["light"]
    assert many(small)
    assert len(list(svg.iter(f"{SVG}image"))) >= 2


def test_the_saved_terms_of_grad_cam_add_up_to_the_cell_of_the_map(opened, pair):
    page = ready(opened(pair.file, "#picture=2&cam=conv2_1&cam-cell=11,12"))
    rows = texts(saved(page, "cam-save", "SVG")[1])
    terms = [after(rows, f"unit {i + 1}", 2)[1] for i in range(10)]
    model, image = pair.first.model, pair.first.batch.images[1:2]
    wanted = grad_cam_all_layers(model, image, layers=["conv2_1"], relu=False)["conv2_1"].values[0, 10, 11]
    assert sum(terms) == pytest.approx(float(wanted), abs=2e-4 * max(map(abs, terms)) * 10)


def test_the_saved_probabilities_of_the_brush_are_those_before_it(opened, pair):
    page = ready(opened(pair.file, "#picture=2"))
    rows = texts(saved(page, "brush-save", "SVG")[1])
    for name, share in zip(pair.first.classes, pair.truth(1)[0]["softmax"], strict=True):
        before, now = after(rows, name, 2)
        assert before == now == pytest.approx(100 * share, abs=0.51)


def test_at_two_times_there_is_more_to_see_not_larger_pixels(opened, pair):
    page = ready(opened(pair.file, "#layer=conv2_1&unit=4"))
    for part in PARTS:
        small, large = (decoded(saved(page, f"{part}-save", name)[1]) for name in ("Save PNG", "PNG at 2×"))
        assert np.abs(small.repeat(2, 0).repeat(2, 1) - large).max() > 60


def test_a_map_in_the_picture_is_the_map_of_pytorch(opened, pair):
    page = ready(opened(pair.file, "#picture=2&layer=relu2_1&unit=4&range=unit"))
    pixels = decoded(saved(page, "closer-save", "PNG at 2×")[1])
    values = pair.first.truth(1)["relu2_1"][3]
    painted = matplotlib.colormaps["viridis"](np.minimum(255, (values / values.max() * 256).astype(int)))[..., :3] * 255
    h, w = values.shape
    side = 648 / w  # 324 px of the sheet, twice
    rows, columns = (((np.arange(n) + 0.3) * side).astype(int) for n in (h, w))
    x = 2 * (24 + 324 + 24)
    # The map stands where its first row of cells is found.
    fits = [
        y for y in range(pixels.shape[0] - 648) if np.abs(pixels[y + rows[0], x + columns] - painted[0]).max() <= 12
    ]
    errors = [np.sort(np.abs(pixels[y + rows[:, None], x + columns[None]] - painted).max(-1).ravel()) for y in fits]
    assert errors, "no row of the picture looks like the first of the map"
    assert min(error[: int(0.97 * error.size)].max() for error in errors) <= 12  # but for the marked cell


# ---------------------------------------------------------------- SVG


def test_the_terms_of_a_sum_are_vectors_with_pytorchs_numbers(opened, pair):
    page = ready(opened(pair.file, "#picture=3&layer=conv2_2&unit=7&cell=20,5"))
    name, data = saved(page, "closer-save", "SVG")
    assert name == "explorer-3-conv2_2-7-20-5.svg"
    rows = texts(data)
    truth = pair.first.truth(2)
    conv = next(layer.module for layer in layers(pair.first.model) if layer.name == "conv2_2")
    window = torch.from_numpy(truth["relu2_1"][:, 19:22, 4:7])
    terms = (window * conv.weight[6].detach()).sum((1, 2)).tolist()
    found = [after(rows, f"unit {i + 1}")[0] for i in range(len(terms))] + after(rows, "bias")
    assert found == pytest.approx([*terms, conv.bias[6].item()], abs=5.1e-5 + 1e-5)
    assert sum(found) == pytest.approx(truth["conv2_2"][6, 19, 4], abs=6e-4)
    # The bars are as long as the numbers are large.
    bars = [float(rect.get("width")) for rect in ElementTree.fromstring(data).iter(f"{SVG}rect")][1 : len(found) + 1]
    assert bars == pytest.approx([abs(value) * max(bars) / max(map(abs, found)) for value in found], abs=0.02)


def test_probabilities_and_layer_differences_are_pytorchs(opened, pair):
    page = ready(opened(pair.file, "#picture=2&layer=softmax&unit=1&second=same"))
    a, b = pair.truth(1)
    rows = texts(saved(page, "closer-save", "SVG")[1])
    for name, share in zip(pair.first.classes, a["softmax"], strict=True):
        assert after(rows, name)[0] == pytest.approx(share, abs=6e-5), name
    rows = texts(saved(page, "beside-save", "SVG")[1])
    for i, name in enumerate(pair.first.classes):
        shares = after(rows, name, 3)
        assert shares[:2] == pytest.approx([a["softmax"][i], b["softmax"][i]], abs=6e-5)
        assert shares[2] == pytest.approx(100 * (b["softmax"][i] - a["softmax"][i]), abs=0.051)
    for name in a:
        mean = float(np.abs(a[name] - b[name]).mean())
        found = after(rows, "input" if name == "normalise" else name)[0]
        assert found == pytest.approx(mean, rel=6e-3, abs=6e-6), name  # below 0.001 with two digits


def test_the_board_is_drawn_with_every_layer_and_the_flows(opened, pair):
    page = ready(opened(pair.file, "#picture=2&layer=conv2_1&unit=4"))
    name, data = saved(page, "board-save", "SVG")
    assert name == "explorer-2-network-conv2_1-4.svg"
    rows, svg = texts(data), ElementTree.fromstring(data)
    truth = pair.first.truth(1)
    assert {"input" if one == "normalise" else one for one in truth} <= set(rows)
    units = sum(values.shape[0] for one, values in truth.items() if one not in ("flatten", "softmax"))
    assert len(list(svg.iter(f"{SVG}image"))) == units + 3  # the flows, the flattened list, the legend
    top = np.abs(truth["conv2_1"]).max()
    low = next(text for text in rows if text.startswith("−"))
    assert [number(low), *after(rows, low, 2)] == pytest.approx([-top, 0, top], rel=6e-3)
    pixels = decoded(saved(page, "board-save", "Save PNG")[1])
    assert has(pixels, np.array([178, 24, 43]) / 255), "no flow in red"


def test_hostile_names_stay_text_in_every_file(opened, hostile):
    page = ready(opened(hostile.file, "#layer=softmax"))
    for part in PARTS:
        for picture in range(3):
            page.locator("[data-part=strip] [role=option]").nth(picture).click()
            name, data = saved(page, f"{part}-save", "SVG")
            assert re.fullmatch(r"[a-z0-9_-]+\.svg", name, re.I)
            svg = ElementTree.fromstring(data)
            assert {element.tag.removeprefix(SVG) for element in svg.iter()} <= {"svg", "rect", "image", "text"}
            assert not any(attribute.lower().startswith("on") for element in svg.iter() for attribute in element.attrib)
            assert all(element.get("href").startswith("data:image/png;base64,") for element in svg.iter(f"{SVG}image"))
    shown = texts(saved(page, "closer-save", "SVG")[1])
    assert any(text.startswith("</script><script>document.title=") for text in shown)
    assert "(no name)" in shown
    assert page.title() != "owned"


# ---------------------------------------------------------------- the buttons, and the gallery's viewer


def test_every_button_says_what_it_saves(opened, pair):
    page = ready(opened(pair.file))
    names = [button.inner_text().replace("\n", "") for button in page.locator("#ui-explorer .takeaway button").all()]
    assert len(names) == len(set(names)) == 3 * len(PARTS + TRIED)
    saved(page, "board-save", "Save PNG")
    page.wait_for_function("() => document.querySelector('[data-part=live]').textContent === 'The picture was saved.'")


def test_every_view_of_the_gallerys_viewer_is_saved_at_one_and_two_times(opened, folder):
    data = attention(2, hostile=True)
    page = show(opened, folder, data)
    seen = set()
    for method in (one["id"] for one in data["methods"]):
        page.locator("[data-part=method]").select_option(method)
        for layer in page.locator("[data-part=layer] option").evaluate_all("(all) => all.map((one) => one.value)"):
            if page.locator("[data-part=layer]").is_enabled():
                page.locator("[data-part=layer]").select_option(layer)
            name, small = saved(page, "save", "Save PNG")
            assert method in name
            assert (layer or "pixels") in name
            one, two = decoded(small), decoded(saved(page, "save", "PNG at 2×")[1])
            assert two.shape[:2] == (2 * one.shape[0], 2 * one.shape[1])
            signed = next(kind["signed"] for kind in data["methods"] if kind["id"] == method)
            for place in (0.0, 0.5, 1.0):
                assert has(two, matplotlib.colormaps["RdBu_r" if signed else "viridis"](place))
            assert tuple(one[0, 0]) == GROUND["light"]
            seen.add((method, layer))
            if page.locator("[data-part=film-row]").is_visible():
                film, twice = (decoded(saved(page, "save-film", size)[1]) for size in ("Save PNG", "PNG at 2×"))
                assert twice.shape[:2] == (2 * film.shape[0], 2 * film.shape[1])
                seen.add("film")
    assert len(seen) == 7
