"""Pictures whose heat maps look alike."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from vgg_viz.errors import SectionMissing
from vgg_viz.figures.comparison import Told, picture_rows
from vgg_viz.figures.image_grid import overlay, pixels
from vgg_viz.gallery.sections import section
from vgg_viz.maths.heatmaps import LAYER_INSIDE, MANY_INSIDE, shared_scale
from vgg_viz.number_text import counted, percent
from vgg_viz.records import Caption, Column, Exhibit, Table
from vgg_viz.sections.audit.findings import ACROSS, enlarged
from vgg_viz.shortcuts.strategies import GRID, STABLE, strategies
from vgg_viz.studies.audit_case import Case


@section(
    "strategies",
    study="audit",
    title="Strategies",
    order=30,
    optional=True,
    lead="Do groups of pictures get their answer in the same way?",
)
def repeated(case: Case) -> Iterator[Exhibit]:
    """Groups of pictures whose heat maps look alike."""
    found, stable = strategies(case.seen, seed=case.seed)
    if not found:
        raise SectionMissing(
            f"No grouping of the heat maps was stable (adjusted Rand index of two starts below {STABLE:g})."
        )
    seen = case.seen
    scale = shared_scale(
        torch.stack([one.mean for one in found]),
        signed=False,
        unit="share of the evidence",
        over="all strategies",
        quantile=MANY_INSIDE,
    )
    rows, table = [], []
    for number, one in enumerate(found, 1):
        mean = enlarged(
            overlay(np.full((case.side, case.side, 3), 1.0, np.float32), one.mean.numpy(), scale, strength=1.0)
        )
        told: list[Told] = [(mean, [("mean of the group", None)])]
        for place, picture in zip(
            one.places[:ACROSS], pixels(seen.batch.images[list(one.places[:ACROSS])]), strict=True
        ):
            own = shared_scale(
                seen.evidence.share[place], signed=False, unit="share", over="this map", quantile=LAYER_INSIDE
            )
            told.append(
                (
                    enlarged(overlay(picture, seen.evidence.share[place].numpy(), own)),
                    [(case.classes[int(seen.labels[place])], bool(seen.right[place]))],
                )
            )
        heading = f"Strategy {number}: {counted(len(one.places), 'picture')}, {percent(one.purity, decimals=0)} of them {case.classes[one.wanted]}; {percent(one.edge)} of the evidence at the edge"
        rows.append((heading, told))
        table.append((number, len(one.places), case.classes[one.wanted], one.purity, one.edge))
    purest = max(found, key=lambda one: one.purity)
    yield Exhibit(
        "strategies",
        "Repeated strategies",
        Caption(
            see=f"The heat maps on a grid of {GRID} × {GRID} cells, grouped by k-means; each row a group, with its mean map and the "
            "pictures nearest to it.",
            read="A group that holds one class and whose evidence lies at one place or at the edge is a strategy to distrust. "
            "Groups that mix all classes and differ by where the "
            f"object lies are harmless. Two starts of the grouping agree to {stable:.2f} (1: the same groups, 0: chance).",
            cannot="Where things are grouped says nothing about why. Strategies without a place, such as a colour, do not show here.",
        ),
        alt=f"{counted(len(found), 'group')} of heat maps; the purest holds {percent(purest.purity)} {case.classes[purest.wanted]}.",
        figure=picture_rows(rows, title="Pictures whose evidence lies alike"),
        kind="picture",
        numbers={
            "sizes": [len(one.places) for one in found],
            "classes": [case.classes[one.wanted] for one in found],
            "purity": [one.purity for one in found],
            "edge": [one.edge for one in found],
            "stability": stable,
        },
        table=Table(
            (
                Column("strategy", "", True),
                Column("pictures", "", True),
                Column("most of them"),
                Column("share", "[0, 1]", True),
                Column("evidence at the edge", "[0, 1]", True),
            ),
            tuple(table),
        ),
    )
