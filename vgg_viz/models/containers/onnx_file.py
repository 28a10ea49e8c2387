"""ONNX files: a graph with its weights, a protocol buffer that is data and no program; weights may lie in a file beside it.

Source: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto and docs/ExternalData.md there.
"""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vgg_viz.errors import CheckpointRefused
from vgg_viz.file_kinds import ONNX, file_kind
from vgg_viz.models.containers import Stored, container, file_beside, shown
from vgg_viz.models.onnx_graph import OnnxGraph, OnnxNode

SUFFIX = ".onnx"
LARGEST = 2**31 - 1  # bytes that a protocol buffer can have
MOST_NODES = 20_000
DEFAULT_DOMAINS = ("", "ai.onnx")
FLOATS = (torch.float16, torch.float64, torch.bfloat16)
FAULTS = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    IndexError,
    OSError,
    RuntimeError,
    OverflowError,
    MemoryError,
)


@container("onnx")
def onnx_file(path: Path) -> Stored | None:
    """The graph of an ONNX file; raises CheckpointRefused, also without the package onnx."""
    if path.is_dir():
        return None
    if path.suffix.lower() != SUFFIX:
        with open(path, "rb") as file:
            if file_kind(file) is not ONNX:
                return None
    try:
        import onnx
        from google.protobuf.message import DecodeError
        from onnx.inliner import inline_local_functions
    except ImportError:
        raise CheckpointRefused(
            f'{shown(path)} is an ONNX file, which the package onnx opens, and that is not installed; run pip install "vgg_viz[onnx]".'
        ) from None
    if path.stat().st_size > LARGEST:
        raise CheckpointRefused(f"{shown(path)} has more than 2 GiB, which no ONNX file has; take another copy.")
    try:
        model = onnx.ModelProto()
        model.ParseFromString(path.read_bytes())
        if model.functions:
            model = inline_local_functions(model)
        graph, files = _graph(model, path)
    except (DecodeError, *FAULTS) as error:
        raise CheckpointRefused(
            f"{shown(path)} is damaged or no whole ONNX file ({type(error).__name__}: {' '.join(str(error).split())[:80]}); "
            "take another copy of the file."
        ) from None
    by = f", written by {graph.maker}" if graph.maker else ""
    return Stored(
        "onnx", graph, (f"The file is ONNX{by}: a graph of {len(graph.nodes)} operations with its weights.",), files
    )


def _graph(model: Any, path: Path) -> tuple[OnnxGraph, tuple[Path, ...]]:
    proto, files = model.graph, [path]
    opset = next((int(one.version) for one in model.opset_import if one.domain in DEFAULT_DOMAINS), 0)
    if not proto.node or len(proto.node) > MOST_NODES:
        raise CheckpointRefused(
            f"{shown(path)} holds an ONNX graph of {len(proto.node):,} operations; give that of a network."
        )
    constants = {one.name: _tensor(one, path.parent, files) for one in proto.initializer}
    if proto.sparse_initializer:
        raise CheckpointRefused(f"{shown(path)} holds sparse weights; save the network with dense ones.")
    inputs = [one for one in proto.input if one.name not in constants]
    if len(inputs) != 1:
        names = ", ".join(repr(_printable(one.name)) for one in inputs[:4]) or "nothing"
        raise CheckpointRefused(
            f"{shown(path)} holds an ONNX graph that reads {names}; one batch of pictures was expected, as a classifier reads it."
        )
    sizes = inputs[0].type.tensor_type.shape.dim
    shape = tuple(int(one.dim_value) if one.HasField("dim_value") and one.dim_value > 0 else None for one in sizes)
    if len(shape) != 4:
        raise CheckpointRefused(
            f"{shown(path)} holds an ONNX graph that reads values of {len(shape)} axes; pictures have 4."
        )
    nodes = tuple(_node(one, place) for place, one in enumerate(proto.node))
    maker = _printable(f"{model.producer_name} {model.producer_version}".strip())
    notes = {_printable(one.key): one.value for one in model.metadata_props}
    outputs = tuple(one.name for one in proto.output)
    graph = OnnxGraph(nodes, constants, inputs[0].name, shape, outputs, opset, maker, notes)
    return graph, tuple(dict.fromkeys(files))


def _node(proto: Any, place: int) -> OnnxNode:
    from onnx import AttributeProto, helper

    attributes: dict[str, Any] = {}
    for one in proto.attribute:
        if one.type == AttributeProto.TENSOR:
            attributes[one.name] = _tensor(one.t, None, [])
        elif one.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS):
            attributes[one.name] = None  # whatever branches so is refused by its kind
        else:
            value = helper.get_attribute_value(one)
            if isinstance(value, bytes):
                value = value.decode("utf-8", "replace")
            attributes[one.name] = float(f"{value:.7g}") if isinstance(value, float) else value  # 0.1, not 0.100000001
    domain = "" if proto.domain in DEFAULT_DOMAINS else f"{_printable(proto.domain)}."
    name = _printable(proto.name or (proto.output[0] if proto.output else "")) or f"operation {place}"
    return OnnxNode(name, domain + _printable(proto.op_type), tuple(proto.input), tuple(proto.output), attributes)


def _tensor(proto: Any, folder: Path | None, files: list[Path]) -> Tensor:
    """A weight as float32 or whole numbers; those of other files stay mapped."""
    from onnx import TensorProto, helper, numpy_helper

    if proto.data_location == TensorProto.EXTERNAL:
        if folder is None:
            raise ValueError("a constant lies in another file")
        said = {one.key: one.value for one in proto.external_data}
        file = file_beside(folder, said.get("location"))
        files.append(file)
        kind = np.dtype(helper.tensor_dtype_to_np_dtype(proto.data_type)).newbyteorder("<")
        count, offset = prod(proto.dims), int(said.get("offset", 0))
        if min(proto.dims, default=0) < 0 or offset < 0 or offset + count * kind.itemsize > file.stat().st_size:
            raise ValueError(f"{_printable(proto.name)} reaches beyond the end of {file.name}")
        values: Any = (
            np.memmap(file, kind, "c", offset, tuple(proto.dims)) if count else np.zeros(tuple(proto.dims), kind)
        )
    else:
        values = numpy_helper.to_array(proto)
    if values.dtype.name == "bfloat16":
        values = values.astype(np.float32)
    if values.dtype.kind not in "fiub":
        raise TypeError(f"{_printable(proto.name)} holds {values.dtype}, numbers were expected")
    tensor = torch.from_numpy(np.require(values, values.dtype.newbyteorder("="), ["W", "A"]))
    return tensor.float() if tensor.dtype in FLOATS else tensor


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:60]
