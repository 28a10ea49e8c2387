"""The weights of two networks side by side: their first kernels, and how far apart their layers are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from vgg_viz.errors import VggVizError
from vgg_viz.figures.comparison import _MARKS
from vgg_viz.figures.image_grid import Grid, cell_side, fit, lay
from vgg_viz.figures.kernels import in_colour
from vgg_viz.figures.layout import (
    MARGIN,
    WIDE,
    canvas,
    fitted,
    head,
    panel,
    quiet,
    rows,
    sheet,
    text_width,
    widest,
    write,
)
from vgg_viz.figures.style import LIGHT, SMALL, Array, number, painted


@painted
def kernels_of_both(first: Array, second: Array, *, side: int = 54, title: str = "", subtitle: str = "") -> Figure:
    """First-layer kernels of A above those of B, number by number, all on one signed scale with zero at mid-grey.

    first, second  (N, 3 or 1, k, k), same shape [activation / intensity]; more than fit side by side are wrapped
    """
    if first.shape != second.shape or first.ndim != 4 or first.shape[1] not in (1, 3):
        raise VggVizError(f"kernels of one shape (N, 3 or 1, k, k) are needed, {first.shape} and {second.shape} came.")
    most = float(max(np.abs(first).max(), np.abs(second).max()))
    gutter, gap = 26, 8
    cell = cell_side(first.shape[-1], max(side, min(84, (WIDE - 2 * MARGIN - gutter) // len(first) - gap)))
    columns = min(len(first), (WIDE - 2 * MARGIN - gutter + gap) // (cell + gap))
    bands = -(-len(first) // columns)
    band = 2 * cell + gap + 30
    top = head(title=title, subtitle=subtitle) + 6
    figure = canvas(
        max(gutter + columns * (cell + gap) + 2 * MARGIN, 560), top + bands * band + 26, title=title, subtitle=subtitle
    )
    colours = [in_colour(weights, most) for weights in (first, second)]
    for n in range(bands):
        places = range(n * columns, min((n + 1) * columns, len(first)))
        grid = Grid(2 * len(places), len(places), cell, cell, gap=gap)
        y = top + n * band + 18
        sheet(figure, MARGIN + gutter, y, lay(grid, [fit(part[i], cell, cell) for part in colours for i in places]))
        for row, (name, colour, _) in enumerate(_MARKS):
            write(figure, MARGIN, y + row * (cell + gap) + cell / 2, name, color=colour, weight="bold")
        for column, i in enumerate(places):
            x = MARGIN + gutter + grid.corner(column)[0] + cell / 2
            write(figure, x, y - 9, str(i), size=SMALL, color=LIGHT.muted, ha="center")
    told = f"[weight] mid-grey is 0, a channel at its end ±{number(most)}; range over all kernels of both"
    write(figure, MARGIN, top + bands * band + 8, fitted(told, WIDE - 2 * MARGIN, SMALL), size=SMALL, color=LIGHT.muted)
    return figure


@painted
def layer_distances(names: Sequence[str], distances: Array, *, strangers: float, title: str = "") -> Figure:
    """How far the weights of B lie from those of A, layer by layer, beside where strangers of that size would lie.

    distances  (L,) norm of B - A over the root mean square of both norms; 0: the same weights
    strangers  the distance of two vectors that know nothing of each other
    """
    values = np.asarray(distances, float)
    line = 24 if len(names) <= 14 else 20
    room = widest(list(names), size=SMALL, most=150)
    top = head(title=title) + 26
    figure = canvas(720, round(top + line * len(names) + 44), title=title)
    left = MARGIN + room + 10
    width = 720 - left - MARGIN - 50
    axes = panel(figure, left, top, width, line * len(names))
    rows(axes, list(names), room=room)
    quiet(axes, grid="x")
    axes.spines["left"].set_visible(False)
    axes.barh(range(len(values)), values, 0.7, color=LIGHT.accent, label="distance")
    most = 1.08 * max(strangers, float(np.nanmax(values)))
    axes.set_xlim(0, most)
    for n, value in enumerate(values):
        axes.annotate(
            number(value),
            (value, n),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            size=SMALL,
            bbox={"facecolor": LIGHT.paper, "linewidth": 0, "pad": 1.2},
            zorder=4,
        )
    axes.axvline(strangers, color=LIGHT.muted, linewidth=1.4, linestyle=(0, (4, 3)), zorder=3)
    axes.set_xlabel("distance between the weights, relative to their size")
    words = "strangers"
    write(
        figure,
        min(left + width * strangers / most, left + width - text_width(words, SMALL) / 2),
        top - 10,
        words,
        size=SMALL,
        color=LIGHT.muted,
        ha="center",
    )
    return figure
