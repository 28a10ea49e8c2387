"""What the viewer of a page is told, read back out of the page's bytes; and told by hand, for pages made of invented data."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Mapping
from typing import Any

# What every viewer is told, whatever it shows: the names at each level.
SHAPE = {
    "": {
        "kind",
        "axis",
        "pale",
        "range",
        "outline",
        "photos",
        "classes",
        "methods",
        "layers",
        "maps",
        "limits",
        "start",
        "block",
    },
    "photos": {"name", "src", "width", "height", "true", "top", "by", "mask"},
    "methods": {"id", "title", "signed", "unit", "about", "evidence", "speaker", "poles"},
    "layers": {"name", "jump", "centre", "size"},
    "maps": {"photo", "method", "layer", "target", "class", "h", "w", "low", "high", "limit"},
}


def told_to_viewer(page: str) -> dict[str, Any]:
    """The payload of the page's only viewer, as `unpacked`."""
    (text,) = re.findall(r'<script type="application/json" data-part="data">(.*?)</script>', page, re.S)
    return unpacked(json.loads(text))


def unpacked(told: Mapping[str, Any]) -> dict[str, Any]:
    """What a viewer is told, which has the one shape; each map with its own bytes again as "data", in base64."""
    assert set(told) - {"inside"} == SHAPE[""]
    for level in ("photos", "methods", "layers", "maps"):
        assert all(set(entry) == SHAPE[level] for entry in told[level]), level
    assert set(told["limits"]) == {
        f"{entry['method']}|{entry['layer'] or ''}|{entry['target']}" for entry in told["maps"]
    }
    assert set(told["start"]) == {"photo", "method", "layer", "target"}
    found = {**told, "maps": [dict(entry) for entry in told["maps"]]}
    block, filled = zlib.decompress(base64.b64decode(found.pop("block"))), 0
    for entry in found["maps"]:
        size = entry["h"] * entry["w"]
        entry["data"] = base64.b64encode(block[filled : filled + size]).decode()
        filled += size
    assert filled == len(block)
    return found


def told_by_hand(data: Mapping[str, Any]) -> dict[str, Any]:
    """Invented pictures and maps, each with its "data", as a page holds them: what they leave open filled in, their bytes one block."""
    signed = {method["id"]: method["signed"] for method in data["methods"]}
    maps, limits = [], {}
    for entry in data["maps"]:
        low, high = entry["low"], entry["high"]
        limit = max(abs(low), abs(high)) if signed[entry["method"]] else max(0.0, high)
        key = f"{entry['method']}|{entry['layer'] or ''}|{entry['target']}"
        limits[key] = max(limits.get(key, 0.0), limit)
        maps.append({"limit": limit, **{name: value for name, value in entry.items() if name != "data"}})
    block = zlib.compress(b"".join(base64.b64decode(entry["data"]) for entry in data["maps"]))
    layered = [entry["layer"] for entry in maps if entry["layer"] is not None]
    told = {
        "kind": "attention",
        "axis": "layer",
        "pale": False,
        "range": "this map",
        "outline": "Outline of the object",
        "limits": limits,
        "start": {"photo": 0, "method": None, "layer": layered[-1] if layered else None, "target": None},
        **data,
        "photos": [{"by": {}, **photo} for photo in data["photos"]],
        "maps": maps,
        "methods": [
            {"speaker": "the network", "poles": "red for, blue against", **method} for method in data["methods"]
        ],
        "block": base64.b64encode(block).decode(),
    }
    unpacked(told)  # of the shape that the product makes
    return told
