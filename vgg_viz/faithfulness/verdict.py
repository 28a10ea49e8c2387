"""From numbers to a verdict: passes, weak or fails, with the reason in one sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vgg_viz.maths.metrics import bootstrap_interval

Verdict = Literal["passes", "weak", "fails"]

# (passes up to, weak up to): conventions of this package, named in every reason; the literature fixes none of them.
COMPLETENESS = (0.05, 0.2)
RANDOMISED = (0.5, 0.8)
DISCRIMINATION = (0.75, 0.95)
SENSITIVITY = (0.5, 1.0)
Criterion = Literal[
    "completeness",
    "upper",
    "everything",
    "discrimination",
    "sensitivity",
    "pictures",
    "insertion",
    "road",
    "object",
    "box",
    "both",
    "quarter",
]
NAMES: Mapping[Criterion, str] = {
    "completeness": "completeness",
    "upper": "upper layers random",
    "everything": "all layers random",
    "discrimination": "other class",
    "sensitivity": "small noise",
    "pictures": "pictures",
    "insertion": "insertion less deletion",
    "road": "ROAD",
    "object": "mass on the object",
    "box": "mass in the box",
    "both": "mass on the object or in its box",
    "quarter": "mass in its quarter",
}
MASSES = ("object", "box", "both", "quarter")  # those that are shares of a map
FEWEST = 4  # pictures that a comparison with controls needs before it counts


@dataclass(frozen=True, slots=True)
class Measure:
    """A score, higher is better, beside those of maps that know nothing of the network; paired over pictures.

    criterion        what it measures; `name` says it
    value, interval  mean over the pictures and its 95 % bootstrap interval [unit]
    controls         mean of each control [unit]
    ahead            {control: (mean, low, high)} of the method's score less the control's on the same picture [unit]
    """

    criterion: Criterion
    unit: str
    pictures: int
    value: float
    interval: tuple[float, float]
    controls: Mapping[str, float]
    ahead: Mapping[str, tuple[float, float, float]]

    @property
    def name(self) -> str:
        """What the criterion is called on the page."""
        return NAMES[self.criterion]


def measured(
    criterion: Criterion, unit: str, own: Tensor, controls: Mapping[str, Tensor], seed: int = 0
) -> Measure | None:
    """A method's scores (B,) against those of controls (B,); None where no picture has one."""
    own = own.double().cpu()
    known = ~own.isnan()
    if not known.any():
        return None
    ahead = {}
    for control, theirs in controls.items():
        difference = (own - theirs.double().cpu())[known]
        ahead[control] = (float(difference.nanmean()), *bootstrap_interval(difference, seed=seed))
    means = {control: float(theirs.double()[known.to(theirs.device)].nanmean()) for control, theirs in controls.items()}
    return Measure(
        criterion, unit, int(known.sum()), float(own[known].mean()), bootstrap_interval(own, seed=seed), means, ahead
    )


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a method was asked, and what came of it.

    criterion  which; `name` says it
    text       the number, and what would have passed, as part of a sentence
    brief      the number, for a sentence that lists what was passed
    """

    criterion: Criterion
    verdict: Verdict
    text: str
    brief: str

    @property
    def name(self) -> str:
        """What the criterion is called on the page."""
        return NAMES[self.criterion]


def graded(criterion: Criterion, value: float, limits: tuple[float, float], text: str, brief: str) -> Check:
    """A check whose number must stay below a limit."""
    return Check(criterion, "passes" if value <= limits[0] else "weak" if value <= limits[1] else "fails", text, brief)


def checks_of(
    *,
    completeness: float | None = None,
    upper: float | None = None,
    everything: float | None = None,
    discrimination: float | None = None,
    sensitivity: float | None = None,
    measures: Sequence[Measure] = (),
) -> list[Check]:
    """The checks that could be made, in the order in which they are named when several are equally bad."""
    found = []
    limit = f"up to {RANDOMISED[0]:g} passes"
    criterion: Criterion
    for criterion, value, what in (
        ("everything", everything, "all weights"),
        ("upper", upper, "the weights of the upper half of its layers"),
    ):
        if value is not None:
            text = f"with {what} randomised its maps still rank the pixels alike ({value:.3f}; {limit})"
            found.append(
                graded(criterion, value, RANDOMISED, text, f"{_plain(value)} rank correlation with {what} randomised")
            )
    if completeness is not None:
        text = f"its maps miss the change of the score by {100 * completeness:.1f} % (up to {100 * COMPLETENESS[0]:.0f} % passes)"
        found.append(
            graded(
                "completeness", completeness, COMPLETENESS, text, f"{100 * completeness:.1f} % missing to completeness"
            )
        )
    if discrimination is not None:
        text = (
            f"its maps for the predicted class and the runner-up rank the pixels alike "
            f"({discrimination:.3f}; up to {DISCRIMINATION[0]:g} passes)"
        )
        brief = f"{_plain(discrimination)} between predicted class and runner-up"
        found.append(graded("discrimination", discrimination, DISCRIMINATION, text, brief))
    if sensitivity is not None:
        text = (
            f"noise that nobody sees changes its maps by {100 * sensitivity:.0f} % of their size "
            f"(up to {100 * SENSITIVITY[0]:.0f} % passes)"
        )
        found.append(
            graded("sensitivity", sensitivity, SENSITIVITY, text, f"{100 * sensitivity:.0f} % changed by small noise")
        )
    return found + [beaten(measure) for measure in measures if measure.pictures >= FEWEST]


def too_few(pictures: int, cost: float) -> Check:
    """The doubt about a method that was asked again about fewer than FEWEST pictures, at `cost` passes a map."""
    what = "its maps for the runner-up, under small noise and of random networks were"
    price = f"at {cost:.0f} passes a map " if cost > 2 else ""
    if not pictures:
        return Check(
            "pictures", "weak", f"{price}{what} not made, so that it was not asked whether they explain the network", ""
        )
    some = "one picture" if pictures == 1 else f"{pictures} pictures"
    return Check("pictures", "weak", f"{price}{what} made of {some} only, too few to say ({FEWEST} could pass)", "")


BLIND = ("random", "blur-matched")


def beaten(measure: Measure) -> Check:
    """A score beside those of maps that know nothing of the network.

    passes  clearly above the blind controls (random, blur-matched), and not clearly below those that know how pictures are taken
            (centre, edge); clearly: the 95 % interval of the paired difference leaves 0 out
    fails   clearly below a blind control, or on average not above any of them
    weak    everything else

    Where all objects stand in the middle, a blob there scores well: a map need not beat that, but what it beats it by is shown.
    """
    ahead = measure.ahead
    blind = [control for control in BLIND if control in ahead]
    below = [control for control in ahead if ahead[control][2] < 0]
    unclear = [control for control in blind if not ahead[control][1] > 0]
    if not unclear and not below:
        near = min(blind, key=lambda control: ahead[control][0])
        return Check(
            measure.criterion, "passes", "", f"{measure.name} {_signed(ahead[near][0])} above the {near} control"
        )
    lost = [control for control in below if control in BLIND]
    fails = bool(lost) or all(ahead[control][0] <= 0 for control in blind)
    worst = min(lost or (blind if fails else unclear) or below, key=lambda control: ahead[control][0])
    mean, low, high = ahead[worst]
    text = (
        f"{measure.name} is {measure.value:.2f}, and that of the {worst} control {measure.controls[worst]:.2f} "
        f"(difference {_signed(mean)}, 95 % interval {_signed(low)} to {_signed(high)}; "
        f"{'an interval above 0' if worst in BLIND else 'an interval that reaches 0'} passes)"
    )
    return Check(measure.criterion, "fails" if fails else "weak", text, "")


def judge(checks: Sequence[Check], *, flat: bool = False) -> tuple[Verdict, str]:
    """The worst of the checks, in words; of equally bad ones the first.

    flat     every map is the same everywhere
    returns  "passes", "weak" or "fails", and one sentence that names the number and what would have passed
    """
    if flat or not checks:
        return "fails", "fails: its maps are flat, so there is nothing to believe or doubt."
    order: tuple[Verdict, ...] = ("fails", "weak", "passes")
    worst = min(checks, key=lambda check: order.index(check.verdict))
    if worst.verdict == "passes":
        return "passes", f"passes every check: {', '.join(check.brief for check in checks)}."
    return worst.verdict, f"{'fails' if worst.verdict == 'fails' else 'is weak'}: {worst.text}."


def mean_of(values: Tensor) -> float | None:
    """Mean over what is a number; None when nothing is."""
    known = values[~values.isnan()]
    return float(known.mean()) if len(known) and math.isfinite(float(known.mean())) else None


def size_of_change(before: Tensor, after: Tensor) -> Tensor:
    """How much maps (B, h, w) changed, as a share of their size: (B,); NaN for a map of nothing."""
    size = before.double().flatten(1).norm(dim=1)
    change = (after.double() - before.double()).flatten(1).norm(dim=1)
    return torch.where(size > 0, change / size.clamp(min=1e-300), torch.full_like(size, math.nan))


def _signed(value: float) -> str:
    """A difference with its sign, and with a minus instead of a hyphen."""
    return f"{value:+.2f}".replace("-", "−")


def _plain(value: float) -> str:
    """A number with a minus instead of a hyphen."""
    return f"{value:.2f}".replace("-", "−")
