"""The attention viewer: right colours in the right places, and a state that survives every address."""

from __future__ import annotations

import base64
import io
import json
import random
import re
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import matplotlib
import numpy as np
import pytest
import torch
from fake_page import SIDE, attention, bytes_of, exhibits, fake_page
from fake_pictures import data_uri
from pages import go, stop_the_clock, until
from PIL import Image
from viewer_data import told_by_hand

from vgg_viz.gallery.layout import PageSection
from vgg_viz.gallery.page import render
from vgg_viz.maths.heatmaps import place, smoothed
from vgg_viz.maths.receptive_field import Field

pytestmark = pytest.mark.browser
ZOOM = 9  # canvas pixels a photo pixel, for a photo of 64 px
VALID = Field(size=14, jump=2, padding=0)  # conv2_2 of a Tiny VGG without padding: 26 x 26 units on 64 px
PADDED = Field(size=20, jump=4, padding=8)  # a layer whose border units see padding: 16 x 16 units on 64 px
LAYERS = {"valid": (VALID, 26), "padded": (PADDED, 16)}


def payload(maps: dict[tuple[str, str | None], np.ndarray]) -> dict[str, Any]:
    """One grey photo with a gradient, and a map per (method, layer)."""
    grey = np.add.outer(np.arange(SIDE), np.arange(SIDE)).astype(np.uint8) + 60
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[20:30, 40:50] = 255
    methods = {"up": False, "both": True}
    return {
        "kind": "attention",
        "classes": ["a", "b"],
        "photos": [
            {
                "name": "p.png",
                "src": data_uri(Image.fromarray(np.stack([grey] * 3, -1))),
                "width": SIDE,
                "height": SIDE,
                "true": 0,
                "top": [[0, 0.9], [1, 0.1]],
                "mask": data_uri(Image.fromarray(mask)),
            }
        ],
        "methods": [
            {"id": name, "title": name, "signed": signed, "unit": "logit", "about": "A test.", "evidence": ""}
            for name, signed in methods.items()
        ],
        "layers": [
            {"name": name, "jump": f.jump, "centre": f.centre, "size": f.size} for name, (f, _) in LAYERS.items()
        ],
        "maps": [
            {"photo": 0, "method": method, "layer": layer, "target": "predicted", "class": 0, **bytes_of(values)}
            for (method, layer), values in maps.items()
        ],
        "limits": {f"{method}|{layer or ''}|predicted": 8.0 for method, layer in maps},
    }


def viewer_page(folder: Path, data: dict[str, Any]) -> Path:
    """A page with nothing but a viewer on `data`: one file for the same data."""
    path = folder / f"viewer-{sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:12]}.html"
    if not path.exists():
        shown = exhibits(False)["viewer"]
        one = replace(shown, exhibit=replace(shown.exhibit, viewer=told_by_hand(data)))
        page = replace(fake_page(False), sections=(PageSection("attention", "Attention", exhibits=(one,)),))
        path.write_text(render(page), encoding="utf-8")
    return path


def show(opened, folder, data: dict[str, Any], address: str = "#view=attention-viewer", **options: Any):
    """The viewer on `data`, at an address that says the whole view: without more words, the one it opens with."""
    page = opened(viewer_page(folder, data), address, **options)
    page.wait_for_function("() => document.querySelector('[data-part=picture]').width > 300")
    return page


def address(**state: object) -> str:
    """The address of a view."""
    return "#view=attention-viewer&" + "&".join(f"{key}={value}" for key, value in state.items())


