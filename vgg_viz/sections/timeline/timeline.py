"""From the folder of a run to one page that looks back on it, epoch by epoch."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vgg_viz.errors import InputRefused
from vgg_viz.gallery.build import build
from vgg_viz.gallery.folder import folder_name
from vgg_viz.gallery.index import require_index_place
from vgg_viz.gallery.make_section import SectionResult
from vgg_viz.gallery.study import GalleryResult, Study
from vgg_viz.models.build import skeleton
from vgg_viz.models.checkpoint import sha256
from vgg_viz.models.geometry import geometry
from vgg_viz.models.vgg import title
from vgg_viz.number_text import counted, percent
from vgg_viz.records import Finding
from vgg_viz.studies.candidate_regions import Suspect, planted_suspects, suspects
from vgg_viz.studies.epochs import EpochSeries, open_run
from vgg_viz.studies.inputs import describe_origin, folder_classes, load_inputs, source_of
from vgg_viz.studies.preset import preset_for
from vgg_viz.studies.request import FilePath, RunRequest


@dataclass(frozen=True, slots=True)
class Timeline:
    """Where the page landed, and everything measured, as plain values: {exhibit: its numbers}."""

    result: GalleryResult
    epochs: tuple[int, ...]
    series: Mapping[str, Any]
    findings: tuple[Finding, ...]


def build_timeline(request: RunRequest) -> Timeline:
    """Set the network of every kept epoch before the same pictures: `<out>/<run>-timeline/index.html` with figures and numbers.

    Raises:
        InputRefused: And its kin, before anything is written.
        OutputRefused: Writing failed; nothing has changed then.
    """
    started = time.perf_counter()
    out, seed = Path(request.out), request.seed
    require_index_place(out)
    kept = open_run(request.run, {"folder_classes": folder_classes(request.data), **request.overrides})
    wanted = kept.checkpoint.architecture
    named = suspects(request, kept.checkpoint.classes, wanted.image_side)
    # What the run itself says was planted is tried in any case: another suspect may be the wrong place.
    known = {(one.region, one.index) for one in named}
    own = planted_suspects(kept.checkpoint.provenance.data, kept.checkpoint.classes, wanted.image_side)
    named = (*named, *(one for one in own if (one.region, one.index) not in known))
    gigamacs = sum(row.macs for row in geometry(skeleton(wanted))) / 1e9
    chosen = preset_for(request.preset, gigamacs * len(kept.epochs))
    inputs = load_inputs(
        kept.checkpoint,
        images=request.images,
        data=request.data,
        preset=chosen,
        gigamacs=gigamacs * len(kept.epochs),
        seed=seed,
    )
    if inputs.labelled is None and inputs.inspected is None:
        raise InputRefused(
            f"there are no pictures to set before the epochs of {kept.name!r}; give some with --data DIR or --images DIR."
        )
    epoch_series = EpochSeries(kept, inputs, chosen, seed, device=request.device, suspects=named, data=request.data)
    warnings = list(inputs.warnings)
    if kept.left_out:
        are = "is" if kept.left_out == 1 else "are"
        warnings.append(
            f"{counted(kept.left_out, 'epoch')} of the run {are} left out: {len(kept.epochs)} were taken evenly over it."
        )
    epochs = [{"epoch": epoch, "file": file.name, "sha256": sha256(file)} for epoch, file in kept.files.items()]
    study = Study(
        "timeline",
        epoch_series,
        f"{folder_name(kept.name)}-timeline",
        f"{kept.name}, epoch by epoch",
        f"{title(wanted)}; {counted(len(kept.epochs), 'kept epoch')}, {kept.epochs[0]} to {kept.epochs[-1]}",
        {"": source_of(kept.files[kept.epochs[-1]], kept.checkpoint)},
        chosen,
        seed,
        str(request.device),
        command=request.command,
        started=started,
        facts=lambda: _facts(epoch_series),
        verdict=lambda made: _verdict(made, named, request.findings),
        classes=kept.checkpoint.classes,
        identity=(f"run of {epochs[0]['sha256']}",),  # the same run, also when it has gone on
        measured_on=inputs.labelled_from,
        looked_into=describe_origin(epoch_series.inspected_origin),
        warnings=tuple(warnings),
        origin=(("Run", kept.name),),
        more=lambda: {"epochs": epochs},
    )
    built = build(study, out=out, progress=request.progress)
    series = {exhibit.slug: exhibit.numbers for part in built.sections for exhibit in part.exhibits}
    return Timeline(built.result, kept.epochs, series, built.findings)


def _verdict(made: Sequence[SectionResult], named: Sequence[Suspect], file: FilePath | None) -> tuple[Finding, ...]:
    """What the sections found; a shortcut comes right after the first line."""
    found = [(part.section.slug, finding) for part in made for finding in part.findings]
    first, rest = (
        [finding for slug, finding in found if slug != "shortcut"],
        [finding for slug, finding in found if slug == "shortcut"],
    )
    told = (
        "No shortcut was looked for" if file is None else f"{Path(file).name} names no shortcut, so none was looked for"
    )
    none = Finding(
        "note",
        f"{told}; name one with --region x0,y0,x1,y1 --class NAME, or give what audit found with --findings FILE.",
    )
    return (*first[:1], *rest, *first[1:], *([] if named else [none]))


def _facts(epoch_series: EpochSeries) -> tuple[tuple[str, str], ...]:
    told = [
        ("Network", title(epoch_series.run.checkpoint.architecture)),
        ("Classes", f"{len(epoch_series.classes):,}"),
        ("Epochs", f"{len(epoch_series.epochs):,} kept"),
    ]
    if epoch_series.inputs.labelled is not None:
        told += [
            ("Pictures", f"{len(epoch_series.labelled):,}"),
            ("Right at the end", percent(float(epoch_series.right[-1].double().mean()))),
        ]
    return tuple(told)
