"""The order in which a picture passes the layers of a state dict: that in which shapes follow each other, the file's own first."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isqrt

from vgg_viz.errors import CheckpointRefused
from vgg_viz.models.state_dict_modules import StoredLayer, natural

MOST_TRIES = 20_000
# What a layer of such a name does is to stand beside others: its shapes may follow theirs all the same.
BESIDE = re.compile(
    r"(?:\w+_)?(?:res(?:idual)?(?:_?block)?s?|shortcuts?|skips?(?:_?conn\w*)?|down_?samples?|identity|se|se_?(?:block|layer|module)s?|squeeze\w*|excit\w*"
    r"|attn|attention|cbam|eca|gates?|gating|aux|auxiliary\w*|branch(?:es)?|inception\w*|lateral|fpn|up_?samples?|upconv|deconv|decoder|lstm|gru|rnn"
    r"|transformer|self_?attn|(?:channel|spatial)_?att\w*|ca|sa)(?:_?\d+)?(?:_(?:conv|fc|block|layer|head|classifier)\d*)?",
    re.ASCII | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Unit:
    """A convolution or linear layer with the layers around it that have tensors and no channels of their own.

    Attributes:
        before: Batch norm of what the layer reads, where no other layer made it.
        after: Batch norm and PReLU, in their order.
    """

    main: StoredLayer
    before: tuple[StoredLayer, ...] = ()
    after: tuple[StoredLayer, ...] = ()

    @property
    def layers(self) -> tuple[StoredLayer, ...]:
        """All of them, in the order in which a picture passes them."""
        return (*self.before, self.main, *self.after)


@dataclass(frozen=True, slots=True)
class Order:
    """Units in the order of the forward pass.

    Attributes:
        sentence: How that order was found, where it is not the file's.
        own: Whether it is the file's.
    """

    units: tuple[Unit, ...]
    sentence: str = ""

    @property
    def own(self) -> bool:
        """Whether it is the file's order."""
        return not self.sentence


def in_order(layers: Sequence[StoredLayer], *, head: str | None = None, trusted: bool = False) -> Order:
    """The one order in which the outputs of each layer are the inputs of the next.

    Args:
        layers: In the file's order.
        head: The beginning of the keys of the classifier to take, where the network has several.
        trusted: Whether the user has said what the chain is: names then forbid nothing.

    Raises:
        CheckpointRefused: Where there is no such order, naming the layer that does not follow, or several.
    """
    kept, _ = _without_other_heads(tuple(layers), head)
    if not trusted:
        _require_no_branch(kept)
    units = _units(kept)
    convs_first = sorted(units, key=lambda unit: unit.main.kind == "fc")
    by_number = [unit for kind in ("conv", "fc") for unit in _by_their_numbers(units, kind)]
    tries = (
        (units, ""),
        (convs_first, "The linear layers stand before convolutions in the file and were taken behind them."),
        (
            by_number,
            "The layers were taken in the order of the numbers in their names, in which their shapes follow each other.",
        ),
    )
    for candidate, sentence in tries:
        if _break(candidate) is None:
            return Order(tuple(candidate), sentence)
    groups = _groups(units)
    orders = list(_chains(groups, most=2))
    if len(orders) == 1:
        return Order(
            tuple(orders[0]),
            "The layers were put into the only order in which their shapes follow each other; in the file they stand in another.",
        )
    if orders:
        raise CheckpointRefused(
            f"the layers {_names(units)} follow each other in more than one order by their shapes, and the file's is none of these; "
            "give the network's module (--model FILE.py:NAME)."
        )
    raise _refusal(units, groups)


def _by_their_numbers(units: Sequence[Unit], kind: str) -> list[Unit]:
    """The layers of a kind in the order of their numbers, where their names differ in nothing else."""
    mine = [unit for unit in units if unit.main.kind == kind]
    alike = len({re.sub(r"\d+", "", unit.main.stem) for unit in mine}) == 1
    return sorted(mine, key=lambda unit: natural(unit.main.stem)) if alike else mine


