"""Groups of similar vectors: k-means, the number of groups that the data support, and whether another start finds the same ones."""

from __future__ import annotations

import torch
from torch import Tensor

ROUNDS = 50  # of Lloyd's two steps; they end when nothing changes


def k_means(vectors: Tensor, groups: int, *, seed: int = 0, starts: int = 4) -> tuple[Tensor, float]:
    """Lloyd's algorithm from the best of several k-means++ starts.

    Source: Arthur & Vassilvitskii, "k-means++", SODA 2007.

    Args:
        vectors: (N, F), at least `groups` of them.
        groups: How many groups.
        seed: Of the beginnings.
        starts: How many random beginnings; the best is kept.

    Returns:
        (N,) group of each, the largest group first; the sum of squared distances.
    """
    generator = torch.Generator().manual_seed(seed)
    best, least = torch.zeros(len(vectors), dtype=torch.long), torch.inf
    for _ in range(starts):
        centres = _start(vectors, groups, generator)
        chosen = torch.cdist(vectors, centres).argmin(1)
        for _ in range(ROUNDS):
            for group in range(groups):
                own = chosen == group
                if own.any():
                    centres[group] = vectors[own].mean(0)
            again = torch.cdist(vectors, centres).argmin(1)
            if torch.equal(again, chosen):
                break
            chosen = again
        spread = float((vectors - centres[chosen]).square().sum())
        if spread < least:
            best, least = chosen, spread
    order = torch.bincount(best, minlength=groups).argsort(descending=True, stable=True)
    return order.argsort()[best], least


def silhouette(vectors: Tensor, chosen: Tensor) -> float:
    """How much nearer vectors are to their own group than to the next, [-1, 1]; the mean over all of them.

    Source: Rousseeuw, "Silhouettes", Journal of Computational and Applied Mathematics 1987.
    """
    distances, groups = torch.cdist(vectors, vectors), torch.tensor(sorted(set(chosen.tolist())))
    if len(groups) < 2:
        return 0.0
    sums = torch.stack([distances[:, chosen == group].sum(1) for group in groups], 1)
    sizes = torch.stack([(chosen == group).sum() for group in groups])
    own = chosen[:, None] == groups
    inner = (sums * own).sum(1) / (sizes - 1).clamp(min=1)[own.int().argmax(1)]
    outer = (sums / sizes).masked_fill(own, torch.inf).amin(1)
    alone = sizes[own.int().argmax(1)] == 1
    values = ((outer - inner) / torch.maximum(outer, inner).clamp(min=1e-12)).masked_fill(alone, 0.0)
    return float(values.mean())


def agreement(first: Tensor, second: Tensor) -> float:
    """Whether two groupings put the same vectors together: the adjusted Rand index, 1 for the same, about 0 for chance.

    Source: Hubert & Arabie, "Comparing partitions", Journal of Classification 1985.
    """
    a, b = (torch.nn.functional.one_hot(chosen).double() for chosen in (first, second))
    together = _pairs(a.T @ b).sum()
    rows, columns, every = (
        _pairs(a.sum(0)).sum(),
        _pairs(b.sum(0)).sum(),
        _pairs(torch.tensor(float(len(first))).double()),
    )
    expected, most = rows * columns / every.clamp(min=1), (rows + columns) / 2
    return 1.0 if most == expected else float((together - expected) / (most - expected))


def _pairs(counts: Tensor) -> Tensor:
    return counts * (counts - 1) / 2


def _start(vectors: Tensor, groups: int, generator: torch.Generator) -> Tensor:
    """k-means++: each next centre is drawn by its squared distance from those that are there."""
    centres = vectors[torch.randint(len(vectors), (1,), generator=generator)]
    for _ in range(groups - 1):
        far = torch.cdist(vectors, centres).amin(1).square()
        drawn = torch.multinomial(far + 1e-12, 1, generator=generator)
        centres = torch.cat([centres, vectors[drawn]])
    return centres
