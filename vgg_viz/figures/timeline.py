"""A run of training looked back on: numbers by epoch, what was learned and forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vgg_viz.errors import VggVizError
from vgg_viz.figures.layout import (
    MARGIN,
    WIDE,
    add_panel,
    add_text,
    content_top,
    declutter,
    end_labels,
    fit_text,
    new_figure,
    text_width,
)
from vgg_viz.figures.style import LIGHT, ON_DARK, ON_LIGHT, SMALL, Array, number, styled


@dataclass(frozen=True, slots=True)
class Line:
    """One curve over the epochs: values (E,), NaN where there is none; `low` and `high` (E,) of its band, or None."""

    name: str
    values: Array
    low: Array | None = None
    high: Array | None = None


@dataclass(frozen=True, slots=True)
class Chart:
    """One small panel: its title with the unit, its curves, a level to compare with, and its vertical range (None: from the values)."""

    title: str
    lines: Sequence[Line]
    level: tuple[str, float] | None = None
    range: tuple[float, float] | None = None


_DASHES = ("solid", (0, (5, 2)), (0, (2, 1.5)), (0, (6, 2, 1.5, 2)), (0, (1, 1.2)))


@styled
def numbers_by_epoch(
    charts: Sequence[Chart], epochs: Sequence[int], *, mark: tuple[int, str] | None = None, title: str = ""
) -> Figure:
    """Small multiples over one axis of epochs, curves named at their right ends; bands are 95 % intervals.

    Args:
        charts: From the left, row by row.
        epochs: (E,) of every curve.
        mark: An epoch to draw a line at, and its name.
        title: Heading of the figure.

    Raises:
        VggVizError: Without charts or epochs.
    """
    if not charts or not epochs:
        raise VggVizError("numbers by epoch need at least one chart and one epoch; none came.")
    names, axis, high = (
        118,
        38,
        156,
    )  # [px] room for the names at the right and for the numbers at the left; height of a panel
    top = content_top(title=title) + 24
    down = high + 62
    columns = 2
    rows = -(-len(charts) // columns)
    figure = new_figure(WIDE, top + rows * down - 8, title=title)
    width = (WIDE - 2 * MARGIN) // columns - names - axis
    at = np.asarray(epochs)
    for n, chart in enumerate(charts):
        left = MARGIN + axis + (n % columns) * (width + names + axis)
        axes = add_panel(figure, left, top + (n // columns) * down, width, high)
        axes.set_title(chart.title, pad=9)
        _curves(axes, chart, at, mark)
        if n >= len(charts) - columns:
            axes.set_xlabel("epoch (0: before training)" if at[0] == 0 else "epoch")
    return figure


def _curves(axes: Axes, chart: Chart, epochs: Array, mark: tuple[int, str] | None) -> None:
    declutter(axes, grid="y")
    span = max(1, int(epochs[-1] - epochs[0]))
    axes.set_xlim(epochs[0] - 0.03 * span, epochs[-1] + 0.03 * span)
    axes.xaxis.set_major_locator(MaxNLocator(9, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    low, high = chart.range or _range(chart)
    axes.set_ylim(low, high)
    ends = []
    for n, line in enumerate(chart.lines):
        shade = LIGHT.series[n % len(LIGHT.series)]
        if line.low is not None and line.high is not None:
            axes.fill_between(epochs, line.low, line.high, color=shade, alpha=0.18, linewidth=0)
        axes.plot(
            epochs,
            line.values,
            color=shade,
            linestyle=_DASHES[n % len(_DASHES)],
            marker="o" if len(epochs) <= 30 else "",
            markersize=3.6,
            zorder=3,
            label=line.name,
        )
        known = np.asarray(line.values, float)[np.isfinite(line.values)]
        if known.size:
            named = fit_text(f"{line.name} {number(float(known[-1]), digits=2)}", 112, SMALL)
            ends.append((float(np.clip(known[-1], low, high)), named, shade))
    if chart.level is not None:
        name, level = chart.level
        axes.axhline(level, color=LIGHT.muted, linewidth=1.2, linestyle=(0, (4, 3)), zorder=2, label=name)
        ends.append(
            (float(np.clip(level, low, high)), fit_text(f"{name} {number(level, digits=2)}", 112, SMALL), LIGHT.muted)
        )
    if mark is not None:
        axes.axvline(mark[0], color=LIGHT.bad, linewidth=1.2, zorder=2, label=mark[1])
        axes.annotate(
            mark[1],
            (mark[0], 1),
            xycoords=("data", "axes fraction"),
            xytext=(4, -8),
            textcoords="offset points",
            size=SMALL,
            color=LIGHT.bad,
        )
    end_labels(axes, ends)


def _range(chart: Chart) -> tuple[float, float]:
    """Everything that is drawn, with a little air; a chart without a number spans 0 to 1."""
    parts = [part for line in chart.lines for part in (line.values, line.low, line.high) if part is not None]
    values = np.concatenate(
        [np.zeros(0), *(np.asarray(part, float) for part in parts), [chart.level[1]] if chart.level else []]
    )
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    air = 0.07 * (high - low or 1.0)
    return (0.0 if 0 <= low < 0.5 * high else low - air), high + air


# ---------------------------------------------------------------- learned and forgotten


@styled
def learned_and_forgotten(
    learned: Array, forgotten: Array, names: Sequence[str], accuracy: Array, epochs: Sequence[int]
) -> Figure:
    """Above: pictures learned (up) and forgotten (down) at every epoch; below: the accuracy of each class by epoch, in numbers.

    Args:
        learned: (E,) pictures.
        forgotten: (E,) pictures.
        names: Of K classes.
        accuracy: (K, E) of each class by epoch, [0, 1]; NaN for a class without pictures.
        epochs: E numbers.
    """
    if not names or not epochs:
        raise VggVizError("what was learned needs at least one class and one epoch; none came.")
    cell = min(64, (WIDE - 2 * MARGIN - 170) // len(epochs))
    row = 24 if len(names) <= 14 else 18
    room = min(160.0, max(text_width(fit_text(name, 160, SMALL), SMALL) for name in names))
    left, width = MARGIN + round(room) + 14, cell * len(epochs)
    top, high = content_top(title="") + 26, 120
    below = top + high + 52
    figure = new_figure(max(left + width + MARGIN + 60, 560), below + row * len(names) + 46)
    axes = add_panel(figure, left, top, width, high)
    declutter(axes, grid="y")
    place = np.arange(len(epochs))
    axes.bar(place, learned, 0.62, color=LIGHT.series[0], label="learned")
    axes.bar(
        place,
        -np.asarray(forgotten, float),
        0.62,
        color=LIGHT.series[1],
        label="forgotten",
        hatch="///",
        edgecolor=LIGHT.paper,
        linewidth=0,
    )
    axes.axhline(0, color=LIGHT.ink, linewidth=1)
    axes.set_xlim(-0.5, len(epochs) - 0.5)
    most, least = max(1.0, float(np.max(learned))), max(1.0, float(np.max(forgotten)))
    axes.set_ylim(-1.1 * least - 0.2 * most, 1.25 * most)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):,.0f}")
    for n, (up, down) in enumerate(zip(learned, forgotten, strict=True)):
        if cell >= 26 and n:
            axes.annotate(f"{up:,.0f}", (n, up), xytext=(0, 3), textcoords="offset points", ha="center", size=SMALL)
            axes.annotate(
                f"{down:,.0f}", (n, -down), xytext=(0, -12), textcoords="offset points", ha="center", size=SMALL
            )
    legend = "pictures learned since the epoch before (bars up) and forgotten (hatched, down)"
    add_text(figure, left, top - 12, legend, size=SMALL, color=LIGHT.muted)
    _by_class(figure, names, accuracy, epochs, (left, below, cell, row, room))
    return figure


def _by_class(
    figure: Figure,
    names: Sequence[str],
    accuracy: Array,
    epochs: Sequence[int],
    place: tuple[int, int, int, int, float],
) -> None:
    left, below, cell, row, room = place
    shown = 100 * np.asarray(accuracy, float)
    axes = add_panel(figure, left, below, cell * len(epochs), row * len(names))
    axes.imshow(shown, cmap="viridis", vmin=0, vmax=100, aspect="auto")
    axes.set_yticks(range(len(names)), [fit_text(name, room, SMALL) for name in names])
    step = max(1, -(-26 // cell))
    axes.set_xticks(range(0, len(epochs), step), [str(epoch) for epoch in epochs[::step]])
    axes.tick_params(length=0, labelsize=SMALL)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("epoch (0: before training)" if epochs[0] == 0 else "epoch")
    add_text(figure, left, below - 12, "accuracy of each class [%]", size=SMALL, color=LIGHT.muted)
    if cell < 26:
        return
    for k, values in enumerate(shown):
        for e, value in enumerate(values):
            if np.isfinite(value):
                axes.text(
                    e,
                    k,
                    f"{value:.0f}",
                    ha="center",
                    va="center",
                    size=SMALL,
                    color=ON_LIGHT if value > 55 else ON_DARK,
                )
