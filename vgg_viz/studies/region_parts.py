"""Which pictures give a suspected region and which receive it: those of an audit of the last epoch, the same at every epoch."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vgg_viz.capture.predict import predict_logits
from vgg_viz.data import cache, shapes
from vgg_viz.data.class_matching import match_classes
from vgg_viz.data.folder import open_folder, read_folder
from vgg_viz.data.shortcuts import from_provenance
from vgg_viz.errors import InputRefused, SectionMissing
from vgg_viz.number_text import counted
from vgg_viz.records import Batch
from vgg_viz.shortcuts.intervention import Group
from vgg_viz.shortcuts.sampling import (
    FEWEST,
    SampleSize,
    between,
    group_of,
    groups,
    in_turn,
    sample_size,
    searchable,
    usable,
)
from vgg_viz.studies.answers import select_images
from vgg_viz.studies.candidate_regions import Suspect
from vgg_viz.studies.epochs import EpochSeries, load_weights
from vgg_viz.studies.inputs import labelled_pictures, match_channels

TRAINING = 400  # pictures of the training part that regions are taken from, evenly over the classes
CARRIED = (
    240  # pictures that an epoch before the last is asked about: 8 donors of the class and 8 others on 15 recipients
)
AUDITED = 10  # times the multiply-adds of reading an audit's pictures must fit into what the preset may measure


@dataclass(frozen=True, slots=True)
class Parts:
    """Whom a suspect is tried on.

    donors, recipients  of the last epoch; `few` of the epochs before it
    origin              where the donors come from, in one phrase
    """

    donors: Group
    recipients: Group
    few: tuple[Group, Group]
    origin: str


def parts(epoch_series: EpochSeries, suspect: Suspect) -> Parts:
    """Donors and recipients of a suspect.

    They are those of the trial that `audit` of the last epoch makes on the same pictures, so that its numbers are met again. Only a
    suspect that no audit told gets donors from the training part where there is one, for a planted mark need not lie in held-out
    pictures, and then recipients from all of these. What an audit did not choose, and epochs before the last, get an even part.
    raises  SectionMissing where there are too few, or no masks where the background is to be carried
    """
    batch, right = _audited(epoch_series, suspect.pictures)
    pool, origin = (None, "") if suspect.pictures is not None else _training(epoch_series)
    _require_enough(batch, pool or batch, suspect)
    batch, placed = usable(batch)
    if batch.labels is None:
        raise TypeError("labelled pictures were expected")
    size, _ = sample_size(epoch_series.model, len(batch), len(searchable(batch.labels, placed)[1]))
    donors, recipients = groups(batch, placed, right, size, epoch_series.seed)[1]
    as_audited = pool is None and bool(
        (recipients.labels != suspect.index).any()
    )  # of few pictures an audit makes all donors
    if not as_audited:
        places = placed.nonzero()[:, 0]
        recipients = in_turn(group_of(batch).part(places), right[places], epoch_series.seed)
        given, known = usable(pool or batch)
        giving = group_of(given).part(known.nonzero()[:, 0])
        donors = in_turn(giving, torch.ones(len(giving)).bool(), epoch_series.seed)
    if (
        suspect.region.kind == "background"
        and not suspect.region.width
        and (donors.masks is None or recipients.masks is None)
    ):
        raise SectionMissing(
            "A background can be moved only where masks or boxes of the objects are known.",
            "python -m vgg_viz compare RUN_DIR --data DIR (with masks/ or boxes)",
        )
    recipients = recipients.part((recipients.labels != suspect.index).nonzero()[:, 0])
    others = int((batch.labels != suspect.index).sum())
    few = _few(donors, recipients, suspect.index, min(CARRIED, 2 * others))
    most = (between(donors, suspect.index, size.of_trial), recipients) if as_audited else few
    return Parts(*most, few, origin or epoch_series.inputs.labelled_from)


def _require_enough(batch: Batch, pool: Batch, suspect: Suspect) -> None:
    if batch.labels is None or pool.labels is None:
        raise TypeError("labelled pictures were expected")
    others, own = int((batch.labels != suspect.index).sum()), int((pool.labels == suspect.index).sum())
    for count, what in ((others, f"other classes than {suspect.name}"), (own, suspect.name)):
        if count < FEWEST:
            raise SectionMissing(
                f"There are {counted(count, 'picture')} of {what}, and {FEWEST} or more are needed to say anything about a shortcut.",
                "python -m vgg_viz compare RUN_DIR --data DIR",
            )


def _few(donors: Group, recipients: Group, wanted: int, carried: int) -> tuple[Group, Group]:
    """So many of both that about `carried` pictures are made: as many donors of the class as others, all classes in turn."""
    receiving = min(len(recipients), max(1, round(carried**0.5)))
    giving = max(
        12, carried // max(1, receiving)
    )  # of fewer than 12, exchanges of labels could hardly reach the p of a finding
    own = min(giving // 2, int((donors.labels == wanted).sum()))
    return between(donors, wanted, SampleSize(own, giving - own, receiving)), recipients.part(torch.arange(receiving))


def _audited(epoch_series: EpochSeries, count: int | None) -> tuple[Batch, Tensor]:
    """The pictures that an audit of `count` looked at, and (N,) bool which of them the last epoch answers rightly.

    Where no audit is meant, and of a large network or of very many pictures, they are those that the run is measured on.
    """
    whole, data = epoch_series.labelled, epoch_series.data
    affordable = (count or 0) * sum(
        row.macs for row in epoch_series.rows
    ) / 1e9 * AUDITED <= epoch_series.preset.gigamacs
    if count is None or count == len(whole) or count > max(600, epoch_series.preset.evaluated) or not affordable:
        return whole, epoch_series.right[-1]
    if (data is None or str(data) == "shapes") and count < len(whole):  # painted pictures come in one order
        return select_images(whole, list(range(count))), epoch_series.right[-1][:count]
    batch, _ = labelled_pictures(epoch_series.run.checkpoint, data, limit=count, seed=epoch_series.seed)
    if batch is None or batch.labels is None:
        return whole, epoch_series.right[-1]
    load_weights(epoch_series.model, epoch_series.run.checkpoint)
    return batch, predict_logits(epoch_series.model, batch.images).argmax(1) == batch.labels


def _training(epoch_series: EpochSeries) -> tuple[Batch | None, str]:
    """The training part of --data or of the painted set, where a shortcut lies, and what it is; None where there is none."""
    data, told = epoch_series.data, epoch_series.run.checkpoint.provenance.data
    if (
        (data is None or str(data) == "shapes")
        and told.get("kind") == "shapes"
        and set(epoch_series.run.checkpoint.classes) == set(shapes.CLASSES)
    ):
        count = min(max(TRAINING, 40 * len(epoch_series.classes)), int(told.get("train", TRAINING)))
        painted = cache.paint_labelled(
            count, seed=int(told.get("seed", 0)), split="train", side=epoch_series.side, shortcut=from_provenance(told)
        ).as_batch()
        numbers = torch.tensor([epoch_series.run.checkpoint.classes.index(name) for name in shapes.CLASSES])
        return match_channels(
            replace(painted, labels=numbers[painted.labels]), epoch_series.run.checkpoint
        ), f"{count:,} painted training pictures"
    if data is None or str(data) == "shapes" or not open_folder(data).split:
        return None, ""
    try:
        folder = open_folder(data, split="train")
    except InputRefused:
        return None, ""
    known = epoch_series.run.checkpoint
    order = torch.tensor(match_classes(folder.classes, known.classes, named=known.named))
    count = max(TRAINING, 40 * len(epoch_series.classes))
    batch = match_channels(
        read_folder(folder, image_side=epoch_series.run.checkpoint.fitting, limit=count, seed=epoch_series.seed),
        epoch_series.run.checkpoint,
    )
    labels = None if batch.labels is None else order[batch.labels]
    return Batch(
        batch.images, labels, batch.names, batch.masks, boxed=batch.boxed
    ), f"{len(batch):,} training pictures of the folder {folder.root.name!r}"
