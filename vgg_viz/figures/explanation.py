"""One picture explained on one sheet: the answer, its maps on one signed scale, and what had to go until the answer changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator
from PIL import Image

from vgg_viz.errors import VggVizError
from vgg_viz.figures.image_grid import Grid, cell_side, compose_grid, fit, outlined, overlay
from vgg_viz.figures.layout import (
    BAR,
    MARGIN,
    add_image,
    add_panel,
    add_text,
    colour_bar,
    content_top,
    declutter,
    end_labels,
    fit_text,
    new_figure,
    text_width,
)
from vgg_viz.figures.style import LIGHT, SMALL, Array, label, number, styled
from vgg_viz.maths.heatmaps import Scale
from vgg_viz.number_text import percent, value_text

DENSITY = 2  # sheet pixels to a figure pixel
_WIDEST, _GAP, _SIDE = 1000, 12, 180  # [px]
_SMOOTH = 128  # [px] pictures above this side are photographs to the eye, and single pixels are not to be seen
PREDICTED, EXPECTED, OTHER = (
    LIGHT.series[1],
    LIGHT.series[0],
    LIGHT.muted,
)  # orange and blue, as the ends of the difference


@dataclass(frozen=True, slots=True)
class ClassAnswer:
    """A class and its probability, one line of the answers.

    Attributes:
        name: Of the class.
        probability: In [0, 1]; or a score.
        part: What the class is to the question, in words; "" where it is nothing to it.
        predicted: Whether it is the network's answer.
        outputs: What the network's outputs mean.
    """

    name: str
    probability: float
    part: str = ""
    predicted: bool = False
    outputs: str = "softmax"


@dataclass(frozen=True, slots=True)
class RemovalPath:
    """How sure the network is while more of the picture is hidden.

    predicted, expected (S,) probabilities of the two classes

    Attributes:
        shares: (S,) hidden, [0, 1].
        predicted: (S,) probability of the predicted class.
        expected: (S,) probability of the expected class.
    """

    shares: Array
    predicted: Array
    expected: Array


@dataclass(frozen=True, slots=True)
class HiddenRegion:
    """What had to go.

    Attributes:
        region: (H, W) bool: what is hidden.
        picture: (H, W, 3) with it hidden.
        share: That the region covers, [0, 1]; None: the answer never changed, and all is hidden.
        cover: What hides: "blur", "grey", ...
        answer: What the network says to the picture, and its probability.
        names: Of the predicted and of the expected class.
        by_map: The path in the map's order.
        by_chance: Those in random orders.
    """

    region: Array
    picture: Array
    share: float | None
    cover: str
    answer: tuple[str, float]
    names: tuple[str, str]
    by_map: RemovalPath
    by_chance: Sequence[RemovalPath]


Panel = tuple[Sequence[str], Array]  # heading, a line each, and the map (H, W) placed on the photo


@dataclass(frozen=True, slots=True)
class ExplanationSheet:
    """What the sheet shows.

    Attributes:
        photo: (H, W, 3) in [0, 1].
        maps: Up to five, on one signed scale.
        scale: Of all maps.
        answers: The likeliest classes, and the expected one where it is not among them; none without a classifier.
        hidden: What had to go until the answer changed, or None: nobody asked.
        seen: (H, W) bool: what the unit asked about can see, outlined on the photo, or None.
    """

    photo: Array
    maps: Sequence[Panel]
    scale: Scale
    answers: Sequence[ClassAnswer]
    hidden: HiddenRegion | None = None
    seen: Array | None = None


class _Place(NamedTuple):
    """A rectangle on the figure [px]."""

    left: float
    top: float
    width: float
    height: float


@styled
def explanation(sheet: ExplanationSheet, *, title: str, subtitle: str = "", caveat: str = "") -> Figure:
    """The whole explanation of one picture on one sheet.

    Args:
        sheet: What it shows.
        title: Heading of the figure.
        subtitle: Line under the heading.
        caveat: A sentence at the foot.

    Raises:
        VggVizError: Without maps, or for a scale that is not signed.
    """
    photo, maps, scale, seen = sheet.photo, sheet.maps, sheet.scale, sheet.seen
    if not maps or not scale.signed:
        raise VggVizError("an explanation needs maps on one signed scale, zero in its middle.")
    columns = max(5 if sheet.answers else 4, len(maps) + 1)
    cell = _side(max(photo.shape[:2]))
    step = cell + _GAP
    grid = Grid(len(maps) + 1, columns, cell, cell, gap=_GAP)
    width = columns * step - _GAP + 2 * MARGIN
    beside = not sheet.answers or (
        sheet.hidden is None and len(maps) + 1 <= columns - 2
    )  # the answers fit beside the maps
    foot = _lines(caveat, width - 2 * MARGIN)
    top = content_top(title=title, subtitle=subtitle) + 34
    below = top + cell + 14
    lower = below + BAR + 46
    bottom = below + BAR if beside else lower + cell + 22
    figure = new_figure(width, bottom + 16 * len(foot) + 14, title=title, subtitle=subtitle)
    first = _sized(photo, cell)
    first = first if seen is None else outlined(first, _sized(seen.astype(np.float32), cell) > 0.5, thickness=DENSITY)
    laid = compose_grid(
        grid, [first, *(_sized(overlay(photo, values, scale), cell) for _, values in maps)], density=DENSITY
    )
    add_image(figure, MARGIN, top, laid, density=DENSITY, interpolation="auto")
    names = ("the picture",) if seen is None else ("the picture", "outlined: what the unit sees")
    for n, lines in enumerate([names, *(lines for lines, _ in maps)]):
        _heading(figure, MARGIN + grid.corner(n)[0] + cell / 2, top, lines, cell)
    colour_bar(figure, scale, left=MARGIN + step, top=below, width=round(1.4 * cell))
    if not sheet.answers:
        pass  # without a classifier there are none
    elif beside:
        _answers(figure, sheet.answers, _Place(MARGIN + (columns - 2) * step + 20, top, 2 * step - _GAP - 20, cell))
    else:
        _lower(figure, sheet, cell, lower, width)
    for n, line in enumerate(foot):
        add_text(figure, MARGIN, bottom + 8 + 16 * n, line, size=SMALL, color=LIGHT.muted)
    return figure


def _lines(text: str, room: float) -> list[str]:
    """A sentence in as many lines as it needs."""
    lines: list[str] = []
    for word in label(text, 900).replace(" %", "\u00a0%").split(" ") if text else []:
        if lines and text_width(f"{lines[-1]} {word}", SMALL) <= room:
            lines[-1] += f" {word}"
        else:
            lines.append(fit_text(word, room, SMALL))
    return lines


def _heading(figure: Figure, x: float, top: float, lines: Sequence[str], cell: int) -> None:
    """The name of a picture above it, and quietly what it is."""
    for row, line in enumerate(reversed(lines)):
        strong = row == len(lines) - 1
        add_text(
            figure,
            x,
            top - 10 - 14 * row,
            fit_text(line, cell + _GAP - 4, SMALL, bold=strong),
            size=SMALL,
            ha="center",
            weight="bold" if strong else "normal",
            color=LIGHT.ink if strong else LIGHT.muted,
        )


def _lower(figure: Figure, sheet: ExplanationSheet, cell: int, top: int, width: int) -> None:
    """Below the maps: the answers as bars, the region that had to go, the picture without it, and the path there."""
    step, hidden = cell + _GAP, sheet.hidden
    middle = MARGIN + round(1.75 * step)
    room = middle - MARGIN - 28 if hidden else 2 * step
    _answers(figure, sheet.answers, _Place(MARGIN, top, room, cell))
    if hidden is None:
        return
    share = "all of it" if hidden.share is None else percent(hidden.share)
    how = "blurred" if hidden.cover == "blur" else hidden.cover
    region = _sized(hidden.region.astype(np.float32), cell) > 0.5
    outline = outlined(_sized(sheet.photo, cell), region, thickness=DENSITY)
    answer, probability = hidden.answer
    for n, (lines, picture) in enumerate(
        [
            ((f"hide {share}", f"{how}, in the map's order"), outline),
            ((f"it says {label(answer, 60)}", percent(probability)), _sized(hidden.picture, cell)),
        ]
    ):
        left = middle + n * step
        side = picture.shape[1] / DENSITY
        _heading(figure, left + cell / 2, top, lines, cell)
        add_image(figure, left + (cell - side) / 2, top, _opaque(picture), density=DENSITY, interpolation="auto")
    left = middle + 2 * step + 34
    _paths(figure, hidden, _Place(left, top, width - left - MARGIN, cell))


def _answers(figure: Figure, answers: Sequence[ClassAnswer], place: _Place) -> None:
    left, top, room, height = place
    add_text(figure, left, top - 10, "what the network says", size=SMALL, weight="bold")
    line = min(34.0, height / max(1, len(answers)))
    for n, answer in enumerate(answers):
        y = top + line * (n + 0.32)
        share = value_text(answer.probability, answer.outputs)
        own = text_width(share, SMALL) + 6
        part = f" ({answer.part})" if answer.part else ""
        name = fit_text(f"{label(answer.name, 60)}{part}", room - own, SMALL, bold=bool(part))
        add_text(figure, left, y, name, size=SMALL, weight="bold" if part else "normal")
        add_text(figure, left + room, y, share, size=SMALL, ha="right")
    if any(answer.outputs == "scores" for answer in answers):
        return  # a score is no share that a bar could show
    axes = add_panel(figure, left, top, room, line * len(answers))
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(len(answers), 0)
    places = [n + 0.74 for n in range(len(answers))]
    axes.barh(places, 1, 0.2, color=LIGHT.wash)
    tints = [OTHER if not one.part else PREDICTED if one.predicted else EXPECTED for one in answers]
    axes.barh(places, [answer.probability for answer in answers], 0.2, color=tints)


def _paths(figure: Figure, hidden: HiddenRegion, place: _Place) -> None:
    left, top, width, height = place
    add_text(figure, left - 30, top - 24, "while more is hidden", size=SMALL, weight="bold")
    add_text(figure, left - 30, top - 10, "probability [%]", size=SMALL, color=LIGHT.muted)
    axes = add_panel(figure, left, top + 4, width - 74, height - 34)
    _curves(axes, hidden, small=True)
    axes.set_xlabel("share hidden [%]", size=SMALL, labelpad=2)


@styled
def removal_curves(hidden: HiddenRegion, *, title: str, subtitle: str = "") -> Figure:
    """How sure the network is of two classes while more and more is hidden: in the map's order, and in random ones."""
    top = content_top(title=title, subtitle=subtitle) + 12
    figure = new_figure(760, top + 330, title=title, subtitle=subtitle)
    axes = add_panel(figure, MARGIN + 34, top, 560, 270)
    _curves(axes, hidden)
    axes.set_xlabel("share of the picture hidden [%], in an order")
    axes.set_ylabel("probability [%]")
    return figure


