"""Which class a map is about: the predicted one, the true one, the runner-up, or a given one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vgg_viz.errors import InputRefused, UnknownName

Target = str | int | Sequence[int] | Tensor

WORDS = ("predicted", "true", "runner-up")


def given_targets(target: Target, *, count: int, labels: Tensor | None) -> Tensor | None:
    """The classes, as far as they are known before the network has spoken: (count,) int64, or None.

    target  "predicted", "true" (reads `labels`), "runner-up", a class index for all, or one for each picture
    raises  UnknownName for another word; InputRefused when labels are missing or the number does not fit
    """
    if isinstance(target, str):
        if target not in WORDS:
            raise UnknownName("target", target, WORDS)
        if target != "true":
            return None
        if labels is None:
            raise InputRefused("target 'true' needs the labels of the pictures; pass labels=, or choose 'predicted'.")
        target = labels
    found = torch.as_tensor(target)
    if found.is_floating_point() or found.is_complex() or found.dtype == torch.bool:
        raise InputRefused(f"targets of type {found.dtype} came; class indices are whole numbers.")
    found = found.to(torch.int64).flatten()
    if found.numel() == 1:
        found = found.expand(count)
    if found.numel() != count:
        raise InputRefused(f"{found.numel()} targets came for {count} pictures; give one for all, or one for each.")
    return found.clone()


def settled_targets(target: Target, given: Tensor | None, logits: Tensor) -> Tensor:
    """The classes, now that the logits (B, K) are there: checked if given, else the highest or second highest logit.

    raises  InputRefused for a class that the network does not have
    """
    classes = logits.shape[1]
    if given is not None:
        wrong = given[(given < 0) | (given >= classes)]
        if wrong.numel():
            raise InputRefused(f"class {int(wrong[0])} was asked for; the network knows classes 0 to {classes - 1}.")
        return given.to(logits.device)
    place = WORDS.index(str(target)) // 2
    if place >= classes:
        raise InputRefused("a network of one class has no runner-up; choose 'predicted'.")
    # Stable, so that equal logits rank by class index and the first of them is argmax.
    return logits.detach().sort(dim=1, descending=True, stable=True).indices[:, place]
