"""A report that must end in time: the clock, which maps, trials and chapters still fit, and what is said of it.

The seconds of a budget run from the start of the command, so loading Python's libraries counts. What is running is never cut off: the
clock is asked before each map, each trial, each chapter and each figure, and what would no longer fit is left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from torch import nn

from vgg_viz.attribution import methods
from vgg_viz.attribution.shared import SHARED
from vgg_viz.errors import InputRefused, SectionMissing
from vgg_viz.report.budget import EVALUATION, Detail, Plan, Speed, Task, Trials, evaluated, least, plan, reductions
from vgg_viz.report.calibration import WRITING, Ratio, measured, painted, painting
from vgg_viz.report.cuts import NAMES, gone, sentence
from vgg_viz.report.map_cache import options_of
from vgg_viz.report.preset import LARGE_GIGAMACS, Preset
from vgg_viz.versions import reproducible

# What a reader would miss most comes first; the others follow in the page's order.
FIRST = ("overview", "attention", "evidence")
MAPS_AT_MOST, MAPS_AT_LEAST = 0.5, 0.1  # of the time that is left when the plan is made, for maps and trials
PAINT_AT_MOST = 0.5  # of that time for the first three chapters; beyond it the figures of maps show one photograph each
# The least that is made after loading, in times of the loading: no faster machine does one without the other. Bundled network.
LEAST = 0.6
MARGIN = 1.1  # of what is still to come: a machine that others use may become slower
FILES = 0.5  # of a chapter's time goes into its files, once its figures are drawn
AT_LEAST = 16  # labelled pictures that a small network answers in any case, in some hundredths of a second
AROUND_A_MAP = 0.05  # whatever its passes take: stand-ins for layers, hooks, sums [s]
PREPARING = 0.002  # to read or paint one labelled picture of 64 px [s]
CANDIDATES, HELD = 11, 64  # passes of the evidence chapter: normalisations, held against so many pictures
TRIALS = Trials(around=1.2)
# What `report.trials` asks of a large network: three questions about four pictures, and none of a map of more than 20 passes.
TRIALS_OF_LARGE = Trials(pictures=12.0, pictures_dear=0.0, dear=20.0, most=60.0, forwards=24.0, around=1.2)
WITHOUT = "leave --budget out, or give more seconds"

Maker = TypeVar("Maker")
Item = TypeVar("Item")


@dataclass(slots=True)
class Pace:
    """The course of one report under a budget of `seconds`, counted from `started`.

    clock      [s], from any start
    slowness   of painting, against the machine on which `CHAPTERS` was measured; stretch: of maps against what passes should take;
               trying: of trials, against the same
    loading    seconds that were gone before anything could be measured
    spare      of the plan's time, for trials where not all of them fit [s]
    left_out   what was left out, each with its name as a reader knows it; chapters: their titles; rest: those that broke off
    refused    (title, reason) as they stand on the page: one sentence tells of all of them at once
    """

    seconds: float
    clock: Callable[[], float] = time.perf_counter
    started: float = 0.0
    slowness: Ratio = field(default_factory=Ratio)
    stretch: Ratio = field(default_factory=Ratio)
    trying: Ratio = field(default_factory=Ratio)
    loading: float = 0.0
    gigamacs: float = 0.0
    speed: Speed | None = None
    trials: Trials = TRIALS
    rows: int = 2
    trust: bool = False
    planned: Plan | None = None
    spare: float = 0.0
    passes: dict[str, tuple[float, bool]] = field(default_factory=dict)
    reduced: dict[str, tuple[float, float]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    untried: list[str] = field(default_factory=list)
    chapters: list[str] = field(default_factory=list)
    rest: list[str] = field(default_factory=list)
    refused: set[tuple[str, str]] = field(default_factory=set)
    answered: tuple[int, int] = (0, 0)
    waiting: set[str] = field(default_factory=set)
    making: str = ""
    mapping: float = 0.0
    begun: tuple[float, float] | None = None

    @property
    def spent(self) -> float:
        """Seconds since the start."""
        return self.clock() - self.started

    # ------------------------------------------------------------ the plan

    def prepare(self, preset: Preset, model: nn.Module, side: int, gigamacs: float) -> Preset:
        """The preset cut to what fits, from one timed forward, one forward with its way back, and one painted chart.

        Where loading took so much of the budget that only the least can follow, nothing is measured.
        """
        self.gigamacs, self.loading = gigamacs, self.spent
        detail = Detail(preset.steps, preset.samples, preset.masks, preset.window, preset.stride)
        tasks = [_task(name, model, preset, side) for name in preset.methods]
        kept = min(preset.evaluated, AT_LEAST if gigamacs < LARGE_GIGAMACS else 1)
        self.rows = 1
        if self.seconds - self.loading > LEAST * self.loading:
            self.speed = measured(model, side, large=gigamacs >= 1, clock=self.clock)
            self.slowness.guess(painting(self.clock))
            self.stretch.guess(1.0)
            self.trying.guess(1.0)
            left = max(0.0, self.seconds - self.spent)
            preparing = PREPARING * self.slowness.value * max(1.0, side / 64)
            kept = max(kept, evaluated(left, self.speed, preset.evaluated, preparing=preparing))
            self.planned = self._richest(left, self.speed, preset, tasks, detail)
        else:
            self.planned = replace(least(tasks), fits=False)
        coarse = detail.coarser(self.planned.level)
        self.passes = {task.name: (task.passes(coarse), task.backward) for task in tasks if task.name in self.planned.methods}
        used = {"pictures", *(option for name in self.planned.methods for option in methods()[name].reads)}
        self.reduced = {name: pair for name, pair in reductions(self.planned, detail, preset.pictures).items() if name in used}
        self.answered = preset.evaluated, kept
        self.left_out += [methods()[name].title for name in preset.methods if name not in self.planned.methods]
        self.left_out += [] if self.planned.second else ["maps for a second class, but Grad-CAM"]
        self.trust = trust = self.planned.trials or (preset.trust and self._trial(self._cheapest()) <= self.spare)
        self.left_out += ["the trials of the methods"] if preset.trust and not trust else []
        if self.rows < preset.rows:
            self.reduced["photographs in a figure of maps"] = (preset.rows, self.rows)
        return replace(
            preset, rows=self.rows, methods=self.planned.methods, pictures=self.planned.pictures, evaluated=kept,
            trust=trust, steps=coarse.steps, samples=coarse.samples, masks=coarse.masks, window=coarse.window,
            stride=coarse.stride,
        )  # fmt: skip

    def _richest(self, left: float, speed: Speed, preset: Preset, tasks: Sequence[Task], detail: Detail) -> Plan:
        """The richest plan of maps and trials for `left` seconds, a part of which paints the first chapters."""
        essential = self._after("")
        more = self.slowness.value * (painted("attention", 0, rows=preset.rows) - painted("attention", 0, rows=1))
        if essential + more <= PAINT_AT_MOST * left:
            self.rows, essential = preset.rows, essential + more
        room = max(min(MAPS_AT_MOST * left, left - essential) - EVALUATION * left, MAPS_AT_LEAST * left)
        usual = TRIALS_OF_LARGE if self.gigamacs >= LARGE_GIGAMACS and preset.name != "full" else TRIALS
        self.trials = replace(usual, around=usual.around * self.slowness.value)
        found = plan(room, speed, tasks, detail, pictures=preset.pictures, trials=self.trials if preset.trust else None)
        self.spare = float("inf") if found.trials else room - found.seconds
        return found

    def answers(self, count: int) -> None:
        """There are `count` labelled pictures: where that is as many as the plan allows, it may have cut them."""
        before, kept = self.answered
        self.answered = before, min(kept, count)
        if kept < before and count >= kept:
            self.reduced["labelled pictures"] = (before, count)

    def ordered(self, makers: Sequence[Maker], slug: Callable[[Maker], str]) -> list[Maker]:
        """Chapters in the order in which they are made: what would be missed most comes first."""
        self.waiting = {slug(maker) for maker in makers}
        return sorted(makers, key=lambda maker: FIRST.index(slug(maker)) if slug(maker) in FIRST else len(FIRST))

    # ------------------------------------------------------------ the clock is asked

    def refusal(self, slug: str, title: str) -> str:
        """Why a chapter is left out, "" where it fits; the first three are made whatever they cost."""
        self.waiting.discard(slug)
        self.making, self.mapping, self.begun = slug, 0.0, None
        if slug in FIRST or self._fits(self._usual(slug)):
            return ""
        if slug == "explorer":
            self.left_out.append("the network to touch")
            return f"The network to touch was left out to stay within the budget of {self.seconds:g} s; {WITHOUT}."
        self.chapters.append(title)
        reason = f"Left out to stay within the budget of {self.seconds:g} s; {WITHOUT}."
        self.refused.add((title, reason))
        return reason

    def watched(self, exhibits: Iterable[Item], title: str) -> Iterator[Item]:
        """A chapter's exhibits while there is time to draw and to write them; the first one in any case.

        raises  SectionMissing before an exhibit for which there is no time
        """
        slug = self.making
        tables = slug in FIRST and slug != "attention"  # which cost next to nothing
        for count, shown in enumerate(exhibits, 1):
            yield shown
            if count and not tables and not self._fits(FILES * self.slowness.value * self._painted(slug)):
                reason = f"The rest was left out to stay within the budget of {self.seconds:g} s; {WITHOUT}."
                self.rest.append(title)
                self.refused.add((title, reason))
                raise SectionMissing(reason)

    def offers(self, method: str, target: str) -> bool:
        """Whether the plan has this map, and there is still time for it: asked before it is made."""
        if self.planned is not None and not self.planned.second and target == "second" and method not in SHARED:
            return False
        self._tried()
        if method in SHARED or self.making != "attention":
            return True
        if method in self.passes and self._fits(self.stretch.value * self._map(method) + self._attention()):
            return True
        what = methods()[method].title + (" for a second class" if target == "second" else "")
        if what not in self.left_out:
            self.left_out.append(what)
        if target == "predicted":  # how finely it would have looked is no news then
            self.passes.pop(method, None)
            used = {"pictures", *(option for name in self.passes for option in methods()[name].reads)}
            self.reduced = {name: pair for name, pair in self.reduced.items() if name in used or name not in NAMES}
        return False

    def made(self, method: str, seconds: float) -> None:
        """A map set was made, or those of a shared pass: how long that took tells of the next ones."""
        self.mapping += seconds
        if self.making == "attention" and method not in SHARED and method in self.passes:
            self.stretch.learn(self._map(method), seconds)

    def tries(self, names: Sequence[str]) -> bool:
        """Whether there is still time to put these methods to the test together, and to make all maps afterwards."""
        self._tried()
        if self.planned is None or self.speed is None:
            return False
        cost = self._trial(names)
        maps = sum(self._map(name) for name in self.planned.methods)
        needed = self.trying.value * cost
        if needed > self.spare or not self._fits(needed + self.stretch.value * maps + self._attention()):
            self.untried += [methods()[name].title for name in names]
            return False
        self.begun, self.spare = (self.clock(), cost), self.spare - needed
        return True

    def learn(self, slug: str, seconds: float) -> None:
        """How long a chapter took, with its files, tells how slow painting is here and now; its maps and trials do not."""
        passes = self._asking(slug)
        self.slowness.learn(self._painted(slug), max(0.0, seconds - self.mapping - passes))

    # ------------------------------------------------------------ what is said

    @property
    def cut(self) -> bool:
        """Whether anything was reduced or left out."""
        return bool(self.reduced or self.left_out or self.untried or self.chapters or self.rest)

    def footer(self) -> str:
        """The budget in a line of the page's last part."""
        whole = f"{self.seconds:g} s from the start of the command"
        return whole + ("" if reproducible() else f", {self.spent:.1f} s of them gone before the page was written")

    def sentences(self) -> tuple[str, ...]:
        """What the budget cost, for the page."""
        fits = self.planned is None or self.planned.fits
        return (sentence(self.seconds, self.reduced, gone(self.left_out, self.untried, self.rest, self.chapters), fits=fits),)

    def ended(self) -> str:
        """The same for stderr, when all is written: with what it took."""
        return f"{self.sentences()[0]} Asked {self.seconds:g} s, took {self.spent:.1f} s, of which {self.loading:.1f} s to load."

    def told(self) -> dict[str, Any]:
        """For the manifest."""
        timed = not reproducible()
        return {
            "seconds": self.seconds, "planned": round(self.planned.seconds, 3) if self.planned and timed else None,
            "loading": round(self.loading, 3) if timed else None, "spent": round(self.spent, 3) if timed else None,
            "skipped": [*self.left_out, *(f"trials of {name}" for name in self.untried), *(f"the rest of {one}" for one in self.rest),
                        *self.chapters],
            "reduced": {name: {"from": before, "to": after} for name, (before, after) in self.reduced.items()},
        }  # fmt: skip

    # ------------------------------------------------------------ arithmetic

    def _fits(self, seconds: float) -> bool:
        """Whether something that takes so long leaves time for what must still come."""
        return self.spent + MARGIN * (seconds + self._after(self.making)) <= self.seconds

    def _after(self, making: str) -> float:
        """Seconds of the chapters that must still be made, and of the page; before any are known: of all of them."""
        waiting = self.waiting or (set() if making else set(FIRST))
        return self.slowness.value * WRITING + sum(self._usual(slug) for slug in waiting if slug in FIRST)

    def _attention(self) -> float:
        """Seconds to paint the attention chapter, its first exhibit at least: maps that nobody can look at are worth nothing."""
        return self.slowness.value * self._painted("attention")

    def _map(self, method: str) -> float:
        """Seconds that the plan gives to a method's maps of all pictures."""
        if self.planned is None or self.speed is None:
            return 0.0
        passes, backward = self.passes.get(method, (2.0, True))
        return self.speed.seconds(passes, backward=backward) * self.planned.pictures + AROUND_A_MAP * self.slowness.value

    def _trial(self, names: Sequence[str]) -> float:
        """Seconds that putting these methods to the test should take."""
        if self.speed is None:
            return float("inf")
        prices = [self.passes[name] for name in names]
        return sum(self.trials.seconds(passes, self.speed, backward=backward) for passes, backward in prices)

    def _cheapest(self) -> list[str]:
        """The methods that are put to the test first: those of the shared pass."""
        return [name for name in self.passes if name in SHARED]

    def _usual(self, slug: str) -> float:
        """Seconds of a chapter, painted and asked."""
        return self.slowness.value * self._painted(slug) + self._asking(slug)

    def _painted(self, slug: str) -> float:
        """Seconds of painting where the chapters were measured."""
        return painted(slug, self.gigamacs, rows=self.rows, trials=self.trust)

    def _asking(self, slug: str) -> float:
        """Seconds of the passes of a chapter that are no maps of methods."""
        if self.speed is None:
            return 0.0
        large, pictures = self.gigamacs >= LARGE_GIGAMACS, self.planned.pictures if self.planned else 1
        held = 0 if large else CANDIDATES * min(HELD, self.answered[1])
        forward = {"mistakes": self.answered[1], "attention": pictures, "evidence": held}
        both = {"relevance": (7 if large else 18) * max(1, self.rows // 2), "localisation": 5 if large else 24, "receptive-fields": 8}
        return forward.get(slug, 0) * self.speed.forward + both.get(slug, 0) * self.speed.both

    def _tried(self) -> None:
        """Learn from the trials that were begun last."""
        if self.begun is not None:
            started, cost = self.begun
            taken = self.clock() - started
            self.trying.learn(cost, taken)
            self.mapping, self.begun = self.mapping + taken, None


def pace(budget: float | None, started: float | None = None, clock: Callable[[], float] = time.perf_counter) -> Pace | None:
    """The course of a report; None without a budget.

    started  when the budget began, by the same clock; None: now
    raises   InputRefused for a budget that is no time at all
    """
    if budget is None:
        return None
    if not 0 < budget < float("inf"):
        raise InputRefused(f"a budget of {budget:g} s came; give the seconds that the report may take, such as --budget 30.")
    return Pace(float(budget), clock, clock() if started is None else started)


def _task(name: str, model: nn.Module, preset: Preset, side: int) -> Task:
    about = methods()[name]

    def passes(detail: Detail) -> float:
        cut = replace(
            preset, steps=detail.steps, samples=detail.samples, masks=detail.masks, window=detail.window, stride=detail.stride
        )  # fmt: skip
        cost = about.cost(model, options_of(cut, 0, side, None), side)
        return 2.0 if cost is None else cost

    follows = about.family in ("cam", "perturbation") or about.complete  # the class: then a second one is asked about too
    return Task(name, passes, backward=about.family != "perturbation", second=follows)