def _curves(axes: Axes, hidden: HiddenRegion, *, small: bool = False) -> None:
    """Both classes in the map's order as lines with points, in random orders as the area that these span."""
    declutter(axes, grid="y")
    axes.set_xlim(0, 100)
    curves = [getattr(path, part) for path in (hidden.by_map, *hidden.by_chance) for part in ("predicted", "expected")]
    highest = 100 * max(float(values.max()) for values in curves)
    axes.set_ylim(0, 104 if highest > 25 else 1.15 * highest)
    axes.xaxis.set_major_locator(FixedLocator([0, 50, 100] if small else [0, 25, 50, 75, 100]))
    axes.yaxis.set_major_locator(FixedLocator([0, 50, 100]) if highest > 25 else MaxNLocator(3))
    ends = []
    for name, part, colour in (("predicted", hidden.names[0], PREDICTED), ("expected", hidden.names[1], EXPECTED)):
        values = 100 * getattr(hidden.by_map, name)
        if hidden.by_chance:
            chance = np.stack(
                [np.interp(hidden.by_map.shares, path.shares, 100 * getattr(path, name)) for path in hidden.by_chance]
            )
            axes.fill_between(
                100 * hidden.by_map.shares,
                chance.min(0),
                chance.max(0),
                color=colour,
                alpha=0.16,
                linewidth=0,
                zorder=1,
            )
            axes.plot(
                100 * hidden.by_map.shares,
                np.median(chance, 0),
                color=colour,
                linewidth=1,
                linestyle=(0, (3, 2)),
                zorder=2,
            )
        axes.plot(100 * hidden.by_map.shares, values, color=colour, linewidth=1.8, marker="o", markersize=2.5, zorder=3)
        ends.append((float(values[-1]), label(part, 16), colour))
    if hidden.share is not None:
        axes.axvline(100 * hidden.share, color=LIGHT.ink, linewidth=1, zorder=2)
        side = -1 if hidden.share > 0.6 else 1
        axes.annotate(
            percent(hidden.share),
            (100 * hidden.share, 1),
            xycoords=("data", "axes fraction"),
            xytext=(4 * side, -2),
            textcoords="offset points",
            size=SMALL,
            va="top",
            ha="right" if side < 0 else "left",
        )
    end_labels(axes, ends)


