"""Two networks side by side: what changed between them, class by class, picture by picture, and over the epochs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vgg_viz.errors import VggVizError
from vgg_viz.figures.image_grid import Grid, cell_side, fit, lay
from vgg_viz.figures.layout import (
    MARGIN,
    WIDE,
    canvas,
    end_labels,
    fitted,
    head,
    panel,
    quiet,
    rows,
    sheet,
    widest,
    write,
)
from vgg_viz.figures.style import LIGHT, SMALL, Array, count, number, painted
from vgg_viz.maths.metrics import Bin, wilson_interval
from vgg_viz.number_text import percent
from vgg_viz.records import Epoch

FIRST, SECOND = LIGHT.series[0], LIGHT.series[1]  # A is blue and a circle, B is orange and a square, in every figure


_MARKS = (("A", FIRST, "o"), ("B", SECOND, "s"))


DENSITY = 2  # sheet pixels to a figure pixel


LINE = 15  # [px] of one line of a caption


@painted
def transitions(parts: Sequence[tuple[str, int]], *, title: str = "") -> Figure:
    """Every picture in one bar: right in both, in one only, in neither.

    parts  (name, pictures) in this order: both right, only B right, only A right, both wrong alike, both wrong differently
    raises VggVizError without pictures
    """
    total = sum(pictures for _, pictures in parts)
    if not total:
        raise VggVizError("a comparison of answers needs at least one picture; none came.")
    shades = (LIGHT.series[2], SECOND, FIRST, LIGHT.muted, LIGHT.bad)
    hatches = ("", "", "", "", "////")
    top = head(title=title) + 8
    figure = canvas(WIDE, top + 74 + 24 * len(parts), title=title)
    axes = panel(figure, MARGIN, top, WIDE - 2 * MARGIN, 44, bare=True)
    start = 0.0
    for (name, pictures), shade, hatch in zip(parts, shades, hatches, strict=True):
        axes.barh(
            0, pictures, 0.9, left=start, color=shade, hatch=hatch, edgecolor=LIGHT.paper, linewidth=1.2, label=name
        )
        start += pictures
    axes.set_xlim(0, total)
    for n, ((name, pictures), shade) in enumerate(zip(parts, shades, strict=True)):
        line = top + 68 + 24 * n
        write(figure, MARGIN, line, "■", color=shade)
        write(figure, MARGIN + 84, line, f"{pictures:,}", ha="right", weight="bold")
        write(figure, MARGIN + 152, line, percent(pictures / total), ha="right", color=LIGHT.muted)
        write(figure, MARGIN + 166, line, name)
    return figure


Told = tuple[
    Array, Sequence[tuple[str, bool | None]]
]  # picture (H, W, 3) in [0, 1]; lines, each right, wrong or neither


@painted
def picture_rows(found: Sequence[tuple[str, Sequence[Told]]], *, side: int = 128, title: str = "") -> Figure:
    """Photographs in rows with a heading each, and under every photograph what was said about it.

    found  (heading, pictures of the row); a row without pictures keeps its heading
    side   wanted side of a picture [px]
    """
    across = max((len(pictures) for _, pictures in found), default=0)
    if not across:
        raise VggVizError("rows of pictures need at least one picture; none came.")
    images = [np.asarray(image, np.float32) for _, pictures in found for image, _ in pictures]
    cell = cell_side(
        min(max(image.shape[:2]) for image in images),
        side,
        most=(WIDE - 2 * MARGIN + 14) // across - 14,
        density=DENSITY,
    )
    lines = max(len(told) for _, pictures in found for _, told in pictures)
    top, down = head(title=title), cell + LINE * lines + 52
    height = sum(down if pictures else 34 for _, pictures in found)
    width = max(across * (cell + 14) - 14 + 2 * MARGIN, 560)
    figure = canvas(width, top + height + 6, title=title)
    y = top
    for heading, pictures in found:
        write(figure, MARGIN, y + 12, fitted(heading, width - 2 * MARGIN, bold=True), weight="bold")
        if not pictures:
            y += 34
            continue
        grid = Grid(len(pictures), len(pictures), cell, cell, gap=14)
        cells = [fit(np.asarray(image, np.float32), DENSITY * cell, DENSITY * cell) for image, _ in pictures]
        sheet(figure, MARGIN, y + 28, lay(grid, cells, density=DENSITY), density=DENSITY, interpolation="auto")
        for n, (_, told) in enumerate(pictures):
            for row, (text, right) in enumerate(told):
                sign, colour = {True: ("✓ ", LIGHT.good), False: ("✗ ", LIGHT.bad), None: ("", LIGHT.muted)}[right]
                write(
                    figure,
                    MARGIN + grid.corner(n)[0],
                    y + cell + 40 + LINE * row,
                    fitted(sign + text, cell + 10, SMALL),
                    size=SMALL,
                    color=colour,
                )
        y += down
    return figure


@painted
def class_accuracy(
    names: Sequence[str], right: Array, pictures: Array, difference: Array, interval: Array, *, title: str = ""
) -> Figure:
    """Accuracy of every class in A and in B, and beside it the difference with its interval.

    names       of K classes, K of 1 or more
    right       (2, K) pictures that A and B got right
    pictures    (K,) of each class, 1 or more
    difference  (K,) B minus A, [-1, 1]
    interval    (K, 2) 95 % of it
    """
    shares = 100 * np.asarray(right, float) / np.asarray(pictures, float)
    line = 26 if len(names) <= 14 else 20
    room = widest(list(names), size=SMALL, most=170)
    top = head(title=title) + 46
    height = line * len(names)
    figure = canvas(WIDE, round(top + height + 44), title=title)
    left, between = MARGIN + room + 10, 60
    width = (WIDE - left - MARGIN - between - 20) / 2
    axes = panel(figure, left, top, width, height)
    rows(axes, list(names), room=room)
    quiet(axes, grid="x")
    axes.set_xlim(-2, 102)
    axes.set_xlabel("pictures of the class that were found [%]")
    axes.hlines(range(len(names)), shares.min(0), shares.max(0), color=LIGHT.muted, linewidth=2, zorder=2)
    for values, (name, colour, mark) in zip(shares, _MARKS, strict=True):
        axes.plot(values, range(len(names)), mark, color=colour, markersize=8, zorder=3, label=name, clip_on=False)
    _key(figure, left, top - 22)
    beside = panel(figure, left + width + between, top, width, height)
    rows(beside, [" "] * len(names), room=room)
    beside.set_yticklabels([])
    quiet(beside, grid="x")
    points, ends = 100 * np.asarray(difference, float), 100 * np.asarray(interval, float)
    beside.axvline(0, color=LIGHT.ink, linewidth=1)
    beside.hlines(range(len(names)), ends[:, 0], ends[:, 1], color=LIGHT.muted, linewidth=2.4, zorder=2)
    shades = [LIGHT.muted if low <= 0 <= high else SECOND if low > 0 else FIRST for low, high in ends]
    beside.scatter(points, range(len(names)), color=shades, s=46, marker="D", zorder=3, clip_on=False)
    reach = 1.06 * max(float(np.abs(ends).max()), 1.0)
    beside.set_xlim(-reach, reach)
    beside.set_xlabel("B minus A [percentage points], with its 95 % interval")
    write(figure, left + width + between, top - 22, "grey: the interval holds zero", size=SMALL, color=LIGHT.muted)
    return figure


def _key(figure: Figure, left: float, y: float) -> None:
    for name, colour, mark in _MARKS:
        write(figure, left, y, "●" if mark == "o" else "■", color=colour)
        write(figure, left + 15, y, name)
        left += 46


@painted
def two_calibrations(first: Sequence[Bin], second: Sequence[Bin], *, title: str = "", subtitle: str = "") -> Figure:
    """How often A and B are right when they claim a confidence, on one axis, and how often they claim it.

    first, second  bins of equal width over [0, 1], from `maths.metrics.calibration`

    Above: accuracy of each bin with its 95 % Wilson interval; below the dashed line a network is too sure. Below: predictions a bin.
    """
    if not first or not second:
        raise VggVizError("two calibrations need the bins of both networks; at least one has none.")
    top, left, width = head(title=title, subtitle=subtitle) + 30, MARGIN + 52, 560
    figure = canvas(left + width + MARGIN, top + 330 + 36 + 100 + 46, title=title, subtitle=subtitle)
    axes = panel(figure, left, top, width, 330)
    quiet(axes, grid="y")
    axes.plot(
        (0, 1),
        (0, 1),
        color=LIGHT.muted,
        linewidth=1.2,
        linestyle=(0, (4, 3)),
        zorder=1,
        label="as often right as claimed",
    )
    below = panel(figure, left, top + 330 + 36, width, 100)
    quiet(below, grid="y")
    most = max(found.count for found in (*first, *second))
    for n, (bins, (name, colour, mark)) in enumerate(zip((first, second), _MARKS, strict=True)):
        claimed, kept = np.array([found.confidence for found in bins]), np.array([found.accuracy for found in bins])
        low, high = np.array([wilson_interval(found.accuracy * found.count, found.count) for found in bins]).T
        ends = np.maximum(kept - low, 0), np.maximum(high - kept, 0)
        axes.errorbar(
            claimed,
            kept,
            ends,
            color=colour,
            marker=mark,
            markersize=7,
            capsize=3,
            elinewidth=1.2,
            zorder=3 + n,
            label=name,
        )
        middles = np.array([(found.low + found.high) / 2 for found in bins])
        wide = 0.42 * (bins[0].high - bins[0].low)
        below.bar(middles + (n - 0.5) * wide, [found.count for found in bins], wide, color=colour, label=name)
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
    _key(figure, left, top - 14)
    write(figure, left + 96, top - 14, "dashed: as often right as claimed", size=SMALL, color=LIGHT.muted)
    return figure


@painted
def two_histories(first: Sequence[Epoch], second: Sequence[Epoch], *, title: str = "") -> Figure:
    """Loss [nat] and accuracy [%] of both trainings on one axis each: validation solid, training dotted.

    raises  VggVizError when either history is empty
    """
    if not first or not second:
        raise VggVizError("two histories need at least one epoch each.")
    top = head(title=title) + 54
    figure = canvas(WIDE, top + 290, title=title)
    names, axis = 96, 34  # [px] room for the names at the right, for the numbers at the left
    width = (WIDE - 2 * MARGIN) // 2 - names - axis
    for n, (what, field, factor) in enumerate((("Loss [nat]", "loss", 1.0), ("Accuracy [%]", "accuracy", 100.0))):
        axes = panel(figure, MARGIN + axis + n * (width + names + axis), top, width, 240)
        axes.set_title(what, pad=10)
        quiet(axes, grid="y")
        _histories(axes, first, second, field, factor)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    _key(figure, MARGIN + axis, top - 36)
    write(
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
    for history, (name, colour, mark) in zip((first, second), _MARKS, strict=True):
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


@painted
def chosen_confidence(shares: Array, *, title: str = "") -> Figure:
    """Probability of the true class in A (across) and in B (up): how many pictures fall where.

    shares  (2, N) in [0, 1]
    """
    values = np.asarray(shares, float)
    if not values.size:
        raise VggVizError("a plane of confidences needs at least one picture; none came.")
    top, left, side = head(title=title) + 10, MARGIN + 56, 420
    figure = canvas(left + side + 116, top + side + 46, title=title)
    axes = panel(figure, left, top, side, side)
    counts, _, _ = np.histogram2d(values[1], values[0], bins=20, range=((0, 1), (0, 1)))
    shown = np.ma.masked_where(counts == 0, np.log10(np.maximum(counts, 1)))
    highest = max(1.0, float(np.log10(counts.max())))
    axes.imshow(shown, origin="lower", extent=(0, 1, 0, 1), cmap="viridis", vmin=0, vmax=highest, aspect="auto")
    axes.plot((0, 1), (0, 1), color=LIGHT.muted, linewidth=1.2, linestyle=(0, (4, 3)))
    ticks = np.linspace(0, 1, 6)
    axes.set_xticks(ticks, [f"{100 * tick:.0f}" for tick in ticks])
    axes.set_yticks(ticks, [f"{100 * tick:.0f}" for tick in ticks])
    axes.set_xlabel("probability that A gives the true class [%]")
    axes.set_ylabel("probability that B gives the true class [%]")
    bar = panel(figure, left + side + 20, top + 20, 12, side - 40)
    ramp = np.linspace(0, highest, 128)[:, None]
    bar.imshow(ramp, origin="lower", extent=(0, 1, 0, highest), cmap="viridis", vmin=0, vmax=highest, aspect="auto")
    steps = [step for step in range(5) if step <= highest]
    bar.set_yticks(steps, [count(10**step) for step in steps])
    bar.yaxis.tick_right()
    bar.set_xticks([])
    bar.spines[:].set_visible(False)
    write(
        figure,
        left + side + 74,
        top + side / 2,
        "pictures in a square",
        size=SMALL,
        color=LIGHT.muted,
        rotation=90,
        ha="center",
    )
    return figure
