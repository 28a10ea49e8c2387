"""Data: the pictures, how many of each class, and their augmentation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from vgg_viz.data.transforms import AUGMENTATIONS, Augmentation, colour_axes, transform_steps
from vgg_viz.errors import SectionMissing
from vgg_viz.figures import pictures as paint
from vgg_viz.figures.image_grid import pixels
from vgg_viz.gallery.sections import section
from vgg_viz.gallery.texts import Texts
from vgg_viz.maths.fitting import fitting_text
from vgg_viz.models.outputs import has_scores
from vgg_viz.records import Batch, Column, Exhibit, Table
from vgg_viz.studies.subject import Subject

TEXTS = Texts(__name__)
AUGMENTED = 3  # pictures whose augmentation is shown, at most


@section("data", study="report", order=30, chapter="data")
def data(subject: Subject) -> Iterator[Exhibit]:
    """Specimens with their labels, the count of each class, and the augmentation of training."""
    batch = subject.inputs.given or subject.inputs.labelled
    if batch is None:
        raise SectionMissing(TEXTS.say("missing.pictures"), "python -m vgg_viz report CHECKPOINT --images DIR")
    yield _specimens(subject, batch)
    if batch.labels is not None:
        yield _balance(subject, batch, batch.labels)
    yield _transforms(subject, batch)


def _specimens(subject: Subject, batch: Batch) -> Exhibit:
    total = len(batch)
    indices = list(range(total))[: subject.preset.grid]
    labels = None if batch.labels is None else [subject.classes[int(batch.labels[i])] for i in indices]
    height, width = batch.images.shape[-2:]
    text = TEXTS.exhibit(
        "specimens",
        shown=len(indices),
        total=total,
        classes=sorted(set(labels)) if labels else None,
        origin=subject.inputs.inspected_from if subject.inputs.given is batch else subject.inputs.labelled_from,
        height=height,
        width=width,
        scores=has_scores(subject.checkpoint.architecture),
    )
    return Exhibit(
        "data-specimens",
        text.title,
        text.caption,
        text.alt,
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
    sizes = [count for _, count in present]
    channels = batch.images.movedim(1, 0).flatten(1)
    mean, std = channels.mean(1).tolist(), channels.std(1).tolist()
    architecture = subject.checkpoint.architecture
    text = TEXTS.exhibit(
        "classes",
        each=TEXTS.say("phrases.each", few=min(sizes), many=max(sizes)),
        classes=len(present),
        channels=len(mean),
        mean=_values(mean),
        std=_values(std),
        taken_mean=_values(architecture.mean),
        taken_std=_values(architecture.std),
    )
    return Exhibit(
        "data-classes",
        text.title,
        text.caption,
        text.alt,
        table=Table((Column("class"), Column("pictures", "", True)), tuple(present)),
        numbers={
            "counts": sizes,
            "classes": [name for name, _ in present],
            "mean": mean,
            "std": std,
            "normalise_mean": architecture.mean,
            "normalise_std": architecture.std,
        },
    )


def _values(numbers: Sequence[float]) -> str:
    """Such as "0.475, 0.494, 0.492"."""
    return ", ".join(f"{number:.3f}" for number in numbers)


def _transforms(subject: Subject, batch: Batch) -> Exhibit:
    recipe = subject.checkpoint.provenance.training.get("augment")
    known = isinstance(recipe, str) and recipe in AUGMENTATIONS
    augmentation: Augmentation = AUGMENTATIONS[str(recipe) if known else "paper"]
    side = subject.checkpoint.architecture.image_side
    colour = batch.images if batch.images.shape[1] == 3 else batch.images.expand(-1, 3, -1, -1)
    axes = colour_axes(colour)
    chosen = [round(i * (len(batch) - 1) / max(1, AUGMENTED - 1)) for i in range(min(AUGMENTED, len(batch)))]
    sequences = [
        transform_steps(colour[i], side=side, augmentation=augmentation, axes=axes, seed=subject.seed + i)[1:]
        for i in chosen
    ]
    changes = ["enters", *(step.name for step in sequences[0][1:])]
    rows = [pixels(torch.stack([step.after for step in sequence])) for sequence in sequences]
    rule = subject.checkpoint.resize
    sees = "" if rule is None else fitting_text(rule)
    text = TEXTS.exhibit("transforms", recipe=recipe if known else None, changes=changes, pictures=len(rows), sees=sees)
    return Exhibit(
        "data-transforms",
        text.title,
        text.caption,
        text.alt,
        figure=paint.steps(rows, changes, side=112),
        kind="picture",
        numbers={"steps": changes, "recipe": recipe if known else "paper", "known": known},
    )
