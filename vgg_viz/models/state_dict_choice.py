"""Which network a state dict is, where its shapes leave several: by its numbers, its names, the paper's widths and the usual sides."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

from vgg_viz.errors import CheckpointRefused, PlanUnclear
from vgg_viz.models.plan import Step, write_plan
from vgg_viz.models.state_dict_order import map_side
from vgg_viz.models.state_dict_pools import (
    AVERAGE_POOL,
    MAX_POOL,
    POSSIBLE_SIDES,
    USUAL_SIDES,
    Fit,
    Placement,
    fits,
    placements,
    strided_fits,
)
from vgg_viz.models.state_dict_steps import Layers, Reading, keyed_steps

SMALL_SIDE, LARGE_SIDE, LARGE_MAP = 32, 224, 7
CIFAR_CLASSES = (10, 100)
WIDE = 512  # channels of the last convolution of a VGG at its full width
MOST_PLANS = 3
NO_PLACES = "neither numbers nor names show where the pools are"
_COURSE = re.compile(r"(?:^|.*\.)(?:conv_)?block_?\d+\.\d+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Choice:
    """The network that was chosen of those that fit.

    Attributes:
        reading: What was chosen.
        how: From what the places of the pools are known: see `Placement.how`.
        kind: "paper": the paper's convolutions; "course": a small network as courses build them; "other".
        needed: Side of the map that the classifier reads; 0: there is none, or it slides.
        usual: Whether the side of the pictures is a usual one.
        rivals: Other readings that fit as well by what is known.
        others: The same reading at other paddings and sides.
    """

    reading: Reading
    how: str
    kind: str
    needed: int = 0
    usual: bool = True
    rivals: tuple[Reading, ...] = ()
    others: tuple[Fit, ...] = ()


def plan_of(layers: Layers, reading: Reading) -> str:
    """The plan of a reading."""
    return write_plan([step for step, _ in keyed_steps(layers, reading)])


def choose(layers: Layers, variant: str, note: Placement | None, *, paper: bool = False) -> Choice:
    """The likeliest network of these layers.

    Args:
        layers: In their order.
        variant: Whose convolutions these are; "" where they are no variant's.
        note: Where a note in the file has the pools.
        paper: Whether the user has said that they are at the paper's places.

    Raises:
        PlanUnclear: Where several fit and nothing tells them apart.
        CheckpointRefused: Where none does.
    """
    kind = "paper" if variant else "course" if of_a_course(layers) else "other"
    found, numbered = ([note], True) if note else placements(layers.convs, layers.gaps, variant, layers.adapters)
    if paper:
        found = [one for one in found if one.how == "paper"] or found
    needed = _needed(layers)
    if not needed:
        return _without_side(layers, found, kind, numbered)
    ends = _ends(layers)
    found = [replace(one, last=ends) if ends is not None and one.last is None else one for one in found]
    if kind == "paper":
        return _of_the_paper(layers, variant, found, numbered, needed)
    paddings = (0, None) if kind == "course" else (None, 0)
    usual = [fit for one in found for fit in fits(layers.convs, one, needed, USUAL_SIDES, paddings)]
    usual = _likelier_first(usual, kind)
    distinct = _distinct(usual, numbered)
    if needed == 1 and not numbered and kind == "other":
        distinct = _rivals_of_an_average(found)
    if distinct and (numbered or len(distinct) == 1 or distinct[0].placement.how == "blocks"):
        return _chosen(layers, distinct, kind, needed, paddings)
    if distinct:
        raise unclear(layers, [Reading(fit, _average(kind, needed)) for fit in distinct])
    if numbered and not note and len(layers.convs) > 2 and not any(one.pools for one in found):
        _require_pools(layers, needed)
    return _unusual(layers, found, kind, needed, paddings)


def unclear(layers: Layers, readings: Sequence[Reading], why: str = NO_PLACES) -> PlanUnclear:
    """The refusal that offers the plans of these readings."""
    plans = list(dict.fromkeys(plan_of(layers, reading) for reading in readings))[:MOST_PLANS]
    listed = " or ".join(f"--plan {shlex.quote(plan)}" for plan in plans)
    return PlanUnclear(
        f"the weights fit several networks: {why}; give the chain of its layers: {listed}, or another.", plans
    )


# ---------------------------------------------------------------- kinds of networks


def of_a_course(layers: Layers) -> bool:
    """Blocks numbered as in the courses' TinyVGG, or several convolutions of one width throughout."""
    convs = layers.convs
    named = all(_COURSE.fullmatch(unit.main.stem) for unit in convs)
    narrow = len(convs) > 1 and len({unit.main.outputs for unit in convs}) == 1
    return named or (narrow and all(unit.main.kernel == 3 for unit in convs) and len(layers.units) - len(convs) == 1)


