"""Where the pools of a state dict's convolutions are, and the sides of pictures that then fit its classifier."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from vgg_viz.maths.receptive_field import Window
from vgg_viz.models.plan import Step, parse_plan
from vgg_viz.models.state_dict_gaps import Between, block_of
from vgg_viz.models.state_dict_order import Unit
from vgg_viz.models.vgg import VARIANTS, common_width

USUAL_SIDES = (64, 224, 28, 32, 96, 128)  # the likelier first
POSSIBLE_SIDES = range(4, 513)
MAX_POOL = Step("max_pool", window=Window(2, 2))
AVERAGE_POOL = Step("avg_pool", window=Window(2, 2))


@dataclass(frozen=True, slots=True)
class Placement:
    """Pools behind some of the convolutions.

    Attributes:
        pools: {place of the convolution: its pool}; without the last convolution's.
        how: "noted", "numbers", "blocks", "paper", "each", "pairs", "none".
        last: What stands behind the last convolution, where a note in the file says it.
    """

    pools: frozenset[int]
    how: str
    last: tuple[Step, ...] | None = None


@dataclass(frozen=True, slots=True)
class Fit:
    """A placement whose last map is the one that the classifier reads.

    Attributes:
        last: What stands behind the last convolution.
        padding: Of the convolutions [px]; None: half of each kernel, so that maps keep their side.
        image_side: Of the pictures [px].
        strided: Places of the convolutions that take every second place of their map, in the place of pools.
    """

    placement: Placement
    last: tuple[Step, ...]
    padding: int | None
    image_side: int
    strided: frozenset[int] = frozenset()


# ---------------------------------------------------------------- placements


def variant_of(units: Sequence[Unit]) -> tuple[str, float]:
    """The first variant of the paper with these convolutions, and its width; "" where there is none."""
    for name, variant in VARIANTS.items():
        plan = [step for step in parse_plan(variant.plan) if step.kind == "conv"]
        if name == "tiny_vgg" or [step.window.kernel for step in plan] != [unit.main.kernel for unit in units]:
            continue
        width = common_width([step.channels for step in plan], [unit.main.outputs for unit in units])
        if width is not None:
            return name, width
    return "", 1.0


def paper_places(variant: str) -> frozenset[int]:
    """Behind which convolutions the paper has its pools, the last one left out."""
    places, conv = set(), -1
    for step in parse_plan(VARIANTS[variant].plan):
        conv += step.kind == "conv"
        if step.kind == "max_pool":
            places.add(conv)
    return frozenset(places - {conv})


def noted_placement(note: Sequence[object] | None, units: Sequence[Unit]) -> Placement | None:
    """Pools as a list in the file says ([64, "M", 128, ...]), where its widths are those of the convolutions."""
    if note is None:
        return None
    widths = [word for word in note if isinstance(word, int) and not isinstance(word, bool)]
    if widths != [unit.main.outputs for unit in units]:
        return None
    letters = {"M": MAX_POOL, "A": AVERAGE_POOL, "C": replace(MAX_POOL, window=Window(2, 2, ceil=True))}
    if any(not isinstance(word, int) and word not in letters for word in note):
        return None
    behind: dict[int, Step] = {}
    conv = -1
    for word in note:
        if isinstance(word, int):
            conv += 1
        elif conv in behind or conv < 0:
            return None
        else:
            behind[conv] = letters[str(word)]
    if any(pool != MAX_POOL for place, pool in behind.items() if place < len(units) - 1):
        return None
    last = (behind[len(units) - 1],) if len(units) - 1 in behind else ()
    return Placement(frozenset(behind) - {len(units) - 1}, "noted", last)


def placements(
    units: Sequence[Unit], gaps: Sequence[Between], variant: str, adapters: int = 0
) -> tuple[list[Placement], bool]:
    """Where pools may be, the likelier first, and whether numbers show it behind every convolution but the last.

    Args:
        units: The convolutions.
        gaps: What may stand behind each of them.
        variant: From `variant_of`, of all but the first `adapters`.
        adapters: Convolutions in front that only change the number of channels: no pool stands behind them.
    """
    inner = range(adapters, len(units) - 1)
    if not inner:
        return [Placement(frozenset(), "each"), Placement(frozenset(), "none")], False
    seen = frozenset(place for place in inner if gaps[place].room)
    unknown = frozenset(
        place for place in inner if not gaps[place].numbered and not gaps[place].counted and place not in seen
    )
    paper = frozenset(place + adapters for place in paper_places(variant)) if variant else frozenset()
    if not unknown:
        more = frozenset(place for place in inner if gaps[place].room > 1)
        found = [Placement(seen, "numbers")]
        if variant and paper <= seen:
            found.append(Placement(paper, "paper"))
        found += [Placement(more, "numbers")]
        if seen == frozenset(inner):  # nothing but dropout behind every convolution would look like this, too
            wider = frozenset(p for p in inner if units[p].main.outputs != units[p + 1].main.outputs)
            found += [Placement(frozenset(inner[1::2]), "numbers"), Placement(wider, "numbers")]
        found += [Placement(frozenset(), "numbers")]
        return _distinct(found), True
    blocks = [block_of(unit) for unit in units]
    ends = frozenset(place for place in inner if blocks[place] != blocks[place + 1])
    bases = [
        *([("blocks", ends)] if ends and len(ends) < len(inner) else []),
        *([("paper", paper)] if variant else []),
        *([("blocks", ends)] if ends and len(ends) == len(inner) > 0 else []),
        ("each", frozenset(inner)),
        ("pairs", frozenset(inner[1::2]) if len(inner) % 2 else None),
        ("none", frozenset()),
    ]
    found = [Placement(seen | (base & unknown), how) for how, base in bases if base is not None]
    return _distinct(found), False


def _distinct(found: list[Placement]) -> list[Placement]:
    kept: dict[frozenset[int], Placement] = {}
    for one in found:
        kept.setdefault(one.pools, one)
    return list(kept.values())


# ---------------------------------------------------------------- sides


def conv_window(kernel: int, padding: int | None, stride: int = 1) -> Window:
    """Of a convolution: half its kernel is added at each end (None), or so much for 3 x 3 and nothing otherwise."""
    half = (kernel - 1) // 2
    return Window(kernel, stride, half if padding is None or (padding and kernel == 3) else 0)


def last_side(units: Sequence[Unit], placement: Placement, last: Sequence[Step], padding: int | None, side: int) -> int:
    """Side of the map that the features leave of a picture; 0: none."""
    for place, unit in enumerate(units):
        side = conv_window(unit.main.kernel, padding).out(side)
        if place in placement.pools:
            side = MAX_POOL.window.out(side)
        if side < 1:
            return 0
    for step in last:
        side = step.side if step.kind.startswith("adaptive") else step.window.out(side)
    return max(side, 0)


def strided_fits(units: Sequence[Unit], needed: int) -> list[Fit]:
    """Convolutions of stride 2 in the place of pools: those that change the width, those before that, or all.

    Args:
        units: The convolutions.
        needed: Side of the map that the classifier reads; 0: any.
    """
    inner = range(1, len(units))
    change = [place for place in inner if units[place].main.outputs != units[place - 1].main.outputs]
    before = [place - 1 for place in change if place > 1]
    found = []
    for strided in (frozenset(change), frozenset(before), frozenset(inner), frozenset(range(len(units)))):
        shrinks = Placement(frozenset(), "none", ())
        sides = [
            side
            for side in USUAL_SIDES
            if _strided_side(units, strided, side) == (needed or 1) or (not needed and side == 32)
        ]
        found += [Fit(shrinks, (), None, side, strided) for side in sides[:1]] if strided else []
    return list({fit.strided: fit for fit in found}.values())


def _strided_side(units: Sequence[Unit], strided: frozenset[int], side: int) -> int:
    for place, unit in enumerate(units):
        side = conv_window(unit.main.kernel, None, 1 + (place in strided)).out(side)
    return side


def fits(
    units: Sequence[Unit], placement: Placement, needed: int, sides: Sequence[int], paddings: Sequence[int | None]
) -> Iterator[Fit]:
    """Every side and padding with which the last map is `needed` wide, with a last pool and then without one."""
    ends = [placement.last] if placement.last is not None else [(MAX_POOL,), ()]
    for last in ends:
        for side in sides:
            for padding in paddings:
                if last_side(units, placement, last, padding, side) == needed:
                    yield Fit(placement, last, padding, side)
