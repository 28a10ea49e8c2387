"""A viewer's payload as a page holds it: the maps deflated in one block."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from typing import Any


def packed(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The payload with "block" in place of the "data" of its maps: their bytes in their order, deflated (zlib), in base64.

    One block, because a map alone is too short to deflate well; half the bytes of the page, and not one bit of a map less.
    A map takes h x w bytes of it. A live page, to which maps come one wish at a time, keeps them apart.
    """
    block = b"".join(base64.b64decode(entry["data"]) for entry in payload["maps"])
    maps = [{name: value for name, value in entry.items() if name != "data"} for entry in payload["maps"]]
    return {**payload, "maps": maps, "block": base64.b64encode(zlib.compress(block, 9)).decode("ascii")}
