"""Labels that stand beside each other, and scores: how well each is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
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
from vgg_viz.figures.style import LIGHT, SMALL, Array, label, number, styled

ROW = 24  # height of a label [px]
CELL, GAP, COLUMNS = 220, 64, 3  # of a score's panel [px], and how many stand in a row


@dataclass(frozen=True, slots=True)
class LabelBar:
    """One label.

    Attributes:
        name: Of the label.
        precision: Its average precision, [0, 1].
        chance: Share of pictures that have it: what a score that knows nothing reaches.
    """

    name: str
    precision: float
    chance: float


@styled
def label_bars(bars: Sequence[LabelBar], *, title: str) -> Figure:
    """Average precision of each label as a bar, with a tick where a score that knows nothing would end.

    Raises:
        VggVizError: Without labels.
    """
    if not bars:
        raise VggVizError("a figure of labels needs at least one label that some picture has.")
    top = content_top(title=title) + 20
    names = [label(bar.name, 40) for bar in bars]
    room = widest_text(names)
    figure = new_figure(WIDE, top + ROW * len(bars) + 56, title=title)
    left = MARGIN + room + 10
    axes = add_panel(figure, left, top, WIDE - left - MARGIN - 50, ROW * len(bars))
    declutter(axes, grid="x")
    places = np.arange(len(bars))
    axes.barh(places, [bar.precision for bar in bars], 0.6, color=LIGHT.accent, zorder=2)
    axes.vlines([bar.chance for bar in bars], places - 0.4, places + 0.4, color=LIGHT.ink, linewidth=1.6, zorder=3)
    for place, bar in enumerate(bars):
        end = max(bar.precision, bar.chance)
        axes.annotate(
            f"{bar.precision:.2f}", (end, place), xytext=(6, 0), textcoords="offset points", va="center", size=SMALL
        )
    axes.set_xlim(0, 1)
    axes.set_ylim(len(bars) - 0.5, -0.5)
    axes.set_xlabel("average precision; the tick is what guessing reaches")
    label_rows(axes, names, room=room)
    return figure


@dataclass(frozen=True, slots=True)
class ScoreCloud:
    """One score: what it should be, and what the network says, (N,) each."""

    name: str
    true: Array
    said: Array


@styled
def score_clouds(clouds: Sequence[ScoreCloud], *, title: str) -> Figure:
    """A point a picture for each score: the true value across, the network's up; on the dashed diagonal both agree.

    Raises:
        VggVizError: Without scores.
    """
    if not clouds:
        raise VggVizError("a figure of scores needs at least one score whose value is known.")
    columns = min(COLUMNS, len(clouds))
    rows = -(-len(clouds) // columns)
    top = content_top(title=title) + 30
    figure = new_figure(max(MARGIN * 2 + columns * (CELL + GAP), 420), top + rows * (CELL + GAP + 20) + 10, title=title)
    for place, cloud in enumerate(clouds):
        row, column = divmod(place, columns)
        left, upper = MARGIN + 44 + column * (CELL + GAP), top + row * (CELL + GAP + 20)
        name = fit_text(label(cloud.name, 40), CELL, SMALL, bold=True)
        add_text(figure, left, upper - 10, name, size=SMALL, weight="bold")
        axes = add_panel(figure, left, upper, CELL, CELL)
        declutter(axes, grid="y")
        ends = [float(min(cloud.true.min(), cloud.said.min())), float(max(cloud.true.max(), cloud.said.max()))]
        room = 0.05 * ((ends[1] - ends[0]) or 1.0)
        low, high = ends[0] - room, ends[1] + room
        axes.plot([low, high], [low, high], color=LIGHT.muted, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        axes.scatter(cloud.true, cloud.said, s=14, color=LIGHT.accent, alpha=0.6, linewidth=0, zorder=2)
        axes.set_xlim(low, high)
        axes.set_ylim(low, high)
        axes.set_xticks(ends, [number(end) for end in ends])
        axes.set_yticks(ends, [number(end) for end in ends])
        axes.set_xlabel("true value", size=SMALL)
        axes.set_ylabel("the network says", size=SMALL)
    return figure
