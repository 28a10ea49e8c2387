"""Folders of pictures: an ImageFolder, with or without splits and masks, or just photographs.

Nothing in a folder is fatal and nothing is silent: a file that cannot be used is left out and named, with the reason.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from vgg_viz.arguments import require_arguments
from vgg_viz.data.annotations import Truth, stack_truths
from vgg_viz.data.box_masks import BoxBook, read_with_truth
from vgg_viz.data.in_memory import fitted_pictures
from vgg_viz.data.label_table import NAME as TABLE
from vgg_viz.data.masks import mask_of, pictures_alone
from vgg_viz.errors import DataRefused, ImageRefused
from vgg_viz.file_kinds import kind_by_name
from vgg_viz.left_out import NoPicture
from vgg_viz.maths.fitting import fit
from vgg_viz.maths.image_forms import Images
from vgg_viz.maths.images import SUFFIXES, decode, dimensions
from vgg_viz.progress import told
from vgg_viz.records import Batch, Resize

Split = Literal["train", "val", "test", "held-out"]
Skipped = tuple[tuple[str, str], ...]

_SPLITS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
# In which order the parts of a folder are tried for what is asked; "held-out" must never be what a model trained on.
_CHOICE = {"train": ("train",), "val": ("val", "test"), "test": ("test", "val"), "held-out": ("test", "val")}
_LITTER = frozenset({"thumbs.db", "desktop.ini", "__macosx"})


@dataclass(frozen=True, slots=True)
class Item:
    """One picture file with its label and, where one lies in `masks/`, its mask."""

    path: Path
    label: int
    name: str  # relative to the split, "/" between parts
    mask: Path | None = None


@dataclass(frozen=True, slots=True)
class Folder:
    """An ImageFolder, listed but not read.

    Attributes:
        root: As the user gave it.
        split: The part that was opened: "train", "val", "test", or "" where the folder has no parts.
        classes: Names of the class folders over all parts, sorted: index = label.
        skipped: Files left out so far: (name, why); reading adds the broken ones.
        boxes: What lies beside the pictures in the formats of `data/boxes/`, not yet opened.
    """

    root: Path
    split: str
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    skipped: Skipped = ()
    boxes: BoxBook | None = field(default=None, compare=False)


def open_folder(path: str | os.PathLike[str], *, split: Split = "held-out") -> Folder:
    """List an ImageFolder root (class folders), or one part of a folder with train/ and val/ or test/.

    Args:
        path: Of the folder.
        split: Which part to take where there are parts: "held-out" is test/ or else val/; "val" is val/ or else
            test/.

    Raises:
        DataRefused: No folder, no class folders, no pictures, or the part is not there.
    """
    root = Path(path)
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise DataRefused(f"{_shown(root)} {what}; give a folder with one folder of pictures for each class.")
    parts = {
        part: next((root / name for name in names if (root / name).is_dir()), None) for part, names in _SPLITS.items()
    }
    present = {part: place for part, place in parts.items() if place is not None}
    if not present or all(
        _direct_pictures(place) for place in present.values()
    ):  # classes may be called "train" or "test"
        return _listed(root, root, "", _class_names(root))
    chosen = next((part for part in _CHOICE[split] if part in present), None)
    if chosen is None:
        wanted = " or ".join(f"{part}/" for part in _CHOICE[split])
        raise DataRefused(
            f"{_shown(root)} holds {', '.join(f'{place.name}/' for place in present.values())} but no {wanted}; "
            f"add {wanted}, or give the folder of classes itself."
        )
    classes = tuple(sorted({name for place in present.values() for name in _class_names(place)}))
    return _listed(root, present[chosen], chosen, classes)


def read_folder(folder: Folder, *, image_side: int | Resize, limit: int | None = None, seed: int = 0) -> Batch:
    """Decode the pictures of a folder, each fitted to the square that a network reads.

    Args:
        folder: As `open_folder` lists it.
        image_side: How a network's pictures are fitted (`Checkpoint.fitting`); or a side: the shorter one to this, then the centre
            square [px].
        limit: At most this many, evenly over classes, drawn by `seed`.
        seed: Of the choice of pictures.

    Returns:
        Batch with labels, names, skipped files, and masks of outlines or boxes, see `data.annotations.stack_truths`.

    Raises:
        DataRefused: When no picture at all can be read.
    """
    images: list[Tensor] = []
    truths: list[Truth | None] = []
    kept: list[Item] = []
    skipped = list(folder.skipped)
    for item, image, truth in decode_folder(folder, skipped, image_side=image_side, limit=limit, seed=seed):
        images.append(image)
        truths.append(truth)
        kept.append(item)
    whole = stack_truths(truths)
    return Batch(
        torch.stack(images),
        torch.tensor([item.label for item in kept]),
        tuple(item.name for item in kept),
        whole.masks,
        tuple(skipped),
        whole.boxed,
        whole.box_note,
        whole.doubts,
    )


def decode_folder(
    folder: Folder, skipped: list[tuple[str, str]], *, image_side: int | Resize, limit: int | None = None, seed: int = 0
) -> Iterator[tuple[Item, Tensor, Truth | None]]:
    """The pictures of a folder one by one, as in `read_folder`; what is broken goes into `skipped` instead.

    Yields:
        Item, image (3, side, side), and where its object is, or None.

    Raises:
        DataRefused: After the last when there was none.
    """
    count = 0
    what = f"reading {folder.split or 'pictures'}"
    for item in told(_stratified(folder.items, limit, seed), what):
        try:
            image, truth = read_with_truth(
                item.path, item.name, image_side, item.mask, folder.boxes, folder.classes[item.label]
            )
        except ImageRefused as error:
            skipped.append((item.name, str(error)))
        else:
            count += 1
            yield item, image, truth
    if not count:
        raise DataRefused(_nothing(folder.root, skipped))


def read_images(
    path: str | os.PathLike[str] | Images, *, image_side: int | Resize = 224, limit: int | None = None
) -> Batch:
    """One picture, or the pictures of a folder and of the folders in it, in the order of their names; no labels.

    Args:
        path: Of a folder, or of one picture; or pictures that are in memory already, see `maths.image_forms.as_pictures`: these are
            resized as files are, and may be of several sizes in a list.
        image_side: As in `read_folder`.
        limit: At most this many readable pictures.

    Returns:
        Batch with names and skipped files, and masks of outlines or boxes, see `data.annotations.stack_truths`.

    Raises:
        DataRefused: Nothing there, or no picture among it
        ImageRefused: The one picture is broken.
    """
    require_arguments({"image_side": image_side, "limit": limit}, optional=("limit",))
    if not isinstance(path, str | os.PathLike):
        return fitted_pictures(path, image_side=image_side, limit=limit)
    place = Path(path)
    if not place.exists():
        raise DataRefused(f"there is no {_shown(place)}; give a picture, or a folder of pictures.")
    if not place.is_dir():
        return Batch(_fitted(place, place.name, image_side)[None], None, (place.name,))
    images: list[Tensor] = []
    truths: list[Truth | None] = []
    names: list[str] = []
    skipped: list[tuple[str, str]] = []
    pairs = pictures_alone(list(_files(place)), place)
    boxes = BoxBook(place, [file for file, _ in pairs if file.suffix.lower() in SUFFIXES])
    for file, mask in told(pairs, "reading pictures"):
        if limit is not None and len(names) >= limit:
            break
        if file in boxes.files or file.name == TABLE:
            continue
        name = _relative(file, place)
        try:
            if file.suffix.lower() not in SUFFIXES:
                skipped.append((name, _not_by_suffix(name, file)))
                continue
            image, truth = read_with_truth(file, name, image_side, mask, boxes, None)
        except ImageRefused as error:
            skipped.append((name, str(error)))
        else:
            images.append(image)
            truths.append(truth)
            names.append(name)
    if not names:
        raise DataRefused(_nothing(place, skipped))
    whole = stack_truths(truths)
    return Batch(
        torch.stack(images), None, tuple(names), whole.masks, tuple(skipped), whole.boxed, whole.box_note, whole.doubts
    )


def median_side(folder: Folder) -> int:
    """The median shorter side of a folder's pictures, from the headers of up to 64 of them [px]."""
    sides: list[int] = []
    for item in folder.items[:: max(1, len(folder.items) // 64)]:
        with suppress(ImageRefused):  # reading the folder names it
            sides.append(min(dimensions(item.path)))
    return int(np.median(sides)) if sides else 0


# ---------------------------------------------------------------- listing


def _class_names(root: Path) -> tuple[str, ...]:
    folders = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not _hidden(entry.name))
    others = set(folders) - {"masks"}
    if "masks" in folders and others and (_subfolders(root / "masks") & (others | set(_SPLITS))):
        folders.remove("masks")
    return tuple(name for name in folders if any(file.suffix.lower() in SUFFIXES for file in _files(root / name)))


def _listed(root: Path, place: Path, split: str, classes: tuple[str, ...]) -> Folder:
    items: list[Item] = []
    others: list[tuple[Path, str]] = []
    for label, name in enumerate(classes):
        for file in _files(place / name) if (place / name).is_dir() else ():
            relative = _relative(file, place)
            if file.suffix.lower() not in SUFFIXES:
                others.append((file, relative))
            else:
                items.append(Item(file, label, relative, mask_of(file, place)))
    boxes = BoxBook(place, [item.path for item in items])
    skipped = [
        (relative, _not_by_suffix(relative, file))
        for file, relative in others
        if file not in boxes.files and file.name != TABLE
    ]
    if not items:
        raise DataRefused(_nothing(place, skipped, classes=True))
    return Folder(root, split, classes, tuple(items), tuple(skipped), boxes)


def _files(root: Path) -> Iterator[Path]:
    """Files below `root` by name, links followed once, hidden ones and the litter of file managers left out."""
    seen: set[str] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link that leads back up
            folders.clear()
            continue
        seen.add(real)
        if (
            "manifest.json" in files and "figures" in folders
        ):  # a gallery that a report wrote here; its figures are no pictures
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not _hidden(name))
        yield from (Path(folder) / name for name in sorted(files) if not _hidden(name))


