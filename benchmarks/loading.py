"""Weights of a VGG16 made ready: built on the meta device around a memory map, and the plain way.

    python benchmarks/loading.py [--repeats 5] [--threads 2]

A state dict of random weights under torchvision's names (528 MiB) is written to a temporary folder first, so the file is
in the disk cache: what is compared is work, not the disk. A first pass through mapped weights still has to read them, so a
forward pass of one picture is timed after each. Nothing is asserted.

`inspect` on the same file, and on the same weights as safetensors, is measured last, in processes of their own: wall seconds and
resident memory beyond the imports that it needs (torchvision among them, which carries the names of the 1,000 classes).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import load, read_checkpoint


def write(path: Path) -> None:
    """VGG16's state dict with seeded random weights."""
    weights = build("vgg16", seed=0).state_dict()
    torch.save(weights, path)
    save_file(weights, path.with_suffix(".safetensors"))


def mapped(path: Path) -> nn.Module:
    """A network without storage, given the mapped tensors as they are."""
    return build(read_checkpoint(path))


def checked(path: Path) -> nn.Module:
    """As `mapped`, and every weight looked at once: not a number, not infinite. This is what the commands do."""
    return build(load(path))


def plain(path: Path) -> nn.Module:
    """What a training script does: build with random weights, read the file, copy."""
    model = build("vgg16", seed=1)
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return model.eval()


def plain_torchvision(path: Path) -> nn.Module:
    """The same with torchvision's own network."""
    from torchvision.models import vgg16

    model = vgg16()
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return model.eval()


INSPECT = """
import contextlib, io, sys, time
import vgg_viz.cli, vgg_viz.data.folder, vgg_viz.models.checkpoint, vgg_viz.sections.report.report, vgg_viz.studies.inspection
import torchvision.models, vgg_viz.studies.inputs, vgg_viz.gallery.folder
from vgg_viz.models import formats, containers
from vgg_viz.registry import discover
discover(formats.__name__), discover(containers.__name__)
vgg_viz.models.checkpoint.load()  # what torch itself imports when it first opens a file
def kept(word):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(word)) / 1024
open("/proc/self/clear_refs", "w").write("5")  # the peak is counted from here
before, began, worked = kept("VmRSS"), time.perf_counter(), time.process_time()
with contextlib.redirect_stdout(io.StringIO()) as said:
    status = vgg_viz.cli.main(["inspect", sys.argv[1], "--json"])
took, worked = time.perf_counter() - began, time.process_time() - worked
assert status == 0 and '"vgg16"' in said.getvalue()
print(took, worked, kept("VmHWM") - before, kept("VmRSS") - before)
"""


def inspected(path: Path, rounds: int) -> None:
    """Print what `inspect` costs beyond its imports: seconds, the peak of resident memory, what stays resident."""
    found = []
    for _ in range(rounds):
        done = subprocess.run([sys.executable, "-c", INSPECT, str(path)], capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"inspect could not be measured here: {done.stderr.strip().splitlines()[-1]}")
            return
        found.append([float(value) for value in done.stdout.split()])
    seconds, worked, peak, rest = (statistics.median(column) for column in zip(*found, strict=True))
    slowest = max(row[0] for row in found)
    size = path.stat().st_size / 2**20
    print(
        f"inspect, {path.suffix}, {size:.0f} MiB, beyond imports: {seconds:.3f} s (slowest {slowest:.3f}; {worked:.3f} s "
        f"of processor time), {peak:.0f} MiB resident at its peak, {rest:.0f} MiB at the end; {rounds} processes"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="rounds; medians are printed")
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    ways: dict[str, Callable[[Path], nn.Module]] = {
        "meta device, memory map, assign": mapped,
        "the same, and every weight checked": checked,
        "build, torch.load, load_state_dict": plain,
        "the same with torchvision's VGG16": plain_torchvision,
    }
    image = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    ready: dict[str, list[float]] = {name: [] for name in ways}
    passed: dict[str, list[float]] = {name: [] for name in ways}
    logits: dict[str, Tensor] = {}
    load_before = os.getloadavg()
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        path = Path(folder) / "vgg16.pt"
        write(path)
        size = path.stat().st_size / 2**20
        print(f"VGG16, {size:.0f} MiB, {chosen.threads} threads, {chosen.repeats} rounds, torch {torch.__version__}")
        plain_torchvision(path)  # imports torchvision outside the clock
        for _ in range(chosen.repeats):
            for name, act in ways.items():
                began = time.perf_counter()
                model = act(path)
                ready[name].append(time.perf_counter() - began)
                began = time.perf_counter()
                given = image if act is not plain_torchvision else model_input(image)
                logits[name] = model(given)
                passed[name].append(time.perf_counter() - began)
                del model
        for one in (path, path.with_suffix(".safetensors")):
            inspected(one, chosen.repeats)
    first = statistics.median(next(iter(ready.values())))
    print(f"{'wall seconds until ready':38}{'median':>9}{'min':>8}{'max':>8}{'x first':>9}{'first pass':>12}")
    for name, found in ready.items():
        middle = statistics.median(found)
        print(
            f"{name:38}{middle:9.3f}{min(found):8.3f}{max(found):8.3f}{middle / first:8.1f}x{statistics.median(passed[name]):12.3f}"
        )
    alike = all(torch.equal(one, logits["meta device, memory map, assign"]) for one in logits.values())
    print(f"logits of all four are {'equal bit for bit' if alike else 'NOT equal'}")
    shown = [", ".join(f"{value:.1f}" for value in pair) for pair in (load_before, os.getloadavg())]
    print(f"{os.cpu_count()} cores; load before {shown[0]}; after {shown[1]}")


def model_input(image: Tensor) -> Tensor:
    """The picture as torchvision's network wants it: normalised outside."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return (image - mean) / std


if __name__ == "__main__":
    main()
