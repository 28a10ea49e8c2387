"""How much of the picture a unit sees, layer by layer, and where on a picture that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from vgg_viz.errors import VggVizError
from vgg_viz.figures.image_grid import cell_side, fit
from vgg_viz.figures.layout import (
    MARGIN,
    WIDE,
    add_panel,
    add_text,
    content_top,
    declutter,
    figure_size,
    fit_text,
    label_rows,
    new_figure,
    widest_text,
)
from vgg_viz.figures.style import LIGHT, SMALL, Array, styled
from vgg_viz.maths.receptive_field import Box
from vgg_viz.number_text import percent

_KINDS = {"conv": LIGHT.series[0], "pool": LIGHT.series[1], "avgpool": LIGHT.series[1], "fc": LIGHT.series[3]}


@dataclass(frozen=True, slots=True)
class LayerField:
    """The receptive field of a layer.

    Attributes:
        name: Of the layer.
        kind: "conv", "pool", "fc", ...: the colour of the bar.
        size: Side of the field [px].
        jump: Distance of the fields of two neighbouring units [px].
        effective: Side of the effective field [px], a dark bar inside; None where it was not measured.
    """

    name: str
    kind: str
    size: int
    jump: int
    effective: float | None = None


@styled
def growth(layers: Sequence[LayerField], *, image_side: int, title: str = "What one unit sees") -> Figure:
    """The receptive field of every layer as a bar, centred, against the picture as a band.

    Args:
        layers: From the bottom up.
        image_side: Side of the picture [px].
        title: Heading of the figure.

    Raises:
        VggVizError: Without layers.
    """
    if not layers:
        raise VggVizError("the receptive field of at least one layer is needed; none came.")
    names = [layer.name for layer in layers]
    whole = next((layer.name for layer in layers if layer.size >= image_side), None)
    subtitle = f"picture: {image_side} px; " + (
        f"{whole} is the first layer whose units can see all of it" if whole else "no layer sees all of it"
    )
    line = 26 if len(names) <= 12 else 21
    room, beside = widest_text(names, size=SMALL, most=140), 150
    top = content_top(title=title, subtitle=subtitle) + 26
    height = line * len(names)
    figure = new_figure(WIDE, top + height + 76, title=title, subtitle=subtitle)
    left = MARGIN + room + 10
    axes = add_panel(figure, left, top, WIDE - left - beside - MARGIN, height)
    axes.axvspan(-image_side / 2, image_side / 2, color=LIGHT.wash, zorder=0, linewidth=0)
    for edge in (-image_side / 2, image_side / 2):
        axes.axvline(edge, color=LIGHT.muted, linewidth=1, zorder=1)
    for row, layer in enumerate(layers):
        axes.barh(row, layer.size, 0.66, left=-layer.size / 2, color=_KINDS.get(layer.kind, LIGHT.muted), zorder=2)
        if (effective := layer.effective) is not None:
            axes.barh(row, effective, 0.24, left=-effective / 2, color=LIGHT.ink, zorder=3)
        y = top + line * (row + 0.5)
        add_text(figure, WIDE - MARGIN - 78, y, f"{layer.size} px", size=SMALL, ha="right")
        add_text(figure, WIDE - MARGIN, y, str(layer.jump), size=SMALL, color=LIGHT.muted, ha="right")
    add_text(figure, WIDE - MARGIN - 78, top - 12, "field", size=SMALL, color=LIGHT.muted, ha="right")
    add_text(figure, WIDE - MARGIN, top - 12, "jump [px]", size=SMALL, color=LIGHT.muted, ha="right")
    label_rows(axes, names, room=room)
    declutter(axes, grid="x")
    axes.spines["left"].set_visible(False)
    reach = 1.04 * max(*(layer.size for layer in layers), image_side) / 2
    axes.set_xlim(-reach, reach)
    axes.set_xlabel("distance from the centre of the field [px]")
    axes.annotate(
        f"the picture, {image_side} px",
        (0, 1),
        xycoords=("data", "axes fraction"),
        xytext=(0, 4),
        textcoords="offset points",
        ha="center",
        va="bottom",
        size=SMALL,
        color=LIGHT.muted,
    )
    _legend(figure, left, top + height + 62, layers)
    return figure


def _legend(figure: Figure, left: float, y: float, layers: Sequence[LayerField]) -> None:
    words = {"conv": "convolution", "pool": "pooling", "avgpool": "pooling", "fc": "fully connected"}
    kinds = [layer.kind for layer in layers]
    entries = list(dict.fromkeys((words.get(kind, "other"), _KINDS.get(kind, LIGHT.muted)) for kind in kinds))
    if any(layer.effective is not None for layer in layers):
        entries.append(("effective field", LIGHT.ink))
    for word, colour in entries:
        add_text(figure, left, y, "■", size=SMALL, color=colour)
        left += add_text(figure, left + 14, y, word, size=SMALL, color=LIGHT.muted).get_window_extent().width + 34


@styled
def boxes_on_image(
    image: Array, boxes: Sequence[tuple[str, Box]], *, side: int = 384, title: str = "What one unit sees"
) -> Figure:
    """Receptive fields as frames on the picture; what lies outside it saw only padding, and is hatched.

    The list at the right gives each frame its name, its size and the share of it that is padding.

    Args:
        image: (H, W, 3) in [0, 1].
        boxes: (name, box [px of the image]), may reach outside the picture.
        side: Wanted side of the picture [px].
        title: Heading of the figure.
    """
    height, width = image.shape[:2]
    cell = cell_side(max(height, width), side)
    picture = fit(np.asarray(image, np.float32), 2 * cell, 2 * cell)
    unit = picture.shape[1] / 2 / width  # figure px to an image px, before room is made for what lies outside
    x0, y0 = min([0, *(box.x0 for _, box in boxes)]), min([0, *(box.y0 for _, box in boxes)])
    x1, y1 = max([width, *(box.x1 for _, box in boxes)]), max([height, *(box.y1 for _, box in boxes)])
    # A field of twice the picture may not double the figure.
    unit = min(unit, 1.35 * side / max(x1 - x0, y1 - y0))
    inner_width, inner_height = (x1 - x0) * unit, (y1 - y0) * unit
    sizes = [_size_text(box, (height, width)) for _, box in boxes]
    beside, top = (
        30 + round(1.12 * widest_text([*sizes, *(name for name, _ in boxes)], most=194)),
        content_top(title=title) + 4,
    )
    figure = new_figure(
        round(inner_width + beside + 3 * MARGIN), round(top + max(inner_height, 40 * len(boxes)) + MARGIN), title=title
    )
    axes = add_panel(figure, MARGIN + 2, top, inner_width, inner_height, bare=True)
    if boxes and (x0 < 0 or y0 < 0 or x1 > width or y1 > height):
        for name, box in boxes:
            del name
            axes.add_patch(
                Rectangle(
                    (box.x0, box.y0),
                    box.x1 - box.x0,
                    box.y1 - box.y0,
                    facecolor=LIGHT.wash,
                    edgecolor=LIGHT.muted,
                    hatch="////",
                    linewidth=0,
                    zorder=0,
                )
            )
    axes.imshow(np.clip(picture, 0, 1), extent=(0, width, height, 0), aspect="auto", interpolation="auto", zorder=1)
    axes.set_xlim(x0, x1)
    axes.set_ylim(y1, y0)
    for n, (name, box) in enumerate(boxes):
        colour = LIGHT.series[n % len(LIGHT.series)]
        dash: Any = ("solid", (0, (5, 2)), (0, (1, 1.5)))[n // len(LIGHT.series) % 3]
        frame = (box.x0, box.y0), box.x1 - box.x0, box.y1 - box.y0
        # A light line under the coloured one: a frame must show on any picture.
        axes.add_patch(Rectangle(*frame, fill=False, edgecolor="#fcfcfc", linewidth=3.4, zorder=2 + n, clip_on=False))
        axes.add_patch(
            Rectangle(
                *frame,
                fill=False,
                edgecolor=colour,
                linewidth=1.8,
                linestyle=dash,
                zorder=2 + n,
                clip_on=False,
                label=name,
            )
        )
        left, line = inner_width + 2 * MARGIN + 4, top + 12 + 40 * n
        across, down = figure_size(figure)
        figure.add_artist(
            Line2D(
                (left / across, (left + 16) / across), (1 - line / down,) * 2, color=colour, linestyle=dash, linewidth=3
            )
        )
        add_text(figure, left + 24, line, fit_text(name, 216, bold=True), weight="bold")
        add_text(figure, left + 24, line + 16, sizes[n], size=SMALL, color=LIGHT.muted)
    return figure


def _size_text(box: Box, shape: tuple[int, int]) -> str:
    """The sides of a box, and the share of it that lies outside the picture."""
    inside, area = box.clipped(*shape), (box.x1 - box.x0) * (box.y1 - box.y0)
    padding = 1 - (inside.x1 - inside.x0) * (inside.y1 - inside.y0) / area if area else 0.0
    return f"{box.x1 - box.x0} × {box.y1 - box.y0} px" + (f", {percent(padding)} of it padding" if padding > 0 else "")
