"""One forward and one backward pass that serve many maps: Grad-CAM of all layers, saliency, input x gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from captum.attr import Saliency
from torch import Tensor, nn

from vgg_viz.attribution.cam import spatial
from vgg_viz.attribution.method import METHODS, pictures_at_once
from vgg_viz.attribution.targets import Target, given_targets, settled_targets
from vgg_viz.capture.hooks import capturing, evaluating, frozen, shifting
from vgg_viz.models.names import Layer, find
from vgg_viz.models.names import layers as layers_of
from vgg_viz.records import Activations, Attribution


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
    chosen = torch.cat([part.targets for part in parts])

    def pixels(name: str, values: list[Tensor]) -> Attribution:
        about = METHODS[name]
        return Attribution(name, torch.cat(values), about.unit, about.signed, None, chosen, passes=2.0)

    return SharedPass(
        chosen,
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

    targets: Tensor
    logits: Tensor
    kept: dict[str, Tensor]
    cams: dict[str, Tensor]
    saliency: Tensor
    product: Tensor


def _parts(
    model: nn.Module, images: Tensor, targets: Target, labels: Tensor | None, layers: Sequence[str] | None,
    keep: Sequence[str], relu: bool, batch: int | None, *, pixels: bool,
) -> tuple[list[_Part], list[Layer]]:  # fmt: skip
    names = [layer.name for layer in layers_of(model) if layer.kind == "conv"] if layers is None else layers
    found = [spatial(model, name) for name in names]
    kept = [find(model, name).name for name in keep]
    given = given_targets(targets, count=len(images), labels=labels)
    size = batch or pictures_at_once(model, images)
    parts = []
    with evaluating(model), frozen(model), torch.inference_mode(False), torch.enable_grad():
        for start in range(0, len(images), size):
            here = slice(start, start + size)
            part = _one_pass(
                model, images[here].detach().clone(memory_format=torch.channels_last), targets,
                None if given is None else given[here], found, kept, relu=relu, pixels=pixels,
            )  # fmt: skip
            parts.append(part)
    return parts, found


def _one_pass(
    model: nn.Module, images: Tensor, target: Target, given: Tensor | None, found: list[Layer], kept: list[str],
    *, relu: bool, pixels: bool,
) -> _Part:  # fmt: skip
    """Gradients with respect to an offset of zero on every channel of every layer, and to the pixels.

    Grad-CAM weighs a channel by the mean of its gradient, and that is the gradient of a constant added to the channel,
    divided by its number of units. Captum's own way for a list of layers, LayerGradientXActivation, says the same but
    copies every map and every gradient map: 1.24 bare passes for VGG16 on 8 pictures, against 1.05 in this way
    (CPU time, one thread; benchmarks/attribution.py).
    """
    offsets = [images.new_zeros(len(images), width, 1, 1).requires_grad_() for width in _widths(model, found)]
    logits, chosen = torch.empty(0), torch.empty(0)

    def score(*inputs: Tensor) -> Tensor:
        nonlocal logits, chosen
        logits = model(inputs[0] if pixels else images)
        chosen = settled_targets(target, given, logits)
        picked: Tensor = logits.gather(1, chosen[:, None])[:, 0]
        return picked

    inputs = ((images.requires_grad_(),) if pixels else ()) + tuple(offsets)
    shifts = {layer.name: offset for layer, offset in zip(found, offsets, strict=True)}
    with capturing(model, *kept) as copies, shifting(model, shifts) as said:
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
        chosen,
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
    chosen = torch.cat([part.targets for part in parts])
    return {
        layer.name: Attribution(
            method=about.name,
            values=torch.cat([part.cams[layer.name] for part in parts]),
            unit=about.unit,
            signed=not relu,
            layer=layer.name,
            targets=chosen,
            passes=2.0,
        )
        for layer in found
    }
