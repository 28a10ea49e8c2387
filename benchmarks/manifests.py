"""Every kind of gallery made by two checkouts from the same input, and every difference between their manifests.

    python benchmarks/manifests.py OLDER_CHECKOUT [--preset standard] [--keep DIR]

The older checkout is a clone at another commit; both run in this environment, each with its own folder first on the path. The
bundled checkpoint is reported, explained, audited and compared with a short run, and that run's epochs make a timeline. Numbers that
lie in files beside a page are compared as well. Prints a line for each value that differs, and the seconds that either took.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent.parent


def commands(work: Path, preset: str) -> dict[str, list[str]]:
    """The command of each kind of gallery; `work` holds a run, a picture and the bundled checkpoint."""
    bundled, run = str(work / "bundled.pt"), work / "run"
    return {
        "report": ["report", bundled, "--preset", preset],
        "comparison": ["compare", bundled, str(run / "best.pt"), "--preset", preset],
        "timeline": ["compare", str(run), "--preset", preset, "--data", "shapes"],
        "explanation": ["explain", bundled, str(work / "picture.png"), "--preset", preset],
        "audit": ["audit", bundled, "--data", "shapes", "--limit", "200"],
    }


def run(checkout: Path, arguments: list[str], out: Path) -> float:
    """One command of a checkout; returns the seconds that it took."""
    begun = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(checkout), "SOURCE_DATE_EPOCH": "1700000000"}
    done = subprocess.run(
        [sys.executable, "-m", "vgg_viz", *arguments, "--out", str(out), "--quiet", "--device", "cpu"],
        env=environment,
        cwd=out.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1):
        sys.exit(f"{checkout.name}: {' '.join(arguments)} ended with {done.returncode}: {done.stderr[-500:]}")
    return time.perf_counter() - begun


def manifest(out: Path) -> dict[str, Any]:
    """The manifest of the one gallery in a folder, with the numbers that lie in files of their own put in their places."""
    (file,) = out.glob("*/manifest.json")
    told: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    for exhibit in told["exhibits"]:
        numbers = exhibit["numbers"]
        if isinstance(numbers, dict) and set(numbers) == {"file"}:
            exhibit["numbers"] = json.loads((file.parent / numbers["file"]).read_text(encoding="utf-8"))
    told["exhibits"] = {exhibit["slug"]: exhibit for exhibit in told["exhibits"]}
    return told


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """A line for each value that is not the same in both."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            where = f"{path}.{key}" if path else str(key)
            if key not in new:
                yield f"- {where}: {_short(old[key])}"
            elif key not in old:
                yield f"+ {where}: {_short(new[key])}"
            else:
                yield from differences(old[key], new[key], where)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from differences(one, other, f"{path}[{number}]")
    elif old != new:
        yield f"  {path}: {_short(old)} -> {_short(new)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 160 else f"{text[:157]}..."


def main() -> None:
    """Make all galleries twice and print what differs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("older", type=Path, help="a checkout of another commit")
    parser.add_argument("--preset", default="standard", choices=("quick", "standard", "full"))
    parser.add_argument("--kinds", nargs="*", help="of galleries; default: all five")
    parser.add_argument("--keep", type=Path, help="a folder for the galleries; default: they are removed")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = chosen.keep or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        prepare(work)
        for kind, arguments in commands(work, chosen.preset).items():
            if chosen.kinds and kind not in chosen.kinds:
                continue
            outs = [work / side / kind for side in ("older", "newer")]
            for out in outs:
                out.mkdir(parents=True)
            seconds = [
                run(checkout, arguments, out)
                for checkout, out in zip((chosen.older.resolve(), HERE), outs, strict=True)
            ]
            lines = list(differences(*(manifest(out) for out in outs)))
            print(
                f"\n{kind}: {seconds[0]:.1f} s older, {seconds[1]:.1f} s newer; {len(lines)} values differ", flush=True
            )
            for line in lines:
                print(f"    {line}", flush=True)


def prepare(work: Path) -> None:
    """The bundled checkpoint, a short run that kept its epochs, and a painted picture."""
    sys.path.insert(0, str(HERE))
    from vgg_viz.data import shapes
    from vgg_viz.maths.images import encode_png
    from vgg_viz.models.checkpoint import BUNDLED

    (work / "bundled.pt").write_bytes(BUNDLED.read_bytes())
    (work / "picture.png").write_bytes(encode_png(shapes.paint(3, seed=5, split="test", side=64).images[2]))
    if not (work / "run" / "best.pt").exists():
        subprocess.run(
            [
                sys.executable,
                "-m",
                "vgg_viz",
                "train",
                "--data",
                "shapes",
                "--arch",
                "tiny_vgg",
                "--out",
                str(work / "run"),
                "--epochs",
                "3",
                "--train-count",
                "600",
                "--val-count",
                "100",
                "--keep-epochs",
                "all",
                "--quiet",
            ],
            env={**os.environ, "PYTHONPATH": str(HERE)},
            check=True,
            capture_output=True,
        )


if __name__ == "__main__":
    main()
