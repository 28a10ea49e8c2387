"""Findings in words: what a class is known by, where, and what carrying it to other pictures does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vgg_viz.number_text import counted, percent
from vgg_viz.records import Finding
from vgg_viz.shortcuts.findings import Audit, Found
from vgg_viz.shortcuts.intervention import Verdict
from vgg_viz.shortcuts.region_text import as_json as region_as_json
from vgg_viz.shortcuts.region_text import place_of
from vgg_viz.shortcuts.sampling import FEWEST
from vgg_viz.shortcuts.search import Suspect


def sentence(found: Found, classes: Sequence[str], side: int) -> str:
    """One finding with its numbers."""
    name, verdict, place = classes[found.wanted], found.verdict, place_of(found.region, side)
    start = f"Class {name}: "
    if found.mass is not None:
        start += f"{percent(found.mass[0])} of the evidence lies in {place} ({percent(found.mass[1])} there for other classes); carrying it"
    else:
        start += f"carrying {place}"
    odds = f"{verdict.odds:+.1f} logits"
    lost = "without them" if found.region.kind == "colour" else "without it"
    return (
        f"{start} onto pictures of other classes turns {percent(verdict.turned)} of them into {name} ({percent(verdict.control)} "
        "when the same "
        f"comes from other classes), {odds}; {lost} the network still knows {percent(found.recall[1])} of {name} instead of "
        f"{percent(found.recall[0])}.{_rightful(found, name)}"
    )


def _rightful(found: Found, name: str) -> str:
    """What a reader must judge: colours and backgrounds may belong to a class in the world as well."""
    if found.region.kind == "colour":
        return f" Whether that is a shortcut depends on whether {name} has these colours in the world, too."
    if found.region.kind == "background":
        return (
            f" Whether that is a shortcut depends on whether {name} is found before such backgrounds in the world, too."
        )
    return ""


def told(seen: Audit, classes: Sequence[str]) -> list[Finding]:
    """The verdict of the page: every finding, or that there is none, and what was not searched."""
    side = seen.batch.images.shape[-1]
    # Colours and backgrounds may belong to their class: a reader must judge, so they are worth a look and no problem yet.
    grave = [one.verdict.effect >= 0.1 and one.region.kind in ("patch", "border") for one in seen.findings]
    found = [
        Finding("bad" if bad else "warn", sentence(one, classes, side))
        for one, bad in zip(seen.findings, grave, strict=True)
    ]
    if not seen.suspects:
        return [untested(seen)]
    if not found:
        tried = (
            f"{counted(len(seen.tried), 'suspect')} of the search {'was' if len(seen.tried) == 1 else 'were'} tried"
            if seen.tried
            else "nothing stood out in the search"
        )
        found = [
            Finding(
                "note",
                f"No shortcut was found: {tried}, and no place, border, background or colour alone turns other pictures into a class on these {len(seen.labels):,} pictures. "
                "Pictures without a mark cannot show that it is used: audit those that the network was trained on as well.",
            )
        ]
    if seen.leanings:
        leaning = [
            f"{classes[one.wanted]} by {place_of(one.region, side)} ({verdict.odds:+.1f} logits)"
            for one, verdict in seen.leanings
        ]
        found.append(
            Finding(
                "note",
                f"Leanings, no shortcuts: {'; '.join(leaning[:5])}{'; ...' if len(leaning) > 5 else ''}. Carried onto other pictures they move the log-odds beyond chance, "
                "and hardly change an answer.",
            )
        )
    if seen.too_few:
        names = ", ".join(classes[i] for i in seen.too_few[:5]) + (", ..." if len(seen.too_few) > 5 else "")
        found.append(
            Finding(
                "note",
                f"{counted(len(seen.too_few), 'class', 'classes')} had too few pictures to be searched: {names}.",
            )
        )
    return found


def untested(seen: Audit) -> Finding:
    """What is to be said where no class could be searched."""
    counts = [int((seen.labels == label).sum()) for label in seen.too_few]
    shown = len(set(seen.labels.tolist()))
    why = (
        "they show one class only"
        if shown < 2
        else f"the fullest class that was asked for has {counted(max(counts, default=0), 'picture')}"
    )
    return Finding(
        "warn",
        f"Nothing was tested: a trial needs two classes and at least {FEWEST} pictures of the one that is searched, and {why}. Below is what fewer can show: where the evidence "
        "lies, and which pictures to look at first. No shortcut was found, and none was ruled out; give more pictures with --data or --limit.",
    )


def as_json(found: Found, seen: Audit, classes: Sequence[str]) -> dict[str, Any]:
    """A finding as `--json` gives it."""
    verdict = found.verdict
    return {
        **region_as_json(found.region),
        "class": classes[found.wanted],
        "index": found.wanted,
        "effect": verdict.effect,
        "interval": list(verdict.interval),
        "turned": verdict.turned,
        "control": verdict.control,
        "elsewhere": found.elsewhere,
        "log_odds": verdict.odds,
        "p": found.adjusted,
        "mass": found.mass[0] if found.mass else None,
        "mass_of_others": found.mass[1] if found.mass else None,
        "recall": found.recall[0],
        "recall_without": found.recall[1],
        "donors": verdict.donors[0],
        "controls": verdict.donors[1],
        "recipients": verdict.recipients,
        "images": [seen.batch.names[i] for i in found.places],
        "sentence": sentence(found, classes, seen.batch.images.shape[-1]),
    }


def leaning_as_json(suspect: Suspect, verdict: Verdict, classes: Sequence[str]) -> dict[str, Any]:
    """A leaning as `--json` gives it."""
    return {
        **region_as_json(suspect.region),
        "class": classes[suspect.wanted],
        "index": suspect.wanted,
        "effect": verdict.effect,
        "interval": list(verdict.interval),
        "log_odds": verdict.odds,
    }
