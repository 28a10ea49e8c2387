"""A figure measured in pixels from its upper left corner, with its title, panels, texts and colour bars."""

from __future__ import annotations

import functools
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text

from vgg_viz.figures.fonts import families
from vgg_viz.figures.style import BODY, DPI, LIGHT, PAIR, SMALL, TITLE, colours, label, limits, number
from vgg_viz.maths.heatmaps import Scale
from vgg_viz.number_text import percent

MARGIN = 18  # [px] around everything
WIDE, NARROW = 960, 560  # [px] usual widths


def new_figure(width: int, height: int, *, title: str = "", subtitle: str = "") -> Figure:
    """An empty figure of `width` x `height` [px] at 100 dpi, with its title at the upper left."""
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    FigureCanvasAgg(figure)
    room = width - 2 * MARGIN
    if title:
        add_text(figure, MARGIN, 24, fit_text(title, room, TITLE, bold=True), size=TITLE, weight="bold")
    if subtitle:
        add_text(figure, MARGIN, 46, fit_text(subtitle, room), color=LIGHT.muted)
    return figure


def content_top(*, title: str, subtitle: str = "") -> int:
    """Where the content may begin below a title and a subtitle [px from the top]."""
    return MARGIN + (20 if title else 0) + (22 if subtitle else 0) + (8 if title or subtitle else 0)


def add_panel(  # noqa: PLR0913 - a rectangle has four numbers
    figure: Figure, left: float, top: float, width: float, height: float, *, bare: bool = False
) -> Axes:
    """Axes at a place [px from the upper left]; bare: without frame, for pictures."""
    across, down = figure_size(figure)
    axes = figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))
    if bare:
        axes.set_axis_off()
    return axes


def add_image(
    figure: Figure, left: float, top: float, picture: np.ndarray[Any, Any], *, density: int = 1, **image: Any
) -> Axes:
    """Axes that hold one picture, `density` picture pixels to a figure pixel; data coordinates are figure pixels.

    Args:
        figure: The figure.
        left: Of the picture [px].
        top: Of the picture [px].
        picture: (H, W) values, coloured by `image` (cmap, vmin, vmax), or (H, W, 4) colours in [0, 1], stored as bytes:
            matplotlib takes ten times as long over floats.
        density: Picture pixels to a figure pixel.
        image: Options of `imshow`.
    """
    if picture.ndim == 3:
        picture = np.rint(255 * np.clip(picture, 0, 1)).astype(np.uint8)
    height, width = picture.shape[0] / density, picture.shape[1] / density
    axes = add_panel(figure, left, top, width, height, bare=True)
    axes.imshow(picture, extent=(0, width, height, 0), aspect="auto", **image)
    return axes


def figure_size(figure: Figure) -> tuple[float, float]:
    """Width and height [px at scale 1]."""
    width, height = figure.get_size_inches()
    return width * DPI, height * DPI


def add_text(  # noqa: PLR0913 - the options of a text are those of matplotlib
    figure: Figure,
    x: float,
    y: float,
    text: str,
    *,
    size: float = BODY,
    color: str = LIGHT.ink,
    ha: Literal["left", "center", "right"] = "left",
    va: Literal["top", "center", "baseline", "bottom"] = "center",
    weight: str = "normal",
    rotation: float = 0,
) -> Text:
    """Text at a place [px from the upper left]; `text` must be ours or have passed `label`."""
    across, down = figure.get_size_inches() * DPI
    return figure.text(
        x / across,
        1 - y / down,
        text,
        size=size,
        color=color,
        ha=ha,
        va=va,
        weight=weight,
        rotation=rotation,
        rotation_mode="anchor",
    )


@functools.lru_cache(maxsize=4096)  # a figure measures its words when it is laid out, and again for its SVG
def text_width(text: str, size: float = BODY, *, bold: bool = False) -> float:
    """Width of a text [px at scale 1]."""
    painter: Any = RendererAgg
    letters = FontProperties(family=list(families()), size=size, weight="bold" if bold else "normal")
    return float(painter(1, 1, DPI).get_text_width_height_descent(text, letters, False)[0])


def fit_text(text: str, room: float, size: float = BODY, *, bold: bool = False) -> str:
    """As much of a text as fits into `room` [px], with an ellipsis where it was cut; made safe by `label`."""
    line = label(text, 400)
    if text_width(line, size, bold=bold) <= room:
        return line
    low, high = 1, len(line)
    while low < high:
        middle = (low + high + 1) // 2
        fits = text_width(label(line, middle), size, bold=bold) <= room
        low, high = (middle, high) if fits else (low, middle - 1)
    return label(line, low)


def widest_text(texts: list[str], *, size: float = BODY, most: float = 220) -> float:
    """Room that the longest of `texts` takes, at most `most` [px]."""
    return min(most, max((text_width(label(text, 80), size) for text in texts), default=0.0))


