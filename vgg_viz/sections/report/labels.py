"""Labels and scores: how well each output is told, where no picture is of one class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from vgg_viz.errors import SectionMissing
from vgg_viz.figures.label_scores import LabelBar, ScoreCloud, label_bars, score_clouds
from vgg_viz.gallery.sections import section
from vgg_viz.gallery.texts import Texts
from vgg_viz.records import Column, Exhibit, Table
from vgg_viz.studies.output_summary import label_summary, score_summary
from vgg_viz.studies.subject import Subject

TEXTS = Texts(__name__)
MOST_BARS, MOST_CLOUDS = 40, 9  # of a figure; the table has all


@section("labels", study="report", order=42, chapter="mistakes", when=lambda subject: subject.noun != "class")
def labels(subject: Subject) -> Iterator[Exhibit]:
    """Average precision of each label with a threshold of its own; of scores their errors.

    Raises:
        SectionMissing: No picture has labels or values.
    """
    batch, logits = subject.inputs.labelled, subject.target_logits
    if batch is None or logits is None or batch.targets is None:
        raise SectionMissing(
            TEXTS.say("missing.targets", noun=subject.noun), "python -m vgg_viz report CHECKPOINT --data DIR"
        )
    if subject.noun == "label":
        yield _labels(subject, logits, batch.targets)
    else:
        yield _scores(subject, logits, batch.targets)


def _labels(subject: Subject, logits: Tensor, targets: Tensor) -> Exhibit:
    facts = label_summary(logits, targets, subject.classes)
    rows: dict[str, dict[str, Any]] = facts["per_class"]
    told = {name: row for name, row in rows.items() if row["average_precision"] is not None}
    bars = [LabelBar(name, row["average_precision"], row["n"] / row["known"]) for name, row in told.items()]
    bars.sort(key=lambda bar: bar.precision - bar.chance, reverse=True)
    text = TEXTS.exhibit(
        "labels",
        pictures=len(logits),
        labels=len(rows),
        told=len(told),
        shown=min(len(bars), MOST_BARS),
        mean=facts["mean_average_precision"],
        best=bars[0] if bars else None,
        worst=bars[-1] if bars else None,
        error=facts["ece"],
        alone=subject.inputs.measured_on is not None and subject.inputs.measured_on.kind == "folder",
    )
    return Exhibit(
        "labels-precision",
        text.title,
        text.caption,
        text.alt,
        figure=label_bars(bars[:MOST_BARS], title=text.title) if bars else None,
        table=Table(
            (
                Column("label"),
                Column("pictures with it", "", True),
                Column("of", "", True),
                Column("average precision", "", True),
                Column("best threshold", "%", True),
                Column("F1 there", "", True),
                Column("recall at 50 %", "%", True),
                Column("precision at 50 %", "%", True),
            ),
            tuple(
                (
                    name,
                    row["n"],
                    row["known"],
                    _rounded(row["average_precision"], 3),
                    _rounded(row["threshold"], 1, 100),
                    _rounded(row["f1"], 2),
                    _rounded(row["recall"], 1, 100),
                    _rounded(row["precision"], 1, 100),
                )
                for name, row in rows.items()
            ),
        ),
        numbers=facts,
    )


def _scores(subject: Subject, scores: Tensor, targets: Tensor) -> Exhibit:
    facts = score_summary(scores, targets, subject.classes)
    rows: dict[str, dict[str, Any]] = facts["per_class"]
    clouds = []
    for index, name in enumerate(subject.classes):
        here = ~targets[:, index].isnan()
        if here.any():
            clouds.append(ScoreCloud(name, targets[here, index].numpy(), scores[here, index].numpy()))
    text = TEXTS.exhibit(
        "scores",
        pictures=len(scores),
        scores=len(rows),
        shown=min(len(clouds), MOST_CLOUDS),
        errors=[(name, row["mean_absolute_error"], row["r2"]) for name, row in rows.items()][:MOST_CLOUDS],
    )
    return Exhibit(
        "labels-scores",
        text.title,
        text.caption,
        text.alt,
        figure=score_clouds(clouds[:MOST_CLOUDS], title=text.title) if clouds else None,
        table=Table(
            (
                Column("score"),
                Column("pictures", "", True),
                Column("mean absolute error", "", True),
                Column("95 % interval"),
                Column("R²", "", True),
            ),
            tuple(
                (name, row["n"], _significant(row["mean_absolute_error"]), _interval(row), _rounded(row["r2"], 3))
                for name, row in rows.items()
            ),
        ),
        numbers=facts,
    )


def _rounded(value: float | None, digits: int, times: float = 1) -> float | None:
    return None if value is None else round(times * value, digits)


def _significant(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def _interval(row: dict[str, Any]) -> str | None:
    low, high = row["interval"]
    return None if low is None or high is None else f"{low:.3g} to {high:.3g}"
