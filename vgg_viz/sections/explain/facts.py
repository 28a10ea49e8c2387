"""What a script wants to know of an explanation, as plain values."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from vgg_viz.records import Attribution
from vgg_viz.sections.explain.summary import is_flat, part, part_said, removed
from vgg_viz.studies.picture import Explanation
from vgg_viz.studies.picture_maps import UNIT
from vgg_viz.versions import reproducible

TOP = 5  # classes that are named


def facts(found: Explanation) -> dict[str, Any]:
    """What `--json` prints."""
    computed, gone, classes = found.computed, found.removal, found.computed.classes

    def one(index: int) -> dict[str, Any]:
        return {"class": found.classes[index], "index": index}

    return {
        "checkpoint": found.checkpoint.provenance.file,
        "sha256": found.source.sha256,
        "image": found.name,
        "top": top(found),
        "predicted": one(computed.predicted),
        "expected": None if classes is None else {**one(classes.expected), "told": classes.told},
        "difference": None if classes is None else [one(index) for index in classes.pair],
        "unit": None if found.question.unit is None else {"name": str(found.question.unit), "says": computed.said},
        "layer": {"name": computed.layer, "why": computed.reason},
        "maps": facts_of_maps(found),
        "removal": None
        if gone is None
        else {
            "share": gone.share,
            "cover": gone.cover,
            "becomes": None if gone.becomes is None else one(gone.becomes),
            "chance_shares": gone.chance_shares,
            "shares_by_method": {found.leading: gone.share, **{name: one.share for name, one in found.others.items()}},
            "passes": gone.passes + sum(one.passes for one in found.others.values()),
            "sentence": removed(found),
        },
        "passes": computed.passes,
        "seconds": {} if reproducible() else {name: round(value, 4) for name, value in found.seconds.items()},
    }


def ranked(logits: Tensor) -> list[int]:
    """Class indices, the likeliest first."""
    order: list[int] = logits.argsort(descending=True, stable=True).tolist()
    return order


def shown_classes(found: Explanation) -> list[int]:
    """The likeliest classes, and those of the question where they are not among them."""
    return list(
        dict.fromkeys(
            [*ranked(found.computed.logits)[:TOP], *(index for index in found.computed.asked if index != UNIT)]
        )
    )


def top(found: Explanation) -> list[dict[str, Any]]:
    """The likeliest classes as facts."""
    computed = found.computed
    return [
        {
            "class": found.classes[i],
            "index": i,
            "probability": float(computed.probabilities[i]),
            "logit": float(computed.logits[i]),
        }
        for i in ranked(computed.logits)[:TOP]
    ]


def target(found: Explanation, index: int) -> str:
    """What a map is about, in the one word of the viewer and of saved maps."""
    return "unit" if index == UNIT else part(found, index)


def peak(found: Attribution) -> tuple[int, int]:
    """Row and column of the strongest value of a map's own grid, for a signed map the largest magnitude."""
    values = found.values[0].abs() if found.signed else found.values[0]
    place = int(values.argmax())
    return place // values.shape[1], place % values.shape[1]


def facts_of_maps(found: Explanation) -> list[dict[str, Any]]:
    """What a script wants to know of each map."""
    facts = []
    for (method, index), one in found.computed.maps.items():
        row, column = peak(one)
        facts.append(
            {
                "method": method,
                "class": None if index == UNIT else found.classes[index],
                "index": None if index == UNIT else index,
                "unit_of": one.unit_of,
                "part": part_said(found, index),
                "layer": one.layer,
                "unit": one.unit,
                "signed": one.signed,
                "low": float(one.values.min()),
                "high": float(one.values.max()),
                "flat": is_flat(one.values),
                "shape": list(one.values.shape[1:]),
                "peak": {"row": row, "column": column, "value": float(one.values[0, row, column])},
                "residual": None if one.residual is None else float(one.residual[0]),
                "passes": one.passes,
                "seconds": one.seconds,
            }
        )
    return facts
