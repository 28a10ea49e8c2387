"""Pages are handed on from test to test, and still each test stands alone: what one did, the next does not see nor answer for."""

from __future__ import annotations

import pytest
from tabs import Opened

pytestmark = pytest.mark.browser


def handed_on(tabs, *, failed: bool = False, **options):
    """Open, let the caller do what a test would do, close; returns what the guard found."""
    pages = Opened(tabs)
    page = pages(**options)
    return page, lambda: pages.close(failed=failed)


def test_the_document_stays_and_each_test_answers_for_its_own_words(tabs, folder):
    page, close = handed_on(tabs, path=folder / "plain.html")
    page.evaluate("() => { window.mark = 1; console.error('first'); }")
    assert close() == ["first"]
    again, close = handed_on(tabs, path=folder / "plain.html", address="#layer-table")
    assert again is page
    assert again.evaluate("[window.mark, location.hash]") == [1, "#layer-table"]
    again.evaluate("fetch('https://example.invalid/').catch(() => null)")
    assert any("example.invalid" in fault for fault in close())


def test_what_a_page_says_between_two_tests_is_not_lost(tabs, folder):
    page, close = handed_on(tabs, path=folder / "plain.html")
    assert close() == []
    page.evaluate("console.error('late')")
    page.evaluate("1")  # all before it has been told
    pages = Opened(tabs)
    with pytest.raises(AssertionError, match="late"):
        pages(folder / "plain.html")
    assert pages.close(failed=True) == []
    again, close = handed_on(tabs, path=folder / "plain.html")
    assert close() == []
    again.evaluate("console.error('last')")
    again.evaluate("1")  # all before it has been told
    assert tabs.close() == ["last"]


def test_store_window_theme_and_medium_are_as_new_for_the_next(tabs, folder):
    page, close = handed_on(tabs, path=folder / "plain.html", width=320, color_scheme="dark")
    page.emulate_media(media="print")
    page.locator("nav.contents a").first.focus()
    page.evaluate("() => { localStorage.setItem('vgg_viz theme', 'dark'); scrollTo(0, 500); }")
    assert close() == []
    again, close = handed_on(tabs, path=folder / "plain.html")
    assert again is page
    assert again.evaluate("""[localStorage.length, innerWidth, scrollY, document.activeElement.localName,
        matchMedia('print').matches, matchMedia('(prefers-color-scheme: dark)').matches]""") == [
        0,
        1280,
        0,
        "body",
        False,
        False,
    ]
    assert close() == []


@pytest.mark.parametrize("options", [{"anew": True}, {"own": True}, {"failed": True}], ids=str)
def test_a_document_that_was_changed_or_failed_is_handed_to_nobody(tabs, folder, options):
    page, close = handed_on(tabs, path=folder / "plain.html", **options)
    page.evaluate("() => { window.mark = 1; }")
    assert close() == []
    again, close = handed_on(tabs, path=folder / "plain.html")
    assert again.evaluate("window.mark") is None
    assert close() == []