def declutter(axes: Axes, *, grid: Literal["x", "y", "none"] = "none") -> None:
    """Leave only what carries information: grid lines along one axis, no ticks where there is a grid."""
    if grid == "none":
        return
    axes.grid(visible=True, axis=grid)
    axes.tick_params(axis=grid, length=0)
    axes.spines["left" if grid == "y" else "bottom"].set_visible(False)


def label_rows(axes: Axes, names: list[str], *, room: float) -> None:
    """One name a row on the vertical axis, first row on top, no tick marks."""
    axes.set_yticks(range(len(names)), [fit_text(name, room, SMALL) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0, labelsize=SMALL)


def range_text(scale: Scale) -> tuple[str, str]:
    """What a colour bar says beside its numbers: the unit; over what the range is and how much lies beyond it."""
    over = label(scale.over, 60)
    if not scale.high > scale.low:
        return f"[{label(scale.unit)}]", f"all values are the same over {over}"
    beyond = f"; {percent(scale.clipped)} of the values beyond" if scale.clipped > 0 else ""
    return f"[{label(scale.unit)}]", f"range over {over}{beyond}"


def scale_ticks(scale: Scale) -> list[tuple[float, str]]:
    """Position [0, 1] and text of the numbers under a colour bar."""
    if not scale.high > scale.low:
        return [(0.5, number(scale.low))]
    middle = (scale.low + scale.high) / 2
    between = [(0.5, "0" if scale.signed else number(middle))]
    return [(0.0, number(scale.low)), *between, (1.0, number(scale.high))]


def align_end_ticks(axes: Axes) -> None:
    """Keep the first and the last number of a bar within its ends."""
    first, *_, last = axes.get_xticklabels()
    first.set_horizontalalignment("left")
    last.set_horizontalalignment("right")


BAR = 42  # [px] that a colour bar takes, numbers included


def colour_bar(figure: Figure, scale: Scale, *, left: float, top: float, width: float = 260) -> Axes:
    """A horizontal bar with its numbers below and, to the right, its unit and what the range is taken over.

    Returns the axes of the bar, whose one image holds the values from the low to the high end.
    """
    axes = add_panel(figure, left, top, width, 12)
    low, high = limits(scale)
    flat = not scale.high > scale.low
    ramp = np.full((1, 256), scale.low) if flat else np.linspace(low, high, 256)[None]
    axes.imshow(ramp, cmap=colours(scale), vmin=low, vmax=high, extent=(0, 1, 0, 1), aspect="auto")
    axes.set_xticks(
        [position for position, _ in scale_ticks(scale)], [text for _, text in scale_ticks(scale)], size=SMALL
    )
    if not flat:
        align_end_ticks(axes)
    axes.set_yticks([])
    axes.spines[["left", "bottom"]].set_visible(False)
    across = figure.get_size_inches()[0] * DPI
    room = across - left - width - 12 - MARGIN
    for n, line in enumerate(range_text(scale)):
        add_text(
            figure, left + width + 12, top + 6 + 16 * n, fit_text(line, room, SMALL), size=SMALL, color=LIGHT.muted
        )
    return axes


def end_labels(axes: Axes, ends: list[tuple[float, str, str]], *, spacing: float = 15) -> None:
    """Names at the right end of lines instead of a legend: (height in data, text, colour), pushed apart where they meet.

    Args:
        axes: The axes.
        ends: (height in data, text, colour) of each line.
        spacing: Least distance between two names [px].
    """
    low, high = axes.get_ylim()
    pixels = axes.get_position().height * axes.figure.get_size_inches()[1] * DPI  # type: ignore[union-attr]
    step = spacing * (high - low) / pixels
    order = sorted(range(len(ends)), key=lambda n: ends[n][0])
    heights: list[float] = []
    for n in order:
        heights.append(max(ends[n][0], heights[-1] + step) if heights else max(ends[n][0], low + step / 3))
    # Pushed up too far: come down again from the top.
    roof = high
    for place in reversed(range(len(heights))):
        heights[place] = min(heights[place], roof)
        roof = heights[place] - step
    for n, height in zip(order, heights, strict=True):
        axes.annotate(
            ends[n][1],
            (1, height),
            xycoords=("axes fraction", "data"),
            xytext=(6, 0),
            size=SMALL,
            textcoords="offset points",
            color=ends[n][2],
            va="center",
            annotation_clip=False,
        )


def pair_key(figure: Figure, left: float, y: float) -> float:
    """The marks of networks A and B with their names, from `left` on; returns where they end [px]."""
    for name, colour, mark in PAIR:
        add_text(figure, left, y, "●" if mark == "o" else "■", color=colour)
        add_text(figure, left + 15, y, name)
        left += 46
    return left
