"""A Keras model as its files hold it, whichever kind of file that is: the topology, and the weights by layer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

PARTS = ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance")
SHORT = {"W": "kernel", "b": "bias", "running_mean": "moving_mean", "running_std": "moving_variance"}  # of Keras 1


@dataclass(frozen=True, slots=True)
class KerasModel:
    """Topology and weights, nothing turned round yet.

    Attributes:
        maker: "TensorFlow.js" or "Keras".
        topology: {"class_name": ..., "config": ...} as Keras writes it, or None where the file holds weights alone.
        weights: {layer: {"kernel": (H, W, I, O) or (I, O), "bias": (O,), ...}}, layers in the file's order; parts
            that Keras 3 only numbers are called "0", "1", ...
        other: What lies beside the layers and belongs to none: the state of an optimiser.
    """

    maker: str
    topology: Mapping[str, Any] | None
    weights: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    other: tuple[str, ...] = ()


def layer_and_part(path: str) -> tuple[str, str]:
    """A weight's path taken apart: "conv_1_1/kernel" -> ("conv_1_1", "kernel"), "b1/b1_W_1:0" -> ("b1", "kernel")."""
    *above, last = path.split("/")
    name = last.partition(":")[0]
    layer = above[-1] if above else name
    if short := re.fullmatch(r".*_(W|b|gamma|beta|running_mean|running_std)(_\d+)?", name):
        return layer, SHORT.get(short[1], short[1])
    return layer, name
