"""Pictures whose heat maps look alike."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from vgg_viz.errors import SectionMissing
from vgg_viz.figures.image_grid import overlay, pixels
from vgg_viz.figures.pictures import CaptionedPicture, picture_rows
from vgg_viz.gallery.sections import section
from vgg_viz.gallery.texts import Texts
from vgg_viz.maths.heatmaps import MANY_INSIDE, MAP_INSIDE, Scale, shared_scale
from vgg_viz.records import Column, Exhibit, Table
from vgg_viz.sections.audit.findings import ACROSS, enlarged
from vgg_viz.shortcuts.strategies import GRID, STABLE, Strategy, strategies
from vgg_viz.studies.subject import Case

TEXTS = Texts(__name__)


@section("strategies", study="audit", order=30, optional=True)
def repeated(case: Case) -> Iterator[Exhibit]:
    """Groups of pictures whose heat maps look alike."""
    groups, stability = strategies(case.seen, seed=case.seed)
    if not groups:
        raise SectionMissing(TEXTS.say("missing.unstable", stable=STABLE))
    scale = shared_scale(
        torch.stack([group.mean for group in groups]),
        signed=False,
        unit="share of the evidence",
        over="all strategies",
        quantile=MANY_INSIDE,
    )
    headings = [
        TEXTS.say(
            "rows.heading",
            number=number,
            pictures=len(group.places),
            purity=group.purity,
            name=case.classes[group.wanted],
            edge=group.edge,
        )
        for number, group in enumerate(groups, 1)
    ]
    rows = [(heading, _row(case, group, scale)) for heading, group in zip(headings, groups, strict=True)]
    purest = max(groups, key=lambda group: group.purity)
    text = TEXTS.exhibit(
        "strategies",
        grid=GRID,
        stability=stability,
        groups=len(groups),
        purity=purest.purity,
        purest=case.classes[purest.wanted],
    )
    yield Exhibit(
        "strategies",
        text.title,
        text.caption,
        text.alt,
        figure=picture_rows(rows, title="Pictures whose evidence lies alike"),
        kind="picture",
        numbers={
            "sizes": [len(group.places) for group in groups],
            "classes": [case.classes[group.wanted] for group in groups],
            "purity": [group.purity for group in groups],
            "edge": [group.edge for group in groups],
            "stability": stability,
        },
        table=Table(
            (
                Column("strategy", "", True),
                Column("pictures", "", True),
                Column("most of them"),
                Column("share", "[0, 1]", True),
                Column("evidence at the edge", "[0, 1]", True),
            ),
            tuple(
                (number, len(group.places), case.classes[group.wanted], group.purity, group.edge)
                for number, group in enumerate(groups, 1)
            ),
        ),
    )


def _row(case: Case, group: Strategy, scale: Scale) -> list[CaptionedPicture]:
    """The mean map of a group, and the pictures nearest to it with their own maps."""
    audit = case.seen
    white = np.full((case.side, case.side, 3), 1.0, np.float32)
    mean = enlarged(overlay(white, group.mean.numpy(), scale, strength=1.0))
    row: list[CaptionedPicture] = [(mean, [(TEXTS.say("rows.mean"), None)])]
    nearest = list(group.places[:ACROSS])
    for place, picture in zip(nearest, pixels(audit.batch.images[nearest]), strict=True):
        share = audit.evidence.share[place]
        own = shared_scale(share, signed=False, unit="share", over="this map", quantile=MAP_INSIDE)
        answer = (case.classes[int(audit.labels[place])], bool(audit.right[place]))
        row.append((enlarged(overlay(picture, share.numpy(), own)), [answer]))
    return row
