"""Photographs with maps over them: methods or layers side by side, epochs or networks in rows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from vgg_viz.errors import VggVizError
from vgg_viz.figures.image_grid import Grid, cell_side, compose_grid, fit, outlined, overlay, render_map
from vgg_viz.figures.layout import (
    MARGIN,
    NARROW,
    WIDE,
    add_image,
    add_panel,
    add_text,
    content_top,
    figure_size,
    fit_text,
    new_figure,
    text_width,
)
from vgg_viz.figures.style import LIGHT, SMALL, VERDICTS, Array, colours, label, number, styled
from vgg_viz.maths.heatmaps import Scale
from vgg_viz.number_text import percent

DENSITY = 2  # sheet pixels to a figure pixel
_WIDEST = (
    1000  # [px] of a figure: nine columns of a 32 or 64 px picture, enlarged whole times, need a little more than usual
)
_GAP = 10  # [px] between cells
_SIDE = 128  # [px] wanted of a picture
_BAR = 28  # [px] that a small colour bar takes, numbers included

Panel = tuple[str, Array, Scale]  # title, map (H, W) placed on the image, its scale


@dataclass(frozen=True, slots=True)
class Row:
    """A photograph and its maps.

    Attributes:
        photo: (H, W, 3) in [0, 1].
        maps: (title, values (H, W) placed on the photo, scale).
        label: What stands above the row: "true class pizza", ...; shown as it is, never read as markup.
        mask: (H, W) bool, the object; outlined on the photo and on every map, or None.
    """

    photo: Array
    maps: Sequence[Panel]
    label: str = ""
    mask: Array | None = None


@styled
def methods_side_by_side(
    rows: Sequence[Row],
    *,
    side: int = 128,
    alone: Collection[str] = (),
    title: str = "Methods side by side",
    subtitle: str = "",
) -> Figure:
    """A row a photograph (or a class), a column a method: the same question asked in several ways.

    Each map has its colour bar with numbers below it; where every column shares one scale, the last row carries them.

    Args:
        rows: All with the same titles in the same order.
        side: Wanted side of a picture [px]; less where many columns must fit into 960 px.
        alone: Titles whose maps are shown without the photo: the grain of a gradient is lost on a picture. The others
            lie over the photo, as opaque as they are strong.
        title: Heading of the figure.
        subtitle: Line under the heading.

    Raises:
        VggVizError: When rows differ in their columns, or nothing came.
    """
    if not rows or not rows[0].maps or len({tuple(title for title, _, _ in row.maps) for row in rows}) != 1:
        raise VggVizError("methods side by side need rows that hold the same methods in the same order, at least one.")
    names = ["photo", *(name for name, _, _ in rows[0].maps)]
    cell = _cell(rows, side, len(names))
    shared = all(len({row.maps[n][2] for row in rows}) == 1 for n in range(len(names) - 1))
    cells = [part for row in rows for part in _cells(row, cell, alone=alone)]
    tall = max(part.shape[0] for part in cells) // DENSITY
    grid = Grid(
        len(cells),
        len(names),
        cell,
        tall,
        gap=_GAP,
        above=22 if any(row.label for row in rows) else 2,
        below=0 if shared else _BAR,
    )
    # Where units differ, each column says its own; where they are one, the foot says it once.
    names_of_units = [scale.unit for _, _, scale in rows[0].maps]
    units = [_wrapped(f"[{unit}]", cell, bold=False) for unit in names_of_units] if len(set(names_of_units)) > 1 else []
    units_height = 14 * max(map(len, units), default=0)
    top = (
        content_top(title=title, subtitle=subtitle)
        + 14
        + 14 * max(len(_wrapped(name, cell)) for name in names)
        + units_height
    )
    bottom = top + grid.size[1] + (_BAR if shared else 0)
    figure = _figure(grid, bottom, title, subtitle)
    laid = compose_grid(grid, cells, density=DENSITY)
    laid = np.pad(laid, ((0, DENSITY * _BAR), (0, 0), (0, 0))) if shared else laid
    board = _Board(laid, top, cell)
    for column, name in enumerate(names):
        centre = MARGIN + grid.corner(column)[0] + cell / 2
        _heading(figure, centre, top - 10 - units_height, name, cell)
        for n, line in enumerate(units[column - 1] if units and column else ()):
            add_text(figure, centre, top + 4 - units_height + 14 * n, line, size=SMALL, color=LIGHT.muted, ha="center")
    for r, row in enumerate(rows):
        y = grid.corner(r * len(names))[1]
        if row.label:
            add_text(figure, MARGIN, top + y - 11, fit_text(row.label, grid.size[0], SMALL), size=SMALL)
        for column, (_, _, scale) in enumerate(row.maps, 1):
            if not shared or r == len(rows) - 1:
                _bar(figure, board, (grid.corner(column)[0], y + tall + 5), scale)
    add_image(figure, MARGIN, top, laid, density=DENSITY, interpolation="auto")
    _foot(figure, bottom + 16, [scale for row in rows for _, _, scale in row.maps], by_column=bool(units))
    return figure


@styled
def layers_side_by_side(row: Row, *, title: str = "Layers side by side") -> Figure:
    """One photograph and its maps at every layer, from the bottom up, in reading order.

    Args:
        row: The photograph, its maps titled by layer, its label.
        title: Heading of the figure.
    """
    if not row.maps:
        raise VggVizError("layers side by side need the map of at least one layer; none came.")
    names = ["photo", *(name for name, _, _ in row.maps)]
    down = -(-len(names) // 7)
    columns = min(-(-len(names) // down), len(names))
    cell = _cell([row], _SIDE, columns)
    cells = _cells(row, cell)
    tall = max(part.shape[0] for part in cells) // DENSITY
    above = 6 + 14 * max(len(_wrapped(name, cell)) for name in names)
    grid = Grid(len(cells), columns, cell, tall, gap=_GAP, above=above, below=_BAR)
    top = content_top(title=title) + (20 if row.label else 0)
    figure = _figure(grid, top + grid.size[1], title)
    board = _Board(compose_grid(grid, cells, density=DENSITY), top, cell)
    if row.label:
        add_text(figure, MARGIN, top - 8, fit_text(row.label, grid.size[0], SMALL), size=SMALL)
    for n, name in enumerate(names):
        x, y = grid.corner(n)
        _heading(figure, MARGIN + x + cell / 2, top + y - 9, name, cell)
        if n:
            _bar(figure, board, (x, y + tall + 5), row.maps[n - 1][2])
    add_image(figure, MARGIN, top, board.pixels, density=DENSITY, interpolation="auto")
    _foot(figure, top + grid.size[1] + 16, [scale for _, _, scale in row.maps])
    return figure


def _cell(rows: Sequence[Row], side: int, columns: int) -> int:
    """Side of a cell [px]: near `side`, filled by whole pixels, and so that all columns fit."""
    room = (_WIDEST - 2 * MARGIN + _GAP) // columns - _GAP
    largest = max(max(row.photo.shape[:2]) for row in rows)
    return cell_side(largest, side, most=room, density=DENSITY)


def _cells(row: Row, cell: int, *, alone: Collection[str] = ()) -> list[Array]:
    """The photo and its maps as colours, at the size of their cells; blended before enlarging, outlined after."""
    photo = np.asarray(row.photo, np.float32)
    pictures = [photo]
    for name, values, scale in row.maps:
        pictures.append(render_map(values, scale)[..., :3] if name in alone else overlay(photo, values, scale))
    sized = [fit(picture, DENSITY * cell, DENSITY * cell) for picture in pictures]
    if row.mask is None:
        return sized
    mask = fit(np.asarray(row.mask, np.float32), DENSITY * cell, DENSITY * cell) > 0.5
    return [outlined(picture, mask, thickness=DENSITY) for picture in sized]


def _figure(grid: Grid, bottom: int, title: str, subtitle: str = "") -> Figure:
    return new_figure(max(grid.size[0] + 2 * MARGIN, NARROW), bottom + 34, title=title, subtitle=subtitle)


def _heading(figure: Figure, x: float, y: float, name: str, cell: int) -> None:
    lines = _wrapped(name, cell)
    for n, line in enumerate(reversed(lines)):
        add_text(figure, x, y - 14 * n, line, size=SMALL, ha="center", weight="bold")


def _wrapped(name: str, cell: int, *, bold: bool = True) -> list[str]:
    """A name on one line, or at its best space on two."""
    room, words = cell + _GAP - 4, label(name, 60).split(" ")

    def width(part: str) -> float:
        return text_width(part, SMALL, bold=bold)

    if width(" ".join(words)) <= room or len(words) == 1:
        return [fit_text(name, room, SMALL, bold=bold)]
    cuts = [(" ".join(words[:n]), " ".join(words[n:])) for n in range(1, len(words))]
    return [fit_text(part, room, SMALL, bold=bold) for part in min(cuts, key=lambda cut: max(map(width, cut)))]


@dataclass(frozen=True, slots=True)
class _Board:
    """The one image that holds all pictures of a figure: its pixels, where it begins [px], how wide a cell is [px]."""

    pixels: Array
    top: int
    cell: int


def _bar(figure: Figure, board: _Board, place: tuple[int, int], scale: Scale) -> None:
    """A small colour bar, drawn into the image that holds the pictures: one image takes a tenth of the time of a dozen.

    Args:
        figure: The figure.
        board: Image that holds the pictures.
        place: Of the bar on it [px].
        scale: Of the map above it.
    """
    (x, y), width = place, board.cell
    ramp = (
        np.linspace(0, 1, DENSITY * width)
        if scale.high > scale.low
        else np.full(DENSITY * width, 0.5 if scale.signed else 0.0)
    )
    board.pixels[DENSITY * y : DENSITY * (y + 7), DENSITY * x : DENSITY * (x + width)] = colours(scale)(ramp)[None]
    low, high = number(scale.low, digits=2), number(scale.high, digits=2)
    left, line = MARGIN + x, board.top + y + 15
    if low == high:
        add_text(figure, left + width / 2, line, f"all {low}", size=SMALL, color=LIGHT.muted, ha="center")
        return
    add_text(figure, left, line, low, size=SMALL, color=LIGHT.muted)
    add_text(figure, left + width, line, high, size=SMALL, color=LIGHT.muted, ha="right")


def _foot(figure: Figure, y: float, scales: list[Scale], *, by_column: bool = False) -> None:
    """What the colour bars mean, once for all: units (unless columns say theirs), the range, and how much lies beyond."""
    distinct = list(dict.fromkeys(label(scale.unit) for scale in scales))
    units = f" [{distinct[0]}]" if len(distinct) == 1 else "" if by_column else f" [{', '.join(distinct)}]"
    over = ", ".join(dict.fromkeys(label(scale.over, 60) for scale in scales))
    beyond = max(scale.clipped for scale in scales)
    text = f"colour bars{units}: range over {over}"
    room = figure_size(figure)[0] - 2 * MARGIN
    for more in (
        (f"; up to {percent(beyond)} of the values lie beyond", f"; up to {percent(beyond)} beyond")
        if beyond > 0
        else ()
    ):
        if text_width(text + more, SMALL) <= room:  # a narrow figure has no place for the whole sentence
            text += more
            break
    add_text(figure, MARGIN, y, fit_text(text, room, SMALL), size=SMALL, color=LIGHT.muted)


_ROW_GAP = 8  # [px] between cells
_ROW_BAR = 96  # [px] width of a row's colour bar


@dataclass(frozen=True, slots=True)
class ScaledRow:
    """One photograph and its maps, one a column, all on one scale.

    Attributes:
        photo: (H, W, 3) in [0, 1].
        maps: (M, H, W), placed on the photo.
        scale: Of all its maps.
        label: What stands above the row.
        under: A line below each map ("" for none), with whether what it says is right; or nothing.
        mask: (H, W) bool, the object; outlined on the photo.
    """

    photo: Array
    maps: Array
    scale: Scale
    label: str
    under: Sequence[tuple[str, bool | None]] = ()
    mask: Array | None = None


@styled
def maps_in_rows(
    rows: Sequence[ScaledRow], names: Sequence[str], *, over: str, side: int = 96, title: str = ""
) -> Figure:
    """A row a photograph, a column an epoch or a network; every row has one scale, whose bar stands at its right.

    Args:
        rows: Rows, from the top.
        names: Of the columns.
        over: What a row's scale is taken over: "all epochs of a row".
        side: Wanted side of a picture [px].
        title: Heading of the figure.

    Raises:
        VggVizError: Without rows, or where a row holds another number of maps than there are names.
    """
    if not rows or any(len(row.maps) != len(names) for row in rows):
        raise VggVizError(
            f"maps in rows need one map for each of the {len(names)} columns in every row, and at least one row."
        )
    columns = len(names) + 1
    room = (WIDE - 2 * MARGIN + _ROW_GAP) // columns - _ROW_GAP
    cell = cell_side(max(max(row.photo.shape[:2]) for row in rows), side, most=room, density=DENSITY)
    grid = Grid(columns, columns, cell, cell, gap=_ROW_GAP)
    width = max(grid.size[0] + 2 * MARGIN, 620)
    downs = [cell + 30 + (17 if row.under else 4) for row in rows]
    top = content_top(title=title) + 16
    clipped = max(row.scale.clipped for row in rows)
    notes = [f"colour bars [{rows[0].scale.unit}]: one range over {over}"]
    notes += [f"up to {percent(clipped)} of the values lie beyond"] if clipped > 0 else []
    if text_width("; ".join(notes), SMALL) <= width - 2 * MARGIN:
        notes = ["; ".join(notes)]
    figure = new_figure(width, top + sum(downs) + 8 + 16 * len(notes), title=title)
    for column, name in enumerate(("photo", *names)):
        middle = MARGIN + grid.corner(column)[0] + cell / 2
        add_text(
            figure,
            middle,
            top - 6,
            fit_text(name, cell + _ROW_GAP, SMALL, bold=True),
            size=SMALL,
            ha="center",
            weight="bold",
        )
    y = top + 4
    for row, down in zip(rows, downs, strict=True):
        _scaled_row(figure, row, grid, y, width - MARGIN)
        y += down
    for n, line in enumerate(notes):
        add_text(
            figure, MARGIN, y + 8 + 16 * n, fit_text(line, width - 2 * MARGIN, SMALL), size=SMALL, color=LIGHT.muted
        )
    return figure


def _scaled_row(figure: Figure, row: ScaledRow, grid: Grid, y: float, right: int) -> None:
    """A photograph and its maps from `y` on, below their label and a colour bar that ends at `right` [px]."""
    cell, scale, photo = grid.width, row.scale, np.asarray(row.photo, np.float32)
    add_text(figure, MARGIN, y + 8, fit_text(row.label, right - MARGIN - _ROW_BAR - 110, SMALL), size=SMALL)
    low, high = (number(value, digits=2) for value in (scale.low, scale.high))
    wide = text_width(high, SMALL)
    bar = add_panel(figure, right - wide - 6 - _ROW_BAR, y + 4, _ROW_BAR, 8, bare=True)
    bar.imshow(np.linspace(0, 1, 128)[None], cmap=colours(scale), vmin=0, vmax=1, aspect="auto")
    add_text(figure, right - wide - 12 - _ROW_BAR, y + 8, low, size=SMALL, color=LIGHT.muted, ha="right")
    add_text(figure, right, y + 8, high, size=SMALL, color=LIGHT.muted, ha="right")
    background = paled(photo)
    pictures = (photo, *(overlay(background, values, scale) for values in row.maps))
    large = [fit(picture, DENSITY * cell, DENSITY * cell) for picture in pictures]
    if row.mask is not None:
        mask = fit(np.asarray(row.mask, np.float32), DENSITY * cell, DENSITY * cell) > 0.5
        large[0] = outlined(large[0], mask, thickness=DENSITY)
    add_image(figure, MARGIN, y + 20, compose_grid(grid, large, density=DENSITY), density=DENSITY, interpolation="auto")
    for column, (text, right_answer) in enumerate(row.under, 1):
        if not text:
            continue  # a map that nobody answers to
        sign, colour = VERDICTS[right_answer]
        middle, line = MARGIN + grid.corner(column)[0] + cell / 2, fit_text(sign + text, cell + _ROW_GAP - 2, SMALL)
        add_text(figure, middle, y + cell + 30, line, size=SMALL, color=colour, ha="center")


def paled(photo: Array) -> Array:
    """A photo without colour and near to white, so that red and blue on it are the map's alone: (H, W, 3) in [0, 1]."""
    grey = np.asarray(photo, np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.repeat(0.5 + 0.5 * grey[..., None], 3, axis=-1)