def _side(side: int) -> int:
    """Side of a cell [px]: small pictures are enlarged a whole number of times, photographs to what there is room for."""
    room = (_WIDEST - 2 * MARGIN + _GAP) // 5 - _GAP
    return room if side > _SMOOTH else cell_side(side, _SIDE, most=room, density=DENSITY)


def _sized(picture: Array, cell: int) -> Array:
    """A picture (H, W[, C]) at the size of its cell; pixels of a photograph need not stay square."""
    height, width = picture.shape[:2]
    if max(height, width) <= _SMOOTH:
        return fit(np.asarray(picture, np.float32), DENSITY * cell, DENSITY * cell)
    planes = np.asarray(picture, np.float32)
    factor = DENSITY * cell / max(height, width)
    new = (max(1, round(width * factor)), max(1, round(height * factor)))
    stacked = [
        np.asarray(Image.fromarray(np.ascontiguousarray(plane)).resize(new, Image.Resampling.BILINEAR))
        for plane in np.moveaxis(planes if planes.ndim == 3 else planes[..., None], -1, 0)
    ]
    return stacked[0] if planes.ndim == 2 else np.stack(stacked, -1)


def _opaque(picture: Array) -> Array:
    return np.concatenate([picture, np.ones((*picture.shape[:2], 1), picture.dtype)], -1)


def signed_number(value: float) -> str:
    """A number with its sign, a true minus: "+0.83"."""
    return ("+" if value > 0 else "") + number(value)
