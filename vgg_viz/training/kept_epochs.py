"""The weights of single epochs, kept beside a run so that it can be looked back on."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from vgg_viz.atomic import disk_refused
from vgg_viz.errors import InputRefused
from vgg_viz.models.checkpoint import save
from vgg_viz.records import Checkpoint

FOLDER = "epochs"
GO_ON = "free some space, then go on with --resume"  # what a run advises where the disk says no
# What is kept when nobody says: a Tiny VGG is 80 kB an epoch, a VGG11 531 MB.
SMALL_EPOCH, SMALL_RUN = 10_000_000, 300_000_000  # bytes


def kept_every(asked: int | None, weights: Iterable[Tensor], epochs: int) -> int:
    """Every how many epochs the weights are kept: 1 for all, 0 for none.

    Args:
        asked: The same; None: all of them where they are small (10 MB an epoch and 300 MB a run at most), else none.
        weights: Of one epoch.
        epochs: Of the whole run.

    Raises:
        InputRefused: For a negative number.
    """
    if asked is not None:
        if asked < 0:
            raise InputRefused(
                f"--keep-epochs {asked} came, a whole number from 1 on was expected: every N-th epoch; or all, or none."
            )
        return asked
    size = sum(tensor.numel() * tensor.element_size() for tensor in weights)
    return 1 if size <= SMALL_EPOCH and size * (epochs + 1) <= SMALL_RUN else 0


def is_kept(epoch: int, every: int, epochs: int) -> bool:
    """Whether the weights after `epoch` stay: the start, every N-th, and the end."""
    return every > 0 and (epoch % every == 0 or epoch == epochs)


def epoch_file(run: Path, epoch: int) -> Path:
    """Where the weights after an epoch lie; epoch 0 is the network before training."""
    return run / FOLDER / f"epoch-{epoch:03d}.pt"


def keep_epoch(run: Path, epoch: int, checkpoint: Checkpoint) -> None:
    """Write the weights of an epoch, whole or not at all.

    A checkpoint like any other, without specimens: they lie in best.pt, and weigh more than the weights of a Tiny VGG.
    """
    file = epoch_file(run, epoch)
    with disk_refused(FOLDER, advice=GO_ON):
        file.parent.mkdir(exist_ok=True)
    save(file, replace(checkpoint, specimens=()), advice=GO_ON)


def kept_epochs(run: Path) -> dict[int, Path]:
    """{epoch: file} of the epochs that a run has kept, in their order; empty where there are none."""
    files = {}
    for file in (run / FOLDER).glob("epoch-*.pt"):
        if number := re.fullmatch(r"epoch-(\d{3,6})\.pt", file.name, flags=re.ASCII):
            files[int(number[1])] = file
    return dict(sorted(files.items()))
