"""From counts to findings: how good a classifier is, and where it is not; numbers and keys, no words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

from vgg_viz.maths.metrics import wilson_interval

Level = Literal["bad", "warn", "note", "good"]  # on pages: Problem, Worth a look, Note, Good
LEVELS: tuple[Level, ...] = ("bad", "warn", "note", "good")
# Within one level findings stand in this order; the accuracy leads where nothing is a problem.
ORDER = (
    "few",
    "class",
    "labels",
    "shortcut",
    "overfit",
    "chance",
    "confidence",
    "weakest",
    "copies",
    "split",
    "untested",
    "trace",
)
FEW_PICTURES, WIDE = 30, 0.30
JUDGED_FROM = 10  # pictures of a class
SMALL_CLASS = 0.02
MUCH_WEAKER = 0.15
TRAINED, GAP, SOME_GAP = 0.90, 0.20, 0.10
FAR_TOO_SURE, TOO_SURE = 0.15, 0.05
MANY_COPIES = 0.01
LARGE_LAYER = 10_000  # weights
EXACT = 1e-9  # shares that differ by less are equal: 0.92 - 0.82 is no more than 0.10


@dataclass(frozen=True, slots=True)
class Training:
    """Shares right in [0, 1]: in training (and whether without augmentation), and the best on validation."""

    right: float
    best_validation: float
    plain: bool


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known of one classifier on one set of pictures.

    Attributes:
        counts: [true class][predicted class], exact copies counted once.
        classes: K names.
        training: None where the file says nothing.
        gap: Mean confidence minus accuracy, -1 to 1; None where not measured.
        gap_noise: The gap that a calibrated network shows at this number of pictures.
        copies: Exact copies that `counts` leaves out.
        contradictory: Pictures that lie in two classes.
        held_out: None where it is not known whether the network was trained on these pictures.
        shortcut: True or False as an audit found; None where none was made.
        trace_weights: Weights of the largest layer with an exact trace; None without a trace.
    """

    counts: Sequence[Sequence[int]]
    classes: Sequence[str]
    training: Training | None = None
    gap: float | None = None
    gap_noise: float = 0.0
    copies: int = 0
    contradictory: int = 0
    held_out: bool | None = None
    shortcut: bool | None = None
    trace_weights: int | None = None


@dataclass(frozen=True, slots=True)
class ClassRow:
    """One class: recall and its interval at 1 - 0.05 / K, [0, 1], and where the missed went, the most frequent first."""

    name: str
    right: int
    n: int
    recall: float | None
    low: float
    high: float
    went_to: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Judged:
    """One finding: its level, its key, and its numbers by name."""

    level: Level
    key: str
    evidence: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Judgement:
    """Findings with the leading one first, classes with the lowest recall first; shares in [0, 1]."""

    findings: tuple[Judged, ...]
    rows: tuple[ClassRow, ...]
    right: int
    n: int
    low: float
    high: float
    base: float


def judge(measured: Measured) -> Judgement:
    """The judgement of one classifier on labelled pictures.

    Raises:
        ValueError: If `counts` is not K x K, or holds no picture.
    """
    counts, size = measured.counts, len(measured.classes)
    if len(counts) != size or any(len(row) != size for row in counts):
        raise ValueError(f"counts must be {size} x {size}, one row and one column a class")
    totals = [sum(row) for row in counts]
    n, right = sum(totals), sum(counts[at][at] for at in range(size))
    if not n:
        raise ValueError("counts hold no picture")
    rows = _rows(measured)
    low, high = wilson_interval(right, n)
    base = max(1 / size, max(totals) / n)
    few = n < FEW_PICTURES or high - low > WIDE
    overall = {"right": right, "n": n, "share": right / n, "low": low, "high": high, "base": base}
    found = [Judged("warn", "few", overall)] if few else []
    found += [*_classes(rows, n), *_overfit(measured.training)]
    overfit = any(finding.key == "overfit" and finding.level == "bad" for finding in found)
    guessing = low <= base
    if guessing and not overfit and not few:  # of few pictures only that they are few is certain
        found.append(Judged("bad", "chance", overall))
    found += [*_confidence(measured), *_pictures(measured, n)]
    accuracy = []
    if not (few or guessing or any(finding.level == "bad" for finding in found)):
        accuracy = [Judged("good" if low >= (1 + base) / 2 else "warn", "accuracy", overall)]
    found.sort(key=lambda finding: (LEVELS.index(finding.level), ORDER.index(finding.key)))
    worst_first = sorted(rows, key=lambda row: (row.recall is None, row.recall or 0.0, -row.n))
    return Judgement((*accuracy, *found), tuple(worst_first), right, n, low, high, base)


