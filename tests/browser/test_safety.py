"""Nothing leaves the folder, nothing foreign runs, and hostile names stay text."""

from __future__ import annotations

import pytest
from fake_page import CLASSES, HOSTILE
from guard import leaks

from vgg_viz.gallery.html_text import escape_hidden

pytestmark = pytest.mark.browser


def test_the_guard_catches_a_page_that_calls_out(new_context, folder):
    page = new_context().new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    text = (folder / "plain.html").read_text(encoding="utf-8").replace("Content-Security-Policy", "X")
    (folder / "leaky.html").write_text(
        text.replace("</h1>", '</h1><img src="https://example.invalid/x.png" alt="">'), encoding="utf-8"
    )
    with page.expect_request("https://example.invalid/**"):
        page.goto((folder / "leaky.html").as_uri())
    assert leaks(asked, folder.as_uri()) == ["https://example.invalid/x.png"]


def test_the_policy_stops_what_slips_into_the_page(new_context, folder):
    page = new_context().new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    text = (folder / "plain.html").read_text(encoding="utf-8")
    planted = (
        '</h1><script>document.title="owned"</script><p id="x" style="color: red" onclick="document.title=\'owned\'">x</p>'
        + ('<img src="https://example.invalid/x.png" alt="">')
    )
    (folder / "planted.html").write_text(text.replace("</h1>", planted), encoding="utf-8")
    page.goto((folder / "planted.html").as_uri())
    page.locator("#x").click()
    assert page.title() != "owned"
    assert page.evaluate("getComputedStyle(document.getElementById('x')).color") != "rgb(255, 0, 0)"
    assert len([line for line in complaints if "Content Security Policy" in line]) >= 4


@pytest.mark.parametrize("name", ["hostile", "hostile-index"])
def test_hostile_names_are_shown_as_text(opened, folder, name):
    page = opened(folder / f"{name}.html")
    text = page.evaluate("document.body.textContent")
    assert "owned" not in page.title() or "<img" in page.title()
    assert page.locator("img[onerror], img[src=x]").count() == 0
    assert HOSTILE[0] in text
    if name == "hostile":
        cells = page.locator("#confident-errors tbody th").all_inner_texts()
        assert cells == [escape_hidden(hostile) or "(no name)" for hostile in HOSTILE]
        spoken = page.locator("[role=option]").evaluate_all("(all) => all.map((one) => one.getAttribute('aria-label'))")
        assert all(
            f"Photo {i + 1}, {escape_hidden(hostile) or '(no name)'}: " in spoken[i]
            for i, hostile in enumerate(HOSTILE)
        )
        page.get_by_label("Photo", exact=True).select_option("7")
        assert HOSTILE[0] in page.locator("[data-part=guesses]").inner_text()
    assert not any(sign in page.evaluate("document.documentElement.outerHTML") for sign in "\u202e\u2028\u0000\ufffd")


def test_a_name_never_becomes_an_address_that_leads_elsewhere(opened, folder):
    page = opened(folder / "hostile-index.html")
    for link in page.locator("a[href]").all():
        resolved = link.evaluate("(element) => element.href")
        assert resolved.startswith(folder.as_uri() + "/")
    assert page.locator("tr.broken a").count() == 0
    assert page.locator("tr.broken").inner_text().count("manifest.json is not JSON") == 1


def test_nothing_global_is_changed_by_names(opened, folder):
    page = opened(folder / "hostile.html")
    assert page.evaluate("Object.keys(Object.prototype).length === 0 && ({}).constructor === Object")
    assert page.evaluate("[typeof viewer, typeof CLASSES]") == ["undefined", "undefined"]
    assert len(CLASSES) == 10
