"""What ONNX's operations compute, in torch: those of a chain, and those that reorder, cut or join numbers around one.

Source: https://onnx.ai/onnx/operators; defaults are those of the operators, also where torch's differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from vgg_viz.models.uneven_padding import Sliding, convolved, pooled, same

Values = Sequence[Tensor | None]
EPSILON = 1e-5  # of the batch norm that a scale and an offset become


@dataclass(frozen=True, slots=True)
class Call:
    """One operation about to be computed.

    Attributes:
        values: What it reads; None for what is left out.
        said: Its attributes.
        opset: Version of the operators.
        batch: How many pictures a graph of a fixed batch was written for; None: any number.
    """

    values: Values
    said: Mapping[str, Any]
    opset: int
    batch: int | None = None

    @property
    def first(self) -> Tensor:
        """The value that the operation is about."""
        return self.at(0)

    def at(self, place: int) -> Tensor:
        """The value at a place, which must be there."""
        value = self.values[place]
        if value is None:
            raise ValueError(f"its input {place} is left out")
        return value

    def given(self, place: int) -> Tensor | None:
        """The value at a place, or None."""
        return self.values[place] if place < len(self.values) else None

    def numbers(self, name: str, place: int) -> list[int] | None:
        """Whole numbers that are an attribute in older versions and an input in newer ones."""
        value = self.given(place)
        if value is not None:
            return [int(number) for number in value.flatten().tolist()]
        said = self.said.get(name)
        return None if said is None else [int(number) for number in said]

    def number(self, name: str, place: int, usual: float | None) -> float | None:
        """One number, likewise."""
        value = self.given(place)
        return float(value) if value is not None else self.said.get(name, usual)


def _sliding(call: Call, kernel: Sequence[int]) -> Sliding:
    maps, said = call.first, call.said
    if maps.ndim != 4:
        raise ValueError(f"it slides over values of {maps.ndim} axes, a map has 4")
    stride = tuple(said.get("strides", (1, 1)))
    dilation = tuple(said.get("dilations", (1, 1)))
    pads, auto = tuple(said.get("pads", (0, 0, 0, 0))), said.get("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        pads = same(maps.shape[2:], kernel, stride, dilation, above=auto == "SAME_LOWER")
    elif auto == "VALID":
        pads = (0, 0, 0, 0)
    counts = bool(said.get("count_include_pad", 0))
    return Sliding(stride, pads, dilation, bool(said.get("ceil_mode", 0)), counts)


def _conv(call: Call) -> Tensor:
    weight = call.at(1)
    how = _sliding(call, weight.shape[2:])
    return convolved(call.first, weight, call.given(2), how, int(call.said.get("group", 1)))


def _transposed(call: Call) -> Tensor:
    return functional.conv_transpose2d(call.first, call.at(1), call.given(2), call.said.get("strides", (1, 1)))


def _pool(call: Call, *, average: bool) -> Tensor:
    kernel = tuple(call.said["kernel_shape"])
    how = _sliding(call, kernel)
    if how.dilation != (1, 1):
        return functional.max_pool2d(call.first, kernel, how.stride, how.pads[:2], how.dilation)
    return pooled(call.first, kernel, how, average=average)


def _gemm(call: Call) -> Tensor:
    said, bias = call.said, call.given(2)
    values = call.first.t() if said.get("transA") else call.first
    weight = call.at(1) if said.get("transB") else call.at(1).t()
    weight = weight * float(said.get("alpha", 1.0))
    if bias is not None:
        bias = bias.flatten().expand(len(weight)) * float(said.get("beta", 1.0))
    return functional.linear(values, weight, bias)


def _batch_norm(call: Call) -> Tensor:
    _, gain, shift, mean, variance = (call.at(place) for place in range(5))
    return functional.batch_norm(
        call.first, mean, variance, gain, shift, False, 0.0, float(call.said.get("epsilon", 1e-5))
    )


def _affine(call: Call) -> Tensor:
    """values * scale + shift, which `onnx_fusion` made of several operations."""
    values, scale, shift = call.first, call.at(1), call.at(2)
    channels = values.shape[1] if values.ndim in (2, 4) else 0
    shape = (1, channels, 1, 1) if values.ndim == 4 else (1, channels)
    columns = [column(one, shape) for one in (scale, shift)]
    if not call.said["norm"] or None in columns:
        return values * scale + shift
    gain, offset = (one for one in columns if one is not None)
    still = torch.zeros_like(gain)
    return functional.batch_norm(values, still, still + 1, gain * (1 + EPSILON) ** 0.5, offset, False, 0.0, EPSILON)


def column(numbers: Tensor, shape: tuple[int, ...]) -> Tensor | None:
    """One number a channel, where broadcasting makes that of them."""
    try:
        if numbers.expand(shape).shape == shape and numbers.ndim <= len(shape):
            return numbers.expand(shape).flatten()
    except RuntimeError:
        pass
    return None


def _pad(call: Call) -> Tensor:
    pads = call.numbers("pads", 1) or []
    value = call.number("value", 2, 0.0)
    axes = call.numbers("axes", 3) or list(range(call.first.ndim))
    count = len(axes)
    around = {axis % call.first.ndim: (pads[i], pads[i + count]) for i, axis in enumerate(axes)}
    flat = [number for axis in reversed(range(call.first.ndim)) for number in around.get(axis, (0, 0))]
    while len(flat) > 4 and not any(flat[-2:]):
        flat = flat[:-2]
    return functional.pad(call.first, flat, str(call.said.get("mode", "constant")), float(value or 0.0))


def _clip(call: Call) -> Tensor:
    return call.first.clamp(call.number("min", 1, None), call.number("max", 2, None))


def _reduced(call: Call, *, largest: bool) -> Tensor:
    axes = call.numbers("axes", 1)
    keep = bool(call.said.get("keepdims", 1))
    wanted = list(range(call.first.ndim)) if axes is None else axes
    return call.first.amax(wanted, keep) if largest else call.first.mean(wanted, keep)


def _reshape(call: Call) -> Tensor:
    values, wanted = call.first, call.numbers("shape", 1) or []
    if not call.said.get("allowzero"):
        wanted = [values.shape[place] if side == 0 else side for place, side in enumerate(wanted)]
    if wanted and wanted[0] == call.batch and values.shape[0] != call.batch and values.ndim > 1:
        wanted[0] = values.shape[0]
    return values.reshape(wanted)


def _flattened(call: Call) -> Tensor:
    axis = int(call.said.get("axis", 1)) % max(1, call.first.ndim)
    return (
        call.first.flatten(axis).flatten(0, axis - 1)
        if axis > 1
        else call.first.flatten(1)
        if axis
        else call.first.reshape(1, -1)
    )


def _squeezed(call: Call) -> Tensor:
    axes = call.numbers("axes", 1)
    return call.first.squeeze(tuple(axes)) if axes is not None else call.first.squeeze()


def _unsqueezed(call: Call) -> Tensor:
    values, axes = call.first, call.numbers("axes", 1) or []
    for axis in sorted(axis % (values.ndim + len(axes)) for axis in axes):
        values = values.unsqueeze(axis)
    return values


def _sliced(call: Call) -> Tensor:
    starts, ends = call.numbers("starts", 1) or [], call.numbers("ends", 2) or []
    axes = call.numbers("axes", 3) or list(range(len(starts)))
    steps = call.numbers("steps", 4) or [1] * len(starts)
    values = call.first
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step == -1 and start in (-1, values.shape[axis] - 1) and end < -values.shape[axis]:
            values = values.flip(axis)
        elif step < 1:
            raise ValueError(f"it steps by {step}")
        else:
            index = [slice(None)] * values.ndim
            index[axis] = slice(start, end, step)
            values = values[tuple(index)]
    return values


def _shape(call: Call) -> Tensor:
    sides = list(call.first.shape)
    return torch.tensor(sides[call.said.get("start", 0) : call.said.get("end", len(sides))], dtype=torch.int64)


def _gathered(call: Call) -> Tensor:
    index, axis = call.at(1), int(call.said.get("axis", 0))
    if index.ndim == 0:
        return call.first.select(axis, int(index))
    if index.ndim > 1:
        raise ValueError(f"its places have {index.ndim} axes")
    return call.first.index_select(axis, index % call.first.shape[axis])


def _filled(call: Call) -> Tensor:
    value: Tensor = call.said.get("value", torch.zeros(1))
    return value.flatten()[0].expand([int(side) for side in call.first.tolist()]).clone()


def _constant(call: Call) -> Tensor:
    said = dict(call.said)
    if isinstance(said.get("value"), Tensor):
        return said["value"]  # type: ignore[no-any-return]
    (value,) = (said[name] for name in ("value_float", "value_int", "value_floats", "value_ints") if name in said)
    return torch.tensor(value)


def _cast(call: Call) -> Tensor:
    kinds = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool, 10: torch.float32, 11: torch.float32}
    wanted = kinds.get(int(call.said["to"]))
    if wanted is None:
        raise ValueError(f"it casts to the type {call.said['to']}")
    return call.first.to(wanted)


def _soft(call: Call, function: Callable[..., Tensor]) -> Tensor:
    return function(call.first, int(call.said.get("axis", 1 if call.opset < 13 else -1)))


def _lrn(call: Call) -> Tensor:
    said = call.said
    return functional.local_response_norm(
        call.first, int(said["size"]), said.get("alpha", 1e-4), said.get("beta", 0.75), said.get("bias", 1.0)
    )


def _gelu(call: Call) -> Tensor:
    return functional.gelu(call.first, approximate=str(call.said.get("approximate", "none")))


OPERATORS: dict[str, Callable[[Call], Tensor]] = {
    "Conv": _conv,
    "ConvTranspose": _transposed,
    "Gemm": _gemm,
    "MatMul": lambda call: torch.matmul(call.first, call.at(1)),
    "BatchNormalization": _batch_norm,
    "Affine": _affine,
    "LRN": _lrn,
    "MaxPool": lambda call: _pool(call, average=False),
    "AveragePool": lambda call: _pool(call, average=True),
    "GlobalAveragePool": lambda call: functional.adaptive_avg_pool2d(call.first, 1),
    "GlobalMaxPool": lambda call: functional.adaptive_max_pool2d(call.first, 1),
    "ReduceMean": lambda call: _reduced(call, largest=False),
    "ReduceMax": lambda call: _reduced(call, largest=True),
    "Pad": _pad,
    "Dropout": lambda call: functional.dropout(call.first, call.number("ratio", 1, 0.5) or 0.0, training=False),
    "Softmax": lambda call: _soft(call, torch.softmax),
    "LogSoftmax": lambda call: _soft(call, torch.log_softmax),
    # one number at a time
    "Relu": lambda call: functional.relu(call.first),
    "LeakyRelu": lambda call: functional.leaky_relu(call.first, call.said.get("alpha", 0.01)),
    "PRelu": lambda call: functional.prelu(call.first, call.at(1).flatten()),
    "Elu": lambda call: functional.elu(call.first, call.said.get("alpha", 1.0)),
    "Selu": lambda call: functional.selu(call.first),
    "Celu": lambda call: functional.celu(call.first, call.said.get("alpha", 1.0)),
    "Gelu": _gelu,
    "Silu": lambda call: functional.silu(call.first),
    "Mish": lambda call: functional.mish(call.first),
    "HardSwish": lambda call: functional.hardswish(call.first),
    "Softplus": lambda call: functional.softplus(call.first),
    "Sigmoid": lambda call: torch.sigmoid(call.first),
    "HardSigmoid": lambda call: (call.first * call.said.get("alpha", 0.2) + call.said.get("beta", 0.5)).clamp(0, 1),
    "Tanh": lambda call: torch.tanh(call.first),
    "Erf": lambda call: torch.erf(call.first),
    "Exp": lambda call: torch.exp(call.first),
    "Log": lambda call: torch.log(call.first),
    "Sqrt": lambda call: torch.sqrt(call.first),
    "Reciprocal": lambda call: torch.reciprocal(call.first),
    "Neg": lambda call: -call.first,
    "Abs": lambda call: call.first.abs(),
    "Pow": lambda call: torch.pow(call.first, call.at(1)),
    "Add": lambda call: call.first + call.at(1),
    "Sub": lambda call: call.first - call.at(1),
    "Mul": lambda call: call.first * call.at(1),
    "Div": lambda call: torch.div(
        call.first, call.at(1), rounding_mode=None if call.first.is_floating_point() else "trunc"
    ),
    "Clip": _clip,
    # which number stands where
    "Identity": lambda call: call.first,
    "Cast": _cast,
    "Constant": _constant,
    "ConstantOfShape": _filled,
    "Shape": _shape,
    "Reshape": _reshape,
    "Flatten": _flattened,
    "Squeeze": _squeezed,
    "Unsqueeze": _unsqueezed,
    "Transpose": lambda call: call.first.permute(tuple(call.said.get("perm", range(call.first.ndim)[::-1]))),
    "Slice": _sliced,
    "Gather": _gathered,
    "Concat": lambda call: torch.cat([value for value in call.values if value is not None], int(call.said["axis"])),
    "Expand": lambda call: call.first.expand(
        [max(side, 1) if side != 1 else -1 for side in call.numbers("shape", 1) or []]
    ),
}
