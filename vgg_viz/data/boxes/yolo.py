"""YOLO's labels, one text a picture in `labels/`: class, centre x, centre y, width, height, as shares of the picture's sides.

Classes are numbers; their names are read from classes.txt, obj.names or data.yaml beside the labels, where one lies there.
"""

from __future__ import annotations

import re
from pathlib import Path

from vgg_viz.data.box_files import PictureFolder
from vgg_viz.data.box_reading import MOST_MARKS, MOST_ONE, from_files, mark, parse_number, read_text
from vgg_viz.data.boxes import Lookup, Marked, box_format
from vgg_viz.errors import BoxesRefused

ROOMS = ("labels",)
LISTS = ("classes.txt", "obj.names", "data.yaml", "data.yml")
ROUNDING = 1e-3  # how far six decimals, or an annotator's hand, may reach beyond the picture, as a share


@box_format("yolo")
def yolo(place: PictureFolder) -> Lookup | None:
    """The texts in `labels/` of a place."""
    files = {picture: path for picture, path in place.files_of_pictures(ROOMS, ".txt").items() if not _is_list(path)}
    lists = _lists(place, [path for path in files.values() if isinstance(path, Path)])
    held: list[tuple[str, ...]] = []

    def read(path: Path) -> Marked:
        if not held:
            held.append(_names(lists[0], place.shown(lists[0])) if lists else ())
        return _read(path, place.shown(path), held[0])

    return from_files(files, read, tuple(lists))


def _is_list(path: Path | BoxesRefused) -> bool:
    return isinstance(path, Path) and path.name in LISTS


def _lists(place: PictureFolder, files: list[Path]) -> list[Path]:
    """Where the classes' names may stand: with the labels, or in a folder above them, up to that around the pictures."""
    tops = (place.root.parent.parent, place.root.parent, place.root)
    folders = [
        folder for file in files[:1] for folder in file.parents if any(folder.is_relative_to(top) for top in tops)
    ]
    return [folder / name for folder in folders for name in LISTS if (folder / name).is_file()]


def _read(path: Path, name: str, names: tuple[str, ...]) -> Marked:
    marks = []
    for index, line in enumerate(read_text(path, name, MOST_ONE).splitlines(), start=1):
        cells = line.split()
        what = f"line {index} of {name}"
        if not cells:
            continue
        if len(cells) != 5:
            raise BoxesRefused(
                f"{what} has {len(cells)} values; class, centre x, centre y, width and height were expected."
            )
        number_of_class = parse_number(cells[0], f"the class in {what}")
        if number_of_class < 0 or number_of_class != int(number_of_class):
            raise BoxesRefused(f"the class in {what} is {cells[0][:40]!r}; a number of a class from 0 was expected.")
        x, y, width, height = (parse_number(cell, f"a value in {what}") for cell in cells[1:])
        corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        if width > 0 and height > 0 and not all(-ROUNDING <= value <= 1 + ROUNDING for value in corners):
            raise BoxesRefused(
                f"{what} reaches from ({corners[0]:.3g}, {corners[1]:.3g}) to ({corners[2]:.3g}, {corners[3]:.3g}); "
                "shares of the picture's sides, from 0 to 1, were expected."
            )
        if not (width > 0 and height > 0):
            raise BoxesRefused(f"{what} is {width:g} wide and {height:g} high; shares above 0 were expected.")
        label = names[int(number_of_class)] if number_of_class < len(names) else ""
        marks.append(mark(label, corners, what))
        if len(marks) > MOST_MARKS:
            raise BoxesRefused(f"{name} holds more than {MOST_MARKS:,} boxes.")
    return Marked(name, tuple(marks), shares=True)


def _names(path: Path, name: str) -> tuple[str, ...]:
    """The classes' names in the order of their numbers; () where the file does not say them in a way that is known."""
    text = read_text(path, name, MOST_ONE)
    if path.suffix not in (".yaml", ".yml"):
        return tuple(line.strip() for line in text.splitlines() if line.strip())
    # Only the first is looked at: a search that begins anew at each of a hundred thousand would never end.
    key = re.search(r"^names:[ \t]*", text, re.MULTILINE)
    rest = "" if key is None else text[key.end() :]
    if rest.startswith("["):
        listed, closed, _ = rest[1:].partition("]")
        return tuple(_bare(item) for item in listed.split(",") if item.strip()) if closed else ()
    block = re.match(r"(?:#.*)?\n((?:[ \t]*(?:-|\d+:)[ \t]*.*\n?)+)", rest)
    if not block:
        return ()
    items = re.findall(r"^[ \t]*(-|\d+:)[ \t]*(.*)$", block[1], re.MULTILINE)
    if all(key == "-" or int(key[:-1]) == index for index, (key, _) in enumerate(items) if len(key) < 9):
        return tuple(_bare(value) for _, value in items)
    return ()


def _bare(item: str) -> str:
    return item.split(" #")[0].strip().strip("\"'")
