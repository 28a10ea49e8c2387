"""What a network predicts for pictures, and how good that is where they are labelled, as plain numbers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from vgg_viz.capture.predict import predict_logits
from vgg_viz.data.folder import read_images
from vgg_viz.errors import ImageRefused, InputRefused
from vgg_viz.maths.image_forms import Images
from vgg_viz.maths.metrics import accuracy, calibration, confusion_counts, wilson_interval
from vgg_viz.records import Batch, Checkpoint
from vgg_viz.studies.alarms import file_alarms, measured_alarms
from vgg_viz.studies.inputs import describe_origin, labelled_pictures, match_channels

TOP = 5  # classes that are named of a picture


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How good a network is.

    Attributes:
        facts: As `summary` gives them, and "measured_on": where the pictures come from, in a phrase.
        skipped: Why files were left out, a sentence each.
        alarms: What may make the numbers those of another network, a sentence each.
    """

    facts: dict[str, Any]
    skipped: tuple[str, ...]
    alarms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a network predicts.

    Attributes:
        images: Of each picture {"file": its name, "top": [{"class", "index", "probability", "logit"}], "logits": [of every class]}.
        skipped: Why files were left out, a sentence each.
        alarms: What may make the answers those of another network, a sentence each.
    """

    images: tuple[dict[str, Any], ...]
    skipped: tuple[str, ...]
    alarms: tuple[str, ...] = ()


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
    batch, origin = labelled_pictures(checkpoint, data, limit=limit, seed=seed)
    if batch is None or batch.labels is None:
        raise InputRefused("the checkpoint carries no labelled pictures to measure on; give some with --data DIR.")
    facts = summary(predict_logits(model, batch.images), batch.labels, checkpoint.classes)
    return Evaluation(
        {**facts, "measured_on": describe_origin(origin)},
        tuple(reason for _, reason in batch.skipped),
        measured_alarms(checkpoint, round(facts["top1"] * facts["n"]), facts["n"]),
    )


def predict(checkpoint: Checkpoint, model: nn.Module, files: Sequence[str | os.PathLike[str] | Images]) -> Predictions:
    """What a network predicts for the pictures in files, folders or memory; those in memory are called by their places.

    Raises:
        ImageRefused: The only file cannot be read.
        InputRefused: None of several files can.
    """
    batches: list[Batch] = []
    skipped: list[str] = []
    for path in files:
        try:
            batch = read_images(path, image_side=checkpoint.architecture.image_side)
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
    logits = predict_logits(model, torch.cat([batch.images for batch in batches]))
    names = [name for batch in batches for name in batch.names]
    images = [
        {"file": name, "top": _top(row, checkpoint.classes), "logits": row.tolist()}
        for name, row in zip(names, logits, strict=True)
    ]
    return Predictions(tuple(images), tuple(skipped), file_alarms(checkpoint))


def _top(logits: Tensor, classes: Sequence[str]) -> list[dict[str, Any]]:
    probabilities = logits.softmax(0)
    order = probabilities.argsort(descending=True, stable=True)[:TOP].tolist()
    return [
        {"class": classes[i], "index": i, "probability": float(probabilities[i]), "logit": float(logits[i])}
        for i in order
    ]


def summary(logits: Tensor, labels: Tensor, classes: Sequence[str]) -> dict[str, Any]:
    """Accuracy, confusion and calibration.

    Args:
        logits: (N, K), N at least 1.
        labels: (N,) the true classes.
        classes: Names of the K classes.

    Returns:
        top1 and top5 [0, 1], n, interval (Wilson, 95 %), per_class {name: {n, recall, precision}}, confusion (K, K) with the true
        class in rows, ece [0, 1] over 15 bins of equal width.
    """
    predicted = logits.argmax(1)
    counts = confusion_counts(predicted, labels, len(classes))
    right = int((predicted == labels).sum())
    per_class = {}
    for index, name in enumerate(classes):
        n, predictions, hits = int(counts[index].sum()), int(counts[:, index].sum()), int(counts[index, index])
        key = name if name not in per_class else f"{name} ({index})"  # two classes may carry one name
        per_class[key] = {
            "n": n,
            "recall": hits / n if n else None,
            "precision": hits / predictions if predictions else None,
        }
    confidence = logits.softmax(1).amax(1)
    return {
        "top1": right / len(labels),
        "top5": accuracy(logits, labels, k=min(5, logits.shape[1])),
        "n": len(labels),
        "interval": wilson_interval(right, len(labels)),
        "per_class": per_class,
        "confusion": counts,
        "ece": calibration(confidence, predicted == labels, bins=15, by="width").error,
    }