def _require_no_branch(layers: Sequence[StoredLayer]) -> None:
    for layer in layers:
        part = next((part for part in layer.path if BESIDE.fullmatch(part)), None)
        if part is not None:
            raise CheckpointRefused(
                f"the layer {_short(layer.stem)} stands beside the chain by its name (a shortcut, attention, an auxiliary branch); "
                "only one chain of layers can be read. If it is a plain layer of the chain, give the chain: --plan."
            )


# ---------------------------------------------------------------- units


def _units(layers: Sequence[StoredLayer]) -> list[Unit]:
    """Each convolution and linear layer with the batch norms and PReLUs that belong to it."""
    mains = [layer for layer in layers if layer.weighted]
    if not mains:
        raise CheckpointRefused("the file holds no convolution and no linear layer.")
    found = (find(layers, mains) for find in (_by_place, _by_number, _by_rank))
    owner = next((owner for owner in found if owner is not None), None)
    if owner is None:
        norm = next(layer for layer in layers if not layer.weighted)
        raise CheckpointRefused(
            f"the batch norm {_short(norm.stem)} follows no layer of as many channels; only a chain of layers can be read."
        )
    units = []
    for place, main in enumerate(mains):
        mine = [layer for layer in layers if not layer.weighted and owner[layer.stem] == (place, "after")]
        first = [layer for layer in layers if not layer.weighted and owner[layer.stem] == (place, "before")]
        units.append(Unit(main, tuple(first), tuple(mine)))
    return units


def _by_place(layers: Sequence[StoredLayer], mains: Sequence[StoredLayer]) -> dict[str, tuple[int, str]] | None:
    """Each belongs to the layer that it stands behind in the file; a batch norm of what the next one reads belongs to that."""
    owner: dict[str, tuple[int, str]] = {}
    place, normed = -1, False
    for layer in layers:
        if layer.weighted:
            place, normed = place + 1, False
        elif layer.kind == "leaky":
            owner[layer.stem] = (max(place, 0), "after" if place >= 0 else "before")
        elif place >= 0 and not normed and layer.inputs == mains[place].outputs:
            owner[layer.stem], normed = (place, "after"), True
        elif place + 1 < len(mains) and layer.inputs == mains[place + 1].inputs:
            owner[layer.stem] = (place + 1, "before")
        else:
            return None
    return owner


def _by_number(layers: Sequence[StoredLayer], mains: Sequence[StoredLayer]) -> dict[str, tuple[int, str]] | None:
    """bn3_1 belongs to conv3_1: the same numbers, as many channels."""
    owner: dict[str, tuple[int, str]] = {}
    for layer in layers:
        if layer.weighted:
            continue
        numbers = re.findall(r"\d+", layer.stem)
        fits = [
            place
            for place, main in enumerate(mains)
            if re.findall(r"\d+", main.stem) == numbers and layer.inputs in (main.outputs, 0)
        ]
        if len(fits) != 1 or not numbers:
            return None
        owner[layer.stem] = (fits[0], "after")
    return owner


def _by_rank(layers: Sequence[StoredLayer], mains: Sequence[StoredLayer]) -> dict[str, tuple[int, str]] | None:
    """The n-th batch norm belongs to the n-th convolution (or layer), where there are as many."""
    norms = [layer for layer in layers if layer.kind == "bn"]
    for kinds in (("conv",), ("conv", "fc")):
        places = [place for place, main in enumerate(mains) if main.kind in kinds]
        if len(places) == len(norms) and all(
            norm.inputs == mains[place].outputs for norm, place in zip(norms, places, strict=True)
        ):
            owner = {norm.stem: (place, "after") for norm, place in zip(norms, places, strict=True)}
            owner |= {layer.stem: (0, "after") for layer in layers if layer.kind == "leaky"}
            return owner
    return None


# ---------------------------------------------------------------- shapes


