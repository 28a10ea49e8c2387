"""The methods on trial: which maps of this report to believe, with the numbers that say so."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from vgg_viz.attribution import methods
from vgg_viz.attribution.cam import default_layer
from vgg_viz.attribution.shared import SHARED
from vgg_viz.attribution.trust import Evidence, evidence
from vgg_viz.attribution.trust_controls import CONTROLS
from vgg_viz.attribution.trust_verdict import COMPLETENESS, DISCRIMINATION, FEWEST, RANDOMISED, SENSITIVITY, Measure
from vgg_viz.figures.trust import Asked, Curves, curves, trials
from vgg_viz.records import Attribution, Caption, Column, Exhibit, Finding, Table
from vgg_viz.report.kept_trials import remembered
from vgg_viz.report.preset import LARGE_GIGAMACS
from vgg_viz.report.receipts import pixels_of
from vgg_viz.report.section import Looked, Subject, counted, picked
from vgg_viz.report.shelf import Shelf, options_of

TRIED, COMPARED = 16, 8  # pictures on which methods are put to the test, and those of them that get every check
# Passes of the network that one method may spend on either kind of question; "full" does not bound those of a small network.
PASSES = 2600
# The same for a large network in any preset but "full". A pass of VGG16 takes a fifth of a second of two cores: this is 12 of them a
# method of a pass or two, and none of a map of 30 passes.
PASSES_OF_LARGE = 60
# What else such a network is asked less of: one level of the cascade, one draw of noise, one share of the tiles, neither ROAD nor grids.
THRIFTY: dict[str, Any] = {"levels": 1, "draws": 1, "shares": (0.0, 0.25, 1.0), "road": False, "grids": 0}
LINES = 5  # methods in the figure of curves, as many as there are colours: the most credible, and the least
ORDER = ("passes", "weak", "fails")


def tried(subject: Subject, looked: Looked) -> tuple[Evidence, ...]:
    """The methods put to the test on this checkpoint, the most credible first; nothing where the preset leaves that out."""
    if not subject.preset.trust:
        return ()
    large = sum(row.macs for row in subject.geometry) / 1e9 >= LARGE_GIGAMACS
    full = subject.preset.name == "full"
    # Not the pictures looked into where there are others: half of those are mistakes, chosen for being so. Of a large network just
    # those, whose maps are made anyway.
    batch = looked.batch if large else subject.material.labelled or looked.batch
    part = picked(batch, list(range(min(FEWEST if large else TRIED, len(batch)))))
    extent: dict[str, Any] = {"compared": COMPARED, "most_passes": None if full and not large else PASSES, "levels": 5, "draws": 2}
    if large:
        options = options_of(subject.preset, subject.seed, part.images.shape[-1], None)
        extent |= {"window": options.window, "stride": options.stride, "least": 0, "levels": 3, "draws": 1}
        extent |= {} if full else {**THRIFTY, "most_passes": PASSES_OF_LARGE}

    def hold() -> tuple[Evidence, ...]:
        return evidence(
            subject.model, part.images.to(subject.device), names=subject.preset.methods, labels=part.labels, masks=part.masks,
            seed=subject.seed, steps=subject.preset.steps, samples=subject.preset.samples, random_masks=subject.preset.masks,
            made=_made(subject, looked, len(part)) if large else None, **extent,
        )  # fmt: skip

    if not isinstance(subject.maps, Shelf):
        return tuple(ranked(hold()))
    key = {
        "methods": subject.preset.methods, "seed": subject.seed, "steps": subject.preset.steps, "samples": subject.preset.samples,
        "random masks": subject.preset.masks, **extent, "labels": part.labels,
        "masks": None if part.masks is None else pixels_of(part.masks), "origin": subject.maps.told(part),
    }  # fmt: skip
    return tuple(ranked(remembered(subject.maps.folder, key, hold)))


def _made(subject: Subject, looked: Looked, count: int) -> Callable[[str], Attribution | None]:
    """The maps that the report shows of the first `count` pictures looked into, for those methods that are tried as they are shown."""
    layer = default_layer(subject.model, looked.batch.images)
    classes = looked.logits.argsort(dim=1, descending=True, stable=True)[:, 0]

    def made(name: str) -> Attribution | None:
        if name in SHARED or "relu" in methods()[name].reads:
            return None  # tried without their ReLU
        found = subject.maps.attribute(looked.batch, name, classes, target="predicted", layer=layer)
        residual = None if found.residual is None else found.residual[:count]
        return replace(found, values=found.values[:count], targets=found.targets[:count], residual=residual)

    return made


def ranked(found: Sequence[Evidence]) -> list[Evidence]:
    """The most credible first: by verdict, then by how many checks failed, then by how many were weak; else as they came."""

    def doubts(one: Evidence) -> tuple[int, int, int]:
        verdicts = [check.verdict for check in one.checks]
        return ORDER.index(one.verdict), verdicts.count("fails"), verdicts.count("weak")

    return sorted(found, key=doubts)


def finding(found: Sequence[Evidence]) -> Finding:
    """Which maps of this report to believe first."""
    by_verdict = {verdict: [_title(one) for one in found if one.verdict == verdict] for verdict in ORDER}
    passing, failing = by_verdict["passes"], by_verdict["fails"]
    weak = len(by_verdict["weak"])
    most = max((one.pictures for one in found), default=0)
    few = f" with {counted(most, 'picture')}" if most <= FEWEST else ""
    text = f"Of {counted(len(found), 'attribution method')} put to the test on this checkpoint{few}, {len(passing)} {'passes' if len(passing) == 1 else 'pass'} every check"
    text += f" ({', '.join(passing)})" if passing else ""
    text += f", {weak} {'is' if weak == 1 else 'are'} weak and {len(failing)} {'fails' if len(failing) == 1 else 'fail'}" + (f" ({', '.join(failing)})" if failing else "")
    return Finding("note" if passing else "warn", f"{text}.")


def exhibits(found: Sequence[Evidence]) -> Iterator[Exhibit]:
    """The trials at a glance with their table; pictures taken apart, and a network losing its weights."""
    if found:
        yield _panel(found)
        yield _curves(found)


# ---------------------------------------------------------------- at a glance


def _panel(found: Sequence[Evidence]) -> Exhibit:
    passing = [_title(one) for one in found if one.verdict == "passes"]
    weak = [_title(one) for one in found if one.verdict == "weak"]
    failing = [_title(one) for one in found if one.verdict == "fails"]
    columns = _asked(found)
    words = f"{len(passing)} of {counted(len(found), 'method')} {'passes' if len(passing) == 1 else 'pass'} every check"
    words += f": {', '.join(passing)}" if passing else ""
    on = _asked_on(found)
    masses = [measure for one in found for measure in one.measures if measure.name.startswith("mass")]
    where = {"mass on the object": "how much of the map lies on the object's mask", "mass in its quarter": "of four pictures tiled into one, how much of a class's map "
             "lies in its own quarter"}.get(masses[0].name if masses else "", "")  # fmt: skip
    return Exhibit(
        "attention-trials",
        "Which of these maps to believe",
        Caption(
            see=f"Every method put to the test on this checkpoint with {on}, the most credible on top. "
            f"{_small(columns)} A dot on the shaded ground passes, one beyond the dashed line fails. {_large(columns, where)} Lines are 95 % intervals over pictures.",
            read=f"{words}. "
            + (f"{_listed(failing)} {'fails' if len(failing) == 1 else 'fail'}: do not take {'this map' if len(failing) == 1 else 'these maps'} for evidence. " if failing else "")
            + (f"{_listed(weak)} {'is' if len(weak) == 1 else 'are'} weak: a hint beside others. " if weak else "")
            + "The coloured tick is the control that matters: a map of the same values and the same blur whose places mean nothing. What is not clearly to the right of it is luck. "
            "Grey ticks are a spot in the centre, the picture's edges, and smooth noise.",
            cannot="The verdict is that of the worst check, and its limits are this package's conventions; the numbers are what was measured. A few pictures give a hint, not a proof, "
            "and a method that passes can still mislead on a single picture. Grad-CAM and its kin are tried before their ReLU cuts off what is negative.",
        ),
        alt=f"Dot plot of {counted(len(found), 'attribution method')} and their checks: {words}"
        + (f"; {_listed(failing)} {'fails' if len(failing) == 1 else 'fail'}." if failing else "."),
        figure=trials([_title(one) for one in found], [one.verdict for one in found], columns, title=f"{counted(len(found), 'method')} on trial on this checkpoint"),
        table=_table(found),
        numbers={one.method: _numbers(one) for one in found},
    )  # fmt: skip


SMALL = {
    "adds up": "how far the map adds up to something else than it promises", "upper half random": "how alike it stays when the upper half of the network's weights is noise",
    "all weights random": "how alike it stays when all of its weights are noise", "other class": "how alike it is for the runner-up class",
    "small noise": "how much noise that nobody sees changes it",
}  # fmt: skip
LARGE = {
    "insertion less deletion": "the network's probability when the marked places come first and not last (insertion less deletion)",
    "ROAD": "the same with the missing places filled in from their neighbours (ROAD)",
}  # fmt: skip
NUMBERS = ("", "One thing", "Two things", "Three things", "Four things", "Five things")


def _small(columns: Sequence[Asked]) -> str:
    """What should be small, of what was asked."""
    told = [SMALL[column.title] for column in columns if column.title in SMALL]
    return f"{NUMBERS[len(told)]} should be small: {'; '.join(told)}." if told else ""


def _large(columns: Sequence[Asked], where: str) -> str:
    """What should be large; where: what the masses are of."""
    told = [LARGE.get(column.title, where) for column in columns if column.title not in SMALL]
    return f"{NUMBERS[len(told)]} should be large: {_listed(told)}." if told else ""


def _asked_on(found: Sequence[Evidence]) -> str:
    """On how many pictures, and which methods were asked less because each of their maps is dear."""
    most, compared = max(one.pictures for one in found), max(one.compared for one in found)
    fewer = [_title(one) for one in found if 0 < one.compared < compared]
    never = [_title(one) for one in found if one.compared == 0]
    dear = [f"{_listed(fewer)}: fewer, each map being dear"] if fewer else []
    dear += [f"{_listed(never)}: none, each map being too dear"] if never else []
    if compared == most and not dear:
        return counted(most, "picture")
    return f"{counted(most, 'picture')}, for other classes, noise and random networks {compared} of them" + (f" ({'; '.join(dear)})" if dear else "")


def _asked(found: Sequence[Evidence]) -> list[Asked]:
    """The columns of the figure: those checks that some method was asked."""
    small = [
        ("adds up", "share", "completeness", COMPLETENESS, (0.0, 0.4), [one.completeness for one in found]),
        ("upper half random", "rank corr.", "upper layers random", RANDOMISED, (0.0, 1.0), [one.randomised_upper for one in found]),
        ("all weights random", "rank corr.", "all layers random", RANDOMISED, (0.0, 1.0), [one.randomised_all for one in found]),
        ("other class", "rank corr.", "other class", DISCRIMINATION, (0.0, 1.0), [one.discrimination for one in found]),
        ("small noise", "share", "small noise", SENSITIVITY, (0.0, 1.5), [one.sensitivity for one in found]),
    ]
    columns = [
        Asked(title, unit, [_nan(value) for value in values], [_verdict(one, name) for one in found], span, limits=limits)
        for title, unit, name, limits, span, values in small
        if any(value is not None for value in values)
    ]
    for name in dict.fromkeys(measure.name for one in found for measure in one.measures):
        held = [_measure(one, name) for one in found]
        values = [math.nan if m is None else m.value for m in held]
        controls = {control: [math.nan if m is None else m.controls.get(control, math.nan) for m in held] for control in CONTROLS}
        # From nothing to everything where the score is a share; from as bad as it came to as good as can be where it has a sign.
        span = (0.0, 1.0) if name.startswith("mass") else (-0.4, 1.0)
        columns.append(Asked(
            name, held[0].unit if held[0] else "", values, [_verdict(one, name) for one in found], span, controls=controls,
            lows=[math.nan if m is None else m.interval[0] for m in held], highs=[math.nan if m is None else m.interval[1] for m in held],
        ))  # fmt: skip
    return columns


def _table(found: Sequence[Evidence]) -> Table:
    pointed = any(one.pointing is not None for one in found)
    names = list(dict.fromkeys(measure.name for one in found for measure in one.measures))
    columns: list[tuple[Column, list[float | None]]] = [
        (Column("completeness error", "share", True), [_rounded(one.completeness) for one in found]),
        (Column("logit explained", "share", True), [_rounded(one.explained) for one in found]),
        (Column("other class", "rank corr.", True), [_rounded(one.discrimination) for one in found]),
        (Column("upper half random", "rank corr.", True), [_rounded(one.randomised_upper) for one in found]),
        (Column("all layers random", "rank corr.", True), [_rounded(one.randomised_all) for one in found]),
        (Column("small noise", "share", True), [_rounded(one.sensitivity) for one in found]),
        *((Column(name, "", True), [_rounded(m.value if (m := _measure(one, name)) else None) for one in found]) for name in names),
    ]
    if pointed:
        columns.append((Column("peak on the object", "%", True), [_percent(one.pointing.hit_rate if one.pointing else None) for one in found]))
        columns.append((Column("best overlap", "IoU", True), [_rounded(one.pointing.iou if one.pointing else None) for one in found]))
    columns = [(column, values) for column, values in columns if any(value is not None for value in values)]  # what none was asked
    return Table(
        (Column("method"), Column("verdict"), Column("why"), *(column for column, _ in columns)),
        tuple((_title(one), one.verdict, one.reason, *(values[i] for _, values in columns)) for i, one in enumerate(found)),
    )


def _numbers(one: Evidence) -> dict[str, object]:
    return {
        "verdict": one.verdict, "reason": one.reason, "pictures": one.pictures, "compared": one.compared, "completeness": one.completeness, "explained": one.explained,
        "discrimination": one.discrimination, "randomised_top": one.randomised_top, "randomised_upper": one.randomised_upper, "randomised_all": one.randomised_all,
        "sensitivity": one.sensitivity, "checks": {check.name: check.verdict for check in one.checks},
        "measures": {
            m.name: {"value": _rounded(m.value), "interval": _interval(m.interval), "ahead_of": {name: _interval(ahead) for name, ahead in m.ahead.items()}}
            for m in one.measures
        },
        "pointing": None if one.pointing is None else _rounded(one.pointing.hit_rate), "iou": None if one.pointing is None else _rounded(one.pointing.iou),
    }  # fmt: skip


# ---------------------------------------------------------------- curves


def _curves(found: Sequence[Evidence]) -> Exhibit:
    shown = list(found) if len(found) <= LINES else [*found[: LINES - 1], found[-1]]
    controls = [name for name in CONTROLS if name != "blur-matched"]
    first = max(shown, key=lambda one: one.pictures)
    apart = {
        kind: {**{_title(one): one.curves[kind]["map"] for one in shown}, **{name: first.curves[kind][name] for name in controls}}
        for kind in ("deletion", "insertion")
    }
    layers = [layer for layer, _ in max((one.cascade for one in found), key=len)]
    kept = {_title(one): [1.0, *(_nan(dict(one.cascade).get(layer)) for layer in layers)] for one in shown if one.cascade}
    gaps = {_title(one): m for one in shown if (m := _measure(one, "insertion less deletion"))}
    best = max(gaps, key=lambda name: gaps[name].value, default="")
    words = f"{best} has the widest gap between the first two panels here, {gaps[best].value:.2f} on average; a spot in the centre has {gaps[best].controls['centre']:.2f}." if best else ""
    ends = {name: values[-1] for name, values in kept.items()}
    most, least = (pick(ends, key=lambda name: ends[name]) if ends else "" for pick in (max, min))
    forgot = f"With all weights random, {least} keeps {ends[least]:.2f} and {most} {ends[most]:.2f}." if len(ends) > 1 else ""
    shares = first.shares
    share = {0.0: "0", 0.5: "50", 1.0: "100"} if 0.5 in shares else {one: f"{100 * one:.0f}" for one in shares}
    few = f" The pictures were asked about with {100 * shares[1]:.0f} % of them gone or back, and the network with all weights random: between these, lines are only drawn." if len(shares) == 3 else ""
    marks = [layers[round(i * (len(layers) - 1) / max(1, min(len(layers), 6) - 1))] for i in range(min(len(layers), 6))]
    panels = [
        Curves("Marked places go", "of the picture gone [%]", shares, share, apart["deletion"]),
        Curves("Marked places come back", "of the picture back [%]", shares, share, apart["insertion"]),
        Curves("The network forgets", "random from the top down to", range(len(layers) + 1),
               {0: "none", **{layers.index(name) + 1: name for name in marks}}, kept),
    ]  # fmt: skip
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
        figure=curves(panels, dull=controls, height="probability, or rank correlation", title="Pictures taken apart, a network that forgets"),
        numbers={
            "shares": shares, **{kind: {name: [_rounded(value) for value in line] for name, line in lines.items()} for kind, lines in apart.items()},
            "layers": layers, "rank_correlation": {name: [_rounded(value) for value in values[1:]] for name, values in kept.items()},
        },
    )  # fmt: skip


# ---------------------------------------------------------------- pieces


def _title(one: Evidence) -> str:
    return methods()[one.method].title


def _measure(one: Evidence, name: str) -> Measure | None:
    return next((measure for measure in one.measures if measure.name == name), None)


def _verdict(one: Evidence, check: str) -> str:
    return next((found.verdict for found in one.checks if found.name == check), "")


def _nan(value: float | None) -> float:
    return math.nan if value is None else value


def _rounded(value: float | None) -> float | None:
    return None if value is None or value != value else round(value, 3)


def _interval(numbers: Sequence[float]) -> str:
    """A difference with its interval, or an interval: one value of a file instead of a line for each end."""
    return " ".join("-" if number != number else f"{number:.3f}" for number in numbers)


def _percent(share: float | None) -> float | None:
    return None if share is None or share != share else round(100 * share, 1)


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)
