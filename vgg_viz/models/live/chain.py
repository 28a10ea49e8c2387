"""What a network did to a picture, operation by operation, as a chain of steps; what is no chain is refused by its layer's name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor

from vgg_viz.errors import CheckpointRefused
from vgg_viz.models.live import weighted, weightless
from vgg_viz.models.live.trace import Operation, Trace
from vgg_viz.models.live.walk import ReadChain, Walk, refused

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


ENDINGS = {
    "_softmax": "softmax",
    "_log_softmax": "log_softmax",
    "sigmoid": "sigmoid",
    "log_sigmoid_forward": "log_sigmoid",
}

READERS: dict[str, Callable[[Walk, Operation], None]] = {
    "convolution": weighted.convolution,
    **dict.fromkeys(("addmm", "mm", "linear"), weighted.linear),
    **dict.fromkeys(("native_batch_norm", "cudnn_batch_norm", "miopen_batch_norm"), weighted.batch_norm),
    **dict.fromkeys(("add", "sub", "rsub", "mul", "div", "neg"), weighted.arithmetic),
    **dict.fromkeys(("max_pool2d_with_indices", "max_pool2d", "avg_pool2d"), weightless.pool),
    **dict.fromkeys(("_adaptive_avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d"), weightless.adaptive_pool),
    **dict.fromkeys(("mean", "amax"), weightless.reduction),
    "constant_pad_nd": weightless.pad,
    "dropout": weightless.dropout,
    "lrn": weightless.response_norm,
}


def read_chain(trace: Trace, answer: Tensor, picture: Sequence[int]) -> ReadChain:
    """The chain that leads from the picture to an answer.

    Args:
        trace: Of one pass.
        answer: The tensor of logits in it.
        picture: Shape of the batch that went in: (B, C, H, W).

    Raises:
        CheckpointRefused: It is no chain, or has a layer that this package does not know; the layer is named.
    """
    walk = Walk(tuple(picture))
    path = _path(trace, answer)
    # Behind the last operation that is not a mere move, a softmax or sigmoid says what the outputs mean.
    end = max((place for place, one in enumerate(path) if one.name not in MOVES | SAME), default=-1)
    for place, operation in enumerate(path):
        _read(walk, operation, last=place == end)
    return walk.finished()


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
            raise refused(operation, f"joins {len(operation.inputs)} values ({operation.name}), which makes a branch")
    used = [operation.inputs[0] for operation in path]
    for before, operation in pairwise(path):
        if operation.inputs[0] not in before.outputs:
            raise refused(operation, "reads what an earlier layer gave, which makes a branch")
    if used and used[0] != 0:
        raise refused(path[0], "does not read the picture")
    return path


def _read(walk: Walk, operation: Operation, *, last: bool) -> None:
    name = operation.name
    if name in SAME:
        walk.goes_on(operation)
    elif name in MOVES:
        walk.move(operation)
    elif last and name in ENDINGS and _ends(walk, operation):
        walk.chain.ending = ENDINGS[name]
        walk.goes_on(operation)
    elif name in READERS:
        READERS[name](walk, operation)
    elif name in weightless.ACTIVATIONS:
        step = weightless.ACTIVATIONS[name](operation)
        if step is None:
            raise refused(operation, f"computes {name} with numbers that this package's layer does not have")
        walk.require_no_padding(operation)
        walk.add(operation, step)
    else:
        raise refused(operation, f"computes {name}, which is no layer of a chain")


def _ends(walk: Walk, operation: Operation) -> bool:
    """Whether a softmax or sigmoid stands behind a layer that gives (B, K)."""
    steps = walk.chain.steps
    weighted = next((one for one in reversed(steps) if one.step.kind != "drop"), None)
    flat = len(walk.shape) <= 2 or all(side == 1 for side in walk.shape[2:])
    return (
        flat
        and weighted is not None
        and weighted.step.kind in ("fc", "conv", "flat", "adaptive_avg", "bn")
        and (operation.name == "sigmoid" or operation.args[1] in (1, 1 - len(walk.shape)))
    )
