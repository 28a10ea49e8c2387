"""The map at every convolution, and the channels that it is made of."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from vgg_viz.attribution.method import METHODS
from vgg_viz.figures.attention import Row, layers_side_by_side
from vgg_viz.figures.explanation import signed_number
from vgg_viz.figures.image_grid import pixels
from vgg_viz.gallery.sections import section
from vgg_viz.maths.heatmaps import MANY_INSIDE, attribution_scale, shared_scale
from vgg_viz.number_text import counted
from vgg_viz.records import Caption, Column, Exhibit, Table
from vgg_viz.sections.explain.facts import peak
from vgg_viz.sections.explain.summary import name_of
from vgg_viz.studies.picture import Explanation

CHANNELS = 13  # shown of the layer: two rows with the picture


@section(
    "layers",
    study="explanation",
    title="Layer by layer",
    order=40,
    lead="From edges to objects: where the evidence stands at each depth.",
)
def layers(found: Explanation) -> Iterator[Exhibit]:
    """A map at every convolution: Grad-CAM's, or that of another method which was asked for and gives all layers at once."""
    computed = found.computed
    fields = {row.name: row for row in found.rows}
    panels, rows = [], []
    for name, one in computed.by_layer.items():
        row = fields[name]
        on = found.placed(one)
        scale = attribution_scale(on, one, over="each layer's own map")
        field = row.field.size if row.field else None
        panels.append((f"{name} {row.shape[1]}×{row.shape[2]}, sees {field} px", on.numpy(), scale))
        highest = peak(one)
        rows.append(
            (
                name,
                f"{row.shape[1]} × {row.shape[2]}",
                row.shape[0],
                field,
                float(one.values.min()),
                float(one.values.max()),
                f"{highest[0] + 1}, {highest[1] + 1}",
            )
        )
    chosen = "asked for" if found.question.layer else "chosen"
    said = name_of(found, computed.asked[0])
    plain = METHODS[computed.deep].title
    title = f"Signed {plain}" if one.signed else plain
    instead = (
        ""
        if computed.deep in found.question.methods
        else " No method that was asked for gives the maps of all layers in one pass: hence Grad-CAM."
    )
    yield Exhibit(
        "explain-layers",
        "The same question at every depth",
        Caption(
            see=f"{title} for {said} after the ReLU of {'all ' if len(panels) > 1 else ''}{counted(len(panels), 'convolution')}, from the first to the last, from one forward and "
            f"one backward pass. Above each map: its size, and how many pixels a unit sees. Each map has a scale of its own{', zero in its middle,' if one.signed else ''} with its numbers below it.{instead}",
            read=f"Early layers find edges and colours, whatever they belong to; later ones are coarser and often gather on what decides. {computed.layer} was {chosen}: {computed.reason}.",
            cannot="Since each map has its own scale, a strong colour in one layer is not more than a pale one in another: the numbers tell. A unit of a late layer that sees the "
            "whole picture cannot say where in it the evidence was.",
        ),
        alt=f"The picture and its {plain} maps at {counted(len(panels), 'layer')}, coarser with depth; {computed.layer} is the {chosen} one.",
        figure=layers_side_by_side(Row(pixels(found.batch.images)[0], panels), title=f"{title} for {said}, by layer"),
        kind="picture",
        table=Table(
            (
                Column("layer"),
                Column("map"),
                Column("channels", "", True),
                Column("field", "px", True),
                Column("lowest", one.unit, True),
                Column("highest", one.unit, True),
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


@section(
    "channels",
    study="explanation",
    title="Channel by channel",
    order=50,
    when=lambda found: found.computed.channels is not None,
    lead="A map of a layer is a weighted sum of its channels: these are its largest terms.",
)
def channels(found: Explanation) -> Iterator[Exhibit]:
    """The channels that the Grad-CAM of the chosen layer is made of."""
    computed = found.computed
    if computed.channels is None:
        return
    each = computed.channels
    order = each.abs().argsort(descending=True, stable=True)[:CHANNELS].tolist()
    total = float(each.sum())
    one = computed.by_layer[computed.layer]
    on = [found.placed(one, computed.activation[index]) for index in order]
    scale = shared_scale(
        torch.stack(on),
        signed=bool((computed.activation < 0).any()),
        unit="activation",
        over="all channels shown",
        quantile=MANY_INSIDE,
    )
    said = name_of(found, computed.asked[0])
    unit = one.unit
    panels = [
        (f"channel {index} {signed_number(float(each[index]))} {unit}", value.numpy(), scale)
        for index, value in zip(order, on, strict=True)
    ]
    held = float(each[order].sum())
    rows = [
        (index, float(each[index]), float(computed.activation[index].max()), _at(computed.activation[index]))
        for index in order
    ]
    yield Exhibit(
        "explain-channels",
        f"The channels of {computed.layer} that decided",
        Caption(
            see=f"What the {counted(len(order), 'channel')} of {computed.layer} with the largest part in the Grad-CAM for {said} answered to this picture, on one scale. The number above each "
            "is what it adds to the sum of the map: its weight for the class times the sum of its activations.",
            read=f"The sum of the whole map is {signed_number(total)} {unit}; these {counted(len(order), 'channel')} add {signed_number(held)} of it. A channel with a minus spoke "
            f"against {said}. Look where each is active: does it find a part of the object, or of its surroundings?",
            cannot="A channel is no concept: it may answer to several unlike things, and its weight holds for this picture alone.",
        ),
        alt=f"The picture and {counted(len(order), 'channel')} of {computed.layer} over it. The strongest, channel {order[0]}, adds {signed_number(float(each[order[0]]))} {unit}.",
        figure=layers_side_by_side(
            Row(pixels(found.batch.images)[0], panels),
            title=f"The channels of {computed.layer} that made the map for {said}",
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


def _at(values: Tensor) -> str:
    place = int(values.argmax())
    return f"{place // values.shape[1] + 1}, {place % values.shape[1] + 1}"
