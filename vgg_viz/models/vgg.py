"""VGG as in the paper, from one table row a variant.

Source: Simonyan & Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", arXiv 1409.1556, table 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from vgg_viz.errors import InputRefused, UnknownName
from vgg_viz.maths.receptive_field import Window
from vgg_viz.records import Architecture


@dataclass(frozen=True, slots=True)
class Variant:
    """One column of the paper's table: what stands between the picture and the classifier.

    Attributes:
        letter: Its name in the paper, or "" when it is not from there.
        title: For a heading.
        plan: Blocks from the picture up: a number is a 3x3 convolution with so many channels (followed by ReLU),
            "256/1" a 1x1 one, "LRN" local response normalisation, "M" a 2x2 max-pool that ends a block.
    """

    letter: str
    title: str
    plan: str


VARIANTS: dict[str, Variant] = {
    "vgg11": Variant("A", "VGG A (11 layers)", "64 M 128 M 256 256 M 512 512 M 512 512 M"),
    "a_lrn": Variant("A-LRN", "VGG A-LRN (11 layers)", "64 LRN M 128 M 256 256 M 512 512 M 512 512 M"),
    "vgg13": Variant("B", "VGG B (13 layers)", "64 64 M 128 128 M 256 256 M 512 512 M 512 512 M"),
    "c": Variant("C", "VGG C (16 layers, 1 × 1)", "64 64 M 128 128 M 256 256 256/1 M 512 512 512/1 M 512 512 512/1 M"),
    "vgg16": Variant("D", "VGG D (16 layers)", "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M"),
    "vgg19": Variant(
        "E", "VGG E (19 layers)", "64 64 M 128 128 M 256 256 256 256 M 512 512 512 512 M 512 512 512 512 M"
    ),
    "tiny_vgg": Variant("", "Tiny VGG (CNN Explainer)", "10 10 M 10 10 M"),
}

POOL = Window(kernel=2, stride=2)


def canonical(name: str) -> tuple[str, bool]:
    """The key in VARIANTS and whether batch norm was asked for: "D" -> ("vgg16", False), "vgg11_bn" -> ("vgg11", True).

    Raises:
        UnknownName: With the nearest name.
    """
    plain = name.lower().replace("-", "_")
    batch_norm = plain.endswith("_bn")
    plain = plain.removesuffix("_bn")
    letters = {v.letter.lower().replace("-", "_"): key for key, v in VARIANTS.items() if v.letter}
    key = plain if plain in VARIANTS else letters.get(plain)
    if key is None or (key == "tiny_vgg" and batch_norm):
        known = [k + suffix for k in VARIANTS for suffix in ("", "_bn") if k + suffix != "tiny_vgg_bn"]
        raise UnknownName("variant", name, known)
    return key, batch_norm


def title(architecture: Architecture) -> str:
    """The variant's name for a heading: "VGG D (16 layers) with batch norm, width 0.25"."""
    text = VARIANTS[architecture.variant].title
    if architecture.batch_norm:
        text += " with batch norm"
    if architecture.width != 1:
        text += f", width {architecture.width:g}"
    return text + (", dense" if architecture.dense else "")


@dataclass(frozen=True, slots=True)
class LayerStep:
    """One entry of a plan: kind "conv" (channels, kernel), "lrn" or "pool"."""

    kind: str
    channels: int = 0
    window: Window = field(default_factory=Window)


def layer_steps(architecture: Architecture) -> list[LayerStep]:
    """The plan of `architecture` with its width and padding applied; at least one channel each."""
    layers = []
    for word in VARIANTS[architecture.variant].plan.split():
        if word == "M":
            layers.append(LayerStep("pool", window=POOL))
        elif word == "LRN":
            layers.append(LayerStep("lrn"))
        else:
            channels, _, kernel = word.partition("/")
            side = int(kernel or 3)
            window = Window(kernel=side, padding=architecture.padding if side == 3 else 0)
            layers.append(LayerStep("conv", max(1, round(int(channels) * architecture.width)), window))
    return layers


