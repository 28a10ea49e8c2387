"""Many small pictures laid on one sheet, so that a figure holds one image and not hundreds of axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vgg_viz.figures.style import Array, colours
from vgg_viz.maths.heatmaps import Scale


@dataclass(frozen=True, slots=True)
class Grid:
    """Where cell n of `count` lies on a sheet [px]: row by row, with room above and below each cell for words.

    Attributes:
        count: Cells.
        columns: Cells a row.
        width: Of a cell.
        height: Of a cell.
        gap: Between cells, across and down.
        above: Room for words that belongs to a cell.
        below: Room for words that belongs to a cell.
    """

    count: int
    columns: int
    width: int
    height: int
    gap: int = 2
    above: int = 0
    below: int = 0

    @property
    def rows(self) -> int:
        """Rows that the cells fill."""
        return math.ceil(self.count / self.columns)

    @property
    def pitch(self) -> tuple[int, int]:
        """From one cell to the next: across, down."""
        return self.width + self.gap, self.above + self.height + self.below + self.gap

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the sheet."""
        across, down = self.pitch
        return self.columns * across - self.gap, self.rows * down - self.gap

    def corner(self, n: int) -> tuple[int, int]:
        """Upper left pixel of cell n: x, y."""
        across, down = self.pitch
        return (n % self.columns) * across, (n // self.columns) * down + self.above


def compose_grid(grid: Grid, cells: Sequence[Array], *, density: int = 1) -> Array:
    """One sheet of all cells; where there is none, it is NaN (values) or transparent (colours).

    Args:
        grid: Where the cells lie.
        cells: Each (h, w) values or (h, w, 3 or 4) colours in [0, 1], at most height x width of the grid times
            `density`; centred.
        density: Sheet pixels to a figure pixel.

    Returns:
        (H, W) or (H, W, 4) float32.
    """
    width, height = (density * side for side in grid.size)
    plain = not cells or cells[0].ndim == 2
    sheet = np.full((height, width), np.nan, np.float32) if plain else np.zeros((height, width, 4), np.float32)
    for n, cell in enumerate(cells):
        x, y = (density * place for place in grid.corner(n))
        x += (density * grid.width - cell.shape[1]) // 2
        y += (density * grid.height - cell.shape[0]) // 2
        area = sheet[y : y + cell.shape[0], x : x + cell.shape[1]]
        if plain:
            area[...] = cell
        else:
            area[..., : cell.shape[2]] = cell
            if cell.shape[2] == 3:
                area[..., 3] = 1
    return sheet


def fit(picture: Array, width: int, height: int) -> Array:
    """A picture at the size of its cell: pixels enlarged a whole number of times, or averaged when it is too large.

    A whole factor keeps every pixel square: 64 px in a cell of 150 px become 128, not 150 with pixels of two sizes.

    Args:
        picture: (h, w) or (h, w, C), any range.
        width: Of the cell [px].
        height: Of the cell [px].

    Returns:
        At most (height, width), same shape of the rest; nothing is cropped, the sides keep their ratio.
    """
    rows, columns = picture.shape[:2]
    factor = min(height / rows, width / columns)
    if factor >= 1:
        whole = int(factor)
        return picture.repeat(whole, 0).repeat(whole, 1)
    new = (max(1, round(columns * factor)), max(1, round(rows * factor)))
    planes = picture[..., None] if picture.ndim == 2 else picture
    small = [_averaged(planes[..., n], new) for n in range(planes.shape[2])]
    stacked = np.stack(small, -1)
    return stacked[..., 0] if picture.ndim == 2 else stacked


def _averaged(plane: Array, new: tuple[int, int]) -> Array:
    # BOX is the plain mean over the area of the new pixel: it cannot overshoot, as Lanczos does at an edge.
    return np.asarray(Image.fromarray(np.ascontiguousarray(plane, np.float32)).resize(new, Image.Resampling.BOX))


def cell_side(side: int, wanted: int, *, most: int | None = None, density: int = 1) -> int:
    """Side of a cell near `wanted` [px] that a picture of `side` [px] fills after enlarging a whole number of times.

    Args:
        side: Of the picture [px].
        wanted: Of the cell [px].
        most: The cell may not be larger than this [px].
        density: Sheet pixels to a figure pixel.
    """
    room = density * (wanted if most is None else min(wanted, most))
    if side >= room:
        return room // density
    enlarged = side * max(1, round(room / side))
    if most is not None and enlarged > density * most:
        enlarged -= side
    return enlarged // density


def render_map(values: Array, scale: Scale) -> Array:
    """Values as colours of their scale: (H, W) -> (H, W, 4) in [0, 1]; NaN is transparent."""
    return np.asarray(colours(scale)(_positions(values, scale)), np.float32)


def overlay(photo: Array, values: Array, scale: Scale, *, strength: float = 0.9) -> Array:
    """A map over its photo, as opaque as the value is far from zero; where it is zero the photo is untouched.

    Args:
        photo: (H, W, 3) in [0, 1].
        values: (H, W), placed on the image [unit of the scale].
        scale: Of the values.
        strength: Opacity at the end of the scale, [0, 1].

    Returns:
        (H, W, 3) in [0, 1].
    """
    if not scale.high > scale.low:
        return np.asarray(photo, np.float32)
    position = _positions(values, scale)
    zero = min(max((0 - scale.low) / (scale.high - scale.low), 0.0), 1.0)
    opacity = strength * np.abs(position - zero) / max(zero, 1 - zero)
    opacity = np.nan_to_num(opacity)[..., None]
    return (photo * (1 - opacity) + render_map(values, scale)[..., :3] * opacity).astype(np.float32)


def _positions(values: Array, scale: Scale) -> Array:
    return scale.normalise(torch.from_numpy(np.ascontiguousarray(values, np.float32))).numpy()


def outlined(picture: Array, mask: Array, *, thickness: int = 2) -> Array:
    """A picture with the border of a mask drawn on it, white beside black, so that it shows on any ground.

    Args:
        picture: (H, W, 3) in [0, 1].
        mask: (H, W) bool, same size.
        thickness: Of the white line, and of the black one [px].
    """
    lined = np.array(picture, np.float32)
    lined[_ring(mask, 2 * thickness)] = 0.05
    lined[_ring(mask, thickness)] = 1.0
    return lined


def _ring(mask: Array, thickness: int) -> Array:
    """The pixels outside the mask and at most `thickness` steps away from it."""
    grown = mask
    for _ in range(thickness):
        padded = np.pad(grown, 1)
        grown = grown | padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    return grown & ~mask


def pixels(images: Tensor) -> list[np.ndarray[Any, Any]]:
    """Pictures (N, C, H, W) in [0, 1] as what a figure paints: N arrays (H, W, 3), grey ones repeated."""
    colour = images if images.shape[1] == 3 else images.expand(-1, 3, -1, -1)
    return list(colour.detach().cpu().movedim(1, -1).numpy())
