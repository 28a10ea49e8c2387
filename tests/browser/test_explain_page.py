"""The page of one picture in a real browser: accessible, silent, safe with hostile names, and its viewer knows every map."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from fake_page import HOSTILE_CLASSES
from pages import page_of, problems
from shared_artefacts import shared_gallery

from vgg_viz.api import explain
from vgg_viz.data import shapes
from vgg_viz.maths.images import encode_png
from vgg_viz.models.checkpoint import load, save
from vgg_viz.safe_text import escape_hidden, shorten

pytestmark = pytest.mark.browser


@pytest.fixture(scope="session")
def page_file(tmp_path_factory) -> Path:
    return page_of(shared_gallery(tmp_path_factory, "explain-page", make))


def make(folder: Path) -> None:
    """A painted picture before the bundled network, whose classes bear hostile names."""
    torch.set_num_threads(1)
    checkpoint = load()
    save(folder / "net.pt", replace(checkpoint, classes=HOSTILE_CLASSES, history=(), specimens=()))
    picture = folder / "a \u202e{{ 7 * 7 }}.png"
    picture.write_bytes(
        encode_png(shapes.paint(3, seed=5, split="test", side=checkpoint.architecture.image_side).images[2])
    )
    explain(folder / "net.pt", picture, target=4, out=folder / "out")


@pytest.mark.parametrize("width", [1280, 320])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_on_a_page_of_hostile_names(opened, page_file, theme, width):
    page = opened(page_file, color_scheme=theme, width=width)
    assert problems(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_every_figure_has_loaded_and_headings_descend_one_level_at_a_time(opened, page_file):
    page = opened(page_file)
    page.evaluate("document.querySelectorAll('img').forEach((image) => { image.loading = 'eager'; })")
    page.evaluate(
        "Promise.all([...document.querySelectorAll('img.figure')].map((image) => image.decode()))"
    )  # rejects a broken one
    assert page.locator("img.figure").count() == 5
    levels = [
        int(tag[1])
        for tag in page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map((h) => h.tagName)")
    ]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_hostile_names_are_shown_as_text(opened, page_file):
    page = opened(page_file)
    assert page.locator("img[onerror], img[src=x]").count() == 0
    assert page.locator("h1").inner_text() == escape_hidden("a \u202e{{ 7 * 7 }}.png")
    shown = page.locator("#explain-sheet tbody th, #explain-sheet tbody td:first-child").all_inner_texts()
    assert set(shown) <= {escape_hidden(shorten(name)) for name in HOSTILE_CLASSES}
    assert len(shown) >= 5
    assert not any(sign in page.evaluate("document.documentElement.outerHTML") for sign in "\u202e\u2028\u0000")


def test_the_viewer_has_the_layers_in_their_order_both_classes_and_their_difference(opened, page_file):
    page = opened(page_file)
    viewer = page.locator("#explain-viewer")
    layer, method, target = (viewer.get_by_label(name, exact=True) for name in ("Layer", "Method", "For the class"))
    assert layer.locator("option").all_inner_texts() == ["relu1_1", "relu1_2", "relu2_1", "relu2_2"]
    assert layer.input_value() == "relu2_2"
    assert [text.split(":")[0] for text in target.locator("option").all_inner_texts()] == ["predicted", "expected"]
    before = viewer.locator("[data-part=sentence]").inner_text()
    target.select_option("expected")
    assert viewer.locator("[data-part=sentence]").inner_text() != before
    method.select_option("difference")
    low, high = (viewer.locator(f"[data-part={end}]").inner_text() for end in ("low", "high"))
    assert low == f"−{high}"
    assert "red for" in viewer.locator("[data-part=unit]").inner_text()


def test_the_raw_maps_of_the_table_lie_beside_the_page_and_without_scripts_it_reads_on(opened, page_file):
    page = opened(page_file, java_script_enabled=False)
    files = page.locator("#explain-arrays tbody tr > :first-child").all_inner_texts()
    assert len(files) >= 9
    assert all((page_file.parent / file).is_file() for file in files)
    assert page.locator("#explain-sheet img").first.is_visible()
