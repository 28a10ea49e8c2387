"""How fast the live explorer answers: passes through the network, and what a moving pointer costs, in Chromium.

    python benchmarks/explorer.py [--pictures 20] [--moves 60]

The page of the bundled Tiny VGG is opened from a folder, as a reader would. A pass is timed by the page itself. A pointer's
update is the time that scripts take in the frame after the movement: two callbacks of `requestAnimationFrame` stand around
the page's own. Painting by the browser comes on top. Medians and the slowest tenth are printed; nothing is asserted.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vgg_viz.gallery.explorer import Explorer, render_explorer
from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import load
from vgg_viz.studies.answers import select_images
from vgg_viz.studies.explorer_live import network, pictures
from vgg_viz.studies.inputs import specimen_batch

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
POINTED = {
    "board": ".layer.relu canvas",
    "enlarged map": "[data-part=stage]",
    "Grad-CAM map": "[data-part=cam-stage]",
    "sandbox's output": "[data-part=sandbox-stage]",
}
# One movement a frame, from place to place over an element; resolves with the milliseconds of each.
MOVES = """async ([selector, moves, name]) => {
  const element = document.querySelector(selector), box = element.getBoundingClientRect(), times = [];
  const send = (type, i) => element.dispatchEvent(new PointerEvent(type, {
    bubbles: true, pointerId: 1,
    clientX: box.left + (0.15 + 0.7 * ((i * 7) % moves) / moves) * box.width,
    clientY: box.top + (0.15 + 0.7 * i / moves) * box.height,
  }));
  if (name === "brush") { element.setPointerCapture = () => {}; send("pointerdown", 0); await new Promise(requestAnimationFrame); }
  for (let i = 1; i < moves; i++) {
    times.push(await new Promise((done) => {
      let started = 0;
      requestAnimationFrame(() => { started = performance.now(); });
      const before = performance.now();
      send("pointermove", i);
      const sent = performance.now() - before;
      requestAnimationFrame(() => done(sent + performance.now() - started));
    }));
  }
  const before = performance.now();
  if (name === "brush") { send("pointerup", moves); times.push(performance.now() - before); }
  return times;
}"""
# Rows of units: each pointed at once, the map of that unit painted.
ROWS = """async (rounds) => {
  const times = [], rows = [...document.querySelectorAll("button.cam-row")].filter((row) => row.offsetHeight);
  for (let i = 0; i < rounds; i++) {
    times.push(await new Promise((done) => {
      let started = 0;
      requestAnimationFrame(() => { started = performance.now(); });
      rows[i % rows.length].dispatchEvent(new PointerEvent("pointerenter"));
      requestAnimationFrame(() => done(performance.now() - started));
    }));
  }
  return times;
}"""


def write(folder: Path, count: int) -> Path:
    """The page with `count` of the bundled specimens."""
    checkpoint = load(None)
    batch = select_images(specimen_batch(checkpoint.specimens, checkpoint.architecture.image_side), list(range(count)))
    file = folder / "explorer.html"
    page = Explorer("bundled", "Tiny VGG", network(build(checkpoint), checkpoint.classes), pictures(batch))
    file.write_text(render_explorer(page), encoding="utf-8")
    return file


def passes(page: Any, count: int) -> tuple[list[float], list[float]]:
    """Forward and backward milliseconds, one picture after the other."""
    forward, backward = [], []
    for i in range(count):
        page.locator("[data-part=strip] [role=option]").nth(i).click()
        box = page.locator("#ui-explorer")
        forward.append(float(box.get_attribute("data-milliseconds")))
        backward.append(float(box.get_attribute("data-backward")))
    return forward, backward


def line(name: str, times: Sequence[float]) -> str:
    """A row of the table: median, slowest tenth, how many."""
    slow = statistics.quantiles(times, n=10)[-1] if len(times) > 1 else times[0]
    return f"{name:<46}{statistics.median(times):8.1f}{slow:8.1f}{len(times):8d}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=20, help="pictures that go through the network")
    parser.add_argument("--moves", type=int, default=60, help="movements of the pointer in each view")
    given = parser.parse_args()
    from playwright.sync_api import sync_playwright  # here, so that --help works without it

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS))
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(write(Path(folder), given.pictures).as_uri())
        page.wait_for_selector("#ui-explorer[data-ready]")
        passes(page, min(3, given.pictures))  # the engine compiles what runs often
        forward, backward = passes(page, given.pictures)
        print(f"Chromium {browser.version}, Tiny VGG 64 px, load of the machine {os.getloadavg()[0]:.1f}")
        print(f"{'milliseconds':<46}{'median':>8}{'slow':>8}{'n':>8}")
        print(line("forward pass, all layers", forward))
        print(line("backward pass, all layers and pixels", backward))
        for name, selector in POINTED.items():
            page.locator(selector).first.scroll_into_view_if_needed()
            print(line(f"pointer over the {name}", page.evaluate(MOVES, [selector, given.moves, name])))
        page.locator("button.cam-row").first.scroll_into_view_if_needed()
        print(line("a unit's own map beside Grad-CAM", page.evaluate(ROWS, given.moves)))
        page.locator("[data-part=brush-stage]").scroll_into_view_if_needed()
        moved, ended = [], []
        for _ in range(8):
            *moves, end = page.evaluate(MOVES, ["[data-part=brush-stage]", max(4, given.moves // 8), "brush"])
            moved += moves
            ended.append(end)
        print(line("a movement of the brush, with a forward pass", moved))
        print(line("the end of a stroke: every view anew", ended))
        browser.close()


if __name__ == "__main__":
    main()
