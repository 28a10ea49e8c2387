"""From a checkpoint to a gallery: opened, its pictures gathered, its maps kept, and built."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from vgg_viz.capture.predict import class_network
from vgg_viz.gallery.build import build
from vgg_viz.gallery.folder import folder_name
from vgg_viz.gallery.index import require_index_place
from vgg_viz.gallery.study import GalleryResult, Study
from vgg_viz.models.geometry import geometry
from vgg_viz.sections.report.layout import layout
from vgg_viz.sections.report.opening import opening
from vgg_viz.sections.report.verdict import alarms, facts, verdict
from vgg_viz.studies.deadline import deadline_of
from vgg_viz.studies.explorer_live import explore
from vgg_viz.studies.inputs import folder_classes, load_inputs, open_checkpoint
from vgg_viz.studies.map_cache import MapCache, resumable
from vgg_viz.studies.next_steps import command_words
from vgg_viz.studies.preset import fit_preset, preset_for
from vgg_viz.studies.request import ReportRequest
from vgg_viz.studies.subject import Subject, subtitle
from vgg_viz.studies.without_scores import lacks_of
from vgg_viz.studies.witnesses import examine

RAW_MAPS = "data/map-*.safetensors hold every map raw, as float, and in their headers what each depends on"


def build_report(request: ReportRequest) -> GalleryResult:
    """Turn a checkpoint into `<out>/<stem>/index.html` with its figures and numbers.

    Raises:
        InputRefused: And its kin, before anything is written.
        OutputRefused: Writing failed; nothing has changed then.
    """
    started, deadline = time.perf_counter(), deadline_of(request.budget, request.began)
    out, seed, device = Path(request.out), request.seed, str(request.device)
    require_index_place(out)
    own = open_checkpoint(
        request.source, seed=seed, overrides={"folder_classes": folder_classes(request.data), **request.overrides}
    )
    checkpoint = own.checkpoint
    model = class_network(checkpoint).to(request.device)
    gigamacs = sum(row.macs for row in geometry(model)) / 1e9
    chosen = fit_preset(preset_for(request.preset, gigamacs), model)
    if deadline:
        chosen = deadline.shorten(chosen, model, checkpoint.architecture.image_side)
    inputs = load_inputs(
        checkpoint, images=request.images, data=request.data, preset=chosen, gigamacs=gigamacs, seed=seed
    )
    seen = examine(checkpoint, model, inputs.labelled or inputs.given, seed=seed)
    checkpoint, model, own = seen.checkpoint, seen.model, replace(own, checkpoint=seen.checkpoint)
    words = request.words or command_words(request.source, request.data, request.overrides)
    folder = folder_name(own.stem)
    with resumable(out / folder, settings=(own.sha256, chosen.name, seed, device)) as finished:
        maps = MapCache(
            model,
            checkpoint.classes,
            chosen,
            seed,
            checkpoint=own.sha256,
            folder=finished if request.keep_maps else None,
            deadline=deadline,
        )
        subject = Subject(checkpoint, model, inputs, chosen, seed, maps=maps, examined=seen)
        study = Study(
            "report",
            subject,
            folder,
            own.title,
            subtitle(subject),
            {"": own},
            chosen,
            seed,
            device,
            command=request.command,
            started=started,
            facts=lambda: facts(subject),
            verdict=lambda made: verdict(subject, made),
            opening=lambda findings: opening(subject, findings, words),
            classes=checkpoint.classes,
            measured_on=inputs.labelled_from,
            looked_into=inputs.inspected_from,
            warnings=inputs.warnings,
            lacks=lacks_of({"": checkpoint}),
            first=lambda: (*alarms(subject), *seen.findings),
            origin=(
                *([("Objects", inputs.objects)] if inputs.objects else []),
                ("Raw maps", RAW_MAPS if request.keep_maps else "none"),
            ),
            deliver=lambda data: {"maps": maps.deliver(data) if request.keep_maps else []},
            explorer=lambda: explore(subject),
            layout=layout(),
        )
        built = build(study, out=out, progress=request.progress, deadline=deadline, one_file=request.one_file)
    return replace(built.result, notes=(*maps.notes(), *built.result.notes))
