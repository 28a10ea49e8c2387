"""The painted dataset as files: an ImageFolder with masks beside it, written whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path

from vgg_viz.atomic import disk_refused, whole_folder
from vgg_viz.data.shapes import CLASSES, SIDE, draw
from vgg_viz.data.shortcuts import Shortcut, carries, require_paintable, truth, with_shortcut
from vgg_viz.errors import DataRefused, OutputRefused
from vgg_viz.maths.images import encode_png
from vgg_viz.progress import tell

MARK = ".shapes.json"  # says that a folder was made here, and how
TRUTH = "shortcut.json"  # what was planted
ADVICE = "free some space or name another folder"
LARGEST = 1024  # side [px]: the textures are drawn for small pictures


def write_shapes(  # noqa: PLR0913 - the options of `vgg_viz data shapes`
    folder: str | os.PathLike[str],
    *,
    train: int = 2000,
    val: int = 500,
    test: int = 500,
    seed: int = 0,
    side: int = SIDE,
    shortcut: Shortcut | None = None,
) -> Path:
    """Paint three splits into `folder`: train/<class>/000.png and masks/train/<class>/000.png, likewise val and test.

    Args:
        folder: Where to; made anew.
        train: Pictures in this split.
        val: Likewise.
        test: Likewise.
        seed: Of the pictures.
        side: Of the pictures [px].
        shortcut: Planted in some pictures; shortcut.json then says what, where and in which files.

    Returns:
        The folder.

    Raises:
        DataRefused: For a count or side that cannot be
        OutputRefused: When something stands there that this function did not make, or where the disk says no.
    """
    root = Path(folder)
    if min(train, val, test) < 0 or train + val + test == 0:
        raise DataRefused(f"{train}, {val} and {test} pictures were asked for; name counts from 0, not all of them 0.")
    if side > LARGEST:
        raise DataRefused(f"a side of {side} px was asked for; up to {LARGEST} px are painted.")
    if shortcut:
        require_paintable(shortcut)
    ours = (root / MARK).is_file()
    if root.exists() and not ours and not (root.is_dir() and not any(root.iterdir())):
        raise OutputRefused(
            f"{root.name!r} exists and was not made by `vgg_viz data shapes`; name a new folder, or move that one away."
        )
    counts = {"train": train, "val": val, "test": test}
    with disk_refused(root.name, advice=ADVICE):
        root.parent.mkdir(parents=True, exist_ok=True)
    with whole_folder(root, advice=ADVICE) as fresh:
        done, marked = 0, []
        for split, count in counts.items():
            numbers = dict.fromkeys(range(len(CLASSES)), 0)
            for index in range(count):
                picture = draw(index, seed=seed, split=split, side=side)
                name = Path(CLASSES[picture.label]) / f"{numbers[picture.label]:03d}.png"
                numbers[picture.label] += 1
                pixels = picture.pixels
                if shortcut and carries(shortcut, picture.label, index, split):
                    pixels = with_shortcut(picture, shortcut, index, split)
                    marked.append(f"{split}/{name.as_posix()}")
                _put(fresh / split / name, encode_png(pixels.transpose(1, 2, 0)))
                _put(fresh / "masks" / split / name, encode_png(picture.mask.astype("uint8") * 255))
                done += 1
                tell("painting", done, sum(counts.values()))
        (fresh / MARK).write_text(json.dumps({"seed": seed, "side": side, **counts}) + "\n", encoding="utf-8")
        if shortcut:
            facts = {**truth(shortcut, side), "files": marked}
            (fresh / TRUTH).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return root


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
