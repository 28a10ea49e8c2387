"""Faithfulness: which maps of a report to believe, by tests on this very checkpoint, with their numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from vgg_viz.attribution import methods
from vgg_viz.faithfulness.baseline_maps import CONTROLS
from vgg_viz.faithfulness.records import FaithfulnessResult
from vgg_viz.faithfulness.verdict import (
    COMPLETENESS,
    DISCRIMINATION,
    FEWEST,
    MASSES,
    NAMES,
    RANDOMISED,
    SENSITIVITY,
    Criterion,
    Measure,
)
from vgg_viz.figures.faithfulness import Check, CurvePanel, check_table, curve_panels
from vgg_viz.gallery.texts import Texts
from vgg_viz.number_text import counted
from vgg_viz.records import Column, Exhibit, Finding, Table
from vgg_viz.studies.faithfulness import ORDER

TEXTS = Texts(__name__)
BOXED = ("box", "both")  # criteria that are measured in boxes
LINES = 5  # methods in the figure of curves, as many as there are colours: the most credible, and the least


def finding(results: Sequence[FaithfulnessResult]) -> Finding:
    """Which maps of this report to believe first."""
    passing, weak, failing = _by_verdict(results)
    most = max((result.pictures for result in results), default=0)
    text = TEXTS.say(
        "findings.tested",
        methods=len(results),
        few=most <= FEWEST,
        pictures=most,
        passing=passing,
        weak=weak,
        failing=failing,
    )
    return Finding("note" if passing else "warn", text, key="maps")


def exhibits(results: Sequence[FaithfulnessResult]) -> Iterator[Exhibit]:
    """The trials at a glance with their numbers; the reasons in words; pictures taken apart, and a network losing its weights."""
    if results:
        yield _panel(results)
        yield _reasons(results)
        yield _curves(results)


# ---------------------------------------------------------------- at a glance


def _panel(results: Sequence[FaithfulnessResult]) -> Exhibit:
    passing, weak, failing = _by_verdict(results)
    columns = _asked(results)
    most, compared = max(result.pictures for result in results), max(result.compared for result in results)
    text = TEXTS.exhibit(
        "trials",
        methods=len(results),
        pictures=most,
        compared=compared,
        fewer=[_title(result) for result in results if 0 < result.compared < compared],
        never=[_title(result) for result in results if result.compared == 0],
        small=TEXTS.say("phrases.small", criteria=list(columns)),
        large=TEXTS.say("phrases.large", criteria=list(columns)),
        passed=TEXTS.say("phrases.passed", passing=passing, methods=len(results)),
        weak=weak,
        failing=failing,
        boxed=any(measure.criterion in BOXED for result in results for measure in result.measures),
    )
    return Exhibit(
        "attention-trials",
        text.title,
        text.caption,
        text.alt,
        figure=check_table(
            [_title(result) for result in results],
            [result.verdict for result in results],
            list(columns.values()),
            title=f"{counted(len(results), 'method')} on trial on this checkpoint",
        ),
        table=_table(results),
        numbers={result.method: _numbers(result) for result in results},
    )


def _asked(results: Sequence[FaithfulnessResult]) -> dict[Criterion, Check]:
    """The columns of the figure: those checks that some method was asked."""
    small: list[tuple[Criterion, str, str, tuple[float, float], tuple[float, float], list[float | None]]] = [
        ("completeness", "adds up", "share", COMPLETENESS, (0.0, 0.4), [result.completeness for result in results]),
        (
            "upper",
            "upper half random",
            "rank corr.",
            RANDOMISED,
            (0.0, 1.0),
            [result.randomised_upper for result in results],
        ),
        (
            "everything",
            "all weights random",
            "rank corr.",
            RANDOMISED,
            (0.0, 1.0),
            [result.randomised_all for result in results],
        ),
        (
            "discrimination",
            "other class",
            "rank corr.",
            DISCRIMINATION,
            (0.0, 1.0),
            [result.discrimination for result in results],
        ),
        ("sensitivity", "small noise", "share", SENSITIVITY, (0.0, 1.5), [result.sensitivity for result in results]),
    ]
    columns = {
        what: Check(
            title,
            unit,
            [_nan(value) for value in values],
            [_verdict(result, what) for result in results],
            span,
            limits=limits,
        )
        for what, title, unit, limits, span, values in small
        if any(value is not None for value in values)
    }
    for what in dict.fromkeys(measure.criterion for result in results for measure in result.measures):
        held = [_measure(result, what) for result in results]
        values = [math.nan if m is None else m.value for m in held]
        controls = {
            control: [math.nan if m is None else m.controls.get(control, math.nan) for m in held]
            for control in CONTROLS
        }
        # From nothing to everything where the score is a share; from as bad as it came to as good as can be where it has a sign.
        span = (0.0, 1.0) if what in MASSES else (-0.4, 1.0)
        columns[what] = Check(
            NAMES[what],
            held[0].unit if held[0] else "",
            values,
            [_verdict(result, what) for result in results],
            span,
            controls=controls,
            lows=[math.nan if m is None else m.interval[0] for m in held],
            highs=[math.nan if m is None else m.interval[1] for m in held],
        )
    return columns


def _table(results: Sequence[FaithfulnessResult]) -> Table:
    """The numbers behind the dots, under the same names: those checks that some method was asked."""
    asked = list(_asked(results).values())
    rows = [
        (_title(result), result.verdict, *(_rounded(column.values[row]) for column in asked))
        for row, result in enumerate(results)
    ]
    return Table(
        (Column("method"), Column("verdict"), *(Column(column.title, column.unit, True) for column in asked)),
        tuple(rows),
    )


def _reasons(results: Sequence[FaithfulnessResult]) -> Exhibit:
    """Every verdict in a sentence. Beside the numbers it would push them off the page."""
    pointed = any(result.pointing is not None for result in results)
    asked = {measure.criterion for result in results for measure in result.measures}
    boxed = not asked.isdisjoint(BOXED)
    place = "in the box" if "box" in asked else "on the object"
    beside = (
        *((Column(f"peak {place}", "%", True), Column("best overlap", "IoU", True)) if pointed else ()),
        *((Column("best box", "IoU", True),) if boxed else ()),
    )
    text = TEXTS.exhibit("verdicts", pointed=pointed, in_box="box" in asked, boxed=boxed, methods=len(results))
    return Exhibit(
        "attention-verdicts",
        text.title,
        text.caption,
        text.alt,
        table=Table(
            (Column("method"), Column("verdict"), Column("why"), Column("logit explained", "share", True), *beside),
            tuple(
                (
                    _title(result),
                    result.verdict,
                    result.reason,
                    _rounded(result.explained),
                    *(
                        (
                            _percent(result.pointing.hit_rate if result.pointing else None),
                            _rounded(result.pointing.iou if result.pointing else None),
                        )
                        if pointed
                        else ()
                    ),
                    *((_rounded(result.pointing.box_iou if result.pointing else None),) if boxed else ()),
                )
                for result in results
            ),
        ),
    )


def _numbers(result: FaithfulnessResult) -> dict[str, object]:
    return {
        "verdict": result.verdict,
        "reason": result.reason,
        "pictures": result.pictures,
        "compared": result.compared,
        "completeness": result.completeness,
        "explained": result.explained,
        "discrimination": result.discrimination,
        "randomised_top": result.randomised_top,
        "randomised_upper": result.randomised_upper,
        "randomised_all": result.randomised_all,
        "sensitivity": result.sensitivity,
        "checks": {check.name: check.verdict for check in result.checks},
        "measures": {
            m.name: {
                "value": _rounded(m.value),
                "interval": _interval(m.interval),
                "ahead_of": {name: _interval(ahead) for name, ahead in m.ahead.items()},
            }
            for m in result.measures
        },
        "pointing": None if result.pointing is None else _rounded(result.pointing.hit_rate),
        "iou": None if result.pointing is None else _rounded(result.pointing.iou),
        **(
            {}
            if result.pointing is None or math.isnan(result.pointing.box_iou)
            else {"box_iou": _rounded(result.pointing.box_iou)}
        ),
    }


# ---------------------------------------------------------------- curves


def _curves(results: Sequence[FaithfulnessResult]) -> Exhibit:
    shown = list(results) if len(results) <= LINES else [*results[: LINES - 1], results[-1]]
    controls = [name for name in CONTROLS if name != "blur-matched"]
    first = max(shown, key=lambda result: result.pictures)
    apart = {
        kind: {
            **{_title(result): result.curves[kind]["map"] for result in shown},
            **{name: first.curves[kind][name] for name in controls},
        }
        for kind in ("deletion", "insertion")
    }
    layers = [layer for layer, _ in max((result.cascade for result in results), key=len)]
    kept = {
        _title(result): [1.0, *(_nan(dict(result.cascade).get(layer)) for layer in layers)]
        for result in shown
        if result.cascade
    }
    gaps = {_title(result): m for result in shown if (m := _measure(result, "insertion"))}
    best = max(gaps, key=lambda name: gaps[name].value, default="")
    widest = (
        TEXTS.say("phrases.widest", method=best, gap=gaps[best].value, centre=gaps[best].controls["centre"])
        if best
        else ""
    )
    shares = first.shares
    share = {0.0: "0", 0.5: "50", 1.0: "100"} if 0.5 in shares else {value: f"{100 * value:.0f}" for value in shares}
    marks = [layers[round(i * (len(layers) - 1) / max(1, min(len(layers), 6) - 1))] for i in range(min(len(layers), 6))]
    panels = [
        CurvePanel("Marked places go", "of the picture gone [%]", shares, share, apart["deletion"]),
        CurvePanel("Marked places come back", "of the picture back [%]", shares, share, apart["insertion"]),
        CurvePanel(
            "The network forgets",
            "random from the top down to",
            range(len(layers) + 1),
            {0: "none", **{layers.index(name) + 1: name for name in marks}},
            kept,
        ),
    ]
    text = TEXTS.exhibit(
        "curves",
        best=LINES - 1 if len(shown) < len(results) else 0,
        shares=shares,
        widest=widest,
        forgotten=_forgotten(kept),
        lines=len(shown),
    )
    return Exhibit(
        "attention-curves",
        text.title,
        text.caption,
        text.alt,
        figure=curve_panels(
            panels,
            baselines=controls,
            height="probability, or rank correlation",
            title="Pictures taken apart, a network that forgets",
        ),
        numbers={
            "shares": shares,
            **{
                kind: {name: [_rounded(value) for value in line] for name, line in lines.items()}
                for kind, lines in apart.items()
            },
            "layers": layers,
            "rank_correlation": {name: [_rounded(value) for value in values[1:]] for name, values in kept.items()},
        },
    )


def _forgotten(kept: dict[str, list[float]]) -> str:
    """How alike maps stay when all weights are random, of the method that keeps most and the one that keeps least."""
    ends = {name: values[-1] for name, values in kept.items()}
    if len(ends) < 2:
        return ""
    most, least = (pick(ends, key=lambda name: ends[name]) for pick in (max, min))
    return TEXTS.say("phrases.forgotten", least=least, least_rank=ends[least], most=most, most_rank=ends[most])


# ---------------------------------------------------------------- pieces


def _by_verdict(results: Sequence[FaithfulnessResult]) -> tuple[list[str], ...]:
    """The titles of the methods that pass, that are weak and that fail."""
    return tuple([_title(result) for result in results if result.verdict == verdict] for verdict in ORDER)


def _title(result: FaithfulnessResult) -> str:
    return methods()[result.method].title


def _measure(result: FaithfulnessResult, what: Criterion) -> Measure | None:
    return next((measure for measure in result.measures if measure.criterion == what), None)


def _verdict(result: FaithfulnessResult, what: Criterion) -> str:
    return next((check.verdict for check in result.checks if check.criterion == what), "")


def _nan(value: float | None) -> float:
    return math.nan if value is None else value


def _rounded(value: float | None) -> float | None:
    return None if value is None or value != value else round(value, 3)


def _interval(numbers: Sequence[float]) -> str:
    """A difference with its interval, or an interval: one value of a file instead of a line for each end."""
    return " ".join("-" if number != number else f"{number:.3f}" for number in numbers)


def _percent(share: float | None) -> float | None:
    return None if share is None or share != share else round(100 * share, 1)
