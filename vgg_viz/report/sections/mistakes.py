"""Mistakes: which classes are confused, what the worst errors look like, and whether confidence can be believed."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from vgg_viz.errors import SectionMissing
from vgg_viz.figures.calibration import reliability
from vgg_viz.figures.confusion import confusion_matrix
from vgg_viz.figures.pictures import picture_grid
from vgg_viz.maths.metrics import calibration, confusion_counts, wilson_interval
from vgg_viz.records import Caption, Column, Exhibit, Finding, Table
from vgg_viz.report.section import Answers, Subject, pixels, section


def answers_of(subject: Subject) -> Answers:
    """The answers to labelled pictures; SectionMissing where nobody knows the labels."""
    if subject.answers is None:
        raise SectionMissing(
            "There are no labelled pictures, so nobody can say what is a mistake.", "python -m vgg_viz report CHECKPOINT --data DIR"
        )
    return subject.answers


def findings(subject: Subject) -> Iterator[Finding]:
    """The worst confusion, and over- or under-confidence."""
    answers = answers_of(subject)
    pairs = _pairs(subject, answers)
    if pairs:
        true, predicted, count, share = pairs[0]
        yield Finding("note", f"Most frequent confusion: {true} taken for {predicted} ({count} times, {share * 100:.0f} % of the class).")
    measured = calibration(answers.confidence, answers.correct)
    gap = float(answers.confidence.mean() - answers.correct.float().mean())
    if len(answers.labels) >= 100 and measured.error > 0.05:
        kind = "too sure of itself" if gap > 0 else "less sure than it could be"
        yield Finding("warn", f"It is {kind}: expected calibration error {measured.error * 100:.1f} percentage points.")


@section(
    "mistakes", title="Mistakes", order=40,
    lead="A single accuracy hides where a network fails. Here is which classes it confuses, its most confident errors, and whether it knows "
    "when it does not know.",
)  # fmt: skip
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
        (subject.classes[i // size], subject.classes[i % size], int(off[i // size, i % size]), int(off[i // size, i % size]) / int(totals[i // size]))
        for i in order
        if off[i // size, i % size] > 0
    ]  # fmt: skip


def _confusion(subject: Subject, answers: Answers) -> Exhibit:
    counts = confusion_counts(answers.predicted, answers.labels, len(subject.classes))
    pairs = _pairs(subject, answers)
    right, total = int(answers.correct.sum()), len(answers.labels)
    low, high = wilson_interval(right, total)
    worst = f"The most frequent confusion is {pairs[0][0]} taken for {pairs[0][1]}, {pairs[0][2]} times." if pairs else "There is no confusion."
    both = next(
        (f" {a} and {b} are confused both ways." for a, b, *_ in pairs if any((b, a) == other[:2] for other in pairs)), ""
    )  # fmt: skip
    return Exhibit(
        "mistakes-confusion",
        "Which class is taken for which",
        Caption(
            see=f"Rows are the true classes, columns what the network said; a number counts pictures, a colour is its share of the row. "
            f"{right:,} of {total:,} pictures lie on the diagonal: {right / total * 100:.1f} % right (95 % interval {low * 100:.1f} to {high * 100:.1f} %).",
            read=f"Read along a row: where did the pictures of a class go? {worst}{both} A whole column that lights up is a class the network "
            "says too readily.",
            cannot="It does not say why two classes are confused. Look at the pictures below, and at where the network looked.",
        ),
        alt=f"Confusion matrix of {len(subject.classes)} classes over {total:,} pictures: {right / total * 100:.1f} % on the diagonal. {worst}",
        figure=confusion_matrix(counts.numpy(), subject.classes) if len(subject.classes) > 1 else None,
        numbers={
            "n": total, "right": right, "accuracy": right / total, "interval": [low, high], "classes": subject.classes,
            "counts": counts.tolist() if len(subject.classes) <= 100 else None,
            "pairs": [{"true": a, "predicted": b, "count": n, "share": s} for a, b, n, s in pairs],
        },
    )  # fmt: skip


def _errors(subject: Subject, answers: Answers) -> Exhibit:
    order = [i for i in answers.confidence.argsort(descending=True, stable=True).tolist() if not answers.correct[i]]
    shown = order[: subject.preset.grid]
    names = subject.classes
    truth = answers.probabilities[torch.arange(len(answers.labels)), answers.labels]
    captions = [
        f"{names[int(answers.predicted[i])]} {float(answers.confidence[i]) * 100:.0f} %\nis {names[int(answers.labels[i])]} "
        f"({float(truth[i]) * 100:.0f} %)"
        for i in shown
    ]  # fmt: skip
    worst = shown[0]
    sure = sum(float(answers.confidence[i]) > 0.9 for i in order)
    return Exhibit(
        "mistakes-confident",
        "The most confident errors",
        Caption(
            see=f"The {len(shown)} wrong answers of which the network was surest, out of {len(order)}. Above: what it said and its probability; "
            "below: the true class and the probability it left for that.",
            read=f"These teach most. {sure} of {len(order)} errors were made with more than 90 % confidence. Ask of each: is the label wrong, is the "
            "picture ambiguous, or did the network look at something else?",
            cannot="The probability is the network's own claim, not a measured frequency: the calibration chart below checks that claim.",
        ),
        alt=f"Grid of {len(shown)} misclassified pictures; the most confident is {names[int(answers.labels[worst])]} taken for "
        f"{names[int(answers.predicted[worst])]} with {float(answers.confidence[worst]) * 100:.1f} %.",
        figure=picture_grid(pixels(answers.batch.images[shown]), captions, borders=["bad"] * len(shown), side=136),
        kind="picture",
        numbers={
            "errors": len(order), "above_90_percent": sure,
            "shown": [
                {
                    "name": answers.batch.names[i], "true": names[int(answers.labels[i])], "predicted": names[int(answers.predicted[i])],
                    "probability": float(answers.confidence[i]), "probability_of_true": float(truth[i]),
                }
                for i in shown
            ],
        },
    )  # fmt: skip


def _calibration(answers: Answers) -> Exhibit:
    bins = 10 if len(answers.labels) >= 200 else 5
    measured = calibration(answers.confidence, answers.correct, bins=bins, by="width")
    mean, accuracy = float(answers.confidence.mean()), float(answers.correct.float().mean())
    small = len(answers.labels) < 200
    return Exhibit(
        "mistakes-calibration",
        "Does it know when it does not know?",
        Caption(
            see="Predictions sorted by the confidence the network claimed. Bar height: how many of them were right, with a 95 % interval. "
            "On the dashed diagonal, claim and truth agree. Below: how many predictions fall into each bin.",
            read=f"Mean confidence {mean * 100:.1f} %, accuracy {accuracy * 100:.1f} %; the expected calibration error, the mean distance from the "
            f"diagonal weighted by pictures, is {measured.error * 100:.1f} percentage points. Bars below the diagonal: too sure. Above: too modest.",
            cannot=("With so few pictures the intervals are wide: do not read single bars. " if small else "")
            + "Calibration holds for pictures like these; on other kinds of pictures networks are usually far too sure.",
        ),
        alt=f"Reliability diagram: expected calibration error {measured.error * 100:.1f} percentage points over {len(answers.labels):,} pictures.",
        figure=reliability(answers.confidence.numpy(), answers.correct.numpy(), bins=bins),
        numbers={
            "ece": measured.error, "mean_confidence": mean, "accuracy": accuracy,
            "bins": [{"low": b.low, "high": b.high, "count": b.count, "confidence": b.confidence, "accuracy": b.accuracy} for b in measured.bins],
        },
    )  # fmt: skip


def _classes(subject: Subject, answers: Answers) -> Exhibit:
    counts = confusion_counts(answers.predicted, answers.labels, len(subject.classes))
    rows = []
    for index, name in enumerate(subject.classes):
        n, said, hits = int(counts[index].sum()), int(counts[:, index].sum()), int(counts[index, index])
        if n or said:
            low, high = wilson_interval(hits, n) if n else (0.0, 1.0)
            rows.append((
                name, n, round(100 * hits / n, 1) if n else None, f"{low * 100:.0f} to {high * 100:.0f}" if n else None,
                round(100 * hits / said, 1) if said else None,
            ))  # fmt: skip
    _, hardest = min(((recall, row) for row in rows if (recall := row[2]) is not None), key=lambda pair: pair[0])
    return Exhibit(
        "mistakes-classes",
        "One row a class",
        Caption(
            see="Recall: of the pictures of this class, how many were found. Precision: of the times the network said this class, how many were right.",
            read=f"The hardest class is {hardest[0]} with a recall of {hardest[2]} %. High precision with low recall: the network says the class "
            "too rarely; the other way round: too readily.",
            cannot="With few pictures a class the interval is wide: two classes whose intervals overlap are not proved different.",
        ),
        alt=f"Table of recall and precision of {len(rows)} classes; the hardest is {hardest[0]} with {hardest[2]} % recall.",
        table=Table(
            (Column("class"), Column("pictures", "", True), Column("recall", "%", True), Column("95 % interval", "%"), Column("precision", "%", True)),
            tuple(rows),
        ),
        numbers={"rows": rows},
    )  # fmt: skip