def _needed(layers: Layers) -> int:
    if layers.head == len(layers.units):
        return 0
    first, last = layers.units[layers.head], layers.convs[-1].main.outputs
    if first.main.kind == "fc":
        return map_side(first, last)
    return first.main.kernel if first.main.kernel > 1 else 0


def _ends(layers: Layers) -> tuple[Step, ...] | None:
    """What stands behind the last convolution, where numbers show it: all is in one Sequential."""
    gap = layers.gaps[layers.head - 1]
    return () if gap.numbered and gap.room < 2 else None  # the flattening has a number, too


def _average(kind: str, needed: int) -> int:
    """Side of the map that an average pool makes: one that leaves a single place changes nothing where pools have left it."""
    return needed if kind == "paper" or (kind == "other" and needed == 1) else 0


# ---------------------------------------------------------------- the paper's


def _of_the_paper(layers: Layers, variant: str, found: Sequence[Placement], numbered: bool, needed: int) -> Choice:
    sides = list(dict.fromkeys((LARGE_SIDE if needed == LARGE_MAP else 32 * needed, *USUAL_SIDES)))
    distinct = _distinct([fit for one in found for fit in fits(layers.convs, one, needed, sides, (None,))], numbered)
    if not numbered and needed == 1:
        distinct = _rivals_of_an_average([one for one in found if one.how in ("blocks", "paper", "pairs")])
    average = 0 if layers.slides else needed
    if not distinct:
        fit = Fit(found[0], _last(found[0]), None, _side_of_an_average(layers, needed))
        return Choice(
            Reading(fit, needed), found[0].how, "paper", needed, usual=False, rivals=_ended(layers, fit, needed)
        )
    first, *others = distinct
    if others and not numbered and first.placement.how != "blocks":
        raise unclear(layers, [Reading(fit, average) for fit in distinct])
    first = _as_published(layers, first, needed)
    if needed == 1 and average and _side_of_an_average(layers, 1) == LARGE_SIDE:
        first = replace(first, image_side=LARGE_SIDE)
    lrn = numbered and variant == "vgg11" and _like_a_lrn(layers, first)
    rivals = (*_ended(layers, first, average), *(Reading(fit, average) for fit in others))
    return Choice(Reading(first, average, lrn=lrn), first.placement.how, "paper", needed, rivals=rivals)


def _like_a_lrn(layers: Layers, fit: Fit) -> bool:
    """Whether one number more is free behind the first convolution alone, as the normalisation of A-LRN leaves it."""
    spare = [layers.gaps[place].room - (place in fit.placement.pools) for place in range(len(layers.convs) - 1)]
    return spare[0] == 1 and not any(spare[1:])


def _as_published(layers: Layers, fit: Fit, needed: int) -> Fit:
    """The pruning literature's VGGs for small pictures call their convolutions `feature` and end with an average pool."""
    theirs = all(unit.main.path[-2:-1] == ("feature",) for unit in layers.convs)
    return replace(fit, last=(AVERAGE_POOL,)) if theirs and needed == 1 and fit.last == (MAX_POOL,) else fit


def _side_of_an_average(layers: Layers, needed: int) -> int:
    """The usual side of pictures for a network that averages its last map, at any side."""
    last, classes = layers.convs[-1].main.outputs, layers.units[-1].main.outputs
    if needed == LARGE_MAP or (last >= WIDE and classes not in CIFAR_CLASSES):
        return LARGE_SIDE
    return (
        SMALL_SIDE
        if needed == 1
        else next(side for side in (32, 64, 96, 128, 224, 256, 512, 4096) if side >= 4 * needed)
    )


def _rivals_of_an_average(found: Sequence[Placement]) -> list[Fit]:
    """The mean of the last map says nothing of the pools before: all that leave a map of small pictures fit."""
    return [
        Fit(one, _last(one), None, SMALL_SIDE) for one in found if 2 ** (len(one.pools) + len(_last(one))) <= SMALL_SIDE
    ]


def _last(placement: Placement) -> tuple[Step, ...]:
    if placement.last is not None:
        return placement.last
    return (MAX_POOL,) if placement.pools or placement.how != "none" else ()


def _ended(layers: Layers, fit: Fit, average: int) -> tuple[Reading, ...]:
    """The same network with another end of its features: an average pool, or the average of a larger map."""
    if len(fit.last) != 1 or fit.placement.last is not None:
        return ()
    side = average or _needed(layers)
    other = MAX_POOL if fit.last == (AVERAGE_POOL,) else AVERAGE_POOL
    return (
        Reading(replace(fit, last=(other,)), average),
        *((Reading(replace(fit, last=()), side),) if not layers.slides and side else ()),
    )


# ---------------------------------------------------------------- all others


