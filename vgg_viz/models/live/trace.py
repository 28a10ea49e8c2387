"""A network run once, and every operation on its pictures written down: which, on whose output, in which of its modules.

The operations are those of ATen, below all ways of writing them: nn.ReLU, F.relu, x.relu_() and x.clamp(min=0) arrive as what they
compute. Nothing is hooked: which module computes is read off the Python frames that called.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vgg_viz.errors import CheckpointRefused

# Files whose lines are not the user's: torch's, and this package's, which play networks out of files.
INNER = (str(Path(torch.__file__).parent) + os.sep, str(Path(__file__).parents[2]) + os.sep)
# Made from the shape of a tensor alone: what comes of them does not depend on the picture.
SHAPE_ONLY = ("empty", "zeros", "ones", "full", "rand", "new_", "arange")
# Of torch's own layers everybody knows what they do: the line that called one says nothing more.
LAYERS = ("Conv", "Linear", "BatchNorm", "MaxPool", "AvgPool", "Adaptive", "Dropout", "Flatten")
DROPOUTS = (
    functional.dropout,
    functional.dropout1d,
    functional.dropout2d,
    functional.dropout3d,
    functional.alpha_dropout,
    functional.feature_alpha_dropout,
    torch.dropout,
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the user's network something is computed.

    Attributes:
        path: Of the innermost module, dotted; "" is the network itself.
        kind: Its class.
        line: File and line of the forward pass that asked, where that is not a layer of torch's own.
    """

    path: str
    kind: str
    line: str = ""

    def __str__(self) -> str:
        """As a sentence names it."""
        of = f"{self.path} ({self.kind})" if self.path else f"the forward pass of {self.kind}"
        return f"{of}, {self.line}," if self.line and not self.kind.startswith(LAYERS) else of


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation on what depends on the pictures.

    Attributes:
        name: "convolution", "relu", "view", ...: ATen's, without the mark of working in place; "dropout" and "lrn" are seen as wholes.
        function: That computes it, for who wants to compute it again.
        args: As they came; `values` stand in them where they depend on the pictures.
        keywords: Likewise.
        inputs: Numbers of the values that it reads, each once, in their order.
        outputs: Numbers of the values that it gives.
        shape: Of the first of them, with the batch.
        place: Where it stands in the network.
        values: Copies of what it gave, where that was asked for.
    """

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    keywords: Mapping[str, Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    shape: tuple[int, ...]
    place: Place
    values: Tensor | None = None


@dataclass(slots=True)
class Trace:
    """All operations of one pass, in order.

    Attributes:
        operations: Those that depend on the pictures.
        result: What the network returned.
        numbers: {id of a tensor: number of the value that it holds}; 0 is the picture.
        alive: Those tensors, so that no other takes the place of one.
    """

    operations: list[Operation] = field(default_factory=list)
    result: Any = None
    numbers: dict[int, int] = field(default_factory=dict)
    alive: list[Tensor] = field(default_factory=list)
    count: int = 0

    def number(self, value: object) -> int | None:
        """Of the value that a tensor holds; None where it does not depend on the picture."""
        return self.numbers.get(id(value)) if isinstance(value, Tensor) else None

    def add(self, tensor: Tensor) -> int:
        """A new value, which this tensor holds from now on."""
        number, self.count = self.count, self.count + 1
        self.numbers[id(tensor)] = number
        self.alive.append(tensor)
        return number


@dataclass(frozen=True, slots=True)
class _Call:
    """A function of torch and what it was given."""

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    keywords: Mapping[str, Any]


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, network: nn.Module, *, keep: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.trace, self.keep, self.paused = Trace(), keep, False
        self.paths = {id(module): path for path, module in network.named_modules()}

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        # Numbers are read first: an operation in place makes its argument hold another value.
        inputs = self.inputs(args, given)
        result = func(*args, **given)
        name = func._schema.name.removeprefix("aten::").rstrip("_")
        if inputs and not self.paused and not name.startswith(SHAPE_ONLY):
            self.record(_Call(name, func, args, given), inputs, result)
        return result

    def inputs(self, args: tuple[Any, ...], keywords: Mapping[str, Any]) -> tuple[int, ...]:
        numbers = (self.trace.number(leaf) for leaf in tree_leaves((args, keywords)))
        return tuple(dict.fromkeys(number for number in numbers if number is not None))

    def record(self, called: _Call, inputs: tuple[int, ...], result: Any) -> None:
        """Write one operation down; what depends on the picture is None among its arguments."""
        trace = self.trace
        held = tuple(None if trace.number(arg) is not None else arg for arg in called.args)
        given = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        if not given:
            return
        trace.operations.append(
            Operation(
                called.name,
                called.function,
                held,
                dict(called.keywords),
                inputs,
                tuple(trace.add(tensor) for tensor in given),
                tuple(given[0].shape),
                self.place(),
                given[0].detach().clone() if self.keep else None,
            )
        )

    def place(self) -> Place:
        """The innermost module of the network whose forward pass is running, and the line of the user's that asked; off the frames."""
        line = ""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            file = frame.f_code.co_filename
            if not file.startswith(INNER) and not line:
                line = f"{Path(file).name}, line {frame.f_lineno}"
            owner = frame.f_locals.get("self") if frame.f_code.co_varnames[:1] == ("self",) else None
            path = self.paths.get(id(owner)) if isinstance(owner, nn.Module) else None
            if path is not None:
                return Place(path, type(owner).__name__, line)
            frame = frame.f_back
        return Place("", "the network", line)


