"""Pages rendered to one self-contained HTML file, from records alone.

The page carries its style, its script and its data inline under a content policy of hashes: nothing is fetched,
nothing runs that this module did not put there. Names inside the records (classes, files) are hostile until escaped.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from vgg_viz.records import Exhibit, Finding, Table

HERE = Path(__file__).parent
# Scripts are joined in this order inside one function scope; a page carries those that it runs.
FRAME_SCRIPTS = ("common.js", "page.js")
GALLERY_SCRIPTS = (*FRAME_SCRIPTS, "colours.js", "paint.js", "viewer.js")
LONGEST_LIST = 8  # numbers shown one by one before a list becomes its length and range
MOST_DECIMALS = 4  # a column that needs more keeps four significant digits a cell
INSIDE = ("data:image/", "data:application/json", "data:text/csv")  # addresses that hold what they name
MOST_NUMBERS = 48  # rows of "the numbers" on the page; the JSON beside the figure has all

# ---------------------------------------------------------------- records


@dataclass(frozen=True, slots=True)
class Shown:
    """An exhibit with its pictures painted.

    light, dark    data: URI (or relative address) of the figure in either theme; None when there is no figure
    width, height  of the figure [CSS px]
    files          (label, relative address) of the downloads: ("PNG", "figures/x.png")
    """

    exhibit: Exhibit
    light: str | None = None
    dark: str | None = None
    width: int = 0
    height: int = 0
    files: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """One chapter of the page; `missing` holds (reason, command that fills it)."""

    slug: str
    title: str
    lead: str = ""
    shown: tuple[Shown, ...] = ()
    missing: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Inlaid:
    """Another document of this package that travels inside a page and is opened from it, with what it is made of."""

    html: str
    styles: tuple[str, ...]
    scripts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """A whole gallery page; `findings[0]` is the one-line verdict under the title.

    index_href     address of the page over all galleries, or "" where there is none
    explorer_href  address of the network that runs live, or "" and then `explorer_missing` may say why
    explorer       that network inside the page itself, in place of an address
    """

    title: str
    subtitle: str
    findings: tuple[Finding, ...]
    facts: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    sections: tuple[Section, ...]
    footer: tuple[tuple[str, str], ...]
    index_href: str = "../index.html"
    explorer_href: str = ""
    explorer_missing: str = ""
    explorer: Inlaid | None = None


@dataclass(frozen=True, slots=True)
class IndexRow:
    """One gallery in the index; `error` says why it cannot be read, and then the rest may be empty."""

    folder: str
    title: str
    verdict: str
    level: str
    facts: tuple[tuple[str, str], ...] = ()
    error: str | None = None
    thumbnail: str | None = None


# ---------------------------------------------------------------- rendering


def render(page: Page) -> str:
    """The complete index.html of one gallery; the same page gives the same bytes."""
    return document("page.html", scripts=GALLERY_SCRIPTS, inlaid=page.explorer, page=page, ids=_identifiers(page.sections))


def render_index(rows: Sequence[IndexRow]) -> str:
    """The index over galleries: one sortable row each, a broken one with its error."""
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(name for name, _ in row.facts))
    columns = [(name, all(_number(dict(row.facts).get(name)) is not None for row in rows if name in dict(row.facts)))
               for name in names]  # fmt: skip
    return document("index.html", rows=rows, columns=columns)


def document(
    template: str,
    *,
    styles: tuple[str, ...] = ("page.css",),
    scripts: tuple[str, ...] = FRAME_SCRIPTS,
    inlaid: Inlaid | None = None,
    **context: Any,
) -> str:
    """A template filled in, with its styles and scripts inline and a content policy that lets in nothing else.

    inlaid  a document that the page opens from its own bytes: a browser holds it to the page's policy as well as to its own
    """
    style, early, late = _style(styles), _read("theme.js"), _script(scripts)
    style_hashes, script_hashes = [_hash(style)], [_hash(early), _hash(late)]
    if inlaid is not None:
        style_hashes.append(_hash(_style(inlaid.styles)))
        script_hashes.append(_hash(_script(inlaid.scripts)))
    policy = (
        f"default-src 'none'; img-src data: blob: 'self'; style-src {' '.join(style_hashes)}; "
        f"script-src {' '.join(script_hashes)}; base-uri 'none'; form-action 'none'"
    )
    html = _environment().get_template(template).render(
        style=Markup(style), early=Markup(early), late=Markup(late), policy=policy, **context
    )  # fmt: skip
    return html.rstrip("\n") + "\n"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, finalize=_finalize,
    )  # fmt: skip
    environment.filters.update(
        inline_json=inline_json, address=_address, numbers=_number_rows, cell=_cell, texts=_texts,
        sort_key=_sort_key, named=_named,
    )
    environment.globals["words"] = LEVEL_WORDS
    return environment


LEVEL_WORDS = {"good": "Good", "note": "Note", "warn": "Worth a look", "bad": "Problem"}


@cache
def _read(name: str) -> str:
    """A static file for inlining: without comments that have a line of their own, and without indentation.

    Every page carries its style and script; a reader finds them commented in the package. No string spans lines there.
    """
    text = re.sub(r"/\*.*?\*/", "", (HERE / "static" / name).read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//")) + "\n"


@cache
def _style(names: tuple[str, ...]) -> str:
    return "\n".join(map(_read, names))


@cache
def _script(names: tuple[str, ...]) -> str:
    return "(() => {\n\"use strict\";\n" + "\n".join(map(_read, names)) + "})();\n"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


# ---------------------------------------------------------------- hostile text

# Controls, bidirectional overrides and marks, invisible spaces, tags and lone surrogates: characters that reorder, hide
# or break the text around them. The two joiners (200C, 200D) stay: Persian and emoji need them.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    """`text` with every character that hides or reorders others written out, as in [U+202E]."""
    return _UNSEEN.sub(lambda found: f"[U+{ord(found.group()):04X}]", text)


def _finalize(value: Any) -> Any:
    # Every expression of every template passes here, so no template can forget it.
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _named(text: str) -> str:
    return text if text.strip() else "(no name)"


def _address(href: str) -> str:
    """A relative address that stays one: no scheme, no host, whatever the name holds."""
    if href.startswith(INSIDE):
        return href
    return "./" + quote(href.encode("utf-8", "replace"), safe="/.-_~").lstrip("/")


_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def _identifiers(sections: Sequence[Section]) -> dict[tuple[int, int], str]:
    """Ids of sections (i, 0) and of their exhibits (i, j), j from 1: the slug where it is one and is free, else the index."""
    used = {"main", "top", "made"}
    ids: dict[tuple[int, int], str] = {}

    def claim(place: tuple[int, int], wanted: str) -> None:
        if not _SLUG.fullmatch(wanted) or wanted in used or wanted.startswith("ui-"):
            wanted = f"ui-{place[0]}-{place[1]}"
        used.add(wanted)
        ids[place] = wanted

    for i, section in enumerate(sections, 1):
        for j, shown in enumerate(section.shown, 1):
            claim((i, j), shown.exhibit.slug)
    for i, section in enumerate(sections, 1):
        claim((i, 0), f"section-{section.slug}")
    return ids


def inline_json(payload: Any) -> Markup:
    """JSON that may stand inside a script element: no character that could end it, no NaN, hidden characters written out."""
    text = json.dumps(_plain(payload), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {visible(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return visible(value) if isinstance(value, str) else value


# ---------------------------------------------------------------- numbers


def _cell(value: str | int | float | None) -> str:
    """A value as a reader wants it: thousands grouped, four significant digits, a true minus, a dash for nothing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace("-", "−")
    if isinstance(value, float):
        return (f"{value:,.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:.4g}").replace("-", "−")
    return str(value)


