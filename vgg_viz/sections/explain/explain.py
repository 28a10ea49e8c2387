"""From one picture to one page, or to one figure in a file."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from vgg_viz.atomic import whole_file
from vgg_viz.errors import OutputRefused
from vgg_viz.figures.fonts import names_warning
from vgg_viz.figures.write import pdf, png, svg
from vgg_viz.gallery.build import build
from vgg_viz.gallery.folder import folder_name
from vgg_viz.gallery.index import require_index_place
from vgg_viz.gallery.study import GalleryResult, Study
from vgg_viz.maths.images import SUFFIXES
from vgg_viz.models.checkpoint import sha256
from vgg_viz.models.vgg import title
from vgg_viz.number_text import chosen, counted
from vgg_viz.records import Finding
from vgg_viz.sections.explain import maps, summary_figure
from vgg_viz.sections.explain.facts import facts
from vgg_viz.sections.explain.summary import findings
from vgg_viz.studies import saved_maps
from vgg_viz.studies.alarms import file_alarms, texts_of
from vgg_viz.studies.picture import Explanation, explain_picture
from vgg_viz.studies.preset import PRESETS
from vgg_viz.studies.request import PictureRequest

FIGURES = (".png", ".svg", ".pdf")


@dataclass(frozen=True, slots=True)
class Explained:
    """Where an explanation landed, and what it says.

    result  the page, or None where one figure was asked for
    files   that were written
    facts   plain values for a script
    alarms  what may make it one of another network
    """

    result: GalleryResult | None
    files: tuple[Path, ...]
    facts: Mapping[str, Any]
    warnings: tuple[str, ...]
    alarms: tuple[str, ...] = ()


def build_explanation(request: PictureRequest) -> Explained:
    """One picture explained: `<out>/<checkpoint>-<picture>/index.html`, or the sheet alone where `out` ends in .png, .svg or .pdf.

    The preset "quick" leaves out the runs with parts of the picture hidden, and the channels.

    Raises:
        InputRefused: And its kin, before anything is written.
        OutputRefused: Writing failed; nothing has changed then.
    """
    started = time.perf_counter()
    place, progress = Path(request.out), request.progress
    single = place.suffix.lower() in FIGURES
    if single:
        _require_free(place, force=request.force)
    elif place.suffix.lower() in SUFFIXES and not place.is_dir():
        raise OutputRefused(
            f"{place.name!r} is the name of a picture file, and a figure can be .png, .svg or .pdf; choose another --out."
        )
    else:
        require_index_place(place)
    if progress:
        progress("Asking the network", 0, 1)
    found = explain_picture(request)
    if single:
        write_figure(found, place)
        unread = names_warning(found.checkpoint.classes)
        alarms, told = texts_of(_first(found))
        warnings = (*told, *found.warnings, *([unread] if unread else []))
        return Explained(None, (place,), facts(found), warnings, alarms)
    study = _study(found, request, started)
    built = build(study, out=place, progress=progress)
    folder = built.result.index.parent
    files = tuple(file for file in sorted(folder.rglob("*")) if file.is_file())
    seconds = {**found.seconds, **built.seconds}
    return Explained(
        built.result, files, facts(replace(found, seconds=seconds)), built.result.warnings, built.result.alarms
    )


def write_figure(found: Explanation, file: Path) -> None:
    """The sheet as PNG (twice as fine as on a page), SVG or PDF, whole or not at all."""
    (shown,) = summary_figure.summary_figure(found)
    figure = shown.figure
    if figure is None:
        raise TypeError("a figure was expected")
    kind = file.suffix.lower()
    data = png(figure, scale=2.0) if kind == ".png" else pdf(figure) if kind == ".pdf" else svg(figure).encode()
    with whole_file(file, advice="free some space or choose another --out") as temporary:
        temporary.write_bytes(data)


def _require_free(file: Path, *, force: bool) -> None:
    if file.is_dir():
        raise OutputRefused(f"{file.name!r} is a folder, and a figure was to be written there; choose another --out.")
    if file.exists() and not force:
        raise OutputRefused(f"{file.name!r} exists and would be lost; choose another --out, or add --force.")
    if not file.absolute().parent.is_dir():
        raise OutputRefused(
            f"there is no folder {file.absolute().parent.name!r} to write {file.name!r} into; make it, or choose another --out."
        )


def _study(found: Explanation, request: PictureRequest, started: float) -> Study:
    """What the gallery of an explanation is about."""
    passes = found.computed.passes + sum(one.passes for one in (found.removal, *found.others.values()) if one)
    return Study(
        "explanation",
        found,
        f"{folder_name(found.source.stem)}-{folder_name(Path(found.name).stem)}",
        found.name,
        f"seen by {found.source.title}: {', '.join(_network(found))}",
        {"": found.source},
        replace(
            PRESETS["standard"], name=found.preset, palette=False
        ),  # a palette halves a figure's bytes and costs most of its time
        found.seed,
        str(request.device),
        command=request.command,
        started=started,
        facts=lambda: _head(found),
        verdict=lambda _made: findings(found),
        classes=found.checkpoint.classes,
        identity=(found.source.identity, f"picture {_checksum(found, request)}"),
        listed=f"{found.name} ({found.source.title})",
        looked_into=f"{found.name}, {found.original[1]} × {found.original[0]} px",
        warnings=found.warnings,
        first=lambda: _first(found),
        origin=(("Passes of the network", f"{passes:g}"),),
        more=lambda: {"explanation": facts(found)},
        deliver=partial(_deliver, found),
    )


def _checksum(found: Explanation, request: PictureRequest) -> str:
    """SHA-256 of the picture's file, or of what the network sees of a picture in memory."""
    if isinstance(request.image, str | os.PathLike):
        return sha256(Path(request.image))
    return hashlib.sha256(found.batch.images.numpy().tobytes()).hexdigest()


def _deliver(found: Explanation, folder: Path) -> dict[str, Any]:
    """Every map with what it depends on, raw, signed and float."""
    here = saved_maps.origin(
        found.model, found.batch.images, found.batch.names, found.checkpoint.classes, checkpoint=found.source.sha256
    )
    shown = [(saved_maps.write(folder, one, here, target=word), one, word) for word, one in maps.raw(found).values()]
    return {"maps": [saved_maps.manifest_entry(*entry) for entry in shown]}


def _first(found: Explanation) -> tuple[Finding, ...]:
    return (*file_alarms(found.checkpoint), *found.examined.findings)


def _network(found: Explanation) -> tuple[str, ...]:
    """What it is, and how many classes it knows where it has a classifier."""
    name, count = title(found.checkpoint.architecture), len(found.classes)
    return (name, counted(count, found.noun, "classes" if found.noun == "class" else "")) if count else (name,)


def _head(found: Explanation) -> tuple[tuple[str, str], ...]:
    predicted, kinds = found.computed.predicted, {"class": "Classes", "label": "Labels", "score": "Scores"}
    says = "Says" if found.noun == "class" else chosen(found.noun).capitalize()
    return (
        ("Network", title(found.checkpoint.architecture)),
        *([(kinds[found.noun], f"{len(found.classes):,}")] if found.classes else []),
        ("Input", f"{found.checkpoint.architecture.image_side} px"),
        *([] if predicted is None else [(says, found.classes[predicted])]),
    )