def canvas(page, part: str = "picture") -> np.ndarray:
    """What a canvas of the viewer shows, (H, W, 4) uint8."""
    uri = page.evaluate(f"document.querySelector('[data-part={part}]').toDataURL('image/png')")
    return np.array(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGBA"))


def photo_of(data: dict[str, Any]) -> np.ndarray:
    image = Image.open(io.BytesIO(base64.b64decode(data["photos"][0]["src"].split(",")[1]))).convert("RGB")
    return np.array(image).repeat(ZOOM, 0).repeat(ZOOM, 1)


def hot(units: int, row: int, column: int, value: float = 3.0) -> np.ndarray:
    cells = np.zeros((units, units), np.float32)
    cells[row, column] = value
    return cells


def raw_values(stored: dict[str, Any]) -> np.ndarray:
    share = np.frombuffer(base64.b64decode(stored["data"]), np.uint8).reshape(stored["h"], stored["w"]) / 255
    return share * (stored["high"] - stored["low"]) + stored["low"]


def state_of(page) -> dict[str, str]:
    """The address, once it holds the cell chosen last."""
    page.wait_for_function("() => location.hash.startsWith('#view=') && location.hash.includes('cell=')")
    return {key: value[0] for key, value in parse_qs(page.evaluate("location.hash.slice(1)")).items()}


# ---------------------------------------------------------------- pixels


def test_a_map_of_zeros_leaves_the_photo_untouched(opened, folder):
    data = payload({("up", "valid"): np.zeros((26, 26), np.float32)})
    for text in (address(opacity=100), address(opacity=100, scale="all")):
        shown = canvas(show(opened, folder, data, text))
        assert (shown[..., :3] == photo_of(data)).all()
        assert (shown[..., 3] == 255).all()


def test_no_opacity_leaves_the_photo_untouched_and_full_opacity_does_not(opened, folder):
    data = payload({("up", "valid"): hot(26, 10, 20)})
    assert (canvas(show(opened, folder, data, address(opacity=0)))[..., :3] == photo_of(data)).all()
    assert (canvas(show(opened, folder, data, address(opacity=100)))[..., :3] != photo_of(data)).any()


@pytest.mark.parametrize("layer", ["valid", "padded"])
def test_a_hot_unit_lands_on_the_centre_of_what_it_sees(opened, folder, layer):
    field, units = LAYERS[layer]
    row, column = 5, 11
    data = payload({("up", layer): hot(units, row, column)})
    shown = canvas(show(opened, folder, data, address(opacity=100, cells="raw")))
    margin = (shown.shape[0] - SIDE * ZOOM) // 2
    inner = shown[margin : margin + SIDE * ZOOM, margin : margin + SIDE * ZOOM, :3].astype(float)
    weight = np.abs(inner - photo_of(data)).sum(-1) > 40
    y, x = (index.mean() for index in np.nonzero(weight))
    box = field.box(row, column)
    assert (y + 0.5) / ZOOM == pytest.approx((box.y0 + box.y1) / 2, abs=0.6)
    assert (x + 0.5) / ZOOM == pytest.approx((box.x0 + box.x1) / 2, abs=0.6)


@pytest.mark.parametrize("layer", ["valid", "padded"])
@pytest.mark.parametrize("cells", ["raw", "smoothed"])
@pytest.mark.parametrize(("method", "colours"), [("up", "viridis"), ("both", "RdBu_r")])
def test_every_photo_pixel_has_the_colour_of_the_painted_map(opened, folder, method, colours, layer, cells):
    field, units = LAYERS[layer]
    values = np.random.default_rng(2).normal(0, 1, (units, units)).astype(np.float32)
    data = payload({(method, layer): values})
    stored = data["maps"][0]
    raw = raw_values(stored)
    on_photo = place(torch.from_numpy(raw)[None], field, SIDE)
    placed = (on_photo if cells == "raw" else smoothed(on_photo, field.size))[0].numpy()
    top = max(-stored["low"], stored["high"]) if method == "both" else stored["high"]
    t = (np.clip(placed / top, -1, 1) + 1) / 2 if method == "both" else np.clip(placed / top, 0, 1)
    expected = matplotlib.colormaps[colours](t, bytes=True)[..., :3].astype(int)
    shown = canvas(show(opened, folder, data, address(alone=1, **({"cells": cells} if cells == "raw" else {}))))
    margin = (shown.shape[0] - SIDE * ZOOM) // 2
    assert margin == (8 * ZOOM if layer == "padded" else 0)
    middle = slice(margin + ZOOM // 2, margin + SIDE * ZOOM, ZOOM)
    # Float32 and float64 may fall on two sides of a step between two of the 256 colours.
    assert np.abs(shown[middle, middle, :3].astype(int) - expected).max() <= 8
    assert (shown[middle, middle, :3] == expected).all(-1).mean() > 0.99


def test_maps_in_pixels_are_stretched_evenly_in_flat_blocks(opened, folder):
    values = np.random.default_rng(3).random((32, 32)).astype(np.float32)
    data = payload({("up", None): values})
    shown = canvas(show(opened, folder, data, address(alone=1)))[..., :3]
    blocks = shown.reshape(32, 18, 32, 18, 3)
    assert (blocks == blocks[:, :1, :, :1]).all()
    stored = data["maps"][0]
    raw = raw_values(stored)
    expected = matplotlib.colormaps["viridis"](raw / stored["high"], bytes=True)[..., :3].astype(int)
    assert np.abs(blocks[:, 0, :, 0].astype(int) - expected).max() <= 8


def test_the_overlay_is_as_strong_as_slider_times_value(opened, folder):
    values = np.full((26, 26), 1.0, np.float32)
    values[:, 13:] = 2.0  # full strength on the right, half on the left
    data = payload({("up", "valid"): values})
    shown = canvas(show(opened, folder, data, address(opacity=60)))[..., :3].astype(float)
    for x, t in ((20, 0.5), (SIDE * ZOOM - 20, 1.0)):
        colour = np.array(matplotlib.colormaps["viridis"](t, bytes=True)[:3], float)
        before = photo_of(data)[300, x].astype(float)
        assert np.abs(shown[300, x] - (before + 0.6 * t * (colour - before))).max() <= 2


def test_the_shared_scale_is_that_of_all_photos(opened, folder):
    data = payload({("up", "valid"): np.full((26, 26), 4.0, np.float32)})
    own = canvas(show(opened, folder, data, address(alone=1)))[300, 300, :3]
    shared = canvas(page := show(opened, folder, data, address(alone=1, scale="all")))[300, 300, :3]
    assert tuple(own) == matplotlib.colormaps["viridis"](1.0, bytes=True)[:3]
    assert tuple(shared) == matplotlib.colormaps["viridis"](0.5, bytes=True)[:3]
    assert page.locator(".bar-ends").inner_text().split() == ["0", "4", "8"]
    assert page.locator("[data-scale=all]").is_checked()


def test_the_field_of_a_cell_is_drawn_where_it_is(opened, folder):
    data = payload({("up", "valid"): hot(26, 1, 1)})
    marks = canvas(show(opened, folder, data, address(cell="5,11")), "marks")[..., 3] > 128
    rows, columns = (np.nonzero(marks.any(axis))[0] for axis in (1, 0))
    box = VALID.box(5, 11)
    for seen, first, last in ((rows, box.y0, box.y1), (columns, box.x0, box.x1)):
        assert seen[0] == pytest.approx(first * ZOOM, abs=4)
        assert seen[-1] + 1 == pytest.approx(last * ZOOM, abs=4)


def test_only_the_padding_part_of_a_field_is_hatched(opened, folder):
    data = payload({("up", "padded"): hot(16, 1, 1)})
    page = show(opened, folder, data, address(cell="0,0"))
    marks = canvas(page, "marks").astype(int)
    hatch = (marks[..., 0] > 190) & (marks[..., 2] < 80) & (marks[..., 3] > 200)
    margin = 8 * ZOOM
    assert hatch[:margin, : 12 * ZOOM].mean() > 0.1
    assert not hatch[margin + 1 :, margin + 1 :].any()
    outside = 1 - (12 * 12) / (20 * 20)
    assert f"{outside:.0%}".replace("%", " %") in page.locator("[data-part=value]").inner_text()
    go(page, address(cell="7,7"))
    inner = canvas(page, "marks").astype(int)
    assert not ((inner[..., 0] > 190) & (inner[..., 2] < 80) & (inner[..., 3] > 200)).any()


def test_the_outline_of_the_object_follows_its_mask(opened, folder):
    data = payload({("up", "valid"): hot(26, 1, 1)})
    page = show(opened, folder, data, address(outline=1))
    page.wait_for_function("""() => { const c = document.querySelector('[data-part=marks]');
        return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((value) => value); }""")
    marks = canvas(page, "marks")[..., 3] > 128
    rows, columns = (np.nonzero(marks.any(axis))[0] for axis in (1, 0))
    for found, wanted in ((rows[0], 20), (rows[-1], 30), (columns[0], 40), (columns[-1], 50)):
        assert found == pytest.approx(wanted * ZOOM, abs=5)
    assert not marks[25 * ZOOM, 45 * ZOOM]


def test_the_value_under_the_pointer_is_that_of_the_cell(opened, folder):
    data = payload({("up", "valid"): hot(26, 10, 20, 3.25)})
    page = show(opened, folder, data)
    frame = page.locator("[data-part=picture]").bounding_box()
    centre = VALID.box(10, 20)
    scale = frame["width"] / SIDE
    page.locator("[data-part=stage]").scroll_into_view_if_needed()
    frame = page.locator("[data-part=picture]").bounding_box()
    page.mouse.move(frame["x"] + (centre.x0 + centre.x1) / 2 * scale, frame["y"] + (centre.y0 + centre.y1) / 2 * scale)
    said = page.locator("[data-part=value]").inner_text()
    assert said.startswith("Row 10, column 20 of 26 × 26 (from 0): 3.25 logit.")
    assert "14 × 14 px: x 40 to 53, y 20 to 33." in said
    page.mouse.move(5, 5)
    assert not re.search(r"\d", page.locator("[data-part=value]").inner_text())


# ---------------------------------------------------------------- state


def test_the_address_holds_the_whole_view(opened, folder):
    data = attention(6, hostile=False)
    page = show(opened, folder, data, "", anew=True)
    page.get_by_label("Photo", exact=True).select_option("4")
    page.get_by_label("Method").select_option("grad_cam")
    page.get_by_label("Layer", exact=True).select_option("conv1_2")
    page.get_by_label("For the class").select_option("true")
    page.get_by_label("Opacity").fill("35")
    page.get_by_label("all photos").check()
    page.get_by_label("Outline of the object").check()
    page.locator("[data-part=stage]").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    state = state_of(page)
    wanted = {
        "view": "attention-viewer",
        "photo": "5",
        "method": "grad_cam",
        "layer": "conv1_2",
        "target": "true",
        "opacity": "35",
        "scale": "all",
        "outline": "1",
    }
    assert {key: state[key] for key in state if key != "cell"} == wanted
    again = show(opened, folder, data, page.evaluate("location.hash"))
    assert (canvas(page) == canvas(again)).all()
    drawn = page.evaluate("document.querySelector('[data-part=marks]').toDataURL()")  # the outline waits for its mask
    until(again, "document.querySelector('[data-part=marks]').toDataURL()", drawn)
    assert page.locator("[data-part=sentence]").inner_text() == again.locator("[data-part=sentence]").inner_text()


def test_no_address_breaks_the_viewer(opened, folder):
    page = show(opened, folder, attention(3, hostile=True))
    noise = random.Random(0)
    keys = [
        "photo",
        "method",
        "layer",
        "target",
        "opacity",
        "scale",
        "cell",
        "outline",
        "alone",
        "__proto__",
        "constructor",
    ]
    values = [
        "-1",
        "1e99",
        "NaN",
        "99",
        "",
        "%",
        "%E0%A4%A",
        "<script>",
        "null",
        "__proto__",
        "constructor",
        "grad_cam",
        "saliency",
        "conv2_2",
        "true",
        "0,0",
        "999,999",
        "a,b",
        "-3,4",
        "1.5,2.5",
        "runner-up",
        "\u202e",
        "x" * 3000,
    ]
    for _ in range(60):
        parts = [f"{noise.choice(keys)}={noise.choice(values)}" for _ in range(noise.randint(0, 8))]
        start = noise.choice(["view=attention-viewer&", "view=other&", ""])
        go(page, start + "&".join(parts))
    go(page, "view=attention-viewer&photo=999&method=none&layer=%00&opacity=1e9&cell=999,-5")
    assert page.get_by_label("Photo", exact=True).input_value() == "2"
    assert page.get_by_label("Opacity").input_value() == "100"
    assert page.get_by_label("Method").input_value() in {"grad_cam", "saliency", "input_x_gradient"}
    assert canvas(page)[..., 3].all()


def test_only_combinations_that_exist_are_offered(opened, folder):
    page = show(opened, folder, attention(4, hostile=False))

    def options(label: str) -> list[str]:
        return page.get_by_label(label, exact=True).locator("option").all_inner_texts()

    assert options("Layer") == ["conv1_1", "conv1_2", "conv2_1", "conv2_2"]
    assert page.get_by_label("Layer", exact=True).input_value() == "conv2_2"
    assert [text.split(":")[0] for text in options("For the class")] == ["predicted", "true", "runner-up"]
    page.get_by_label("For the class").select_option("runner-up")
    page.get_by_label("Method").select_option("saliency")
    assert options("Layer") == ["the photo itself (pixels)"]
    assert page.get_by_label("Layer", exact=True).is_disabled()
    assert "runner-up" not in " ".join(options("For the class"))
    page.get_by_label("Photo", exact=True).select_option("1")  # rightly classified: true and predicted are one
    assert [text.split(":")[0] for text in options("For the class")] == ["predicted"]
    page.get_by_label("Method").select_option("grad_cam")
    assert page.get_by_label("Layer", exact=True).input_value() == "conv2_2"
    assert page.get_by_label("For the class").input_value() == "runner-up"


def test_a_browser_that_cannot_unpack_the_maps_shows_nothing_half_made_and_says_so(opened, folder):
    page = show(opened, folder, payload({("up", "valid"): hot(26, 10, 20)}), own=True)
    page.add_init_script("delete window.DecompressionStream")
    page.reload()
    page.wait_for_selector("[data-viewer][data-ready=no]")
    assert page.locator("[data-part=sentence]").inner_text() != ""
    assert not page.locator("[data-part=body]").is_visible()
    assert not page.locator("[data-part=strip]").is_visible()


def test_maps_of_several_sizes_come_out_of_one_block_each_with_its_own_bytes(opened, folder):
    noise = np.random.default_rng(4)
    sides = {("up", "padded"): 16, ("up", "valid"): 26, ("both", None): SIDE}
    data = payload({key: noise.random((side, side)) for key, side in sides.items()})
    for stored, layer in zip(data["maps"], ("padded", "valid", "pixels"), strict=True):
        text = address(method=stored["method"], cell="2,4", **({} if stored["layer"] is None else {"layer": layer}))
        said = show(opened, folder, data, text).locator("[data-part=value]").inner_text()
        assert f"{raw_values(stored)[2, 4]:.3g}" in said


def test_a_viewer_without_maps_says_so(opened, folder):
    data = attention(2, hostile=False) | {"maps": []}
    shown = exhibits(False)["viewer"]
    one = replace(shown, exhibit=replace(shown.exhibit, viewer=told_by_hand(data)))
    path = folder / "empty.html"
    path.write_text(
        render(replace(fake_page(False), sections=(PageSection("attention", "Attention", exhibits=(one,)),))),
        encoding="utf-8",
    )
    page = opened(path)
    assert page.locator("[data-part=sentence]").inner_text() != ""
    assert not page.locator("[data-part=body]").is_visible()


# ---------------------------------------------------------------- hands


def test_the_strip_is_one_tab_stop_with_arrow_keys_and_says_right_and_wrong(opened, folder):
    page = show(opened, folder, attention(5, hostile=False))
    strip = page.locator("[data-part=strip]")
    assert strip.locator('[tabindex="0"]').count() == 1
    strip.locator('[tabindex="0"]').focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert (
        page.evaluate("document.activeElement.getAttribute('aria-label')")
        == "Photo 3, shapes_0002.png: predicted triangle, correct"
    )
    assert page.get_by_label("Photo", exact=True).input_value() == "2"
    page.keyboard.press("End")
    assert "predicted heart, wrong, true class ring" in page.evaluate(
        "document.activeElement.getAttribute('aria-label')"
    )
    page.keyboard.press("Home")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.dataset.part") == "stage"


def test_the_map_is_read_by_keyboard_from_its_peak(opened, folder):
    page = show(opened, folder, payload({("up", "valid"): hot(26, 10, 20)}))
    page.locator("[data-part=strip]").locator('[tabindex="0"]').focus()
    page.keyboard.press("Tab")
    value = page.locator("[data-part=value]")
    assert value.inner_text().startswith("Row 10, column 20 of 26 × 26 (from 0): 3 logit")
    walk = (
        ("ArrowLeft", "Row 10, column 19"),
        ("ArrowUp", "Row 9, column 19"),
        ("Home", "Row 9, column 0 "),
        ("PageDown", "Row 25, column 0 "),
        ("ArrowDown", "Row 25, column 0 "),
        ("End", "Row 25, column 25"),
    )
    for key, place_ in walk:
        page.keyboard.press(key)
        assert value.inner_text().startswith(place_), key
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Escape")
    assert not re.search(r"\d", value.inner_text())
    assert canvas(page, "marks").max() == 0


def test_the_film_shows_every_layer_and_chooses_one(opened, folder):
    page = show(opened, folder, attention(3, hostile=False))
    film = page.locator("[data-part=film]")
    assert film.get_by_role("option").all_inner_texts() == ["conv1_1", "conv1_2", "conv2_1", "conv2_2"]
    pictures = film.locator("canvas").evaluate_all("(all) => all.map((canvas) => canvas.toDataURL())")
    assert len(set(pictures)) == 4
    film.locator('[tabindex="0"]').focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert page.get_by_label("Layer", exact=True).input_value() == "conv1_2"
    assert page.evaluate("document.activeElement.textContent") == "conv1_2"
    page.get_by_label("Method").select_option("saliency")
    assert not film.is_visible()


def test_the_live_region_speaks_once_a_change(opened, folder):
    page = show(opened, folder, attention(5, hostile=False), own=True)
    stop_the_clock(page)
    page.evaluate("""() => { window.spoken = []; const live = document.querySelector('[data-part=live]');
        new MutationObserver(() => window.spoken.push(live.textContent)).observe(live, { childList: true }); }""")
    page.get_by_label("Opacity").focus()
    for _ in range(10):
        page.keyboard.press("ArrowLeft")
    page.locator("[data-part=strip]").locator('[tabindex="0"]').focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    assert page.evaluate("window.spoken") == []
    page.clock.run_for(5000)
    spoken = page.evaluate("window.spoken")
    assert len(spoken) == 1
    assert re.search(r"\bheart\b.*\bring\b", spoken[0])  # what it says, and the label


def test_the_picture_can_be_saved_at_two_sizes(opened, folder):
    page = show(opened, folder, attention(2, hostile=True))
    sizes = []
    for name in ("Save PNG", "PNG at 2×"):
        with page.expect_download() as download:
            page.locator("[data-part=save]").get_by_role("button", name=name).click()
        assert download.value.suggested_filename.startswith("attention-viewer-1-grad_cam-conv2_2-predicted@")
        image = Image.open(download.value.path())
        sizes.append(image.size)
        assert len(image.convert("RGB").getcolors(1 << 24)) > 100
    assert sizes[1] == (2 * sizes[0][0], 2 * sizes[0][1])
