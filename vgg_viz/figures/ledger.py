"""Where relevance goes on its way from the score to the pixels: one line a layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
from vgg_viz.figures.style import LIGHT, SMALL, Array, label, number, styled


@dataclass(frozen=True, slots=True)
class LedgerPanel:
    """What one way of sharing out did with one score.

    Attributes:
        title: Of the panel.
        layers: L names, from the score down.
        rules: L, the rule of each.
        entering: (L,) relevance of the outputs [unit of the figure]; bias + epsilon + leaving.
        bias: (L,) kept by biases.
        epsilon: (L,) absorbed by epsilon.
        leaving: (L,) passed on to the inputs.
    """

    title: str
    layers: Sequence[str]
    rules: Sequence[str]
    entering: Array
    bias: Array
    epsilon: Array
    leaving: Array


KEPT = (("leaving", "passed on", 0), ("bias", "kept by biases", 1), ("epsilon", "swallowed by epsilon", 2))
_LINE = 24
_HATCHED: dict[str, Any] = {"hatch": "////", "edgecolor": LIGHT.paper, "linewidth": 0}


@styled
def relevance_ledger(
    panels: Sequence[LedgerPanel], *, unit: str = "logit", title: str = "Relevance, layer by layer", subtitle: str = ""
) -> Figure:
    """Panels of horizontal bars, two abreast, on one axis: what each layer passed on, and behind it what was kept.

    A bar starts at 0 with what was passed on; what biases and epsilon kept stands behind it, so that it ends where a mark shows what
    had come. What biases paid out, instead of keeping it, leads back from the end of the bar to the mark.
    """
    if not panels or any(
        any(len(values) != len(panel.layers) for values in (panel.rules, *_amounts(panel))) for panel in panels
    ):
        raise VggVizError(
            "a ledger needs at least one panel, and in each the same number of layers, rules and amounts."
        )
    room = widest_text([name for panel in panels for name in panel.layers], size=SMALL, most=110)
    beside = widest_text([name for panel in panels for name in panel.rules], size=SMALL, most=120)
    columns, top = min(2, len(panels)), content_top(title=title, subtitle=subtitle) + 34
    width = WIDE / columns - room - beside - 2 * MARGIN - 16
    heights = [_LINE * len(panel.layers) for panel in panels]
    tall = [max(heights[n : n + columns]) + 72 for n in range(0, len(panels), columns)]
    figure = new_figure(WIDE, round(top + sum(tall) + 6), title=title, subtitle=subtitle)
    low, high = _range(panels)
    for n, panel in enumerate(panels):
        down, across = divmod(n, columns)
        left, above = across * WIDE / columns + MARGIN + room + 8, top + sum(tall[:down]) + 18
        axes = add_panel(figure, left, above, width, heights[n])
        add_text(
            figure,
            left - room - 8,
            above - 16,
            fit_text(panel.title, WIDE / columns - 2 * MARGIN, bold=True),
            weight="bold",
        )
        _bars(axes, panel, room)
        axes.set_xlim(low, high)
        axes.set_xlabel(f"relevance [{label(unit)}]" if n >= len(panels) - columns else "")
        for row, rule in enumerate(panel.rules):
            words = fit_text(rule, beside + 4, SMALL)
            add_text(figure, left + width + 10, above + _LINE * (row + 0.5), words, size=SMALL, color=LIGHT.muted)
    _legend(figure, top - 24)
    return figure


def _amounts(panel: LedgerPanel) -> tuple[Array, Array, Array, Array]:
    entering, bias, epsilon, leaving = (
        np.asarray(values, float) for values in (panel.entering, panel.bias, panel.epsilon, panel.leaving)
    )
    return entering, bias, epsilon, leaving


def _range(panels: Sequence[LedgerPanel]) -> tuple[float, float]:
    """One axis for all panels, with room for the numbers at the ends of bars."""
    ends = [0.0]
    for panel in panels:
        passed = np.asarray(panel.leaving, float)
        kept = passed + np.asarray(panel.bias, float)
        ends += [
            float(value)
            for values in (passed, kept, np.asarray(panel.entering, float))
            for value in values
            if np.isfinite(value)
        ]
    low, high = min(ends), max(ends)
    span = (high - low) or 1.0
    return low - (0.16 * span if low < 0 else 0.0), high + (0.16 * span if high > 0 else 0.02 * span)


def _bars(axes: Axes, panel: LedgerPanel, room: float) -> None:
    entering, bias, epsilon, leaving = _amounts(panel)
    places = np.arange(len(leaving))
    label_rows(axes, list(panel.layers), room=room)
    declutter(axes, grid="x")
    axes.spines["left"].set_visible(False)
    axes.axvline(0, color=LIGHT.muted, linewidth=0.8, zorder=1)
    axes.barh(places, leaving, 0.62, color=LIGHT.series[0], zorder=2)
    # Narrower than what was passed on: where a bias paid out, its bar lies over the other and both stay visible.
    axes.barh(places, bias, 0.34, left=leaving, color=LIGHT.series[1], zorder=3)
    axes.barh(places, epsilon, 0.34, left=leaving + bias, color=LIGHT.series[2], zorder=3, **_HATCHED)
    axes.vlines(entering, places - 0.42, places + 0.42, color=LIGHT.ink, linewidth=1.6, zorder=4)
    for place in places:
        end = max(entering[place], leaving[place], leaving[place] + bias[place], 0.0)
        axes.annotate(
            number(leaving[place]),
            (end, place),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            size=SMALL,
            bbox={"facecolor": LIGHT.paper, "linewidth": 0, "pad": 1.0},
            zorder=5,
        )


def _legend(figure: Figure, y: float) -> None:
    """Colours and their words in one line; the mark of what came is a line."""
    x = float(MARGIN)
    for _, words, series in KEPT:
        axes = add_panel(figure, x, y - 5, 14, 10, bare=True)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.barh([0.5], [1], 1, color=LIGHT.series[series], **(_HATCHED if series == 2 else {}))
        add_text(figure, x + 20, y, words, size=SMALL)
        x += 20 + widest_text([words], size=SMALL) + 26
    axes = add_panel(figure, x, y - 7, 14, 14, bare=True)
    axes.set_xlim(0, 1)
    axes.axvline(0.5, color=LIGHT.ink, linewidth=1.6)
    add_text(figure, x + 16, y, "what had come", size=SMALL)
