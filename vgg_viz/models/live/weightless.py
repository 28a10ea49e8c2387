"""Operations without weights: pools, averages, padding, dropout and activations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from vgg_viz.maths.receptive_field import Window
from vgg_viz.models.live.trace import Operation
from vgg_viz.models.live.walk import Walk, both_sides, refused
from vgg_viz.models.plan import Step


def pool(walk: Walk, operation: Operation) -> None:
    """max_pool2d and avg_pool2d; also of a map that was padded with zeros where that is the same."""
    average = operation.name.startswith("avg")
    names = ("kernel", "stride", "padding") + (("ceil", "count", "divisor") if average else ("dilation", "ceil"))
    given = dict(zip(names, operation.args[1:], strict=False))
    kernel, padding = both_sides(given["kernel"]), both_sides(given.get("padding") or 0)
    stride = both_sides(given.get("stride") or kernel)
    dilation = both_sides(given.get("dilation") or 1)
    if any(first != second for first, second in (kernel, stride, padding)):
        raise refused(operation, f"is a pool that is not square ({kernel[0]} × {kernel[1]})")
    if dilation != (1, 1) or given.get("divisor") is not None:
        raise refused(operation, "is a pool with a dilation or divisor of its own")
    counted = bool(given.get("count", True))
    if walk.padding:
        positive = walk.chain.steps and walk.chain.steps[-1].step.kind in ("relu", "relu6", "sigmoid")
        if padding[0] or not (counted if average else positive):
            walk.require_no_padding(operation)
        padding = (walk.padding, walk.padding)
        if padding[0] > kernel[0] // 2:
            walk.require_no_padding(operation)
        walk.padding = 0
    window = Window(kernel[0], stride[0], padding[0], ceil=bool(given.get("ceil", False)))
    step = Step("avg_pool" if average else "max_pool", window=window, pads_count=counted if average else True)
    _pooled(walk, operation, step, tuple(operation.shape[2:]))


def _pooled(walk: Walk, operation: Operation, step: Step, sides: tuple[int, ...]) -> None:
    walk.require_no_padding(operation)
    channels = walk.channel_origin(operation)
    if not torch.equal(channels, torch.arange(walk.map[0])):
        raise refused(operation, "pools channels that were reordered")
    walk.add(operation, step, new_map=(walk.map[0], *sides))


def adaptive_pool(walk: Walk, operation: Operation) -> None:
    """An average or maximum that makes a map of a given side."""
    sides = tuple(operation.shape[2:])
    if len(sides) != 2 or sides[0] != sides[1]:
        raise refused(operation, "is an adaptive pool whose map is not square")
    kind = "adaptive_max" if "max" in operation.name else "adaptive_avg"
    _pooled(walk, operation, Step(kind, side=sides[0]), sides)


def reduction(walk: Walk, operation: Operation) -> None:
    """The mean or the largest value over whole maps, at once or one side after the other."""
    kind = "adaptive_max" if operation.name == "amax" else "adaptive_avg"
    axes = sorted(axis % len(walk.shape) for axis in _axes(operation, len(walk.shape)))
    keeps = len(operation.shape) == len(walk.shape)
    wrong = walk.padding or len(walk.map) != 3 or 0 in axes or walk.averaging not in ("", operation.name)
    size = walk.map[-1] * walk.map[-2] if len(walk.map) == 3 else 1
    places = walk.places().movedim(axes, list(range(-len(axes), 0))).flatten(-len(axes)).sort(-1).values
    channels = places // size
    apart = bool((places.diff(dim=-1) > 0).all() and (channels == channels[..., :1]).all())
    count = walk.averaged * places.shape[-1]
    if wrong or not apart or count > size:
        raise refused(operation, f"takes the {operation.name} of something else than whole maps")
    if count == size:
        walk.averaged, walk.averaging = 1, ""
        walk.add(operation, Step(kind, side=1), new_map=(walk.map[0], 1, 1))
        made = channels[..., 0]
    else:  # groups of one channel that have no number in common: those of the next axis make them whole
        walk.averaged, walk.averaging = count, operation.name
        made = places[..., 0]
    for axis in axes if keeps else ():
        made = made.unsqueeze(axis)
    straight = walk.averaged == 1 and torch.equal(made.flatten(), torch.arange(made.numel()))
    walk.origin = None if straight else made
    walk.shape, walk.number = tuple(operation.shape), operation.outputs[0]


def pad(walk: Walk, operation: Operation) -> None:
    """The same number of zeros on all four sides, for the convolution or pool that follows."""
    _, sides, *value = operation.args
    if any(value) or len(set(sides)) != 1 or len(sides) != 4 or sides[0] < 0:
        raise refused(
            operation, f"pads by {list(sides)}, where the same number of zeros on all four sides was expected"
        )
    walk.require_no_padding(operation)
    if not torch.equal(walk.channel_origin(operation), torch.arange(walk.map[0])):
        raise refused(operation, "pads channels that were reordered")
    walk.padding = int(sides[0])
    walk.number = walk.chain.result = operation.outputs[0]


def dropout(walk: Walk, operation: Operation) -> None:
    """Dropout that does nothing in eval mode; any other makes the answers random."""
    given = dict(zip(("p", "training"), operation.args[1:], strict=False)) | dict(operation.keywords)
    training = given.get("training", given.get("train", True))
    share = float(given.get("p", 0.5))
    if training and share > 0:
        raise refused(
            operation,
            "drops values in eval mode as well (dropout was called without training=walk.training), so its answers are random",
        )
    walk.add(operation, Step("drop", values=(share,)))


def response_norm(walk: Walk, operation: Operation) -> None:
    """Local response normalisation, as a whole."""
    usual = {"size": 5, "alpha": 1e-4, "beta": 0.75, "k": 1.0}
    given = (
        usual
        | dict(zip(usual, operation.args[1:], strict=False))
        | {n: v for n, v in operation.keywords.items() if n in usual}
    )
    step = Step("lrn", values=tuple(float(value) for value in given.values()))
    walk.add(operation, step)


def _axes(operation: Operation, count: int) -> list[int]:
    axes = operation.args[1] if len(operation.args) > 1 else operation.keywords.get("dim")
    return list(range(count)) if axes is None or axes == [] else [axes] if isinstance(axes, int) else list(axes)


def _threshold(operation: Operation) -> Step | None:
    return Step("relu") if tuple(operation.args[1:3]) == (0, 0) else None


def _clamp(operation: Operation) -> Step | None:
    low, high = (*operation.args[1:], None, None)[:2]
    low, high = operation.keywords.get("min", low), operation.keywords.get("max", high)
    return Step("relu") if (low, high) == (0, None) else Step("relu6") if (low, high) == (0, 6) else None


def _elu(operation: Operation) -> Step | None:
    alpha, scale, narrow = [*operation.args[1:], 1.0, 1.0, 1.0][:3]
    if (scale, narrow) == (1, 1):
        return Step("elu", values=(float(alpha),)) if alpha >= 0 else None
    return Step("selu") if abs(alpha - 1.6732632423543772) < 1e-9 and abs(scale - 1.0507009873554805) < 1e-9 else None


def _slope(operation: Operation) -> Step | None:
    slope = float(operation.args[1]) if len(operation.args) > 1 else 0.01
    return Step("leaky", values=(slope,)) if slope >= 0 else None


def _prelu(operation: Operation) -> Step | None:
    slopes = operation.args[1]
    slope = float(slopes.flatten()[0])
    return Step("leaky", values=(slope,)) if slope >= 0 and bool((slopes == slope).all()) else None


def _plain(kind: str, *usual: Any) -> Callable[[Operation], Step | None]:
    """A step without numbers of its own; None where the operation has unusual ones."""

    def read(operation: Operation) -> Step | None:
        given = (*operation.args[1:], *operation.keywords.values())
        return Step(kind) if all(value in usual for value in given) else None

    return read


ACTIVATIONS: dict[str, Callable[[Operation], Step | None]] = {
    "relu": _plain("relu"),
    "clamp_min": _clamp,
    "clamp": _clamp,
    "hardtanh": _clamp,
    "relu6": _plain("relu6"),
    "threshold": _threshold,
    "leaky_relu": _slope,
    "_prelu_kernel": _prelu,
    "rrelu_with_noise": lambda operation: None,
    "elu": _elu,
    "celu": lambda operation: Step("elu", values=(1.0,)) if tuple(operation.args[1:]) in ((), (1.0,)) else None,
    "gelu": _plain("gelu", "none"),
    "silu": _plain("silu"),
    "mish": _plain("mish"),
    "softplus": _plain("softplus", 1, 20),
    "hardswish": _plain("hardswish"),
    "tanh": _plain("tanh"),
    "sigmoid": _plain("sigmoid"),
}
