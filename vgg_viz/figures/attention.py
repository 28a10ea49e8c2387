"""Where a model looks: photographs beside their maps, methods or layers side by side."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from vgg_viz.errors import VggVizError
from vgg_viz.figures.image_grid import Grid, cell_side, fit, lay, outlined, overlay, painted_map
from vgg_viz.figures.layout import MARGIN, NARROW, canvas, fitted, head, sheet, size, text_width, write
from vgg_viz.figures.style import LIGHT, SMALL, Array, colours, label, number, painted
from vgg_viz.maths.heatmaps import Scale
from vgg_viz.number_text import percent

DENSITY = 2  # sheet pixels to a figure pixel
_WIDEST = (
    1000  # [px] of a figure: nine columns of a 32 or 64 px picture, enlarged whole times, need a little more than usual
)
_GAP = 10  # [px] between cells
_BAR = 28  # [px] that a small colour bar takes, numbers included

Panel = tuple[str, Array, Scale]  # title, map (H, W) placed on the image, its scale


@dataclass(frozen=True, slots=True)
class Row:
    """A photograph and its maps.

    photo   (H, W, 3) in [0, 1]
    maps    (title, values (H, W) placed on the photo, scale)
    label   what stands above the row: "true class pizza", ...; shown as it is, never read as markup
    mask    (H, W) bool, the object; outlined on the photo and on every map, or None
    """

    photo: Array
    maps: Sequence[Panel]
    label: str = ""
    mask: Array | None = None


@painted
def methods_side_by_side(
    rows: Sequence[Row],
    *,
    side: int = 128,
    alone: Collection[str] = (),
    title: str = "Methods side by side",
    subtitle: str = "",
) -> Figure:
    """A row a photograph (or a class), a column a method: the same question asked in several ways.

    rows      all with the same titles in the same order
    side      wanted side of a picture [px]; less where many columns must fit into 960 px
    alone     titles whose maps are shown without the photo: the grain of a gradient is lost on a picture. The others lie
              over the photo, as opaque as they are strong
    raises    VggVizError when rows differ in their columns, or nothing came

    Each map has its colour bar with numbers below it; where every column shares one scale, the last row carries them.
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
    told = 14 * max(map(len, units), default=0)
    top = head(title=title, subtitle=subtitle) + 14 + 14 * max(len(_wrapped(name, cell)) for name in names) + told
    bottom = top + grid.size[1] + (_BAR if shared else 0)
    figure = _figure(grid, bottom, title, subtitle)
    laid = lay(grid, cells, density=DENSITY)
    laid = np.pad(laid, ((0, DENSITY * _BAR), (0, 0), (0, 0))) if shared else laid
    for column, name in enumerate(names):
        centre = MARGIN + grid.corner(column)[0] + cell / 2
        _heading(figure, centre, top - 10 - told, name, cell)
        for n, line in enumerate(units[column - 1] if units and column else ()):
            write(figure, centre, top + 4 - told + 14 * n, line, size=SMALL, color=LIGHT.muted, ha="center")
    for r, row in enumerate(rows):
        y = grid.corner(r * len(names))[1]
        if row.label:
            write(figure, MARGIN, top + y - 11, fitted(row.label, grid.size[0], SMALL), size=SMALL)
        for column, (_, _, scale) in enumerate(row.maps, 1):
            if not shared or r == len(rows) - 1:
                _bar(figure, laid, (MARGIN, top), (grid.corner(column)[0], y + tall + 5), cell, scale)
    sheet(figure, MARGIN, top, laid, density=DENSITY, interpolation="auto")
    _foot(figure, bottom + 16, [scale for row in rows for _, _, scale in row.maps], by_column=bool(units))
    return figure


