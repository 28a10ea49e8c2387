"""The first screen and the limits of a report's page: on the committed sample, and with names that are longer than there is room."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from paper import sheets

from vgg_viz.figures.style import colours
from vgg_viz.maths.heatmaps import Scale, painted
from vgg_viz.maths.receptive_field import Field

pytestmark = pytest.mark.browser
SAMPLE = Path(__file__).parents[2] / "gallery" / "sample" / "index.html"
SCREEN, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
BOXES = """(names) => names.map((name) => { const box = document.querySelector(name).getBoundingClientRect();
    return [box.top + scrollY, box.bottom + scrollY]; })"""
WORDS = """() => [...document.querySelectorAll('main, header.masthead')].map((part) => part.innerText).join(' ')
    .split(/\\s+/).filter(Boolean).length"""


def places(page: Any, *names: str) -> list[tuple[float, float]]:
    return [(top, bottom) for top, bottom in page.evaluate(BOXES, list(names))]


@pytest.mark.parametrize("name", ["sample", "hostile"])
def test_the_answer_stands_above_the_fold(opened, folder, name):
    page = opened(SAMPLE if name == "sample" else folder / "hostile.html", anew=True)
    page.set_viewport_size(SCREEN)
    first_map, *parts = places(page, ".shots img", ".answer", ".bars", ".looks", ".next", ".sure", ".lesser")
    assert first_map[0] < 450
    if name == "sample":  # names of 300 characters may take another line
        assert max(bottom for _, bottom in parts) <= 900


def test_a_phone_shows_the_mistake_and_the_right_answer_and_begins_the_classes(opened):
    page = opened(SAMPLE, anew=True)
    page.set_viewport_size(PHONE)
    box, mistake, right, classes, jump = places(
        page, ".answer", ".look:not(.one)", ".look.one", ".bars li", ".answer .jump"
    )
    assert box[1] < mistake[0] < mistake[1] < right[0] < right[1] < 844
    assert classes[0] < 844
    assert jump[1] <= box[1]
    page.locator(".answer .jump").click()
    assert 0 <= page.locator("#ui-next").bounding_box()["y"] < 200


def test_the_sample_is_no_longer_than_a_reader_has_patience(opened):
    page = opened(SAMPLE, anew=True)
    for (width, height), limit in {(1280, 900): 15_000, (390, 844): 20_000}.items():
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate("document.documentElement.scrollHeight") <= limit, width
    page.set_viewport_size({"width": 320, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    page.set_viewport_size(SCREEN)
    assert page.evaluate(WORDS) <= 3_500
    open_cards = "[...document.querySelectorAll('main .card')].filter((card) => !card.closest('details')).length"
    assert page.evaluate(open_cards) <= 16


def test_the_sample_prints_on_a_few_sheets_with_its_commands_whole(opened):
    page = opened(SAMPLE, anew=True)
    commands = page.evaluate("[...document.querySelectorAll('.next code')].map((code) => code.textContent)")
    paper = sheets(page.pdf(prefer_css_page_size=True, print_background=False))
    assert len(paper) <= 16
    for command in commands:
        assert "".join(command.split()) in paper[0].text


# ---------------------------------------------------------------- the viewer paints what figures paint


def stage(page: Any, size: tuple[int, int]) -> np.ndarray[Any, Any]:
    """(H, W, 3) the colours at the middle of every photo pixel, without the margin of the stage."""
    data, width, height = page.evaluate("""() => { const canvas = document.querySelector('.viewer [data-part=picture]');
        const copy = Object.assign(document.createElement('canvas'), { width: canvas.width, height: canvas.height });
        const context = copy.getContext('2d', { willReadFrequently: true });
        context.drawImage(canvas, 0, 0);
        const image = context.getImageData(0, 0, canvas.width, canvas.height);
        return [Array.from(image.data), canvas.width, canvas.height]; }""")
    pixels = np.asarray(data, np.uint8).reshape(height, width, 4)[..., :3]
    rows, columns = size
    zoom = next(zoom for zoom in range(1, width) if zoom % 2 and zoom * max(size) >= 520)
    left, top = (width - columns * zoom) // 2 + zoom // 2, (height - rows * zoom) // 2 + zoom // 2
    return pixels[top : top + rows * zoom : zoom, left : left + columns * zoom : zoom]


def test_the_stage_opens_on_the_mistake_painted_as_a_figure_paints_it(opened):
    page = opened(SAMPLE, anew=True)
    box = page.locator(".viewer").first
    told = json.loads(box.locator("[data-part=data]").text_content())
    block, at = zlib.decompress(base64.b64decode(told["block"])), 0
    for one in told["maps"]:
        one["bytes"], at = block[at : at + one["h"] * one["w"]], at + one["h"] * one["w"]
    start = told["start"]
    photo = told["photos"][start["photo"]]
    assert photo["top"][0][0] != photo["true"], "it opens with a mistake"
    title = page.locator(".look:not(.one) .look-title").inner_text()
    assert told["classes"][photo["true"]] in title
    shown = next(
        one for one in told["maps"] if all(one[key] == start[key] for key in ("photo", "method", "layer", "target"))
    )
    raw = np.frombuffer(shown["bytes"], np.uint8).reshape(shown["h"], shown["w"]).astype(np.float32)
    values = torch.from_numpy(shown["low"] + raw * (shown["high"] - shown["low"]) / 255)
    fields = {
        one["name"]: Field(one["size"], one["jump"], int((one["size"] - 1) / 2 - one["centre"]))
        for one in told["layers"]
    }
    signed = next(one["signed"] for one in told["methods"] if one["id"] == shown["method"])
    size = (photo["height"], photo["width"])
    expected = painted(values[None], shown["layer"], fields, size)[0]
    top = shown["limit"]
    scale = Scale(-top if signed else 0.0, top, signed, "", "")
    colour = np.asarray(colours(scale)(scale.normalise(expected).numpy()))[..., :3]

    box.scroll_into_view_if_needed()
    page.locator(".viewer [data-part=alone]").first.check()
    found = stage(page, size).astype(float).mean(-1)
    assert np.abs(found - 255 * colour.mean(-1)).mean() <= 2
    strong = float((expected.abs() >= top / 2).float().mean())
    assert 0.04 <= strong <= 0.35
    page.locator(".viewer [data-part=cells]").first.check()
    assert np.abs(stage(page, size).astype(float).mean(-1) - found).mean() > 2, "raw cells are something else"
