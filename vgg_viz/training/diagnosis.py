"""What the curves of a run say, in sentences with numbers: a verdict belongs beside every curve.

A published lab run ends at chance (accuracy .198 on 3 classes, loss near ln 3) and says so nowhere; this module would.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from vgg_viz.number_text import percent
from vgg_viz.records import Epoch, Finding

AT_CHANCE = 0.97  # validation loss above this share of ln K: the network knows nothing that the class counts do not say
GAP = 0.05  # accuracy on training pictures above that on held-out ones, from which it is worth a word
RISE = 1.05  # validation loss above this multiple of its lowest: it learns its pictures by heart
GAIN = 0.02  # share by which the validation loss must have fallen over the last epochs to call it still falling
LAST = 3  # epochs that count as "the last"


def diagnose(history: Sequence[Epoch], num_classes: int) -> tuple[Finding, ...]:
    """Findings about a run, the gravest first; none without a history.

    Args:
        history: Epochs in order.
        num_classes: K; guessing has accuracy 1 / K and loss ln K [nat].
    """
    if not history:
        return ()
    finite = [epoch for epoch in history if math.isfinite(epoch.train_loss + epoch.val_loss)]
    findings = []
    if len(finite) < len(history):
        findings.append(_diverged(history, finite))
    if not finite:
        return tuple(findings)
    if _knows_nothing(finite, num_classes):
        return (*findings, _at_chance(finite, num_classes))
    overfitting = _overfitting(finite)
    findings += [finding for finding in (overfitting, None if overfitting else _still_improving(finite)) if finding]
    if not findings:
        findings.append(_healthy(finite))
    return tuple(findings)


def still_improving(history: Sequence[Epoch]) -> bool:
    """Whether more epochs would probably have helped a run."""
    return bool(history) and all(math.isfinite(one.val_loss) for one in history) and bool(_still_improving(history))


def _diverged(history: Sequence[Epoch], finite: Sequence[Epoch]) -> Finding:
    first = next(epoch for epoch in history if not math.isfinite(epoch.train_loss + epoch.val_loss))
    left = f"the weights of epoch {finite[-1].epoch} were kept" if finite else "nothing was learned before"
    return Finding(
        "bad",
        f"Training diverged in epoch {first.epoch}: the loss is no longer a number at learning rate "
        f"{first.learning_rate:.2g}; {left}. Lower the rate by a factor of 3 to 10.",
    )


def _knows_nothing(history: Sequence[Epoch], num_classes: int) -> bool:
    return num_classes > 1 and min(epoch.val_loss for epoch in history) > AT_CHANCE * math.log(num_classes)


def _at_chance(history: Sequence[Epoch], num_classes: int) -> Finding:
    best = max(history, key=lambda epoch: epoch.val_accuracy)
    lowest = min(epoch.val_loss for epoch in history)
    learned = history[-1].train_accuracy
    why = (
        f"it does know its training pictures ({_share(learned)}): what it learned does not carry over"
        if learned > 2 / num_classes and learned > best.val_accuracy + GAP
        else "it has not learned its training pictures either: try another learning rate, more epochs, or check the labels"
    )
    return Finding(
        "bad",
        f"At chance: after {len(history)} epochs the best validation accuracy is {_share(best.val_accuracy)}, where guessing "
        f"among {num_classes} classes gives {_share(1 / num_classes)}, and the lowest loss {lowest:.3f}, where guessing gives "
        f"ln {num_classes} = {math.log(num_classes):.3f}; {why}.",
    )


def _overfitting(history: Sequence[Epoch]) -> Finding | None:
    last, lowest = history[-1], min(history, key=lambda epoch: epoch.val_loss)
    gap = last.train_accuracy - last.val_accuracy
    if gap < GAP or last.val_loss < RISE * lowest.val_loss or lowest.epoch == last.epoch:
        return None
    return Finding(
        "warn",
        f"Overfitting since epoch {lowest.epoch}: the validation loss rose from {lowest.val_loss:.3f} to {last.val_loss:.3f} "
        f"while the training loss went on to {last.train_loss:.3f}; training accuracy ends {gap * 100:.1f} points above "
        f"validation ({_share(last.train_accuracy)} against {_share(last.val_accuracy)}). "
        "More pictures, augmentation or decay help.",
    )


def _still_improving(history: Sequence[Epoch]) -> Finding | None:
    if len(history) <= LAST:
        return None
    last, before = history[-1], history[-1 - LAST]
    fell = 1 - last.val_loss / before.val_loss if before.val_loss > 0 else 0.0
    # A rate that has run down to nothing would not improve it further, whatever the last epochs brought.
    annealed = last.learning_rate < 0.1 * max(epoch.learning_rate for epoch in history)
    if fell < GAIN or annealed or last.val_loss > min(epoch.val_loss for epoch in history):
        return None
    return Finding(
        "note",
        f"Still improving: over the last {LAST} epochs the validation loss fell by {_share(fell)}, to {last.val_loss:.3f}, "
        f"and accuracy reached {_share(last.val_accuracy)}; more epochs would probably help.",
    )


def _healthy(history: Sequence[Epoch]) -> Finding:
    best, last = max(history, key=lambda epoch: epoch.val_accuracy), history[-1]
    gap = last.train_accuracy - last.val_accuracy
    beside = (
        f"training accuracy ends {gap * 100:.1f} points above validation"
        if gap > 0
        else f"validation accuracy ends {-gap * 100:.1f} points above training, as augmentation and dropout make likely"
    )
    return Finding(
        "good",
        f"Training went well: the best validation accuracy is {_share(best.val_accuracy)}, in epoch {best.epoch} of "
        f"{len(history)}; {beside}, and the validation loss ends at {last.val_loss:.3f} "
        f"(lowest {min(epoch.val_loss for epoch in history):.3f}).",
    )


def _share(share: float) -> str:
    return percent(share, decimals=1)
