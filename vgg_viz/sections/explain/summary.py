"""What an explanation says in sentences."""

from __future__ import annotations

import statistics
from typing import Literal

from torch import Tensor

from vgg_viz.attribution.method import METHODS
from vgg_viz.figures.style import label, number
from vgg_viz.gallery.texts import Texts
from vgg_viz.maths.outputs import meaning
from vgg_viz.records import Finding
from vgg_viz.studies.perturbation_path import Removal
from vgg_viz.studies.picture import Explanation
from vgg_viz.studies.picture_maps import UNIT

TEXTS = Texts(__name__)
Part = Literal["predicted", "expected", "set against", "runner-up", "other"]


def name_of(explanation: Explanation, index: int) -> str:
    """A class, or the unit, as a sentence names it: one line, a class with at most 40 characters."""
    unit = explanation.question.unit
    if index != UNIT or unit is None:
        return label(explanation.classes[index], 40)
    return TEXTS.say("names.channel", unit=unit) if unit.row is None else TEXTS.say("names.unit", unit=unit)


def part(explanation: Explanation, index: int) -> Part:
    """What a class is to the question."""
    classes = explanation.computed.classes
    if index == explanation.computed.predicted:
        return "predicted"
    if classes is None:
        return "other"
    if index == classes.expected and classes.expected_given and not agreed(explanation):
        return "expected"
    if index == classes.pair[1] and explanation.question.against is not None:
        return "set against"
    return "runner-up" if index == classes.expected else "other"


def part_text(explanation: Explanation, index: int) -> str:
    """The same in words; "" for a class that has no part in it."""
    return TEXTS.say("part.text", part=part(explanation, index), as_expected=agreed(explanation), noun=explanation.noun)


def agreed(explanation: Explanation) -> bool:
    """Whether the network says what the reader expected."""
    classes, target = explanation.computed.classes, explanation.question.target
    return classes is not None and (target == "predicted" or target == classes.predicted)


def with_probability(explanation: Explanation, index: int) -> str:
    """A class with its probability, or a score with its value: "espresso (98.5 %)"."""
    return _with_probability(explanation, index, float(explanation.computed.shown[index]))


def _with_probability(explanation: Explanation, index: int, probability: float) -> str:
    outputs = explanation.computed.outputs
    return TEXTS.say(
        "names.class_with_probability", name=name_of(explanation, index), probability=probability, outputs=outputs
    )


def answer(explanation: Explanation) -> str:
    """The answer in a line."""
    classes = explanation.computed.classes
    if classes is None:
        return TEXTS.say(
            "answer.unit",
            unit=name_of(explanation, UNIT),
            value=number(explanation.computed.unit_value or 0.0),
            predicted="" if (said := explanation.computed.predicted) is None else with_probability(explanation, said),
            noun=explanation.noun,
        )
    return TEXTS.say(
        "answer.class",
        alone=classes.alone,
        noun=explanation.noun,
        predicted=with_probability(explanation, classes.predicted),
        expected=with_probability(explanation, classes.expected),
        agreed=agreed(explanation),
        named=classes.expected_given,
    )


def method_title(explanation: Explanation, method: str) -> str:
    """A method, and whether its maps have a sign here: "Grad-CAM, signed"."""
    attribution = explanation.computed.maps[method, explanation.computed.about[0]]
    known = METHODS[method]
    return TEXTS.say("method.title", method=known.title, signed=attribution.signed and not known.signed)


def method_at_layer(explanation: Explanation, method: str) -> str:
    """A method with its layer, where it has one: "Grad-CAM, signed, at relu5_3"."""
    title, layer = (
        method_title(explanation, method),
        explanation.computed.maps[method, explanation.computed.about[0]].layer,
    )
    return title if layer is None else TEXTS.say("method.at_layer", method=title, layer=layer)


def removed(explanation: Explanation) -> str:
    """What had to be hidden until the answer changed, and how much of it in a random order; "" where nothing was hidden."""
    removal = explanation.removal
    if removal is None:
        return ""
    name = name_of(explanation, removal.answer)
    all_blurred = float(meaning(removal.all_hidden["blur"], explanation.computed.outputs)[removal.answer])
    if removal.share is None or removal.becomes is None:
        return TEXTS.say("removal.never", answer=name, all_blurred=all_blurred)
    path = removal.by_map
    changed = path.changed(removal.answer) or 0
    later = zip(path.shares[changed:].tolist(), path.answers[changed:].tolist(), strict=True)
    return TEXTS.say(
        "removal.changed",
        cover=removal.cover,
        share=removal.share,
        answer=name,
        all_blurred=all_blurred,
        before=with_probability(explanation, removal.answer),
        after=_with_probability(explanation, removal.becomes, float(path.probabilities[changed, removal.becomes])),
        chance=by_chance(removal),
        back=next((share for share, said in later if said == removal.answer), None),
    )


def by_chance(removal: Removal) -> str:
    """The same in random orders, as the end of a sentence."""
    shares = removal.chance_shares
    if not shares:
        return TEXTS.say("chance.none")
    known = sorted(share for share in shares if share is not None)
    never = len(shares) - len(known)
    if len(known) < len(shares) / 2:
        return TEXTS.say("chance.never", never=never, orders=len(shares))
    return TEXTS.say(
        "chance.median", median=_median(shares), orders=len(shares), lowest=known[0], highest=known[-1], never=never
    )


def no_better(removal: Removal) -> bool:
    """Whether the map's order needs as much as a random one."""
    shares = removal.chance_shares
    return bool(shares) and (removal.share is None or removal.share >= _median(shares))


def _median(shares: list[float | None]) -> float:
    """Of shares at which the answer changed; one that never changed it counts as all."""
    return statistics.median(1.0 if share is None else share for share in shares)


def findings(explanation: Explanation) -> list[Finding]:
    """The answer first, then what the network said when parts were hidden, and what a reader must know before believing the maps."""
    lines = [_answer_finding(explanation)]
    if explanation.checkpoint.provenance.format == "untrained":
        lines.append(Finding("note", TEXTS.say("findings.random")))
    if explanation.removal is not None:
        weak = no_better(explanation.removal)
        text = TEXTS.say("findings.removal", removal=removed(explanation), no_better=weak)
        lines.append(Finding("warn" if weak else "note", text))
    flat = [
        method_at_layer(explanation, method)
        for (method, index), attribution in explanation.computed.maps.items()
        if index == explanation.computed.about[0] and is_flat(attribution.values)
    ]
    if flat:
        lines.append(Finding("warn", TEXTS.say("findings.flat", methods=flat)))
    return lines


def _answer_finding(explanation: Explanation) -> Finding:
    classes = explanation.computed.classes
    if classes is None:
        return Finding("note", TEXTS.say("findings.unit", answer=answer(explanation)))
    text = TEXTS.say(
        "findings.class",
        alone=classes.alone,
        noun=explanation.noun,
        predicted=with_probability(explanation, classes.predicted),
        expected=with_probability(explanation, classes.expected),
        agreed=agreed(explanation),
        named=classes.expected_given,
    )
    return Finding("note" if not classes.expected_given else "good" if agreed(explanation) else "bad", text)


def is_flat(values: Tensor) -> bool:
    """Whether a map has one value everywhere."""
    return float(values.min()) == float(values.max())
