"""The map at every convolution, and the channels that it is made of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vgg_viz.attribution.method import METHODS
from vgg_viz.figures.attention import Row, layers_side_by_side
from vgg_viz.figures.explanation import signed_number
from vgg_viz.figures.image_grid import pixels
from vgg_viz.gallery.sections import section
from vgg_viz.gallery.texts import Texts
from vgg_viz.maths.heatmaps import MANY_INSIDE, Scale, attribution_scale, shared_scale
from vgg_viz.models.geometry import LayerGeometry
from vgg_viz.models.layer_words import read_where
from vgg_viz.records import Attribution, Column, Exhibit, Table
from vgg_viz.sections.explain.facts import peak
from vgg_viz.sections.explain.summary import name_of
from vgg_viz.studies.picture import Explanation

TEXTS = Texts(__name__)
CHANNELS = 13  # shown of the layer: two rows with the picture


@section("layers", study="explanation", order=40)
def layers(explanation: Explanation) -> Iterator[Exhibit]:
    """A map at every convolution: Grad-CAM's, or that of another method which was asked for and gives all layers at once."""
    computed = explanation.computed
    geometry = {row.name: row for row in explanation.rows}
    panels, rows = [], []
    for layer, attribution in computed.by_layer.items():
        panels.append(_layer_panel(explanation, geometry[layer], attribution))
        rows.append(_layer_row(geometry[layer], attribution))
    last = next(reversed(computed.by_layer.values()))
    method, name = METHODS[computed.deep].title, name_of(explanation, computed.about[0])
    text = TEXTS.exhibit(
        "layers",
        signed=last.signed,
        method=method,
        name=name,
        where=read_where(geometry[layer].kind for layer in computed.by_layer),
        layers=len(panels),
        instead=computed.deep not in explanation.question.methods,
        layer=computed.layer,
        asked=bool(explanation.question.layer),
        reason=computed.reason,
    )
    title = TEXTS.say("layers.figure", signed=last.signed, method=method, name=name)
    yield Exhibit(
        "explain-layers",
        text.title,
        text.caption,
        text.alt,
        figure=layers_side_by_side(Row(pixels(explanation.batch.images)[0], panels), title=title),
        kind="picture",
        table=Table(
            (
                Column("layer"),
                Column("map"),
                Column("channels", "", True),
                Column("field", "px", True),
                Column("lowest", last.unit, True),
                Column("highest", last.unit, True),
                Column("peak in row, column"),
            ),
            tuple(rows),
        ),
        numbers={
            "layers": [row[0] for row in rows],
            "map": [row[1] for row in rows],
            "field": [row[3] for row in rows],
            "lowest": [row[4] for row in rows],
            "highest": [row[5] for row in rows],
            "layer": computed.layer,
            "method": computed.deep,
        },
    )


def _layer_panel(
    explanation: Explanation, layer: LayerGeometry, attribution: Attribution
) -> tuple[str, np.ndarray[Any, Any], Scale]:
    placed = explanation.placed(attribution)
    sees = layer.field.size if layer.field else None
    scale = attribution_scale(placed, attribution, over="each layer's own map")
    return f"{layer.name} {layer.shape[1]}×{layer.shape[2]}, sees {sees} px", placed.numpy(), scale


def _layer_row(layer: LayerGeometry, attribution: Attribution) -> tuple[str | int | float | None, ...]:
    row, column = peak(attribution)
    return (
        layer.name,
        f"{layer.shape[1]} × {layer.shape[2]}",
        layer.shape[0],
        layer.field.size if layer.field else None,
        float(attribution.values.min()),
        float(attribution.values.max()),
        f"{row + 1}, {column + 1}",
    )


@section("channels", study="explanation", order=50, when=lambda explanation: explanation.computed.channels is not None)
def channels(explanation: Explanation) -> Iterator[Exhibit]:
    """The channels that the Grad-CAM of the chosen layer is made of."""
    computed = explanation.computed
    if computed.channels is None:
        return
    adds = computed.channels
    order = adds.abs().argsort(descending=True, stable=True)[:CHANNELS].tolist()
    attribution = computed.by_layer[computed.layer]
    name, unit = name_of(explanation, computed.about[0]), attribution.unit
    total = float(adds.sum())
    rows = [
        (index, float(adds[index]), float(computed.activation[index].max()), _highest_at(computed.activation[index]))
        for index in order
    ]
    text = TEXTS.exhibit(
        "channels",
        layer=computed.layer,
        channels=len(order),
        name=name,
        total=signed_number(total),
        unit=unit,
        held=signed_number(float(adds[order].sum())),
        strongest=order[0],
        strongest_adds=signed_number(float(adds[order[0]])),
    )
    yield Exhibit(
        "explain-channels",
        text.title,
        text.caption,
        text.alt,
        figure=layers_side_by_side(
            Row(pixels(explanation.batch.images)[0], _channel_panels(explanation, attribution, order)),
            title=TEXTS.say("channels.figure", layer=computed.layer, name=name),
        ),
        kind="picture",
        table=Table(
            (
                Column("channel", "", True),
                Column("adds", unit, True),
                Column("highest activation", "", True),
                Column("in row, column"),
            ),
            tuple(rows),
        ),
        numbers={"layer": computed.layer, "channels": order, "adds": [row[1] for row in rows], "sum": total},
    )


def _channel_panels(
    explanation: Explanation, attribution: Attribution, order: list[int]
) -> list[tuple[str, np.ndarray[Any, Any], Scale]]:
    """Activations of channels on the picture, on one scale; above each what it adds to the map."""
    activation, adds = explanation.computed.activation, explanation.computed.channels
    placed = [explanation.placed(attribution, activation[index]) for index in order]
    scale = shared_scale(
        torch.stack(placed),
        signed=bool((activation < 0).any()),
        unit="activation",
        over="all channels shown",
        quantile=MANY_INSIDE,
    )
    return [
        (f"channel {index} {signed_number(float(adds[index]))} {attribution.unit}", on_picture.numpy(), scale)
        for index, on_picture in zip(order, placed, strict=True)
        if adds is not None
    ]


def _highest_at(values: Tensor) -> str:
    place = int(values.argmax())
    return f"{place // values.shape[1] + 1}, {place % values.shape[1] + 1}"
