"""The steps of a chain from its layers and from what stands between them, each step with the keys of its tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from vgg_viz.maths.receptive_field import Window
from vgg_viz.models.plan import PLAIN, Step
from vgg_viz.models.state_dict_gaps import Between
from vgg_viz.models.state_dict_modules import StoredLayer
from vgg_viz.models.state_dict_order import Unit
from vgg_viz.models.state_dict_pools import MAX_POOL, Fit, conv_window

Keyed = tuple[Step, Mapping[str, str]]
NO_KEYS: Mapping[str, str] = {}
RELU = Step("relu")
LRN = Step("lrn", values=PLAIN["lrn"])


@dataclass(frozen=True, slots=True)
class Layers:
    """A chain's units, what stands behind each, and where its head begins.

    Attributes:
        units: In the order of the forward pass.
        gaps: What may stand behind each of them.
        head: Place of the first unit of the classifier; as many as there are units: there is none.
        slides: Whether the head is of convolutions, whose scores are averaged over places.
        adapters: How many convolutions in front only change the number of channels to 3 or 1.
    """

    units: tuple[Unit, ...]
    gaps: tuple[Between, ...]
    head: int
    slides: bool = False
    adapters: int = 0

    @property
    def convs(self) -> tuple[Unit, ...]:
        """The units of the features."""
        return self.units[: self.head]


@dataclass(frozen=True, slots=True)
class Reading:
    """What is chosen of a chain where its tensors leave it open.

    Attributes:
        fit: Pools, padding and side.
        average: Side of the map that an average pool makes at the end of the features; 0: there is none.
        activation: What stands behind the layers.
        pool: What stands where pools are.
        silent: Places of units behind which no activation stands, although none of their numbers says so.
        lrn: Whether the first convolution is normalised by its neighbours, as in the paper's A-LRN.
    """

    fit: Fit
    average: int = 0
    activation: Step = RELU
    pool: Step = MAX_POOL
    silent: frozenset[int] = frozenset()
    lrn: bool = False


def keyed_steps(layers: Layers, reading: Reading) -> list[Keyed]:
    """Every step with the keys of its tensors ({} for those that have none).

    `parse_plan(write_plan(steps))` gives the same steps.
    """
    made: list[Keyed] = []
    for place in range(len(layers.convs)):
        made += _unit(layers, place, reading)
        last = place == len(layers.convs) - 1
        pools = reading.fit.last if last else (reading.pool,) * (place in reading.fit.placement.pools)
        pools = tuple(reading.pool if pool == MAX_POOL else pool for pool in pools)
        normed = reading.lrn and place == 0
        made += [(LRN, NO_KEYS)] * normed + [(pool, NO_KEYS) for pool in pools]
        if not last and layers.gaps[place].room > len(pools) + normed:
            made.append((Step("drop", values=(0.5,)), NO_KEYS))
    if reading.average:
        made.append((Step("adaptive_avg", side=reading.average), NO_KEYS))
    return [*made, *_head(layers, reading)]


def _head(layers: Layers, reading: Reading) -> Iterator[Keyed]:
    units, flat = layers.units, False
    if layers.head == len(units):
        return
    before = layers.gaps[layers.head - 1]
    # One free number is that of the flattening, and in one Sequential with the convolutions one that of the last pool.
    if (before.leading if before.apart else before.room - len(reading.fit.last)) > 1:
        yield Step("drop", values=(0.5,), head=True), NO_KEYS
    for place in range(layers.head, len(units)):
        unit, last = units[place], place == len(units) - 1
        if unit.main.kind == "fc" and not flat:
            if layers.slides:
                yield Step("adaptive_avg", side=1, head=True), NO_KEYS
            yield Step("flat", head=True), NO_KEYS
            flat = True
        yield from _unit(layers, place, reading)
        if not last and layers.gaps[place].room:
            yield Step("drop", values=(0.5,), head=True), NO_KEYS
    if not flat:
        yield Step("adaptive_avg", side=1, head=True), NO_KEYS
        yield Step("flat", head=True), NO_KEYS


def _unit(layers: Layers, place: int, reading: Reading) -> Iterator[Keyed]:
    """A layer with its batch norm and its activation."""
    unit, gap, head = layers.units[place], layers.gaps[place], place >= layers.head
    last = place == len(layers.units) - 1
    outputs = 0 if last and head else unit.main.outputs
    for layer in unit.before:
        yield Step("bn", head=head), layer.keys
    bias = "bias" in unit.main.keys
    if unit.main.kind == "fc":
        yield Step("fc", outputs, bias=bias, head=True), unit.main.keys
    else:
        window = (
            Window(unit.main.kernel)
            if head
            else conv_window(unit.main.kernel, reading.fit.padding, 1 + (place in reading.fit.strided))
        )
        yield Step("conv", outputs, window, bias, head=head), unit.main.keys
    wanted = not (last and head) and gap.activation in ("seen", "unseen")
    wanted = wanted and place not in reading.silent and place >= layers.adapters
    activation = (replace(reading.activation, head=head), NO_KEYS)
    if wanted and gap.before_norm:
        yield activation
    for layer in unit.after:
        yield _follower(layer, head)
    if wanted and not gap.before_norm:
        yield activation


def _follower(layer: StoredLayer, head: bool) -> Keyed:
    if layer.kind == "leaky":
        return Step("leaky", values=(layer.slope,), head=head), NO_KEYS
    return Step("bn", head=head), layer.keys
