"""A page goes to disk: weighed, lightened where it is too heavy, and, where asked, as one file to mail."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

from vgg_viz.gallery.explorer import SCRIPTS, STYLES, Explorer, render_explorer
from vgg_viz.gallery.html_text import inline_json
from vgg_viz.gallery.layout import PageExhibit
from vgg_viz.gallery.page import EmbeddedDocument, Page, render

# Bytes of a page. A browser reads 5 MB in a moment; above 8 it is worth a word, above 20 figures leave the page.
WARN, HEAVY = 8_000_000, 20_000_000
SVG = "data:image/svg+xml,"
TYPES = {".png": "image/png", ".svg": "image/svg+xml", ".json": "application/json", ".csv": "text/csv"}


def publish(folder: Path, page: Page) -> tuple[str, ...]:
    """Write `folder/index.html`; returns what is to be said about its weight, which the page says as well.

    A page above HEAVY gives figures to files beside it, the largest first, until it is light enough.
    """
    html = render(page)
    weight, warnings = len(html.encode()), []
    if weight > HEAVY:
        page, moved = _lightened(folder, page, weight - HEAVY)
        warnings.append(
            f"The page would weigh {megabytes(weight)}, so {moved} of its figures lie beside it; keep the folder together."
        )
        weight = len(render(page).encode())
    if weight > WARN:
        largest = ", ".join(f"{name} ({megabytes(size)})" for size, name in _assets(page)[:3])
        warnings.append(
            f"The page weighs {megabytes(weight)}; its three largest parts are {largest}. --preset quick makes a lighter one."
        )
    if warnings:
        html = render(replace(page, warnings=(*page.warnings, *warnings)))
    (folder / "index.html").write_text(html, encoding="utf-8")
    return tuple(warnings)


def standalone(folder: Path, page: Page, explorer: Explorer | None, file: str) -> str:
    """Write the gallery in `folder` as one file to mail, `folder/file`; returns why not where it would be too heavy, else "".

    What lies beside the page (figures, numbers, the live network) is inside it, to be opened and saved from there.
    """
    sections = tuple(
        replace(section, exhibits=tuple(_with_files_inside(folder, exhibit) for exhibit in section.exhibits))
        for section in page.sections
    )
    embedded = (
        EmbeddedDocument(render_explorer(replace(explorer, gallery_href="")), STYLES, SCRIPTS) if explorer else None
    )
    html = render(replace(page, index_href="", sections=sections, explorer_href="", explorer=embedded))
    if (weight := len(html.encode())) > HEAVY:
        return (
            f"as one file the gallery would weigh {megabytes(weight)}, more than the {megabytes(HEAVY)} that can be mailed; "
            "the folder holds all of it: zip that, or report with --preset quick."
        )
    (folder / file).write_text(html, encoding="utf-8")
    return ""


def svg_uri(text: str) -> str:
    """An SVG as a data: URI in which only what must be is escaped: smaller than base64 by a fifth."""
    # A browser drops line ends from an address, and would join what they part.
    return SVG + quote(text.replace("\n", " "), safe=" !()*,/:;=?@[]{}|+$~^")


def megabytes(count: int) -> str:
    """Bytes as a reader knows them: "8.4 MB"."""
    return f"{count / 1e6:.1f} MB"


def _lightened(folder: Path, page: Page, excess: int) -> tuple[Page, int]:
    """The page with figures in files, as many as it takes, and how many that is."""
    addresses: dict[str, str] = {}
    inside = [
        (len(one.light), one.exhibit.slug, one.light)
        for one in _exhibits(page)
        if one.light and one.light.startswith(SVG)
    ]
    for length, slug, uri in sorted(inside, key=lambda entry: -entry[0]):
        if excess <= 0:
            break
        addresses[slug] = f"figures/{slug}.page.svg"
        (folder / addresses[slug]).write_bytes(unquote_to_bytes(uri.removeprefix(SVG)))
        excess -= length
    sections = tuple(
        replace(
            section,
            exhibits=tuple(replace(one, light=addresses.get(one.exhibit.slug, one.light)) for one in section.exhibits),
        )
        for section in page.sections
    )
    return replace(page, sections=sections), len(addresses)


def _assets(page: Page) -> list[tuple[int, str]]:
    """What makes the page heavy: (bytes, name) of each figure's pictures and of each viewer's maps, heaviest first."""
    exhibits = list(_exhibits(page))
    assets = [(len(one.light or ""), f"the figure {one.exhibit.title!r}") for one in exhibits]
    assets += [
        (len(inline_json(one.exhibit.viewer)), f"the maps of {one.exhibit.title!r}")
        for one in exhibits
        if one.exhibit.viewer
    ]
    return sorted(assets, key=lambda asset: -asset[0])


def _exhibits(page: Page) -> Iterator[PageExhibit]:
    for section in page.sections:
        yield from section.exhibits


def _with_files_inside(folder: Path, exhibit: PageExhibit) -> PageExhibit:
    """The exhibit with its files as data: URIs."""
    return replace(exhibit, files=tuple((label, _data_uri(folder / address)) for label, address in exhibit.files))


def _data_uri(file: Path) -> str:
    return f"data:{TYPES[file.suffix]};base64,{base64.b64encode(file.read_bytes()).decode('ascii')}"
