"""Occlusion of VGG16: windows that a square can reach, beside Captum's Occlusion, which asks about whole pictures.

    python benchmarks/occlusion.py [--quick] [--repeats 3] [--threads 2] [--captum-squares 32]

Both run in turn in this process, round by round, on the same picture and weights, in the same layout. Captum's time is
measured on the first `--captum-squares` squares, at 8 and at 32 in one batch, and scaled to all of them; ours is measured
whole. That the maps are equal bit for bit is checked on the whole map of a smaller case (64 squares side by side), where
Captum runs in full. Nothing is asserted. On a machine that others use too, read the CPU seconds, and pass --threads 1.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from captum.attr import Occlusion
from torch import Tensor, nn

from vgg_viz.attribution import MethodOptions, Options, attribute, methods
from vgg_viz.attribution.incremental_forward import AFTER
from vgg_viz.attribution.methods.occlusion import squares
from vgg_viz.attribution.options import baseline_for
from vgg_viz.capture.hooks import eval_mode, frozen
from vgg_viz.models.build import build

TARGET = 5


def network(side: int, width: float) -> nn.Module:
    """VGG16 with random weights, the classifier's scaled so that the logits are not all alike."""
    model = build("vgg16", image_side=side, width=width, seed=0)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear):
                module.weight.mul_(10)
    return model


def by_captum(model: nn.Module, image: Tensor, window: int, stride: int, at_once: int) -> Tensor:
    """The same question put to Captum: the map of a picture."""
    picture = image.clone(memory_format=torch.channels_last)
    found: Tensor = Occlusion(model).attribute(
        picture,
        sliding_window_shapes=(picture.shape[1], window, window),
        strides=(picture.shape[1], stride, stride),
        baselines=baseline_for(picture, "mean"),
        target=TARGET,
        perturbations_per_eval=at_once,
    )
    return found[:, 0]


class Enough(Exception):
    """Captum has been asked about as many squares as shall be timed."""


def some_squares(model: nn.Module, image: Tensor, window: int, stride: int, at_once: int, count: int) -> None:
    """Captum's first `count` squares, and nothing more; the picture itself is not one of them."""
    passed = -1

    def stop(_module: nn.Module, _inputs: object) -> None:
        nonlocal passed
        if passed * at_once >= count:
            raise Enough
        passed += 1

    hook = model.register_forward_pre_hook(stop)
    try:
        by_captum(model, image, window, stride, at_once)
    except Enough:
        pass
    finally:
        hook.remove()


def seconds(act: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds of one call."""
    wall, processor = time.perf_counter(), time.process_time()
    act()
    return time.perf_counter() - wall, time.process_time() - processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="quarter width, 112 px")
    parser.add_argument("--repeats", type=int, default=3, help="rounds; medians are printed")
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch")
    parser.add_argument("--captum-squares", type=int, default=32, help="how many of Captum's squares are timed")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    side, width = (112, 0.25) if chosen.quick else (224, 1.0)
    window, stride, timed = 15, 8, chosen.captum_squares
    model = network(side, width)
    image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    options = MethodOptions(window=window, stride=stride)
    every = squares(options, side, side)
    passes = methods()["occlusion"].cost(model, options, side)
    print(
        f"VGG16, width {width:g}, {side} px, squares of {window} px by {stride} px: {every} places, {chosen.threads} threads"
    )
    print(f"torch {torch.__version__}; ours costs {passes:.1f} passes by multiply-adds\n")

    def ours(window: int = window, stride: int = stride) -> Tensor:
        return attribute(model, image, "occlusion", target=TARGET, options=Options(window=window, stride=stride)).values

    with eval_mode(model), frozen(model), torch.no_grad():
        model(image.repeat(2, 1, 1, 1))  # the first pass of a process allocates and picks kernels
        ways: dict[str, tuple[Callable[[], object], float]] = {"windows, all places": (ours, 1.0)} | {
            f"Captum, {timed} places, {n} at once": (
                partial(some_squares, model, image, window, stride, n, timed),
                every / timed,
            )
            for n in (8, AFTER)
        }
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(chosen.repeats):
            for name, (act, _scale) in ways.items():
                times[name].append(seconds(act))
        print(f"{'':36}{'wall':>10}{'CPU':>10}{'all: wall':>12}{'all: CPU':>10}")
        scaled = {}
        for name, (_act, scale) in ways.items():
            wall, processor = (statistics.median(pair[kind] for pair in times[name]) for kind in (0, 1))
            scaled[name] = wall * scale, processor * scale
            print(f"{name:36}{wall:10.2f}{processor:10.2f}{wall * scale:12.1f}{processor * scale:10.1f}")
        mine, *others = scaled.values()
        ratios = [min(other[kind] for other in others) / mine[kind] for kind in (0, 1)]
        print(f"\nwindows are {ratios[0]:.1f} times faster than the faster of Captum's (wall), {ratios[1]:.1f} by CPU")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"peak memory of the process, Captum's batches included: {peak:.2f} GB")
        own, theirs = ours(side // 8, side // 8), by_captum(model, image, side // 8, side // 8, AFTER)
        print(
            f"bit for bit, 64 squares of {side // 8} px side by side: {int((own != theirs).sum())} of {own.numel()} pixels differ"
        )


if __name__ == "__main__":
    main()
