"""A network losing what it learned, layer by layer from the top, without losing its voice."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vgg_viz.capture.hooks import eval_mode, replace_activations
from vgg_viz.models.names import Layer
from vgg_viz.models.names import layers as layers_of

Change = Callable[[nn.Module, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Voice:
    """Mean and spread of what a layer says over all pictures, channels and places."""

    mean: float
    spread: float


def weighty(model: nn.Module) -> list[Layer]:
    """Layers with weights of their own, from the top down."""
    return [layer for layer in reversed(layers_of(model)) if layer.kind in ("conv", "fc", "bn")]


def levels_of(model: nn.Module) -> list[list[Layer]]:
    """What is randomised at one step, from the top down: a convolution goes with the batch norm that follows it."""
    levels: list[list[Layer]] = []
    waiting: list[Layer] = []
    for layer in weighty(model):
        waiting.append(layer)
        if layer.kind != "bn":
            levels.append(waiting)
            waiting = []
    return levels


@contextmanager
def cascading(
    model: nn.Module, images: Tensor, *, seed: int = 0, stops: Collection[int] | None = None
) -> Iterator[Iterator[str]]:
    """Randomise the network from the top down; everything comes back when the block ends, also when it raises.

    images  (B, C, H, W) in [0, 1]: a few on which each layer's voice is measured
    stops   steps, from 1, after which the network is looked at: it is made as loud as before at these alone, a pass each, and
            is then the network that it would be after a pass at every step; None: at every step
    yields  an iterator: each step randomises one more layer, below those that are random already, and gives its name

    Every layer draws its own noise (dice of `seed` and its place), because layers of equal shape with equal weights let the check
    pass trivially. Then weights and biases are scaled together, layer by layer on the way up, so that what the layer says
    has the spread that it had, and the biases shifted so that it has the mean: a network whose signal dies gives flat maps, and
    every method passes against those (both seen in another library). Layers without bias keep the spread only.
    The tensors themselves are not written to: they may be those of a memory-mapped file.
    Source: Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018.
    """
    every = [layer for level in levels_of(model) for layer in level]
    parameters = [parameter for layer in every for parameter in layer.module.parameters(recurse=False)]
    originals = [parameter.data for parameter in parameters]
    voices: dict[str, Voice] = {}
    said = {layer.name: _listener(voices, layer.name) for layer in every}
    with eval_mode(model), torch.no_grad(), replace_activations(model, said):
        model(images)
    try:
        yield _steps(model, images, voices, seed, stops)
    finally:
        for parameter, original in zip(parameters, originals, strict=True):
            parameter.data = original


def _steps(
    model: nn.Module, images: Tensor, voices: dict[str, Voice], seed: int, stops: Collection[int] | None
) -> Iterator[str]:
    random: list[Layer] = []
    for place, level in enumerate(levels_of(model)):
        for part, layer in enumerate(level):
            _redrawn(layer.module, seed=seed + 1000 * place + part)
            random.append(layer)
        if stops is None or place + 1 in stops:
            with (
                eval_mode(model),
                torch.no_grad(),
                replace_activations(model, {layer.name: _tuner(voices[layer.name]) for layer in random}),
            ):
                model(images)
        yield level[-1].name


def _redrawn(module: nn.Module, seed: int) -> None:
    """Noise in the place of each parameter; of a bias, with the mean and spread that it had."""
    dice = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters(recurse=False):
        old = parameter.data
        noise = torch.randn(old.shape, generator=dice).to(old)
        if name == "bias" or isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            noise = noise * (old.std() if old.numel() > 1 else 0) + old.mean()
        parameter.data = noise


def _listener(voices: dict[str, Voice], name: str) -> Change:
    def listen(_module: nn.Module, output: Tensor) -> Tensor:
        voices[name] = _voice(output)
        return output

    return listen


def _tuner(wanted: Voice) -> Change:
    """Scales the layer's weights until it speaks as loud as before, and passes on what it then says."""

    def tune(module: nn.Module, output: Tensor) -> Tensor:
        now = _voice(output)
        factor = wanted.spread / now.spread if now.spread > 0 else 1.0
        for parameter in module.parameters(recurse=False):
            parameter.data = parameter.data * factor
        output = output * factor
        bias = getattr(module, "bias", None)
        if isinstance(bias, nn.Parameter):
            shift = wanted.mean - now.mean * factor
            bias.data = bias.data + shift
            output = output + shift
        return output

    return tune


def _voice(output: Tensor) -> Voice:
    values = output.double()
    return Voice(float(values.mean()), float(values.std(correction=0)))
