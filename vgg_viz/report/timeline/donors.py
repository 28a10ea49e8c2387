"""Where the regions of a suspected shortcut come from, and the section that tries it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch

from vgg_viz.data import cache, shapes
from vgg_viz.data.folder import match_classes, open_folder, read_folder
from vgg_viz.data.shortcuts import from_provenance
from vgg_viz.errors import InputRefused
from vgg_viz.records import Batch, Exhibit, Finding
from vgg_viz.report.material import in_channels
from vgg_viz.report.section import section
from vgg_viz.report.timeline.shortcut import shortcuts
from vgg_viz.report.timeline.walk import Walk

DONORS = 400  # pictures of the training part that regions are taken from, evenly over the classes


@section(
    "shortcut", study="timeline", title="A shortcut", order=40, when=lambda walk: bool(walk.suspects),
    lead="Something other than the object may give a class away: from which epoch on does the network use it?",
)  # fmt: skip
def tested(walk: Walk) -> Iterable[Exhibit | Finding]:
    """Every suspect tried at every epoch."""
    found, origin = donors(walk)
    return shortcuts(walk, walk.suspects, found, origin)


def donors(walk: Walk) -> tuple[Batch, str]:
    """Where regions come from: the training part of --data or of the painted set, where a shortcut lies; else the labelled pictures."""
    data, told = walk.data, walk.run.checkpoint.provenance.data
    if (data is None or str(data) == "shapes") and told.get("kind") == "shapes" and set(walk.classes) == set(shapes.CLASSES):
        count = min(max(DONORS, 40 * len(walk.classes)), int(told.get("train", DONORS)))
        painted = cache.painted(count, seed=int(told.get("seed", 0)), split="train", side=walk.side, shortcut=from_provenance(told)).as_batch()
        numbers = torch.tensor([walk.classes.index(name) for name in shapes.CLASSES])
        return in_channels(replace(painted, labels=numbers[painted.labels]), walk.run.checkpoint), f"{count:,} painted training pictures"
    if data is None or str(data) == "shapes" or not open_folder(data).split:
        return walk.labelled, walk.material.labelled_from
    try:
        folder = open_folder(data, split="train")
    except InputRefused:
        return walk.labelled, walk.material.labelled_from
    order = torch.tensor(match_classes(folder.classes, walk.classes, named=walk.run.checkpoint.named))
    count = max(DONORS, 40 * len(walk.classes))
    batch = in_channels(read_folder(folder, image_side=walk.side, limit=count, seed=walk.seed), walk.run.checkpoint)
    labels = None if batch.labels is None else order[batch.labels]
    return Batch(batch.images, labels, batch.names, batch.masks, boxed=batch.boxed), f"{len(batch):,} training pictures of the folder {folder.root.name!r}"
