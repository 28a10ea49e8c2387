"""Examples: many pictures with their answers, to search, filter and sort."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from vgg_viz.attribution.methods.cam import after_relu, choose_layer
from vgg_viz.attribution.single_pass import grad_cam_all_layers
from vgg_viz.data.annotations import object_area, truth_kind, where_word
from vgg_viz.gallery.sections import section
from vgg_viz.maths.heatmaps import place
from vgg_viz.maths.images import encode_webp, mosaic, resize, to_uint8
from vgg_viz.maths.metrics import mass_inside
from vgg_viz.number_text import counted
from vgg_viz.records import Caption, Column, Exhibit, Table
from vgg_viz.sections.report.mistakes import answers_of
from vgg_viz.studies.subject import Answers, Subject, choose, picked

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

    inside  (n,) share of the map's mass on the object or in its box, [0, 1]; NaN for a map of zeros, and where nobody knows the
            object's place; n may be fewer than the examples
    area    (n,) share of the picture that the object or its box fills: what a map that knows nothing would have; NaN: nobody knows
    reason  why there is nothing, or why n is smaller; or ""
    """

    layer: str
    inside: Tensor
    area: Tensor
    reason: str


@section(
    "examples",
    study="report",
    title="Examples",
    order=45,
    lead="Numbers say how often a network is wrong; pictures say at what. Search them, keep the wrong or the doubtful ones, sort them by what "
    "you want to know.",
)
def examples(subject: Subject) -> Iterator[Exhibit]:
    """One grid of pictures, with a table of its numbers."""
    answers = answers_of(subject)
    chosen = choose(answers, subject.preset.examples, mistakes=round(MISTAKES * subject.preset.examples))
    yield grid(subject, answers, sorted(chosen))


