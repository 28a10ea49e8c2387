"""What logits mean: probabilities by a softmax, a probability each by a sigmoid, or scores as they are."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

OUTPUTS = ("softmax", "sigmoid", "scores")
THRESHOLD = 0.5  # from which probability on a sigmoid's label is said to be there


def both_sides(logits: Tensor) -> Tensor:
    """A single logit z (B, 1, ...) as scores of two classes, (-z, z): (B, 2, ...); more than one column stay as they are.

    The logit is the evidence for the second class and, turned round, for the first: the sigmoid of -z is one less that of z.
    """
    return torch.cat([-logits, logits], dim=1) if logits.shape[1] == 1 else logits


def meaning(logits: Tensor, outputs: str, *, dim: int = -1) -> Tensor:
    """What a reader is shown of logits: probabilities that add up to 1, a probability each, or the scores themselves.

    Args:
        logits: (..., K); of one logit with two names `both_sides` of it.
        outputs: One of `OUTPUTS`.
        dim: Of the classes.
    """
    if outputs == "softmax":
        return logits.softmax(dim)
    return logits.sigmoid() if outputs == "sigmoid" else logits


def loss(logits: Tensor, labels: Tensor, outputs: str) -> Tensor:
    """Cross-entropy of each picture, minus the logarithm of the probability of its label: (N,) [nat].

    Args:
        logits: (N, K) where each picture is of one class; of one logit with two names `both_sides` of it.
        labels: (N,) class index.
        outputs: "softmax" or "sigmoid".
    """
    if outputs == "softmax":
        return functional.cross_entropy(logits, labels, reduction="none")
    return -functional.logsigmoid(logits.gather(1, labels[:, None])[:, 0])
