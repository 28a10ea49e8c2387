"""A plain table `boxes.csv`: file,x1,y1,x2,y2[,label], one box a row, corners in pixels from the top left; a header is required.

The spelling of the object detection tutorials is understood as well: filename,width,height,class,xmin,ymin,xmax,ymax.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from vgg_viz.data.box_files import BoxTable, PictureFolder
from vgg_viz.data.box_reading import MOST_TABLE, Gathering, claimed_size, from_tables, mark, parse_number, read_text
from vgg_viz.data.boxes import Lookup, Mark, Marked, box_format
from vgg_viz.errors import BoxesRefused

SPELLINGS = {
    "file": ("file", "filename", "image", "path"),
    "label": ("label", "class", "name"),
    "width": ("width",),
    "height": ("height",),
    "x1": ("x1", "xmin"),
    "y1": ("y1", "ymin"),
    "x2": ("x2", "xmax"),
    "y2": ("y2", "ymax"),
}
NEEDED = ("file", "x1", "y1", "x2", "y2")


@box_format("csv")
def csv_table(place: PictureFolder) -> Lookup | None:
    """The `boxes.csv` of a place."""
    return from_tables(place, place.tables("boxes.csv"), _read)


def _read(place: PictureFolder, table: BoxTable) -> dict[Path, Marked | BoxesRefused]:
    name = place.shown(table.path)
    rows = csv.reader(io.StringIO(read_text(table.path, name, MOST_TABLE), newline=""), strict=True)
    gathering = Gathering(place, table)
    try:
        header = next(rows, [])
        at = _columns(header, name)
        for row in rows:
            if any(cell.strip() for cell in row):
                line = rows.line_num
                file = row[at["file"]].strip() if at["file"] < len(row) else ""
                gathering.add(file, lambda row=row, line=line: _row(row, at, len(header), f"line {line} of {name}"))  # type: ignore[misc]
    except csv.Error as error:
        raise BoxesRefused(
            f"{name} is no table (line {rows.line_num}: {error}); cells between commas were expected."
        ) from error
    return gathering.found()


def _columns(header: list[str], name: str) -> dict[str, int]:
    """Where each column stands."""
    titles = [cell.strip().lower() for cell in header]
    at = {}
    for column, spellings in SPELLINGS.items():
        places = [i for i, cell in enumerate(titles) if cell in spellings]
        if len(places) > 1:
            raise BoxesRefused(f"{name} has {len(places)} columns for {column!r}; one was expected.")
        if places:
            at[column] = places[0]
    if missing := [column for column in NEEDED if column not in at]:
        came = ",".join(header)[:80]
        raise BoxesRefused(
            f"the first line of {name} is {came!r}, without {', '.join(missing)}; the header file,x1,y1,x2,y2 (and label) was expected."
        )
    return at


def _row(row: list[str], at: dict[str, int], width: int, what: str) -> tuple[list[Mark], tuple[int, int] | None]:
    if len(row) != width:
        raise BoxesRefused(f"{what} has {len(row)} cells; the header has {width}.")
    size = (
        claimed_size(row[at["width"]].strip(), row[at["height"]].strip(), what)
        if {"width", "height"} <= set(at)
        else None
    )
    corners = [row[at[column]].strip() for column in NEEDED[1:]]
    if not any(corners):  # the picture is listed, and shows nothing
        return [], size
    x1, y1, x2, y2 = (
        parse_number(value, f"{column} in {what}") for value, column in zip(corners, NEEDED[1:], strict=True)
    )
    return [mark(row[at["label"]] if "label" in at else "", (x1, y1, x2, y2), f"the box in {what}")], size