def grid(subject: Subject, answers: Answers, chosen: list[int]) -> Exhibit:
    """The examples at `chosen`, in the order of the set."""
    batch, classes = answers.batch, subject.classes
    logits, labels = answers.logits[chosen], answers.labels[chosen]
    probabilities = logits.softmax(1)
    order = probabilities.argsort(dim=1, descending=True, stable=True)
    sorted_down = probabilities.gather(1, order)
    loss = functional.cross_entropy(logits, labels, reduction="none")
    found = attention(subject, answers, chosen)
    inside = [*(_share(value) for value in found.inside.tolist()), *[None] * (len(chosen) - len(found.inside))]
    area = [*(_share(value) for value in found.area.tolist()), *[None] * (len(chosen) - len(found.area))]
    top = [
        [[index, round(p, 5)] for n, (index, p) in enumerate(zip(row, ps, strict=True)) if n < 2 or p >= NOTHING]
        for row, ps in zip(order[:, :TOP].tolist(), sorted_down[:, :TOP].tolist(), strict=True)
    ]
    low = UNSURE if len(classes) != 2 else UNSURE_OF_TWO
    losses = [_significant(value) for value in loss.tolist()]
    names = [batch.names[i] for i in chosen]
    words = _words(answers, chosen, found, low)
    return Exhibit(
        "examples-grid",
        "Search, filter, sort",
        words,
        alt=_alt(answers, chosen),
        numbers={
            "shown": len(chosen),
            "of": len(batch),
            "low_confidence": low,
            "layer": found.layer,
            "classes": classes,
            "place": [i + 1 for i in chosen],
            "name": names,
            "true": labels.tolist(),
            "predicted": order[:, 0].tolist(),
            "confidence": [row[0][1] for row in top],
            "runner_up": [row[1][0] if len(row) > 1 else None for row in top],
            "margin": [_margin(row) for row in top],
            "loss": losses,
            "attention_inside": inside,
            "object_area": area,
        },
        table=_table(classes, names, chosen, labels.tolist(), top, losses, inside, area),
        viewer={
            "kind": "examples",
            "classes": list(classes),
            "low": low,
            "of": len(batch),
            "layer": found.layer,
            "reason": found.reason,
            "sheet": sheet(batch.images[chosen]),
            "place": [i + 1 for i in chosen],
            "name": names,
            "true": labels.tolist(),
            "top": top,
            "loss": losses,
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
        return Attended(
            "",
            nothing,
            nothing,
            "These pictures come without masks or boxes of their objects, so nobody can say what lies outside.",
        )
    # One forward and one backward pass each; a backward pass to a layer costs about as much as a forward one.
    cost = 2 * sum(row.macs for row in subject.geometry) / 1e9
    count = min(len(chosen), int(ATTENTION * subject.preset.gigamacs / max(cost, 1e-9)))
    reason = ""
    if count < len(chosen):
        reason = f"Measured for the first {count} of these {len(chosen)} examples only: each costs two passes of a large network."
    side = batch.images.shape[-1]
    layer = after_relu(subject.geometry, choose_layer(subject.geometry, side).name)
    field = next(row.field for row in subject.geometry if row.name == layer)
    if field is None or count == 0:
        why = (
            reason
            if field is not None
            else f"The units of {layer} have no receptive field of one size, so its map cannot be placed."
        )
        return Attended(layer, nothing, nothing, why)
    shares = []
    for start in range(0, count, 64):
        here = chosen[start : min(start + 64, count)]
        maps = grad_cam_all_layers(subject.model, batch.images[here].to(subject.device), "predicted", layers=[layer])[
            layer
        ].values
        shares.append(mass_inside(place(maps.cpu(), field, side), batch.masks[here]))
    area = object_area(picked(batch, chosen[:count]))
    return Attended(layer, torch.cat(shares), nothing if area is None else area, reason)


def sheet(images: Tensor) -> dict[str, Any]:
    """Pictures (N, C, H, W) as one WebP, row by row.

    returns  src, columns, and side, cell, margin [px]: picture i starts at row margin + (i // columns) cell, column
             margin + (i % columns) cell

    WebP keeps colour at half the resolution and smooths over its blocks: without the repeated edge around it, each
    picture would borrow from its neighbours (mean error of the outermost pixels .057 of 1, with it .014, on `shapes`).
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
    if subject.material.looked is not None:
        return []  # the viewer shows pictures of --images, these are labelled ones
    looked = choose(answers, subject.preset.pictures)
    return [[chosen.index(i), photo] for photo, i in enumerate(looked) if i in chosen]


def _share(value: float) -> float | None:
    return None if value != value else round(value, 4)


def _significant(value: float) -> float:
    return float(f"{value:.4g}")


def _margin(row: list[list[Any]]) -> float | None:
    return round(float(row[0][1] - row[1][1]), 5) if len(row) > 1 else None


# ---------------------------------------------------------------- words


def _table(
    classes: tuple[str, ...],
    names: list[str],
    chosen: list[int],
    true: list[int],
    top: list[list[list[Any]]],
    losses: list[float],
    inside: list[float | None],
    area: list[float | None],
) -> Table:
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
                names[n],
                i + 1,
                classes[true[n]],
                classes[row[0][0]],
                row[0][1],
                classes[row[1][0]] if len(row) > 1 else None,
                _margin(row),
                losses[n],
                inside[n],
                area[n],
            )
            for n, (i, row) in enumerate(zip(chosen, top, strict=True))
        ),
    )


def _words(answers: Answers, chosen: list[int], found: Attended, low: float) -> Caption:
    measured = bool(len(found.inside))
    below = int((found.inside < found.area).sum())
    on = where_word(answers.batch)
    kind = truth_kind(answers.batch)
    thing = "box" if kind == "box" else "object"
    return Caption(
        see=f"{_selection(answers, chosen)} Under each picture: what the network said, with which confidence, and where that is wrong what it is. "
        "Pictures are stored small and with loss; the network saw the originals."
        + (
            f" Attention inside: the share of Grad-CAM ({found.layer}, predicted class) that lies {on}."
            if measured
            else ""
        ),
        read=f"Keep the wrong ones and sort by loss: what do the worst have in common? Low confidence is below {low:.0%}".replace(
            "%", " %"
        )
        + "; margin is the confidence minus the "
        "probability of the runner-up. "
        + (
            f"Attention counts as outside where less of it lies {on} than the {thing}'s share of the picture, what a map that knows nothing would have: {below} of "
            f"{counted(int((~found.area.isnan()).sum()), 'example')}{'' if bool((~found.area.isnan()).all()) else ' whose place is known'}. An answer that is right with its attention outside may be right for a wrong reason. "
            if measured
            else ""
        )
        + (found.reason if measured else ""),
        cannot="Mistakes were picked on purpose, so shares of this grid are not rates of the network: those stand under Mistakes. "
        + (
            (
                "A coarse map spills over the border of a small object even when it follows it."
                if kind in ("", "outline")
                else "A box holds background beside the object, so what lies in it flatters the network."
            )
            if measured
            else found.reason
        ),
    )


def _selection(answers: Answers, chosen: list[int]) -> str:
    """How many of how many are shown, and how they were chosen."""
    total, wrong = len(answers.labels), int((~answers.correct).sum())
    if len(chosen) == total:
        return f"All {counted(total, 'labelled picture')}: {counted(wrong, 'mistake')}, {counted(total - wrong, 'right answer')}."
    shown = int((~answers.correct[chosen]).sum())
    right = len(chosen) - shown
    if not wrong:
        mistakes = "there are no mistakes"
    elif shown == wrong:
        mistakes = f"all {counted(wrong, 'mistake')}" if wrong > 1 else "the only mistake"
    else:
        mistakes = f"the {shown:,} surest of {counted(wrong, 'mistake')}"
    return (
        f"{len(chosen):,} of {total:,} labelled pictures: {mistakes}, and {right:,} of {counted(total - wrong, 'right answer')}, the first of each "
        "class in turn."
    )


def _alt(answers: Answers, chosen: list[int]) -> str:
    wrong = int((~answers.correct[chosen]).sum())
    return f"Grid of {counted(len(chosen), 'labelled picture')} with the network's answers, {counted(wrong, 'mistake')} among them; it can be searched, filtered and sorted."