def map_side(unit: Unit, channels: int) -> int:
    """Side of the square map of `channels` that a linear layer reads; 0: none."""
    side = isqrt(unit.main.inputs // channels)
    return side if side and side * side * channels == unit.main.inputs else 0


def _follows(before: Unit, after: Unit) -> bool:
    if after.main.kind == "conv":
        return before.main.kind == "conv" and after.main.inputs == before.main.outputs
    if before.main.kind == "conv":
        return map_side(after, before.main.outputs) > 0
    return after.main.inputs == before.main.outputs


def _starts(unit: Unit) -> bool:
    return unit.main.kind == "conv" and unit.main.inputs in (1, 3)


def _break(units: Sequence[Unit]) -> int | None:
    """The place of the first unit that does not follow; None: it is a chain."""
    if not _starts(units[0]):
        return 0
    return next((place + 1 for place, (one, two) in enumerate(pairwise(units)) if not _follows(one, two)), None)


# ---------------------------------------------------------------- other orders


def _groups(units: Sequence[Unit]) -> list[list[Unit]]:
    """Layers of one container in their order, where they follow each other; all others alone."""
    depth = _shared(units)
    named: dict[tuple[str, str], list[Unit]] = {}
    for unit in units:
        named.setdefault((unit.main.path[depth] if len(unit.main.path) > depth else "", unit.main.kind), []).append(
            unit
        )
    groups: list[list[Unit]] = []
    for members in named.values():
        whole = all(_follows(one, two) for one, two in pairwise(members))
        groups += [members] if whole else [[unit] for unit in members]
    return groups


def _shared(units: Sequence[Unit]) -> int:
    paths = [unit.main.path for unit in units]
    depth = 0
    while all(len(path) > depth + 1 for path in paths) and len({path[depth] for path in paths}) == 1:
        depth += 1
    return depth


def _chains(groups: Sequence[Sequence[Unit]], most: int) -> Iterator[list[Unit]]:
    """Orders of all groups in which shapes follow each other, at most so many; the search is bounded."""
    found = tried = 0
    waiting: list[tuple[tuple[int, ...], frozenset[int]]] = [((), frozenset(range(len(groups))))]
    while waiting and tried < MOST_TRIES and found < most:
        taken, rest = waiting.pop()
        tried += 1
        if not rest:
            found += 1
            yield [unit for place in taken for unit in groups[place]]
            continue
        last = groups[taken[-1]][-1] if taken else None
        nexts = [p for p in rest if (_starts(groups[p][0]) if last is None else _follows(last, groups[p][0]))]
        waiting += [((*taken, place), rest - {place}) for place in sorted(nexts, reverse=True)]


def _refusal(units: list[Unit], groups: list[list[Unit]]) -> CheckpointRefused:
    """Why the layers are no chain: the one that stands beside it, or the first that does not follow."""
    if not any(_starts(unit) for unit in units):
        first = next((unit for unit in units if unit.main.kind == "conv"), units[0])
        what = "convolution" if first.main.kind == "conv" else "layer"
        return CheckpointRefused(
            f"the first {what} reads {first.main.inputs} channels; networks for 1 (grey) or 3 (RGB) can be read."
        )
    heads = _two_heads(units, groups)
    if heads:
        return heads
    ordered = units if _starts(units[0]) else sorted(units, key=lambda unit: unit.main.kind == "fc")
    broken = _break(ordered) or 0
    for place in [] if _grouped(ordered, broken) else sorted(range(len(groups)), key=lambda at: _size(groups[at])):
        rest = [unit for at, group in enumerate(groups) if at != place for unit in group]
        by_kind = sorted(rest, key=lambda unit: unit.main.kind == "fc")
        if len(rest) < 2 or not any(unit.main.kind == "fc" for unit in rest):
            continue
        if None in (_break(rest), _break(by_kind)):
            return CheckpointRefused(
                f"the layer {_short(groups[place][0].main.stem)} stands beside the chain of the others: its shape follows none. "
                "Only one chain of layers can be read, without attention, shortcuts or branches."
            )
    unit, before = ordered[broken], ordered[broken - 1] if broken else None
    if before is None:
        return CheckpointRefused(
            f"the first convolution {_short(unit.main.stem)} reads {unit.main.inputs} channels; networks for 1 (grey) or 3 (RGB) can "
            "be read."
        )
    if unit.main.kind == "fc" and before.main.kind == "conv":
        return CheckpointRefused(
            f"{_short(unit.main.stem)} reads {unit.main.inputs:,} values, which is no square map of {before.main.outputs} channels; "
            "this is not a network for square pictures, or a layer stands between."
        )
    unit_of = "channels" if unit.main.kind == "conv" else "values"
    return CheckpointRefused(
        f"{_short(unit.main.stem)} reads {unit.main.inputs:,} {unit_of} after a layer with {before.main.outputs:,} "
        f"({_short(before.main.stem)}); a network that can be read is one chain of full convolutions and linear layers, "
        "without groups or branches."
    )


def _grouped(units: Sequence[Unit], place: int) -> bool:
    """Whether a convolution there reads a share of the channels before it, as one of several groups does."""
    one, two = units[place - 1].main, units[place].main
    return place > 0 and one.kind == two.kind == "conv" and two.inputs < one.outputs and one.outputs % two.inputs == 0


def _size(group: Sequence[Unit]) -> int:
    return sum(unit.main.inputs * unit.main.outputs for unit in group)


# ---------------------------------------------------------------- several heads


def _two_heads(units: Sequence[Unit], groups: Sequence[Sequence[Unit]]) -> CheckpointRefused | None:
    """Linear layers that read the same map side by side."""
    last = next((unit for unit in reversed(units) if unit.main.kind == "conv"), None)
    if last is None:
        return None
    firsts = [group for group in groups if group[0].main.kind == "fc" and _follows(last, group[0])]
    inputs = {group[0].main.inputs for group in firsts}
    ends = {group[-1].main.outputs for group in firsts}
    alike = len(firsts) > 1 and len(inputs) == 1 and not ends & inputs
    if not alike:
        return None
    stems = [group[0].main.stem for group in firsts]
    names = [stem.rpartition(".")[0] if len(group) > 1 else stem for stem, group in zip(stems, firsts, strict=True)]
    return CheckpointRefused(
        f"the network has {len(names)} heads that read the same map, {_listed(names)}; choose one: --head {names[0][:60]}."
    )


def _without_other_heads(
    layers: tuple[StoredLayer, ...], head: str | None
) -> tuple[tuple[StoredLayer, ...], tuple[str, ...]]:
    """The layers without the linear ones outside `head` that read what its first one reads, and what stands in their containers."""
    if head is None:
        return layers, ()
    mine = [layer for layer in layers if layer.stem == head or layer.stem.startswith(f"{head}.")]
    linear = [layer for layer in mine if layer.kind == "fc"]
    if not linear:
        names = [layer.stem for layer in layers if layer.kind == "fc"]
        raise CheckpointRefused(
            f"--head {head[:60]} came, but no linear layer is called so; the file holds {_listed(names)}."
        )
    rivals = [
        layer
        for layer in layers
        if layer.kind == "fc"
        and layer not in mine
        and layer.inputs == linear[0].inputs
        and layer.outputs != layer.inputs
    ]
    top = [_container(layer, len(head.split("."))) for layer in rivals]
    gone = tuple(layer for layer in layers if layer not in mine and any(_inside(layer, name) for name in top))
    return tuple(layer for layer in layers if layer not in gone), tuple(layer.stem for layer in gone)


def _container(layer: StoredLayer, depth: int) -> str:
    return ".".join(layer.path[:depth])


def _inside(layer: StoredLayer, name: str) -> bool:
    return layer.stem == name or layer.stem.startswith(f"{name}.")


def heads_left_out(layers: Sequence[StoredLayer], head: str | None) -> tuple[str, ...]:
    """The stems of the layers that belong to other heads than `head`."""
    return _without_other_heads(tuple(layers), head)[1]


def _names(units: Sequence[Unit]) -> str:
    return _listed([unit.main.stem for unit in units])


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(_short(name) for name in names[:6])
    return shown + (", ..." if len(names) > 6 else "")


def _short(name: str) -> str:
    return repr(name if len(name) <= 60 else f"{name[:57]}...")
