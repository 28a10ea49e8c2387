"""All maps of a layer at once, each at its number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from vgg_viz.errors import VggVizError
from vgg_viz.figures.image_grid import Grid, compose_grid, fit
from vgg_viz.figures.layout import BAR, MARGIN, add_image, add_text, colour_bar, content_top, new_figure
from vgg_viz.figures.style import LIGHT, SMALL, Array, colours, limits, styled
from vgg_viz.maths.heatmaps import Scale

_COLUMNS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64)
_WIDEST, _TALLEST = 1000, 760  # [px] of the sheet
_EACH = 128  # up to so many maps carry their own number


@styled
def feature_wall(maps: Array, scale: Scale, *, title: str = "", dead: Sequence[int] = ()) -> Figure:
    """The maps of one layer on one colour scale, row by row, with the numbers of the channels.

    One image, not C axes: 512 maps take 0.1 s instead of 6. A map larger than its cell is averaged down to it.
    Up to 128 channels carry their number; beyond, a channel is the number of its row plus that of its column.

    Args:
        maps: (C, h, w) [unit of the scale].
        scale: Shared by all maps.
        title: Heading of the figure.
        dead: Channels that never answered: crossed out.
    """
    maps = np.asarray(maps, np.float32)
    if maps.ndim != 3 or not maps.size:
        raise VggVizError(f"a wall needs maps of shape (C, h, w) with at least one value; {maps.shape} came.")
    grid = plan(maps.shape)
    each = len(maps) <= _EACH
    gutter, header = (0, 0) if each else (34, 18)
    subtitle = "" if each else "channel = number of its row + number of its column"
    top = content_top(title=title, subtitle=subtitle) + header
    width = max(grid.size[0] + gutter + 2 * MARGIN, 420)
    figure = new_figure(width, top + grid.size[1] + 16 + BAR + 8, title=title, subtitle=subtitle)
    low, high = limits(scale)
    cells = [fit(one, grid.width, grid.height) for one in maps]
    left = MARGIN + gutter
    axes = add_image(figure, left, top, compose_grid(grid, cells), cmap=colours(scale), vmin=low, vmax=high)
    _numbers(figure, grid, left, top, each=each)
    if len(dead):
        across, down = zip(*(grid.corner(int(n)) for n in dead), strict=True)
        axes.scatter(
            np.array(across) + grid.width / 2,
            np.array(down) + grid.height / 2,
            color=LIGHT.bad,
            marker="x",
            s=min(160, (grid.width * 0.4) ** 2),
            linewidths=1.6,
            label="dead",
        )
    colour_bar(figure, scale, left=left, top=top + grid.size[1] + 16)
    if len(dead):
        add_text(
            figure,
            width - MARGIN,
            top + grid.size[1] + 41,
            f"✗ {len(dead)} of {len(maps)} channels never answered",
            size=SMALL,
            color=LIGHT.bad,
            ha="right",
        )
    return figure


def plan(shape: tuple[int, ...], *, room: tuple[int, int] = (_WIDEST, _TALLEST)) -> Grid:
    """Where the maps of a (C, h, w) wall go: as large as they can be within `room` [px], enlarged a whole number of times."""
    maps, rows, wide = shape
    above, gap = (14, 4) if maps <= _EACH else (0, 2)
    best: Grid | None = None
    for across in _COLUMNS:
        across = min(across, maps)
        down = -(-maps // across)
        width = min(room[0] // across - gap, 192)
        height = min(room[1] // down - gap - above, 192)
        if min(width, height) < 4 and best is not None:
            continue
        factor = min(width / wide, height / rows)
        factor = int(factor) if factor >= 1 else factor
        cell = max(4, round(wide * factor)), max(4, round(rows * factor))
        grid = Grid(maps, across, *cell, gap=gap, above=above)
        if best is None or cell[0] > best.width or (cell[0] == best.width and grid.size[0] > best.size[0]):
            best = grid
    if best is None:
        raise VggVizError(f"a wall of {maps} maps has no place; give at least one column.")
    return best


def _numbers(figure: Figure, grid: Grid, left: float, top: float, *, each: bool) -> None:
    if each:
        for n in range(grid.count):
            x, y = grid.corner(n)
            add_text(figure, left + x + 1, top + y - 7, str(n), size=SMALL, color=LIGHT.muted)
        return
    step = 1 if grid.width >= 24 else 4
    for column in range(0, grid.columns, step):
        centre = left + grid.corner(column)[0] + grid.width / 2
        add_text(figure, centre, top - 9, f"+{column}" if column else "0", size=SMALL, color=LIGHT.muted, ha="center")
    for row in range(grid.rows):
        middle = top + grid.corner(row * grid.columns)[1] + grid.height / 2
        add_text(figure, left - 6, middle, str(row * grid.columns), size=SMALL, color=LIGHT.muted, ha="right")
