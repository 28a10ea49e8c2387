"""A model whose layers are played by stand-ins for a moment: same weights, other manners."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from vgg_viz.errors import InputRefused
from vgg_viz.models.names import layers


@contextmanager
def without_inplace(model: nn.Module, *, merge: bool = False) -> Iterator[nn.Module]:
    """The model with a stand-in for every layer: no ReLU works in place, and no module stands in two places.

    merge   batch norm is merged into the convolution before it, see `merged`
    raises  InputRefused for a batch norm that cannot be merged

    Whoever rewires layers (DeepLift, layer-wise relevance) leaves attributes and hooks on them, may overwrite weights, and stumbles
    over ReLUs in place and modules that stand in two places. Stand-ins share the weights and carry the hooks that were there, so the
    model computes what it did; afterwards the layers themselves stand where they stood, and what happened to their stand-ins is gone.
    """
    places = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent._modules.items()
        if child is not None and not any(child.children())
    ]
    twins = [_twin(child) for _, _, child in places]
    if merge:
        twins = _without_batch_norm(places, twins, {layer.module: layer.name for layer in layers(model)})
    try:
        for (parent, name, _), twin in zip(places, twins, strict=True):
            parent._modules[name] = twin
        yield model
    finally:
        for parent, name, child in places:
            parent._modules[name] = child


def _twin(module: nn.Module) -> nn.Module:
    """A module of its own with the same parameters, buffers and hooks."""
    twin = copy.copy(module)
    for name, held in twin.__dict__.items():
        if isinstance(held, dict):
            twin.__dict__[name] = held.copy()
    if isinstance(getattr(twin, "inplace", None), bool):
        twin.inplace = False  # type: ignore[assignment]
    return twin


Places = list[tuple[nn.Module, str, nn.Module]]


def _without_batch_norm(places: Places, twins: list[nn.Module], names: dict[nn.Module, str]) -> list[nn.Module]:
    """The stand-ins: batch norm merged into the convolution or linear layer before it, and those of batch norms doing nothing."""
    found = list(twins)
    for n, (parent, name, child) in enumerate(places):
        if not isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            continue
        before = places[n - 1] if n else None
        if (
            before is None
            or before[0] is not parent
            or not isinstance(parent, nn.Sequential)
            or not isinstance(before[2], nn.Conv2d | nn.Linear)
        ):
            raise InputRefused(
                f"batch norm {names.get(child) or name!r} does not follow a convolution or linear layer, so it cannot be "
                "merged into one, and relevance would be shared out by weights that the network does not use; choose a "
                "gradient method."
            )
        weight, bias = merged(before[2], child)
        twin = found[n - 1]
        twin._parameters.update(
            weight=nn.Parameter(weight, requires_grad=False), bias=nn.Parameter(bias, requires_grad=False)
        )
        found[n] = nn.Identity()
    return found


def merged(
    convolution: nn.Conv2d | nn.Linear, norm: nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d
) -> tuple[Tensor, Tensor]:
    """Weight and bias of one convolution (or linear layer) that does what it and its batch norm do in eval mode.

    weight' = weight * g, bias' = (bias - mean) * g + shift, with g = scale / sqrt(variance + epsilon); computed in float64.
    raises  InputRefused when the batch norm keeps no running statistics: it then depends on the batch
    """
    if norm.running_mean is None or norm.running_var is None:
        raise InputRefused(
            "a batch norm without running statistics depends on the batch, so it cannot be merged; train it with them."
        )
    mean, variance = norm.running_mean.detach().double(), norm.running_var.detach().double()
    gain = (variance + norm.eps).rsqrt() * (1.0 if norm.weight is None else norm.weight.detach().double())
    bias = torch.zeros_like(mean) if convolution.bias is None else convolution.bias.detach().double()
    shift = torch.zeros_like(mean) if norm.bias is None else norm.bias.detach().double()
    kernel = convolution.weight.detach()
    return (kernel.double() * gain.view(-1, *[1] * (kernel.ndim - 1))).to(kernel), ((bias - mean) * gain + shift).to(
        kernel.dtype
    )
