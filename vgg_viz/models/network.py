"""A network built from its plan: one module for every chain, with torchvision's names for its layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from vgg_viz.errors import InputRefused
from vgg_viz.models.plan import Step, parse_plan, write_plan
from vgg_viz.models.vgg import describe, title
from vgg_viz.records import Architecture


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
    """Every chain: its parts run one after another, in the order in which they were added.

    State-dict keys are torchvision's (features.0, classifier.6); Tiny VGG's are those of the lab courses (conv_block_1.0,
    classifier.1).

    Dense (paper, section 3.2): fc6 slides as a convolution over a larger picture, fc7 and fc8 as 1x1 ones, and the map of class
    scores is averaged.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.normalise = Normalise(architecture.mean, architecture.std)
        steps = parse_plan(architecture.plan)
        for path, module in zip(layer_paths(steps), _modules(architecture, steps), strict=True):
            part, _, place = path.partition(".")
            if not place:
                self.add_module(part, module)
                continue
            if part not in self._modules:
                self.add_module(part, nn.Sequential())
            self.get_submodule(part).add_module(place, module)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] -> logits (B, K); of a chain without a classifier there are none: (B, 0)."""
        values = images
        for part in self.children():
            values = part(values)
        return values if self.architecture.num_classes else values.flatten(1)[:, :0]

    def class_map(self, images: Tensor) -> Tensor:
        """Scores of every class at every place: (B, C, H, W) -> (B, K, h, w); dense form only."""
        if not describe(self.architecture).dense:
            raise InputRefused("only the dense form has a map of class scores; build it with dense=True.")
        modules = [module for module in self.modules() if not any(module.children())]
        last = max(place for place, module in enumerate(modules) if isinstance(module, nn.Conv2d))
        values = images
        for module in modules[: last + 1]:
            values = module(values)
        return values


def layer_paths(steps: Sequence[Step]) -> tuple[str, ...]:
    """Where each step stands in the tree of modules, and in the state dict."""
    return tuple(_course_paths(steps) if is_tiny(steps) else _torchvision_paths(steps))


def is_tiny(steps: Sequence[Step]) -> bool:
    """Whether a chain is Tiny VGG as CNN Explainer and the lab courses build it: two blocks of two convolutions, one linear layer."""
    kinds = [step.kind for step in steps]
    return kinds == [*["conv", "relu", "conv", "relu", "max_pool"] * 2, "flat", "fc"]


def _course_paths(steps: Sequence[Step]) -> Iterator[str]:
    for place, step in enumerate(steps):
        yield f"classifier.{place - 10}" if step.head else f"conv_block_{place // 5 + 1}.{place % 5}"


def _torchvision_paths(steps: Sequence[Step]) -> Iterator[str]:
    features = sum(not step.head for step in steps)
    first = features + (features < len(steps) and steps[features].kind == "flat")  # of the classifier's own layers
    for place, step in enumerate(steps):
        if not step.head:
            yield "avgpool" if step.kind.startswith("adaptive") and place == features - 1 else f"features.{place}"
        else:
            yield "flatten" if place < first else f"classifier.{place - first}"


def map_sizes(architecture: Architecture, side: int | None = None) -> list[tuple[int, int]]:
    """Channels and side of the map after each step for a square picture of `side` [px]; after flattening: values and 1.

    Raises:
        InputRefused: A map shrinks to nothing.
    """
    side = architecture.image_side if side is None else side
    channels, rest, sizes = architecture.in_channels, side, []
    for step in parse_plan(architecture.plan):
        if step.kind == "flat":
            channels, rest = channels * rest * rest, 1
        elif step.kind == "fc":
            channels = step.channels or architecture.num_classes
        elif step.kind.startswith("adaptive"):
            rest = step.side
        elif step.kind in ("conv", "max_pool", "avg_pool"):
            channels = (step.channels or architecture.num_classes) if step.kind == "conv" else channels
            rest = step.window.out(rest)
        if rest < 1:
            raise InputRefused(
                f"an image of {side} px is too small for {title(architecture)}: its maps shrink to nothing; "
                f"use a larger --image-size."
            )
        sizes.append((channels, rest))
    return sizes


def feature_map(architecture: Architecture, side: int | None = None) -> tuple[int, int]:
    """Channels and side of the last map before the classifier and its average for an image of `side` [px].

    Raises:
        InputRefused: The image shrinks to nothing.
    """
    steps = parse_plan(architecture.plan)
    sizes = [
        (architecture.in_channels, architecture.image_side if side is None else side),
        *map_sizes(architecture, side),
    ]
    last = max(place for place, step in enumerate(steps) if not step.head and not step.kind.startswith("adaptive"))
    return sizes[last + 1]


def _modules(architecture: Architecture, steps: Sequence[Step]) -> Iterator[nn.Module]:
    inputs, flat = architecture.in_channels, False
    for step, (channels, _) in zip(steps, map_sizes(architecture), strict=True):
        yield _module(step, inputs, channels, flat=flat)
        inputs, flat = channels, flat or step.kind == "flat"


def _module(step: Step, inputs: int, outputs: int, *, flat: bool) -> nn.Module:
    window, values = step.window, step.values
    made: dict[str, Callable[[], nn.Module]] = {
        "conv": lambda: nn.Conv2d(
            inputs, outputs, window.kernel, window.stride, window.padding, window.dilation, bias=step.bias
        ),
        "fc": lambda: nn.Linear(inputs, outputs, bias=step.bias),
        "bn": lambda: nn.BatchNorm1d(inputs) if flat else nn.BatchNorm2d(inputs),
        "max_pool": lambda: nn.MaxPool2d(window.kernel, window.stride, window.padding, ceil_mode=window.ceil),
        "avg_pool": lambda: nn.AvgPool2d(
            window.kernel, window.stride, window.padding, ceil_mode=window.ceil, count_include_pad=step.pads_count
        ),
        "adaptive_avg": lambda: nn.AdaptiveAvgPool2d(step.side),
        "adaptive_max": lambda: nn.AdaptiveMaxPool2d(step.side),
        "flat": nn.Flatten,
        "drop": lambda: nn.Dropout(values[0]),
        "lrn": lambda: nn.LocalResponseNorm(int(values[0]), alpha=values[1], beta=values[2], k=values[3]),
        "relu": lambda: nn.ReLU(inplace=True),
        "leaky": lambda: nn.LeakyReLU(values[0], inplace=True),
        "elu": lambda: nn.ELU(values[0], inplace=True),
        "relu6": lambda: nn.ReLU6(inplace=True),
        "selu": lambda: nn.SELU(inplace=True),
        "gelu": nn.GELU,
        "silu": lambda: nn.SiLU(inplace=True),
        "mish": lambda: nn.Mish(inplace=True),
        "softplus": nn.Softplus,
        "hardswish": lambda: nn.Hardswish(inplace=True),
        "tanh": nn.Tanh,
        "sigmoid": nn.Sigmoid,
    }
    return made[step.kind]()


def padded(architecture: Architecture, padding: int) -> Architecture:
    """The architecture with another padding [px] of its 3x3 convolutions."""
    steps = [
        replace(step, window=replace(step.window, padding=padding))
        if step.kind == "conv" and not step.head and step.window.kernel == 3
        else step
        for step in parse_plan(architecture.plan)
    ]
    return replace(architecture, plan=write_plan(steps))


def rekeyed(weights: Mapping[str, Tensor], old: Sequence[Step], new: Sequence[Step]) -> dict[str, Tensor]:
    """The same weights under the keys of another chain whose convolutions, linear layers and batch norms are these."""
    kinds = ("conv", "fc", "bn")
    before, after = (
        [path for path, step in zip(layer_paths(steps), steps, strict=True) if step.kind in kinds]
        for steps in (old, new)
    )
    moved = dict(zip(before, after, strict=True))
    parts = ((key.rpartition("."), value) for key, value in weights.items())
    return {f"{moved.get(path, path)}.{kind}": value for (path, _, kind), value in parts}


# ---------------------------------------------------------------- the dense form


def dense_plan(architecture: Architecture) -> Architecture:
    """The architecture with its linear layers as convolutions, and the average of their maps at the end.

    Raises:
        InputRefused: The classifier cannot slide: it has batch norm on single values, or there is none.
    """
    steps = parse_plan(architecture.plan)
    head = [step for step in steps if step.head and step.kind != "flat"]
    if not head:
        raise InputRefused("a network without a classifier has no dense form; leave dense out.")
    features = [step for step in steps if not step.head]
    side = feature_map(architecture)[1]
    if features[-1].kind == "adaptive_avg":
        side = features.pop().side
    made: list[Step] = []
    for step in head:
        if step.kind == "fc":
            made.append(replace(step, kind="conv", window=replace(step.window, kernel=side)))
            side = 1
        else:
            made.append(step)
    made += [Step("adaptive_avg", side=1, head=True), Step("flat", head=True)]
    return replace(architecture, plan=write_plan([*features, *made]))


def dense_weights(architecture: Architecture, weights: Mapping[str, Tensor]) -> tuple[Architecture, dict[str, Tensor]]:
    """The same network in its dense form: fully connected weights seen as kernels, nothing copied.

    Args:
        architecture: Of the plain form.
        weights: State dict of the plain form.

    Returns:
        The dense architecture, its state dict.
    """
    dense = dense_plan(architecture)
    old, new = parse_plan(architecture.plan), parse_plan(dense.plan)
    after = [path for path, step in zip(layer_paths(new), new, strict=True) if step.head and step.weighted]
    before = [path for path, step in zip(layer_paths(old), old, strict=True) if step.head and step.weighted]
    moved = dict(zip(before, after, strict=True))
    channels, side = feature_map(architecture)
    side = describe(architecture).pooled or side
    made: dict[str, Tensor] = {}
    for key, weight in weights.items():
        path, _, kind = key.rpartition(".")
        if path in moved and weight.ndim == 2:
            shape = (-1, channels, side, side) if path == before[0] else (*weight.shape, 1, 1)
            weight = weight.view(shape)
        made[f"{moved.get(path, path)}.{kind}"] = weight
    return dense, made
