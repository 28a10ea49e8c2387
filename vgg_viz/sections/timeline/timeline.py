"""From the folder of a run to one page that looks back on it, epoch by epoch."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vgg_viz.errors import InputRefused
from vgg_viz.gallery.build import GalleryResult, Study, build
from vgg_viz.gallery.folder import folder_name
from vgg_viz.gallery.index import require_index_place
from vgg_viz.gallery.make_section import Progress, SectionResult
from vgg_viz.models.build import skeleton
from vgg_viz.models.checkpoint import sha256
from vgg_viz.models.geometry import geometry
from vgg_viz.models.vgg import title
from vgg_viz.number_text import counted, percent
from vgg_viz.records import Finding
from vgg_viz.studies.candidate_regions import Suspect, planted, suspects
from vgg_viz.studies.epochs import Walk
from vgg_viz.studies.inputs import folder_classes, gather, phrase
from vgg_viz.studies.kept_run import open_run
from vgg_viz.studies.opening import source_of
from vgg_viz.studies.preset import preset_for


@dataclass(frozen=True, slots=True)
class Timeline:
    """Where the page landed, and everything measured, as plain values: {exhibit: its numbers}."""

    result: GalleryResult
    epochs: tuple[int, ...]
    series: Mapping[str, Any]
    findings: tuple[Finding, ...]


def timeline(
    run: str | os.PathLike[str],
    *,
    images: str | os.PathLike[str] | None = None,
    data: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] = "gallery",
    preset: str = "standard",
    seed: int = 0,
    device: str | torch.device = "cpu",
    overrides: Mapping[str, Any] | None = None,
    region: str | None = None,
    of_class: str | None = None,
    suspected: str | os.PathLike[str] | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> Timeline:
    """Set the network of every kept epoch before the same pictures: `<out>/<run>-timeline/index.html` with figures and numbers.

    run        the folder of a run that has kept its epochs
    region     of a suspected shortcut: "x0,y0,x1,y1" [px], "border[:WIDTH]", "background" or "colours"; of_class: its class
    suspected  a file of suspects: what `audit --json` printed, or the truth of `data shapes --shortcut`
    Other arguments as in `compare`.
    raises     InputRefused and its kin before anything is written; OutputRefused when writing fails: nothing has changed then
    """
    started = time.perf_counter()
    require_index_place(Path(out))
    kept = open_run(run, {"folder_classes": folder_classes(data), **(overrides or {})})
    wanted = kept.checkpoint.architecture
    named = suspects(
        region, of_class, None if suspected is None else Path(suspected), kept.checkpoint.classes, wanted.image_side
    )
    # What the run itself says was planted is tried in any case: another suspect may be the wrong place.
    known = {(one.region, one.index) for one in named}
    own = planted(kept.checkpoint.provenance.data, kept.checkpoint.classes, wanted.image_side)
    named = (*named, *(one for one in own if (one.region, one.index) not in known))
    gigamacs = sum(row.macs for row in geometry(skeleton(wanted))) / 1e9
    chosen = preset_for(preset, gigamacs * len(kept.epochs))
    material = gather(
        kept.checkpoint, images=images, data=data, preset=chosen, gigamacs=gigamacs * len(kept.epochs), seed=seed
    )
    if material.labelled is None and material.looked is None:
        raise InputRefused(
            f"there are no pictures to set before the epochs of {kept.name!r}; give some with --data DIR or --images DIR."
        )
    walk = Walk(kept, material, chosen, seed, device=device, suspects=named, data=data)
    warnings = list(material.warnings)
    if kept.left_out:
        are = "is" if kept.left_out == 1 else "are"
        warnings.append(
            f"{counted(kept.left_out, 'epoch')} of the run {are} left out: {len(kept.epochs)} were taken evenly over it."
        )
    epochs = [{"epoch": epoch, "file": file.name, "sha256": sha256(file)} for epoch, file in kept.files.items()]
    study = Study(
        "timeline",
        walk,
        f"{folder_name(kept.name)}-timeline",
        f"{kept.name}, epoch by epoch",
        f"{title(wanted)}; {counted(len(kept.epochs), 'kept epoch')}, {kept.epochs[0]} to {kept.epochs[-1]}",
        {"": source_of(kept.files[kept.epochs[-1]], kept.checkpoint)},
        chosen,
        seed,
        str(device),
        command=command,
        started=started,
        facts=lambda: _facts(walk),
        verdict=lambda made: _verdict(made, named, suspected),
        classes=walk.classes,
        identity=(f"run of {epochs[0]['sha256']}",),  # the same run, also when it has gone on
        measured_on=material.labelled_from,
        looked_into=phrase(walk.looked_into),
        warnings=tuple(warnings),
        origin=(("Run", kept.name),),
        more=lambda: {"epochs": epochs},
    )
    built = build(study, out=Path(out), progress=progress)
    series = {exhibit.slug: exhibit.numbers for part in built.sections for exhibit in part.exhibits}
    return Timeline(built.result, kept.epochs, series, built.findings)


def _verdict(
    made: Sequence[SectionResult], named: Sequence[Suspect], file: str | os.PathLike[str] | None
) -> tuple[Finding, ...]:
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


def _facts(walk: Walk) -> tuple[tuple[str, str], ...]:
    told = [
        ("Network", title(walk.run.checkpoint.architecture)),
        ("Classes", f"{len(walk.classes):,}"),
        ("Epochs", f"{len(walk.epochs):,} kept"),
    ]
    if walk.material.labelled is not None:
        told += [
            ("Pictures", f"{len(walk.labelled):,}"),
            ("Right at the end", percent(float(walk.right[-1].double().mean()))),
        ]
    return tuple(told)
