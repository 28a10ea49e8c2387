"""What the explorer's page is told of a layer: its kind, its window and its own numbers, as the page's scripts know them."""

from __future__ import annotations

from typing import Any

from torch import nn

from vgg_viz.models.geometry import window_of
from vgg_viz.models.names import Layer

MAX_POOLS, MEANS = (nn.MaxPool2d, nn.AdaptiveMaxPool2d), (nn.AvgPool2d, nn.AdaptiveAvgPool2d)


def page_kind(layer: Layer) -> str:
    """What the page does with a layer: "conv" also in the head, "pool" for every max-pool, "avgpool" for every mean, else its kind."""
    module = layer.module
    if isinstance(module, nn.Conv2d):
        return "conv"
    if isinstance(module, MAX_POOLS):
        return "pool"
    return "avgpool" if isinstance(module, MEANS) else layer.kind


def page_window(module: nn.Module) -> dict[str, int] | None:
    """The window of a convolution or pool [cells of its input]; None for what has none, and for a pool that adapts to its input."""
    if not isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
        return None
    window = window_of(module)
    return {"kernel": window.kernel, "stride": window.stride, "padding": window.padding, "dilation": window.dilation}


def own_numbers(module: nn.Module) -> list[float]:
    """What a layer without weights is set to: the slope of a leaky ReLU; size, alpha, beta and k of local response norm."""
    if isinstance(module, nn.LeakyReLU):
        return [float(module.negative_slope)]
    if isinstance(module, nn.ELU):
        return [float(module.alpha)]
    if isinstance(module, nn.LocalResponseNorm):
        return [float(module.size), float(module.alpha), float(module.beta), float(module.k)]
    return []


def covered(module: nn.Module, place: int, places: int, side: int) -> tuple[int, int, int]:
    """What one of the `places` of a pool covers along an axis of `side` cells: first, behind the last, how many with padding."""
    if not isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
        first, end = place * side // places, -(-(place + 1) * side // places)
        return first, end, end - first
    window = window_of(module)
    first = place * window.stride - window.padding
    end = min(first + window.kernel, side + window.padding)
    return max(0, first), min(end, side), end - first


def channel_rule(module: nn.BatchNorm2d | nn.BatchNorm1d, unit: int) -> tuple[float, float] | None:
    """Batch norm after training: the factor and the addend of one channel; None without running statistics."""
    if module.running_mean is None or module.running_var is None:
        return None
    factor = float(module.weight[unit].detach()) / float((module.running_var[unit] + module.eps) ** 0.5)
    return factor, float(module.bias[unit].detach()) - float(module.running_mean[unit]) * factor


def rule_of(layer: Layer, unit: int) -> list[Any]:
    """A layer behind a sum as the page follows it: its kind, then its numbers; of batch norm those of the unit's channel."""
    if isinstance(layer.module, nn.BatchNorm2d | nn.BatchNorm1d):
        return [layer.kind, *(channel_rule(layer.module, unit) or ())]
    return [layer.kind, *own_numbers(layer.module)]
