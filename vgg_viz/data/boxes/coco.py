"""COCO's instances: one JSON about many pictures, bbox = [x, y, width, height] in pixels from the top left corner.

Segmentations are not read, and crowds (`iscrowd`) are left out, as COCO's own evaluation leaves them out.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vgg_viz.data.box_files import BoxTable, PictureFolder
from vgg_viz.data.box_reading import MOST_TABLE, Gathering, claimed_size, from_tables, mark, parse_number, read_text
from vgg_viz.data.boxes import Lookup, Mark, Marked, box_format
from vgg_viz.errors import BoxesRefused

NAMES = ("boxes.json", "annotations.json", "instances*.json", "_annotations.coco.json")


@box_format("coco")
def coco(place: PictureFolder) -> Lookup | None:
    """The JSON files of a place."""
    return from_tables(place, place.tables(*NAMES), _read)


def _read(place: PictureFolder, table: BoxTable) -> dict[Path, Marked | BoxesRefused]:
    name = place.shown(table.path)
    text = read_text(table.path, name, MOST_TABLE)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else type(error).__name__
        raise BoxesRefused(f"{name} is no JSON that can be read ({where}); COCO's instances were expected.") from error
    if not isinstance(content, dict) or not all(_rows(content.get(part)) for part in ("images", "annotations")):
        raise BoxesRefused(
            f'{name} has no lists "images" and "annotations" of objects; COCO\'s instances were expected.'
        )
    labels = {}
    for row in content["categories"] if _rows(content.get("categories")) else ():
        if _is_id(row.get("id")) and isinstance(row.get("name"), str):
            labels[row["id"]] = row["name"]
    pictures: dict[int | str, dict[str, Any]] = {}
    twice: set[str] = set()
    files: set[str] = set()
    for row in content["images"]:
        key, file = row.get("id"), row.get("file_name")
        if not _is_id(key) or not isinstance(file, str):
            raise BoxesRefused(
                f'{name} lists a picture with the id {str(key)[:40]!r}; every one needs an "id" and a "file_name".'
            )
        if key in pictures:
            raise BoxesRefused(f"{name} gives the id {str(key)[:40]!r} to two pictures; ids must be their own.")
        twice |= {file} & files
        files.add(file)
        pictures[key] = row
    gathering = Gathering(place, table)
    for row in pictures.values():
        gathering.add(row["file_name"], lambda row=row: ([], _size(row, name)))  # type: ignore[misc]
    for index, row in enumerate(content["annotations"]):
        picture = pictures.get(row["image_id"]) if _is_id(row.get("image_id")) else None
        if picture is None or row.get("iscrowd") in (1, True):
            continue
        category = row.get("category_id")
        label = labels.get(category, "") if _is_id(category) else ""

        def marks(
            row: dict[str, Any] = row, picture: dict[str, Any] = picture, label: str = label, index: int = index
        ) -> tuple[list[Mark], tuple[int, int] | None]:
            return [_mark(row, label, f"annotation {index + 1} of {name}")], _size(picture, name)

        gathering.add(picture["file_name"], marks)
    for file in sorted(twice):
        for path in place.named(file, table):
            gathering.refuse(path, f"{name} lists {file[:80]!r} twice among its pictures; one entry was expected.")
    return gathering.found()


def _size(row: dict[str, Any], name: str) -> tuple[int, int] | None:
    return claimed_size(row.get("width"), row.get("height"), f"{row['file_name'][:80]!r} in {name}")


def _mark(row: dict[str, Any], label: str, what: str) -> Mark:
    box = row.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        raise BoxesRefused(f"{what} has the bbox {str(box)[:60]}; [x, y, width, height] was expected.")
    if any(isinstance(value, str) for value in box):
        raise BoxesRefused(f"{what} has text in its bbox ({str(box)[:60]}); four numbers were expected.")
    x, y, width, height = (parse_number(value, f"a number in the bbox of {what}") for value in box)
    if not (width > 0 and height > 0):
        raise BoxesRefused(
            f"{what} is {width:g} wide and {height:g} high; a bbox is [x, y, width, height], the last two above 0."
        )
    return mark(label, (x, y, x + width, y + height), what)


def _rows(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(row, dict) for row in value)


def _is_id(value: object) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)
