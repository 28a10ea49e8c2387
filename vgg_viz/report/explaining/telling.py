"""What an explanation says in sentences."""

from __future__ import annotations

import statistics

from vgg_viz.attribution.method import METHODS
from vgg_viz.figures.style import label, percent
from vgg_viz.records import Finding
from vgg_viz.report.explaining.explanation import Explanation
from vgg_viz.report.explaining.removal import Removal
from vgg_viz.report.section import counted


def class_name(explanation: Explanation, index: int) -> str:
    """A class as a sentence names it: one line, at most 40 characters."""
    return label(explanation.classes[index], 40)


def part(explanation: Explanation, index: int) -> str:
    """What a class is to the question: "predicted", "expected", "runner-up", or ""."""
    found, question = explanation.look, explanation.question
    if index == found.predicted:
        return "predicted, as expected" if index == question.target else "predicted"
    if index == question.target:
        return "expected"
    if index == question.against:
        return "set against"
    return "runner-up" if index == found.expected else ""


def answer(explanation: Explanation) -> str:
    """The answer in a line."""
    found = explanation.look
    said, other = (f"{class_name(explanation, index)} ({percent(float(found.probabilities[index]))})" for index in (found.predicted, found.expected))
    if explanation.question.target == found.predicted:
        return f"{said}, as expected"
    return f"{said}, not {other}" if found.told else f"{said} rather than {other}"


def method_said(explanation: Explanation, method: str) -> str:
    """A method with its layer: "Grad-CAM, signed, at relu5_3"."""
    found = explanation.look.maps[method, explanation.look.predicted]
    title = METHODS[method].title + (", signed" if found.signed and not METHODS[method].signed else "")
    return title if found.layer is None else f"{title}, at {found.layer}"


def removed(explanation: Explanation) -> str:
    """What had to be hidden until the answer changed, and how much of it in a random order."""
    found = explanation.removal
    if found is None:
        return ""
    said = class_name(explanation, found.answer)
    start = f"{said} ({percent(float(found.by_map.probabilities[0, found.answer]))})"
    blurred = percent(float(found.all_hidden["blur"].softmax(0)[found.answer]))
    stays = f"Even with all of it blurred the network says {said} ({blurred}): it goes by colours more than by detail. "
    first, verb = (stays, "Painting") if found.cover == "grey" else ("", "Blurring")
    if found.share is None or found.becomes is None:
        return f"However much of the picture is blurred or painted grey in the order of this map, the answer stays {said} (all of it blurred: {blurred})."
    at = found.by_map.changed(found.answer) or 0
    after = f"{class_name(explanation, found.becomes)} ({percent(float(found.by_map.probabilities[at, found.becomes]))})"
    grey = " grey" if found.cover == "grey" else ""
    return f"{first}{verb} {percent(found.share)} of the picture{grey} in the order of this map turns {start} into {after}; {by_chance(found)}."


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
    found, question = explanation.look, explanation.question
    share = percent(float(found.probabilities[found.predicted]))
    said = class_name(explanation, found.predicted)
    other = f"{class_name(explanation, found.expected)} ({percent(float(found.probabilities[found.expected]))})"
    if question.target is None:
        told = [Finding("note", f"The network says {said} ({share}); the class it is set against is {other}.")]
    elif question.target == found.predicted:
        told = [Finding("good", f"The network says {said} ({share}), as expected; the class it is set against is {other}.")]
    else:
        told = [Finding("bad", f"The network says {said} ({share}), but {other} was expected.")]
    if explanation.checkpoint.provenance.format == "untrained":
        told.append(Finding("note", "Random weights: nothing has been learned, and every map below is noise."))
    if explanation.removal is not None:
        weak = no_better(explanation.removal)
        told.append(Finding("warn" if weak else "note", removed(explanation) + (" That is no less than chance: the order of this map tells little here." if weak else "")))
    flat = [method_said(explanation, method) for (method, index), one in found.maps.items() if index == found.predicted and not bool(one.values.any())]
    if flat:
        told.append(Finding("warn", f"Flat, zero everywhere, for the predicted class: {', '.join(flat)}. Such a map says nothing about the picture."))
    return told
