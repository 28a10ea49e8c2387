"""The table of levels, on counts: one row a test."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from vgg_viz.maths.judgement import Judgement, Measured, Training, judge
from vgg_viz.models.build import architecture
from vgg_viz.records import Batch, Checkpoint
from vgg_viz.sections.report.verdict import verdict
from vgg_viz.studies.answers import Answers

MRI = Measured(
    [[0, 17, 8, 0], [0, 22, 0, 3], [0, 1, 24, 0], [0, 0, 3, 22]], ["glioma", "meningioma", "notumor", "pituitary"]
)
SAMPLE_RIGHT = (198, 159, 200, 196, 184, 162, 199, 181, 190, 193)


def ring(right: list[int], n: int) -> list[list[int]]:
    """Counts whose wrong answers all fall on the next class."""
    size = len(right)
    return [
        [right[at] if to == at else n - right[at] if to == (at + 1) % size else 0 for to in range(size)]
        for at in range(size)
    ]


def measured(right: list[int], n: int, **more: object) -> Measured:
    return Measured(ring(right, n), [f"c{at}" for at in range(len(right))], held_out=True, shortcut=False, **more)  # type: ignore[arg-type]


def told(judgement: Judgement) -> list[tuple[str, str]]:
    return [(finding.level, finding.key) for finding in judgement.findings]


THREE_AT_ZERO = [0 if at in (7, 70, 700) else 36 for at in range(1000)]
TABLE = {
    "a class never recognised": (MRI, [("bad", "class"), ("note", "split"), ("note", "untested")]),
    "the sample": (measured(list(SAMPLE_RIGHT), 200), [("good", "accuracy"), ("note", "weakest"), ("note", "weakest")]),
    "over-fit": (measured([83] * 10, 200, training=Training(1.0, 0.415, True)), [("bad", "overfit")]),
    "over-fit at chance": (measured([20] * 10, 200, training=Training(1.0, 0.1, True)), [("bad", "overfit")]),
    "augmented training": (measured([190] * 10, 200, training=Training(1.0, 0.7, False)), [("good", "accuracy")]),
    "always the first": (
        Measured([[190, 0], [10, 0]], "ab", held_out=True, shortcut=False),
        [("bad", "class"), ("bad", "chance")],
    ),
    "12 pictures": (Measured([[6, 0], [1, 5]], "ab", held_out=True, shortcut=False), [("warn", "few")]),
    "one weak, too sure": (
        measured([184] * 3 + [130] + [184] * 6, 200, gap=0.07, gap_noise=0.01),
        [("good", "accuracy"), ("warn", "confidence"), ("warn", "weakest")],
    ),
    "uniform": (Measured([[10] * 10] * 10, "abcdefghij", held_out=True, shortcut=False), [("bad", "chance")]),
    "three of 1,000 at zero": (measured(THREE_AT_ZERO, 50), [("bad", "class")]),
    "an audit's shortcut": (
        Measured(MRI.counts, MRI.classes, held_out=True, shortcut=True),
        [("bad", "class"), ("bad", "shortcut")],
    ),
}


@pytest.mark.parametrize("case", TABLE)
def test_levels_and_order(case: str) -> None:
    given, expected = TABLE[case]
    assert told(judge(given)) == expected


def test_failing_classes_are_named() -> None:
    assert [(row.name, row.went_to[0]) for row in judge(MRI).findings[0].evidence["rows"]] == [
        ("glioma", ("meningioma", 17))
    ]
    assert {row.name for row in judge(measured(THREE_AT_ZERO, 50)).findings[0].evidence["rows"]} == {
        "c7",
        "c70",
        "c700",
    }


def test_refuses_counts_that_do_not_fit() -> None:
    with pytest.raises(ValueError):
        judge(Measured([[1, 2]], "ab"))
    with pytest.raises(ValueError):
        judge(Measured([[0, 0], [0, 0]], "ab"))


def test_a_page_leads_with_the_class_that_is_never_recognised() -> None:
    counts = torch.tensor(MRI.counts)
    labels = torch.arange(4).repeat_interleave(25)
    predicted = torch.cat([torch.arange(4).repeat_interleave(row) for row in counts])
    batch = Batch(torch.rand(100, 3, 4, 4), labels, tuple(map(str, range(100))))
    subject = SimpleNamespace(
        answers=Answers(batch, labels, nn.functional.one_hot(predicted, 4).float()),
        classes=MRI.classes,
        inputs=SimpleNamespace(measured_on=None),
        checkpoint=Checkpoint(architecture("tiny_vgg", num_classes=4), tuple(MRI.classes), {}),
        once=lambda _what, make: make(),
    )
    leading = verdict(subject, [])[0]  # type: ignore[arg-type]
    assert leading.level == "bad"
    assert leading.text.startswith(MRI.classes[0])
    assert leading.detail.index("(17)") < leading.detail.index("(8)")
