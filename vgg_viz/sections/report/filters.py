"""Filters: the weights as pictures, how large each filter is, and which of them are empty or alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch

from vgg_viz.figures.filters import channel_kernels, deep_kernels, first_layer_kernels, kernel_norms
from vgg_viz.gallery.sections import section
from vgg_viz.gallery.texts import Texts
from vgg_viz.models.names import find
from vgg_viz.records import Column, Exhibit, Finding, Table
from vgg_viz.studies.subject import Subject
from vgg_viz.units.health import FilterHealth, Twins, filter_health

TEXTS = Texts(__name__)
ROWS, COLUMNS = 12, 32  # deeper filters shown, and channels that they read, at most
EMPTY = 0.01  # of the layer's median norm


def _normalised(subject: Subject) -> bool:
    """Whether batch norm follows every convolution."""
    rows = subject.geometry
    return all(after.kind == "bn" for row, after in pairwise(rows) if row.kind == "conv")


@section("filters", study="report", order=50, chapter="network")
def filters(subject: Subject) -> Iterator[Exhibit | Finding]:
    """First-layer kernels in colour, deeper kernels, norms, near-duplicates."""
    convs = [row for row in subject.geometry if row.kind == "conv"]
    first = _weights(subject, convs[0].name)
    yield _first(convs[0].name, first)
    if first.shape[1] == 3:
        yield _channels(convs[0].name, first)
    if len(convs) > 1:
        yield _deep(convs[-1].name, _weights(subject, convs[-1].name))
    health = filter_health(subject.model)
    yield _norms(health, normalised=_normalised(subject))
    yield from _findings(health)


def _weights(subject: Subject, name: str) -> torch.Tensor:
    """The weights of a layer (filters, channels, height, width), float32."""
    module = find(subject.model, name).module
    weight = module.weight
    if not isinstance(weight, torch.Tensor):
        raise TypeError(f"layer {name} has no weights")
    return weight.detach().float().cpu()


def _duplicates(health: Sequence[FilterHealth]) -> list[tuple[str, Twins]]:
    """Pairs of filters that point in nearly the same direction, each with its layer."""
    return [(layer.layer, pair) for layer in health for pair in layer.twins]


def _findings(health: Sequence[FilterHealth]) -> Iterator[Finding]:
    """Near-duplicate filters."""
    if duplicates := _duplicates(health):
        count = sum(len(layer.norms) for layer in health)
        layer, _ = duplicates[0]
        yield Finding("note", TEXTS.say("findings.duplicates", filters=count, duplicates=len(duplicates), layer=layer))


def _first(name: str, weights: torch.Tensor) -> Exhibit:
    count, channels, height, width = weights.shape
    most = float(weights.abs().max())
    squares = weights.square().sum((1, 2, 3))
    centred = weights - weights.mean((2, 3), keepdim=True)  # a flat colour is flat too
    flat_share = float((centred.square().sum((1, 2, 3)) < 0.1 * squares).float().mean())
    colour_share = _colour_share(weights) if channels == 3 else 0.0
    kernels = TEXTS.say(
        "phrases.kernels",
        coloured=channels == 3,
        colour_share=colour_share,
        flat=round(flat_share * count),
        filters=count,
    )
    text = TEXTS.exhibit(
        "first",
        layer=name,
        filters=count,
        height=height,
        width=width,
        coloured=channels == 3,
        scale=most,
        kernels=kernels,
    )
    return Exhibit(
        "filters-first",
        text.title,
        text.caption,
        text.alt,
        figure=first_layer_kernels(weights.numpy(), title=f"What {name} weighs, place by place"),
        kind="picture",
        numbers={
            "layer": name,
            "filters": count,
            "scale": most,
            "colour_share": colour_share,
            "flat_share": flat_share,
            "norms": weights.flatten(1).norm(dim=1),
        },
    )


def _colour_share(weights: torch.Tensor) -> float:
    """How much of the squared weight tells colours apart, [0, 1].

    A kernel whose three channels agree ignores colour; one whose channels cancel looks at colour alone.
    """
    grey = weights.mean(1, keepdim=True).expand_as(weights)
    return float((weights - grey).square().sum() / weights.square().sum().clamp(min=1e-12))


def _channels(name: str, weights: torch.Tensor) -> Exhibit:
    energy = weights.square().sum((0, 2, 3))
    shares = (energy / energy.sum()).tolist()
    text = TEXTS.exhibit("channels", layer=name, red=shares[0], green=shares[1], blue=shares[2])
    return Exhibit(
        "filters-first-channels",
        text.title,
        text.caption,
        text.alt,
        figure=channel_kernels(weights.numpy(), title=f"{name}: one row for each colour that a kernel weighs"),
        kind="picture",
        numbers={"share_by_channel": shares},
    )


def _deep(name: str, weights: torch.Tensor) -> Exhibit:
    count, channels, height, width = weights.shape
    norms = weights.flatten(1).norm(dim=1)
    chosen = norms.argsort(descending=True, stable=True)[:ROWS].tolist()
    # The figure shows the channels that these filters weigh most; its scale is theirs.
    read = weights[chosen].square().sum((0, 2, 3)).argsort(descending=True, stable=True)[:COLUMNS].tolist()
    most = float(weights[chosen][:, read].abs().max())
    text = TEXTS.exhibit(
        "deep",
        layer=name,
        shown=len(chosen),
        filters=count,
        read=len(read),
        channels=channels,
        height=height,
        width=width,
        scale=most,
    )
    return Exhibit(
        "filters-deep",
        text.title,
        text.caption,
        text.alt,
        figure=deep_kernels(
            weights.numpy(), chosen, inputs=COLUMNS, title=f"Weights of {name}: filters down, channels across"
        ),
        kind="picture",
        numbers={"layer": name, "chosen": chosen, "norms": norms, "scale": most},
    )


def _norms(health: Sequence[FilterHealth], *, normalised: bool) -> Exhibit:
    norms = [torch.as_tensor(layer.norms) for layer in health]
    count = sum(len(of_layer) for of_layer in norms)
    empty = sum(int((of_layer < EMPTY * of_layer.median()).sum()) for of_layer in norms)
    duplicates = _duplicates(health)
    text = TEXTS.exhibit(
        "norms",
        layers=len(health),
        filters=count,
        empty=empty,
        least=EMPTY,
        duplicates=len(duplicates),
        normalised=normalised,
    )
    return Exhibit(
        "filters-norms",
        text.title,
        text.caption,
        text.alt,
        figure=kernel_norms(
            [layer.layer for layer in health],
            [of_layer.numpy() for of_layer in norms],
            dead_below=EMPTY,
            title="Euclidean norm of every filter, layer by layer",
        ),
        table=_duplicates_table(duplicates[:50]) if duplicates else None,
        numbers={
            "filters": count,
            "empty": empty,
            "duplicates": len(duplicates),
            "norms": {layer.layer: layer.norms for layer in health},
        },
    )


def _duplicates_table(duplicates: Sequence[tuple[str, Twins]]) -> Table:
    columns = (
        Column("layer"),
        Column("filter", "", True),
        Column("and filter", "", True),
        Column("cosine similarity", "", True),
    )
    return Table(
        columns, tuple((name, pair.first, pair.second, round(float(pair.cosine), 4)) for name, pair in duplicates)
    )
