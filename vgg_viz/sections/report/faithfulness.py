"""Which maps of a report to believe: what came of the trials, with the numbers that say so."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence

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
from vgg_viz.figures.faithfulness import Asked, Curves, curves, trials
from vgg_viz.number_text import counted, listed
from vgg_viz.records import Caption, Column, Exhibit, Finding, Table
from vgg_viz.studies.faithfulness import ORDER

LINES = 5  # methods in the figure of curves, as many as there are colours: the most credible, and the least


def finding(found: Sequence[FaithfulnessResult]) -> Finding:
    """Which maps of this report to believe first."""
    by_verdict = {verdict: [_title(one) for one in found if one.verdict == verdict] for verdict in ORDER}
    passing, failing = by_verdict["passes"], by_verdict["fails"]
    weak = len(by_verdict["weak"])
    most = max((one.pictures for one in found), default=0)
    few = f" with {counted(most, 'picture')}" if most <= FEWEST else ""
    text = f"Of {counted(len(found), 'attribution method')} put to the test on this checkpoint{few}, {len(passing)} {'passes' if len(passing) == 1 else 'pass'} every check"
    text += f" ({', '.join(passing)})" if passing else ""
    text += (
        f", {weak} {'is' if weak == 1 else 'are'} weak and {len(failing)} {'fails' if len(failing) == 1 else 'fail'}"
        + (f" ({', '.join(failing)})" if failing else "")
    )
    return Finding("note" if passing else "warn", f"{text}.")


def exhibits(found: Sequence[FaithfulnessResult]) -> Iterator[Exhibit]:
    """The trials at a glance with their numbers; the reasons in words; pictures taken apart, and a network losing its weights."""
    if found:
        yield _panel(found)
        yield _reasons(found)
        yield _curves(found)


# ---------------------------------------------------------------- at a glance


def _panel(found: Sequence[FaithfulnessResult]) -> Exhibit:
    passing = [_title(one) for one in found if one.verdict == "passes"]
    weak = [_title(one) for one in found if one.verdict == "weak"]
    failing = [_title(one) for one in found if one.verdict == "fails"]
    columns = _asked(found)
    words = f"{len(passing)} of {counted(len(found), 'method')} {'passes' if len(passing) == 1 else 'pass'} every check"
    words += f": {', '.join(passing)}" if passing else ""
    on = _asked_on(found)
    boxed = any(measure.criterion in BOXED for one in found for measure in one.measures)
    return Exhibit(
        "attention-trials",
        "Which of these maps to believe",
        Caption(
            see=f"Every method put to the test on this checkpoint with {on}, the most credible on top. "
            f"{_small(columns)} A dot on the shaded ground passes, one beyond the dashed line fails. {_large(columns)} Lines are 95 % intervals over pictures.",
            read=f"{words}. "
            + (
                f"{listed(failing)} {'fails' if len(failing) == 1 else 'fail'}: do not take {'this map' if len(failing) == 1 else 'these maps'} for evidence. "
                if failing
                else ""
            )
            + (f"{listed(weak)} {'is' if len(weak) == 1 else 'are'} weak: a hint beside others. " if weak else "")
            + "The coloured tick is the control that matters: a map of the same values and the same blur whose places mean nothing. What is not clearly to the right of it is luck. "
            "Grey ticks are a spot in the centre, the picture's edges, and smooth noise.",
            cannot="The verdict is that of the worst check, and its limits are this package's conventions; the numbers are what was measured. A few pictures give a hint, not a proof, "
            "and a method that passes can still mislead on a single picture. "
            + (
                "A box holds background beside the object: what lies in it flatters every map, and the controls as much. "
                if boxed
                else ""
            )
            + "Grad-CAM and its kin are tried before their ReLU cuts off what is negative.",
        ),
        alt=f"Dot plot of {counted(len(found), 'attribution method')} and their checks: {words}"
        + (f"; {listed(failing)} {'fails' if len(failing) == 1 else 'fail'}." if failing else "."),
        figure=trials(
            [_title(one) for one in found],
            [one.verdict for one in found],
            list(columns.values()),
            title=f"{counted(len(found), 'method')} on trial on this checkpoint",
        ),
        table=_table(found),
        numbers={one.method: _numbers(one) for one in found},
    )


SMALL: Mapping[Criterion, str] = {
    "completeness": "how far the map adds up to something else than it promises",
    "upper": "how alike it stays when the upper half of the network's weights is noise",
    "everything": "how alike it stays when all of its weights are noise",
    "discrimination": "how alike it is for the runner-up class",
    "sensitivity": "how much noise that nobody sees changes it",
}
LARGE: Mapping[Criterion, str] = {
    "insertion": "the network's probability when the marked places come first and not last (insertion less deletion)",
    "road": "the same with the missing places filled in from their neighbours (ROAD)",
    "object": "how much of the map lies on the object's mask",
    "box": "how much of the map lies in the object's box",
    "both": "how much of the map lies on the object's mask or, where there is none, in its box",
    "quarter": "of four pictures tiled into one, how much of a class's map lies in its own quarter",
}
BOXED = ("box", "both")
NUMBERS = ("", "One thing", "Two things", "Three things", "Four things", "Five things")


def _small(columns: Collection[Criterion]) -> str:
    """What should be small, of what was asked."""
    told = [SMALL[what] for what in columns if what in SMALL]
    return f"{NUMBERS[len(told)]} should be small: {'; '.join(told)}." if told else ""


def _large(columns: Collection[Criterion]) -> str:
    """What should be large, of what was asked."""
    told = [LARGE[what] for what in columns if what in LARGE]
    return f"{NUMBERS[len(told)]} should be large: {listed(told)}." if told else ""


def _asked_on(found: Sequence[FaithfulnessResult]) -> str:
    """On how many pictures, and which methods were asked less because each of their maps is dear."""
    most, compared = max(one.pictures for one in found), max(one.compared for one in found)
    fewer = [_title(one) for one in found if 0 < one.compared < compared]
    never = [_title(one) for one in found if one.compared == 0]
    dear = [f"{listed(fewer)}: fewer, each map being dear"] if fewer else []
    dear += [f"{listed(never)}: none, each map being too dear"] if never else []
    if compared == most and not dear:
        return counted(most, "picture")
    return f"{counted(most, 'picture')}, for other classes, noise and random networks {compared} of them" + (
        f" ({'; '.join(dear)})" if dear else ""
    )


def _asked(found: Sequence[FaithfulnessResult]) -> dict[Criterion, Asked]:
    """The columns of the figure: those checks that some method was asked."""
    small: list[tuple[Criterion, str, str, tuple[float, float], tuple[float, float], list[float | None]]] = [
        ("completeness", "adds up", "share", COMPLETENESS, (0.0, 0.4), [one.completeness for one in found]),
        ("upper", "upper half random", "rank corr.", RANDOMISED, (0.0, 1.0), [one.randomised_upper for one in found]),
        (
            "everything",
            "all weights random",
            "rank corr.",
            RANDOMISED,
            (0.0, 1.0),
            [one.randomised_all for one in found],
        ),
        (
            "discrimination",
            "other class",
            "rank corr.",
            DISCRIMINATION,
            (0.0, 1.0),
            [one.discrimination for one in found],
        ),
        ("sensitivity", "small noise", "share", SENSITIVITY, (0.0, 1.5), [one.sensitivity for one in found]),
    ]
    columns = {
        what: Asked(
            title, unit, [_nan(value) for value in values], [_verdict(one, what) for one in found], span, limits=limits
        )
        for what, title, unit, limits, span, values in small
        if any(value is not None for value in values)
    }
    for what in dict.fromkeys(measure.criterion for one in found for measure in one.measures):
        held = [_measure(one, what) for one in found]
        values = [math.nan if m is None else m.value for m in held]
        controls = {
            control: [math.nan if m is None else m.controls.get(control, math.nan) for m in held]
            for control in CONTROLS
        }
        # From nothing to everything where the score is a share; from as bad as it came to as good as can be where it has a sign.
        span = (0.0, 1.0) if what in MASSES else (-0.4, 1.0)
        columns[what] = Asked(
            NAMES[what],
            held[0].unit if held[0] else "",
            values,
            [_verdict(one, what) for one in found],
            span,
            controls=controls,
            lows=[math.nan if m is None else m.interval[0] for m in held],
            highs=[math.nan if m is None else m.interval[1] for m in held],
        )
    return columns


def _table(found: Sequence[FaithfulnessResult]) -> Table:
    """The numbers behind the dots, under the same names: those checks that some method was asked."""
    asked = list(_asked(found).values())
    rows = [
        (_title(one), one.verdict, *(_rounded(column.values[row]) for column in asked)) for row, one in enumerate(found)
    ]
    return Table(
        (Column("method"), Column("verdict"), *(Column(column.title, column.unit, True) for column in asked)),
        tuple(rows),
    )


def _reasons(found: Sequence[FaithfulnessResult]) -> Exhibit:
    """Every verdict in a sentence. Beside the numbers it would push them off the page."""
    pointed = any(one.pointing is not None for one in found)
    asked = {measure.criterion for one in found for measure in one.measures}
    boxed = not asked.isdisjoint(BOXED)
    place = "in the box" if "box" in asked else "on the object"
    beside = (
        *((Column(f"peak {place}", "%", True), Column("best overlap", "IoU", True)) if pointed else ()),
        *((Column("best box", "IoU", True),) if boxed else ()),
    )
    return Exhibit(
        "attention-verdicts",
        "Why these verdicts",
        Caption(
            see="The reason for each verdict, and what no verdict rests on: which share of the logit the map adds up to"
            + (
                f", how often its peak lies {place}, and its overlap with the {'box' if boxed else 'mask'} at the best threshold"
                if pointed
                else ""
            )
            + (
                "; best box: the overlap of the box around the map's largest piece with the true one."
                if pointed and boxed
                else "."
            ),
            read="A method that passes lists all that it was asked; another one what went worst, and what would have passed.",
            cannot="These are means over pictures, and say nothing sure about a single one.",
        ),
        alt=f"Table of {counted(len(found), 'method')} with verdict and reason.",
        table=Table(
            (Column("method"), Column("verdict"), Column("why"), Column("logit explained", "share", True), *beside),
            tuple(
                (
                    _title(one),
                    one.verdict,
                    one.reason,
                    _rounded(one.explained),
                    *(
                        (
                            _percent(one.pointing.hit_rate if one.pointing else None),
                            _rounded(one.pointing.iou if one.pointing else None),
                        )
                        if pointed
                        else ()
                    ),
                    *((_rounded(one.pointing.box_iou if one.pointing else None),) if boxed else ()),
                )
                for one in found
            ),
        ),
    )


def _numbers(one: FaithfulnessResult) -> dict[str, object]:
    return {
        "verdict": one.verdict,
        "reason": one.reason,
        "pictures": one.pictures,
        "compared": one.compared,
        "completeness": one.completeness,
        "explained": one.explained,
        "discrimination": one.discrimination,
        "randomised_top": one.randomised_top,
        "randomised_upper": one.randomised_upper,
        "randomised_all": one.randomised_all,
        "sensitivity": one.sensitivity,
        "checks": {check.name: check.verdict for check in one.checks},
        "measures": {
            m.name: {
                "value": _rounded(m.value),
                "interval": _interval(m.interval),
                "ahead_of": {name: _interval(ahead) for name, ahead in m.ahead.items()},
            }
            for m in one.measures
        },
        "pointing": None if one.pointing is None else _rounded(one.pointing.hit_rate),
        "iou": None if one.pointing is None else _rounded(one.pointing.iou),
        **(
            {}
            if one.pointing is None or math.isnan(one.pointing.box_iou)
            else {"box_iou": _rounded(one.pointing.box_iou)}
        ),
    }


# ---------------------------------------------------------------- curves


def _curves(found: Sequence[FaithfulnessResult]) -> Exhibit:
    shown = list(found) if len(found) <= LINES else [*found[: LINES - 1], found[-1]]
    controls = [name for name in CONTROLS if name != "blur-matched"]
    first = max(shown, key=lambda one: one.pictures)
    apart = {
        kind: {
            **{_title(one): one.curves[kind]["map"] for one in shown},
            **{name: first.curves[kind][name] for name in controls},
        }
        for kind in ("deletion", "insertion")
    }
    layers = [layer for layer, _ in max((one.cascade for one in found), key=len)]
    kept = {
        _title(one): [1.0, *(_nan(dict(one.cascade).get(layer)) for layer in layers)] for one in shown if one.cascade
    }
    gaps = {_title(one): m for one in shown if (m := _measure(one, "insertion"))}
    best = max(gaps, key=lambda name: gaps[name].value, default="")
    words = (
        f"{best} has the widest gap between the first two panels here, {gaps[best].value:.2f} on average; a spot in the centre has {gaps[best].controls['centre']:.2f}."
        if best
        else ""
    )
    ends = {name: values[-1] for name, values in kept.items()}
    most, least = (pick(ends, key=lambda name: ends[name]) if ends else "" for pick in (max, min))
    forgot = (
        f"With all weights random, {least} keeps {ends[least]:.2f} and {most} {ends[most]:.2f}."
        if len(ends) > 1
        else ""
    )
    shares = first.shares
    share = {0.0: "0", 0.5: "50", 1.0: "100"} if 0.5 in shares else {one: f"{100 * one:.0f}" for one in shares}
    few = (
        f" The pictures were asked about with {100 * shares[1]:.0f} % of them gone or back, and the network with all weights random: between these, lines are only drawn."
        if len(shares) == 3
        else ""
    )
    marks = [layers[round(i * (len(layers) - 1) / max(1, min(len(layers), 6) - 1))] for i in range(min(len(layers), 6))]
    panels = [
        Curves("Marked places go", "of the picture gone [%]", shares, share, apart["deletion"]),
        Curves("Marked places come back", "of the picture back [%]", shares, share, apart["insertion"]),
        Curves(
            "The network forgets",
            "random from the top down to",
            range(len(layers) + 1),
            {0: "none", **{layers.index(name) + 1: name for name in marks}},
            kept,
        ),
    ]
    return Exhibit(
        "attention-curves",
        "Pictures taken apart, a network that forgets",
        Caption(
            see=f"{f'The {LINES - 1} most credible methods and the least credible one' if len(shown) < len(found) else 'All methods'}. Left: the network's mean probability for its answer while the tiles that a map marks most are painted in the picture's mean "
            "colour. Middle: they come back first, onto a blurred picture. Right: the network's layers are filled with noise from the top down, each as loud as before; the height is the "
            f"rank correlation of the map's magnitudes with those for the trained network.{few} Grey and dashed: maps that know nothing of the network.",
            read=f"A good map makes the left line fall early and the middle one rise early. {words} A map that explains the network must change when the network forgets. {forgot} A line "
            "that stays high belongs to a method that draws the picture rather than the network.",
            cannot="A picture with holes is a kind of picture that the network never saw: part of what happens is surprise. ROAD, in the table above, fills holes in from their surroundings for "
            "that reason, and still favours blurred maps. Where a picture is empty but for its object, every map has to lie there, whatever the weights.",
        ),
        alt=f"Three line charts for {counted(len(shown), 'method')}: probability while tiles are removed, while they come back, and likeness while layers are randomised. {words} {forgot}",
        figure=curves(
            panels,
            dull=controls,
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


# ---------------------------------------------------------------- pieces


def _title(one: FaithfulnessResult) -> str:
    return methods()[one.method].title


def _measure(one: FaithfulnessResult, what: Criterion) -> Measure | None:
    return next((measure for measure in one.measures if measure.criterion == what), None)


def _verdict(one: FaithfulnessResult, what: Criterion) -> str:
    return next((check.verdict for check in one.checks if check.criterion == what), "")


def _nan(value: float | None) -> float:
    return math.nan if value is None else value


def _rounded(value: float | None) -> float | None:
    return None if value is None or value != value else round(value, 3)


def _interval(numbers: Sequence[float]) -> str:
    """A difference with its interval, or an interval: one value of a file instead of a line for each end."""
    return " ".join("-" if number != number else f"{number:.3f}" for number in numbers)


def _percent(share: float | None) -> float | None:
    return None if share is None or share != share else round(100 * share, 1)
