"""Data: the pictures themselves, their classes, and what happens to them before the network sees them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from vgg_viz.data.transforms import AUGMENTATIONS, Augmentation, colour_axes, steps
from vgg_viz.errors import SectionMissing
from vgg_viz.figures import pictures as paint
from vgg_viz.figures.image_grid import pixels
from vgg_viz.gallery.sections import section
from vgg_viz.number_text import counted
from vgg_viz.records import Batch, Caption, Column, Exhibit, Table
from vgg_viz.studies.subject import Subject

SHOWN_STEPS = 3


@section(
    "data",
    study="report",
    title="Data",
    order=30,
    lead="Look at the pictures before looking at the network: most surprises of a classifier are already in them.",
)
def data(subject: Subject) -> Iterator[Exhibit]:
    """Specimens with their labels, the count of each class, and the way of a picture to the network."""
    batch = subject.material.given or subject.material.labelled
    if batch is None:
        raise SectionMissing(
            "There are no pictures: the checkpoint carries no specimens and none were given.",
            "python -m vgg_viz report CHECKPOINT --images DIR",
        )
    yield _specimens(subject, batch)
    if batch.labels is not None:
        yield _balance(subject, batch, batch.labels)
    yield _transforms(subject, batch)


def _specimens(subject: Subject, batch: Batch) -> Exhibit:
    total = len(batch)
    indices = list(range(total))[: subject.preset.grid]
    labels = None if batch.labels is None else [subject.classes[int(batch.labels[i])] for i in indices]
    height, width = batch.images.shape[-2:]
    named = "the true class under each" if labels else "the file name under each, since nobody labelled them"
    origin = subject.material.looked_from if subject.material.given is batch else subject.material.labelled_from
    return Exhibit(
        "data-specimens",
        f"{len(indices)} of {total:,} pictures" if len(indices) < total else counted(total, "picture"),
        Caption(
            see=f"{f'The first {len(indices)} of the' if len(indices) < total else 'The'} {'picture' if total == 1 else 'pictures'} that this report uses ({origin}), with {named}: exactly what enters the network, "
            f"{height} × {width} pixels with values in [0, 1], resized and cropped, before the network normalises them.",
            read="Could you name every class at this size? Where you hesitate, do not expect more of the network. Look for what the classes "
            "share besides the object: ground, colour, framing, marks.",
            cannot="So few pictures cannot show rare faults: wrong labels, duplicates, broken files.",
        ),
        alt=f"Grid of {counted(len(indices), 'picture')}"
        + (f" of the classes {', '.join(sorted(set(labels))[:12])}." if labels else "."),
        figure=paint.picture_grid(pixels(batch.images[indices]), labels or [batch.names[i] for i in indices], side=112),
        kind="picture",
        numbers={
            "shown": len(indices),
            "of": total,
            "names": [batch.names[i] for i in indices],
            "classes": labels,
            "height": height,
            "width": width,
        },
    )


def _balance(subject: Subject, batch: Batch, labels: Tensor) -> Exhibit:
    counts = torch.bincount(labels, minlength=len(subject.classes)).tolist()
    present = [(name, count) for name, count in zip(subject.classes, counts, strict=True) if count]
    few, many = min(count for _, count in present), max(count for _, count in present)
    channels = batch.images.movedim(1, 0).flatten(1)
    mean, std = channels.mean(1).tolist(), channels.std(1).tolist()
    colour = "colour (red, green, blue)" if len(mean) == 3 else "brightness"
    each = f"{few:,}" if few == many else f"{few:,} to {many:,}"
    architecture = subject.checkpoint.architecture
    return Exhibit(
        "data-classes",
        "How many of each class, and how bright",
        Caption(
            see=f"The labelled pictures counted by class: {each} in each of {counted(len(present), 'class', 'classes')}. Their mean {colour} is "
            f"({', '.join(f'{v:.3f}' for v in mean)}) with a spread of ({', '.join(f'{v:.3f}' for v in std)}) in [0, 1]; before its "
            f"first convolution the network subtracts ({', '.join(f'{v:.3f}' for v in architecture.mean)}) and divides by "
            f"({', '.join(f'{v:.3f}' for v in architecture.std)}).",
            read="Unequal counts make accuracy flatter the frequent classes: then read the row of each class in the confusion matrix instead. "
            "Mean and spread should be close to what the network takes off; far apart, the pictures are not of the kind it was trained on, "
            "or the preprocessing was guessed wrong.",
            cannot="Equal counts do not make classes equally hard, and an equal mean does not make pictures alike.",
        ),
        alt=f"Table of {len(present)} classes with {each} pictures each.",
        table=Table((Column("class"), Column("pictures", "", True)), tuple(present)),
        numbers={
            "counts": [count for _, count in present],
            "classes": [name for name, _ in present],
            "mean": mean,
            "std": std,
            "normalise_mean": architecture.mean,
            "normalise_std": architecture.std,
        },
    )


def _transforms(subject: Subject, batch: Batch) -> Exhibit:
    recipe = subject.checkpoint.provenance.training.get("augment")
    known = isinstance(recipe, str) and recipe in AUGMENTATIONS
    wanted: Augmentation = AUGMENTATIONS[str(recipe) if known else "paper"]
    side = subject.checkpoint.architecture.image_side
    colour = batch.images if batch.images.shape[1] == 3 else batch.images.expand(-1, 3, -1, -1)
    axes = colour_axes(colour)
    chosen = [round(i * (len(batch) - 1) / max(1, SHOWN_STEPS - 1)) for i in range(min(SHOWN_STEPS, len(batch)))]
    ways = [steps(colour[i], side=side, augmentation=wanted, axes=axes, seed=subject.seed + i)[1:] for i in chosen]
    names = ["enters", *(step.name for step in ways[0][1:])]
    rows = [pixels(torch.stack([way[0].after, *(step.after for step in way[1:])])) for way in ways]
    source = (
        f"This checkpoint was trained with the recipe {recipe!r}."
        if known
        else (
            "The checkpoint does not say how its pictures were changed; shown is the recipe of the VGG paper: flip, crop, scale jitter, and a "
            "shift along the principal axes of colour."
        )
    )
    quiet = len(names) == 1
    return Exhibit(
        "data-transforms",
        "What training does to a picture" if known else "What the training of the VGG paper does to a picture",
        Caption(
            see=(
                f"Pictures as they enter training. {source} That recipe changes nothing."
                if quiet
                else f"From left to right, the random changes of training, one after the other, each with its name. {source}"
            ),
            read="Every change must leave the class recognisable: it tells the network what does not matter. Evaluation does none of this; it "
            "only resizes the shorter side and takes the centre.",
            cannot="Each row is one throw of the dice. In training they are thrown anew for every picture in every epoch.",
        ),
        alt=f"{counted(len(rows), 'picture')} through {counted(len(names), 'step')}: {', '.join(names)}.",
        figure=paint.steps(rows, names, side=112),
        kind="picture",
        numbers={"steps": names, "recipe": recipe if known else "paper", "known": known},
    )
