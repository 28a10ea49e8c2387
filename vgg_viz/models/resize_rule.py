"""How a network's pictures are fitted: as the user says, as the file says, as torchvision does, or as usual."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any, Final

from vgg_viz.errors import CheckpointRefused, InputRefused
from vgg_viz.maths.fitting import fitting_text
from vgg_viz.models.metadata import Beside, bags_near
from vgg_viz.records import Checkpoint, Evidence, Resize

OPTION: Final = "--resize"
SQUASH: Final = "squash"
OWN: Final = (
    "vgg_viz",
    "vgg_viz_safetensors",
)  # formats that say how pictures are fitted; without a word, it is the usual rule
KEY: Final = "resize"  # of the rule in those
MOST: Final = 8192  # [px]
IMAGENET: Final = Resize(224, 256)  # torchvision's own, for all of its VGGs
_LENGTHS = ("val_resize_size", "resize_size")  # torchvision's reference training writes the first
_RESAMPLE = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers, as Hugging Face writes them


def with_resize(checkpoint: Checkpoint, stored: object, beside: Beside, wanted: str | int | None) -> Checkpoint:
    """The checkpoint with the rule by which its pictures are fitted, and with a sentence where it is not the usual one.

    Args:
        checkpoint: As it was read.
        stored: All that the file held; None without a file.
        beside: What lies beside the file, as `notes_beside` gives it.
        wanted: The user's word: a length of the shorter side [px], "squash", or None.

    Raises:
        InputRefused: For a user's word that is no rule, or a length below the network's side.
        CheckpointRefused: This package's own file holds a rule that is none.
    """
    about, format_ = checkpoint.architecture, checkpoint.provenance.format
    rule: Resize | None = None
    if wanted is not None:
        rule = parse(wanted, about.image_side)
        evidence = [Evidence(f"You set how pictures are resized: the network sees {fitting_text(rule)}.")]
    elif format_ in OWN:
        rule, evidence = _written(stored, about.image_side), []
    elif noted := _noted(stored, beside, about.image_side):
        rule, where = noted
        evidence = [Evidence(f"The network sees {fitting_text(rule)}, since {where}.")]
    elif format_ == "torchvision" and (about.num_classes, about.image_side, about.in_channels) == (1000, 224, 3):
        rule = IMAGENET
        text = f"The network sees {fitting_text(rule)}, as torchvision's networks for ImageNet do: assumed by its layers and classes."
        evidence = [Evidence(text, (OPTION,))]
    elif mode := _other_mode(stored, beside):
        text = f"The file asks for pictures that are fitted by {mode[:40]!r}, which is not done here: the network sees"
        evidence = [Evidence(f"{text} {fitting_text(checkpoint.fitting)}.", (OPTION,))]
    else:
        evidence = []
    if rule == Resize(about.image_side):
        rule = None
    provenance = replace(checkpoint.provenance, evidence=(*checkpoint.provenance.evidence, *evidence))
    return replace(checkpoint, resize=rule, provenance=provenance)


def parse(wanted: str | int, side: int) -> Resize:
    """The rule that a user names: "256" for the shorter side, then the centre; "squash" for the whole picture as a square."""
    if wanted == SQUASH:
        return Resize(side, squash=True)
    text = str(wanted)
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise InputRefused(
            f"{OPTION} {text[:40]!r} is no rule for pictures; give the pixels of their shorter side, such as 256, or {SQUASH}."
        )
    if not side <= int(text) <= MOST:
        raise InputRefused(
            f"{OPTION} {text} came for a network that reads {side} px; give {side} to {MOST}, or {SQUASH}."
        )
    return Resize(side, int(text) if int(text) > side else None)


def as_plain(checkpoint: Checkpoint) -> dict[str, Any]:
    """The rule as this package's files hold it, {KEY: {...}}; {} for the usual one."""
    return {KEY: asdict(checkpoint.fitting)} if checkpoint.resize else {}


def _written(stored: object, side: int) -> Resize | None:
    """The rule in a file of this package; None where it holds none."""
    header = getattr(stored, "metadata", None)
    value = header.get(KEY) if isinstance(header, Mapping) else stored.get(KEY) if isinstance(stored, Mapping) else None
    try:
        told = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        told = False
    if told is None:
        return None
    rule = (
        _rule(side, told.get("shorter"), told.get("squash"), told.get("interpolation"))
        if isinstance(told, Mapping)
        else None
    )
    if rule is None:
        raise CheckpointRefused(
            f"the file's {KEY!r} is {str(value)[:60]!r}, which is no rule for pictures; export the checkpoint again, or train again."
        )
    return rule


def _rule(side: int, shorter: object, squash: object, interpolation: object) -> Resize | None:
    """The rule of plain values, or None where they are none."""
    if isinstance(shorter, bool) or not (shorter is None or (isinstance(shorter, int) and side <= shorter <= MOST)):
        return None
    if not isinstance(squash, bool) or interpolation not in ("bilinear", "bicubic"):
        return None
    return Resize(
        side, None if shorter == side else shorter, squash, "bicubic" if interpolation == "bicubic" else "bilinear"
    )


def _noted(stored: object, beside: Beside, side: int) -> tuple[Resize, str] | None:
    """What a foreign file, or one beside it, says, and where it says so; None where it says nothing that can be done."""
    for path, bag in bags_near(stored, beside):
        for rule, key in _said(bag, side):
            if rule is not None:
                return rule, f"{'.'.join((*path, key))[:80]!r} of the file is {str(bag[key])[:60]}"
    return None


def _other_mode(stored: object, beside: Beside) -> str | None:
    """A way to crop that timm knows and this package does not, such as "border"."""
    modes = (bag.get("crop_mode") for _, bag in bags_near(stored, beside))
    return next((mode for mode in modes if isinstance(mode, str) and mode not in ("center", SQUASH)), None)


def _said(bag: Mapping[Any, Any], side: int) -> Iterator[tuple[Resize | None, str]]:
    """The rules that one mapping tells, with the key that tells each."""
    interpolation = (
        "bicubic"
        if bag.get("interpolation") == "bicubic"
        else _RESAMPLE.get(_whole(bag.get("resample")) or 0, "bilinear")
    )
    share = bag.get("crop_pct")
    # timm: the shorter side to floor(side / crop_pct), or both sides of a squashed picture.
    if isinstance(share, int | float) and not isinstance(share, bool) and 0.1 <= share <= 1:
        mode = bag.get("crop_mode", "center")
        if mode in ("center", SQUASH):
            yield _rule(side, math.floor(side / share), mode == SQUASH, interpolation), "crop_pct"
    for key in _LENGTHS:
        if (length := _whole(bag.get(key))) is not None:
            yield _rule(side, length, False, interpolation), key
    size = bag.get("size")
    if isinstance(size, Mapping) and bag.get("do_resize") is not False:  # Hugging Face
        if (edge := _whole(size.get("shortest_edge"))) is not None:
            yield _rule(side, edge, False, interpolation), "size"
        elif (edge := _whole(size.get("height"))) is not None and size.get("width") == edge:
            cropped = bag.get("do_center_crop") is True
            yield _rule(side, edge if cropped else side, True, interpolation), "size"


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
