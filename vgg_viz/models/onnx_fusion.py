"""Operations of an ONNX graph that are one layer of a chain, put together.

A bias behind its layer, a batch norm as scale and offset, padding before its convolution, an activation written out in arithmetic:
nothing that is computed changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from vgg_viz.models.onnx_graph import OnnxGraph, OnnxNode
from vgg_viz.models.onnx_operators import OPERATORS, Call, column

LINES = ("Add", "Sub", "Mul", "Div", "Neg", "Affine")
WEIGHTED = ("Conv", "Gemm", "MatMul", "ConvTranspose")
# What a written-out activation is made of; each works on one number at a time.
POINTWISE = (
    *LINES,
    "Sigmoid",
    "Tanh",
    "Softplus",
    "Erf",
    "Exp",
    "Log",
    "Pow",
    "Relu",
    "Clip",
    "HardSigmoid",
    "Sqrt",
    "Reciprocal",
)
WRITTEN_OUT: dict[str, Callable[[Tensor], Tensor]] = {
    "Silu": functional.silu,
    "Gelu": functional.gelu,
    "Mish": functional.mish,
    "HardSwish": functional.hardswish,
}


def fused(graph: OnnxGraph) -> OnnxGraph:
    """The same graph in fewer operations."""
    graph = _folded(graph)
    for change in (_activations, _lines, _paddings, _biases):
        graph = change(graph)
    return graph


def _folded(graph: OnnxGraph) -> OnnxGraph:
    """Without the operations that read constants alone."""
    constants, kept = dict(graph.constants), []
    for node in graph.nodes:
        read = [name for name in node.inputs if name]
        if node.kind in OPERATORS and len(node.outputs) == 1 and all(name in constants for name in read):
            values = [constants[name] if name else None for name in node.inputs]
            try:
                constants[node.outputs[0]] = OPERATORS[node.kind](Call(values, node.attributes, graph.opset))
                continue
            except (RuntimeError, ValueError, KeyError, TypeError, IndexError):  # its place in the graph says it better
                pass
        kept.append(node)
    return replace(graph, nodes=tuple(kept), constants=constants)


class _Readers:
    """Who makes and who reads each value."""

    def __init__(self, graph: OnnxGraph) -> None:
        self.maker = {name: node for node in graph.nodes for name in node.outputs}
        self.readers: dict[str, list[OnnxNode]] = {}
        for node in graph.nodes:
            for name in node.inputs:
                self.readers.setdefault(name, []).append(node)
        self.given = set(graph.outputs)

    def only_reader(self, node: OnnxNode) -> OnnxNode | None:
        """The node that reads all that `node` gives, where it is the only one."""
        readers = self.readers.get(node.outputs[0], [])
        return readers[0] if len(readers) == 1 and node.outputs[0] not in self.given else None


def _replaced(graph: OnnxGraph, gone: Sequence[OnnxNode], new: OnnxNode, **constants: Tensor) -> OnnxGraph:
    """`new` in the place of the last of `gone`."""
    ids = {id(node) for node in gone}
    nodes = [new if node is gone[-1] else node for node in graph.nodes if id(node) not in ids or node is gone[-1]]
    return replace(graph, nodes=tuple(nodes), constants={**graph.constants, **constants})


# ---------------------------------------------------------------- y = scale x + shift


def _line(graph: OnnxGraph, node: OnnxNode) -> tuple[str, Tensor, Tensor] | None:
    """(value, scale, shift) of a node that is such a line in one value."""
    if node.kind == "Affine":
        return node.inputs[0], graph.constants[node.inputs[1]], graph.constants[node.inputs[2]]
    if node.kind == "Neg":
        return node.inputs[0], torch.tensor(-1.0), torch.tensor(0.0)
    if node.kind not in LINES or len(node.inputs) != 2:
        return None
    one, other = node.inputs
    swapped = one in graph.constants
    value, name = (other, one) if swapped else (one, other)
    if name not in graph.constants or value in graph.constants:
        return None
    constant = graph.constants[name]
    if not constant.is_floating_point():
        return None
    single, nothing = torch.ones(()), torch.zeros(())
    if node.kind == "Add":
        return value, single, constant
    if node.kind == "Mul":
        return value, constant, nothing
    if node.kind == "Sub":
        return (value, -single, constant) if swapped else (value, single, -constant)
    return None if swapped else (value, 1 / constant, nothing)


def _lines(graph: OnnxGraph) -> OnnxGraph:
    """Several lines behind each other are one; behind the first layer with weights it is a batch norm's."""
    flows = _Readers(graph)
    done: set[int] = set()
    behind: set[str] = set()
    for node in graph.nodes:
        if node.kind in WEIGHTED or any(name in behind for name in node.inputs):
            behind.update(node.outputs)
        first = _line(graph, node)
        if first is None or id(node) in done:
            continue
        value, scale, shift = first
        run, last = [node], node
        while (reader := flows.only_reader(last)) is not None and (line := _line(graph, reader)) is not None:
            scale, shift = line[1] * scale, line[1] * shift + line[2]
            run.append(reader)
            last = reader
        done.update(map(id, run))
        names = (f"{last.outputs[0]} scale", f"{last.outputs[0]} shift")
        new = OnnxNode(node.name, "Affine", (value, *names), last.outputs, {"norm": value in behind})
        graph = _replaced(graph, run, new, **{names[0]: scale, names[1]: shift})
    return graph


# ---------------------------------------------------------------- biases and padding


