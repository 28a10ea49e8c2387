"""Trials of methods, kept beside finished maps, so that an interrupted report need not hold them twice."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from vgg_viz.atomic import whole_file
from vgg_viz.errors import MapRefused
from vgg_viz.faithfulness.records import FaithfulnessResult
from vgg_viz.plain_json import json_text, plain
from vgg_viz.safe_reading import read_json

FILE = "trials.json"


def cached(
    folder: Path | None,
    key: Mapping[str, Any],
    hold: Callable[[], tuple[FaithfulnessResult, ...]],
    *,
    whole: int | None = None,
) -> tuple[FaithfulnessResult, ...]:
    """The trials as `folder` tells them, where they were held under the very same `key`; else held now, and written down.

    key     all that they depend on, as plain values
    folder  None: nothing is kept
    whole   how many there should be: where a budget left some out they are not written down, for the next report may have the time
    raises  OutputRefused when the disk says no
    """
    wanted = plain(key)
    if folder is not None and (folder / FILE).exists():
        try:
            told = read_json(folder / FILE, {"key": (dict,), "found": (list,)})
            if told["key"] == wanted:
                return tuple(decoded(FaithfulnessResult, one) for one in told["found"])
        except (MapRefused, ValueError):
            pass  # damaged, or of another version: held again and written over
    found = hold()
    if folder is not None and (whole is None or len(found) == whole):
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(folder / FILE) as temporary:
            temporary.write_text(json_text({"key": wanted, "found": [encoded(one) for one in found]}), encoding="utf-8")
    return found


def encoded(value: Any) -> Any:
    """A record as JSON can hold it, to the bit: dataclasses by field, and numbers that are none as their names."""
    if is_dataclass(value):
        return {field.name: encoded(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): encoded(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [encoded(item) for item in value]
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else value


def decoded(kind: Any, told: Any) -> Any:
    """What `encoded` wrote, as the type `kind`; raises ValueError for anything else, for a stranger may have written it."""
    parts = get_args(kind)
    shape = get_origin(kind)
    if is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind)
        if isinstance(told, dict) and set(told) == set(hints):
            return kind(**{name: decoded(hint, told[name]) for name, hint in hints.items()})
    elif shape in (Union, UnionType):
        (inner,) = (part for part in parts if part is not NoneType)
        return None if told is None else decoded(inner, told)
    elif shape is Literal:
        if told in parts:
            return told
    elif shape is tuple and isinstance(told, list):
        if len(parts) == 2 and parts[1] is Ellipsis:
            return tuple(decoded(parts[0], item) for item in told)
        if len(parts) == len(told):
            return tuple(decoded(part, item) for part, item in zip(parts, told, strict=True))
    elif isinstance(shape, type) and issubclass(shape, Mapping) and isinstance(told, dict):
        return {name: decoded(parts[1], item) for name, item in told.items()}
    elif kind is float and (told in ("nan", "inf", "-inf") or (type(told) in (int, float))):
        return float(told)
    elif kind in (str, int, bool) and type(told) is kind:
        return told
    raise ValueError(f"no {getattr(kind, '__name__', kind)}: {json.dumps(told)[:60]}")
