"""What the user named, opened: the checkpoint, and the pictures that are measured on and looked into."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from inspect import signature
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from vgg_viz.arguments import require_keywords
from vgg_viz.data import cache, shapes
from vgg_viz.data.annotations import Truth, stack_truths
from vgg_viz.data.class_matching import match_classes
from vgg_viz.data.folder import Folder, open_folder, read_folder, read_images
from vgg_viz.data.label_table import find_table, one_label_each, read_pictures, read_table
from vgg_viz.data.shortcuts import from_provenance
from vgg_viz.errors import DataRefused, ImageRefused, InputRefused
from vgg_viz.gallery.source import Source
from vgg_viz.left_out import left_out_warning
from vgg_viz.maths.image_forms import Images, luma
from vgg_viz.maths.images import decode, decode_mask, resize
from vgg_viz.models.checkpoint import BUNDLED, load, sha256, weights_sha256, with_names
from vgg_viz.models.containers import model_files
from vgg_viz.models.live.open_network import open_network
from vgg_viz.models.outputs import chooses_one, has_scores
from vgg_viz.models.published import published
from vgg_viz.records import Batch, Checkpoint, PictureOrigin, Specimen
from vgg_viz.studies.preset import Preset

Given = Checkpoint | nn.Module | str | os.PathLike[str] | None

# Names that training scripts give to every run's file, and to the folders that they put it in: they tell no run from the next.
_SAYS_NOTHING = re.compile(
    r"((best|last|final|latest|model|checkpoint|ckpt|weights|epoch|state_dict|pytorch_model)s?[-_.]?)+\d*", re.I
)


def source_of(given: Given, checkpoint: Checkpoint) -> Source:
    """`given` as the user named it, `checkpoint` as it was opened.

    A variant's name is no file, also where a folder is called so; what came in memory is called by what it came from.
    """
    if not isinstance(given, str | os.PathLike | None):
        name = checkpoint.provenance.file or "network"
        return Source(checkpoint, Path(name).stem, name, weights_sha256(checkpoint), ())
    if checkpoint.provenance.format == "untrained":
        name = Path(str(given)).name
        return Source(checkpoint, name, name, "", ())
    named = published(given)
    file = named.file if named else BUNDLED if given is None else Path(given)
    stem, title = (named.name.replace(":", "-"), named.name) if named else names_of(file)
    return Source(checkpoint, stem, title, sha256(file), tuple(part.name for part in model_files(file)))


def open_checkpoint(given: Given, *, seed: int, overrides: Mapping[str, Any] | None = None) -> Source:
    """The checkpoint that the user named, loaded, with where it came from.

    given      a file, a folder that is a model, a variant's name, None for the bundled Tiny VGG, a checkpoint or a module
    overrides  keywords of `load`; of a module those of `vgg_viz.open`
    raises     CheckpointRefused and its kin
    """
    return source_of(given, checkpoint_from(given, {"seed": seed, **(overrides or {})}))


def checkpoint_from(given: Given, options: Mapping[str, Any]) -> Checkpoint:
    """What the user named, opened, with keywords of `load`.

    Raises:
        InputRefused: And its kin; for keywords that say something of a file, where none was given.
    """
    if isinstance(given, str | os.PathLike | None):
        return load(given, **options)
    said = {name: value for name, value in options.items() if name != "seed" and value is not None}
    if isinstance(given, Checkpoint):
        folder = said.pop("folder_classes", ())
        if said:
            raise InputRefused(
                f"{', '.join(said)} came for a checkpoint that is open already; give that to load or open."
            )
        return given if given.named else with_names(replace(given, classes=()), None, folder)
    require_keywords(said, tuple(signature(open_network).parameters)[1:])
    return open_network(given, **said)


def names_of(file: Path) -> tuple[str, str]:
    """What a file is called, in words that tell it from the next: stem and title.

    `nets/vgg16.pth` is vgg16 and vgg16.pth; `run1/best.pt`, whose own name says nothing, is run1-best and run1/best.pt.
    A folder goes by its own name, also where it was named as "."
    """
    whole = Path(os.path.abspath(file))
    stem = whole.name if whole.is_dir() else whole.name.removesuffix(".tar").rpartition(".")[0] or whole.name
    said = _SAYS_NOTHING.fullmatch(stem)
    run = (
        next((above.name for above in whole.parents if above.name and not _SAYS_NOTHING.fullmatch(above.name)), "")
        if said
        else ""
    )
    return (f"{run}-{stem}", f"{run}/{whole.name}") if run else (stem, whole.name)


MOST_GIVEN = 64  # pictures of --images that are answered; the preset says how many of them are looked into


@dataclass(frozen=True, slots=True)
class Inputs:
    """What there is to look at.

    labelled, measured_on  pictures with known classes, and where they come from; both None where there are none
    given                  all pictures of --images that were read, or None
    inspected, inspected_origin those of them to look into, and where they come from; inspected is None where the report chooses
                           among the labelled ones
    warnings               one sentence each, for the page and for stderr
    """

    labelled: Batch | None
    measured_on: PictureOrigin | None
    given: Batch | None
    inspected: Batch | None
    inspected_origin: PictureOrigin | None
    warnings: tuple[str, ...]

    @property
    def labelled_from(self) -> str:
        """Where the labelled pictures come from, in one phrase; "" where there are none."""
        return describe_origin(self.measured_on)

    @property
    def inspected_from(self) -> str:
        """Where those looked into come from, in one phrase; "" where there are none."""
        return describe_origin(self.inspected_origin)

    @property
    def objects(self) -> str:
        """Where the boxes come from that stand for objects, as a phrase; "" where there are none."""
        return next(
            (batch.box_note for batch in (self.labelled, self.given) if batch is not None and batch.box_note), ""
        )


def load_inputs(
    checkpoint: Checkpoint,
    *,
    images: str | os.PathLike[str] | Images | None,
    data: str | os.PathLike[str] | None,
    preset: Preset,
    gigamacs: float,
    seed: int,
) -> Inputs:
    """Read, or paint, what the report will look at; raises DataRefused and ImageRefused for what the user named."""
    if not has_scores(checkpoint.architecture):
        return _without_labels(checkpoint, images, data, preset, seed)
    limit = max(min(16, preset.evaluated), min(preset.evaluated, int(preset.gigamacs / max(gigamacs, 1e-9))))
    labelled, measured_on = labelled_pictures(checkpoint, data, limit=limit, seed=seed)
    warnings = list(reading_warnings(labelled))
    given = inspected = None
    kind: Literal["by confidence", "spread"] = "spread" if labelled and labelled.labels is None else "by confidence"
    inspected_origin = PictureOrigin(kind, preset.pictures) if labelled else None
    if images is not None:
        given = match_channels(read_images(images, image_side=checkpoint.fitting, limit=MOST_GIVEN), checkpoint)
        warnings += reading_warnings(given)
        inspected = spread_over(given, preset.pictures)
        inspected_origin = PictureOrigin("given", len(inspected), len(given))
    return Inputs(labelled, measured_on, given, inspected, inspected_origin, tuple(warnings))


def _without_labels(
    checkpoint: Checkpoint,
    images: str | os.PathLike[str] | Images | None,
    data: str | os.PathLike[str] | None,
    preset: Preset,
    seed: int,
) -> Inputs:
    """Pictures for a network without a classifier: nobody can be right or wrong, so those of --data are looked into as well."""
    side = checkpoint.architecture.image_side
    origin = PictureOrigin("given", 0)
    if images is not None:
        batch = read_images(images, image_side=side, limit=MOST_GIVEN)
    elif data is None and not checkpoint.specimens:
        return Inputs(None, None, None, None, None, ())
    elif data is None:
        batch, origin = (
            specimen_batch(checkpoint.specimens, side),
            PictureOrigin("specimens", len(checkpoint.specimens)),
        )
    elif str(data) == "shapes":
        batch = cache.paint_labelled(MOST_GIVEN, seed=0, split="test", side=side).as_batch()
        origin = PictureOrigin("painted", len(batch), seed=0)
    else:
        folder = open_folder(data)
        batch = read_folder(folder, image_side=side, limit=MOST_GIVEN, seed=seed)
        origin = PictureOrigin("folder", len(batch), len(folder.items), folder.root.name, folder.split)
    given = replace(match_channels(batch, checkpoint), labels=None)
    inspected = spread_over(given, preset.pictures)
    if origin.kind == "given":
        origin = PictureOrigin("given", len(inspected), len(given))
    return Inputs(None, None, given, inspected, origin, tuple(reading_warnings(given)))


def folder_classes(data: str | os.PathLike[str] | None) -> tuple[str, ...]:
    """The classes of --data in the order that ImageFolder gives them, also those of `shapes`; () for none."""
    if data is None:
        return ()
    if str(data) == "shapes":
        return shapes.CLASSES
    try:
        return open_folder(data).classes
    except DataRefused:
        if find_table(Path(data)) is None:
            raise
        return ()


def describe_origin(origin: PictureOrigin | None) -> str:
    """Where pictures come from, as a reader is told; "" for none."""
    if origin is None:
        return ""
    some = f"{origin.count:,}" if origin.of is None else f"{origin.count:,} of {origin.of:,}"
    inside = " and ".join(f"{count} inside {letter}" for letter, count in origin.inside.items())
    phrases = {
        "folder": f"{some} pictures of the folder {origin.name!r}" + (f", {origin.split}/" if origin.split else ""),
        "table": f"{some} pictures of the table {origin.name!r}",
        "painted": f"{some} pictures of the painted set shapes, test split, seed {origin.seed}",
        "specimens": f"the held-out specimens of the checkpoints ({inside})"
        if inside
        else f"the {origin.count} held-out specimens inside the checkpoint",
        "given": f"{some} pictures given with --images",
        "by confidence": f"mistakes and successes among them, chosen by confidence ({origin.count} at most)",
        "spread": f"{origin.count} of them at most, spread evenly",
        "by change": "pictures whose answer changed, then some whose did not",
        "by learning": "pictures that were forgotten on the way, then some that came late",
    }
    return phrases[origin.kind]


def labelled_pictures(
    checkpoint: Checkpoint, data: str | os.PathLike[str] | None, *, limit: int, seed: int = 0
) -> tuple[Batch | None, PictureOrigin | None]:
    """Pictures with labels in the checkpoint's order, and where they come from.

    data  an ImageFolder, "shapes", or None: what the checkpoint carries. A checkpoint that was trained on `shapes`
          says so, and then its held-out split is painted again: more pictures than would fit into the file.
    """
    side = checkpoint.architecture.image_side
    trained_on = dict(checkpoint.provenance.data)
    painted = trained_on.get("kind") == "shapes" and set(checkpoint.classes) == set(shapes.CLASSES)
    if data is not None and str(data) != "shapes":
        folder, table = _folder_or_table(data, checkpoint)
        if table is not None:
            return _of_table(checkpoint, table, limit=limit, seed=seed)
        if folder is None:
            raise TypeError("a folder or a table was expected")
        batch = read_folder(folder, image_side=checkpoint.fitting, limit=limit, seed=seed)
        batch = _labelled_by(folder, batch, checkpoint)
        of = len(folder.items) if len(batch) < len(folder.items) else None
        return match_channels(batch, checkpoint), PictureOrigin(
            "folder", len(batch), of, folder.root.name, folder.split
        )
    if data is not None and not set(checkpoint.classes) == set(shapes.CLASSES):
        raise DataRefused(
            f"--data shapes has the classes {', '.join(shapes.CLASSES)}, the checkpoint has others; give its own pictures as a "
            "folder, or name its classes with --classes."
        )
    if data is not None or painted:
        dataset_seed = int(trained_on.get("seed", 0)) if painted else 0
        planted = from_provenance(trained_on) if painted else None  # in the share that its held-out pictures had
        batch = cache.paint_labelled(limit, seed=dataset_seed, split="test", side=side, shortcut=planted).as_batch()
        order = tuple(checkpoint.classes.index(name) for name in shapes.CLASSES)
        batch = replace(batch, labels=torch.tensor(order)[batch.labels])
        return match_channels(batch, checkpoint), PictureOrigin("painted", len(batch), seed=dataset_seed)
    if checkpoint.specimens:
        batch = specimen_batch(checkpoint.specimens, side)
        return match_channels(batch, checkpoint), PictureOrigin("specimens", len(batch))
    return None, None


NO_VALUES = (
    "folders of classes say nothing about scores; give a labels.csv beside the pictures, with a column file and a column of values for "
    "each output."
)


def _folder_or_table(data: str | os.PathLike[str], checkpoint: Checkpoint) -> tuple[Folder | None, Path | None]:
    """Folders of classes, or a table of labels: where there are both, folders for a network that gives each picture one class."""
    table = find_table(Path(data))
    if table is not None and not chooses_one(checkpoint.architecture):
        return None, table
    try:
        return open_folder(data), None
    except DataRefused:
        if table is None:
            raise
        return None, table


def _labelled_by(folder: Folder, batch: Batch, checkpoint: Checkpoint) -> Batch:
    """What the pictures of class folders are labelled with: a class each; where labels stand beside each other, this one alone.

    Labels without a folder are then unknown for all pictures.
    """
    about = checkpoint.architecture
    if about.outputs == "scores":
        return replace(batch, labels=None, doubts=(*batch.doubts, f"{NO_VALUES[0].upper()}{NO_VALUES[1:]}"))
    order = torch.tensor(match_classes(folder.classes, checkpoint.classes, named=checkpoint.named))
    labels = order[batch.labels]
    if chooses_one(about):
        return replace(batch, labels=labels)
    targets = torch.full((len(batch), about.num_classes), torch.nan)
    targets[:, order] = 0.0
    targets[torch.arange(len(batch)), labels] = 1.0
    doubt = "Each picture is counted as having the label of its folder and no other; a labels.csv can give it several."
    return replace(batch, labels=None, targets=targets, doubts=(*batch.doubts, doubt))


def _of_table(checkpoint: Checkpoint, file: Path, *, limit: int, seed: int) -> tuple[Batch, PictureOrigin]:
    """The pictures of a table of labels."""
    about = checkpoint.architecture
    table = read_table(file, checkpoint.classes, values=about.outputs == "scores")
    if chooses_one(about):
        table = one_label_each(table)
    batch = read_pictures(table, image_side=checkpoint.fitting, limit=limit, seed=seed)
    if chooses_one(about) and batch.targets is not None:
        batch = replace(batch, labels=batch.targets.argmax(1), targets=None)
    of = len(table.pictures) if len(batch) < len(table.pictures) else None
    return match_channels(batch, checkpoint), PictureOrigin("table", len(batch), of, file.name)


def specimen_batch(specimens: tuple[Specimen, ...], side: int) -> Batch:
    """The specimens as pictures of `side` [px]; those that cannot be decoded are in `skipped`."""
    images, masks, kept, skipped = [], [], [], []
    for specimen in specimens:
        try:
            image = resize(decode(specimen.png, name=specimen.name), side, "cover")
            mask = decode_mask(specimen.mask, name=specimen.name) if specimen.mask else None
        except ImageRefused as error:
            skipped.append((specimen.name, str(error)))
            continue
        images.append(image)
        masks.append(mask)
        kept.append(specimen)
    if not kept:
        raise DataRefused("no specimen in the checkpoint can be decoded; give pictures with --data or --images.")
    whole = stack_truths(
        [
            None
            if mask is None
            else Truth(resize(mask[None].float(), side, "cover")[0] >= 0.5, "carried" if specimen.boxed else "outline")
            for mask, specimen in zip(masks, kept, strict=True)
        ]
    )
    return Batch(
        torch.stack(images),
        torch.tensor([s.label for s in kept]),
        tuple(s.name for s in kept),
        whole.masks,
        tuple(skipped),
        whole.boxed,
        whole.box_note,
        whole.doubts,
    )


def match_channels(batch: Batch, checkpoint: Checkpoint) -> Batch:
    """The pictures in as many channels as the network reads: RGB, or luma for a grey one."""
    if checkpoint.architecture.in_channels == 3:
        return batch
    return replace(batch, images=luma(batch.images))


def spread_over(batch: Batch, count: int) -> Batch:
    """`count` pictures spread evenly over the batch: a folder's first files are often of one kind."""
    total = len(batch)
    count = min(count, total)
    indices = [round(i * (total - 1) / max(1, count - 1)) for i in range(count)]
    masks, boxed, targets = (
        None if values is None else values[indices] for values in (batch.masks, batch.boxed, batch.targets)
    )
    names = tuple(batch.names[i] for i in indices)
    return replace(batch, images=batch.images[indices], names=names, masks=masks, boxed=boxed, targets=targets)


def reading_warnings(batch: Batch | None) -> list[str]:
    """A sentence on the files that could not be read, none where all could; and what is to be known of masks and boxes."""
    if batch is None or not batch.skipped:
        return [] if batch is None else list(batch.doubts)
    return [left_out_warning([reason for _, reason in batch.skipped]), *batch.doubts]
