"""Files of arrays and of facts, read as if a stranger had written them: bounded before room is made, refused in a sentence."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn
from zlib import error as DeflateError

import numpy as np

from vgg_viz.errors import ReceiptRefused

MOST_BYTES = 2**28  # of the arrays in one file: 64 maps of 1024 x 1024 are this many
MOST_WORDS = 2**22  # of text in one file
MOST_NUMBER = 1e15
# What numpy writes before an array, to the letter: nothing in it has to be evaluated.
HEADER = re.compile(rb"\x93NUMPY\x01\x00..\{'descr': '([<|\w]{3})', 'fortran_order': False, 'shape': \(([\d, ]*)\), \} *\n", re.DOTALL)
LONGEST_HEADER = 256

Kinds = Mapping[str, tuple[str, int]]


def told_in(path: Path, fields: Mapping[str, tuple[type, ...]]) -> dict[str, Any]:
    """The JSON object at `path`, with at least `fields`, each of one of its types (a bool is no number).

    raises  ReceiptRefused
    """
    try:
        told = json.loads(content_of(path, MOST_WORDS).decode("utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise _refused(path, f"it is no JSON: {str(error)[:80]}") from None
    if not isinstance(told, dict):
        raise _refused(path, "it holds no facts by name")
    for name, types in fields.items():
        value = told.get(name)
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise _refused(path, f"{name!r} is missing or of another kind")
        if isinstance(value, int | float) and not abs(value) < MOST_NUMBER:
            raise _refused(path, f"{name!r} is no number that can be")
    return told


def arrays_of(path: Path, kinds: Kinds, *, sha256: object = None) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of an npz file by name.

    kinds   name -> type as numpy writes it, such as "<f4", and number of axes; no other array may be there
    sha256  of the whole file, where it is known
    Nothing is unpickled, not even by mistake: the bytes become numbers of the expected type.
    raises  ReceiptRefused before room is made for what the file only claims to hold
    """
    content = content_of(path, MOST_BYTES)
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise _refused(path, "its checksum is not the one that its facts tell")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            if len(set(names)) != len(names) or not set(names) <= {f"{name}.npy" for name in kinds}:
                raise _refused(path, "it holds arrays that have no place there")
            if sum(entry.file_size for entry in entries) > MOST_BYTES:
                raise _refused(path, f"it claims more than {MOST_BYTES >> 20} MB")
            return {entry.filename[:-4]: _array(path, archive, entry, *kinds[entry.filename[:-4]]) for entry in entries}
    except (zipfile.BadZipFile, DeflateError, EOFError, NotImplementedError, RuntimeError, ValueError, OSError) as error:
        raise _refused(path, f"it cannot be unpacked: {str(error)[:80]}") from None


def _array(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, kind: str, axes: int) -> np.ndarray[Any, Any]:
    """One array, whose header must say what is expected and how long it is before its bytes are read."""
    name = entry.filename.removesuffix(".npy")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise _refused(path, f"the array {name!r} in it is packed in an unknown way")
    with archive.open(entry) as opened:
        head = HEADER.match(opened.read(LONGEST_HEADER))
        shape = tuple(int(side) for side in head[2].decode().split(",") if side.strip()) if head and len(head[2]) < 64 else ()
        expected = math.prod(shape) * np.dtype(kind).itemsize
        if not head or head[1].decode() != kind or len(shape) != axes or entry.file_size != head.end() + expected:
            raise _refused(path, f"the array {name!r} in it is not what was expected")
    with archive.open(entry) as opened:
        content = opened.read()  # to its end: then the checksum is looked at
    if len(content) != entry.file_size:
        raise _refused(path, f"the array {name!r} in it is cut off")
    return np.frombuffer(content, dtype=kind, offset=head.end()).reshape(shape).copy()


def content_of(path: Path, most: int) -> bytes:
    """The bytes of a regular file of at most `most`; raises ReceiptRefused."""
    try:
        if not path.is_file():  # a pipe would wait for ever
            raise _refused(path, "it is not there, or no regular file")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            content = file.read(size) if size <= most else b""  # Python makes all the room that it is asked for
    except OSError as error:
        raise _refused(path, str(error.strerror)) from None
    if size > most:
        raise _refused(path, f"it is larger than {most >> 20} MB")
    return content


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def _refused(path: Path, why: str) -> ReceiptRefused:
    """The refusal of a file, by its name: a name that is no text is shown with backslashes."""
    name = path.name.encode("utf-8", "backslashreplace").decode()[:100]
    return ReceiptRefused(f"{name!r} cannot be used ({why}); make the report again.")
