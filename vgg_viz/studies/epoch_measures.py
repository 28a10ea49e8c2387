"""What is measured at every epoch, layer by layer: where the maps lie, how wide they are, how they move."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from vgg_viz.maths.change import border_mask, centre_mask, drift, map_entropy
from vgg_viz.maths.heatmaps import place
from vgg_viz.maths.metrics import bootstrap_interval, mass_inside, rank_correlation
from vgg_viz.studies.epochs import EpochSeries

BORDER = 1 / 8  # of the side: how wide the border is where there are no masks


@dataclass(frozen=True, slots=True)
class Series:
    """A number an epoch, with its 95 % bootstrap interval over the pictures; NaN where there is none.

    mean, low, high  (E,)
    pictures         (E,) that had one
    """

    mean: Tensor
    low: Tensor
    high: Tensor
    pictures: Tensor


@dataclass(frozen=True, slots=True)
class EpochMeasures:
    """All series of one run.

    layers     {layer: {"mass" or "centre" and "border", "entropy", "drift", "with_last": Series}}
    area       share of the picture that the object covers, or the centre and the border: what a map that knows nothing would have
    """

    layers: Mapping[str, Mapping[str, Series]]
    area: Mapping[str, float]


def measure_epochs(epoch_series: EpochSeries) -> EpochMeasures:
    """Every layer's series over the sampled pictures, from the maps that the walk has kept."""
    masks = epoch_series.sample.masks
    regions: dict[str, Tensor] = (
        {"mass": masks}
        if masks is not None
        else {
            "centre": centre_mask(epoch_series.side).expand(len(epoch_series.sample), -1, -1),
            "border": border_mask(epoch_series.side, max(1, round(BORDER * epoch_series.side))).expand(
                len(epoch_series.sample), -1, -1
            ),
        }
    )
    fields = {row.name: row.field for row in epoch_series.rows}
    found = {}
    for layer in epoch_series.layers:
        field = fields[layer]
        maps = [epoch_series.sample_maps[epoch].maps[layer] for epoch in epoch_series.epochs]
        if field is None or maps[0].shape[-1] < 2:
            continue
        told = {
            name: [mass_inside(place(part, field, epoch_series.side), mask) for part in maps]
            for name, mask in regions.items()
        }
        told["entropy"] = [map_entropy(part) for part in maps]
        unknown = torch.full((len(maps[0]),), math.nan, dtype=torch.float64)
        told["drift"] = [unknown, *(drift(before, after) for before, after in pairwise(maps))]
        told["with_last"] = [with_last(part, maps[-1]) for part in maps]
        found[layer] = {name: series_of_values(values, epoch_series.seed) for name, values in told.items()}
    return EpochMeasures(
        found, {name: float(mask[mask.flatten(1).any(1)].double().mean()) for name, mask in regions.items()}
    )


def with_last(maps: Tensor, last: Tensor) -> Tensor:
    """Rank correlation of each map with that of the last epoch; 1 with itself, also where it is flat."""
    same = (maps == last).flatten(1).all(1)
    return rank_correlation(maps, last).where(~same, 1.0)


def series_of_values(values: list[Tensor], seed: int) -> Series:
    """The mean over the pictures of every epoch, (E) tensors (N,), with its interval."""
    ends = [bootstrap_interval(part, seed=seed) for part in values]
    return Series(
        torch.stack([part.nanmean() for part in values]),
        torch.tensor([low for low, _ in ends], dtype=torch.float64),
        torch.tensor([high for _, high in ends], dtype=torch.float64),
        torch.stack([(~part.isnan()).sum() for part in values]),
    )


def first_above(series: Series, level: float) -> int | None:
    """Place of the first epoch from which on the whole interval stays above a level; None where the last one does not."""
    above = (series.low > level).tolist()
    run = 0
    for held in reversed(above):
        if not held:
            break
        run += 1
    return len(above) - run if run else None
