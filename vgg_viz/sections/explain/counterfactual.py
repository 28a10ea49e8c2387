"""What had to go until the answer changed, shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from vgg_viz.attribution.method import METHODS
from vgg_viz.figures.explanation import Hidden, Path, removal_curves
from vgg_viz.figures.image_grid import pixels
from vgg_viz.figures.style import number
from vgg_viz.gallery.sections import section
from vgg_viz.number_text import counted, percent
from vgg_viz.records import Caption, Column, Exhibit, Table
from vgg_viz.sections.explain.summary import by_chance, method_said, name_of, removed
from vgg_viz.studies.perturbation_path import Path as Measured
from vgg_viz.studies.perturbation_path import Removal
from vgg_viz.studies.picture import Explanation


@section(
    "removal",
    study="explanation",
    title="What had to go",
    order=30,
    when=lambda found: found.removal is not None,
    lead="A map is a claim about what matters. Here the claim is put to the network.",
)
def hiding(found: Explanation) -> Iterator[Exhibit]:
    """The path from the answer to another one."""
    shown, measured = hidden(found), found.removal
    if shown is None or measured is None:
        return
    names = [name_of(found, index) for index in (measured.answer, measured.expected)]
    rows = [_row(found, "the map's", measured.by_map, place) for place in range(len(measured.by_map.shares))]
    others = [(METHODS[name].title, one.share) for name, one in found.others.items()]
    compared = "".join(
        f" In the order of {name} it takes {'more than all' if share is None else percent(share)}."
        for name, share in others
    )
    yield Exhibit(
        "explain-removal",
        "What had to go until the answer changed",
        Caption(
            see=f"Lines with points: the probability of {names[0]} and of {names[1]} while more and more of the picture is hidden, the pixels with the most evidence first. "
            f"Areas: the same in {counted(len(measured.by_chance), 'random order')}, from the lowest to the highest; dashed: their median.",
            read=f"{removed(found)}{compared} The further the line of the map's order falls below that of chance, the more the map knows about this network.",
            cannot=f"The share is the least that was found by steps and halvings in this one order: a smaller region of another shape may do as well. Hidden means "
            f"{f'blurred by {number(measured.blur)} px' if measured.cover == 'blur' else f'painted {measured.cover}, because blurring left the answer as it was'}; a random order is smooth noise of {measured.grain} × {measured.grain} values, because scattered pixels hide nothing.",
        ),
        alt=f"Curves of two probabilities over the share of the picture that is hidden. {removed(found)}",
        figure=removal_curves(
            shown,
            title="How sure the network is while more is hidden",
            subtitle=f"in the order of {method_said(found, found.leading)}",
        ),
        table=Table(
            (
                Column("order"),
                Column("hidden", "%", True),
                Column(names[0], "%", True),
                Column(names[1], "%", True),
                Column("the network says"),
            ),
            tuple(rows),
        ),
        numbers={
            "share": measured.share,
            "becomes": measured.becomes,
            "chance_shares": measured.chance_shares,
            "by_chance": by_chance(measured),
            "cover": measured.cover,
            "blur_px": measured.blur,
            "passes": measured.passes,
            "shares_by_method": {
                found.leading: measured.share,
                **{name: one.share for name, one in found.others.items()},
            },
            "shares": measured.by_map.shares,
            "predicted": measured.by_map.probabilities[:, measured.answer],
            "expected": measured.by_map.probabilities[:, measured.expected],
            "answers": measured.by_map.answers,
        },
    )


def hidden(found: Explanation) -> Hidden | None:
    """The measured path as the figures show it, or None where nobody asked."""
    one = found.removal
    if one is None:
        return None
    share = 1.0 if one.share is None else one.share
    at = -1 if one.share is None else one.by_map.changed(one.answer) or 0
    said = int(one.by_map.answers[at])
    return Hidden(
        region=(one.rank < share).numpy(),
        picture=pixels(one.hidden[None].cpu())[0],
        share=one.share,
        cover=one.cover,
        answer=(found.classes[said], float(one.by_map.probabilities[at, said])),
        names=(found.classes[one.answer], found.classes[one.expected]),
        by_map=_path(one, one.by_map),
        by_chance=[_path(one, path) for path in one.by_chance],
    )


def _path(one: Removal, path: Measured) -> Path:
    numbers: list[np.ndarray[Any, Any]] = [path.probabilities[:, index].numpy() for index in (one.answer, one.expected)]
    return Path(path.shares.numpy(), *numbers)


def _row(found: Explanation, order: str, path: Measured, place: int) -> tuple[str | float, ...]:
    measured = found.removal
    pair = () if measured is None else (measured.answer, measured.expected)
    chances = [100 * float(path.probabilities[place, index]) for index in pair]
    return (order, 100 * float(path.shares[place]), *chances, found.classes[int(path.answers[place])])
