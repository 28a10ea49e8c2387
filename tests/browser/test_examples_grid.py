# ruff: noqa: E501  (a line a script, a line a record)
"""The grid of examples: what is asked for is what is shown, by mouse, by keyboard and by address."""

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
from urllib.parse import parse_qs, urlencode

import numpy as np
import pytest
import torch
from fake_page import HOSTILE, attention, exhibits, fake_page
from pages import go, problems, until
from PIL import Image
from viewer_data import told_by_hand

from vgg_viz.gallery.html_text import escape_hidden
from vgg_viz.gallery.layout import PageExhibit, PageSection
from vgg_viz.gallery.page import render
from vgg_viz.records import Caption, Exhibit
from vgg_viz.sections.report.examples import sheet

pytestmark = pytest.mark.browser
COUNT = 45
CLASSES = ("circle", "square", "Ünïcode star", "ring")
COLOURS = torch.rand(COUNT, 3, generator=torch.Generator().manual_seed(1)).mul(0.8).add(0.1)


def payload(
    names: tuple[str, ...] | None = None, classes: tuple[str, ...] = CLASSES, *, masks: bool = True, count: int = COUNT
) -> dict[str, Any]:
    """Invented answers; the picture of each is one colour of its own."""
    noise = np.random.default_rng(4)
    true = [i % len(classes) for i in range(count)]
    tops, losses = [], []
    for label in true:
        shares = np.sort(noise.dirichlet([1.5] * 4))[::-1]
        order = (
            noise.permutation(4) if noise.random() < 0.5 else np.array([label, *[c for c in range(4) if c != label]])
        )
        tops.append([[int(c), round(float(p), 5)] for c, p in zip(order, shares, strict=True)])
        losses.append(float(-np.log(max(1e-6, dict(map(tuple, tops[-1])).get(label, 0)))))
    colours = COLOURS.repeat(-(-count // COUNT), 1)[:count]
    inside = [None if i % 9 == 8 else round(float(x), 4) for i, x in enumerate(noise.random(count))]
    return {
        "kind": "examples",
        "classes": list(classes),
        "low": 0.5,
        "of": 500,
        "layer": "relu2_2",
        "reason": "" if masks else "These pictures come without masks.",
        "sheet": sheet(colours[:, :, None, None].expand(-1, -1, 32, 32).contiguous()),
        "place": [3 * i + 1 for i in range(count)],
        "name": list(names or [f"photo_{i:03d}.png" for i in range(count)]),
        "true": true,
        "top": tops,
        "loss": losses,
        "inside": inside if masks else [None] * count,
        "area": [0.3 if masks else None] * count,
        "photos": [[4, 2], [7, 0]],
    }


def grid_page(folder: Path, data: dict[str, Any]) -> Path:
    """A page with a grid of `data`, and a viewer behind it: one file for the same data."""
    path = folder / f"examples-{sha256(json.dumps(data).encode()).hexdigest()[:12]}.html"
    if not path.exists():
        words = Caption("What is seen.", "How it is read.", "What it cannot say.")
        grid = PageExhibit(
            Exhibit("examples-grid", "Search, filter, sort", words, "A grid of pictures.", viewer=data),
            files=(("CSV", "data/x.csv"),),
        )
        base = exhibits(False)["viewer"]
        viewer = replace(base, exhibit=replace(base.exhibit, viewer=told_by_hand(attention(4, hostile=False))))
        sections = (
            PageSection("examples", "Examples", exhibits=(grid,)),
            PageSection("attention", "Attention", exhibits=(viewer,)),
        )
        path.write_text(render(replace(fake_page(False), sections=sections)), encoding="utf-8")
    return path


def show(opened, folder, data: dict[str, Any], address: str = "#view=examples-grid", **options):
    """The grid of `data`, at an address that says its whole state: without more words, the one it opens with."""
    page = opened(grid_page(folder, data), address, **options)
    until(page, "document.querySelector('[data-part=status]').textContent !== ''")
    return page


def address(**state: object) -> str:
    return "#" + urlencode({"view": "examples-grid", **state})


def facts(data: dict[str, Any]) -> list[dict[str, Any]]:
    """The examples as a test sees them: a second reading of the payload."""
    return [
        {
            "name": name,
            "true": data["true"][i],
            "said": top[0][0],
            "confidence": top[0][1],
            "margin": top[0][1] - top[1][1],
            "loss": data["loss"][i],
            "inside": data["inside"][i],
            "wrong": top[0][0] != data["true"][i],
            "low": top[0][1] < 0.5,
            "place": data["place"][i],
            "outside": data["inside"][i] is not None and data["inside"][i] < data["area"][i],
        }
        for i, (name, top) in enumerate(zip(data["name"], data["top"], strict=True))
    ]


def names(page) -> list[str]:
    """File names in the order of the grid."""
    return page.evaluate(
        """[...document.querySelectorAll('.example')].map((tile) => tile.getAttribute('aria-label').split('; ')[1])"""
    )


def status(page) -> str:
    return page.locator("[data-part=status]").inner_text()


def focused(page) -> str:
    return page.evaluate("document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent")


def state_of(page, script: str) -> dict[str, str]:
    """The address, once an expression says that it is written."""
    until(page, script)
    return {key: value[0] for key, value in parse_qs(page.evaluate("location.hash.slice(1)")).items()}


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    found = payload()
    known = facts(found)
    for key in ("wrong", "low", "outside"):
        assert 4 < sum(one[key] for one in known) < COUNT - 4, "the oracle needs both kinds"
    return found


# ---------------------------------------------------------------- search, filters, order


@pytest.mark.parametrize(
    ("typed", "fits"),
    [
        ("PHOTO_01", lambda one: one["name"].startswith("photo_01")),
        ("unicode", lambda one: 2 in (one["true"], one["said"])),
        ("ÏCODE ST", lambda one: 2 in (one["true"], one["said"])),
        ("  ring ", lambda one: 3 in (one["true"], one["said"])),
    ],
)
def test_the_search_finds_classes_and_files_without_capitals_or_accents(opened, folder, data, typed, fits):
    page = show(opened, folder, data)
    page.get_by_label("Search classes and file names").fill(typed)
    expected = {one["name"] for one in facts(data) if fits(one)}
    assert 0 < len(expected) < COUNT
    assert set(names(page)) == expected
    assert status(page) == f"{len(expected)} of {COUNT} shown"
    until(page, "document.querySelector('[data-examples] [data-part=live]').textContent", status(page))


@pytest.mark.parametrize("key", ["wrong", "low", "outside"])
def test_each_filter_keeps_what_it_names_and_counts_it(opened, folder, data, key):
    page = show(opened, folder, data)
    expected = {one["name"] for one in facts(data) if one[key]}
    assert page.locator(f"[data-count={key}]").inner_text() == str(len(expected))
    page.locator(f"[data-filter={key}]").check()
    assert set(names(page)) == expected


def test_filters_add_up_and_each_count_foretells_what_its_choice_gives(opened, folder, data):
    page = show(opened, folder, data)
    page.locator("[data-filter=low]").check()
    page.get_by_label("True class", exact=True).select_option("1")
    for key in ("wrong", "right", "outside"):
        foretold = page.locator(f"[data-count={key}]").inner_text()
        page.locator(f"[data-filter={key}]").check()
        assert status(page) == f"{foretold} of {COUNT} shown"
        page.locator(f"[data-filter={key}]").uncheck()
    page.locator("[data-filter=right]").check()
    expected = {one["name"] for one in facts(data) if one["low"] and one["true"] == 1 and not one["wrong"]}
    assert set(names(page)) == expected
    page.locator("[data-filter=wrong]").check()  # both answers: as many as with none
    assert set(names(page)) == {one["name"] for one in facts(data) if one["low"] and one["true"] == 1}
    page.get_by_role("button", name="Reset").click()
    assert len(names(page)) == COUNT
    assert not page.locator("[data-filter]:checked").count()


def test_the_predicted_class_is_chosen_and_its_options_carry_counts(opened, folder, data):
    page = show(opened, folder, data)
    said = [one["said"] for one in facts(data)]
    texts = page.get_by_label("Predicted class", exact=True).locator("option").all_inner_texts()
    assert texts == ["any", *(f"{name} ({said.count(i)})" for i, name in enumerate(CLASSES))]
    page.get_by_label("Predicted class", exact=True).select_option("0")
    assert len(names(page)) == said.count(0)


@pytest.mark.parametrize(
    ("sort", "key"),
    [
        ("loss", "loss"),
        ("confidence", "confidence"),
        ("margin", "margin"),
        ("attention", "inside"),
        ("name", "name"),
        ("place", "place"),
    ],
)
def test_every_order_is_kept_in_both_directions_with_what_is_missing_last(opened, folder, data, sort, key):
    page = show(opened, folder, data)
    page.locator("[data-part=sort]").select_option(sort)
    by_name = {one["name"]: one[key] for one in facts(data)}
    for order, reverse in (("up", False), ("down", True)):
        page.locator("[data-part=order]").select_option(order)
        values = [by_name[name] for name in names(page)]
        known = [value for value in values if value is not None]
        assert known == sorted(known, reverse=reverse)
        assert values == known + [None] * (COUNT - len(known))
    assert len(known) == (COUNT if key != "inside" else COUNT - 5)


def test_an_empty_grid_says_which_filter_to_drop_and_drops_it(opened, folder, data):
    fits = [one for one in facts(data) if one["wrong"] and one["true"] == 0]
    page = show(opened, folder, data, address(wrong=1, true=1, search="no such thing"))
    empty = page.locator("[data-part=empty]")
    assert status(page) == f"0 of {COUNT} shown"
    said = empty.locator("p").first.inner_text()
    assert "“no such thing”" in said
    assert re.findall(r"\d+", said) == [str(len(fits))]
    assert not page.locator("[role=grid]").is_visible()
    empty.get_by_role("button", name="Drop the search").click()
    assert set(names(page)) == {one["name"] for one in fits}
    assert focused(page) == f"{len(fits)} of {COUNT} shown"
    go(page, "view=examples-grid&search=none&true=1&predicted=2&wrong=1&right=0&low=1&outside=1")
    empty.get_by_role("button", name=f"Show all {COUNT}").click()
    assert len(names(page)) == COUNT


def test_a_filter_without_masks_is_off_with_its_reason(opened, folder):
    page = show(opened, folder, payload(masks=False), address(outside=1))
    box = page.locator("[data-filter=outside]")
    assert box.is_disabled()
    assert (
        page.locator(f"[id={box.get_attribute('aria-describedby')}]").inner_text()
        == "These pictures come without masks."
    )
    assert len(names(page)) == COUNT
    assert "attention" not in page.locator("[data-part=sort] option").evaluate_all(
        "(all) => all.map((one) => one.value)"
    )
    page.locator(".example").first.click()
    assert "object" not in page.locator("dialog [data-part=facts]").inner_text()


# ---------------------------------------------------------------- pictures


def colour_at(shot: bytes, x: float, y: float) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"), np.float32)[int(y), int(x)] / 255


@pytest.mark.parametrize("scale", [1, 1.5])
def test_every_tile_and_its_dialog_show_the_picture_of_their_example(opened, folder, data, scale):
    page = show(opened, folder, data, address(sort="place", order="up"), device_scale_factor=scale)
    page.evaluate("""() => {
        const address = getComputedStyle(document.querySelector('[role=grid]')).getPropertyValue('--sheet');
        const sheet = Object.assign(new Image(), { src: address.slice(5, -2) });
        return sheet.decode();
    }""")
    for index in (0, 6, 7, 20, COUNT - 1):
        tile = page.locator(f"[data-index='{index}'] .example-picture")
        tile.scroll_into_view_if_needed()
        shot, box = tile.screenshot(), tile.bounding_box()
        assert box["width"] == pytest.approx(64)
        for x, y in ((0.06, 0.3), (0.5, 0.04), (0.5, 0.5), (0.3, 0.96), (0.94, 0.3)):
            found = colour_at(shot, x * box["width"] * scale, y * box["height"] * scale)
            np.testing.assert_allclose(found, COLOURS[index].numpy(), atol=0.07)
        tile.click()
        uri = page.locator("dialog.example-dialog canvas").evaluate("(canvas) => canvas.toDataURL()")
        large = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGB"), np.float32) / 255
        assert min(large.shape[:2]) >= 320
        np.testing.assert_allclose(large, np.broadcast_to(COLOURS[index].numpy(), large.shape), atol=0.07)
        page.keyboard.press("Escape")


def test_the_grid_is_printed_whole_with_its_pictures(opened, folder, data):
    page = show(opened, folder, data, anew=True)
    page.emulate_media(media="print")
    assert page.evaluate(
        """() => { const grid = document.querySelector('[role=grid]'); return grid.scrollHeight <= grid.clientHeight + 1; }"""
    )
    for gone in (".example-controls", ".example-filters", "[data-part=reset]"):
        assert not page.locator(gone).is_visible()
    with_pictures = page.pdf()
    page.evaluate("document.querySelector('[role=grid]').style.removeProperty('--sheet')")
    pictures = [len(re.findall(rb"/Subtype\s*/Image", pdf)) for pdf in (with_pictures, page.pdf())]
    assert pictures[0] > pictures[1]


# ---------------------------------------------------------------- keyboard and dialog


def columns_of(page) -> int:
    return page.locator("[role=row]").first.locator("[role=gridcell]").count()


def test_the_grid_is_one_tab_stop_and_arrows_walk_in_two_dimensions(opened, folder, data):
    page = show(opened, folder, data, address(sort="place", order="up"))
    page.locator("[data-part=status]").focus()
    assert page.locator("[role=grid] [tabindex='0']").count() == 1
    page.locator("[role=grid] [tabindex='0']").focus()
    across = columns_of(page)
    assert 4 < across < 20
    last = COUNT - 1
    lowest = (last // across) * across
    walk = [
        ("ArrowRight", 1),
        ("ArrowDown", 1 + across),
        ("ArrowLeft", across),
        ("End", 2 * across - 1),
        ("Home", across),
        ("ArrowUp", 0),
        ("ArrowUp", 0),
        ("Control+End", last),
        ("ArrowDown", last),
        ("ArrowRight", last),
        ("Home", lowest),
        ("Control+Home", 0),
        ("ArrowLeft", 0),
        ("PageDown", None),
        ("PageUp", 0),
    ]
    for key, place in walk:
        page.keyboard.press(key)
        if place is None:
            index = int(page.evaluate("document.activeElement.dataset.index"))
            assert index % across == 0
            assert index > 0
        else:
            assert focused(page).endswith(f"; photo_{place:03d}.png"), key
    box = page.evaluate("""() => { const tile = document.activeElement.getBoundingClientRect(), grid = document.querySelector('[role=grid]').getBoundingClientRect();
        return [tile.top >= grid.top - 1, tile.bottom <= grid.bottom + 1]; }""")
    assert box == [True, True]
    page.keyboard.press("Tab")
    assert not page.evaluate("document.querySelector('[role=grid]').contains(document.activeElement)")
    page.keyboard.press("Shift+Tab")
    assert focused(page).endswith("; photo_000.png")


def test_focus_shows_all_that_hover_shows(opened, folder, data):
    page = show(opened, folder, data, address(sort="place", order="up"))
    value = page.locator("[data-examples] [data-part=value]")
    said = {}
    for index in (3, 9):
        page.locator(f"[data-index='{index}']").hover()
        said[index] = value.inner_text()
        assert f"photo_{index:03d}.png" in said[index]
        assert f"Loss {data['loss'][index]:.3g}" in said[index].replace("−", "-") or data["loss"][index] < 1e-3
    page.mouse.move(0, 0)
    for index in (3, 9):
        page.locator(f"[data-index='{index}']").focus()
        assert value.inner_text() == said[index]
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") in ("solid", "auto")


def test_the_dialog_tells_every_number_and_steps_through_what_is_shown(opened, folder, data):
    page = show(opened, folder, data, address(sort="loss", order="down", wrong=1))
    order = names(page)
    page.locator("[role=grid] [tabindex='0']").focus()
    page.keyboard.press("Enter")
    dialog = page.locator("dialog.example-dialog")
    assert dialog.get_by_role("heading", level=4).inner_text() == order[0]
    one = next(one for one in facts(data) if one["name"] == order[0])
    text = dialog.locator("[data-part=facts]").inner_text()
    for shown in (
        f"{100 * one['confidence']:.2f} %",
        f"{one['loss']:.3g} nat",
        CLASSES[one["true"]],
        f"{one['place']}",
    ):
        assert shown in text
    assert len(dialog.locator(".guesses li").all()) == 4
    assert dialog.locator(".mark.wrong").count() == 1
    assert "Wrong: says" in dialog.locator("[data-part=verdict]").inner_text()
    assert dialog.locator("[data-part=before]").get_attribute("aria-disabled") == "true"
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert dialog.get_by_role("heading", level=4).inner_text() == order[2]
    assert dialog.locator("[data-part=where]").inner_text() == f"3 of {len(order)}"
    dialog.get_by_role("button", name="Next").click()
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    until(page, "document.activeElement.getAttribute('aria-label')?.split('; ')[1]", order[3])
    assert state_of(page, "!location.hash.includes('example=')")["view"] == "examples-grid"


def test_the_arrow_keys_stop_at_both_ends(opened, folder, data):
    page = show(opened, folder, data, address(sort="place", order="up", example=COUNT))
    dialog = page.locator("dialog.example-dialog")
    for key, place in (("ArrowRight", COUNT), ("ArrowLeft", COUNT - 1)):
        page.keyboard.press(key)
        assert dialog.locator("[data-part=where]").inner_text() == f"{place} of {COUNT}"
    go(page, "view=examples-grid&sort=place&order=up&example=1")
    dialog.get_by_role("heading", name="photo_000.png").wait_for()
    page.keyboard.press("ArrowLeft")
    assert dialog.locator("[data-part=where]").inner_text() == f"1 of {COUNT}"


def test_the_way_to_the_maps_leads_to_that_photo_of_the_viewer(opened, folder, data):
    page = show(opened, folder, data, address(example=5))
    look = page.get_by_role("link", name="Look into it")
    assert look.is_visible()
    look.click()
    until(page, "document.activeElement?.getAttribute('aria-label')?.startsWith('Photo 3,')")
    assert not page.locator("dialog.example-dialog").is_visible()
    assert page.locator("[data-viewer] [data-part=photo]").input_value() == "2"
    assert state_of(page, "location.hash.includes('view=attention-viewer')")["photo"] == "3"
    page.go_back()
    page.locator("dialog.example-dialog").wait_for(state="visible")
    page.keyboard.press("ArrowRight")
    assert not look.is_visible()


# ---------------------------------------------------------------- the address


def test_the_address_holds_the_whole_state(opened, folder, data):
    page = show(opened, folder, data, "", anew=True)
    page.get_by_label("Search classes and file names").fill("photo")
    page.locator("[data-filter=low]").check()
    page.locator("[data-filter=wrong]").check()
    page.get_by_label("True class", exact=True).select_option("2")
    page.locator("[data-part=sort]").select_option("name")
    page.locator("[data-part=order]").select_option("down")
    page.locator(".example").nth(1).click()
    state = state_of(page, "location.hash.includes('example=')")
    assert {key: state[key] for key in state if key != "example"} == {
        "view": "examples-grid",
        "search": "photo",
        "wrong": "1",
        "low": "1",
        "true": "3",
        "sort": "name",
        "order": "down",
    }
    again = show(opened, folder, data, page.evaluate("location.hash"))
    assert names(again) == names(page)
    assert (
        again.locator("dialog [data-part=title]").inner_text() == page.locator("dialog [data-part=title]").inner_text()
    )
    assert again.evaluate("document.querySelector('[role=grid]').contains(document.activeElement)") is False
    again.keyboard.press("Escape")
    until(again, "document.querySelector('[role=grid]').contains(document.activeElement)")


def test_no_address_breaks_the_grid(opened, folder, data):
    page = show(opened, folder, data)
    noise = random.Random(0)
    keys = [
        "search",
        "wrong",
        "right",
        "low",
        "outside",
        "true",
        "predicted",
        "sort",
        "order",
        "example",
        "__proto__",
        "constructor",
    ]
    values = [
        "-1",
        "1e99",
        "NaN",
        "99",
        "0",
        "1",
        "",
        "%",
        "%E0%A4%A",
        "<script>",
        "null",
        "__proto__",
        "constructor",
        "loss",
        "attention",
        "up",
        "toString",
        "\u202e",
        "x" * 3000,
        "(",
        "\\",
    ]
    for _ in range(40):
        parts = [f"{noise.choice(keys)}={noise.choice(values)}" for _ in range(noise.randint(0, 9))]
        go(page, noise.choice(["view=examples-grid&", "view=other&", ""]) + "&".join(parts))
        assert re.fullmatch(rf"\d+ of {COUNT} shown", status(page))
    go(page, "view=examples-grid&sort=none&order=sideways&true=99&predicted=-4&example=99999&search=")
    assert len(names(page)) == COUNT
    assert not page.locator("dialog.example-dialog").is_visible()
    assert page.locator("[data-part=sort]").input_value() == "loss"


def test_an_address_of_the_viewer_leaves_the_grid_as_it_is(opened, folder, data):
    page = show(opened, folder, data, address(wrong=1))
    before = names(page)
    go(page, "view=attention-viewer&photo=2")
    assert names(page) == before
    go(page, "section-examples")
    assert names(page) == before


# ---------------------------------------------------------------- everybody


def hostile() -> dict[str, Any]:
    return payload(tuple((HOSTILE * 5)[:COUNT]), HOSTILE[:4])


def test_hostile_names_are_text_everywhere(opened, folder):
    page = show(opened, folder, hostile(), address(sort="place", order="up"))
    spoken = page.locator(".example").evaluate_all("(all) => all.map((one) => one.getAttribute('aria-label'))")
    assert all(
        line.endswith(f"; {escape_hidden(name) or '(no name)'}")
        for line, name in zip(spoken, (HOSTILE * 5)[:COUNT], strict=True)
    )
    for index, name in enumerate(HOSTILE):
        go(page, f"view=examples-grid&example={index + 1}")
        until(
            page,
            "document.querySelector('dialog [data-part=title]').textContent.slice(0, 60)",
            (escape_hidden(name) or "(no name)")[:60],
        )
    assert page.locator("img[onerror], img[src=x]").count() == 0
    assert page.title() != "owned"
    assert not any(sign in page.evaluate("document.documentElement.outerHTML") for sign in "\u202e\u2028\u0000\ufffd")


STATES = ({}, {"example": 3}, {"search": "nothing like it", "wrong": 1}, {"low": 1, "sort": "name"})


@pytest.mark.parametrize("width", [1280, 320])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_in_the_grid_its_dialog_and_an_empty_filter(opened, folder, theme, width):
    page = show(opened, folder, hostile(), color_scheme=theme, width=width)
    for state in STATES:
        go(page, address(**state))
        assert page.locator("dialog.example-dialog").is_visible() == ("example" in state)
        assert page.locator("[data-part=empty]").is_visible() == ("search" in state)
        assert problems(page) == [], state


@pytest.mark.parametrize("width", [1280, 320])
@pytest.mark.parametrize("state", [{}, {"example": 3}, {"search": "nothing like it"}])
def test_nothing_is_too_small_or_too_wide(opened, folder, width, state):
    page = show(opened, folder, hostile(), address(**state), width=width)
    small = page.evaluate("""() => [...document.querySelectorAll('.examples :is(a, button, select, input)')].map((element) => {
        const box = (element.matches('[type=checkbox]') && element.closest('label') || element).getBoundingClientRect();
        return [element.outerHTML.slice(0, 100), box.width, box.height];
    }).filter(([html, width, height]) => width > 0 && Math.min(width, height) < 24)""")
    assert small == []
    wide = page.evaluate("""() => [...document.querySelectorAll('.examples *')].filter((element) =>
        !element.closest('.visually-hidden') && element.getBoundingClientRect().right > innerWidth + 1).map((element) => element.outerHTML.slice(0, 120))""")
    assert wide == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for box in ("[role=grid]", "dialog.example-dialog"):
        assert page.evaluate(
            f"(() => {{ const box = document.querySelector('{box}'); return box.scrollWidth <= box.clientWidth; }})()"
        ), box


def test_right_and_wrong_differ_by_sign_and_words_not_by_colour_alone(opened, folder, data):
    page = show(opened, folder, data)
    tiles = page.evaluate(
        """(count) => Array.from({ length: count }, (_, index) => {
        const tile = document.querySelector(`[data-index='${index}']`), mark = tile.querySelector(".mark");
        return [tile.getAttribute("aria-label"), tile.innerText, getComputedStyle(mark, "::before").content];
    })""",
        COUNT,
    )
    for (label, said, sign), one in zip(tiles, facts(data), strict=True):
        assert (", wrong, is " in label) == one["wrong"] == ("is " in said)
        assert sign == ('"✗"' if one["wrong"] else '"✓"')


def test_the_columns_follow_the_window_and_the_focus_stays(opened, folder, data):
    page = show(opened, folder, data)
    page.locator("[data-index='20']").focus()
    wide = columns_of(page)
    page.set_viewport_size({"width": 480, "height": 800})
    until(page, f"document.querySelector('[role=row]').children.length < {wide}")
    assert page.evaluate("document.activeElement.dataset.index") == "20"
    assert len(names(page)) == COUNT


def test_a_thousand_examples_answer_search_and_keyboard(opened, folder):
    page = show(opened, folder, payload(count=1000))
    assert status(page) == "1,000 of 1,000 shown"
    page.get_by_label("Search classes and file names").fill("photo_99")
    assert len(names(page)) == 10
    page.get_by_label("Search classes and file names").fill("")
    page.locator("[role=grid] [tabindex='0']").focus()
    page.keyboard.press("Control+End")
    assert page.evaluate("document.activeElement.parentElement.parentElement.nextElementSibling") is None


def test_without_scripts_the_reader_is_told_where_the_numbers_are(opened, folder, data):
    page = opened(grid_page(folder, data), java_script_enabled=False)
    assert not page.locator(".examples").is_visible()
    assert "needs JavaScript" in page.locator("#examples-grid .no-js").inner_text()
    assert page.locator("#examples-grid a[download]").is_visible()
