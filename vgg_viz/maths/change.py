"""How maps and answers change from one moment to the next: spread, drift, what was learned and forgotten."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vgg_viz.maths.metrics import entropy, rank_correlation


def map_entropy(maps: Tensor) -> Tensor:
    """How widely a map's positive mass is spread, as a share of an even spread.

        H(p) / ln N,  p = max(map, 0) / sum max(map, 0), over the N values of a map

    Divided by ln N, so that a layer of 7 x 7 units and one of 28 x 28 can stand on one axis.

    Args:
        maps: (B, h, w), any unit; negative values count as nothing.

    Returns:
        (B,), [0, 1], float64: 0 for a single value, 1 for a flat map; NaN where nothing is positive.
    """
    mass = maps.detach().double().flatten(1).clamp(min=0)
    total = mass.sum(1, keepdim=True)
    spread = entropy(mass / total.where(total > 0, math.nan))
    return spread / math.log(mass.shape[1]) if mass.shape[1] > 1 else spread


def drift(before: Tensor, after: Tensor) -> Tensor:
    """How far the order of a map's places has changed: 1 - Spearman's rank correlation.

    Of ranks, because logits grow through training: a map that only becomes stronger has not moved.

    Args:
        before: (B, ...), same shape, any unit.
        after: The same shape.

    Returns:
        (B,), [0, 2], float64: 0 nothing changed, 1 unrelated, 2 turned round; NaN where one map is flat.
    """
    same = (before == after).flatten(1).all(1)
    return (1 - rank_correlation(before, after)).clamp(0, 2).where(~same, 0.0)


def border_mask(side: int | tuple[int, int], width: int) -> Tensor:
    """(H, W) bool: the outermost `width` pixels of a picture."""
    height, across = (side, side) if isinstance(side, int) else side
    mask = torch.ones(height, across, dtype=torch.bool)
    mask[width : height - width, width : across - width] = False
    return mask


def centre_mask(side: int | tuple[int, int]) -> Tensor:
    """(H, W) bool: the middle of a picture, half as high and half as wide."""
    height, across = (side, side) if isinstance(side, int) else side
    mask = torch.zeros(height, across, dtype=torch.bool)
    mask[height // 4 : height - height // 4, across // 4 : across - across // 4] = True
    return mask


@dataclass(frozen=True, slots=True)
class Learning:
    """What became of each of N pictures over E moments; -1 where it never came to that.

    Attributes:
        first: (N,) the first moment at which it was right.
        final: (N,) the moment from which on it stayed right.
        learned: (E, N) bool: right now, wrong at the moment before; never at the first moment.
        forgotten: (E, N) bool: wrong now, right at the moment before.
    """

    first: Tensor
    final: Tensor
    learned: Tensor
    forgotten: Tensor

    @property
    def times_forgotten(self) -> Tensor:
        """(N,) forgetting events of each picture."""
        return self.forgotten.sum(0)


def learning(right: Tensor) -> Learning:
    """When each picture was learned and forgotten.

    Source: Toneva et al., An Empirical Study of Example Forgetting during Deep Neural Network Learning, ICLR 2019. There a
    picture is looked at when it is trained on; here held-out pictures are looked at after every moment.

    Args:
        right: (E, N) bool, moments in their order.
    """
    nothing = torch.zeros_like(right[:1])
    learned = torch.cat([nothing, right[1:] & ~right[:-1]])
    forgotten = torch.cat([nothing, ~right[1:] & right[:-1]])
    first = right.int().argmax(0).where(right.any(0), -1)
    # Read from the end: the length of the last unbroken run of right answers.
    run = right.flip(0).int().cumprod(0).sum(0)
    final = (len(right) - run).where(run > 0, -1)
    return Learning(first, final, learned, forgotten)
