"""A page goes to disk: weighed, lightened where it is too heavy, and, where asked, as one file to mail."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

from vgg_viz.gallery.explorer import SCRIPTS, STYLES, Explorer, render_explorer
from vgg_viz.gallery.html_text import inline_json
from vgg_viz.gallery.page import Inlaid, Page, Shown, render

# Bytes of a page. A browser reads 5 MB in a moment; above 8 it is worth a word, above 20 figures leave the page.
WARN, HEAVY = 8_000_000, 20_000_000
SVG = "data:image/svg+xml,"
TYPES = {".png": "image/png", ".svg": "image/svg+xml", ".json": "application/json", ".csv": "text/csv"}


def publish(folder: Path, page: Page) -> tuple[str, ...]:
    """Write `folder/index.html`; returns what is to be said about its weight, which the page says as well.

    A page above HEAVY gives figures to files beside it, the largest first, until it is light enough.
    """
    html = render(page)
    weight, said = len(html.encode()), []
    if weight > HEAVY:
        page, moved = _lightened(folder, page, weight - HEAVY)
        said.append(
            f"The page would weigh {megabytes(weight)}, so {moved} of its figures lie beside it; keep the folder together."
        )
        weight = len(render(page).encode())
    if weight > WARN:
        largest = ", ".join(f"{name} ({megabytes(size)})" for size, name in _assets(page)[:3])
        said.append(
            f"The page weighs {megabytes(weight)}; its three largest parts are {largest}. --preset quick makes a lighter one."
        )
    if said:
        html = render(replace(page, warnings=(*page.warnings, *said)))
    (folder / "index.html").write_text(html, encoding="utf-8")
    return tuple(said)


def standalone(folder: Path, page: Page, explorer: Explorer | None, file: str) -> str:
    """Write the gallery in `folder` as one file to mail, `folder/file`; returns why not where it would be too heavy, else "".

    What lies beside the page (figures, numbers, the live network) is inside it, to be opened and saved from there.
    """
    sections = tuple(
        replace(section, shown=tuple(_packed(folder, shown) for shown in section.shown)) for section in page.sections
    )
    inside = Inlaid(render_explorer(replace(explorer, gallery_href="")), STYLES, SCRIPTS) if explorer else None
    html = render(replace(page, index_href="", sections=sections, explorer_href="", explorer=inside))
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
    inside = [shown for shown in _shown(page) if (shown.light or "").startswith(SVG)]
    for shown in sorted(inside, key=lambda shown: -len(str(shown.light))):
        if excess <= 0:
            break
        slug = shown.exhibit.slug
        addresses[slug] = f"figures/{slug}.page.svg"
        (folder / addresses[slug]).write_bytes(unquote_to_bytes(str(shown.light).removeprefix(SVG)))
        excess -= len(str(shown.light))
    sections = tuple(
        replace(section, shown=tuple(replace(s, light=addresses.get(s.exhibit.slug, s.light)) for s in section.shown))
        for section in page.sections
    )
    return replace(page, sections=sections), len(addresses)


def _assets(page: Page) -> list[tuple[int, str]]:
    """What makes the page heavy: (bytes, name) of each figure's pictures and of each viewer's maps, heaviest first."""
    found = [(len(shown.light or ""), f"the figure {shown.exhibit.title!r}") for shown in _shown(page)]
    found += [
        (len(inline_json(s.exhibit.viewer)), f"the maps of {s.exhibit.title!r}")
        for s in _shown(page)
        if s.exhibit.viewer
    ]
    return sorted(found, key=lambda asset: -asset[0])


def _shown(page: Page) -> Iterator[Shown]:
    for section in page.sections:
        yield from section.shown


def _packed(folder: Path, shown: Shown) -> Shown:
    """The exhibit with its files inside the page."""
    return replace(shown, files=tuple((label, _data_uri(folder / address)) for label, address in shown.files))


def _data_uri(file: Path) -> str:
    return f"data:{TYPES[file.suffix]};base64,{base64.b64encode(file.read_bytes()).decode('ascii')}"
