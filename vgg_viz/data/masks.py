"""Masks that lie in `masks/` beside pictures: which belongs to which, and how they are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from vgg_viz.maths.fitting import fit
from vgg_viz.maths.images import decode_mask
from vgg_viz.records import Resize


def mask_of(file: Path, place: Path) -> Path | None:
    """The mask of a picture below `place`, under the same name as PNG in `masks/`, or in `masks/<place>/` beside the folder."""
    relative = file.relative_to(place).with_suffix(".png")
    tries = (place / "masks" / relative, place.parent / "masks" / place.name / relative)
    return next((mask for mask in tries if mask.is_file()), None)


def pictures_alone(files: Sequence[Path], place: Path) -> list[tuple[Path, Path | None]]:
    """The files below `place` that are no masks of others, each with its mask; a folder called masks may also be one of pictures."""
    pairs = [(file, mask_of(file, place)) for file in files]
    masks = {mask for _, mask in pairs if mask is not None}
    return [(file, mask) for file, mask in pairs if file not in masks]


def fitted_mask(path: Path, name: str, fitting: int | Resize) -> Tensor:
    """The object of the picture called `name` as (side, side) bool, resized and cropped as the picture is.

    Raises:
        ImageRefused: A picture cannot be read.
    """
    mask = decode_mask(path, name=f"the mask of {name}")
    return fit(mask[None].float(), fitting)[0] >= 0.5
