"""The files of a run, best.pt, last.pt and history.jsonl: whole at every moment, and enough to go on from."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vgg_viz._version import __version__
from vgg_viz.atomic import disk_refused, whole_file
from vgg_viz.data.cache import TrainingData, fingerprint
from vgg_viz.errors import OutputRefused
from vgg_viz.models.checkpoint import load, read_extra, save
from vgg_viz.records import Architecture, Checkpoint, Epoch
from vgg_viz.training.kept_epochs import FOLDER, GO_ON
from vgg_viz.training.recipe import Recipe


class RunFolder:
    """A folder that belongs to one run from its first epoch on.

    Every file is written beside itself and renamed into place, so an interrupt leaves the epoch before.
    """

    def __init__(self, root: Path, resume: bool) -> None:
        self.root, self.resume = root, resume
        self.best, self.last, self.history = root / "best.pt", root / "last.pt", root / "history.jsonl"
        self._state: dict[str, Any] = {}

    def __enter__(self) -> RunFolder:
        """Make the folder; raises OutputRefused where another run lives or nothing may be written.

        So does everything that writes here, with the old file intact: the run goes on from last.pt once there is space.
        """
        if self.root.exists() and not self.root.is_dir():
            raise OutputRefused(f"{self.root.name!r} is a file, a folder for the run was expected; name another --out.")
        if self.last.exists() and not self.resume:
            raise OutputRefused(
                f"{self.root.name!r} already holds a run (last.pt); add --resume to continue it, or name another --out."
            )
        with disk_refused(self.root.name, advice="free some space or name another --out"):
            self.root.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        for folder in (self.root / FOLDER, self.root):
            with suppress(OSError):
                folder.rmdir()  # only an empty folder goes: nothing came of the run

    def restore(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        recipe: Recipe,
        wanted: Architecture,
        source: TrainingData,
    ) -> list[Epoch]:
        """Put model and optimiser where `last.pt` left them; returns the epochs done, none for a new run.

        Raises:
            OutputRefused: When the run there was another one: recipe, architecture or pictures differ.
        """
        self._state = {
            "recipe": asdict(recipe),
            "architecture": asdict(wanted),
            "pictures": fingerprint(source.train) + fingerprint(source.held_out),
        }
        if not self.last.exists():
            return []
        stored = read_extra(self.last)
        for what, value in self._state.items():
            if stored.get(what) != value:
                detail = _difference(stored.get(what), value)
                raise OutputRefused(
                    f"the run in {self.root.name!r} was made with another {what}{detail}; "
                    "resume it with the same options, or name another --out."
                )
        checkpoint = load(self.last)
        with torch.no_grad():
            for key, tensor in model.state_dict().items():
                tensor.copy_(checkpoint.weights[key])
        optimizer.load_state_dict(stored["optimizer"])
        return [epoch for epoch in checkpoint.history if math.isfinite(epoch.train_loss)]

    def save(self, checkpoint: Checkpoint, optimizer: torch.optim.Optimizer, *, is_best: bool) -> None:
        """Write last.pt, with all that resuming needs; best.pt if this is it; the history."""
        # best.pt first: were the run cut between the two, resuming would repeat this epoch and write the same best again.
        if is_best:
            save(self.best, checkpoint, advice=GO_ON)
        save(self.last, checkpoint, extra={**self._state, "optimizer": optimizer.state_dict()}, advice=GO_ON)
        self._write_history(checkpoint.history)

    def diverged(self, history: Sequence[Epoch]) -> None:
        """Remember an epoch that ended in NaN without keeping its weights."""
        if self.last.exists():
            save(self.last, replace(load(self.last), history=tuple(history)), extra=read_extra(self.last), advice=GO_ON)

    def finish(self, history: Sequence[Epoch]) -> None:
        """Give best.pt the whole history, so that its report shows what came after it."""
        if not self.last.exists():
            raise OutputRefused(
                "training diverged in its first epoch (the loss is not a number), so there is nothing to keep; "
                "lower --lr by a factor of 3 to 10 and train again."
            )
        if self.best.exists():
            save(self.best, replace(load(self.best), history=tuple(history)), advice=GO_ON)
        self._write_history(history)

    def _write_history(self, history: Sequence[Epoch]) -> None:
        """One JSON object a line; a loss that is not a number becomes null."""
        rows = (
            {key: value if math.isfinite(value) else None for key, value in asdict(epoch).items()} for epoch in history
        )
        with whole_file(self.history, advice=GO_ON) as temporary:
            temporary.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def environment() -> dict[str, str | int]:
    """What decides the bits besides the recipe."""
    return {
        "vgg_viz": __version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
    }


def _difference(old: object, new: object) -> str:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return ""
    changed = [f"{key} {old.get(key)!r}, now {value!r}" for key, value in new.items() if old.get(key) != value]
    return f" ({'; '.join(changed[:3])})"
