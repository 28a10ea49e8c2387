"""TensorFlow.js layers models: a model.json that names binary shards, which stay mapped on disk until they are used.

Source: the weights manifest of tfjs-converter; a quantised weight is `stored * scale + min`.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite, prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vgg_viz.errors import CheckpointRefused
from vgg_viz.models.containers import Stored, container, file_beside, read_model_json, shown
from vgg_viz.models.keras_model import KerasModel, layer_and_part

INDEX = "model.json"
DTYPES = {"float32": "<f4", "int32": "<i4", "uint8": "u1", "uint16": "<u2", "float16": "<f2", "bool": "u1"}

Bytes = NDArray[np.uint8]


@container("tfjs")
def tfjs(path: Path) -> Stored | None:
    """A folder with model.json, or the model.json itself: its topology, and its weights in the manifest's order."""
    file = path / INDEX if path.is_dir() else path
    if file.suffix.lower() != ".json" or not file.exists():
        return None
    described = read_model_json(file)
    if not isinstance(described, Mapping) or "weightsManifest" not in described:
        raise CheckpointRefused(
            f"{shown(file)} is a JSON file without a weightsManifest, the {INDEX} of a TensorFlow.js layers model was expected; "
            "give the checkpoint itself."
        )
    if described.get("format") == "graph-model":
        raise CheckpointRefused(
            f"{shown(file)} is a TensorFlow.js graph model, which has operations instead of layers; "
            "convert the Keras model again, to the format tfjs_layers_model."
        )
    try:
        model, stored_as, files = _read(described, file.parent)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, OSError) as error:
        raise CheckpointRefused(
            f"{shown(file)} is no whole description of a TensorFlow.js model ({type(error).__name__}: {str(error)[:80]}); "
            "take another copy of all its files."
        ) from None
    shards = f"{len(files)} file{'s' if len(files) > 1 else ''}"
    evidence = [f"{INDEX} describes a TensorFlow.js layers model with its weights in {shards}."]
    if quantised := sorted(stored_as - {"float32"}):
        evidence.append(
            f"Weights are stored as {', '.join(quantised)} and were expanded to float32 as the manifest says."
        )
    return Stored("tfjs", model, tuple(evidence), (file, *files))


def _read(described: Mapping[str, Any], folder: Path) -> tuple[KerasModel, set[str], list[Path]]:
    topology = described.get("modelTopology")
    topology = topology.get("model_config", topology) if isinstance(topology, Mapping) else None
    model = KerasModel("TensorFlow.js", topology)
    stored_as: set[str] = set()
    files: list[Path] = []
    for group in described["weightsManifest"]:
        shards = [file_beside(folder, name) for name in group["paths"]]
        sizes = [shard.stat().st_size for shard in shards]
        wanted = [_layout(weight) for weight in group["weights"]]
        declared = sum(count * np.dtype(dtype).itemsize for count, dtype in wanted)
        if declared != sum(sizes):
            raise CheckpointRefused(
                f"{INDEX} declares {declared:,} bytes of weights, and {', '.join(repr(s.name[:40]) for s in shards[:3])} "
                f"hold{'s' if len(shards) == 1 else ''} {sum(sizes):,}; a shard is cut off or belongs to another model."
            )
        # Copy on write: torch wants arrays that may be written, and the file must never change.
        mapped: list[Bytes] = [np.memmap(s, np.uint8, mode="c") for s, size in zip(shards, sizes, strict=True) if size]
        start = 0
        for weight, (count, dtype) in zip(group["weights"], wanted, strict=True):
            end = start + count * np.dtype(dtype).itemsize
            raw = _between(mapped, start, end).view(dtype)
            layer, part = layer_and_part(weight["name"])
            if part in model.weights.setdefault(layer, {}):
                raise CheckpointRefused(
                    f"{INDEX} declares the weight {weight['name'][:80]!r} twice; take another copy."
                )
            model.weights[layer][part] = _expanded(raw, weight).reshape(weight["shape"])
            stored_as.add(str((weight.get("quantization") or weight)["dtype"]))
            start = end
        files += shards
    return model, stored_as, files


def _layout(weight: Mapping[str, Any]) -> tuple[int, str]:
    """How many numbers of which kind a weight has on disk."""
    shape, name = weight["shape"], str(weight["name"])[:80]
    kind = (weight.get("quantization") or weight)["dtype"]
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise CheckpointRefused(
            f"{INDEX} declares the weight {name!r} with the shape {str(shape)[:60]}; whole numbers were expected."
        )
    if kind not in DTYPES or weight["dtype"] not in DTYPES:
        raise CheckpointRefused(
            f"{INDEX} declares the weight {name!r} as {str(kind)[:30]!r}, one of {', '.join(DTYPES)} was expected; "
            "convert the model again without strings and complex numbers."
        )
    return prod(shape), DTYPES[kind]


def _between(mapped: list[Bytes], start: int, end: int) -> Bytes:
    """The bytes from start to end of shards laid end to end; one shard's are a view, not a copy."""
    pieces, begins = [], 0
    for shard in mapped:
        low, high = max(start - begins, 0), min(end - begins, len(shard))
        if low < high:
            pieces.append(shard[low:high])
        begins += len(shard)
    if not pieces:
        return np.zeros(0, np.uint8)
    return np.asarray(pieces[0] if len(pieces) == 1 else np.concatenate(pieces))


def _expanded(raw: NDArray[Any], weight: Mapping[str, Any]) -> Tensor:
    quantisation = weight.get("quantization")
    if not quantisation:
        return torch.from_numpy(np.require(raw, raw.dtype.newbyteorder("="), "A"))
    if quantisation["dtype"] in ("uint8", "uint16"):
        scale, low = float(quantisation["scale"]), float(quantisation["min"])
        if not (isfinite(scale) and isfinite(low)):
            raise ValueError("a scale or minimum is no finite number")
        return torch.from_numpy((raw.astype(np.float64) * scale + low).astype(np.float32))
    return torch.from_numpy(raw.astype(np.float32))
