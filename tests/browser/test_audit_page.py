"""The page of an audit in a real browser: accessible, silent, safe with hostile names, in light and dark, wide and narrow."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from fake_page import HOSTILE, HOSTILE_CLASSES
from pages import page_of, problems
from shared_artefacts import shared_gallery

from vgg_viz.data.cache import paint_labelled
from vgg_viz.data.shortcuts import Shortcut
from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import save
from vgg_viz.records import Checkpoint, PictureOrigin, Provenance
from vgg_viz.safe_text import escape_hidden, shorten
from vgg_viz.sections.audit import audit as auditing
from vgg_viz.studies.request import AuditRequest

pytestmark = pytest.mark.browser


@pytest.fixture(scope="session")
def page_file(tmp_path_factory) -> Path:
    return page_of(shared_gallery(tmp_path_factory, "audit-page", make))


def make(folder: Path) -> None:
    """A network that has learned a tag in a corner; its classes and the audited pictures bear hostile names."""
    torch.set_num_threads(1)
    tag = Shortcut("corner", "star", held_out=1.0, seed=6)
    pictures, model = paint_labelled(600, side=32, shortcut=tag), build("tiny_vgg", image_side=32)
    optimizer = torch.optim.AdamW(model.train().parameters(), 0.004)
    for epoch in range(4):
        for images, labels in pictures.batches(32, torch.randperm(600, generator=torch.Generator().manual_seed(epoch))):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
    weights, blank = model.eval().state_dict(), Provenance("", "", "vgg_viz")
    save(folder / "net.pt", Checkpoint(model.architecture, HOSTILE_CLASSES, weights, provenance=blank))
    batch = paint_labelled(300, split="test", side=32, shortcut=tag).as_batch()
    batch = replace(batch, names=tuple(f"{HOSTILE[i % 10]}/{i}.png" for i in range(300)))
    with pytest.MonkeyPatch.context() as patch:  # no file system takes these names for folders
        patch.setattr(auditing, "labelled_pictures", lambda *_, **__: (batch, PictureOrigin("given", len(batch))))
        auditing.build_audit(AuditRequest(source=folder / "net.pt", out=folder / "out"))


@pytest.mark.parametrize("width", [1280, 320])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_on_an_audit_of_hostile_names(opened, page_file, theme, width):
    page = opened(page_file, color_scheme=theme, width=width)
    assert problems(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_every_figure_of_an_audit_has_loaded_and_headings_descend_one_level_at_a_time(opened, page_file):
    page = opened(page_file)
    page.evaluate("document.querySelectorAll('img').forEach((image) => { image.loading = 'eager'; })")
    page.evaluate(
        "Promise.all([...document.querySelectorAll('img.figure')].map((image) => image.decode()))"
    )  # rejects a broken one
    assert page.locator("img.figure").count() >= 3
    levels = [
        int(tag[1])
        for tag in page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map((h) => h.tagName)")
    ]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_hostile_class_names_are_text_in_an_audit(opened, page_file):
    page = opened(page_file)
    assert page.locator("img[onerror], img[src=x]").count() == 0
    shown = page.locator("#search tbody tr > :first-child").all_inner_texts()
    assert set(shown) <= {escape_hidden(shorten(name)) for name in HOSTILE_CLASSES}
    assert page.locator("#search tbody tr").count() >= 10
    assert not any(sign in page.evaluate("document.documentElement.outerHTML") for sign in "\u202e\u2028\u0000")
