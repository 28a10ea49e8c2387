"""The page of a timeline in a real browser: accessible, silent, and a slider that goes through training."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from fake_page import HOSTILE, HOSTILE_CLASSES
from pages import page_of, problems
from shared_artefacts import shared_gallery

from vgg_viz.api import timeline
from vgg_viz.data import shapes
from vgg_viz.maths.images import encode_png
from vgg_viz.models.build import architecture, build
from vgg_viz.models.checkpoint import save
from vgg_viz.records import Checkpoint, Epoch, Specimen
from vgg_viz.training.kept_epochs import keep_epoch

pytestmark = pytest.mark.browser
SIDE = 32


@pytest.fixture(scope="session")
def page_file(tmp_path_factory) -> Path:
    return page_of(shared_gallery(tmp_path_factory, "timeline-page", make))


def make(work: Path) -> None:
    """Three epochs of a Tiny VGG whose classes and pictures carry hostile names."""
    torch.set_num_threads(1)
    folder = work / "run"
    folder.mkdir()
    model = build(architecture("tiny_vgg", image_side=SIDE, num_classes=10, width=0.6), seed=3).train()
    batch = shapes.paint(100, seed=7, side=SIDE)
    specimens = tuple(
        Specimen(
            encode_png(batch.images[i]), int(batch.labels[i]), HOSTILE[i % 10], encode_png(batch.masks[i].float()[None])
        )
        for i in range(40)
    )
    optimizer = torch.optim.Adam(model.parameters(), 4e-3)
    for epoch in range(3):
        history = tuple(
            Epoch(n, 2.3 - 0.1 * n, 0.1 * n, 2.3 - 0.1 * n, 0.1 * n, 1e-3, 1.0) for n in range(1, epoch + 1)
        )
        checkpoint = Checkpoint(model.architecture, HOSTILE_CLASSES, model.state_dict(), history, specimens)
        keep_epoch(folder, epoch, checkpoint)
        save(folder / "best.pt", checkpoint)
        for _ in range(20):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(batch.images), batch.labels).backward()
            optimizer.step()
    timeline(folder, out=work / "out", preset="quick", region="0,0,8,8", class_name=HOSTILE_CLASSES[1])


@pytest.mark.parametrize("width", [1280, 320])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_on_the_page_of_a_run_with_hostile_names(opened, page_file, theme, width):
    page = opened(page_file, color_scheme=theme, width=width)
    assert problems(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_student_drags_through_training_with_mouse_or_keyboard_and_the_map_and_the_answer_follow(opened, page_file):
    page = opened(page_file, width=1280)
    viewer = page.locator("[data-viewer]")
    slider = viewer.get_by_label("Drag through the epochs")
    picture = "(canvas) => canvas.toDataURL()"
    assert slider.get_attribute("aria-valuetext") == "epoch 2"
    assert viewer.locator("[data-part=film] [role=option]").all_inner_texts() == ["epoch 0", "epoch 1", "epoch 2"]
    seen, answers = set(), set()
    for epoch in (2, 1, 0):
        assert slider.input_value() == str(epoch)
        assert slider.get_attribute("aria-valuetext") == f"epoch {epoch}"
        assert f"epoch {epoch}" in viewer.locator("[data-part=sentence]").inner_text()
        seen.add(viewer.locator("[data-part=picture]").evaluate(picture))
        answers.add(viewer.locator("[data-part=guesses]").inner_text())
        slider.focus()
        page.keyboard.press("ArrowLeft")
    assert (len(seen), len(answers)) == (3, 3)
    slider.fill("1")
    assert viewer.get_by_label("Epoch", exact=True).input_value() == "epoch 1"
    page.wait_for_url(re.compile(r"layer=epoch\+1&"))
    low = viewer.locator("[data-part=low]").inner_text()
    slider.fill("0")
    assert viewer.locator("[data-part=low]").inner_text() == low  # one scale for all epochs
    viewer.get_by_label("For the class").select_option("answered")
    assert slider.get_attribute("max") == "2"


def test_without_scripts_the_figures_stand_alone(opened, page_file):
    page = opened(page_file, width=1280, java_script_enabled=False)
    assert page.locator("figure img.figure").first.is_visible()
    assert page.locator("figure img.figure").count() >= 4
    assert not page.get_by_label("Drag through the epochs").is_visible()
