"""Files of facts read as if a stranger had written them: bounded before room is made, refused in a sentence."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from vgg_viz.errors import MapRefused

MOST_TEXT = 2**22  # bytes of facts in one file
MOST_NUMBER = 1e15

Fields = Mapping[str, tuple[type, ...]]


def read_json(path: Path, fields: Fields) -> dict[str, Any]:
    """The JSON object in the file at `path`, as `parse_json` takes it; raises MapRefused."""
    return parse_json(read_bytes(path, MOST_TEXT), fields, path)


def parse_json(content: bytes, fields: Fields, path: Path) -> dict[str, Any]:
    """A JSON object with at least `fields`, each of one of its types (a bool is no number).

    Args:
        content: The bytes.
        fields: What it must hold, and of which types.
        path: Where it was found, for the refusal.

    Raises:
        MapRefused: The file cannot be used.
    """
    try:
        facts = json.loads(content.decode("utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise refused(path, f"it is no JSON: {str(error)[:80]}") from None
    if not isinstance(facts, dict):
        raise refused(path, "it holds no facts by name")
    for name, types in fields.items():
        value = facts.get(name)
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise refused(path, f"{name!r} is missing or of another kind")
        if isinstance(value, int | float) and not abs(value) < MOST_NUMBER:
            raise refused(path, f"{name!r} is no number that can be")
    return facts


def read_bytes(path: Path, most: int) -> bytes:
    """The bytes of a regular file of at most `most`; raises MapRefused."""
    try:
        if not path.is_file():  # a pipe would wait for ever
            raise refused(path, "it is not there, or no regular file")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            content = file.read(size) if size <= most else b""  # Python makes all the room that it is asked for
    except OSError as error:
        raise refused(path, str(error.strerror)) from None
    if size > most:
        raise refused(path, f"it is larger than {most >> 20} MB")
    return content


def refused(path: Path, why: str) -> MapRefused:
    """The refusal of a file, by its name: a name that is no text is shown with backslashes."""
    name = path.name.encode("utf-8", "backslashreplace").decode()[:100]
    return MapRefused(f"{name!r} cannot be used ({' '.join(why.split())}); make the report again.")


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")
