"""What a network may look at instead of the object: a place in the picture, its border, its background, its colours.

A region is carried from one picture (the donor) to another (the recipient): pixels for pixels, or colours for colours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Kind = Literal["patch", "border", "background", "colour"]
# Of the side: the square that stands for a picture's background where nobody knows its object, and how far from the corner it begins,
# so that a border is not taken for a background.
TILE, TILE_FROM = 12 / 64, 5 / 64
# Of the side: widths of a border, and of the frame that stands for a background where no object is known.
BORDER, AROUND = 5 / 64, 1 / 5
MOST_GAIN = 3.0  # a colour transfer multiplies a channel by no more than this, nor divides
SOFT = 1 / 32  # of the side: how far a transplant's rim is blended, to either side of its middle
NEAR = 1 / 32  # of the side: how far around an object nothing is exchanged, because edges are antialiased


@dataclass(frozen=True, slots=True)
class Region:
    """Where a network may look.

    Attributes:
        box: x0, y0, x1, y1 [px], ends excluded; None where it is nowhere in particular.
        width: Of a border or frame [px], else 0.
        spared: A smaller region within, which stays the recipient's own: what a background does without the border in
            it.
    """

    kind: Kind
    box: tuple[int, int, int, int] | None = None
    width: int = 0
    spared: Region | None = None

    def soft(self, side: int) -> Tensor:
        """(side, side) in [0, 1]: 1 where `mask` is, falling to 0 around it.

        A hard edge is a mark of its own: networks that knew a class by its border took any pasted rim for one (a rise of 10 logits on
        a Tiny VGG, whoever the donor was).
        """
        reach = max(1, round(SOFT * side))
        wide = _widened(self.mask(side)[None], reach).float()
        return F.avg_pool2d(wide[None], 2 * reach + 1, stride=1, padding=reach, count_include_pad=False)[0, 0]

    def mask(self, side: int) -> Tensor:
        """(side, side) bool: where the region is; nowhere for colours, everywhere for a background without width."""
        mask = torch.zeros(side, side, dtype=torch.bool)
        if self.kind == "patch" and self.box:
            x0, y0, x1, y1 = self.box
            mask[y0:y1, x0:x1] = True
        elif self.width:
            mask[:] = True
            mask[self.width : -self.width, self.width : -self.width] = False
        elif self.kind == "background":
            mask[:] = True
        return mask

    def moved(self, side: int) -> tuple[Region, ...]:
        """The same size of patch in the mirrored places: left and right, up and down, both; those that are not itself."""
        if self.kind != "patch" or self.box is None:
            return ()
        x0, y0, x1, y1 = self.box
        across, down = (side - x1, side - x0), (side - y1, side - y0)
        places = {(across[0], y0, across[1], y1), (x0, down[0], x1, down[1]), (across[0], down[0], across[1], down[1])}
        apart = [place for place in sorted(places) if _overlap(place, self.box) == 0]
        return tuple(Region("patch", place) for place in apart)


def border(side: int, width: int | None = None) -> Region:
    """The outermost pixels of a picture; None: as wide as is tried for every class."""
    return Region("border", (0, 0, side, side), max(1, round(BORDER * side)) if width is None else width)


def background(side: int, *, masks: bool) -> Region:
    """All but the object where masks are known, else a frame that holds hardly a part of it."""
    return Region("background") if masks else Region("background", None, max(1, round(AROUND * side)))


def transplant(
    region: Region, donors: Tensor, recipients: Tensor, masks: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """Every recipient with the region of every donor.

    Args:
        region: What is carried.
        donors: (D, C, S, S).
        recipients: (R, C, S, S).
        masks: Objects of donors (D, S, S) and recipients (R, S, S) bool: recipients then keep theirs before the
            donors' background.

    Returns:
        (D, R, C, S, S).
    """
    if region.kind == "colour":
        ratio = donors.mean((2, 3))[:, None] / recipients.mean((2, 3))[None].clamp(min=1 / 255)
        return (recipients[None] * ratio.clamp(1 / MOST_GAIN, MOST_GAIN)[..., None, None]).clamp(0, 1)
    if region.spared is not None:
        whole = transplant(replace(region, spared=None), donors, recipients, masks)
        return torch.lerp(whole, recipients[None], region.spared.soft(recipients.shape[-1]).to(recipients))
    if region.kind == "background" and masks is not None:
        kept = _widened(masks[1], max(1, round(NEAR * recipients.shape[-1]))).to(recipients.device)
        return torch.where(kept[None, :, None], recipients[None], emptied(donors, masks[0])[:, None])
    if region.kind == "background":
        donors = tiled(donors)
    return torch.lerp(recipients[None], donors[:, None], region.soft(recipients.shape[-1]).to(recipients))


def emptied(images: Tensor, masks: Tensor) -> Tensor:
    """Pictures (B, C, S, S) without their objects: a disc around each shows what lies half a picture away, by preference background.

    A disc of one radius for all, because a hole in the form of the object would tell its class: on clean networks that alone made
    differences of 12 standard errors.
    """
    side = images.shape[-1]
    steps = torch.arange(side, device=images.device, dtype=torch.float32)
    area = masks.sum((1, 2)).clamp(min=1)
    middle = [(masks * axis).sum((1, 2)) / area for axis in (steps[:, None], steps[None])]
    away = torch.hypot(steps[:, None] - middle[0][:, None, None], steps - middle[1][:, None, None])
    radius = (away * masks).flatten(1).amax(1).quantile(0.9) + max(1, round(NEAR * side))
    return torch.where((away <= radius)[:, None], images.roll((side // 2, side // 2), (2, 3)), images)


def tiled(images: Tensor) -> Tensor:
    """A corner of each picture (B, C, S, S), laid side by side until it fills the picture.

    A corner holds background and hardly ever a part of the object, whose parts would speak for its class. Pictures take turns
    with their corners, so that no corner's own mark is taken for the background of all.
    """
    side = images.shape[-1]
    size = max(2, round(TILE * side))
    first, times = round(TILE_FROM * side), -(-side // size)
    tiles = []
    for index, image in enumerate(images):
        corner = image.flip(*((1,) * (index % 2) + (2,) * (index // 2 % 2))) if index % 4 else image
        tiles.append(corner[:, first : first + size, first : first + size].repeat(1, times, times)[:, :side, :side])
    return torch.stack(tiles)


def paint_over(region: Region, images: Tensor) -> Tensor:
    """Pictures (B, C, S, S) without what the region holds, in no class's favour: painted over from its rim, or in even colours."""
    if region.kind == "colour":
        return (images - images.mean((2, 3), keepdim=True) + images.mean((1, 2, 3), keepdim=True)).clamp(0, 1)
    where = region.mask(images.shape[-1]).to(images.device)
    rim = _widened(where[None], max(1, images.shape[-1] // 32))[0] & ~where
    if not rim.any():
        return torch.where(where, images.mean((2, 3), keepdim=True), images)
    fill = (images * rim).sum((2, 3), keepdim=True) / rim.sum()
    return torch.where(where, fill, images)


def _widened(masks: Tensor, reach: int) -> Tensor:
    return F.max_pool2d(masks[:, None].float(), 2 * reach + 1, stride=1, padding=reach)[:, 0] > 0.5


def _overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> int:
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))


def patch_overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    """Intersection over union of two boxes, [0, 1]."""
    both = _overlap(a, b)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)
