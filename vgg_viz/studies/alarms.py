"""Alarms: sentences that stand on top of everything, since what is shown below them may be of another network."""

from __future__ import annotations

from collections.abc import Sequence

from vgg_viz.gallery.texts import Texts
from vgg_viz.maths.metrics import wilson_interval
from vgg_viz.records import Checkpoint, Finding

TEXTS = Texts(__name__)
# Freshly gathered pictures of the same kind cost good networks up to 15 points (Recht et al. 2019, arXiv 1902.10811: 3 to 15 on
# CIFAR-10, 11 to 14 on ImageNet). What is lost beyond that needs another cause.
MARGIN = 0.15
ALARM = "alarm"  # the key of such findings


def file_alarms(checkpoint: Checkpoint) -> tuple[Finding, ...]:
    """What the file says of itself against what is in it."""
    return tuple(Finding("bad", one.text, key=ALARM) for one in checkpoint.provenance.evidence if one.alarm)


def measured_alarms(checkpoint: Checkpoint, right: int, total: int) -> tuple[Finding, ...]:
    """The same after a measurement: first that the accuracy lies far below the one that the file records, where it does.

    Args:
        checkpoint: As it was opened.
        right: Pictures that were classified right.
        total: Of so many.
    """
    far_below = _far_below(checkpoint, right, total)
    return (*([Finding("bad", far_below, key=ALARM)] if far_below else []), *file_alarms(checkpoint))


def texts_of(findings: Sequence[Finding]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The sentences of what stands on top: alarms ("bad"), and what else is told first."""
    return tuple(one.text for one in findings if one.level == "bad"), tuple(
        one.text for one in findings if one.level != "bad"
    )


def _far_below(checkpoint: Checkpoint, right: int, total: int) -> str | None:
    recorded = checkpoint.provenance.accuracy
    if recorded is None or not total:
        return None
    low, high = wilson_interval(right, total)
    if recorded.share - high <= MARGIN:
        return None
    assumed = tuple(dict.fromkeys(option for one in checkpoint.provenance.evidence for option in one.settled_by))
    return TEXTS.say(
        "accuracy", recorded=recorded, share=right / total, low=low, high=high, total=total, assumed=assumed
    )
