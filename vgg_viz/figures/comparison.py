"""Two networks side by side: answers, accuracy by class, confidence, and layer by layer measures and weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vgg_viz.errors import VggVizError
from vgg_viz.figures.filters import in_colour
from vgg_viz.figures.image_grid import Grid, cell_side, compose_grid, fit
from vgg_viz.figures.layout import (
    MARGIN,
    WIDE,
    add_image,
    add_panel,
    add_text,
    content_top,
    declutter,
    fit_text,
    label_rows,
    new_figure,
    pair_key,
    text_width,
    widest_text,
)
from vgg_viz.figures.style import FIRST, LIGHT, PAIR, SECOND, SMALL, Array, count, number, styled
from vgg_viz.number_text import percent


@styled
def transitions(parts: Sequence[tuple[str, int]], *, title: str = "") -> Figure:
    """Every picture in one bar: right in both, in one only, in neither.

    Args:
        parts: (name, pictures) in this order: both right, only B right, only A right, both wrong alike, both wrong
            differently.
        title: Heading of the figure.

    Raises:
        VggVizError: Without pictures.
    """
    total = sum(pictures for _, pictures in parts)
    if not total:
        raise VggVizError("a comparison of answers needs at least one picture; none came.")
    shades = (LIGHT.series[2], SECOND, FIRST, LIGHT.muted, LIGHT.bad)
    hatches = ("", "", "", "", "////")
    top = content_top(title=title) + 8
    figure = new_figure(WIDE, top + 74 + 24 * len(parts), title=title)
    axes = add_panel(figure, MARGIN, top, WIDE - 2 * MARGIN, 44, bare=True)
    start = 0.0
    for (name, pictures), shade, hatch in zip(parts, shades, hatches, strict=True):
        axes.barh(
            0, pictures, 0.9, left=start, color=shade, hatch=hatch, edgecolor=LIGHT.paper, linewidth=1.2, label=name
        )
        start += pictures
    axes.set_xlim(0, total)
    for n, ((name, pictures), shade) in enumerate(zip(parts, shades, strict=True)):
        line = top + 68 + 24 * n
        add_text(figure, MARGIN, line, "■", color=shade)
        add_text(figure, MARGIN + 84, line, f"{pictures:,}", ha="right", weight="bold")
        add_text(figure, MARGIN + 152, line, percent(pictures / total), ha="right", color=LIGHT.muted)
        add_text(figure, MARGIN + 166, line, name)
    return figure


@styled
def class_accuracy(  # noqa: PLR0913 - the columns of one table
    names: Sequence[str], right: Array, pictures: Array, difference: Array, interval: Array, *, title: str = ""
) -> Figure:
    """Accuracy of every class in A and in B, and beside it the difference with its interval.

    Args:
        names: Of K classes, K of 1 or more.
        right: (2, K) pictures that A and B got right.
        pictures: (K,) of each class, 1 or more.
        difference: (K,) B minus A, [-1, 1].
        interval: (K, 2) 95 % of it.
        title: Heading of the figure.
    """
    shares = 100 * np.asarray(right, float) / np.asarray(pictures, float)
    line = 26 if len(names) <= 14 else 20
    room = widest_text(list(names), size=SMALL, most=170)
    top = content_top(title=title) + 46
    height = line * len(names)
    figure = new_figure(WIDE, round(top + height + 44), title=title)
    left, between = MARGIN + room + 10, 60
    width = (WIDE - left - MARGIN - between - 20) / 2
    axes = add_panel(figure, left, top, width, height)
    label_rows(axes, list(names), room=room)
    declutter(axes, grid="x")
    axes.set_xlim(-2, 102)
    axes.set_xlabel("pictures of the class that were found [%]")
    axes.hlines(range(len(names)), shares.min(0), shares.max(0), color=LIGHT.muted, linewidth=2, zorder=2)
    for values, (name, colour, mark) in zip(shares, PAIR, strict=True):
        axes.plot(values, range(len(names)), mark, color=colour, markersize=8, zorder=3, label=name, clip_on=False)
    pair_key(figure, left, top - 22)
    beside = add_panel(figure, left + width + between, top, width, height)
    label_rows(beside, [" "] * len(names), room=room)
    beside.set_yticklabels([])
    declutter(beside, grid="x")
    points, ends = 100 * np.asarray(difference, float), 100 * np.asarray(interval, float)
    beside.axvline(0, color=LIGHT.ink, linewidth=1)
    beside.hlines(range(len(names)), ends[:, 0], ends[:, 1], color=LIGHT.muted, linewidth=2.4, zorder=2)
    shades = [LIGHT.muted if low <= 0 <= high else SECOND if low > 0 else FIRST for low, high in ends]
    beside.scatter(points, range(len(names)), color=shades, s=46, marker="D", zorder=3, clip_on=False)
    reach = 1.06 * max(float(np.abs(ends).max()), 1.0)
    beside.set_xlim(-reach, reach)
    beside.set_xlabel("B minus A [percentage points], with its 95 % interval")
    add_text(figure, left + width + between, top - 22, "grey: the interval holds zero", size=SMALL, color=LIGHT.muted)
    return figure


@styled
def chosen_confidence(shares: Array, *, title: str = "") -> Figure:
    """Probability of the true class in A (across) and in B (up): how many pictures fall where.

    Args:
        shares: (2, N) in [0, 1].
        title: Heading of the figure.
    """
    values = np.asarray(shares, float)
    if not values.size:
        raise VggVizError("a plane of confidences needs at least one picture; none came.")
    top, left, side = content_top(title=title) + 10, MARGIN + 56, 420
    figure = new_figure(left + side + 116, top + side + 46, title=title)
    axes = add_panel(figure, left, top, side, side)
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
    bar = add_panel(figure, left + side + 20, top + 20, 12, side - 40)
    ramp = np.linspace(0, highest, 128)[:, None]
    bar.imshow(ramp, origin="lower", extent=(0, 1, 0, highest), cmap="viridis", vmin=0, vmax=highest, aspect="auto")
    steps = [step for step in range(5) if step <= highest]
    bar.set_yticks(steps, [count(10**step) for step in steps])
    bar.yaxis.tick_right()
    bar.set_xticks([])
    bar.spines[:].set_visible(False)
    add_text(
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


@dataclass(frozen=True, slots=True)
class Measure:
    """One panel.

    Attributes:
        title: With the unit.
        values: (2, L) of A and of B, or (1, L) of both together; NaN where there is none.
        interval: (L, 2) 95 % of a measure of both together, or None.
        level: A value to compare with, or None.
        range: Of the axis.
    """

    title: str
    values: Array
    interval: Array | None = None
    level: tuple[str, float] | None = None
    range: tuple[float, float] = (0.0, 1.0)


@styled
def layers_of_two(names: Sequence[str], measures: Sequence[Measure], *, title: str = "") -> Figure:
    """Every layer of two networks of one kind, from the picture (above) on.

    Raises:
        VggVizError: Where there are no layers, no measures, or values of another number of layers.
    """
    if not names or not measures or any(np.asarray(part.values).shape[1] != len(names) for part in measures):
        raise VggVizError(
            f"layers of two networks need at least one measure with a value for each of the {len(names)} layers."
        )
    line = 26 if len(names) <= 14 else 20
    room = widest_text(list(names), size=SMALL, most=120)
    top, between = content_top(title=title) + 52, 34
    figure = new_figure(WIDE, round(top + line * len(names) + 46), title=title)
    width = (WIDE - 2 * MARGIN - room - 10 - between * (len(measures) - 1)) / len(measures)
    for n, measure in enumerate(measures):
        left = MARGIN + room + 10 + n * (width + between)
        axes = add_panel(figure, left, top, width, line * len(names))
        label_rows(axes, list(names) if n == 0 else [" "] * len(names), room=room)
        if n:
            axes.set_yticklabels([])
        declutter(axes, grid="x")
        axes.set_xlim(*measure.range)
        axes.set_title(measure.title, pad=9, size=SMALL)
        _measure(axes, measure, len(names))
    left = pair_key(figure, MARGIN + room + 10, top - 40)
    levels = [measure.level[0] for measure in measures if measure.level is not None]
    legend = "diamonds: both together, with the 95 % interval" + (f"; dashed: {levels[0]}" if levels else "")
    add_text(figure, left + 10, top - 40, legend, size=SMALL, color=LIGHT.muted)
    return figure


def _measure(axes: Axes, measure: Measure, count: int) -> None:
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
    for row, (name, colour, mark) in zip(values, PAIR, strict=True):
        axes.plot(row, place, mark, color=colour, markersize=8, zorder=3, label=name, clip_on=False)


@styled
def kernels_of_both(first: Array, second: Array, *, side: int = 54, title: str = "") -> Figure:
    """First-layer kernels of A above those of B, number by number, all on one signed scale with zero at mid-grey.

    Args:
        first: (N, 3 or 1, k, k), same shape [activation / intensity]; more than fit side by side are wrapped.
        second: (N, 3 or 1, k, k), same shape [activation / intensity]; more than fit side by side are wrapped.
        side: Wanted side of a kernel [px].
        title: Heading of the figure.
    """
    if first.shape != second.shape or first.ndim != 4 or first.shape[1] not in (1, 3):
        raise VggVizError(f"kernels of one shape (N, 3 or 1, k, k) are needed, {first.shape} and {second.shape} came.")
    most = float(max(np.abs(first).max(), np.abs(second).max()))
    gutter, gap = 26, 8
    cell = cell_side(first.shape[-1], max(side, min(84, (WIDE - 2 * MARGIN - gutter) // len(first) - gap)))
    columns = min(len(first), (WIDE - 2 * MARGIN - gutter + gap) // (cell + gap))
    bands = -(-len(first) // columns)
    band = 2 * cell + gap + 30
    top = content_top(title=title) + 6
    figure = new_figure(max(gutter + columns * (cell + gap) + 2 * MARGIN, 560), top + bands * band + 26, title=title)
    colours = [in_colour(weights, most) for weights in (first, second)]
    for n in range(bands):
        places = range(n * columns, min((n + 1) * columns, len(first)))
        grid = Grid(2 * len(places), len(places), cell, cell, gap=gap)
        y = top + n * band + 18
        add_image(
            figure,
            MARGIN + gutter,
            y,
            compose_grid(grid, [fit(part[i], cell, cell) for part in colours for i in places]),
        )
        for row, (name, colour, _) in enumerate(PAIR):
            add_text(figure, MARGIN, y + row * (cell + gap) + cell / 2, name, color=colour, weight="bold")
        for column, i in enumerate(places):
            x = MARGIN + gutter + grid.corner(column)[0] + cell / 2
            add_text(figure, x, y - 9, str(i), size=SMALL, color=LIGHT.muted, ha="center")
    scale_note = f"[weight] mid-grey is 0, a channel at its end ±{number(most)}; range over all kernels of both"
    add_text(
        figure,
        MARGIN,
        top + bands * band + 8,
        fit_text(scale_note, WIDE - 2 * MARGIN, SMALL),
        size=SMALL,
        color=LIGHT.muted,
    )
    return figure


@styled
def layer_distances(names: Sequence[str], distances: Array, *, unrelated: float, title: str = "") -> Figure:
    """How far the weights of B lie from those of A, layer by layer, beside where unrelated weights of that size would lie.

    Args:
        names: Of L layers, from the bottom up.
        distances: (L,) norm of B - A over the root mean square of both norms; 0: the same weights.
        unrelated: The distance of two unrelated vectors.
        title: Heading of the figure.
    """
    values = np.asarray(distances, float)
    line = 24 if len(names) <= 14 else 20
    room = widest_text(list(names), size=SMALL, most=150)
    top = content_top(title=title) + 26
    figure = new_figure(720, round(top + line * len(names) + 44), title=title)
    left = MARGIN + room + 10
    width = 720 - left - MARGIN - 50
    axes = add_panel(figure, left, top, width, line * len(names))
    label_rows(axes, list(names), room=room)
    declutter(axes, grid="x")
    axes.spines["left"].set_visible(False)
    axes.barh(range(len(values)), values, 0.7, color=LIGHT.accent, label="distance")
    most = 1.08 * max(unrelated, float(np.nanmax(values)))
    axes.set_xlim(0, most)
    for n, value in enumerate(values):
        axes.annotate(
            number(value),
            (value, n),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            size=SMALL,
            bbox={"facecolor": LIGHT.paper, "linewidth": 0, "pad": 1.2},
            zorder=4,
        )
    axes.axvline(unrelated, color=LIGHT.muted, linewidth=1.4, linestyle=(0, (4, 3)), zorder=3)
    axes.set_xlabel("distance between the weights, relative to their size")
    words = "strangers"
    add_text(
        figure,
        min(left + width * unrelated / most, left + width - text_width(words, SMALL) / 2),
        top - 10,
        words,
        size=SMALL,
        color=LIGHT.muted,
        ha="center",
    )
    return figure
