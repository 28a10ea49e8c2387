"""safetensors: a JSON header, then the tensors' bytes, which stay mapped on disk; also a model in several such files with an index.

Source: https://huggingface.co/docs/safetensors, "Format"; the library checks offsets, sizes and types against each other.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from vgg_viz.errors import CheckpointRefused
from vgg_viz.models.containers import LARGEST_JSON, Stored, container, file_beside, natural, read_model_json, shown

SUFFIX = ".safetensors"
INDEX = f"model{SUFFIX}.index.json"


class LabelledTensors(dict[str, Tensor]):
    """A state dict with the header's metadata, text by text: other formats see the state dict alone."""

    def __init__(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
        super().__init__(tensors)
        self.metadata = dict(metadata)


@container("safetensors")
def safetensors_file(path: Path) -> Stored | None:
    """A .safetensors file, an index of several, or a folder with a `model.safetensors` or its index."""
    if path.is_dir():
        inside = next((path / name for name in (f"model{SUFFIX}", INDEX) if (path / name).is_file()), None)
        return None if inside is None else safetensors_file(inside)
    if path.name.endswith(f"{SUFFIX}.index.json"):
        return _indexed(path)
    if path.suffix.lower() != SUFFIX and not _looks_like_one(path):
        return None
    metadata = _metadata(path)
    notes = [f"{key}: {value}" for key, value in metadata.items() if key == "format"]
    evidence = "The file is safetensors" + (f" (its header says {notes[0][:40]!r})." if notes else ".")
    return Stored("safetensors", LabelledTensors(_tensors(path), metadata), (evidence,), (path,))


def _indexed(path: Path) -> Stored:
    index = read_model_json(path)
    places = index.get("weight_map") if isinstance(index, Mapping) else None
    if not isinstance(places, Mapping) or not places:
        raise CheckpointRefused(
            f"{shown(path)} has no weight_map, an index of safetensors files was expected; take another copy."
        )
    tensors: dict[str, Tensor] = {}
    files = [file_beside(path.parent, name) for name in dict.fromkeys(map(str, places.values()))]
    for file in files:
        _metadata(file)
        found = _tensors(file)
        if twice := sorted(tensors.keys() & found.keys()):
            raise CheckpointRefused(
                f"{twice[0][:60]!r} stands in two of the files that {shown(path)} names; take another copy."
            )
        tensors |= found
    if missing := sorted(map(str, places.keys() - tensors.keys())):
        raise CheckpointRefused(
            f"{shown(path)} names {missing[0][:60]!r}, which none of its files holds; take another copy of all files."
        )
    evidence = f"The weights lie in {len(files)} safetensors files, which {path.name} names."
    return Stored("safetensors", LabelledTensors(tensors, {}), (evidence,), (path, *files))


def _looks_like_one(path: Path) -> bool:
    with open(path, "rb") as file:
        head = file.read(9)
    return head[8:] == b"{" and int.from_bytes(head[:8], "little") <= path.stat().st_size - 8


def _metadata(path: Path) -> dict[str, str]:
    """The header's own texts; refuses a header that is too large to be one, before the library reserves room for it."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > size - 8:
            raise CheckpointRefused(
                f"{shown(path)} declares a header of {length:,} bytes and has {size:,} in all; its copying was cut off, or it is no "
                "safetensors file."
            )
        if length > LARGEST_JSON:
            raise CheckpointRefused(
                f"{shown(path)} declares a header of {length:,} bytes, at most {LARGEST_JSON:,} are read; "
                "a VGG needs a thousandth of that."
            )
        raw = file.read(length)
    try:
        header = json.loads(raw, object_pairs_hook=_once)
        metadata = header.get("__metadata__", {})
        return {str(key): str(value) for key, value in metadata.items()}
    except (ValueError, RecursionError, AttributeError) as error:
        why = f": {error}" if isinstance(error, _Twice) else ""
        raise CheckpointRefused(
            f"{shown(path)} has a header that cannot be read{why}; take another copy of the file."
        ) from None


class _Twice(ValueError):
    """One name for two entries."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # The library takes the last of two entries of one name, without a word.
    if len(dict(pairs)) != len(pairs):
        name, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise _Twice(f"{name[:60]!r} stands in it twice")
    return dict(pairs)


def _tensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load

    try:
        str(path).encode()
    except UnicodeEncodeError:  # a path of other bytes than the system's, which torch cannot map
        mapped = False
    else:
        mapped = True
    try:
        if not mapped:
            tensors: dict[str, Tensor] = load(path.read_bytes())
            return {name: tensors[name] for name in sorted(tensors, key=natural)}
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in sorted(file.keys(), key=natural)}
    except (
        SafetensorError,
        OSError,
        ValueError,
        RuntimeError,
        KeyError,
        TypeError,
        OverflowError,
        AttributeError,
    ) as error:
        why = " ".join(str(error).split()).removeprefix("Error while deserializing header: ")
        raise CheckpointRefused(
            f"{shown(path)} is damaged or no safetensors file ({why[:120]}); take another copy of the file."
        ) from None
