"""Which filters do nothing, and which do the same: read off weights and activations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vgg_viz.models.names import layers as layers_of


@dataclass(frozen=True, slots=True)
class ActivationHealth:
    """How much of a layer speaks at all on some pictures.

    Attributes:
        sparsity: Share of its values that are exactly 0, [0, 1]; near a half after a ReLU is usual.
        dead: Channels that are 0 everywhere on every picture: on these pictures they do nothing.
        constant: Channels that say one other value everywhere: a bias in disguise.
        pictures: How many were looked at; a channel that is dead on 8 pictures may live on the ninth.
    """

    layer: str
    channels: int
    sparsity: float
    dead: tuple[int, ...]
    constant: tuple[int, ...]
    pictures: int


@dataclass(frozen=True, slots=True)
class Twins:
    """Two filters of one layer that point the same way."""

    first: int
    second: int
    cosine: float


@dataclass(frozen=True, slots=True)
class FilterHealth:
    """The filters of one convolution, by their weights alone.

    Attributes:
        norms: Euclidean length of each filter, biases left out.
        silent: Filters shorter than a thousandth of the longest.
        twins: Pairs with a cosine of at least `threshold`, the closest first.
    """

    layer: str
    norms: tuple[float, ...]
    silent: tuple[int, ...]
    twins: tuple[Twins, ...]
    threshold: float


def activation_health(maps: Mapping[str, Tensor]) -> tuple[ActivationHealth, ...]:
    """How alive the channels of each layer are.

    Args:
        maps: {layer: (B, C, h, w) or (B, C)}, usually `activations(...).maps` of the ReLU layers: only they say
            exactly 0.
    """
    layers = []
    for layer, values in maps.items():
        if values.numel() == 0:
            continue
        rows = values.transpose(0, 1).flatten(1)  # (C, B h w)
        low, high = rows.amin(1), rows.amax(1)
        dead, flat = (low == 0) & (high == 0), low == high
        layers.append(
            ActivationHealth(
                layer,
                values.shape[1],
                float((values == 0).double().mean()),
                _indices(dead),
                # With one value a picture (a layer of the classifier, one picture) everything would be constant.
                _indices(flat & ~dead) if rows.shape[1] > 1 else (),
                len(values),
            )
        )
    return tuple(layers)


def filter_health(model: nn.Module, *, threshold: float = 0.95) -> tuple[FilterHealth, ...]:
    """Norms and near-duplicates of the filters of every convolution, from the picture up.

    Args:
        model: The network.
        threshold: Cosine from which two filters count as twins; random 3x3x64 filters have cosines around 0 with a
            spread of 0.04.
    """
    return tuple(
        _filters(layer.name, layer.module.weight.detach().flatten(1).float(), threshold)
        for layer in layers_of(model)
        if layer.kind == "conv" and isinstance(layer.module, nn.Conv2d)
    )


def _filters(layer: str, filters: Tensor, threshold: float) -> FilterHealth:
    norms = filters.norm(dim=1)
    # A filter of length 0 points nowhere: it is silent, and nobody's twin.
    directions = filters / norms.clamp(min=torch.finfo(filters.dtype).tiny)[:, None]
    cosines = torch.triu(directions @ directions.T, diagonal=1)
    twins = [
        Twins(first, second, min(1.0, float(cosines[first, second])))
        for first, second in (cosines >= threshold).nonzero().tolist()
        if first < second
    ]
    return FilterHealth(
        layer,
        tuple(norms.tolist()),
        _indices(norms <= norms.max() / 1000),
        tuple(sorted(twins, key=lambda pair: -pair.cosine)),
        threshold,
    )


def _indices(chosen: Tensor) -> tuple[int, ...]:
    return tuple(chosen.nonzero().flatten().tolist())
