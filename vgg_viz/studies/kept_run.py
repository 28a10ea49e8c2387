"""The folder of a run opened: its kept epochs, its history, and what a network of it looks like."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vgg_viz.errors import CheckpointRefused, InputRefused
from vgg_viz.models.checkpoint import load
from vgg_viz.records import Checkpoint, Epoch
from vgg_viz.training.kept_epochs import FOLDER, kept_epochs

MOST_EPOCHS = 60  # looked at; of a longer run, as many evenly over it


@dataclass(frozen=True, slots=True)
class KeptRun:
    """A run whose epochs were kept.

    name        of its folder
    files       {epoch: its checkpoint's file}, two or more, in their order
    kept        {epoch: its checkpoint}, weights mapped
    left_out    epochs that are on disk and not looked at, where there are very many
    checkpoint  the last kept epoch, with the specimens and the whole history of the run
    """

    name: str
    files: Mapping[int, Path]
    kept: Mapping[int, Checkpoint]
    left_out: int
    checkpoint: Checkpoint

    @property
    def epochs(self) -> tuple[int, ...]:
        return tuple(self.files)

    @property
    def history(self) -> tuple[Epoch, ...]:
        return self.checkpoint.history


def open_run(folder: str | os.PathLike[str], overrides: Mapping[str, Any] | None = None) -> KeptRun:
    """List what a run has kept; raises InputRefused for what is no run, or a run without epochs, with the command that makes them."""
    root = Path(folder)
    name = Path(os.path.abspath(root)).name
    if not root.is_dir():
        what = f"{name!r} is a file" if root.exists() else f"there is no {name!r}"
        raise InputRefused(
            f"{what}; compare takes two checkpoints, or the folder of one run that has kept its epochs "
            "(train --out RUN_DIR --keep-epochs all)."
        )
    files = kept_epochs(root)
    if len(files) < 2:
        held = f"holds {'only one epoch' if files else 'no epochs'} ({FOLDER}/epoch-000.pt, ...)"
        raise InputRefused(
            f"the folder {name!r} {held}, and a timeline needs two or more; keep them while training: "
            "python -m vgg_viz train --data DIR --out RUN_DIR --keep-epochs all."
        )
    chosen = _evenly(list(files), MOST_EPOCHS)
    kept = {epoch: load(files[epoch], **(overrides or {})) for epoch in chosen}
    last = kept[chosen[-1]]
    for epoch, one in kept.items():
        _require_alike(one, last, files[epoch])
    whole = next((load(root / file) for file in ("best.pt", "last.pt") if (root / file).is_file()), last)
    history = max((whole.history, last.history), key=len)
    complete = replace(last, history=history, specimens=whole.specimens if whole.classes == last.classes else ())
    return KeptRun(name, {epoch: files[epoch] for epoch in chosen}, kept, len(files) - len(chosen), complete)


def _evenly(numbers: list[int], most: int) -> list[int]:
    """At most `most` of the numbers, evenly over them, with the first and the last."""
    if len(numbers) <= most:
        return numbers
    return [numbers[round(i * (len(numbers) - 1) / (most - 1))] for i in range(most)]


def _require_alike(one: Checkpoint, last: Checkpoint, file: Path) -> None:
    """Refuse an epoch of another network before anything is computed or written."""
    theirs, ours = one.weights, last.weights
    shapes = theirs.keys() == ours.keys() and all(theirs[key].shape == ours[key].shape for key in ours)
    if one.classes != last.classes or not shapes:
        raise CheckpointRefused(
            f"{file.name} is an epoch of another network than the last one of this folder (its layers or classes differ); "
            "move the epochs of different runs to folders of their own."
        )


def wear(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Give a built network the weights of an epoch."""
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            tensor.copy_(checkpoint.weights[key])
