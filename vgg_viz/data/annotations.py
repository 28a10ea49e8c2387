"""What is known of where the objects of a batch are: outlines, boxes, or nothing, and by which rule."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vgg_viz.records import Batch

Rule = Literal[
    "outline", "boxes of its class", "all boxes", "all boxes, unnamed", "all boxes, no name met", "carried", "none"
]

_RULES = {
    "boxes of its class": "the boxes of the picture's own class were taken",
    "all boxes": "all boxes were taken, because the pictures have no labels",
    "all boxes, unnamed": "all boxes were taken, because they bear no class names",
    "all boxes, no name met": "all boxes were taken, because none bears the name of the picture's class",
    "carried": "they travel in the checkpoint",
}


@dataclass(frozen=True, slots=True)
class Truth:
    """Where the object of one picture is.

    Attributes:
        mask: (side, side) bool, as the network sees the picture; empty where the object was cropped away; None:
            nobody knows.
        rule: An outline, or which boxes were taken.
        source: The file that says so, as it is named in sentences.
        refused: Sentences on boxes that were not believed.
    """

    mask: Tensor | None
    rule: Rule
    source: str = ""
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StackedTruths:
    """The truth of a whole batch, as `Batch` holds it: masks and boxed, where they come from, and what to doubt."""

    masks: Tensor | None
    boxed: Tensor | None
    box_note: str = ""
    doubts: tuple[str, ...] = ()


def stack_truths(truths: Sequence[Truth | None]) -> StackedTruths:
    """The masks of all pictures.

    Where only outlines are known, all pictures must have one: some are not all, and a folder that lacks one lacks it by mistake. Boxes
    are cropped away, or refused, one by one: the pictures without then have an empty mask, which no measure counts.
    """
    held = [None if truth is None else truth.mask for truth in truths]
    known = [mask for mask in held if mask is not None]
    boxes = [truth for truth in truths if truth is not None and truth.mask is not None and truth.rule != "outline"]
    refused = _refused(truths)
    if not known:
        return StackedTruths(None, None, doubts=refused)
    if not boxes:
        if len(known) == len(truths):
            return StackedTruths(torch.stack(known), None, doubts=refused)
        return StackedTruths(
            None,
            None,
            doubts=(f"Only {len(known):,} of {len(truths):,} pictures have a mask, so none is used.", *refused),
        )
    masks = torch.stack([torch.zeros_like(known[0]) if mask is None else mask for mask in held])
    if not masks.any():
        return StackedTruths(
            None, None, doubts=("No box reaches into the square that the network sees, so none is used.", *refused)
        )
    boxed = torch.tensor([truth is not None and truth.rule not in ("outline", "none") for truth in truths])
    return StackedTruths(masks, boxed, _told(truths, boxes), (*_uncounted(truths), *refused))


def _refused(truths: Sequence[Truth | None]) -> tuple[str, ...]:
    sentences = list(dict.fromkeys(sentence for truth in truths if truth is not None for sentence in truth.refused))
    if not sentences:
        return ()
    more = f" (and {len(sentences) - 5:,} more)" if len(sentences) > 5 else ""
    return (f"Boxes that are not used: {' '.join(sentences[:5])}{more}",)


def _told(truths: Sequence[Truth | None], boxes: Sequence[Truth]) -> str:
    sources = Counter(truth.source for truth in boxes)
    first = next(iter(sources))
    where = first if len(sources) == 1 else f"{len(sources):,} files such as {first}"
    start = f"boxes from {where}" if first else "boxes"
    outlines = sum(truth is not None and truth.rule == "outline" for truth in truths)
    rules = Counter(truth.rule for truth in boxes)
    parts = [f"{start} for {len(boxes):,} of {len(truths):,} pictures"]
    parts += [
        f"in {count:,} of them {_RULES[rule]}" if len(rules) > 1 else _RULES[rule] for rule, count in rules.items()
    ]
    parts += [f"{outlines:,} with a mask, which goes before a box"] if outlines else []
    return f"{'; '.join(parts)}; a box also holds background, so what lies inside it flatters every map"


def _uncounted(truths: Sequence[Truth | None]) -> tuple[str, ...]:
    """A sentence on the pictures that no measure of places counts; none where all are counted."""
    without = sum(truth is None or truth.mask is None for truth in truths)
    away = sum(truth is not None and truth.mask is not None and not bool(truth.mask.any()) for truth in truths)
    reasons = [f"{without:,} without a box"] if without else []
    reasons += (
        [f"{away:,} with a box outside the square that the network sees, or too small to be in it"] if away else []
    )
    if not reasons:
        return ()
    return (
        f"{without + away:,} of {len(truths):,} pictures are not counted where places are measured: {', '.join(reasons)}.",
    )


TruthKind = Literal["", "outline", "box", "both"]


def truth_kind(batch: Batch | None) -> TruthKind:
    """What is known of the objects' places: outlines, boxes, of some pictures the one and of some the other, or nothing."""
    if batch is None or not bool(batch.known.any()):
        return ""
    boxed = batch.known & False if batch.boxed is None else batch.boxed[batch.known]
    return "outline" if not boxed.any() else "box" if boxed.all() else "both"


def where_word(batch: Batch) -> str:
    """Where a share of a map is measured: "on the object", "in the box" or, where both are known, "on the object or in its box"."""
    return {"box": "in the box", "both": "on the object or in its box"}.get(truth_kind(batch), "on the object")


def object_area(batch: Batch) -> Tensor | None:
    """(B,) share of each picture that its object or box covers, float64; NaN where nobody knows, None where nobody knows of any."""
    return None if batch.masks is None else batch.masks.double().mean((1, 2)).masked_fill(~batch.known, math.nan)


def true_line(batch: Batch, where: str = "") -> str:
    """What the line on a picture (`where`: such as " on the photo") is, as a sentence after a space; "" where none is drawn."""
    kind = truth_kind(batch)
    if not kind:
        return ""
    some = "" if bool(batch.known.all()) else ", where it is known"
    name, meaning = {"outline": ("outline", "mask"), "box": ("line", "box"), "both": ("line", "outline or box")}[kind]
    return f" The {name}{where} is the object's true {meaning}{some}."
