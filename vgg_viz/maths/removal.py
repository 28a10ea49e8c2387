"""Taking pictures apart in the order that a map gives: which tiles go, and what stands in their place."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def tile_means(maps: Tensor, tiles: int) -> Tensor:
    """Mean of a map over each of tiles x tiles rectangles that cover it once: (B, H, W) -> (B, tiles, tiles), float64."""
    rows, columns = (_shares(side, tiles, maps.device) for side in maps.shape[-2:])
    return rows @ maps.double() @ columns.T


def _owners(side: int, tiles: int, device: torch.device) -> Tensor:
    """Which tile each pixel along one axis belongs to: (side,)."""
    return torch.arange(side, device=device) * tiles // side


def _shares(side: int, tiles: int, device: torch.device) -> Tensor:
    held = F.one_hot(_owners(side, tiles, device), tiles).T.double()
    return held / held.sum(1, keepdim=True)


def first_tiles(maps: Tensor, shares: Sequence[float], *, tiles: int, seed: int = 0) -> Tensor:
    """Which pixels are gone when the strongest tiles go first.

    Tied tiles go in an order drawn by `seed`. A threshold instead of a count takes all of them at once: where a map is zero
    almost everywhere, as after a ReLU, that removes the whole picture (seen in another library). For the weakest first, pass -maps.

    Args:
        maps: (B, H, W), any unit; a tile counts by its mean, so that grain and blur are asked in one coarseness.
        shares: (S,), of the tiles that are gone, [0, 1].
        tiles: Along one side; at most the side of the maps, and then a tile is a pixel.
        seed: Of the order of equal tiles.

    Returns:
        (S, B, H, W) bool, True where the picture is gone: exactly round(share * tiles²) tiles, whatever is tied.
    """
    tiles = min(tiles, *maps.shape[-2:])
    means = tile_means(maps, tiles).flatten(1)
    draws = torch.rand(means.shape, generator=torch.Generator().manual_seed(seed)).to(means.device)
    shuffled = draws.argsort(dim=1)
    order = shuffled.gather(1, means.gather(1, shuffled).argsort(dim=1, descending=True, stable=True))
    places = torch.empty_like(order).scatter_(
        1, order, torch.arange(order.shape[1], device=order.device).expand_as(order)
    )
    counts = torch.tensor([round(share * tiles * tiles) for share in shares], device=maps.device)
    gone = (places[None] < counts[:, None, None]).view(len(counts), len(maps), tiles, tiles)
    rows, columns = (_owners(side, tiles, maps.device) for side in maps.shape[-2:])
    return gone.index_select(2, rows).index_select(3, columns)


def imputed(  # noqa: PLR0913 - the solver's two bounds are here for tests that tighten them
    images: Tensor, gone: Tensor, *, noise: float = 0.01, seed: int = 0, tolerance: float = 0.02, most: int = 200
) -> Tensor:
    """Pictures whose missing pixels are the weighted mean of their neighbours, plus a little noise: ROAD's imputation.

        x[p] = (1/6 sum of side neighbours + 1/12 sum of corner neighbours) / (their weights inside the picture)

    The system is symmetric and positive, so conjugate gradients solve it for all pictures at once without a sparse solver.
    Source: Rong et al., "A Consistent and Efficient Evaluation Strategy for Attribution Methods", ICML 2022.

    Args:
        images: (B, C, H, W) in [0, 1].
        gone: (B, H, W) bool.
        noise: Standard deviation [intensity].
        seed: Of the noise.
        tolerance: Where the linear system counts as solved: share of the first residual; 0.02 leaves a tenth of
            `noise` on average.
        most: Steps of the solver at most.

    Returns:
        (B, C, H, W); known pixels are untouched; a picture with none left is grey.
    """
    empty = gone.flatten(1).all(1)
    unknown = (gone & ~empty[:, None, None])[:, None].to(images.dtype)
    inside = _around(torch.ones_like(unknown[:1]))
    x = _guess(images, unknown)
    residual = unknown * (_around(x) - inside * x)
    direction = residual.clone()
    descent = _squared(residual, residual)
    goal = float(descent.amax()) * tolerance**2
    for _ in range(most):
        if float(descent.amax()) <= goal:
            break
        pushed = torch.addcmul(_around(direction), inside, direction, value=-1).mul_(unknown).neg_()
        step = descent / _squared(direction, pushed).clamp(min=1e-20)
        x.addcmul_(step, direction)
        residual.addcmul_(step, pushed, value=-1)
        after = _squared(residual, residual)
        direction.mul_(after / descent.clamp(min=1e-20)).add_(residual)
        descent = after
    x = torch.where(empty[:, None, None, None], torch.full_like(x, 0.5), x)
    draws = torch.randn(images.shape[-2:], generator=torch.Generator().manual_seed(seed)).to(images)
    return torch.where(gone[:, None], x + noise * draws, images)


def _squared(a: Tensor, b: Tensor) -> Tensor:
    product: Tensor = torch.linalg.vecdot(a.flatten(2), b.flatten(2))
    return product[:, :, None, None]


def _around(x: Tensor) -> Tensor:
    """1/6 of the side neighbours plus 1/12 of the corner ones of each pixel, nothing beyond the border.

    [1 2 1] down times [1 2 1] across, over 12, is just that with a third of the pixel itself: two thin sums instead of nine.
    """
    padded = F.pad(x, (1, 1, 1, 1))
    across = (padded[..., :-2] + padded[..., 2:]).add_(padded[..., 1:-1], alpha=2)
    both = (across[..., :-2, :] + across[..., 2:, :]).add_(across[..., 1:-1, :], alpha=2)
    return both.div_(12).sub_(x, alpha=1 / 3)


def _guess(images: Tensor, unknown: Tensor) -> Tensor:
    """A start for the solver: missing pixels take the mean of what is known in ever wider squares around them."""
    known = 1 - unknown
    x, weight = images * known, known
    levels = [(x, weight)]
    while min(x.shape[-2:]) > 1:
        x, weight = F.avg_pool2d(x, 2, ceil_mode=True), F.avg_pool2d(weight, 2, ceil_mode=True)
        levels.append((x, weight))
    filled = levels[-1][0] / levels[-1][1].clamp(min=1e-9)
    for x, weight in reversed(levels[:-1]):
        wide = F.interpolate(filled, x.shape[-2:], mode="bilinear", align_corners=False)
        filled = torch.where(weight > 0, x / weight.clamp(min=1e-9), wide)
    return torch.where(unknown > 0, filled, images)


def area(curve: Tensor, shares: Sequence[float]) -> Tensor:
    """Area under curves (..., S) over `shares` (S,) by the trapezoid rule, divided by the span: a mean height."""
    places = torch.tensor(list(shares), dtype=torch.float64, device=curve.device)
    return torch.trapezoid(curve.double(), places, dim=-1) / (places[-1] - places[0])
