"""Whether `report --budget` keeps its promise: what was asked, what loading took, what was spent, and what was left out.

    python benchmarks/budget.py [--budgets 10 20 40] [--vgg16 60] [--photos DIR] [--threads 1] [--other CHECKOUT]

Whole processes, timed from outside: the bundled network with the preset standard, then VGG16 with random weights and the preset quick
(--vgg16 0 leaves it out; painted noise stands in for photographs where no --photos are given). --other runs each of them with another
checkout of this repository as well, by turns. Spent/asked above 1 means too late. "own" are the processor seconds of the report: where
they are much less than the wall seconds, others were at the machine. The least that can be made is loading and three sections, so a
budget below that is overrun, and the report says so. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def reported(
    words: list[str], budget: float, out: Path, threads: int, checkout: Path
) -> tuple[float, float, int, dict[str, Any]]:
    """One process: wall and processor seconds, lines on stderr, and its manifest."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [
        sys.executable,
        "-m",
        "vgg_viz",
        "report",
        *words,
        "--budget",
        f"{budget:g}",
        "--quiet",
        "--out",
        str(out),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(checkout)}
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=out.parent, check=False)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if ran.returncode not in (0, 1):
        raise SystemExit(f"the report ended with status {ran.returncode}: {ran.stderr[-500:]}")
    manifest = json.loads(
        (Path(ran.stdout.strip().splitlines()[-1]).parent / "manifest.json").read_text(encoding="utf-8")
    )
    own = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, own, len(ran.stderr.strip().splitlines()), manifest


def noise(folder: Path, count: int = 6) -> Path:
    """Pictures of coloured noise, seeded."""
    import numpy as np
    from PIL import Image

    folder.mkdir()
    dice = np.random.default_rng(0)
    for number in range(count):
        Image.fromarray(dice.integers(0, 256, (16, 16, 3), dtype=np.uint8)).resize((224, 224)).save(
            folder / f"noise-{number}.png"
        )
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--budgets", type=float, nargs="+", default=[10, 20, 40], metavar="SECONDS", help="of the bundled network"
    )
    parser.add_argument("--vgg16", type=float, default=60, metavar="SECONDS", help="of VGG16; 0: none")
    parser.add_argument("--photos", type=Path, metavar="DIR", help="pictures for VGG16")
    parser.add_argument("--other", type=Path, metavar="CHECKOUT", help="another checkout to run beside this one")
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch")
    chosen = parser.parse_args()
    os.environ.pop("SOURCE_DATE_EPOCH", None)
    print(
        f"{os.cpu_count()} cores, {chosen.threads} threads, load {', '.join(f'{value:.1f}' for value in os.getloadavg())}\n"
    )
    head = f"{'network':10}{'checkout':10}{'asked':>7}{'loading':>9}{'spent':>8}{'own':>8}{'spent/asked':>13}{'stderr':>8}{'load':>6}"
    print(f"{head}  sections, maps")
    here = Path(__file__).resolve().parent.parent
    checkouts = {"this": here, **({"other": chosen.other.resolve()} if chosen.other else {})}
    with tempfile.TemporaryDirectory() as folder:
        photos = (chosen.photos or noise(Path(folder) / "noise")).resolve()
        vgg16 = ["vgg16", "--preset", "quick", "--images", str(photos)]
        runs = [("bundled", [], budget) for budget in chosen.budgets] + (
            [("vgg16", vgg16, chosen.vgg16)] if chosen.vgg16 else []
        )
        for number, (name, words, budget) in enumerate(runs):
            for which, checkout in checkouts.items():
                wall, own, lines, manifest = reported(
                    words, budget, Path(folder) / f"{which}-{number}", chosen.threads, checkout
                )
                told, load = manifest["budget"], os.getloadavg()[0]
                sections = len({exhibit["section"] for exhibit in manifest["exhibits"]})
                maps = len(manifest.get("maps") or manifest.get("receipts") or ())
                line = f"{name:10}{which:10}{budget:7g}{told['loading']:9.1f}{wall:8.1f}{own:8.1f}{wall / budget:13.2f}"
                print(f"{line}{lines:8}{load:6.1f}  {sections}, {maps}")
                print(f"    reduced: {', '.join(told['reduced']) or 'nothing'}")
                print(f"    left out: {', '.join(told['skipped']) or 'nothing'}", flush=True)


if __name__ == "__main__":
    main()
