"""Localisation: a box from saliency and a cut by colours, beside boxes made without the network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor

from vgg_viz.attribution.localisation import CENTRE_CUT, FOUND, Localised, by_saliency, controls, overlaps
from vgg_viz.data.annotations import truth_kind
from vgg_viz.figures.image_grid import outlined, pixels, render_map
from vgg_viz.figures.pictures import steps
from vgg_viz.gallery.sections import section
from vgg_viz.gallery.texts import Texts
from vgg_viz.maths.heatmaps import MAP_INSIDE, shared_scale
from vgg_viz.maths.images import Array
from vgg_viz.maths.metrics import bootstrap_interval, wilson_interval
from vgg_viz.maths.receptive_field import Box
from vgg_viz.records import Batch, Column, Exhibit, Table
from vgg_viz.sections.report.activations import require_inspected
from vgg_viz.studies.answers import evenly_spaced, select_images
from vgg_viz.studies.preset import LARGE_GIGAMACS
from vgg_viz.studies.subject import Subject

TEXTS = Texts(__name__)
MEASURED, FEW = 24, 4  # pictures with masks that are measured; of a large network
OURS = "saliency, then a cut"


@section("localisation", study="report", order=87, chapter="depth", needs="scores")
def localisation(subject: Subject) -> Iterator[Exhibit]:
    """From picture to box, step by step; and how often the box is right, where masks say where the object is."""
    inspected = require_inspected(subject)
    count = min(max(1, subject.preset.rows // 2), len(inspected.batch))
    shown = select_images(inspected.batch, evenly_spaced(len(inspected.batch), count))
    maps, localised = by_saliency(subject.model, shown.images.to(subject.device))
    yield _steps(shown, maps, localised)
    large = sum(row.macs for row in subject.geometry) > LARGE_GIGAMACS * 1e9
    batch = next((b for b in (subject.inputs.labelled, inspected.batch) if b is not None and b.masks is not None), None)
    if batch is not None and batch.masks is not None:
        some = select_images(batch, batch.known.nonzero()[: FEW if large else MEASURED, 0].tolist())
        if some.masks is not None and len(some):
            yield _measured(subject, some, some.masks)


def _steps(batch: Batch, maps: Tensor, localised: tuple[Localised, ...]) -> Exhibit:
    photos = pixels(batch.images)
    rows, captions, boxes = [], [], []
    for n, (photo, cut_out) in enumerate(zip(photos, localised, strict=True)):
        scale = shared_scale(maps[n], signed=False, unit="logit / intensity", over="this map", quantile=MAP_INSIDE)
        seeds = 0.35 * photo + 0.65 * np.where(
            cut_out.objects[..., None], (0.9, 0.3, 0.1), np.where(cut_out.ground[..., None], (0.1, 0.35, 0.7), photo)
        )
        cut = photo * np.where(cut_out.piece[..., None], 1.0, 0.25)
        framed = photo if cut_out.box is None else outlined(photo, _filled(cut_out.box, photo.shape[:2]), thickness=1)
        if batch.masks is not None:
            framed = outlined(framed, batch.masks[n].numpy(), thickness=1)
        rows.append(
            [
                photo,
                render_map(maps[n].numpy(), scale)[..., :3],
                seeds.astype(np.float32),
                cut.astype(np.float32),
                framed,
            ]
        )
        boxes.append(None if cut_out.box is None else [cut_out.box.x0, cut_out.box.y0, cut_out.box.x1, cut_out.box.y1])
        captions.append(batch.names[n])
    text = TEXTS.exhibit(
        "steps", pictures=len(rows), kind=truth_kind(batch), boxes=sum(box is not None for box in boxes)
    )
    return Exhibit(
        "localisation-steps",
        text.title,
        text.caption,
        text.alt,
        figure=steps(
            rows,
            ["picture", "saliency", "seeds", "cut", "box"],
            captions=captions,
            title="Localisation from saliency, in four steps",
        ),
        kind="picture",
        numbers={"pictures": batch.names, "boxes": boxes},
    )


def _measured(subject: Subject, batch: Batch, masks: Tensor) -> Exhibit:
    _, localised = by_saliency(subject.model, batch.images.to(subject.device))
    named = {OURS: tuple(cut_out.box for cut_out in localised), **controls(batch.images)}
    scores = {name: overlaps(boxes, masks) for name, boxes in named.items()}
    lines: dict[str, dict[str, Any]] = {
        name: {
            "overlap": float(values.mean()),
            "interval": bootstrap_interval(values, seed=subject.seed),
            "found": float((values >= FOUND).double().mean()),
            "found_interval": wilson_interval(float((values >= FOUND).sum()), len(values)),
        }
        for name, values in scores.items()
    }
    best = max((name for name in lines if name != OURS), key=lambda name: lines[name]["overlap"])
    gain = scores[OURS] - scores[best]
    low, high = bootstrap_interval(gain, seed=subject.seed)
    text = TEXTS.exhibit(
        "overlap",
        pictures=len(batch),
        kind=truth_kind(batch),
        ruled=FOUND,
        centre_cut=CENTRE_CUT,
        ahead_of_centre=float((scores[OURS] - scores[CENTRE_CUT]).mean()) > 0,
        comparison=TEXTS.say(
            "phrases.comparison",
            overlap=lines[OURS]["overlap"],
            control=best,
            control_overlap=lines[best]["overlap"],
            gain=float(gain.mean()),
            low=low,
            high=high,
        ),
    )
    return Exhibit(
        "localisation-overlap",
        text.title,
        text.caption,
        text.alt,
        table=Table(
            (
                Column("boxes"),
                Column("overlap", "%", True),
                Column("from", "%", True),
                Column("to", "%", True),
                Column("found", "%", True),
                Column("from ", "%", True),
                Column("to ", "%", True),
            ),
            tuple(
                (
                    name,
                    *(
                        round(100 * value, 1)
                        for value in (line["overlap"], *line["interval"], line["found"], *line["found_interval"])
                    ),
                )
                for name, line in lines.items()
            ),
        ),
        numbers={
            "pictures": len(batch),
            "best_control": best,
            "gain": float(gain.mean()),
            "gain_interval": [low, high],
            "boxes": lines,
        },
    )


def _filled(box: Box, size: tuple[int, ...]) -> Array:
    mask = np.zeros(size[:2], bool)
    mask[box.y0 : box.y1, box.x0 : box.x1] = True
    return mask
