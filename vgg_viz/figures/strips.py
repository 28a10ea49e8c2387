"""Photographs in rows with maps of one question beside each other, every row on one scale of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from vgg_viz.errors import VggVizError
from vgg_viz.figures.image_grid import Grid, cell_side, fit, lay, outlined, overlay
from vgg_viz.figures.layout import MARGIN, WIDE, canvas, fitted, head, panel, sheet, text_width, write
from vgg_viz.figures.style import LIGHT, SMALL, Array, colours, number, painted
from vgg_viz.maths.heatmaps import Scale
from vgg_viz.number_text import percent

DENSITY = 2  # sheet pixels to a figure pixel
_GAP = 8  # [px] between cells
_BAR = 96  # [px] width of a row's colour bar


@dataclass(frozen=True, slots=True)
class Strip:
    """One photograph and its maps, one a column, all on one scale.

    photo   (H, W, 3) in [0, 1]
    maps    (M, H, W), placed on the photo
    label   what stands above the row
    under   a line below each map ("" for none), with whether what it says is right; or nothing
    mask    (H, W) bool, the object; outlined on the photo
    """

    photo: Array
    maps: Array
    scale: Scale
    label: str
    under: Sequence[tuple[str, bool | None]] = ()
    mask: Array | None = None


@painted
def maps_in_rows(
    strips: Sequence[Strip], names: Sequence[str], *, over: str, side: int = 96, title: str = "", subtitle: str = ""
) -> Figure:
    """A row a photograph, a column an epoch or a network; every row has one scale, whose bar stands at its right.

    names   of the columns
    over    what a row's scale is taken over: "all epochs of a row"
    side    wanted side of a picture [px]
    raises  VggVizError without rows, or where a row holds another number of maps than there are names
    """
    if not strips or any(len(strip.maps) != len(names) for strip in strips):
        raise VggVizError(
            f"maps in rows need one map for each of the {len(names)} columns in every row, and at least one row."
        )
    columns = len(names) + 1
    photos = [np.asarray(strip.photo, np.float32) for strip in strips]
    room = (WIDE - 2 * MARGIN + _GAP) // columns - _GAP
    cell = cell_side(max(max(photo.shape[:2]) for photo in photos), side, most=room, density=DENSITY)
    grid = Grid(columns, columns, cell, cell, gap=_GAP)
    width = max(grid.size[0] + 2 * MARGIN, 620)
    downs = [cell + 30 + (17 if strip.under else 4) for strip in strips]
    top = head(title=title, subtitle=subtitle) + 16
    clipped = max(strip.scale.clipped for strip in strips)
    told = [f"colour bars [{strips[0].scale.unit}]: one range over {over}"]
    told += [f"up to {percent(clipped)} of the values lie beyond"] if clipped > 0 else []
    if text_width("; ".join(told), SMALL) <= width - 2 * MARGIN:
        told = ["; ".join(told)]
    figure = canvas(width, top + sum(downs) + 8 + 16 * len(told), title=title, subtitle=subtitle)
    for column, name in enumerate(("photo", *names)):
        middle = MARGIN + grid.corner(column)[0] + cell / 2
        write(
            figure, middle, top - 6, fitted(name, cell + _GAP, SMALL, bold=True), size=SMALL, ha="center", weight="bold"
        )
    y = top + 4
    for strip, photo, down in zip(strips, photos, downs, strict=True):
        _strip(figure, strip, photo, grid, y, cell, width)
        y += down
    for n, line in enumerate(told):
        write(figure, MARGIN, y + 8 + 16 * n, fitted(line, width - 2 * MARGIN, SMALL), size=SMALL, color=LIGHT.muted)
    return figure


def _strip(figure: Figure, strip: Strip, photo: Array, grid: Grid, y: float, cell: int, width: int) -> None:
    right = width - MARGIN
    write(figure, MARGIN, y + 8, fitted(strip.label, right - MARGIN - _BAR - 110, SMALL), size=SMALL)
    ends = [number(value, digits=2) for value in (strip.scale.low, strip.scale.high)]
    wide = text_width(ends[1], SMALL)
    bar = panel(figure, right - wide - 6 - _BAR, y + 4, _BAR, 8, bare=True)
    bar.imshow(np.linspace(0, 1, 128)[None], cmap=colours(strip.scale), vmin=0, vmax=1, aspect="auto")
    write(figure, right - wide - 12 - _BAR, y + 8, ends[0], size=SMALL, color=LIGHT.muted, ha="right")
    write(figure, right, y + 8, ends[1], size=SMALL, color=LIGHT.muted, ha="right")
    ground = paled(photo)
    painted_maps = [overlay(ground, values, strip.scale) for values in strip.maps]
    large = [fit(picture, DENSITY * cell, DENSITY * cell) for picture in (photo, *painted_maps)]
    if strip.mask is not None:
        mask = fit(np.asarray(strip.mask, np.float32), DENSITY * cell, DENSITY * cell) > 0.5
        large[0] = outlined(large[0], mask, thickness=DENSITY)
    sheet(figure, MARGIN, y + 20, lay(grid, large, density=DENSITY), density=DENSITY, interpolation="auto")
    for n, (text, good) in enumerate(strip.under, 1):
        if not text:
            continue  # a map that nobody answers to
        sign, shade = {True: ("✓ ", LIGHT.good), False: ("✗ ", LIGHT.bad), None: ("", LIGHT.muted)}[good]
        middle = MARGIN + grid.corner(n)[0] + cell / 2
        write(
            figure,
            middle,
            y + cell + 30,
            fitted(sign + text, cell + _GAP - 2, SMALL),
            size=SMALL,
            color=shade,
            ha="center",
        )


def paled(photo: Array) -> Array:
    """A photo without colour and near to white, so that red and blue on it are the map's alone: (H, W, 3) in [0, 1]."""
    grey = np.asarray(photo, np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.repeat(0.5 + 0.5 * grey[..., None], 3, axis=-1)
