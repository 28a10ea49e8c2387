"""A bare state dict read as a chain: its layers in their order, what stands between them, and the pictures that it was made for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vgg_viz.errors import CheckpointRefused
from vgg_viz.models.plan import Step
from vgg_viz.models.state_dict_choice import Choice, choose
from vgg_viz.models.state_dict_evidence import DEFINED, LRN, about_layers, about_places, about_side, doubts, unseen
from vgg_viz.models.state_dict_gaps import between
from vgg_viz.models.state_dict_modules import StoredLayer, stored_layers
from vgg_viz.models.state_dict_order import Order, Unit, heads_left_out, in_order
from vgg_viz.models.state_dict_pools import Fit, noted_placement, variant_of
from vgg_viz.models.state_dict_steps import Layers, Reading, keyed_steps
from vgg_viz.records import Evidence

DENSE_HEAD = ("pre_logits.fc1", "pre_logits.fc2")  # timm's


@dataclass(frozen=True, slots=True)
class StoredChain:
    """The layers of a state dict in their order, before anything is said of what stands between them.

    Attributes:
        layers: Units, and what their numbers tell.
        order: How their order was found.
        slides: timm's head: kernels that are linear layers for pictures of the usual side.
        ignored: Keys that change no answer.
        empty: Keys of a classifier that holds no numbers.
        other_heads: Keys of the heads that the user did not choose.
    """

    layers: Layers
    order: Order
    slides: bool = False
    ignored: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()
    other_heads: tuple[str, ...] = ()

    @property
    def in_channels(self) -> int:
        """1 (grey) or 3 (RGB)."""
        return self.layers.units[0].main.inputs

    @property
    def num_classes(self) -> int:
        """0: there is no classifier."""
        return self.layers.units[-1].main.outputs if self.layers.head < len(self.layers.units) else 0


@dataclass(frozen=True, slots=True)
class ReadChain:
    """The network that a state dict is.

    Attributes:
        stored: Its layers as the file has them.
        steps: Its chain; `parse_plan(write_plan(steps))` gives the same.
        keys: For each step the keys of its tensors: {"weight": key, "bias": key, "running_mean": key, ...}; {} where it
            has none.
        image_side: Of the pictures, the likeliest [px].
        kind: "paper": the paper's convolutions; "course": a small network as courses build them; "other".
        others: Other chains and sides of pictures that the same weights fit, the likelier first.
        evidence: What is known, and what is assumed.
        alternatives: What else would fit.
    """

    stored: StoredChain
    steps: tuple[Step, ...]
    keys: tuple[Mapping[str, str], ...]
    image_side: int
    kind: str
    others: tuple[tuple[tuple[Step, ...], int], ...] = ()
    evidence: tuple[Evidence, ...] = ()
    alternatives: tuple[Evidence, ...] = ()


def stored_chain(
    weights: Mapping[str, Tensor], *, head: str | None = None, trusted: bool = False
) -> StoredChain | None:
    """The layers of a bare state dict in the order in which a picture passes them; None where no tensor is a convolution's kernel.

    Args:
        weights: Wrappers, prefixes and reparametrisations are taken off.
        head: The beginning of the keys of the classifier to take, where there are several.
        trusted: Whether the user has said what the chain is.

    Raises:
        CheckpointRefused: Where the tensors are no chain; the one that does not belong to it is named.
    """
    if not any(value.ndim == 4 for value in weights.values()):
        return None
    stored, ignored = stored_layers(weights)
    stored, slides = _linear_kernels(stored)
    kept, empty = _without_empty_classifier(stored, weights)
    order = in_order(kept, head=head, trusted=trusted)
    gone = heads_left_out(kept, head)
    others = tuple(key for layer in kept if layer.stem in gone for key in layer.keys.values())
    return StoredChain(_layers(order.units), order, slides, ignored, empty, others)


def read_chain(
    weights: Mapping[str, Tensor],
    *,
    notes: Sequence[Sequence[object]] = (),
    head: str | None = None,
    paper: bool = False,
) -> ReadChain | None:
    """The network whose tensors these are; None where no tensor is a convolution's kernel.

    Args:
        weights: A bare state dict: wrappers, prefixes and reparametrisations are taken off.
        notes: Lists in the file that may say where pools are ([64, "M", 128, ...]).
        head: The beginning of the keys of the classifier to take, where there are several.
        paper: Whether the user has said that pools are at the paper's places.

    Raises:
        PlanUnclear: Where several networks fit and nothing tells them apart.
        CheckpointRefused: Where the tensors are no chain; the one that does not belong to it is named.
    """
    stored = stored_chain(weights, head=head)
    if stored is None:
        return None
    layers = stored.layers
    variant, _ = variant_of(layers.convs[layers.adapters :])
    note = next((found for one in notes if (found := noted_placement(one, layers.convs))), None)
    choice = choose(layers, variant, note, paper=paper)
    keyed = keyed_steps(layers, choice.reading)
    assumed, open_sides = about_side(choice, choice.reading.fit.image_side)
    evidence = (
        *([Evidence(stored.order.sentence)] if stored.order.sentence else []),
        *about_places(layers, choice, variant),
        *about_layers(keyed, weights, variant),
        *doubts(layers, choice, known_head=stored.slides),
        *assumed,
    )
    alternatives = (
        *([DEFINED] if stored.order.own and choice.how not in ("numbers", "noted") else []),
        *([LRN] if variant == "vgg11" and choice.how != "numbers" else []),
        *open_sides,
        unseen(layers, choice.reading),
    )
    return ReadChain(
        stored,
        tuple(step for step, _ in keyed),
        tuple(keys for _, keys in keyed),
        choice.reading.fit.image_side,
        choice.kind,
        tuple(_other(layers, choice, fit) for fit in choice.others),
        evidence,
        alternatives,
    )


def _other(layers: Layers, choice: Choice, fit: Fit) -> tuple[tuple[Step, ...], int]:
    reading: Reading = replace(choice.reading, fit=fit)
    return tuple(step for step, _ in keyed_steps(layers, reading)), fit.image_side


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
    empty = bool(linear) and all(_without_numbers(weights[layer.keys["weight"]]) for layer in linear)
    if not empty:
        return layers, ()
    gone = tuple(key for layer in linear for key in layer.keys.values())
    return tuple(layer for layer in layers if layer.kind != "fc"), gone


def _without_numbers(weight: Tensor) -> bool:
    """Whether a weight begins with NaN, as a classifier does that was never trained; the rest stays on disk."""
    plain = weight.device.type != "meta" and weight.layout == torch.strided and weight.is_floating_point()
    return plain and bool(weight.flatten()[:64].isnan().all())


def _layers(units: tuple[Unit, ...]) -> Layers:
    """Where the head begins: at the first linear layer, or at the kernel that reads a whole map and the 1 x 1 ones behind it."""
    first = next((place for place, unit in enumerate(units) if unit.main.kind == "fc"), len(units))
    kernels = [unit.main.kernel for unit in units[:first]]
    head = first
    for place in range(first - 1, 0, -1):
        if kernels[place] > max(3, *kernels[:place]):
            # Behind kernels of the head a linear layer reads one value a channel; one that reads a map ends convolutions.
            pooled = first < len(units) and units[first].main.inputs == units[first - 1].main.outputs
            if first == len(units) or (first - place > 1 and pooled):
                head = place
            break
        if kernels[place] != 1:
            break
    if head == first == len(units) and kernels[-1] == 1 and len(units) > 1 and not variant_of(units)[0]:
        head = len(units) - 1
    adapters = 0
    while adapters + 1 < head and units[adapters].main.outputs in (1, 3):
        adapters += 1
    return Layers(units, between(units), head, slides=head < first, adapters=adapters)
