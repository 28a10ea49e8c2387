"""Networks as other people write them, none of them built by this package: the oracles of the format tests."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.vgg import cfgs, make_layers

PLANS = {
    "vgg11": "64 M 128 M 256 256 M 512 512 M 512 512 M",
    "vgg13": "64 64 M 128 128 M 256 256 M 512 512 M 512 512 M",
    "c": "64 64 M 128 128 M 256 256 256/1 M 512 512 512/1 M 512 512 512/1 M",
    "vgg16": "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M",
    "vgg19": "64 64 M 128 128 M 256 256 256 256 M 512 512 512 512 M 512 512 512 512 M",
}


def settled(network: nn.Module, seed: int = 0) -> nn.Module:
    """Seeded weights whose logits spread, batch-norm statistics that are not 0 and 1; in eval mode."""
    die = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan = module.weight[0].numel()
            module.weight.data = torch.randn(module.weight.shape, generator=die) * (2 / fan) ** 0.5
            if module.bias is not None:
                module.bias.data = torch.randn(module.bias.shape, generator=die) * 0.1
        elif isinstance(module, nn.BatchNorm2d):
            if module.affine:
                module.weight.data = torch.rand(module.weight.shape, generator=die) + 0.5
                module.bias.data = torch.randn(module.bias.shape, generator=die) * 0.1
            module.running_mean.copy_(torch.randn(module.running_mean.shape, generator=die) * 0.2)
            module.running_var.copy_(torch.rand(module.running_var.shape, generator=die) + 0.5)
    return network.eval()


class PlainVGG(nn.Module):
    """features, an optional average pool, a classifier: what a hundred repositories hold."""

    def __init__(
        self,
        plan: str = "vgg16",
        *,
        batch_norm: bool = False,
        width: int = 8,
        classifier: nn.Module,
        channels: int = 3,
        bias: bool = True,
        pool: int | None = None,
        dropout: bool = False,
        affine: bool = True,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for word in PLANS[plan].split():
            if word == "M":
                layers.append(nn.MaxPool2d(2, 2))
                continue
            number, _, kernel = word.partition("/")
            side, outputs = int(kernel or 3), int(number) // width
            layers.append(nn.Conv2d(channels, outputs, side, padding=side // 2, bias=bias))
            layers += [nn.BatchNorm2d(outputs, affine=affine)] if batch_norm else []
            layers.append(nn.ReLU(inplace=True))
            layers += [nn.Dropout(0.3)] if dropout else []
            channels = outputs
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(pool) if pool else nn.Identity()
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.avgpool(self.features(images)).flatten(1))
        return logits


def of_torchvision(name: str, *, narrow: int = 1, classes: int = 1000) -> nn.Module:
    """torchvision's own network, on the meta device; `narrow` divides its channels and the widths of its head."""
    with torch.device("meta"):
        network: nn.Module = getattr(torchvision.models, name)(num_classes=classes, init_weights=False)
        if narrow > 1:
            depth, _, norm = name.removeprefix("vgg").partition("_")
            plan = cfgs[{"11": "A", "13": "B", "16": "D", "19": "E"}[depth]]
            network.features = make_layers(
                [word if word == "M" else int(word) // narrow for word in plan], batch_norm=bool(norm)
            )
            network.classifier = mlp(512 // narrow * 49, 4096 // narrow, 4096 // narrow, classes)
    return network


# One at its full size; all others of the same code eight times as narrow, and at their full size where there is time.
EVERY_TORCHVISION = [f"vgg{depth}{suffix}" for depth in (11, 13, 16, 19) for suffix in ("", "_bn")]
NARROW_AND_FULL = [
    *((name, 8) for name in EVERY_TORCHVISION),
    ("vgg16", 1),
    *(pytest.param(name, 1, marks=pytest.mark.slow) for name in EVERY_TORCHVISION if name != "vgg16"),
]


class CourseTiny(nn.Module):
    """The lab courses' TinyVGG, under either of its attribute names."""

    def __init__(
        self,
        *,
        padding: int,
        side: int,
        channels: int = 3,
        hidden: int = 10,
        classes: int = 3,
        prefix: str = "conv_block_",
    ) -> None:
        super().__init__()
        shrink = 2 * (1 - padding)
        last = ((side - 2 * shrink) // 2 - 2 * shrink) // 2
        for block, inputs in ((1, channels), (2, hidden)):
            setattr(
                self,
                f"{prefix}{block}",
                nn.Sequential(
                    nn.Conv2d(inputs, hidden, 3, padding=padding),
                    nn.ReLU(),
                    nn.Conv2d(hidden, hidden, 3, padding=padding),
                    nn.ReLU(),
                    nn.MaxPool2d(2),
                ),
            )
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(hidden * last**2, classes))
        self.prefix = prefix

    def forward(self, images: Tensor) -> Tensor:
        for block in (1, 2):
            images = getattr(self, f"{self.prefix}{block}")(images)
        logits: Tensor = self.classifier(images)
        return logits


def mlp(*widths: int) -> nn.Sequential:
    """Linear layers with ReLU and dropout between them, numbered 0, 3, 6."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU(inplace=True), nn.Dropout()]
    return nn.Sequential(*layers[:-2])


def prepared(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """What such a network is fed: pictures in [0, 1], standardised by the loader."""
    return (images - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)
