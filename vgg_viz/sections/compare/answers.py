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
from vgg_viz.maths.metrics import confusion_counts, paired_interval
from vgg_viz.number_text import counted, percent
from vgg_viz.records import Caption, Column, Exhibit, Table
from vgg_viz.sections.compare.verdict import signed
from vgg_viz.studies.pair import Pair
from vgg_viz.studies.subject import Answers

ROW = 6  # photographs in a row


@section(
    "changes",
    study="comparison",
    title="What changed",
    order=20,
    lead="The same pictures, both answers: which did B win, which did it lose, and where among the classes?",
)
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
    groups = (
        ("both right", "", int((a.correct & b.correct).sum())),
        ("was wrong, now right", " (only B is right)", int((~a.correct & b.correct).sum())),
        ("was right, now wrong", " (only A is right)", int((a.correct & ~b.correct).sum())),
        ("both wrong, with the same answer", "", int(alike.sum())),
        ("both wrong, with different answers", "", int((wrong & ~alike).sum())),
    )
    parts = tuple((name + meaning, pictures) for name, meaning, pictures in groups)
    total = len(a.labels)
    agree = int((a.predicted == b.predicted).sum())
    return Exhibit(
        "compare-transitions",
        "Every picture, before and after",
        Caption(
            see=f"All {counted(total, 'picture')} by what A and B said about them, in one bar and as numbers.",
            read=f"Only the second and the third group tell which network is better: {parts[1][1]:,} against {parts[2][1]:,}. They give the same answer, right or wrong, to "
            f"{percent(agree / total)} of the pictures. Mistakes that both make alike often have their cause in the picture or its label.",
            cannot="A single accuracy hides these groups: two networks of equal accuracy can disagree on many pictures. Nor does the table say "
            "that the change from A to B, rather than another run with another seed, made the difference.",
        ),
        alt="Bar of "
        + ", ".join(f"{pictures:,} {name}" for name, _, pictures in groups)
        + f", of {counted(total, 'picture')}.",
        figure=transitions(parts, title="From A to B"),
        table=Table(
            (Column("answers of A and B"), Column("pictures", "", True), Column("share", "%", True)),
            tuple((name, pictures, round(100 * pictures / total, 2)) for name, pictures in parts),
        ),
        numbers={
            "n": total,
            "same_answer": agree,
            **dict(
                zip(
                    ("both_right", "only_b_right", "only_a_right", "both_wrong_alike", "both_wrong_differently"),
                    (pictures for _, pictures in parts),
                    strict=True,
                )
            ),
        },
    )


def _pictures(pair: Pair, a: Answers, b: Answers) -> Exhibit:
    fixed, broken = pair.changed
    rows = []
    for heading, indices in (
        (f"Was wrong, now right: {counted(len(fixed), 'picture')}", fixed[:ROW]),
        (f"Was right, now wrong: {counted(len(broken), 'picture')}", broken[:ROW]),
    ):
        images = pixels(pair.finest(indices)) if indices else []
        rows.append((heading, [(image, told(pair, a, b, i)) for image, i in zip(images, indices, strict=True)]))
    return Exhibit(
        "compare-changed",
        "Was wrong, now right; was right, now wrong",
        Caption(
            see=f"Above, up to {ROW} pictures that only B names right, below up to {ROW} that only A names right: in each row those first of which the network that is "
            "wrong was surest. Under each picture both answers with their probabilities, and the true class.",
            read="Look for what the pictures of a row have in common: a class, a size, a ground. A second row as long as the first means that the networks differ, not "
            "that one is better.",
            cannot="These are the surest mistakes, not typical ones; and with few pictures a row can be chance.",
        ),
        alt=f"Two rows of photographs: {len(fixed):,} were wrong in A and are right in B, {len(broken):,} the other way round; the first {ROW} of each are shown.",
        figure=picture_rows(rows, side=128),
        kind="picture",
        numbers={
            "was_wrong_now_right": len(fixed),
            "was_right_now_wrong": len(broken),
            "shown": [[_numbers(pair, a, b, i) for i in indices[:ROW]] for indices in (fixed, broken)],
        },
    )