@painted
def layers_side_by_side(
    row: Row,
    *,
    columns: int | None = None,
    side: int = 128,
    alone: Collection[str] = (),
    title: str = "Layers side by side",
    subtitle: str = "",
) -> Figure:
    """One photograph and its maps at every layer, from the bottom up, in reading order.

    row      the photograph, its maps titled by layer, its label
    columns  pictures a row, the photograph included; None: as many as fit into 960 px
    alone    titles whose maps are shown without the photo
    """
    if not row.maps:
        raise VggVizError("layers side by side need the map of at least one layer; none came.")
    names = ["photo", *(name for name, _, _ in row.maps)]
    down = -(-len(names) // 7)
    columns = min(columns or -(-len(names) // down), len(names))
    cell = _cell([row], side, columns)
    cells = _cells(row, cell, alone=alone)
    tall = max(part.shape[0] for part in cells) // DENSITY
    above = 6 + 14 * max(len(_wrapped(name, cell)) for name in names)
    grid = Grid(len(cells), columns, cell, tall, gap=_GAP, above=above, below=_BAR)
    top = head(title=title, subtitle=subtitle) + (20 if row.label else 0)
    figure = _figure(grid, top + grid.size[1], title, subtitle)
    laid = lay(grid, cells, density=DENSITY)
    if row.label:
        write(figure, MARGIN, top - 8, fitted(row.label, grid.size[0], SMALL), size=SMALL)
    for n, name in enumerate(names):
        x, y = grid.corner(n)
        _heading(figure, MARGIN + x + cell / 2, top + y - 9, name, cell)
        if n:
            _bar(figure, laid, (MARGIN, top), (x, y + tall + 5), cell, row.maps[n - 1][2])
    sheet(figure, MARGIN, top, laid, density=DENSITY, interpolation="auto")
    _foot(figure, top + grid.size[1] + 16, [scale for _, _, scale in row.maps])
    return figure


def _cell(rows: Sequence[Row], side: int, columns: int) -> int:
    """Side of a cell [px]: near `side`, filled by whole pixels, and so that all columns fit."""
    room = (_WIDEST - 2 * MARGIN + _GAP) // columns - _GAP
    largest = max(max(row.photo.shape[:2]) for row in rows)
    return cell_side(largest, side, most=room, density=DENSITY)


def _cells(row: Row, cell: int, *, alone: Collection[str]) -> list[Array]:
    """The photo and its maps as colours, at the size of their cells; blended before enlarging, outlined after."""
    photo = np.asarray(row.photo, np.float32)
    pictures = [photo]
    for name, values, scale in row.maps:
        pictures.append(painted_map(values, scale)[..., :3] if name in alone else overlay(photo, values, scale))
    sized = [fit(picture, DENSITY * cell, DENSITY * cell) for picture in pictures]
    if row.mask is None:
        return sized
    mask = fit(np.asarray(row.mask, np.float32), DENSITY * cell, DENSITY * cell) > 0.5
    return [outlined(picture, mask, thickness=DENSITY) for picture in sized]


def _figure(grid: Grid, bottom: int, title: str, subtitle: str) -> Figure:
    return canvas(max(grid.size[0] + 2 * MARGIN, NARROW), bottom + 34, title=title, subtitle=subtitle)


def _heading(figure: Figure, x: float, y: float, name: str, cell: int) -> None:
    lines = _wrapped(name, cell)
    for n, line in enumerate(reversed(lines)):
        write(figure, x, y - 14 * n, line, size=SMALL, ha="center", weight="bold")


def _wrapped(name: str, cell: int, *, bold: bool = True) -> list[str]:
    """A name on one line, or at its best space on two."""
    room, words = cell + _GAP - 4, label(name, 60).split(" ")

    def width(part: str) -> float:
        return text_width(part, SMALL, bold=bold)

    if width(" ".join(words)) <= room or len(words) == 1:
        return [fitted(name, room, SMALL, bold=bold)]
    cuts = [(" ".join(words[:n]), " ".join(words[n:])) for n in range(1, len(words))]
    return [fitted(part, room, SMALL, bold=bold) for part in min(cuts, key=lambda cut: max(map(width, cut)))]


def _bar(
    figure: Figure, laid: Array, origin: tuple[int, int], place: tuple[int, int], width: int, scale: Scale
) -> None:
    """A small colour bar, painted on the sheet that holds the pictures: one image is drawn in a tenth of the time of a dozen.

    origin  of the sheet in the figure; place: of the bar on the sheet [px]
    """
    x, y = place
    ramp = (
        np.linspace(0, 1, DENSITY * width)
        if scale.high > scale.low
        else np.full(DENSITY * width, 0.5 if scale.signed else 0.0)
    )
    laid[DENSITY * y : DENSITY * (y + 7), DENSITY * x : DENSITY * (x + width)] = colours(scale)(ramp)[None]
    low, high = number(scale.low, digits=2), number(scale.high, digits=2)
    left, line = origin[0] + x, origin[1] + y + 15
    if low == high:
        write(figure, left + width / 2, line, f"all {low}", size=SMALL, color=LIGHT.muted, ha="center")
        return
    write(figure, left, line, low, size=SMALL, color=LIGHT.muted)
    write(figure, left + width, line, high, size=SMALL, color=LIGHT.muted, ha="right")


def _foot(figure: Figure, y: float, scales: list[Scale], *, by_column: bool = False) -> None:
    """What the colour bars mean, once for all: units (unless columns say theirs), the range, and how much lies beyond."""
    found = list(dict.fromkeys(label(scale.unit) for scale in scales))
    units = f" [{found[0]}]" if len(found) == 1 else "" if by_column else f" [{', '.join(found)}]"
    over = ", ".join(dict.fromkeys(label(scale.over, 60) for scale in scales))
    beyond = max(scale.clipped for scale in scales)
    text = f"colour bars{units}: range over {over}"
    room = size(figure)[0] - 2 * MARGIN
    for more in (
        (f"; up to {percent(beyond)} of the values lie beyond", f"; up to {percent(beyond)} beyond")
        if beyond > 0
        else ()
    ):
        if text_width(text + more, SMALL) <= room:  # a narrow figure has no place for the whole sentence
            text += more
            break
    write(figure, MARGIN, y, fitted(text, room, SMALL), size=SMALL, color=LIGHT.muted)
