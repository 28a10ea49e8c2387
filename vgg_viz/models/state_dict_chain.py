"""A bare state dict read as a chain: its layers in their order, what stands between them, the pictures it was made for, and what is assumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from vgg_viz.errors import CheckpointRefused
from vgg_viz.models.plan import Step
from vgg_viz.models.state_dict_choice import Choice, choose, plan_of
from vgg_viz.models.state_dict_gaps import between
from vgg_viz.models.state_dict_modules import StoredLayer, stored_layers
from vgg_viz.models.state_dict_order import Order, Unit, heads_left_out, in_order
from vgg_viz.models.state_dict_pools import AVERAGE_POOL, noted_placement, variant_of
from vgg_viz.models.state_dict_steps import Layers, Reading, keyed_steps

DENSE_HEAD = ("pre_logits.fc1", "pre_logits.fc2")  # timm's


@dataclass(frozen=True, slots=True)
class Doubt:
    """Something that is assumed and would change every number.

    Attributes:
        text: A sentence for a reader.
        plans: The other networks that the weights could be, in the words of `models.plan`.
        serious: Whether other networks are about as likely; False: nearly all networks of these keys are as assumed.
    """

    text: str
    plans: tuple[str, ...] = ()
    serious: bool = False


@dataclass(frozen=True, slots=True)
class ReadChain:
    """The network that a state dict is.

    Attributes:
        steps: Its chain; `parse_plan(write_plan(steps))` gives the same.
        keys: For each step the keys of its tensors: {"weight": key, "bias": key, "running_mean": key, ...}; {} where it
            has none.
        layers: What the chain was made of.
        choice: What was chosen, and what else would fit.
        order: In which order the layers were taken.
        in_channels: 1 (grey) or 3 (RGB).
        num_classes: 0: there is no classifier.
        doubts: What is assumed, the likelier to be wrong first.
        ignored: Keys that change no answer.
        left_out: Keys of other heads than the one that the user chose, and of a classifier without numbers.
    """

    steps: tuple[Step, ...]
    keys: tuple[Mapping[str, str], ...]
    layers: Layers
    choice: Choice
    order: Order
    in_channels: int
    num_classes: int
    doubts: tuple[Doubt, ...] = ()
    ignored: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    linear_kernels: bool = field(default=False)


def read_chain(
    weights: Mapping[str, Tensor], *, notes: Sequence[Sequence[object]] = (), head: str | None = None
) -> ReadChain | None:
    """The network whose tensors these are; None where no tensor is a convolution's kernel.

    Args:
        weights: A bare state dict: wrappers, prefixes and reparametrisations are taken off.
        notes: Lists in the file that may say where pools are ([64, "M", 128, ...]).
        head: The beginning of the keys of the classifier to take, where there are several.

    Raises:
        PlanUnclear: Where several networks fit and nothing tells them apart.
        CheckpointRefused: Where the tensors are no chain; the one that does not belong to it is named.
    """
    if not any(value.ndim == 4 for value in weights.values()):
        return None
    stored, ignored = stored_layers(weights)
    stored, linear_kernels = _linear_kernels(stored)
    kept, empty = _without_empty_classifier(stored, weights)
    order = in_order(kept, head=head)
    layers = _layers(order.units)
    variant, _ = variant_of(layers.convs[layers.adapters :])
    note = next((found for one in notes if (found := noted_placement(one, layers.convs))), None)
    choice = choose(layers, variant, note)
    keyed = keyed_steps(layers, choice.reading)
    classes = layers.units[-1].main.outputs if layers.head < len(layers.units) else 0
    return ReadChain(
        tuple(step for step, _ in keyed),
        tuple(keys for _, keys in keyed),
        layers,
        choice,
        order,
        layers.units[0].main.inputs,
        classes,
        tuple(_doubts(layers, choice, slides=linear_kernels)),
        ignored,
        (*empty, *(key for layer in stored if layer.stem in heads_left_out(kept, head) for key in layer.keys.values())),
        linear_kernels,
    )


# ---------------------------------------------------------------- features and head


def _linear_kernels(layers: tuple[StoredLayer, ...]) -> tuple[tuple[StoredLayer, ...], bool]:
    """timm keeps its hidden linear layers as kernels, which slide over larger pictures than the usual ones."""
    mine = [layer for layer in layers if layer.kind == "conv" and layer.stem.endswith(DENSE_HEAD)]
    if len(mine) != len(DENSE_HEAD):
        return layers, False
    if not any(layer.kind == "fc" and layer.stem.endswith("head.fc") for layer in layers):
        raise CheckpointRefused(
            "the file is a timm VGG without a classifier (num_classes=0); save the network with its head.fc."
        )
    flat = tuple(
        replace(layer, kind="fc", inputs=layer.inputs * layer.kernel**2, kernel=1) if layer in mine else layer
        for layer in layers
    )
    return flat, True


def _without_empty_classifier(
    layers: tuple[StoredLayer, ...], weights: Mapping[str, Tensor]
) -> tuple[tuple[StoredLayer, ...], tuple[str, ...]]:
    """Features alone are published with a classifier that holds no numbers: it counts as absent."""
    linear = [layer for layer in layers if layer.kind == "fc"]
    empty = bool(linear) and all(bool(weights[layer.keys["weight"]].flatten()[:64].isnan().all()) for layer in linear)
    if not empty:
        return layers, ()
    gone = tuple(key for layer in linear for key in layer.keys.values())
    return tuple(layer for layer in layers if layer.kind != "fc"), gone


def _layers(units: tuple[Unit, ...]) -> Layers:
    """Where the head begins: at the first linear layer, or at the kernel that reads a whole map and the 1 x 1 ones behind it."""
    gaps = between(units)
    first = next((place for place, unit in enumerate(units) if unit.main.kind == "fc"), len(units))
    kernels = [unit.main.kernel for unit in units[:first]]
    head = first
    for place in range(first - 1, 0, -1):
        if kernels[place] > max(3, *kernels[:place]) and all(kernel == 1 for kernel in kernels[place + 1 :]):
            if first == len(units) or first - place > 1:
                head = place
            break
        if kernels[place] != 1:
            break
    if head == first == len(units) and kernels[-1] == 1 and len(units) > 1 and not variant_of(units)[0]:
        head = len(units) - 1
    adapters = 0
    while adapters + 1 < head and units[adapters].main.outputs in (1, 3) and units[adapters + 1].main.inputs in (1, 3):
        adapters += 1
    return Layers(units, gaps, head, slides=head < first, adapters=adapters)


# ---------------------------------------------------------------- what is assumed


def _doubts(layers: Layers, choice: Choice, *, slides: bool) -> list[Doubt]:
    head = [] if slides else _about_head(layers, choice.reading)  # timm's, which is known
    found = [*_about_pools(layers, choice), *head, _about_kinds(layers, choice.reading)]
    return sorted(found, key=lambda doubt: not doubt.serious)


def _about_pools(layers: Layers, choice: Choice) -> list[Doubt]:
    said = {
        "paper": "the keys do not show the pools; they are assumed at the paper's places",
        "blocks": "the keys do not show the pools; one is assumed at the end of each block of names",
        "each": "the keys do not show the pools; one is assumed behind each convolution, with which a usual side of pictures fits",
        "pairs": "the keys do not show the pools; one is assumed behind every second convolution, with which a usual side of pictures fits",
        "none": "the keys do not show pools; none are assumed, with which a usual side of pictures fits",
    }
    known = [reading for reading in choice.rivals if reading.fit.placement == choice.reading.fit.placement]
    other = [reading for reading in choice.rivals if reading not in known]
    doubts = []
    if choice.how in said or other:
        text = said.get(choice.how, "free numbers in the names may hold pools or dropout")
        serious = bool(other) or choice.how in ("each", "pairs", "none") or choice.needed <= 1
        doubts.append(Doubt(f"{text[0].upper()}{text[1:]}.", _plans(layers, other), serious))
    if known:
        likely = choice.needed > 1 and choice.usual
        text = "Nothing in the file shows what stands behind the last convolution; a max-pool is assumed."
        doubts.append(Doubt(text, _plans(layers, known), serious=not likely))
    return doubts


def _about_head(layers: Layers, reading: Reading) -> list[Doubt]:
    """Activations between linear layers that no number shows."""
    unseen = [
        place
        for place in range(layers.head, len(layers.units) - 1)
        if layers.gaps[place].activation == "unseen" and place not in reading.silent
    ]
    if not unseen:
        return []
    names = [layers.units[place + 1].main.stem for place in unseen]
    apart = any(layers.gaps[place].apart for place in unseen)
    silent = replace(reading, silent=reading.silent | {unseen[-1]})
    text = f"ReLU is assumed in front of {' and '.join(repr(name[:60]) for name in names[:3])}; nothing in the file shows it."
    return [Doubt(text, (plan_of(layers, silent),), serious=apart)]


def _about_kinds(layers: Layers, reading: Reading) -> Doubt:
    average = replace(reading, pool=AVERAGE_POOL)
    leaky = replace(reading, activation=Step("leaky", values=(0.1,)))
    plans = tuple(dict.fromkeys(plan_of(layers, one) for one in (average, leaky)))
    mine = plan_of(layers, reading)
    return Doubt(
        "Max-pooling, ReLU and RGB order are assumed; average pooling, another activation or BGR order would leave the same shapes.",
        tuple(plan for plan in plans if plan != mine),
    )


def _plans(layers: Layers, readings: Sequence[Reading]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(plan_of(layers, reading) for reading in readings))[:4]
