"""The sheet: one picture explained at one look."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vgg_viz.figures.explanation import Panel, Said, explanation
from vgg_viz.figures.image_grid import pixels
from vgg_viz.gallery.sections import section
from vgg_viz.maths.heatmaps import Scale, attribution_scale
from vgg_viz.models.vgg import title
from vgg_viz.number_text import counted
from vgg_viz.records import Caption, Column, Exhibit, Table
from vgg_viz.sections.explain.counterfactual import hidden
from vgg_viz.sections.explain.facts import facts_of_maps, ranked, shown_classes, top
from vgg_viz.sections.explain.summary import answer, method_said, name_of, part, part_said, removed
from vgg_viz.studies.picture import Explanation
from vgg_viz.studies.picture_maps import UNIT

MAPS = 4  # on the sheet, where there are no more classes


@section(
    "answer",
    study="explanation",
    title="The answer",
    order=10,
    lead="What the network says, where it finds its evidence, and what would have to change.",
)
def sheet(found: Explanation) -> Iterator[Exhibit]:
    """The sheet: everything at one look; the one figure that `--out FILE` writes."""
    computed = found.computed
    order = ranked(computed.logits)
    panels, scale = hero(found)
    yield Exhibit(
        "explain-sheet",
        _upper(found),
        Caption(
            see=_seen(found, scale),
            read=_readable(found),
            cannot="A map shows what the score reacts to, not what the network thinks; that it looks right to us is no "
            "evidence."
            + (
                " A hidden region is itself something that the network has hardly seen in training."
                if found.removal
                else ""
            ),
        ),
        alt=f"The picture with {counted(len(panels), 'map')} on one scale. {_upper(found)}. {removed(found)}".strip(),
        figure=explanation(
            pixels(found.batch.images)[0],
            panels,
            scale,
            [
                Said(found.classes[i], float(computed.probabilities[i]), part_said(found, i), i == computed.predicted)
                for i in shown_classes(found)
            ],
            hidden(found),
            seen=_seen_by_unit(found),
            title=_upper(found),
            caveat=removed(found),
            subtitle=f"{found.name}; {title(found.checkpoint.architecture)}; {method_said(found, found.leading)}",
        ),
        kind="picture",
        table=Table(
            (
                Column("class"),
                Column("part"),
                Column("probability", "%", True),
                Column("logit", "", True),
                Column("rank", "", True),
            ),
            tuple(
                (
                    found.classes[i],
                    part_said(found, i) or None,
                    100 * float(computed.probabilities[i]),
                    float(computed.logits[i]),
                    order.index(i) + 1,
                )
                for i in shown_classes(found)
            ),
        ),
        numbers={
            "picture": found.name,
            "answer": answer(found),
            "method": found.leading,
            "layer": computed.maps[found.leading, computed.asked[0]].layer,
            "difference": None if computed.classes is None else list(computed.classes.pair),
            "scale": {"low": scale.low, "high": scale.high, "unit": scale.unit, "beyond": scale.clipped},
            "top": top(found),
            "maps": facts_of_maps(found),
        },
    )


def _seen(found: Explanation, scale: Scale) -> str:
    classes = found.computed.classes
    flat = " All maps are flat: zero everywhere." if not scale.high > scale.low else ""
    if classes is None:
        about = f"for {name_of(found, UNIT)}"
    else:
        other = part(found, classes.expected)
        about = f"for the predicted class, for {f'the {other} one' if other in ('expected', 'runner-up') else 'the one it is set against'}, and their difference"
    against = ", and what speaks against it" if classes is None else ", and what speaks against the predicted class"
    below = (
        " Below: the likeliest classes; the region that had to be hidden, and what the network said then."
        if found.removal
        else " Below: the likeliest classes."
    )
    return (
        f"The picture as the network sees it, and {method_said(found, found.leading)} {about}{against if signed(found) else ''}. All of these maps share one scale, "
        f"printed below them; at zero the picture is left as it is.{flat}{below}"
    )


def _readable(found: Explanation) -> str:
    classes = found.computed.classes
    if classes is None:
        alone = found.question.unit is not None and found.question.unit.row is not None
        beyond = (
            " Grad-CAM weighs whole channels: what it paints outside of the outline cannot have moved this unit."
            if alone and "grad_cam" in found.question.methods
            else ""
        )
        colours = (
            "Red raises the unit, blue lowers it."
            if signed(found)
            else "The values have no sign: they say how much a place matters to the unit."
        )
        return (
            f"{colours} It is {'one place of a channel' if alone else 'the mean of a channel'}, and no class.{beyond}"
        )
    first, second = (name_of(found, index) for index in classes.pair)
    signs = (
        f"Red speaks for a class, blue against it; in the difference, red is for {first} and blue for {second}. "
        if signed(found)
        else f"The values have no sign: they say how much a pixel matters, not for what. In the difference red is where {first} has more of it, blue where {second} has. "
    )
    return signs + removed(found)


def _seen_by_unit(found: Explanation) -> np.ndarray[Any, Any] | None:
    """(H, W) bool: the receptive field of the unit asked about, or None where there is no single one."""
    unit = found.question.unit
    field = next((row.field for row in found.rows if unit is not None and row.name == unit.layer), None)
    if unit is None or field is None or unit.row is None or unit.column is None:
        return None
    box = field.box(unit.row, unit.column).clipped(*found.size)
    mask = np.zeros(found.size, bool)
    mask[box.y0 : box.y1, box.x0 : box.x1] = True
    return mask


def hero(found: Explanation) -> tuple[list[Panel], Scale]:
    """The maps of the sheet, placed, and the one scale that they share."""
    computed, method = found.computed, found.leading
    maps: list[tuple[str, str, Tensor]] = [
        (
            f"for {name_of(found, index)}",
            part_said(found, index) or ("what raises it" if index == UNIT else "class"),
            found.map(method, index),
        )
        for index in computed.asked
    ]
    if computed.classes is not None and (difference := computed.difference(method)) is not None:
        first, second = (name_of(found, index) for index in computed.classes.pair)
        maps.append((f"{first} minus {second}", "difference", found.placed(difference)))
    if signed(found) and len(maps) < MAPS:
        about = str(found.question.unit) if computed.classes is None else name_of(found, computed.asked[0])
        maps.append((f"against {about}", "counterfactual", found.map(method, computed.asked[0]).clamp(max=0)))
    one = computed.maps[method, computed.asked[0]]
    scale = attribution_scale(
        torch.stack([value for _, _, value in maps]), one, over="all maps of this figure", signed=True
    )
    return [
        ((name, "flat: zero everywhere" if not bool(value.any()) else told), value.numpy())
        for name, told, value in maps
    ], scale


def signed(found: Explanation) -> bool:
    """Whether the leading method tells evidence for from evidence against."""
    return found.computed.maps[found.leading, found.computed.asked[0]].signed


def _upper(found: Explanation) -> str:
    """The answer as a title: a unit's begins with a capital, the name of a class is left as it is."""
    text = answer(found)
    return f"{text[0].upper()}{text[1:]}" if found.computed.classes is None else text