def told(pair: Pair, a: Answers, b: Answers, i: int) -> list[tuple[str, bool | None]]:
    """The lines under a picture: what A said, what B said, what it is."""
    said = [
        (
            f"{letter}: {pair.classes[int(answers.predicted[i])]} {percent(float(answers.confidence[i]))}",
            bool(answers.correct[i]),
        )
        for letter, answers in (("A", a), ("B", b))
    ]
    return [*said, (f"is {pair.classes[int(a.labels[i])]}", None)]


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
    """One class: pictures, those that A and B got right, and B minus A with its 95 % interval, [-1, 1]."""

    name: str
    n: int
    right_a: int
    right_b: int
    interval: tuple[float, float]

    @property
    def difference(self) -> float:
        return (self.right_b - self.right_a) / self.n


def class_rows(pair: Pair, a: Answers, b: Answers) -> list[ClassRow]:
    """Every class that has pictures, in the order of the classes."""
    found = []
    for index, name in enumerate(pair.classes):
        here = a.labels == index
        one, other = a.correct[here], b.correct[here]
        if n := int(here.sum()):
            cells = [int(part.sum()) for part in (one & other, one & ~other, ~one & other, ~one & ~other)]
            found.append(ClassRow(name, n, int(one.sum()), int(other.sum()), paired_interval(*cells)))
    return found


def _classes(pair: Pair, a: Answers, b: Answers) -> Exhibit:
    rows = class_rows(pair, a, b)
    clear = [row for row in rows if not row.interval[0] <= 0 <= row.interval[1]]
    most = max(rows, key=lambda row: abs(row.difference))
    shown = rows
    if len(rows) > MOST:
        largest = sorted(rows, key=lambda row: abs(row.difference), reverse=True)[:MOST]
        shown = [row for row in rows if row in largest]
    said = (
        f"The largest difference is that of {most.name}: {signed(100 * most.difference)} percentage points."
        if most.difference
        else "No class differs in accuracy."
    )
    return Exhibit(
        "compare-classes",
        "Class by class",
        Caption(
            see=f"Left, how many pictures of each class A (circle) and B (square) found; right, the difference B minus A with its 95 % interval. "
            f"{counted(len(shown), 'class', 'classes').capitalize()}"
            + (f", those of {len(rows):,} with the largest differences." if len(shown) < len(rows) else "."),
            read=f"{said} For {counted(len(clear), 'class', 'classes')} the interval leaves out zero.",
            cannot="Of 100 classes that do not differ at all, about 5 intervals would leave out zero by chance: one class alone is little evidence. Wide intervals "
            "only say that there are few pictures.",
        ),
        alt=f"Chart of the accuracy of A and B in {counted(len(shown), 'class', 'classes')}. {said}",
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
    more, fewer = (_worst(pair, direction) for direction in (off, -off))
    said = (
        " ".join(
            f"B takes {true} for {taken} {counted(n, 'time')} {word} than A, the largest such change."
            for word, found in (("less often", fewer), ("more often", more))
            if found
            for true, taken, n in [found]
        )
        or "No confusion became more or less frequent."
    )
    return Exhibit(
        "compare-confusion",
        "Which confusions came and went",
        Caption(
            see="The confusion matrix of B minus that of A: rows are the true classes, columns the answers, a number is how many pictures more (red) or fewer (blue) "
            "B put there. Cells without a change stay empty."
            + (f" The {MOST} classes that change most are shown." if size > MOST else ""),
            read=f"On the diagonal red is good: more pictures named right. Elsewhere red is a confusion that grew. {said}",
            cannot="A cell counts pictures that went there, not the same ones: two pictures in and two out leave it empty.",
        ),
        alt=f"Signed matrix of changed counts over {counted(len(a.labels), 'picture')}. {said}",
        figure=confusion_difference(change.numpy(), pair.classes),
        numbers={
            "classes": pair.classes,
            "change": change.tolist() if size <= 100 else None,
            "grew_most": more,
            "shrank_most": fewer,
        },
    )


def _worst(pair: Pair, change: Tensor) -> tuple[str, str, int] | None:
    place = int(change.argmax())
    size = len(pair.classes)
    n = int(change.flatten()[place])
    return (pair.classes[place // size], pair.classes[place % size], n) if n > 0 else None
