"""Pages rendered to one self-contained HTML file, from records alone.

The page carries its style, its script and its data inline under a content policy of hashes: nothing is fetched,
nothing runs that this module did not put there. Names inside the records (classes, files) are hostile until escaped.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from vgg_viz.gallery.bundle import STATIC, script, stripped
from vgg_viz.gallery.html_text import (
    address,
    finalize,
    format_cell,
    format_table,
    inline_json,
    keep_units_together,
    number,
    number_rows,
    or_no_name,
    sort_key,
)
from vgg_viz.gallery.layout import Layout, PageSection, arrange
from vgg_viz.gallery.opening import Opening
from vgg_viz.records import Finding

HERE = Path(__file__).parent
# What a page runs, in this order; `bundle` adds what these import.
FRAME_SCRIPTS = ("page.js",)
VIEWER_SCRIPTS = (*FRAME_SCRIPTS, "viewer.js")
OPENING_STYLES = ("opening.css",)
EXAMPLES_SCRIPTS, EXAMPLES_STYLES = ("examples.js",), ("examples.css",)

# ---------------------------------------------------------------- records


@dataclass(frozen=True, slots=True)
class EmbeddedDocument:
    """Another document of this package that travels inside a page and is opened from it, with what it is made of."""

    html: str
    styles: tuple[str, ...]
    scripts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """A whole gallery page.

    Attributes:
        title: The heading.
        subtitle: The line under it.
        findings: The verdict: the first under the title, the others in a list.
        facts: (name, value) at the head.
        warnings: Sentences at the head.
        sections: In the order of the page.
        footer: (name, value) at the foot.
        layout: Where what the sections made stands.
        index_href: Address of the page over all galleries, or "" where there is none.
        explorer_href: Address of the network as a page to touch, or "".
        explorer_name: What that shows: "the network".
        explorer_note: Why there is none, or why it does not run live; "" when it does.
        explorer: That network inside the page itself, in place of an address.
        opening: What the first screen shows below its box; None: the other findings.
    """

    title: str
    subtitle: str
    findings: tuple[Finding, ...]
    facts: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    sections: tuple[PageSection, ...]
    footer: tuple[tuple[str, str], ...]
    layout: Layout = field(default_factory=Layout)
    index_href: str = "../index.html"
    explorer_href: str = ""
    explorer_name: str = "the network"
    explorer_note: str = ""
    explorer: EmbeddedDocument | None = None
    opening: Opening | None = None


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
    exhibits = (one.exhibit for section in page.sections for one in section.exhibits)
    kinds = {exhibit.viewer.get("kind") for exhibit in exhibits if exhibit.viewer}
    scripts = (*(VIEWER_SCRIPTS if kinds else FRAME_SCRIPTS), *(EXAMPLES_SCRIPTS if "examples" in kinds else ()))
    styles = ("page.css", *OPENING_STYLES, *(EXAMPLES_STYLES if "examples" in kinds else ()))
    chapters = arrange(page.sections, page.layout)
    return document("page.html", styles=styles, scripts=scripts, embedded=page.explorer, page=page, chapters=chapters)


def render_index(rows: Sequence[IndexRow], *, live_href: str = "") -> str:
    """The index over galleries: one sortable row each, a broken one with its error.

    Args:
        rows: One a gallery.
        live_href: Address of the live page, where a server has one.
    """
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(name for name, _ in row.facts))
    columns = [
        (name, all(number(dict(row.facts).get(name)) is not None for row in rows if name in dict(row.facts)))
        for name in names
    ]
    return document("index.html", rows=rows, columns=columns, live_href=live_href)


def document(
    template: str,
    *,
    styles: tuple[str, ...] = ("page.css",),
    scripts: tuple[str, ...] = FRAME_SCRIPTS,
    embedded: EmbeddedDocument | None = None,
    may_fetch: bool = False,
    **context: Any,
) -> str:
    """Fill in a template, with its styles and scripts inline and a content policy that lets in nothing else.

    Args:
        template: A file in `templates/`.
        styles: Files in `static/`.
        scripts: Modules in `static/` that the page runs, in this order.
        embedded: A document that the page opens from its own bytes: a browser holds it to the page's policy as well as to its own.
        may_fetch: Whether its scripts may ask the server that the page came from; no other.
        **context: What the template needs.
    """
    style, early, late = _style(styles), stripped((STATIC / "theme.js").read_text(encoding="utf-8")), script(*scripts)
    style_hashes, script_hashes = [_hash(style)], [_hash(early), _hash(late)]
    if embedded is not None:
        style_hashes.append(_hash(_style(embedded.styles)))
        script_hashes.append(_hash(script(*embedded.scripts)))
    policy = (
        f"default-src 'none'; img-src data: blob: 'self'; style-src {' '.join(style_hashes)}; "
        f"script-src {' '.join(script_hashes)}; base-uri 'none'; form-action 'none'"
    ) + ("; connect-src 'self'" if may_fetch else "")
    html = (
        _environment()
        .get_template(template)
        .render(style=Markup(style), early=Markup(early), late=Markup(late), policy=policy, **context)
    )
    return html.rstrip("\n") + "\n"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=finalize,
    )
    environment.filters.update(
        inline_json=inline_json,
        address=address,
        numbers=number_rows,
        format_cell=format_cell,
        format_table=format_table,
        sort_key=sort_key,
        or_no_name=or_no_name,
        keep_units_together=keep_units_together,
    )
    environment.globals["words"] = LEVEL_WORDS
    return environment


LEVEL_WORDS = {"good": "Good", "note": "Note", "warn": "Worth a look", "bad": "Problem"}


@cache
def _style(names: tuple[str, ...]) -> str:
    return "\n".join(stripped((STATIC / name).read_text(encoding="utf-8")) for name in names)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
