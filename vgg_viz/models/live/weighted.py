"""Operations with weights: convolutions, linear layers, batch norms, and numbers that are added or multiplied."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import torch
from torch import Tensor

from vgg_viz.maths.receptive_field import Window
from vgg_viz.models.live.trace import Operation
from vgg_viz.models.live.walk import Walk, both_sides, refused
from vgg_viz.models.plan import Step

EPSILON = 1e-5  # of every batch norm that this package builds


def convolution(walk: Walk, operation: Operation) -> None:
    """A convolution: square, of one group; channels in another order turn its kernels."""
    _, weight, bias, stride, padding, dilation, transposed, _, groups = operation.args[:9]
    if weight.ndim != 4 or transposed:
        raise refused(operation, f"is a {'transposed' if transposed else f'{weight.ndim - 2}-dimensional'} convolution")
    if groups != 1:
        kind = "depthwise" if groups == walk.shape[1] else "grouped"
        raise refused(operation, f"is a {kind} convolution ({groups} groups)")
    sides = [tuple(weight.shape[2:]), both_sides(stride), both_sides(padding), both_sides(dilation)]
    if any(first != second for first, second in sides):
        raise refused(operation, f"is a convolution that is not square (kernel {sides[0][0]} × {sides[0][1]})")
    padding_before, walk.padding = walk.padding, 0
    walk.require_no_padding(operation)
    channels = walk.channel_origin(operation)
    spread = torch.zeros(weight.shape[0], walk.map[0], *weight.shape[2:], dtype=weight.dtype)
    spread.index_add_(1, channels, weight.detach().cpu())
    window = Window(
        weight.shape[2], both_sides(stride)[0], both_sides(padding)[0] + padding_before, both_sides(dilation)[0]
    )
    held = {"weight": weight if torch.equal(channels, torch.arange(walk.map[0])) else spread}
    held |= {} if bias is None else {"bias": bias}
    step = Step("conv", weight.shape[0], window, bias is not None)
    walk.add(operation, step, held, new_map=tuple(operation.shape[1:]))


def linear(walk: Walk, operation: Operation) -> None:
    """A linear layer; values in another order than flattening gives turn its weights."""
    bias, weight = _linear_weights(operation)
    if weight is None or len(walk.shape) != 2:
        raise refused(
            operation, f"computes {operation.name} on values of shape {walk.shape[1:]}, which is no linear layer"
        )
    walk.require_no_padding(operation)
    origin = walk.flat_origin()
    straight = torch.equal(origin, torch.arange(prod(walk.map)))
    spread = weight
    if not straight:
        spread = torch.zeros(weight.shape[0], prod(walk.map), dtype=weight.dtype)
        spread.index_add_(1, origin, weight.detach().cpu())
    walk.flatten(operation.place)
    held = {"weight": spread} | ({} if bias is None else {"bias": bias})
    step = Step("fc", weight.shape[0], bias=bias is not None, head=True)
    walk.add(operation, step, held, new_map=tuple(operation.shape[1:]))


def batch_norm(walk: Walk, operation: Operation) -> None:
    """A batch norm by its running statistics."""
    _, weight, bias, mean, variance, training, _, epsilon = operation.args[:8]
    if training or mean is None or variance is None:
        raise refused(operation, "is a batch norm without running statistics: its answer depends on the other pictures")
    walk.require_no_padding(operation)
    ones = torch.ones_like(variance)
    # Another epsilon goes into the scale, so that the running statistics stay what they were.
    gain = (weight if weight is not None else ones) * (
        (variance.double() + EPSILON) / (variance.double() + epsilon)
    ).sqrt()
    shift = bias if bias is not None else torch.zeros_like(mean)
    held = {"weight": gain.to(mean.dtype), "bias": shift, "running_mean": mean, "running_var": variance}
    if len(walk.shape) == 2:
        walk.flatten(operation.place)
        origin = walk.flat_origin()
    else:
        origin = walk.channel_origin(operation)
    back = walk.back(operation, origin, walk.map[0])
    walk.add(operation, Step("bn"), {name: value.cpu()[back] for name, value in held.items()})


def arithmetic(walk: Walk, operation: Operation) -> None:
    """Numbers added or multiplied, one a channel: before the first layer the network's own normalisation, later a batch norm."""
    scale, shift = _line(operation)
    if scale is None:
        raise refused(operation, f"computes {operation.name} of its value in another way than channel by channel")
    walk.require_no_padding(operation)
    if walk.chain.steps and len(walk.shape) == 2:
        walk.flatten(operation.place)
    back = walk.back(operation, walk.flat_origin(), prod(walk.map))
    columns = []
    for one in (scale, shift):
        try:
            numbers = one.detach().to("cpu", torch.float64).expand(1, *walk.shape[1:]).flatten()[back]
        except RuntimeError as error:
            raise refused(operation, f"computes {operation.name} with numbers of shape {tuple(one.shape)}") from error
        columns.append(numbers.reshape(walk.map[0], -1))
    if any(not bool((one == one[:, :1]).all()) for one in columns):
        raise refused(operation, f"computes {operation.name} with other numbers at other places of a map")
    gain, offset = (one[:, 0] for one in columns)
    if not walk.chain.steps:
        walk.chain.scale, walk.chain.shift = walk.chain.scale * gain, walk.chain.shift * gain + offset
        walk.goes_on(operation)
    elif bool((gain == 1).all() and (offset == 0).all()) or _folds(walk, gain, offset):
        walk.goes_on(operation)
    else:
        still = torch.zeros_like(gain)
        held = {"weight": gain * (1 + EPSILON) ** 0.5, "bias": offset, "running_mean": still, "running_var": still + 1}
        walk.add(operation, Step("bn"), held)


