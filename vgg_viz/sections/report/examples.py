"""Examples: many pictures with their answers, to search, filter and sort."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from vgg_viz.attribution.layers import after_activation, choose_layer
from vgg_viz.attribution.single_pass import grad_cam_all_layers
from vgg_viz.data.annotations import object_area, truth_kind, where_word
from vgg_viz.gallery.sections import section
from vgg_viz.gallery.texts import Texts
from vgg_viz.maths.heatmaps import place
from vgg_viz.maths.images import encode_webp, mosaic, resize, to_uint8
from vgg_viz.maths.metrics import mass_inside
from vgg_viz.maths.outputs import loss
from vgg_viz.records import Column, Exhibit, Table
from vgg_viz.sections.report.mistakes import answers_of
from vgg_viz.studies.answers import Answers, choose_images, select_images
from vgg_viz.studies.subject import Subject

TEXTS = Texts(__name__)
THUMB = 64  # largest side of a picture in the sheet [px]
BLOCK, BORDER = (
    16,
    8,
)  # what WebP packs together, and how much of each picture's edge is repeated around it, at least in all [px]
QUALITY = 35  # of the sheet: by eye, the weaves of `shapes` go below it; 0.4 kB a picture of 64 px
MISTAKES = 0.75  # of the examples are mistakes, where there are so many
ATTENTION = 0.2  # of what answering may cost, for the maps
TOP, NOTHING = 5, 0.001  # classes with their bars at most, and a probability too small for one
UNSURE, UNSURE_OF_TWO = 0.5, 0.75  # a confidence below this is called low; of two classes one always has half


@dataclass(frozen=True, slots=True)
class Attended:
    """Whether Grad-CAM for the predicted class lies on the object.

    Attributes:
        layer: Whose maps these are; "" where nothing is measured.
        inside: (n,) share of the map's mass on the object or in its box, [0, 1]; NaN for a map of zeros, and where nobody knows the
            object's place; n may be fewer than the examples.
        area: (n,) share of the picture that the object or its box fills: what a map made without the network would have; NaN where
            nobody knows.
        reason: Why there is nothing, or why n is smaller; or "".
    """

    layer: str
    inside: Tensor
    area: Tensor
    reason: str


@section("examples", study="report", order=45, chapter="mistakes", needs="scores")
def examples(subject: Subject) -> Iterator[Exhibit]:
    """One grid of pictures, with a table of its numbers."""
    answers = answers_of(subject)
    most = subject.preset.examples
    chosen = choose_images(answers, most, mistakes=round(MISTAKES * most), first=subject.told)
    yield grid(subject, answers, sorted(chosen))


def grid(subject: Subject, answers: Answers, chosen: list[int]) -> Exhibit:
    """The examples at `chosen`, in the order of the set."""
    batch, classes = answers.batch, subject.classes
    logits, labels = answers.logits[chosen], answers.labels[chosen]
    probabilities = answers.probabilities[chosen]
    order = probabilities.argsort(dim=1, descending=True, stable=True)
    sorted_down = probabilities.gather(1, order)
    losses = loss(logits, labels, subject.outputs)
    attended = attention(subject, answers, chosen)
    inside = [*(_share(value) for value in attended.inside.tolist()), *[None] * (len(chosen) - len(attended.inside))]
    area = [*(_share(value) for value in attended.area.tolist()), *[None] * (len(chosen) - len(attended.area))]
    top = [
        [[index, round(p, 5)] for n, (index, p) in enumerate(zip(row, ps, strict=True)) if n < 2 or p >= NOTHING]
        for row, ps in zip(order[:, :TOP].tolist(), sorted_down[:, :TOP].tolist(), strict=True)
    ]
    low = UNSURE if len(classes) != 2 else UNSURE_OF_TWO
    columns = {
        "place": [i + 1 for i in chosen],
        "name": [batch.names[i] for i in chosen],
        "true": labels.tolist(),
        "predicted": order[:, 0].tolist(),
        "confidence": [row[0][1] for row in top],
        "runner_up": [row[1][0] if len(row) > 1 else None for row in top],
        "margin": [_margin(row) for row in top],
        "loss": [_significant(value) for value in losses.tolist()],
        "attention_inside": inside,
        "object_area": area,
    }
    text = TEXTS.exhibit(
        "grid",
        total=len(batch),
        wrong=int((~answers.correct).sum()),
        shown=len(chosen),
        shown_wrong=int((~answers.correct[chosen]).sum()),
        low=low,
        kind=truth_kind(batch),
        measured=bool(len(attended.inside)),
        where=where_word(batch),
        layer=attended.layer,
        outside=int((attended.inside < attended.area).sum()),
        places=len(attended.area),
        known=int((~attended.area.isnan()).sum()),
        reason=attended.reason,
    )
    return Exhibit(
        "examples-grid",
        text.title,
        text.caption,
        text.alt,
        numbers={
            "shown": len(chosen),
            "of": len(batch),
            "low_confidence": low,
            "layer": attended.layer,
            "classes": subject.checkpoint.classes,
            **columns,
        },
        table=_table(classes, columns, top),
        viewer={
            "kind": "examples",
            "classes": list(classes),
            "low": low,
            "of": len(batch),
            "layer": attended.layer,
            "reason": attended.reason,
            "sheet": sheet(batch.images[chosen]),
            "place": columns["place"],
            "name": columns["name"],
            "true": columns["true"],
            "top": top,
            "loss": columns["loss"],
            "inside": inside,
            "area": area,
            **({"thing": "box"} if truth_kind(batch) == "box" else {}),
            "photos": _photos(subject, answers, chosen),
        },
    )


# ---------------------------------------------------------------- what is measured


def attention(subject: Subject, answers: Answers, chosen: list[int]) -> Attended:
    """How much of each Grad-CAM lies on the object, for as many of the examples as the preset's budget allows."""
    batch, nothing = answers.batch, torch.zeros(0)
    if batch.masks is None:
        return Attended("", nothing, nothing, TEXTS.say("attention.no_places"))
    # One forward and one backward pass each; a backward pass to a layer costs about as much as a forward one.
    cost = 2 * sum(row.macs for row in subject.geometry) / 1e9
    count = min(len(chosen), int(ATTENTION * subject.preset.gigamacs / max(cost, 1e-9)))
    reason = ""
    if count < len(chosen):
        reason = TEXTS.say("attention.first_only", count=count, examples=len(chosen))
    side = batch.images.shape[-1]
    layer = after_activation(subject.geometry, choose_layer(subject.geometry, side).name)
    field = next(row.field for row in subject.geometry if row.name == layer)
    if field is None or count == 0:
        return Attended(
            layer, nothing, nothing, TEXTS.say("attention.no_field", layer=layer) if field is None else reason
        )
    shares = []
    for start in range(0, count, 64):
        here = chosen[start : min(start + 64, count)]
        maps = grad_cam_all_layers(subject.model, batch.images[here].to(subject.device), "predicted", layers=[layer])[
            layer
        ].values
        shares.append(mass_inside(place(maps.cpu(), field, side), batch.masks[here]))
    area = object_area(select_images(batch, chosen[:count]))
    return Attended(layer, torch.cat(shares), nothing if area is None else area, reason)


