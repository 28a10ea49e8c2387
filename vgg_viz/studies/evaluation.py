"""How good a network is on labelled pictures, as one record of plain numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from vgg_viz.maths.metrics import accuracy, calibration, confusion_counts, wilson_interval


def summary(logits: Tensor, labels: Tensor, classes: Sequence[str]) -> dict[str, Any]:
    """Accuracy, confusion and calibration.

    logits   (N, K), N at least 1; labels (N,)
    returns  top1 and top5 [0, 1], n, interval (Wilson, 95 %), per_class {name: {n, recall, precision}}, confusion (K, K) with
             the true class in rows, ece [0, 1] over 15 bins of equal width
    """
    predicted = logits.argmax(1)
    counts = confusion_counts(predicted, labels, len(classes))
    right = int((predicted == labels).sum())
    per_class = {}
    for index, name in enumerate(classes):
        n, said, hits = int(counts[index].sum()), int(counts[:, index].sum()), int(counts[index, index])
        key = name if name not in per_class else f"{name} ({index})"  # two classes may carry one name
        per_class[key] = {"n": n, "recall": hits / n if n else None, "precision": hits / said if said else None}
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
