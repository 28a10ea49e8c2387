"""The books of layer-wise relevance: what came to each layer, what its biases and its epsilon kept, what it passed on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vgg_viz.attribution.lrp.propagation import Flow, propagate
from vgg_viz.attribution.method import pictures_at_once
from vgg_viz.attribution.methods.lrp import PRESETS
from vgg_viz.capture.hooks import eval_mode, frozen, on_device_of, replace_output
from vgg_viz.errors import UnknownName


@dataclass(frozen=True, slots=True)
class Ledger:
    """One line a layer, from the score down to the pixels, for each picture; float64 on the CPU, in the unit of the score.

    preset    name in `lrp.PRESETS`
    layers    L names; rules: what each layer shared out by
    entering  (B, L) relevance that came from above; of the first layer: the score
    bias      (B, L) what the biases kept; below zero where they paid out
    epsilon   (B, L) what the stabiliser swallowed, and what came to units that no input had a part in
    leaving   (B, L) what was passed on; of the last layer: the sum of the map
    pixels    (B, H, W) the map itself, float32
    """

    preset: str
    layers: tuple[str, ...]
    rules: tuple[str, ...]
    entering: Tensor
    bias: Tensor
    epsilon: Tensor
    leaving: Tensor
    pixels: Tensor

    @property
    def score(self) -> Tensor:
        """(B,) what was shared out."""
        return self.entering[:, 0]

    @property
    def gap(self) -> Tensor:
        """(B, L) what the books miss: entering - bias - epsilon - leaving. Rounding of float32, or an error."""
        return self.entering - self.bias - self.epsilon - self.leaving

    @property
    def between(self) -> Tensor:
        """(B, L - 1) what was lost on the way from a layer to the next, through ReLUs, pools and reshaping."""
        return self.leaving[:, :-1] - self.entering[:, 1:]

    @property
    def reached(self) -> Tensor:
        """(B,) share of the score that the pixels got; not bounded by 0 and 1, because biases can be of either sign."""
        return self.leaving[:, -1] / self.score


def ledger(model: nn.Module, images: Tensor, classes: Tensor, *, preset: str = "epsilon_gamma_box") -> Ledger:
    """Keep the books while the score of `classes` (B,) is shared out down to the pixels of images (B, C, H, W) in [0, 1].

    raises  UnknownName for a preset; InputRefused as `propagate`

    The model comes back as it was. Costs what the method `lrp_<preset>` costs.
    """
    if preset not in PRESETS:
        raise UnknownName("preset of relevance", preset, PRESETS)
    size = pictures_at_once(model, images)
    flows: list[Flow] = []
    with eval_mode(model), frozen(model), torch.inference_mode(False), torch.enable_grad(), replace_output(model):
        for start in range(0, len(images), size):
            part = on_device_of(model, images[start : start + size]).detach().clone(memory_format=torch.channels_last)
            flows.append(propagate(model, part, on_device_of(model, classes[start : start + size]), PRESETS[preset]))

    def column(name: str) -> Tensor:
        return torch.cat(
            [torch.stack([getattr(step.entry, name).cpu() for step in flow.steps], dim=1) for flow in flows]
        )

    steps = flows[0].steps
    return Ledger(
        preset,
        tuple(step.layer for step in steps),
        tuple(step.rule for step in steps),
        column("entering"),
        column("bias"),
        column("epsilon"),
        column("leaving"),
        torch.cat([flow.pixels.sum(1).cpu() for flow in flows]),
    )
