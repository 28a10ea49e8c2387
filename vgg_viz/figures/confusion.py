"""Which classes are taken for which: the confusion matrix, and how it changed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from vgg_viz.errors import VggVizError
from vgg_viz.figures.layout import (
    BAR,
    MARGIN,
    add_panel,
    add_text,
    colour_bar,
    content_top,
    fit_text,
    new_figure,
    widest_text,
)
from vgg_viz.figures.style import LIGHT, ON_DARK, ON_LIGHT, SMALL, Array, colours, count, limits, points, styled
from vgg_viz.maths.heatmaps import Scale
from vgg_viz.number_text import percent

MOST = 20  # classes that one matrix can show with readable numbers
_SCALE = Scale(0, 1, signed=False, unit="% of the row", over="each row")


@styled
def confusion_matrix(
    counts: Array, classes: Sequence[str], *, title: str = "Confusion matrix", most: int = MOST
) -> Figure:
    """Rows: the true class; columns: the predicted one; number: pictures; colour: square root of the share of the row.

    Cells without a picture stay empty, so that what is confused stands out. A row's shares are over all pictures
    of the class, also those that went to a class which is not shown. The square root tells 1 % from 5 %, which on a
    straight scale are both black beside a diagonal of 95 %.

    Args:
        counts: (K, K) pictures, K of 2 or more.
        classes: K names.
        title: Heading of the figure.
        most: With more classes than this, only those with the most confusions are shown, and the title says so.
    """
    counts = np.asarray(counts)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or len(classes) != len(counts) or len(counts) < 2:
        raise VggVizError(
            f"a confusion matrix needs (K, K) counts and K class names, K of 2 or more; "
            f"shape {counts.shape} and {len(classes)} names came."
        )
    totals, right, pictures = counts.sum(1), int(np.trace(counts)), int(counts.sum())
    shown = _most_confused(counts, most)
    subtitle = f"{right} of {pictures} pictures right ({percent(right / pictures)})" if pictures else "no pictures"
    if len(shown) < len(classes):
        title = f"{title}: the {len(shown)} most confused of {len(classes)} classes"
        subtitle += "; shares are of all pictures of a class"
    names = [classes[n] for n in shown]
    part = counts[np.ix_(shown, shown)]
    share = part / np.where(totals[shown] > 0, totals[shown], 1)[:, None]

    cell = max(30, min(96, 560 // len(shown)))
    inner = cell * len(shown)
    longest = widest_text(names, size=SMALL, most=150)
    room = max(longest, 48)
    slanted = cell < longest + 2
    below = int(longest * 0.71 + 24) if slanted else 26
    left, right_column = MARGIN + 26 + int(room) + 8, 96
    width = max(520, left + inner + right_column + MARGIN)
    top = content_top(title=title, subtitle=subtitle) + 20
    figure = new_figure(width, top + inner + below + 30 + BAR + 12, title=title, subtitle=subtitle)
    axes = add_panel(figure, left, top, inner, inner)
    _heat(axes, part, share, cell)
    for n, name in enumerate(names):
        line = top + (n + 0.5) * cell
        add_text(figure, left - 8, line, fit_text(name, room, SMALL), size=SMALL, ha="right")
        reached = share[n, n] if totals[shown[n]] else float("nan")
        add_text(
            figure,
            left + inner + 8,
            line,
            f"{percent(reached)} of {count(totals[shown[n]])}",
            size=SMALL,
            color=LIGHT.muted,
        )
        across = left + (n + 0.5) * cell
        add_text(
            figure,
            across + (6 if slanted else 0),
            top + inner + 8,
            fit_text(name, room if slanted else cell - 4, SMALL),
            size=SMALL,
            ha="right" if slanted else "center",
            va="top" if not slanted else "center",
            rotation=45 if slanted else 0,
        )
    add_text(figure, MARGIN + 8, top + inner / 2, "true class", color=LIGHT.muted, ha="center", rotation=90)
    add_text(figure, left + inner / 2, top + inner + below + 12, "predicted class", color=LIGHT.muted, ha="center")
    add_text(figure, left + inner + 8, top - 10, "right", size=SMALL, color=LIGHT.muted)
    _bar(figure, left, top + inner + below + 32)
    return figure


@styled
def confusion_difference(
    change: Array, classes: Sequence[str], *, title: str = "Confusion: B minus A", most: int = MOST
) -> Figure:
    """How many pictures more or fewer B put where: rows the true class, columns the answer, red more, blue fewer.

    One signed scale over the cells, zero at its neutral colour; unchanged cells stay empty.

    Args:
        change: (K, K) counts of B minus those of A, K of 2 or more.
        classes: K names.
        title: Heading of the figure.
        most: With more classes than this, only those that change most are shown, and the title says so.
    """
    change = np.asarray(change)
    if change.ndim != 2 or change.shape[0] != change.shape[1] or len(classes) != len(change) or len(change) < 2:
        raise VggVizError(
            f"a difference of confusions needs (K, K) counts and K names, K of 2 or more; {change.shape} and {len(classes)} came."
        )
    shown: Array = np.arange(len(change))
    if len(change) > most:
        moved = np.abs(change).sum(0) + np.abs(change).sum(1)
        shown = np.sort(np.argsort(-moved, kind="stable")[:most])
        title = f"{title}: the {most} classes of {len(change)} that change most"
    names, part = [classes[n] for n in shown], change[np.ix_(shown, shown)]
    reach = float(np.abs(part).max())
    scale = Scale(-reach, reach, signed=True, unit="pictures", over="all cells")
    cell = max(30, min(72, 560 // len(shown)))
    inner = cell * len(shown)
    longest = widest_text(names, size=SMALL, most=150)
    slanted = cell < longest + 2
    below = int(longest * 0.71 + 24) if slanted else 26
    room = max(longest, 48)
    left = MARGIN + 26 + int(room) + 8
    top = content_top(title=title) + 10
    figure = new_figure(max(560, left + inner + 2 * MARGIN), top + inner + below + 30 + BAR + 12, title=title)
    axes = add_panel(figure, left, top, inner, inner)
    low, high = limits(scale)
    axes.imshow(
        np.ma.masked_equal(part, 0), cmap=colours(scale), vmin=low, vmax=high, extent=(0, len(shown), len(shown), 0)
    )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.hlines(range(len(shown) + 1), 0, len(shown), color=LIGHT.grid, linewidth=0.8, clip_on=False)
    axes.vlines(range(len(shown) + 1), 0, len(shown), color=LIGHT.grid, linewidth=0.8, clip_on=False)
    for (row, column), value in np.ndenumerate(part):
        if value:
            background = colours(scale)(float(scale.normalise(torch.tensor(float(value)))))
            axes.text(
                column + 0.5,
                row + 0.5,
                f"{value:+d}".replace("-", "−"),
                ha="center",
                va="center",
                size=points(13 if cell >= 44 else 10),
                color=ON_LIGHT if _luminance(background) > 0.18 else ON_DARK,
            )
    for n, name in enumerate(names):
        axes.add_patch(Rectangle((n, n), 1, 1, fill=False, edgecolor=LIGHT.ink, linewidth=1, clip_on=False))
        add_text(figure, left - 8, top + (n + 0.5) * cell, fit_text(name, room, SMALL), size=SMALL, ha="right")
        add_text(
            figure,
            left + (n + 0.5) * cell + (6 if slanted else 0),
            top + inner + 8,
            fit_text(name, room if slanted else cell - 4, SMALL),
            size=SMALL,
            ha="right" if slanted else "center",
            va="center" if slanted else "top",
            rotation=45 if slanted else 0,
        )
    add_text(figure, MARGIN + 8, top + inner / 2, "true class", color=LIGHT.muted, ha="center", rotation=90)
    add_text(figure, left + inner / 2, top + inner + below + 12, "answer", color=LIGHT.muted, ha="center")
    colour_bar(figure, scale, left=left, top=top + inner + below + 32, width=220)
    return figure


def _bar(figure: Figure, left: float, top: float) -> None:
    axes = colour_bar(figure, _SCALE, left=left, top=top, width=220)
    shares = (0.01, 0.1, 0.25, 0.5, 1.0)
    axes.set_xticks(np.sqrt(shares), [f"{100 * share:.0f}" for share in shares])
    axes.get_xticklabels()[-1].set_horizontalalignment("right")


def _most_confused(counts: Array, most: int) -> Array:
    """Indices of the classes that take part in the most confusions, in their usual order."""
    if len(counts) <= most:
        return np.arange(len(counts))
    wrong = counts - np.diag(np.diag(counts))
    involved = wrong.sum(0) + wrong.sum(1)
    return np.sort(np.argsort(-involved, kind="stable")[:most])


def _heat(axes: Axes, part: Array, share: Array, cell: int) -> None:
    import seaborn  # 1.8 s to import, so only here

    colour, roots = colours(_SCALE), np.sqrt(share)
    seaborn.heatmap(
        roots,
        mask=part == 0,
        vmin=0,
        vmax=1,
        cmap=colour,
        cbar=False,
        ax=axes,
        annot=part,
        fmt="d",
        annot_kws={"size": points(14 if cell >= 44 else 12 if cell >= 36 else 10)},
        xticklabels=False,
        yticklabels=False,
    )
    written = (pair for pair in zip(part.ravel(), roots.ravel(), strict=True) if pair[0] > 0)
    for text, (value, height) in zip(axes.texts, written, strict=True):
        text.set_text(count(value))
        # seaborn's own white would turn dark with the paper of the dark theme.
        text.set_color(ON_LIGHT if _luminance(colour(height)) > 0.18 else ON_DARK)
    side = len(part)
    axes.hlines(range(side + 1), 0, side, color=LIGHT.grid, linewidth=0.8, clip_on=False)
    axes.vlines(range(side + 1), 0, side, color=LIGHT.grid, linewidth=0.8, clip_on=False)
    for n in range(side):
        axes.add_patch(Rectangle((n, n), 1, 1, fill=False, edgecolor=LIGHT.ink, linewidth=1, clip_on=False))


def _luminance(colour: tuple[float, float, float, float]) -> float:
    """Relative luminance of WCAG 2; black writes better than white from 0.18 on."""
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