def sheet(images: Tensor) -> dict[str, Any]:
    """Pictures (N, C, H, W) as one WebP, row by row.

    WebP keeps colour at half the resolution and smooths over its blocks: without the repeated edge around it, each
    picture would borrow from its neighbours (mean error of the outermost pixels .057 of 1, with it .014, on `shapes`).

    Returns:
        src, columns, and side, cell, margin [px]: picture i starts at row margin + (i // columns) cell, column
        margin + (i % columns) cell.
    """
    side = min(THUMB, images.shape[-1])
    small = resize(images.cpu(), side, "stretch")
    small = small if small.shape[1] == 3 else small.expand(-1, 3, -1, -1)
    cell = -(-(side + BORDER) // BLOCK) * BLOCK
    before = (cell - side) // 2
    after = cell - side - before
    padded = functional.pad(small, (before, after, before, after), mode="replicate")
    columns = max(1, round(len(images) ** 0.5))
    tiles = mosaic(to_uint8(padded).movedim(1, -1), columns=columns, gap=0)
    source = "data:image/webp;base64," + base64.b64encode(encode_webp(tiles, quality=QUALITY)).decode("ascii")
    return {"src": source, "columns": columns, "side": side, "cell": cell, "margin": before}


def _photos(subject: Subject, answers: Answers, chosen: list[int]) -> list[list[int]]:
    """(example, photo of the attention viewer), both from 0, for those that are in both."""
    if subject.inputs.inspected is not None:
        return []  # the viewer shows pictures of --images, these are labelled ones
    inspected = subject.chosen(answers)
    return [[chosen.index(i), photo] for photo, i in enumerate(inspected) if i in chosen]


def _share(value: float) -> float | None:
    return None if value != value else round(value, 4)


def _significant(value: float) -> float:
    return float(f"{value:.4g}")


def _margin(row: list[list[Any]]) -> float | None:
    return round(float(row[0][1] - row[1][1]), 5) if len(row) > 1 else None


# ---------------------------------------------------------------- table


def _table(classes: tuple[str, ...], columns: dict[str, Any], top: list[list[list[Any]]]) -> Table:
    """A row an example; `columns` as in the numbers of the exhibit, `top` the pairs of a class and its probability."""
    return Table(
        (
            Column("picture"),
            Column("place in the set", "", True),
            Column("true class"),
            Column("predicted"),
            Column("confidence", "", True),
            Column("runner-up"),
            Column("margin", "", True),
            Column("loss", "nat", True),
            Column("attention inside", "", True),
            Column("object's share", "", True),
        ),
        tuple(
            (
                columns["name"][n],
                columns["place"][n],
                classes[columns["true"][n]],
                classes[columns["predicted"][n]],
                columns["confidence"][n],
                classes[row[1][0]] if len(row) > 1 else None,
                columns["margin"][n],
                columns["loss"][n],
                columns["attention_inside"][n],
                columns["object_area"][n],
            )
            for n, row in enumerate(top)
        ),
    )
