"""The main command as a user meets it: whole processes, where their time goes, and one canvas against 512 axes.

    python benchmarks/report.py [--runs 3] [--preset standard] [--checkpoint FILE [--images DIR]] [--threads 2]

Every run is a new process, imports included. Nothing is asserted: on a machine that others use too, wall seconds measure
the neighbours as well, so CPU seconds and the load stand beside them.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def process(arguments: Sequence[str], threads: int) -> tuple[float, float, str]:
    """Wall seconds, CPU seconds and standard output of one run of this Python."""
    environment = {**os.environ, **dict.fromkeys(THREADS, str(threads))}
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], env=environment, stdout=subprocess.PIPE, text=True, check=False)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(arguments)} ended with status {done.returncode}")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def line(name: str, found: Sequence[float]) -> str:
    return f"{name:34}{statistics.median(found):9.2f}{min(found):8.2f}{max(found):8.2f}"


def painting(checkpoint: str | None, images: str | None, out: str, preset: str) -> dict[str, float]:
    """The same report inside this process, with a clock around every function that draws, encodes or renders."""
    started = time.perf_counter()
    from vgg_viz.figures import write
    from vgg_viz.gallery import write_page
    from vgg_viz.registry import discover
    from vgg_viz.sections.report import report as gallery

    discover("vgg_viz.sections.report")
    rooms = [module for name, module in sys.modules.items() if name.startswith("vgg_viz.")]
    paint = [module for module in rooms if module.__name__.rpartition(".")[0] == "vgg_viz.figures"]
    draw = [
        f
        for module in paint
        for f in vars(module).values()
        if hasattr(f, "__wrapped__") and f.__module__ == module.__name__
    ]
    spent = {
        "imports": time.perf_counter() - started,
        "drawing figures": 0.0,
        "encoding figures": 0.0,
        "rendering the page": 0.0,
    }
    running: list[str] = []

    def clocked(kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*given: Any, **options: Any) -> Any:
            if running:  # one figure function may call another: the outer clock runs already
                return function(*given, **options)
            running.append(kind)
            began = time.perf_counter()
            try:
                return function(*given, **options)
            finally:
                running.pop()
                spent[kind] += time.perf_counter() - began

        return call

    clocks = {id(function): clocked("drawing figures", function) for function in draw}
    clocks |= {id(f): clocked("encoding figures", f) for f in (write.png, write.light_svg, write.adaptive_svg)}
    for room in rooms:
        for name, value in list(vars(room).items()):
            if id(value) in clocks:
                setattr(room, name, clocks[id(value)])
    write_page.render = clocked("rendering the page", write_page.render)  # type: ignore[assignment]
    gallery.report(checkpoint, images=images, out=out, preset=preset)
    return {**spent, "all": time.perf_counter() - started}


def times_of_report(checkpoint: str | None, images: str | None, runs: int, preset: str, threads: int) -> None:
    """Whole processes, then the sections of the median run, then the share that paint takes."""
    name = Path(checkpoint).name if checkpoint else "the bundled checkpoint"
    print(
        f"report on {name}, preset {preset}, {threads} threads, {runs} runs\n{'seconds':34}{'median':>9}{'min':>8}{'max':>8}"
    )
    walls, processors, manifests = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for run in range(runs):
            out = Path(folder) / str(run)
            named = ([checkpoint] if checkpoint else []) + (["--images", images] if images else [])
            command = ["-m", "vgg_viz", "report", *named, "--preset", preset, "--quiet", "--out", str(out)]
            wall, processor, said = process(command, threads)
            walls.append(wall)
            processors.append(processor)
            manifests.append(
                json.loads((Path(said.strip().splitlines()[-1]).parent / "manifest.json").read_text(encoding="utf-8"))
            )
        print(line("whole process, wall", walls) + "\n" + line("whole process, CPU", processors))
        sections = {
            slug: [manifest["timings"].get(slug, 0.0) for manifest in manifests] for slug in manifests[0]["timings"]
        }
        for slug, found in sections.items():
            print(line(f"  section {slug}", found))
        rest = [wall - sum(manifest["timings"].values()) for wall, manifest in zip(walls, manifests, strict=True)]
        print(line("  imports, files, page", rest))
        inside = [__file__, "--inside", str(Path(folder) / "painted"), "--preset", preset]
        inside += (["--checkpoint", checkpoint] if checkpoint else []) + (["--images", images] if images else [])
        shares = json.loads(process(inside, threads)[2].strip().splitlines()[-1])
    whole = shares.pop("all")
    print(f"\none more run, with a clock around every function that paints: {whole:.2f} s")
    shares["painting in all"] = sum(shares[kind] for kind in shares if kind != "imports")
    for kind, spent in shares.items():
        print(f"  {kind:32}{spent:9.2f}{spent / whole * 100:7.1f} %")
    print()


def times_of_help(runs: int, threads: int) -> None:
    """How long --help takes, and whether it imported torch."""
    found = [process(["-m", "vgg_viz", "--help"], threads)[:2] for _ in range(runs)]
    program = (
        "import sys, vgg_viz.cli\ntry: vgg_viz.cli.main(['--help'])\nexcept SystemExit: pass\n"
        "print('torch' in sys.modules)"
    )
    imported = process(["-c", program], threads)[2].strip().splitlines()[-1] == "True"
    print(f"{'seconds':34}{'median':>9}{'min':>8}{'max':>8}")
    print(
        line("--help, wall", [wall for wall, _ in found])
        + "\n"
        + line("--help, CPU", [processor for _, processor in found])
    )
    print(f"torch was {'' if imported else 'not '}imported\n")


def times_of_wall(runs: int, count: int = 512, side: int = 14) -> None:
    """A wall of feature maps as one canvas, and as one matplotlib axes a map; both end as the bytes of a PNG."""
    import io

    import numpy as np
    import torch
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from vgg_viz.figures.feature_maps import feature_wall
    from vgg_viz.figures.write import png
    from vgg_viz.maths.heatmaps import shared_scale

    maps = np.random.default_rng(0).random((count, side, side), dtype=np.float32)
    scale = shared_scale(torch.from_numpy(maps), signed=False, unit="activation", over="all channels")

    def canvas() -> bytes:
        return png(feature_wall(maps, scale, title=f"{count} channels"))

    def axes() -> bytes:
        figure = Figure(figsize=(10, 10), dpi=100)
        FigureCanvasAgg(figure)
        for one, place in zip(maps, figure.subplots(-(-count // 32), 32).flat, strict=True):
            place.imshow(one, cmap="viridis", vmin=scale.low, vmax=scale.high)
            place.axis("off")
        file = io.BytesIO()
        figure.savefig(file, format="png")
        return file.getvalue()

    ways: dict[str, Callable[[], Any]] = {"one canvas": canvas, f"{count} axes": axes}
    canvas()  # fonts are found once a process
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(runs):
        for name, act in ways.items():
            began = time.process_time()
            act()
            found[name].append(time.process_time() - began)
    print(f"{'a wall of ' + str(count) + ' maps, CPU seconds':34}{'median':>9}{'min':>8}{'max':>8}")
    for name, seconds in found.items():
        print(line(name, seconds))
    one, many = (statistics.median(seconds) for seconds in found.values())
    print(f"{count} axes take {many / one:.1f} times as long\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="of each thing; medians are printed")
    parser.add_argument("--preset", default="standard", choices=("quick", "standard", "full"))
    parser.add_argument("--checkpoint", metavar="FILE", help="instead of the bundled one")
    parser.add_argument("--images", metavar="DIR", help="pictures to look into")
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch")
    parser.add_argument(
        "--inside", metavar="DIR", help=argparse.SUPPRESS
    )  # how this script calls itself for the shares
    chosen = parser.parse_args()
    if chosen.inside:
        print(json.dumps(painting(chosen.checkpoint, chosen.images, chosen.inside, chosen.preset)))
        return
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{os.cpu_count()} cores, load over 1, 5 and 15 minutes {load}\n")
    times_of_report(chosen.checkpoint, chosen.images, chosen.runs, chosen.preset, chosen.threads)
    times_of_help(chosen.runs, chosen.threads)
    times_of_wall(chosen.runs)
    print(f"load at the end {', '.join(f'{value:.1f}' for value in os.getloadavg())}")


if __name__ == "__main__":
    main()
