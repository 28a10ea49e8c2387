"""Is a folder of pictures fit to train on? Every file is read once, and what cannot be used is named."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

from vgg_viz.data.folder import open_folder
from vgg_viz.errors import DataRefused, ImageRefused
from vgg_viz.maths.images import decode
from vgg_viz.progress import told

CHECKED_AT = 64  # [px] side at which boxes are laid; any would do


def check(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read every picture of an ImageFolder, both parts where it has parts.

    Returns:
        Readable (count), classes, per_class {name: count}, sides {"32x32": count}, skipped [(name, why)], parts,
            objects {"outline", "box", "unknown": count}: the pictures whose object is known, by masks/ or boxes.

    Raises:
        DataRefused: Where there is no ImageFolder at all.
    """
    sides: Counter[str] = Counter()
    objects: Counter[str] = Counter({"outline": 0, "box": 0, "unknown": 0})
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
        for item in told(folder.items, f"reading {folder.split or 'pictures'}"):
            try:
                image = decode(item.path, name=item.name)
                size = (image.shape[1], image.shape[2])
                own = classes[item.label]
                truth = (
                    None
                    if item.mask or folder.boxes is None
                    else folder.boxes.truth(item.path, item.name, size, CHECKED_AT, own)
                )
            except ImageRefused as error:
                skipped.append((item.name, str(error)))
                continue
            known = item.mask is not None or (truth is not None and truth.mask is not None)
            objects["outline" if item.mask else "box" if known else "unknown"] += 1
            skipped += (
                [(item.name, why) for why in truth.refused if all(why != before for _, before in skipped)]
                if truth
                else []
            )
            readable += 1
            per_class[classes[item.label]] += 1
            sides[f"{image.shape[2]}x{image.shape[1]}"] += 1
        parts[folder.split] = readable
    return {
        "readable": sum(parts.values()),
        "classes": classes,
        "per_class": dict(per_class),
        "sides": dict(sides.most_common(20)),
        "parts": {name or "all": count for name, count in parts.items()},
        "skipped": skipped,
        "objects": dict(objects),
    }
