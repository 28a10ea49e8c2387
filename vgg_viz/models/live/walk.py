"""The walk along a network's operations: the steps so far, and where each of their numbers stands by now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from vgg_viz.errors import CheckpointRefused
from vgg_viz.models.live.trace import Operation, Place
from vgg_viz.models.plan import Step


@dataclass(slots=True)
class BuiltStep:
    """One step with its weights.

    Attributes:
        step: Its kind and numbers.
        place: Where the user's network computes it.
        weights: {"weight", "bias", ...} in this package's order.
        number: Of the value that it gives, in the trace; -1: no single one.
        shape: Of that value, with the batch.
    """

    step: Step
    place: Place
    weights: dict[str, Tensor] = field(default_factory=dict)
    number: int = -1
    shape: tuple[int, ...] = ()


@dataclass(slots=True)
class ReadChain:
    """A chain read off a trace.

    Attributes:
        steps: From the picture up.
        scale: What the network multiplies each channel of its pictures by before the first layer.
        shift: What it then adds.
        ending: "softmax", "sigmoid", "log_softmax" or "": what stands behind the last layer with weights.
        classes: How many outputs; 0: maps, and no classifier.
        result: Number of the value that is the network's answer before its ending.
    """

    steps: list[BuiltStep] = field(default_factory=list)
    scale: Tensor = field(default_factory=lambda: torch.ones(0))
    shift: Tensor = field(default_factory=lambda: torch.zeros(0))
    ending: str = ""
    classes: int = 0
    result: int = -1


def refused(operation: Operation, what: str) -> CheckpointRefused:
    """The refusal of an operation, with the place where the network computes it."""
    return CheckpointRefused(
        f"{operation.place} {what}; vgg_viz explains chains of layers, one after another, and this network is none."
    )


class Walk:
    """Where it is: the steps so far, and which number of the last step's output stands where in the current value.

    shape   of the current value, with the batch
    origin  (B, ...) for each of its numbers, its place in the last step's output counted over the batch; None: each in its own
    map     (C, H, W) of the last step's output; after flattening (N,)
    """

    def __init__(self, picture: tuple[int, ...]) -> None:
        self.chain = ReadChain(
            scale=torch.ones(picture[1], dtype=torch.float64),
            shift=torch.zeros(picture[1], dtype=torch.float64),
            result=0,
        )
        self.batch, self.shape, self.map = picture[0], picture, picture[1:]
        self.origin: Tensor | None = None
        self.padding = 0  # zeros around the map that the next convolution or pool reads
        self.averaged, self.averaging = (
            1,
            "",
        )  # how many numbers of a map each one stands for by now, and by which operation
        self.number = 0

    def goes_on(self, operation: Operation) -> None:
        """An operation that leaves every number what and where it was."""
        around = 2 * self.padding
        if tuple(operation.shape) not in (self.shape, (*self.shape[:-2], *(side + around for side in self.shape[-2:]))):
            raise refused(operation, f"changes the shape by {operation.name}")
        self.number = operation.outputs[0]
        if not self.chain.ending:
            self.chain.result = self.number

    def places(self) -> Tensor:
        """`origin`, also where it is None."""
        size = self.batch * prod(self.map)
        return torch.arange(size).view(self.shape) if self.origin is None else self.origin

    def move(self, operation: Operation) -> None:
        """An operation that only moves numbers: done again on their origins."""
        self.require_no_padding(operation)
        try:
            args = tree_map_only(Tensor, lambda tensor: tensor.cpu(), operation.args[1:])
            moved = operation.function(self.places(), *args, **operation.keywords)
        except (RuntimeError, TypeError) as error:
            raise refused(operation, f"moves numbers by {operation.name} in a way that cannot be followed") from error
        if isinstance(moved, list | tuple):
            if len(moved) > 1:
                raise refused(operation, f"cuts its value into parts by {operation.name}")
            moved = moved[0]
        if moved.ndim == 0 or len(moved) != self.batch:
            raise refused(operation, f"mixes the pictures of a batch by {operation.name}")
        own = torch.arange(self.batch).view(-1, *[1] * (moved.ndim - 1))
        if not bool((moved - own * prod(self.map) == moved[:1]).all()):
            raise refused(operation, f"mixes the pictures of a batch by {operation.name}")
        self.shape = tuple(moved.shape)
        size = self.batch * prod(self.map)
        straight = moved.numel() == size and torch.equal(moved.flatten(), torch.arange(size))
        self.origin = None if straight else moved.contiguous()
        self.number = operation.outputs[0]
        if not self.chain.ending:
            self.chain.result = self.number

    def flat_origin(self) -> Tensor:
        """(N,) for each number of a picture's current value, which of the last step's it is."""
        return self.places()[0].flatten()

    def channel_origin(self, operation: Operation) -> Tensor:
        """(C,) for each channel of the current map, which of the last step's maps it is, whole and upright."""
        if len(self.shape) != 4 or len(self.map) != 3:
            raise refused(
                operation, f"computes {operation.name} on values of shape {self.shape[1:]}, a map was expected"
            )
        size = self.map[1] * self.map[2]
        if self.origin is None:
            if self.shape[1:] == self.map:
                return torch.arange(self.map[0])
            raise refused(operation, "reads a map of another shape than the layer before gave")
        first = self.origin[0]
        if tuple(first.shape[1:]) != self.map[1:] or not bool(
            (first.flatten(1) % size == torch.arange(size)).all()
            and (first.flatten(1) // size == first[:, :1, 0] // size).all()
        ):
            raise refused(operation, f"computes {operation.name} on a map that was cut, turned or reordered")
        return first[:, 0, 0] // size

    def require_no_padding(self, operation: Operation) -> None:
        """Refuse an operation on a map that was padded, or averaged over one side alone."""
        if self.padding:
            raise refused(operation, f"computes {operation.name} on a padded map, where a convolution was expected")
        if self.averaged > 1:
            raise refused(operation, f"computes {operation.name} on a map that is averaged over one of its sides alone")

    def flatten(self, place: Place | None = None) -> None:
        """Append the flattening before the first layer that reads single values; nothing where it is there."""
        if len(self.map) == 3:
            at = place or self.chain.steps[-1].place
            self.chain.steps.append(BuiltStep(Step("flat", head=True), at))
            self.map = (prod(self.map),)

    def add(
        self,
        operation: Operation,
        step: Step,
        weights: Mapping[str, Tensor] | None = None,
        *,
        new_map: tuple[int, ...] | None = None,
    ) -> None:
        """Append a step. One with `new_map` gives numbers of its own; any other leaves each where it was."""
        if new_map is None and len(self.shape) == 2:
            self.flatten(operation.place)
        held = {name: value.detach().to("cpu", torch.float32).clone() for name, value in (weights or {}).items()}
        plain = new_map is not None or self.origin is None
        number = operation.outputs[0] if plain else -1
        self.chain.steps.append(BuiltStep(step, operation.place, held, number, tuple(operation.shape)))
        if new_map is not None:
            self.map, self.origin = new_map, None
        self.shape = tuple(operation.shape)
        self.number = self.chain.result = operation.outputs[0]

    def back(self, operation: Operation, origin: Tensor, count: int) -> Tensor:
        """Which entry of the current value each of the last step's is, where all are there once."""
        if not torch.equal(origin.sort().values, torch.arange(count)):
            raise refused(operation, "works on channels of which some were left out or repeated")
        return origin.argsort()

    def finished(self) -> ReadChain:
        """The chain, its outputs in order."""
        chain, built = self.chain, self.chain.steps
        if not built:
            raise CheckpointRefused("the network has no layers; a chain of convolutions was expected.")
        last = built[-1].place
        if len(self.shape) == 4 and self.map[1:] != (1, 1) and not any(one.step.kind == "fc" for one in built):
            if self.origin is not None or self.padding or chain.ending:
                raise CheckpointRefused(f"behind {last} the maps are cut or reordered; logits (B, K) were expected.")
            return chain
        if self.padding or self.averaged > 1:
            raise CheckpointRefused(f"behind {last} the maps are padded or half averaged; logits (B, K) were expected.")
        outputs = self.flat_origin()
        self.flatten()
        chain.classes = len(outputs)
        if not torch.equal(outputs, torch.arange(self.map[0])):
            weighted = built[-1] if built[-1].step.kind in ("fc", "conv") else None
            if weighted is None:
                raise CheckpointRefused(f"the outputs are reordered or cut behind {last}; give a module that does not.")
            weighted.weights = {name: value[outputs] for name, value in weighted.weights.items()}
            weighted.step = replace(weighted.step, channels=len(outputs))
        return chain


def both_sides(sides: Any) -> tuple[int, int]:
    """A length given once, or for rows and columns."""
    return (int(sides), int(sides)) if isinstance(sides, int) else (int(sides[0]), int(sides[-1]))
