"""Which shortcut is suspected: said by the user, or read from what `audit` found or `data shapes` planted."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vgg_viz.data.shortcuts import from_provenance, truth
from vgg_viz.errors import InputRefused, UnknownName
from vgg_viz.maths.transplant import Region, checked_region

MOST = 4  # suspects of one file that are tested
BORDER = 1 / 16  # of the side, where nobody says how wide a border is
LARGEST_FILE = 20_000_000  # bytes
KINDS = {
    "corner": "box", "box": "box", "tag": "box", "region": "box", "patch": "box", "border": "border", "background": "background",
    "texture": "background", "ground": "background", "cast": "colours", "colours": "colours", "colour": "colours", "color": "colours",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Suspect:
    """A region that may give a class away.

    index, name  of the class
    origin       who says so, in one phrase
    """

    region: Region
    index: int
    name: str
    origin: str


def suspects(region: str | None, name: str | None, file: str | Path | None, classes: Sequence[str], side: int) -> tuple[Suspect, ...]:
    """The suspects of the user's options; () where none is named.

    region  "x0,y0,x1,y1" [px], "border" or "border:WIDTH", "background" or "colours"
    name    of the class; needed with a region
    file    JSON of `audit --json`, or the truth that `data shapes --shortcut` writes
    raises  InputRefused, UnknownName
    """
    if (region is None) != (name is None):
        given, lacking = ("--region", "--class NAME") if region is not None else ("--class", "--region x0,y0,x1,y1")
        raise InputRefused(f"{given} came without {lacking}; a shortcut is a region of one class, give both.")
    found = []
    if region is not None and name is not None:
        found.append(Suspect(checked_region(_understood(region, side), side), _index(name, classes), name, "named with --region"))
    return (*found, *(_of_file(Path(file), classes, side) if file is not None else ()))


def planted(data: Mapping[str, Any], classes: Sequence[str], side: int) -> tuple[Suspect, ...]:
    """The shortcut that a run's own painted pictures carry, by the provenance in its checkpoint; () where none was planted."""
    shortcut = from_provenance(data)
    found = None if shortcut is None else _suspect(truth(shortcut, side), "the one planted in the training pictures of this run", classes, side)
    return () if found is None else (found,)


def _understood(text: str, side: int) -> Region:
    word, _, number = text.strip().lower().partition(":")
    if word == "border" and (not number or (number.isascii() and number.isdigit())):
        return Region("border", width=int(number[:6]) if number else max(1, round(BORDER * side)))
    if not number and word in ("background", "colours", "colour", "colors", "color"):
        return Region("background" if word == "background" else "colours")
    if re.fullmatch(r"\d{1,6}(,\d{1,6}){3}", text.replace(" ", ""), flags=re.ASCII):
        x0, y0, x1, y1 = (int(part) for part in text.replace(" ", "").split(","))
        return Region("box", (x0, y0, x1, y1))
    raise InputRefused(f"--region {text[:60]!r} came; x0,y0,x1,y1 in pixels, border, border:WIDTH, background or colours was expected.")


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
        raise InputRefused(f"{file.name!r} holds no list of findings; give what `audit --json` printed, or the truth file of `data shapes --shortcut`.")
    found: list[Suspect] = []
    for entry in told:
        suspect = _suspect(entry, f"told by {file.name}", classes, side) if isinstance(entry, Mapping) else None
        if suspect is not None and all((suspect.region, suspect.index) != (other.region, other.index) for other in found):
            found.append(suspect)
    if told and not found:
        raise InputRefused(f"{file.name!r} names no region of a class that can be moved from picture to picture; give one with --region and --class.")
    return tuple(found[:MOST])


def _opened(file: Path) -> Any:
    if not file.is_file():
        raise InputRefused(f"there is no file {file.name!r}; --findings takes the JSON that `audit --json` printed.")
    if file.stat().st_size > LARGEST_FILE:
        raise InputRefused(f"{file.name!r} is larger than {LARGEST_FILE // 1_000_000} MB, findings were expected; give the JSON that `audit --json` printed.")
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise InputRefused(f"{file.name!r} is no JSON; --findings takes what `audit --json` printed.") from None


def _suspect(entry: Mapping[str, Any], origin: str, classes: Sequence[str], side: int) -> Suspect | None:
    """One finding as a suspect; None where it is about no region, or about a class that the run does not know."""
    name, box = entry.get("class"), entry.get("region")
    kind = next((KINDS[word] for word in re.findall("[a-z]+", str(entry.get("kind", "")).lower()) if word in KINDS), "box" if box else None)
    if not isinstance(name, str) or name not in classes or kind is None:
        return None
    width = entry.get("width")
    try:
        if kind == "box":
            region = Region("box", _four(box))
        elif kind == "border":
            region = Region("border", width=width if isinstance(width, int) and not isinstance(width, bool) else max(1, round(BORDER * side)))
        else:
            region = Region("background" if kind == "background" else "colours")
        return Suspect(checked_region(region, side), list(classes).index(name), name, origin)
    except InputRefused:
        return None


def _four(box: object) -> tuple[int, int, int, int]:
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(value, int | float) and abs(value) < 1e6 for value in box):
        raise InputRefused("a region of four numbers was expected.")
    x0, y0, x1, y1 = (round(value) for value in box)
    return x0, y0, x1, y1
