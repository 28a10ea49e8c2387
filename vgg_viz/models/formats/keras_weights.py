"""Keras weights without their topology: layers told by the shapes of their kernels, pools and picture by those of a variant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise, product
from math import isqrt
from typing import Any

from torch import Tensor

from vgg_viz.errors import CheckpointRefused, InputRefused
from vgg_viz.maths.receptive_field import Window
from vgg_viz.models.keras_model import KerasModel
from vgg_viz.models.keras_network import KerasLayer
from vgg_viz.models.network import feature_map, padded
from vgg_viz.models.plan import Step, parse_plan, write_plan
from vgg_viz.models.vgg import VARIANTS, common_width, describe, describe_plan
from vgg_viz.records import Architecture, Evidence

USUAL_SIDES = (224, 64, 32, 28, 96, 128)


@dataclass(frozen=True, slots=True)
class GuessedModel:
    """What weights alone suggest.

    Attributes:
        layers: A model that would have these weights.
        architecture: What it is taken to be.
    """

    layers: list[KerasLayer]
    architecture: Architecture
    evidence: tuple[Evidence, ...]
    alternatives: tuple[Evidence, ...]


@dataclass(slots=True)
class _Found:
    """Names of layers by what they are, in the file's order."""

    convs: list[str] = field(default_factory=list)
    norms: list[str] = field(default_factory=list)
    denses: list[str] = field(default_factory=list)


def guessed_model(stored: KerasModel) -> GuessedModel:
    """The variant whose shapes a file of weights has; raises CheckpointRefused where there is none."""
    found = _sorted(stored)
    if not found.convs:
        raise CheckpointRefused(f"this {stored.maker} model has no convolutions; only VGG networks can be read.")
    if not found.denses:
        raise CheckpointRefused(
            f"this {stored.maker} model ends in its last map, without a classifier, and nothing says where its pools are; "
            "give one saved with include_top=True, or with its topology."
        )
    if found.norms and len(found.norms) != len(found.convs):
        raise CheckpointRefused(
            f"{len(found.norms)} of {len(found.convs)} convolutions have batch norm, and nothing says which; "
            "give the model with its topology."
        )
    kernels = [_kernel(stored, name) for name in found.convs]
    wanted, evidence, alternatives = _architecture(stored, found, kernels)
    text = f"The file holds the weights of a {stored.maker} model without its topology; pools are those of the variant."
    layers = list(_layers(stored, found, parse_plan(wanted.plan)))
    return GuessedModel(layers, wanted, (Evidence(text), *evidence), alternatives)


def _sorted(stored: KerasModel) -> _Found:
    found = _Found()
    for name, parts in stored.weights.items():
        kernel = parts.get("kernel", parts.get("0"))
        rank = kernel.ndim if kernel is not None else 1
        if rank == 4:
            found.convs.append(name)
        elif rank == 2:
            found.denses.append(name)
        elif "moving_variance" in parts or "3" in parts:
            found.norms.append(name)
    return found


def _kernel(stored: KerasModel, name: str) -> Tensor:
    return KerasLayer(name, "", {}, stored.weights[name]).part("kernel", ("kernel", "bias"))


def _has_bias(stored: KerasModel, name: str) -> bool:
    return bool({"bias", "1"} & set(stored.weights[name]))


def _layers(stored: KerasModel, found: _Found, steps: Sequence[Step]) -> Iterator[KerasLayer]:
    """The layers of a Keras model that is this chain."""
    convs, norms, denses = iter(found.convs), iter(found.norms), iter(found.denses)
    for place, step in enumerate(steps):
        kind, name = "", f"layer {place}"
        config: dict[str, Any] = {}
        if step.kind == "conv":
            kind, name = "Conv2D", next(convs)
            config = {"padding": "same" if step.window.padding else "valid"}
        elif step.kind == "bn":
            kind, name = "BatchNormalization", next(norms)
        elif step.kind == "max_pool":
            kind = "MaxPooling2D"
        elif step.kind == "relu":
            kind = "ReLU"
        elif step.kind == "adaptive_avg" and step.side == 1:
            kind, config = "GlobalAveragePooling2D", {"keepdims": True}
        elif step.kind == "flat":
            kind = "Flatten"
        elif step.kind == "fc":
            kind, name = "Dense", next(denses)
        elif step.kind == "drop":
            kind, config = "Dropout", {"rate": step.values[0]}
        weights = stored.weights.get(name, {})
        if kind in ("Conv2D", "Dense"):
            config = {**config, "use_bias": _has_bias(stored, name)}
        if kind:
            yield KerasLayer(name, kind, config, weights)


# ---------------------------------------------------------------- which network


