"""Evidence about maps: what a method scores beside controls, and whether it depends on the weights at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from vgg_viz.errors import VggVizError
from vgg_viz.figures.canvas import MARGIN, NARROW, WIDE, canvas, end_labels, fitted, head, panel, quiet, rows, text_width, widest, write
from vgg_viz.figures.style import LIGHT, SMALL, Array, label, number, painted

_DASHES = ((0, (4, 3)), (0, (1, 2)), (0, (6, 2, 1, 2)))


@painted
def evidence(methods: Sequence[str], values: Sequence[float], lows: Sequence[float], highs: Sequence[float], *, unit: str,
             controls: Mapping[str, float] | None = None, title: str, subtitle: str = "") -> Figure:  # fmt: skip
    """One dot a method with its interval, and the controls as lines that a method has to beat.

    values       (M,) [unit]; NaN where a method has none
    lows, highs  (M,) ends of the interval [unit]
    controls     {"centre": .32, "edge": .11, "random": .18}: what a map scores that has seen nothing
    """
    if not methods or len({len(methods), len(values), len(lows), len(highs)}) != 1:
        raise VggVizError(f"one value and one interval a method are needed; {len(values)} came for {len(methods)} methods.")
    controls = controls or {}
    room, line = widest(list(methods), size=SMALL, most=180), 28
    left, beside = MARGIN + room + 12, 66
    width = NARROW - left - beside - MARGIN
    finite = np.array([v for v in (*values, *lows, *highs, *controls.values(), 0.0) if np.isfinite(v)])
    span = float(np.ptp(finite)) or 1.0
    low, high = float(finite.min() - 0.04 * span), float(finite.max() + 0.06 * span)
    levels = _levels(controls, lambda value: (value - low) / (high - low) * width)
    top = head(title=title, subtitle=subtitle) + 10 + 16 * (max(levels.values(), default=-1) + 1)
    height = line * len(methods)
    figure = canvas(NARROW, round(top + height + 52), title=title, subtitle=subtitle)
    axes = panel(figure, left, top, width, height)
    rows(axes, list(methods), room=room)
    quiet(axes, grid="x")
    centre = np.asarray(values, float)
    axes.hlines(range(len(methods)), lows, highs, color=LIGHT.accent, linewidth=2.4, zorder=3)
    axes.scatter(centre, range(len(methods)), s=52, color=LIGHT.accent, edgecolors=LIGHT.paper, linewidths=1.2, zorder=4)
    for row, value in enumerate(centre):
        write(figure, NARROW - MARGIN, top + line * (row + 0.5), number(value), size=SMALL, ha="right")
    for n, (name, value) in enumerate(controls.items()):
        axes.axvline(value, color=LIGHT.series[1], linewidth=1.3, linestyle=_DASHES[n % 3], zorder=2, label=label(name))
        axes.annotate(_control(name, value), (value, 1), xycoords=("data", "axes fraction"), size=SMALL,
                      xytext=(0, 3 + 11.5 * levels[name]), textcoords="offset points", ha="center", color=LIGHT.series[1])  # fmt: skip
    axes.set_xlim(low, high)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(fitted(f"[{unit}]", 300) if unit else "")
    return figure


def _control(name: str, value: float) -> str:
    return f"{label(name, 24)} {number(value)}"


def _levels(controls: Mapping[str, float], place: Callable[[float], float]) -> dict[str, int]:
    """On which line above the panel each control's name stands, so that no two on one line meet."""
    ends: list[float] = []
    levels = {}
    for name, value in sorted(controls.items(), key=lambda item: item[1]):
        half = text_width(_control(name, value), SMALL) / 2
        start = place(value) - half
        level = next((n for n, end in enumerate(ends) if start > end + 8), len(ends))
        ends[level : level + 1] = [place(value) + half]
        levels[name] = level
    return levels


@painted
def randomisation_decay(layers: Sequence[str], correlations: Mapping[str, Array], *, chance: float = 0.0,
                        title: str = "Do the maps depend on the weights?", subtitle: str = "") -> Figure:  # fmt: skip
    """How much a map still resembles the original when the network is randomised from the top, layer by layer.

    layers        randomised so far, from the top down; the first entry may be "none"
    correlations  {method: (L,) rank correlation with the map of the trained network, [-1, 1]}
    chance        what two unrelated maps reach

    A line that stays high belongs to a method that draws the picture, not the model.
    Source: Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018.
    """
    if not layers or not correlations or any(len(values) != len(layers) for values in correlations.values()):
        raise VggVizError(f"one correlation for each of the {len(layers)} layers is needed from at least one method.")
    names_room = widest([f"{name} −0.00" for name in correlations], size=SMALL, most=240) + 10
    top = head(title=title, subtitle=subtitle) + 10
    slant = len(layers) > 8
    figure = canvas(WIDE, top + 300 + (84 if slant else 60), title=title, subtitle=subtitle)
    axes = panel(figure, MARGIN + 50, top, WIDE - 2 * MARGIN - 50 - names_room, 300)
    quiet(axes, grid="y")
    lowest = min(float(np.nanmin(np.asarray(values, float), initial=0.0)) for values in correlations.values())
    axes.set_ylim(min(-0.05, lowest - 0.05), 1.04)
    axes.axhline(chance, color=LIGHT.muted, linewidth=1.2, linestyle=_DASHES[0], zorder=1)
    ends = []
    for n, (name, values) in enumerate(correlations.items()):
        colour = LIGHT.series[n % len(LIGHT.series)]
        drawn = np.asarray(values, float)
        # Colour is never alone: every line has its name at its end, and lines of one colour differ in their marks.
        axes.plot(range(len(layers)), drawn, color=colour, marker="osD^v"[n // len(LIGHT.series) % 5], markersize=5, zorder=3)
        if np.isfinite(drawn).any():
            last = float(drawn[np.isfinite(drawn)][-1])
            ends.append((last, f"{label(name, 32)} {number(last, digits=2)}", colour))
    end_labels(axes, ends)
    axes.set_xticks(range(len(layers)), [fitted(name, 64, SMALL) for name in layers], rotation=45 if slant else 0,
                    ha="right" if slant else "center", rotation_mode="anchor", size=SMALL)  # fmt: skip
    axes.set_xlim(-0.3, len(layers) - 0.7)
    axes.set_xlabel("randomised from the top down to and including")
    axes.set_ylabel("rank correlation with the original map")
    return figure
