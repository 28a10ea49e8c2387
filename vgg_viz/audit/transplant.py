"""What carrying a region from one picture to another does to the scores: every donor times every recipient."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vgg_viz.audit.region import Region, carried
from vgg_viz.capture.predict import predict_logits

AT_ONCE = 128 * 64 * 64  # pixels of pictures that are made and answered together: 128 of 64 px, 10 of 224


@dataclass(frozen=True, slots=True)
class Group:
    """Pictures that play one part.

    images  (N, C, S, S); labels (N,) class each shows; masks (N, S, S) bool, or None
    places  (N,) where they lie among all audited pictures
    """

    images: Tensor
    labels: Tensor
    masks: Tensor | None
    places: Tensor

    def part(self, chosen: Tensor) -> Group:
        """Some of them, by index."""
        masks = None if self.masks is None else self.masks[chosen]
        return Group(self.images[chosen], self.labels[chosen], masks, self.places[chosen])

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Shift:
    """What a transplant did, for every donor, recipient and class.

    odds  (D, R, K) change of the class's log-odds [logit]
    turn  (D, R, K) 1 where the recipient was not called by the class before and is now, -1 for the opposite, else 0
    """

    odds: Tensor
    turn: Tensor


def shift(model: nn.Module, region: Region, donors: Group, recipients: Group) -> Shift:
    """Transplant `region` from all donors to all recipients, and compare the answers with those before."""
    before = predict_logits(model, recipients.images)
    side = recipients.images.shape[-1]
    step = max(1, AT_ONCE // (side**2 * max(1, len(recipients))))
    answers = []
    for start in range(0, len(donors), step):
        part = slice(start, start + step)
        masks = None
        if donors.masks is not None and recipients.masks is not None:
            masks = donors.masks[part], recipients.masks
        made = carried(region, donors.images[part], recipients.images, masks)
        answers.append(predict_logits(model, made.flatten(0, 1)).reshape(*made.shape[:2], -1))
    after = torch.cat(answers)
    classes = torch.arange(before.shape[1])
    said = [(logits.argmax(-1, keepdim=True) == classes).float() for logits in (before, after)]
    return Shift(log_odds(after) - log_odds(before), said[1] - said[0])


def log_odds(logits: Tensor) -> Tensor:
    """Each class's score against all others together: log p / (1 - p), (..., K) [logit]."""
    total = logits.double()
    # The others' sum class by class: subtracting from the total would cancel where one class has it all.
    eye = torch.eye(total.shape[-1], dtype=torch.bool)
    others = total[..., None, :].masked_fill(eye, -torch.inf).logsumexp(-1)
    odds: Tensor = (total - others).float()
    return odds