def _architecture(
    stored: KerasModel, found: _Found, kernels: Sequence[Tensor]
) -> tuple[Architecture, list[Evidence], tuple[Evidence, ...]]:
    """Features of a variant, the classifier, and the side of the pictures."""
    features, channels = _features(stored, found, kernels), int(kernels[-1].shape[3])
    rows, *_ = (int(_kernel(stored, name).shape[0]) for name in found.denses)
    units = [int(_kernel(stored, name).shape[1]) for name in found.denses]
    side = isqrt(rows // channels)
    if side * side * channels != rows or side < 1:
        raise CheckpointRefused(
            f"the first dense layer reads {rows} values, which is no square map of {channels} channels; "
            "give the model with its topology."
        )
    in_channels = int(kernels[0].shape[2])
    tiny = describe_plan(write_plan(features)).variant == "tiny_vgg"
    biases = [_has_bias(stored, name) for name in found.denses]
    head = [
        step
        for unit, bias in zip(units[:-1], biases, strict=False)
        for step in (
            Step("fc", unit, bias=bias, head=True),
            Step("relu", head=True),
            Step("drop", values=(0.5,), head=True),
        )
    ]
    averaged = [] if tiny else [Step("adaptive_avg", side=side)]
    wanted = Architecture(
        write_plan([*features, *averaged, Step("flat", head=True), *head, Step("fc", bias=biases[-1], head=True)]),
        units[-1],
        in_channels,
        image_side=64 if tiny else 224,
    )
    hidden = f"hidden layers {tuple(units[:-1])}" if head else "no hidden layer"
    about = Evidence(f"The classifier reads a {side} × {side} map through {hidden} into {units[-1]} classes.")
    best, guess, alternatives = _guessed_side(wanted, side)
    return best, [about, guess], alternatives


def _features(stored: KerasModel, found: _Found, kernels: Sequence[Tensor]) -> list[Step]:
    """Convolutions in their order, with the pools of the variant that has their shapes; refuses what is no chain."""
    for name, kernel in zip(found.convs, kernels, strict=True):
        if kernel.shape[0] != kernel.shape[1]:
            raise CheckpointRefused(
                f"the kernel of {name[:60]!r} has the shape {tuple(kernel.shape)}; a square one was expected."
            )
    for (name, before), (_, after) in pairwise(zip(found.convs, kernels, strict=True)):
        if before.shape[3] != after.shape[2]:
            raise CheckpointRefused(
                f"{name[:60]!r} has {before.shape[3]} channels and the next convolution reads {after.shape[2]}; "
                "only chains can be read."
            )
    shapes = [(int(k.shape[3]), int(k.shape[0])) for k in kernels]
    steps: list[Step] = []
    rest = iter(zip(found.convs, shapes, strict=True))
    for kind in _usual_kinds(shapes):
        if kind == "pool":
            steps.append(Step("max_pool", window=Window(2, 2)))
            continue
        name, (channels, size) = next(rest)
        steps.append(Step("conv", channels, Window(size), _has_bias(stored, name)))
        steps += [Step("bn")] if found.norms else []
        steps.append(Step("relu"))
    return steps


def _usual_kinds(shapes: Sequence[tuple[int, int]]) -> list[str]:
    """Where a variant with these (channels, kernels) has its pools."""
    for variant in VARIANTS.values():
        steps = [step for step in parse_plan(variant.plan) if step.kind in ("conv", "max_pool")]
        convs = [step for step in steps if step.kind == "conv"]
        if [step.window.kernel for step in convs] == [kernel for _, kernel in shapes] and common_width(
            [step.channels for step in convs], [channels for channels, _ in shapes]
        ):
            return ["conv" if step.kind == "conv" else "pool" for step in steps]
    raise CheckpointRefused(
        f"the model has {len(shapes)} convolutions of {[c for c, _ in shapes][:16]} channels, which is none of "
        f"{', '.join(VARIANTS)} at any width, and nothing says where its pools are; give the model with its topology."
    )


def _guessed_side(wanted: Architecture, side: int) -> tuple[Architecture, Evidence, tuple[Evidence, ...]]:
    """The usual side and padding that leave such a last map, and the others as alternatives."""
    tiny = describe(wanted).variant == "tiny_vgg"
    fits = []
    for padding, image_side in product((0, 1) if tiny else (1, 0), dict.fromkeys((*USUAL_SIDES, 32 * side))):
        candidate = replace(padded(wanted, padding), image_side=image_side)
        try:
            if 4 <= image_side <= 4096 and feature_map(candidate)[1] == side:
                fits.append(candidate)
        except InputRefused:  # too small a picture for these layers
            continue
    if not fits:
        raise CheckpointRefused(
            f"no usual picture leaves a {side} × {side} map with padding 0 or 1; give the full model with its topology."
        )
    best, *others = fits
    guess = Evidence(
        f"Weights alone say no image side: padding {describe(best).padding} at {best.image_side} px leaves the {side} x {side} map.",
        ("--padding", "--image-size"),
    )
    return (
        best,
        guess,
        tuple(Evidence(f"padding {describe(a).padding} at {a.image_side} px leaves the same map") for a in others),
    )
