"""Which shortcut is suspected: said by the user, or read from what `audit` found or `data shapes` planted."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vgg_viz.data.shortcuts import from_provenance, truth
from vgg_viz.errors import InputRefused, UnknownName
from vgg_viz.shortcuts.region import Region
from vgg_viz.shortcuts.region_text import parse_region, region_of
from vgg_viz.studies.request import RunRequest

MOST = 4  # suspects of one file that are tested
LARGEST_FILE = 20_000_000  # bytes


@dataclass(frozen=True, slots=True)
class Suspect:
    """A region that may give a class away.

    index, name  of the class
    origin       who says so, in one phrase
    pictures     how many an audit looked at that told it; None where no audit did
    """

    region: Region
    index: int
    name: str
    origin: str
    pictures: int | None = None


def suspects(request: RunRequest, classes: Sequence[str], side: int) -> tuple[Suspect, ...]:
    """The suspects that a request names: its region of a class, and those in its file of findings; () where it names none.

    Raises:
        InputRefused: A region without a class, a class without a region, or a file of no findings.
        UnknownName: The class is none of `classes`.
    """
    region, name, file = request.region, request.class_name, request.findings
    if (region is None) != (name is None):
        given, lacking = ("--region", "--class NAME") if region is not None else ("--class", "--region x0,y0,x1,y1")
        raise InputRefused(f"{given} came without {lacking}; a shortcut is a region of one class, give both.")
    found = []
    if region is not None and name is not None:
        found.append(Suspect(parse_region(region, side), _index(name, classes), name, "named with --region"))
    return (*found, *(_of_file(Path(file), classes, side) if file is not None else ()))


def planted_suspects(data: Mapping[str, Any], classes: Sequence[str], side: int) -> tuple[Suspect, ...]:
    """The shortcut that a run's own painted pictures carry, by the provenance in its checkpoint; () where none was planted."""
    shortcut = from_provenance(data)
    found = (
        None
        if shortcut is None
        else _suspect(truth(shortcut, side), "the one planted in the training pictures of this run", classes, side)
    )
    return () if found is None else (found,)


def _index(name: str, classes: Sequence[str]) -> int:
    plain = [known.casefold() for known in classes]
    if name in classes:
        return list(classes).index(name)
    if plain.count(name.casefold()) == 1:
        return plain.index(name.casefold())
    raise UnknownName("class", name, classes)


def _of_file(file: Path, classes: Sequence[str], side: int) -> tuple[Suspect, ...]:
    stored = _opened(file)
    told = stored.get("findings", [stored]) if isinstance(stored, Mapping) else stored
    if not isinstance(told, list):
        raise InputRefused(
            f"{file.name!r} holds no list of findings; give what `audit --json` printed, or the truth file of `data shapes --shortcut`."
        )
    count = stored.get("pictures") if isinstance(stored, Mapping) else None
    pictures = count if isinstance(count, int) and count > 0 else None
    found: list[Suspect] = []
    for entry in told:
        suspect = (
            _suspect(entry, f"told by {file.name}", classes, side, pictures) if isinstance(entry, Mapping) else None
        )
        if suspect is not None and all(
            (suspect.region, suspect.index) != (other.region, other.index) for other in found
        ):
            found.append(suspect)
    if told and not found:
        raise InputRefused(
            f"{file.name!r} names no region of a class that can be moved from picture to picture; give one with --region and --class."
        )
    return tuple(found[:MOST])


def _opened(file: Path) -> Any:
    if not file.is_file():
        raise InputRefused(
            f"there is no file {Path(os.path.abspath(file)).name!r}; --findings takes the JSON that `audit --json` printed."
        )
    if file.stat().st_size > LARGEST_FILE:
        raise InputRefused(
            f"{file.name!r} is larger than {LARGEST_FILE // 1_000_000} MB, findings were expected; give the JSON that `audit --json` printed."
        )
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise InputRefused(f"{file.name!r} is no JSON; --findings takes what `audit --json` printed.") from None


def _suspect(
    entry: Mapping[str, Any], origin: str, classes: Sequence[str], side: int, pictures: int | None = None
) -> Suspect | None:
    """One finding as a suspect; None where it is about no region, or about a class that the run does not know."""
    name = entry.get("class")
    if not isinstance(name, str) or name not in classes:
        return None
    try:
        return Suspect(region_of(entry, side), list(classes).index(name), name, origin, pictures)
    except InputRefused:
        return None
