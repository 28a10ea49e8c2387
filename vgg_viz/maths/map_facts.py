"""Numbers of a single map for a sentence: how small an area holds half of it, and how much lies at the edge."""

from __future__ import annotations

import math

from torch import Tensor


def half_area(values: Tensor) -> float:
    """The smallest share of a map's cells that holds half of its positive mass, (0, 0.5]; NaN without any.

    Args:
        values: (h, w), negative values count as nothing.
    """
    mass = values.double().clamp(min=0).flatten().sort(descending=True).values
    whole = float(mass.sum())
    if not whole > 0:
        return math.nan
    return (int((mass.cumsum(0) < whole / 2).sum()) + 1) / len(mass)


def edge_share(values: Tensor, cells: int = 2) -> tuple[float, float]:
    """The share of a map's positive mass in its outer rows and columns, and the share of the cells that these are.

    Args:
        values: (h, w), negative values count as nothing.
        cells: How many rows and columns on each side.

    Returns:
        (NaN, share of cells) for a map without positive values; (1, 1) for one that has no inside.
    """
    mass = values.double().clamp(min=0)
    inner = mass[cells:-cells, cells:-cells]
    whole = float(mass.sum())
    return (1 - float(inner.sum()) / whole if whole > 0 else math.nan), 1 - inner.numel() / mass.numel()
