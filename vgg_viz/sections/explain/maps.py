"""All maps of an explanation: in the viewer, and methods side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from vgg_viz.attribution.method import METHODS
from vgg_viz.figures.attention import Row, methods_side_by_side
from vgg_viz.figures.image_grid import pixels
from vgg_viz.gallery.sections import section
from vgg_viz.gallery.texts import Texts
from vgg_viz.gallery.viewer import (
    AttributedMaps,
    ViewerMethod,
    ViewerPayload,
    ViewerStart,
    attribution_payload,
    payload_json,
    viewer_method,
)
from vgg_viz.maths.heatmaps import Scale, attribution_scale
from vgg_viz.models.geometry import fields_of
from vgg_viz.records import Attribution, Column, Exhibit, Table
from vgg_viz.sections.explain.facts import target
from vgg_viz.sections.explain.summary import method_at_layer, method_title, name_of, part_text
from vgg_viz.studies import saved_maps
from vgg_viz.studies.picture import Explanation
from vgg_viz.studies.picture_maps import UNIT

TEXTS = Texts(__name__)


@section("maps", study="explanation", order=20)
def maps(explanation: Explanation) -> Iterator[Exhibit]:
    """The viewer, the methods side by side, and where each map lies raw."""
    yield _viewer(explanation)
    if len(explanation.question.methods) > 1:
        yield _methods(explanation)
    yield _arrays(explanation)


def raw(explanation: Explanation) -> dict[str, tuple[str, Attribution]]:
    """Every map that is written down, {file stem: (what it is about, map)}: of each method and class, of each layer, and differences."""
    computed = explanation.computed
    every = [(target(explanation, index), attribution) for (_, index), attribution in computed.maps.items()]
    every += [(target(explanation, computed.about[0]), attribution) for attribution in computed.by_layer.values()]
    differences = [computed.difference(method) for method in explanation.question.methods]
    every += [("difference", difference) for difference in differences if difference is not None]
    return {saved_maps.slug(attribution, word): (word, attribution) for word, attribution in every}


def _arrays(explanation: Explanation) -> Exhibit:
    rows = [
        (
            f"data/{stem}{saved_maps.SUFFIX}",
            METHODS[attribution.method].title,
            word,
            attribution.layer or "pixels",
            f"{attribution.values.shape[1]} × {attribution.values.shape[2]}",
            attribution.unit,
            float(attribution.values.min()),
            float(attribution.values.max()),
        )
        for stem, (word, attribution) in raw(explanation).items()
    ]
    text = TEXTS.exhibit("arrays", maps=len(rows))
    return Exhibit(
        "explain-arrays",
        text.title,
        text.caption,
        text.alt,
        table=Table(
            (
                Column("file"),
                Column("method"),
                Column("about"),
                Column("layer"),
                Column("map"),
                Column("unit"),
                Column("lowest", "", True),
                Column("highest", "", True),
            ),
            tuple(rows),
        ),
        numbers={"files": [row[0] for row in rows]},
    )


def _viewer(explanation: Explanation) -> Exhibit:
    computed, names = explanation.computed, explanation.question.methods
    text = TEXTS.exhibit(
        "viewer",
        methods=len(names),
        every_layer=METHODS[computed.deep].title if computed.deep in names else "",
        difference=computed.classes is not None and not computed.classes.alone,
        noun=explanation.noun,
    )
    return Exhibit(
        "explain-viewer",
        text.title,
        text.caption,
        text.alt,
        numbers={
            "methods": names,
            "about": [name_of(explanation, index) for index in computed.about],
            "layers": list(computed.by_layer),
        },
        viewer=payload_json(
            replace(_payload(explanation), outputs=explanation.computed.outputs, noun=explanation.noun)
        ),
    )


def _payload(explanation: Explanation) -> ViewerPayload:
    computed, names = explanation.computed, explanation.question.methods
    leading = computed.about[0]
    methods = [
        replace(
            viewer_method(METHODS[name]),
            signed=computed.maps[name, leading].signed,
            unit=computed.maps[name, leading].unit,
            title=method_title(explanation, name),
        )
        for name in names
    ]
    # Layers first, and in their order: the viewer lists them as they come.
    by_target: list[tuple[str, Attribution]] = [
        (target(explanation, leading), attribution)
        for attribution in computed.by_layer.values()
        if computed.deep in names
    ]
    by_target += [
        (target(explanation, index), attribution)
        for (name, index), attribution in computed.maps.items()
        if not (name == computed.deep and index == leading)
    ]
    difference = computed.difference(explanation.leading)
    if difference is not None and computed.classes is not None:
        methods.append(_difference_method(explanation, methods[0]))
        first, second = (target(explanation, index) for index in computed.classes.pair)
        by_target.append((f"{first} minus {second}", replace(difference, method="difference")))
    classes = explanation.classes
    if computed.classes is None:  # the viewer knows classes alone: the unit is one more, after the last
        last = torch.tensor([len(classes)])
        by_target = [(word, replace(attribution, targets=last)) for word, attribution in by_target]
        classes = (*classes, name_of(explanation, UNIT))
    layer = computed.maps[explanation.leading, leading].layer
    return attribution_payload(
        explanation.batch,
        classes,
        computed.shown[None],
        AttributedMaps(by_target, methods, fields_of(explanation.rows)),
        start=ViewerStart(0, explanation.leading, layer, target(explanation, leading)),
    )


def _difference_method(explanation: Explanation, leading: ViewerMethod) -> ViewerMethod:
    """The leading method's map of one class minus that of the other, as one more method."""
    pair = () if explanation.computed.classes is None else explanation.computed.classes.pair
    first, second = (name_of(explanation, index) for index in pair)
    return replace(
        leading,
        id="difference",
        title=TEXTS.say("difference.title", first=first, second=second),
        signed=True,
        poles=TEXTS.say("difference.poles", first=first, second=second),
    )


def _methods(explanation: Explanation) -> Exhibit:
    computed, names = explanation.computed, explanation.question.methods
    alone = [
        method_at_layer(explanation, name)
        for name in names
        if computed.maps[name, computed.about[0]].layer is None and METHODS[name].family == "gradient"
    ]
    text = TEXTS.exhibit("methods", grained=bool(alone), methods=len(names), rows=len(computed.about))
    return Exhibit(
        "explain-methods",
        text.title,
        text.caption,
        text.alt,
        figure=methods_side_by_side(
            [_row(explanation, index) for index in computed.about], alone=alone, title=text.title
        ),
        kind="picture",
        numbers={"methods": list(names), "about": [name_of(explanation, index) for index in computed.about]},
    )


def _row(explanation: Explanation, index: int) -> Row:
    """The picture with the maps of all methods for one class, or for the unit; the maps of one method share a scale over all rows."""
    computed = explanation.computed
    panels: list[tuple[str, np.ndarray[Any, Any], Scale]] = []
    for name in explanation.question.methods:
        of_all = torch.stack([explanation.map(name, other) for other in computed.about])
        scale = attribution_scale(of_all, computed.maps[name, index], over="all rows of each method")
        panels.append((method_at_layer(explanation, name), explanation.map(name, index).numpy(), scale))
    name = name_of(explanation, index)
    if index == UNIT:
        about = TEXTS.say("methods.row_of_unit", name=name)
    else:
        about = TEXTS.say(
            "methods.row_of_class",
            name=name,
            part=part_text(explanation, index),
            probability=float(computed.shown[index]),
            outputs=computed.outputs,
        )
    return Row(pixels(explanation.batch.images)[0], panels, about)
