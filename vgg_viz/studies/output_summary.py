"""How good answers are on labelled pictures, for every kind of output, as plain numbers under the same keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vgg_viz.maths.label_metrics import average_precision, best_threshold, explained
from vgg_viz.maths.metrics import accuracy, bootstrap_interval, calibration, confusion_counts, wilson_interval
from vgg_viz.maths.outputs import THRESHOLD, meaning

NO_CHOICE = "every label is a yes or no of its own, so no class is chosen"
NO_CLASSES = "the outputs are scores, so no class is right or wrong"


def choice_summary(
    logits: Tensor, labels: Tensor, classes: Sequence[str], *, outputs: str = "softmax"
) -> dict[str, Any]:
    """Accuracy, confusion and calibration, where each picture is of one class.

    Args:
        logits: (N, K), N at least 1.
        labels: (N,) the true classes.
        classes: Names of the K classes.
        outputs: "softmax", or "sigmoid" where one logit decides between two classes.

    Returns:
        top1 and top5 [0, 1], n, interval (Wilson, 95 %), per_class {name: {n, recall, precision}}, confusion (K, K) with the true
        class in rows, ece [0, 1] over 15 bins of equal width.
    """
    predicted = logits.argmax(1)
    counts = confusion_counts(predicted, labels, len(classes))
    right = int((predicted == labels).sum())
    per_class: dict[str, Any] = {}
    for index, name in enumerate(classes):
        n, predictions, hits = int(counts[index].sum()), int(counts[:, index].sum()), int(counts[index, index])
        per_class[_key(per_class, name, index)] = {
            "n": n,
            "recall": hits / n if n else None,
            "precision": hits / predictions if predictions else None,
        }
    confidence = meaning(logits, outputs).amax(1)
    return {
        "outputs": outputs,
        "top1": right / len(labels),
        "top5": accuracy(logits, labels, k=min(5, logits.shape[1])),
        "n": len(labels),
        "interval": wilson_interval(right, len(labels)),
        "per_class": per_class,
        "confusion": counts,
        "ece": calibration(confidence, predicted == labels, bins=15, by="width").error,
    }


def label_summary(logits: Tensor, targets: Tensor, classes: Sequence[str]) -> dict[str, Any]:
    """Average precision, thresholds and calibration, where each label is a yes or no of its own.

    Args:
        logits: (N, K).
        targets: (N, K) 1, 0, or NaN where nobody knows.
        classes: Names of the labels.

    Returns:
        The keys of `choice_summary`, None where a key says nothing (`left_out` says why); per_class {name: {n, known,
        average_precision, threshold, f1, recall, precision}}, the last two at a probability of one half;
        mean_average_precision over the labels that some picture has.
    """
    probabilities, known = meaning(logits, "sigmoid"), ~targets.isnan()
    per_class: dict[str, Any] = {}
    for index, name in enumerate(classes):
        here = known[:, index]
        shares, truth = probabilities[here, index], targets[here, index] > 0.5
        said = shares >= THRESHOLD
        hits, threshold = int((said & truth).sum()), best_threshold(shares, truth)
        per_class[_key(per_class, name, index)] = {
            "n": int(truth.sum()),
            "known": int(here.sum()),
            "average_precision": _number(average_precision(shares, truth)),
            "threshold": _number(threshold[0]),
            "f1": _number(threshold[1]),
            "recall": hits / int(truth.sum()) if truth.any() else None,
            "precision": hits / int(said.sum()) if said.any() else None,
        }
    found = [row["average_precision"] for row in per_class.values() if row["average_precision"] is not None]
    promised, kept = probabilities[known], targets[known] > 0.5
    return {
        "outputs": "sigmoid",
        **_without_choice(len(logits), NO_CHOICE),
        "per_class": per_class,
        "mean_average_precision": sum(found) / len(found) if found else None,
        "ece": _number(calibration(promised, kept, bins=15, by="width").error),
    }


def score_summary(scores: Tensor, targets: Tensor, classes: Sequence[str]) -> dict[str, Any]:
    """How far scores are from the values that they should have.

    Args:
        scores: (N, K).
        targets: (N, K), NaN where nobody knows.
        classes: Names of the outputs.

    Returns:
        The keys of `choice_summary`, None where a key says nothing (`left_out` says why); per_class {name: {n,
        mean_absolute_error, interval, r2}}, the interval of 95 % by drawing pictures again.
    """
    per_class: dict[str, Any] = {}
    for index, name in enumerate(classes):
        here = ~targets[:, index].isnan()
        errors = (scores[here, index] - targets[here, index]).abs()
        per_class[_key(per_class, name, index)] = {
            "n": int(here.sum()),
            "mean_absolute_error": _number(float(errors.double().mean())) if len(errors) else None,
            "interval": [_number(bound) for bound in bootstrap_interval(errors)],
            "r2": _number(explained(scores[here, index], targets[here, index])) if len(errors) else None,
        }
    return {"outputs": "scores", **_without_choice(len(scores), NO_CLASSES), "per_class": per_class, "ece": None}


def _without_choice(count: int, why: str) -> dict[str, Any]:
    """The keys that need one right class a picture."""
    keys = ("top1", "top5", "interval", "confusion")
    return {"n": count, **dict.fromkeys(keys), "left_out": dict.fromkeys(keys, why)}


def _key(taken: dict[str, Any], name: str, index: int) -> str:
    return name if name not in taken else f"{name} ({index})"  # two classes may carry one name


def _number(value: float) -> float | None:
    return value if torch.tensor(value).isfinite() else None