def _texts(table: Table) -> list[list[str]]:
    """The cells of a table as text; the fractions of one column get the same number of decimals, so that they align."""
    columns = [_column(list(values)) for values in zip(*table.rows, strict=True)]
    return [list(row) for row in zip(*columns, strict=True)]


def _column(values: Sequence[str | int | float | None]) -> list[str]:
    texts = [_cell(value) for value in values]
    fractions = [i for i, value in enumerate(values) if isinstance(value, float) and math.isfinite(value)]
    decimals = max((len(texts[i].partition(".")[2]) for i in fractions), default=0)
    if decimals > MOST_DECIMALS or any("e" in texts[i] for i in fractions):
        return texts
    for i in fractions:
        texts[i] = f"{values[i]:,.{decimals}f}".replace("-", "−")
    return texts


def _sort_key(value: str | int | float | None) -> str:
    number = _number(value)
    return "" if number is None else repr(number)


def _number(value: object) -> float | None:
    """The number that a value is or starts with ("93.1 %", "1,690"), or None."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value) if math.isfinite(value) else None
    found = re.match(r"\s*([-−+]?[\d,]*\.?\d+(?:[eE][-+]?\d+)?)", value) if isinstance(value, str) else None
    return float(found.group(1).replace(",", "").replace("−", "-")) if found else None


def _number_rows(numbers: Mapping[str, Any]) -> tuple[list[tuple[str, str]], int]:
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
        spread = f", {_cell(min(numeric))} to {_cell(max(numeric))}" if numeric else ""
        yield path, f"{len(leaves):,} values{spread}"
    elif isinstance(value, (list, tuple)):
        yield path, ", ".join(_cell(item) for item in value) or "none"
    else:
        yield path, _cell(value)


def _nested(value: Any) -> bool:
    return isinstance(value, (Mapping, list, tuple))


def _leaves(value: Any) -> Iterator[Any]:
    if _nested(value):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _leaves(item)
    else:
        yield value
