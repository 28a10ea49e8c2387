"""Shares of every layer as two aligned panels of bars: parameters and MACs, zeros and dead channels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vgg_viz.errors import VggVizError
from vgg_viz.figures.layout import MARGIN, WIDE, add_panel, content_top, declutter, label_rows, new_figure, widest_text
from vgg_viz.figures.style import LIGHT, SMALL, Array, count, styled
from vgg_viz.number_text import percent


@styled
def parameters_and_macs(
    names: Sequence[str],
    parameters: Sequence[int],
    macs: Sequence[int],
    *,
    title: str = "Where the weights are, and where the work is",
) -> Figure:
    """Left: each layer's share of the parameters; right: its share of the multiply-accumulates, rows aligned.

    Args:
        names: Of the layers with weights, from the bottom up.
        parameters: (L,) of each layer, biases included.
        macs: (L,) multiply-accumulates of one picture.
        title: Heading of the figure.
    """
    if not names or len({len(names), len(parameters), len(macs)}) != 1:
        raise VggVizError(
            f"one parameter and one MAC count a layer are needed; {len(parameters)} and {len(macs)} came "
            f"for {len(names)} layers."
        )
    panels = []
    for name, values, colour in (("parameters", parameters, LIGHT.series[0]), ("MACs", macs, LIGHT.series[1])):
        share = np.asarray(values, float) / max(float(np.sum(values)), 1)
        texts = [f"{percent(part)}  {count(value)}" for part, value in zip(share, values, strict=True)]
        panels.append((f"{name[0].upper()}{name[1:]} [% of {count(float(np.sum(values)))}]", share, texts, colour))
    return two_panels(list(names), panels[0], panels[1], title=title, full=False)


@styled
def sparsity_and_dead(
    names: Sequence[str],
    sparsity: Sequence[float],
    dead: Sequence[int],
    channels: Sequence[int],
    *,
    words: tuple[str, str, str] = ("Silent units", "Outputs that are zero [%]", "Channels that are always zero [%]"),
) -> Figure:
    """Left: the share of a layer's outputs that are zero; right: the share of its channels that are zero everywhere.

    Half of the outputs at zero is what a ReLU does; a dead channel is one that training has lost.

    Args:
        names: Of the layers, from the bottom up.
        sparsity: (L,) share of outputs that are exactly zero, [0, 1].
        dead: (L,) channels that were zero at every place of every picture looked at.
        channels: (L,) channels of the layer.
        words: Heading of the figure and of its two panels: behind a leaky ReLU what is silent is not zero, only not above it.
    """
    if len({len(names), len(sparsity), len(dead), len(channels)}) != 1 or not names:
        raise VggVizError(
            f"one sparsity, one dead count and one channel count a layer are needed; "
            f"{len(sparsity)}, {len(dead)} and {len(channels)} came for {len(names)} layers."
        )
    share = np.asarray(dead, float) / np.maximum(np.asarray(channels, float), 1)
    return two_panels(
        list(names),
        (words[1], np.asarray(sparsity, float), [percent(value) for value in sparsity], LIGHT.series[0]),
        (words[2], share, [f"{a} of {b}" for a, b in zip(dead, channels, strict=True)], LIGHT.series[1]),
        title=words[0],
    )


Column = tuple[str, Array, list[str], str]  # name of the panel, shares in [0, 1], text at each bar, colour


def two_panels(names: list[str], first: Column, second: Column, *, title: str, full: bool = True) -> Figure:
    """Horizontal bars of two shares, the rows aligned, the first layer on top.

    Args:
        names: Of L layers, from the top row down.
        first: The left panel.
        second: The right panel.
        title: Heading of the figure.
        full: Both axes end at 100 %, so that the length of a bar is a share of the whole panel; otherwise at the
            longest bar.
    """
    line = 26 if len(names) <= 12 else 20
    room = widest_text(names, size=SMALL, most=150)
    top = content_top(title=title) + 22
    height = line * len(names)
    figure = new_figure(WIDE, round(top + height + 40), title=title)
    left, between = MARGIN + room + 10, 70
    width = (WIDE - left - MARGIN - between - 60) / 2
    for n, column in enumerate((first, second)):
        axes = add_panel(figure, left + n * (width + between), top, width, height)
        label_rows(axes, names if n == 0 else [" "] * len(names), room=room)
        if n == 1:
            axes.set_yticklabels([])
        _bars(axes, column, full=full)
    return figure


def _bars(axes: Axes, column: Column, *, full: bool) -> None:
    name, shares, texts, colour = column
    values = 100 * np.nan_to_num(np.asarray(shares, float))
    most = 100.0 if full else 1.32 * (float(values.max()) or 1.0)
    if full:
        axes.barh(range(len(values)), 100, 0.72, color=LIGHT.wash, zorder=1)
    axes.barh(range(len(values)), values, 0.72, color=colour, zorder=2, label=name)
    for row, (value, text) in enumerate(zip(values, texts, strict=True)):
        axes.annotate(
            text,
            (value, row),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            size=SMALL,
            zorder=3,
            bbox=None if full else {"facecolor": LIGHT.paper, "linewidth": 0, "pad": 1.5},
        )
    axes.set_xlim(0, most)
    axes.set_title(name, pad=8)
    declutter(axes, grid="x")
    axes.spines["left"].set_visible(False)
