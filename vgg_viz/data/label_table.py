"""A table of labels beside pictures, `labels.csv`: for pictures with several labels or none, and for values that scores should have.

    file,labels              file,effusion,mass          file,age
    a.png,effusion|mass      a.png,1,1                   a.png,34.5
    b.png,                   b.png,0,                    b.png,61

Labels in one cell stand between | or ;. In columns of their own, 1 says yes, 0 says no, and nothing or -1 that nobody knows.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vgg_viz.data.box_reading import MOST_TABLE, read_text
from vgg_viz.data.class_matching import keys
from vgg_viz.errors import BoxesRefused, DataRefused, ImageRefused
from vgg_viz.maths.fitting import fit
from vgg_viz.maths.images import decode
from vgg_viz.number_text import listed
from vgg_viz.records import Batch, Resize
from vgg_viz.safe_text import shorten

NAME = "labels.csv"
PARTS = ("test", "val", "valid", "validation")  # where it is looked for after the folder itself
FILES = ("file", "filename", "file_name", "image", "path", "image index", "image_path", "image_id")
LABELS = ("labels", "label", "finding labels", "classes", "class", "tags")
NOTHING = ("", "none", "no finding", "no findings", "nothing")
YES, NO, UNKNOWN = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no"), ("", "-1", "-1.0", "nan", "?")
EXAMPLE = "a first line such as file,labels or file,{} was expected"


@dataclass(frozen=True, slots=True)
class LabelTable:
    """What a table says, its pictures not opened yet.

    Attributes:
        file: The table.
        pictures: Names as they stand in it.
        targets: (N, K) of the network's outputs: 1 and 0, NaN where nobody knows; or values.
        skipped: Rows left out: (name, why).
    """

    file: Path
    pictures: tuple[str, ...]
    targets: Tensor
    skipped: tuple[tuple[str, str], ...] = ()


def find_table(data: Path) -> Path | None:
    """The table of a folder, in it or in its held-out part; a path to a .csv file itself; None where there is none."""
    if data.suffix.lower() == ".csv" and data.is_file():
        return data
    return next((place / NAME for place in (data, *(data / part for part in PARTS)) if (place / NAME).is_file()), None)


def read_table(file: Path, classes: Sequence[str], *, values: bool = False) -> LabelTable:
    """A table read for a network's outputs.

    Args:
        file: Of the table.
        classes: Names of the outputs.
        values: Whether cells are values that scores should have, and no yes or no.

    Raises:
        DataRefused: For what is no such table, and for a label that the network does not know.
    """
    try:
        rows = csv.reader(io.StringIO(read_text(file, file.name, MOST_TABLE), newline=""), strict=True)
        header = [cell.strip() for cell in next(rows, [])]
        lines = [(rows.line_num, [cell.strip() for cell in row]) for row in rows if any(cell.strip() for cell in row)]
    except (BoxesRefused, csv.Error) as error:
        why = str(error).rstrip(".")
        raise DataRefused(f"{file.name!r} cannot be read as a table of labels ({why}).") from None
    reader = _Columns.of(header, classes, file.name, values=values)
    pictures, targets, skipped = [], [], []
    for number, row in lines:
        name = row[reader.file] if reader.file < len(row) else ""
        if len(row) != len(header):
            skipped.append((name, f"line {number} of {file.name} has {len(row)} cells; the header has {len(header)}."))
            continue
        pictures.append(name)
        targets.append(reader.targets(row, f"line {number} of {file.name!r}"))
    if not pictures:
        raise DataRefused(f"{file.name!r} names no picture; {EXAMPLE.format(classes[0])}, and a line for each picture.")
    return LabelTable(file, tuple(pictures), torch.tensor(targets), tuple(skipped))


@dataclass(frozen=True, slots=True)
class _Columns:
    """Which column says what: names in one cell, or a column for each output."""

    file: int
    classes: tuple[str, ...]
    named: int | None
    outputs: dict[int, int]  # {column: output}
    values: bool

    @classmethod
    def of(cls, header: list[str], classes: Sequence[str], name: str, *, values: bool) -> _Columns:
        small = [cell.lower() for cell in header]
        example = EXAMPLE.format(classes[-1])
        file = next((small.index(title) for title in FILES if title in small), None)
        if file is None:
            raise DataRefused(f"{name!r} has no column of files; {example}.")
        outputs = {}
        for output, title in enumerate(classes):
            columns = [i for i, cell in enumerate(header) if i != file and keys(cell) & keys(title)]
            if len(columns) == 1:
                outputs[columns[0]] = output
        rest = [i for i in range(len(header)) if i != file]
        if values and len(classes) == 1 and len(rest) == 1:
            outputs = {rest[0]: 0}
        named = next((small.index(title) for title in LABELS if title in small and small.index(title) != file), None)
        if not outputs and (named is None or values):
            raise DataRefused(f"no column of {name!r} is called like one of the outputs ({_few(classes)}); {example}.")
        return cls(file, tuple(classes), None if outputs else named, outputs, values)

    def targets(self, row: list[str], where: str) -> list[float]:
        if self.named is not None:
            return self._of_names(row[self.named], where)
        found = [math.nan] * len(self.classes)
        for column, output in self.outputs.items():
            found[output] = _value(row[column], where) if self.values else _yes_or_no(row[column], where)
        return found

    def _of_names(self, cell: str, where: str) -> list[float]:
        found = [0.0] * len(self.classes)
        parts = [cell] if self._output(cell) is not None else cell.replace(";", "|").split("|")
        for part in parts:
            output = self._output(part)
            if output is not None:
                found[output] = 1.0
            elif part.strip().lower() not in NOTHING:
                raise DataRefused(
                    f"{where} has the label {part.strip()[:60]!r}, which the network does not know; it knows {_few(self.classes)}."
                )
        return found

    def _output(self, name: str) -> int | None:
        exact = [i for i, known in enumerate(self.classes) if known == name.strip()]
        alike = exact or [i for i, known in enumerate(self.classes) if keys(known) & keys(name)]
        return alike[0] if len(alike) == 1 else None


def _yes_or_no(cell: str, where: str) -> float:
    word = cell.lower()
    if word in UNKNOWN:
        return math.nan
    if word not in YES + NO:
        raise DataRefused(f"{where} says {cell[:40]!r} of a label; 1, 0, or nothing where nobody knows, was expected.")
    return float(word in YES)


def _value(cell: str, where: str) -> float:
    if cell.lower() in ("", "nan", "?"):
        return math.nan
    try:
        value = float(cell)
    except ValueError:
        value = math.inf
    if not abs(value) < 1e30:
        raise DataRefused(f"{where} says {cell[:40]!r}; a number was expected.")
    return value


def one_label_each(table: LabelTable) -> LabelTable:
    """The table of a network that gives each picture one class: rows with several labels or none are left out.

    Of two classes, a column for one says what the other is.
    """
    targets = table.targets.clone()
    if targets.shape[1] == 2:
        targets = targets.where(~targets.isnan(), 1 - targets.flip(1))
    fits = (targets == 1).sum(1) == 1
    skipped = tuple(
        (
            name,
            f"{name} has {int((row == 1).sum())} labels in {table.file.name}; the network gives each picture one class.",
        )
        for name, row, good in zip(table.pictures, targets, fits.tolist(), strict=True)
        if not good
    )
    kept = fits.nonzero().flatten().tolist()
    if not kept:
        raise DataRefused(
            f"no picture of {table.file.name!r} has exactly one label; the network gives each picture one class."
        )
    return LabelTable(
        table.file,
        tuple(table.pictures[index] for index in kept),
        targets[kept].nan_to_num(0),
        (*table.skipped, *skipped),
    )


def read_pictures(table: LabelTable, *, image_side: int | Resize, limit: int | None = None, seed: int = 0) -> Batch:
    """The pictures of a table, each resized on its shorter side and cropped to the centre square; what is broken is named.

    Args:
        table: As `read_table` gives it.
        image_side: As in `data.folder.read_folder`.
        limit: At most this many, drawn by `seed`.
        seed: Of the choice.

    Raises:
        DataRefused: No picture can be read.
    """
    order = np.random.default_rng(seed).permutation(len(table.pictures))[:limit].tolist()
    images, kept, skipped = [], [], list(table.skipped)
    for index in sorted(order):
        name = table.pictures[index]
        try:
            images.append(fit(decode(_place(table.file.parent, name), name=name), image_side))
        except ImageRefused as error:
            skipped.append((name, str(error)))
        else:
            kept.append(index)
    if not kept:
        raise DataRefused(
            f"none of the {len(order):,} pictures that {table.file.name!r} names can be read; the first: {skipped[0][1]}"
        )
    names = tuple(table.pictures[index] for index in kept)
    return Batch(torch.stack(images), None, names, skipped=tuple(skipped), targets=table.targets[kept])


def _place(folder: Path, name: str) -> Path:
    """The picture's file: below the table's folder, or in its folder `images`; nowhere else, whatever the table says."""
    if not name or Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name:
        raise ImageRefused(f"{name!r} is no place below the table's folder.")
    return next((place for place in (folder / name, folder / "images" / name) if place.is_file()), folder / name)


def _few(names: Sequence[str]) -> str:
    few = [shorten(name) for name in names[:5]]
    return listed(few) if len(names) <= 5 else f"{', '.join(few)}, ..."
