"""How much each method is asked in the trials: bounded by passes, not by the clock, so that a verdict is the same on every machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vgg_viz.attribution.single_pass import SHARED
from vgg_viz.faithfulness.grid import QUARTERS
from vgg_viz.faithfulness.verdict import FEWEST

EXPENSIVE_PASSES = (
    20  # passes a map; a dearer method meets three levels of the cascade: the top layer, the upper half, all
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What one method is asked: about how many pictures, of how many again, at which levels of the cascade, of how many grids."""

    pictures: int
    again: int
    stages: tuple[int, ...]
    grids: int


def planned(
    cost: float,
    pictures: int,
    compared: int,
    draws: int,
    stages: Sequence[int],
    grids: int,
    most: int | None,
    least: int,
    there: bool,
) -> Plan:
    """The plan of a method whose map costs `cost` passes.

    pictures  that there are; compared: of them at most to be asked again, with `draws` of noise, at these `stages` of the cascade
    most      passes for either kind of question, or None; least: pictures asked again whatever that says
    there     the maps of all pictures exist already
    """

    def afforded(count: int, price: float, least: int) -> int:
        return count if most is None else max(min(least, count), min(count, int(most / price)))

    count = pictures if there else afforded(pictures, cost, FEWEST)
    again = afforded(min(compared, count), cost * (len(stages) + 1 + draws), least)
    if again < min(FEWEST, compared, count):
        again = 0  # one picture or two would only look like an answer
    return Plan(count, again, tuple(stages), afforded(grids * QUARTERS, cost, least) // QUARTERS)


def half(levels: int) -> int:
    """How many layers the upper half has."""
    return max(1, levels // 2)


def stages_of(cost: float, depth: int, most: int) -> tuple[int, ...]:
    """At how many randomised layers maps are drawn: the first, the upper half, all, and others evenly between."""
    if most <= 2:
        return (depth,) if most == 1 else tuple(sorted({half(depth), depth}))
    if cost > EXPENSIVE_PASSES:
        return tuple(sorted({1, half(depth), depth}))
    spread = (
        [round(1 + i * (depth - 1) / max(1, most - 1)) for i in range(most)]
        if most < depth
        else list(range(1, depth + 1))
    )
    return tuple(sorted({1, half(depth), depth, *spread}))


def rounds(costs: Mapping[str, float]) -> list[list[str]]:
    """Methods as they are put to the test: those of one shared pass together, then each of the others, the cheap ones first."""
    first = [name for name in costs if name in SHARED]
    rest = sorted((name for name in costs if name not in SHARED), key=lambda name: costs[name])
    return ([first] if first else []) + [[name] for name in rest]
