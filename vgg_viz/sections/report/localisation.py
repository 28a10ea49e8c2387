"""Localisation: the object's place as VGG's authors found it in 2014, beside controls that know nothing."""

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
from vgg_viz.maths.heatmaps import PIXELS_INSIDE, shared_scale
from vgg_viz.maths.images import Array
from vgg_viz.maths.metrics import bootstrap_interval, wilson_interval
from vgg_viz.maths.receptive_field import Box
from vgg_viz.number_text import counted, percent, rows_of
from vgg_viz.records import Batch, Caption, Column, Exhibit, Table
from vgg_viz.sections.report.activations import looked_at
from vgg_viz.studies.preset import LARGE_GIGAMACS
from vgg_viz.studies.subject import Subject, picked, spread

MEASURED, FEW = 24, 4  # pictures with masks that are measured; of a large network
OURS = "saliency, then a cut"


@section(
    "localisation",
    study="report",
    title="Where is the object? The way of 2014",
    order=87,
    lead="A classifier was never told where things are. Its authors let its saliency seed a cut by colours, and drew a box: how far does that go, "
    "and how much of it is the network's merit?",
)
def localisation(subject: Subject) -> Iterator[Exhibit]:
    """From picture to box, step by step; and how often the box is right, where masks say where the object is."""
    looked = looked_at(subject)
    count = min(max(1, subject.preset.rows // 2), len(looked.batch))
    shown = picked(looked.batch, spread(len(looked.batch), count))
    maps, found = by_saliency(subject.model, shown.images.to(subject.device))
    yield _steps(shown, maps, found)
    large = sum(row.macs for row in subject.geometry) > LARGE_GIGAMACS * 1e9
    batch = next((b for b in (subject.material.labelled, looked.batch) if b is not None and b.masks is not None), None)
    if batch is not None and batch.masks is not None:
        some = picked(batch, batch.known.nonzero()[: FEW if large else MEASURED, 0].tolist())
        if some.masks is not None and len(some):
            yield _measured(subject, some, some.masks)


def _steps(batch: Batch, maps: Tensor, found: tuple[Localised, ...]) -> Exhibit:
    photos = pixels(batch.images)
    rows, captions, boxes = [], [], []
    for n, (photo, one) in enumerate(zip(photos, found, strict=True)):
        scale = shared_scale(maps[n], signed=False, unit="logit / intensity", over="this map", quantile=PIXELS_INSIDE)
        seeds = 0.35 * photo + 0.65 * np.where(
            one.objects[..., None], (0.9, 0.3, 0.1), np.where(one.ground[..., None], (0.1, 0.35, 0.7), photo)
        )
        cut = photo * np.where(one.piece[..., None], 1.0, 0.25)
        framed = photo if one.box is None else outlined(photo, _filled(one.box, photo.shape[:2]), thickness=1)
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
        boxes.append(None if one.box is None else [one.box.x0, one.box.y0, one.box.x1, one.box.y1])
        captions.append(batch.names[n])
    kind = truth_kind(batch)
    true = {
        "outline": ", with the true outline of the object",
        "box": ", with the true box",
        "both": ", with the true outline or box",
    }.get(kind, "")
    return Exhibit(
        "localisation-steps",
        "From saliency to a box",
        Caption(
            see=f"{rows_of(len(rows))}. Saliency of the predicted class (bright: strong); seeds: the most salient 5 % of the pixels (orange) are "
            "taken for the object, the least salient 30 % (blue) for the ground; the cut: every other pixel joins the side whose colours it fits, and the largest "
            f"piece stays bright; at the right the box around it{true}.",
            read="Where orange lies on the object and the object differs in colour from its ground, the box fits. Where the network looks at something else, the "
            "colours may still lead to the object, or away from it.",
            cannot="The box is made by two: the network places seeds, the colours do the rest. A good box does not show that the network sees the object's shape, and it "
            "finds one object at most.",
        ),
        alt=f"{counted(len(rows), 'picture')} with saliency, seeds, segmentation and box; {sum(box is not None for box in boxes)} got a box.",
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
    _, found = by_saliency(subject.model, batch.images.to(subject.device))
    named = {OURS: tuple(one.box for one in found), **controls(batch.images)}
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
    verdict = "better than" if low > 0 else "worse than" if high < 0 else "not clearly different from"
    words = (
        f"Its boxes overlap the true ones by {percent(lines[OURS]['overlap'])} on average: {verdict} the best control, "
        f"{best} ({percent(lines[best]['overlap'])}; difference {100 * float(gain.mean()):+.0f} points, 95 % interval {100 * low:+.0f} to {100 * high:+.0f})."
    ).replace("-", "−")
    owed = "" if float((scores[OURS] - scores[CENTRE_CUT]).mean()) > 0 else ": here nothing"
    kind = truth_kind(batch)
    known = {"outline": "known masks", "box": "known boxes"}.get(kind, "known masks or boxes")
    target = {
        "outline": "the box around the object's mask",
        "box": "the object's true box (around all, where it has several)",
    }.get(kind, "the box around the object")
    return Exhibit(
        "localisation-overlap",
        "How often is the box right?",
        Caption(
            see=f"{counted(len(batch), 'picture')} with {known}. Overlap: area that the box shares with {target}, as a share of the area that "
            f"either covers. Found: overlap of {percent(FOUND)} or more, the rule of ILSVRC. Intervals are 95 %. Three controls know nothing of the network: a square in the "
            "middle, the whole picture, and the same cut seeded by a spot in the middle.",
            read=f"{words} The network can be thanked only for what its saliency gains over a {CENTRE_CUT}, which knows nothing of it{owed}.",
            cannot="Objects that stand in the middle and differ in colour from their ground are easy for any cut. A low score does not mean that the network overlooks the object: "
            "a few telling pixels are enough to name it, and too few to cut it out.",
        ),
        alt=f"Table of the overlap of boxes with objects for one method and three controls. {words}",
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
