"""Is a folder of pictures fit to train on? Every file is read once, and what cannot be used is named."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

from vgg_viz.data.folder import open_folder
from vgg_viz.errors import DataRefused, ImageRefused
from vgg_viz.maths.images import decode


def check(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read every picture of an ImageFolder, both parts where it has parts.

    returns  readable (count), classes, per_class {name: count}, sides {"32x32": count}, skipped [(name, why)], parts
    raises   DataRefused where there is no ImageFolder at all
    """
    sides: Counter[str] = Counter()
    per_class: Counter[str] = Counter()
    skipped: list[tuple[str, str]] = []
    parts: dict[str, int] = {}
    classes: tuple[str, ...] = ()
    for split in ("train", "val", "test"):
        try:
            folder = open_folder(path, split=split)
        except DataRefused:
            if split == "test" and not parts:
                raise
            continue
        if folder.split in parts:
            continue  # one part may stand in for another, and a folder without parts is its own only one
        classes = folder.classes
        skipped += folder.skipped
        readable = 0
        for item in folder.items:
            try:
                image = decode(item.path, name=item.name)
            except ImageRefused as error:
                skipped.append((item.name, str(error)))
                continue
            readable += 1
            per_class[classes[item.label]] += 1
            sides[f"{image.shape[2]}x{image.shape[1]}"] += 1
        parts[folder.split] = readable
    return {
        "readable": sum(parts.values()), "classes": classes, "per_class": dict(per_class), "sides": dict(sides.most_common(20)),
        "parts": {name or "all": count for name, count in parts.items()}, "skipped": skipped,
    }  # fmt: skip
