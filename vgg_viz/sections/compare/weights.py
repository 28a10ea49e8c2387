"""How A and B came to be and how far apart their weights lie: training curves, kernels, distances."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vgg_viz.errors import SectionMissing
from vgg_viz.figures.comparison import kernels_of_both, layer_distances
from vgg_viz.figures.curves import two_histories
from vgg_viz.gallery.sections import section
from vgg_viz.models.names import find
from vgg_viz.number_text import counted, percent
from vgg_viz.records import Caption, Column, Epoch, Exhibit, Table
from vgg_viz.studies.pair import Network, Pair

# Two vectors of one size that know nothing of each other stand at a right angle.
STRANGERS = math.sqrt(2)


@section("training", study="comparison", title="Training", order=50, lead="How both came to be, on one axis.")
def trainings(pair: Pair) -> Iterator[Exhibit]:
    """Loss and accuracy of both over the epochs."""
    histories = [net.checkpoint.history for net in (pair.a, pair.b)]
    without = [net.letter for net, history in zip((pair.a, pair.b), histories, strict=True) if not history]
    if without:
        raise SectionMissing(
            f"{' and '.join(without)} {'holds' if len(without) == 1 else 'hold'} no training history; files written by vgg_viz carry it.",
            "python -m vgg_viz train --data DIR --arch vgg11 --out RUN_DIR",
        )
    best = [max(history, key=lambda epoch: (epoch.val_accuracy, -epoch.val_loss)) for history in histories]
    yield Exhibit(
        "compare-training",
        "Loss and accuracy over the epochs",
        Caption(
            see="Validation curves as solid lines, training curves dotted, both networks on one axis. "
            + " ".join(
                f"{letter} trained for {counted(len(history), 'epoch')}; its best is {found.epoch} with {percent(found.val_accuracy, decimals=1)} of its validation pictures right."
                for letter, history, found in zip("AB", histories, best, strict=True)
            ),
            read="Which learns faster, and does either still rise at its end? A curve that still rises was stopped early. A training curve well below its validation curve "
            "in loss is learned by heart.",
            cannot="Each curve was measured on that run's own validation pictures, and an epoch of one may hold more pictures than an epoch of the other: only the chapter "
            "on changed answers compares the two on the same pictures.",
        ),
        alt="Line charts of loss and accuracy of both; "
        + ", ".join(
            f"{letter} reaches {percent(found.val_accuracy, decimals=1)} in epoch {found.epoch}"
            for letter, found in zip("AB", best, strict=True)
        )
        + ".",
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

    relative  |b - a| / sqrt((|a|^2 + |b|^2) / 2): 0 the same, sqrt(2) for strangers of any size
    cosine    of the angle between them, [-1, 1]
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


@section(
    "weights",
    study="comparison",
    title="Weights",
    order=60,
    lead="Do the two look at the picture itself in the same way, and did they start from the same place?",
)
def weights(pair: Pair) -> Iterator[Exhibit]:
    """First-layer kernels of both where their shapes agree, the distance of every layer where all shapes do, and the layers in rows."""
    first = [next(row.name for row in net.rows if row.kind == "conv") for net in (pair.a, pair.b)]
    kernels = [_weight(net, name) for net, name in zip((pair.a, pair.b), first, strict=True)]
    if kernels[0].shape == kernels[1].shape:
        yield _kernels(first[0], *kernels)
    if pair.same_architecture:
        yield _distances(pair)
    yield _depths(pair, " × ".join(map(str, kernels[0].shape)), " × ".join(map(str, kernels[1].shape)))


def _weight(net: Network, name: str) -> Tensor:
    weight = find(net.model, name).module.weight
    if not isinstance(weight, Tensor):
        raise TypeError(f"layer {name} has no weights")
    return weight.detach().float().cpu()


def _kernels(name: str, a: Tensor, b: Tensor) -> Exhibit:
    found = distance(name, a, b)
    return Exhibit(
        "compare-kernels",
        f"The kernels of {name}",
        Caption(
            see=f"The {len(a)} kernels of {name} painted as colours, those of A above those of B with the same number. Mid-grey is zero, and all kernels of both share one scale.",
            read="Pairs that look alike: both come from one start, or one was trained on from the other. Pairs that do not, although both networks see well: a number is a name "
            "that training gives away by chance, and the same detector may stand elsewhere.",
            cannot="Kernels that differ say nothing about which network is better.",
        ),
        alt=f"First-layer kernels of A and B in {len(a)} pairs on one scale; the cosine between the two layers is {found.cosine:.2f}.",
        figure=kernels_of_both(a.numpy(), b.numpy()),
        kind="picture",
        numbers={
            "layer": name,
            "filters": len(a),
            "scale": float(max(a.abs().max(), b.abs().max())),
            "cosine": found.cosine,
            "relative_distance": found.relative,
        },
    )


def _distances(pair: Pair) -> Exhibit:
    rows = [row.name for row in pair.a.rows if row.kind in ("conv", "fc")]
    found = [distance(name, _weight(pair.a, name), _weight(pair.b, name)) for name in rows]
    near = sum(part.cosine * part.count for part in found if part.cosine == part.cosine) / sum(
        part.count for part in found
    )
    if all(part.relative == 0 for part in found):
        said = "All weights are the same."
    elif near > 0.5:
        said = f"The mean cosine is {near:.2f}: the two come from one start, or one from the other."
    elif near < 0.1:
        said = f"The mean cosine is {near:.2f}: they do not look like two trainings from one start."
    else:
        said = f"The mean cosine is {near:.2f}: a common start is likely, and both have moved far from it."
    return Exhibit(
        "compare-distances",
        "The same start?",
        Caption(
            see="For every layer the distance between the weights of A and of B, relative to their size: 0 is the same, and the dashed line at 1.41 is where two "
            "sets of weights lie that know nothing of each other.",
            read=f"{said} Layers near zero were hardly changed by whatever parts the two.",
            cannot="A network with its filters in another order computes the same and would lie among the strangers: a large distance does not prove a different start.",
        ),
        alt=f"Bar chart of the relative distance of the weights in {counted(len(found), 'layer')}, from {min(p.relative for p in found):.2f} to "
        f"{max(p.relative for p in found):.2f}. {said}",
        figure=layer_distances(
            [part.layer for part in found], torch.tensor([part.relative for part in found]).numpy(), strangers=STRANGERS
        ),
        table=Table(
            (
                Column("layer"),
                Column("weights", "", True),
                Column("relative distance", "", True),
                Column("cosine", "", True),
            ),
            tuple((part.layer, part.count, round(part.relative, 4), round(part.cosine, 4)) for part in found),
        ),
        numbers={
            "mean_cosine": near,
            "layers": [{"layer": p.layer, "relative": p.relative, "cosine": p.cosine} for p in found],
        },
    )


def _depths(pair: Pair, first: str, second: str) -> Exhibit:
    """Layers with weights side by side, by their number from the picture on."""
    columns = [[row for row in net.rows if row.kind in ("conv", "fc")] for net in (pair.a, pair.b)]
    rows: list[tuple[str | int | None, ...]] = []
    for n in range(max(map(len, columns))):
        told: list[str | int | None] = [n + 1]
        for found in columns:
            row = found[n] if n < len(found) else None
            told += (
                [row.name, " × ".join(map(str, row.shape)), row.field.size if row.field else None, row.parameters]
                if row
                else ["–", "–", None, None]
            )
        rows.append(tuple(told))
    missing = [] if pair.same_architecture else ["distances of the weights"]
    missing += [f"kernels of the first layers ({first} and {second})"] if first != second else []
    return Exhibit(
        "compare-layers",
        "Layers with weights, from the picture on",
        Caption(
            see="The convolutions and fully connected layers of both in the order in which the picture meets them: name, output (C × h × w), receptive field and number of weights."
            + (f" Shapes differ, so the {' and the '.join(missing)} cannot be set side by side." if missing else ""),
            read="Rows that agree in all columns could hold the same weights. Where the fields differ, the same row of the table sees more or less of the picture.",
            cannot="Layers of the same number need not do the same work.",
        ),
        alt=f"Table of {len(rows)} rows: A has {counted(len(columns[0]), 'layer')} with weights, B {len(columns[1])}.",
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
            tuple(rows),
        ),
        numbers={"same_architecture": pair.same_architecture, "layers_a": len(columns[0]), "layers_b": len(columns[1])},
    )
