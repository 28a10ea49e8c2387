"""An ONNX graph as a module of torch, one part an operation, so that it can be run, and read as a chain, like any network."""

from __future__ import annotations

from torch import Tensor, nn

from vgg_viz.errors import CheckpointRefused
from vgg_viz.models.onnx_fusion import fused
from vgg_viz.models.onnx_graph import OnnxGraph, OnnxNode
from vgg_viz.models.onnx_operators import OPERATORS, Call

QUANTISED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinear", "ConvInteger", "MatMulInteger")
COLOURS = (1, 3)
FAULTS = (RuntimeError, ValueError, KeyError, TypeError, IndexError, ZeroDivisionError, AttributeError)


class OnnxNetwork(nn.Module):
    """(B, C, H, W) as the graph expects their values -> what it gives; also of a graph that reads channels last.

    Attributes:
        channels_last: Whether the graph's own pictures are (B, H, W, C), as tf2onnx writes networks of Keras.
        side: Of its pictures [px]; None where the graph leaves it open.
    """

    def __init__(self, graph: OnnxGraph) -> None:
        super().__init__()
        _require_known(graph)
        self.graph = fused(graph)
        _, first, height, last = graph.shape
        self.channels_last = last in COLOURS and first not in COLOURS
        sides = graph.shape[1:3] if self.channels_last else (height, last)
        if None not in sides and sides[0] != sides[1]:
            raise CheckpointRefused(
                f"the graph reads pictures of {sides[1]} × {sides[0]} px; only networks for square pictures can be read."
            )
        self.side = sides[0]
        for node in self.graph.nodes:
            name = node.name
            while name in self._modules:
                name += "'"
            self._modules[name] = _part(node, self.graph)
        floats = {name: value for name, value in self.graph.constants.items() if value.is_floating_point()}
        for place, value in enumerate(floats.values()):
            self.register_buffer(f"constant_{place}", value)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """All that the graph gives."""
        values: dict[str, Tensor] = dict(self.graph.constants)
        values[self.graph.picture] = images.permute(0, 2, 3, 1) if self.channels_last else images
        for node, part in zip(self.graph.nodes, self.children(), strict=True):
            values[node.outputs[0]] = part(*(values[name] if name else None for name in node.inputs))
        return tuple(values[name] for name in self.graph.outputs)


class OnnxOperation(nn.Module):
    """One operation."""

    def __init__(self, node: OnnxNode, graph: OnnxGraph) -> None:
        super().__init__()
        self.node, self.opset, self.batch = node, graph.opset, graph.shape[0]

    def forward(self, *values: Tensor | None) -> Tensor:
        """What it makes of what it reads."""
        try:
            return OPERATORS[self.node.kind](Call(values, self.node.attributes, self.opset, self.batch))
        except FAULTS as error:
            why = " ".join(str(error).split())[:100]
            raise RuntimeError(
                f"the operation {self.node.name!r} ({self.node.kind}) cannot be computed: {why}"
            ) from None


def _part(node: OnnxNode, graph: OnnxGraph) -> nn.Module:
    """A module whose class is called as the operation: a sentence about it names both."""
    return type(node.kind, (OnnxOperation,), {"__module__": __name__})(node, graph)  # type: ignore[no-any-return]


def _require_known(graph: OnnxGraph) -> None:
    for node in graph.nodes:
        if node.kind.rpartition(".")[2].startswith(QUANTISED):
            raise CheckpointRefused(
                f"the ONNX network is quantised (operation {node.name!r}: {node.kind}); give it as it was before it was quantised."
            )
        if node.kind not in OPERATORS:
            raise CheckpointRefused(
                f"the ONNX network computes {node.kind} (operation {node.name!r}), which is no layer of a chain; "
                "only networks that are one chain of layers can be read."
            )
