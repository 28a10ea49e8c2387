"""A chain that batch norms remember, written as a plan; what follows the last of them is told by labels, where there are."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from vgg_viz.capture.predict import predict_logits
from vgg_viz.errors import InputRefused, VggVizError
from vgg_viz.maths.receptive_field import Window
from vgg_viz.models.build import build
from vgg_viz.models.network import layer_paths, map_sizes, rekeyed
from vgg_viz.models.outputs import class_logits
from vgg_viz.models.plan import ACTIVATIONS, Step, canonical_plan, parse_plan, write_plan
from vgg_viz.records import Architecture, Batch, Checkpoint
from vgg_viz.studies.chain_search import ChainFit
from vgg_viz.studies.preprocessing_check import tempered_loss

REDUCTIONS = {
    "M": Step("max_pool", window=Window(2, 2)),
    "A": Step("avg_pool", window=Window(2, 2)),
    "G": Step("adaptive_avg", side=1),
}
# What usually stands behind the last convolution, the likelier first.
TAILS = ((), ("M",), ("A",), ("G",), ("M", "G"), ("A", "G"), ("M", "M"), ("A", "A"))
MOST = 64  # labelled pictures that choose between them


@dataclass(frozen=True, slots=True)
class FoundPlan:
    """A plan that fits, and how sure its end is.

    Attributes:
        plan: In the words of `models.plan`.
        others: Plans that differ only behind the last convolution and fit the classifier as well.
        by_labels: Whether labelled pictures chose among them.
        changed: Whether it is another one than that in use: it may be red and blue alone that are turned round.
    """

    plan: str
    others: tuple[str, ...]
    by_labels: bool
    changed: bool

    def typed(self, *, bgr: bool) -> str:
        """What to add to a command."""
        return " ".join([*([f"--plan {shlex.quote(self.plan)}"] if self.changed else []), *(["--bgr"] if bgr else [])])


def found_plan(checkpoint: Checkpoint, fit: ChainFit, batch: Batch) -> FoundPlan | None:
    """The checkpoint's chain with the pools and the activation that fit; None where no end of it feeds the classifier.

    Args:
        checkpoint: With the chain that does not fit.
        fit: What the batch norms remember.
        batch: Pictures; with labels they choose what follows the last batch norm.
    """
    about = checkpoint.architecture
    steps = parse_plan(about.plan)
    values = next((step for step in steps if step.kind in ("fc", "conv") and step.head), None)
    if values is None:
        return None
    plans = list(dict.fromkeys(plan for plan in _ended(steps, fit) if _feeds(about, plan, _inputs(checkpoint))))
    if not plans:
        return None
    own = canonical_plan(about.plan)
    if batch.labels is None or len(plans) == 1 or about.outputs != "softmax" or plans[0] == own:
        return FoundPlan(plans[0], tuple(plans[1:]), by_labels=False, changed=plans[0] != own)
    chosen = torch.linspace(0, len(batch) - 1, min(len(batch), MOST)).round().long()
    images, labels = batch.images[chosen], batch.labels[chosen]
    losses = {plan: _loss(with_plan(checkpoint, plan, bgr=fit.bgr), images, labels) for plan in plans}
    ranked = sorted(plans, key=lambda plan: losses[plan])
    return FoundPlan(ranked[0], tuple(ranked[1:]), by_labels=True, changed=ranked[0] != own)


def with_plan(checkpoint: Checkpoint, plan: str, *, bgr: bool = False) -> Checkpoint:
    """The same weights in another chain of the same convolutions and linear layers."""
    old, new = parse_plan(checkpoint.architecture.plan), parse_plan(plan)
    weights = rekeyed(checkpoint.weights, old, new)
    changed = replace(checkpoint, architecture=replace(checkpoint.architecture, plan=plan), weights=weights)
    return blue_first(changed) if bgr else changed


def blue_first(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with the input channels of its first kernels turned round."""
    steps = parse_plan(checkpoint.architecture.plan)
    path = next(path for path, step in zip(layer_paths(steps), steps, strict=True) if step.kind == "conv")
    key = f"{path}.weight"
    return replace(checkpoint, weights={**checkpoint.weights, key: checkpoint.weights[key].flip(1)})


def _ended(steps: tuple[Step, ...], fit: ChainFit) -> Iterator[str]:
    """The chain with what fits between its convolutions, and with every usual end; its own end first."""
    features = [step for step in steps if not step.head]
    head = [step for step in steps if step.head]
    last = max(place for place, step in enumerate(features) if step.kind == "conv")
    end = [step for step in features[last + 1 :] if step.kind != "bn" and step.kind not in ACTIVATIONS]
    ends = [end, *([REDUCTIONS[word] for word in tail] for tail in TAILS)]
    middle = list(_middle(features[: last + 1], fit))
    behind = [step for step in features[last + 1 :] if step.kind == "bn"]
    for one in ends:
        yield write_plan([*middle, *behind, _activation(fit), *one, *head])


def _middle(features: list[Step], fit: ChainFit) -> Iterator[Step]:
    """Convolutions and batch norms, with the activation and the pool that fit behind each but the last."""
    waiting: list[Step] = []
    pools = iter(fit.pools)
    for place, step in enumerate(features):
        if step.kind == "conv" and place and waiting:
            yield from waiting
            waiting = []
        if step.kind in ("conv", "bn", "drop"):
            yield step
        if step.kind == "conv" and place < len(features) - 1:
            word = next(pools)
            waiting = [_activation(fit), *([REDUCTIONS[word]] if word else [])]


def _activation(fit: ChainFit) -> Step:
    (step,) = [one for one in parse_plan(f"1 {fit.activation} | K") if one.kind in ACTIVATIONS][1:2]
    return step


def _inputs(checkpoint: Checkpoint) -> int:
    """How many values the classifier reads."""
    steps = parse_plan(checkpoint.architecture.plan)
    path, step = next(
        (path, step) for path, step in zip(layer_paths(steps), steps, strict=True) if step.head and step.weighted
    )
    shape = checkpoint.weights[f"{path}.weight"].shape
    return int(shape[1:].numel() if step.kind == "fc" else 0)


def _feeds(about: Architecture, plan: str, inputs: int) -> bool:
    steps = parse_plan(plan)
    try:
        sizes = map_sizes(replace(about, plan=plan))
    except InputRefused:
        return False
    place = next((place for place, step in enumerate(steps) if step.kind == "flat"), None)
    return place is not None and sizes[place][0] == inputs


def _loss(checkpoint: Checkpoint, images: Tensor, labels: Tensor) -> float:
    try:
        model: nn.Module = build(checkpoint)
    except VggVizError:
        return float("inf")
    logits = class_logits(model, predict_logits(model, images))
    return float(tempered_loss(logits, labels).mean())
