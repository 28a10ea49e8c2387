"""A bare state dict with torchvision's or the lab courses' keys: the architecture is read off the shapes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import isqrt

from torch import Tensor

from vgg_viz.errors import CheckpointRefused, InputRefused
from vgg_viz.models.formats import Reading, checkpoint_format
from vgg_viz.models.vgg import VARIANTS, feature_map, steps
from vgg_viz.records import Architecture

WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "weights", "params")
USUAL_SIDES = (28, 32, 64, 96, 128, 224)
POSSIBLE_SIDES = range(4, 513)  # tried where no usual side fits
IMAGENET = "Preprocessing: ImageNet mean and std are assumed; a state dict does not say (--mean, --std)."
UNIT = "Preprocessing: pictures in [0, 1] without mean and std are assumed; a state dict does not say (--mean, --std)."


@checkpoint_format("torchvision")
def torchvision(stored: object) -> Reading | None:
    """Keys `features.{i}`, `classifier.{i}`: any VGG variant, with or without batch norm, any width and head."""
    found = unwrap(stored)
    if found is None:
        return None
    weights, evidence = found
    kernels = {int(m[1]): w for key, w in weights.items() if (m := re.fullmatch(r"features\.(\d+)\.weight", key)) and w.ndim == 4}
    heads = [(key, w) for key, w in weights.items() if re.fullmatch(r"classifier(\.\d+)?\.weight", key) and w.ndim in (2, 4)]
    if not kernels or not heads:
        return None
    evidence = [*evidence, "The keys features.{i} and classifier.{i} are torchvision's."]
    architecture = _match_variant(kernels, batch_norm=any(k.endswith("running_mean") for k in weights))
    architecture, more, alternatives = _match_head(architecture, kernels, [w for _, w in heads])
    mapped, ignored = _rename(weights, architecture, [key for key, _ in heads])
    return Reading(
        "torchvision", architecture, mapped, evidence=(*evidence, *more, IMAGENET), alternatives=alternatives, ignored_keys=ignored
    )


@checkpoint_format("tiny_vgg_lab")
def tiny_vgg_lab(stored: object) -> Reading | None:
    """Keys `conv_block_1.{0,2}` or `block_1.{0,2}`, `classifier.1`: Tiny VGG, padding 0 or 1, read off the last map's side."""
    found = unwrap(stored)
    if found is None:
        return None
    weights = {re.sub(r"^block_(?=[12]\.)", "conv_block_", key): value for key, value in found[0].items()}
    wanted = [f"conv_block_{b}.{i}.weight" for b in (1, 2) for i in (0, 2)]
    if any(key not in weights for key in wanted) or "classifier.1.weight" not in weights:
        return None
    first, linear = weights[wanted[0]], weights["classifier.1.weight"]
    hidden, channels = first.shape[:2]
    side = isqrt(linear.shape[1] // hidden)
    if side * side * hidden != linear.shape[1]:
        raise CheckpointRefused(
            f"the last layer reads {linear.shape[1]} values, which is no square map of {hidden} channels; "
            "this is not a Tiny VGG for square pictures."
        )
    base = Architecture(
        "tiny_vgg", linear.shape[0], channels, width=hidden / 10, head=(), pooled=None, mean=(0.0,) * channels, std=(1.0,) * channels
    )
    fits = _sides(base, side, USUAL_SIDES) or _sides(base, side, POSSIBLE_SIDES)
    if not fits:
        raise CheckpointRefused(
            f"the last map is {side} x {side}, which no image side from {POSSIBLE_SIDES[0]} to {POSSIBLE_SIDES[-1]} px gives "
            "with padding 0 or 1; this is not a Tiny VGG for square pictures."
        )
    ignored = tuple(key for key in weights if not re.fullmatch(r"(conv_block_[12]\.[02]|classifier\.1)\.(weight|bias)", key))
    return Reading(
        "tiny_vgg_lab", fits[0], {key: value for key, value in weights.items() if key not in ignored},
        evidence=(*found[1], f"The last map is {side} x {side}: padding {fits[0].padding} at {fits[0].image_side} px.", UNIT),
        alternatives=tuple(f"padding {a.padding} at {a.image_side} px gives the same map" for a in fits[1:]),
        ignored_keys=ignored,
    )  # fmt: skip


def _sides(base: Architecture, side: int, image_sides: Iterable[int]) -> list[Architecture]:
    """The architectures whose last map has this side: padding 0 first, then the smaller picture."""
    tries = [replace(base, padding=padding, image_side=image_side) for padding in (0, 1) for image_side in image_sides]
    return [candidate for candidate in tries if _last_side(candidate) == side]


def _last_side(architecture: Architecture) -> int:
    try:
        return feature_map(architecture)[1]
    except InputRefused:  # too small a picture for these layers
        return 0


def unwrap(stored: object) -> tuple[dict[str, Tensor], list[str]] | None:
    """The tensors of a state dict below the usual wrappers and prefixes, with a sentence for each step; None if there is none."""
    evidence = []
    for _ in range(4):
        if not isinstance(stored, Mapping):
            return None
        key = next((k for k in WRAPPERS if isinstance(stored.get(k), Mapping)), None)
        if key is None:
            break
        stored = stored[key]
        evidence.append(f"The weights were found under the key {key!r}.")
    weights = {str(key): value for key, value in stored.items() if isinstance(value, Tensor)}  # type: ignore[attr-defined]
    bare = {re.sub(r"(^|(?<=\.))(module|_orig_mod)\.", "", key): value for key, value in weights.items()}
    if set(bare) != set(weights):
        evidence.append("The infixes module. and _orig_mod. were stripped.")
    return (bare, evidence) if bare else None


def _match_variant(kernels: Mapping[int, Tensor], *, batch_norm: bool) -> Architecture:
    """The variant whose plan has these kernels, with pools where the indices leave a gap; refuses what is no VGG."""
    indices = sorted(kernels)
    gap = 3 if batch_norm else 2  # conv, (bn,) relu
    channels = [int(kernels[i].shape[0]) for i in indices]
    width = channels[0] / 64
    for variant in VARIANTS:
        if variant == "tiny_vgg":
            continue
        candidate = Architecture(
            variant, in_channels=int(kernels[indices[0]].shape[1]), batch_norm=batch_norm, width=width
        )
        positions, place = [], 0
        plan = steps(candidate)
        for step in plan:
            if step.kind == "conv":
                positions.append(place)
            place += gap if step.kind == "conv" else 1
        convs = [step for step in plan if step.kind == "conv"]
        if positions == indices and [s.channels for s in convs] == channels and all(
            s.window.kernel == kernels[i].shape[2] for s, i in zip(convs, indices, strict=True)
        ):
            return candidate
    raise CheckpointRefused(
        f"the file holds {len(indices)} convolutions of {channels[:16]} channels, which is none of {', '.join(VARIANTS)} "
        "at any width; only VGG networks can be read."
    )


def _match_head(
    architecture: Architecture, kernels: Mapping[int, Tensor], heads: Iterable[Tensor]
) -> tuple[Architecture, list[str], tuple[str, ...]]:
    heads = list(heads)
    dense = heads[0].ndim == 4
    last = int(kernels[max(kernels)].shape[0])
    inputs = heads[0][0].numel()
    pooled = isqrt(inputs // last)
    if pooled * pooled * last != inputs:
        raise CheckpointRefused(
            f"the classifier reads {inputs} values, which is no square map of {last} channels; this is not a VGG for square pictures."
        )
    hidden = tuple(int(w.shape[0]) for w in heads[:-1])
    # At width 0.25 a head of 1024 is the paper's 4096; 512 at full width stays 512.
    head = tuple(round(h / architecture.width) for h in hidden)
    image_side = 224 if pooled == 7 else 32 * pooled
    found = replace(
        architecture, num_classes=int(heads[-1].shape[0]), head=head, pooled=pooled, dense=dense, image_side=image_side
    )
    evidence = [
        f"Convolution indices and shapes are those of {VARIANTS[found.variant].title}.",
        f"The classifier reads a {pooled} x {pooled} map through hidden layers {hidden or 'none'} into {found.num_classes} classes.",
        f"Image side: {image_side} px is assumed, from the {pooled} x {pooled} map (--image-size).",
    ]
    return found, evidence, ("any larger image side, averaged down by the adaptive pool",)


def _rename(
    weights: Mapping[str, Tensor], architecture: Architecture, heads: list[str]
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Head layers numbered as torchvision numbers them (0, 3, 6); keys that belong to no layer are listed, not loaded."""
    numbers = {key.removesuffix(".weight"): f"classifier.{3 * i}" for i, key in enumerate(heads)}
    mapped, ignored = {}, []
    for key, value in weights.items():
        stem, _, kind = key.rpartition(".")
        if stem in numbers:
            mapped[f"{numbers[stem]}.{kind}"] = value
        elif stem.startswith("features."):
            mapped[key] = value
        else:
            ignored.append(key)
    return mapped, tuple(ignored)
