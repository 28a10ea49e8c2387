"""Weights beside the random numbers that they started from: their values, and their singular values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vgg_viz.errors import VggVizError
from vgg_viz.figures.layout import (
    MARGIN,
    WIDE,
    add_panel,
    add_text,
    content_top,
    declutter,
    fit_text,
    label_rows,
    new_figure,
    widest_text,
)
from vgg_viz.figures.style import LIGHT, SMALL, Array, number, styled

_DECADES = (-4.0, 0.5)  # of density x spread: what a row shows, from its ground to its top
_TICKS = 36  # singular values drawn in a row, at most


@styled
def weight_histograms(
    names: Sequence[str],
    densities: Sequence[Array],
    starts: Sequence[Array],
    notes: Sequence[str],
    *,
    reach: float,
    title: str = "What every layer weighs",
    subtitle: str = "",
) -> Figure:
    """One row a layer: the density of its weights on a logarithmic height, and as a line the density that it was drawn from.

    Rows share one axis in units of their start's spread: an untrained row lies under its line whatever its size.

    Args:
        names: Of the layers, from the bottom of the network up.
        densities: For each layer (N,) density of its weights over ±reach, in spreads of its start.
        starts: For each layer (M,) density of the start over the same range.
        notes: What to write at the right of each row.
        reach: Half of the range that the densities span [spreads of the start].
        title: Heading of the figure.
        subtitle: Line under the heading.
    """
    if not names or len({len(names), len(densities), len(starts), len(notes)}) != 1:
        raise VggVizError(
            f"one histogram, one start and one note a layer are needed; {len(densities)} came for {len(names)} layers."
        )
    line = 44 if len(names) <= 10 else 34
    top, axes, figure = _board(names, notes, line, title=title, subtitle=subtitle)
    low, high = _DECADES
    for row, (values, start) in enumerate(zip(densities, starts, strict=True)):
        ground = row + 0.42
        held = np.flatnonzero(np.asarray(values) > 0)
        part = slice(int(held.min()), int(held.max()) + 1) if len(held) else slice(0, 1)
        edges = np.linspace(-reach, reach, len(values) + 1)[part.start : part.stop + 1]
        # Steps with hard edges: soft ones under a line have so many colours that the PNG would be three times as large.
        axes.stairs(
            ground - _height(values)[part], edges, baseline=ground, fill=True, color=LIGHT.series[0], antialiased=False
        )
        across = np.linspace(-reach, reach, len(start))
        raised = _height(start)
        # Where the start draws next to nothing, no line: along the ground it would only clutter.
        axes.plot(across[raised > 0], ground - raised[raised > 0], color=LIGHT.series[1], linewidth=1.6)
    axes.set_xlim(-reach, reach)
    axes.set_xlabel("weight [spreads of the nearest start]; height: logarithm of the density")
    add_text(
        figure,
        WIDE - MARGIN,
        top + line * len(names) + 34,
        f"a row is {number(high - low)} powers of ten high",
        size=SMALL,
        color=LIGHT.muted,
        ha="right",
    )
    return figure


@styled
def singular_values(
    names: Sequence[str],
    values: Sequence[Array],
    lows: Sequence[float],
    notes: Sequence[str],
    *,
    title: str = "What noise cannot do",
    subtitle: str = "",
) -> Figure:
    """One row a layer: its singular values as ticks over the band in which those of noise lie.

    Args:
        names: Of the layers, from the bottom of the network up.
        values: For each layer (N,) singular values, descending, in units of the upper edge of noise.
        lows: For each layer the lower edge, in the same units.
        notes: What to write at the right of each row.
        title: Heading of the figure.
        subtitle: Line under the heading.
    """
    if not names or len({len(names), len(values), len(lows), len(notes)}) != 1:
        raise VggVizError(
            f"one list of values, one edge and one note a layer are needed; {len(values)} came for {len(names)}."
        )
    line = 26 if len(names) <= 10 else 20
    _, axes, figure = _board(names, notes, line, title=title, subtitle=subtitle)
    axes.barh(range(len(names)), [1 - low for low in lows], 0.7, left=list(lows), color=LIGHT.wash, zorder=1)
    for row, found in enumerate(values):
        shown = drawn(found)
        out = shown > 1
        for chosen, colour in ((shown[~out], LIGHT.series[0]), (shown[out], LIGHT.series[1])):
            # One path with gaps: a path a tick would double the file.
            down = np.tile([row - 0.28, row + 0.28, np.nan], len(chosen))
            axes.plot(np.repeat(chosen, 3), down, color=colour, linewidth=1.4, solid_capstyle="butt", zorder=3)
    axes.axvline(1, color=LIGHT.muted, linewidth=1.2, zorder=2)
    axes.set_xlim(0, 1.04 * max(1.15, max(float(found[0]) for found in values)))
    declutter(axes, grid="x")
    axes.set_xlabel("singular value [largest that noise of this size and variance has]")
    return figure


def drawn(values: Array) -> Array:
    """The singular values that a row shows: all beyond the edge as far as there is room, and evenly chosen ones below."""
    found = np.asarray(values, float)
    out, inside = found[found > 1][: _TICKS // 2], found[found <= 1]
    places = np.linspace(0, max(len(inside) - 1, 0), min(len(inside), _TICKS - len(out))).round().astype(int)
    return np.concatenate([out, inside[np.unique(places)]])


def _height(density: Array) -> Array:
    """Density as a share of a row's height, on a logarithmic scale; what is below the ground lies on it."""
    low, high = _DECADES
    raised = np.log10(np.maximum(np.asarray(density, float), 10**low))
    shares: Array = 0.88 * (np.minimum(raised, high) - low) / (high - low)
    return shares


def _board(
    names: Sequence[str], notes: Sequence[str], line: int, *, title: str, subtitle: str
) -> tuple[int, Axes, Figure]:
    """Rows with names at the left and notes at the right: where the panel begins [px], its axes, the figure."""
    top = content_top(title=title, subtitle=subtitle) + 6
    figure = new_figure(WIDE, top + line * len(names) + 52, title=title, subtitle=subtitle)
    room, beside = widest_text(list(names), size=SMALL, most=140), widest_text(list(notes), size=SMALL, most=250)
    left = MARGIN + room + 10
    axes = add_panel(figure, left, top, WIDE - left - beside - 14 - MARGIN, line * len(names))
    label_rows(axes, list(names), room=room)
    axes.spines["left"].set_visible(False)
    for row, note in enumerate(notes):
        add_text(
            figure, WIDE - MARGIN - beside, top + line * (row + 0.5), fit_text(note, beside + 4, SMALL), size=SMALL
        )
    return top, axes, figure
