"""Formats of boxes that lie beside pictures, one file each: found without being opened, read when a picture asks.

A format is a function `(place) -> Lookup | None`, registered by `@box_format("name")`: the place says which files may be about which
picture (`data/box_files.py`), the lookup what they say about one. They are asked in the order of their file names, and the first
that knows boxes of a picture is taken; a newcomer adds a file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vgg_viz.data.box_files import PictureFolder
from vgg_viz.registry import Registry


@dataclass(frozen=True, slots=True)
class Mark:
    """One box as its file says it: from (x0, y0) to (x1, y1) [px, or shares of the sides], edges and not pixels; label "" unnamed."""

    label: str
    x0: float
    y0: float
    x1: float
    y1: float


@dataclass(frozen=True, slots=True)
class Marked:
    """What one file says about one picture.

    Attributes:
        source: The file, to be named in a sentence.
        marks: In the file's order; none: the picture shows nothing.
        size: (width, height) of the picture by the file [px], None where it does not say.
        shares: Whether the corners are shares of the sides and not pixels.
    """

    source: str
    marks: tuple[Mark, ...]
    size: tuple[int, int] | None = None
    shares: bool = False


@dataclass(frozen=True, slots=True)
class Lookup:
    """A format at work in one place.

    Attributes:
        files: That belong to the format here, and are therefore no pictures that cannot be read.
        of: What they say about a picture, or None where they do not speak of it; raises BoxesRefused.
    """

    files: frozenset[Path]
    of: Callable[[Path], Marked | None]


Format = Callable[[PictureFolder], Lookup | None]
FORMATS: Registry[Format] = Registry("format of boxes", fill=__name__)


def box_format(name: str) -> Callable[[Format], Format]:
    """Register a format under `name`."""

    def register(function: Format) -> Format:
        return FORMATS.add(name, function)

    return register


def lookups(place: PictureFolder) -> tuple[Lookup, ...]:
    """All formats that have something to say here, in the order in which they are asked."""
    lookups_or_none = (make(place) for _, make in FORMATS.items())
    return tuple(lookup for lookup in lookups_or_none if lookup is not None)
