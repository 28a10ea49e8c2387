"""A bare state dict read as the chain that the user gives (--plan): its tensors, in their order, are those of the plan's layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from vgg_viz.errors import CheckpointRefused, InputRefused
from vgg_viz.models.network import map_sizes
from vgg_viz.models.plan import ACTIVATIONS, Step, parse_plan, write_plan
from vgg_viz.models.state_dict_chain import ReadChain, StoredChain, stored_chain
from vgg_viz.models.state_dict_choice import CIFAR_CLASSES, LARGE_MAP, LARGE_SIDE, SMALL_SIDE, WIDE, of_a_course
from vgg_viz.models.state_dict_evidence import about_layers
from vgg_viz.models.state_dict_order import Unit
from vgg_viz.models.state_dict_pools import POSSIBLE_SIDES, USUAL_SIDES
from vgg_viz.models.state_dict_steps import NO_KEYS, Keyed
from vgg_viz.records import Architecture

NAMES = {"conv": "convolution", "fc": "linear layer"}


def read_as_plan(weights: Mapping[str, Tensor], plan: str, *, head: str | None = None) -> ReadChain | None:
    """The tensors of a state dict in the layers of a plan; None where no tensor is a convolution's kernel.

    Biases are the file's. So is batch norm where the plan has none, and a PReLU in the place of an activation.

    Args:
        weights: A bare state dict: wrappers, prefixes and reparametrisations are taken off.
        plan: In the words of `models.plan`.
        head: The beginning of the keys of the classifier to take, where there are several.

    Raises:
        CheckpointRefused: Where the file's layers are not those of the plan; the first that differs is named.
        InputRefused: For what is no plan.
    """
    wanted = parse_plan(plan)
    stored = stored_chain(weights, head=head, trusted=True)
    if stored is None:
        return None
    keyed = _fitted(wanted, stored)
    steps = tuple(step for step, _ in keyed)
    sides = _sides(steps, stored, weights)
    return ReadChain(
        stored,
        steps,
        tuple(keys for _, keys in keyed),
        sides[0],
        "course" if of_a_course(stored.layers) else "other",
        tuple((steps, side) for side in sides[1:]),
        tuple(about_layers(keyed, weights, "")),
    )


def _fitted(wanted: Sequence[Step], stored: StoredChain) -> list[Keyed]:
    units = stored.layers.units
    weighted = [step for step in wanted if step.weighted]
    if len(weighted) != len(units):
        raise CheckpointRefused(
            f"the plan has {_counted(weighted)}, the file holds {_counted([_step_of(unit) for unit in units])}; give the plan of all "
            "layers with weights, in the order in which a picture passes them."
        )
    with_norms = any(step.kind == "bn" for step in wanted)
    made: list[Keyed] = []
    place = -1
    waiting: list[Mapping[str, str]] = []  # batch norms of the file that the plan's own steps take
    for step in wanted:
        if step.weighted:
            if waiting:
                raise _norms_differ(units[place])
            place += 1
            unit = units[place]
            if not with_norms:
                made += [(Step("bn", head=step.head), layer.keys) for layer in unit.before]
            made.append(_same_layer(step, unit, last=place == len(units) - 1))
            norms = [layer.keys for layer in unit.after if layer.kind == "bn"]
            if with_norms:
                following = units[place + 1].before if place + 1 < len(units) else ()
                waiting = [*norms, *(layer.keys for layer in following)]
            else:
                made += [(Step("bn", head=step.head), keys) for keys in norms]
        elif step.kind == "bn":
            if place < 0 and units[0].before:
                made.append((step, units[0].before[0].keys))
            elif not waiting:
                raise _norms_differ(units[max(place, 0)])
            else:
                made.append((step, waiting.pop(0)))
        elif step.kind in ACTIVATIONS and place >= 0 and (slope := _slope(units[place])) is not None:
            made.append((Step("leaky", values=(slope,), head=step.head), NO_KEYS))
        else:
            made.append((step, NO_KEYS))
    if waiting:
        raise _norms_differ(units[place])
    return made


def _same_layer(step: Step, unit: Unit, *, last: bool) -> Keyed:
    main = unit.main
    outputs = 0 if last and step.head else main.outputs
    right = step.channels == 0 if last and step.head else step.channels == main.outputs
    if last and step.head and step.channels == main.outputs:
        right = True
    if step.kind == main.kind == "conv":
        right = right and step.window.kernel == main.kernel
    elif step.kind == "conv" and main.kind == "fc":
        right = right and step.head  # a linear layer that slides
    elif step.kind != main.kind:
        right = right and step.kind == "fc"  # a kernel as large as its map
    if not right:
        raise CheckpointRefused(
            f"the plan has {_described(step)} where the file holds {_described(_step_of(unit))} ({_short(main.stem)}); give the plan "
            "of this file's layers, in the order in which a picture passes them."
        )
    biased = "bias" in main.keys
    if biased and not step.bias:
        raise CheckpointRefused(
            f"the plan says that {_short(main.stem)} has no bias (b0), but the file holds one; leave the b0 out."
        )
    return replace(step, channels=outputs, bias=biased), main.keys


def _step_of(unit: Unit) -> Step:
    window = replace(Step("conv").window, kernel=unit.main.kernel)
    return Step(unit.main.kind, unit.main.outputs, window)


def _slope(unit: Unit) -> float | None:
    return next((layer.slope for layer in unit.after if layer.kind == "leaky"), None)


def _norms_differ(unit: Unit) -> CheckpointRefused:
    norms = sum(layer.kind == "bn" for layer in unit.after)
    there = f"{norms or 'no'} batch norm{'s' if norms > 1 else ''}"
    return CheckpointRefused(
        f"the file has {there} behind {_short(unit.main.stem)}, and the plan says otherwise; write bn where the file has one, or "
        "nowhere: then it is the file's."
    )


# ---------------------------------------------------------------- pictures


def _sides(steps: Sequence[Step], stored: StoredChain, weights: Mapping[str, Tensor]) -> list[int]:
    """Sides of pictures whose last map is the one that the classifier reads, the likelier first; refuses where there are none."""
    first = next((unit for unit in stored.layers.units if unit.main.kind == "fc"), None)
    averaged = any(step.kind.startswith("adaptive") for step in steps)
    classes, width = stored.num_classes, stored.layers.convs[-1].main.outputs if stored.layers.convs else 0
    small = averaged and (classes in CIFAR_CLASSES or width < WIDE) and not _large(steps)
    usual = (SMALL_SIDE if small else LARGE_SIDE, *USUAL_SIDES) if averaged or first is None else USUAL_SIDES
    sides = list(dict.fromkeys((*usual, *POSSIBLE_SIDES)))
    wanted = _values_read(steps, weights, stored)
    found = [side for side in sides if wanted in (None, _values(steps, stored, side))]
    found = [side for side in found if _values(steps, stored, side)]
    if not found:
        at = next((side for side in sides if _values(steps, stored, side)), None)
        left = f"{_values(steps, stored, at):,} values of a picture of {at} px" if at else "no map"
        raise CheckpointRefused(
            f"the plan leaves {left}, and the first linear layer of the file reads {wanted or 0:,}: no side of pictures from "
            f"{POSSIBLE_SIDES[0]} to {POSSIBLE_SIDES[-1]} px fits; give another plan."
        )
    return found if not averaged else found[:1]


def _large(steps: Sequence[Step]) -> bool:
    return any(step.kind.startswith("adaptive") and step.side == LARGE_MAP for step in steps)


def _values_read(steps: Sequence[Step], weights: Mapping[str, Tensor], stored: StoredChain) -> int | None:
    """How many values the first linear layer of the plan reads; None: it has none."""
    at = next((place for place, step in enumerate([s for s in steps if s.weighted]) if step.kind == "fc"), None)
    if at is None:
        return None
    return int(weights[stored.layers.units[at].main.keys["weight"]][0].numel())


def _values(steps: Sequence[Step], stored: StoredChain, side: int | None) -> int:
    """How many values the first linear layer finds before a picture of this side; 0: no map is left."""
    wanted = Architecture(write_plan(steps), max(stored.num_classes, 1), stored.in_channels, side or LARGE_SIDE)
    try:
        sizes = map_sizes(wanted)
    except InputRefused:
        return 0
    flat = next((place for place, step in enumerate(steps) if step.kind == "fc"), None)
    channels, rest = sizes[flat - 1] if flat else sizes[-1]
    return channels * rest * rest


def _counted(steps: Sequence[Step]) -> str:
    counts = [(sum(step.kind == kind for step in steps), name) for kind, name in NAMES.items()]
    return " and ".join(f"{count} {name}{'s' if count != 1 else ''}" for count, name in counts)


def _described(step: Step) -> str:
    if step.kind == "conv":
        return f"a convolution of {step.channels or 'K'} channels and {step.window.kernel} × {step.window.kernel}"
    return f"a linear layer of {f'{step.channels:,} values' if step.channels else 'K values'}"


def _short(name: str) -> str:
    return repr(name if len(name) <= 60 else f"{name[:57]}...")
