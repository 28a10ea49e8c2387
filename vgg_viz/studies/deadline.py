"""A report that must end in time: the clock, what still fits before it runs out, and what is said of the rest.

The seconds run from the start of the command, so loading Python's libraries counts. What is running is never cut off: the clock is
asked before each section, each map and each round of trials, and what would no longer fit is left out. Nothing is known of a machine
but what was seen of it: how long loading took, one measured pass, and the sections so far.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from vgg_viz.attribution import methods
from vgg_viz.attribution.single_pass import SHARED
from vgg_viz.capture.hooks import eval_mode, frozen
from vgg_viz.errors import InputRefused
from vgg_viz.studies.preset import Preset
from vgg_viz.versions import reproducible

# Made first, and whatever they take: what a reader would miss most. The others follow in the page's order.
FIRST = ("overview", "attention", "evidence")
SHORT = 2.0  # times the loading: with less time left than that, one picture and the maps of the shared pass must do
WRITING = 0.25  # of the loading: what the page itself takes when all sections are made
MAPS = 0.5  # of the time left when a section begins, for its maps and trials; they still have to be painted
TRIALS = 0.5  # of that, at most, for a round of trials: it comes before the maps that it is about
SHARED_PASS = 0.25  # of the time left at the start, for two passes on every picture, for two classes
ANSWERS = 0.12  # of the time left at the start, for answers on labelled pictures
LEAST_ANSWERS = 16
READING = 0.003  # to read or paint one labelled picture of 64 px [s]
QUICK = 0.05  # a pass below it is measured again on eight pictures at once, as small networks are used [s]
MARGIN = 1.2  # of what was estimated: a machine that others use may become slower


@dataclass(slots=True)
class Deadline:
    """The end of one report, `seconds` after `started`.

    clock     [s], from any start
    loading   that was over before anything could be measured [s]; a_pass: of the network on one picture, forward or backward [s]
    taken     by each section so far, but the attention section, which has most of the maps [s]
    least     whether only the least is made
    reduced   what became less, name -> (before, after); left_out: maps and trials, by name; parts: sections, by title
    """

    seconds: float
    started: float
    clock: Callable[[], float] = time.perf_counter
    loading: float = 0.0
    a_pass: float = 0.0
    taken: list[float] = field(default_factory=list)
    least: bool = False
    reduced: dict[str, tuple[float, float]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    _making: tuple[str, float] = ("", 0.0)  # the section, and when it began
    _maps_until: float = 0.0
    _trial: tuple[float, float] = (0.0, 0.0)  # when the last round began, and what it was estimated at [s]
    _trials_take: float = 1.0  # times what was estimated

    @property
    def spent(self) -> float:
        """Seconds since the start."""
        return self.clock() - self.started

    @property
    def left(self) -> float:
        """Seconds before the page must be written."""
        return self.seconds - self.spent - WRITING * self.loading

    @property
    def usual(self) -> float:
        """What a section takes here [s]: the root mean square of those so far, which lies between their mean and the slowest."""
        return math.sqrt(sum(one**2 for one in self.taken) / max(1, len(self.taken)))

    # ------------------------------------------------------------ the clock is asked

    def shorten(self, preset: Preset, model: nn.Module, side: int) -> Preset:
        """The preset with as many pictures (of `side` [px]) as there is time for; one pass of the network is measured."""
        self.loading = self.spent
        self.least = self.left < SHORT * self.loading
        self.a_pass = seconds_of_a_pass(model, side, self.clock)
        left = max(0.0, self.left)
        answered = max(LEAST_ANSWERS, int(ANSWERS * left / (self.a_pass + READING * side / 64)))
        shown = 1 if self.least else max(1, int(SHARED_PASS * left / (4 * self.a_pass)))
        cut = replace(preset, evaluated=min(preset.evaluated, answered), pictures=min(preset.pictures, shown))
        if self.least:
            shared = tuple(name for name in preset.methods if name in SHARED)
            cut = replace(cut, rows=1, trust=False, methods=shared or preset.methods[:1])
        names = {
            "pictures": "pictures looked into",
            "evaluated": "labelled pictures",
            "rows": "pictures in a figure of maps",
        }
        pairs = {said: (getattr(preset, name), getattr(cut, name)) for name, said in names.items()}
        self.reduced = {said: pair for said, pair in pairs.items() if pair[0] != pair[1]}
        self.left_out += [methods()[name].title for name in preset.methods if name not in cut.methods]
        self.left_out += ["the trials of the methods"] if cut.trust != preset.trust else []
        return cut

    def rank(self, slug: str) -> int:
        """What sorts sections into the order in which they are made: what would be missed most comes first."""
        return FIRST.index(slug) if slug in FIRST else len(FIRST)

    def refusal(self, slug: str, title: str) -> str:
        """Asked before a section is made: "" where it is expected to fit, else why it is left out."""
        now, (making, begun) = self.clock(), self._making
        if making not in ("", "attention"):
            self.taken.append(now - begun)
        self._making, self._maps_until = (slug, now), now + MAPS * self.left
        if slug in FIRST or MARGIN * self.usual <= self.left:
            return ""
        self._making = ("", now)
        self.parts.append(title)
        return f"{title} was left out to stay within the budget of {self.seconds:g} s; leave --budget out, or give more seconds."

    def allows_map(self, name: str, passes: float) -> bool:
        """Asked before a map set of so many passes is made."""
        if self.clock() + MARGIN * passes * self.a_pass <= self._maps_until:
            return True
        self.left_out += [] if name in self.left_out else [name]
        return False

    def allows_trials(self, names: Sequence[str], passes: float) -> bool:
        """Asked before a round of trials of the methods called `names`; how far the last round was misjudged tells of this one."""
        now, (begun, expected) = self.clock(), self._trial
        if expected:
            self._trials_take = (now - begun) / expected
        self._trial = (now, passes * self.a_pass)
        if MARGIN * self._trials_take * passes * self.a_pass <= TRIALS * (self._maps_until - now):
            return True
        self._trial = (now, 0.0)
        self.left_out += [f"the trials of {name}" for name in names]
        return False

    # ------------------------------------------------------------ what is said

    @property
    def cut(self) -> bool:
        """Whether anything was reduced or left out."""
        return bool(self.reduced or self.left_out or self.parts)

    def sentence(self) -> str:
        """What was reduced and what is gone, for the page."""
        if not self.cut:
            return f"The budget of {self.seconds:g} s was enough for everything."
        parts = f"the {'part' if len(self.parts) == 1 else 'parts'} {', '.join(map(repr, self.parts))}"
        gone = [*self.left_out, *([parts] if self.parts else [])]
        reduced = [f"{name} from {before:,} to {after:,}" for name, (before, after) in self.reduced.items()]
        said = ([f"reduced: {', '.join(reduced)}"] if reduced else []) + (
            [f"left out: {', '.join(gone)}"] if gone else []
        )
        late = " That leaves the least that is made in any case." if self.least else ""
        return f"To stay within the budget of {self.seconds:g} s: {'; '.join(said)}.{late}"

    def ended(self) -> str:
        """The same for stderr, when all is written: with what it took."""
        return f"{self.sentence()} Asked {self.seconds:g} s, took {self.spent:.1f} s, of which {self.loading:.1f} s to load."

    def facts(self) -> dict[str, Any]:
        """For the manifest."""
        timed = {"loading": round(self.loading, 3), "pass": round(self.a_pass, 6), "spent": round(self.spent, 3)}
        reduced = {name: {"from": before, "to": after} for name, (before, after) in self.reduced.items()}
        timed = {} if reproducible() else timed
        return {"seconds": self.seconds, **timed, "skipped": [*self.left_out, *self.parts], "reduced": reduced}


def deadline_of(
    budget: float | None, began: float | None = None, clock: Callable[[], float] = time.perf_counter
) -> Deadline | None:
    """The deadline of a report; None without a budget.

    began   when the budget began, by the same clock; None: now
    raises  InputRefused for a budget that is no time at all
    """
    if budget is None:
        return None
    if not 0 < budget < float("inf"):
        raise InputRefused(
            f"a budget of {budget:g} s came; give the seconds that the report may take, such as --budget 30."
        )
    return Deadline(float(budget), clock() if began is None else began, clock)


def seconds_of_a_pass(model: nn.Module, side: int, clock: Callable[[], float]) -> float:
    """Half of what one picture takes forward and backward [s]; of a small network, the best of some tries."""
    channels = next(module.in_channels for module in model.modules() if isinstance(module, nn.Conv2d))
    device = next(model.parameters()).device

    def taken(count: int) -> float:
        images = torch.full((count, channels, side, side), 0.5, device=device, requires_grad=True)
        started = clock()
        with eval_mode(model), frozen(model), torch.enable_grad():
            (gradient,) = torch.autograd.grad(model(images).sum(), images)
        float(gradient.sum())  # waits for a GPU, too
        return max(clock() - started, 1e-9) / (2 * count)

    first = taken(1)
    return first if first > QUICK else min(taken(8) for _ in range(3))
