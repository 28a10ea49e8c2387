"""From one picture to one page, or to one figure in a file."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from vgg_viz._version import __version__
from vgg_viz.errors import OutputRefused
from vgg_viz.figures.write import pdf, png, svg
from vgg_viz.maths.images import SUFFIXES
from vgg_viz.models.checkpoint import BUNDLED
from vgg_viz.models.vgg import title
from vgg_viz.models.whole_file import whole_file
from vgg_viz.plain_json import write_json
from vgg_viz.report import page, receipts
from vgg_viz.report.exhibits import Chapter, Made, Progress, make_all, manifest_entries, write_chapter
from vgg_viz.report.explaining import depth, hiding, maps, sheet
from vgg_viz.report.explaining.explanation import Explanation, explained
from vgg_viz.report.explaining.facts import facts
from vgg_viz.report.explaining.telling import findings
from vgg_viz.report.gallery import Result
from vgg_viz.report.index import require_index_place, write_index
from vgg_viz.report.preset import PRESETS
from vgg_viz.report.publishing import publish
from vgg_viz.report.writing import MANIFEST, SCHEMA, folder_name, replacing
from vgg_viz.versions import made_at, reproducible, versions

FIGURES = (".png", ".svg", ".pdf")


@dataclass(frozen=True, slots=True)
class Explained:
    """Where an explanation landed, and what it says.

    result  the page, or None where one figure was asked for
    files   that were written
    facts   plain values for a script
    """

    result: Result | None
    files: tuple[Path, ...]
    facts: Mapping[str, Any]
    warnings: tuple[str, ...]


def explain(
    source: str | os.PathLike[str] | None,
    image: str | os.PathLike[str],
    *,
    methods: Sequence[str] = (),
    target: str | int | None = None,
    against: str | int | None = None,
    unit: str | None = None,
    layer: str | None = None,
    out: str | os.PathLike[str] = "gallery",
    force: bool = False,
    preset: str = "standard",
    seed: int = 0,
    device: str | torch.device = "cpu",
    overrides: Mapping[str, Any] | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> Explained:
    """One picture explained: `<out>/<checkpoint>-<picture>/index.html`, or the sheet alone where `out` ends in .png, .svg or .pdf.

    source   checkpoint file, a variant's name, or None for the bundled Tiny VGG
    image    a picture file
    methods  names of `attribution.methods()`, the leading one first; none: Grad-CAM and saliency
    target   the class that it should be, by name or index; None: nobody says
    against  the class whose evidence is subtracted in the difference; None: see `question.settled`
    unit     what the maps are about in place of classes: conv5_3:12 for a channel, conv5_3:12:3,4 for one place of it
    preset   "quick" leaves out the runs with parts of the picture hidden, and the channels
    force    replace the figure `out` where it exists
    raises   InputRefused and its kin before anything is written; OutputRefused when writing fails: nothing has changed then
    """
    started = time.perf_counter()
    place = Path(out)
    single = place.suffix.lower() in FIGURES
    if single:
        _require_free(place, force=force)
    elif place.suffix.lower() in SUFFIXES and not place.is_dir():
        raise OutputRefused(f"{place.name!r} is the name of a picture file, and a figure can be .png, .svg or .pdf; choose another --out.")
    else:
        require_index_place(place)
    if progress:
        progress("Asking the network", 0, 1)
    found = explained(source, image, methods=methods, target=target, against=against, unit=unit, layer=layer, preset=preset, seed=seed,
                      device=device, overrides=overrides)  # fmt: skip
    context = {"command": command, "device": str(device), "started": started}
    if single:
        write_figure(found, place)
        return Explained(None, (place,), facts(found), found.warnings)
    stem = BUNDLED.stem if source is None else Path(os.path.abspath(source)).stem
    target_folder = place / f"{folder_name(stem)}-{folder_name(Path(found.name).stem)}"
    seconds = dict(found.seconds)
    with replacing(target_folder) as folder:
        result = _gallery(found, folder, target_folder, context, progress, seconds)
        files = tuple(target_folder / file.relative_to(folder) for file in sorted(folder.rglob("*")) if file.is_file())
    write_index(place)
    return Explained(result, files, facts(replace(found, seconds=seconds)), result.warnings)


def write_figure(found: Explanation, file: Path) -> None:
    """The sheet as PNG (twice as fine as on a page), SVG or PDF, whole or not at all."""
    (shown,) = sheet.sheet(found)
    figure = shown.figure
    if figure is None:
        raise TypeError("a figure was expected")
    kind = file.suffix.lower()
    data = png(figure, scale=2.0) if kind == ".png" else pdf(figure) if kind == ".pdf" else svg(figure).encode()
    try:
        with whole_file(file) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise OutputRefused(f"{file.name!r} cannot be written ({error.strerror or error}); choose another --out.") from error


def _require_free(file: Path, *, force: bool) -> None:
    if file.is_dir():
        raise OutputRefused(f"{file.name!r} is a folder, and a figure was to be written there; choose another --out.")
    if file.exists() and not force:
        raise OutputRefused(f"{file.name!r} exists and would be lost; choose another --out, or add --force.")
    if not file.absolute().parent.is_dir():
        raise OutputRefused(f"there is no folder {file.absolute().parent.name!r} to write {file.name!r} into; make it, or choose another --out.")


def _gallery(found: Explanation, folder: Path, target: Path, context: Mapping[str, Any], progress: Progress | None,
             seconds: dict[str, float]) -> Result:  # fmt: skip
    """Paint and write everything into `folder`; `seconds` learns how long that took."""
    preset = replace(PRESETS["standard"], palette=False)  # a palette halves the bytes of a figure and costs most of its time
    for name in ("figures", "data"):
        (folder / name).mkdir()
    clock = [time.perf_counter()]
    made = make_all(_chapters(found), progress)
    shown = [write_chapter(chapter, folder, preset) for chapter in made]
    clock.append(time.perf_counter())
    _write_receipts(found, folder / "data")
    missing = tuple((chapter.title, reason) for chapter in made for reason, _ in chapter.missing)
    told = findings(found)
    built = page.Page(
        title=found.name, subtitle=f"seen by {found.checkpoint.provenance.file}: {title(found.checkpoint.architecture)}, {len(found.classes):,} classes",
        findings=tuple(told), facts=_head(found), warnings=found.warnings, sections=tuple(shown), footer=tuple(_footer(found, context, time.perf_counter() - float(context["started"]))),
    )  # fmt: skip
    warnings = (*found.warnings, *publish(folder, built))
    write_json(folder / MANIFEST, {**_manifest(found, made, context), "warnings": warnings})
    seconds |= {"painting": clock[1] - clock[0], "writing": time.perf_counter() - clock[1]}
    return Result(target / "index.html", missing, warnings)


def _write_receipts(found: Explanation, folder: Path) -> None:
    """Every map raw, signed and float, with what it depends on."""
    here = receipts.origin(found.model, found.batch.images, found.batch.names, found.classes, checkpoint=found.fingerprint)
    for word, one in maps.raw(found).values():
        receipts.write(folder, one, here, target=word)


def _chapters(found: Explanation) -> list[Chapter]:
    told = [
        ("answer", "The answer", "What the network says, where it finds its evidence, and what would have to change.", sheet.sheet),
        ("maps", "The maps", "The same question by method, class and layer.", maps.maps),
        ("removal", "What had to go", "A map is a claim about what matters. Here the claim is put to the network.", hiding.hiding),
        ("layers", "Layer by layer", "From edges to objects: where the evidence stands at each depth.", depth.layers),
        ("channels", "Channel by channel", "A map of a layer is a weighted sum of its channels: these are its largest terms.", depth.channels),
    ]
    empty = {"removal": found.removal is None, "channels": found.look.channels is None}
    kept = [entry for entry in told if not empty.get(entry[0])]
    return [(slug, title_, lead, partial(make, found)) for slug, title_, lead, make in kept]


def _head(found: Explanation) -> tuple[tuple[str, str], ...]:
    return (
        ("Network", title(found.checkpoint.architecture)), ("Classes", f"{len(found.classes):,}"),
        ("Input", f"{found.checkpoint.architecture.image_side} px"), ("Says", found.classes[found.look.predicted]),
    )  # fmt: skip


def _footer(found: Explanation, context: Mapping[str, Any], seconds: float) -> Iterable[tuple[str, str]]:
    yield "Command", str(context["command"]) or "vgg_viz.report.explaining.explain.explain(...)"
    yield "Made", made_at()
    yield "Versions", ", ".join(f"{name} {version}" for name, version in versions().items())
    yield "Device and numbers", f"{context['device']}, float32"
    yield "Seed", str(found.seed)
    yield "Preset", found.preset
    yield "Checkpoint", found.checkpoint.provenance.file
    yield "Checkpoint SHA-256", found.fingerprint or "not a file"
    yield "Picture", f"{found.name}, {found.original[1]} × {found.original[0]} px"
    yield "Passes of the network", f"{found.look.passes + sum(one.passes for one in (found.removal, *found.others.values()) if one):g}"
    if not reproducible():
        yield "Run time", f"{seconds:.1f} s"


def _manifest(found: Explanation, made: Sequence[Made], context: Mapping[str, Any]) -> dict[str, Any]:
    provenance = found.checkpoint.provenance
    return {
        "vgg_viz": __version__, "schema": SCHEMA, "kind": "explanation", "title": f"{found.name} ({provenance.file})", "command": context["command"],
        "made": made_at(), "seed": found.seed, "preset": found.preset, "device": context["device"], "versions": versions(),
        "checkpoint": {
            "file": provenance.file, "sha256": found.fingerprint, "format": provenance.format, "evidence": provenance.evidence,
            "alternatives": provenance.alternatives, "ignored_keys": provenance.ignored_keys, "data": provenance.data, "training": provenance.training,
        },
        "facts": dict(_head(found)), "findings": [{"level": finding.level, "text": finding.text} for finding in findings(found)],
        "explanation": facts(found), "timings": {} if reproducible() else {part.slug: round(part.seconds, 3) for part in made},
        **manifest_entries(made),
    }  # fmt: skip
