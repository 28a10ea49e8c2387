"""What the tests do with a page: ask axe, go to an address, wait for what is to be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

GO = """async (address) => {
  const before = location.href, told = new Promise((done) => addEventListener("hashchange", done, { once: true }));
  location.hash = address;
  if (location.href === before) dispatchEvent(new HashChangeEvent("hashchange"));
  await told;
}"""
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa", "best-practice"]


def page_of(folder: Path) -> Path:
    """The page of the one gallery in `folder`/out."""
    (page,) = (folder / "out").glob("*/index.html")
    return page


def problems(page: Any) -> list[str]:
    """What axe calls a violation, and what it cannot decide, as one line each."""
    from axe_playwright_python.base import AXE_SCRIPT  # here, so that a missing one is refused with its reason

    page.evaluate("document.querySelectorAll('img').forEach((image) => { image.loading = 'eager'; })")
    if page.evaluate("typeof axe") == "undefined":  # one document may be asked in many states
        page.evaluate(AXE_SCRIPT)
    options = {"runOnly": {"type": "tag", "values": TAGS}, "resultTypes": ["violations", "incomplete"]}
    found = page.evaluate("(options) => axe.run(options)", options)
    assert found["testEngine"]["name"] == "axe-core"
    return [
        f"{kind} {one['id']}: {node['html'][:160]} {node['failureSummary'][:300]}"
        for kind in ("violations", "incomplete")
        for one in found[kind]
        for node in one["nodes"]
    ]


def go(page: Any, address: str) -> None:
    """Another address in the same page, and wait until it is shown: views are told of the one they are at, too."""
    page.evaluate(GO, address)


def until(page: Any, script: str, wanted: object = True) -> None:
    """Wait until an expression says what is wanted."""
    page.wait_for_function(f"(wanted) => ({script}) === wanted", arg=wanted)


def stop_the_clock(page: Any) -> None:
    """From now on time passes only where the test lets it: `page.clock.run_for(...)`. What waited so far has happened."""
    page.clock.install()
    page.clock.pause_at(page.evaluate("Date.now()") + 60_000)
