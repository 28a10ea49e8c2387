"""How sure A and B are of the same pictures, and whether either may be believed."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from vgg_viz.figures.calibration import two_calibrations
from vgg_viz.figures.comparison import chosen_confidence
from vgg_viz.figures.image_grid import pixels
from vgg_viz.figures.pictures import picture_rows
from vgg_viz.gallery.sections import section
from vgg_viz.maths.metrics import calibration
from vgg_viz.number_text import counted, percent
from vgg_viz.records import Caption, Exhibit
from vgg_viz.sections.compare.answers import ROW, told
from vgg_viz.studies.pair import Pair
from vgg_viz.studies.subject import Answers


@section(
    "confidence", study="comparison", title="Confidence", order=30, lead="Being right is one thing, knowing it another."
)
def confidences(pair: Pair) -> Iterator[Exhibit]:
    """The plane of both probabilities, the greatest disagreements, both calibrations."""
    a, b = pair.answered()
    yield _plane(a, b)
    yield _disagreements(pair, a, b)
    yield _calibrations(a, b)


def _true(answers: Answers) -> torch.Tensor:
    return answers.probabilities[torch.arange(len(answers.labels)), answers.labels]


def _plane(a: Answers, b: Answers) -> Exhibit:
    one, other = _true(a), _true(b)
    higher, total = int((other > one).sum()), len(one)
    mean = float((other - one).mean())
    return Exhibit(
        "compare-confidence",
        "How much each gives to the true class",
        Caption(
            see="Every picture has a place: to the right by the probability that A gives its true class, upwards by that of B. A colour counts the pictures of a "
            "square, on a scale of tens; empty squares have none.",
            read=f"Above the dashed line B gives the truth more than A does: {counted(higher, 'picture')} of {total:,}. On average B gives it "
            f"{abs(100 * mean):.1f} percentage points {'more' if mean >= 0 else 'less'}. Upper left: what B has learned and A had not; lower right: what it lost.",
            cannot="A high probability is a claim of the network. Whether such claims hold is what the calibration below tests.",
        ),
        alt=f"Two-way histogram of the true class's probability in A and in B; B gives it more on {higher:,} of {counted(total, 'picture')}.",
        figure=chosen_confidence(torch.stack([one, other]).numpy()),
        numbers={
            "n": total,
            "b_higher": higher,
            "mean_difference": mean,
            "mean_a": float(one.mean()),
            "mean_b": float(other.mean()),
        },
    )


def _disagreements(pair: Pair, a: Answers, b: Answers) -> Exhibit:
    apart = (a.probabilities - b.probabilities).abs().sum(1) / 2
    order = apart.argsort(descending=True, stable=True)[: 2 * ROW].tolist()
    images = pixels(pair.finest(order))
    shown = [(image, told(pair, a, b, i)) for image, i in zip(images, order, strict=True)]
    rows = [("Where they disagree most", shown[:ROW]), *([("and next", shown[ROW:])] if len(shown) > ROW else [])]
    right = sum(bool(b.correct[i]) for i in order), sum(bool(a.correct[i]) for i in order)
    return Exhibit(
        "compare-disagreements",
        "Where they disagree most",
        Caption(
            see=f"The {counted(len(order), 'picture')} on which the probabilities of A and B lie furthest apart, with both answers and the true class. The measure is half "
            "the sum of the differences over all classes: 0 when they agree in everything, 1 when each is sure of another class.",
            read=f"Of these, B is right on {right[0]} and A on {right[1]}. Pictures on which both are sure and only one can be right are the best place to ask what each of them "
            "looks at: the attention chapter has maps of some.",
            cannot="Disagreement is no mistake of either: on a picture that shows two things both may have a point.",
        ),
        alt=f"{counted(len(order), 'photograph')} with the answers of both; the furthest apart by {percent(float(apart[order[0]]))}. B is right on {right[0]}, A on {right[1]}.",
        figure=picture_rows(rows, side=128),
        kind="picture",
        numbers={
            "mean_distance": float(apart.mean()),
            "shown": [{"name": a.batch.names[i], "distance": float(apart[i])} for i in order],
            "b_right": right[0],
            "a_right": right[1],
        },
    )


def _calibrations(a: Answers, b: Answers) -> Exhibit:
    measured = [calibration(answers.confidence, answers.correct, by="width") for answers in (a, b)]
    gaps = [float(answers.confidence.mean() - answers.correct.float().mean()) for answers in (a, b)]
    errors = [100 * found.error for found in measured]
    words = [
        f"{letter} is {'too sure' if gap > 0 else 'less sure than it could be'} on average (by {abs(100 * gap):.1f} points)"
        for letter, gap in zip("AB", gaps, strict=True)
    ]
    return Exhibit(
        "compare-calibration",
        "May they be believed?",
        Caption(
            see="Above, how often each was right when it claimed a confidence, with 95 % intervals, in ten bins; on the dashed line claim and truth agree. Below, how "
            "often each claims which confidence.",
            read=f"The expected calibration error is {errors[0]:.1f} percentage points for A and {errors[1]:.1f} for B. {'; '.join(words)}. "
            "A network can be more often right and yet deserve less belief in its percentages.",
            cannot="Bins with few pictures have wide intervals, and the error depends on the number of bins. It says nothing about a single picture.",
        ),
        alt=f"Reliability diagram of both: expected calibration error {errors[0]:.1f} points for A, {errors[1]:.1f} for B.",
        figure=two_calibrations(measured[0].bins, measured[1].bins, title="Claimed and kept"),
        numbers={
            letter: {
                "error": found.error,
                "bins": [
                    {"low": b.low, "high": b.high, "count": b.count, "confidence": b.confidence, "accuracy": b.accuracy}
                    for b in found.bins
                ],
            }
            for letter, found in zip("ab", measured, strict=True)
        },
    )
