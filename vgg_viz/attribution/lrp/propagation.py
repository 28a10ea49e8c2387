"""Relevance led down through a network by Captum's LRP, layer by layer, each by its rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from captum.attr import LRP
from torch import Tensor, nn

from vgg_viz.attribution.layer_modules import ACTIVATIONS, LINEAR, MAX_POOLS, require_layers_as_modules
from vgg_viz.attribution.lrp.rules import Entry, Epsilon, Pass, Rule
from vgg_viz.capture.out_of_place import without_inplace
from vgg_viz.errors import InputRefused
from vgg_viz.models.names import ACTIVATION_KINDS, Layer, layers
from vgg_viz.models.network import Normalise


@dataclass(frozen=True, slots=True)
class Preset:
    """Which rule works at which kind and depth of layer.

    about    one sentence for students; source: the paper
    first    of the lowest convolution, given the darkest and the brightest picture as that layer sees them
    lower    of the other convolutions in the lower `share` of the blocks; upper: of those above
    dense    of fully connected layers, also in their dense form
    average  whether a max-pool shares out like an average pool; otherwise the unit that won takes all
    passes   that it costs: a forward pass, and for each sum that relevance is shared out by, the sum and the way back through it
    """

    title: str
    about: str
    source: str
    first: Callable[[Tensor, Tensor], Rule]
    lower: Callable[[], Rule]
    upper: Callable[[], Rule]
    dense: Callable[[], Rule]
    share: float = 0.6
    average: bool = False
    passes: float = 3.0


@dataclass(frozen=True, slots=True)
class Step:
    """One layer that shared out relevance: its name, its rule, and its line in the books."""

    layer: str
    rule: str
    entry: Entry


@dataclass(frozen=True, slots=True)
class Flow:
    """Relevance on its way from the score to the pixels.

    pixels  (B, C, H, W)
    steps   from the score down
    """

    pixels: Tensor
    steps: tuple[Step, ...]

    @property
    def score(self) -> Tensor:
        """(B,) where it started: the score that the map is about, float64."""
        return self.steps[0].entry.entering


class _Led(LRP):  # type: ignore[misc]
    """Captum's LRP for rules that change no weight: one forward and one backward pass.

    Captum's own also runs the network a first time to change weights, writes every weight back afterwards (a memory-mapped file would
    be read in whole), and multiplies the map of a unit relevance by the score, which is wrong for the difference of two classes.
    Here the last layer starts from gradient times output instead. Max-pools and reshaping need no rule: their gradient is the rule.
    """

    def _get_layers(self, model: nn.Module) -> None:
        self.layers = [module for module in model.modules() if hasattr(module, "rule") or type(module) is nn.ReLU]

    def _compute_output_and_change_weights(
        self, inputs: tuple[Tensor, ...], target: Any, additional_forward_args: Any
    ) -> Tensor:
        return torch.ones(len(inputs[0]), device=inputs[0].device)

    def _restore_state(self) -> None:
        pass


def propagate(model: nn.Module, images: Tensor, targets: Tensor, preset: Preset) -> Flow:
    """Lead the score of `targets` down to the pixels; batch norm is merged into the convolutions for the while.

    model    in eval mode with frozen weights; images (B, C, H, W) in [0, 1], a leaf of their own; targets (B,)
    raises   InputRefused for a network with layers that no rule is known for, or whose batch norm cannot be merged
    """
    require_layers_as_modules(model, images, "relevance propagation", ACTIVATIONS | MAX_POOLS | LINEAR, chain=True)
    with without_inplace(model, merge=True):
        ruled = _assigned(model, images, preset)
        pixels = _Led(model).attribute(images.requires_grad_(), target=targets).detach()
    if any(rule.starts and rule.entry is None for _, rule in ruled):
        # A unit's value is read before its layer passes anything on, so its map would be a gradient in part.
        raise InputRefused(
            "relevance starts here from scores of classes, not from single units; ask a gradient method about a unit, "
            "such as input_x_gradient."
        )
    steps = [Step(layer.name, rule.name, rule.entry) for layer, rule in reversed(ruled) if rule.entry is not None]
    return Flow(pixels, tuple(steps))


FROM_ZERO = ACTIVATION_KINDS - {"relu", "softplus", "sigmoid"}  # nothing in, nothing out: relevance passes through
NO_RULE = ("relu", "pool", "flatten", "drop")  # their gradient, or passing on, is the rule


def _assigned(model: nn.Module, images: Tensor, preset: Preset) -> list[tuple[Layer, Rule]]:
    """Every layer that shares out relevance with its rule, from the picture up; the last of those with weights starts."""
    found: list[tuple[Layer, Rule]] = []
    blocks = [block for layer in layers(model) if (block := _block(layer))]
    darkest, brightest = torch.zeros_like(images[:1]), torch.ones_like(images[:1])
    bottom = True
    for layer in layers(model):
        rule: Rule | None = None
        if layer.kind == "normalise" and isinstance(layer.module, Normalise):
            darkest, brightest = layer.module(darkest), layer.module(brightest)
            rule = Pass()
        elif layer.kind == "lrn" or layer.kind in FROM_ZERO:
            rule = Pass()
        elif layer.kind in ("conv", "fc"):
            if bottom:
                rule = preset.first(darkest, brightest)
            elif layer.kind == "fc":
                rule = preset.dense()
            else:
                rule = (
                    preset.lower if (_block(layer) or 1) <= preset.share * max(blocks, default=1) else preset.upper
                )()
            bottom = False
        elif (
            layer.kind == "avgpool"
            or isinstance(layer.module, nn.AvgPool2d)
            or (layer.kind == "pool" and preset.average)
        ):
            rule = Epsilon()
        elif layer.kind not in NO_RULE:
            raise InputRefused(
                f"layer {layer.name or layer.path!r} is a {type(layer.module).__name__}, for which no rule of relevance is known; "
                "choose a gradient method."
            )
        if rule is not None:
            layer.module.rule = rule
            found.append((layer, rule))
    last = max((place for place, (layer, _) in enumerate(found) if layer.kind in ("conv", "fc")), default=-1)
    if last < 0:
        raise InputRefused(
            "the network has neither a convolution nor a linear layer, so there is nothing to share relevance out by."
        )
    found[last][1].starts = True
    for layer, _ in found[
        last + 1 :
    ]:  # what averages the scores above is part of the score's gradient, where relevance starts
        del layer.module.rule
    return found[: last + 1]


def _block(layer: Layer) -> int:
    """The block of a convolution, from 1; 0 for other layers."""
    return (
        int(layer.name.removeprefix("conv").partition("_")[0])
        if layer.kind == "conv" and layer.name.startswith("conv")
        else 0
    )
