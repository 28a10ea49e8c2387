"""One picture explained at one look."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from vgg_viz.figures import explanation as figures
from vgg_viz.figures.explanation import ClassAnswer, ExplanationSheet, Panel
from vgg_viz.figures.image_grid import pixels
from vgg_viz.gallery.sections import section
from vgg_viz.gallery.texts import ExhibitText, Texts
from vgg_viz.maths.heatmaps import Scale, attribution_scale
from vgg_viz.models.vgg import title
from vgg_viz.records import Column, Exhibit, Table
from vgg_viz.sections.explain.counterfactual import hidden
from vgg_viz.sections.explain.facts import facts_of_maps, ranked, shown_classes, top
from vgg_viz.sections.explain.summary import answer, method_at_layer, name_of, part, part_text, removed
from vgg_viz.studies.picture import Explanation
from vgg_viz.studies.picture_maps import UNIT

TEXTS = Texts(__name__)
MAPS = 4  # in the figure, where there are no more classes


@section("answer", study="explanation", order=10)
def summary_figure(explanation: Explanation) -> Iterator[Exhibit]:
    """Everything at one look; the one figure that `--out FILE` writes."""
    computed = explanation.computed
    panels, scale = panels_of(explanation)
    text = _texts(explanation, len(panels), flat=not scale.high > scale.low)
    yield Exhibit(
        "explain-sheet",
        text.title,
        text.caption,
        text.alt,
        figure=figures.explanation(
            ExplanationSheet(
                pixels(explanation.batch.images)[0],
                panels,
                scale,
                [
                    ClassAnswer(
                        explanation.classes[i],
                        float(computed.shown[i]),
                        part_text(explanation, i),
                        i == computed.predicted,
                        computed.outputs,
                    )
                    for i in shown_classes(explanation)
                ],
                hidden(explanation),
                seen=_seen_by_unit(explanation),
            ),
            title=text.title,
            caveat=removed(explanation),
            subtitle=f"{explanation.name}; {title(explanation.checkpoint.architecture)}; "
            f"{method_at_layer(explanation, explanation.leading)}",
        ),
        kind="picture",
        table=_table(explanation) if explanation.classes else None,
        numbers={
            "picture": explanation.name,
            "answer": answer(explanation),
            "method": explanation.leading,
            "layer": computed.maps[explanation.leading, computed.about[0]].layer,
            "difference": None if computed.classes is None else list(computed.classes.pair),
            "scale": {"low": scale.low, "high": scale.high, "unit": scale.unit, "beyond": scale.clipped},
            "top": top(explanation),
            "maps": facts_of_maps(explanation),
        },
    )


def _texts(explanation: Explanation, maps: int, *, flat: bool) -> ExhibitText:
    """The words around the figure of so many maps; a unit's answer begins with a capital, the name of a class is left as it is."""
    classes, unit = explanation.computed.classes, explanation.question.unit
    line = answer(explanation)
    first, second = ("", "") if classes is None else (name_of(explanation, index) for index in classes.pair)
    return TEXTS.exhibit(
        "sheet",
        answer=f"{line[0].upper()}{line[1:]}" if classes is None else line,
        method=method_at_layer(explanation, explanation.leading),
        unit=name_of(explanation, UNIT) if classes is None else "",
        single=unit is not None and unit.row is not None,
        grad_cam="grad_cam" in explanation.question.methods,
        set_against="" if classes is None else part(explanation, classes.expected),
        first=first,
        second=second,
        signed=signed(explanation),
        noun=explanation.noun,
        alone=classes is not None and classes.alone,
        flat=flat,
        hidden=explanation.removal is not None,
        removed=removed(explanation),
        maps=maps,
        answers=bool(explanation.classes),
    )


def _table(explanation: Explanation) -> Table:
    """The likeliest classes and those of the question."""
    computed = explanation.computed
    order = ranked(computed.logits)
    return Table(
        (
            Column(explanation.noun),
            Column("part"),
            *([] if computed.outputs == "scores" else [Column("probability", "%", True)]),
            Column("score" if computed.outputs == "scores" else "logit", "", True),
            Column("rank", "", True),
        ),
        tuple(
            (
                explanation.classes[i],
                part_text(explanation, i) or None,
                *([] if computed.outputs == "scores" else [100 * float(computed.shown[i])]),
                float(computed.logits[i]),
                order.index(i) + 1,
            )
            for i in shown_classes(explanation)
        ),
    )


def _seen_by_unit(explanation: Explanation) -> np.ndarray[Any, Any] | None:
    """(H, W) bool: the receptive field of the unit asked about, or None where there is no single one."""
    unit = explanation.question.unit
    field = next((row.field for row in explanation.rows if unit is not None and row.name == unit.layer), None)
    if unit is None or field is None or unit.row is None or unit.column is None:
        return None
    box = field.box(unit.row, unit.column).clipped(*explanation.size)
    mask = np.zeros(explanation.size, bool)
    mask[box.y0 : box.y1, box.x0 : box.x1] = True
    return mask


def panels_of(explanation: Explanation) -> tuple[list[Panel], Scale]:
    """The maps of the figure, placed on the picture, and the one scale that they share."""
    computed, method = explanation.computed, explanation.leading
    maps = [(*_headings(explanation, index), explanation.map(method, index)) for index in computed.about]
    if computed.classes is not None and (difference := computed.difference(method)) is not None:
        first, second = (name_of(explanation, index) for index in computed.classes.pair)
        heading = TEXTS.say("headings.minus", first=first, second=second)
        maps.append((heading, TEXTS.say("headings.difference"), explanation.placed(difference)))
    leading = computed.about[0]
    if signed(explanation) and len(maps) < MAPS:
        about = str(explanation.question.unit) if computed.classes is None else name_of(explanation, leading)
        against = explanation.map(method, leading).clamp(max=0)
        maps.append((TEXTS.say("headings.against", name=about), TEXTS.say("headings.counterfactual"), against))
    scale = attribution_scale(
        torch.stack([placed for _, _, placed in maps]),
        computed.maps[method, leading],
        over="all maps of this figure",
        signed=True,
    )
    flat = TEXTS.say("headings.flat")
    return [
        ((heading, below if bool(placed.any()) else flat), placed.numpy()) for heading, below, placed in maps
    ], scale


def _headings(explanation: Explanation, index: int) -> tuple[str, str]:
    """The two lines above a map: what it is about, and what that is to the question."""
    kind = TEXTS.say("headings.unit") if index == UNIT else TEXTS.say("headings.class")
    return TEXTS.say("headings.for", name=name_of(explanation, index)), part_text(explanation, index) or kind


def signed(explanation: Explanation) -> bool:
    """Whether the leading method tells evidence for from evidence against."""
    return explanation.computed.maps[explanation.leading, explanation.computed.about[0]].signed
