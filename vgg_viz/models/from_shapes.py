"""The architecture read off the shapes of a chain of layers: depth, widths, kernels, batch norm, biases, channels, head, classes.

What shapes cannot say (the side of the pictures, their preprocessing) is chosen and said, with the option that sets it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import isqrt

import torch
from torch import Tensor, nn

from vgg_viz.errors import CheckpointRefused
from vgg_viz.models.build import skeleton
from vgg_viz.models.vgg import VARIANTS, layer_steps
from vgg_viz.records import Architecture, Evidence

# What profilers and counters leave among the weights: it changes no answer.
HARMLESS = ("num_batches_tracked", "total_ops", "total_params", "n_averaged")
UNSEEN = Evidence(
    "Max-pooling, ReLU and RGB order are assumed; average pooling or BGR order would leave the same shapes."
)


@dataclass(frozen=True, slots=True)
class LayerStems:
    """Layers in the order in which a picture passes them, each named by the stem of its keys ("features.0").

    Attributes:
        norms: One for each convolution, or empty.
        heads: The classifier: 2-D weights, or 4-D ones in the dense form.
    """

    convs: tuple[str, ...]
    norms: tuple[str, ...]
    heads: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DeducedNetwork:
    """An architecture, its weights under this package's keys, why, and what else would fit."""

    architecture: Architecture
    weights: dict[str, Tensor]
    evidence: tuple[Evidence, ...]
    alternatives: tuple[Evidence, ...] = ()
    ignored: tuple[str, ...] = ()


def paper() -> tuple[str, ...]:
    """The rows of the variants' table that are VGGs of the paper's kind: all but Tiny VGG."""
    return tuple(name for name in VARIANTS if name != "tiny_vgg")


def variant_of(
    kernels: Sequence[Tensor], *, batch_norm: bool, among: Iterable[str] | None = None
) -> Architecture | None:
    """The variant and width whose convolutions have these shapes, the first of `among` (None: of `paper()`), or None."""
    channels, sides = [int(k.shape[0]) for k in kernels], [tuple(k.shape[2:]) for k in kernels]
    for variant in paper() if among is None else among:
        base = Architecture(variant, in_channels=int(kernels[0].shape[1]), batch_norm=batch_norm)
        plan = [step for step in layer_steps(base) if step.kind == "conv"]
        if len(plan) != len(kernels) or sides != [(step.window.kernel,) * 2 for step in plan]:
            continue
        width = _width([step.channels for step in plan], channels)
        if width is not None:
            return replace(base, width=width)
    return None


def _width(plan: Sequence[int], found: Sequence[int]) -> float | None:
    """The simplest factor that takes every channel count of the plan to the one found, rounded; None when there is none."""
    low = max(Fraction(2 * n - 1, 2 * p) for n, p in zip(found, plan, strict=True))
    high = min(Fraction(2 * n + 1, 2 * p) for n, p in zip(found, plan, strict=True))
    tries = [Fraction(found[0], plan[0]), Fraction(found[-1], plan[-1])]
    tries += [Fraction(round((low + high) / 2 * parts), parts) for parts in (10, 16, 100, 1000, 10_000)]
    for width in tries:
        if all(max(1, round(p * float(width))) == n for p, n in zip(plan, found, strict=True)):
            return float(width)
    return None


def require_chain(weights: Mapping[str, Tensor], chain: LayerStems) -> None:
    """Refuse layers that do not follow each other: outputs of one must be inputs of the next, and batch norm must be complete."""
    kernels = [weights[f"{stem}.weight"] for stem in chain.convs]
    for before, kernel, stem in zip(kernels, kernels[1:], chain.convs[1:], strict=False):
        if kernel.shape[1] != before.shape[0]:
            raise CheckpointRefused(
                f"{stem[:60]!r} reads {kernel.shape[1]} channels after a layer with {before.shape[0]}; "
                "a VGG is one chain of full convolutions, without groups or branches."
            )
    if kernels[0].shape[1] not in (1, 3):
        raise CheckpointRefused(
            f"the first convolution reads {kernels[0].shape[1]} channels; networks for 1 (grey) or 3 (RGB) can be read."
        )
    for stem, conv in zip(chain.norms, chain.convs, strict=True) if chain.norms else ():
        if f"{stem}.running_mean" not in weights or f"{stem}.running_var" not in weights:
            raise CheckpointRefused(
                f"batch norm {stem[:60]!r} has no running statistics, so its answers depend on the batch; "
                "train with track_running_stats=True."
            )
        if weights[f"{stem}.running_mean"].shape != weights[f"{conv}.weight"].shape[:1]:
            raise CheckpointRefused(
                f"batch norm {stem[:60]!r} does not follow the convolution {conv[:60]!r}: their channels differ."
            )


