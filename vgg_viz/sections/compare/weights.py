"""How A and B came to be and how far apart their weights lie: training curves, kernels, distances."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import torch
from torch import Tensor

from vgg_viz.errors import NotForThisNetwork, SectionMissing
from vgg_viz.figures.comparison import kernels_of_both, layer_distances
from vgg_viz.figures.curves import two_histories
from vgg_viz.gallery.sections import section
from vgg_viz.gallery.texts import Texts
from vgg_viz.models.geometry import LayerGeometry
from vgg_viz.models.names import find
from vgg_viz.records import Column, Epoch, Exhibit, Table
from vgg_viz.studies.pair import Network, Pair

TEXTS = Texts(__name__)
# Two vectors of one size that know nothing of each other stand at a right angle.
STRANGERS = math.sqrt(2)


@section("training", study="comparison", order=50, needs="scores")
def trainings(pair: Pair) -> Iterator[Exhibit]:
    """Loss and accuracy of both over the epochs."""
    histories = [net.checkpoint.history for net in (pair.a, pair.b)]
    without = [net.letter for net, history in zip((pair.a, pair.b), histories, strict=True) if not history]
    if without:
        # As in a report: of a file that was made elsewhere nobody can ask for curves.
        lacking = (net for net in (pair.a, pair.b) if net.letter in without)
        untrained = any(net.checkpoint.provenance.format == "untrained" for net in lacking)
        raise (SectionMissing if untrained else NotForThisNetwork)(
            TEXTS.say("missing.history", letters=without),
            "python -m vgg_viz train --data DIR --arch vgg11 --out RUN_DIR",
        )
    best = [max(history, key=lambda epoch: (epoch.val_accuracy, -epoch.val_loss)) for history in histories]
    text = TEXTS.exhibit("training", epochs=[len(history) for history in histories], best=best)
    yield Exhibit(
        "compare-training",
        text.title,
        text.caption,
        text.alt,
        figure=two_histories(*histories),
        numbers={letter: _history(history) for letter, history in zip("ab", histories, strict=True)},
    )


def _history(history: tuple[Epoch, ...]) -> dict[str, list[float]]:
    return {
        name: [float(getattr(epoch, name)) for epoch in history]
        for name in ("epoch", "train_loss", "val_loss", "train_accuracy", "val_accuracy")
    }


# ---------------------------------------------------------------- weights


@dataclass(frozen=True, slots=True)
class Distance:
    """Weights of one layer in A and B.

    Attributes:
        layer: Its name in both.
        count: Weights.
        relative: |b - a| / sqrt((|a|^2 + |b|^2) / 2): 0 the same, sqrt(2) for two of any size that know nothing of each other.
        cosine: Of the angle between them, [-1, 1].
    """

    layer: str
    count: int
    relative: float
    cosine: float


def distance(layer: str, a: Tensor, b: Tensor) -> Distance:
    """How far two weights of one shape lie apart; two that are all zero are the same."""
    x, y = a.detach().double().flatten(), b.detach().double().flatten()
    size = math.sqrt(float(x.square().sum() + y.square().sum()) / 2)
    lengths = float(x.norm() * y.norm())
    return Distance(
        layer, x.numel(), float((y - x).norm()) / size if size else 0.0, float(x @ y) / lengths if lengths else math.nan
    )


@section("weights", study="comparison", order=60)
def weights(pair: Pair) -> Iterator[Exhibit]:
    """First-layer kernels of both where their shapes agree, the distance of every layer where all shapes do, and the layers in rows."""
    first = [next(row.name for row in net.rows if row.kind == "conv") for net in (pair.a, pair.b)]
    kernels = [_weight(net, name) for net, name in zip((pair.a, pair.b), first, strict=True)]
    if kernels[0].shape == kernels[1].shape:
        yield _kernels(first[0], *kernels)
    if pair.same_architecture or (pair.lacks and _one_in_the_other(pair)):
        yield _distances(pair)
    yield _depths(pair, [" × ".join(map(str, weight.shape)) for weight in kernels])


def _one_in_the_other(pair: Pair) -> bool:
    """Whether one of the two is the beginning of the other: convolutions, and the same ones with a classifier behind them."""
    mine, yours = ({key: value.shape for key, value in net.model.state_dict().items()} for net in (pair.a, pair.b))
    return mine.items() <= yours.items() or yours.items() <= mine.items()


def _weight(net: Network, name: str) -> Tensor:
    weight = find(net.model, name).module.weight
    if not isinstance(weight, Tensor):
        raise TypeError(f"layer {name} has no weights")
    return weight.detach().float().cpu()


def _kernels(name: str, a: Tensor, b: Tensor) -> Exhibit:
    apart = distance(name, a, b)
    text = TEXTS.exhibit("kernels", layer=name, kernels=len(a), cosine=apart.cosine)
    return Exhibit(
        "compare-kernels",
        text.title,
        text.caption,
        text.alt,
        figure=kernels_of_both(a.numpy(), b.numpy()),
        kind="picture",
        numbers={
            "layer": name,
            "filters": len(a),
            "scale": float(max(a.abs().max(), b.abs().max())),
            "cosine": apart.cosine,
            "relative_distance": apart.relative,
        },
    )


def _distances(pair: Pair) -> Exhibit:
    in_b = {row.name for row in pair.b.rows}
    names = [row.name for row in pair.a.rows if row.kind in ("conv", "fc") and row.name in in_b]
    layers = [distance(name, _weight(pair.a, name), _weight(pair.b, name)) for name in names]
    known = [layer for layer in layers if layer.cosine == layer.cosine]
    cosine = sum(layer.cosine * layer.count for layer in known) / sum(layer.count for layer in layers)
    relative = [layer.relative for layer in layers]
    text = TEXTS.exhibit(
        "distances",
        layers=len(layers),
        lowest=min(relative),
        highest=max(relative),
        start=TEXTS.say("distances.start", same=not any(relative), cosine=cosine),
    )
    return Exhibit(
        "compare-distances",
        text.title,
        text.caption,
        text.alt,
        figure=layer_distances(names, torch.tensor(relative).numpy(), unrelated=STRANGERS),
        table=Table(
            (
                Column("layer"),
                Column("weights", "", True),
                Column("relative distance", "", True),
                Column("cosine", "", True),
            ),
            tuple((layer.layer, layer.count, round(layer.relative, 4), round(layer.cosine, 4)) for layer in layers),
        ),
        numbers={
            "mean_cosine": cosine,
            "layers": [{"layer": layer.layer, "relative": layer.relative, "cosine": layer.cosine} for layer in layers],
        },
    )


def _depths(pair: Pair, first: Sequence[str]) -> Exhibit:
    """Layers with weights side by side, by their number from the picture on; `first` has the shapes of the first kernels."""
    layers = [[row for row in network.rows if row.kind in ("conv", "fc")] for network in (pair.a, pair.b)]
    rows = tuple(
        (number, *_cells(a), *_cells(b)) for number, (a, b) in enumerate(zip_longest(*layers, fillvalue=None), 1)
    )
    text = TEXTS.exhibit(
        "layers",
        same_architecture=pair.same_architecture,
        first=first,
        rows=len(rows),
        layers=[len(of_network) for of_network in layers],
    )
    return Exhibit(
        "compare-layers",
        text.title,
        text.caption,
        text.alt,
        table=Table(
            (
                Column("number", "", True),
                *(
                    Column(f"{name} of {letter}", unit, numeric)
                    for letter in "AB"
                    for name, unit, numeric in (
                        ("layer", "", False),
                        ("output", "", False),
                        ("field", "px", True),
                        ("weights", "", True),
                    )
                ),
            ),
            rows,
        ),
        numbers={"same_architecture": pair.same_architecture, "layers_a": len(layers[0]), "layers_b": len(layers[1])},
    )


def _cells(layer: LayerGeometry | None) -> tuple[str | int | None, ...]:
    """Name, output, field and weights of a layer, or of one that the network lacks."""
    if layer is None:
        return "–", "–", None, None
    return layer.name, " × ".join(map(str, layer.shape)), layer.field.size if layer.field else None, layer.parameters
