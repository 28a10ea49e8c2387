"""How sure A and B are of the same pictures, and whether either may be believed."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from vgg_viz.figures.calibration import two_calibrations
from vgg_viz.figures.comparison import chosen_confidence
from vgg_viz.figures.image_grid import pixels
from vgg_viz.figures.pictures import picture_rows
from vgg_viz.gallery.sections import section
from vgg_viz.gallery.texts import Texts
from vgg_viz.maths.metrics import calibration
from vgg_viz.records import Exhibit
from vgg_viz.sections.compare.answers import ROW, answer_lines
from vgg_viz.studies.answers import Answers
from vgg_viz.studies.pair import Pair

TEXTS = Texts(__name__)


@section("confidence", study="comparison", order=30, needs="scores")
def confidences(pair: Pair) -> Iterator[Exhibit]:
    """The plane of both probabilities, the greatest disagreements, both calibrations."""
    a, b = pair.answered()
    yield _plane(a, b)
    yield _disagreements(pair, a, b)
    yield _calibrations(a, b)


def _true(answers: Answers) -> torch.Tensor:
    return answers.probabilities[torch.arange(len(answers.labels)), answers.labels]


def _plane(a: Answers, b: Answers) -> Exhibit:
    of_a, of_b = _true(a), _true(b)
    higher, total = int((of_b > of_a).sum()), len(of_a)
    mean = float((of_b - of_a).mean())
    text = TEXTS.exhibit("plane", higher=higher, pictures=total, mean=mean)
    return Exhibit(
        "compare-confidence",
        text.title,
        text.caption,
        text.alt,
        figure=chosen_confidence(torch.stack([of_a, of_b]).numpy()),
        numbers={
            "n": total,
            "b_higher": higher,
            "mean_difference": mean,
            "mean_a": float(of_a.mean()),
            "mean_b": float(of_b.mean()),
        },
    )


def _disagreements(pair: Pair, a: Answers, b: Answers) -> Exhibit:
    apart = (a.probabilities - b.probabilities).abs().sum(1) / 2
    order = apart.argsort(descending=True, stable=True)[: 2 * ROW].tolist()
    images = pixels(pair.finest(order))
    photos = [(image, answer_lines(pair, i)) for image, i in zip(images, order, strict=True)]
    rows = [("Where they disagree most", photos[:ROW]), *([("and next", photos[ROW:])] if len(photos) > ROW else [])]
    right = sum(bool(a.correct[i]) for i in order), sum(bool(b.correct[i]) for i in order)
    text = TEXTS.exhibit("disagreements", pictures=len(order), right=right, furthest=float(apart[order[0]]))
    return Exhibit(
        "compare-disagreements",
        text.title,
        text.caption,
        text.alt,
        figure=picture_rows(rows, side=128),
        kind="picture",
        numbers={
            "mean_distance": float(apart.mean()),
            "shown": [{"name": a.batch.names[i], "distance": float(apart[i])} for i in order],
            "b_right": right[1],
            "a_right": right[0],
        },
    )


def _calibrations(a: Answers, b: Answers) -> Exhibit:
    measured = [calibration(answers.confidence, answers.correct, by="width") for answers in (a, b)]
    gaps = [100 * float(answers.confidence.mean() - answers.correct.float().mean()) for answers in (a, b)]
    text = TEXTS.exhibit("calibration", errors=[100 * curve.error for curve in measured], gaps=gaps)
    return Exhibit(
        "compare-calibration",
        text.title,
        text.caption,
        text.alt,
        figure=two_calibrations(measured[0].bins, measured[1].bins, title="Claimed and kept"),
        numbers={
            letter: {
                "error": curve.error,
                "bins": [
                    {"low": b.low, "high": b.high, "count": b.count, "confidence": b.confidence, "accuracy": b.accuracy}
                    for b in curve.bins
                ],
            }
            for letter, curve in zip("ab", measured, strict=True)
        },
    )
