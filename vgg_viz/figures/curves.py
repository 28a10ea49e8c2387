"""How training went: loss and accuracy over the epochs, beside what guessing would give."""

from __future__ import annotations

from collections.abc import Sequence

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
    new_figure,
    pair_key,
)
from vgg_viz.figures.style import LIGHT, PAIR, SMALL, Array, number, styled
from vgg_viz.number_text import percent
from vgg_viz.records import Epoch

_PARTS = (("train", LIGHT.series[0]), ("val", LIGHT.series[1]))


@styled
def training_curves(
    history: Sequence[Epoch],
    *,
    chance_loss: float | None = None,
    chance_accuracy: float | None = None,
    best_epoch: int | None = None,
    title: str = "Training curves",
) -> Figure:
    """Loss [nat] on the left, accuracy [%] on the right; training and validation, one point an epoch.

    Args:
        history: At least one epoch; a loss that is not a number leaves a gap and is named.
        chance_loss: Of guessing, ln K [nat].
        chance_accuracy: Of guessing, 1 / K, [0, 1].
        best_epoch: The epoch whose weights were kept, counted from 1.
        title: Heading of the figure.

    Raises:
        VggVizError: Without epochs.
    """
    if not history:
        raise VggVizError("training curves need at least one epoch, the history is empty; train with `vgg_viz train`.")
    subtitle = _subtitle(history, best_epoch)
    top = content_top(title=title, subtitle=subtitle) + 34
    figure = new_figure(WIDE, top + 290, title=title, subtitle=subtitle)
    names, axis = 96, 34  # [px] room for the names at the right, for the numbers at the left
    width = (WIDE - 2 * MARGIN) // 2 - names - axis
    epochs = np.array([entry.epoch for entry in history])
    loss = [np.array([getattr(e, f"{part}_loss") for e in history], float) for part, _ in _PARTS]
    accuracy = [100 * np.array([getattr(e, f"{part}_accuracy") for e in history], float) for part, _ in _PARTS]
    for n, (name, values, chance, ceiling) in enumerate(
        (
            ("Loss [nat]", loss, chance_loss, _ceiling(loss, chance_loss)),
            ("Accuracy [%]", accuracy, None if chance_accuracy is None else 100 * chance_accuracy, 102.0),
        )
    ):
        axes = add_panel(figure, MARGIN + axis + n * (width + names + axis), top, width, 240)
        axes.set_title(name, pad=17)
        axes.set_ylim(0, ceiling)
        _curves(axes, epochs, values, chance=chance, best_epoch=best_epoch)
    return figure


def _subtitle(history: Sequence[Epoch], best: int | None) -> str:
    kept = next((entry for entry in history if entry.epoch == best), None)
    epochs = f"{len(history)} epoch" + ("s" if len(history) > 1 else "")
    if kept is None:
        return epochs
    return f"{epochs}; epoch {kept.epoch} was kept, its validation accuracy is {percent(kept.val_accuracy, decimals=1)}"


def _ceiling(pair: list[Array], chance: float | None) -> float:
    """Upper end of the loss axis: everything usual, while one explosion cannot flatten the rest."""
    finite = np.concatenate([values[np.isfinite(values)] for values in pair])
    if not finite.size:
        return 1.2 * chance if chance else 1.0
    usual = max(4 * float(np.median(finite)), 2 * chance if chance else 0.0)
    highest = float(finite.max())
    return 1.08 * max(min(highest, usual) if usual > 0 else highest, chance or 0.0, 1e-6)


def _curves(axes: Axes, epochs: Array, pair: list[Array], *, chance: float | None, best_epoch: int | None) -> None:
    declutter(axes, grid="y")
    span = max(1, int(epochs.max() - epochs.min()))
    axes.set_xlim(epochs.min() - 0.03 * span, epochs.max() + 0.03 * span)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch")
    ceiling = axes.get_ylim()[1]
    ends = []
    for values, (name, colour) in zip(pair, _PARTS, strict=True):
        finite = np.isfinite(values)
        axes.plot(
            epochs,
            np.where(finite, values, np.nan),
            color=colour,
            marker="o" if len(epochs) <= 30 else "",
            markersize=4,
            zorder=3,
            label=name,
        )
        if finite.any():
            last = values[finite][-1]
            ends.append((min(float(last), ceiling), f"{name} {number(last)}", colour))
    if chance is not None:
        axes.axhline(chance, color=LIGHT.muted, linewidth=1.2, linestyle=(0, (4, 3)), zorder=2, label="chance")
        ends.append((chance, f"chance {number(chance)}", LIGHT.muted))
    end_labels(axes, ends)
    _best(axes, epochs, pair[1], best_epoch)
    _trouble(axes, epochs, pair, ceiling)


