"""Regions as people and files write them: read, checked, and told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from vgg_viz.errors import InputRefused
from vgg_viz.shortcuts.region import Region, border

# What `data.shortcuts` plants, as the region that carries it.
PLANTED = {"corner": "patch", "border": "border", "texture": "background", "cast": "colour"}


def parse_region(text: str, side: int) -> Region:
    """What a user typed, for pictures of `side` [px]: "x0,y0,x1,y1" [px], "border", "border:WIDTH", "background" or "colours".

    Raises:
        InputRefused: A value is out of range, or does not fit.
    """
    word, _, number = text.strip().lower().partition(":")
    if word == "border" and (not number or (number.isascii() and number.isdigit())):
        return require_inside(border(side, int(number[:6]) if number else None), side)
    if not number and word in ("background", "colours", "colour", "colors", "color"):
        return Region("background" if word == "background" else "colour")
    if re.fullmatch(r"\d{1,6}(,\d{1,6}){3}", text.replace(" ", ""), flags=re.ASCII):
        x0, y0, x1, y1 = (int(part) for part in text.replace(" ", "").split(","))
        return require_inside(Region("patch", (x0, y0, x1, y1)), side)
    raise InputRefused(
        f"--region {text[:60]!r} came; x0,y0,x1,y1 in pixels, border, border:WIDTH, background or colours was expected."
    )


def region_of(entry: Mapping[str, Any], side: int) -> Region:
    """The region of a finding of `audit --json`, or of the truth that `data shapes --shortcut` writes; what has a box is a patch.

    Raises:
        InputRefused: Where it names none, or one that pictures of `side` [px] do not have.
    """
    word, box, width = str(entry.get("kind", "")).strip().lower(), entry.get("region"), entry.get("width")
    kind = PLANTED.get(word, word)
    thick = width if isinstance(width, int) and not isinstance(width, bool) else None
    if kind == "border":
        return require_inside(border(side, thick), side)
    if kind == "background":
        return require_inside(Region("background", None, thick or 0), side)
    return Region("colour") if kind == "colour" else require_inside(Region("patch", _box(box)), side)


def region_as_json(region: Region) -> dict[str, Any]:
    """A region as `audit --json` gives it, and as `region_of` reads it."""
    return {"kind": region.kind, "region": list(region.box) if region.box else None, "width": region.width or None}


def require_inside(region: Region, side: int) -> Region:
    """`region`, if a picture of `side` [px] has it and holds more than it; raises InputRefused."""
    if region.kind == "patch" and region.box is not None:
        x0, y0, x1, y1 = region.box
        if not (0 <= x0 < x1 <= side and 0 <= y0 < y1 <= side):
            raise InputRefused(
                f"the region {x0},{y0},{x1},{y1} does not lie in a picture of {side} px; x0,y0,x1,y1 in pixels were expected, "
                f"with x0 < x1 and y0 < y1 up to {side}."
            )
        if max(x0, side - x1) < x1 - x0 and max(y0, side - y1) < y1 - y0:
            raise InputRefused(
                f"the region {x0},{y0},{x1},{y1} leaves no room in a picture of {side} px for another one of its size: "
                "what fills so much of a picture holds its object as well; give a smaller one."
            )
    if region.kind == "border" and not 0 < region.width <= side // 6:
        raise InputRefused(f"a border of {region.width} px came; 1 to {side // 6} px of {side} were expected.")
    if region.kind == "background" and not 0 <= region.width <= side // 4:
        raise InputRefused(
            f"a frame of {region.width} px came for a background; up to {side // 4} px of {side} were expected."
        )
    return region


def place_of(region: Region, side: int) -> str:
    """Where a region is: "the lower left 12 × 12 px", "the border of 5 px", "the background", "the colours of the whole picture"."""
    if region.kind == "patch" and region.box:
        x0, y0, x1, y1 = region.box
        across = ("left", "middle", "right")[min(2, 3 * (x0 + x1) // (2 * side))]
        down = ("upper", "middle", "lower")[min(2, 3 * (y0 + y1) // (2 * side))]
        where = (
            "very middle"
            if across == down == "middle"
            else " ".join(word for word in (down, across) if word != "middle")
        )
        return f"the {where} {x1 - x0} × {y1 - y0} px"
    if region.kind == "border":
        return f"the border of {region.width} px"
    return "the background" if region.kind == "background" else "the colours of the whole picture"


def _box(box: object) -> tuple[int, int, int, int]:
    if (
        not isinstance(box, list)
        or len(box) != 4
        or not all(isinstance(value, int | float) and abs(value) < 1e6 for value in box)
    ):
        raise InputRefused("a region of four numbers was expected.")
    x0, y0, x1, y1 = (round(value) for value in box)
    return x0, y0, x1, y1
