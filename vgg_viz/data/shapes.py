"""Shapes: a painted dataset in which only the form of one object tells the class, and every pixel of it is known.

Ten classes. Colour, texture, size, place and rotation are drawn without looking at the class, and all outlines enclose
the same area before scaling, so that no histogram gives a class away. Lines, arcs, blobs and scraps lie behind the object.
A picture depends on (seed, split, index) alone: a held-out split can be painted again anywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
import torch

from vgg_viz.data.textures import Array, surface, tones
from vgg_viz.errors import DataRefused, UnknownName
from vgg_viz.maths.images import cover
from vgg_viz.progress import told
from vgg_viz.records import Batch

CLASSES = ("arrow", "circle", "crescent", "cross", "heart", "hexagon", "ring", "square", "star", "triangle")
SPLITS = ("train", "val", "test")
SIDE = 64  # [px] what sizes below refer to; another side scales them

SMALLEST, LARGEST = 20.0, 30.0  # square root of the object's area [px of 64]
DARKEST, LIGHTEST = 0.25, 0.95  # of any colour, OKLab lightness
SPREAD = 0.14  # most between the two tones of one surface, OKLab lightness
CONTRAST = 0.18  # least difference in OKLab lightness between object and ground
DISTRACTORS = (2, 6)  # least and most behind the object
TILT = np.pi / 6  # an object is turned by up to this much either way [rad]


@dataclass(frozen=True, slots=True)
class PaintedPicture:
    """One painted picture and all that is known about it.

    Attributes:
        pixels: (3, side, side) uint8 RGB.
        mask: (side, side) bool: at least half of the pixel is object.
        label: Index into CLASSES.
        outlines: Polygons (n, 2) of x, y [px] around the object; the second, if any, is a hole.
        ground: (3, side, side) float32: the picture without the object.
    """

    pixels: Array
    mask: Array
    label: int
    outlines: tuple[Array, ...]
    ground: Array


def paint(count: int, *, seed: int = 0, split: str = "train", side: int = SIDE) -> Batch:
    """The first `count` pictures of a split, classes balanced in every ten.

    Args:
        count: How many pictures.
        seed: Of the pictures.
        split: "train", "val" or "test": three streams that share no picture.
        side: [px], at least 16.

    Returns:
        Batch with labels, masks and names ("star-000012").
    """
    pixels, labels, masks, names = paint_pixels(count, seed=seed, split=split, side=side)
    images = torch.from_numpy(pixels).float().div_(255)
    return Batch(images, torch.from_numpy(labels), names, torch.from_numpy(masks))


def paint_pixels(
    count: int,
    *,
    seed: int = 0,
    split: str = "train",
    side: int = SIDE,
    retouch: Callable[[PaintedPicture, int], Array] | None = None,
) -> tuple[Array, Array, Array, tuple[str, ...]]:
    """`paint` before it becomes float: pixels (N, 3, side, side) uint8, labels (N,), masks (N, side, side) bool, names.

    Args:
        count: How many pictures.
        seed: Of the pictures.
        split: "train", "val" or "test".
        side: Of the pictures [px].
        retouch: Given a picture and its index, the pixels to take instead of its own; its mask stays.
    """
    if count < 1:
        raise DataRefused(f"{count} pictures were asked for; ask for at least 1.")
    pixels = np.empty((count, 3, side, side), np.uint8)
    masks = np.empty((count, side, side), bool)
    labels = np.empty(count, np.int64)
    for index in told(range(count), f"painting {split}"):
        picture = draw(index, seed=seed, split=split, side=side)
        pixels[index] = retouch(picture, index) if retouch else picture.pixels
        masks[index], labels[index] = picture.mask, picture.label
    return pixels, labels, masks, tuple(f"{CLASSES[label]}-{index:06d}" for index, label in enumerate(labels))


def label_of(index: int, *, seed: int = 0, split: str = "train") -> int:
    """The class of picture `index`: every ten pictures are a shuffle of the ten classes."""
    return _shuffle(seed, _stream(split), index // len(CLASSES))[index % len(CLASSES)]


@lru_cache(maxsize=16)
def _shuffle(seed: int, stream: int, block: int) -> tuple[int, ...]:
    return tuple(np.random.default_rng([seed, stream, block, 1]).permutation(len(CLASSES)).tolist())


def draw(index: int, *, seed: int = 0, split: str = "train", side: int = SIDE) -> PaintedPicture:
    """Picture `index` of a split, painted: ground, distractors, object."""
    if side < 16:
        raise DataRefused(f"a side of {side} px was asked for; shapes need at least 16 px.")
    generator = np.random.default_rng([seed, _stream(split), index, 0])
    label = label_of(index, seed=seed, split=split)
    scale = side / SIDE

    # The ground, the object and the distractors get their colours before anyone knows the form.
    strangers = int(generator.integers(DISTRACTORS[0], DISTRACTORS[1] + 1))
    lightness = generator.uniform(DARKEST, LIGHTEST, 2 + strangers)
    lightness[1] = _apart(generator, lightness[0])
    pairs = tones(generator, lightness, generator.uniform(-SPREAD, SPREAD, 2 + strangers))
    ground, coat = surface(generator, side, pairs[0]), surface(generator, side, pairs[1])
    for pair in pairs[2:]:
        _lay_outline(ground, _distractor(generator) * scale, pair[0])

    size, angle = generator.uniform(SMALLEST, LARGEST), generator.uniform(-TILT, TILT)
    # The same margin for every class, so that the place does not give it away.
    margin = min(REACH * size + 0.5, SIDE / 2)
    middle = generator.uniform(margin, SIDE - margin, 2)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    outlines = tuple((outline @ turn * size + middle) * scale for outline in unit_outlines(CLASSES[label]))

    coverage = cover((side, side), outlines)
    image = ground + coverage * (coat - ground)
    pixels = np.rint(np.minimum(np.maximum(image, 0), 1) * 255).astype(np.uint8)
    return PaintedPicture(pixels, coverage >= 0.5, label, outlines, ground)


def _apart(generator: np.random.Generator, other: float) -> float:
    """A lightness at least CONTRAST away from `other`, evenly drawn."""
    below, above = max(other - CONTRAST - DARKEST, 0.0), max(LIGHTEST - other - CONTRAST, 0.0)
    place = generator.uniform(0, below + above)
    return DARKEST + place if place < below else other + CONTRAST + place - below


def _lay_outline(image: Array, outline: Array, colour: Array) -> None:
    """Paint the inside of `outline` in place, working only on the pixels around it."""
    side = image.shape[-1]
    low, high = outline.min(axis=0).tolist(), outline.max(axis=0).tolist()
    x0, y0 = (int(min(max(value - 1, 0), side)) for value in low)
    x1, y1 = (int(min(max(value + 2, 0), side)) for value in high)
    if x1 > x0 and y1 > y0:
        patch = image[:, y0:y1, x0:x1]
        patch += cover((y1 - y0, x1 - x0), [outline - (x0, y0)]) * (colour[:, None, None] - patch)


def _stream(split: str) -> int:
    if split not in SPLITS:
        raise UnknownName("split", split, SPLITS)
    return SPLITS.index(split)


# ---------------------------------------------------------------- distractors


def _distractor(generator: np.random.Generator) -> Array:
    """The outline of something that is none of the ten classes [px of 64]: a line, an open arc, a blob or a scrap."""
    kind = int(generator.integers(4))
    middle, angle, amount, depth = generator.uniform(0, SIDE, 2), *generator.random(3)
    angle *= 2 * np.pi
    if kind < 2:  # a line; an arc of up to 2.2 rad, well short of a ring
        bend, length, thickness = kind * (0.6 + 1.6 * amount), generator.uniform(10, 40), 0.8 + 1.6 * depth
        angles = angle + _SPINE * bend
        steps = _at(angles, 1.0)
        spine = np.cumsum(steps, axis=0) * (length / len(steps))
        across = steps[:, ::-1] * (-thickness / 2, thickness / 2)
        line: Array = np.concatenate([spine + across, (spine - across)[::-1]]) - spine[len(spine) // 2] + middle
        return line
    if kind == 2:  # a blob: low waves around a small circle
        waves = 0.25 * np.cos(2 * _TURN + 6.3 * depth) + 0.15 * np.cos(3 * _TURN)
        return _at(_TURN + angle, (1.5 + 2.5 * amount) * (1 + waves)) + middle
    return _at(_SCRAP + angle, (2.0 + 2.5 * amount) * generator.uniform(0.55, 1.45, 5)) + middle


def _at(angles: Array, radius: float | Array) -> Array:
    """Points (n, 2) at `radius` in the directions `angles`."""
    points: Array = np.array((np.cos(angles) * radius, np.sin(angles) * radius)).T
    return points


_SPINE = np.linspace(-0.5, 0.5, 14)
_TURN = np.linspace(0, 2 * np.pi, 20, endpoint=False)
_SCRAP = np.linspace(0, 2 * np.pi, 5, endpoint=False)


# ---------------------------------------------------------------- the ten outlines


@cache
def unit_outlines(name: str) -> tuple[Array, ...]:
    """The outline of a class (and its hole, if any) as polygons, enclosing area 1, centre of gravity at 0."""
    if name not in CLASSES:
        raise UnknownName("shape", name, CLASSES)
    polygons = _POLYGONS[name]()
    areas = [abs(_area(polygon)) for polygon in polygons]
    signs = [1.0, -1.0][: len(polygons)]  # the second, if any, is a hole
    area = sum(sign * piece for sign, piece in zip(signs, areas, strict=True))
    centre = sum(s * a * _centroid(p) for s, a, p in zip(signs, areas, polygons, strict=True)) / area
    return tuple((polygon - centre) / np.sqrt(area) for polygon in polygons)


def _area(polygon: Array) -> float:
    x, y = polygon.T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def _centroid(polygon: Array) -> Array:
    following = np.roll(polygon, -1, axis=0)
    cross = polygon[:, 0] * following[:, 1] - following[:, 0] * polygon[:, 1]
    centre: Array = ((polygon + following) * cross[:, None]).sum(axis=0) / (6 * _area(polygon))
    return centre


def _round(points: int, radius: float = 1.0, *, start: float = 0.0, stop: float = 2 * np.pi) -> Array:
    angles = np.linspace(start, stop, points, endpoint=stop - start < 2 * np.pi - 1e-9)
    return _at(angles, radius)


def _crescent() -> list[Array]:
    """A disc less a disc of .85 its radius shifted by .5: the outer arc, then the inner one back."""
    radius, shift = 0.85, 0.5
    x = (1 - radius**2 + shift**2) / (2 * shift)  # where the circles meet
    y = np.sqrt(1 - x**2)
    outer, inner = np.arctan2(y, x), np.arctan2(y, x - shift)
    back = _round(40, radius, start=2 * np.pi - inner, stop=inner) + np.array([shift, 0.0])
    return [np.concatenate([_round(60, start=outer, stop=2 * np.pi - outer), back])]


def _heart() -> list[Array]:
    t = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    return [
        np.stack([16 * np.sin(t) ** 3, -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))], 1)
    ]


def _star() -> list[Array]:
    points = _round(10, start=-np.pi / 2, stop=1.5 * np.pi)
    points[1::2] *= 0.42
    return [points]


def _points(*values: float) -> list[Array]:
    return [np.array(values, dtype=float).reshape(-1, 2)]


_POLYGONS: dict[str, Callable[[], list[Array]]] = {
    "arrow": lambda: _points(-1, -0.3, 0.05, -0.3, 0.05, -0.85, 1, 0, 0.05, 0.85, 0.05, 0.3, -1, 0.3),
    "circle": lambda: [_round(64)],
    "crescent": _crescent,
    "cross": lambda: _points(-1, -3, 1, -3, 1, -1, 3, -1, 3, 1, 1, 1, 1, 3, -1, 3, -1, 1, -3, 1, -3, -1, -1, -1),
    "heart": _heart,
    "hexagon": lambda: [_round(6)],
    "ring": lambda: [_round(64), _round(48, 0.58)],
    "square": lambda: _points(-1, -1, 1, -1, 1, 1, -1, 1),
    "star": _star,
    "triangle": lambda: [_round(3, start=-np.pi / 2, stop=1.5 * np.pi)],
}

REACH = max(float(np.hypot(*outline.T).max()) for name in CLASSES for outline in unit_outlines(name))
