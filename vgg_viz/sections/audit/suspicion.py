"""Which pictures to look at first."""

from __future__ import annotations

from collections.abc import Iterator

from vgg_viz.figures.image_grid import overlay, pixels
from vgg_viz.figures.pictures import picture_grid
from vgg_viz.gallery.sections import section
from vgg_viz.maths.heatmaps import LAYER_INSIDE, shared_scale
from vgg_viz.number_text import counted, percent
from vgg_viz.records import Caption, Column, Exhibit, Table
from vgg_viz.sections.audit.findings import enlarged
from vgg_viz.shortcuts.findings import suspicion
from vgg_viz.studies.audit_case import Case

RANKED = 20  # suspicious pictures shown


@section("suspicion", study="audit", title="Suspicion", order=40, lead="Which pictures to look at first.")
def ranking(case: Case) -> Iterator[Exhibit]:
    """The pictures that deserve a look."""
    seen = case.seen
    score, why = suspicion(seen)
    order = score.argsort(descending=True, stable=True)[:RANKED].tolist()
    probability = seen.logits.softmax(1)
    scale = shared_scale(
        seen.evidence.share[order],
        signed=False,
        unit="share of the evidence",
        over="these pictures",
        quantile=LAYER_INSIDE,
    )
    cells, captions, borders, rows = [], [], [], []
    for place in order:
        best = int(probability[place].argmax())
        cells.append(
            enlarged(
                overlay(pixels(seen.batch.images[place : place + 1])[0], seen.evidence.share[place].numpy(), scale)
            )
        )
        captions.append(
            f"{case.classes[best]} {percent(float(probability[place, best]))}\n{', '.join(why[place]) or 'nothing in particular'}"
        )
        borders.append("good" if bool(seen.right[place]) else "bad")
        rows.append(
            (
                seen.batch.names[place],
                case.classes[int(seen.labels[place])],
                case.classes[best],
                float(probability[place, best]),
                float(score[place]),
                ", ".join(why[place]) or "nothing in particular",
            )
        )
    wrong = sum(border == "bad" for border in borders)
    yield Exhibit(
        "suspicion",
        "Pictures that deserve a look",
        Caption(
            see=f"The {counted(len(order), 'picture')} with the highest suspicion, with the evidence for the class that each shows "
            "laid over it, and what the network answered.",
            read="Suspicion adds up to four parts, each from 0 to 1: being confident and wrong, and how far a picture lies beyond "
            "the usual of these pictures in evidence beside the object "
            "(where masks or boxes are known), evidence at the edge, and disagreement of integrated gradients with Grad-CAM.",
            cannot="This is an order in which to look, no measurement: the parts are added without weights, and a picture may be "
            "unusual for good reasons.",
        ),
        alt=f"{counted(len(order), 'picture')} ranked by suspicion, {wrong} of them answered wrongly.",
        figure=picture_grid(cells, captions, borders=borders, side=128, title="Most suspicious pictures"),  # type: ignore[arg-type]
        kind="picture",
        numbers={
            "names": [row[0] for row in rows],
            "score": [row[4] for row in rows],
            "reasons": [why[i] for i in order],
        },
        table=Table(
            (
                Column("picture"),
                Column("shows"),
                Column("called"),
                Column("confidence", "[0, 1]", True),
                Column("suspicion", "", True),
                Column("because of"),
            ),
            tuple(rows),
        ),
    )
