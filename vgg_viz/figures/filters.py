"""The filters of a network: kernels on one signed scale, and how large every filter is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vgg_viz.errors import VggVizError
from vgg_viz.figures.image_grid import Grid, cell_side, compose_grid, fit, render_map
from vgg_viz.figures.layout import (
    BAR,
    MARGIN,
    NARROW,
    WIDE,
    add_image,
    add_panel,
    add_text,
    align_end_ticks,
    colour_bar,
    content_top,
    declutter,
    label_rows,
    new_figure,
    widest_text,
)
from vgg_viz.figures.style import LIGHT, SMALL, Array, colours, limits, number, styled
from vgg_viz.maths.heatmaps import shared_scale

_ROOM = WIDE - 2 * MARGIN


def in_colour(weights: Array, most: float) -> Array:
    """Kernels as colours: (N, 3, k, k) or (N, 1, k, k) -> (N, k, k, 3) in [0, 1]; zero is mid-grey.

        colour = 0.5 + weight / (2 most)

    Args:
        weights: (N, 3, k, k) or (N, 1, k, k).
        most: The weight that reaches full colour; the same for all kernels, so that weak ones look grey.
    """
    moved = np.moveaxis(np.asarray(weights, np.float32), 1, -1)
    moved = moved.repeat(3, -1) if moved.shape[-1] == 1 else moved
    return np.clip(0.5 + moved / (2 * most), 0, 1) if most > 0 else np.full_like(moved, 0.5)


@styled
def first_layer_kernels(
    weights: Array, *, side: int = 54, title: str = "First-layer kernels", most_shown: int = 256
) -> Figure:
    """The kernels that look at the picture itself, in colour, all on one signed scale with zero at mid-grey.

    Args:
        weights: (N, 3, k, k) or, for grey pictures, (N, 1, k, k) [activation / intensity].
        side: Wanted side of a kernel [px].
        title: Heading of the figure.
        most_shown: More kernels than this are left out, and the title says so.
    """
    weights = _checked(weights, (1, 3))
    shown = weights[:most_shown]
    largest = float(np.abs(shown).max())
    grid = _grid(len(shown), shown.shape[-1], side)
    subtitle = f"{len(weights)} kernels of {weights.shape[-1]} × {weights.shape[-1]}; grey is zero, a colour is excited by that colour"
    if len(shown) < len(weights):
        subtitle = f"the first {len(shown)} of {subtitle}"
    top = content_top(title=title, subtitle=subtitle) + 4
    figure = new_figure(
        max(grid.size[0] + 2 * MARGIN, 640), top + grid.size[1] + 20 + BAR, title=title, subtitle=subtitle
    )
    cells = [fit(one, grid.width, grid.height) for one in in_colour(shown, largest)]
    add_image(figure, MARGIN, top, compose_grid(grid, cells))
    for n in range(len(shown)):
        x, y = grid.corner(n)
        add_text(figure, MARGIN + x + grid.width / 2, top + y - 8, str(n), size=SMALL, color=LIGHT.muted, ha="center")
    _channel_bars(figure, largest, channels=weights.shape[1], top=top + grid.size[1] + 16)
    return figure


def _checked(weights: Array, channels: tuple[int, ...] = ()) -> Array:
    weights = np.asarray(weights, np.float32)
    if weights.ndim != 4 or not weights.size or (channels and weights.shape[1] not in channels):
        expected = f"(N, {' or '.join(map(str, channels))}, k, k)" if channels else "(N, M, k, k)"
        raise VggVizError(
            f"kernels of shape {expected} are needed and {weights.shape} came; give a convolution's weight."
        )
    return weights


def _grid(kernels: int, size: int, side: int) -> Grid:
    # Few kernels are shown larger; many keep a side at which their number can be read.
    if kernels <= 16:
        side = max(side, min(112, _ROOM // kernels - 10))
    cell = cell_side(size, side)
    most = max(1, (_ROOM + 8) // (cell + 8))
    down = -(-kernels // most)
    return Grid(kernels, -(-kernels // down), cell, cell, gap=8, above=15)


def _channel_bars(figure: Figure, largest: float, *, channels: int, top: float) -> None:
    """One ramp a channel: what the weight of red alone looks like, from the most negative to the most positive."""
    ramp = np.linspace(0, 1, 128, dtype=np.float32)
    names = ("red", "green", "blue") if channels == 3 else ("grey",)
    for n, name in enumerate(names):
        strip = np.full((1, 128, 3), 0.5, np.float32)
        strip[0, :, n if channels == 3 else slice(None)] = ramp if channels == 3 else ramp[:, None]
        axes = add_panel(figure, MARGIN + n * 150, top, 130, 12)
        axes.imshow(strip, extent=(-1, 1, 0, 1), aspect="auto")
        axes.set_xticks((-1, 0, 1), (number(-largest), name, number(largest)), size=SMALL)
        align_end_ticks(axes)
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
    left = MARGIN + len(names) * 150
    add_text(figure, left, top + 6, "[weight]", size=SMALL, color=LIGHT.muted)
    add_text(figure, left, top + 22, "range over all kernels", size=SMALL, color=LIGHT.muted)


@styled
def channel_kernels(weights: Array, *, side: int = 54, title: str = "First-layer kernels by channel") -> Figure:
    """The same kernels taken apart: a row in colour, then one signed row each for red, green and blue.

    Args:
        weights: (N, 3, k, k) [activation / intensity]; more than fit side by side are left out, and the title says so.
        side: Wanted side of a kernel [px].
        title: Heading of the figure.
    """
    weights = _checked(weights, (3,))
    gutter, gap = 48, 6
    cell = cell_side(weights.shape[-1], max(side, min(96, (_ROOM - gutter) // len(weights) - gap)))
    shown = weights[: (_ROOM - gutter + gap) // (cell + gap)]
    scale = shared_scale(torch.from_numpy(shown.copy()), signed=True, unit="weight", over="all kernels shown")
    subtitle = f"kernels 0 to {len(shown) - 1} of {len(weights)}; red adds, blue takes away"
    top = content_top(title=title, subtitle=subtitle) + 18
    grid = Grid(4 * len(shown), len(shown), cell, cell, gap=gap)
    figure = new_figure(
        max(grid.size[0] + gutter + 2 * MARGIN, NARROW), top + grid.size[1] + 20 + BAR, title=title, subtitle=subtitle
    )
    rgb = [fit(one, cell, cell) for one in in_colour(shown, float(np.abs(shown).max()))]
    parts = [fit(render_map(one, scale), cell, cell) for channel in range(3) for one in shown[:, channel]]
    add_image(
        figure,
        MARGIN + gutter,
        top,
        compose_grid(grid, [np.concatenate([one, np.ones_like(one[..., :1])], -1) for one in rgb] + parts),
    )
    for n in range(len(shown)):
        add_text(
            figure,
            MARGIN + gutter + grid.corner(n)[0] + cell / 2,
            top - 9,
            str(n),
            size=SMALL,
            color=LIGHT.muted,
            ha="center",
        )
    for row, name in enumerate(("colour", "red", "green", "blue")):
        add_text(
            figure, MARGIN + gutter - 8, top + grid.corner(row * len(shown))[1] + cell / 2, name, size=SMALL, ha="right"
        )
    colour_bar(figure, scale, left=MARGIN + gutter, top=top + grid.size[1] + 16)
    return figure


@styled
def deep_kernels(weights: Array, chosen: Sequence[int], *, inputs: int = 32, title: str = "Deeper kernels") -> Figure:
    """Single slices of deeper kernels: a row for each chosen filter, a column for each channel it reads.

    A deep filter has no colour of its own: a slice tells how one channel below is read, not what the filter likes.

    Args:
        weights: (N, M, k, k) [activation / activation].
        chosen: Filters to show, each below N.
        inputs: At most so many input channels a row: those that any chosen filter weighs most, by their numbers.
        title: Heading of the figure.
    """
    weights = _checked(weights)
    if not len(chosen) or min(chosen) < 0 or max(chosen) >= len(weights):
        raise VggVizError(
            f"filters between 0 and {len(weights) - 1} can be shown and {list(chosen)} came; choose at least one."
        )
    picked = weights[list(chosen)]
    read = np.sort(np.argsort(-np.square(picked).sum((0, 2, 3)), kind="stable")[:inputs])
    picked = picked[:, read]
    scale = shared_scale(torch.from_numpy(picked.copy()), signed=True, unit="weight", over="all slices shown")
    gutter = 44
    side = min(60, (_ROOM - gutter) // len(read) - 3, max(15, 640 // len(chosen)))
    cell = max(weights.shape[-1], side - side % weights.shape[-1])
    grid = Grid(picked.shape[0] * len(read), len(read), cell, cell, gap=3)
    subtitle = f"rows: {len(chosen)} of {len(weights)} filters; columns: " + (
        f"all {len(read)} channels"
        if len(read) == weights.shape[1]
        else f"the {len(read)} of {weights.shape[1]} channels they weigh most"
    )
    top = content_top(title=title, subtitle=subtitle) + 18
    figure = new_figure(
        max(grid.size[0] + gutter + 2 * MARGIN, NARROW), top + grid.size[1] + 20 + BAR, title=title, subtitle=subtitle
    )
    left, (low, high) = MARGIN + gutter, limits(scale)
    cells = [fit(one, cell, cell) for row in picked for one in row]
    add_image(figure, left, top, compose_grid(grid, cells), cmap=colours(scale), vmin=low, vmax=high)
    step = 1 if cell >= 24 else 2
    for column in range(0, len(read), step):
        add_text(
            figure,
            left + grid.corner(column)[0] + cell / 2,
            top - 9,
            str(read[column]),
            size=SMALL,
            ha="center",
            color=LIGHT.muted,
        )
    for row, unit in enumerate(chosen):
        add_text(figure, left - 8, top + grid.corner(row * len(read))[1] + cell / 2, str(unit), size=SMALL, ha="right")
    colour_bar(figure, scale, left=left, top=top + grid.size[1] + 16)
    return figure


_SHAPE = 24  # filters from which on a density says more than dots


@styled
def kernel_norms(
    names: Sequence[str],
    norms: Sequence[Array],
    *,
    dead_below: float = 0.01,
    unit: str = "weight",
    title: str = "Size of every filter",
) -> Figure:
    """One row a layer: each filter's norm over the median of its layer; many filters as the shape of their density.

    Relative to the median, because norms of layers of different fan-in say nothing beside each other; the median
    itself is written at the right.

    Args:
        names: Of the layers, from the bottom of the network up.
        norms: For each layer (N,) Euclidean norm of each filter [unit].
        dead_below: Share of the layer's median below which a filter counts as empty.
        unit: Of a norm.
        title: Heading of the figure.
    """
    if not names or len(names) != len(norms):
        raise VggVizError(f"{len(names)} layer names came with {len(norms)} lists of norms; give one list a layer.")
    lists = [np.asarray(values, float) for values in norms]
    medians = [float(np.median(values)) if values.size else float("nan") for values in lists]
    empty = [
        int((values < dead_below * middle).sum()) if middle > 0 else int((values == 0).sum())
        for values, middle in zip(lists, medians, strict=True)
    ]
    subtitle = f"{sum(empty)} of {sum(map(len, lists))} filters are smaller than {100 * dead_below:g} % of their layer's median"
    top, line = content_top(title=title, subtitle=subtitle) + 18, 24
    room = widest_text(list(names), size=SMALL, most=140)
    figure = new_figure(WIDE, top + line * len(names) + 52, title=title, subtitle=subtitle)
    left, beside = MARGIN + room + 8, 190
    axes = add_panel(figure, left, top, WIDE - left - beside - MARGIN, line * len(names))
    shapes: dict[int, Array] = {}
    for row, (values, middle) in enumerate(zip(lists, medians, strict=True)):
        relative = values / middle if middle > 0 else values
        alive = relative >= dead_below if middle > 0 else values != 0
        if alive.sum() >= _SHAPE:
            shapes[row] = relative[alive]
        else:
            axes.scatter(
                relative[alive], np.full(int(alive.sum()), row), s=26, color=LIGHT.accent, alpha=0.6, linewidths=0
            )
        axes.scatter(
            relative[~alive],
            np.full(int((~alive).sum()), row),
            s=30,
            marker="x",
            color=LIGHT.bad,
            linewidths=1.4,
            zorder=4,
        )
        add_text(
            figure, WIDE - beside - MARGIN + 14, top + line * (row + 0.5), number(middle), size=SMALL, color=LIGHT.muted
        )
        add_text(
            figure,
            WIDE - MARGIN,
            top + line * (row + 0.5),
            f"{empty[row]} of {len(values)} empty",
            size=SMALL,
            ha="right",
            color=LIGHT.bad if empty[row] else LIGHT.muted,
        )
    _violins(axes, shapes, len(names))
    axes.axvline(1, color=LIGHT.muted, linewidth=1, zorder=0)
    label_rows(axes, list(names), room=room)
    declutter(axes, grid="x")
    axes.set_xlim(left=-0.03 * max(axes.get_xlim()[1], 1.5), right=max(axes.get_xlim()[1], 1.5))
    axes.set_xlabel("norm of the filter [median of its layer]")
    axes.spines["left"].set_visible(False)
    add_text(figure, WIDE - beside - MARGIN + 14, top - 10, f"median [{unit}]", size=SMALL, color=LIGHT.muted)
    return figure


def _violins(axes: Axes, shapes: dict[int, Array], layers: int) -> None:
    """The density of each layer that has many filters, at its row; thousands of dots would make a file of a megabyte."""
    if not shapes:
        return
    import seaborn  # 1.8 s to import, so only here

    seaborn.violinplot(
        x=np.concatenate(list(shapes.values())),
        y=np.concatenate([np.full(len(v), row) for row, v in shapes.items()]),
        order=list(range(layers)),
        orient="h",
        inner=None,
        cut=0,
        linewidth=0,
        width=0.86,
        density_norm="width",
        color=LIGHT.accent,
        saturation=1,
        ax=axes,
    )
    axes.set(xlabel=None, ylabel=None)
