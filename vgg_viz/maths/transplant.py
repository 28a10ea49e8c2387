"""Parts of pictures moved to other pictures: a region, the ground behind an object, the cast of the colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vgg_viz.errors import InputRefused
from vgg_viz.maths.change import border_mask

Kind = Literal["box", "border", "background", "colours"]
Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Region:
    """What of a picture might give its class away.

    kind   "box": a rectangle; "border": the outermost pixels; "background": all but the object; "colours": the mean of each channel
    box    x0, y0, x1, y1 [px], ends excluded; of a rectangle only
    width  of a border [px]
    """

    kind: Kind
    box: Box | None = None
    width: int = 0

    def __str__(self) -> str:
        if self.box is not None:
            x0, y0, x1, y1 = self.box
            return f"the region x {x0} to {x1 - 1}, y {y0} to {y1 - 1} px"
        return {"border": f"the border of {self.width} px", "background": "the background"}.get(self.kind, "the cast of the colours")


def checked_region(region: Region, side: int) -> Region:
    """`region`, if a picture of `side` [px] has it and a region of the same size beside it.

    raises  InputRefused
    """
    if region.box is not None:
        x0, y0, x1, y1 = region.box
        if not (0 <= x0 < x1 <= side and 0 <= y0 < y1 <= side):
            raise InputRefused(
                f"the region {x0},{y0},{x1},{y1} does not lie in a picture of {side} px; x0,y0,x1,y1 in pixels were expected, "
                f"with x0 < x1 and y0 < y1 up to {side}."
            )
        if not control_boxes(region.box, side):
            raise InputRefused(
                f"the region {x0},{y0},{x1},{y1} leaves no room in a picture of {side} px for another one of its size, "
                "which it must be compared with; give a smaller one."
            )
    if region.kind == "border" and not 0 < region.width <= side // 6:
        raise InputRefused(f"a border of {region.width} px came; 1 to {side // 6} px of {side} were expected.")
    return region


def control_boxes(box: Box, side: int) -> list[Box]:
    """Up to three boxes of the same size that do not meet `box`: its mirror images, then the corners."""
    x0, y0, x1, y1 = box
    wide, high = x1 - x0, y1 - y0
    mirrored = [(side - x1, y0), (x0, side - y1), (side - x1, side - y1)]
    corners = [(0, 0), (side - wide, 0), (0, side - high), (side - wide, side - high)]
    found: list[Box] = []
    for x, y in (*mirrored, *corners):
        other = (x, y, x + wide, y + high)
        apart = other[2] <= x0 or other[0] >= x1 or other[3] <= y0 or other[1] >= y1
        if apart and other not in found:
            found.append(other)
    return found[:3]


def transplant(region: Region, images: Tensor, donors: Tensor, masks: Tensor | None, donor_masks: Tensor | None) -> Tensor:
    """Pictures with the region of other pictures in place of their own.

    images, donors      (N, C, S, S) in [0, 1], one donor a picture
    masks, donor_masks  (N, S, S) bool, the objects; needed for the background
    returns             (N, C, S, S)
    """
    if region.kind == "colours":
        return _cast(images, donors)
    if region.kind == "background":
        if masks is None or donor_masks is None:
            raise InputRefused("the background can be moved only where every picture has a mask; give pictures with masks/.")
        return torch.where(masks[:, None], images, _ground(donors, donor_masks))
    side = images.shape[-1]
    moved = box_mask(region.box, side) if region.box is not None else border_mask(side, region.width)
    return torch.where(moved, donors, images)


def elsewhere(region: Region, images: Tensor, donors: Tensor) -> Tensor:
    """The same from the same donors, with a box of the same size at another place; pictures take such places in turn.

    raises  InputRefused for what is no box
    """
    side = images.shape[-1]
    if region.box is None:
        raise InputRefused(f"{region} has no other place of its size in a picture; compare it with the same of other pictures.")
    places = torch.stack([box_mask(box, side) for box in control_boxes(region.box, side)])
    turn = torch.arange(len(images)) % len(places)
    return torch.where(places[turn][:, None], donors, images)


def box_mask(box: Box, side: int) -> Tensor:
    """(side, side) bool: True inside the box."""
    x0, y0, x1, y1 = box
    mask = torch.zeros(side, side, dtype=torch.bool)
    mask[y0:y1, x0:x1] = True
    return mask


def _ground(pictures: Tensor, masks: Tensor) -> Tensor:
    """The pictures without their objects: a hole takes the ground of its mirror image, and what is left the mean of the ground.

    A hole of one colour would keep the outline of the object, and with it the class.
    """
    found, hole = pictures, masks[:, None]
    for axes in ((3,), (2,), (2, 3)):
        turned, behind = pictures.flip(axes), masks[:, None].flip(axes)
        found = torch.where(hole & ~behind, turned, found)
        hole = hole & behind
    ground = (~masks[:, None]).to(pictures)
    mean = (pictures * ground).sum((2, 3), keepdim=True) / ground.sum((2, 3), keepdim=True).clamp(min=1)
    return torch.where(hole, mean, found)


def _cast(images: Tensor, donors: Tensor) -> Tensor:
    """Every channel scaled so that its mean becomes the donor's, with the picture's own brightness."""
    own, other = (part.mean((2, 3), keepdim=True).clamp(min=1 / 255) for part in (images, donors))
    other = other * own.mean(1, keepdim=True) / other.mean(1, keepdim=True)
    return (images * other / own).clamp(0, 1)
