"""What a run says while it works, on stderr: how far it is, and a line for each epoch that is done."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn

from vgg_viz.console import Steps
from vgg_viz.data.cache import TrainingData
from vgg_viz.records import Epoch


class Display:
    """A quiet one says nothing but which files were left out."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self._steps = Steps("train", quiet=quiet)

    def __enter__(self) -> Display:
        self._steps.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._steps.__exit__(None, None, None)

    def skipped(self, files: Sequence[tuple[str, str]]) -> None:
        """Name the files that were left out, also when quiet."""
        for _, why in files[:10]:
            self._steps.print(f"left out: {why}")
        if len(files) > 10:
            self._steps.print(f"left out: {len(files) - 10} more files")

    def started(self, model: nn.Module, source: TrainingData, history: Sequence[Epoch], every: int = 0) -> None:
        """What will be trained, on what; `every`: of how many epochs one is kept, 0 for none."""
        if self.quiet:
            return
        parameters = sum(p.numel() for p in model.parameters())
        self._steps.print(
            f"{parameters:,} parameters, {len(source.train):,} training pictures, {len(source.held_out):,} held out, "
            f"{len(source.classes)} classes"
        )
        if every:
            which = "every epoch" if every == 1 else f"one epoch in {every}"
            self._steps.print(f"the weights of {which} stay in epochs/, for a timeline (--keep-epochs)")
        if history:
            self._steps.print(f"resuming after epoch {len(history)}")
        self._steps.print("epoch   train loss   accuracy     val loss   accuracy     rate      pictures/s")

    def finished(self, epoch: Epoch, pictures: int) -> None:
        """An epoch is done."""
        if self.quiet:
            return
        self._steps.print(
            f"{epoch.epoch:5d} {epoch.train_loss:12.4f} {epoch.train_accuracy:10.1%} {epoch.val_loss:12.4f} "
            f"{epoch.val_accuracy:10.1%} {epoch.learning_rate:9.1e} {pictures / epoch.seconds:12,.0f}"
        )
        if not math.isfinite(epoch.train_loss):
            self._steps.print("the loss is not a number any more: training stops; lower --lr and train again")
