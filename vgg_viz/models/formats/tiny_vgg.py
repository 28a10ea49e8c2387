"""The lab courses' Tiny VGG: `conv_block_1.{0,2}` or `block_1.{0,2}`, `classifier.1`; padding 0 or 1, grey or RGB."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import isqrt

from torch import Tensor

from vgg_viz.errors import CheckpointRefused, InputRefused
from vgg_viz.models.formats import ReadCheckpoint, state_dict_format
from vgg_viz.models.from_shapes import UNSEEN, LayerStems, renamed, require_chain, strangers
from vgg_viz.models.vgg import feature_map
from vgg_viz.records import Architecture, Evidence

USUAL_SIDES = (64, 224, 28, 32, 96, 128)  # the likelier first
POSSIBLE_SIDES = range(4, 513)
UNIT = Evidence(
    "Preprocessing: pictures in [0, 1] without mean and std, as in the courses, are assumed; the file does not say.",
    ("--mean", "--std"),
)


@state_dict_format("tiny_vgg_lab")
def tiny_vgg_lab(weights: Mapping[str, Tensor]) -> ReadCheckpoint | None:
    """Two blocks of two convolutions and one linear layer under the courses' names."""
    for block in ("conv_block_", "block_"):
        chain = LayerStems(tuple(f"{block}{b}.{i}" for b in (1, 2) for i in (0, 2)), (), ("classifier.1",))
        if all(f"{stem}.weight" in weights for stem in (*chain.convs, *chain.heads)):
            sentence = f"The keys {block}1, {block}2 and classifier.1 are those of the courses' TinyVGG."
            made = tiny_chain("tiny_vgg_lab", weights, chain, sentence)
            strangers(made.ignored_keys, ("conv_block_", "block_", "classifier."))
            return made
    return None


def tiny_chain(name: str, weights: Mapping[str, Tensor], chain: LayerStems, said: str) -> ReadCheckpoint:
    """Four convolutions of one width and one linear layer, read as a Tiny VGG; padding and image side by the last map.

    Raises:
        CheckpointRefused: When no padding and image side give that map.
    """
    kernels = [weights[f"{stem}.weight"] for stem in chain.convs]
    linear = weights[f"{chain.heads[0]}.weight"]
    plain = all(kernel.ndim == 4 and tuple(kernel.shape[2:]) == (3, 3) for kernel in kernels) and linear.ndim == 2
    if not plain or len({int(kernel.shape[0]) for kernel in kernels}) > 1:
        raise CheckpointRefused(
            "the layers have Tiny VGG's names but not its shapes; four 3 × 3 convolutions of one width and one linear layer make it."
        )
    hidden, channels = int(kernels[0].shape[0]), int(kernels[0].shape[1])
    require_chain(weights, chain)
    side = isqrt(linear.shape[1] // hidden)
    if side < 1 or side * side * hidden != linear.shape[1]:
        raise CheckpointRefused(
            f"the last layer reads {linear.shape[1]:,} values, which is no square map of {hidden} channels; "
            "this is not a Tiny VGG for square pictures."
        )
    biased = any(f"{stem}.bias" in weights for stem in chain.convs)
    base = Architecture(
        "tiny_vgg",
        int(linear.shape[0]),
        channels,
        width=hidden / 10,
        head=(),
        pooled=None,
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
        conv_bias=biased,
    )
    fits = _fits(base, side, [(padding, usual) for usual in USUAL_SIDES for padding in (0, 1)])
    fits += [fit for fit in _fits(base, side, [(p, s) for p in (0, 1) for s in POSSIBLE_SIDES]) if fit not in fits]
    if not fits:
        raise CheckpointRefused(
            f"the last map is {side} × {side}, which no image side from {POSSIBLE_SIDES[0]} to {POSSIBLE_SIDES[-1]} px gives "
            "with padding 0 or 1; this is not a Tiny VGG for square pictures."
        )
    named, ignored, filled = renamed(weights, chain, fits[0])
    evidence = (
        said,
        f"4 convolutions (all 3 × 3) of {hidden} channels on {'RGB' if channels == 3 else 'grey'} pictures: Tiny VGG.",
        f"The classifier reads {linear.shape[1]:,} values (a {side} × {side} map of {hidden} channels) and gives "
        f"{base.num_classes:,} {'class' if base.num_classes == 1 else 'classes'}.",
        *filled,
    )
    return ReadCheckpoint(
        name,
        fits[0],
        named,
        evidence=(*map(Evidence, evidence), UNIT),
        alternatives=(UNSEEN,),
        ignored_keys=ignored,
        fits=tuple(fits[1:]),
    )


def _fits(base: Architecture, side: int, places: Iterable[tuple[int, int]]) -> list[Architecture]:
    """The architectures whose last map has this side, of these (padding, image side) and in their order."""
    tries = [replace(base, padding=padding, image_side=image_side) for padding, image_side in places]
    return [candidate for candidate in tries if _last_side(candidate) == side]


def _last_side(architecture: Architecture) -> int:
    try:
        return feature_map(architecture)[1]
    except InputRefused:  # too small a picture for these layers
        return 0
