"""Where two networks of one architecture agree and part, layer by layer, from one pass through either."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from vgg_viz.attribution.methods.cam import after_relu
from vgg_viz.attribution.single_pass import grad_cam_all_layers
from vgg_viz.capture.hooks import centring
from vgg_viz.data.annotations import where_word
from vgg_viz.figures.comparison import Measure, layers_of_two
from vgg_viz.maths.change import drift, map_entropy
from vgg_viz.maths.heatmaps import place
from vgg_viz.maths.metrics import bootstrap_interval, mass_inside
from vgg_viz.number_text import counted
from vgg_viz.records import Caption, Column, Exhibit, Table
from vgg_viz.studies.pair import Network, Pair, Pictures

Maps = Mapping[str, Tensor]  # {layer: (N, h, w)}


def comparable(pair: Pair) -> bool:
    """Whether a layer of A and the layer of that name in B are maps of one grid."""
    return pair.same_architecture and pair.a.side == pair.b.side


def by_layer(pair: Pair, sample: Pictures, classes: Tensor) -> Exhibit:
    """Mass on the object, entropy and drift at every convolution.

    sample   the pictures, in the view of either
    classes  (N,) places among the shared classes
    """
    found = [
        maps_of(network, batch.images, network.columns[classes])
        for network, batch in ((pair.a, sample.a), (pair.b, sample.b))
    ]
    fields = {row.name: row.field for row in pair.a.rows}
    names = [name for name in found[0] if fields[name] is not None and min(found[0][name].shape[1:]) > 1]
    masks = sample.a.masks
    measured: list[dict[str, Any]] = []
    for name in names:
        both = [maps[name] for maps in found]
        moved = drift(*both)
        row: dict[str, Any] = {
            "layer": name,
            "entropy": [_mean(map_entropy(maps)) for maps in both],
            "drift": _mean(moved),
            "interval": bootstrap_interval(moved, seed=pair.seed),
            "rank_correlation": 1 - _mean(moved),
        }
        field = fields[name]
        if masks is not None and field is not None:
            row["mass"] = [_mean(mass_inside(place(maps, field, pair.a.side), masks)) for maps in both]
        measured.append(row)
    area = None if masks is None else float(masks[sample.a.known].double().mean())
    return _exhibit(pair, names, measured, area, len(sample.a), where_word(sample.a))


def maps_of(network: Network, images: Tensor, classes: Tensor) -> Maps:
    """Grad-CAM after the ReLU of every convolution, without its own last ReLU, of scores less the mean of all scores: {layer: (N, h, w)}."""
    layers = tuple(dict.fromkeys(after_relu(network.rows, row.name) for row in network.rows if row.kind == "conv"))
    with centring(network.model):
        found = grad_cam_all_layers(network.model, images, classes, layers=layers, relu=False)
    return {name: part.values.detach().float().cpu() for name, part in found.items()}


def _mean(values: Tensor) -> float:
    return float(values.nanmean())


def _exhibit(
    pair: Pair, names: list[str], measured: list[dict[str, Any]], area: float | None, count: int, on: str
) -> Exhibit:
    def of(key: str) -> Any:
        values = np.array([row[key] for row in measured], float)
        return values.reshape(len(names), -1).transpose()

    measures = (
        []
        if area is None
        else [Measure(f"share of the map {on}", of("mass"), level=("the object's share of the picture", area))]
    )
    measures += [
        Measure("entropy of the map, 1 is flat", of("entropy")),
        Measure(
            "drift from A to B",
            of("drift"),
            of("interval").T,
            range=(0.0, max(1.05, *(row["interval"][1] for row in measured))),
        ),
    ]
    far = max(measured, key=lambda row: row["drift"])
    near = min(measured, key=lambda row: row["drift"])
    same = all(row["drift"] == 0 for row in measured)
    said = (
        "No map differs in its order."
        if same
        else f"They part most at {far['layer']} (drift {far['drift']:.2f}) and least at {near['layer']} ({near['drift']:.2f})."
    )
    columns = [
        Column("layer"),
        *([Column(f"of A {on}", "%", True), Column(f"of B {on}", "%", True)] if area is not None else []),
        Column("entropy of A", "", True),
        Column("entropy of B", "", True),
        Column("drift", "", True),
        Column("95 % interval"),
    ]
    rows = tuple(
        (
            row["layer"],
            *((round(100 * share, 1) for share in row["mass"]) if area is not None else ()),
            *(round(value, 3) for value in row["entropy"]),
            round(row["drift"], 3),
            f"{row['interval'][0]:.3f} to {row['interval'][1]:.3f}",
        )
        for row in measured
    )
    return Exhibit(
        "compare-depth",
        "Where do they part? Layer by layer",
        Caption(
            see=f"Grad-CAM of the true class at every convolution of A and B over {counted(count, 'picture')}, spread evenly over the labelled ones: "
            + (f"how much of a map's positive mass lies {on}; " if area is not None else "")
            + "how evenly it is spread (entropy); and the drift from A to B, 1 minus the rank correlation of their maps: 0 the same order of places, 1 unrelated.",
            read=f"{said} Layers of one name are compared. A drift that begins only in the last layers: the two see the same and judge differently. One that is large from the first "
            "layer on: they see differently.",
            cannot="The class's score is taken less the mean score of all classes, and evidence against it counts in the drift. Ranks know nothing of strength: a layer with small "
            "values drifts as much as one with large ones.",
        ),
        alt=f"Dots for A and B at {counted(len(names), 'layer')}. {said}",
        figure=layers_of_two(names, measures),
        table=Table(tuple(columns), rows),
        numbers={"pictures": count, "object": area, "layers": measured},
    )
