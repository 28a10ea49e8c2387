"""What a run says while it works, on stderr: a bar for the epoch, a line for each that is done."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn

from vgg_viz.data.cache import TrainingData
from vgg_viz.records import Epoch
from vgg_viz.safe_text import one_line


class Display:
    """A quiet one says nothing but which files were left out."""

    def __init__(self, epochs: int, quiet: bool) -> None:
        self.epochs, self.quiet = epochs, quiet
        self.console = Console(stderr=True, highlight=False)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(40),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(),
        )
        self._bar = Progress(
            *columns, console=self.console, transient=True, disable=quiet or not self.console.is_terminal
        )
        self._task = self._bar.add_task("", total=1.0)
        self._done = 0

    def __enter__(self) -> Display:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def reading(self, what: str, done: int, total: int) -> None:
        """A picture was painted or read."""
        if done % 50 == 0 or done == total:
            self._bar.update(self._task, description=what, completed=done / total)

    def skipped(self, files: Sequence[tuple[str, str]]) -> None:
        """Name the files that were left out, also when quiet."""
        for _, why in files[:10]:
            self.console.print(f"left out: {escape(one_line(why))}", soft_wrap=True)
        if len(files) > 10:
            self.console.print(f"left out: {len(files) - 10} more files")

    def started(self, model: nn.Module, source: TrainingData, history: Sequence[Epoch], every: int = 0) -> None:
        """What will be trained, on what; `every`: of how many epochs one is kept, 0 for none."""
        if self.quiet:
            return
        parameters = sum(p.numel() for p in model.parameters())
        self.console.print(
            f"{parameters:,} parameters, {len(source.train):,} training pictures, {len(source.held_out):,} held out, "
            f"{len(source.classes)} classes"
        )
        if every:
            which = "every epoch" if every == 1 else f"one epoch in {every}"
            self.console.print(f"the weights of {which} stay in epochs/, for a timeline (--keep-epochs)")
        if history:
            self.console.print(f"resuming after epoch {len(history)}")
        self.console.print("epoch   train loss   accuracy     val loss   accuracy     rate      pictures/s")
        self._done = len(history)

    def advance(self, share: float) -> None:
        """A share of the epoch is done."""
        self._bar.update(self._task, description=f"epoch {self._done + 1} of {self.epochs}", completed=share)

    def finished(self, epoch: Epoch, pictures: int) -> None:
        """An epoch is done."""
        self._done = epoch.epoch
        if self.quiet:
            return
        self.console.print(
            f"{epoch.epoch:5d} {epoch.train_loss:12.4f} {epoch.train_accuracy:10.1%} {epoch.val_loss:12.4f} "
            f"{epoch.val_accuracy:10.1%} {epoch.learning_rate:9.1e} {pictures / epoch.seconds:12,.0f}"
        )
        if not math.isfinite(epoch.train_loss):
            self.console.print("the loss is not a number any more: training stops; lower --lr and train again")