def feature_map(architecture: Architecture, side: int | None = None) -> tuple[int, int]:
    """Channels and side of the last pool's map for an image of `side` [px]; refuses images that shrink to nothing."""
    side = architecture.image_side if side is None else side
    rest, channels = side, architecture.in_channels
    for step in layer_steps(architecture):
        rest = step.window.out(rest)
        channels = step.channels or channels
        if rest < 1:
            raise InputRefused(
                f"an image of {side} px is too small for {VARIANTS[architecture.variant].title}: its maps shrink to nothing; "
                f"use a larger --image-size."
            )
    return channels, rest


class Normalise(nn.Module):
    """The first layer: pictures in [0, 1] become (x - mean) / std per channel.

    The buffers are not persistent, so a foreign state dict still loads.
    """

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(x - mean) / std: (B, C, H, W) -> (B, C, H, W)."""
        return (images - self.mean) / self.std


class VGG(nn.Module):
    """Any variant of the paper; state-dict keys are those of torchvision.

    Dense (paper, section 3.2): fc6 slides as a convolution over a larger picture, fc7 and fc8 as 1x1 ones, and the
    map of class scores is averaged.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        channels, side = feature_map(architecture)
        self.normalise = Normalise(architecture.mean, architecture.std)
        self.features = _features(architecture)
        if architecture.dense:
            self.classifier = _head(architecture, channels, architecture.pooled or side, convolutional=True)
        else:
            pooled = architecture.pooled
            self.avgpool = nn.AdaptiveAvgPool2d(pooled) if pooled else nn.Identity()
            self.flatten = nn.Flatten()
            self.classifier = _head(architecture, channels * (pooled or side) ** 2, 1, convolutional=False)

    def class_map(self, images: Tensor) -> Tensor:
        """Scores of every class at every place: (B, C, H, W) -> (B, K, h, w); dense form only."""
        if not self.architecture.dense:
            raise InputRefused("only the dense form has a map of class scores; build it with dense=True.")
        scores: Tensor = self.classifier(self.features(self.normalise(images)))
        return scores

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] -> logits (B, K)."""
        if self.architecture.dense:
            return self.class_map(images).mean((2, 3))
        maps = self.features(self.normalise(images))
        logits: Tensor = self.classifier(self.flatten(self.avgpool(maps)))
        return logits


def _features(architecture: Architecture) -> nn.Sequential:
    modules: list[nn.Module] = []
    channels = architecture.in_channels
    for step in layer_steps(architecture):
        if step.kind == "pool":
            modules.append(nn.MaxPool2d(kernel_size=2, stride=2))
        elif step.kind == "lrn":
            # AlexNet adds alpha = 1e-4 times the *sum* of 5 neighbours; torch divides by their number, hence 5e-4.
            modules.append(nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0))
        else:
            window = step.window
            modules.append(
                nn.Conv2d(channels, step.channels, window.kernel, padding=window.padding, bias=architecture.conv_bias)
            )
            if architecture.batch_norm:
                modules.append(nn.BatchNorm2d(step.channels))
            modules.append(nn.ReLU(inplace=True))
            channels = step.channels
    return nn.Sequential(*modules)


def _head(architecture: Architecture, inputs: int, side: int, *, convolutional: bool) -> nn.Sequential:
    """Hidden layers with ReLU and dropout, then the class scores; as convolutions the first one has a `side` x `side` kernel."""
    modules: list[nn.Module] = []
    hidden = [max(1, round(width * architecture.width)) for width in architecture.head]
    for outputs in [*hidden, architecture.num_classes]:
        modules.append(nn.Conv2d(inputs, outputs, side) if convolutional else nn.Linear(inputs, outputs))
        inputs, side = outputs, 1
        modules += [nn.ReLU(inplace=True), nn.Dropout(0.5)]
    return nn.Sequential(*modules[:-2])


def dense_weights(architecture: Architecture, weights: dict[str, Tensor]) -> tuple[Architecture, dict[str, Tensor]]:
    """The same network in its dense form: fully connected weights seen as kernels, nothing copied.

    Args:
        architecture: Of the plain form.
        weights: State dict of the plain form.

    Returns:
        The dense architecture, its state dict.
    """
    channels, side = feature_map(architecture)
    side = architecture.pooled or side
    dense = dict(weights)
    first = True
    for key, weight in weights.items():
        if key.startswith("classifier.") and weight.ndim == 2:
            dense[key] = weight.view(-1, channels, side, side) if first else weight[:, :, None, None]
            first = False
    return replace(architecture, dense=True), dense
