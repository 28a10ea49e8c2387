"""The page of a comparison in a real browser: accessible, silent, safe with hostile names, and its viewer speaks for both networks."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from fake_page import HOSTILE, HOSTILE_CLASSES
from pages import page_of, problems
from shared_artefacts import shared_gallery

from vgg_viz.api import compare
from vgg_viz.data import shapes
from vgg_viz.maths.images import encode_png
from vgg_viz.models.build import architecture, build
from vgg_viz.models.checkpoint import save
from vgg_viz.records import Checkpoint, Epoch, Specimen
from vgg_viz.safe_text import escape_hidden, shorten

pytestmark = pytest.mark.browser
SIDE = 32
HISTORY = (Epoch(1, 2.3, 0.12, 2.2, 0.2, 1e-3, 1.0), Epoch(2, 2.0, 0.3, 2.1, 0.25, 1e-4, 1.0))


def net(steps: int) -> Checkpoint:
    """A Tiny VGG whose classes and pictures carry hostile names."""
    torch.set_num_threads(1)
    model = build(architecture("tiny_vgg", image_side=SIDE, num_classes=10, width=0.6), seed=3).train()
    batch = shapes.paint(100, seed=7, side=SIDE)
    optimizer = torch.optim.Adam(model.parameters(), 4e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(batch.images), batch.labels).backward()
        optimizer.step()
    specimens = tuple(
        Specimen(
            encode_png(batch.images[i]), int(batch.labels[i]), HOSTILE[i % 10], encode_png(batch.masks[i].float()[None])
        )
        for i in range(30)
    )
    return Checkpoint(model.architecture, HOSTILE_CLASSES, model.eval().state_dict(), HISTORY, specimens)


@pytest.fixture(scope="session")
def page_file(tmp_path_factory) -> Path:
    return page_of(shared_gallery(tmp_path_factory, "compare-page", make))


def make(folder: Path) -> None:
    for name, steps in (("early", 4), ("late", 60)):
        save(folder / f"{name}.pt", net(steps))
    compare(folder / "early.pt", folder / "late.pt", out=folder / "out", preset="quick")


@pytest.mark.parametrize("width", [1280, 320])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_on_a_page_of_hostile_names(opened, page_file, theme, width):
    page = opened(page_file, color_scheme=theme, width=width)
    assert problems(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_index_with_a_comparison_in_it_is_accessible_and_leads_to_it(opened, page_file):
    page = opened(page_file.parent.parent / "index.html")
    assert problems(page) == []
    page.locator("th.gallery a").click()
    assert page.locator("h1").inner_text() == "early.pt and late.pt"


def test_every_figure_has_loaded_and_headings_descend_one_level_at_a_time(opened, page_file):
    page = opened(page_file)
    page.evaluate("document.querySelectorAll('img').forEach((image) => { image.loading = 'eager'; })")
    page.evaluate(
        "Promise.all([...document.querySelectorAll('img.figure')].map((image) => image.decode()))"
    )  # rejects a broken one
    assert page.locator("img.figure").count() >= 8
    levels = [
        int(tag[1])
        for tag in page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map((h) => h.tagName)")
    ]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_hostile_names_are_shown_as_text(opened, page_file):
    page = opened(page_file)
    assert page.locator("img[onerror], img[src=x]").count() == 0
    cells = page.locator("#compare-classes tbody th").all_inner_texts()
    assert cells == [escape_hidden(shorten(name)) for name in HOSTILE_CLASSES]
    assert not any(sign in page.evaluate("document.documentElement.outerHTML") for sign in "\u202e\u2028\u0000")
    assert page.evaluate("Object.keys(Object.prototype).length") == 0


def test_the_viewer_speaks_for_a_for_b_and_for_their_difference_on_one_range(opened, page_file):
    page = opened(page_file)
    viewer = page.locator("#compare-viewer")
    said, shares, tops = {}, {}, {}
    for name in ("Where: A", "Where: B", "Where: B minus A", "How much: A", "How much: B"):
        viewer.get_by_label("Method").select_option(label=name)
        said[name] = viewer.locator("[data-part=sentence]").inner_text()
        shares[name] = viewer.locator(".guess-share").first.inner_text()
        tops[name] = viewer.locator("[data-part=high]").inner_text()
        assert (viewer.locator("[data-part=middle]").inner_text() == "0") == ("minus" in name)
    assert re.search(r"\. A is (right|wrong)", said["Where: A"])
    assert re.search(r"\. B is (right|wrong)", said["Where: B"])
    assert shares["Where: A"] == shares["How much: A"] != shares["Where: B"] == shares["How much: B"]
    assert tops["Where: A"] == tops["Where: B"] == tops["Where: B minus A"]
    assert tops["How much: A"] == tops["How much: B"] != tops["Where: A"]
    viewer.get_by_label("Method").select_option(label="Where: A")
    assert viewer.locator("[data-part=guess-title]").inner_text() == "What A says"


def test_the_difference_is_painted_around_a_neutral_zero_and_kept_in_the_address(opened, page_file):
    page = opened(page_file)
    viewer = page.locator("#compare-viewer")
    viewer.get_by_label("Method").select_option(label="Where: B minus A")
    assert viewer.locator("[data-part=middle]").inner_text() == "0"
    low, high = (viewer.locator(f"[data-part={end}]").inner_text() for end in ("low", "high"))
    assert low == f"−{high}"
    page.wait_for_url(re.compile("method=difference-where"))
    page.reload()
    assert viewer.get_by_label("Method").input_value() == "difference-where"


def test_without_scripts_the_comparison_reads_on(opened, page_file):
    page = opened(page_file, java_script_enabled=False)
    assert page.locator("#compare-attention img").first.is_visible()
    assert page.locator("#compare-transitions table").is_visible()
    assert not page.locator(".viewer").is_visible()
