"""One forward and one backward pass that serve many maps: Grad-CAM of all layers, saliency, input x gradient."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from captum.attr import Saliency
from torch import Tensor, nn

from vgg_viz.attribution.cam import layer_for, layers_below, spatial
from vgg_viz.attribution.method import METHODS, pictures_at_once
from vgg_viz.attribution.targets import Aim, Given, Target, given
from vgg_viz.capture.hooks import capturing, evaluating, frozen, hearing, shifting
from vgg_viz.models.names import Layer, find
from vgg_viz.models.names import layers as layers_of
from vgg_viz.records import Activations, Attribution, Neuron


@dataclass(frozen=True, slots=True)
class SharedPass:
    """What one forward and one backward pass told about some pictures.

    targets           (B,) class index
    activations       logits, and copies of the layers that were asked to be kept
    grad_cam          {layer: Attribution}, in the order in which they were asked for
    saliency          in pixels, as the method of that name
    input_x_gradient  in pixels, as the method of that name
    """

    targets: Tensor
    activations: Activations
    grad_cam: dict[str, Attribution]
    saliency: Attribution
    input_x_gradient: Attribution


def grad_cam_all_layers(
    model: nn.Module,
    images: Tensor,
    targets: Target = "predicted",
    *,
    labels: Tensor | None = None,
    layers: Sequence[str] | None = None,
    relu: bool = True,
    batch: int | None = None,
) -> dict[str, Attribution]:
    """Grad-CAM of every convolution, or of `layers`, from one forward and one backward pass of each batch.

    Captum's LayerGradCam costs both for each layer, thirteen times for VGG16. Arguments as in `gradient_bundle`.
    """
    parts, found = _parts(model, images, targets, labels, layers, (), relu, batch, pixels=False)
    return _cams(parts, found, relu)


def gradient_bundle(
    model: nn.Module,
    images: Tensor,
    targets: Target = "predicted",
    *,
    labels: Tensor | None = None,
    layers: Sequence[str] | None = None,
    keep: Sequence[str] = (),
    relu: bool = True,
    batch: int | None = None,
) -> SharedPass:
    """Saliency, input x gradient, Grad-CAM of all convolutions, logits and activations: one forward, one backward.

    images   (B, C, H, W) in [0, 1]
    targets  as in `attribute`; "predicted" and "runner-up" cost no pass of their own: the score is picked in the forward
    layers   of the Grad-CAMs; None: every convolution
    keep     layers whose activations are returned
    relu     as the paper; False keeps evidence against the class
    batch    pictures at once; None: by memory
    raises   UnknownName, InputRefused
    """
    parts, found = _parts(model, images, targets, labels, layers, keep, relu, batch, pixels=True)
    aim = _joined(parts)

    def pixels(name: str, values: list[Tensor]) -> Attribution:
        about = METHODS[name]
        return Attribution(
            name, torch.cat(values), aim.counted_in(about.unit), about.signed, None, aim.targets, passes=2.0, against=aim.against,
            unit_of=_unit(aim),
        )  # fmt: skip

    return SharedPass(
        aim.targets,
        Activations(
            {name: torch.cat([part.kept[name] for part in parts]) for name in parts[0].kept},
            torch.cat([part.logits for part in parts]),
        ),
        _cams(parts, found, relu),
        pixels("saliency", [part.saliency for part in parts]),
        pixels("input_x_gradient", [part.product for part in parts]),
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """One batch's share; activations and gradients of the layers are already reduced to maps."""

    aim: Aim
    logits: Tensor
    kept: dict[str, Tensor]
    cams: dict[str, Tensor]
    saliency: Tensor
    product: Tensor


def _parts(
    model: nn.Module, images: Tensor, targets: Target, labels: Tensor | None, layers: Sequence[str] | None,
    keep: Sequence[str], relu: bool, batch: int | None, *, pixels: bool,
) -> tuple[list[_Part], list[Layer]]:  # fmt: skip
    below: Iterable[Layer] = layers_of(model)
    if isinstance(targets, Neuron):
        below = layers_below(model, targets).values()
        layers = None if layers is None else [layer_for(model, images, name, targets) for name in layers]
    names = [layer.name for layer in below if layer.kind == "conv"] if layers is None else layers
    found = [spatial(model, name) for name in names]
    kept = [find(model, name).name for name in keep]
    asked = given(targets, count=len(images), labels=labels)
    size = batch or pictures_at_once(model, images)
    parts = []
    with evaluating(model), frozen(model), torch.inference_mode(False), torch.enable_grad():
        for start in range(0, len(images), size):
            here = slice(start, start + size)
            part = _one_pass(
                model, images[here].detach().clone(memory_format=torch.channels_last), asked.part(here), found, kept,
                relu=relu, pixels=pixels,
            )  # fmt: skip
            parts.append(part)
    return parts, found