def _rows(measured: Measured) -> list[ClassRow]:
    size = len(measured.classes)
    z = NormalDist().inv_cdf(1 - 0.05 / size / 2)
    rows = []
    for at, (name, row) in enumerate(zip(measured.classes, measured.counts, strict=True)):
        n = sum(row)
        missed = sorted(
            ((count, other) for other, count in enumerate(row) if other != at and count),
            key=lambda pair: (-pair[0], pair[1]),
        )
        went_to = tuple((measured.classes[other], count) for count, other in missed)
        rows.append(ClassRow(name, row[at], n, row[at] / n if n else None, *wilson_interval(row[at], n, z=z), went_to))
    return rows


def _classes(rows: Sequence[ClassRow], pictures: int) -> list[Judged]:
    """Classes that fail, in one finding a level; and each that is only weaker."""
    recalls = [row.recall for row in rows if row.recall is not None]
    failing: dict[Level, list[ClassRow]] = {"bad": [], "warn": []}
    weaker = []
    for row in rows:
        if row.recall is None or row.n < JUDGED_FROM or len(recalls) < 2:
            continue
        others = (sum(recalls) - row.recall) / (len(recalls) - 1)
        if row.high < others / 2 or row.high < 1 / len(rows):
            failing["bad" if not row.right or row.n >= SMALL_CLASS * pictures else "warn"].append(row)
        elif row.high < others:
            weaker.append(
                Judged("warn" if row.high < others - MUCH_WEAKER else "note", "weakest", {"row": row, "others": others})
            )
    found = [
        Judged(level, "class", {"rows": tuple(sorted(of, key=lambda row: row.recall or 0.0))})
        for level, of in failing.items()
        if of
    ]
    return found + weaker


def _overfit(training: Training | None) -> list[Judged]:
    if training is None or not training.plain:
        return []
    gap = training.right - training.best_validation
    if gap <= SOME_GAP + EXACT:
        return []
    level: Level = "bad" if training.right >= TRAINED and gap > GAP + EXACT else "warn"
    return [Judged(level, "overfit", {"training": training.right, "validation": training.best_validation})]


def _confidence(measured: Measured) -> list[Judged]:
    gap = measured.gap
    if gap is None or abs(gap) <= 2 * measured.gap_noise or abs(gap) < TOO_SURE - EXACT:
        return []
    level: Level = "note" if gap < 0 else "bad" if gap >= FAR_TOO_SURE - EXACT else "warn"
    return [Judged(level, "confidence", {"gap": gap, "noise": measured.gap_noise})]


def _pictures(measured: Measured, n: int) -> list[Judged]:
    found = []
    if measured.contradictory:
        found.append(Judged("bad", "labels", {"pictures": measured.contradictory}))
    if measured.copies >= MANY_COPIES * (n + measured.copies) and measured.copies:
        found.append(Judged("warn", "copies", {"copies": measured.copies, "different": n}))
    if measured.held_out is None:
        found.append(Judged("note", "split", {}))
    if measured.shortcut is None:
        found.append(Judged("note", "untested", {}))
    elif measured.shortcut:
        found.append(Judged("bad", "shortcut", {}))
    if measured.trace_weights is not None and measured.trace_weights >= LARGE_LAYER:
        found.append(Judged("warn", "trace", {"weights": measured.trace_weights}))
    return found
