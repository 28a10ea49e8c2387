"""The training loop, to be read from top to bottom: no callbacks, no trainer, nothing hidden.

The same recipe, data and number of threads give the same weights, bit for bit, whether a run was interrupted or not: each
epoch seeds itself, the learning rate is a function of progress, and `last.pt` carries the optimiser's memory.
"""

from __future__ import annotations

import math
import os
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from vgg_viz.data.cache import LabelledPictures, draw_specimens, natural_side, open_training_data, statistics
from vgg_viz.data.shortcuts import Shortcut
from vgg_viz.data.transforms import AUGMENTATIONS, augment, colour_axes
from vgg_viz.models.build import architecture, build
from vgg_viz.models.checkpoint import load
from vgg_viz.progress import tell
from vgg_viz.records import Checkpoint, Epoch, Provenance
from vgg_viz.training.kept_epochs import epoch_file, is_kept, keep_epoch, kept_every
from vgg_viz.training.progress import Display
from vgg_viz.training.recipe import Recipe, optimizer_for, rate_at, require_trainable, usual_recipe
from vgg_viz.training.run_folder import RunFolder, environment


def train(  # noqa: PLR0913 - the front door: the options of `vgg_viz train`
    data: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    arch: str = "tiny_vgg",
    recipe: Recipe | None = None,
    image_side: int | None = None,
    width: float | None = None,
    padding: int | None = None,
    train_count: int | None = None,
    val_count: int | None = None,
    keep_epochs: int | None = None,
    shortcut: Shortcut | None = None,
    resume: bool = False,
    quiet: bool = False,
    device: str | torch.device = "cpu",
) -> Checkpoint:
    """Train a VGG; leave best.pt, last.pt and history.jsonl in `out`, and in `out`/epochs the weights of single epochs.

    Args:
        data: "shapes", or an ImageFolder: train/ and val/ (or test/), or a root of which a tenth is held out.
        out: Folder of the run.
        arch: "tiny_vgg", "vgg11", "vgg16_bn", ...
        recipe: Default: `usual_recipe(arch, data)`.
        image_side: [px]; default: the variant's usual side, or the pictures' own where that is smaller.
        width: Factor of all channel counts; None: 1.
        padding: Of the 3x3 convolutions [px], 0 or 1.
        train_count: Pictures to train on; default 12,000 painted, or all of a folder's.
        val_count: Pictures to measure on; default 2,000 painted, or all of a folder.
        keep_epochs: Keep the weights of every N-th epoch, from the untrained network on; 0: of none; None: of all
            where they are small.
        shortcut: Planted in painted pictures of one class, for the network to learn.
        resume: Continue the run in `out`; bit-equal to a run that was never interrupted.
        quiet: Whether nothing is printed.
        device: Where it trains.

    Returns:
        The checkpoint in best.pt: weights of the epoch with the best validation accuracy, history of all epochs.

    Raises:
        DataRefused: The data cannot be used.
        OutputRefused: It cannot be written there.
        InputRefused: A value is out of range, or does not fit.
    """
    recipe = require_trainable(recipe or usual_recipe(arch, str(data)))
    given: dict[str, Any] = {"image_side": image_side, "width": width, "padding": padding}
    options = {key: value for key, value in given.items() if value is not None}
    usual = architecture(arch, **options)  # what cannot be built is refused before anything is read or painted
    with RunFolder(Path(out), resume) as run, Display(quiet) as display:
        side = image_side if image_side is not None else natural_side(data, usual.image_side)
        source = open_training_data(
            data, side=side, train_count=train_count, val_count=val_count, seed=recipe.seed, shortcut=shortcut
        )
        display.skipped(source.train.skipped + source.held_out.skipped)
        mean, std = statistics(source.train)
        options |= {"image_side": side, "num_classes": len(source.classes), "mean": mean, "std": std}
        wanted = architecture(arch, **options)
        model = build(wanted, seed=recipe.seed).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = optimizer_for(model, recipe)
        history = run.restore(model, optimizer, recipe=recipe, wanted=wanted, source=source)
        blank = Checkpoint(
            wanted,
            source.classes,
            {},
            specimens=draw_specimens(source.held_out, seed=recipe.seed),
            provenance=Provenance(
                "", "", "vgg_viz", data=source.provenance, training={**asdict(recipe), **environment()}
            ),
        )
        every = kept_every(keep_epochs, model.state_dict().values(), recipe.epochs)
        display.started(model, source, history, every)

        for epoch in range(len(history) + 1, recipe.epochs + 1):
            start = time.perf_counter()
            train_loss, train_accuracy = one_epoch(model, optimizer, source.train, recipe, epoch)
            val_loss, val_accuracy = measure(model, source.held_out)
            rate, seconds = optimizer.param_groups[0]["lr"], time.perf_counter() - start
            history.append(Epoch(epoch, train_loss, train_accuracy, val_loss, val_accuracy, rate, seconds))
            display.finished(history[-1], len(source.train))
            if not math.isfinite(train_loss + val_loss):
                run.diverged(history)  # the weights hold NaN: files keep the epoch before
                break
            checkpoint = replace(blank, weights=model.state_dict(), history=tuple(history))
            if is_kept(epoch, every, recipe.epochs):
                if not epoch_file(run.root, 0).exists():  # only now: a run that comes to nothing leaves nothing
                    keep_epoch(run.root, 0, replace(blank, weights=build(wanted, seed=recipe.seed).state_dict()))
                keep_epoch(run.root, epoch, checkpoint)
            run.save(checkpoint, optimizer, is_best=val_accuracy >= max(past.val_accuracy for past in history))
        run.finish(history)
        return load(run.best if run.best.exists() else run.last)


