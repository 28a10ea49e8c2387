"""How much each method is asked in the tests: bounded by passes, not by the clock, so that a verdict is the same on every machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vgg_viz.attribution.single_pass import SHARED
from vgg_viz.faithfulness.grid import QUARTERS
from vgg_viz.faithfulness.records import FaithfulnessRequest
from vgg_viz.faithfulness.verdict import FEWEST

EXPENSIVE_PASSES = (
    20  # passes a map; a more expensive method meets three levels of the cascade: the top layer, the upper half, all
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What one method is asked: about how many pictures, of how many again, at which levels of the cascade, of how many grids."""

    pictures: int
    again: int
    stages: tuple[int, ...]
    grids: int


def planned(request: FaithfulnessRequest, cost: float, pictures: int, stages: Sequence[int], *, there: bool) -> Plan:
    """How much one method is asked.

    Args:
        request: The limits: pictures to compare, draws of noise, grids, passes.
        cost: Passes of one of its maps.
        pictures: That there are.
        stages: Of the cascade at which its maps are drawn.
        there: The maps of all pictures exist already.
    """

    def afforded(count: int, price: float, least: int) -> int:
        most = request.most_passes
        return count if most is None else max(min(least, count), min(count, int(most / price)))

    count = pictures if there else afforded(pictures, cost, FEWEST)
    again = afforded(min(request.compared, count), cost * (len(stages) + 1 + request.draws), request.least)
    if again < min(FEWEST, request.compared, count):
        again = 0  # one picture or two would only look like an answer
    grids = afforded(request.grids * QUARTERS, cost, request.least) // QUARTERS
    return Plan(count, again, tuple(stages), grids)


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
