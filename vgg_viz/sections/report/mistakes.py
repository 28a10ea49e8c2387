"""Mistakes: which classes are confused, what the worst errors look like, and whether confidence can be believed."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from vgg_viz.errors import SectionMissing
from vgg_viz.figures.calibration import reliability
from vgg_viz.figures.confusion import MOST, confusion_matrix
from vgg_viz.figures.image_grid import pixels
from vgg_viz.figures.pictures import picture_grid
from vgg_viz.gallery.sections import section
from vgg_viz.maths.metrics import calibration, confusion_counts, wilson_interval
from vgg_viz.number_text import counted, percent
from vgg_viz.records import Caption, Column, Exhibit, Finding, Table
from vgg_viz.studies.subject import Answers, Subject


def answers_of(subject: Subject) -> Answers:
    """The answers to labelled pictures; SectionMissing where nobody knows the labels."""
    if subject.answers is None:
        raise SectionMissing(
            "There are no labelled pictures, so nobody can say what is a mistake.",
            "python -m vgg_viz report CHECKPOINT --data DIR",
        )
    return subject.answers


def findings(subject: Subject) -> Iterator[Finding]:
    """The worst confusion, and over- or under-confidence."""
    answers = answers_of(subject)
    pairs = _pairs(subject, answers)
    if pairs:
        true, predicted, count, share = pairs[0]
        yield Finding(
            "note",
            f"Most frequent confusion: {true} taken for {predicted} ({often(count)}, {percent(share, decimals=1)} of the class).",
        )
    measured = calibration(answers.confidence, answers.correct)
    gap = float(answers.confidence.mean() - answers.correct.float().mean())
    if len(answers.labels) >= 100 and measured.error > 0.05:
        kind = "too sure of itself" if gap > 0 else "less sure than it could be"
        yield Finding("warn", f"It is {kind}: expected calibration error {measured.error * 100:.1f} percentage points.")


def often(count: int) -> str:
    """ "once", "33 times"."""
    return "once" if count == 1 else f"{count:,} times"


@section(
    "mistakes",
    study="report",
    title="Mistakes",
    order=40,
    lead="A single accuracy hides where a network fails. Here is which classes it confuses, its most confident errors, and whether it knows "
    "when it does not know.",
)
def mistakes(subject: Subject) -> Iterator[Exhibit | Finding]:
    """Confusion matrix, confident errors, calibration, one row a class."""
    answers = answers_of(subject)
    yield from findings(subject)
    yield _confusion(subject, answers)
    if not bool(answers.correct.all()):
        yield _errors(subject, answers)
    yield _calibration(answers)
    yield _classes(subject, answers)


def _pairs(subject: Subject, answers: Answers) -> list[tuple[str, str, int, float]]:
    """(true, predicted, count, share of the true class), the most frequent confusion first."""
    counts = confusion_counts(answers.predicted, answers.labels, len(subject.classes))
    totals = counts.sum(1)
    off = counts.clone().fill_diagonal_(0)
    order = off.flatten().argsort(descending=True, stable=True)[:10].tolist()
    size = len(subject.classes)
    return [
        (
            subject.classes[i // size],
            subject.classes[i % size],
            int(off[i // size, i % size]),
            int(off[i // size, i % size]) / int(totals[i // size]),
        )
        for i in order
        if off[i // size, i % size] > 0
    ]


def _confusion(subject: Subject, answers: Answers) -> Exhibit:
    counts = confusion_counts(answers.predicted, answers.labels, len(subject.classes))
    pairs = _pairs(subject, answers)
    right, total = int(answers.correct.sum()), len(answers.labels)
    low, high = wilson_interval(right, total)
    worst = (
        f"The most frequent confusion is {pairs[0][0]} taken for {pairs[0][1]}, {often(pairs[0][2])}."
        if pairs
        else "No picture was taken for another class."
    )
    shown = min(len(subject.classes), MOST)
    both = next(
        (
            f" The pair of {a} and {b} is confused both ways."
            for a, b, *_ in pairs
            if any((b, a) == other[:2] for other in pairs)
        ),
        "",
    )
    return Exhibit(
        "mistakes-confusion",
        "Which class is taken for which",
        Caption(
            see="Rows are the true classes, columns what the network said; a number counts pictures, a colour is its share of the row, on a "
            "scale that is stretched at its low end so that rare confusions show. "
            + (
                f"Of {len(subject.classes):,} classes, the {shown} that take part in most confusions are shown. "
                if shown < len(subject.classes)
                else ""
            )
            + f"{right:,} of {total:,} pictures were named right, on the diagonal: {percent(right / total, decimals=1)} (95 % interval {low * 100:.1f} to {high * 100:.1f} %).",
            read=f"Read along a row: where did the pictures of a class go? {worst}{both} A column that is bright away "
            "from the diagonal is a class the network says too readily.",
            cannot="It does not say why two classes are confused: for that, look at the pictures, and at the maps of the attention section.",
        ),
        alt=f"Confusion matrix of {len(subject.classes)} classes over {total:,} pictures: {percent(right / total, decimals=1)} on the diagonal. {worst}",
        figure=confusion_matrix(counts.numpy(), subject.classes) if len(subject.classes) > 1 else None,
        numbers={
            "n": total,
            "right": right,
            "accuracy": right / total,
            "interval": [low, high],
            "classes": subject.classes,
            "counts": counts.tolist() if len(subject.classes) <= 100 else None,
            "pairs": [{"true": a, "predicted": b, "count": n, "share": s} for a, b, n, s in pairs],
        },
    )


def _errors(subject: Subject, answers: Answers) -> Exhibit:
    order = [i for i in answers.confidence.argsort(descending=True, stable=True).tolist() if not answers.correct[i]]
    shown = order[: subject.preset.grid]
    names = subject.classes
    truth = answers.probabilities[torch.arange(len(answers.labels)), answers.labels]
    captions = [
        f"{names[int(answers.predicted[i])]} {percent(float(answers.confidence[i]))}\nis {names[int(answers.labels[i])]} "
        f"({percent(float(truth[i]))})"
        for i in shown
    ]
    worst = shown[0]
    sure = sum(float(answers.confidence[i]) > 0.9 for i in order)
    return Exhibit(
        "mistakes-confident",
        "The most confident errors",
        Caption(
            see=(
                f"The {len(shown)} wrong answers of which the network was surest, out of {len(order):,}. "
                if len(shown) < len(order)
                else f"{counted(len(shown), 'wrong answer').capitalize()}, all there {'is' if len(shown) == 1 else 'are'}, the surest first. "
            )
            + "In red, what it said and with which probability; under it, the true class and the probability left for that.",
            read=f"These teach most. {sure:,} of {counted(len(order), 'error')} {'was' if sure == 1 else 'were'} made with more than 90 % confidence. Ask of each: is the label wrong, is the "
            "picture ambiguous, or did the network look at something else?",
            cannot="The probability is the network's own claim, not a measured frequency: the calibration chart below checks that claim.",
        ),
        alt=f"Grid of {counted(len(shown), 'misclassified picture')}; the most confident is {names[int(answers.labels[worst])]} taken for "
        f"{names[int(answers.predicted[worst])]} with {percent(float(answers.confidence[worst]), decimals=1)}.",
        figure=picture_grid(pixels(answers.batch.images[shown]), captions, borders=["bad"] * len(shown), side=136),
        kind="picture",
        numbers={
            "errors": len(order),
            "above_90_percent": sure,
            "shown": [
                {
                    "name": answers.batch.names[i],
                    "true": names[int(answers.labels[i])],
                    "predicted": names[int(answers.predicted[i])],
                    "probability": float(answers.confidence[i]),
                    "probability_of_true": float(truth[i]),
                }
                for i in shown
            ],
        },
    )


def _calibration(answers: Answers) -> Exhibit:
    bins = 10 if len(answers.labels) >= 200 else 5
    measured = calibration(answers.confidence, answers.correct, bins=bins, by="width")
    mean, accuracy = float(answers.confidence.mean()), float(answers.correct.float().mean())
    small = len(answers.labels) < 200
    gap = mean - accuracy
    side = (
        "about as sure as it is right"
        if abs(gap) < 0.01
        else f"surer than it is right, by {gap * 100:.1f} points"
        if gap > 0
        else f"less sure than it could be, by {-gap * 100:.1f} points"
    )
    return Exhibit(
        "mistakes-calibration",
        "Does it know when it does not know?",
        Caption(
            see="Predictions sorted by the confidence the network claimed. Bar height: how many of them were right, with a 95 % interval; the "
            "hatched part is the gap to the mean confidence of the bin. On the dashed diagonal, claim and truth agree. Below: how many predictions fall "
            "into each bin, the wrong ones in red.",
            read=f"Mean confidence {percent(mean, decimals=1)}, accuracy {percent(accuracy, decimals=1)}: on the whole the network is {side}. The expected calibration error, the mean gap "
            f"weighted by pictures, is {measured.error * 100:.1f} percentage points. Bars below the diagonal: too sure. Above: too modest.",
            cannot=("With so few pictures the intervals are wide: do not read single bars. " if small else "")
            + "Calibration holds for pictures like these; on other kinds of pictures networks are often far too sure.",
        ),
        alt=f"Reliability diagram: expected calibration error {measured.error * 100:.1f} percentage points over {counted(len(answers.labels), 'picture')}; "
        f"on the whole {side}.",
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
    counts = confusion_counts(answers.predicted, answers.labels, len(subject.classes))
    rows = []
    for index, name in enumerate(subject.classes):
        n, said, hits = int(counts[index].sum()), int(counts[:, index].sum()), int(counts[index, index])
        if n or said:
            low, high = wilson_interval(hits, n) if n else (0.0, 1.0)
            rows.append(
                (
                    name,
                    n,
                    round(100 * hits / n, 1) if n else None,
                    f"{low * 100:.0f} to {high * 100:.0f}" if n else None,
                    round(100 * hits / said, 1) if said else None,
                )
            )
    known = [(recall, row[0]) for row in rows if (recall := row[2]) is not None]
    least = min(recall for recall, _ in known)
    hardest = [name for recall, name in known if recall == least]
    if least == 100:
        found = "Every picture of every class was found."
    elif len(hardest) == 1:
        found = f"The hardest class is {hardest[0]} with a recall of {least} %."
    else:
        found = f"{len(hardest)} classes share the lowest recall, {least} %: {', '.join(hardest[:5])}{' and others' if len(hardest) > 5 else ''}."
    return Exhibit(
        "mistakes-classes",
        "One row per class",
        Caption(
            see="Recall: of the pictures of this class, how many the network found, with a 95 % interval. Precision: of the times it said this class, how often it was right.",
            read=f"{found} High precision with low recall: the network says the class "
            "too rarely; the other way round: too readily.",
            cannot="With few pictures per class the interval is wide, and of many classes one always comes last: classes whose intervals overlap may well be "
            "equally hard.",
        ),
        alt=f"Table of recall and precision of {counted(len(rows), 'class', 'classes')}. {found}",
        table=Table(
            (
                Column("class"),
                Column("pictures", "", True),
                Column("recall", "%", True),
                Column("95 % interval", "%"),
                Column("precision", "%", True),
            ),
            tuple(rows),
        ),
        numbers={"rows": rows},
    )
