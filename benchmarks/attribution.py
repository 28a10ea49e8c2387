"""Grad-CAM of all convolutions of VGG16: one shared pass, a bare pass, and a loop over Captum's LayerGradCam.

    python benchmarks/attribution.py [--quick] [--repeats 3] [--threads 2]

All three run in turn in this process, round by round, on the same pictures and weights, in the same layout; what counts
are the ratios of the medians. Nothing is asserted. On a machine that others use too, read the ratios of CPU seconds and
pass --threads 1: wall seconds then measure the neighbours as well.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from captum.attr import LayerGradCam
from torch import Tensor, nn

from vgg_viz.attribution import grad_cam_all_layers, gradient_bundle
from vgg_viz.capture.hooks import eval_mode, frozen
from vgg_viz.models.build import build
from vgg_viz.models.names import layers


def network(side: int, width: float) -> nn.Module:
    """VGG16 with random weights, the classifier's scaled so that the logits are not all alike."""
    model = build("vgg16", image_side=side, width=width, seed=0)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear):
                module.weight.mul_(10)
    return model.to(memory_format=torch.channels_last)


def bare(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    """One forward and one backward pass to the pixels, parameters frozen: the least that any gradient method costs."""
    with eval_mode(model), frozen(model):
        pictures = images.detach().clone().requires_grad_()
        model(pictures).gather(1, targets[:, None]).sum().backward()
        assert pictures.grad is not None
        return pictures.grad


def loop(model: nn.Module, images: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """What a user of Captum writes: one call a layer, parameters as they are."""
    return {
        layer.name: LayerGradCam(model, layer.module)
        .attribute(images, target=targets, relu_attributions=True)[:, 0]
        .detach()
        for layer in layers(model)
        if layer.kind == "conv"
    }


def seconds(act: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds of one call."""
    wall, processor = time.perf_counter(), time.process_time()
    act()
    return time.perf_counter() - wall, time.process_time() - processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="quarter width, 112 px, 4 pictures")
    parser.add_argument("--repeats", type=int, default=3, help="rounds; medians are printed")
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    side, width, count = (112, 0.25, 4) if chosen.quick else (224, 1.0, 8)
    model = network(side, width)
    dice = torch.Generator().manual_seed(0)
    images = torch.rand(count, 3, side, side, generator=dice).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        logits = model(images)
    targets = logits.argmax(1)
    print(f"VGG16, width {width:g}, {side} px, {count} pictures, {chosen.threads} threads, torch {torch.__version__}")
    print(f"logits: spread {float(logits.std()):.3g} over classes, {float(logits.std(0).mean()):.3g} over pictures\n")

    ways: dict[str, Callable[[], object]] = {
        "bare forward + backward to the pixels": lambda: bare(model, images, targets),
        "shared pass: Grad-CAM of 13 layers": lambda: grad_cam_all_layers(model, images, targets),
        "shared pass: and saliency, input x gradient": lambda: gradient_bundle(model, images, targets),
        "loop over Captum's LayerGradCam": lambda: loop(model, images, targets),
    }
    bare(model, images, targets)  # the first pass of a process allocates and picks kernels
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(chosen.repeats):
        for name, act in ways.items():
            times[name].append(seconds(act))
    for kind in (0, 1):
        medians = {name: statistics.median(pair[kind] for pair in found) for name, found in times.items()}
        one, *_, many = medians.values()
        print(f"{('wall', 'CPU')[kind] + ' seconds':46}{'median':>9}{'min':>8}{'max':>8}{'x bare':>8}{'loop is':>9}")
        for name, median in medians.items():
            low, high = (pick(pair[kind] for pair in times[name]) for pick in (min, max))
            print(f"{name:46}{median:9.2f}{low:8.2f}{high:8.2f}{median / one:8.2f}{many / median:8.1f}x")
        print()
    apart = max(
        float((cam.values - other).abs().max() / other.abs().max().clamp(min=1e-12))
        for cam, other in zip(
            grad_cam_all_layers(model, images, targets).values(), loop(model, images, targets).values(), strict=True
        )
    )
    print(f"largest difference from Captum, relative to each layer's maximum: {apart:.1e}")


if __name__ == "__main__":
    main()
