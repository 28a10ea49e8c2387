"""What a network predicts for pictures, and how good that is where they are labelled, as plain numbers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from vgg_viz.capture.predict import predict_logits
from vgg_viz.data.folder import read_images
from vgg_viz.errors import ImageRefused, InputRefused
from vgg_viz.maths.image_forms import Images
from vgg_viz.maths.outputs import meaning
from vgg_viz.models.build import build
from vgg_viz.models.outputs import class_logits
from vgg_viz.number_text import counted, percent
from vgg_viz.records import Batch, Checkpoint, Finding, PictureOrigin
from vgg_viz.safe_text import short_name
from vgg_viz.studies.alarms import file_alarms, measured_alarms, texts_of
from vgg_viz.studies.answers import Answers
from vgg_viz.studies.inputs import NO_VALUES, describe_origin, labelled_pictures, match_channels
from vgg_viz.studies.judging import verdict_on
from vgg_viz.studies.output_summary import choice_summary, label_summary, score_summary
from vgg_viz.studies.without_scores import require_scores
from vgg_viz.studies.witnesses import examine

TOP = 5  # classes that are named of a picture


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How good a network is.

    Attributes:
        facts: As `studies.output_summary` gives them, and "measured_on": where the pictures come from, in a phrase.
        skipped: Why files were left out, a sentence each.
        alarms: What may make the numbers those of another network, a sentence each.
        warnings: What else is told first: which mean and std were found.
        findings: How good it is, the leading one first; () where no picture has one class.
    """

    facts: dict[str, Any]
    skipped: tuple[str, ...]
    alarms: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a network predicts.

    Attributes:
        images: Of each picture {"file": its name, "top": [{"class", "index", "probability", "logit"}], "logits": [of every
            output]}. Of scores the probability is None; where one logit decides between two classes, that of the first is it turned
            round.
        skipped: Why files were left out, a sentence each.
        alarms: What may make the answers those of another network, a sentence each.
        warnings: What else is told first: which mean and std were found.
    """

    images: tuple[dict[str, Any], ...]
    skipped: tuple[str, ...]
    alarms: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def evaluate(
    checkpoint: Checkpoint, model: nn.Module, data: str | os.PathLike[str] | None, *, limit: int, seed: int = 0
) -> Evaluation:
    """Measure a network on labelled pictures.

    Args:
        checkpoint: Its classes, its image side, and the pictures that it carries.
        model: The network built from it.
        data: An ImageFolder, "shapes", or None: what the checkpoint carries.
        limit: Pictures at most.
        seed: Of the choice among more pictures than that.

    Raises:
        InputRefused: There are no labelled pictures.
        DataRefused: `data` cannot be read.
    """
    require_scores(checkpoint.architecture, "measure")
    batch, origin = labelled_pictures(checkpoint, data, limit=limit, seed=seed)
    if batch is None or (batch.labels is None and batch.targets is None):
        if batch is not None:
            raise InputRefused(NO_VALUES)
        raise InputRefused("the checkpoint carries no labelled pictures to measure on; give some with --data DIR.")
    dense = getattr(model.architecture, "plan", "") != checkpoint.architecture.plan
    seen = examine(checkpoint, model, batch, network=lambda changed: build(changed, dense=dense), seed=seed)
    logits = class_logits(seen.model, predict_logits(seen.model, batch.images))
    facts = summary(seen.checkpoint, logits, batch)
    right = facts["top1"]
    alarms = (
        file_alarms(checkpoint) if right is None else measured_alarms(checkpoint, round(right * len(batch)), len(batch))
    )
    return Evaluation(
        {**facts, **seen.facts(), "measured_on": describe_origin(origin)},
        tuple(reason for _, reason in batch.skipped),
        *texts_of((*alarms, *seen.findings)),
        () if right is None else _verdict(seen.checkpoint, logits, batch, origin),
    )


def _verdict(checkpoint: Checkpoint, logits: Tensor, batch: Batch, origin: PictureOrigin | None) -> tuple[Finding, ...]:
    """The findings of a network that gives each picture one class."""
    if batch.labels is None:
        return ()
    answers = Answers(batch, batch.labels, logits.cpu(), checkpoint.architecture.outputs)
    return verdict_on(answers, checkpoint.classes, checkpoint, origin).findings


def summary(checkpoint: Checkpoint, logits: Tensor, batch: Batch) -> dict[str, Any]:
    """The numbers of `studies.output_summary` that the checkpoint's kind of outputs has.

    Args:
        checkpoint: Whose classes and outputs.
        logits: (N, K) of all classes.
        batch: With labels where each picture is of one class, else with targets.
    """
    outputs, classes = checkpoint.architecture.outputs, checkpoint.classes
    if batch.targets is not None:
        return (score_summary if outputs == "scores" else label_summary)(logits, batch.targets, classes)
    if batch.labels is None:
        raise TypeError("labels or targets were expected")
    return choice_summary(logits, batch.labels, classes, outputs=outputs)


def predict(checkpoint: Checkpoint, model: nn.Module, files: Sequence[str | os.PathLike[str] | Images]) -> Predictions:
    """What a network predicts for the pictures in files, folders or memory; those in memory are called by their places.

    Raises:
        ImageRefused: The only file cannot be read.
        InputRefused: None of several files can.
    """
    require_scores(checkpoint.architecture, "predict from")
    batches: list[Batch] = []
    skipped: list[str] = []
    for path in files:
        try:
            batch = read_images(path, image_side=checkpoint.fitting)
        except ImageRefused as error:
            if len(files) == 1:
                raise
            skipped.append(str(error))
            continue
        if not isinstance(path, str | os.PathLike | Batch):
            place = sum(map(len, batches))
            batch = replace(batch, names=tuple(f"picture {place + n}" for n in range(1, len(batch) + 1)))
        batches.append(match_channels(batch, checkpoint))
        skipped += [reason for _, reason in batch.skipped]
    if not batches:
        raise InputRefused(f"none of the {len(files)} files can be read as a picture; the first: {skipped[0]}")
    names = [name for batch in batches for name in batch.names]
    images = torch.cat([batch.images for batch in batches])
    seen = examine(checkpoint, model, Batch(images, None, tuple(names)), network=build)
    logits = predict_logits(seen.model, images)
    scores, outputs = class_logits(seen.model, logits), checkpoint.architecture.outputs
    answers = [
        {"file": name, "top": _top(row, checkpoint.classes, outputs), "logits": output.tolist()}
        for name, row, output in zip(names, scores, logits, strict=True)
    ]
    return Predictions(tuple(answers), tuple(skipped), *texts_of((*file_alarms(checkpoint), *seen.findings)))


def _top(logits: Tensor, classes: Sequence[str], outputs: str) -> list[dict[str, Any]]:
    """The likeliest classes; of scores, which have no probability, the first outputs in their order."""
    shown = meaning(logits, outputs)
    order = range(len(shown)) if outputs == "scores" else shown.argsort(descending=True, stable=True).tolist()
    return [
        {
            "class": classes[i],
            "index": i,
            "probability": None if outputs == "scores" else float(shown[i]),
            "logit": float(logits[i]),
        }
        for i in order[:TOP]
    ]


def as_text(facts: Mapping[str, Any]) -> str:
    """What an evaluation says in a terminal: a line, and a line for each label or score where these stand for themselves."""
    if facts["top1"] is not None:
        low, high = facts["interval"]
        return (
            f"{facts['top1'] * 100:.2f} % of {facts['n']:,} right (95 % interval {low * 100:.1f} to {high * 100:.1f}), "
            f"top-5 {facts['top5'] * 100:.2f} %, calibration error {facts['ece'] * 100:.1f} points; {facts['measured_on']}"
        )
    rows = facts["per_class"].items()
    if facts["outputs"] == "scores":
        lines = [f"scores of {facts['n']:,} pictures; {facts['measured_on']}"]
        return "\n".join(lines + [f"{short_name(name)}: {_error(row)}" for name, row in rows])
    mean = facts["mean_average_precision"]
    whole = "no picture has a label" if mean is None else f"mean average precision {mean:.3f}"
    calibrated = "" if facts["ece"] is None else f", calibration error {facts['ece'] * 100:.1f} points"
    lines = [f"{whole} on {facts['n']:,} pictures{calibrated}; {facts['measured_on']}"]
    return "\n".join(lines + [f"{short_name(name)}: {_label(row)}" for name, row in rows])


def _error(row: Mapping[str, Any]) -> str:
    if row["mean_absolute_error"] is None:
        return "no value is known"
    explained = "" if row["r2"] is None else f", R² {row['r2']:.3f}"
    return f"off by {row['mean_absolute_error']:.4g} on average, {counted(row['n'], 'picture')}{explained}"


def _label(row: Mapping[str, Any]) -> str:
    if row["average_precision"] is None:
        return f"none of {counted(row['known'], 'picture')} has it"
    found = "" if row["precision"] is None else f", precision {percent(row['precision'])}"
    return (
        f"average precision {row['average_precision']:.3f} ({row['n']:,} of {row['known']:,} pictures have it); at 50 % "
        f"recall {percent(row['recall'])}{found}; best threshold {percent(row['threshold'])} (F1 {row['f1']:.2f})"
    )
