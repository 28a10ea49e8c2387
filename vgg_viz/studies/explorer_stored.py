"""What a network that does not run in a page said about a few pictures: maps of units, sums behind their strongest cells."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vgg_viz.capture.hooks import activations
from vgg_viz.gallery.small_maps import block_means, quantise
from vgg_viz.maths.receptive_field import Field
from vgg_viz.models.geometry import LayerGeometry, geometry, window_of
from vgg_viz.models.names import ACTIVATION_KINDS, Layer, layers
from vgg_viz.models.network import Normalise
from vgg_viz.models.outputs import outputs_of
from vgg_viz.records import Batch
from vgg_viz.studies.explorer_steps import MAX_POOLS, MEANS, covered, own_numbers, page_kind, rule_of

UNITS = 12  # of each layer of maps; of the layers behind them all are kept, and sums of this many
FINEST = 56  # side of a stored map; larger ones are averaged down [values]
MOST_TERMS, WINDOWS = 24, 4  # of a sum: inputs that are listed, and those of them with every number
MOST_CELLS = 64  # of a pool's window whose numbers are written down
POOLS = (*MAX_POOLS, *MEANS)


@dataclass(frozen=True, slots=True)
class Place:
    """A layer that is shown, and what makes it: a producer (convolution, linear layer or pool) and what follows it up to here.

    row     of the last of these layers, whose values are shown
    below   the layer whose values the producer reads, "" for the normalised picture
    maps    channels of the map below; of a list below, those of the map that was flattened into it
    after   batch norm and activations between the sum and what is shown
    """

    layer: Layer
    row: LayerGeometry
    producer: Layer
    below: str
    maps: int
    after: tuple[Layer, ...] = ()


def stored_network(
    model: nn.Module, batch: Batch, classes: Sequence[str], said: Mapping[str, Tensor] | None = None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The network as its steps, and for each picture of `batch` what they said: plain JSON for the explorer.

    said     what all layers said about these pictures, by name, where it is at hand; else one forward pass
    returns  network {side, channels, classes, steps, weights, live: False}, and one {answers, cells} a picture:
             answers are maps of UNITS units a layer as bytes with their ranges (the error is at most half of a 256th of it),
             or all values of a layer without places; cells are the sums of each unit's strongest cell, to float32
    """
    normalise, device = layers(model)[0].module, next(model.parameters()).device
    if not isinstance(normalise, Normalise):
        raise TypeError("a model from vgg_viz.build was expected")
    given = activations(model, batch.images.to(device)).maps if said is None else said
    maps = {name: values.detach().float().cpu() for name, values in given.items()}
    maps[""] = normalise(batch.images.to(device)).detach().float().cpu()
    places = _places(model)
    if (
        places[-1].layer.kind == "flatten"
    ):  # a list of maps of one cell: not captured, since it holds nothing of its own
        maps[places[-1].layer.name] = maps[places[-1].below].flatten(1)
    units = {place.layer.name: _strongest(maps[place.layer.name]) for place in places}
    steps, weights = _steps(model, normalise, places, units)
    network = {
        "side": batch.images.shape[-1],
        "channels": batch.images.shape[1],
        "outputs": outputs_of(model),
        "classes": list(classes),
        "steps": steps,
        "weights": _floats(weights),
        "live": False,
    }
    return network, [_picture(i, places, units, maps) for i in range(len(batch))]


def _places(model: nn.Module) -> list[Place]:
    """What is shown: every convolution and linear layer after its batch norm and activation, and every pool."""
    chain = [layer for layer in layers(model) if layer.kind != "drop"]
    rows = {row.name: row for row in geometry(model)}
    found: list[Place] = []
    below, maps, i = "", rows[chain[0].name].shape[0], 1
    while i < len(chain):
        layer, run = chain[i], _run(chain[i + 1 :])
        pools = isinstance(layer.module, POOLS) and rows[layer.name].shape != rows[chain[i - 1].name].shape
        if layer.kind in ("conv", "fc"):
            found.append(Place((layer, *run)[-1], rows[(layer, *run)[-1].name], layer, below, maps, run))
            i += len(run)
        elif pools or layer.kind == "pool" or (layer.kind == "flatten" and i == len(chain) - 1):
            found.append(Place(layer, rows[layer.name], layer, below, maps))
        # A flattened list is told by the maps that it came from.
        if layer.kind != "flatten":
            below = chain[i].name
            maps = rows[below].shape[0] if len(rows[below].shape) == 3 or layer.kind == "fc" else maps
        i += 1
    return found