def _direct_pictures(folder: Path) -> bool:
    return any(entry.suffix.lower() in SUFFIXES for entry in folder.iterdir() if not entry.is_dir())


def _subfolders(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir() if entry.is_dir()}


def _hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _LITTER


def _stratified(items: Sequence[Item], limit: int | None, seed: int) -> Sequence[Item]:
    """At most `limit` items, taken in turn from each class after a seeded shuffle, back in their first order."""
    if limit is None or limit >= len(items):
        return items
    order = np.random.default_rng(seed).permutation(len(items))
    turn: dict[int, int] = {}
    ranked = []
    for index in order.tolist():
        label = items[index].label
        turn[label] = turn.get(label, 0) + 1
        ranked.append((turn[label], index))
    return [items[index] for index in sorted(index for _, index in sorted(ranked)[:limit])]


# ---------------------------------------------------------------- reading


def _fitted(path: Path, name: str, fitting: int | Resize) -> Tensor:
    return fit(decode(path, name=name), fitting)


# ---------------------------------------------------------------- words


def _relative(file: Path, root: Path) -> str:
    # Names that are no valid text (a folder can hold any bytes) become readable instead of failing when printed.
    return os.fsencode(file.relative_to(root).as_posix()).decode("utf-8", "backslashreplace")


def _not_by_suffix(name: str, file: Path) -> NoPicture:
    if kind := kind_by_name(file.name):
        return NoPicture(f"{name} is {kind.what}; {kind.for_picture}.")
    suffix = f"the suffix {file.suffix!r}" if file.suffix else "no suffix"
    return NoPicture(f"{name} has {suffix}, which is no picture's.")


def _nothing(place: Path, skipped: Sequence[tuple[str, str]], *, classes: bool = False) -> str:
    layout = "one folder of pictures for each class" if classes else "pictures (JPEG, PNG, ...)"
    if classes and place.is_dir() and _direct_pictures(place):
        return f"{_shown(place)} holds pictures but no class folders; expected {layout}: without labels, use --images."
    if not skipped and place.is_dir():  # no folder counts as a class in which no file is a picture
        others = (file for file in islice(_files(place), 1000) if kind_by_name(file.name))
        skipped = [(_relative(file, place), _not_by_suffix(_relative(file, place), file)) for file in others]
    left = f" ({len(skipped)} files were left out; the first: {skipped[0][1].rstrip('.')})" if skipped else ""
    return f"{_shown(place)} holds no picture that can be read{left}; expected a folder with {layout}."


def _shown(path: Path) -> str:
    return repr(path.name or str(path))
