"""Which of the two is better, how sure that is, and what they are: the head of the page and its first table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vgg_viz.gallery.sections import section
from vgg_viz.maths.metrics import calibration, mcnemar_exact, paired_interval, wilson_interval
from vgg_viz.number_text import counted, percent
from vgg_viz.records import Caption, Column, Exhibit, Finding, Table
from vgg_viz.studies.inputs import phrase
from vgg_viz.studies.pair import Network, Pair

SURE = 0.05  # a disagreement that chance alone makes more rarely than this counts as a difference


@dataclass(frozen=True, slots=True)
class Score:
    """How the two answered the same n pictures: right in both, only in A, only in B, in neither; p by McNemar's exact test."""

    both: int
    only_a: int
    only_b: int
    neither: int

    @property
    def n(self) -> int:
        return self.both + self.only_a + self.only_b + self.neither

    @property
    def accuracies(self) -> tuple[float, float]:
        """Of A and of B, [0, 1]."""
        return (self.both + self.only_a) / self.n, (self.both + self.only_b) / self.n

    @property
    def difference(self) -> float:
        """Accuracy of B minus that of A, [-1, 1]."""
        return (self.only_b - self.only_a) / self.n

    @property
    def interval(self) -> tuple[float, float]:
        return paired_interval(self.both, self.only_a, self.only_b, self.neither)

    @property
    def p(self) -> float:
        return mcnemar_exact(self.only_a, self.only_b)


def score(pair: Pair) -> Score | None:
    """The four counts; None without labelled pictures."""
    if pair.answers is None:
        return None
    a, b = pair.answers
    return Score(
        int((a.correct & b.correct).sum()),
        int((a.correct & ~b.correct).sum()),
        int((~a.correct & b.correct).sum()),
        int((~a.correct & ~b.correct).sum()),
    )


def by_chance(p: float) -> str:
    """A probability as a frequency in words."""
    for rounds in (10, 100, 1000, 10_000, 100_000, 1_000_000):
        if p * rounds >= 1:
            return f"in {min(round(p * rounds), rounds):,} of {rounds:,} cases"
    return "in fewer than 1 of 1,000,000 cases"


def signed(points: float) -> str:
    """A difference in percentage points with its sign: "+1.9", "−35.2"."""
    return f"{points:+.1f}".replace("-", "−")


def headline(pair: Pair) -> list[Finding]:
    """The verdict in its first line, then what it rests on, then what makes it no fair fight."""
    random = [net.letter for net in (pair.a, pair.b) if net.checkpoint.provenance.format == "untrained"]
    said = (
        "have random weights: nothing has been learned, and their maps are noise."
        if len(random) > 1
        else ("has random weights: nothing has been learned, and its maps are noise.")
    )
    return [*_verdict(pair), *([Finding("warn", f"{' and '.join(random)} {said}")] if random else [])]


def _verdict(pair: Pair) -> list[Finding]:
    found = score(pair)
    same = []
    if pair.same_file:
        same = [
            Finding(
                "note",
                f"A and B are the same file (SHA-256 {pair.a.source.sha256[:12]}…): every difference on this page is zero.",
            )
        ]
    if found is None:
        return [
            *same,
            Finding(
                "note",
                "No labelled pictures were given, so nobody can say which of the two is better (add --data DIR).",
            ),
        ]
    if pair.same_file:
        return [
            *same,
            Finding(
                "note", f"It is right on {percent(found.accuracies[0], decimals=1)} of {counted(found.n, 'picture')}."
            ),
        ]
    low, high = (signed(100 * end) for end in found.interval)
    shares = [100 * share for share in found.accuracies]
    unsure = found.p >= SURE
    level = "note" if unsure else "good" if found.difference > 0 else "warn"
    better = "B is better" if found.difference > 0 else "A is better"
    start = "Neither is shown to be better" if unsure else better
    return [
        Finding(
            level,  # type: ignore[arg-type]
            f"{start}: of the same {counted(found.n, 'picture')}, A is right on {shares[0]:.1f} % and B on {shares[1]:.1f} %, a difference of "
            f"{signed(100 * found.difference)} percentage points (95 % interval {low} to {high}).",
        ),
        Finding(
            "note",
            f"B is right on {counted(found.only_b, 'picture')} that A gets wrong, and wrong on {counted(found.only_a, 'picture')} that A gets right; "
            + (
                "they never differ in being right."
                if not found.only_a + found.only_b
                else f"were both equally good, a split at least this uneven would come by chance {by_chance(found.p)}."
            ),
        ),
    ]


def facts(pair: Pair) -> tuple[tuple[str, str], ...]:
    """Short facts for the head of the page and for the index; the columns of other galleries where they hold for both."""
    one, other = pair.a.title, pair.b.title
    return (("Network", one if one == other else f"{one}; {other}"), ("Classes", f"{len(pair.classes):,}"))


