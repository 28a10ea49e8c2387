"""The first screen of a report: classes worst first, a mistake beside a right answer with their maps, next steps, how sure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from vgg_viz.attribution import attribute, methods
from vgg_viz.attribution.layers import after_activation, choose_layer
from vgg_viz.attribution.single_pass import SHARED
from vgg_viz.gallery.opening import Bar, Bars, Level, Look, Opening
from vgg_viz.gallery.texts import Texts
from vgg_viz.maths.heatmaps import Scale, attribution_scale, painted
from vgg_viz.maths.judgement import ClassRow, Judgement
from vgg_viz.maths.map_facts import edge_share, half_area
from vgg_viz.maths.metrics import mass_inside
from vgg_viz.models.geometry import fields_of
from vgg_viz.models.outputs import has_scores
from vgg_viz.number_text import percent
from vgg_viz.records import Attribution, Batch, Finding
from vgg_viz.sections.report.shots import map_shot, picture_shot
from vgg_viz.studies.alarms import ALARM
from vgg_viz.studies.answers import select_images
from vgg_viz.studies.faithfulness import TESTED
from vgg_viz.studies.judging import Verdict, judged
from vgg_viz.studies.next_steps import CommandWords, Situation, next_steps, picture_file
from vgg_viz.studies.subject import Subject

TEXTS = Texts(__name__)
ROWS, LINES, SURE = 5, 3, 4
MADE = "chapter-made"
FINE = 100  # pictures a class from which a tenth of a per cent is told
USUAL = "grad_cam"  # where no test says which method to take
OWN_PLACE = (
    "few",
    "class",
    "weakest",
    "accuracy",
    "confidence",
    "copies",
    "split",
    "untested",
    "maps",
    "confusion",
)  # told by rows, or by "how sure"
MUCH_WEAKER = 0.25  # of two maps on one scale: the other then hardly shows
MANY_AT_EDGE = (
    0.5  # of a map in the outer rows of its cells: worth a word where that is half as much again as their share
)


def opening(subject: Subject, findings: Sequence[Finding], words: CommandWords) -> Opening:
    """The first screen below its box.

    Args:
        subject: Whose sections are made: what they found out of the methods is read here, not asked again.
        findings: Of the page, the leading one first.
        words: Of this run.
    """
    verdict = judged(subject)
    about = FirstMaps.of(subject)
    labelled = subject.answers is not None or subject.target_logits is not None
    mistake = _mistake_file(subject, words)
    steps = next_steps(Situation(words, subject.checkpoint, findings, labelled, mistake))
    # What the pictures say of how the network was read has no figure: "How this was made" holds it.
    others = [one for one in findings[1:] if one.key not in OWN_PLACE and one.key != ALARM]
    shown = [one if one.anchor else replace(one, anchor=MADE) for one in others]
    return Opening(
        bars=_recalls(verdict) if verdict is not None else _favourites(subject),
        looks_title=TEXTS.say("titles.looks"),
        method=about.said() if about else "",
        looks=_looks(subject, about) if about else (),
        steps_title=TEXTS.say("titles.steps"),
        steps=steps,
        sure_title=TEXTS.say("titles.sure"),
        sure=tuple(_sure(subject, verdict)),
        lines=tuple(shown[:LINES]),
    )


# ---------------------------------------------------------------- classes


def _recalls(verdict: Verdict) -> Bars:
    """Recall of each class with its interval, the worst first."""
    judgement = verdict.judgement
    levels = _levels(judgement)
    known = [row for row in judgement.rows if row.recall is not None]
    left, without = known[ROWS:], len(judgement.rows) - len(known)
    shares = [row.recall for row in left if row.recall is not None]
    totals = {row.n for row in known}
    return Bars(
        TEXTS.say("titles.classes"),
        tuple(_recall(row, levels.get(row.name, ""), fine=min(totals, default=0) >= FINE) for row in known[:ROWS]),
        TEXTS.say(
            "classes.rest", more=len(left), low=min(shares, default=0.0), high=max(shares, default=0.0), without=without
        ),
        judgement.base,
        TEXTS.say("classes.key", base=judgement.base, each=totals.pop() if len(totals) == 1 else None),
    )


def _levels(judgement: Judgement) -> dict[str, Level]:
    """Of the classes that are told of: "bad" and "warn" where they fail or are much weaker, "note" where weaker."""
    levels: dict[str, Level] = {}
    for found in judgement.findings:
        rows = (
            found.evidence["rows"]
            if found.key == "class"
            else [found.evidence["row"]]
            if found.key == "weakest"
            else []
        )
        for row in rows:
            levels.setdefault(row.name, found.level)
    return levels


def _recall(row: ClassRow, level: Level | Literal[""], *, fine: bool) -> Bar:
    recall = row.recall or 0.0
    alt = TEXTS.say("classes.alt", name=row.name, right=row.right, n=row.n, low=row.low, high=row.high)
    more = TEXTS.say("classes.missed", went_to=row.went_to)
    return Bar(row.name, level, recall, row.low, row.high, percent(recall, decimals=int(fine)), more, alt)


def _favourites(subject: Subject) -> Bars | None:
    """What is predicted most, where nobody knows what is right; None where nothing is chosen, or there are no pictures."""
    seen = subject.inspected
    if seen is None or subject.noun != "class" or not has_scores(subject.checkpoint.architecture):
        return None
    mean, pictures = seen.shown.mean(0), len(seen.batch)
    order = mean.argsort(descending=True, stable=True)[:ROWS].tolist()
    rows = []
    for at in order:
        share, first, name = float(mean[at]), int((seen.predicted == at).sum()), subject.classes[at]
        more = TEXTS.say("favourites.first", first=first, pictures=pictures)
        rows.append(
            Bar(
                name, "", share, share, share, percent(share), more, TEXTS.say("favourites.alt", name=name, share=share)
            )
        )
    base = 1 / len(subject.classes)
    return Bars(
        TEXTS.say("titles.favourites"),
        tuple(rows),
        TEXTS.say("favourites.rest", more=len(subject.classes) - len(rows)),
        base,
        TEXTS.say("favourites.key", pictures=pictures, base=base),
    )


# ---------------------------------------------------------------- maps


@dataclass(frozen=True, slots=True)
class FirstMaps:
    """Which method looks where, and what its tests said: "" where there were none."""

    method: str
    layer: str
    verdict: str

    @classmethod
    def of(cls, subject: Subject) -> FirstMaps | None:
        """The layered method that did best in the tests; None where there is no picture, or nothing to be about."""
        if subject.inspected is None or not has_scores(subject.checkpoint.architecture):
            return None
        usual = choose_layer(subject.geometry, subject.inspected.batch.images.shape[-1])
        layer = after_activation(subject.geometry, usual.name)
        # The results are ranked; only methods of one pass, which cost a first screen nothing.
        tested = (one for one in subject.made.get(TESTED, ()) if one.method in SHARED and methods()[one.method].layered)
        best = next(tested, None)
        if best is None:
            return cls(USUAL, layer, "")
        return cls(best.method, layer, best.verdict)

    def said(self) -> str:
        """The method, its layer, and its verdict."""
        return TEXTS.say("looks.method", method=methods()[self.method].title, layer=self.layer, verdict=self.verdict)


def _looks(subject: Subject, about: FirstMaps) -> tuple[Look, ...]:
    """The mistake with the maps of both classes, and a right answer; else one picture with the map of what was predicted."""
    answers = subject.answers
    if answers is None:
        seen = subject.inspected
        if seen is None or not len(seen.batch):
            return ()
        batch, predicted = select_images(seen.batch, [0]), seen.predicted[:1]
        title = TEXTS.say(
            "looks.unlabelled",
            predicted=subject.classes[int(predicted[0])],
            value=float(seen.shown[0].max()),
            outputs=subject.outputs,
        )
        return (_look(subject, about, batch, [int(predicted[0])], title),)
    found = []
    for at in subject.told:
        label, predicted_class = int(answers.labels[at]), int(answers.predicted[at])
        right = label == predicted_class
        title = TEXTS.say(
            "looks.labelled",
            label=subject.classes[label],
            predicted=subject.classes[predicted_class],
            value=float(answers.confidence[at]),
            right=right,
        )
        classes = [predicted_class] if right else [predicted_class, label]
        found.append(_look(subject, about, select_images(answers.batch, [at]), classes, title))
    return tuple(found)


def _look(subject: Subject, about: FirstMaps, batch: Batch, classes: list[int], title: str) -> Look:
    """One picture, and its map for each of the classes on one scale: the predicted one, then the true one of a mistake."""
    again = select_images(batch, [0] * len(classes)).images.to(subject.device)
    target = torch.tensor(classes, device=subject.device)
    maps = attribute(subject.model, again, method=about.method, target=target, layer=about.layer)
    fields = fields_of(subject.geometry)
    placed = painted(maps.values.detach().float().cpu(), maps.layer, fields, batch.images.shape[-2:])
    scale = attribution_scale(placed, maps, over="this picture")
    mask = batch.masks[0] if batch.masks is not None and bool(batch.known[0]) else None
    names = [subject.classes[index] for index in classes]
    shots = [picture_shot(batch.images[0], TEXTS.say("shots.picture"), batch.names[0])]
    for n, name in enumerate(names):
        under = TEXTS.say("shots.map", name=name, true_class=n == 1)
        alt = TEXTS.say("shots.alt", name=name, half=half_area(placed[n]))
        shots.append(map_shot(batch.images[0], placed[n], scale, mask, (under, alt)))
    return Look(
        None if batch.labels is None else len(classes) == 1,
        title,
        tuple(shots),
        _end(scale.low, scale),
        _end(scale.high, scale),
        scale.signed,
        TEXTS.say("looks.clipped", clipped=scale.clipped, several=len(classes) > 1),
        _sentence(names, placed, maps, mask),
    )


def _end(value: float, scale: Scale) -> str:
    return f"{value:.2g} {scale.unit}".replace("-", "−") if value else "0"


def _sentence(names: Sequence[str], placed: Tensor, maps: Attribution, mask: Tensor | None) -> str:
    """What was measured of the maps: beside the object where its place is known, else how they spread."""
    if mask is not None:
        inside = mass_inside(placed, mask[None].expand(len(placed), -1, -1)).tolist()
        area = float(mask.float().mean())
        return TEXTS.say("looks.masked", names=list(names), inside=inside, area=area)
    halves = [half_area(one) for one in placed]
    edges = [edge_share(one) for one in maps.values.detach().float().cpu()] if maps.layer else []
    at_edge = [
        (name, share)
        for name, (share, cells) in zip(names, edges, strict=False)
        if share > max(MANY_AT_EDGE, 1.5 * cells)
    ]
    peaks = [float(one.max()) for one in placed]
    least = min(range(len(peaks)), key=peaks.__getitem__)
    share = peaks[least] / max(peaks) if max(peaks) > 0 else 1.0
    weak = (least, share) if 0 < share < MUCH_WEAKER else None
    return TEXTS.say("looks.spread", names=list(names), halves=halves, weak=weak, at_edge=at_edge)


def _mistake_file(subject: Subject, words: CommandWords) -> tuple[str, str, str] | None:
    """(its file as --data names it, true class, predicted class) of the most telling mistake."""
    answers = subject.answers
    if answers is None or not subject.told or bool(answers.correct[subject.told[0]]):
        return None
    at = subject.told[0]
    names = subject.checkpoint.classes
    return (
        picture_file(words.data, answers.batch.names[at]),
        names[int(answers.labels[at])],
        names[int(answers.predicted[at])],
    )


# ---------------------------------------------------------------- how sure


def _sure(subject: Subject, verdict: Verdict | None) -> list[Finding]:
    """Size of the sample, copies, confidence, maps and what nobody knows, as far as there is something to say."""
    found: list[Finding] = []
    if verdict is not None:
        found += _of_sample(verdict)
        found.append(_of_confidence(subject, verdict))
    tested = subject.made.get(TESTED, ())
    if tested:
        by = {
            word: [methods()[one.method].title for one in tested if one.verdict == word]
            for word in ("passes", "weak", "fails")
        }
        level: Level = "good" if by["passes"] else "warn"
        text = TEXTS.say("sure.maps_said", passes=by["passes"], weak=by["weak"], fails=by["fails"])
        found.append(Finding(level, TEXTS.say("sure.maps"), text))
    unknown = _unknown(subject, verdict)
    if len(found) == SURE and unknown:
        found.pop()  # of the maps, whose heading says it too
    if unknown:
        found.append(Finding("note", TEXTS.say("sure.unknown"), TEXTS.say("sure.unknown_said", what=unknown)))
    return found


def _of_sample(verdict: Verdict) -> list[Finding]:
    judgement, measured = verdict.judgement, verdict.measured
    keys = {finding.key: finding for finding in verdict.findings}
    each = min((row.n for row in judgement.rows if row.n), default=0)
    half = (judgement.high - judgement.low) / 2
    few = "few" in keys or each < 30
    text = TEXTS.say("sure.sample_said", n=judgement.n, each=each, half=half, held_out=bool(measured.held_out))
    found = [Finding("warn" if few else "good", TEXTS.say("sure.sample", few=few), text)]
    return [*found, *([keys["copies"]] if "copies" in keys else [])]


def _of_confidence(subject: Subject, verdict: Verdict) -> Finding:
    answers, kept = subject.answers, torch.tensor(verdict.kept)
    gap = verdict.measured.gap or 0.0
    right = verdict.judgement.right / verdict.judgement.n
    sure = wrong = 0
    if answers is not None:
        mistakes = ~answers.correct[kept]
        wrong, sure = int(mistakes.sum()), int((mistakes & (answers.confidence[kept] > 0.9)).sum())
    level: Level = next((one.level for one in verdict.findings if one.key == "confidence"), "good")
    text = TEXTS.say("sure.confidence_said", claims=right + gap, right=right, sure=sure, wrong=wrong)
    return Finding(level, TEXTS.say("sure.confidence", level=level, gap=gap), text)


def _unknown(subject: Subject, verdict: Verdict | None) -> list[str]:
    if verdict is None:
        return [TEXTS.say("unknown.right")] if has_scores(subject.checkpoint.architecture) else []
    keys = [finding.key for finding in verdict.findings]
    batch = subject.inputs.labelled
    what = [TEXTS.say("unknown.split")] if "split" in keys else []
    what += [TEXTS.say("unknown.shortcut")] if "untested" in keys else []
    what += [TEXTS.say("unknown.masks")] if batch is not None and not bool(batch.known.any()) else []
    return what