def _run(chain: Sequence[Layer]) -> tuple[Layer, ...]:
    return tuple(takewhile(lambda layer: layer.kind == "bn" or layer.kind in ACTIVATION_KINDS, chain))


def _strongest(values: Tensor) -> list[int]:
    """The units that answer most strongly on average over all pictures, in their own order."""
    strength = values.mean((0, 2, 3)) if values.ndim == 4 else values.mean(0)
    return sorted(strength.argsort(descending=True, stable=True)[:UNITS].tolist())


def _steps(
    model: nn.Module, normalise: Normalise, places: Sequence[Place], units: Mapping[str, list[int]]
) -> tuple[list[dict[str, Any]], Tensor]:
    first = geometry(model)[0]
    mean, std = normalise.mean.detach().float().flatten().cpu(), normalise.std.detach().float().flatten().cpu()
    steps: list[dict[str, Any]] = [
        {
            "name": first.name,
            "kind": "normalise",
            "shape": list(first.shape),
            "window": None,
            "field": _field(Field(), 1),
            "weight": [0, std.numel()],
            "bias": [std.numel(), mean.numel()],
        }
    ]
    for place in places:
        shape = list(place.row.shape)
        factor = _factor(shape)
        step: dict[str, Any] = {
            "name": place.layer.name,
            "kind": page_kind(place.layer),
            "below": place.below or first.name,
            "full": shape,
            "window": None,
            "field": None,
            **({"values": values} if (values := own_numbers(place.layer.module)) else {}),
            **({"head": True} if place.layer.path.startswith("classifier.") else {}),
        }
        if len(shape) == 3:
            step |= {"units": units[place.layer.name], "factor": factor}
            step["shape"] = [len(units[place.layer.name]), *(-(-side // factor) for side in shape[1:])]
            step["field"] = _field(place.row.field, factor) if place.row.field else None
        else:
            step["shape"] = shape
        steps.append(step)
    return steps, torch.cat([std, mean])


def _factor(shape: Sequence[int]) -> int:
    return -(-max(shape[1:]) // FINEST) if len(shape) == 3 else 1


def _field(field: Field, factor: int) -> dict[str, Any]:
    """Of a stored value, which may be the mean of factor x factor cells."""
    return {
        "size": field.size + field.jump * (factor - 1),
        "jump": field.jump * factor,
        "centre": field.centre + field.jump * (factor - 1) / 2,
    }


# ---------------------------------------------------------------- one picture


def _picture(
    i: int, places: Sequence[Place], units: Mapping[str, list[int]], maps: Mapping[str, Tensor]
) -> dict[str, Any]:
    answers, cells = [], []
    for place in places:
        name, values = place.layer.name, maps[place.layer.name][i]
        if values.ndim == 3:
            small = block_means(values[units[name]][None], _factor(values.shape))[0]
            low, high, data = zip(*(quantise(unit) for unit in small), strict=True)
            answers.append(
                {"low": low, "high": high, "data": [base64.b64encode(part).decode("ascii") for part in data]}
            )
        else:
            answers.append({"values": _floats(values)})
        strongest = units[name] if values.ndim == 3 else values.argsort(descending=True, stable=True)[:UNITS].tolist()
        cells.append({str(unit): _cell(place, unit, i, maps) for unit in strongest})
    return {"answers": answers, "cells": cells}


def _cell(place: Place, unit: int, i: int, maps: Mapping[str, Tensor]) -> dict[str, Any]:
    """What made the strongest cell of a unit: where it is; of a sum its terms, what is added and what follows; what comes out."""
    value, before, module = maps[place.layer.name][i], maps[place.below][i], place.producer.module
    row, column = _peak(value[unit], maps[place.producer.name][i][unit])
    found: dict[str, Any] = {"row": row, "column": column}
    if isinstance(module, nn.Conv2d):
        kernel, window = module.weight[unit].detach().float().cpu(), _window(module, before, row, column)
        found |= _terms((window.double() * kernel.double()).sum((1, 2)))
        shown = found["terms"][:WINDOWS]
        found |= {
            "seen": [_plain(window[c]) for c, _ in shown],
            "kernel": [_plain(kernel[c]) for c, _ in shown],
            "side": kernel.shape[-1],
        }
    elif isinstance(module, nn.Linear):
        products = before.flatten().double() * module.weight[unit].detach().double().cpu()
        # Fed by maps, products are added map by map: so many numbers say more in so few rows.
        found |= _terms(products.view(place.maps, -1).sum(1))
    elif isinstance(module, POOLS):
        found |= _under_pool(module, before[unit], value.shape, row, column)
    if isinstance(module, nn.Conv2d | nn.Linear):
        found["bias"] = 0.0 if module.bias is None else float(module.bias[unit].detach())
        found["after"] = [rule_of(layer, unit) for layer in place.after]
    return {**found, "value": float(value[unit, row, column] if value.ndim == 3 else value[unit])}


def _window(module: nn.Conv2d, before: Tensor, row: int, column: int) -> Tensor:
    """What a convolution sees at one place of its output: (channels, kernel, kernel)."""
    window = window_of(module)
    padded = functional.pad(before, (window.padding,) * 4)
    reach = window.dilation * (window.kernel - 1) + 1
    top, left = row * window.stride, column * window.stride
    return padded[:, top : top + reach : window.dilation, left : left + reach : window.dilation]


def _under_pool(module: nn.Module, before: Tensor, shape: Sequence[int], row: int, column: int) -> dict[str, Any]:
    """The cells under one place of a pool, how many stand in a row, and by what a mean divides."""
    y0, y1, tall = covered(module, row, shape[1], before.shape[0])
    x0, x1, broad = covered(module, column, shape[2], before.shape[1])
    counts_padding = isinstance(module, nn.AvgPool2d) and module.count_include_pad
    count = tall * broad if counts_padding else (y1 - y0) * (x1 - x0)
    cells = before[y0:y1, x0:x1]
    return {
        "seen": _plain(cells) if cells.numel() <= MOST_CELLS else [],
        "sum": _short(cells.double().sum()),
        "wide": x1 - x0,
        "tall": y1 - y0,
        "count": count,
    }


def _peak(values: Tensor, made: Tensor) -> tuple[int, int]:
    """Where a unit is strongest; of several equal cells, as those that a ReLU stopped, where its sum was largest."""
    if values.ndim == 0:
        return 0, 0
    ties = torch.where(values == values.max(), made, float("-inf")) if made.shape == values.shape else values
    row, column = divmod(int(ties.argmax()), values.shape[-1])
    return row, column


def _terms(sums: Tensor) -> dict[str, Any]:
    """The strongest terms of a sum as [input, amount], how many are left, and what these come to together."""
    order = sums.abs().argsort(descending=True, stable=True)
    rest = order[MOST_TERMS:]
    return {
        "terms": [[int(c), _short(sums[c])] for c in order[:MOST_TERMS]],
        "more": len(rest),
        "rest": _short(sums[rest].sum()),
    }


def _plain(values: Tensor) -> list[float]:
    return [_short(value) for value in values.flatten()]


def _short(value: Tensor) -> float:
    """Seven significant digits: all that a float32 holds."""
    return float(f"{float(value):.7g}")


def _floats(values: Tensor) -> str:
    return base64.b64encode(values.numpy().astype(np.dtype("<f4")).tobytes()).decode("ascii")
