"""What the convolutions look for: their kernels, on one signed scale, and how large they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure

from vgg_viz.errors import VggVizError
from vgg_viz.figures.image_grid import Grid, cell_side, fit, lay, painted_map
from vgg_viz.figures.layout import BAR, MARGIN, NARROW, WIDE, canvas, colour_bar, head, panel, sheet, tuck_in, write
from vgg_viz.figures.style import LIGHT, SMALL, Array, colours, limits, number, painted
from vgg_viz.maths.heatmaps import shared_scale

_ROOM = WIDE - 2 * MARGIN


def in_colour(weights: Array, most: float) -> Array:
    """Kernels as colours: (N, 3, k, k) or (N, 1, k, k) -> (N, k, k, 3) in [0, 1]; zero is mid-grey.

        colour = 0.5 + weight / (2 most)

    most  the weight that reaches full colour; the same for all kernels, so that weak ones look grey
    """
    moved = np.moveaxis(np.asarray(weights, np.float32), 1, -1)
    moved = moved.repeat(3, -1) if moved.shape[-1] == 1 else moved
    return np.clip(0.5 + moved / (2 * most), 0, 1) if most > 0 else np.full_like(moved, 0.5)


@painted
def first_layer_kernels(
    weights: Array, *, side: int = 54, title: str = "First-layer kernels", most_shown: int = 256
) -> Figure:
    """The kernels that look at the picture itself, in colour, all on one signed scale with zero at mid-grey.

    weights     (N, 3, k, k) or, for grey pictures, (N, 1, k, k) [activation / intensity]
    side        wanted side of a kernel [px]
    most_shown  more kernels than this are left out, and the title says so
    """
    weights = _checked(weights, (1, 3))
    shown = weights[:most_shown]
    largest = float(np.abs(shown).max())
    grid = _grid(len(shown), shown.shape[-1], side)
    told = f"{len(weights)} kernels of {weights.shape[-1]} × {weights.shape[-1]}; grey is zero, a colour is excited by that colour"
    if len(shown) < len(weights):
        told = f"the first {len(shown)} of {told}"
    top = head(title=title, subtitle=told) + 4
    figure = canvas(max(grid.size[0] + 2 * MARGIN, 640), top + grid.size[1] + 20 + BAR, title=title, subtitle=told)
    cells = [fit(one, grid.width, grid.height) for one in in_colour(shown, largest)]
    sheet(figure, MARGIN, top, lay(grid, cells))
    for n in range(len(shown)):
        x, y = grid.corner(n)
        write(figure, MARGIN + x + grid.width / 2, top + y - 8, str(n), size=SMALL, color=LIGHT.muted, ha="center")
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
        axes = panel(figure, MARGIN + n * 150, top, 130, 12)
        axes.imshow(strip, extent=(-1, 1, 0, 1), aspect="auto")
        axes.set_xticks((-1, 0, 1), (number(-largest), name, number(largest)), size=SMALL)
        tuck_in(axes)
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
    left = MARGIN + len(names) * 150
    write(figure, left, top + 6, "[weight]", size=SMALL, color=LIGHT.muted)
    write(figure, left, top + 22, "range over all kernels", size=SMALL, color=LIGHT.muted)


@painted
def channel_kernels(weights: Array, *, side: int = 54, title: str = "First-layer kernels by channel") -> Figure:
    """The same kernels taken apart: a row in colour, then one signed row each for red, green and blue.

    weights  (N, 3, k, k) [activation / intensity]; more than fit side by side are left out, and the title says so
    """
    weights = _checked(weights, (3,))
    gutter, gap = 48, 6
    cell = cell_side(weights.shape[-1], max(side, min(96, (_ROOM - gutter) // len(weights) - gap)))
    shown = weights[: (_ROOM - gutter + gap) // (cell + gap)]
    scale = shared_scale(torch.from_numpy(shown.copy()), signed=True, unit="weight", over="all kernels shown")
    told = f"kernels 0 to {len(shown) - 1} of {len(weights)}; red adds, blue takes away"
    top = head(title=title, subtitle=told) + 18
    grid = Grid(4 * len(shown), len(shown), cell, cell, gap=gap)
    figure = canvas(
        max(grid.size[0] + gutter + 2 * MARGIN, NARROW), top + grid.size[1] + 20 + BAR, title=title, subtitle=told
    )
    rgb = [fit(one, cell, cell) for one in in_colour(shown, float(np.abs(shown).max()))]
    parts = [fit(painted_map(one, scale), cell, cell) for channel in range(3) for one in shown[:, channel]]
    sheet(
        figure,
        MARGIN + gutter,
        top,
        lay(grid, [np.concatenate([one, np.ones_like(one[..., :1])], -1) for one in rgb] + parts),
    )
    for n in range(len(shown)):
        write(
            figure,
            MARGIN + gutter + grid.corner(n)[0] + cell / 2,
            top - 9,
            str(n),
            size=SMALL,
            color=LIGHT.muted,
            ha="center",
        )
    for row, name in enumerate(("colour", "red", "green", "blue")):
        write(
            figure, MARGIN + gutter - 8, top + grid.corner(row * len(shown))[1] + cell / 2, name, size=SMALL, ha="right"
        )
    colour_bar(figure, scale, left=MARGIN + gutter, top=top + grid.size[1] + 16)
    return figure


@painted
def deep_kernels(weights: Array, chosen: Sequence[int], *, inputs: int = 32, title: str = "Deeper kernels") -> Figure:
    """Single slices of deeper kernels: a row for each chosen filter, a column for each channel it reads.

    weights  (N, M, k, k) [activation / activation]
    chosen   filters to show, each below N
    inputs   at most so many input channels a row: those that any chosen filter weighs most, by their numbers

    A deep filter has no colour of its own: a slice tells how one channel below is read, not what the filter likes.
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
    told = f"rows: {len(chosen)} of {len(weights)} filters; columns: " + (
        f"all {len(read)} channels"
        if len(read) == weights.shape[1]
        else f"the {len(read)} of {weights.shape[1]} channels they weigh most"
    )
    top = head(title=title, subtitle=told) + 18
    figure = canvas(
        max(grid.size[0] + gutter + 2 * MARGIN, NARROW), top + grid.size[1] + 20 + BAR, title=title, subtitle=told
    )
    left, (low, high) = MARGIN + gutter, limits(scale)
    cells = [fit(one, cell, cell) for row in picked for one in row]
    sheet(figure, left, top, lay(grid, cells), cmap=colours(scale), vmin=low, vmax=high)
    step = 1 if cell >= 24 else 2
    for column in range(0, len(read), step):
        write(
            figure,
            left + grid.corner(column)[0] + cell / 2,
            top - 9,
            str(read[column]),
            size=SMALL,
            ha="center",
            color=LIGHT.muted,
        )
    for row, unit in enumerate(chosen):
        write(figure, left - 8, top + grid.corner(row * len(read))[1] + cell / 2, str(unit), size=SMALL, ha="right")
    colour_bar(figure, scale, left=left, top=top + grid.size[1] + 16)
    return figure
