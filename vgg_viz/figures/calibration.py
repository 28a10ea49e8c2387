"""Whether the model may be believed when it says how sure it is: the reliability diagram."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vgg_viz.errors import VggVizError
from vgg_viz.figures.layout import MARGIN, NARROW, add_panel, add_text, content_top, declutter, new_figure, pair_key
from vgg_viz.figures.style import LIGHT, PAIR, SMALL, Array, count, styled
from vgg_viz.maths.metrics import Bin, calibration, wilson_interval
from vgg_viz.number_text import percent


@styled
def reliability(confidence: Array, correct: Array, *, bins: int = 10, title: str = "Calibration") -> Figure:
    """How often the model is right when it claims a confidence, and how often it claims each.

    Upper panel: accuracy of each bin with its 95 % Wilson interval; bars below the diagonal mean a model that is too
    sure. Lower panel: predictions a bin. The arithmetic is that of `maths.metrics.calibration`.

    Args:
        confidence: (N,) probability of the predicted class, [0, 1].
        correct: (N,) bool, True where the prediction is right.
        bins: Bins of equal width over [0, 1].
        title: Heading of the figure.

    Raises:
        VggVizError: Without predictions.
    """
    confidence = np.clip(np.asarray(confidence, float).ravel(), 0, 1)  # a softmax in float32 may sum to a hair above 1
    correct = np.asarray(correct, bool).ravel()
    if not confidence.size or confidence.shape != correct.shape:
        raise VggVizError(
            f"calibration needs one confidence and one verdict a prediction; "
            f"{confidence.size} and {correct.size} came. Evaluate on labelled pictures first."
        )
    measured = calibration(torch.from_numpy(confidence), torch.from_numpy(correct), bins=bins, by="width")
    subtitle = (
        f"expected calibration error (ECE) {percent(measured.error)}; accuracy {percent(float(correct.mean()))}, "
        f"mean confidence {percent(float(confidence.mean()))}"
    )
    top = content_top(title=title, subtitle=subtitle) + 34
    figure = new_figure(NARROW, top + 330 + 150 + 46, title=title, subtitle=subtitle)
    left, width = MARGIN + 48, NARROW - 2 * MARGIN - 48 - 8
    upper = add_panel(figure, left, top, width, 330)
    _bars(upper, measured.bins)
    lower = add_panel(figure, left, top + 330 + 36, width, 100)
    _histogram(lower, confidence, correct, np.arange(bins + 1) / bins)
    return figure


def _bars(axes: Axes, bins: Sequence[Bin]) -> None:
    declutter(axes, grid="y")
    centres = np.array([(bin_.low + bin_.high) / 2 for bin_ in bins])
    accuracy, confidences = np.array([bin_.accuracy for bin_ in bins]), np.array([bin_.confidence for bin_ in bins])
    low, high = np.array([wilson_interval(bin_.accuracy * bin_.count, bin_.count) for bin_ in bins]).T
    width = 0.86 * (bins[0].high - bins[0].low)
    axes.bar(centres, accuracy, width, color=LIGHT.accent, label="accuracy, with its 95 % interval", zorder=2)
    axes.bar(
        centres,
        confidences - accuracy,
        width,
        bottom=accuracy,
        facecolor="none",
        edgecolor=LIGHT.bad,
        linewidth=1,
        hatch="////",
        label="gap to the claimed confidence",
        zorder=3,
    )
    # Rounding may put an end a hair inside the accuracy of a bin that is all right or all wrong.
    ends = np.maximum(accuracy - low, 0), np.maximum(high - accuracy, 0)
    axes.errorbar(centres, accuracy, ends, fmt="none", ecolor=LIGHT.ink, elinewidth=1.4, capsize=3, zorder=4)
    _add_diagonal(axes)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.05)
    axes.set_yticks(np.linspace(0, 1, 6), [f"{value:.0f}" for value in np.linspace(0, 100, 6)])
    axes.set_xticks(np.linspace(0, 1, 6), [])
    axes.set_ylabel("accuracy [%]")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, fontsize=SMALL, handlelength=1.6, borderaxespad=0.1)


def _histogram(axes: Axes, confidence: Array, correct: Array, edges: Array) -> None:
    import seaborn  # 1.8 s to import, so only here

    declutter(axes, grid="y")
    verdict = np.where(correct, "right", "wrong")
    # The panel above counts 0.9 into the bin that ends there, a histogram into the one that begins: a hair settles it.
    confidence = np.clip(np.nextafter(confidence, 0), 0, 1)
    seaborn.histplot(
        x=confidence,
        hue=verdict,
        hue_order=["wrong", "right"],
        bins=edges,
        multiple="stack",
        shrink=0.86,
        alpha=1,
        palette={"right": LIGHT.accent, "wrong": LIGHT.bad},
        linewidth=0,
        legend=False,
        ax=axes,
    )
    number = np.histogram(confidence, edges)[0]
    for centre, n in zip((edges[:-1] + edges[1:]) / 2, number, strict=True):
        if n:
            axes.annotate(count(n), (centre, n), xytext=(0, 2), textcoords="offset points", ha="center", size=SMALL)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.22 * number.max())
    axes.set_xticks(np.linspace(0, 1, 6), [f"{value:.0f}" for value in np.linspace(0, 100, 6)])
    axes.set_xlabel("confidence of the prediction [%]")
    axes.set_ylabel("predictions")
    axes.set_title("How often each confidence is claimed (red: wrong)", weight="normal", color=LIGHT.muted)
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))


@styled
def two_calibrations(first: Sequence[Bin], second: Sequence[Bin], *, title: str = "") -> Figure:
    """How often A and B are right when they claim a confidence, on one axis, and how often they claim it.

    Above: accuracy of each bin with its 95 % Wilson interval; below the dashed line a network is too sure. Below: predictions a bin.

    Args:
        first: Bins of equal width over [0, 1], from `maths.metrics.calibration`.
        second: Bins of equal width over [0, 1], from `maths.metrics.calibration`.
        title: Heading of the figure.
    """
    if not first or not second:
        raise VggVizError("two calibrations need the bins of both networks; at least one has none.")
    top, left, width = content_top(title=title) + 30, MARGIN + 52, 560
    figure = new_figure(left + width + MARGIN, top + 330 + 36 + 100 + 46, title=title)
    axes = add_panel(figure, left, top, width, 330)
    declutter(axes, grid="y")
    _add_diagonal(axes)
    below = add_panel(figure, left, top + 330 + 36, width, 100)
    declutter(below, grid="y")
    most = max(bin_.count for bin_ in (*first, *second))
    for n, (bins, (name, colour, mark)) in enumerate(zip((first, second), PAIR, strict=True)):
        confidences, accuracies = (
            np.array([bin_.confidence for bin_ in bins]),
            np.array([bin_.accuracy for bin_ in bins]),
        )
        low, high = np.array([wilson_interval(bin_.accuracy * bin_.count, bin_.count) for bin_ in bins]).T
        ends = np.maximum(accuracies - low, 0), np.maximum(high - accuracies, 0)
        axes.errorbar(
            confidences,
            accuracies,
            ends,
            color=colour,
            marker=mark,
            markersize=7,
            capsize=3,
            elinewidth=1.2,
            zorder=3 + n,
            label=name,
        )
        middles = np.array([(bin_.low + bin_.high) / 2 for bin_ in bins])
        wide = 0.42 * (bins[0].high - bins[0].low)
        below.bar(middles + (n - 0.5) * wide, [bin_.count for bin_ in bins], wide, color=colour, label=name)
    for part in (axes, below):
        part.set_xlim(0, 1)
    axes.set_ylim(0, 1.03)
    axes.set_yticks(np.linspace(0, 1, 6), [f"{value:.0f}" for value in np.linspace(0, 100, 6)])
    axes.set_xticks(np.linspace(0, 1, 6), [])
    axes.set_ylabel("accuracy [%]")
    below.set_ylim(0, 1.1 * most)
    below.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    below.set_ylabel("predictions")
    below.set_xticks(np.linspace(0, 1, 6), [f"{value:.0f}" for value in np.linspace(0, 100, 6)])
    below.set_xlabel("confidence of the prediction [%]")
    pair_key(figure, left, top - 14)
    add_text(figure, left + 96, top - 14, "dashed: as often right as claimed", size=SMALL, color=LIGHT.muted)
    return figure


def _add_diagonal(axes: Axes) -> None:
    """Where confidence and accuracy agree."""
    axes.plot(
        (0, 1),
        (0, 1),
        color=LIGHT.muted,
        linewidth=1.2,
        linestyle=(0, (4, 3)),
        zorder=1,
        label="as often right as claimed",
    )
