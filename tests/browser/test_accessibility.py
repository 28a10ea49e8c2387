"""What everybody can do with a page: read, reach, operate, print it, with any theme, width or text size."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from pages import problems

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("width", [1280, 320])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", ["hostile", "hostile-index"])
def test_axe_finds_nothing_and_leaves_nothing_undecided(opened, folder, name, theme, width):
    assert problems(opened(folder / f"{name}.html", color_scheme=theme, width=width)) == []


def test_axe_finds_nothing_in_an_open_dialog_menu_and_details(opened, folder):
    page = opened(folder / "plain.html", width=320, anew=True)
    page.locator(".contents button").click()
    page.locator("details summary").first.click()
    assert problems(page) == []
    page.keyboard.press("Escape")
    page.locator("button.enlarge").first.click()
    assert page.locator("dialog").is_visible()
    assert problems(page) == []


def test_axe_sees_a_planted_fault(opened, folder):
    page = opened(folder / "plain.html", anew=True)
    page.evaluate("document.querySelector('img.figure').removeAttribute('alt')")
    assert any("image-alt" in line for line in problems(page))


@pytest.mark.parametrize(("width", "text"), [(320, "100%"), (640, "200%"), (1280, "200%")])
@pytest.mark.parametrize("name", ["hostile", "hostile-index"])
def test_nothing_scrolls_sideways(opened, folder, name, width, text):
    page = opened(folder / f"{name}.html", width=width, anew=True)
    page.evaluate("(size) => { document.documentElement.style.fontSize = size; }", text)
    wide = page.evaluate("""() => [...document.querySelectorAll('main *, header *, footer *')].filter((element) =>
        !element.closest('.scroll, .strip, .visually-hidden, svg') && element.getBoundingClientRect().right > innerWidth + 1)
        .map((element) => element.outerHTML.slice(0, 120))""")
    assert wide == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [1280, 320])
def test_targets_are_at_least_24_px(opened, folder, width):
    page = opened(folder / "plain.html", width=width)
    small = page.evaluate("""() => [...document.querySelectorAll('a, button, select, summary, input, [role=option]')].map((element) => {
        const box = (element.matches('input') && element.closest('label') || element).getBoundingClientRect();
        return [element.outerHTML.slice(0, 120), box.width, box.height];
    }).filter(([html, width, height]) => width > 0 && !html.includes('skip') && Math.min(width, height) < 24)""")
    assert small == []


def test_headings_descend_one_level_at_a_time(opened, folder):
    page = opened(folder / "plain.html")
    levels = [
        int(tag[1])
        for tag in page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map((h) => h.tagName)")
    ]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_the_skip_link_comes_first_and_leads_to_the_main_part(opened, folder):
    page = opened(folder / "plain.html", anew=True)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#main"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_the_theme_is_switched_and_remembered(opened, folder):
    page = opened(folder / "plain.html", color_scheme="light", own=True)
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    figures = "[...document.querySelectorAll('#training-curves img')].map((image) => image.checkVisibility())"
    light = page.evaluate(ground)
    assert page.evaluate(figures) == [True, False]
    page.get_by_label("Dark").check()
    dark = page.evaluate(ground)
    assert dark != light
    assert page.evaluate(figures) == [False, True]
    page.reload()
    assert page.evaluate(ground) == dark
    assert page.get_by_label("Dark").is_checked()
    page.get_by_label("Auto").check()
    assert page.evaluate(ground) == light


def test_the_contents_follow_the_reader(opened, folder):
    page = opened(folder / "plain.html")
    page.locator("nav.contents a", has_text="Attention").click()
    page.wait_for_function("() => document.querySelector('nav [aria-current]')?.textContent.includes('Attention')")
    assert page.locator("nav [aria-current]").count() == 1


def test_the_contents_fold_on_narrow_screens_and_escape_returns_the_focus(opened, folder):
    page = opened(folder / "plain.html", width=320, anew=True)
    button = page.locator(".contents button")
    assert not page.locator(".contents ol").is_visible()
    button.focus()
    page.keyboard.press("Enter")
    assert page.locator(".contents ol").is_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    assert not page.locator(".contents ol").is_visible()
    assert button.evaluate("(element) => element === document.activeElement")


def test_tables_sort_as_numbers_with_nothing_last_and_say_so(opened, folder):
    page = opened(folder / "plain.html", anew=True)
    table = page.locator("#layer-table table")
    work = table.locator("thead th", has_text="Work")

    def cells() -> list[str]:
        return table.locator("tbody tr > :nth-child(7)").all_inner_texts()

    assert work.get_attribute("aria-sort") is None
    work.locator("button").focus()
    page.keyboard.press("Enter")
    assert work.get_attribute("aria-sort") == "descending"
    falling = cells()
    page.keyboard.press("Enter")
    assert work.get_attribute("aria-sort") == "ascending"
    rising = cells()
    assert falling[-1] == rising[-1] == "–"
    assert falling[:-1] == sorted(falling[:-1], key=float, reverse=True)
    assert rising[:-1] == sorted(rising[:-1], key=float)
    table.locator("thead th", has_text="Layer").locator("button").click()
    assert work.get_attribute("aria-sort") is None
    assert table.locator("tbody th").all_inner_texts() == sorted(table.locator("tbody th").all_inner_texts())


def test_what_scrolls_can_be_reached_and_is_named(opened, folder):
    page = opened(folder / "plain.html", width=320)
    boxes = page.evaluate("""[...document.querySelectorAll('.scroll')].filter((box) => box.scrollWidth > box.clientWidth + 1)
        .map((box) => [box.tabIndex, box.getAttribute('role'), box.getAttribute('aria-label')])""")
    assert len(boxes) >= 2
    assert all(index == 0 and role == "group" and label for index, role, label in boxes)


def test_the_dialog_closes_by_escape_and_gives_the_focus_back(opened, folder):
    page = opened(folder / "plain.html")
    button = page.locator("#training-curves button.enlarge")
    button.focus()
    page.keyboard.press("Enter")
    assert page.locator("dialog img").first.is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()
    assert button.evaluate("(element) => element === document.activeElement")


def test_the_making_can_be_copied(opened, folder):
    page = opened(folder / "plain.html", own=True, permissions=["clipboard-read", "clipboard-write"])
    page.locator("[data-copy=ui-made]").click()
    page.wait_for_function("() => document.querySelector('[data-copy=ui-made]').textContent === 'Copied'")
    assert "Seed: 0\ntorch: 2.14.1" in page.evaluate("navigator.clipboard.readText()")


def test_without_scripts_everything_is_there_but_the_viewer(opened, folder):
    page = opened(folder / "plain.html", java_script_enabled=False)
    assert page.locator(".no-js").is_visible()
    for gone in (".viewer", ".theme", "button.enlarge", ".contents button", "[data-copy]"):
        assert not any(element.is_visible() for element in page.locator(gone).all()), gone
    assert page.locator("#layer-table table").is_visible()
    assert page.locator("#training-curves img").first.is_visible()
    assert page.locator("nav.contents a").first.is_visible()
    page.locator("#training-curves summary").click()
    assert page.get_by_text("0.3134").is_visible()


def test_every_figure_has_an_address_and_its_downloads(opened, folder):
    page = opened(folder / "plain.html", "#confident-errors")
    assert page.locator("figure:target h3").inner_text() == "Most confident mistakes"
    figures = page.locator(
        "main figure"
    ).evaluate_all("""(all) => all.map((figure) => [figure.id,
        figure.querySelectorAll(`a.permalink[href="#${figure.id}"]`).length, figure.querySelectorAll("a[download]").length])""")
    assert len(figures) >= 6
    for id_, links, downloads in figures:
        assert re.fullmatch(r"[a-z0-9-]+", id_)
        assert links == 1
        assert downloads >= 1


def test_the_handout_is_light_whole_and_without_controls(opened, folder):
    page = opened(folder / "plain.html", color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    for gone in ("nav.contents", ".theme", ".panel", ".takeaway", ".strip"):
        assert not page.locator(gone).first.is_visible(), gone
    figures = "[...document.querySelectorAll('#training-curves img')].map((image) => image.checkVisibility())"
    assert page.evaluate(figures) == [True, False]
    assert page.evaluate("getComputedStyle(document.documentElement).color") == "rgb(28, 28, 26)"
    cut = page.evaluate(
        "[...document.querySelectorAll('.table-box')].filter((box) => box.scrollHeight > box.clientHeight + 1).length"
    )
    assert cut == 0
    assert page.locator(".stage canvas").first.is_visible()
    assert len(re.findall(rb"/Type\s*/Page\b", page.pdf())) >= 4
