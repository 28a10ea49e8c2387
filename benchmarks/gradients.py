"""Methods of many passes on VGG16 at 224 px, beside the bare cost of their passes, and what memory they take beyond the network.

    python benchmarks/gradients.py [--pictures 8] [--rounds 3] [--threads 2] [--steps 32] [--samples 16]

Bare is a forward and a backward pass to the pixels, frozen weights, channels last, in batches of 4, as often as the method asks.
Each method and its bare cost run in turn, round by round, in one process; a ratio is the median over rounds. Memory is the
largest resident size of a process of its own that runs the method once, less that of one that only builds the network and runs
a forward pass of one picture without a graph. Nothing is asserted. On a shared machine read the CPU seconds, with --threads 1.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from vgg_viz.attribution import Options, attribute, methods
from vgg_viz.capture.hooks import eval_mode, frozen
from vgg_viz.models.build import build

NAMES = ("integrated_gradients", "smoothgrad", "vargrad", "gradient_shap")
SIDE, TARGET, BATCH = 224, 5, 4


def bare(model: nn.Module, images: Tensor, passes: float) -> None:
    """As many forward and backward passes of every picture as a method of `passes` counts."""
    with eval_mode(model), frozen(model):
        for _ in range(round(passes / 2 * len(images) / BATCH)):
            part = images[:1].expand(BATCH, -1, -1, -1).clone(memory_format=torch.channels_last).requires_grad_()
            torch.autograd.grad(model(part)[:, TARGET].sum(), part)


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def peak(name: str, arguments: argparse.Namespace) -> float:
    """Largest resident size [GB] of a process that runs one method once; "nothing": that only builds the network."""
    words = [
        sys.executable,
        __file__,
        "--alone",
        name,
        "--pictures",
        str(arguments.pictures),
        "--threads",
        str(arguments.threads),
        "--steps",
        str(arguments.steps),
        "--samples",
        str(arguments.samples),
    ]
    return float(subprocess.run(words, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    """Print ratios and memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for word, default in (("pictures", 8), ("rounds", 3), ("threads", 2), ("steps", 32), ("samples", 16)):
        parser.add_argument(f"--{word}", type=int, default=default)
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = build("vgg16", seed=0)
    images = torch.rand(arguments.pictures, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    counts = {"steps": arguments.steps, "samples": arguments.samples}

    def run(name: str) -> None:
        attribute(model, images, name, target=TARGET, options=methods()[name].relevant(Options(**counts)))

    if arguments.alone:
        with torch.no_grad(), eval_mode(model):
            model(images[:1])
        if arguments.alone != "nothing":
            run(arguments.alone)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)
        return
    alone = peak("nothing", arguments)
    print(
        f"VGG16, {arguments.pictures} pictures of {SIDE} px, {arguments.threads} threads, medians of {arguments.rounds} rounds"
    )
    print(f"{'method':22}{'passes':>8}{'wall [s]':>10}{'bare [s]':>10}{'ratio':>8}{'CPU ratio':>11}{'memory [GB]':>13}")
    for name in NAMES:
        passes = methods()[name].cost(model, Options(**counts), SIDE) or 0.0
        bare(model, images, 2 * BATCH / len(images))
        ours, theirs = [], []
        for _ in range(arguments.rounds):
            ours.append(timed(partial(run, name)))
            theirs.append(timed(partial(bare, model, images, passes)))
        wall, beside = statistics.median(o[0] for o in ours), statistics.median(b[0] for b in theirs)
        ratio, cpu = (statistics.median(o[i] / b[i] for o, b in zip(ours, theirs, strict=True)) for i in (0, 1))
        memory = peak(name, arguments) - alone
        print(f"{name:22}{passes:8.0f}{wall:10.1f}{beside:10.1f}{ratio:8.2f}{cpu:11.2f}{memory:13.2f}", flush=True)


if __name__ == "__main__":
    main()