def one_epoch(
    model: nn.Module, optimizer: torch.optim.Optimizer, pictures: LabelledPictures, recipe: Recipe, epoch: int
) -> tuple[float, float]:
    """Every training picture once, in a new order and a new view; mean loss [nat] and accuracy over the pictures."""
    device = next(model.parameters()).device
    # Each epoch has its own seeds, so that resuming needs no memory of what chance did before.
    generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + epoch)
    augmentation, axes = AUGMENTATIONS[recipe.augment], colour_axes(pictures.images)
    total_loss, right, seen = 0.0, 0, 0
    model.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed * 1_000_003 + epoch)  # dropout
        for images, labels in pictures.batches(recipe.batch_size, torch.randperm(len(pictures), generator=generator)):
            for group in optimizer.param_groups:
                group["lr"] = rate_at(recipe, (epoch - 1 + seen / len(pictures)) / recipe.epochs)
            images, labels = augment(images.to(device), augmentation, generator, axes), labels.to(device)
            logits = model(images.contiguous(memory_format=torch.channels_last))
            loss = functional.cross_entropy(logits, labels)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()

            total_loss += loss.item() * len(labels)  # weighted by pictures: a short last batch counts for what it is
            right += int((logits.argmax(1) == labels).sum())
            seen += len(labels)
            tell(f"epoch {epoch} of {recipe.epochs}", seen, len(pictures))
            if not math.isfinite(total_loss):
                break
    return total_loss / seen, right / seen


@torch.inference_mode()
def measure(model: nn.Module, pictures: LabelledPictures, *, batch_size: int = 250) -> tuple[float, float]:
    """Mean cross-entropy [nat] and accuracy over pictures, as they are, in eval mode."""
    device = next(model.parameters()).device
    total_loss, right = 0.0, 0
    model.eval()
    for images, labels in pictures.batches(batch_size):
        labels = labels.to(device)
        logits = model(images.to(device, memory_format=torch.channels_last))
        total_loss += functional.cross_entropy(logits, labels, reduction="sum").item()
        right += int((logits.argmax(1) == labels).sum())
    return total_loss / len(pictures), right / len(pictures)
