"""What changed between A and B: which pictures, which classes, which confusions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vgg_viz.figures.comparison import class_accuracy, transitions
from vgg_viz.figures.confusion import MOST, confusion_difference
from vgg_viz.figures.image_grid import pixels
from vgg_viz.figures.pictures import picture_rows
from vgg_viz.gallery.sections import section
from vgg_viz.gallery.texts import Texts
from vgg_viz.maths.metrics import confusion_counts, paired_interval
from vgg_viz.number_text import percent
from vgg_viz.records import Column, Exhibit, Table
from vgg_viz.sections.compare.verdict import signed
from vgg_viz.studies.answers import Answers
from vgg_viz.studies.pair import Pair

TEXTS = Texts(__name__)
ROW = 6  # photographs in a row


@section("changes", study="comparison", order=20, needs="scores")
def changes(pair: Pair) -> Iterator[Exhibit]:
    """The transition table, the pictures that changed, and the classes and confusions behind them."""
    a, b = pair.answered()
    yield _transitions(a, b)
    if any(pair.changed):
        yield _pictures(pair, a, b)
    yield _classes(pair, a, b)
    yield _confusion(pair, a, b)


def _transitions(a: Answers, b: Answers) -> Exhibit:
    wrong = ~a.correct & ~b.correct
    alike = wrong & (a.predicted == b.predicted)
    groups = {
        "both_right": (TEXTS.say("groups.both_right"), a.correct & b.correct),
        "only_b_right": (TEXTS.say("groups.won"), ~a.correct & b.correct),
        "only_a_right": (TEXTS.say("groups.lost"), a.correct & ~b.correct),
        "both_wrong_alike": (TEXTS.say("groups.both_wrong_alike"), alike),
        "both_wrong_differently": (TEXTS.say("groups.both_wrong_differently"), wrong & ~alike),
    }
    meanings = {"only_b_right": TEXTS.say("groups.only_b"), "only_a_right": TEXTS.say("groups.only_a")}
    counts = {key: int(members.sum()) for key, (_, members) in groups.items()}
    parts = tuple((f"{name} {meanings.get(key, '')}".rstrip(), counts[key]) for key, (name, _) in groups.items())
    total = len(a.labels)
    agree = int((a.predicted == b.predicted).sum())
    text = TEXTS.exhibit(
        "transitions",
        pictures=total,
        counts=list(counts.values()),
        groups=[name for name, _ in groups.values()],
        same_answer=agree,
    )
    return Exhibit(
        "compare-transitions",
        text.title,
        text.caption,
        text.alt,
        figure=transitions(parts, title="From A to B"),
        table=Table(
            (Column("answers of A and B"), Column("pictures", "", True), Column("share", "%", True)),
            tuple((name, pictures, round(100 * pictures / total, 2)) for name, pictures in parts),
        ),
        numbers={"n": total, "same_answer": agree, **counts},
    )


def _pictures(pair: Pair, a: Answers, b: Answers) -> Exhibit:
    won, lost = pair.changed
    rows = []
    for heading, places in (
        (TEXTS.say("pictures.heading_won", won=len(won)), won[:ROW]),
        (TEXTS.say("pictures.heading_lost", lost=len(lost)), lost[:ROW]),
    ):
        images = pixels(pair.finest(places)) if places else []
        rows.append((heading, [(image, answer_lines(pair, i)) for image, i in zip(images, places, strict=True)]))
    text = TEXTS.exhibit("pictures", most=ROW, won=len(won), lost=len(lost))
    return Exhibit(
        "compare-changed",
        text.title,
        text.caption,
        text.alt,
        figure=picture_rows(rows, side=128),
        kind="picture",
        numbers={
            "was_wrong_now_right": len(won),
            "was_right_now_wrong": len(lost),
            "shown": [[_numbers(pair, a, b, i) for i in places[:ROW]] for places in (won, lost)],
        },
    )


def answer_lines(pair: Pair, place: int) -> list[tuple[str, bool | None]]:
    """The lines under a labelled picture: what A says, what B says, what it is; with whether an answer is right."""
    lines: list[tuple[str, bool | None]] = []
    for letter, answers in zip("AB", pair.answered(), strict=True):
        name, confidence = pair.classes[int(answers.predicted[place])], float(answers.confidence[place])
        lines.append((f"{letter}: {name} {percent(confidence)}", bool(answers.correct[place])))
    return [*lines, (f"is {pair.classes[int(answers.labels[place])]}", None)]


def _numbers(pair: Pair, a: Answers, b: Answers, i: int) -> dict[str, object]:
    return {
        "name": a.batch.names[i],
        "true": pair.classes[int(a.labels[i])],
        **{
            letter: {"predicted": pair.classes[int(answers.predicted[i])], "confidence": float(answers.confidence[i])}
            for letter, answers in (("a", a), ("b", b))
        },
    }


# ---------------------------------------------------------------- classes


@dataclass(frozen=True, slots=True)
class ClassRow:
    """One class: pictures, those that A and B got right, and the 95 % interval of B minus A, [-1, 1]."""

    name: str
    n: int
    right_a: int
    right_b: int
    interval: tuple[float, float]

    @property
    def difference(self) -> float:
        """Accuracy of B minus that of A, [-1, 1]."""
        return (self.right_b - self.right_a) / self.n


def class_rows(pair: Pair, a: Answers, b: Answers) -> list[ClassRow]:
    """Every class that has pictures, in the order of the classes."""
    rows = []
    for index, name in enumerate(pair.classes):
        members = a.labels == index
        of_a, of_b = a.correct[members], b.correct[members]
        if n := int(members.sum()):
            cells = [int(part.sum()) for part in (of_a & of_b, of_a & ~of_b, ~of_a & of_b, ~of_a & ~of_b)]
            rows.append(ClassRow(name, n, int(of_a.sum()), int(of_b.sum()), paired_interval(*cells)))
    return rows


def _classes(pair: Pair, a: Answers, b: Answers) -> Exhibit:
    rows = class_rows(pair, a, b)
    clear = [row for row in rows if not row.interval[0] <= 0 <= row.interval[1]]
    most = max(rows, key=lambda row: abs(row.difference))
    shown = rows
    if len(rows) > MOST:
        by_size = sorted(rows, key=lambda row: abs(row.difference), reverse=True)
        shown = [row for row in rows if row in by_size[:MOST]]
    largest = TEXTS.say(
        "classes.largest", difference=most.difference, name=most.name, points=signed(100 * most.difference)
    )
    text = TEXTS.exhibit("classes", shown=len(shown), classes=len(rows), clear=len(clear), largest=largest)
    return Exhibit(
        "compare-classes",
        text.title,
        text.caption,
        text.alt,
        figure=class_accuracy(
            [row.name for row in shown],
            torch.tensor([[row.right_a for row in shown], [row.right_b for row in shown]]).numpy(),
            torch.tensor([row.n for row in shown]).numpy(),
            torch.tensor([row.difference for row in shown], dtype=torch.float64).numpy(),
            torch.tensor([row.interval for row in shown], dtype=torch.float64).numpy(),
            title="Accuracy of A and B in every class"
            if len(shown) == len(rows)
            else f"The {len(shown)} classes that differ most",
        ),
        table=Table(
            (
                Column("class"),
                Column("pictures", "", True),
                Column("A", "%", True),
                Column("B", "%", True),
                Column("B minus A", "points", True),
                Column("95 % interval", "points"),
            ),
            tuple(
                (
                    row.name,
                    row.n,
                    round(100 * row.right_a / row.n, 1),
                    round(100 * row.right_b / row.n, 1),
                    round(100 * row.difference, 1),
                    f"{signed(100 * row.interval[0])} to {signed(100 * row.interval[1])}",
                )
                for row in rows
            ),
        ),
        numbers={
            "classes": [
                {
                    "name": row.name,
                    "n": row.n,
                    "right_a": row.right_a,
                    "right_b": row.right_b,
                    "difference": row.difference,
                    "interval": row.interval,
                }
                for row in rows
            ]
        },
    )


def _confusion(pair: Pair, a: Answers, b: Answers) -> Exhibit:
    size = len(pair.classes)
    counts = [confusion_counts(answers.predicted, answers.labels, size) for answers in (a, b)]
    change = counts[1] - counts[0]
    off = change.clone().fill_diagonal_(0)
    grew, shrank = (_largest(pair, direction) for direction in (off, -off))
    text = TEXTS.exhibit(
        "confusion",
        classes=size,
        most=MOST,
        pictures=len(a.labels),
        change=TEXTS.say("confusion.change", grew=grew, shrank=shrank),
    )
    return Exhibit(
        "compare-confusion",
        text.title,
        text.caption,
        text.alt,
        figure=confusion_difference(change.numpy(), pair.classes),
        numbers={
            "classes": pair.classes,
            "change": change.tolist() if size <= 100 else None,
            "grew_most": grew,
            "shrank_most": shrank,
        },
    )


def _largest(pair: Pair, change: Tensor) -> tuple[str, str, int] | None:
    place = int(change.argmax())
    size = len(pair.classes)
    n = int(change.flatten()[place])
    return (pair.classes[place // size], pair.classes[place % size], n) if n > 0 else None
