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
from vgg_viz.gallery.viewer import AttributedMaps, ViewerStart, attribution_payload, payload_json, viewer_method
from vgg_viz.maths.heatmaps import Scale, attribution_scale
from vgg_viz.models.geometry import fields_of
from vgg_viz.number_text import counted, percent
from vgg_viz.records import Attribution, Caption, Column, Exhibit, Table
from vgg_viz.sections.explain.facts import target
from vgg_viz.sections.explain.summary import method_said, name_of, part_said, titled
from vgg_viz.studies import saved_maps
from vgg_viz.studies.picture import Explanation
from vgg_viz.studies.picture_maps import UNIT


@section("maps", study="explanation", title="The maps", order=20, lead="The same question by method, class and layer.")
def maps(found: Explanation) -> Iterator[Exhibit]:
    """The viewer, the methods side by side, and where each map lies raw."""
    yield _viewer(found)
    if len(found.question.methods) > 1:
        yield _methods(found)
    yield _arrays(found)


def raw(found: Explanation) -> dict[str, tuple[str, Attribution]]:
    """Every map that is written down, {file stem: (what it is about, map)}: of each method and class, of each layer, and differences."""
    computed = found.computed
    all_maps = [(target(found, index), one) for (_, index), one in computed.maps.items()]
    all_maps += [(target(found, computed.asked[0]), one) for one in computed.by_layer.values()]
    all_maps += [
        ("difference", one) for method in found.question.methods if (one := computed.difference(method)) is not None
    ]
    return {saved_maps.slug(one, word): (word, one) for word, one in all_maps}


def _arrays(found: Explanation) -> Exhibit:
    told = [
        (
            f"data/{stem}{saved_maps.SUFFIX}",
            METHODS[one.method].title,
            word,
            one.layer or "pixels",
            f"{one.values.shape[1]} × {one.values.shape[2]}",
            one.unit,
            float(one.values.min()),
            float(one.values.max()),
        )
        for stem, (word, one) in raw(found).items()
    ]
    return Exhibit(
        "explain-arrays",
        "The raw maps",
        Caption(
            see=f"{counted(len(told), 'map')} as the methods gave them: 32-bit floats with their signs, not clamped, rescaled or resized. Each lies beside this page as a safetensors "
            "file (values), whose header says what it depends on.",
            read='In Python: safetensors.numpy.load_file(file)["values"][0]. The rows and columns are those of the layer\'s own map; where its units look in the picture is told by their receptive field.',
            cannot="Maps of different methods have different units, and can be compared by order only.",
        ),
        alt=f"Table of the files of {counted(len(told), 'map')}.",
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
            tuple(told),
        ),
        numbers={"files": [row[0] for row in told]},
    )


def _viewer(found: Explanation) -> Exhibit:
    computed = found.computed
    names = found.question.methods
    leading = computed.asked[0]
    every = {
        name: replace(viewer_method(METHODS[name]), signed=one.signed, unit=one.unit, title=titled(found, name))
        for name in names
        if (one := computed.maps[name, leading])
    }
    # Layers first, and in their order: the viewer lists them as they come.
    shown: list[tuple[str, Attribution]] = [
        (target(found, leading), one) for one in computed.by_layer.values() if computed.deep in names
    ]
    shown += [
        (target(found, index), one)
        for (name, index), one in computed.maps.items()
        if not (name == computed.deep and index == leading)
    ]
    difference = computed.difference(found.leading)
    if difference is not None and computed.classes is not None:
        first, second = (name_of(found, index) for index in computed.classes.pair)
        every["difference"] = replace(
            every[found.leading],
            id="difference",
            title=f"Difference: {first} minus {second}",
            signed=True,
            poles=f"red for {first}, blue for {second}",
        )
        shown.append(
            (
                f"{target(found, computed.classes.pair[0])} minus {target(found, computed.classes.pair[1])}",
                replace(difference, method="difference"),
            )
        )
    classes = found.classes
    if computed.classes is None:  # the viewer knows classes alone: the unit is one more, after the last
        shown = [(word, replace(one, targets=torch.tensor([len(classes)]))) for word, one in shown]
        classes = (*classes, name_of(found, UNIT))
    told = attribution_payload(
        found.batch,
        classes,
        computed.probabilities[None],
        AttributedMaps(shown, list(every.values()), fields_of(found.rows)),
        start=ViewerStart(0, found.leading, computed.maps[found.leading, leading].layer, target(found, leading)),
    )
    return Exhibit(
        "explain-viewer",
        "Try it: method, layer, class",
        Caption(
            see=f"The picture with a map over it; the stronger the value, the less transparent the colour. {counted(len(names), 'method')}"
            f"{f', {METHODS[computed.deep].title} at every convolution' if computed.deep in names else ''}{', and the difference of two classes' if difference is not None else ''}.",
            read="Change the class: does the map move? Change the layer: from which depth on is the evidence where you would look yourself? Point at a cell to read its value and "
            "to see the pixels that it can depend on.",
            cannot="A map shows what the score reacts to, not what the network thinks. Here each map has a range of its own; on the sheet above all share one.",
        ),
        alt="Interactive viewer of the picture with all maps of this page; the figures show the same.",
        numbers={
            "methods": names,
            "about": [name_of(found, index) for index in computed.asked],
            "layers": list(computed.by_layer),
        },
        viewer=payload_json(told),
    )


def _methods(found: Explanation) -> Exhibit:
    computed, photo = found.computed, pixels(found.batch.images)[0]
    rows = []
    for index in computed.asked:
        panels: list[tuple[str, np.ndarray[Any, Any], Scale]] = []
        for name in found.question.methods:
            one = computed.maps[name, index]
            both = torch.stack([found.map(name, other) for other in computed.asked])
            scale = attribution_scale(both, one, over="all rows of each method")
            panels.append((method_said(found, name), found.map(name, index).numpy(), scale))
        about = (
            name_of(found, index)
            if index == UNIT
            else f"{name_of(found, index)} ({part_said(found, index)}, {percent(float(computed.probabilities[index]))})"
        )
        rows.append(Row(photo, panels, f"for {about}"))
    alone = [
        method_said(found, name)
        for name in found.question.methods
        if computed.maps[name, computed.asked[0]].layer is None and METHODS[name].family == "gradient"
    ]
    grain = " Maps with the grain of a gradient are shown without the picture." if alone else ""
    what = counted(len(rows), "row")
    return Exhibit(
        "explain-methods",
        "The same question, asked in several ways",
        Caption(
            see=f"A row for each thing that is asked about, a column for each method. The maps of one method share a scale; its numbers stand at its foot.{grain}",
            read="Where methods of different families agree, the place is less likely to be a whim of one of them. Where the map of a method is alike for two classes, it tells where "
            "something is, and not what the network takes it for.",
            cannot="Scales and units differ from method to method: a bright spot in one column is not stronger than a pale one in another.",
        ),
        alt=f"Maps by {counted(len(found.question.methods), 'method')} in {what}.",
        figure=methods_side_by_side(rows, alone=alone, title="The same question, asked in several ways"),
        kind="picture",
        numbers={"methods": list(found.question.methods), "about": [name_of(found, index) for index in computed.asked]},
    )
