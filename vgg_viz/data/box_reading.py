"""Files of boxes as text and numbers, read as if a stranger had written them; and many boxes gathered picture by picture."""

from __future__ import annotations

import math
import stat
from collections.abc import Callable
from pathlib import Path

from vgg_viz.data.box_files import SPLITS, BoxTable, PictureFolder
from vgg_viz.data.boxes import Lookup, Mark, Marked
from vgg_viz.errors import BoxesRefused

MOST_ONE = 2**20  # bytes of a file about one picture
MOST_TABLE = 64 * 2**20  # bytes of a file about many: COCO's 5,000 validation pictures take 20 MB
MOST_MARKS = 10_000  # boxes of one picture
FARTHEST = 1e6  # [px]
LONGEST_LABEL = 200


def read_bounded(path: Path, name: str, most: int) -> bytes:
    """The bytes of a regular file of at most `most`; raises BoxesRefused before more than that is read."""
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise BoxesRefused(f"{name} is no regular file; a file of boxes was expected.")
        if about.st_size <= most:
            with path.open("rb") as stream:
                data = stream.read(most + 1)
            if len(data) <= most:
                return data
    except OSError as error:
        raise BoxesRefused(
            f"{name} cannot be read ({error.strerror or error}); a file of boxes was expected."
        ) from error
    raise BoxesRefused(
        f"{name} has {about.st_size:,} bytes, more than the {most:,} that are read; "
        "leave out what is no box (such as segmentations) or the pictures that are not here."
    )


def read_text(path: Path, name: str, most: int) -> str:
    """The same as text in UTF-8, with or without its mark."""
    data = read_bounded(path, name, most)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        fault = (
            "UTF-16"
            if data[:2] in (b"\xff\xfe", b"\xfe\xff")
            else f"the byte 0x{data[error.start]:02x} at {error.start}"
        )
        raise BoxesRefused(f"{name} is not UTF-8 ({fault}); save it as UTF-8.") from error


def parse_number(value: object, what: str) -> float:
    """A finite number of sane size; raises BoxesRefused, `what` being the file, the place in it and the name of the number."""
    plain = value.strip() if isinstance(value, str) else value
    try:
        # float() also takes "1_000", and True is a number to Python.
        number = math.nan if isinstance(plain, bool) or (isinstance(plain, str) and "_" in plain) else float(plain)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not abs(number) <= FARTHEST:
        raise BoxesRefused(
            f"{what} is {str(value)[:40]!r}; a number from {-FARTHEST:.0f} to {FARTHEST:.0f} was expected."
        )
    return number


def mark(label: object, corners: tuple[float, float, float, float], what: str) -> Mark:
    """A box from its corners; raises BoxesRefused where it has no area or its corners are the wrong way round."""
    x0, y0, x1, y1 = corners
    if not (x1 > x0 and y1 > y0):
        raise BoxesRefused(
            f"{what} goes from ({x0:g}, {y0:g}) to ({x1:g}, {y1:g}); the second corner must lie to the right of the first and below it."
        )
    return Mark(label.strip()[:LONGEST_LABEL] if isinstance(label, str) else "", x0, y0, x1, y1)


def claimed_size(width: object, height: object, what: str) -> tuple[int, int] | None:
    """(width, height) [px] as a file claims them; None where it leaves them out or writes 0."""
    if width in (None, "", 0, "0") or height in (None, "", 0, "0"):
        return None
    return round(parse_number(width, f"the width of {what}")), round(parse_number(height, f"the height of {what}"))


class Gathering:
    """Boxes of many pictures as a table names them, one by one; `lookup` of them when all are in."""

    def __init__(self, place: PictureFolder, table: BoxTable) -> None:
        self.place, self.table, self.source = place, table, place.shown(table.path)
        self._marks: dict[Path, list[Mark]] = {}
        self._sizes: dict[Path, tuple[int, int] | None] = {}
        self._refused: dict[Path, BoxesRefused] = {}
        self._meant: dict[str, list[Path]] = {}

    def add(self, name: str, read_marks: Callable[[], tuple[list[Mark], tuple[int, int] | None]]) -> None:
        """What the table says about one name; read only where the picture is here, and a refusal concerns that picture alone."""
        if name not in self._meant:
            self._meant[name] = self.place.named(name, self.table)
        meant = self._meant[name]
        if len(meant) > 1:
            self._refused.update(dict.fromkeys(meant, self.place.ambiguous(self.table, name, meant)))
        elif meant:
            try:
                marks, size = read_marks()
            except BoxesRefused as error:
                self._refused.setdefault(meant[0], error)
                return
            held = self._marks.setdefault(meant[0], [])
            held += marks
            before = self._sizes.setdefault(meant[0], size)
            if before != size:
                self.refuse(
                    meant[0], f"{self.source} gives two sizes for {self.place.shown(meant[0])}; one was expected."
                )
            if len(held) > MOST_MARKS:
                self.refuse(
                    meant[0], f"{self.source} holds more than {MOST_MARKS:,} boxes for {self.place.shown(meant[0])}."
                )

    def refuse(self, picture: Path, sentence: str) -> None:
        """Count a picture as one without boxes, for this reason."""
        self._refused.setdefault(picture, BoxesRefused(sentence))

    def found(self) -> dict[Path, Marked | BoxesRefused]:
        """{picture: its boxes, or why there are none}; raises BoxesRefused where a table names pictures and all are strangers."""
        expected = not self.table.strict or self.place.root.name.lower() in SPLITS
        if self._meant and not any(self._meant.values()) and expected:
            first = next(iter(self._meant))
            raise BoxesRefused(
                f"{self.source} names no picture of this folder, but {len(self._meant):,} others (the first is {first[:80]!r}); "
                "write their paths below the folder."
            )
        held: dict[Path, Marked | BoxesRefused] = {
            picture: Marked(self.source, tuple(marks), self._sizes[picture]) for picture, marks in self._marks.items()
        }
        return held | self._refused


def from_tables(
    place: PictureFolder,
    tables: list[BoxTable],
    read_table: Callable[[PictureFolder, BoxTable], dict[Path, Marked | BoxesRefused]],
) -> Lookup | None:
    """A lookup over tables, each read once, when the first picture asks; the first that knows a picture is taken."""
    if not tables:
        return None
    held: dict[Path, dict[Path, Marked | BoxesRefused] | BoxesRefused] = {}

    def of(picture: Path) -> Marked | None:
        refused = None
        for table in tables:
            if table.path not in held:
                try:
                    held[table.path] = read_table(place, table)
                except BoxesRefused as error:
                    held[table.path] = error
            known = held[table.path]
            if isinstance(known, BoxesRefused):
                refused = refused or known
            elif picture in known:
                return _or_raised(known[picture])
        if refused is not None:
            raise refused
        return None

    return Lookup(frozenset(table.path for table in tables), of)


def from_files(
    files: dict[Path, Path | BoxesRefused], read_file: Callable[[Path], Marked], beside: tuple[Path, ...] = ()
) -> Lookup | None:
    """A lookup over files that are about one picture each; `beside`: further files of the format."""
    if not files:
        return None

    def of(picture: Path) -> Marked | None:
        path = files.get(picture)
        if isinstance(path, BoxesRefused):
            raise path
        return None if path is None else read_file(path)

    return Lookup(frozenset({*(path for path in files.values() if isinstance(path, Path)), *beside}), of)


def _or_raised(found: Marked | BoxesRefused) -> Marked:
    if isinstance(found, BoxesRefused):
        raise found
    return found
