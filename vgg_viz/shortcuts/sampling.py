"""Which pictures play which part: one half is searched and one half tried, and of either some give a region and some receive it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from vgg_viz.maths.segmentation import box_of
from vgg_viz.models.geometry import geometry
from vgg_viz.records import Architecture, Batch
from vgg_viz.shortcuts.intervention import Group

PLACED = 0.5  # share of the pictures whose object must be known, or none is used
FEWEST = 8  # pictures of a class below which it is not searched
PASSES = 60_000  # forward passes that an audit of a small network may take ...
GIGAMACS = 1200.0  # ... and multiply-adds that it may take of any network


@dataclass(frozen=True, slots=True)
class SampleSize:
    """How many pictures play which part.

    Attributes:
        donors: Of each class.
        controls: Of all others together.
        recipients: In all.
        patches: Suspected patches that are tried for each class.
    """

    donors: int
    controls: int
    recipients: int
    patches: int = 2

    @property
    def of_trial(self) -> SampleSize:
        """The same for the trial, which is about one region of a class and may take more of each."""
        return SampleSize(self.donors * 2, self.controls * 3, self.recipients * 2, self.patches)


def usable(batch: Batch) -> tuple[Batch, Tensor]:
    """The pictures with their masks, and (N,) bool which of them can be tried; where too few objects are known, all, without masks."""
    placed = batch.known
    if batch.masks is None or placed.double().mean() < PLACED:
        return replace(batch, masks=None, boxed=None), torch.ones(len(batch), dtype=torch.bool)
    return batch, placed


def searchable(labels: Tensor, placed: Tensor, classes: Sequence[int] | None = None) -> tuple[list[int], list[int]]:
    """The classes that are asked for (None: all there are), and those of them that have pictures enough to be searched.

    Args:
        labels: (N,) class each shows.
        placed: (N,) bool: pictures that can be tried.
        classes: Those asked for, by index; None: all.
    """
    counts = {label: int((labels[placed] == label).sum()) for label in sorted(set(labels.tolist()))}
    asked = sorted(counts) if classes is None else list(classes)
    return asked, [label for label in asked if counts.get(label, 0) >= FEWEST] if len(counts) > 1 else []


def sample_size(model: nn.Module, pictures: int, classes: int) -> tuple[SampleSize, int]:
    """How many pictures play a part, and points on the path of integrated gradients, so that a large network takes minutes."""
    cost = 0.01
    if isinstance(getattr(model, "architecture", None), Architecture):
        cost = sum(row.macs for row in geometry(model)) / 1e9
    passes = min(PASSES, int(GIGAMACS / max(cost, 1e-6)))
    steps = max(1, min(8, passes // (12 * pictures)))
    # A search carries 3 regions from every donor and 4 from each class's and its controls to all recipients; a trial costs less.
    for recipients, donors, controls in ((16, 30, 40), (12, 20, 30), (10, 12, 24), (8, 8, 16), (6, 6, 12), (4, 4, 8)):
        if recipients * classes * (3 * donors + 4 * (donors + controls)) <= passes:
            return SampleSize(donors, controls, recipients), steps
    return SampleSize(4, 6, 3, patches=1), steps


def groups(
    batch: Batch, placed: Tensor, right: Tensor, size: SampleSize, seed: int
) -> tuple[tuple[Group, Group], tuple[Group, Group]]:
    """Donors and recipients of the search, and those of the trial: one half of the pictures each, every class divided evenly.

    Args:
        batch: Labelled pictures.
        placed: (N,) bool: pictures that can be tried.
        right: (N,) bool: answered rightly.
        size: Of the search; the trial takes more.
        seed: Of who plays which part.
    """
    whole = group_of(batch)
    first, second = (whole.part(places) for places in _halves(whole.labels, placed, seed))
    return split_roles(first, right[first.places], size, seed), split_roles(
        second, right[second.places], size.of_trial, seed + 1
    )


def group_of(batch: Batch) -> Group:
    """All pictures of a batch, with masks as transplants need them."""
    labels = batch.labels if batch.labels is not None else torch.zeros(len(batch), dtype=torch.long)
    return Group(batch.images, labels, forms(batch), torch.arange(len(batch)))


def _halves(labels: Tensor, placed: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    first, second = [], []
    for label in sorted(set(labels.tolist())):
        own = ((labels == label) & placed).nonzero()[:, 0]
        own = own[torch.randperm(len(own), generator=generator)]
        first.append(own[: len(own) // 2])
        second.append(own[len(own) // 2 :])
    return torch.cat(first).sort().values, torch.cat(second).sort().values


def split_roles(group: Group, right: Tensor, size: SampleSize, seed: int) -> tuple[Group, Group]:
    """Donors and recipients out of some pictures, sharing none: recipients evenly over classes, rightly answered where possible.

    Args:
        group: Pictures to part.
        right: (N,) bool, of the pictures of `group`.
        size: How many of each role.
        seed: Of who plays which part.
    """
    generator = torch.Generator().manual_seed(seed)
    counts = torch.bincount(group.labels).tolist()
    left = list(counts)
    receiving: list[int] = []
    for place in _in_turn(group, right, generator):
        label = int(group.labels[place])
        if len(receiving) < size.recipients and left[label] > counts[label] / 2 + 1:
            receiving.append(place)
            left[label] -= 1
    taken = set(receiving)
    giving = [place for place in torch.randperm(len(group), generator=generator).tolist() if place not in taken]
    return group.part(torch.tensor(giving, dtype=torch.long)), group.part(torch.tensor(receiving, dtype=torch.long))


def in_turn(group: Group, right: Tensor, seed: int) -> Group:
    """All pictures in random order, a class after the other, those that are answered rightly, (N,) bool, first."""
    return group.part(torch.tensor(_in_turn(group, right, torch.Generator().manual_seed(seed)), dtype=torch.long))


def _in_turn(group: Group, right: Tensor, generator: torch.Generator) -> list[int]:
    order = torch.randperm(len(group), generator=generator)
    order = order[right[order].float().argsort(descending=True, stable=True)]
    turns: dict[int, int] = {}
    ranked: list[tuple[int, int, int]] = []
    for place in order.tolist():
        label = int(group.labels[place])
        turns[label] = turns.get(label, 0) + 1
        ranked.append((turns[label], len(ranked), place))
    return [place for _, _, place in sorted(ranked)]


def between(donors: Group, wanted: int, size: SampleSize) -> Group:
    """The donors of one class, and controls evenly out of the others."""
    own = (donors.labels == wanted).nonzero()[:, 0][: size.donors]
    rest = (donors.labels != wanted).nonzero()[:, 0]
    return donors.part(torch.cat([own, rest[: size.controls]]))


def forms(batch: Batch) -> Tensor | None:
    """Masks (N, S, S) bool as transplants need them: of a box its inscribed ellipse, for its corners are background.

    A donor's object is taken out as a disc that reaches to the farthest pixel of its mask: to a box's corners, that leaves little
    background to carry.
    """
    if batch.masks is None or batch.boxed is None:
        return batch.masks
    shapes = batch.masks.clone()
    steps = torch.arange(batch.masks.shape[-1], dtype=torch.float32)
    for place in (batch.boxed & batch.known).nonzero()[:, 0].tolist():
        box = box_of(batch.masks[place].cpu().numpy())
        if box is not None:  # several boxes become one: they are the object together
            across = (steps + 0.5 - (box.x0 + box.x1) / 2) / ((box.x1 - box.x0) / 2)
            down = (steps + 0.5 - (box.y0 + box.y1) / 2) / ((box.y1 - box.y0) / 2)
            shapes[place] &= (across.square() + down[:, None].square() <= 1).to(shapes.device)
    return shapes
