"""Two aligned panels of horizontal bars, one row a layer: shares that are to be compared across."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vgg_viz.figures.layout import MARGIN, WIDE, canvas, head, panel, quiet, rows, widest
from vgg_viz.figures.style import LIGHT, SMALL, Array

Column = tuple[str, Array, list[str], str]  # name of the panel, shares in [0, 1], text at each bar, colour


def two_panels(
    names: list[str], first: Column, second: Column, *, title: str, subtitle: str = "", full: bool = True
) -> Figure:
    """Horizontal bars of two shares, the rows aligned, the first layer on top.

    full  both axes end at 100 %, so that the length of a bar is a share of the whole panel; otherwise at the longest bar
    """
    line = 26 if len(names) <= 12 else 20
    room = widest(names, size=SMALL, most=150)
    top = head(title=title, subtitle=subtitle) + 22
    height = line * len(names)
    figure = canvas(WIDE, round(top + height + 40), title=title, subtitle=subtitle)
    left, between = MARGIN + room + 10, 70
    width = (WIDE - left - MARGIN - between - 60) / 2
    for n, column in enumerate((first, second)):
        axes = panel(figure, left + n * (width + between), top, width, height)
        rows(axes, names if n == 0 else [" "] * len(names), room=room)
        if n == 1:
            axes.set_yticklabels([])
        _bars(axes, column, full=full)
    return figure


def _bars(axes: Axes, column: Column, *, full: bool) -> None:
    name, shares, texts, colour = column
    values = 100 * np.nan_to_num(np.asarray(shares, float))
    most = 100.0 if full else 1.32 * (float(values.max()) or 1.0)
    if full:
        axes.barh(range(len(values)), 100, 0.72, color=LIGHT.wash, zorder=1)
    axes.barh(range(len(values)), values, 0.72, color=colour, zorder=2, label=name)
    for row, (value, text) in enumerate(zip(values, texts, strict=True)):
        axes.annotate(
            text,
            (value, row),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            size=SMALL,
            zorder=3,
            bbox=None if full else {"facecolor": LIGHT.paper, "linewidth": 0, "pad": 1.5},
        )
    axes.set_xlim(0, most)
    axes.set_title(name, pad=8)
    quiet(axes, grid="x")
    axes.spines["left"].set_visible(False)
