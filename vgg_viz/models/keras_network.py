"""A chain of Keras layers as a module of torch, one part a layer, so that it can be run, and read as a chain, like any network.

Maps are kept channels first; where Keras flattens them, they are turned to rows, columns, channels before.
Source: https://keras.io/api/layers; defaults are those of Keras.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vgg_viz.errors import CheckpointRefused
from vgg_viz.models.uneven_padding import Sides, Sliding, convolved, pooled, same

CHAIN = "only networks that are one chain of layers can be read"
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda values: values,
    "relu": functional.relu,
    "relu6": functional.relu6,
    "leaky_relu": lambda values: functional.leaky_relu(values, 0.2),
    "elu": functional.elu,
    "selu": functional.selu,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "swish": functional.silu,
    "mish": functional.mish,
    "softplus": functional.softplus,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softmax": lambda values: values.softmax(1),
}
IDENTITY = (  # what these do ends with the training
    "InputLayer",
    "GaussianNoise",
    "GaussianDropout",
    "ActivityRegularization",
    "RandomFlip",
    "RandomRotation",
    "RandomZoom",
    "RandomContrast",
    "RandomTranslation",
    "RandomBrightness",
    "RandomCrop",
)


@dataclass(frozen=True, slots=True)
class KerasLayer:
    """One layer as its file describes it.

    Attributes:
        kind: Keras's class.
        config: Its settings.
        weights: {"kernel": ..., "bias": ...}; parts that Keras 3 only numbers are called "0", "1", ...
    """

    name: str
    kind: str
    config: Mapping[str, Any]
    weights: Mapping[str, Tensor] = field(default_factory=dict)

    def part(self, name: str, order: Sequence[str]) -> Tensor:
        """One of its weights; `order` is that in which Keras 3 numbers them."""
        tensor = self.weights.get(name, self.weights.get(str(order.index(name))))
        if tensor is None:
            raise CheckpointRefused(
                f"the file holds no {name} of the layer {self.name[:60]!r}; give the model with all its weights."
            )
        if not tensor.is_floating_point():
            raise CheckpointRefused(
                f"the file holds the {name} of the layer {self.name[:60]!r} as {str(tensor.dtype).removeprefix('torch.')}, "
                "floating-point weights were expected; save the model as it was before it was quantised or converted."
            )
        return tensor.float()

    def number(self, *names: str, usual: float) -> float:
        """The first of these settings that is there, a plain number."""
        value = next((self.config[name] for name in names if self.config.get(name) is not None), usual)
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e6:
            raise self.refused(f"layer with the number {str(value)[:40]}", "one number was expected")
        return float(value)

    def sides(self, name: str, usual: Any) -> tuple[int, int]:
        """A height and a width, written as 2 or [2, 2]."""
        value = self.config.get(name)
        value = usual if value is None else value
        values = value if isinstance(value, list | tuple) else [value, value]
        if len(values) != 2 or not all(type(one) is int and one > 0 for one in values):
            raise self.refused(f"{self.kind} with {name} = {str(value)[:40]}", "whole numbers were expected")
        return int(values[0]), int(values[1])

    def refused(self, what: str, expected: str) -> CheckpointRefused:
        """The sentence for a layer that cannot be read."""
        kind = "".join(letter if letter.isprintable() else " " for letter in what)
        return CheckpointRefused(
            f"the layer {self.name[:60]!r} is a {' '.join(kind.split())[:80]}; {expected}, and {CHAIN}."
        )


class KerasNetwork(nn.Module):
    """(B, C, H, W) as the model expects their values -> what it gives.

    Args:
        layers: In their order.
        side: Of its pictures [px]; None: the model does not say.
        blue_first: It reads blue, green, red.
        bytes_first: It reads values from 0 to 255, and is given such from 0 to 1.
    """

    def __init__(
        self, layers: Sequence[KerasLayer], side: int | None, *, blue_first: bool = False, bytes_first: bool = False
    ) -> None:
        super().__init__()
        self.side, self.blue_first, self.bytes_first = side, blue_first, bytes_first
        around: Sides = (0, 0, 0, 0)
        for layer in layers[: _end(layers)]:
            if layer.kind in IDENTITY:
                continue
            name = "".join(letter if letter.isprintable() else "?" for letter in layer.name)[:60]
            while name in self._modules:
                name += "'"
            kind = layer.kind if layer.kind.isidentifier() else "Layer"
            if layer.kind == "ZeroPadding2D" and _is_valid(layers, layer):
                around = _margins(layer)  # of the convolution behind it, which may pad one side more than the other
                continue
            first = not any(isinstance(part, _Part) and part.layer.kind == "Dense" for part in self.children())
            part: _Part = type(kind, (_Part,), {"__module__": __name__})(layer, side, first=first)
            part.around, around = around, (0, 0, 0, 0)
            self._modules[name] = part

    def forward(self, images: Tensor) -> Tensor:
        """All layers, one after another."""
        values = images.flip(1) if self.blue_first else images
        values = values * 255 if self.bytes_first else values
        for part in self.children():
            values = part(values)
        return values


def _end(layers: Sequence[KerasLayer]) -> int:
    """Where a model ends: before a flattening of its last map, where no classifier follows."""
    kinds = [layer.kind for layer in layers]
    last = next((place for place, kind in enumerate(kinds) if kind in ("Flatten", "Reshape")), len(kinds))
    return (
        last
        if "Dense" not in kinds and not {"GlobalAveragePooling2D", "GlobalMaxPooling2D"} & set(kinds)
        else len(kinds)
    )


class _Part(nn.Module):
    """One layer."""

    def __init__(self, layer: KerasLayer, side: int | None, *, first: bool) -> None:
        super().__init__()
        if layer.kind not in LAYERS:
            raise layer.refused(layer.kind, "that is no layer of a chain")
        if layer.config.get("data_format") == "channels_first":
            raise layer.refused(f"{layer.kind} with channels first", "channels last was expected")
        self.layer, self.side, self.first = layer, side, first
        self.around: Sides = (0, 0, 0, 0)
        for name, value in layer.weights.items():
            self.register_buffer(f"weight_{name}".replace(".", "_"), value)

    def forward(self, values: Tensor) -> Tensor:
        """What the layer and its activation make of the values."""
        made = LAYERS[self.layer.kind](self, values)
        return _activated(self.layer, made) if self.layer.kind in ("Conv2D", "Dense", "Activation") else made


def _activated(layer: KerasLayer, values: Tensor) -> Tensor:
    said = layer.config.get("activation") or "linear"
    if isinstance(said, Mapping):
        said = said["config"] if isinstance(said.get("config"), str) else said.get("class_name")
    name = str(said).lower()
    if name not in ACTIVATIONS:
        raise layer.refused(
            f"{layer.kind} with the activation {str(said)[:40]}", f"one of {', '.join(ACTIVATIONS)} was expected"
        )
    return ACTIVATIONS[name](values)


def _map(part: _Part, values: Tensor) -> Tensor:
    if values.ndim != 4:
        raise part.layer.refused(f"{part.layer.kind} behind the flattening", "a map was expected there")
    return values


def _sliding(part: _Part, values: Tensor, kernel: tuple[int, int], strides: Any) -> Sliding:
    layer = part.layer
    stride, dilation = layer.sides("strides", strides), layer.sides("dilation_rate", 1)
    padding = layer.config.get("padding", "valid")
    if padding not in ("valid", "same"):
        raise layer.refused(f"{layer.kind} with padding {str(padding)[:20]}", "valid or same was expected")
    pads = same(values.shape[2:], kernel, stride, dilation) if padding == "same" else part.around
    return Sliding(stride, pads, dilation)


def _bias(layer: KerasLayer) -> Tensor | None:
    return layer.part("bias", ("kernel", "bias")) if layer.config.get("use_bias", True) else None


def _conv(part: _Part, values: Tensor) -> Tensor:
    layer, kernel = part.layer, part.layer.part("kernel", ("kernel", "bias"))
    values = _map(part, values)
    if kernel.ndim != 4 or kernel.shape[0] != kernel.shape[1]:
        raise layer.refused(f"convolution of the shape {tuple(kernel.shape)}", "a square kernel was expected")
    if layer.sides("kernel_size", list(kernel.shape[:2])) != tuple(kernel.shape[:2]):
        said = f"convolution of {layer.config['kernel_size']}"
        raise layer.refused(said, f"its weights are {kernel.shape[0]} × {kernel.shape[1]}")
    groups = int(layer.number("groups", usual=1))
    if kernel.shape[2] * groups != values.shape[1]:
        _misfit(
            part, f"the layer {layer.name[:60]!r} reads {kernel.shape[2] * groups} channels and gets {values.shape[1]}"
        )
    how = _sliding(part, values, (int(kernel.shape[0]), int(kernel.shape[1])), 1)
    return convolved(values, kernel.permute(3, 2, 0, 1), _bias(layer), how, groups)


def _dense(part: _Part, values: Tensor) -> Tensor:
    layer, kernel = part.layer, part.layer.part("kernel", ("kernel", "bias"))
    weight = kernel.t()
    if values.ndim == 4:  # at each place of a map: a convolution of 1 × 1
        return functional.conv2d(values, weight[:, :, None, None], _bias(layer))
    if values.shape[1] != kernel.shape[0]:
        _misfit(part, _other_map(part, int(kernel.shape[0]), values.shape[1]))
    return functional.linear(values, weight, _bias(layer))


def _flat(_: _Part, values: Tensor) -> Tensor:
    return values.permute(0, 2, 3, 1).flatten(1) if values.ndim == 4 else values.flatten(1)


def _reshaped(part: _Part, values: Tensor) -> Tensor:
    target = part.layer.config.get("target_shape")
    flat = _flat(part, values)
    if not isinstance(target, list | tuple) or len(target) != 1 or target[0] not in (-1, flat.shape[1]):
        raise part.layer.refused(f"Reshape to {str(target)[:40]}", "flattening was expected")
    return flat


def _misfit(part: _Part, what: str) -> None:
    """Refuse layers that do not follow each other; where the side of the pictures is unknown, another one may fit."""
    if part.side is None:
        raise RuntimeError(what)
    raise CheckpointRefused(f"{what}; take another copy.")


def _other_map(part: _Part, wanted: int, values: int) -> str:
    """What a dense layer reads and what it gets: as sides of maps where both are square maps of as many channels."""
    for channels in range(min(wanted, values), 0, -1):
        sides = [isqrt(count // channels) for count in (wanted, values)]
        if [side * side * channels for side in sides] == [wanted, values] and part.first and part.side is not None:
            return (
                f"pictures of {part.side} px leave a {sides[1]} × {sides[1]} map, and the first dense layer reads "
                f"{sides[0]} × {sides[0]}"
            )
    return f"the layer {part.layer.name[:60]!r} reads {wanted:,} values and gets {values:,}"


def _norm(part: _Part, values: Tensor) -> Tensor:
    layer, config = part.layer, part.layer.config
    axis = config.get("axis", -1)
    if (axis[0] if isinstance(axis, list) and axis else axis) not in (-1, values.ndim - 1):
        raise layer.refused(f"batch norm over axis {str(axis)[:20]}", "the channels were expected")
    order = [p for p, flag in (("gamma", "scale"), ("beta", "center")) if config.get(flag, True)]
    order += ["moving_mean", "moving_variance"]
    gain, shift = (layer.part(name, order) if name in order else None for name in ("gamma", "beta"))
    mean, variance = layer.part("moving_mean", order), layer.part("moving_variance", order)
    return functional.batch_norm(values, mean, variance, gain, shift, False, 0.0, layer.number("epsilon", usual=1e-3))


def _pool(part: _Part, values: Tensor) -> Tensor:
    kernel = part.layer.sides("pool_size", 2)
    how = _sliding(part, _map(part, values), kernel, kernel)
    try:
        return pooled(values, kernel, how, average=part.layer.kind == "AveragePooling2D")
    except ValueError as error:
        raise part.layer.refused(part.layer.kind, str(error)) from None


def _whole(part: _Part, values: Tensor) -> Tensor:
    keep = bool(part.layer.config.get("keepdims", False))
    if part.layer.kind == "GlobalMaxPooling2D":
        return _map(part, values).amax((2, 3), keep)
    return _map(part, values).mean((2, 3), keep)


def _padded(part: _Part, values: Tensor) -> Tensor:
    top, left, below, right = _margins(part.layer)
    return functional.pad(_map(part, values), (left, right, top, below))


def _margins(layer: KerasLayer) -> Sides:
    """Zeros above, left, below and right."""
    said = layer.config.get("padding", 1)
    both = said if isinstance(said, list | tuple) else [said, said]
    (top, below), (left, right) = ([one, one] if isinstance(one, int) else one for one in both)
    if min(top, below, left, right) < 0:
        raise layer.refused(f"padding by {str(said)[:40]}", "zeros around the map were expected")
    return int(top), int(left), int(below), int(right)


def _is_valid(layers: Sequence[KerasLayer], padding: KerasLayer) -> bool:
    """Whether a convolution without padding of its own is the next layer."""
    after = layers[[layer is padding for layer in layers].index(True) + 1 :][:1]
    return bool(after) and after[0].kind == "Conv2D" and after[0].config.get("padding", "valid") == "valid"


def _rescaled(part: _Part, values: Tensor) -> Tensor:
    scale, offset = (_numbers(part.layer, name, usual) for name, usual in (("scale", 1.0), ("offset", 0.0)))
    return values * scale + offset


def _numbers(layer: KerasLayer, name: str, usual: float) -> Tensor | float:
    value = layer.config.get(name, usual)
    if isinstance(value, list):
        return torch.tensor(value, dtype=torch.float32).view(1, -1, 1, 1)
    return layer.number(name, usual=usual)


def _normalised(part: _Part, values: Tensor) -> Tensor:
    layer, order = part.layer, ("mean", "variance", "count")
    mean, variance = (layer.part(name, order).flatten().view(1, -1, 1, 1) for name in order[:2])
    return (values - mean) / variance.sqrt().clamp(min=1e-7)


def _relu(part: _Part, values: Tensor) -> Tensor:
    layer = part.layer
    slope, threshold = layer.number("negative_slope", usual=0), layer.number("threshold", usual=0)
    most = layer.config.get("max_value")
    if threshold or (most is not None and (most != 6 or slope)):
        raise layer.refused("ReLU with a threshold or a largest value", "ReLU, ReLU up to 6 or leaky ReLU was expected")
    return (
        functional.relu6(values)
        if most is not None
        else functional.leaky_relu(values, slope)
        if slope
        else functional.relu(values)
    )


def _prelu(part: _Part, values: Tensor) -> Tensor:
    slopes = part.layer.part("alpha", ("alpha",))
    first = slopes.flatten()[0]
    if not bool((slopes == first).all()):
        raise part.layer.refused("PReLU with several slopes", "one slope was expected")
    return functional.leaky_relu(values, float(first))


def _dropped(part: _Part, values: Tensor) -> Tensor:
    return functional.dropout(values, part.layer.number("rate", usual=0.5), training=False)


def _soft(part: _Part, values: Tensor) -> Tensor:
    axis = part.layer.config.get("axis", -1)
    if axis not in (-1, values.ndim - 1):
        raise part.layer.refused(f"Softmax over axis {str(axis)[:20]}", "the channels were expected")
    return values.softmax(1)


LAYERS: dict[str, Callable[[_Part, Tensor], Tensor]] = {
    "Conv2D": _conv,
    "Dense": _dense,
    "BatchNormalization": _norm,
    "MaxPooling2D": _pool,
    "AveragePooling2D": _pool,
    "GlobalAveragePooling2D": _whole,
    "GlobalMaxPooling2D": _whole,
    "Flatten": _flat,
    "Reshape": _reshaped,
    "ZeroPadding2D": _padded,
    "Rescaling": _rescaled,
    "Normalization": _normalised,
    "Dropout": _dropped,
    "SpatialDropout2D": _dropped,
    "Activation": lambda part, values: values,
    "ReLU": _relu,
    "LeakyReLU": lambda part, values: functional.leaky_relu(
        values, part.layer.number("negative_slope", "alpha", usual=0.3)
    ),
    "PReLU": _prelu,
    "ELU": lambda part, values: functional.elu(values, part.layer.number("alpha", usual=1.0)),
    "Softmax": _soft,
}
