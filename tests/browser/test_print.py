"""The printed page is a handout: A4, light, whole, with its numbers and without what only a screen can use."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from paper import Sheet, sheets
from PIL import Image
from test_explorer_beside import Pair, shaken
from test_live_explorer import Net, ready, text

from vgg_viz.data import shapes
from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import load
from vgg_viz.models.names import layers
from vgg_viz.records import Batch
from vgg_viz.studies.answers import select_images
from vgg_viz.studies.inputs import specimen_batch

pytestmark = pytest.mark.browser
A4 = (595, 842)
INNER = 688  # what A4 leaves beside its margins [px]


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    checkpoint = load(None)
    batch = replace(
        select_images(specimen_batch(checkpoint.specimens, checkpoint.architecture.image_side), list(range(4))),
        masks=None,
    )
    net = Net(tmp_path_factory.mktemp("print") / "one.html", build(checkpoint), checkpoint.classes, batch)
    return Pair(net.file.with_name("pair.html"), net, build(shaken(checkpoint)), checkpoint.classes)


@pytest.fixture(scope="session")
def wide(pair: Pair) -> Net:
    """So many layers that the board is several sheets wide."""
    model = build("vgg11_bn", width=0.06, image_side=96, num_classes=3, seed=3, pooled=2, head=(60,))
    images = shapes.paint(2, seed=0, split="test", side=96).images
    return Net(
        pair.file.with_name("wide.html"),
        model,
        ("a", "b", "c"),
        Batch(images, torch.tensor([0, 1]), ("x.png", "y.png")),
    )


def printed(page: Any) -> list[Sheet]:
    return sheets(page.pdf(prefer_css_page_size=True, print_background=False))


def squeezed(words: str) -> str:
    return re.sub(r"\s+", "", words)


def whole(pages: list[Sheet]) -> str:
    return "".join(page.text for page in pages)


def on_paper(page: Any) -> None:
    """Lay the page out for paper, as one long sheet."""
    page.set_viewport_size({"width": INNER, "height": 900})
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= INNER


# ---------------------------------------------------------------- the explorer


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_explorer_is_a_handout_of_a_few_full_sheets(opened, pair, theme):
    page = ready(opened(pair.file, "#picture=3&layer=conv2_1&unit=4&cell=9,7", color_scheme=theme))
    said, sum_ = text(page, "value"), page.locator("[data-part=sums] .sum").last.inner_text()
    pages = printed(page)
    assert 2 <= len(pages) <= 4
    for sheet in pages:
        assert (round(sheet.width), round(sheet.height)) == A4
        assert len(sheet.text) > 150 or sheet.pictures, "a blank page"
    words = whole(pages)
    truth = pair.first.classes[int(pair.first.batch.labels[2])]
    assert squeezed("for picture 3") in words
    assert squeezed(f"({truth})") in words
    assert squeezed(f"Looked at: {said}. It sees 10 × 10 px of the picture") in words
    for kept in (
        sum_,
        "Range of all of conv2_1 on this picture",
        "Where do the two part ways?",
        "second.pt",
        *pair.first.classes,
    ):
        assert squeezed(kept) in words, kept
    hints = ("Point to see", "Choose an input", "Choose a layer", "drop or paste")
    for gone in (*hints, "Save PNG", "Your own picture", "Auto", "file:", "#"):
        assert squeezed(gone) not in words, gone


def test_paper_is_light_whatever_the_theme_and_the_screen_goes_back(opened, pair):
    page = ready(opened(pair.file, "#layer=fc3&unit=2", color_scheme="dark", own=True))
    page.locator("label", has_text="Dark").click()
    dark = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    shown = page.locator("[data-part=map]").evaluate("(canvas) => canvas.toDataURL()")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    paper = page.locator("[data-part=map]").evaluate("(canvas) => canvas.toDataURL()")
    assert paper != shown, "the zero line of the bars is drawn in the ink of the theme"
    page.emulate_media(media="print")
    pixels = np.asarray(Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("L"))
    assert np.median(pixels) > 250
    assert page.evaluate("getComputedStyle(document.querySelector('.handout')).color") == "rgb(28, 28, 26)"
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == dark
    page.wait_for_function("(before) => document.querySelector('[data-part=map]').toDataURL() === before", arg=shown)
    assert not page.locator(".handout").is_visible()


def strips(page: Any) -> list[dict[str, float]]:
    return page.locator(".board-print canvas").evaluate_all("""(all) => all.map((one) => {
        const box = one.getBoundingClientRect();
        return { left: box.left, right: box.right, width: box.width, height: box.height, pixels: one.width, tall: one.height };
    })""")


def test_the_whole_board_is_on_the_sheet(opened, pair):
    page = ready(opened(pair.file, "#layer=conv2_1&unit=4", anew=True))
    on_paper(page)
    (board,) = strips(page)
    assert board["left"] >= 0
    assert board["right"] <= INNER
    assert board["width"] > 0.9 * INNER
    assert board["width"] / board["height"] == pytest.approx(board["pixels"] / board["tall"], rel=0.01)
    assert not page.locator("[data-part=board-scroll]").is_visible()


def test_a_board_wider_than_a_sheet_is_cut_between_layers_and_nothing_is_lost(opened, wide):
    page = ready(opened(wide.file, "#layer=conv4_1&unit=2", anew=True))
    across = page.locator("[data-part=board]").evaluate("(board) => board.scrollWidth")
    assert across > 2000
    places = page.locator(".layer").evaluate_all(
        "(all) => all.map((one) => [one.offsetLeft, one.offsetLeft + one.offsetWidth])"
    )
    on_paper(page)
    found = strips(page)
    assert len(found) >= 2
    assert sum(strip["pixels"] for strip in found) / 2 == pytest.approx(across + 48, abs=4)
    assert all(strip["right"] <= INNER for strip in found)
    assert max(strip["pixels"] for strip in found) / 2 < 2000, "a strip that cannot be read"
    cuts = np.cumsum([strip["pixels"] / 2 for strip in found])[:-1] - 24
    for cut in cuts:
        assert not any(left - 1 < cut < right + 1 for left, right in places), "a layer is cut in two"
    words = whole(printed(page))
    assert squeezed("All layers, every unit") in words
    assert squeezed("Colours span each layer") in words
    assert len([layer for layer in layers(wide.model) if layer.kind == "conv"]) > 6


def test_nothing_on_the_sheet_is_cut_at_its_right_edge_or_hidden_in_a_scroller(opened, wide, pair):
    for file, address in ((wide.file, "#layer=fc6"), (pair.file, "#layer=conv2_2"), (pair.file, "#layer=softmax")):
        page = ready(opened(file, address, anew=True))
        on_paper(page)
        over = page.evaluate(
            """(most) => [...document.querySelectorAll('main *')].filter((one) => one.checkVisibility() &&
            !one.closest('.visually-hidden') && one.getBoundingClientRect().right > most + 1)
            .map((one) => one.outerHTML.slice(0, 90))""",
            INNER,
        )
        assert over == []
        cut = page.evaluate("""() => [...document.querySelectorAll('main .scroll, main .board-print')].filter((one) =>
            one.checkVisibility() && getComputedStyle(one).overflowX !== 'visible' && one.scrollWidth > one.clientWidth + 1).length""")
        assert cut == 0
        seen = page.evaluate("""() => [...document.querySelectorAll(
            'main :is(button:not(.term, .parting, .cam-row), input, select, .strip, [role=listbox])')].filter((one) =>
            one.checkVisibility({ visibilityProperty: true }) && one.getBoundingClientRect().width > 0)
            .map((one) => one.outerHTML.slice(0, 90))""")
        assert seen == []


def test_bars_and_number_grids_keep_their_colours_on_paper(opened, pair):
    page = ready(opened(pair.file, "#layer=conv2_1"))
    page.emulate_media(media="print")
    for one in (".number-grid td", ".term-bar span", ".pair-bars span", ".parting .guess-bar span"):
        # In one step: views draw anew when the medium changes.
        kept = page.evaluate(
            "(one) => [...document.querySelectorAll(one)].map((bar) => getComputedStyle(bar).printColorAdjust)", one
        )
        assert set(kept) == {"exact"}, one


# ---------------------------------------------------------------- the gallery


@pytest.mark.parametrize("name", ["plain", "hostile"])
def test_the_gallery_is_printed_on_a4_without_blank_pages(opened, folder, name):
    page = opened(folder / f"{name}.html", color_scheme="dark")
    page.wait_for_function("() => [...document.images].every((image) => image.loading === 'lazy' || image.complete)")
    figures = page.locator("main figure h3").all_inner_texts()
    pages = printed(page)
    assert 3 <= len(pages) <= 2 + len(figures)
    for sheet in pages:
        assert (round(sheet.width), round(sheet.height)) == A4
        assert len(sheet.text) > 40 or sheet.pictures, "a blank page"
    words = whole(pages)
    if name == "plain":
        for figure in figures:
            assert squeezed(figure) in words, figure
        assert words.count(squeezed("What you see")) == len(figures)
        assert squeezed("How this was made") in words
    for gone in ("Save PNG", "Enlarge", "Contents", "Opacity", "file:///", "All galleries"):
        assert squeezed(gone) not in words, gone


def test_a_heading_is_never_the_last_thing_on_a_sheet(opened, folder):
    page = opened(folder / "plain.html")
    headings = [squeezed(heading) for heading in page.locator("main :is(h2, h3), main .lead").all_inner_texts()]
    for sheet in printed(page):
        assert not any(sheet.text.endswith(heading) for heading in headings)


def test_the_index_is_printed_on_one_sheet(opened, folder):
    pages = printed(opened(folder / "plain-index.html"))
    assert len(pages) == 1
    assert squeezed("Galleries") in pages[0].text


def test_the_reader_of_paper_reads_what_stands_there(opened, tmp_path):
    (tmp_path / "known.html").write_text(
        "<!doctype html><title>x</title><style>@page { size: A4 } p { break-after: page }</style>"
        "<p>Fünf Zeichen: 1 × 2 − 3</p><p></p><p>the end</p>",
        encoding="utf-8",
    )
    pages = sheets(opened(tmp_path / "known.html").pdf(prefer_css_page_size=True))
    assert pages[0].text == "FünfZeichen:1×2−3"
    assert pages[-1].text == "theend"
    assert len(pages) == 3
    assert (pages[1].text, pages[1].pictures) == ("", 0)