class _Wholes(TorchFunctionMode):
    """Sees what ATen does not show: a dropout that does nothing, and a normalisation that is many operations."""

    def __init__(self, recorder: _Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        name = "dropout" if func in DROPOUTS else "lrn" if func is functional.local_response_norm else ""
        inputs = self.recorder.inputs(args, given) if name else ()
        if not inputs or self.recorder.paused:
            return func(*args, **given)
        self.recorder.paused = True
        try:
            result = func(*args, **given)
        finally:
            self.recorder.paused = False
        self.recorder.record(_Call(name, func, args, given), inputs, result)
        return result


def unwrapped(model: nn.Module) -> nn.Module:
    """The network inside DataParallel, DDP and torch.compile."""
    while True:
        inner = getattr(model, "_orig_mod", None) or (
            model.module if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel) else None
        )
        if not isinstance(inner, nn.Module):
            return model
        model = inner


@contextmanager
def undisturbed(network: nn.Module) -> Iterator[Callable[[Tensor], Any]]:
    """The network in eval mode and single precision, as a function of pictures; afterwards it and all randomness are as before.

    What its hooks do they do here as in any pass. Weights of another precision are exchanged for float32 ones, not changed.
    """
    modes = [(module, module.training) for module in network.modules()]
    tensors: dict[str, Tensor] = dict((*network.named_parameters(), *network.named_buffers()))
    other = {
        name: value.float()
        for name, value in tensors.items()
        if value.is_floating_point() and value.dtype != torch.float32
    }
    device = next((value.device for value in tensors.values()), torch.device("cpu"))
    devices = [device] if device.type == "cuda" else []

    def run(images: Tensor) -> Any:
        there = images.to(device)
        return torch.func.functional_call(network, other, (there,)) if other else network(there)

    states = random.getstate(), np.random.get_state()  # noqa: NPY002 - the global one, which a network's own code may draw from
    with ExitStack() as stack:
        stack.callback(random.setstate, states[0])
        stack.callback(np.random.set_state, states[1])
        stack.enter_context(torch.random.fork_rng(devices))
        stack.enter_context(torch.no_grad())
        for module, training in modes:
            stack.callback(setattr, module, "training", training)
        network.eval()
        yield run


def run_once(network: nn.Module, run: Callable[[Tensor], Any], images: Tensor, *, keep: bool = False) -> Trace:
    """One pass, written down.

    Args:
        network: As `unwrapped` gives it.
        run: As `undisturbed` yields it.
        images: (B, C, H, W), B at least 2: a batch of one cannot be told from other axes of one.
        keep: Whether copies of what every operation gave are kept.
    """
    recorder = _Recorder(network, keep=keep)
    device = next((value.device for value in (*network.parameters(), *network.buffers())), images.device)
    images = images.to(device)
    recorder.trace.add(images)
    with recorder, _Wholes(recorder):
        recorder.trace.result = run(images)
    return recorder.trace


def the_logits(result: Any, trace: Trace | None = None) -> Tensor:
    """The one tensor among what a network returned: the only one, the one called logits, or the only one of two axes.

    Raises:
        CheckpointRefused: There are several, or none.
    """
    if isinstance(result, Mapping) and isinstance(result.get("logits"), Tensor):
        return result["logits"]  # type: ignore[no-any-return]
    found = [leaf for leaf in tree_leaves(_plain(result)) if isinstance(leaf, Tensor)]
    if trace is not None:
        found = [tensor for tensor in found if trace.number(tensor) is not None]
    flat = [tensor for tensor in found if tensor.ndim == 2]
    if len(found) != 1 and len(flat) == 1:
        found = flat
    if len(found) == 1:
        return found[0]
    if isinstance(getattr(result, "logits", None), Tensor):
        return result.logits  # type: ignore[no-any-return]
    raise CheckpointRefused(
        f"the network returns {len(found)} tensors that depend on the picture, one of logits (B, K) was expected; "
        "give a module whose forward pass returns them alone."
    )


def _plain(result: Any) -> Any:
    """A container that pytree may not know as one that it does."""
    return list(result.values()) if isinstance(result, Mapping) else result
