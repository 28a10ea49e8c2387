"""What a map is about: a class, one class against another, or a single unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

import torch
from torch import Tensor

from vgg_viz.arguments import require_arguments, shown
from vgg_viz.errors import InputRefused, UnknownName
from vgg_viz.records import Neuron

Class = str | int | Sequence[int] | Tensor

WORDS = ("predicted", "true", "runner-up")


@dataclass(frozen=True, slots=True)
class Against:
    """The logit of one class minus that of another: what speaks for the first rather than the second.

    first, second  "predicted", "true", "runner-up", a class index for all pictures, or one for each
    """

    first: Class
    second: Class


Target = Class | Against | Neuron


@dataclass(frozen=True, slots=True)
class ResolvedTarget:
    """A target, settled for some pictures.

    targets  (B,) class index; -1 throughout for a neuron
    against  (B,) class index whose logit is subtracted, or None
    neuron   in their place, or None
    """

    targets: Tensor
    against: Tensor | None = None
    neuron: Neuron | None = None

    def columns(self) -> tuple[Tensor | None, Tensor]:
        """Which scores `capture.hooks.replace_output` is to put in the place of logits, and which of them each picture asks about.

        returns  (P, 2) pairs, each once, or None when the logits may stay; (B,) column of each picture
        """
        if self.neuron is not None:
            return None, torch.zeros_like(self.targets)
        if self.against is None:
            return None, self.targets
        pairs, column = torch.unique(torch.stack([self.targets, self.against], dim=1), dim=0, return_inverse=True)
        return pairs, column

    def unit_for(self, unit: str) -> str:
        """A method's unit, as it is for this target: what is said of a single unit is its activation, and no logit."""
        return unit if self.neuron is None else unit.replace("logit", "activation")


@dataclass(frozen=True, slots=True)
class PendingTarget:
    """A target as far as it is known before the network has spoken; settled once the logits are there.

    first, second  (B,) class index, or None where the network must be asked (second also where there is none)
    """

    target: Target
    count: int
    first: Tensor | None
    second: Tensor | None = None

    @property
    def known(self) -> bool:
        """Whether no logits are needed to say what each map is about."""
        if isinstance(self.target, Against):
            return self.first is not None and self.second is not None
        return isinstance(self.target, Neuron) or self.first is not None

    def part(self, here: slice) -> PendingTarget:
        """Of some of the pictures."""
        first, second = (None if side is None else side[here] for side in (self.first, self.second))
        return PendingTarget(self.target, len(range(*here.indices(self.count))), first, second)

    def resolve(self, logits: Tensor) -> ResolvedTarget:
        """The classes, now that the logits (B, K) are there; a single row is enough for a target that is known.

        raises  InputRefused for a class that the network does not have
        """
        if isinstance(self.target, Neuron):
            return ResolvedTarget(torch.full((self.count,), -1, device=logits.device), neuron=self.target)
        if isinstance(self.target, Against):
            return ResolvedTarget(
                _class(self.target.first, self.first, logits), _class(self.target.second, self.second, logits)
            )
        return ResolvedTarget(_class(self.target, self.first, logits))


def pending_target(target: Target, *, count: int, labels: Tensor | None) -> PendingTarget:
    """What is known of a target for `count` pictures before any pass.

    target  "predicted", "true" (reads `labels`), "runner-up", a class index for all, or one for each picture;
            `Against` of two such; a `Neuron`
    raises  UnknownName for another word; InputRefused when labels are missing or the number does not fit
    """
    if isinstance(target, Neuron):
        require_unit(target)
        if (target.row is None) != (target.column is None):
            raise InputRefused(
                f"a neuron of {target.layer} came with a row or a column alone; give both, or neither for its channel."
            )
        return PendingTarget(target, count, None)
    if isinstance(target, Against):
        first, second = (pending_classes(side, count=count, labels=labels) for side in (target.first, target.second))
        return PendingTarget(target, count, first, second)
    return PendingTarget(target, count, pending_classes(target, count=count, labels=labels))


def require_unit(neuron: Neuron) -> None:
    """Raise InputRefused for a unit whose layer is no text, or whose place is no whole number."""
    require_arguments({"layer": neuron.layer})
    for name in ("channel", "row", "column"):
        value = getattr(neuron, name)
        if not (isinstance(value, Integral) or (value is None and name != "channel")) or isinstance(value, bool):
            raise InputRefused(f"{name} {shown(value)} of a neuron came, where a whole number from 0 is expected.")


def pending_classes(target: Class, *, count: int, labels: Tensor | None) -> Tensor | None:
    """The classes, as far as they are known before the network has spoken: (count,) int64, or None.

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
    try:
        found = torch.as_tensor(target)
    except (TypeError, ValueError, RuntimeError):
        raise InputRefused(
            f"target {shown(target)} came; give predicted, true, runner-up, a class index, or one for each picture."
        ) from None
    if found.is_floating_point() or found.is_complex() or found.dtype == torch.bool:
        raise InputRefused(f"targets of type {found.dtype} came; class indices are whole numbers.")
    found = found.to(torch.int64).flatten()
    if found.numel() == 1:
        found = found.expand(count)
    if found.numel() != count:
        raise InputRefused(f"{found.numel()} targets came for {count} pictures; give one for all, or one for each.")
    return found.clone()


def _class(target: Class, known: Tensor | None, logits: Tensor) -> Tensor:
    """One class a picture: checked if it was given, else the highest or second highest logit."""
    classes = logits.shape[1]
    if classes == 0:
        raise InputRefused(
            "the network has no classifier, so a map cannot be about a class; give a unit as target: Neuron('conv5_3', 17)."
        )
    if known is not None:
        wrong = known[(known < 0) | (known >= classes)]
        if wrong.numel():
            raise InputRefused(f"class {int(wrong[0])} was asked for; the network knows classes 0 to {classes - 1}.")
        return known.to(logits.device)
    place = WORDS.index(str(target)) // 2
    if place >= classes:
        raise InputRefused("a network of one class has no runner-up; choose 'predicted'.")
    # Stable, so that equal logits rank by class index and the first of them is argmax.
    return logits.detach().sort(dim=1, descending=True, stable=True).indices[:, place]
