"""The format that this package writes: weights with everything a report needs, all of it plain tensors and text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

from vgg_viz.errors import CheckpointRefused
from vgg_viz.models.class_names import numbered
from vgg_viz.models.formats import ReadCheckpoint, checkpoint_format
from vgg_viz.models.network import dense_plan
from vgg_viz.models.vgg import VariantOptions, canonical, variant_plan
from vgg_viz.records import Architecture, Checkpoint, Epoch, Evidence, Specimen

FORMAT = "vgg_viz"
SCHEMA = 2
READS = (1, SCHEMA)  # 1: a variant with its options in the place of a plan


@checkpoint_format(FORMAT)
def own(stored: object) -> ReadCheckpoint | None:
    """Read what `pack` wrote; raises CheckpointRefused when it claims to be ours and is not whole."""
    if not isinstance(stored, Mapping) or stored.get("format") != FORMAT:
        return None
    if stored.get("schema") not in READS:
        raise CheckpointRefused(
            f"this checkpoint has schema {stored.get('schema')!r}, this version of vgg_viz reads schema {SCHEMA} and older; "
            "update vgg_viz or train again."
        )
    try:
        architecture = stored_architecture(stored["architecture"])
        classes = tuple(str(name) for name in stored["classes"])
        # Files from before that was written down: names that nobody gave are these.
        named = bool(stored.get("named", classes != numbered(len(classes))))
        weights = {str(key): value for key, value in stored["weights"].items() if isinstance(value, Tensor)}
        history = tuple(record(Epoch, epoch) for epoch in stored["history"])
        specimens = _unpack(stored["specimens"])
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        raise CheckpointRefused(
            f"this vgg_viz checkpoint is not whole ({type(error).__name__}: {str(error)[:120]}); "
            "take another copy of the file or train again."
        ) from None
    return ReadCheckpoint(
        FORMAT,
        architecture,
        weights,
        classes,
        history,
        specimens,
        evidence=(
            Evidence("The file is a vgg_viz checkpoint: architecture, classes and preprocessing are written in it."),
        ),
        data=dict(stored.get("data") or {}),
        training=dict(stored.get("training") or {}),
        named=named,
    )


def pack(checkpoint: Checkpoint) -> dict[str, Any]:
    """The checkpoint as plain containers, numbers, text and tensors: opens with weights_only=True."""
    return {
        "format": FORMAT,
        "schema": SCHEMA,
        "architecture": asdict(checkpoint.architecture),
        "classes": list(checkpoint.classes),
        "named": checkpoint.named,
        "weights": {key: value.detach().cpu().contiguous() for key, value in checkpoint.weights.items()},
        "history": [asdict(epoch) for epoch in checkpoint.history],
        "specimens": {
            "labels": [s.label for s in checkpoint.specimens],
            "names": [s.name for s in checkpoint.specimens],
            "png": _join([s.png for s in checkpoint.specimens]),
            "masks": _join([s.mask or b"" for s in checkpoint.specimens]),
            "boxed": [s.boxed for s in checkpoint.specimens],
        },
        "data": dict(checkpoint.provenance.data),
        "training": dict(checkpoint.provenance.training),
    }


def stored_architecture(values: Mapping[str, Any]) -> Architecture:
    """The architecture that a file holds: with its plan, or as files before plans named a variant and its options.

    Raises:
        TypeError: And KeyError, ValueError: for what is none.
    """
    if "plan" not in values:
        options = {name: value for name, value in asdict(record(VariantOptions, values)).items() if name != "dense"}
        plan = variant_plan(canonical(str(values["variant"]))[0], VariantOptions(**options))
        architecture: Architecture = record(Architecture, {**values, "plan": plan})
        return dense_plan(architecture) if values.get("dense") else architecture
    return record(Architecture, values)  # type: ignore[no-any-return]


def record(kind: type[Any], values: Mapping[str, Any]) -> Any:
    """A flat record of `records.py` out of plain values, each checked against its field's type: files come from anywhere.

    Raises:
        TypeError: For a value of another type; fields that the record does not know are left out.
    """
    kinds = get_type_hints(kind)
    known = {
        name: tuple(values[name]) if isinstance(values[name], list) else values[name]
        for name in kinds
        if name in values
    }
    wrong = next((name for name, value in known.items() if not _fits(value, kinds[name])), None)
    if wrong is not None:
        raise TypeError(f"{wrong} is {str(known[wrong])[:40]!r}")
    return kind(**known)


def _fits(value: object, kind: Any) -> bool:
    """Whether a plain value is of a field's type: bool, int, float, str, tuple[X, ...], X | None; whole numbers of 32 bits."""
    if get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(_fits(item, get_args(kind)[0]) for item in value)
    if get_origin(kind) is UnionType:
        return any(_fits(value, choice) for choice in get_args(kind))
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31
    return isinstance(value, kind)


# Python bytes become text one and a half times their size in a weights_only pickle; one byte tensor does not.
def _join(pieces: Sequence[bytes]) -> dict[str, Any]:
    joined = b"".join(pieces)
    return {
        "lengths": [len(piece) for piece in pieces],
        "bytes": torch.frombuffer(bytearray(joined), dtype=torch.uint8)
        if joined
        else torch.zeros(0, dtype=torch.uint8),
    }


def _split(stored: Mapping[str, Any]) -> list[bytes]:
    everything = stored["bytes"].numpy().tobytes()
    pieces, start = [], 0
    for length in stored["lengths"]:
        pieces.append(everything[start : start + length])
        start += length
    if start != len(everything):
        raise ValueError("the specimens' lengths do not add up")
    return pieces


def _unpack(stored: Mapping[str, Any]) -> tuple[Specimen, ...]:
    pictures, masks = _split(stored["png"]), _split(stored["masks"])
    boxed = stored.get("boxed") or [False] * len(pictures)  # files from before boxes were known
    return tuple(
        Specimen(png, int(label), str(name), mask or None, bool(box))
        for png, label, name, mask, box in zip(pictures, stored["labels"], stored["names"], masks, boxed, strict=True)
    )
