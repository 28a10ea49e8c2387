"""Two networks layer by layer: one panel a measure, one row a layer, A and B beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vgg_viz.errors import VggVizError
from vgg_viz.figures.layout import MARGIN, WIDE, canvas, head, panel, quiet, rows, widest, write
from vgg_viz.figures.style import LIGHT, SMALL, Array, painted

_MARKS = (("A", LIGHT.series[0], "o"), ("B", LIGHT.series[1], "s"))  # as in every figure of two networks


@dataclass(frozen=True, slots=True)
class Measure:
    """One panel.

    title     with the unit
    values    (2, L) of A and of B, or (1, L) of both together; NaN where there is none
    interval  (L, 2) 95 % of a measure of both together, or None
    level     a value to compare with, or None
    range     of the axis
    """

    title: str
    values: Array
    interval: Array | None = None
    level: tuple[str, float] | None = None
    range: tuple[float, float] = (0.0, 1.0)


@painted
def layers_of_two(names: Sequence[str], measures: Sequence[Measure], *, title: str = "") -> Figure:
    """Every layer of two networks of one kind, from the picture (above) on.

    raises  VggVizError where there are no layers, no measures, or values of another number of layers
    """
    if not names or not measures or any(np.asarray(part.values).shape[1] != len(names) for part in measures):
        raise VggVizError(
            f"layers of two networks need at least one measure with a value for each of the {len(names)} layers."
        )
    line = 26 if len(names) <= 14 else 20
    room = widest(list(names), size=SMALL, most=120)
    top, between = head(title=title) + 52, 34
    figure = canvas(WIDE, round(top + line * len(names) + 46), title=title)
    width = (WIDE - 2 * MARGIN - room - 10 - between * (len(measures) - 1)) / len(measures)
    for n, measure in enumerate(measures):
        left = MARGIN + room + 10 + n * (width + between)
        axes = panel(figure, left, top, width, line * len(names))
        rows(axes, list(names) if n == 0 else [" "] * len(names), room=room)
        if n:
            axes.set_yticklabels([])
        quiet(axes, grid="x")
        axes.set_xlim(*measure.range)
        axes.set_title(measure.title, pad=9, size=SMALL)
        _marks(axes, measure, len(names))
    left = float(MARGIN + room + 10)
    for name, colour, mark in _MARKS:
        write(figure, left, top - 40, "●" if mark == "o" else "■", color=colour)
        write(figure, left + 15, top - 40, name)
        left += 46
    levels = [measure.level[0] for measure in measures if measure.level is not None]
    told = "diamonds: both together, with the 95 % interval" + (f"; dashed: {levels[0]}" if levels else "")
    write(figure, left + 10, top - 40, told, size=SMALL, color=LIGHT.muted)
    return figure


def _marks(axes: Axes, measure: Measure, count: int) -> None:
    values = np.asarray(measure.values, float)
    place = np.arange(count)
    if measure.level is not None:
        axes.axvline(measure.level[1], color=LIGHT.muted, linewidth=1.2, linestyle=(0, (4, 3)), label=measure.level[0])
    if len(values) == 1:
        if measure.interval is not None:
            axes.hlines(
                place, measure.interval[:, 0], measure.interval[:, 1], color=LIGHT.muted, linewidth=2.4, zorder=2
            )
        axes.scatter(values[0], place, color=LIGHT.series[2], s=46, marker="D", zorder=3, clip_on=False, label="both")
        return
    axes.hlines(place, values.min(0), values.max(0), color=LIGHT.muted, linewidth=2, zorder=2)
    for row, (name, colour, mark) in zip(values, _MARKS, strict=True):
        axes.plot(row, place, mark, color=colour, markersize=8, zorder=3, label=name, clip_on=False)
