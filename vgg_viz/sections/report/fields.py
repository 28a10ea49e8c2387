"""Receptive fields: which part of the picture one unit of each layer can see, and which it uses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from vgg_viz.errors import SectionMissing
from vgg_viz.figures.fields import LayerField, boxes_on_image, growth
from vgg_viz.figures.image_grid import pixels
from vgg_viz.gallery.sections import section
from vgg_viz.gallery.texts import ExhibitText, Texts
from vgg_viz.maths.receptive_field import Box
from vgg_viz.models.geometry import LayerGeometry, window_of
from vgg_viz.models.layer_words import activation_word
from vgg_viz.models.names import layers
from vgg_viz.number_text import counted
from vgg_viz.records import Exhibit
from vgg_viz.studies.preset import LARGE_GIGAMACS
from vgg_viz.studies.subject import Subject
from vgg_viz.units.effective_field import effective_field

TEXTS = Texts(__name__)
PICTURES = 8  # for the effective field; noise where there are none
MOST_BOXES = 6


@section("receptive-fields", study="report", order=55, chapter="network")
def receptive_fields(subject: Subject) -> Iterator[Exhibit]:
    """The growth of the field with depth, and the fields of a central and of a corner unit on a picture."""
    rows = [row for row in subject.geometry if row.kind in ("conv", "pool") and row.field is not None]
    if not any(row.kind == "conv" for row in rows):
        raise SectionMissing(TEXTS.say("missing.fields"), "python -m vgg_viz inspect CHECKPOINT")
    yield _growth(subject, rows)
    if subject.inspected is None:
        return
    ends = [row for row, after in zip(rows, [*rows[1:], None], strict=True) if _ends_a_block(row, after)]
    for place in ("centre", "corner"):
        yield _boxes(pixels(subject.inspected.batch.images[:1])[0], ends[-MOST_BOXES:], place)


def _ends_a_block(row: LayerGeometry, after: LayerGeometry | None) -> bool:
    return row.kind == "conv" and (
        after is None or after.kind == "pool" or after.name.partition("_")[0] != row.name.partition("_")[0]
    )


def _as_in_vgg(module: nn.Module) -> bool:
    """Whether a convolution is 3 x 3 without a stride, a pool 2 x 2 with stride 2."""
    if isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
        window = window_of(module)
        wanted = (3, 1, 1) if isinstance(module, nn.Conv2d) else (2, 2, 1)
        return (window.kernel, window.stride, window.dilation) == wanted
    return True


def _growth(subject: Subject, rows: Sequence[LayerGeometry]) -> Exhibit:
    side = subject.checkpoint.architecture.image_side
    sizes = [row.field.size for row in rows if row.field]
    images = _images(subject)
    measured = _measured(rows)
    effective = {row.name: effective_field(subject.model, images, row.name).size for row in measured}
    deepest = measured[-1]
    size = deepest.field.size if deepest.field else 0
    text = TEXTS.exhibit(
        "growth",
        side=side,
        pictures=len(images),
        noise=subject.inspected is None,
        layers=len(rows),
        smallest=min(sizes),
        largest=max(sizes),
        vgg=all(_as_in_vgg(layer.module) for layer in layers(subject.model) if layer.kind in ("conv", "pool")),
        pools=any(row.kind == "pool" for row in rows),
        dilated=any(
            isinstance(layer.module, nn.Conv2d) and max(layer.module.dilation) > 1 for layer in layers(subject.model)
        ),
        activation=activation_word(row.kind for row in subject.geometry if len(row.shape) == 3),
        deepest=deepest.name,
        size=size,
        effective=effective[deepest.name],
        ratio=effective[deepest.name] / min(size, side) if size else 1.0,
        over=next((row.name for row in rows if row.field and row.field.size >= side), None),
    )
    return Exhibit(
        "fields-growth",
        text.title,
        text.caption,
        text.alt,
        figure=growth(
            [
                LayerField(row.name, row.kind, row.field.size, row.field.jump, effective.get(row.name))
                for row in rows
                if row.field
            ],
            image_side=side,
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


def _images(subject: Subject) -> torch.Tensor:
    """Pictures (B, C, H, W) for the effective field: those of the report, or noise where there are none."""
    # A pass a layer: a large network gets two pictures, which is enough to see the size.
    most = 2 if sum(row.macs for row in subject.geometry) > LARGE_GIGAMACS * 1e9 else PICTURES
    if subject.inspected is not None:
        return subject.inspected.batch.images[:most]
    side, channels = subject.checkpoint.architecture.image_side, subject.checkpoint.architecture.in_channels
    return torch.rand(4, channels, side, side, generator=torch.Generator().manual_seed(subject.seed))[:most]


def _measured(rows: Sequence[LayerGeometry]) -> list[LayerGeometry]:
    """Convolutions whose effective field is measured: a large network would need a pass for each, so the last of each block."""
    convolutions = [row for row in rows if row.kind == "conv"]
    if len(convolutions) <= 6:
        return convolutions
    return [row for row, after in zip(rows, [*rows[1:], None], strict=True) if _ends_a_block(row, after)]


def _boxes(image: np.ndarray[Any, Any], rows: Sequence[LayerGeometry], place: str) -> Exhibit:
    boxes: list[tuple[str, Box]] = []
    numbers = {}
    for row in rows:
        unit = (row.shape[1] - 1) // 2 if place == "centre" else 0
        if row.field:
            box = row.field.box(unit, unit)
            boxes.append((row.name, box))
            numbers[row.name] = {"unit": [unit, unit], "box": [box.x0, box.y0, box.x1, box.y1]}
    text = _words(boxes, place)
    unit_name = "The middle unit" if place == "centre" else "The upper left unit"
    return Exhibit(
        f"fields-{place}",
        text.title,
        text.caption,
        text.alt,
        figure=boxes_on_image(image, boxes, title=f"{unit_name} of {counted(len(boxes), 'layer')}"),
        kind="picture",
        numbers=numbers,
    )


def _words(boxes: Sequence[tuple[str, Box]], place: str) -> ExhibitText:
    squares = [(name, box.x1 - box.x0) for name, box in boxes]
    if place == "centre":
        return TEXTS.exhibit("centre", squares=squares)
    return TEXTS.exhibit("corner", squares=squares, outside=any(box.x0 < 0 for _, box in boxes))
