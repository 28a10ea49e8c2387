"""Filters: what the weights themselves look like, which carry nothing, and which say the same twice."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from vgg_viz.figures.filters import channel_kernels, deep_kernels, first_layer_kernels, kernel_norms
from vgg_viz.gallery.sections import section
from vgg_viz.models.names import find
from vgg_viz.number_text import counted
from vgg_viz.records import Caption, Column, Exhibit, Finding, Table
from vgg_viz.studies.subject import Subject
from vgg_viz.units.health import FilterHealth, filter_health

ROWS, COLUMNS = 12, 32  # deeper filters shown, and channels that they read, at most
EMPTY = 0.01  # of the layer's median norm


def _health(subject: Subject) -> tuple[FilterHealth, ...]:
    return filter_health(subject.model)


def findings(subject: Subject) -> Iterator[Finding]:
    """Near-duplicate filters and empty ones."""
    found = _health(subject)
    filters = sum(len(layer.norms) for layer in found)
    duplicates = [(layer.layer, pair) for layer in found for pair in layer.twins]
    if duplicates:
        name, _ = duplicates[0]
        what = (
            "is 1 pair of near-duplicates"
            if len(duplicates) == 1
            else f"are {len(duplicates):,} pairs of near-duplicates"
        )
        yield Finding(
            "note", f"Among {filters:,} filters there {what}{', the first' if len(duplicates) > 1 else ','} in {name}."
        )


@section(
    "filters",
    study="report",
    title="Filters",
    order=50,
    lead="Before any picture: the weights. The first layer's kernels look at colours and can be seen as such; deeper ones look at channels.",
)
def filters(subject: Subject) -> Iterator[Exhibit | Finding]:
    """First-layer kernels in colour, deeper kernels, norms, near-duplicates."""
    convs = [row for row in subject.geometry if row.kind == "conv"]
    first = _weights(subject, convs[0].name)
    yield _first(subject, convs[0].name, first)
    if first.shape[1] == 3:
        yield _channels(convs[0].name, first)
    if len(convs) > 1:
        yield _deep(subject, convs[-1].name)
    yield _norms(subject)
    yield from findings(subject)


def _weights(subject: Subject, name: str) -> torch.Tensor:
    module = find(subject.model, name).module
    weight = module.weight
    if not isinstance(weight, torch.Tensor):
        raise TypeError(f"layer {name} has no weights")
    return weight.detach().float().cpu()


def _first(subject: Subject, name: str, weights: torch.Tensor) -> Exhibit:
    most = float(weights.abs().max())
    centred = weights - weights.mean((2, 3), keepdim=True)  # a flat colour is flat too
    # A kernel whose three channels agree ignores colour; one whose channels cancel looks at colour alone.
    grey = weights.mean(1, keepdim=True).expand_as(weights)
    colour_share = (
        float((weights - grey).square().sum() / weights.square().sum().clamp(min=1e-12))
        if weights.shape[1] == 3
        else 0.0
    )
    flat = float((centred.square().sum((1, 2, 3)) < 0.1 * weights.square().sum((1, 2, 3))).float().mean())
    channels = "red, green and blue" if weights.shape[1] == 3 else "grey"
    flat_count = round(flat * len(weights))
    flats = f"{flat_count or 'none'} of the {len(weights)} kernels {'is' if flat_count == 1 else 'are'} nearly flat"
    found = (
        f"Light-dark pairs find edges, opposite colours find colour contrasts, a flat colour measures just that colour. Of the squared weight, "
        f"{colour_share * 100:.0f} % tells colours apart, the rest weighs all three alike; {flats}."
        if weights.shape[1] == 3
        else f"Light-dark pairs find edges, a flat kernel measures brightness; {flats}."
    )
    return Exhibit(
        "filters-first",
        f"The {len(weights)} kernels of {name}",
        Caption(
            see=f"Each square is one kernel of {weights.shape[2]} × {weights.shape[3]} weights for {channels}, painted as a colour. Mid-grey is "
            f"zero, and all share one scale: ±{most:.3g} reaches full colour, so a greyish kernel really is a weak one.",
            read=found,
            cannot=f"Kernels of {weights.shape[2]} × {weights.shape[3]} show no shapes: what a network knows lies in how later layers combine them. "
            "Kernels as small as these look like noise even in a well trained network.",
        ),
        alt=f"{len(weights)} first-layer kernels of {name} on one scale of ±{most:.3g}. {found}",
        figure=first_layer_kernels(weights.numpy(), title=f"What {name} weighs, place by place"),
        kind="picture",
        numbers={
            "layer": name,
            "filters": len(weights),
            "scale": most,
            "colour_share": colour_share,
            "flat_share": flat,
            "norms": weights.flatten(1).norm(dim=1),
        },
    )


def _channels(name: str, weights: torch.Tensor) -> Exhibit:
    energy = weights.square().sum((0, 2, 3))
    share = (energy / energy.sum()).tolist()
    return Exhibit(
        "filters-first-channels",
        f"{name} taken apart into red, green and blue",
        Caption(
            see="The same kernels, or as many as fit, one column each: in colour on top, and below what they do to red, to green and to blue, red for positive "
            "and blue for negative weights.",
            read="The same pattern in all three rows: the kernel looks at brightness. Opposite signs in two rows: it looks at a colour contrast. "
            f"Red, green and blue hold {share[0] * 100:.0f}, {share[1] * 100:.0f} and {share[2] * 100:.0f} % of the squared weight.",
            cannot="The network sees normalised pictures: a channel with a small standard deviation is stretched before these weights meet it.",
        ),
        alt=f"Kernels of {name} by colour channel; red, green and blue hold {share[0] * 100:.0f}, {share[1] * 100:.0f} and {share[2] * 100:.0f} % of the squared weight.",
        figure=channel_kernels(weights.numpy(), title=f"{name}: one row for each colour that a kernel weighs"),
        kind="picture",
        numbers={"share_by_channel": share},
    )


def _deep(subject: Subject, name: str) -> Exhibit:
    weights = _weights(subject, name)
    norms = weights.flatten(1).norm(dim=1)
    chosen = norms.argsort(descending=True, stable=True)[:ROWS].tolist()
    everyone = len(chosen) == len(weights)
    # The figure shows the channels that these filters weigh most; its scale is theirs.
    read = weights[chosen].square().sum((0, 2, 3)).argsort(descending=True, stable=True)[:COLUMNS].tolist()
    most = float(weights[chosen][:, read].abs().max())
    below = (
        f"each of the {len(read)} channels"
        if len(read) == weights.shape[1]
        else f"one of the {len(read)} channels, of {weights.shape[1]}, that they weigh most"
    )
    return Exhibit(
        "filters-deep",
        f"Inside {name}: how deeper filters read the channels below",
        Caption(
            see=f"{f'All {len(chosen)} filters of {name}' if everyone else f'The {len(chosen)} of {len(weights)} filters of {name} with the largest norm'}, one "
            f"per row, the largest norm first; each small square of {weights.shape[2]} × {weights.shape[3]} weights is what the filter does with {below} of the "
            "layer below. Red is positive, blue negative, on one scale of "
            f"±{most:.3g}.",
            read="Red asks for that channel at that place, blue speaks against it. A row with few strong squares is a filter that "
            "listens to few channels.",
            cannot="These are not pictures of what the filter likes: the channels below have no colour and no name. Look at the activations instead.",
        ),
        alt=f"Kernel slices of {len(chosen)} filters of {name}, the largest norm first, signed, scale ±{most:.3g}.",
        figure=deep_kernels(
            weights.numpy(), chosen, inputs=COLUMNS, title=f"Weights of {name}: filters down, channels across"
        ),
        kind="picture",
        numbers={"layer": name, "chosen": chosen, "norms": norms, "scale": most},
    )


def _norms(subject: Subject) -> Exhibit:
    found = _health(subject)
    normalised = any(row.kind == "bn" for row in subject.geometry)
    filters_total = sum(len(layer.norms) for layer in found)
    empty = sum(
        int((torch.as_tensor(layer.norms) < EMPTY * torch.as_tensor(layer.norms).median()).sum()) for layer in found
    )
    duplicates = [(layer.layer, pair) for layer in found for pair in layer.twins]
    rows = tuple((name, pair.first, pair.second, round(float(pair.cosine), 4)) for name, pair in duplicates[:50])
    return Exhibit(
        "filters-norms",
        "How large every filter is, and which are alike",
        Caption(
            see=f"One row per layer with the norm (the root of the summed squared weights) of each of its filters, {filters_total:,} in all, relative to the "
            "median of the layer: a dot for each filter, or the shape of their density where they are many."
            + (
                " The table lists pairs of filters of one layer whose weights point in nearly the same direction."
                if rows
                else ""
            ),
            read=(
                f"{counted(empty, 'filter').capitalize() if empty else 'No filter'} {'is' if empty <= 1 else 'are'} below {EMPTY * 100:.0f} % of the layer's median"
                + (": such a filter does next to nothing. " if empty else ", so none is empty. ")
                + (
                    f"{counted(len(duplicates), 'pair').capitalize()} of filters {'is nearly a duplicate' if len(duplicates) == 1 else 'are near-duplicates'}: "
                    "two filters that say the same could be merged into one."
                    if duplicates
                    else "No two filters of a layer are near-duplicates."
                )
            ),
            cannot="A small filter can still be decisive where later layers amplify it."
            + (
                " Here batch norm follows every convolution and rescales its answer, so the norm says nothing about how strong that answer is."
                if normalised
                else ""
            ),
        ),
        alt=f"Dot chart of filter norms in {len(found)} layers; {counted(empty, 'filter')} nearly empty, "
        f"{counted(len(duplicates), 'pair')} of near-duplicates.",
        figure=kernel_norms(
            [layer.layer for layer in found],
            [torch.as_tensor(layer.norms).numpy() for layer in found],
            dead_below=EMPTY,
            title="Euclidean norm of every filter, layer by layer",
        ),
        table=Table(
            (
                Column("layer"),
                Column("filter", "", True),
                Column("and filter", "", True),
                Column("cosine similarity", "", True),
            ),
            rows,
        )
        if rows
        else None,
        numbers={
            "filters": filters_total,
            "empty": empty,
            "duplicates": len(duplicates),
            "norms": {layer.layer: layer.norms for layer in found},
        },
    )
