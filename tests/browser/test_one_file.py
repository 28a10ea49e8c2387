"""A gallery as one file, and pages that are too heavy, in a real browser."""

from __future__ import annotations

import base64
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_page import fake_page
from shared_artefacts import shared_gallery

from vgg_viz.api import report
from vgg_viz.gallery import write_page as publishing
from vgg_viz.gallery.layout import PageExhibit
from vgg_viz.gallery.page import Page
from vgg_viz.gallery.write_page import publish, svg_uri
from vgg_viz.models.checkpoint import load

pytestmark = pytest.mark.browser


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled network's gallery as one file, taken away from its folder."""
    return shared_gallery(tmp_path_factory, "one-file", make) / "mailed.html"


def make(folder: Path) -> None:
    result = report(None, out=folder / "gallery", preset="quick", one_file=True)
    assert result.single is not None
    shutil.move(result.single, folder / "mailed.html")


def test_the_one_file_shows_every_figure_without_its_folder(alone: Path, opened: Any) -> None:
    page = opened(alone)
    assert_all_painted(page)
    assert page.locator("a.back").count() == 0  # there is nothing to go back to


def test_what_lay_beside_the_page_is_saved_from_the_one_file(alone: Path, opened: Any) -> None:
    page = opened(alone)
    card = page.locator("#mistakes-calibration")
    with page.expect_download() as begun:
        card.locator("a.file", has_text="JSON").click()
    assert begun.value.suggested_filename == "mistakes-calibration.json"
    written = alone.parent / "gallery" / "sample" / "data" / "mistakes-calibration.json"
    assert json.loads(Path(begun.value.path()).read_text(encoding="utf-8")) == json.loads(
        written.read_text(encoding="utf-8")
    )
    with page.expect_download() as begun:
        card.locator("a.file", has_text="PNG").click()
    assert Path(begun.value.path()).read_bytes().startswith(b"\x89PNG")


def test_the_live_network_opens_from_inside_the_one_file(alone: Path, opened: Any) -> None:
    page = opened(alone)
    with page.expect_popup() as popup:
        page.get_by_role("link", name="Explore the network live").click()
    network = popup.value
    complaints: list[str] = []
    network.on(
        "console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None
    )
    network.on("pageerror", lambda error: complaints.append(str(error)))
    network.wait_for_selector("#ui-explorer[data-ready]")
    assert network.url.startswith("blob:")
    assert network.locator("[data-part=verdict] b").first.inner_text() in load(None).classes
    assert network.locator("a.back").count() == 0
    assert complaints == []


def test_a_heavy_page_gives_its_figures_to_files(tmp_path: Path, opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    page = drawn(fake_page())
    monkeypatch.setattr(publishing, "HEAVY", 60_000)
    monkeypatch.setattr(publishing, "WARN", 50_000)
    (tmp_path / "figures").mkdir()
    said = publish(tmp_path, page)
    assert len(said) == 2
    shown = opened(tmp_path / "index.html")
    beside = shown.locator("img.figure[src^='./figures/']")
    assert beside.count() == len(list((tmp_path / "figures").iterdir())) > 0
    assert_all_painted(shown)
    for sentence in said:
        assert sentence in shown.locator(".warnings").inner_text()


def drawn(page: Page) -> Page:
    """The page with its figures as a report stores them: one SVG for both themes, escaped and not in base64."""

    def one(shown: PageExhibit) -> PageExhibit:
        kind, _, content = (shown.light or "").partition(";base64,")
        if kind != "data:image/svg+xml":
            return shown
        return replace(shown, light=svg_uri(base64.b64decode(content).decode()), dark=None)

    return replace(page, sections=tuple(replace(s, exhibits=tuple(map(one, s.exhibits))) for s in page.sections))


def assert_all_painted(page: Any) -> None:
    """Every picture of the page has been decoded, the lazy ones too."""
    page.evaluate("() => document.querySelectorAll('img').forEach((image) => { image.loading = 'eager'; })")
    page.wait_for_function("() => [...document.images].every((image) => image.complete)")
    assert (
        page.evaluate("() => [...document.images].filter((image) => !image.naturalWidth).map((image) => image.alt)")
        == []
    )


def test_a_light_page_says_nothing_about_its_weight(tmp_path: Path) -> None:
    page = replace(fake_page(), warnings=())
    assert publish(tmp_path, page) == ()
    assert 'class="warnings"' not in (tmp_path / "index.html").read_text(encoding="utf-8")
