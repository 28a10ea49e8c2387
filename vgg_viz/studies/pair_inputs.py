"""What two checkpoints can be compared on: the classes that both know, and pictures in the view of either."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import torch
from torch import Tensor

from vgg_viz.data import shapes
from vgg_viz.data.class_matching import match_classes
from vgg_viz.data.folder import Folder, open_folder, read_folder, read_images
from vgg_viz.errors import DataRefused, InputRefused
from vgg_viz.maths.image_forms import Images
from vgg_viz.number_text import counted
from vgg_viz.records import Batch, Checkpoint, PictureOrigin, Resize
from vgg_viz.safe_text import shorten
from vgg_viz.studies.answers import select_images
from vgg_viz.studies.inputs import MOST_GIVEN, match_channels, reading_warnings, specimen_batch, spread_over
from vgg_viz.studies.pair import Pictures
from vgg_viz.studies.preset import Preset

Places = dict[int, int]  # index of a class in A -> its index in B


def shared_classes(a: Checkpoint, b: Checkpoint, folder: Folder | None) -> Places:
    """Which class of A is which class of B: by name, and by a folder whose classes both know.

    The k-th of several classes with one name is the k-th of that name in the other: ImageNet has two cranes. Where nobody has
    named the classes of one, their numbers are no names: two such lists agree only as a whole.
    raises  InputRefused when fewer than two classes are shared: between one class and itself nobody can be wrong
    """
    if a.classes == b.classes:
        places = {index: index for index in range(len(a.classes))}
    elif a.named and b.named:
        known = {name: index for index, name in enumerate(_numbered(b.classes))}
        places = {index: known[name] for index, name in enumerate(_numbered(a.classes)) if name in known}
    else:
        places = {}
    if folder is not None:
        in_a, in_b = _known(folder.classes, a), _known(folder.classes, b)
        for name in folder.classes:
            if name in in_a and name in in_b and in_a[name] not in places and in_b[name] not in places.values():
                places[in_a[name]] = in_b[name]
    if len(places) < 2:
        raise InputRefused(
            f"the two checkpoints share {counted(len(places), 'class', 'classes')} (A knows {_few(a.classes)}; B knows {_few(b.classes)}), "
            "at least two are needed; compare networks for the same task, or name their classes with --classes."
        )
    return dict(sorted(places.items()))


def _numbered(names: Sequence[str]) -> list[tuple[str, int]]:
    seen: Counter[str] = Counter()
    numbered = []
    for name in names:
        numbered.append((name, seen[name]))
        seen[name] += 1
    return numbered


def _known(names: Sequence[str], checkpoint: Checkpoint) -> dict[str, int]:
    """Index in the checkpoint of each folder class that it knows."""
    with suppress(DataRefused):
        return dict(zip(names, match_classes(names, checkpoint.classes, named=checkpoint.named), strict=True))
    found = {}
    for name in names:
        with suppress(DataRefused):
            found[name] = match_classes((name,), checkpoint.classes)[0]
    return found


def _few(names: Sequence[str]) -> str:
    return ", ".join(shorten(name, 40) for name in names[:3]) + (
        f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    )


# ---------------------------------------------------------------- pictures


def load_labelled(
    a: Checkpoint, b: Checkpoint, places: Places, folder: Folder | None, *, painted: bool, limit: int, seed: int
) -> tuple[Pictures | None, list[str]]:
    """Pictures with known classes for both, and warnings: of the folder, painted, or those that travel in the checkpoints.

    painted  the user asked for the painted set; without a folder it is also taken where a checkpoint was trained on it
    raises   DataRefused
    """
    if folder is not None:
        return _of_folder(a, b, places, folder, limit, seed)
    trained_on = next(
        (dict(net.provenance.data) for net in (a, b) if net.provenance.data.get("kind") == "shapes"), None
    )
    shape = {name: place for place, index in enumerate(places) if (name := a.classes[index]) in shapes.CLASSES}
    if painted and not shape:
        raise DataRefused(
            f"--data shapes has the classes {', '.join(shapes.CLASSES)}, and the two checkpoints share none of them; "
            "give their own pictures as a folder."
        )
    if shape and (painted or trained_on is not None):
        dataset_seed = int((trained_on or {}).get("seed", 0))
        found = _both(a, b, lambda rule: _painted(shape, limit, dataset_seed, rule.side))
        return Pictures(*found, PictureOrigin("painted", len(found[0]), seed=dataset_seed)), []
    return _carried(a, b, places)


def _both(a: Checkpoint, b: Checkpoint, view: Callable[[Resize], Batch]) -> tuple[Batch, Batch]:
    """The pictures as either network reads them; one reading serves both where they fit them alike."""
    first = view(a.fitting)
    second = first if a.fitting == b.fitting else view(b.fitting)
    return match_channels(first, a), match_channels(second, b)


def _of_folder(
    a: Checkpoint, b: Checkpoint, places: Places, folder: Folder, limit: int, seed: int
) -> tuple[Pictures, list[str]]:
    order = {index: place for place, index in enumerate(places)}
    in_a, in_b = _known(folder.classes, a), _known(folder.classes, b)
    place = [
        order[in_a[name]] if name in in_a and places.get(in_a[name], -1) == in_b.get(name) else -1
        for name in folder.classes
    ]
    kept = tuple(item for item in folder.items if place[item.label] >= 0)
    if not kept:
        raise DataRefused(
            f"the folder {folder.root.name!r} has the classes {_few(folder.classes)}, none of which both checkpoints know; "
            "give pictures of classes that they share."
        )
    part = replace(folder, items=kept)

    def view(rule: Resize) -> Batch:
        batch = read_folder(part, image_side=rule, limit=limit, seed=seed)
        return replace(batch, labels=torch.tensor(place)[batch.labels])

    found = _both(a, b, view)
    of = len(kept) if len(found[0]) < len(kept) else None
    strangers = [name for name, known in zip(folder.classes, place, strict=True) if known < 0]
    warnings = reading_warnings(found[0])
    if strangers:
        are = (
            "class of the folder is not known to both networks and was"
            if len(strangers) == 1
            else "classes of the folder are not known to both networks and were"
        )
        warnings.append(f"{len(strangers)} {are} left out: {_few(strangers)}.")
    return Pictures(*found, PictureOrigin("folder", len(found[0]), of, folder.root.name, folder.split)), warnings


def _painted(place: dict[str, int], limit: int, seed: int, side: int) -> Batch:
    batch = shapes.paint(limit, seed=seed, split="test", side=side)
    labels = torch.tensor([place.get(name, -1) for name in shapes.CLASSES])[batch.labels]
    kept = (labels >= 0).nonzero()[:, 0].tolist()
    return select_images(replace(batch, labels=labels), kept)


def _carried(a: Checkpoint, b: Checkpoint, places: Places) -> tuple[Pictures | None, list[str]]:
    """The held-out specimens of both files, each picture once."""
    from_a = {index: place for place, index in enumerate(places)}
    from_b = {index: place for place, index in enumerate(places.values())}
    found: dict[bytes, tuple[int, str]] = {}
    specimens = []
    for net, place, letter in ((a, from_a, "A"), (b, from_b, "B")):
        for specimen in net.specimens:
            if specimen.label in place and specimen.png not in found:
                found[specimen.png] = (place[specimen.label], letter)
                specimens.append(replace(specimen, label=place[specimen.label]))
    if not specimens:
        return None, []
    counts = Counter(letter for _, letter in found.values())
    batches = _both(a, b, lambda rule: specimen_batch(tuple(specimens), rule.side))
    warnings = reading_warnings(batches[0])
    if not (a.specimens and b.specimens):
        one, other = ("A", "B") if a.specimens else ("B", "A")
        warnings.append(
            f"The pictures travelled in {one} and were held out when {one} was trained; whether {other} has learned from them nobody can tell here."
        )
    inside = {letter: counts[letter] for letter in ("A", "B") if counts[letter]}
    return Pictures(*batches, PictureOrigin("specimens", len(batches[0]), inside=inside)), warnings


def load_given(
    a: Checkpoint, b: Checkpoint, images: str | os.PathLike[str] | Images | None, preset: Preset
) -> tuple[Pictures | None, list[str]]:
    """Some pictures of --images, evenly over the folder, and warnings; raises DataRefused and ImageRefused."""
    if images is None:
        return None, []
    read = _both(a, b, lambda rule: read_images(images, image_side=rule, limit=MOST_GIVEN))
    some = spread_over(read[0], preset.pictures), spread_over(read[1], preset.pictures)
    return Pictures(*some, PictureOrigin("given", len(some[0]), len(read[0]))), reading_warnings(read[0])


def open_labelled_folder(data: str | os.PathLike[str] | None) -> tuple[Folder | None, bool]:
    """The folder of --data, or that the painted set was asked for."""
    if data is None or str(data) == "shapes":
        return None, data is not None
    return open_folder(data), False


def class_columns(places: Places) -> tuple[Tensor, Tensor]:
    """Where the shared classes stand among the outputs of A and of B."""
    return torch.tensor(list(places)), torch.tensor(list(places.values()))
