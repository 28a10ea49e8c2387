"""Whether maps lie on the objects, compared with maps that know nothing of the network."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vgg_viz.maths.metrics import bootstrap_interval, mass_inside, pointing_hits, wilson_interval


@dataclass(frozen=True, slots=True)
class Pointing:
    """How one kind of map meets the objects' masks.

    name           the method, or a control: "centre", "edge", "random"
    pictures       how many were looked at; with none, the numbers are NaN
    mass           mean share of the map's positive mass that lies on the object, [0, 1]
    mass_interval  95 %, by bootstrap
    hit_rate       share of pictures whose peak lies on the object, or within the tolerance, [0, 1]
    hit_interval   95 %, by Wilson
    tolerance      [px]
    """

    name: str
    pictures: int
    mass: float
    mass_interval: tuple[float, float]
    hit_rate: float
    hit_interval: tuple[float, float]
    tolerance: float


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
    )


def controls_for(images: Tensor, masks: Tensor, tolerance: float | None = None, seed: int = 0) -> tuple[Pointing, ...]:
    """The same measures for three maps that a method must beat to have shown anything.

    centre  a blob in the middle, a quarter of the side wide: photographers centre their objects
    edge    how much the picture's brightness changes at a pixel: objects have edges
    random  smooth noise, eight grains across: the object's share of the picture, with the spread that luck has
    """
    count, _, height, width = images.shape
    rows, columns = (torch.linspace(-1, 1, side, device=images.device) for side in (height, width))
    centre = torch.exp(-2 * (rows[:, None].square() + columns.square())).expand(count, -1, -1)
    grey = F.pad(images.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")[:, 0]
    edge = torch.hypot(grey[:, 1:-1, 2:] - grey[:, 1:-1, :-2], grey[:, 2:, 1:-1] - grey[:, :-2, 1:-1])
    grains = torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(seed)).to(images)
    random = F.interpolate(grains, (height, width), mode="bilinear", align_corners=False)[:, 0]
    return tuple(
        pointing_of(name, maps, masks, tolerance, seed)
        for name, maps in (("centre", centre), ("edge", edge), ("random", random))
    )
