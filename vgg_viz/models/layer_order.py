"""Layers numbered as in torchvision's `features`: where the pools are is told by the gaps between the numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from vgg_viz.errors import CheckpointRefused
from vgg_viz.models.from_shapes import LayerStems, paper, require_chain, variant_of
from vgg_viz.models.vgg import VARIANTS, layer_steps
from vgg_viz.records import Architecture


def numbered_layers(weights: Mapping[str, Tensor], heads: tuple[str, ...]) -> LayerStems | None:
    """The convolutions `features.{i}` with their batch norms, before `heads`; None when there are none."""
    convs = stems(weights, r"(features\.\d+)\.weight", (4,))
    norms = stems(weights, r"(features\.\d+)\.running_mean", (1,)) or _plain_norms(weights)
    if not convs:
        return None
    if norms and len(norms) != len(convs):
        raise CheckpointRefused(
            f"the file holds {len(convs)} convolutions and {len(norms)} batch norms; a VGG has one after each, or none."
        )
    return LayerStems(convs, norms, heads)


def numbered_architecture(weights: Mapping[str, Tensor], chain: LayerStems) -> tuple[Architecture, tuple[str, ...]]:
    """The variant, by the numbers of the convolutions and their shapes; by shapes alone where layers without weights shift the numbers.

    Raises:
        CheckpointRefused: For what is no VGG.
    """
    kernels = [weights[f"{stem}.weight"] for stem in chain.convs]
    require_chain(weights, chain)
    numbers = [_number(stem) for stem in chain.convs]
    if chain.norms and any(
        not 0 < _number(norm) - number < 3 for norm, number in zip(chain.norms, numbers, strict=True)
    ):
        raise CheckpointRefused("batch norms do not follow the convolutions; a VGG has one right after each.")
    batch_norm = bool(chain.norms)
    for variant in paper():
        architecture = variant_of(kernels, batch_norm=batch_norm, among=(variant,))
        if architecture is not None and _numbers(architecture) == numbers:
            pools = VARIANTS[variant].plan.split().count("M")
            return architecture, (
                f"The gaps between the convolutions' numbers are those of {pools} max-pools at the paper's places.",
            )
    architecture = variant_of(kernels, batch_norm=batch_norm)
    if architecture is None:
        raise not_a_vgg(kernels)
    return architecture, (
        "The convolutions' numbers are not torchvision's: layers without weights (dropout, other pools) shift them. "
        "Pools are assumed at the paper's places.",
    )


def not_a_vgg(kernels: list[Tensor]) -> CheckpointRefused:
    """The sentence for convolutions that are no VGG's."""
    channels = ", ".join(str(kernel.shape[0]) for kernel in kernels[:8]) + (", ..." if len(kernels) > 8 else "")
    return CheckpointRefused(
        f"the file holds {len(kernels)} convolutions of {channels} channels, which is none of {', '.join(VARIANTS)} "
        "at any width; only VGG networks can be read."
    )


def _numbers(architecture: Architecture) -> list[int]:
    """Where torchvision's Sequential has the convolutions of a variant."""
    numbers, place = [], 0
    for step in layer_steps(replace(architecture, width=1.0)):
        if step.kind == "conv":
            numbers.append(place)
        place += 2 + architecture.batch_norm if step.kind == "conv" else 1
    return numbers


def stems(weights: Mapping[str, Tensor], pattern: str, ndims: tuple[int, ...]) -> tuple[str, ...]:
    """What group 1 of `pattern` finds in the keys of tensors with so many axes, in the order of its numbers."""
    matches = [
        match[1] for key, value in weights.items() if value.ndim in ndims and (match := re.fullmatch(pattern, key))
    ]
    return tuple(sorted(matches, key=_number))


def _plain_norms(weights: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Batch norms without statistics: one-dimensional weights right after a convolution, as many as there are of those."""
    convs = stems(weights, r"(features\.\d+)\.weight", (4,))
    flat = stems(weights, r"(features\.\d+)\.weight", (1,))
    follow = [_number(stem) for stem in flat] == [_number(stem) + 1 for stem in convs]
    fits = follow and all(
        weights[f"{a}.weight"].shape[0] == weights[f"{b}.weight"].shape[0] for a, b in zip(flat, convs, strict=True)
    )
    return flat if fits else ()


def _number(stem: str) -> int:
    last = stem.rpartition(".")[2]
    return int(last[:9]) if last.isdigit() and last.isascii() else 0
