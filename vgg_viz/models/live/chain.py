"""What a network did to a picture, operation by operation, as a chain of steps; what is no chain is refused by its layer's name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from vgg_viz.errors import CheckpointRefused
from vgg_viz.maths.receptive_field import Window
from vgg_viz.models.live.trace import Operation, Place, Trace
from vgg_viz.models.plan import Step

EPSILON = 1e-5  # of every batch norm that this package builds

# Shape alone: which number stands where. Done again on numbers that say where each comes from.
MOVES = frozenset(
    name
    for line in (
        "view _unsafe_view reshape _reshape_alias permute transpose t numpy_T squeeze unsqueeze flatten movedim swapaxes",
        "slice select flip index_select index expand repeat roll narrow unbind split split_with_sizes chunk",
        "pixel_unshuffle channel_shuffle",
    )
    for name in line.split()
)
SAME = frozenset(("clone", "contiguous", "detach", "alias", "lift_fresh", "_to_copy"))


@dataclass(slots=True)
class BuiltStep:
    """One step with its weights.

    Attributes:
        step: Its kind and numbers.
        place: Where the user's network computes it.
        weights: {"weight", "bias", ...} in this package's order.
        number: Of the value that it gives, in the trace; -1: no single one.
        shape: Of that value, with the batch.
    """

    step: Step
    place: Place
    weights: dict[str, Tensor] = field(default_factory=dict)
    number: int = -1
    shape: tuple[int, ...] = ()


@dataclass(slots=True)
class ReadChain:
    """A chain read off a trace.

    Attributes:
        steps: From the picture up.
        scale: What the network multiplies each channel of its pictures by before the first layer.
        shift: What it then adds.
        ending: "softmax", "sigmoid", "log_softmax" or "": what stands behind the last layer with weights.
        classes: How many outputs; 0: maps, and no classifier.
        result: Number of the value that is the network's answer before its ending.
    """

    steps: list[BuiltStep] = field(default_factory=list)
    scale: Tensor = field(default_factory=lambda: torch.ones(0))
    shift: Tensor = field(default_factory=lambda: torch.zeros(0))
    ending: str = ""
    classes: int = 0
    result: int = -1


def read_chain(trace: Trace, answer: Tensor, picture: Sequence[int]) -> ReadChain:
    """The chain that leads from the picture to an answer.

    Args:
        trace: Of one pass.
        answer: The tensor of logits in it.
        picture: Shape of the batch that went in: (B, C, H, W).

    Raises:
        CheckpointRefused: It is no chain, or has a layer that this package does not know; the layer is named.
    """
    reader = _Reader(tuple(picture))
    path = _path(trace, answer)
    # Behind the last operation that is not a mere move, a softmax or sigmoid says what the outputs mean.
    end = max((place for place, one in enumerate(path) if one.name not in MOVES | SAME), default=-1)
    for place, operation in enumerate(path):
        reader.read(operation, last=place == end)
    return reader.finished()


def _path(trace: Trace, answer: Tensor) -> list[Operation]:
    """The operations between the picture and the answer, in order; refuses a branch, by the first that reads two values."""
    number = trace.number(answer)
    if number is None:
        raise CheckpointRefused("the network's answer does not depend on the picture; a chain of layers was expected.")
    maker = {output: operation for operation in trace.operations for output in operation.outputs}
    waiting, needed = [number], set[int]()
    while waiting:
        operation = maker.get(waiting.pop())
        if operation is not None and operation.outputs[0] not in needed:
            needed.add(operation.outputs[0])
            waiting += operation.inputs
    path = [operation for operation in trace.operations if operation.outputs[0] in needed]
    for operation in path:
        if len(operation.inputs) > 1:
            raise _refused(operation, f"joins {len(operation.inputs)} values ({operation.name}), which makes a branch")
    used = [operation.inputs[0] for operation in path]
    for before, operation in pairwise(path):
        if operation.inputs[0] not in before.outputs:
            raise _refused(operation, "reads what an earlier layer gave, which makes a branch")
    if used and used[0] != 0:
        raise _refused(path[0], "does not read the picture")
    return path


def _refused(operation: Operation, what: str) -> CheckpointRefused:
    return CheckpointRefused(
        f"{operation.place} {what}; vgg_viz explains chains of layers, one after another, and this network is none."
    )


class _Reader:
    """Where the walk is: the steps so far, and which number of the last step's output stands where in the current value.

    shape   of the current value, with the batch
    origin  (B, ...) for each of its numbers, its place in the last step's output counted over the batch; None: each in its own
    map     (C, H, W) of the last step's output; after flattening (N,)
    """

    def __init__(self, picture: tuple[int, ...]) -> None:
        self.chain = ReadChain(
            scale=torch.ones(picture[1], dtype=torch.float64),
            shift=torch.zeros(picture[1], dtype=torch.float64),
            result=0,
        )
        self.batch, self.shape, self.map = picture[0], picture, picture[1:]
        self.origin: Tensor | None = None
        self.padding = 0  # zeros around the map that the next convolution or pool reads
        self.averaged, self.averaging = (
            1,
            "",
        )  # how many numbers of a map each one stands for by now, and by which operation
        self.number = 0

    # ------------------------------------------------------------ one operation

    def read(self, operation: Operation, *, last: bool) -> None:
        name = operation.name
        if name in SAME:
            self._goes_on(operation)
        elif name in MOVES:
            self._move(operation)
        elif last and name in ENDINGS and self._ends(operation):
            self.chain.ending = ENDINGS[name]
            self._goes_on(operation)
        elif name in READERS:
            READERS[name](self, operation)
        elif name in ACTIVATION_READERS:
            step = ACTIVATION_READERS[name](operation)
            if step is None:
                raise _refused(operation, f"computes {name} with numbers that this package's layer does not have")
            self._require_no_padding(operation)
            self._add(operation, step)
        else:
            raise _refused(operation, f"computes {name}, which is no layer of a chain")

    def finished(self) -> ReadChain:
        """The chain, its outputs in order."""
        chain, built = self.chain, self.chain.steps
        if not built:
            raise CheckpointRefused("the network has no layers; a chain of convolutions was expected.")
        last = built[-1].place
        if len(self.shape) == 4 and self.map[1:] != (1, 1) and not any(one.step.kind == "fc" for one in built):
            if self.origin is not None or self.padding or chain.ending:
                raise CheckpointRefused(f"behind {last} the maps are cut or reordered; logits (B, K) were expected.")
            return chain
        if self.padding or self.averaged > 1:
            raise CheckpointRefused(f"behind {last} the maps are padded or half averaged; logits (B, K) were expected.")
        outputs = self._flat_origin()
        self._flatten()
        chain.classes = len(outputs)
        if not torch.equal(outputs, torch.arange(self.map[0])):
            weighted = built[-1] if built[-1].step.kind in ("fc", "conv") else None
            if weighted is None:
                raise CheckpointRefused(f"the outputs are reordered or cut behind {last}; give a module that does not.")
            weighted.weights = {name: value[outputs] for name, value in weighted.weights.items()}
            weighted.step = replace(weighted.step, channels=len(outputs))
        return chain

    # ------------------------------------------------------------ where numbers stand

    def _goes_on(self, operation: Operation) -> None:
        around = 2 * self.padding
        if tuple(operation.shape) not in (self.shape, (*self.shape[:-2], *(side + around for side in self.shape[-2:]))):
            raise _refused(operation, f"changes the shape by {operation.name}")
        self.number = operation.outputs[0]
        if not self.chain.ending:
            self.chain.result = self.number

    def _places(self) -> Tensor:
        """`origin`, also where it is None."""
        size = self.batch * prod(self.map)
        return torch.arange(size).view(self.shape) if self.origin is None else self.origin

    def _move(self, operation: Operation) -> None:
        self._require_no_padding(operation)
        try:
            args = tree_map_only(Tensor, lambda tensor: tensor.cpu(), operation.args[1:])
            moved = operation.function(self._places(), *args, **operation.keywords)
        except (RuntimeError, TypeError) as error:
            raise _refused(operation, f"moves numbers by {operation.name} in a way that cannot be followed") from error
        if isinstance(moved, list | tuple):
            if len(moved) > 1:
                raise _refused(operation, f"cuts its value into parts by {operation.name}")
            moved = moved[0]
        if moved.ndim == 0 or len(moved) != self.batch:
            raise _refused(operation, f"mixes the pictures of a batch by {operation.name}")
        own = torch.arange(self.batch).view(-1, *[1] * (moved.ndim - 1))
        if not bool((moved - own * prod(self.map) == moved[:1]).all()):
            raise _refused(operation, f"mixes the pictures of a batch by {operation.name}")
        self.shape = tuple(moved.shape)
        size = self.batch * prod(self.map)
        straight = moved.numel() == size and torch.equal(moved.flatten(), torch.arange(size))
        self.origin = None if straight else moved.contiguous()
        self.number = operation.outputs[0]
        if not self.chain.ending:
            self.chain.result = self.number

    def _flat_origin(self) -> Tensor:
        """(N,) for each number of a picture's current value, which of the last step's it is."""
        return self._places()[0].flatten()

    def _channel_origin(self, operation: Operation) -> Tensor:
        """(C,) for each channel of the current map, which of the last step's maps it is, whole and upright."""
        if len(self.shape) != 4 or len(self.map) != 3:
            raise _refused(
                operation, f"computes {operation.name} on values of shape {self.shape[1:]}, a map was expected"
            )
        size = self.map[1] * self.map[2]
        if self.origin is None:
            if self.shape[1:] == self.map:
                return torch.arange(self.map[0])
            raise _refused(operation, "reads a map of another shape than the layer before gave")
        first = self.origin[0]
        if tuple(first.shape[1:]) != self.map[1:] or not bool(
            (first.flatten(1) % size == torch.arange(size)).all()
            and (first.flatten(1) // size == first[:, :1, 0] // size).all()
        ):
            raise _refused(operation, f"computes {operation.name} on a map that was cut, turned or reordered")
        return first[:, 0, 0] // size

    def _require_no_padding(self, operation: Operation) -> None:
        if self.padding:
            raise _refused(operation, f"computes {operation.name} on a padded map, where a convolution was expected")
        if self.averaged > 1:
            raise _refused(
                operation, f"computes {operation.name} on a map that is averaged over one of its sides alone"
            )

    def _flatten(self, place: Place | None = None) -> None:
        if len(self.map) == 3:
            at = place or self.chain.steps[-1].place
            self.chain.steps.append(BuiltStep(Step("flat", head=True), at))
            self.map = (prod(self.map),)

    def _add(
        self,
        operation: Operation,
        step: Step,
        weights: Mapping[str, Tensor] | None = None,
        *,
        new_map: tuple[int, ...] | None = None,
    ) -> None:
        """Append a step. One with `new_map` gives numbers of its own; any other leaves each where it was."""
        if new_map is None and len(self.shape) == 2:
            self._flatten(operation.place)
        held = {name: value.detach().to("cpu", torch.float32).clone() for name, value in (weights or {}).items()}
        plain = new_map is not None or self.origin is None
        number = operation.outputs[0] if plain else -1
        self.chain.steps.append(BuiltStep(step, operation.place, held, number, tuple(operation.shape)))
        if new_map is not None:
            self.map, self.origin = new_map, None
        self.shape = tuple(operation.shape)
        self.number = self.chain.result = operation.outputs[0]

    # ------------------------------------------------------------ layers with weights

    def convolution(self, operation: Operation) -> None:
        _, weight, bias, stride, padding, dilation, transposed, _, groups = operation.args[:9]
        if weight.ndim != 4 or transposed:
            raise _refused(
                operation, f"is a {'transposed' if transposed else f'{weight.ndim - 2}-dimensional'} convolution"
            )
        if groups != 1:
            kind = "depthwise" if groups == self.shape[1] else "grouped"
            raise _refused(operation, f"is a {kind} convolution ({groups} groups)")
        sides = [tuple(weight.shape[2:]), _pair(stride), _pair(padding), _pair(dilation)]
        if any(first != second for first, second in sides):
            raise _refused(operation, f"is a convolution that is not square (kernel {sides[0][0]} × {sides[0][1]})")
        padding_before, self.padding = self.padding, 0
        self._require_no_padding(operation)
        channels = self._channel_origin(operation)
        spread = torch.zeros(weight.shape[0], self.map[0], *weight.shape[2:], dtype=weight.dtype)
        spread.index_add_(1, channels, weight.detach().cpu())
        window = Window(weight.shape[2], _pair(stride)[0], _pair(padding)[0] + padding_before, _pair(dilation)[0])
        held = {"weight": weight if torch.equal(channels, torch.arange(self.map[0])) else spread}
        held |= {} if bias is None else {"bias": bias}
        step = Step("conv", weight.shape[0], window, bias is not None)
        self._add(operation, step, held, new_map=tuple(operation.shape[1:]))

    def linear(self, operation: Operation) -> None:
        bias, weight = _linear_weights(operation)
        if weight is None or len(self.shape) != 2:
            raise _refused(
                operation, f"computes {operation.name} on values of shape {self.shape[1:]}, which is no linear layer"
            )
        self._require_no_padding(operation)
        origin = self._flat_origin()
        straight = torch.equal(origin, torch.arange(prod(self.map)))
        spread = weight
        if not straight:
            spread = torch.zeros(weight.shape[0], prod(self.map), dtype=weight.dtype)
            spread.index_add_(1, origin, weight.detach().cpu())
        self._flatten(operation.place)
        held = {"weight": spread} | ({} if bias is None else {"bias": bias})
        step = Step("fc", weight.shape[0], bias=bias is not None, head=True)
        self._add(operation, step, held, new_map=tuple(operation.shape[1:]))

    def batch_norm(self, operation: Operation) -> None:
        _, weight, bias, mean, variance, training, _, epsilon = operation.args[:8]
        if training or mean is None or variance is None:
            raise _refused(
                operation, "is a batch norm without running statistics: its answer depends on the other pictures"
            )
        self._require_no_padding(operation)
        ones = torch.ones_like(variance)
        # Another epsilon goes into the scale, so that the running statistics stay what they were.
        gain = (weight if weight is not None else ones) * (
            (variance.double() + EPSILON) / (variance.double() + epsilon)
        ).sqrt()
        shift = bias if bias is not None else torch.zeros_like(mean)
        held = {"weight": gain.to(mean.dtype), "bias": shift, "running_mean": mean, "running_var": variance}
        if len(self.shape) == 2:
            self._flatten(operation.place)
            origin = self._flat_origin()
        else:
            origin = self._channel_origin(operation)
        back = self._back(operation, origin, self.map[0])
        self._add(operation, Step("bn"), {name: value.cpu()[back] for name, value in held.items()})

    def _back(self, operation: Operation, origin: Tensor, count: int) -> Tensor:
        """Which entry of the current value each of the last step's is, where all are there once."""
        if not torch.equal(origin.sort().values, torch.arange(count)):
            raise _refused(operation, "works on channels of which some were left out or repeated")
        return origin.argsort()

    # ------------------------------------------------------------ pools

    def pool(self, operation: Operation) -> None:
        """max_pool2d and avg_pool2d; also of a map that was padded with zeros where that is the same."""
        average = operation.name.startswith("avg")
        names = ("kernel", "stride", "padding") + (("ceil", "count", "divisor") if average else ("dilation", "ceil"))
        given = dict(zip(names, operation.args[1:], strict=False))
        kernel, padding = _pair(given["kernel"]), _pair(given.get("padding") or 0)
        stride = _pair(given.get("stride") or kernel)
        dilation = _pair(given.get("dilation") or 1)
        if any(first != second for first, second in (kernel, stride, padding)):
            raise _refused(operation, f"is a pool that is not square ({kernel[0]} × {kernel[1]})")
        if dilation != (1, 1) or given.get("divisor") is not None:
            raise _refused(operation, "is a pool with a dilation or divisor of its own")
        counted = bool(given.get("count", True))
        if self.padding:
            positive = self.chain.steps and self.chain.steps[-1].step.kind in ("relu", "relu6", "sigmoid")
            if padding[0] or not (counted if average else positive):
                self._require_no_padding(operation)
            padding = (self.padding, self.padding)
            if padding[0] > kernel[0] // 2:
                self._require_no_padding(operation)
            self.padding = 0
        window = Window(kernel[0], stride[0], padding[0], ceil=bool(given.get("ceil", False)))
        step = Step("avg_pool" if average else "max_pool", window=window, pads_count=counted if average else True)
        self._pooled(operation, step, tuple(operation.shape[2:]))

    def _pooled(self, operation: Operation, step: Step, sides: tuple[int, ...]) -> None:
        self._require_no_padding(operation)
        channels = self._channel_origin(operation)
        if not torch.equal(channels, torch.arange(self.map[0])):
            raise _refused(operation, "pools channels that were reordered")
        self._add(operation, step, new_map=(self.map[0], *sides))

    def adaptive_pool(self, operation: Operation) -> None:
        sides = tuple(operation.shape[2:])
        if len(sides) != 2 or sides[0] != sides[1]:
            raise _refused(operation, "is an adaptive pool whose map is not square")
        kind = "adaptive_max" if "max" in operation.name else "adaptive_avg"
        self._pooled(operation, Step(kind, side=sides[0]), sides)

    def reduction(self, operation: Operation) -> None:
        """The mean or the largest value over whole maps, at once or one side after the other."""
        kind = "adaptive_max" if operation.name == "amax" else "adaptive_avg"
        axes = sorted(axis % len(self.shape) for axis in _axes(operation, len(self.shape)))
        keeps = len(operation.shape) == len(self.shape)
        wrong = self.padding or len(self.map) != 3 or 0 in axes or self.averaging not in ("", operation.name)
        size = self.map[-1] * self.map[-2] if len(self.map) == 3 else 1
        places = self._places().movedim(axes, list(range(-len(axes), 0))).flatten(-len(axes)).sort(-1).values
        channels = places // size
        apart = bool((places.diff(dim=-1) > 0).all() and (channels == channels[..., :1]).all())
        count = self.averaged * places.shape[-1]
        if wrong or not apart or count > size:
            raise _refused(operation, f"takes the {operation.name} of something else than whole maps")
        if count == size:
            self.averaged, self.averaging = 1, ""
            self._add(operation, Step(kind, side=1), new_map=(self.map[0], 1, 1))
            made = channels[..., 0]
        else:  # groups of one channel that have no number in common: those of the next axis make them whole
            self.averaged, self.averaging = count, operation.name
            made = places[..., 0]
        for axis in axes if keeps else ():
            made = made.unsqueeze(axis)
        straight = self.averaged == 1 and torch.equal(made.flatten(), torch.arange(made.numel()))
        self.origin = None if straight else made
        self.shape, self.number = tuple(operation.shape), operation.outputs[0]

    def pad(self, operation: Operation) -> None:
        _, sides, *value = operation.args
        if any(value) or len(set(sides)) != 1 or len(sides) != 4 or sides[0] < 0:
            raise _refused(
                operation, f"pads by {list(sides)}, where the same number of zeros on all four sides was expected"
            )
        self._require_no_padding(operation)
        if not torch.equal(self._channel_origin(operation), torch.arange(self.map[0])):
            raise _refused(operation, "pads channels that were reordered")
        self.padding = int(sides[0])
        self.number = self.chain.result = operation.outputs[0]

    # ------------------------------------------------------------ numbers

    def dropout(self, operation: Operation) -> None:
        given = dict(zip(("p", "training"), operation.args[1:], strict=False)) | dict(operation.keywords)
        training = given.get("training", given.get("train", True))
        share = float(given.get("p", 0.5))
        if training and share > 0:
            raise _refused(
                operation,
                "drops values in eval mode as well (dropout was called without training=self.training), so its answers are random",
            )
        self._add(operation, Step("drop", values=(share,)))

    def arithmetic(self, operation: Operation) -> None:
        """Numbers added or multiplied, one a channel: before the first layer the network's own normalisation, later a batch norm."""
        scale, shift = _line(operation)
        if scale is None:
            raise _refused(operation, f"computes {operation.name} of its value in another way than channel by channel")
        self._require_no_padding(operation)
        if self.chain.steps and len(self.shape) == 2:
            self._flatten(operation.place)
        back = self._back(operation, self._flat_origin(), prod(self.map))
        columns = []
        for one in (scale, shift):
            try:
                numbers = one.detach().to("cpu", torch.float64).expand(1, *self.shape[1:]).flatten()[back]
            except RuntimeError as error:
                raise _refused(
                    operation, f"computes {operation.name} with numbers of shape {tuple(one.shape)}"
                ) from error
            columns.append(numbers.reshape(self.map[0], -1))
        if any(not bool((one == one[:, :1]).all()) for one in columns):
            raise _refused(operation, f"computes {operation.name} with other numbers at other places of a map")
        gain, offset = (one[:, 0] for one in columns)
        if not self.chain.steps:
            self.chain.scale, self.chain.shift = self.chain.scale * gain, self.chain.shift * gain + offset
            self._goes_on(operation)
        elif bool((gain == 1).all() and (offset == 0).all()) or self._folds(gain, offset):
            self._goes_on(operation)
        else:
            still = torch.zeros_like(gain)
            held = {
                "weight": gain * (1 + EPSILON) ** 0.5,
                "bias": offset,
                "running_mean": still,
                "running_var": still + 1,
            }
            self._add(operation, Step("bn"), held)

    def _folds(self, gain: Tensor, offset: Tensor) -> bool:
        """Whether the last step can say these numbers itself, and now does: a layer with weights, a batch norm."""
        last = self.chain.steps[-1]
        if "weight" not in last.weights:
            return False
        weight = last.weights["weight"].double()
        shift = last.weights.get("bias", torch.zeros(len(weight))).double() * gain + offset
        last.weights["weight"] = (weight * gain.view(-1, *[1] * (weight.ndim - 1))).float()
        if "bias" in last.weights or bool((offset != 0).any()):
            last.weights["bias"], last.step = shift.float(), replace(last.step, bias=True)
        last.number = -1
        return True

    def _ends(self, operation: Operation) -> bool:
        """Whether a softmax or sigmoid stands behind a layer that gives (B, K)."""
        steps = self.chain.steps
        weighted = next((one for one in reversed(steps) if one.step.kind != "drop"), None)
        flat = len(self.shape) <= 2 or all(side == 1 for side in self.shape[2:])
        return (
            flat
            and weighted is not None
            and weighted.step.kind in ("fc", "conv", "flat", "adaptive_avg", "bn")
            and (operation.name == "sigmoid" or operation.args[1] in (1, 1 - len(self.shape)))
        )


# ---------------------------------------------------------------- what operations mean

ENDINGS = {
    "_softmax": "softmax",
    "_log_softmax": "log_softmax",
    "sigmoid": "sigmoid",
    "log_sigmoid_forward": "log_sigmoid",
}

READERS: dict[str, Callable[[_Reader, Operation], None]] = {
    "convolution": _Reader.convolution,
    "addmm": _Reader.linear,
    "mm": _Reader.linear,
    "linear": _Reader.linear,
    "native_batch_norm": _Reader.batch_norm,
    "cudnn_batch_norm": _Reader.batch_norm,
    "miopen_batch_norm": _Reader.batch_norm,
    "max_pool2d_with_indices": _Reader.pool,
    "max_pool2d": _Reader.pool,
    "avg_pool2d": _Reader.pool,
    "_adaptive_avg_pool2d": _Reader.adaptive_pool,
    "adaptive_avg_pool2d": _Reader.adaptive_pool,
    "adaptive_max_pool2d": _Reader.adaptive_pool,
    "mean": _Reader.reduction,
    "amax": _Reader.reduction,
    "constant_pad_nd": _Reader.pad,
    "dropout": _Reader.dropout,
    **dict.fromkeys(("add", "sub", "rsub", "mul", "div", "neg"), _Reader.arithmetic),
    "lrn": lambda reader, operation: reader._add(operation, _lrn(operation)),
}


def _lrn(operation: Operation) -> Step:
    usual = {"size": 5, "alpha": 1e-4, "beta": 0.75, "k": 1.0}
    given = (
        usual
        | dict(zip(usual, operation.args[1:], strict=False))
        | {n: v for n, v in operation.keywords.items() if n in usual}
    )
    return Step("lrn", values=tuple(float(value) for value in given.values()))


def _pair(sides: Any) -> tuple[int, int]:
    return (int(sides), int(sides)) if isinstance(sides, int) else (int(sides[0]), int(sides[-1]))


def _axes(operation: Operation, count: int) -> list[int]:
    axes = operation.args[1] if len(operation.args) > 1 else operation.keywords.get("dim")
    return list(range(count)) if axes is None or axes == [] else [axes] if isinstance(axes, int) else list(axes)


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


ACTIVATION_READERS: dict[str, Callable[[Operation], Step | None]] = {
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