def _chosen(
    layers: Layers, distinct: Sequence[Fit], kind: str, needed: int, paddings: tuple[int | None, ...]
) -> Choice:
    first, *others = distinct
    rivals = tuple(Reading(fit, _average(kind, needed)) for fit in others)
    same = replace(first.placement, last=first.last)
    all_sides = (*USUAL_SIDES, *(side for side in POSSIBLE_SIDES if side not in USUAL_SIDES))
    more = list(fits(layers.convs, same, needed, all_sides, paddings))
    if kind == "course":
        more = [fit for fit in more if fit.image_side in USUAL_SIDES] + [
            fit for padding in paddings for fit in more if fit.padding == padding and fit.image_side not in USUAL_SIDES
        ]
    rest = tuple(
        replace(fit, placement=first.placement)
        for fit in more
        if (fit.padding, fit.image_side) != (first.padding, first.image_side)
    )
    usual = first.image_side in USUAL_SIDES
    average = _average(kind, needed)
    rivals = (*_ended(layers, first, average), *rivals)
    return Choice(Reading(first, average), first.placement.how, kind, needed, usual, rivals, rest)


def _unusual(
    layers: Layers, found: Sequence[Placement], kind: str, needed: int, paddings: tuple[int | None, ...]
) -> Choice:
    """No usual side gives the map that the classifier reads: an average made it, or the pictures are of an unusual side."""
    if (needed > 1 and not (kind == "other" and needed == LARGE_MAP)) or kind == "course":
        for one, padding in product(found, paddings):
            fit = next(fits(layers.convs, one, needed, POSSIBLE_SIDES, (padding,)), None)
            if fit is not None:
                chosen = _chosen(layers, [fit], kind, needed, paddings)
                return replace(chosen, usual=False)
    if kind == "course":
        raise CheckpointRefused(
            f"the last map is {needed} × {needed}, which no image side from {POSSIBLE_SIDES[0]} to {POSSIBLE_SIDES[-1]} px gives "
            "with padding 0 or 1; this is not a network for square pictures."
        )
    fit = Fit(found[0], _last(found[0]), None, _side_of_an_average(layers, needed))
    return Choice(Reading(fit, needed), found[0].how, kind, needed, usual=False, rivals=_ended(layers, fit, needed))


def _require_pools(layers: Layers, needed: int) -> None:
    """Numbers leave no room for pools, and no usual picture gives the classifier's map without any: strides must have shrunk it."""
    strided = strided_fits(layers.convs, needed if needed > 1 else 0)
    if not strided:
        return
    average = 1 if needed == 1 else 0
    plain = [Reading(Fit(Placement(frozenset(), "none"), (), None, SMALL_SIDE), 1)] if average else []
    raise unclear(
        layers,
        [*(Reading(fit, average) for fit in strided), *plain],
        "the numbers of the layers leave no room for pools, so that convolutions of stride 2 shrink the maps, and nothing shows which",
    )


def _without_side(layers: Layers, found: Sequence[Placement], kind: str, numbered: bool) -> Choice:
    """No classifier, or one of 1 x 1 convolutions: maps of any side are read."""
    headless = layers.head == len(layers.units)
    if len(layers.units) == 1:
        raise CheckpointRefused(
            f"the file holds one convolution ({layers.units[0].main.stem[:60]!r}) and no other layer, which is no network; save the "
            "whole state_dict()."
        )
    if not headless and numbered and len(layers.convs) > 2 and not any(one.pools for one in found):
        _require_pools(layers, 0)
    side = LARGE_SIDE if headless else _side_of_an_average(layers, 1)
    natural = [Fit(one, _last(one), None, side) for one in found if 2 ** (len(one.pools) + len(_last(one))) <= side]
    first = natural[0] if natural else Fit(Placement(frozenset(), "none"), (), None, side)
    if not numbered and first.placement.how not in ("blocks", "paper") and len(natural) > 1:
        raise unclear(layers, [Reading(fit) for fit in natural])
    return Choice(Reading(first), first.placement.how, kind, 0, usual=False, rivals=_ended(layers, first, 0))


def _distinct(found: Sequence[Fit], numbered: bool) -> list[Fit]:
    """One fit for each way in which pools may stand; those whose end goes with their other pools count before the others."""
    kept: dict[tuple[frozenset[int], tuple[Step, ...]], Fit] = {}
    for fit in found:
        kept.setdefault((fit.placement.pools, fit.last), fit)
    natural = [fit for fit in kept.values() if fit.last == _last(fit.placement)]
    return list(kept.values()) if numbered or not natural else natural


def _likelier_first(found: Sequence[Fit], kind: str) -> list[Fit]:
    """Courses leave padding out as often as not; elsewhere half the kernel is usual."""
    order = list(dict.fromkeys(fit.placement for fit in found))

    def rank(fit: Fit) -> tuple[int, bool, bool, int]:
        unusual = kind == "other" and fit.padding is not None
        return order.index(fit.placement), unusual, fit.last == (), USUAL_SIDES.index(fit.image_side)

    return sorted(found, key=rank)
