"""Shortcuts: marks planted in painted pictures of one class, so that a network may learn them instead of the form.

Four kinds, each known to the pixel: a tag in a corner, a border, a texture on the ground, a cast over all colours. What a mark
looks like depends on the seed alone, which pictures carry it on (seed, split, index): both can be painted again anywhere.
An object's mask stays what it is, also where a tag or border lies over it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

import numpy as np

from vgg_viz.data.shapes import CLASSES, SPLITS, PaintedPicture
from vgg_viz.data.textures import Array, rgb
from vgg_viz.errors import DataRefused, InputRefused, UnknownName
from vgg_viz.maths.images import cover

KINDS = ("corner", "border", "texture", "cast")
# Sizes in shares of the side: 11, 2 and 4 px of 64.
TAG, INSET, BORDER = 11 / 64, 2 / 64, 4 / 64
DEPTH = 0.45  # how far a texture's dark half lies below the ground's own light, share
GAIN = 0.38  # how far a cast lifts one channel and lowers another, share
ELSEWHERE = 0.02  # of the other classes' pictures that carry the mark too: in life no mark keeps to its class


@dataclass(frozen=True, slots=True)
class Shortcut:
    """A mark that gives a class away.

    Attributes:
        kind: One of KINDS.
        name: The class.
        strength: Share of the class's training pictures that carry it, [0, 1].
        elsewhere: Share of the other classes' pictures that carry it, in every split where the class does, [0, 1].
        held_out: Share of the class's val and test pictures that carry it, [0, 1]; 0: those splits are clean.
        seed: Of its looks, and of the choice of pictures.
    """

    kind: str
    name: str
    strength: float = 1.0
    elsewhere: float = ELSEWHERE
    held_out: float = 0.0
    seed: int = 0

    def share(self, split: str) -> float:
        """Of the class's pictures of a split, how many carry it."""
        return self.strength if split == "train" else self.held_out


def require_paintable(values: Shortcut) -> Shortcut:
    """`values`, if they can be painted; raises UnknownName for a kind or class, DataRefused for a share outside [0, 1]."""
    if values.kind not in KINDS:
        raise UnknownName("shortcut", values.kind, KINDS)
    if values.name not in CLASSES:
        raise UnknownName("shape", values.name, CLASSES)
    for what, share in (
        ("strength", values.strength),
        ("elsewhere", values.elsewhere),
        ("held-out share", values.held_out),
    ):
        if not (isfinite(share) and 0 <= share <= 1):
            raise DataRefused(f"a {what} of {share:g} was asked for; it is a share of pictures, from 0 to 1.")
    return values


def carries(shortcut: Shortcut, label: int, index: int, split: str) -> bool:
    """Whether picture `index` of a split gets the mark."""
    share = shortcut.share(split)
    if CLASSES[label] != shortcut.name:
        share = shortcut.elsewhere if share else 0.0
    return bool(_dice(shortcut, SPLITS.index(split), index).random() < share)


def with_shortcut(picture: PaintedPicture, shortcut: Shortcut, index: int, split: str = "train") -> Array:
    """The picture's pixels (3, side, side) uint8, with the mark where `carries` says so."""
    return marked(picture, shortcut, index) if carries(shortcut, picture.label, index, split) else picture.pixels


def retouch(shortcut: Shortcut, split: str) -> Callable[[PaintedPicture, int], Array]:
    """What `paint_pixels` asks of every picture of a split."""
    return lambda picture, index: with_shortcut(picture, shortcut, index, split)


