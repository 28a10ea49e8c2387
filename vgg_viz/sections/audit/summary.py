"""Findings in words: what a class is known by, where, and what carrying it to other pictures does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from vgg_viz.gallery.texts import Texts
from vgg_viz.records import Finding
from vgg_viz.shortcuts.findings import Audit, ShortcutFinding
from vgg_viz.shortcuts.intervention import Verdict
from vgg_viz.shortcuts.region_text import place_of, region_as_json
from vgg_viz.shortcuts.sampling import FEWEST
from vgg_viz.shortcuts.search import SuspectRegion

TEXTS = Texts(__name__)
GRAVE = 0.1  # net share of answers that a patch or border must turn to be a problem


def sentence(finding: ShortcutFinding, classes: Sequence[str], side: int) -> str:
    """One finding with its numbers; of colours and backgrounds it says what a reader must judge."""
    return TEXTS.say(
        "findings.finding",
        name=classes[finding.wanted],
        place=place_of(finding.region, side),
        finding=finding,
        verdict=finding.verdict,
    )


def summary(audit: Audit, classes: Sequence[str]) -> list[Finding]:
    """The verdict of the page: every finding, or that there is none, and what was not searched."""
    if not audit.suspects:
        return [_untested(audit)]
    side = audit.batch.images.shape[-1]
    lines = [Finding(_level(finding), sentence(finding, classes, side)) for finding in audit.findings]
    if not lines:
        text = TEXTS.say("findings.none", tried=len(audit.tried), pictures=len(audit.labels))
        lines.append(Finding("note", text))
    if audit.leanings:
        leanings = [
            TEXTS.say(
                "findings.leaning",
                name=classes[suspect.wanted],
                place=place_of(suspect.region, side),
                odds=verdict.odds,
            )
            for suspect, verdict in audit.leanings
        ]
        lines.append(Finding("note", TEXTS.say("findings.leanings", leanings=leanings)))
    if audit.too_few:
        names = [classes[label] for label in audit.too_few]
        lines.append(Finding("note", TEXTS.say("findings.too_few", names=names)))
    return lines


def _level(finding: ShortcutFinding) -> Literal["bad", "warn"]:
    """Colours and backgrounds may belong to their class: a reader must judge, so they are worth a look and no problem yet."""
    return "bad" if finding.verdict.effect >= GRAVE and finding.region.kind in ("patch", "border") else "warn"


def _untested(audit: Audit) -> Finding:
    """What is to be said where no class could be searched."""
    counts = [int((audit.labels == label).sum()) for label in audit.too_few]
    text = TEXTS.say(
        "findings.untested", fewest=FEWEST, classes=len(set(audit.labels.tolist())), most=max(counts, default=0)
    )
    return Finding("warn", text)


def as_json(finding: ShortcutFinding, audit: Audit, classes: Sequence[str]) -> dict[str, Any]:
    """A finding as `--json` gives it."""
    verdict = finding.verdict
    return {
        **region_as_json(finding.region),
        "class": classes[finding.wanted],
        "index": finding.wanted,
        "effect": verdict.effect,
        "interval": list(verdict.interval),
        "turned": verdict.turned,
        "control": verdict.control,
        "elsewhere": finding.elsewhere,
        "log_odds": verdict.odds,
        "p": finding.adjusted,
        "mass": finding.mass[0] if finding.mass else None,
        "mass_of_others": finding.mass[1] if finding.mass else None,
        "recall": finding.recall[0],
        "recall_without": finding.recall[1],
        "donors": verdict.donors[0],
        "controls": verdict.donors[1],
        "recipients": verdict.recipients,
        "images": [audit.batch.names[i] for i in finding.places],
        "sentence": sentence(finding, classes, audit.batch.images.shape[-1]),
    }


def leaning_as_json(suspect: SuspectRegion, verdict: Verdict, classes: Sequence[str]) -> dict[str, Any]:
    """A leaning as `--json` gives it."""
    return {
        **region_as_json(suspect.region),
        "class": classes[suspect.wanted],
        "index": suspect.wanted,
        "effect": verdict.effect,
        "interval": list(verdict.interval),
        "log_odds": verdict.odds,
    }
