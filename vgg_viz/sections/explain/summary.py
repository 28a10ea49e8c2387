"""What an explanation says in sentences."""

from __future__ import annotations

import statistics
from typing import Literal

from torch import Tensor

from vgg_viz.attribution.method import METHODS
from vgg_viz.figures.style import label, number
from vgg_viz.number_text import counted, percent
from vgg_viz.records import Finding
from vgg_viz.studies.perturbation_path import Removal
from vgg_viz.studies.picture import Explanation
from vgg_viz.studies.picture_maps import UNIT


def name_of(explanation: Explanation, index: int) -> str:
    """A class, or the unit, as a sentence names it: one line, at most 40 characters."""
    unit = explanation.question.unit
    if index == UNIT and unit is not None:
        return f"{'channel' if unit.row is None else 'unit'} {unit}"
    return label(explanation.classes[index], 40)


Part = Literal["predicted", "expected", "set against", "runner-up", "other"]


def part(explanation: Explanation, index: int) -> Part:
    """What a class is to the question."""
    classes = explanation.computed.classes
    if index == explanation.computed.predicted:
        return "predicted"
    if classes is None:
        return "other"
    if index == classes.expected and classes.told and not agreed(explanation):
        return "expected"
    if index == classes.pair[1] and explanation.question.against is not None:
        return "set against"
    return "runner-up" if index == classes.expected else "other"


def part_said(explanation: Explanation, index: int) -> str:
    """The same in words; "" for a class that has no part in it."""
    found = part(explanation, index)
    if found == "predicted" and explanation.computed.classes is not None and agreed(explanation):
        return "predicted, as expected"
    return "" if found == "other" else found


def agreed(explanation: Explanation) -> bool:
    """Whether the network says what the reader expected."""
    classes, target = explanation.computed.classes, explanation.question.target
    return classes is not None and (target == "predicted" or target == classes.predicted)


def said_of(explanation: Explanation, index: int) -> str:
    """A class with its probability: "espresso (98.5 %)"."""
    return f"{name_of(explanation, index)} ({percent(float(explanation.computed.probabilities[index]))})"


def answer(explanation: Explanation) -> str:
    """The answer in a line."""
    classes = explanation.computed.classes
    if classes is None:
        return f"{name_of(explanation, UNIT)} says {number(explanation.computed.said or 0.0)}; the network says {said_of(explanation, explanation.computed.predicted)}"
    said, other = (said_of(explanation, index) for index in (classes.predicted, classes.expected))
    if agreed(explanation):
        return f"{said}, as expected"
    return f"{said}, not {other}" if classes.told else f"{said} rather than {other}"


def titled(explanation: Explanation, method: str) -> str:
    """A method, and whether its maps have a sign here: "Grad-CAM, signed"."""
    found = explanation.computed.maps[method, explanation.computed.asked[0]]
    return METHODS[method].title + (", signed" if found.signed and not METHODS[method].signed else "")


def method_said(explanation: Explanation, method: str) -> str:
    """A method with its layer: "Grad-CAM, signed, at relu5_3"."""
    layer = explanation.computed.maps[method, explanation.computed.asked[0]].layer
    return titled(explanation, method) if layer is None else f"{titled(explanation, method)}, at {layer}"


def removed(explanation: Explanation) -> str:
    """What had to be hidden until the answer changed, and how much of it in a random order."""
    found = explanation.removal
    if found is None:
        return ""
    said = name_of(explanation, found.answer)
    blurred = percent(float(found.all_hidden["blur"].softmax(0)[found.answer]))
    if found.share is None or found.becomes is None:
        return f"However much of the picture is blurred or painted over in the order of this map, the answer stays {said} (all of it blurred: {blurred})."
    at = found.by_map.changed(found.answer) or 0
    after = f"{name_of(explanation, found.becomes)} ({percent(float(found.by_map.probabilities[at, found.becomes]))})"
    how = f"Blurring {percent(found.share)} of the picture"
    if found.cover != "blur":
        stays = f"Even with all of it blurred the network says {said} ({blurred}): detail is not what decides. "
        how = f"{stays}Painting {percent(found.share)} of the picture {found.cover}"
    back = next(
        (
            float(found.by_map.shares[n])
            for n in range(at, len(found.by_map.shares))
            if int(found.by_map.answers[n]) == found.answer
        ),
        None,
    )
    again = "" if back is None else f" With {percent(back)} hidden it says {said} again."
    return f"{how} in the order of this map turns {said_of(explanation, found.answer)} into {after}; {by_chance(found)}.{again}"


def by_chance(found: Removal) -> str:
    """The same in random orders, as the end of a sentence."""
    shares = found.chance_shares
    if not shares:
        return "nothing was hidden in random order"
    known = sorted(share for share in shares if share is not None)
    middle = statistics.median(1.0 if share is None else share for share in shares)
    if len(known) < len(shares) / 2:
        return f"in random order {counted(len(shares) - len(known), 'path')} of {len(shares)} never did it"
    spread = f", {percent(known[0])} to {percent(known[-1])}" if known[0] != known[-1] else ""
    never = f", {len(shares) - len(known)} never" if len(known) < len(shares) else ""
    return f"in random order it takes {percent(middle)} (median of {len(shares)} orders{spread}{never})"


def no_better(found: Removal) -> bool:
    """Whether the map's order needs as much as a random one."""
    shares = [1.0 if share is None else share for share in found.chance_shares]
    return bool(shares) and (found.share is None or found.share >= statistics.median(shares))


def findings(explanation: Explanation) -> list[Finding]:
    """The answer first, then what the network said when parts were hidden, and what a reader must know before believing the maps."""
    found, classes = explanation.computed, explanation.computed.classes
    if classes is None:
        told = [Finding("note", f"{answer(explanation)[0].upper()}{answer(explanation)[1:]}.")]
    else:
        said, other = (said_of(explanation, index) for index in (classes.predicted, classes.expected))
        if not classes.told:
            told = [Finding("note", f"The network says {said}; the class it is set against is {other}.")]
        elif agreed(explanation):
            told = [Finding("good", f"The network says {said}, as expected; the class it is set against is {other}.")]
        else:
            told = [Finding("bad", f"The network says {said}, but {other} was expected.")]
    if explanation.checkpoint.provenance.format == "untrained":
        told.append(Finding("note", "Random weights: nothing has been learned, and every map below is noise."))
    if explanation.removal is not None:
        weak = no_better(explanation.removal)
        more = " That is no less than chance: the order of this map tells little here." if weak else ""
        told.append(Finding("warn" if weak else "note", removed(explanation) + more))
    flat = [
        method_said(explanation, method)
        for (method, index), one in found.maps.items()
        if index == found.asked[0] and is_flat(one.values)
    ]
    if flat:
        told.append(
            Finding(
                "warn",
                f"The map is flat, the same value everywhere: {', '.join(flat)}. Such a map says nothing about the picture.",
            )
        )
    return told


def is_flat(values: Tensor) -> bool:
    """Whether a map has one value everywhere."""
    return float(values.min()) == float(values.max())