@section(
    "sides",
    study="comparison",
    title="Side by side",
    order=10,
    lead="What the two networks are, before any of their answers.",
)
def side_by_side(pair: Pair) -> Iterator[Exhibit]:
    """Everything that the two are, in two columns."""
    found = score(pair)
    rows = [
        (name, one, other) for (name, one), (_, other) in zip(_facts(pair, pair.a), _facts(pair, pair.b), strict=True)
    ]
    differ = [name for name, one, other in rows if one != other]
    left = [
        f"{len(net.checkpoint.classes) - len(pair.classes):,} of {net.letter}"
        for net in (pair.a, pair.b)
        if len(net.checkpoint.classes) > len(pair.classes)
    ]
    shared = (
        f"Both know the same {len(pair.classes):,} classes."
        if not left
        else f"They are compared on the {len(pair.classes):,} classes that both know; among these alone each is asked to choose, and {' and '.join(left)} stay out."
    )
    views = (
        f"Both read pictures of {pair.a.side} px."
        if pair.a.side == pair.b.side
        else f"Both see the same pictures, each resized to its own side as in its own evaluation: {pair.a.side} px for A, {pair.b.side} px for B."
    )
    yield Exhibit(
        "compare-facts",
        "The two side by side",
        Caption(
            see=f"What the files say about themselves, what follows from their layers by arithmetic, and what was measured here. {shared} {views}",
            read=(f"They differ in {', '.join(differ)}." if differ else "They agree in everything that is listed.")
            + " A network with more parameters or multiply-adds has to earn them in accuracy.",
            cannot="Two networks that were trained on different pictures, or for a different time, differ in more than their architecture: no row of this "
            "table says which of the differences made the accuracy.",
        ),
        alt=f"Table of {len(rows)} facts about A ({pair.a.name}) and B ({pair.b.name}); they differ in {counted(len(differ), 'row')}.",
        table=Table((Column("what"), Column(f"A: {pair.a.name}"), Column(f"B: {pair.b.name}")), tuple(rows)),
        numbers={
            "a": _numbers(pair, pair.a),
            "b": _numbers(pair, pair.b),
            "shared_classes": pair.classes,
            "same_file": pair.same_file,
            "measured_on": phrase(pair.labelled.origin) if pair.labelled else None,
            "answers": None
            if found is None
            else {
                "n": found.n,
                "both_right": found.both,
                "only_a_right": found.only_a,
                "only_b_right": found.only_b,
                "neither_right": found.neither,
                "difference": found.difference,
                "interval": found.interval,
                "mcnemar_p": found.p,
            },
        },
    )


def _facts(pair: Pair, net: Network) -> Iterator[tuple[str, str]]:
    numbers = _numbers(pair, net)
    yield "network", net.title
    yield "input side", f"{net.side} px, {'RGB' if net.checkpoint.architecture.in_channels == 3 else 'grey'}"
    yield "classes", f"{len(net.checkpoint.classes):,}"
    yield "parameters", f"{net.parameters:,}"
    yield "multiply-adds for a picture", f"{net.macs / 1e6:,.1f} M"
    yield (
        "last convolution",
        f"{numbers['last_convolution']}, a field of {numbers['receptive_field']} px"
        if numbers["receptive_field"]
        else "–",
    )
    if pair.answers is not None:
        low, high = numbers["interval"]
        yield "accuracy", f"{percent(numbers['accuracy'], decimals=1)} ({100 * low:.1f} to {100 * high:.1f} %)"
        yield "calibration error", f"{100 * numbers['calibration_error']:.1f} percentage points"
        yield "mean confidence", percent(numbers["confidence"], decimals=1)
    yield "epochs in its history", f"{len(net.checkpoint.history):,}" if net.checkpoint.history else "not in the file"
    yield "trained on", _trained_on(net)
    yield "format", net.checkpoint.provenance.format
    yield "SHA-256", f"{net.source.sha256[:16]}…" if net.source.sha256 else "not a file"


def _numbers(pair: Pair, net: Network) -> dict[str, Any]:
    last = [row for row in net.rows if row.kind == "conv"][-1]
    found: dict[str, Any] = {
        "name": net.name,
        "network": net.title,
        "input_side": net.side,
        "classes": len(net.checkpoint.classes),
        "parameters": net.parameters,
        "macs": net.macs,
        "last_convolution": last.name,
        "receptive_field": last.field.size if last.field else None,
        "sha256": net.source.sha256,
    }
    if pair.answers is not None:
        answers = pair.answers[0 if net is pair.a else 1]
        right = int(answers.correct.sum())
        found |= {
            "accuracy": right / len(answers.labels),
            "interval": wilson_interval(right, len(answers.labels)),
            "calibration_error": calibration(answers.confidence, answers.correct, by="width").error,
            "confidence": float(answers.confidence.mean()),
        }
    return found


def _trained_on(net: Network) -> str:
    data = net.checkpoint.provenance.data
    told = {key: value for key, value in data.items() if isinstance(value, str | int | float)}
    return ", ".join(f"{key} {value}" for key, value in told.items()) or "not in the file"
