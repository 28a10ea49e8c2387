"""Pascal VOC's XML, one file a picture: in `Annotations/` or `boxes/`, or beside the picture.

VOC counts pixels from 1 and includes the last: xmin 1 and xmax 3 are three pixels, from edge 0 to edge 3.
"""

from __future__ import annotations

from pathlib import Path
from xml.parsers import expat

from vgg_viz.data.box_files import PictureFolder
from vgg_viz.data.box_reading import MOST_MARKS, MOST_ONE, claimed_size, from_files, mark, parse_number, read_bounded
from vgg_viz.data.boxes import Lookup, Marked, box_format
from vgg_viz.errors import BoxesRefused

ROOMS = ("boxes", "Annotations", "annotations")
DEEPEST = 32
LONGEST = 1000  # letters of one value


@box_format("pascal_voc")
def pascal_voc(place: PictureFolder) -> Lookup | None:
    """The XML files of a place."""
    files = place.files_of_pictures(ROOMS, ".xml", beside=True)
    return from_files(files, lambda path: _read(path, place.shown(path)))


def _read(path: Path, name: str) -> Marked:
    size, objects = _told(read_bounded(path, name, MOST_ONE), name)
    marks = []
    for index, values in enumerate(objects, start=1):
        what = f"object {index} of {name}"
        if missing := [corner for corner in ("xmin", "ymin", "xmax", "ymax") if corner not in values]:
            raise BoxesRefused(f"{what} has no {', '.join(missing)}; a bndbox of four corners was expected.")
        x0, y0, x1, y1 = (
            parse_number(values[corner], f"{corner} of {what}") for corner in ("xmin", "ymin", "xmax", "ymax")
        )
        if x1 < x0 or y1 < y0:
            raise BoxesRefused(
                f"{what} goes from ({x0:g}, {y0:g}) to ({x1:g}, {y1:g}); xmax and ymax must not be the smaller ones."
            )
        marks.append(mark(values.get("name", ""), (x0 - 1, y0 - 1, x1, y1), what))
    return Marked(name, tuple(marks), claimed_size(size.get("width"), size.get("height"), name))


def _told(data: bytes, name: str) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Size and objects as texts. Nothing is expanded: a DOCTYPE is refused where it begins, so no entity is ever declared."""
    parser = expat.ParserCreate()
    path: list[str] = []
    size: dict[str, str] = {}
    objects: list[dict[str, str]] = []
    letters: list[str] = []

    def doctype(*_told: object) -> None:
        raise BoxesRefused(f"{name} declares a DOCTYPE, which may hide anything; plain XML of Pascal VOC was expected.")

    def start(tag: str, _attributes: dict[str, str]) -> None:
        path.append(tag)
        letters.clear()
        if len(path) > DEEPEST:
            raise BoxesRefused(f"{name} nests more than {DEEPEST} elements; Pascal VOC's three or four were expected.")
        if len(path) == 1 and tag != "annotation":
            raise BoxesRefused(f"{name} begins with <{tag[:40]}>; Pascal VOC's <annotation> was expected.")
        if path == ["annotation", "object"]:
            objects.append({})
            if len(objects) > MOST_MARKS:
                raise BoxesRefused(f"{name} holds more than {MOST_MARKS:,} objects.")

    def text(data: str) -> None:
        if sum(map(len, letters)) < LONGEST:
            letters.append(data)

    def end(tag: str) -> None:
        value = "".join(letters).strip()
        # Parts of an object (heads, hands) have boxes too, which lie deeper and are not the object's.
        if path[:-1] == ["annotation", "size"]:
            size[tag] = value
        elif path[:-1] in (["annotation", "object", "bndbox"], ["annotation", "object"]) and tag != "bndbox":
            if tag in objects[-1]:
                raise BoxesRefused(f"object {len(objects)} of {name} has two of {tag[:40]!r}; one was expected.")
            objects[-1][tag] = value
        path.pop()
        letters.clear()

    parser.StartDoctypeDeclHandler = doctype
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise BoxesRefused(
            f"{name} is no XML that can be read ({str(error)[:80]}); Pascal VOC's was expected."
        ) from error
    return size, objects
