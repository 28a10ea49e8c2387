"""Where two networks of one architecture agree and part, layer by layer, from one pass through either."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from vgg_viz.attribution.layers import after_activation
from vgg_viz.attribution.single_pass import grad_cam_all_layers
from vgg_viz.capture.hooks import centre_logits
from vgg_viz.data.annotations import where_word
from vgg_viz.figures.comparison import Measure, layers_of_two
from vgg_viz.gallery.texts import Texts
from vgg_viz.maths.change import drift, map_entropy
from vgg_viz.maths.heatmaps import place
from vgg_viz.maths.metrics import bootstrap_interval, mass_inside
from vgg_viz.records import Batch, Column, Exhibit, Table
from vgg_viz.studies.pair import Network, Pair, Pictures

TEXTS = Texts(__name__)
Maps = Mapping[str, Tensor]  # {layer: (N, h, w)}


@dataclass(frozen=True, slots=True)
class LayerChange:
    """One layer in A and B: means over the pictures.

    Attributes:
        layer: Its name in both.
        entropy: Of the maps of A and of B, [0, 1]; 1 is flat.
        drift: 1 minus the rank correlation of the two maps, [0, 2].
        interval: 95 % interval of the drift.
        mass: Share of the positive mass of A's and of B's map on the object, [0, 1]; None where no object is known.
    """

    layer: str
    entropy: tuple[float, float]
    drift: float
    interval: tuple[float, float]
    mass: tuple[float, float] | None

    def numbers(self) -> dict[str, object]:
        """Plain values for the manifest."""
        return {
            "layer": self.layer,
            "entropy": self.entropy,
            "drift": self.drift,
            "interval": self.interval,
            "rank_correlation": 1 - self.drift,
            **({} if self.mass is None else {"mass": self.mass}),
        }


def comparable(pair: Pair) -> bool:
    """Whether a layer of A and the layer of that name in B are maps of one grid."""
    return pair.same_architecture and pair.a.side == pair.b.side


def by_layer(pair: Pair, sample: Pictures, classes: Tensor) -> Exhibit:
    """Mass on the object, entropy and drift at every convolution.

    Args:
        pair: A and B.
        sample: N pictures, in the view of either.
        classes: (N,) places among the shared classes.
    """
    layers = _measured(pair, sample, classes)
    view, masks = sample.a, sample.a.masks
    area = None if masks is None else float(masks[view.known].double().mean())
    on = where_word(view)
    drifts = [layer.drift for layer in layers]
    text = TEXTS.exhibit(
        "depth",
        pictures=len(view),
        masked=masks is not None,
        on=on,
        layers=len(layers),
        drift=TEXTS.say(
            "depth.drift",
            same=not any(drifts),
            most=layers[drifts.index(max(drifts))],
            least=layers[drifts.index(min(drifts))],
        ),
    )
    return Exhibit(
        "compare-depth",
        text.title,
        text.caption,
        text.alt,
        figure=layers_of_two([layer.layer for layer in layers], _measures(layers, area, on)),
        table=_table(layers, view),
        numbers={"pictures": len(view), "object": area, "layers": [layer.numbers() for layer in layers]},
    )


def maps_of(network: Network, images: Tensor, classes: Tensor) -> Maps:
    """Grad-CAM after the ReLU of every convolution, without its own last ReLU, of scores less the mean of all scores: {layer: (N, h, w)}."""
    layers = tuple(
        dict.fromkeys(after_activation(network.rows, row.name) for row in network.rows if row.kind == "conv")
    )
    with centre_logits(network.model):
        maps = grad_cam_all_layers(network.model, images, classes, layers=layers, relu=False)
    return {name: of_layer.values.detach().float().cpu() for name, of_layer in maps.items()}


def _measured(pair: Pair, sample: Pictures, classes: Tensor) -> list[LayerChange]:
    """Every layer with maps of more than one row and column."""
    maps_a, maps_b = (
        maps_of(network, batch.images, network.columns[classes])
        for network, batch in ((pair.a, sample.a), (pair.b, sample.b))
    )
    fields = {row.name: row.field for row in pair.a.rows}
    masks = sample.a.masks
    layers = []
    for name, a in maps_a.items():
        field, b = fields[name], maps_b[name]
        if field is None or min(a.shape[1:]) <= 1:
            continue
        mass = None
        if masks is not None:
            in_a, in_b = (mass_inside(place(maps, field, pair.a.side), masks) for maps in (a, b))
            mass = _mean(in_a), _mean(in_b)
        drifts = drift(a, b)
        entropy = _mean(map_entropy(a)), _mean(map_entropy(b))
        interval = bootstrap_interval(drifts, seed=pair.seed)
        layers.append(LayerChange(name, entropy, _mean(drifts), interval, mass))
    return layers


def _mean(values: Tensor) -> float:
    return float(values.nanmean())


def _measures(layers: Sequence[LayerChange], area: float | None, on: str) -> list[Measure]:
    """What the figure has beside each other; `area` of the object, as a share of the picture."""
    measures = []
    if area is not None:
        mass = np.array([layer.mass for layer in layers], float).T
        measures.append(Measure(TEXTS.say("measures.mass", on=on), mass, level=(TEXTS.say("measures.area"), area)))
    return [
        *measures,
        Measure(TEXTS.say("measures.entropy"), np.array([layer.entropy for layer in layers], float).T),
        Measure(
            TEXTS.say("measures.drift"),
            np.array([[layer.drift for layer in layers]], float),
            np.array([layer.interval for layer in layers], float),
            range=(0.0, max(1.05, *(layer.interval[1] for layer in layers))),
        ),
    ]


def _table(layers: Sequence[LayerChange], view: Batch) -> Table:
    on = where_word(view)
    columns = (
        Column("layer"),
        *([Column(f"of A {on}", "%", True), Column(f"of B {on}", "%", True)] if view.masks is not None else []),
        Column("entropy of A", "", True),
        Column("entropy of B", "", True),
        Column("drift", "", True),
        Column("95 % interval"),
    )
    rows: tuple[tuple[str | float | None, ...], ...] = tuple(
        (
            layer.layer,
            *(round(100 * share, 1) for share in layer.mass or ()),
            *(round(value, 3) for value in layer.entropy),
            round(layer.drift, 3),
            f"{layer.interval[0]:.3f} to {layer.interval[1]:.3f}",
        )
        for layer in layers
    )
    return Table(columns, rows)
