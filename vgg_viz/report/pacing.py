"""A report that must end in time: the clock, the measured speed, which chapters still fit, and what is said of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from vgg_viz.attribution import methods
from vgg_viz.attribution.shared import SHARED
from vgg_viz.capture.hooks import evaluating, frozen
from vgg_viz.errors import InputRefused
from vgg_viz.report.budget import EVALUATION, Detail, Plan, Speed, Task, Trials, evaluated, plan, reductions
from vgg_viz.report.preset import LARGE_GIGAMACS, Preset
from vgg_viz.report.shelf import options_of
from vgg_viz.report.stamp import reproducible

# Seconds of a chapter on the bundled network on two quiet cores, made and painted, without the maps; and what VGG16 adds.
CHAPTERS: dict[str, tuple[float, float]] = {
    "overview": (0.3, 0.4), "training": (0.3, 0.0), "data": (1.3, 0.7), "mistakes": (2.5, 0.0), "examples": (0.8, 0.5),
    "filters": (0.9, 0.6), "receptive-fields": (1.0, 5.0), "forensics": (0.5, 3.0), "activations": (1.1, 3.5), "attention": (2.2, 1.5),
    "relevance": (1.5, 4.0), "evidence": (0.4, 0.0), "explorer": (1.3, 1.0),
}  # fmt: skip
UNKNOWN_CHAPTER = (1.0, 1.0)
WRITING = 0.3  # the page itself [s]
# What a reader would miss most comes first; the others follow in the page's order.
FIRST = ("overview", "attention", "evidence")
MAPS_AT_MOST, MAPS_AT_LEAST = 0.7, 0.3  # of the budget: the slowness is a guess when the plan is made
PAINT_AT_MOST = 0.6  # of the budget for the first three chapters; beyond it the figures of maps show one photograph each
VGG16_GIGAMACS, SECONDS_A_GIGAMAC, LEAST_FORWARD = 15.5, 0.0125, 0.00025  # a forward pass on two quiet cores
PREPARING = 0.0015  # to read or paint one labelled picture of 64 px [s]
TRIALS = Trials()
# What `report.trials` asks of a large network: three questions about four pictures, and none of a map of more than 20 passes.
TRIALS_OF_LARGE = Trials(pictures=12.0, pictures_dear=0.0, dear=20.0, most=60.0, forwards=24.0, around=0.9)
NAMES = {
    "pictures": "pictures looked into", "steps": "steps of a path", "samples": "noisy copies", "masks": "random masks",
    "window": "side of the occluding square (share of the picture's)", "stride": "step of the occluding square (share of its side)",
}  # fmt: skip
WITHOUT = "leave --budget out, or give more seconds"

Maker = TypeVar("Maker")


@dataclass(slots=True)
class Pace:
    """The course of one report under a budget of `seconds`.

    clock      [s], from any start
    slowness   how many times longer than on quiet cores things take here, learned while they are made
    left_out   what was left out, each with its name as a reader knows it; chapters: their titles
    """

    seconds: float
    clock: Callable[[], float] = time.perf_counter
    started: float = 0.0
    slowness: float = 1.0
    gigamacs: float = 0.0
    planned: Plan | None = None
    reduced: dict[str, tuple[float, float]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    chapters: list[str] = field(default_factory=list)
    answered: tuple[int, int] = (0, 0)
    waiting: set[str] = field(default_factory=set)
    expected: float = 0.0
    taken: float = 0.0

    @property
    def spent(self) -> float:
        """Seconds since the start."""
        return self.clock() - self.started

    def prepare(self, preset: Preset, model: nn.Module, side: int, gigamacs: float) -> Preset:
        """The preset cut to what fits, from one timed forward, and one forward with its way back."""
        self.gigamacs = gigamacs
        speed = measured(model, side, large=gigamacs >= 1, clock=self.clock)
        usual = max(LEAST_FORWARD, gigamacs * SECONDS_A_GIGAMAC)
        self.slowness = min(10.0, max(0.7, speed.forward / usual))
        detail = Detail(preset.steps, preset.samples, preset.masks, preset.window, preset.stride)
        essential = self.slowness * (sum(self._usual(slug) for slug in FIRST) + WRITING)
        room = min(MAPS_AT_MOST * self.seconds, self.seconds - self.spent - essential)
        room = max(room - EVALUATION * self.seconds, MAPS_AT_LEAST * self.seconds)
        usual_trials = TRIALS_OF_LARGE if gigamacs >= LARGE_GIGAMACS and preset.name != "full" else TRIALS
        trials = replace(usual_trials, around=usual_trials.around * self.slowness) if preset.trust else None
        tasks = [_task(name, model, preset, side) for name in preset.methods]
        self.planned = plan(room, speed, tasks, detail, pictures=preset.pictures, trials=trials)
        used = {"pictures", *(option for name in self.planned.methods for option in methods()[name].reads)}
        self.reduced = {name: pair for name, pair in reductions(self.planned, detail, preset.pictures).items() if name in used}
        kept = evaluated(self.seconds, speed, preset.evaluated, preparing=PREPARING * self.slowness * max(1.0, side / 64))
        self.answered = preset.evaluated, kept
        titles = {name: method.title for name, method in methods().items()}
        self.left_out += [titles[name] for name in preset.methods if name not in self.planned.methods]
        self.left_out += [] if self.planned.second else ["maps for a second class, but Grad-CAM"]
        self.left_out += ["the trials of the methods"] if preset.trust and not self.planned.trials else []
        rows = 1 if essential > PAINT_AT_MOST * self.seconds else preset.rows
        if rows < preset.rows:
            self.reduced["photographs in a figure of maps"] = (preset.rows, rows)
        coarse = detail.coarser(self.planned.level)
        return replace(
            preset, rows=rows, methods=self.planned.methods, pictures=self.planned.pictures, evaluated=kept, trust=self.planned.trials,
            steps=coarse.steps, samples=coarse.samples, masks=coarse.masks, window=coarse.window, stride=coarse.stride,
        )  # fmt: skip

    def answers(self, count: int) -> None:
        """There are `count` labelled pictures: where that is as many as the plan allows, it may have cut them."""
        before, kept = self.answered
        if kept < before and count >= kept:
            self.reduced["labelled pictures"] = (before, count)

    def ordered(self, makers: Sequence[Maker], slug: Callable[[Maker], str]) -> list[Maker]:
        """Chapters in the order in which they are made: what would be missed most comes first."""
        self.waiting = {slug(maker) for maker in makers}
        return sorted(makers, key=lambda maker: FIRST.index(slug(maker)) if slug(maker) in FIRST else len(FIRST))

    def refusal(self, slug: str, title: str) -> str:
        """Why a chapter is left out, "" where it fits; the first three are made whatever they cost."""
        self.waiting.discard(slug)
        needed = self.slowness * self._usual(slug)
        left = self.seconds - self.spent - self.slowness * (WRITING + sum(self._usual(one) for one in self.waiting if one in FIRST))
        if slug in FIRST or needed <= left:
            return ""
        if slug == "explorer":
            self.left_out.append("the network to touch")
            return f"The network to touch was left out to stay within the budget of {self.seconds:g} s; {WITHOUT}."
        self.chapters.append(title)
        return f"Left out to stay within the budget of {self.seconds:g} s; {WITHOUT}."

    def learn(self, slug: str, seconds: float) -> None:
        """How long a chapter took tells how slow this machine is now; that with the maps depends on the plan, and tells nothing."""
        if slug == "attention":
            return
        self.expected += self._usual(slug)
        self.taken += seconds
        self.slowness = min(10.0, max(0.3, self.taken / self.expected))

    @property
    def cut(self) -> bool:
        """Whether anything was reduced or left out."""
        return bool(self.reduced or self.left_out or self.chapters)

    def without(self) -> frozenset[tuple[str, str]]:
        """(method, target) of the maps that the plan leaves out though the preset has their method."""
        second = self.planned is None or self.planned.second
        return frozenset() if second else frozenset((name, "second") for name in methods() if name not in SHARED)

    def footer(self) -> str:
        """The budget in a line of the page's last part."""
        return f"{self.seconds:g} s" + ("" if reproducible() else f", {self.spent:.1f} s of them spent before the page was written")

    def sentences(self) -> tuple[str, ...]:
        """What the budget cost, for the page and for stderr."""
        cut = [f"{NAMES.get(name, name)} from {_short(before)} to {_short(after)}" for name, (before, after) in self.reduced.items()]
        several = "chapter" if len(self.chapters) == 1 else "chapters"
        gone = self.left_out + ([f"the {several} {', '.join(self.chapters)}"] if self.chapters else [])
        parts = ([f"reduced: {', '.join(cut)}"] if cut else []) + ([f"left out: {', '.join(gone)}"] if gone else [])
        if not parts:
            return (f"The budget of {self.seconds:g} s was enough for everything.",)
        short = "" if self.planned is None or self.planned.fits else " Even the least takes longer than that."
        return (f"To stay within the budget of {self.seconds:g} s: {'; '.join(parts)}.{short}",)

    def told(self) -> dict[str, Any]:
        """For the manifest."""
        timed = not reproducible()
        return {
            "seconds": self.seconds, "planned": round(self.planned.seconds, 3) if self.planned and timed else None,
            "spent": round(self.spent, 3) if timed else None, "skipped": [*self.left_out, *self.chapters],
            "reduced": {name: {"from": before, "to": after} for name, (before, after) in self.reduced.items()},
        }  # fmt: skip

    def _usual(self, slug: str) -> float:
        small, more = CHAPTERS.get(slug, UNKNOWN_CHAPTER)
        return small + more * min(1.5, self.gigamacs / VGG16_GIGAMACS)


