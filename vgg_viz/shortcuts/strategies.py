"""Repeated strategies: pictures whose heat maps look alike, whatever they show.

Heat maps are brought to a coarse grid and grouped; a group that another start finds again, and that is large enough, is a strategy.
Source: Lapuschkin et al., "Unmasking Clever Hans predictors", Nature Communications 2019 (with spectral clustering there).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vgg_viz.maths.clusters import agreement, k_means, silhouette
from vgg_viz.shortcuts.findings import Audit
from vgg_viz.shortcuts.region import Region

GRID = 8  # cells to a side
MOST = 6  # groups that are tried
SMALLEST = 5  # pictures of a strategy
STABLE = 0.6  # adjusted Rand index of two starts, below which a grouping is chance


@dataclass(frozen=True, slots=True)
class Strategy:
    """Pictures whose heat maps look alike.

    Attributes:
        places: Among all audited pictures, nearest to the group's mean first.
        mean: (S, S) mean share of the evidence.
        wanted: The class that most of them show, and its share of the group.
        edge: Mean share of the evidence in the outer eighth of the picture, [0, 1].
    """

    places: tuple[int, ...]
    mean: Tensor
    wanted: int
    purity: float
    edge: float


def strategies(seen: Audit, *, seed: int = 0) -> tuple[tuple[Strategy, ...], float]:
    """The strategies, the largest first, and how stable the grouping is; none where no grouping is stable."""
    share = seen.evidence.share
    side = share.shape[-1]
    grid = F.adaptive_avg_pool2d(share[:, None], GRID)[:, 0].flatten(1)
    # Square roots of shares: the distance is then Hellinger's, in which a sharp peak does not drown all else.
    vectors = (grid / grid.sum(1, keepdim=True).clamp(min=1e-12)).sqrt()
    best: tuple[float, Tensor, float] | None = None
    for groups in range(2, min(MOST, len(vectors) // SMALLEST) + 1):
        chosen, _ = k_means(vectors, groups, seed=seed)
        again, _ = k_means(vectors, groups, seed=seed + 1)
        stable, fit = agreement(chosen, again), silhouette(vectors, chosen)
        if stable >= STABLE and (best is None or fit > best[0]):
            best = fit, chosen, stable
    if best is None:
        return (), 0.0
    frame = Region("border", (0, 0, side, side), max(1, side // 8)).mask(side)
    clusters = []
    for group in sorted(set(best[1].tolist())):
        places = (best[1] == group).nonzero()[:, 0]
        if len(places) < SMALLEST:
            continue
        near = (vectors[places] - vectors[places].mean(0)).square().sum(1).argsort(stable=True)
        counts = torch.bincount(seen.labels[places])
        mean = share[places].mean(0)
        most, purity = int(counts.argmax()), float(counts.max()) / len(places)
        clusters.append(Strategy(tuple(places[near].tolist()), mean, most, purity, float((mean * frame).sum())))
    return tuple(clusters), best[2]
