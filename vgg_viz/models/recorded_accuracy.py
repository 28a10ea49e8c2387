"""The accuracy that a training script wrote beside the weights: `best_acc`, `val_acc`, `top1` and their like."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vgg_viz.models.unwrap_state_dict import NO_WEIGHTS
from vgg_viz.records import RecordedAccuracy

MEASURED_ON = {"val", "valid", "validation", "test", "eval", "dev"}
MEASURES = {"acc", "accuracy", "acc1", "accuracy1", "top1", "top1acc", "acctop1", "prec1", "precision1", "accs"}
FIRST = {"prec", "precision", "top"}  # these are about the first answer where a 1 stands beside them
OTHER_WORDS = {"best", "max", "final", "last", "1", "at", "epoch", "model", "score", "percent", "avg", "mean"}
LONGEST_NUMBER, LONGEST_KEY = 24, 60  # letters


def recorded_accuracy(bags: Sequence[tuple[tuple[str, ...], Mapping[Any, Any]]]) -> RecordedAccuracy | None:
    """The accuracy that stands in the file, the likeliest to be that of these very weights on held-out pictures.

    One of a validation or test set counts before one of unknown pictures, and that before the best of all epochs, which may
    be of other weights. Training accuracies, top-5 and losses are left alone. A number above 1 is per cent; a list ends with
    the last epoch.

    Args:
        bags: Mappings in the file with the keys that lead to them, the nearest first.
    """
    found: list[tuple[tuple[bool, bool, int], RecordedAccuracy]] = []
    for path, bag in bags:
        if any(NO_WEIGHTS.search(key.lower()) for key in path):
            continue
        for key, value in bag.items():
            words = _words(key)
            if words is None:
                continue
            share = _share(value)
            if share is not None:
                place = ".".join((*path, str(key)))
                shown = place if len(place) <= LONGEST_KEY else f"{place[: LONGEST_KEY - 3]}..."
                rank = (not words & MEASURED_ON, bool(words & {"best", "max"}), len(path))
                found.append((rank, RecordedAccuracy(share, shown)))
        monitored = _monitored(bag)
        if monitored is not None:
            found.append(((False, True, len(path)), monitored))
    return min(found, key=lambda pair: pair[0])[1] if found else None


def _words(key: object) -> set[str] | None:
    """The words of a key that is the name of a top-1 accuracy, else None: "best_acc@1", "valTop1Acc", "acc/val"."""
    if not isinstance(key, str) or not 3 <= len(key) <= LONGEST_KEY or not key.isascii():
        return None
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).lower()
    words = {word for word in re.split(r"[^a-z0-9]+", spaced) if word}
    measures = MEASURES | (FIRST if "1" in words else set())
    return words if words & measures and not words - measures - MEASURED_ON - OTHER_WORDS else None


def _monitored(bag: Mapping[Any, Any]) -> RecordedAccuracy | None:
    """What Lightning's ModelCheckpoint keeps ("monitor", "current_score"), and timm ("metric": top-1 unless it was told otherwise)."""
    monitor = bag.get("monitor")
    if _words(monitor):
        for key in ("current_score", "best_model_score"):
            if (share := _share(bag.get(key))) is not None:
                return RecordedAccuracy(share, f"{monitor} ({key})")
    if "state_dict" in bag and "arch" in bag and (share := _share(bag.get("metric"))) is not None:
        told = getattr(bag.get("args"), "eval_metric", "top1")
        return RecordedAccuracy(share, "metric") if told == "top1" else None
    return None


def _share(value: object) -> float | None:
    """A number from 0 to 1, or from 0 to 100, as a share; a tensor or array of one number; a list's last; "70.3 %"."""
    if isinstance(value, list | tuple) and value:
        value = value[-1]
    if isinstance(value, Tensor):
        value = (
            value.item()
            if value.numel() == 1 and value.layout == torch.strided and value.device.type == "cpu"
            else None
        )
    elif hasattr(value, "item") and getattr(value, "size", 0) == 1:
        value = value.item()
    per_cent = False
    if isinstance(value, str) and len(value) <= LONGEST_NUMBER:
        match = re.fullmatch(r"\s*([0-9]{1,3}(?:\.[0-9]+)?)\s*(%?)\s*", value)
        if match is None:
            return None
        value, per_cent = float(match[1]), bool(match[2])
    # 0 is what scripts begin with; no comparison holds for NaN.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 100:
        return None
    return value / 100 if per_cent or value > 1 else float(value)
