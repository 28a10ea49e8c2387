"""Which of the two is better, how sure that is, and what they are: the head of the page and its first table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vgg_viz.gallery.sections import section
from vgg_viz.gallery.texts import Texts
from vgg_viz.maths.metrics import calibration, mcnemar_exact, paired_interval, wilson_interval
from vgg_viz.number_text import percent
from vgg_viz.records import Column, Exhibit, Finding, Table
from vgg_viz.studies.inputs import describe_origin
from vgg_viz.studies.pair import Network, Pair

TEXTS = Texts(__name__)
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
        """Pictures that both answered."""
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
        """95 % interval of the difference, [-1, 1]."""
        return paired_interval(self.both, self.only_a, self.only_b, self.neither)

    @property
    def p(self) -> float:
        """How often two equally good networks would split at least this unevenly: McNemar's exact test, two-sided."""
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
            return TEXTS.say("chance.some", cases=min(round(p * rounds), rounds), rounds=rounds)
    return TEXTS.say("chance.hardly_any")


def signed(points: float) -> str:
    """A difference in percentage points with its sign: "+1.9", "−35.2"."""
    return f"{points:+.1f}".replace("-", "−")


def headline(pair: Pair) -> list[Finding]:
    """The verdict in its first line, then what it rests on, then what makes it no fair comparison."""
    random = [network.letter for network in (pair.a, pair.b) if network.checkpoint.provenance.format == "untrained"]
    return [*_verdict(pair), *([Finding("warn", TEXTS.say("findings.random", letters=random))] if random else [])]


def _verdict(pair: Pair) -> list[Finding]:
    counts = score(pair)
    same = []
    if pair.same_file:
        same = [Finding("note", TEXTS.say("findings.same_file", sha256=pair.a.source.sha256))]
    if reason := pair.lacks.get("scores"):
        return [*same, Finding("note", TEXTS.say("findings.no_classifier", reason=reason))]
    if counts is None:
        return [*same, Finding("note", TEXTS.say("findings.unlabelled"))]
    if pair.same_file:
        text = TEXTS.say("findings.same_accuracy", share=counts.accuracies[0], pictures=counts.n)
        return [*same, Finding("note", text)]
    better = "" if counts.p >= SURE else "B" if counts.difference > 0 else "A"
    low, high = counts.interval
    verdict = TEXTS.say(
        "findings.better",
        better=better,
        pictures=counts.n,
        share_a=counts.accuracies[0],
        share_b=counts.accuracies[1],
        difference=signed(100 * counts.difference),
        low=signed(100 * low),
        high=signed(100 * high),
    )
    split = TEXTS.say("findings.split", only_a=counts.only_a, only_b=counts.only_b, chance=by_chance(counts.p))
    return [Finding("good" if better == "B" else "warn" if better else "note", verdict), Finding("note", split)]


def facts(pair: Pair) -> tuple[tuple[str, str], ...]:
    """Short facts for the head of the page and for the index; the columns of other galleries where they hold for both."""
    titles = dict.fromkeys((pair.a.title, pair.b.title))
    classes = [("Classes", f"{len(pair.classes):,}")] if pair.classes else []
    return (("Network", "; ".join(titles)), *classes)


@section("sides", study="comparison", order=10)
def side_by_side(pair: Pair) -> Iterator[Exhibit]:
    """Everything that the two are, in two columns."""
    counts = score(pair)
    rows = [
        (name, of_a, of_b) for (name, of_a), (_, of_b) in zip(_facts(pair, pair.a), _facts(pair, pair.b), strict=True)
    ]
    text = TEXTS.exhibit(
        "facts",
        classes=len(pair.classes),
        only_a=len(pair.a.checkpoint.classes) - len(pair.classes),
        only_b=len(pair.b.checkpoint.classes) - len(pair.classes),
        side_a=pair.a.side,
        side_b=pair.b.side,
        differ=[name for name, of_a, of_b in rows if of_a != of_b],
        rows=len(rows),
        name_a=pair.a.name,
        name_b=pair.b.name,
    )
    yield Exhibit(
        "compare-facts",
        text.title,
        text.caption,
        text.alt,
        table=Table((Column("what"), Column(f"A: {pair.a.name}"), Column(f"B: {pair.b.name}")), tuple(rows)),
        numbers={
            "a": _numbers(pair, pair.a),
            "b": _numbers(pair, pair.b),
            "shared_classes": pair.classes,
            "same_file": pair.same_file,
            "measured_on": describe_origin(pair.labelled.origin) if pair.labelled else None,
            "answers": None if counts is None else _counted_answers(counts),
        },
    )


def _counted_answers(counts: Score) -> dict[str, Any]:
    return {
        "n": counts.n,
        "both_right": counts.both,
        "only_a_right": counts.only_a,
        "only_b_right": counts.only_b,
        "neither_right": counts.neither,
        "difference": counts.difference,
        "interval": counts.interval,
        "mcnemar_p": counts.p,
    }


def _facts(pair: Pair, net: Network) -> Iterator[tuple[str, str]]:
    numbers = _numbers(pair, net)
    yield "network", net.title
    yield "input side", f"{net.side} px, {'RGB' if net.checkpoint.architecture.in_channels == 3 else 'grey'}"
    yield "classes", f"{len(net.checkpoint.classes):,}" if net.checkpoint.classes else "no classifier"
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
    numbers: dict[str, Any] = {
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
        numbers |= {
            "accuracy": right / len(answers.labels),
            "interval": wilson_interval(right, len(answers.labels)),
            "calibration_error": calibration(answers.confidence, answers.correct, by="width").error,
            "confidence": float(answers.confidence.mean()),
        }
    return numbers


def _trained_on(net: Network) -> str:
    data = net.checkpoint.provenance.data
    known = {key: value for key, value in data.items() if isinstance(value, str | int | float)}
    return ", ".join(f"{key} {value}" for key, value in known.items()) or "not in the file"
