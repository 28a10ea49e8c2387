"""What the heat maps of a class have in common: their mean, and where it stands out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch

from vgg_viz.data.annotations import truth_kind
from vgg_viz.figures.image_grid import overlay
from vgg_viz.figures.pictures import picture_grid
from vgg_viz.gallery.sections import section
from vgg_viz.gallery.texts import Texts
from vgg_viz.maths.heatmaps import MANY_INSIDE, Scale, shared_scale
from vgg_viz.number_text import counted
from vgg_viz.records import Column, Exhibit, Table
from vgg_viz.sections.audit.findings import enlarged, framed
from vgg_viz.shortcuts.findings import share_beside
from vgg_viz.shortcuts.region import Region
from vgg_viz.shortcuts.region_text import place_of
from vgg_viz.studies.subject import Case

TEXTS = Texts(__name__)
CLASSES_SHOWN = 30  # mean maps in one figure


@section("attention", study="audit", order=20)
def attention(case: Case) -> Iterator[Exhibit]:
    """The mean heat map of each class, with the place of a finding outlined."""
    audit = case.seen
    present = [label for label in range(len(case.classes)) if bool((audit.labels == label).any())]
    regions = {finding.wanted: finding.region for finding in audit.findings}
    present.sort(key=lambda label: (label not in regions, label))
    labels = present[:CLASSES_SHOWN]
    means = torch.stack([audit.evidence.share[audit.labels == label].mean(0) for label in labels])
    scale = shared_scale(means, signed=False, unit="share of the evidence", over="all classes", quantile=MANY_INSIDE)
    rows = _rows(case, present)
    edgiest = max(rows, key=lambda row: row[3])
    masked = audit.batch.masks is not None
    kind = truth_kind(audit.batch)
    thing = TEXTS.say("phrases.thing", kind=kind)
    text = TEXTS.exhibit(
        "classes",
        high=scale.high,
        outlined=any(region.kind in ("patch", "border") for region in regions.values()),
        masked=masked,
        thing=thing,
        boxed=kind == "box",
        shown=len(labels),
        edge_class=edgiest[0],
        edge_share=edgiest[3],
    )
    yield Exhibit(
        "class-attention",
        text.title,
        text.caption,
        text.alt,
        figure=picture_grid(*_cells(case, labels, means, scale, regions), side=96, title="Mean evidence of each class"),
        kind="picture",
        numbers={
            "scale": [scale.low, scale.high],
            "classes": [row[0] for row in rows],
            "edge": [row[3] for row in rows],
            "beside": [row[4] for row in rows],
        },
        table=Table(
            (
                Column("class"),
                Column("pictures", "", True),
                Column("right", "[0, 1]", True),
                Column("evidence at the edge", "[0, 1]", True),
                *((Column(f"beside the {thing}", "[0, 1]", True),) if masked else ()),
            ),
            tuple(row if masked else row[:-1] for row in rows),
        ),
    )


def _cells(
    case: Case, labels: Sequence[int], means: torch.Tensor, scale: Scale, regions: Mapping[int, Region]
) -> tuple[list[np.ndarray], list[str]]:
    """The mean map of each class in colours, and the lines under it."""
    cells, captions = [], []
    for label, mean in zip(labels, means, strict=True):
        white = np.full((case.side, case.side, 3), 1.0, np.float32)
        coloured = overlay(white, mean.numpy(), scale, strength=1.0)
        region = regions.get(label)
        cells.append(framed(coloured, region) if region else enlarged(coloured))
        count = int((case.seen.labels == label).sum())
        captions.append(
            f"{case.classes[label]}\n{place_of(region, case.side) if region else counted(count, 'picture')}"
        )
    return cells, captions


def _rows(case: Case, labels: Sequence[int]) -> list[tuple[str, int, float, float, float | None]]:
    """(class, pictures, share right, evidence at the edge, evidence beside the object or None) of each class."""
    audit = case.seen
    outer_eighth = Region("border", (0, 0, case.side, case.side), max(1, case.side // 8)).mask(case.side)
    edge = audit.evidence.inside(outer_eighth)
    away = share_beside(audit)
    rows = []
    for label in labels:
        own = audit.labels == label
        mean_away = float(away[own].nanmean())
        rows.append(
            (
                case.classes[label],
                int(own.sum()),
                float(audit.right[own].float().mean()),
                float(edge[own].mean()),
                None if math.isnan(mean_away) else mean_away,
            )
        )
    return rows
