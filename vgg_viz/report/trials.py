"""The methods on trial: which maps of this report to believe, with the numbers that say so."""

from __future__ import annotations

from vgg_viz.attribution import methods
from vgg_viz.attribution.trust import Evidence, evidence
from vgg_viz.records import Caption, Column, Exhibit, Finding, Table
from vgg_viz.report.section import Looked, Subject, counted

PASSES = 2600  # that one method may spend on either kind of question
TRIED, COMPARED = 16, 8  # pictures on which methods are put to the test, and those of them that get every check


def tried(subject: Subject, looked: Looked) -> tuple[Evidence, ...]:
    """The methods put to the test on this checkpoint; nothing where the preset leaves that out."""
    if not subject.preset.trust:
        return ()
    # Not the pictures looked into where there are others: half of those are mistakes, chosen for being so.
    batch = subject.material.labelled or looked.batch
    count = min(TRIED, len(batch))
    return evidence(
        subject.model, batch.images[:count].to(subject.device), names=subject.preset.methods,
        labels=None if batch.labels is None else batch.labels[:count], masks=None if batch.masks is None else batch.masks[:count],
        seed=subject.seed, steps=subject.preset.steps, samples=subject.preset.samples, compared=COMPARED, most_passes=PASSES,
    )  # fmt: skip


def table_of(trials: tuple[Evidence, ...], pictures: int) -> Exhibit:
    """The table of all trials, for methods that were tried on the first of `pictures` pictures."""
    titles = {name: method.title for name, method in methods().items()}
    passing = [titles[trial.method] for trial in trials if trial.verdict == "passes"]
    failing = [titles[trial.method] for trial in trials if trial.verdict == "fails"]
    pointed = any(trial.pointing is not None for trial in trials)
    words = f"{len(passing)} of {counted(len(trials), 'method')} {'passes' if len(passing) == 1 else 'pass'} every check"
    words += f": {', '.join(passing)}" if passing else ""
    tried_on, compared = min(TRIED, pictures), min(COMPARED, pictures)
    on = f"{counted(tried_on, 'picture')}" + (f" (the rank correlations: the first {compared} of them)" if compared < tried_on else "")
    return Exhibit(
        "attention-trials",
        "Should you believe these maps?",
        Caption(
            see=f"Each method put to the test on this checkpoint with {on}. Completeness: by how much the map's sum misses the change of the "
            "score that it promises to explain; empty where a method promises nothing. Other class: rank correlation with the map of the runner-up; near 1, the map does not say which class "
            "it is about. Random weights: rank correlation with the map of the same network with its last layer, or all layers, randomised; near 1, the "
            "map shows the picture and not what was learned. Grad-CAM is tried before its ReLU cuts off what is negative."
            + (" On the object, among pictures named right: how often the strongest point lies on the object's mask or a few pixels beside it, and how "
               "much of the map's magnitude lies on it." if pointed else ""),
            read=f"{words}. " + (f"{', '.join(failing)} {'fails' if len(failing) == 1 else 'fail'}: do not take these maps for evidence. " if failing else "")
            + "The verdict is that of the worst check; the random last layer is shown and not judged."
            + (" Mass is compared with maps that know nothing of the network, such as a spot in the centre." if pointed else ""),
            cannot=f"The thresholds are this package's conventions; the numbers are what was measured. {counted(tried_on, 'picture').capitalize()} "
            f"{'gives' if tried_on == 1 else 'give'} a hint, not a proof, and a method that passes can still mislead on a single picture.",
        ),
        alt=f"Table of {len(trials)} attribution methods with their trials: {words}.",
        table=Table(
            (
                Column("method"), Column("verdict"), Column("completeness error", "share", True), Column("other class", "rank corr.", True),
                Column("random top layer", "rank corr.", True), Column("all layers random", "rank corr.", True),
                *((Column("peak on the object", "%", True), Column("mass on the object", "%", True)) if pointed else ()), Column("why"),
            ),
            tuple(
                (
                    titles[t.method], t.verdict, _rounded(t.completeness), _rounded(t.discrimination), _rounded(t.randomised_top),
                    _rounded(t.randomised_all), *(_pointed(t) if pointed else ()), t.reason,
                )
                for t in trials
            ),
        ),
        numbers={
            t.method: {
                "verdict": t.verdict, "reason": t.reason, "completeness": t.completeness, "discrimination": t.discrimination,
                "randomised_top": t.randomised_top, "randomised_all": t.randomised_all,
                "pointing": None if t.pointing is None else t.pointing.hit_rate, "mass": None if t.pointing is None else t.pointing.mass,
            }
            for t in trials
        },
    )  # fmt: skip


def finding(trials: tuple[Evidence, ...]) -> Finding:
    """Which maps of this report to believe first."""
    titles = {name: method.title for name, method in methods().items()}
    by_verdict = {verdict: [titles[t.method] for t in trials if t.verdict == verdict] for verdict in ("passes", "weak", "fails")}
    passing, failing = by_verdict["passes"], by_verdict["fails"]
    weak = len(by_verdict["weak"])
    text = f"Of {counted(len(trials), 'attribution method')} put to the test on this checkpoint, {len(passing)} {'passes' if len(passing) == 1 else 'pass'} every check"
    text += f" ({', '.join(passing)})" if passing else ""
    text += f", {weak} {'is' if weak == 1 else 'are'} weak and {len(failing)} {'fails' if len(failing) == 1 else 'fail'}" + (f" ({', '.join(failing)})" if failing else "")
    return Finding("note" if passing else "warn", f"{text}.")


def _pointed(trial: Evidence) -> tuple[float | None, float | None]:
    """Peaks and mass on the object [%]; None where no picture was named right."""
    found = trial.pointing
    if found is None or not found.pictures:
        return None, None
    return round(100 * found.hit_rate, 1), round(100 * found.mass, 1)


def _rounded(value: float | None) -> float | None:
    return None if value is None or value != value else round(value, 3)