def _best(axes: Axes, epochs: Array, validation: Array, best: int | None) -> None:
    at = np.flatnonzero(epochs == best)
    if not at.size:
        return
    axes.axvline(epochs[at[0]], color=LIGHT.muted, linewidth=1, zorder=1, label="kept")
    axes.annotate(
        "kept",
        (epochs[at[0]], 1),
        xycoords=("data", "axes fraction"),
        xytext=(0, 3),
        ha="center",
        textcoords="offset points",
        size=SMALL,
        color=LIGHT.muted,
    )
    if np.isfinite(validation[at[0]]):
        axes.plot(
            epochs[at[0]],
            validation[at[0]],
            "o",
            markersize=10,
            markerfacecolor="none",
            markeredgewidth=1.6,
            color=_PARTS[1][1],
            zorder=4,
        )


def _trouble(axes: Axes, epochs: Array, pair: list[Array], ceiling: float) -> None:
    """Say what the curve cannot show: values that are no numbers, and peaks above the axis."""
    lines = []
    for values, (name, _) in zip(pair, _PARTS, strict=True):
        lost = epochs[~np.isfinite(values)]
        if lost.size:
            lines.append(f"{name}: not a number in {lost.size} of {len(epochs)} epochs, first in epoch {lost[0]}")
        peaks = np.flatnonzero(np.isfinite(values) & (values > ceiling))
        if peaks.size:
            axes.plot(epochs[peaks], np.full(peaks.size, ceiling), "^", color=LIGHT.bad, clip_on=False, zorder=5)
            lines.append(f"▲ {name} up to {number(values[peaks].max())}, above the axis")
    if lines:
        axes.text(
            0.5,
            0.97,
            "\n".join(lines),
            transform=axes.transAxes,
            size=SMALL,
            color=LIGHT.bad,
            ha="center",
            va="top",
            zorder=6,
            bbox={"facecolor": LIGHT.paper, "edgecolor": LIGHT.bad, "linewidth": 0.8, "boxstyle": "round,pad=0.4"},
        )


@styled
def two_histories(first: Sequence[Epoch], second: Sequence[Epoch], *, title: str = "") -> Figure:
    """Loss [nat] and accuracy [%] of both trainings on one axis each: validation solid, training dotted.

    Raises:
        VggVizError: When either history is empty.
    """
    if not first or not second:
        raise VggVizError("two histories need at least one epoch each.")
    top = content_top(title=title) + 54
    figure = new_figure(WIDE, top + 290, title=title)
    names, axis = 96, 34  # [px] room for the names at the right, for the numbers at the left
    width = (WIDE - 2 * MARGIN) // 2 - names - axis
    for n, (what, field, factor) in enumerate((("Loss [nat]", "loss", 1.0), ("Accuracy [%]", "accuracy", 100.0))):
        axes = add_panel(figure, MARGIN + axis + n * (width + names + axis), top, width, 240)
        axes.set_title(what, pad=10)
        declutter(axes, grid="y")
        _histories(axes, first, second, field, factor)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    pair_key(figure, MARGIN + axis, top - 36)
    add_text(
        figure,
        MARGIN + axis + 96,
        top - 36,
        "solid: validation pictures; dotted: training pictures",
        size=SMALL,
        color=LIGHT.muted,
    )
    return figure


def _histories(axes: Axes, first: Sequence[Epoch], second: Sequence[Epoch], field: str, factor: float) -> None:
    ends, everything = [], []
    for history, (name, colour, mark) in zip((first, second), PAIR, strict=True):
        epochs = [entry.epoch for entry in history]
        for part, dash in (("val", "solid"), ("train", (0, (1, 1.6)))):
            values = factor * np.array([getattr(entry, f"{part}_{field}") for entry in history], float)
            values[~np.isfinite(values)] = np.nan
            everything.append(values)
            marker = mark if part == "val" and len(epochs) <= 30 else ""
            width = 2.2 if part == "val" else 1.4
            axes.plot(
                epochs,
                values,
                color=colour,
                linestyle=dash,
                linewidth=width,
                marker=marker,
                markersize=5,
                label=f"{name} {part}",
            )
            if part == "val" and np.isfinite(values).any():
                last = float(values[np.isfinite(values)][-1])
                ends.append((last, f"{name} {number(last)}", colour))
    finite = np.concatenate(everything)
    finite = finite[np.isfinite(finite)]
    axes.set_ylim(0, 102 if factor > 1 else 1.08 * float(finite.max()) if finite.size else 1.0)
    span = max(len(first), len(second), first[-1].epoch, second[-1].epoch)
    axes.set_xlim(1 - 0.03 * span, span + 0.03 * span)
    end_labels(axes, ends)
