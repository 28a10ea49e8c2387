"""What the heat maps of a class have in common: their mean, and where it stands out."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch

from vgg_viz.data.annotations import truth_kind
from vgg_viz.figures.image_grid import overlay
from vgg_viz.figures.pictures import picture_grid
from vgg_viz.gallery.sections import section
from vgg_viz.maths.heatmaps import MANY_INSIDE, shared_scale
from vgg_viz.number_text import counted, percent
from vgg_viz.records import Caption, Column, Exhibit, Table
from vgg_viz.sections.audit.findings import enlarged, framed
from vgg_viz.shortcuts.findings import Audit, beside
from vgg_viz.shortcuts.region import Region
from vgg_viz.shortcuts.region_text import place_of
from vgg_viz.studies.audit_case import Case

CLASSES_SHOWN = 30  # mean maps in one figure


@section(
    "attention",
    study="audit",
    title="Attention",
    order=20,
    lead="Where the evidence for each class lies, over all its pictures.",
)
def attention(case: Case) -> Iterator[Exhibit]:
    """The mean heat map of each class, with the place of a finding outlined."""
    seen = case.seen
    present = [label for label in range(len(case.classes)) if int((seen.labels == label).sum())]
    marked = {found.wanted: found.region for found in seen.findings}
    present.sort(key=lambda label: (label not in marked, label))
    shown = present[:CLASSES_SHOWN]
    means = torch.stack([seen.evidence.share[seen.labels == label].mean(0) for label in shown])
    scale = shared_scale(means, signed=False, unit="share of the evidence", over="all classes", quantile=MANY_INSIDE)
    cells, captions, rows = [], [], []
    for label, mean in zip(shown, means, strict=True):
        grey = np.full((case.side, case.side, 3), 1.0, np.float32)
        coloured = overlay(grey, mean.numpy(), scale, strength=1.0)
        region = marked.get(label)
        cells.append(framed(coloured, region) if region else enlarged(coloured))
        count = int((seen.labels == label).sum())
        captions.append(
            f"{case.classes[label]}\n{place_of(region, case.side) if region else counted(count, 'picture')}"
        )
    frame = Region("border", (0, 0, case.side, case.side), max(1, case.side // 8)).mask(case.side)
    edge = seen.evidence.inside(frame)
    for label in present:
        own = seen.labels == label
        away = float(beside(seen)[own].nanmean())
        rows.append(
            (
                case.classes[label],
                int(own.sum()),
                float(seen.right[own].float().mean()),
                float(edge[own].mean()),
                None if math.isnan(away) else away,
            )
        )
    most = max(range(len(rows)), key=lambda i: rows[i][3])
    thing = thing_of(seen)
    yield Exhibit(
        "class-attention",
        "Where the evidence for each class lies on the average",
        Caption(
            see="For every class the mean of its pictures' heat maps (integrated gradients, what speaks for the class, each map "
            f"summing to one), all on one scale up to {scale.high:.2g}. "
            + (
                "The place of a finding is outlined."
                if any(one.region.kind in ("patch", "border") for one in seen.findings)
                else ""
            ),
            read="A mean map with a sharp spot or rim means that the network looks at the same place whatever the picture shows. A "
            "broad cloud in the middle is where "
            "objects lie. The table says how much of the evidence lies in the outer eighth of the pictures"
            + (f", and how much beside the {thing}." if seen.batch.masks is not None else ".")
            + (
                " A box holds background too: what lies beside it is surely not the object."
                if truth_kind(seen.batch) == "box"
                else ""
            ),
            cannot="A place that stands out is a suspicion, not a finding: transplants decide. A background that is everywhere, and "
            "a colour, make no spot at all.",
        ),
        alt=f"Mean heat maps of {counted(len(shown), 'class', 'classes')}; {rows[most][0]} has most of its evidence at the edge, "
        f"{percent(rows[most][3])}.",
        figure=picture_grid(cells, captions, side=96, title="Mean evidence of each class"),
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
                *((Column(f"beside the {thing}", "[0, 1]", True),) if seen.batch.masks is not None else ()),
            ),
            tuple(row if seen.batch.masks is not None else row[:-1] for row in rows),
        ),
    )


def thing_of(seen: Audit) -> str:
    """What is known of the objects' places, in a word."""
    return {"box": "box", "both": "object or its box"}.get(truth_kind(seen.batch), "object")