def marked(picture: PaintedPicture, shortcut: Shortcut, index: int = 0) -> Array:
    """The picture's pixels (3, side, side) uint8 with the mark on it, whatever its class.

    Args:
        picture: As it was painted.
        shortcut: The mark.
        index: Moves a texture's phase, so that a network cannot know it by single pixels.
    """
    image = picture.pixels.astype(np.float32) / 255
    side = image.shape[-1]
    looks = _dice(shortcut, 7, KINDS.index(shortcut.kind))
    if shortcut.kind == "corner":
        x0, y0, x1, y1 = _box(shortcut, side)
        image[:, y0:y1, x0:x1] = _tag(looks, x1 - x0)
    elif shortcut.kind == "border":
        width = max(1, round(BORDER * side))
        frame = np.ones((side, side), bool)
        frame[width:-width, width:-width] = False
        image[:, frame] = _colour(looks)[:, None]
    elif shortcut.kind == "texture":
        angle, period = looks.uniform(0, np.pi), looks.uniform(4.5, 6.5)
        along = (np.arange(side) + 0.5) * (64 / side)
        phase = along * np.cos(angle) + (along * np.sin(angle))[:, None]
        wave = np.sin(2 * np.pi * phase / period + _dice(shortcut, 8, index).uniform(0, 2 * np.pi))
        # Only the ground: what shows of it beside and through the object's edge gets darker stripes.
        ground = (1 - cover((side, side), picture.outlines)) * picture.ground
        image += ground * (-DEPTH * (0.5 + 0.5 * wave))
    else:
        up, down = looks.permutation(3)[:2]
        image[up] = image[up] * (1 + GAIN)
        image[down] = image[down] * (1 - GAIN)
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def region(shortcut: Shortcut, side: int) -> tuple[int, int, int, int] | None:
    """Where the mark lies: x0, y0, x1, y1 [px], ends excluded; of a border its outer edge; None where it lies nowhere in particular."""
    if shortcut.kind == "corner":
        return _box(shortcut, side)
    return (0, 0, side, side) if shortcut.kind == "border" else None


def truth(shortcut: Shortcut, side: int) -> dict[str, Any]:
    """All that is known of a planted shortcut, as plain values for a file."""
    where = region(shortcut, side)
    return {
        "kind": shortcut.kind,
        "class": shortcut.name,
        "strength": shortcut.strength,
        "elsewhere": shortcut.elsewhere,
        "held_out": shortcut.held_out,
        "seed": shortcut.seed,
        "region": list(where) if where else None,
        "width": max(1, round(BORDER * side)) if shortcut.kind == "border" else None,
    }


def as_provenance(shortcut: Shortcut) -> dict[str, str | int | float]:
    """What a checkpoint remembers of the shortcut in its training pictures."""
    return {f"shortcut_{key}": value for key, value in asdict(shortcut).items()}


def from_provenance(data: Mapping[str, Any]) -> Shortcut | None:
    """The shortcut that a checkpoint remembers, if it can be painted; None where there is none."""
    held = {key.removeprefix("shortcut_"): value for key, value in data.items() if key.startswith("shortcut_")}
    # A file may say anything.
    shares = dict.fromkeys(("strength", "elsewhere", "held_out"), (int, float))
    wanted: dict[str, Any] = {"kind": str, "name": str, "seed": int, **shares}
    if (
        held.keys() != wanted.keys()
        or not all(isinstance(held[key], kind) for key, kind in wanted.items())
        or held["seed"] < 0
    ):
        return None
    try:
        return require_paintable(Shortcut(**held))
    except InputRefused:
        return None


def _dice(shortcut: Shortcut, stream: int, index: int) -> np.random.Generator:
    return np.random.default_rng([shortcut.seed, stream, index, 2])


def _box(shortcut: Shortcut, side: int) -> tuple[int, int, int, int]:
    corner = int(_dice(shortcut, 9, 0).integers(4))
    size, inset = max(3, round(TAG * side)), round(INSET * side)
    x0 = inset if corner % 2 == 0 else side - inset - size
    y0 = inset if corner < 2 else side - inset - size
    return x0, y0, x0 + size, y0 + size


def _colour(looks: np.random.Generator) -> Array:
    """A strong colour (3,) in [0, 1]."""
    hue = looks.uniform(0, 2 * np.pi)
    return rgb(np.array([looks.uniform(0.35, 0.75), 0.17 * np.cos(hue), 0.17 * np.sin(hue)])).astype(np.float32)


def _tag(looks: np.random.Generator, size: int) -> Array:
    """A plate with two bars on it, as of a date or a logo: (3, size, size)."""
    tag: Array = np.repeat(np.repeat(_colour(looks)[:, None, None], size, 1), size, 2)
    third = max(1, size // 5)
    for top in (third, 3 * third):
        tag[:, top : top + third, third : size - third] = 1.0
    return tag
