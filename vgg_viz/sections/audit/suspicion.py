"""Which pictures to look at first."""

from __future__ import annotations

from collections.abc import Iterator

from vgg_viz.figures.image_grid import overlay, pixels
from vgg_viz.figures.pictures import picture_grid
from vgg_viz.gallery.sections import section
from vgg_viz.gallery.texts import Texts
from vgg_viz.maths.heatmaps import MAP_INSIDE, shared_scale
from vgg_viz.maths.outputs import meaning
from vgg_viz.records import Column, Exhibit, Table
from vgg_viz.sections.audit.findings import enlarged
from vgg_viz.shortcuts.findings import suspicion
from vgg_viz.studies.subject import Case

TEXTS = Texts(__name__)
RANKED = 20  # suspicious pictures shown


@section("suspicion", study="audit", order=40)
def ranking(case: Case) -> Iterator[Exhibit]:
    """The pictures that deserve a look."""
    audit = case.seen
    scores, reasons = suspicion(audit)
    order = scores.argsort(descending=True, stable=True)[:RANKED].tolist()
    probability = meaning(audit.logits, audit.outputs)
    scale = shared_scale(
        audit.evidence.share[order],
        signed=False,
        unit="share of the evidence",
        over="these pictures",
        quantile=MAP_INSIDE,
    )
    cells, captions, rows = [], [], []
    for place in order:
        best = int(probability[place].argmax())
        confidence = float(probability[place, best])
        why = TEXTS.say("picture.reasons", reasons=reasons[place])
        (picture,) = pixels(audit.batch.images[place : place + 1])
        cells.append(enlarged(overlay(picture, audit.evidence.share[place].numpy(), scale)))
        captions.append(f"{TEXTS.say('picture.answer', name=case.classes[best], share=confidence)}\n{why}")
        rows.append(
            (
                audit.batch.names[place],
                case.classes[int(audit.labels[place])],
                case.classes[best],
                confidence,
                float(scores[place]),
                why,
            )
        )
    right = audit.right[order].tolist()
    text = TEXTS.exhibit("suspicion", pictures=len(order), wrong=right.count(False))
    yield Exhibit(
        "suspicion",
        text.title,
        text.caption,
        text.alt,
        figure=picture_grid(
            cells,
            captions,
            borders=["good" if answer else "bad" for answer in right],
            side=128,
            title="Most suspicious pictures",
        ),
        kind="picture",
        numbers={
            "names": [row[0] for row in rows],
            "score": [row[4] for row in rows],
            "reasons": [reasons[place] for place in order],
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
