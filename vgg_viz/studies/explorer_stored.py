"""What a network that is too large to run in a page said about a few pictures: maps of units, sums behind their strongest cells."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vgg_viz.capture.hooks import activations
from vgg_viz.gallery.viewer import block_means, quantise
from vgg_viz.maths.receptive_field import Field
from vgg_viz.models.geometry import LayerGeometry, geometry
from vgg_viz.models.names import ACTIVATION_KINDS, Layer, layers
from vgg_viz.models.network import Normalise
from vgg_viz.records import Batch

UNITS = 12  # of each layer of maps; of the layers behind them all are kept, and sums of this many
FINEST = 56  # side of a stored map; larger ones are averaged down [values]
MOST_TERMS, WINDOWS = 24, 4  # of a sum: inputs that are listed, and those of them with every number


@dataclass(frozen=True, slots=True)
class Place:
    """A layer that is shown, and the sum that makes it: producer and what follows it up to here.

    below     the layer that feeds the producer, "" for the normalised picture
    scaling   batch norm between the two, or None
    """

    layer: Layer
    row: LayerGeometry
    producer: nn.Module
    made: str
    below: str
    scaling: nn.BatchNorm2d | nn.BatchNorm1d | None


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
    units = {place.layer.name: _strongest(maps[place.layer.name]) for place in places}
    steps, weights = _steps(model, normalise, places, units)
    network = {
        "side": batch.images.shape[-1],
        "channels": batch.images.shape[1],
        "classes": list(classes),
        "steps": steps,
        "weights": _floats(weights),
        "live": False,
    }
    return network, [_picture(i, places, units, maps) for i in range(len(batch))]


def _places(model: nn.Module) -> list[Place]:
    """What is shown: every convolution after its ReLU, every pool, every layer of the classifier after its ReLU."""
    found: list[Place] = []
    all_layers, rows = (
        [layer for layer in layers(model) if layer.kind != "drop"],
        {row.name: row for row in geometry(model)},
    )
    below, before, producer, scaling = "", "", None, None
    for i, layer in enumerate(all_layers):
        if layer.kind in ("conv", "fc"):
            producer, made, below, scaling = layer.module, layer.name, before, None
        elif layer.kind == "bn" and isinstance(layer.module, nn.BatchNorm2d | nn.BatchNorm1d):
            scaling = layer.module
        if layer.kind not in ("normalise", "flatten"):
            before = layer.name
        alone = layer.kind in ("conv", "fc") and not any(
            later.kind in ACTIVATION_KINDS for later in all_layers[i + 1 :]
        )
        if producer is not None and (layer.kind in ACTIVATION_KINDS or alone):
            found.append(Place(layer, rows[layer.name], producer, made, below, scaling))
        elif layer.kind == "pool":
            found.append(
                Place(layer, rows[layer.name], layer.module, all_layers[i - 1].name, all_layers[i - 1].name, None)
            )
    return found


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
            "kind": place.layer.kind,
            "made": place.made,
            "full": shape,
            "window": None,
            "field": None,
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
    """The sum behind the strongest cell of a unit: where it is, its terms, what is added, what comes out."""
    made, value, before = maps[place.made][i], maps[place.layer.name][i], maps[place.below][i]
    if isinstance(place.producer, nn.Conv2d) and value.ndim == 3:
        row, column = _peak(made[unit])
        kernel, (stride, padding) = place.producer.weight[unit].detach().float().cpu(), _stride(place.producer)
        side = kernel.shape[-1]
        window = functional.pad(before, (padding,) * 4)[
            :, row * stride : row * stride + side, column * stride : column * stride + side
        ]
        found = _terms((window.double() * kernel.double()).sum((1, 2)))
        shown = found["terms"][:WINDOWS]
        found |= {
            "seen": [_plain(window[c]) for c, _ in shown],
            "kernel": [_plain(kernel[c]) for c, _ in shown],
            "side": side,
        }
    elif isinstance(place.producer, nn.Linear | nn.Conv2d):
        weights = place.producer.weight[unit].detach().float().cpu().flatten()
        products = before.flatten().double() * weights.double()
        # Fed by maps, products are added map by map: so many numbers say more in so few rows.
        found = _terms(products.view(before.shape[0], -1).sum(1))
        row = column = 0
    else:  # a pool
        row, column = _peak(value[unit])
        return {
            "row": row,
            "column": column,
            "seen": _plain(before[unit, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]),
            "value": float(value[unit, row, column]),
        }
    bias = 0.0 if place.producer.bias is None else float(place.producer.bias[unit].detach())
    found |= {"row": row, "column": column, "bias": bias, "scaled": _scaling(place.scaling, unit)}
    return {
        **found,
        "value": float(value.flatten(1)[unit, row * value.shape[-1] + column] if value.ndim == 3 else value[unit]),
    }


def _peak(values: Tensor) -> tuple[int, int]:
    row, column = divmod(int(values.argmax()), values.shape[-1])
    return row, column


def _stride(module: nn.Conv2d) -> tuple[int, int]:
    return int(module.stride[0]), int(module.padding[0])


def _terms(sums: Tensor) -> dict[str, Any]:
    """The strongest terms of a sum as [input, amount], how many are left, and what these come to together."""
    order = sums.abs().argsort(descending=True, stable=True)
    rest = order[MOST_TERMS:]
    return {
        "terms": [[int(c), _short(sums[c])] for c in order[:MOST_TERMS]],
        "more": len(rest),
        "rest": _short(sums[rest].sum()),
    }


def _scaling(module: nn.BatchNorm2d | nn.BatchNorm1d | None, unit: int) -> list[float] | None:
    """Batch norm after training as [factor, addend]."""
    if module is None or module.running_mean is None or module.running_var is None:
        return None
    factor = float(module.weight[unit].detach()) / float((module.running_var[unit] + module.eps) ** 0.5)
    return [factor, float(module.bias[unit].detach()) - float(module.running_mean[unit]) * factor]


def _plain(values: Tensor) -> list[float]:
    return [_short(value) for value in values.flatten()]


def _short(value: Tensor) -> float:
    """Seven significant digits: all that a float32 holds."""
    return float(f"{float(value):.7g}")


def _floats(values: Tensor) -> str:
    return base64.b64encode(values.numpy().astype(np.dtype("<f4")).tobytes()).decode("ascii")
