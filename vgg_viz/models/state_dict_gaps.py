"""What stands between two layers of a state dict, as far as the numbers in their names tell.

A Sequential numbers all of its layers, also those without weights: the free numbers between two layers hold an activation, then a
pool, then dropout. A ModuleList numbers only what is put into it, names number nothing, and behind the last layer of a container
nothing is seen.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from vgg_viz.models.state_dict_modules import StoredLayer
from vgg_viz.models.state_dict_order import Unit

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Gap:
    """What may stand between two layers that follow each other.

    Attributes:
        free: Numbers that no layer with weights has.
        leading: Of these, those in front of the second layer inside a container of its own.
        open: Whether something may also stand there that no number shows.
        counted: Whether it lies between two numbers of a container that counts all of its layers.
    """

    free: int = 0
    leading: int = 0
    open: bool = True
    counted: bool = False


@dataclass(frozen=True, slots=True)
class Between:
    """What may stand between two units, or behind the last one.

    Attributes:
        activation: "seen": the numbers leave room for it; "none": they leave none; "unseen": they do not show it;
            "own": a PReLU.
        before_norm: Whether the activation stands between the layer and its batch norm.
        room: Free numbers for pools and dropout.
        leading: Of these, those in front of the next layer inside a container of its own.
        numbered: Whether the numbers show all that stands there.
        counted: Whether they show at least what stands there outside of containers.
        apart: Whether the two layers lie in different containers.
    """

    activation: str
    before_norm: bool = False
    room: int = 0
    leading: int = 0
    numbered: bool = False
    counted: bool = False
    apart: bool = False


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers of a state dict's containers.

    Attributes:
        kinds: "sequential": its numbers count layers without weights too; "continued": its parts go on counting where the
            one before has ended ("slice1.2", "slice2.5").
        used: The numbers of its layers with weights.
    """

    kinds: dict[Path, str]
    used: dict[Path, set[int]]

    def free_before(self, container: Path, part: str) -> int:
        """How many numbers of a container below this one are no layer's."""
        if not _is_number(part):
            return 0
        return _number(part) - sum(number < _number(part) for number in self.used[container])


def between(units: Sequence[Unit]) -> tuple[Between, ...]:
    """What may stand behind each unit: one for each, the last of them behind the whole chain."""
    numbers = _numbers(units)
    found = [_between(one, two, numbers) for one, two in pairwise(units)]
    return (*found, Between("own" if _leaky(units[-1]) else "unseen"))


def block_of(unit: Unit) -> tuple[str, ...]:
    """What the name says of the block that a convolution belongs to: all of it before its last number ("conv3_2", "block3.conv1")."""
    parts = re.split(r"(\d+)", unit.main.stem)
    last = max((place for place in range(1, len(parts), 2)), default=0)
    return tuple(parts[:last])


def _between(one: Unit, two: Unit, numbers: Numbers) -> Between:
    mine = [one.main, *one.after]
    chain = [*mine, *two.before, two.main]
    gaps = [_gap(a.path, b.path, numbers) for a, b in pairwise(chain)]
    inside, last = gaps[: len(mine) - 1], gaps[len(mine) - 1]
    tail = gaps[len(mine) :]
    is_open = last.open or any(gap.open for gap in tail)
    free = last.free + sum(gap.free for gap in tail)
    leading = last.leading + sum(gap.leading for gap in tail)
    apart = chain[0].path[:-1] != two.main.path[:-1]
    common = Between("unseen", leading=leading, numbered=not is_open, counted=last.counted, apart=apart)
    if _leaky(one):
        return replace(common, activation="own", room=free + sum(gap.free for gap in inside))
    early = sum(gap.free for gap in inside if not gap.open)
    if early:
        return replace(common, activation="seen", before_norm=True, room=free + early - 1)
    if is_open:
        return replace(common, room=free)
    return replace(common, activation="seen" if free else "none", room=max(0, free - 1))


def _leaky(unit: Unit) -> bool:
    return any(layer.kind == "leaky" for layer in unit.after)


def _gap(before: Path, after: Path, numbers: Numbers) -> Gap:
    depth = next(
        (at for at, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after))
    )
    if depth >= len(before) or depth >= len(after):  # one lies inside the other: no usual module
        return Gap()
    container = before[:depth]
    tail, lead = before[depth:], after[depth:]
    kind = numbers.kinds.get(container, "")
    leading = sum(numbers.free_before(after[: depth + at], part) for at, part in enumerate(lead[1:], 1))
    named = any(not _is_number(part) for part in lead[1:])
    inner_open = len(tail) > 1
    if _is_number(tail[0]) and _is_number(lead[0]):
        free = max(0, _number(lead[0]) - _number(tail[0]) - 1)
        return Gap(free + leading, leading, inner_open or named or kind != "sequential", kind == "sequential")
    if _is_number(tail[0]) and kind == "sequential" and not inner_open and len(lead) == 1:
        return Gap(0, 0, open=False)  # a named layer added right behind the last number
    if kind == "continued" and len(tail) == len(lead) == 2 and _is_number(tail[1]) and _is_number(lead[1]):
        return Gap(max(0, _number(lead[1]) - _number(tail[1]) - 1), 0, open=False)
    return Gap(leading, leading)


def _numbers(units: Sequence[Unit]) -> Numbers:
    layers = [layer for unit in units for layer in unit.layers]
    members: dict[Path, dict[str, list[StoredLayer]]] = {}
    for layer in layers:
        for depth in range(min(len(layer.path), 8)):
            members.setdefault(layer.path[:depth], {}).setdefault(layer.path[depth], []).append(layer)
    kinds = {}
    for container, children in members.items():
        if _counts_all(container, children):
            kinds[container] = "sequential"
        elif _goes_on(container, children):
            kinds[container] = "continued"
    used = {
        container: {_number(name) for name in children if _is_number(name)} for container, children in members.items()
    }
    return Numbers(kinds, used)


def _counts_all(container: Path, children: dict[str, list[StoredLayer]]) -> bool:
    """Whether free numbers are usual between its layers: in a ModuleList they are not, or stand for pools alone."""
    numbers = {_number(name): layers for name, layers in children.items() if _is_number(name)}
    ordered = sorted(numbers)
    weighted = [n for n in ordered if any(layer.weighted for layer in numbers[n])]
    leaves = [n for n in weighted if len(numbers[n][0].path) == len(container) + 1]
    pairs = [(a, b) for a, b in pairwise(weighted) if a in leaves]
    counts = [b - a - 1 - sum(a < n < b for n in ordered) for a, b in pairs]
    if counts:
        return any(counts) and 2 * sum(count == 0 for count in counts) < len(counts) + (len(counts) == 2)
    return any(b - a > 1 for a, b in pairwise(ordered)) or bool(ordered and ordered[0] > 0)


def _goes_on(container: Path, children: dict[str, list[StoredLayer]]) -> bool:
    """Whether the parts of a container go on counting where the one before has ended, as slices of a network do."""
    runs = []
    for layers in children.values():
        numbers = [layer.path[len(container) + 1 :] for layer in layers if layer.weighted]
        if not all(len(rest) == 1 and _is_number(rest[0]) for rest in numbers) or not numbers:
            continue
        runs.append([_number(rest[0]) for rest in numbers])
    flat = [number for run in runs for number in run]
    return len(runs) > 1 and flat == sorted(set(flat)) and any(run[0] >= 3 for run in runs[1:])


def _is_number(part: str) -> bool:
    return part.isascii() and part.isdigit() and len(part) < 6


def _number(part: str) -> int:
    return int(part)
