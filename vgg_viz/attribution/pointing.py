"""Whether maps lie on the objects, compared with maps that know nothing of the network."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from vgg_viz.attribution.trust_controls import control_maps
from vgg_viz.maths.metrics import best_threshold_iou, bootstrap_interval, mass_inside, pointing_hits, wilson_interval


@dataclass(frozen=True, slots=True)
class Pointing:
    """How one kind of map meets the objects' masks.

    name           the method, or a control: "centre", "edge", "random", "blur-matched"
    pictures       how many were looked at; with none, the numbers are NaN
    mass           mean share of the map's positive mass that lies on the object, [0, 1]
    mass_interval  95 %, by bootstrap
    hit_rate       share of pictures whose peak lies on the object, or within the tolerance, [0, 1]
    hit_interval   95 %, by Wilson
    tolerance      [px]
    iou            mean overlap with the object at each picture's best threshold, [0, 1]: an upper bound, chosen with the mask in sight
    """

    name: str
    pictures: int
    mass: float
    mass_interval: tuple[float, float]
    hit_rate: float
    hit_interval: tuple[float, float]
    tolerance: float
    iou: float = math.nan


def pointing_of(name: str, maps: Tensor, masks: Tensor, tolerance: float | None = None, seed: int = 0) -> Pointing:
    """Measure `maps` (B, H, W) against `masks` (B, H, W) bool; tolerance [px], None: 15 of 224, scaled."""
    reach = 15 * maps.shape[-1] / 224 if tolerance is None else tolerance
    mass, hits = mass_inside(maps, masks), pointing_hits(maps, masks, tolerance=reach)
    return Pointing(
        name,
        len(maps),
        float(mass.nanmean()),
        bootstrap_interval(mass, seed=seed),
        float(hits.mean()),
        wilson_interval(float(hits.sum()), len(maps)),
        reach,
        float(best_threshold_iou(maps, masks)[0].mean()),
    )


def controls_for(images: Tensor, masks: Tensor, tolerance: float | None = None, seed: int = 0) -> tuple[Pointing, ...]:
    """The same measures for maps that a method must beat to have shown anything: see `control_maps`."""
    return tuple(pointing_of(name, maps, masks, tolerance, seed) for name, maps in control_maps(images, seed).items())