def _biases(graph: OnnxGraph) -> OnnxGraph:
    """An offset right behind a layer is its bias, added to that which it has."""
    flows = _Readers(graph)
    for node in graph.nodes:
        reader = flows.only_reader(node) if node.kind in ("Conv", "Gemm", "MatMul") else None
        weight = graph.constants.get(node.inputs[1]) if reader is not None else None
        if reader is None or reader.kind != "Affine" or weight is None or reader.inputs[0] != node.outputs[0]:
            continue
        scale, shift = graph.constants[reader.inputs[1]], graph.constants[reader.inputs[2]]
        if not bool((scale == 1).all()) or (node.kind == "MatMul" and weight.ndim != 2):
            continue
        turned = node.kind == "Conv" or bool(node.attributes.get("transB"))
        count, axes = weight.shape[0 if turned else 1], 4 if node.kind == "Conv" else 2
        shape = (1, count, 1, 1)[:axes]
        old = graph.constants.get(node.inputs[2]) if len(node.inputs) > 2 else torch.zeros(())
        if old is None or column(shift, shape) is None:
            continue
        beta = float(node.attributes.get("beta", 1.0)) if node.kind == "Gemm" else 1.0
        bias = shift.expand(shape).flatten() + beta * old.flatten()
        name = f"{reader.outputs[0]} bias"
        kind = "Conv" if node.kind == "Conv" else "Gemm"
        said = {**node.attributes, "beta": 1.0}
        new = OnnxNode(node.name, kind, (*node.inputs[:2], name), reader.outputs, said)
        graph = _replaced(graph, [node, reader], new, **{name: bias})
    return graph


def _paddings(graph: OnnxGraph) -> OnnxGraph:
    """Zeros around a map belong to the convolution that reads it."""
    flows = _Readers(graph)
    for node in graph.nodes:
        reader = flows.only_reader(node) if node.kind == "Pad" else None
        if (
            reader is None
            or reader.kind != "Conv"
            or reader.attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID")
        ):
            continue
        call = Call([None, *(graph.constants.get(name) for name in node.inputs[1:])], node.attributes, graph.opset)
        pads, value = call.numbers("pads", 1), call.number("value", 2, 0.0)
        plain = node.attributes.get("mode", "constant") == "constant" and not value and call.given(3) is None
        if pads is None or len(pads) != 8 or not plain or any((*pads[:2], *pads[4:6])) or min(pads) < 0:
            continue
        own = reader.attributes.get("pads", (0, 0, 0, 0))
        sides = [one + other for one, other in zip((*pads[2:4], *pads[6:8]), own, strict=True)]
        said = {**reader.attributes, "pads": sides, "auto_pad": "NOTSET"}
        new = OnnxNode(reader.name, "Conv", (node.inputs[0], *reader.inputs[1:]), reader.outputs, said)
        graph = _replaced(graph, [node, reader], new)
    return graph


# ---------------------------------------------------------------- activations in arithmetic


def _activations(graph: OnnxGraph) -> OnnxGraph:
    """Where a value meets itself again after arithmetic on single numbers, and that is a known activation: the activation."""
    for node in graph.nodes:
        if node.kind != "Mul" or any(name in graph.constants for name in node.inputs) or node not in graph.nodes:
            continue
        flows = _Readers(graph)
        for last in _onwards(graph, flows, node):
            region = _region(graph, flows, last)
            if region is None:
                continue
            source, inside = region
            name = _known(graph, inside, source, last.outputs[0])
            if name:
                graph = _replaced(graph, inside, OnnxNode(last.name, name, (source,), last.outputs))
                break
    return graph


def _onwards(graph: OnnxGraph, flows: _Readers, node: OnnxNode) -> Iterator[OnnxNode]:
    """A meeting, and what comes of it by numbers alone; the furthest first."""
    run = [node]
    while (reader := flows.only_reader(run[-1])) is not None and _scalar(graph, reader) and len(run) < 4:
        run.append(reader)
    yield from reversed(run)


def _scalar(graph: OnnxGraph, node: OnnxNode) -> bool:
    constants = [graph.constants[name] for name in node.inputs if name in graph.constants]
    return node.kind in POINTWISE and all(value.numel() == 1 for value in constants)


def _region(graph: OnnxGraph, flows: _Readers, last: OnnxNode) -> tuple[str, list[OnnxNode]] | None:
    """The one value that arithmetic on single numbers begins with, and its nodes in their order."""
    inside: dict[int, OnnxNode] = {}
    sources: dict[str, None] = {}
    waiting = [last]
    while waiting and len(inside) < 24:
        node = waiting.pop()
        if id(node) in inside:
            continue
        inside[id(node)] = node
        for name in node.inputs:
            maker = flows.maker.get(name)
            if not name or name in graph.constants:
                continue
            if maker is not None and _scalar(graph, maker):
                waiting.append(maker)
            else:
                sources[name] = None
    ordered = [node for node in graph.nodes if id(node) in inside]
    leaks = any(
        id(reader) not in inside
        for node in ordered[:-1]
        for name in node.outputs
        for reader in flows.readers.get(name, [])
    )
    return (next(iter(sources)), ordered) if len(sources) == 1 and not leaks else None


def _known(graph: OnnxGraph, nodes: Sequence[OnnxNode], source: str, wanted: str) -> str:
    values = {source: torch.linspace(-8, 8, 1025)}
    try:
        for node in nodes:
            read = [values[name] if name in values else graph.constants.get(name) for name in node.inputs]
            values[node.outputs[0]] = OPERATORS[node.kind](Call(read, node.attributes, graph.opset))
        made = values[wanted]
        return next(
            (name for name, known in WRITTEN_OUT.items() if torch.allclose(made, known(values[source]), atol=2e-6)), ""
        )
    except (RuntimeError, ValueError, KeyError, TypeError, IndexError):
        return ""
