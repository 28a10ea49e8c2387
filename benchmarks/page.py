"""Gallery pages in a browser, from file://: how soon they show, how much they weigh, how fast the viewer answers.

    python benchmarks/page.py [--runs 5] [--gallery FOLDER] [--examples 1000] [--browser chromium]

Two pages: the default gallery (made into a temporary folder, or the one of --gallery), and the same with --examples
pictures in its grid. Every load is a fresh browser context. Needs Chromium and playwright. Nothing is asserted: wall
times measure the neighbours too.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

# From the navigation to the event, and how much the page had to lay out.
LOADED = """async () => {
  const painted = await new Promise((done) => new PerformanceObserver((list, observer) => {
    const first = list.getEntriesByName('first-contentful-paint')[0];
    if (first) { observer.disconnect(); done(first.startTime); }
  }).observe({ type: 'paint', buffered: true }));
  const [load] = performance.getEntriesByType('navigation');
  const elements = document.getElementsByTagName('*').length;
  return { painted, parsed: load.domContentLoadedEventEnd, loaded: load.loadEventEnd, elements };
}"""
# From the first line of the change to the second frame after it: by then the first is on the screen.
ANSWERED = """async ({ changes, prepare }) => {
  const frame = () => new Promise((done) => requestAnimationFrame(done)), found = [];
  const run = new Function('step', changes);
  if (prepare) new Function(prepare)();
  await frame(); await frame();
  for (let step = 0; step < 12; step++) {
    const began = performance.now();
    run(step);
    const script = performance.now() - began;
    await frame(); await frame();
    found.push([script, performance.now() - began]);
  }
  return found.slice(2);
}"""
VIEWER = "document.querySelector('[data-viewer]')"
OPACITY = f"""const slider = {VIEWER}.querySelector('[data-part=opacity]');
slider.value = 20 + 5 * step; slider.dispatchEvent(new Event('input'));"""
HOVER = f"""const stage = {VIEWER}.querySelector('[data-part=stage]'), box = stage.getBoundingClientRect();
const at = {{ clientX: box.left + box.width * (0.2 + 0.05 * step), clientY: box.top + box.height / 2, bubbles: true }};
stage.dispatchEvent(new PointerEvent('pointermove', at));"""
GRID = "document.querySelector('[data-examples]')"
SEARCH = f"""const search = {GRID}.querySelector('[data-part=search]');
search.value = ['', 'c', 'ci', 'cir'][step % 4]; search.dispatchEvent(new Event('input'));"""
SORT = f"""const sort = {GRID}.querySelector('[data-part=sort]');
sort.value = ['name', 'loss', 'confidence'][step % 3]; sort.dispatchEvent(new Event('change'));"""

ASKED = (("opacity", OPACITY, VIEWER), ("hover", HOVER, VIEWER), ("search", SEARCH, GRID), ("sort", SORT, GRID))


def gallery(out: Path, examples: int | None) -> Path:
    """The default gallery in `out`, with another number of examples where one is given; the path of its page."""
    from vgg_viz.api import report
    from vgg_viz.studies import preset

    standard = preset.PRESETS["standard"]
    if examples is not None:
        preset.PRESETS["standard"] = replace(standard, examples=examples)
    try:
        return report(out=out).index
    finally:
        preset.PRESETS["standard"] = standard


def measure(browser: Any, path: Path, runs: int) -> dict[str, list[float]]:
    """Every figure of every run [ms]; the page is opened anew each time."""
    found: dict[str, list[float]] = {}
    for _ in range(runs):
        context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
        page = context.new_page()
        page.goto(path.resolve().as_uri(), wait_until="load")
        for name, value in page.evaluate(LOADED).items():
            found.setdefault(name, []).append(value)
        for name, changes, place in ASKED:
            if page.evaluate(f"{place} !== null"):
                answers = page.evaluate(ANSWERED, {"changes": changes, "prepare": f"{place}.scrollIntoView()"})
                found.setdefault(f"{name}, script", []).append(statistics.median(script for script, _ in answers))
                found.setdefault(f"{name}, on the screen", []).append(statistics.median(shown for _, shown in answers))
        context.close()
    return found


def show(title: str, path: Path, found: dict[str, list[float]]) -> None:
    grid = path.read_text(encoding="utf-8").partition('data-part="examples">')[2].partition("</script>")[0]
    elements = round(found.pop("elements")[0])
    print(
        f"{title}: {path.stat().st_size / 1e6:.2f} MB, {elements:,} elements; the grid's data {len(grid) / 1e3:.0f} kB"
    )
    print(f"  {'ms':28}{'median':>9}{'min':>8}{'max':>8}")
    words = {"painted": "first contentful paint", "parsed": "scripts done", "loaded": "load event"}
    for name, values in found.items():
        print("  " + line(words.get(name, name), values))


def line(name: str, found: Sequence[float]) -> str:
    return f"{name:28}{statistics.median(found):9.1f}{min(found):8.1f}{max(found):8.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument(
        "--gallery", type=Path, help="a gallery that is there already, instead of making the default one"
    )
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--browser", default=shutil.which("chromium") or shutil.which("google-chrome") or "chromium")
    given = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder:
        pages = {
            "default gallery": given.gallery / "index.html"
            if given.gallery
            else gallery(Path(folder) / "default", None),
            f"{given.examples:,} examples": gallery(Path(folder) / "many", given.examples),
        }
        print(f"{given.runs} runs, load average {os.getloadavg()[0]:.1f}")
        with sync_playwright() as playwright:
            flags = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
            browser = playwright.chromium.launch(executable_path=given.browser, args=flags)
            for title, path in pages.items():
                show(title, path, measure(browser, path, given.runs))
            browser.close()


if __name__ == "__main__":
    main()
