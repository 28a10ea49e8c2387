"""Which of the usual ways to fit pictures a network expects: each tried on the same labelled pictures. Told, never changed."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vgg_viz.capture.predict import predict_logits
from vgg_viz.errors import InputRefused
from vgg_viz.gallery.texts import Texts
from vgg_viz.maths.fitting import fitting_text
from vgg_viz.models.outputs import class_logits
from vgg_viz.models.resize_rule import OPTION, SQUASH
from vgg_viz.records import Checkpoint, Resize
from vgg_viz.studies.inputs import labelled_pictures

TEXTS = Texts(__name__)
MOST_PICTURES = 256  # each is looked at once a rule
FEWEST = 16  # below, nothing is said
CROP_SHARE = 0.875  # of torchvision, timm and many courses: 224 of 256 px
CERTAIN = 2.39  # standard errors: 95 % for three comparisons at once (Bonferroni)


@dataclass(frozen=True, slots=True)
class RuleFit:
    """How well a network answers pictures that were fitted by one rule.

    Attributes:
        rule: The rule.
        in_use: Whether it is the checkpoint's.
        top1: Share of the pictures that are classified right, [0, 1].
        loss: Mean cross-entropy [nat].
        difference: Mean loss less that of the rule in use, on the same pictures [nat]; below zero, this rule fits better.
        error: Standard error of that difference [nat].
    """

    rule: Resize
    in_use: bool
    top1: float
    loss: float
    difference: float
    error: float

    @property
    def option(self) -> str:
        """What to add to a command."""
        return f"{OPTION} {SQUASH}" if self.rule.squash else f"{OPTION} {self.rule.shorter or self.rule.side}"

    @property
    def better(self) -> bool:
        """Whether it fits better than the rule in use, beyond chance."""
        return self.difference < -CERTAIN * self.error and not self.in_use

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {"option": self.option, "sees": fitting_text(self.rule), **asdict(self), "better": self.better}


def usual_rules(checkpoint: Checkpoint) -> tuple[Resize, ...]:
    """The rule in use, and the usual others for the network's side."""
    own = checkpoint.fitting
    others = (Resize(own.side), Resize(own.side, math.floor(own.side / CROP_SHARE)), Resize(own.side, squash=True))
    return tuple(dict.fromkeys((own, *(replace(one, interpolation=own.interpolation) for one in others))))


def compare_rules(
    checkpoint: Checkpoint, model: nn.Module, data: str | os.PathLike[str] | None, *, seed: int = 0
) -> tuple[RuleFit, ...]:
    """Every usual rule on the same labelled pictures, the one in use first.

    Args:
        checkpoint: Its classes and its rule.
        model: Built from it.
        data: An ImageFolder, or a table of labels.
        seed: Of the choice among more than `MOST_PICTURES`.

    Raises:
        InputRefused: The pictures have no class, are painted at the network's own side, or are too few.
    """
    if data is None or str(data) == "shapes":
        raise InputRefused(TEXTS.say("refused.no_files"))
    fits: list[RuleFit] = []
    used = torch.empty(0)
    seen: list[Tensor] = []
    for rule in usual_rules(checkpoint):
        batch, _ = labelled_pictures(replace(checkpoint, resize=rule), data, limit=MOST_PICTURES, seed=seed)
        if batch is None or batch.labels is None:
            raise InputRefused(TEXTS.say("refused.no_class"))
        if len(batch) < FEWEST:
            raise InputRefused(TEXTS.say("refused.few", pictures=len(batch), fewest=FEWEST))
        if any(torch.equal(batch.images, images) for images in seen):
            continue  # square pictures are squashed as they are cut
        seen.append(batch.images)
        logits = class_logits(model, predict_logits(model, batch.images))
        losses = functional.cross_entropy(logits, batch.labels, reduction="none").double()
        used = losses if not fits else used
        change = losses - used
        fits.append(
            RuleFit(
                rule,
                not fits,
                float((logits.argmax(1) == batch.labels).double().mean()),
                float(losses.mean()),
                float(change.mean()),
                float(change.std() / math.sqrt(len(change))),
            )
        )
    return tuple(fits)


def lines(fits: Sequence[RuleFit]) -> list[str]:
    """What came of it: a line for each rule, and what to conclude; nothing where none was tried."""
    if not fits:
        return []
    told = [TEXTS.say("rule", fit=one, sees=fitting_text(one.rule)) for one in fits]
    best = min((one for one in fits if one.better), key=lambda one: one.loss, default=None)
    return [*told, TEXTS.say("better", fit=best, sees=fitting_text(best.rule)) if best else TEXTS.say("same")]
