"""What a report can afford in a number of seconds: arithmetic over passes, with no clock and no network.

A map costs passes (`Method.cost`) times pictures times the seconds of a pass. Plans are tried from the richest down, and the
first that fits is taken; the last one, Grad-CAM and saliency of one picture, is taken whatever it costs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from vgg_viz.attribution.shared import SHARED  # a forward and a backward pass give them all

OVERHEAD = 1.15  # of what surrounds the passes: copies, noise, sums
LEVELS = 4  # of detail: all, a half, a quarter, an eighth
LEAST_STEPS, LEAST_SAMPLES, LEAST_MASKS = 4, 2, 32
VERY_DEAR = 40  # passes a map at the coarsest: no path and no noise, but a question for every channel or mask
EVALUATION = 0.12  # of the time left at most goes into answers on labelled pictures


@dataclass(frozen=True, slots=True)
class Speed:
    """How long one picture takes: forward, and forward and backward together [s]."""

    forward: float
    both: float

    def seconds(self, passes: float, *, backward: bool) -> float:
        """Of `passes` on one picture, half of which go backward where `backward`."""
        return OVERHEAD * passes * (self.both / 2 if backward else self.forward)


@dataclass(frozen=True, slots=True)
class Detail:
    """How finely the costly methods look: what a plan may cut.

    steps, samples, masks  as in `Options`; window: of occlusion, as a share of the side; stride: in windows
    """

    steps: int
    samples: int
    masks: int
    window: float
    stride: float

    def coarser(self, level: int) -> Detail:
        """The same at a level of detail: 0 for all of it, then halves; a square never moves by more than its side."""
        share = 2**level
        return replace(
            self, steps=min(self.steps, max(LEAST_STEPS, self.steps // share)),
            samples=min(self.samples, max(LEAST_SAMPLES, self.samples // share)),
            masks=min(self.masks, max(LEAST_MASKS, self.masks // share)), stride=self.stride if level == 0 else max(self.stride, 1.0),
            window=self.window * (1 if level < 2 else 2 ** (level - 1)),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Task:
    """One method of a report.

    passes    a picture, at a level of detail
    backward  half of its passes go backward
    second    whether it is asked about a second class too
    """

    name: str
    passes: Callable[[Detail], float]
    backward: bool = True
    second: bool = False


@dataclass(frozen=True, slots=True)
class Trials:
    """What putting one method to the test costs, beyond what its maps for the page do.

    pictures    worth of maps, of a method of up to `dear` passes a map, and of a dearer one, which is asked less
    most        passes that its maps may cost at all; forwards: passes of pictures taken apart; around: what is no pass [s]
    """

    pictures: float = 104.0
    pictures_dear: float = 64.0
    dear: float = 20.0
    most: float = 5200.0
    forwards: float = 250.0
    around: float = 0.9

    def seconds(self, passes: float, speed: Speed, *, backward: bool) -> float:
        """Of a method of `passes` a map."""
        maps = min(self.most, passes * (self.pictures if passes <= self.dear else self.pictures_dear))
        return speed.seconds(maps, backward=backward) + speed.seconds(self.forwards, backward=False) + self.around


@dataclass(frozen=True, slots=True)
class Plan:
    """What fits: pictures to look into, level of detail, methods, whether with a second class and with trials.

    seconds  that it is expected to take; `fits` is False only where even the least does not
    """

    pictures: int
    level: int
    methods: tuple[str, ...]
    second: bool
    trials: bool
    seconds: float
    fits: bool = True


def plan(
    seconds: float, speed: Speed, tasks: Sequence[Task], detail: Detail, *, pictures: int, trials: Trials | None = None
) -> Plan:
    """The richest plan whose maps and trials take at most `seconds`.

    detail    at full length; pictures: that the preset looks into, at least 1
    trials    what putting a method to the test costs; None: the preset has no trials
    """
    for one in _richest_first(tasks, detail, pictures, trials is not None):
        cost = cost_of(one, speed, tasks, detail, trials=trials)
        one = replace(one, seconds=cost, fits=cost <= seconds)
        if one.fits:
            return one
    return one


def cost_of(one: Plan, speed: Speed, tasks: Sequence[Task], detail: Detail, *, trials: Trials | None = None) -> float:
    """Seconds of a plan's maps and trials."""
    coarse = detail.coarser(one.level)
    total = 2 * one.pictures * speed.seconds(2, backward=True)  # the shared pass, for both classes
    for task in tasks:
        if task.name not in one.methods:
            continue
        passes = task.passes(coarse)
        if task.name not in SHARED:
            total += speed.seconds(passes, backward=task.backward) * one.pictures * (2 if one.second and task.second else 1)
        if one.trials and trials:
            total += trials.seconds(passes, speed, backward=task.backward)
    return total


def _richest_first(tasks: Sequence[Task], detail: Detail, pictures: int, trials: bool) -> Iterator[Plan]:
    """Detail goes first, then methods of very many passes, trials, pictures, the second class, and the costliest methods one by one.

    Methods such as Score-CAM ask hundreds of times at any level of detail: one of them must not cost a large network all the rest.
    """
    every = tuple(task.name for task in tasks)
    coarse = detail.coarser(LEVELS - 1)
    usual = tuple(task.name for task in tasks if task.name in SHARED or task.passes(coarse) <= VERY_DEAR)
    half = max(1, -(-pictures // 2))
    for tried in (True, False) if trials else (False,):
        for names in dict.fromkeys((every, usual)) if tried is trials else (usual,):
            for level in range(LEVELS):
                yield Plan(pictures, level, names, True, tried, 0.0)
    for fewer in dict.fromkeys((half, min(2, half))):
        yield Plan(fewer, LEVELS - 1, usual, True, False, 0.0)
    few = min(2, half)
    yield Plan(few, LEVELS - 1, usual, False, False, 0.0)
    by_cost = sorted((task for task in tasks if task.name in usual and task.name not in SHARED), key=lambda task: task.passes(coarse))
    while by_cost:
        by_cost.pop()
        left = {task.name for task in by_cost}
        yield Plan(few, LEVELS - 1, tuple(name for name in every if name in left or name in SHARED), False, False, 0.0)
    yield least(tasks)


def least(tasks: Sequence[Task]) -> Plan:
    """What is made whatever it costs: the maps of one shared pass on one picture."""
    every = tuple(task.name for task in tasks)
    return Plan(1, LEVELS - 1, tuple(name for name in every if name in SHARED) or every[:1], False, False, 0.0)


def reductions(one: Plan, detail: Detail, pictures: int) -> dict[str, tuple[float, float]]:
    """What a plan cut: name -> (the preset's number, the plan's)."""
    coarse = detail.coarser(one.level)
    pairs: Mapping[str, tuple[float, float]] = {
        "pictures": (pictures, one.pictures), "steps": (detail.steps, coarse.steps), "samples": (detail.samples, coarse.samples),
        "masks": (detail.masks, coarse.masks), "window": (detail.window, coarse.window), "stride": (detail.stride, coarse.stride),
    }  # fmt: skip
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def evaluated(seconds: float, speed: Speed, wanted: int, *, preparing: float) -> int:
    """How many labelled pictures may be answered in `seconds` that are left; preparing: seconds to read or paint one."""
    return max(1, min(wanted, int(EVALUATION * seconds / (speed.forward + preparing))))
