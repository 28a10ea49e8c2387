"""Boxes that lie beside pictures, turned into masks of the pictures as a network sees them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from vgg_viz.data.annotations import Rule, Truth
from vgg_viz.data.box_files import PictureFolder
from vgg_viz.data.boxes import Mark, Marked, lookups
from vgg_viz.data.class_matching import keys
from vgg_viz.data.masks import fitted_mask
from vgg_viz.errors import BoxesRefused
from vgg_viz.maths.fitting import fit
from vgg_viz.maths.images import decode
from vgg_viz.records import Resize

ROUNDING = 2.0  # [px] that a box may reach beyond its picture, or this share of the side; more is another picture's, or another size's
ROUNDING_SHARE = 0.02


class BoxBook:
    """All formats at work in one folder. Nothing is opened before a picture asks, and each table is read once.

    Attributes:
        files: That hold boxes, or names of their classes: no pictures, and nothing to complain about.
    """

    def __init__(self, root: Path, pictures: Sequence[Path]) -> None:
        self._lookups = lookups(PictureFolder(root, tuple(pictures)))
        self.files = frozenset().union(*(lookup.files for lookup in self._lookups))

    def truth(
        self, file: Path, name: str, size: tuple[int, int], fitting: int | Resize, own: str | None
    ) -> Truth | None:
        """The boxes of a picture as a mask, resized and cropped as the picture is.

        Args:
            file: The picture; called `name` in sentences.
            name: What it is called in sentences.
            size: Its height and width, upright [px].
            fitting: How the network's pictures are fitted; or the side of the square that it sees [px].
            own: Name of its class, whose boxes are taken where any bears the name; None: nobody knows, all are taken.

        Returns:
            The truth, with sentences on what was refused; None where no format knows a box of it.
        """
        sentences: list[str] = []
        for lookup in self._lookups:
            try:
                marked = lookup.of(file)
                if marked is None:
                    continue
                boxes = _in_pixels(marked, name, size)
            except BoxesRefused as error:
                sentences.append(str(error))
                continue
            if not boxes:
                break  # the file says that there is nothing to see
            chosen, rule = chosen_boxes(boxes, own)
            mask = fit(mask_of_boxes(chosen, size)[None].float(), fitting)[0] >= 0.5
            return Truth(mask, rule, marked.source, tuple(sentences))
        return Truth(None, "none", refused=tuple(sentences)) if sentences else None


def read_with_truth(  # noqa: PLR0913 - one picture, and all that may say where its object is
    path: Path, name: str, fitting: int | Resize, mask: Path | None, boxes: BoxBook | None, own: str | None
) -> tuple[Tensor, Truth | None]:
    """A picture (3, side, side), and where its object is or None; a mask goes before boxes.

    Args:
        path: Of the picture.
        fitting: As in `BoxBook.truth`.
        mask: File of the mask, or None.
        boxes: What lies beside the pictures.
        own: As in `BoxBook.truth`.
        name: What it is called in sentences.

    Raises:
        ImageRefused: For the picture or its mask.
    """
    image = decode(path, name=name)
    truth = None
    if mask is not None:
        truth = Truth(fitted_mask(mask, name, fitting), "outline")
    elif boxes is not None:
        truth = boxes.truth(path, name, (image.shape[1], image.shape[2]), fitting, own)
    return fit(image, fitting), truth


def chosen_boxes(boxes: Sequence[Mark], own: str | None) -> tuple[list[Mark], Rule]:
    """The boxes of a picture's own class, and all of them where that cannot be told; with the rule by which they were chosen."""
    if own is None:
        return list(boxes), "all boxes"
    if not any(box.label for box in boxes):
        return list(boxes), "all boxes, unnamed"
    meant = [box for box in boxes if box.label and keys(box.label) & keys(own)]
    return (meant, "boxes of its class") if meant else (list(boxes), "all boxes, no name met")


def mask_of_boxes(boxes: Sequence[Mark], size: tuple[int, int]) -> Tensor:
    """(H, W) bool, True on pixels whose centre lies in a box; corners in pixels, edges and not centres."""
    mask = torch.zeros(size, dtype=torch.bool)
    for box in boxes:
        x0, y0, x1, y1 = (max(0, math.ceil(edge - 0.5)) for edge in (box.x0, box.y0, box.x1, box.y1))
        mask[y0:y1, x0:x1] = True
    return mask


def _in_pixels(marked: Marked, name: str, size: tuple[int, int]) -> list[Mark]:
    """The boxes in pixels of the picture, cut at its edges; raises BoxesRefused where file and picture contradict each other."""
    height, width = size
    if marked.size is not None and marked.size != (width, height):
        turned = " (turned by its EXIF orientation?)" if marked.size == (height, width) else ""
        raise BoxesRefused(
            f"{marked.source} is about a picture of {marked.size[0]} × {marked.size[1]} px, and {name} has {width} × {height}{turned}; "
            "make the boxes for the pictures as they are."
        )
    across, down = (width, height) if marked.shares else (1, 1)
    marks = []
    for box in marked.marks:
        x0, y0, x1, y1 = box.x0 * across, box.y0 * down, box.x1 * across, box.y1 * down
        reach_x, reach_y = (max(ROUNDING, ROUNDING_SHARE * length) for length in (width, height))
        if x0 < -reach_x or y0 < -reach_y or x1 > width + reach_x or y1 > height + reach_y:
            raise BoxesRefused(
                f"{marked.source} has a box from ({x0:g}, {y0:g}) to ({x1:g}, {y1:g}) for {name}, which is {width} × {height} px; "
                "a box inside the picture was expected."
            )
        x0, y0, x1, y1 = max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))
        if not (x1 > x0 and y1 > y0):
            raise BoxesRefused(
                f"{marked.source} has a box beside {name} ({width} × {height} px); one inside was expected."
            )
        marks.append(Mark(box.label, x0, y0, x1, y1))
    return marks
