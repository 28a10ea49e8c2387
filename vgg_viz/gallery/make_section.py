"""One section of a gallery made, its figures rendered and its files written; what fails costs only itself."""

from __future__ import annotations

import csv
import io
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from vgg_viz.errors import NotForThisNetwork, OutputRefused, SectionMissing
from vgg_viz.figures.write import adaptive_svg, compress_png, light_svg, render
from vgg_viz.gallery.layout import PageExhibit, PageSection
from vgg_viz.gallery.sections import Section
from vgg_viz.gallery.write_page import svg_uri
from vgg_viz.plain_json import plain, write_json
from vgg_viz.records import Exhibit, Finding, Table

MOST_LISTED = 800  # characters of one exhibit's numbers in the manifest
PAGE_DENSITY, PAGE_QUALITY = 1.15, 45  # of photographs in the page; as WebP


class PresetFacts(Protocol):
    """The facts of a preset that a gallery needs."""

    @property
    def name(self) -> str:
        """What the user calls it: "quick"."""
        ...

    @property
    def scale(self) -> float:
        """Pixels of a PNG to a figure pixel."""
        ...

    @property
    def palette(self) -> bool:
        """Whether photographs get 256 colours."""
        ...


@dataclass(slots=True)
class SectionResult:
    """What one section made.

    Attributes:
        section: The section as it is registered.
        exhibits: What it shows.
        missing: What it lacks: (reason, command that fills it).
        absent: Why there can be none of it here, in a sentence, which is no fault; "" where there can.
        findings: For the verdict at the top.
        seconds: Time that it took [s].
    """

    section: Section
    exhibits: list[Exhibit] = field(default_factory=list)
    missing: list[tuple[str, str]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    absent: str = ""
    seconds: float = 0.0


def make_section(section: Section, subject: Any) -> SectionResult:
    """Make one section of what the study is about; where it fails it keeps what it had yielded and names what it lacks."""
    result = SectionResult(section)
    started = time.perf_counter()
    try:
        for item in section.make(subject):
            if isinstance(item, Finding):
                result.findings.append(item)
            else:
                result.exhibits.append(item)
    except SectionMissing as missing:
        if isinstance(missing, NotForThisNetwork):
            result.absent = missing.reason
        else:
            result.missing.append((missing.reason, missing.command))
    except OutputRefused:
        raise  # the disk is full, or worse: no other section would fare better
    except Exception as error:
        # One broken section, whatever broke it, must not cost the reader the other eight; the page and status 1 name it.
        result.missing.append((failure("this part failed", error), ""))
        if os.environ.get("VGG_VIZ_DEBUG"):
            raise
    result.seconds = time.perf_counter() - started
    return result


def failure(what: str, error: Exception) -> str:
    """An unforeseen error as the page tells it: without the paths that the system's own sentence would hold."""
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{what}: {type(error).__name__}: {why[:200]}"


def write_section(result: SectionResult, folder: Path, preset: PresetFacts) -> PageSection:
    """Write a section's files into `figures/` and `data/` of the folder.

    Args:
        result: What the section made. A figure that fails here leaves its exhibits and is named in its `missing`.
        folder: Of the gallery.
        preset: How figures are encoded.

    Returns:
        The section as the page shows it.

    Raises:
        OSError: The disk says no.
    """
    on_page: list[PageExhibit] = []
    written: list[Exhibit] = []
    with ThreadPoolExecutor(
        1
    ) as encoder:  # encodes one figure while matplotlib, which knows one thread, renders the next
        rendered: list[tuple[Exhibit, _RenderedFigure | None]] = []
        for exhibit in result.exhibits:
            with _failing_alone(result, exhibit, folder):
                rendered.append((exhibit, _render(exhibit, preset, encoder)))
        for exhibit, figure in rendered:
            with _failing_alone(result, exhibit, folder):
                on_page.append(_write(exhibit, figure, folder))
                written.append(exhibit)
    result.exhibits[:] = written
    section = result.section
    missing = tuple(result.missing)
    return PageSection(
        section.slug, section.title, section.lead, tuple(on_page), missing, result.absent, section.chapter
    )


@contextmanager
def _failing_alone(result: SectionResult, exhibit: Exhibit, folder: Path) -> Iterator[None]:
    """A figure that fails in this block costs only itself: it is named in `result.missing`, and no half of it stays."""
    try:
        yield
    except OSError:
        raise  # the disk is full, or worse: no other figure would fare better
    except Exception as error:
        result.missing.append((failure(f"the figure {exhibit.title!r} failed", error), ""))
        for half in folder.glob(f"*/{exhibit.slug}.*"):
            half.unlink()


@dataclass(frozen=True, slots=True)
class _RenderedFigure:
    """A figure that matplotlib is done with: width and height [px], as SVG, and what is being encoded from it meanwhile."""

    width: int
    height: int
    svg: str
    png: Future[bytes]
    adaptive_svg: Future[str]


def _render(exhibit: Exhibit, preset: PresetFacts, encoder: ThreadPoolExecutor) -> _RenderedFigure | None:
    figure = exhibit.figure
    if figure is None:
        return None
    width, height = (round(size * figure.dpi) for size in figure.get_size_inches())
    pixels = render(figure, scale=preset.scale)
    png = encoder.submit(compress_png, pixels, scale=preset.scale, palette=preset.palette)
    svg = light_svg(figure, density=PAGE_DENSITY)
    return _RenderedFigure(width, height, svg, png, encoder.submit(adaptive_svg, svg, quality=PAGE_QUALITY))


def _write(exhibit: Exhibit, figure: _RenderedFigure | None, folder: Path) -> PageExhibit:
    """An exhibit's files beside the page, and its figure as a data: URI for the page itself."""
    files: list[tuple[str, str]] = []
    address = None
    width = height = 0
    if figure is not None:
        width, height = figure.width, figure.height
        files.append(("PNG", f"figures/{exhibit.slug}.png"))
        (folder / files[-1][1]).write_bytes(figure.png.result())
        if exhibit.kind == "chart":
            files.append(("SVG", f"figures/{exhibit.slug}.svg"))
            (folder / files[-1][1]).write_text(figure.svg, encoding="utf-8")
        address = svg_uri(figure.adaptive_svg.result())
    if exhibit.numbers:
        files.append(("JSON", f"data/{exhibit.slug}.json"))
        write_json(folder / files[-1][1], exhibit.numbers)
    if exhibit.table is not None:
        files.append(("CSV", f"data/{exhibit.slug}.csv"))
        (folder / files[-1][1]).write_text(_csv(exhibit.table), encoding="utf-8", errors="backslashreplace")
    return PageExhibit(exhibit, address, None, width, height, tuple(files))


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


def _listed_numbers(exhibit: Exhibit) -> Mapping[str, Any]:
    """The numbers of an exhibit for the manifest: themselves, or for very many the name of the file that holds them."""
    many = len(json.dumps(plain(exhibit.numbers))) > MOST_LISTED
    return {"file": f"data/{exhibit.slug}.json"} if many else exhibit.numbers


def manifest_entries(results: Sequence[SectionResult]) -> dict[str, Any]:
    """What the manifest says of the sections: exhibits with their numbers, what is missing, and what there cannot be."""
    return {
        "exhibits": [
            {
                "slug": exhibit.slug,
                "section": result.section.slug,
                "title": exhibit.title,
                "caption": {"see": exhibit.caption.see, "read": exhibit.caption.read, "cannot": exhibit.caption.cannot},
                "alt": exhibit.alt,
                "file": f"figures/{exhibit.slug}.png" if exhibit.figure is not None else None,
                "numbers": _listed_numbers(exhibit),
            }
            for result in results
            for exhibit in result.exhibits
        ],
        "missing": [
            {"section": result.section.slug, "reason": reason, "command": command}
            for result in results
            for reason, command in result.missing
        ],
        "absent": [{"section": result.section.slug, "reason": result.absent} for result in results if result.absent],
    }
