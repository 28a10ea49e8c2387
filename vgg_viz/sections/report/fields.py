"""Receptive fields: what one unit of each layer can see, and what it does see."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch

from vgg_viz.figures.fields import boxes_on_image, growth
from vgg_viz.figures.image_grid import pixels
from vgg_viz.gallery.sections import section
from vgg_viz.maths.receptive_field import Box
from vgg_viz.models.geometry import LayerGeometry
from vgg_viz.number_text import counted
from vgg_viz.records import Caption, Exhibit
from vgg_viz.studies.preset import LARGE_GIGAMACS
from vgg_viz.studies.subject import Subject
from vgg_viz.units.effective_field import effective_field

PICTURES = 8  # for the effective field; noise where there are none
MOST_BOXES = 6


@section(
    "receptive-fields",
    study="report",
    title="Receptive fields",
    order=50 + 5,
    lead="A unit is a small window on the picture. How large that window is follows from kernels, strides and padding alone, and it bounds what "
    "a map can mean.",
)
def receptive_fields(subject: Subject) -> Iterator[Exhibit]:
    """The growth of the field with depth, and the boxes of central and border units on a picture."""
    rows = [row for row in subject.geometry if row.kind in ("conv", "pool") and row.field is not None]
    yield _growth(subject, rows)
    yield from _boxes(subject, rows)


def _growth(subject: Subject, rows: list[LayerGeometry]) -> Exhibit:
    side = subject.checkpoint.architecture.image_side
    batch = subject.looked.batch if subject.looked else None
    noise = torch.rand(
        4,
        subject.checkpoint.architecture.in_channels,
        side,
        side,
        generator=torch.Generator().manual_seed(subject.seed),
    )
    # A pass a layer: a large network gets two pictures, which is enough to see the size.
    few = 2 if sum(row.macs for row in subject.geometry) > LARGE_GIGAMACS * 1e9 else PICTURES
    images = (batch.images if batch is not None else noise)[:few]
    # Every conv layer of a large network would cost a pass each; its last layer of each block tells the story.
    measured = [row for row in rows if row.kind == "conv"]
    if len(measured) > 6:
        measured = [row for row, following in pairwise(rows) if row.kind == "conv" and following.kind == "pool"]
    effective = {row.name: effective_field(subject.model, images, row.name).size for row in measured}
    last = measured[-1]
    size = last.field.size if last.field else 0
    first_over = next((row.name for row in rows if row.field and row.field.size >= side), None)
    beyond = (
        f" From {first_over} on, a field is as large as the picture or larger."
        if first_over
        else " No unit here sees the whole picture at once."
    )
    of = counted(len(images), "picture", "pictures") + ("" if batch is not None else " of noise")
    ratio = effective[last.name] / min(size, side) if size else 1.0
    uses = f"{last.name} can see {size} px" + (
        f" and mainly uses {effective[last.name]:.0f} px."
        if ratio < 0.9
        else f", and by this measure uses nearly all of it ({effective[last.name]:.0f} px)."
        if size <= side
        else f", more than there is, and by this measure uses nearly the whole picture ({effective[last.name]:.0f} px)."
    )
    return Exhibit(
        "fields-growth",
        "How the window grows with depth",
        Caption(
            see=f"One bar per layer: the side of the square that one unit can depend on, against the {side} px of the picture. The dark bar inside is "
            f"the effective field: the side of a square with as many pixels as have a gradient above 4.55 % of the strongest (mean over {of}).",
            read=f"Each 3 × 3 convolution adds two jumps, each pool one and doubles the jump. {uses}{beyond} Three 3 × 3 convolutions in a row see what "
            "one 7 × 7 sees, with 27 instead of 49 weights per pair of channels and two more ReLUs: that is VGG's idea.",
            cannot="The theoretical field is exact; the effective one depends on weights, pictures and the threshold. It is usually the smaller one, and "
            "the more so the deeper: far more paths lead through the middle of the field than along its border.",
        ),
        alt=f"Bars of receptive-field sizes for {len(rows)} layers, from 3 px up to {max(row.field.size for row in rows if row.field)} px, on a picture of {side} px.",
        figure=growth(
            [row.name for row in rows],
            [row.field.size for row in rows if row.field],
            [row.kind for row in rows],
            [row.field.jump for row in rows if row.field],
            image_side=side,
            effective=[effective.get(row.name) for row in rows],
            title="Receptive field, and how much of it is used" if measured else "Receptive field",
        ),
        numbers={
            row.name: {
                "size": row.field.size,
                "jump": row.field.jump,
                "padding": row.field.padding,
                "centre": row.field.centre,
                "effective": effective.get(row.name),
            }
            for row in rows
            if row.field
        },
    )


def _boxes(subject: Subject, rows: list[LayerGeometry]) -> Iterator[Exhibit]:
    if subject.looked is None:
        return
    ends = [
        row
        for row, following in zip(rows, [*rows[1:], None], strict=True)
        if row.kind == "conv" and (following is None or following.kind == "pool")
    ]
    ends = ends[-MOST_BOXES:]
    image = pixels(subject.looked.batch.images[:1])[0]
    for slug, title, unit_of, place in [
        ("centre", "What the middle unit sees", "the middle unit", 0.5),
        ("corner", "What the corner unit sees", "the upper left unit", 0.0),
    ]:
        boxes: list[tuple[str, Box]] = []
        numbers = {}
        for row in ends:
            unit = int((row.shape[1] - 1) * place)
            if row.field:
                box = row.field.box(unit, unit)
                boxes.append((row.name, box))
                numbers[row.name] = {"unit": [unit, unit], "box": [box.x0, box.y0, box.x1, box.y1]}
        outside = place == 0 and any(box.x0 < 0 for _, box in boxes)
        yield Exhibit(
            f"fields-{slug}",
            title,
            Caption(
                see=f"The exact squares of input pixels that {unit_of} of the last convolution of each block can depend on, drawn on a picture of this report."
                + (" The hatched part lies outside the picture: there the unit sees only padding." if outside else ""),
                read="What lies outside a square cannot change that unit, not by one bit. So one value in a map of that layer stands for its whole "
                "square, however finely the map is painted.",
                cannot="A square says where a unit may look; it does not say that it looks everywhere in it with equal weight."
                + (
                    " Padding is zeros, added anew before every convolution: by them a unit can tell that it is at the border."
                    if outside
                    else ""
                ),
            ),
            alt=f"Picture with {counted(len(boxes), 'square')}: "
            + ", ".join(f"{name} {box.x1 - box.x0} px" for name, box in boxes)
            + ".",
            figure=boxes_on_image(
                image, boxes, title=f"{unit_of[0].upper()}{unit_of[1:]} of {counted(len(boxes), 'layer')}"
            ),
            kind="picture",
            numbers=numbers,
        )
