"""Text on its way into a page: names that came from outside made harmless, values as a reader wants them.

Names (classes, files) are hostile until they have passed here: the environment of `page.py` sends every expression through `finalize`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from vgg_viz.records import Table
from vgg_viz.safe_text import escape_hidden

LONGEST_LIST = 8  # numbers shown one by one before a list becomes its length and range
MOST_DECIMALS = 4  # a column that needs more keeps four significant digits a cell
INSIDE = ("data:image/", "data:application/json", "data:text/csv")  # addresses that hold what they name
MOST_NUMBERS = 48  # rows of "the numbers" on the page; the JSON beside the figure has all

# ---------------------------------------------------------------- hostile text


def finalize(value: Any) -> Any:
    """A value on its way into a template, with hidden characters written out where it is text."""
    # Every expression of every template passes here, so no template can forget it.
    return escape_hidden(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def keep_units_together(text: str) -> str:
    """A sentence whose numbers keep their units on the same line: 85 %, 64 px and 7 × 7 are not torn apart."""
    return re.sub(r"(?<=\d) (?=%|px\b)|(?<=\d) (?=× ?\d)|(?<=\d\s×) (?=\d)", "\u00a0", text)


def or_no_name(text: str) -> str:
    """The text, or that there is none: an empty link or heading is no place to click and nothing to hear."""
    return text if text.strip() else "(no name)"


def address(href: str) -> str:
    """A relative address that stays one: no scheme, no host, whatever the name holds."""
    if href.startswith(INSIDE):
        return href
    return "./" + quote(href.encode("utf-8", "replace"), safe="/.-_~").lstrip("/")


def inline_json(payload: Any) -> Markup:
    """JSON that may stand inside a script element: no character that could end it, no NaN, hidden characters written out."""
    text = json.dumps(_plain(payload), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {escape_hidden(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return escape_hidden(value) if isinstance(value, str) else value


# ---------------------------------------------------------------- numbers


def format_cell(value: str | int | float | None) -> str:
    """A value as a reader wants it: thousands grouped, four significant digits, a true minus, a dash for nothing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace("-", "−")
    if isinstance(value, float):
        return (f"{value:,.0f}" if 1e4 <= abs(value) < 1e15 else f"{value or 0.0:.4g}").replace("-", "−")
    return str(value)


def format_table(table: Table) -> list[list[str]]:
    """The cells of a table as text; the fractions of one column get the same number of decimals, so that they align."""
    columns = [_column(list(values)) for values in zip(*table.rows, strict=True)]
    return [list(row) for row in zip(*columns, strict=True)]


def _column(values: Sequence[str | int | float | None]) -> list[str]:
    shown = [format_cell(value) for value in values]
    fractions = [i for i, value in enumerate(values) if isinstance(value, float) and math.isfinite(value)]
    decimals = max((len(shown[i].partition(".")[2]) for i in fractions), default=0)
    if decimals > MOST_DECIMALS or any("e" in shown[i] for i in fractions):
        return shown
    for i in fractions:
        text = f"{values[i]:,.{decimals}f}"
        shown[i] = (text if text.strip("-0.") else text.lstrip("-")).replace(
            "-", "−"
        )  # what rounds to nothing has no sign
    return shown


def sort_key(value: str | int | float | None) -> str:
    """What the page sorts a numeric cell by; "" for a cell without a number."""
    parsed = number(value)
    return "" if parsed is None else repr(parsed)


def number(value: object) -> float | None:
    """The number that a value is or starts with ("93.1 %", "1,690"), or None."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value) if math.isfinite(value) else None
    match = re.match(r"\s*([-−+]?[\d,]*\.?\d+(?:[eE][-+]?\d+)?)", value) if isinstance(value, str) else None
    return float(match.group(1).replace(",", "").replace("−", "-")) if match else None


def number_rows(numbers: Mapping[str, Any]) -> tuple[list[tuple[str, str]], int]:
    """Numbers as (name, text) rows, long lists shortened, and how many rows were left to the JSON file."""
    rows = list(_flatten(numbers, ""))
    return rows[:MOST_NUMBERS], max(0, len(rows) - MOST_NUMBERS)


def _flatten(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            name = str(key).replace("_", " ")
            yield from _flatten(item, f"{path} › {name}" if path else name)
    elif isinstance(value, (list, tuple)) and (len(value) > LONGEST_LIST or any(_nested(item) for item in value)):
        leaves = list(_leaves(value))
        numeric = [leaf for leaf in leaves if isinstance(leaf, (int, float)) and not isinstance(leaf, bool)]
        spread = f", {format_cell(min(numeric))} to {format_cell(max(numeric))}" if numeric else ""
        yield path, f"{len(leaves):,} values{spread}"
    elif isinstance(value, (list, tuple)):
        yield path, ", ".join(format_cell(item) for item in value) or "none"
    else:
        yield path, format_cell(value)


def _nested(value: Any) -> bool:
    return isinstance(value, (Mapping, list, tuple))


def _leaves(value: Any) -> Iterator[Any]:
    if _nested(value):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _leaves(item)
    else:
        yield value
