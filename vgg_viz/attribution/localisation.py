"""Where the object is, after Simonyan, Vedaldi and Zisserman: saliency seeds a cut by colours, and its largest piece has a box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from vgg_viz.attribution.targets import Target
from vgg_viz.maths.images import Array
from vgg_viz.maths.receptive_field import Box
from vgg_viz.maths.segmentation import box_of, box_overlap, grab_cut, largest_piece

OBJECT, GROUND = 0.95, 0.30  # quantiles of saliency above and below which pixels are seeds (the paper's)
CENTRE_CUT = "cut from the centre"  # the control that differs from the method by its seeds alone
FOUND = 0.5  # intersection over union from which a box counts as right, as in ILSVRC


@dataclass(frozen=True, slots=True)
class Localised:
    """One picture's object, or what was taken for it.

    objects, ground  (H, W) bool, the seeds
    piece            (H, W) bool, the largest connected piece of the cut
    box              around it, or None where there was nothing to cut
    """

    objects: Array
    ground: Array
    piece: Array
    box: Box | None


def localise(maps: Tensor, images: Tensor) -> tuple[Localised, ...]:
    """Seeds from the quantiles of each map, a cut by colours, the largest piece.

    maps    (B, H, W) saliency, any unit, no sign; images (B, C, H, W) in [0, 1]

    A flat map has no quantiles that differ: nothing is found. Source: Simonyan, Vedaldi & Zisserman, "Deep Inside Convolutional
    Networks", arXiv 1312.6034, December 2013, section 3.2: another network than VGG, on ILSVRC-2013. They cut once with fixed
    colour models, GrabCut learns them again in each round. VGG won localisation in 2014 by box regression (arXiv 1409.1556, A).
    """
    found = []
    for values, image in zip(maps.detach().float().cpu(), images.detach().cpu(), strict=True):
        low, high = torch.quantile(values.flatten(), torch.tensor([GROUND, OBJECT])).tolist()
        ground = (values <= low).numpy()
        objects = ((values >= high) & (values > low)).numpy()
        piece, box = largest_piece(grab_cut(image, objects, ground))
        found.append(Localised(objects, ground, piece, box))
    return tuple(found)


def by_saliency(
    model: nn.Module, images: Tensor, *, target: Target = "predicted"
) -> tuple[Tensor, tuple[Localised, ...]]:
    """Saliency of the class (B, H, W), and what `localise` makes of it; raises as `attribute`."""
    from vgg_viz.attribution import attribute

    maps = attribute(model, images, method="saliency", target=target).values.cpu()
    return maps, localise(maps, images)


def spot(images: Tensor) -> Tensor:
    """A map that knows nothing: 1 in the middle of the picture, falling off to its corners (B, H, W)."""
    height, width = images.shape[-2:]
    rows, columns = (torch.linspace(-1, 1, side) for side in (height, width))
    return (1 - (rows[:, None].square() + columns.square()) / 2).expand(len(images), -1, -1).contiguous()


def controls(images: Tensor) -> dict[str, tuple[Box | None, ...]]:
    """Boxes that a localiser must beat to have shown anything, one a picture.

    centre square  the middle of the picture, half of its area: photographers centre their objects
    whole picture
    cut from the centre  the same cut, seeded by a spot in the middle instead of saliency: what the colours alone find
    """
    count, height, width = len(images), images.shape[-2], images.shape[-1]
    inset = (1 - 0.5**0.5) / 2
    middle = Box(round(inset * width), round(inset * height), round((1 - inset) * width), round((1 - inset) * height))
    return {
        CENTRE_CUT: tuple(one.box for one in localise(spot(images), images)),
        "centre square": (middle,) * count,
        "whole picture": (Box(0, 0, width, height),) * count,
    }


def overlaps(boxes: tuple[Box | None, ...], masks: Tensor) -> Tensor:
    """Intersection over union of each box with the box around its object's mask (B, H, W) bool: (B,), [0, 1]; float64."""
    truth = [box_of(np.asarray(mask)) for mask in masks.cpu().numpy()]
    return torch.tensor([box_overlap(box, true) for box, true in zip(boxes, truth, strict=True)], dtype=torch.float64)
