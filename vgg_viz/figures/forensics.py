"""Weights beside the random numbers that they started from: their values, and their singular values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """The weights of a layer beside their start.

    Attributes:
        name: Of the layer.
        density: (N,) of its weights over ±reach, in spreads of its start.
        start: (M,) density of the start over the same range.
        note: What to write at the right of the row.
    """

    name: str
    density: Array
    start: Array
    note: str


@dataclass(frozen=True, slots=True)
class LayerSpectrum:
    """The singular values of a layer.

    Attributes:
        name: Of the layer.
        values: (N,) descending, in units of the upper edge of noise.
        low: The lower edge, in the same units.
        note: What to write at the right of the row.
    """

    name: str
    values: Array
    low: float
    note: str


@styled
def weight_histograms(
    layers: Sequence[LayerWeights], *, reach: float, title: str = "What every layer weighs", subtitle: str = ""
) -> Figure:
    """One row a layer: the density of its weights on a logarithmic height, and as a line the density that it was drawn from.

    Rows share one axis in units of their start's spread: an untrained row lies under its line whatever its size.

    Args:
        layers: From the bottom of the network up.
        reach: Half of the range that the densities span [spreads of the start].
        title: Heading of the figure.
        subtitle: Line under the heading.

    Raises:
        VggVizError: Without layers.
    """
    if not layers:
        raise VggVizError("a histogram of at least one layer is needed; none came.")
    line = 44 if len(layers) <= 10 else 34
    top, axes, figure = _board(layers, line, title=title, subtitle=subtitle)
    low, high = _DECADES
    for row, layer in enumerate(layers):
        density, start = np.asarray(layer.density), layer.start
        ground = row + 0.42
        held = np.flatnonzero(density > 0)
        part = slice(int(held.min()), int(held.max()) + 1) if len(held) else slice(0, 1)
        edges = np.linspace(-reach, reach, len(density) + 1)[part.start : part.stop + 1]
        # Steps with hard edges: soft ones under a line have so many colours that the PNG would be three times as large.
        axes.stairs(
            ground - _height(density)[part], edges, baseline=ground, fill=True, color=LIGHT.series[0], antialiased=False
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
        top + line * len(layers) + 34,
        f"a row is {number(high - low)} powers of ten high",
        size=SMALL,
        color=LIGHT.muted,
        ha="right",
    )
    return figure


@styled
def singular_values(
    layers: Sequence[LayerSpectrum], *, title: str = "What noise cannot do", subtitle: str = ""
) -> Figure:
    """One row a layer: its singular values as ticks over the band in which those of noise lie.

    Args:
        layers: From the bottom of the network up.
        title: Heading of the figure.
        subtitle: Line under the heading.

    Raises:
        VggVizError: Without layers.
    """
    if not layers:
        raise VggVizError("singular values of at least one layer are needed; none came.")
    line = 26 if len(layers) <= 10 else 20
    _, axes, figure = _board(layers, line, title=title, subtitle=subtitle)
    lows = [layer.low for layer in layers]
    axes.barh(range(len(layers)), [1 - low for low in lows], 0.7, left=lows, color=LIGHT.wash, zorder=1)
    for row, layer in enumerate(layers):
        shown = drawn(layer.values)
        out = shown > 1
        for chosen, colour in ((shown[~out], LIGHT.series[0]), (shown[out], LIGHT.series[1])):
            # One path with gaps: a path a tick would double the file.
            down = np.tile([row - 0.28, row + 0.28, np.nan], len(chosen))
            axes.plot(np.repeat(chosen, 3), down, color=colour, linewidth=1.4, solid_capstyle="butt", zorder=3)
    axes.axvline(1, color=LIGHT.muted, linewidth=1.2, zorder=2)
    axes.set_xlim(0, 1.04 * max(1.15, max(float(layer.values[0]) for layer in layers)))
    declutter(axes, grid="x")
    axes.set_xlabel("singular value [largest that noise of this size and variance has]")
    return figure


def drawn(values: Array) -> Array:
    """The singular values that a row shows: all beyond the edge as far as there is room, and evenly chosen ones below."""
    values = np.asarray(values, float)
    out, inside = values[values > 1][: _TICKS // 2], values[values <= 1]
    places = np.linspace(0, max(len(inside) - 1, 0), min(len(inside), _TICKS - len(out))).round().astype(int)
    return np.concatenate([out, inside[np.unique(places)]])


def _height(density: Array) -> Array:
    """Density as a share of a row's height, on a logarithmic scale; what is below the ground lies on it."""
    low, high = _DECADES
    raised = np.log10(np.maximum(np.asarray(density, float), 10**low))
    shares: Array = 0.88 * (np.minimum(raised, high) - low) / (high - low)
    return shares


def _board(
    layers: Sequence[LayerWeights] | Sequence[LayerSpectrum], line: int, *, title: str, subtitle: str
) -> tuple[int, Axes, Figure]:
    """Rows with names at the left and notes at the right: where the panel begins [px], its axes, the figure."""
    names, notes = [layer.name for layer in layers], [layer.note for layer in layers]
    top = content_top(title=title, subtitle=subtitle) + 6
    figure = new_figure(WIDE, top + line * len(names) + 52, title=title, subtitle=subtitle)
    room, beside = widest_text(names, size=SMALL, most=140), widest_text(notes, size=SMALL, most=250)
    left = MARGIN + room + 10
    axes = add_panel(figure, left, top, WIDE - left - beside - 14 - MARGIN, line * len(names))
    label_rows(axes, names, room=room)
    axes.spines["left"].set_visible(False)
    for row, note in enumerate(notes):
        add_text(
            figure, WIDE - MARGIN - beside, top + line * (row + 0.5), fit_text(note, beside + 4, SMALL), size=SMALL
        )
    return top, axes, figure
