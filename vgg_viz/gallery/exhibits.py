"""From the function of a chapter to its exhibits on disk and on the page; what fails costs only itself."""

from __future__ import annotations

import csv
import io
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from vgg_viz.errors import OutputRefused, SectionMissing
from vgg_viz.figures.write import adaptive, packed_png, painted, vector
from vgg_viz.gallery import page
from vgg_viz.gallery.write_page import svg_uri
from vgg_viz.plain_json import plain, write_json
from vgg_viz.records import Exhibit, Finding, Table

MOST_LISTED = 800  # characters of one exhibit's numbers in the manifest
PAGE_DENSITY, PAGE_QUALITY = 1.15, 45  # of photographs in the page; as WebP

Progress = Callable[[str, int, int], None]  # what is being made, how many are done, of how many


class PresetFacts(Protocol):
    """What a gallery asks of a preset: its name, pixels of a PNG to a figure pixel, photographs in 256 colours or not."""

    @property
    def name(self) -> str: ...
    @property
    def scale(self) -> float: ...
    @property
    def palette(self) -> bool: ...


@dataclass(slots=True)
class Made:
    """One chapter after its turn: what it shows, what it lacks as (reason, command), how long it took [s]."""

    slug: str
    title: str
    lead: str
    exhibits: list[Exhibit] = field(default_factory=list)
    missing: list[tuple[str, str]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0


def make_chapter(slug: str, title: str, lead: str, make: Callable[[], Iterable[Exhibit | Finding]]) -> Made:
    """One chapter in its turn; where it fails it keeps what it had yielded and names what it lacks."""
    made = Made(slug, title, lead)
    started = time.perf_counter()
    try:
        for shown in make():
            if isinstance(shown, Finding):
                made.findings.append(shown)
            else:
                made.exhibits.append(shown)
    except SectionMissing as missing:
        made.missing.append((missing.reason, missing.command))
    except OutputRefused:
        raise  # the disk is full, or worse: no other chapter would fare better
    except Exception as error:
        # One broken section, whatever broke it, must not cost the reader the other eight; the page and status 1 name it.
        made.missing.append((failure("this part failed", error), ""))
        if os.environ.get("VGG_VIZ_DEBUG"):
            raise
    made.seconds = time.perf_counter() - started
    return made


def failure(what: str, error: Exception) -> str:
    """An unforeseen error as the page tells it: without the paths that the system's own sentence would hold."""
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{what}: {type(error).__name__}: {why[:200]}"


def write_chapter(made: Made, folder: Path, preset: PresetFacts) -> page.Section:
    """The chapter's files in `figures/` and `data/` of the folder, and the chapter as the page shows it.

    raises  OSError when the disk says no; a figure that fails otherwise is named in `made.missing`
    """
    shown: list[page.Shown] = []
    whole: list[Exhibit] = []
    with ThreadPoolExecutor(1) as encoder:  # packs one figure while matplotlib, which knows one thread, paints the next
        waiting: list[tuple[Exhibit, _Painted | None]] = []
        for exhibit in made.exhibits:
            with _forgiving(made, exhibit, folder):
                waiting.append((exhibit, _paint(exhibit, preset, encoder)))
        for exhibit, paint in waiting:
            with _forgiving(made, exhibit, folder):
                shown.append(_write(exhibit, paint, folder))
                whole.append(exhibit)
    made.exhibits[:] = whole
    return page.Section(made.slug, made.title, made.lead, tuple(shown), tuple(made.missing))


@contextmanager
def _forgiving(made: Made, exhibit: Exhibit, folder: Path) -> Iterator[None]:
    """A figure that fails in this block costs only itself: it is named in `made.missing`, and no half of it stays."""
    try:
        yield
    except OSError:
        raise  # the disk is full, or worse: no other figure would fare better
    except Exception as error:
        made.missing.append((failure(f"the figure {exhibit.title!r} failed", error), ""))
        for half in folder.glob(f"*/{exhibit.slug}.*"):
            half.unlink()


@dataclass(frozen=True, slots=True)
class _Painted:
    """A figure off matplotlib's hands: width and height [px], as SVG, and what is being packed from it meanwhile."""

    width: int
    height: int
    drawn: str
    png: Future[bytes]
    themed: Future[str]


def _paint(exhibit: Exhibit, preset: PresetFacts, encoder: ThreadPoolExecutor) -> _Painted | None:
    figure = exhibit.figure
    if figure is None:
        return None
    width, height = (round(size * figure.dpi) for size in figure.get_size_inches())
    packed = encoder.submit(packed_png, painted(figure, scale=preset.scale), scale=preset.scale, palette=preset.palette)
    drawn = vector(figure, density=PAGE_DENSITY)
    return _Painted(width, height, drawn, packed, encoder.submit(adaptive, drawn, quality=PAGE_QUALITY))


def _write(exhibit: Exhibit, paint: _Painted | None, folder: Path) -> page.Shown:
    """An exhibit's files beside the page, and its two themes as data: URIs for the page itself."""
    files: list[tuple[str, str]] = []
    themed = None
    width = height = 0
    if paint is not None:
        width, height = paint.width, paint.height
        files.append(("PNG", f"figures/{exhibit.slug}.png"))
        (folder / files[-1][1]).write_bytes(paint.png.result())
        if exhibit.kind == "chart":
            files.append(("SVG", f"figures/{exhibit.slug}.svg"))
            (folder / files[-1][1]).write_text(paint.drawn, encoding="utf-8")
        themed = svg_uri(paint.themed.result())
    if exhibit.numbers:
        files.append(("JSON", f"data/{exhibit.slug}.json"))
        write_json(folder / files[-1][1], exhibit.numbers)
    if exhibit.table is not None:
        files.append(("CSV", f"data/{exhibit.slug}.csv"))
        (folder / files[-1][1]).write_text(_csv(exhibit.table), encoding="utf-8", errors="backslashreplace")
    return page.Shown(exhibit, themed, None, width, height, tuple(files))


def _csv(table: Table) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([f"{column.name} [{column.unit}]" if column.unit else column.name for column in table.columns])
    for row in table.rows:
        # A cell that starts like a formula would run in a spreadsheet: names come from outside.
        writer.writerow(
            [f"'{cell}" if isinstance(cell, str) and cell[:1] in "=+-@\t\r" and cell else cell for cell in row]
        )
    return text.getvalue()


def _listed(exhibit: Exhibit) -> Mapping[str, Any]:
    """The numbers of an exhibit for the manifest: themselves, or for very many the name of the file that holds them."""
    many = len(json.dumps(plain(exhibit.numbers))) > MOST_LISTED
    return {"file": f"data/{exhibit.slug}.json"} if many else exhibit.numbers


def manifest_entries(made: Sequence[Made]) -> dict[str, Any]:
    """What the manifest says of the chapters: exhibits with their numbers, and what is missing."""
    return {
        "exhibits": [
            {
                "slug": exhibit.slug,
                "section": part.slug,
                "title": exhibit.title,
                "caption": {"see": exhibit.caption.see, "read": exhibit.caption.read, "cannot": exhibit.caption.cannot},
                "alt": exhibit.alt,
                "file": f"figures/{exhibit.slug}.png" if exhibit.figure is not None else None,
                "numbers": _listed(exhibit),
            }
            for part in made
            for exhibit in part.exhibits
        ],
        "missing": [
            {"section": part.slug, "reason": reason, "command": command}
            for part in made
            for reason, command in part.missing
        ],
    }
