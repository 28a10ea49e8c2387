"""The filters of a network as numbers: how large each is, and which of them look alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vgg_viz.errors import VggVizError
from vgg_viz.figures.layout import (
    BAR,
    MARGIN,
    NARROW,
    WIDE,
    canvas,
    colour_bar,
    head,
    panel,
    quiet,
    rows,
    widest,
    write,
)
from vgg_viz.figures.style import LIGHT, SMALL, Array, colours, limits, number, painted
from vgg_viz.maths.heatmaps import Scale

_SHAPE = 24  # filters from which on a density says more than dots


@painted
def kernel_norms(
    names: Sequence[str],
    norms: Sequence[Array],
    *,
    dead_below: float = 0.01,
    unit: str = "weight",
    title: str = "Size of every filter",
) -> Figure:
    """One row a layer: each filter's norm over the median of its layer; many filters as the shape of their density.

    names       of the layers, from the bottom of the network up
    norms       for each layer (N,) Euclidean norm of each filter [unit]
    dead_below  share of the layer's median below which a filter counts as empty

    Relative to the median, because norms of layers of different fan-in say nothing beside each other; the median
    itself is written at the right.
    """
    if not names or len(names) != len(norms):
        raise VggVizError(f"{len(names)} layer names came with {len(norms)} lists of norms; give one list a layer.")
    lists = [np.asarray(values, float) for values in norms]
    medians = [float(np.median(values)) if values.size else float("nan") for values in lists]
    empty = [
        int((values < dead_below * middle).sum()) if middle > 0 else int((values == 0).sum())
        for values, middle in zip(lists, medians, strict=True)
    ]
    told = f"{sum(empty)} of {sum(map(len, lists))} filters are smaller than {100 * dead_below:g} % of their layer's median"
    top, line = head(title=title, subtitle=told) + 18, 24
    room = widest(list(names), size=SMALL, most=140)
    figure = canvas(WIDE, top + line * len(names) + 52, title=title, subtitle=told)
    left, beside = MARGIN + room + 8, 190
    axes = panel(figure, left, top, WIDE - left - beside - MARGIN, line * len(names))
    shapes: dict[int, Array] = {}
    for row, (values, middle) in enumerate(zip(lists, medians, strict=True)):
        relative = values / middle if middle > 0 else values
        alive = relative >= dead_below if middle > 0 else values != 0
        if alive.sum() >= _SHAPE:
            shapes[row] = relative[alive]
        else:
            axes.scatter(
                relative[alive], np.full(int(alive.sum()), row), s=26, color=LIGHT.accent, alpha=0.6, linewidths=0
            )
        axes.scatter(
            relative[~alive],
            np.full(int((~alive).sum()), row),
            s=30,
            marker="x",
            color=LIGHT.bad,
            linewidths=1.4,
            zorder=4,
        )
        write(
            figure, WIDE - beside - MARGIN + 14, top + line * (row + 0.5), number(middle), size=SMALL, color=LIGHT.muted
        )
        write(
            figure,
            WIDE - MARGIN,
            top + line * (row + 0.5),
            f"{empty[row]} of {len(values)} empty",
            size=SMALL,
            ha="right",
            color=LIGHT.bad if empty[row] else LIGHT.muted,
        )
    _violins(axes, shapes, len(names))
    axes.axvline(1, color=LIGHT.muted, linewidth=1, zorder=0)
    rows(axes, list(names), room=room)
    quiet(axes, grid="x")
    axes.set_xlim(left=-0.03 * max(axes.get_xlim()[1], 1.5), right=max(axes.get_xlim()[1], 1.5))
    axes.set_xlabel("norm of the filter [median of its layer]")
    axes.spines["left"].set_visible(False)
    write(figure, WIDE - beside - MARGIN + 14, top - 10, f"median [{unit}]", size=SMALL, color=LIGHT.muted)
    return figure


def _violins(axes: Axes, shapes: dict[int, Array], layers: int) -> None:
    """The density of each layer that has many filters, at its row; thousands of dots would make a file of a megabyte."""
    if not shapes:
        return
    import seaborn  # 1.8 s to import, so only here

    seaborn.violinplot(
        x=np.concatenate(list(shapes.values())),
        y=np.concatenate([np.full(len(v), row) for row, v in shapes.items()]),
        order=list(range(layers)),
        orient="h",
        inner=None,
        cut=0,
        linewidth=0,
        width=0.86,
        density_norm="width",
        color=LIGHT.accent,
        saturation=1,
        ax=axes,
    )
    axes.set(xlabel=None, ylabel=None)


@painted
def similarity(matrix: Array, *, title: str = "Which filters look alike", subtitle: str = "") -> Figure:
    """Cosine similarity of every pair of filters: red alike, blue opposite, the diagonal is each with itself.

    matrix  (N, N) in [-1, 1]
    """
    matrix = np.asarray(matrix, float)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise VggVizError(
            f"similarity needs a square matrix and {matrix.shape} came; give one value a pair of filters."
        )
    scale = Scale(-1, 1, signed=True, unit="cosine similarity", over="all pairs")
    inner = NARROW - 2 * MARGIN - 34
    top = head(title=title, subtitle=subtitle)
    figure = canvas(NARROW, top + inner + 40 + BAR, title=title, subtitle=subtitle)
    axes = panel(figure, MARGIN + 34, top, inner, inner)
    low, high = limits(scale)
    axes.imshow(matrix, cmap=colours(scale), vmin=low, vmax=high, aspect="auto")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=SMALL)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(8, integer=True))
    colour_bar(figure, scale, left=MARGIN + 34, top=top + inner + 32, width=220)
    return figure
