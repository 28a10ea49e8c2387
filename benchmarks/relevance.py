"""What relevance costs: LRP by each preset, DeepLift and the ledger, beside one bare forward and backward pass of VGG16.

    python benchmarks/relevance.py [--quick] [--repeats 3] [--threads 2] [--batch-norm]

All take turns in this process, round by round, on the same pictures and weights; what counts are the ratios of the medians. Also
beside them: Captum's own LRP with its default rules, on the same network with its flattening taken out of the modules, because it has
no rule for nn.Flatten. Nothing is asserted. On a machine that others use too, read the ratios of CPU seconds and pass --threads 1.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from captum.attr import LRP
from torch import Tensor, nn

from vgg_viz.attribution import MethodOptions, attribute, methods
from vgg_viz.attribution.lrp.conservation import ledger
from vgg_viz.capture.hooks import eval_mode, frozen
from vgg_viz.models.build import build


class Flattening(nn.Module):
    """The same layers with the flattening and the normalising as functions, which is how Captum's LRP can take a VGG."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.features, self.classifier, self.pool = model.features, model.classifier, model.avgpool
        self.mean, self.std = model.normalise.mean, model.normalise.std  # type: ignore[union-attr]

    def forward(self, images: Tensor) -> Tensor:
        maps = self.pool(self.features((images - self.mean) / self.std))
        logits: Tensor = self.classifier(maps.flatten(1))
        return logits


def bare(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    """One forward and one backward pass to the pixels, parameters frozen: the least that any gradient method costs."""
    with eval_mode(model), frozen(model):
        pictures = images.detach().clone().requires_grad_()
        found: Tensor = torch.autograd.grad(model(pictures).gather(1, targets[:, None]).sum(), pictures)[0]
        return found


def captums(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    """Captum's LRP as it comes: epsilon everywhere, weights written back afterwards."""
    plain = Flattening(model).eval()
    for module in plain.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    try:
        found: Tensor = LRP(plain).attribute(images.clone().requires_grad_(), target=targets)
        return found
    finally:
        for module in plain.modules():
            if isinstance(module, nn.ReLU):
                module.inplace = True


def seconds(act: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds of one call."""
    wall, processor = time.perf_counter(), time.process_time()
    act()
    return time.perf_counter() - wall, time.process_time() - processor


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a quarter of the width, 112 px, 2 pictures")
    parser.add_argument("--repeats", type=int, default=3, help="rounds; medians are printed")
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch")
    parser.add_argument(
        "--batch-norm", action="store_true", help="VGG16 with batch norm, merged for the while; Captum's LRP left out"
    )
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    side, width, count = (112, 0.25, 2) if chosen.quick else (224, 1.0, 4)
    name = "vgg16_bn" if chosen.batch_norm else "vgg16"
    model = build(name, image_side=side, width=width, seed=0, pooled=3 if chosen.quick else 7).to(
        memory_format=torch.channels_last
    )
    images = torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0)).contiguous(
        memory_format=torch.channels_last
    )
    targets = torch.zeros(count, dtype=torch.int64)

    def by(method: str) -> Callable[[], object]:
        return lambda: attribute(model, images, method=method, target=targets)

    acts: dict[str, Callable[[], object]] = {"bare forward + backward": lambda: bare(model, images, targets)}
    acts |= {name: by(name) for name, about in methods().items() if about.family == "relevance"}
    acts["ledger, ε-γ-box"] = lambda: ledger(model, images, targets)
    if not chosen.batch_norm:
        acts["Captum's LRP, as it comes"] = lambda: captums(model, images, targets)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in acts}
    for act in acts.values():
        act()
    for _ in range(chosen.repeats):
        for label, act in acts.items():
            times[label].append(seconds(act))
    print(f"{name}, width {width:g}, {side} px, {count} pictures, {chosen.threads} threads, torch {torch.__version__}")
    wall = {label: statistics.median(w for w, _ in taken) for label, taken in times.items()}
    processor = {label: statistics.median(p for _, p in taken) for label, taken in times.items()}
    least = next(iter(acts))
    print(f"{'':<28}{'wall, a picture':>18}{'ratio':>8}{'CPU ratio':>11}{'passes said':>13}")
    for label in acts:
        about = methods().get(label)
        said = "" if about is None or about.passes is None else f"{about.passes(MethodOptions(), side):g}"
        ratio, of_cpu = wall[label] / wall[least], processor[label] / processor[least]
        print(f"{label:<28}{wall[label] / count:>16.3f} s{ratio:>8.2f}{of_cpu:>11.2f}{said:>13}")


if __name__ == "__main__":
    main()
