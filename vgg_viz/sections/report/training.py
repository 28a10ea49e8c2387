"""Training: loss and accuracy by epoch, and what they say."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from math import log

from vgg_viz.errors import NotForThisNetwork, SectionMissing
from vgg_viz.figures.curves import training_curves
from vgg_viz.gallery.sections import section
from vgg_viz.gallery.texts import Texts
from vgg_viz.models.vgg import describe
from vgg_viz.records import Architecture, Column, Epoch, Exhibit, Finding, Table
from vgg_viz.studies.subject import Subject
from vgg_viz.training.diagnosis import diagnose

TEXTS = Texts(__name__)


@section("training", study="report", order=20, chapter="training", needs="scores")
def training(subject: Subject) -> Iterator[Exhibit | Finding]:
    """Curves with the chance level and the kept epoch, and the table behind them."""
    history = subject.checkpoint.history
    if not history:
        # Of a file that was made elsewhere nobody can ask for curves; random weights can be trained.
        untrained = subject.checkpoint.provenance.format == "untrained"
        raise (SectionMissing if untrained else NotForThisNetwork)(
            TEXTS.say("missing.history"),
            f"python -m vgg_viz train --data DIR --arch {_arch(subject.checkpoint.architecture)} --out RUN_DIR",
        )
    yield from diagnose(history, len(subject.classes))
    yield _curves(history, classes=len(subject.classes))
    text = TEXTS.exhibit("table", epochs=len(history), recipe=_recipe(subject))
    yield Exhibit("training-table", text.title, text.caption, text.alt, table=_table(history))


def _arch(architecture: Architecture) -> str:
    """What `train` takes for a network: a variant's name, or the plan of a chain that is none."""
    if describe(architecture).variant or not architecture.num_classes:
        return "vgg11"
    return shlex.quote(architecture.plan)


def _curves(history: tuple[Epoch, ...], *, classes: int) -> Exhibit:
    best = max(history, key=lambda epoch: (epoch.val_accuracy, -epoch.val_loss))
    chance_loss, chance_accuracy = log(classes), 1 / classes
    text = TEXTS.exhibit(
        "curves", classes=classes, chance_loss=chance_loss, best=best, last=history[-1], epochs=len(history)
    )
    return Exhibit(
        "training-curves",
        text.title,
        text.caption,
        text.alt,
        figure=training_curves(
            history,
            chance_loss=chance_loss,
            chance_accuracy=chance_accuracy,
            best_epoch=best.epoch,
            title="Training and validation side by side",
        ),
        numbers={
            "epoch": [e.epoch for e in history],
            "train_loss": [e.train_loss for e in history],
            "val_loss": [e.val_loss for e in history],
            "train_accuracy": [e.train_accuracy for e in history],
            "val_accuracy": [e.val_accuracy for e in history],
            "learning_rate": [e.learning_rate for e in history],
            "seconds": [e.seconds for e in history],
            "chance_loss": chance_loss,
            "chance_accuracy": chance_accuracy,
            "best_epoch": best.epoch,
        },
    )


def _recipe(subject: Subject) -> list[tuple[str, str | int | float | bool]]:
    """Names and values of the training recipe that a sentence can hold."""
    settings = subject.checkpoint.provenance.training
    return [(name, value) for name, value in settings.items() if isinstance(value, str | int | float | bool)]


def _table(history: tuple[Epoch, ...]) -> Table:
    columns = (
        Column("epoch", numeric=True),
        Column("train loss", "nat", True),
        Column("validation loss", "nat", True),
        Column("train accuracy", "%", True),
        Column("validation accuracy", "%", True),
        Column("learning rate", "", True),
        Column("time", "s", True),
    )
    rows = tuple(
        (
            e.epoch,
            round(e.train_loss, 4),
            round(e.val_loss, 4),
            round(100 * e.train_accuracy, 2),
            round(100 * e.val_accuracy, 2),
            float(f"{e.learning_rate:.3g}"),
            round(e.seconds, 1),
        )
        for e in history
    )
    return Table(columns, rows)
