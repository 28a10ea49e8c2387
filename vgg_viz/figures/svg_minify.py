"""SVG text as matplotlib writes it, with what no reader sees left out: half of a chart's file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator


def strip_invisible(text: str) -> str:
    """Without comments (they repeat the labels), DOCTYPE (it names an address) and digits below a hundredth of a point."""
    text = re.sub(r"<!--.*?-->|<!DOCTYPE.*?>|<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # Not everywhere: scale(0.015625) brings the letters to their size and needs every digit.
    text = re.sub(r'(?: d="|translate\()[^")]*', lambda match: _rounded(match[0]), text)
    # A masked cell of a mesh is drawn with no fill, names of groups are referred to by nobody, and a letter is called
    # by its long name a thousand times: together half of the file.
    text = re.sub(r'<path [^>]*style="fill: none"/>\n?|(?<=<g) id="\w*?[._]\w*?\d+"', "", text)
    text = re.sub(r'(id="|xlink:href="#)DejaVuSans(-Bold)?-', lambda match: match[1] + ("b" if match[2] else "g"), text)
    return re.sub(r"\s*\n\s*", "\n", text)


def minify(text: str) -> str:
    """The same picture in fewer bytes: no groups without a meaning, short paths and places, every style written once."""
    text = _without_bare_groups(text)
    text = re.sub(r' (d|points)="([^"]*)"', lambda match: f' {match[1]}="{_close(match[2])}"', text)
    text = re.sub(r'(?<= )(?:x|y|width|height|transform)="[^"]*"', lambda match: _rounded(match[0]), text)
    return _styles_once(text)


_GROUP = re.compile(r"<g(/?)>\n?|<g [^>]*>|</g>\n?")


def _without_bare_groups(text: str) -> str:
    """Without groups that have no attribute: they hold nothing together but matplotlib's artists."""
    kept: list[bool] = []

    def replace(match: re.Match[str]) -> str:
        whole = match[0]
        if whole.startswith("</"):
            return whole if kept.pop() else ""
        if whole.startswith("<g "):
            if not whole.endswith("/>"):
                kept.append(True)
            return whole
        if not match[1]:
            kept.append(False)
        return ""

    return _GROUP.sub(replace, text)


def _close(path: str) -> str:
    """The data of a path without the spaces that no reader needs: letters and signs part numbers as well."""
    path = re.sub(r"\s*([A-Za-z])\s*", r"\1", path.strip())
    return re.sub(r"\s+(?=-)", "", re.sub(r"\s+", " ", path))


def _styles_once(text: str) -> str:
    """Styles that several elements share stand in the sheet, under a short name; where nothing is gained they stay."""
    counts = Counter(re.findall(r' style="([^"]*)"', text))
    names = _names()
    classes = {
        style: next(names) for style, count in counts.most_common() if style and count > 1 and _gain(style, count) > 0
    }
    rules = "".join(f".{name}{{{_tight(style)}}}" for style, name in classes.items())

    def replace(match: re.Match[str]) -> str:
        style = match[1]
        if not style:
            return ""
        return f' class="{classes[style]}"' if style in classes else f' style="{_tight(style)}"'

    return re.sub(r' style="([^"]*)"', replace, text).replace("</style>", f"{rules}</style>", 1)


def _gain(style: str, count: int) -> int:
    return (count - 1) * len(style) - 12 - 4 * count


def _tight(style: str) -> str:
    return re.sub(r"\s*([:;])\s*", r"\1", style).strip(";")


def _names() -> Iterator[str]:
    """a, b, ..., z, a1, b1, ..."""
    for number in range(10**6):
        yield chr(97 + number % 26) + (str(number // 26) if number >= 26 else "")


def _rounded(text: str) -> str:
    return re.sub(r"-?\d+\.\d{3,}", lambda match: f"{float(match[0]):.2f}".rstrip("0").rstrip("."), text)