def _folds(walk: Walk, gain: Tensor, offset: Tensor) -> bool:
    """Whether the last step can say these numbers itself, and now does: a layer with weights, a batch norm."""
    last = walk.chain.steps[-1]
    if "weight" not in last.weights:
        return False
    weight = last.weights["weight"].double()
    shift = last.weights.get("bias", torch.zeros(len(weight))).double() * gain + offset
    last.weights["weight"] = (weight * gain.view(-1, *[1] * (weight.ndim - 1))).float()
    if "bias" in last.weights or bool((offset != 0).any()):
        last.weights["bias"], last.step = shift.float(), replace(last.step, bias=True)
    last.number = -1
    return True


def _linear_weights(operation: Operation) -> tuple[Tensor | None, Tensor | None]:
    """Bias and weight (K, N) of x W' + b; None where the operation is something else."""
    args = operation.args
    if operation.name == "mm":
        return None, args[1].t() if args[0] is None and isinstance(args[1], Tensor) else None
    if operation.name == "linear":
        return (args[2] if len(args) > 2 else None), args[1]
    plain = all(operation.keywords.get(name, 1) == 1 for name in ("alpha", "beta"))
    if not plain or args[1] is not None or args[2] is None or args[0] is None or args[0].ndim != 1:
        return None, None
    return args[0], args[2].t()


def _line(operation: Operation) -> tuple[Tensor | None, Tensor]:
    """Scale and shift of y = scale x + shift; None where the operation is no such line."""
    name, args = operation.name, operation.args
    one, zero = torch.ones(1), torch.zeros(1)
    if name == "neg":
        return -one, zero
    first = args[0] is None  # the value comes first
    other = args[1] if first else args[0]
    other = other if isinstance(other, Tensor) else torch.tensor([other], dtype=torch.float64)
    if operation.keywords.get("rounding_mode") is not None:
        return None, zero
    alpha = float(operation.keywords.get("alpha", args[2] if len(args) > 2 else 1))
    if name == "mul":
        return other, zero
    if name == "div":
        return (1 / other.double(), zero) if first else (None, zero)
    if name == "add":
        return (one, alpha * other) if first else (alpha * one, other)
    towards = first if name == "sub" else not first
    if towards:  # x - alpha c
        return one, -alpha * other
    return -alpha * one if name == "sub" else -one * alpha, other
