"""Mistakes: which classes are confused, the most confident errors, and whether confidence agrees with accuracy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from vgg_viz.errors import NotForThisNetwork, SectionMissing
from vgg_viz.figures.calibration import reliability
from vgg_viz.figures.confusion import MOST, confusion_matrix
from vgg_viz.figures.image_grid import pixels
from vgg_viz.figures.pictures import picture_grid
from vgg_viz.gallery.sections import section
from vgg_viz.gallery.texts import Texts
from vgg_viz.maths.metrics import calibration, confusion_counts, wilson_interval
from vgg_viz.records import Column, Exhibit, Finding, Table
from vgg_viz.studies.answers import Answers
from vgg_viz.studies.subject import Subject

TEXTS = Texts(__name__)
MANY = 200  # pictures from which a bin of a tenth holds enough of them


@section("mistakes", study="report", order=40, chapter="mistakes", needs="scores")
def mistakes(subject: Subject) -> Iterator[Exhibit | Finding]:
    """Confusion matrix, confident errors, calibration, one row a class."""
    answers = answers_of(subject)
    yield from _findings(subject, answers)
    yield _confusion(subject, answers)
    if not bool(answers.correct.all()):
        yield _errors(subject, answers)
    yield _calibration(answers)
    yield _classes(subject, answers)


def answers_of(subject: Subject) -> Answers:
    """The outputs for labelled pictures.

    Raises:
        SectionMissing: Nobody knows the labels, or the network gives no picture one class.
    """
    if subject.noun != "class":
        raise NotForThisNetwork(TEXTS.say("missing.no_choice", noun=subject.noun))
    if subject.answers is None:
        raise SectionMissing(TEXTS.say("missing.labels"), "python -m vgg_viz report CHECKPOINT --data DIR")
    return subject.answers


def _findings(subject: Subject, answers: Answers) -> Iterator[Finding]:
    """The most frequent confusion."""
    if pairs := _confused_pairs(subject, answers):
        yield Finding("note", TEXTS.say("findings.confusion", pair=pairs[0]), key="confusion")


def _confused_pairs(subject: Subject, answers: Answers) -> list[dict[str, Any]]:
    """The ten most frequent confusions, the first first: true class, predicted class, count, share of the true class."""
    size = len(subject.classes)
    counts = confusion_counts(answers.predicted, answers.labels, size)
    totals = counts.sum(1)
    errors = counts.clone().fill_diagonal_(0)
    pairs = []
    for place in errors.flatten().argsort(descending=True, stable=True)[:10].tolist():
        true, predicted = divmod(place, size)
        if count := int(errors[true, predicted]):
            share = count / int(totals[true])
            names = {"true": subject.classes[true], "predicted": subject.classes[predicted]}
            pairs.append({**names, "count": count, "share": share})
    return pairs


def _confusion(subject: Subject, answers: Answers) -> Exhibit:
    classes = subject.classes
    counts = confusion_counts(answers.predicted, answers.labels, len(classes))
    pairs = _confused_pairs(subject, answers)
    directions = [(pair["true"], pair["predicted"]) for pair in pairs]
    right, total = int(answers.correct.sum()), len(answers.labels)
    low, high = wilson_interval(right, total)
    text = TEXTS.exhibit(
        "confusion",
        classes=len(classes),
        shown=min(len(classes), MOST),
        right=right,
        total=total,
        low=low,
        high=high,
        worst=TEXTS.say("phrases.confusion", pair=pairs[0] if pairs else None),
        both_ways=next((pair for pair in directions if pair[::-1] in directions), None),
    )
    return Exhibit(
        "mistakes-confusion",
        text.title,
        text.caption,
        text.alt,
        figure=confusion_matrix(counts.numpy(), classes) if len(classes) > 1 else None,
        numbers={
            "n": total,
            "right": right,
            "accuracy": right / total,
            "interval": [low, high],
            "classes": subject.checkpoint.classes,
            "counts": counts.tolist() if len(classes) <= 100 else None,
            "pairs": pairs,
        },
    )


def _errors(subject: Subject, answers: Answers) -> Exhibit:
    order = [i for i in answers.confidence.argsort(descending=True, stable=True).tolist() if not answers.correct[i]]
    chosen = order[: subject.preset.grid]
    truth = answers.probabilities[torch.arange(len(answers.labels)), answers.labels]
    errors = [
        {
            "name": answers.batch.names[i],
            "true": subject.classes[int(answers.labels[i])],
            "predicted": subject.classes[int(answers.predicted[i])],
            "probability": float(answers.confidence[i]),
            "probability_of_true": float(truth[i]),
        }
        for i in chosen
    ]
    sure = sum(float(answers.confidence[i]) > 0.9 for i in order)
    text = TEXTS.exhibit("confident", shown=len(chosen), errors=len(order), sure=sure, surest=errors[0])
    return Exhibit(
        "mistakes-confident",
        text.title,
        text.caption,
        text.alt,
        figure=picture_grid(
            pixels(answers.batch.images[chosen]),
            [_error_lines(error) for error in errors],
            borders=["bad"] * len(chosen),
            side=136,
        ),
        kind="picture",
        numbers={"errors": len(order), "above_90_percent": sure, "shown": errors},
    )


def _error_lines(error: dict[str, Any]) -> str:
    """Two lines under a picture: what was predicted, what is true."""
    predicted = TEXTS.say("error.predicted", predicted=error["predicted"], confidence=error["probability"])
    true = TEXTS.say("error.true", label=error["true"], probability=error["probability_of_true"])
    return f"{predicted}\n{true}"


def _calibration(answers: Answers) -> Exhibit:
    pictures = len(answers.labels)
    bins = 10 if pictures >= MANY else 5
    measured = calibration(answers.confidence, answers.correct, bins=bins, by="width")
    mean, accuracy = float(answers.confidence.mean()), float(answers.correct.float().mean())
    text = TEXTS.exhibit(
        "calibration",
        mean=mean,
        accuracy=accuracy,
        balance=TEXTS.say("phrases.confidence", gap=mean - accuracy),
        error=measured.error,
        pictures=pictures,
        few=pictures < MANY,
    )
    return Exhibit(
        "mistakes-calibration",
        text.title,
        text.caption,
        text.alt,
        figure=reliability(answers.confidence.numpy(), answers.correct.numpy(), bins=bins),
        numbers={
            "ece": measured.error,
            "mean_confidence": mean,
            "accuracy": accuracy,
            "bins": [
                {"low": b.low, "high": b.high, "count": b.count, "confidence": b.confidence, "accuracy": b.accuracy}
                for b in measured.bins
            ],
        },
    )


def _classes(subject: Subject, answers: Answers) -> Exhibit:
    rows = _class_rows(subject, answers)
    recalls = [(name, recall) for name, _, recall, *_ in rows if recall is not None]
    least = min(recall for _, recall in recalls)
    hardest = [name for name, recall in recalls if recall == least]
    text = TEXTS.exhibit(
        "classes", classes=len(rows), hardest=TEXTS.say("phrases.hardest", least=least, hardest=hardest)
    )
    columns = (
        Column("class"),
        Column("pictures", "", True),
        Column("recall", "%", True),
        Column("95 % interval", "%"),
        Column("precision", "%", True),
    )
    return Exhibit(
        "mistakes-classes",
        text.title,
        text.caption,
        text.alt,
        table=Table(columns, tuple(rows)),
        numbers={"rows": rows},
    )


def _class_rows(subject: Subject, answers: Answers) -> list[tuple[str, int, float | None, str | None, float | None]]:
    """Class, pictures, recall [%], its interval [%] and precision [%] of each class that is there or was predicted."""
    counts = confusion_counts(answers.predicted, answers.labels, len(subject.classes))
    rows = []
    for index, name in enumerate(subject.classes):
        pictures, predicted = int(counts[index].sum()), int(counts[:, index].sum())
        right = int(counts[index, index])
        if pictures or predicted:
            low, high = wilson_interval(right, pictures) if pictures else (0.0, 1.0)
            rows.append(
                (
                    name,
                    pictures,
                    round(100 * right / pictures, 1) if pictures else None,
                    f"{low * 100:.0f} to {high * 100:.0f}" if pictures else None,
                    round(100 * right / predicted, 1) if predicted else None,
                )
            )
    return rows