def _one_pass(
    model: nn.Module, images: Tensor, asked: Given, found: list[Layer], kept: list[str], *, relu: bool, pixels: bool,
) -> _Part:  # fmt: skip
    """Gradients with respect to an offset of zero on every channel of every layer, and to the pixels.

    Grad-CAM weighs a channel by the mean of its gradient, and that is the gradient of a constant added to the channel,
    divided by its number of units. Captum's own way for a list of layers, LayerGradientXActivation, says the same but
    copies every map and every gradient map: 1.24 bare passes for VGG16 on 8 pictures, against 1.05 in this way
    (CPU time, one thread; benchmarks/attribution.py).
    """
    offsets = [images.new_zeros(len(images), width, 1, 1).requires_grad_() for width in _widths(model, found)]
    logits, aim = torch.empty(0), Aim(torch.empty(0))

    def score(*inputs: Tensor) -> Tensor:
        nonlocal logits, aim
        logits = model(inputs[0] if pixels else images)
        aim = asked.settled(logits)
        if aim.neuron is not None:
            return heard[-1]
        picked: Tensor = logits.gather(1, aim.targets[:, None])[:, 0]
        return picked if aim.against is None else picked - logits.gather(1, aim.against[:, None])[:, 0]

    inputs = ((images.requires_grad_(),) if pixels else ()) + tuple(offsets)
    shifts = {layer.name: offset for layer, offset in zip(found, offsets, strict=True)}
    with ExitStack() as worn:
        heard = worn.enter_context(hearing(model, asked.target)) if isinstance(asked.target, Neuron) else []
        copies = worn.enter_context(capturing(model, *kept))
        said = worn.enter_context(shifting(model, shifts))
        # abs=False: Captum's Saliency is then the gradient itself, of all inputs from one backward pass.
        gradients: tuple[Tensor, ...] = Saliency(score).attribute(inputs, abs=False)
    gradient = gradients[0].detach() if pixels else images.new_zeros(0)
    cams = {}
    for layer, slope in zip(found, gradients[pixels:], strict=True):
        maps = said[layer.name]
        weights = slope[:, :, 0, 0] / (maps.shape[2] * maps.shape[3])
        values = torch.einsum("bc,bchw->bhw", weights, maps)
        cams[layer.name] = (values.relu() if relu else values).float()
    return _Part(
        aim,
        logits.detach(),
        dict(copies),
        cams,
        gradient.abs().amax(1) if pixels else gradient,
        (gradient * images.detach()).sum(1) if pixels else gradient,
    )


def _widths(model: nn.Module, found: list[Layer]) -> list[int]:
    """How many channels each layer puts out: those of the last convolution before it, or its own."""
    width, widths = 0, {}
    for layer in layers_of(model):
        if isinstance(layer.module, nn.Conv2d):
            width = layer.module.out_channels
        widths[layer.name] = width
    return [widths[layer.name] for layer in found]


def _cams(parts: list[_Part], found: list[Layer], relu: bool) -> dict[str, Attribution]:
    about = METHODS["grad_cam"]
    aim = _joined(parts)
    return {
        layer.name: Attribution(
            method=about.name,
            values=torch.cat([part.cams[layer.name] for part in parts]),
            unit=aim.counted_in(about.unit),
            signed=not relu,
            layer=layer.name,
            targets=aim.targets,
            passes=2.0,
            settings={"layer": layer.name, "relu": relu},
            against=aim.against,
            unit_of=_unit(aim),
        )
        for layer in found
    }


def _joined(parts: list[_Part]) -> Aim:
    """What the maps of all parts are about."""
    against = [part.aim.against for part in parts if part.aim.against is not None]
    return Aim(torch.cat([part.aim.targets for part in parts]), torch.cat(against) if against else None, parts[0].aim.neuron)


def _unit(aim: Aim) -> str | None:
    return None if aim.neuron is None else str(aim.neuron)
