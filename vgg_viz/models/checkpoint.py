"""Checkpoints on disk: written atomically, opened without ever running what is inside."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vgg_viz.errors import CheckpointRefused, InputRefused
from vgg_viz.models.build import architecture as usual_architecture
from vgg_viz.models.build import assemble, build, checked
from vgg_viz.models.containers import model_files, open_file, shown
from vgg_viz.models.formats import recognise
from vgg_viz.models.formats.own import pack
from vgg_viz.models.vgg import canonical
from vgg_viz.records import Architecture, Checkpoint, Provenance

BUNDLED = Path(__file__).parent.parent / "assets" / "sample.pt"


def save(path: str | os.PathLike[str], checkpoint: Checkpoint, *, extra: Mapping[str, Any] | None = None) -> None:
    """Write a checkpoint whole or not at all: a temporary file beside it, then one rename.

    extra  plain containers and tensors stored under "extra" (a training run's state); see `read_extra`
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:  # opened here: torch cannot open a path that is no text
            torch.save({**pack(checkpoint), "extra": dict(extra or {})}, file)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def load(
    source: str | os.PathLike[str] | None = None,
    *,
    arch: str | None = None,
    classes: Sequence[str] | None = None,
    image_size: int | None = None,
    padding: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    seed: int = 0,
) -> Checkpoint:
    """Open a checkpoint; weights stay on disk, memory-mapped, until they are used.

    source   a file; a variant's name ("vgg16"): seeded random weights; None: the bundled Tiny VGG
    arch ... std  override what was inferred
    returns  Checkpoint; `build(checkpoint)` makes it run
    raises   CheckpointRefused with one sentence: missing, a folder, empty, no checkpoint, unsafe, not a VGG, not finite
    """
    overrides = {
        key: value
        for key, value in {
            "image_side": image_size, "padding": padding,
            "mean": tuple(mean) if mean else None, "std": tuple(std) if std else None,
        }.items()
        if value is not None
    }  # fmt: skip
    if source is not None and not Path(source).is_file() and (name := _variant(str(source))):
        checkpoint = _untrained(name, len(classes) if classes else None, seed, overrides)
    else:
        checkpoint = read(BUNDLED if source is None else Path(source))
        checkpoint = _overridden(checkpoint, arch, overrides)
        require_finite(checkpoint.weights, checkpoint.provenance.file)
    return _named(checkpoint, classes)


def read(path: Path) -> Checkpoint:
    """What a file holds, translated by the first format that knows it; weights mapped, neither read nor checked yet.

    raises  CheckpointRefused
    """
    stored = open_file(path)
    reading = recognise(stored.value)
    if reading is None:
        raise CheckpointRefused(
            f"{shown(path)} opened, but holds {_described(stored.value)}, which is no VGG checkpoint; "
            "expected a state dict of a VGG or Tiny VGG, or a file written by `vgg_viz train`."
        )
    weights, converted = _single_precision(reading.weights, path)
    provenance = Provenance(
        path.name, "", reading.format, (*stored.evidence, *reading.evidence, *converted), reading.alternatives, reading.ignored_keys,
        reading.data, reading.training,
    )  # fmt: skip
    return Checkpoint(checked(reading.architecture), reading.classes, weights, reading.history, reading.specimens, provenance)


def read_extra(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What `save` stored under "extra"; empty for files of other makers."""
    value = open_file(Path(path)).value
    return dict(value.get("extra") or {}) if isinstance(value, Mapping) else {}


def sha256(path: str | os.PathLike[str]) -> str:
    """Hexadecimal SHA-256 of a checkpoint's bytes: of the file, or of all `model_files` one after another."""
    digest = hashlib.sha256()
    for part in model_files(Path(path)):
        with open(part, "rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    return digest.hexdigest()


def require_finite(weights: Mapping[str, Tensor], name: str) -> None:
    """Refuse NaN and infinity, naming every tensor that holds them.

    One sum a tensor is a third of the time of isfinite; a sum that overflows is looked at again.
    """
    bad = []
    for key, weight in weights.items():
        if weight.is_floating_point() and not bool(torch.isfinite(weight.sum())):
            count = int((~torch.isfinite(weight)).sum())
            if count:
                bad.append(f"{key} ({count} of {weight.numel()})")
    if bad:
        raise CheckpointRefused(
            f"{name or 'the checkpoint'} holds NaN or infinite weights in {', '.join(bad)}; "
            "its training diverged, so take an earlier checkpoint."
        )


def _single_precision(weights: Mapping[str, Tensor], path: Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The weights as float32, with a sentence where they were not: pictures are float32, and layers refuse to mix."""
    counters = [key for key in weights if key.endswith("num_batches_tracked")]
    kinds = {str(weight.dtype).removeprefix("torch.") for key, weight in weights.items() if key not in counters}
    odd = next((key for key, weight in weights.items() if key not in counters and not weight.is_floating_point()), None)
    if odd is not None:
        raise CheckpointRefused(
            f"{shown(path)} holds {odd} as {str(weights[odd].dtype).removeprefix('torch.')}, floating-point weights were expected; "
            "save the network as it was before it was quantised or converted."
        )
    if kinds <= {"float32"}:
        return dict(weights), ()
    single = {key: weight if key in counters else weight.float() for key, weight in weights.items()}
    return single, (f"The weights are stored as {', '.join(sorted(kinds))} and were converted to float32.",)


def _described(stored: object) -> str:
    if isinstance(stored, Mapping):
        keys = ", ".join(repr(str(key))[:40] for key in list(stored)[:4])
        return f"a mapping with {len(stored)} keys ({keys}{', ...' if len(stored) > 4 else ''})"
    return f"an object of type {type(stored).__name__}"


# ---------------------------------------------------------------- overriding


def _variant(name: str) -> str | None:
    try:
        canonical(name)
    except InputRefused:
        return None
    return name


def _untrained(name: str, num_classes: int | None, seed: int, overrides: Mapping[str, Any]) -> Checkpoint:
    wanted = usual_architecture(name, **overrides, **({"num_classes": num_classes} if num_classes else {}))
    weights = build(wanted, seed=seed).state_dict()
    provenance = Provenance(
        name, "", "untrained", (f"{name!r} is a variant's name, not a file: seeded random weights (seed {seed}).",),
        training={"untrained": True, "seed": seed},
    )  # fmt: skip
    return Checkpoint(wanted, (), weights, provenance=provenance)


def _overridden(checkpoint: Checkpoint, arch: str | None, overrides: Mapping[str, Any]) -> Checkpoint:
    wanted: Architecture = checked(replace(checkpoint.architecture, **overrides))
    if arch is not None and canonical(arch) != (wanted.variant, wanted.batch_norm):
        variant, batch_norm = canonical(arch)
        wanted = replace(wanted, variant=variant, batch_norm=batch_norm)
    if wanted == checkpoint.architecture:
        return checkpoint
    assemble(wanted, checkpoint.weights)  # says in one sentence when it does not fit
    said = tuple(f"You set {key} to {value}." for key, value in [("arch", arch), *overrides.items()] if value is not None)
    provenance = replace(checkpoint.provenance, evidence=(*checkpoint.provenance.evidence, *said))
    return replace(checkpoint, architecture=wanted, provenance=provenance)


def _named(checkpoint: Checkpoint, classes: Iterable[str] | None) -> Checkpoint:
    expected = checkpoint.architecture.num_classes
    names = tuple(classes) if classes is not None else checkpoint.classes
    if classes is None and not names:
        names = tuple(imagenet_classes()) if expected == 1000 else tuple(f"class {i}" for i in range(expected))
    if len(names) != expected:
        raise CheckpointRefused(
            f"{len(names)} class names came for a network with {expected} classes; give one name a line, in the order of training."
        )
    return replace(checkpoint, classes=names)


def imagenet_classes() -> list[str]:
    """The 1,000 names of ImageNet-1k in torchvision's order."""
    from torchvision.models import VGG16_Weights

    names: list[str] = VGG16_Weights.IMAGENET1K_V1.meta["categories"]
    return names
