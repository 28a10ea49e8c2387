"""Whether maps lie on the objects, compared with maps that know nothing of the network."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vgg_viz.faithfulness.baseline_maps import control_maps
from vgg_viz.maths.metrics import best_threshold_iou, bootstrap_interval, mass_inside, pointing_hits, wilson_interval
from vgg_viz.maths.segmentation import largest_piece

THRESHOLDS = tuple(i / 10 for i in range(1, 10))  # shares of a map's range


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
    box_iou        where masks are boxes: mean overlap of the box around the largest piece above a threshold, at the best of THRESHOLDS;
                   else NaN. A map cannot fill a box as a box can, so this is what compares with other localisers
    """

    name: str
    pictures: int
    mass: float
    mass_interval: tuple[float, float]
    hit_rate: float
    hit_interval: tuple[float, float]
    tolerance: float
    iou: float = math.nan
    box_iou: float = math.nan


def pointing_of(
    name: str, maps: Tensor, masks: Tensor, tolerance: float | None = None, seed: int = 0, boxed: Tensor | None = None
) -> Pointing:
    """Measure `maps` (B, H, W) against `masks` (B, H, W) bool; pictures with an empty mask are left out: nobody knows.

    tolerance  [px]; None: 15 of 224, scaled
    boxed      (B,) bool, True where a mask is that of boxes
    """
    known = masks.flatten(1).any(1)
    maps, masks, boxed = maps[known], masks[known], None if boxed is None else boxed.to(known.device)[known]
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
        math.nan if boxed is None or not boxed.any() else float(best_box_iou(maps[boxed], masks[boxed]).mean()),
    )


def best_box_iou(maps: Tensor, masks: Tensor) -> Tensor:
    """How well the box around the largest piece of {map >= threshold} meets the true boxes, at each picture's best.

    maps     (B, H, W)
    masks    (B, H, W) bool, the true boxes filled; several boxes count as the one area that they cover
    returns  (B,) intersection over union, [0, 1], float64; the thresholds are THRESHOLDS between a map's least and greatest value

    The threshold is chosen with the box in sight, for each picture: an upper bound. Source: Zhou et al., "Learning Deep Features for
    Discriminative Localization", CVPR 2016, who take one threshold of 20 % for all.
    """
    best = []
    for values, mask in zip(maps.detach().float().cpu().numpy(), masks.cpu().numpy(), strict=True):
        low, high = float(values.min()), float(values.max())
        found = 0.0
        for share in THRESHOLDS if high > low else ():
            _, box = largest_piece(values >= low + share * (high - low))
            if box is not None:
                common = int(mask[box.y0 : box.y1, box.x0 : box.x1].sum())
                found = max(found, common / ((box.x1 - box.x0) * (box.y1 - box.y0) + int(mask.sum()) - common))
        best.append(found)
    return torch.tensor(best, dtype=torch.float64)


def controls_for(images: Tensor, masks: Tensor, tolerance: float | None = None, seed: int = 0) -> tuple[Pointing, ...]:
    """The same measures for maps that a method must beat to have shown anything: see `control_maps`."""
    return tuple(pointing_of(name, maps, masks, tolerance, seed) for name, maps in control_maps(images, seed).items())
