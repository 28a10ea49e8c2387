"""What a script wants to know of an explanation, as plain values."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from vgg_viz.records import Attribution
from vgg_viz.sections.explain.summary import is_flat, part, part_text, removed
from vgg_viz.studies.picture import Explanation
from vgg_viz.studies.picture_maps import UNIT
from vgg_viz.versions import reproducible

TOP = 5  # classes that are named


def facts(explanation: Explanation) -> dict[str, Any]:
    """What `--json` prints."""
    computed, classes = explanation.computed, explanation.computed.classes

    def class_at(index: int) -> dict[str, Any]:
        return {"class": explanation.checkpoint.classes[index], "index": index}

    unit = explanation.question.unit
    return {
        "checkpoint": explanation.checkpoint.provenance.file,
        "sha256": explanation.source.sha256,
        "image": explanation.name,
        "top": top(explanation),
        "predicted": None if computed.predicted is None else class_at(computed.predicted),
        "expected": None if classes is None else {**class_at(classes.expected), "told": classes.expected_given},
        "difference": None if classes is None else [class_at(index) for index in classes.pair],
        "unit": None if unit is None else {"name": str(unit), "says": computed.unit_value},
        "layer": {"name": computed.layer, "why": computed.reason},
        "maps": facts_of_maps(explanation),
        "removal": _facts_of_removal(explanation),
        "passes": computed.passes,
        "seconds": {} if reproducible() else {name: round(value, 4) for name, value in explanation.seconds.items()},
    }


def _facts_of_removal(explanation: Explanation) -> dict[str, Any] | None:
    removal, others = explanation.removal, explanation.others
    if removal is None:
        return None
    becomes = removal.becomes
    return {
        "share": removal.share,
        "cover": removal.cover,
        "becomes": None if becomes is None else {"class": explanation.checkpoint.classes[becomes], "index": becomes},
        "chance_shares": removal.chance_shares,
        "shares_by_method": {
            explanation.leading: removal.share,
            **{name: other.share for name, other in others.items()},
        },
        "passes": removal.passes + sum(other.passes for other in others.values()),
        "sentence": removed(explanation),
    }


def ranked(logits: Tensor) -> list[int]:
    """Class indices, the likeliest first."""
    order: list[int] = logits.argsort(descending=True, stable=True).tolist()
    return order


def shown_classes(explanation: Explanation) -> list[int]:
    """The likeliest classes, and those of the question where they are not among them."""
    return list(
        dict.fromkeys(
            [
                *ranked(explanation.computed.logits)[:TOP],
                *(index for index in explanation.computed.about if index != UNIT),
            ]
        )
    )


def top(explanation: Explanation) -> list[dict[str, Any]]:
    """The likeliest classes as facts."""
    computed = explanation.computed
    return [
        {
            "class": explanation.checkpoint.classes[i],
            "index": i,
            "probability": None if computed.outputs == "scores" else float(computed.shown[i]),
            "logit": float(computed.logits[i]),
        }
        for i in ranked(computed.logits)[:TOP]
    ]


def target(explanation: Explanation, index: int) -> str:
    """What a map is about, in the one word of the viewer and of saved maps."""
    return "unit" if index == UNIT else part(explanation, index)


def peak(attribution: Attribution) -> tuple[int, int]:
    """Row and column of the strongest value of a map's own grid, for a signed map the largest magnitude."""
    values = attribution.values[0].abs() if attribution.signed else attribution.values[0]
    place = int(values.argmax())
    return place // values.shape[1], place % values.shape[1]


def facts_of_maps(explanation: Explanation) -> list[dict[str, Any]]:
    """What a script wants to know of each map."""
    facts = []
    for (method, index), attribution in explanation.computed.maps.items():
        row, column = peak(attribution)
        facts.append(
            {
                "method": method,
                "class": None if index == UNIT else explanation.checkpoint.classes[index],
                "index": None if index == UNIT else index,
                "unit_of": attribution.unit_of,
                "part": part_text(explanation, index),
                "layer": attribution.layer,
                "unit": attribution.unit,
                "signed": attribution.signed,
                "low": float(attribution.values.min()),
                "high": float(attribution.values.max()),
                "flat": is_flat(attribution.values),
                "shape": list(attribution.values.shape[1:]),
                "peak": {"row": row, "column": column, "value": float(attribution.values[0, row, column])},
                "residual": None if attribution.residual is None else float(attribution.residual[0]),
                "passes": attribution.passes,
                "seconds": attribution.seconds,
            }
        )
    return facts
