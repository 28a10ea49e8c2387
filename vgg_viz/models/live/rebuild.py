"""A chain that was read off a network, as this package's own network; and the proof that both say the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from vgg_viz.errors import CheckpointRefused
from vgg_viz.models.build import assemble, require_buildable
from vgg_viz.models.live.trace import Trace, run_once, the_logits
from vgg_viz.models.live.walk import BuiltStep, ReadChain
from vgg_viz.models.network import layer_paths
from vgg_viz.models.plan import Step, parse_plan, write_plan
from vgg_viz.records import Architecture

CLOSE = 1e-5  # of logits, in parts of the largest
ENDED: dict[str, Callable[[Tensor], Tensor]] = {
    "": lambda logits: logits,
    "softmax": lambda logits: logits.softmax(1),
    "log_softmax": lambda logits: logits.log_softmax(1),
    "sigmoid": torch.sigmoid,
    "log_sigmoid": nn.functional.logsigmoid,
}


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A chain as an architecture with weights under its keys.

    Attributes:
        architecture: `mean` and `std` are those of the network's own first operations: 0 and 1 where it has none.
        built: Its steps, each with the place where the user's network computes it.
    """

    architecture: Architecture
    weights: dict[str, Tensor]
    built: tuple[BuiltStep, ...]
    ending: str


def rebuilt(chain: ReadChain, *, channels: int, side: int) -> Rebuilt:
    """The architecture and weights of a chain that reads pictures of `side` [px]."""
    built = _turned(chain)
    head = _head(built, chain.classes)
    if head is None:  # maps or values of which none is a score: no classifier
        built = [one for one in built if one.step.kind != "flat"]
        classes, head = 0, len(built)
    else:
        classes = chain.classes
    weighted = max((place for place, one in enumerate(built) if one.step.weighted), default=-1)
    steps: list[Step] = []
    for place, one in enumerate(built):
        outputs = 0 if classes and place == weighted else one.step.channels
        steps.append(replace(one.step, channels=outputs, head=place >= head))
    scale = chain.scale.abs()
    sign = torch.where(chain.scale < 0, -1.0, 1.0)
    architecture = require_buildable(
        Architecture(
            write_plan(steps),
            num_classes=classes,
            in_channels=channels,
            image_side=side,
            mean=tuple((-sign * chain.shift / scale).tolist()),
            std=tuple((1 / scale).tolist()),
            outputs="sigmoid" if "sigmoid" in chain.ending else "softmax",
        )
    )
    weights: dict[str, Tensor] = {}
    for path, one in zip(layer_paths(parse_plan(architecture.plan)), built, strict=True):
        weights |= {f"{path}.{name}": value for name, value in one.weights.items()}
        if one.step.kind == "bn":
            weights[f"{path}.num_batches_tracked"] = torch.tensor(0)
    return Rebuilt(architecture, weights, tuple(built), chain.ending)


def _turned(chain: ReadChain) -> list[BuiltStep]:
    """The steps; where the network turns a channel's sign before the first layer, that layer's kernels are turned instead."""
    if bool((chain.scale == 0).any()):
        raise CheckpointRefused(
            "the network multiplies a channel of its pictures by 0; give one that reads all channels."
        )
    built = list(chain.steps)
    negative = chain.scale < 0
    if bool(negative.any()):
        first = next((one for one in built), None)
        if first is None or first.step.kind != "conv":
            raise CheckpointRefused("the network turns the sign of its pictures before a layer that is no convolution.")
        first.weights["weight"][:, negative] *= -1
    return built


def _head(built: Sequence[BuiltStep], classes: int) -> int | None:
    """Where the classifier begins: at the flattening before the first linear layer, else with convolutions that read whole maps."""
    weighted = [place for place, one in enumerate(built) if one.step.weighted]
    if not weighted or not classes or built[weighted[-1]].step.channels != classes:
        return None
    linear = next((place for place in weighted if built[place].step.kind == "fc"), None)
    if linear is not None:
        return next(place for place, one in enumerate(built) if one.step.kind == "flat")
    first = weighted[-1]
    for place in reversed(weighted[:-1]):
        if built[place].shape[2:] != (1, 1):
            break
        first = place
    return first