def pace(budget: float | None, clock: Callable[[], float] = time.perf_counter) -> Pace | None:
    """The course of a report that starts now; None without a budget.

    raises  InputRefused for a budget that is no time at all
    """
    if budget is None:
        return None
    if not 0 < budget < float("inf"):
        raise InputRefused(f"a budget of {budget:g} s came; give the seconds that the report may take, such as --budget 30.")
    return Pace(float(budget), clock, clock())


def measured(model: nn.Module, side: int, *, large: bool, clock: Callable[[], float] = time.perf_counter) -> Speed:
    """Time one forward pass, and one with its way back, a picture; the median of some tries after one that warms up.

    large  one picture at a time; a small network is timed on eight, as it is used
    """
    weight = next(model.parameters())
    count = 1 if large else 8
    channels = next(module.in_channels for module in model.modules() if isinstance(module, nn.Conv2d))
    images = torch.full((count, channels, side, side), 0.5, device=weight.device).to(memory_format=torch.channels_last)

    def timed(run: Callable[[], Tensor]) -> float:
        started = clock()
        float(run().sum())  # waits for a GPU, too
        return max(clock() - started, 1e-9) / count

    def back() -> Tensor:
        given = images.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(model(given).amax(1).sum(), given)
        return gradient

    with evaluating(model), frozen(model), torch.inference_mode(False):
        with torch.no_grad():
            forward = median([timed(lambda: model(images)) for _ in range(2 if large else 8)][1:])
        with torch.enable_grad():
            both = median(timed(back) for _ in range(1 if large else 5))
    return Speed(forward, max(both, forward))


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


def _short(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"
