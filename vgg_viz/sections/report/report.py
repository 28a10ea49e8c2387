"""From a checkpoint to a gallery: opened, its pictures gathered, its maps kept, and built."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from vgg_viz.errors import InputRefused
from vgg_viz.gallery.build import GalleryResult, Study, build
from vgg_viz.gallery.folder import folder_name
from vgg_viz.gallery.index import require_index_place
from vgg_viz.gallery.make_section import Progress
from vgg_viz.models.build import build as network
from vgg_viz.models.geometry import geometry
from vgg_viz.sections.report.verdict import facts, verdict
from vgg_viz.studies.deadline import deadline_of
from vgg_viz.studies.explorer_live import explore
from vgg_viz.studies.inputs import folder_classes, gather
from vgg_viz.studies.map_cache import MapCache
from vgg_viz.studies.opening import opened
from vgg_viz.studies.preset import fitting, preset_for
from vgg_viz.studies.resume import resumable
from vgg_viz.studies.subject import Subject, subtitle

RAW_MAPS = "data/map-*.safetensors hold every map raw, as float, and in their headers what each depends on"


def report(
    source: str | os.PathLike[str] | None = None,
    *,
    images: str | os.PathLike[str] | None = None,
    data: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] = "gallery",
    preset: str = "standard",
    seed: int = 0,
    device: str | torch.device = "cpu",
    overrides: Mapping[str, Any] | None = None,
    one_file: bool = False,
    keep: bool = True,
    budget: float | None = None,
    began: float | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> GalleryResult:
    """Turn a checkpoint into `<out>/<stem>/index.html` with its figures and numbers.

    source     checkpoint file, a variant's name, or None for the bundled Tiny VGG
    images     a folder of pictures, or one: what the report looks into
    data       an ImageFolder: what the report measures on
    overrides  keywords of `load` (arch, classes, image_size, padding, mean, std, key, weights)
    one_file   write the gallery as one file to mail too, where that is light enough
    keep       all maps raw beside the page, and finished maps where the report is interrupted
    budget     seconds that it may take: maps and sections that do not fit are left out, and that is said; None: all of it
    began      when the budget began to run (time.perf_counter), for a command that had to load first; None: now
    command    as the reader would type it; shown on the page
    raises     InputRefused and its kin before anything is written; OutputRefused when writing fails: nothing has changed then
    """
    started, deadline = time.perf_counter(), deadline_of(budget, began)
    require_index_place(Path(out))
    own = opened(source, seed=seed, overrides={"folder_classes": folder_classes(data), **(overrides or {})})
    checkpoint = own.checkpoint
    model = network(checkpoint).to(device)
    gigamacs = sum(row.macs for row in geometry(model)) / 1e9
    chosen = fitting(preset_for(preset, gigamacs), model)
    if deadline:
        chosen = deadline.shorten(chosen, model, checkpoint.architecture.image_side)
    material = gather(checkpoint, images=images, data=data, preset=chosen, gigamacs=gigamacs, seed=seed)
    folder = folder_name(own.stem)
    with resumable(Path(out) / folder, settings=(own.sha256, chosen.name, seed, str(device))) as finished:
        maps = MapCache(
            model,
            checkpoint.classes,
            chosen,
            seed,
            checkpoint=own.sha256,
            folder=finished if keep else None,
            deadline=deadline,
        )
        subject = Subject(checkpoint, model, material, chosen, seed, maps=maps)
        study = Study(
            "report",
            subject,
            folder,
            own.title,
            subtitle(subject),
            {"": own},
            chosen,
            seed,
            str(device),
            command=command,
            started=started,
            facts=lambda: facts(subject),
            verdict=lambda made: verdict(subject, [finding for part in made for finding in part.findings]),
            classes=checkpoint.classes,
            measured_on=material.labelled_from,
            looked_into=material.looked_from,
            warnings=material.warnings,
            origin=(
                *([("Objects", material.objects)] if material.objects else []),
                ("Raw maps", RAW_MAPS if keep else "none"),
            ),
            deliver=lambda data: {"maps": maps.deliver(data) if keep else []},
            explorer=lambda: explore(subject),
        )
        built = build(study, out=Path(out), progress=progress, deadline=deadline, one_file=one_file)
    return replace(built.result, notes=(*maps.said(), *built.result.notes))


def module_device(name: str) -> str:
    """ "auto" as the best device there is; refuses one that is not."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available.get(name, False):
        raise InputRefused(f"device {name!r} is not available here; use --device cpu or auto.")
    return name