def prove(network: nn.Module, run: Callable[[Tensor], Any], found: Rebuilt, pictures: Sequence[Tensor]) -> float:
    """The largest difference between the logits of a network and of what was made of it, in parts of the largest logit.

    Args:
        network: The user's.
        run: It, as `trace.undisturbed` yields it.
        found: What was made of it.
        pictures: Batches (B, C, H, W) as the user's network takes them.

    Raises:
        CheckpointRefused: They differ by more than `CLOSE`; the first layer that differs is named.
    """
    own = assemble(found.architecture, found.weights)
    parts = list(own.children())
    answers: list[tuple[Tensor, Tensor, float]] = []
    for batch in pictures:
        try:
            theirs = the_logits(run(batch)).float().cpu()
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            raise CheckpointRefused(
                f"the network ran on two pictures and not on {len(batch)} ({_line(error)}); give one that takes any number."
            ) from error
        logits = batch
        for part in parts:
            logits = part(logits)
        ours = ENDED[found.ending](logits).reshape(theirs.shape) if found.architecture.num_classes else logits
        if found.architecture.num_classes == 0 and theirs.ndim == 2:
            ours = ours.flatten(1)
        # A probability is as far off, in parts of itself, as its logit is.
        answers.append((theirs, ours, max(1.0, _largest(logits)) if found.ending else 1.0))
    worst, usual = 0.0, max((_largest(theirs) for theirs, _, _ in answers), default=0.0)
    for batch, (theirs, ours, scale) in zip(pictures, answers, strict=True):
        # A single logit may be next to nothing on one picture: what rounding leaves is small beside those on others.
        distance = _distance(theirs, ours, usual / 10) / scale
        if not distance <= CLOSE:
            trace = run_once(network, run, batch, keep=True)
            raise CheckpointRefused(
                _difference(found, own, batch, trace) + f" (logits differ by {distance:.2g} of the largest)."
            )
        worst = max(worst, distance)
    return worst


def _largest(values: Tensor) -> float:
    finite = values[torch.isfinite(values)]
    return float(finite.abs().max()) if finite.numel() else 0.0


def _distance(theirs: Tensor, ours: Tensor, least: float = 0.0) -> float:
    """The largest difference in parts of the largest value, or of `least`; infinite where only one of them is finite."""
    if theirs.shape != ours.shape:
        return float("inf")
    if torch.equal(theirs, ours) or not bool(torch.isfinite(theirs).all()):
        return 0.0  # beyond the range of numbers nothing is proved
    return float((theirs - ours).abs().max() / theirs.abs().max().clamp(min=max(least, 1e-12)))


def _difference(found: Rebuilt, own: nn.Module, batch: Tensor, trace: Trace) -> str:
    """Which layer is the first whose answer is another one, in a sentence without its end."""
    said = "the chain that was read off the network does not say what the network says: "
    given = {number: one for one in trace.operations for number in one.outputs[:1]}
    leaves = [module for module in own.modules() if not any(module.children())]
    values = leaves[0](batch)
    for one, module in zip(found.built, leaves[1:], strict=True):
        values = module(values).clone()
        theirs = given.get(one.number)
        if theirs is None or theirs.values is None or theirs.values.shape != values.shape:
            continue
        apart = _distance(theirs.values.float().cpu(), values)
        if apart > CLOSE:
            return f"{said}the first layer that differs is {one.place}, by {apart:.2g} of its largest value"
    return (
        f"{said}no single layer differs, so it goes another way for some pictures, changes from pass to pass, "
        "or depends on the other pictures of a batch"
    )


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(".")
