"""Exact copies among pictures: the same pixels, whatever the file is called or packed in."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from vgg_viz.maths.images import to_uint8


@dataclass(frozen=True, slots=True)
class Copies:
    """What is there more than once.

    Attributes:
        groups: Places of pictures with the same pixels, two or more a group, in their order.
        extra: Pictures beyond the first of each group.
        contradictory: Pictures of the groups that have several labels.
    """

    groups: tuple[tuple[int, ...], ...]
    extra: int
    contradictory: int


def hash_pictures(images: Tensor) -> list[str]:
    """One hash for each picture: equal for equal pixels at 8 bit and equal sides.

    Args:
        images: (B, C, H, W) in [0, 1].
    """
    shape = str(tuple(images.shape[1:])).encode()
    return [
        hashlib.blake2b(shape + one.numpy().tobytes(), digest_size=16).hexdigest() for one in to_uint8(images.cpu())
    ]


def copies_of(hashes: Sequence[str], labels: Sequence[int]) -> Copies:
    """Groups of equal hashes, and how many of them have several labels."""
    places: dict[str, list[int]] = defaultdict(list)
    for at, one in enumerate(hashes):
        places[one].append(at)
    groups = tuple(tuple(group) for group in places.values() if len(group) > 1)
    several = sum(len(group) for group in groups if len({labels[at] for at in group}) > 1)
    return Copies(groups, sum(len(group) - 1 for group in groups), several)
