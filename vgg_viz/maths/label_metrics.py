"""How good answers are that are no choice of one class: labels that stand beside each other, and scores."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def average_precision(scores: Tensor, truth: Tensor) -> float:
    """Mean precision over the places of the pictures that have a label, the highest score first: [0, 1].

        AP = sum over thresholds of (recall - recall before) precision

    Equal scores are one threshold, so their order is no luck. A score that knows nothing gets the share of pictures that have
    the label. Source: scikit-learn's `average_precision_score`, which is the area under the curve of steps.

    Args:
        scores: (N,), higher is more likely.
        truth: (N,) bool.

    Returns:
        NaN where no picture has the label.
    """
    hits, count, _ = _by_threshold(scores, truth)
    if not len(hits) or not hits[-1]:
        return math.nan
    before = torch.cat([hits.new_zeros(1), hits[:-1]])
    return float(((hits - before) / hits[-1] * hits / count).sum())


def best_threshold(scores: Tensor, truth: Tensor) -> tuple[float, float]:
    """The threshold with the highest F1, 2 hits / (said + true), and that F1; (NaN, NaN) where no picture has the label.

    It is chosen with the answers in sight: on other pictures it does a little worse.

    Args:
        scores: (N,), a label is said from the threshold on.
        truth: (N,) bool.
    """
    hits, count, values = _by_threshold(scores, truth)
    if not len(hits) or not hits[-1]:
        return math.nan, math.nan
    f1 = 2 * hits / (count + hits[-1])
    best = int(f1.argmax())
    return float(values[best]), float(f1[best])


def _by_threshold(scores: Tensor, truth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For every value of the scores, from the highest: true pictures from there on, all of them, the value itself; float64."""
    order = scores.double().argsort(descending=True, stable=True)
    values, right = scores.double()[order], truth[order].double()
    last = torch.cat([values[1:] < values[:-1], torch.ones(min(1, len(values)), dtype=torch.bool)])
    count = torch.arange(1, len(values) + 1, dtype=torch.float64)
    return right.cumsum(0)[last], count[last], values[last]


def explained(said: Tensor, truth: Tensor) -> float:
    """R²: how much of the spread of the true values the scores explain, 1 - (mean square error) / variance.

    Args:
        said: (N,).
        truth: (N,).

    Returns:
        At most 1, 0 for who always says the mean; NaN where all true values are equal.
    """
    spread = float((truth.double() - truth.double().mean()).square().sum())
    return 1 - float((said.double() - truth.double()).square().sum()) / spread if spread else math.nan
