"""Values as plain JSON: what has no place there is made plain first, and the same value gives the same bytes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def plain(value: Any) -> Any:
    """`value` as JSON can hold it: tuples as lists, NaN and infinities as null, numpy and torch scalars as numbers.

    Text that is no Unicode, such as a file name of other bytes, is written with backslashes.
    """
    if isinstance(value, Mapping):
        return {plain(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if value is None or isinstance(value, bool | int):
        return value
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return plain(str(value))


def write_json(path: Path, value: Any) -> None:
    """Write `value` as `json_text` puts it."""
    path.write_text(json_text(value), encoding="utf-8")


def json_text(value: Any) -> str:
    """Plain JSON, sorted by nothing: in the order in which it was made; the same value gives the same bytes."""
    text = json.dumps(plain(value), ensure_ascii=False, indent=1, allow_nan=False)
    # A list of numbers on one line: a third of the bytes, and easier to read. No string holds a raw line end.
    text = re.sub(r"\[\n\s*([^\[\]{}]*?)\n\s*\]", lambda found: "[" + re.sub(r",\n\s*", ", ", found[1]) + "]", text)
    return text + "\n"
