"""An ONNX network as its file holds it: nodes in order, and their constants as tensors; nothing computed yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True, slots=True)
class OnnxNode:
    """One operation.

    Attributes:
        name: Of the node, or of its output where it has none; printable.
        kind: Conv, Relu, ...
        inputs: Names of values; "" stands for one that is left out.
        outputs: Likewise.
        attributes: Numbers, texts, lists of them, and tensors.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OnnxGraph:
    """A graph with one input, the picture.

    Attributes:
        constants: Weights and other fixed values by name: float32, or whole numbers.
        picture: Name of the input.
        shape: Of the input, with the batch; None where it is left open.
        outputs: Names of what the graph gives.
        opset: Version of the operators.
        maker: Program that wrote it, as a sentence names it.
        notes: What the file says besides: texts by name.
    """

    nodes: tuple[OnnxNode, ...]
    constants: dict[str, Tensor]
    picture: str
    shape: tuple[int | None, ...]
    outputs: tuple[str, ...]
    opset: int
    maker: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)
