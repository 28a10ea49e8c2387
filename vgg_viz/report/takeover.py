"""Exhibits of an older gallery, taken over from its files as they lie on disk; a stranger may have written them."""

from __future__ import annotations

import csv
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vgg_viz.errors import ReceiptRefused
from vgg_viz.figures.write import adaptive
from vgg_viz.records import Caption, Column, Exhibit, Table
from vgg_viz.report import page
from vgg_viz.report.publishing import svg_uri
from vgg_viz.report.stored import content_of, told_in

SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,79}")
PNG = b"\x89PNG\r\n\x1a\n"
MOST_FILE = 2**25  # bytes of a figure or table
MOST_ROWS = 20_000


def take_over(entry: Any, source: Path, folder: Path, *, scale: float) -> page.Shown:
    """The exhibit that a manifest's `entry` tells of, its files copied from `source` into `folder`.

    scale   pixels of its PNG to a pixel of the page
    raises  ReceiptRefused for an entry that is none, whose files are not what they should be, or of which nothing lies on disk
    """
    texts = {name: entry.get(name) if isinstance(entry, dict) else None for name in ("slug", "title", "alt")}
    caption = entry.get("caption") if isinstance(entry, dict) else None
    slug, title, alt = (text if isinstance(text, str) else "" for text in texts.values())
    if not (SLUG.fullmatch(slug) and title and alt and isinstance(caption, dict)):
        raise ReceiptRefused("an exhibit of that gallery's manifest cannot be read; make the report again.")
    files: list[tuple[str, str]] = []
    light, size, kind = None, (0, 0), "picture"
    if (source / "figures" / f"{slug}.png").is_file():
        content = _copied(source, folder, f"figures/{slug}.png")
        size = _size(content, slug, scale)
        files.append(("PNG", f"figures/{slug}.png"))
        light = f"figures/{slug}.png"
        if (source / "figures" / f"{slug}.svg").is_file():
            drawn = _copied(source, folder, f"figures/{slug}.svg").decode("utf-8", "replace")
            files.append(("SVG", f"figures/{slug}.svg"))
            kind, light = "chart", svg_uri(adaptive(drawn))
    numbers: Mapping[str, Any] = {}
    if (source / "data" / f"{slug}.json").is_file():
        numbers = told_in(source / "data" / f"{slug}.json", {})
        _copied(source, folder, f"data/{slug}.json")
        files.append(("JSON", f"data/{slug}.json"))
    table = None
    if (source / "data" / f"{slug}.csv").is_file():
        table = _table(_copied(source, folder, f"data/{slug}.csv").decode("utf-8", "replace"))
        files.append(("CSV", f"data/{slug}.csv"))
    if light is None and table is None:
        raise ReceiptRefused(f"{title!r} lives in the page alone, and no file of it lies on disk.")
    told = Caption(*(str(caption.get(name, "")) for name in ("see", "read", "cannot")))
    exhibit = Exhibit(slug, title, told, alt, None, "chart" if kind == "chart" else "picture", numbers, table)
    return page.Shown(exhibit, light, None, *size, tuple(files))


def _copied(source: Path, folder: Path, name: str) -> bytes:
    content = content_of(source / name, MOST_FILE)
    (folder / name).write_bytes(content)
    return content


def _size(content: bytes, slug: str, scale: float) -> tuple[int, int]:
    """Width and height on the page, out of a PNG's first chunk."""
    if content[:8] != PNG or content[12:16] != b"IHDR" or len(content) < 24:
        raise ReceiptRefused(f"the figure {slug!r} of that gallery is no PNG; make the report again.")
    width, height = struct.unpack(">II", content[16:24])
    return round(min(width, 10_000) / scale), round(min(height, 100_000) / scale)


def _table(text: str) -> Table:
    """A CSV as the gallery wrote it: units in square brackets after names, numbers where a whole column is."""
    try:
        head, *rows = list(csv.reader(text.splitlines()))[: MOST_ROWS + 1]
    except (csv.Error, ValueError) as error:
        raise ReceiptRefused(f"a table of that gallery cannot be read ({str(error)[:60]}); make the report again.") from None
    rows = [(row + [""] * len(head))[: len(head)] for row in rows]
    numeric = [any(row[i] for row in rows) and all(_number(row[i]) is not None or not row[i] for row in rows) for i in range(len(head))]
    columns = []
    for name, number in zip(head, numeric, strict=True):
        bare, _, unit = name.partition(" [")
        columns.append(Column(bare, unit.removesuffix("]"), number))
    cells = (tuple(_number(cell) if number else cell for cell, number in zip(row, numeric, strict=True)) for row in rows)
    return Table(tuple(columns), tuple(cells))


def _number(cell: str) -> int | float | None:
    if re.fullmatch(r"-?\d{1,15}", cell):
        return int(cell)
    return float(cell) if re.fullmatch(r"-?\d{1,15}\.?\d{0,20}(e[+-]?\d{1,3})?", cell) else None