def deduced(weights: Mapping[str, Tensor], chain: LayerStems, base: Architecture) -> DeducedNetwork:
    """The head, the classes and the usual picture added to what the convolutions said.

    Args:
        weights: The state dict.
        chain: The layers in their order.
        base: From `variant_of`.

    Raises:
        CheckpointRefused: When the classifier fits no square map.
    """
    require_chain(weights, chain)
    kernels = [weights[f"{stem}.weight"] for stem in chain.convs]
    heads = [weights[f"{stem}.weight"] for stem in chain.heads]
    last, inputs = int(kernels[-1].shape[0]), heads[0][0].numel()
    side = isqrt(inputs // last)
    if side < 1 or side * side * last != inputs:
        raise CheckpointRefused(
            f"the classifier reads {inputs:,} values, which is no square map of {last} channels; this is not a VGG for square pictures."
        )
    for before, after, stem in zip(heads, heads[1:], chain.heads[1:], strict=False):
        if after[0].numel() != before.shape[0]:
            raise CheckpointRefused(
                f"{stem[:60]!r} reads {after[0].numel():,} values after a layer with {before.shape[0]:,}; this is no VGG."
            )
    hidden = [int(weight.shape[0]) for weight in heads[:-1]]
    biased = [stem for stem in chain.convs if f"{stem}.bias" in weights]
    image_side = 224 if side == 7 else 32 * side
    architecture = replace(
        base,
        num_classes=int(heads[-1].shape[0]),
        head=tuple(max(1, round(h / base.width)) for h in hidden),
        pooled=side,
        dense=heads[0].ndim == 4,
        image_side=image_side,
        conv_bias=bool(biased),
    )
    if base.in_channels == 1:  # the same scale, without colours
        architecture = replace(
            architecture, mean=(sum(base.mean) / len(base.mean),), std=(sum(base.std) / len(base.std),)
        )
    named, ignored, filled = renamed(weights, chain, architecture)
    between = f", has hidden layers of {' and '.join(f'{n:,}' for n in hidden)}," if hidden else ""
    evidence = [
        _about_kernels(kernels, architecture),
        *(["Running means and variances follow every convolution: batch norm."] if chain.norms else []),
        *(["The convolutions have no bias."] if not biased else []),
        f"The classifier reads {inputs:,} values (a {side} × {side} map of {last} channels){between} and gives "
        f"{architecture.num_classes:,} {'class' if architecture.num_classes == 1 else 'classes'}.",
        *filled,
    ]
    guess = Evidence(
        f"Image side: {image_side} px is assumed, the usual one for a {side} × {side} map.", ("--image-size",)
    )
    others = Evidence(
        f"Other image sides: an average pool, as in torchvision, makes {side} × {side} of any map; without one, {32 * side} to "
        f"{32 * side + 31} px fit.",
        ("--image-size",),
    )
    return DeducedNetwork(architecture, named, (*map(Evidence, evidence), guess), (others, UNSEEN), ignored)


def _about_kernels(kernels: Sequence[Tensor], found: Architecture) -> str:
    channels = [int(kernel.shape[0]) for kernel in kernels]
    ones = sum(kernel.shape[2] == 1 for kernel in kernels)
    sides = f"{len(kernels) - ones} of 3 × 3 and {ones} of 1 × 1" if ones else "all 3 × 3"
    width = f" at width {found.width:g}" if found.width != 1 else ""
    return (
        f"{len(kernels)} convolutions ({sides}) of {'-'.join(map(str, channels))} channels on "
        f"{'RGB' if found.in_channels == 3 else 'grey'} pictures: {VARIANTS[found.variant].title}{width}."
    )


# ---------------------------------------------------------------- keys


def renamed(
    weights: Mapping[str, Tensor], chain: LayerStems, wanted: Architecture
) -> tuple[dict[str, Tensor], tuple[str, ...], tuple[str, ...]]:
    """The weights of `chain` under the keys of this package's network.

    Returns:
        State dict; keys that belong to no layer; a sentence for each kind of tensor that was filled in.
    """
    places = _places(wanted)
    named: dict[str, Tensor] = {}
    used: set[str] = set()
    filled: list[str] = []
    for stems, paths in ((chain.convs, places.convs), (chain.norms, places.norms), (chain.heads, places.heads)):
        for stem, path in zip(stems, paths, strict=True):
            for kind in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
                if (key := f"{stem}.{kind}") in weights:
                    named[f"{path}.{kind}"] = weights[key]
                    used.add(key)
    absent = [
        path for path in (*(places.convs if wanted.conv_bias else ()), *places.heads) if f"{path}.bias" not in named
    ]
    for path in absent:
        named[f"{path}.bias"] = torch.zeros(named[f"{path}.weight"].shape[0], dtype=named[f"{path}.weight"].dtype)
    if absent:
        have = "layer has" if len(absent) == 1 else "layers have"
        filled.append(f"{len(absent)} {have} no bias in the file; zeros stand in and are counted as parameters.")
    bare = [path for path in places.norms if f"{path}.weight" not in named]
    for path in bare:
        named[f"{path}.weight"] = torch.ones_like(named[f"{path}.running_var"])
        named[f"{path}.bias"] = torch.zeros_like(named[f"{path}.running_mean"])
    if bare:
        filled.append("Batch norm has no weight and bias in the file (affine=False); ones and zeros stand in for them.")
    return named, tuple(key for key in weights if key not in used), tuple(filled)


def _places(wanted: Architecture) -> LayerStems:
    """Where this package's network keeps its layers."""
    modules = list(skeleton(wanted).named_modules())
    classifier = [
        name for name, module in modules if name.startswith("classifier.") and isinstance(module, nn.Linear | nn.Conv2d)
    ]
    convs = [name for name, module in modules if isinstance(module, nn.Conv2d) and name not in classifier]
    norms = [name for name, module in modules if isinstance(module, nn.BatchNorm2d)]
    return LayerStems(tuple(convs), tuple(norms), tuple(classifier))


def moved(weights: Mapping[str, Tensor], old: Architecture, new: Architecture) -> dict[str, Tensor]:
    """The same weights under the keys of another variant with as many layers: A and A-LRN differ in nothing else."""
    before, after = (
        [step.window.kernel for step in layer_steps(architecture) if step.kind == "conv"] for architecture in (old, new)
    )
    if before != after:
        there = f"{len(after)}" if len(before) != len(after) else "as many, but of other kernels"
        raise CheckpointRefused(
            f"the file holds the {len(before)} convolutions of {_named(old)}, --arch {_named(new)} has {there}; "
            "leave --arch out, or give the file that belongs to it."
        )
    return renamed(weights, _places(old), new)[0]


def _named(architecture: Architecture) -> str:
    return architecture.variant + ("_bn" if architecture.batch_norm else "")


def strangers(keys: Iterable[str], beginnings: tuple[str, ...]) -> None:
    """Refuse keys that lie inside the network but belong to no known layer: a layer left out answers wrongly without a word."""
    odd = [key for key in keys if key.startswith(beginnings) and key.rpartition(".")[2] not in HARMLESS]
    if odd:
        more = f" and {len(odd) - 1} more" if len(odd) > 1 else ""
        raise CheckpointRefused(
            f"the file holds {odd[0][:80]!r}{more} inside the network, a layer that no VGG has (PReLU, batch norm in the classifier, "
            "...); only networks of convolutions, batch norm, ReLU, pools and linear layers can be read."
        )
