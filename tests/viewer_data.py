"""What the viewer of a page is told, read back out of the page's bytes."""

from __future__ import annotations

import base64
import json
import re
import zlib
from typing import Any


def told_to_viewer(page: str) -> dict[str, Any]:
    """The payload of the page's only viewer, each map with its own bytes again as "data", in base64."""
    (text,) = re.findall(r'<script type="application/json" data-part="data">(.*?)</script>', page, re.S)
    found: dict[str, Any] = json.loads(text)
    block, filled = zlib.decompress(base64.b64decode(found.pop("block"))), 0
    for entry in found["maps"]:
        size = entry["h"] * entry["w"]
        entry["data"] = base64.b64encode(block[filled : filled + size]).decode()
        filled += size
    assert filled == len(block)
    return found
