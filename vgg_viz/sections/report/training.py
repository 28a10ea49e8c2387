"""Training: what the loss and accuracy did, and what that says."""

from __future__ import annotations

from collections.abc import Iterator
from math import log

from vgg_viz.errors import SectionMissing
from vgg_viz.figures.curves import training_curves
from vgg_viz.gallery.sections import section
from vgg_viz.number_text import counted, percent
from vgg_viz.records import Caption, Column, Epoch, Exhibit, Finding, Table
from vgg_viz.studies.subject import Subject
from vgg_viz.training.diagnosis import diagnose


def findings(subject: Subject) -> Iterator[Finding]:
    """What the curves say, as findings for the verdict."""
    yield from diagnose(subject.checkpoint.history, len(subject.classes))


@section(
    "training",
    study="report",
    title="Training",
    order=20,
    lead="How the network came to be: one point per epoch, on the pictures it learned from and on pictures it never saw.",
)
def training(subject: Subject) -> Iterator[Exhibit | Finding]:
    """Curves with the chance level and the kept epoch, and the table behind them."""
    history = subject.checkpoint.history
    if not history:
        raise SectionMissing(
            "The checkpoint holds no training history; files written by vgg_viz carry it.",
            "python -m vgg_viz train --data DIR --arch vgg11 --out RUN_DIR",
        )
    yield from findings(subject)
    classes = len(subject.classes)
    best = max(history, key=lambda epoch: (epoch.val_accuracy, -epoch.val_loss))
    last = history[-1]
    yield Exhibit(
        "training-curves",
        "Loss and accuracy, epoch by epoch",
        Caption(
            see=f"Left, the mean cross-entropy per picture [nat]; right, the share of pictures classified right. Blue is measured on "
            f"the training pictures while the weights still change, orange on the validation pictures after each epoch. The dashed "
            f"lines are what guessing among {classes} classes gives: a loss of ln {classes} = {log(classes):.2f} nat, "
            f"{100 / classes:.3g} % right.",
            read=f"Both losses falling together: it learns. The training loss falling while the validation loss rises: it overfits. Best epoch: "
            f"{best.epoch}, {percent(best.val_accuracy, decimals=1)} right on the validation pictures"
            + (
                ", which is also the last. "
                if best is last
                else f"; last epoch: {percent(last.val_accuracy, decimals=1)}. "
            )
            + "Doing worse on the training pictures than on the validation ones is no mistake: training pictures are augmented and dropout is "
            "on where there is any, and their numbers are averaged over an epoch in which the weights still improve.",
            cannot="One run is one throw of the dice: another seed moves these curves. The best epoch was picked by these very validation pictures, "
            "so its accuracy flatters a little. And accuracy says how often, not why; a network "
            "can be right for a wrong reason, which the attention section looks for.",
        ),
        alt=f"Line charts of loss and accuracy over {counted(len(history), 'epoch')}; validation accuracy peaks at "
        f"{percent(best.val_accuracy, decimals=1)} in epoch {best.epoch} and ends at {percent(last.val_accuracy, decimals=1)}.",
        figure=training_curves(
            history,
            chance_loss=log(classes),
            chance_accuracy=1 / classes,
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
            "chance_loss": log(classes),
            "chance_accuracy": 1 / classes,
            "best_epoch": best.epoch,
        },
    )
    yield Exhibit(
        "training-table",
        "The same as a table, with the recipe",
        Caption(
            see="Every epoch's numbers as they were written down during training." + _recipe(subject),
            read="Where the validation loss of a row is well above the training loss, part of what was learned holds only for the training pictures.",
            cannot="Times are those of the machine that trained, not of yours.",
        ),
        alt=f"Table of {counted(len(history), 'epoch')} with loss, accuracy, learning rate and seconds.",
        table=_table(history),
    )


def _recipe(subject: Subject) -> str:
    recipe = {
        k: v for k, v in subject.checkpoint.provenance.training.items() if isinstance(v, str | int | float | bool)
    }
    return f" The recipe: {', '.join(f'{key} {value}' for key, value in recipe.items())}." if recipe else ""


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
