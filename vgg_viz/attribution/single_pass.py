"""One forward and one backward pass that serve many maps: every gradient CAM of every layer, saliency, input x gradient."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vgg_viz.attribution.cam_reduction import CAMS, reducing
from vgg_viz.attribution.layers import layer_for, layers_below, spatial
from vgg_viz.attribution.method import METHODS, pictures_at_once
from vgg_viz.attribution.targets import PendingTarget, ResolvedTarget, Target, pending_target
from vgg_viz.capture.hooks import (
    activations_and_gradients,
    eval_mode,
    frozen,
    record_activations,
    refusing_misfits,
    unit_output,
)
from vgg_viz.capture.model_input import images_for
from vgg_viz.maths.image_forms import Images
from vgg_viz.models.names import ACTIVATION_KINDS, Layer, find
from vgg_viz.models.names import layers as layers_of
from vgg_viz.models.outputs import class_logits
from vgg_viz.records import Activations, Attribution, Neuron

PIXELS = ("saliency", "input_x_gradient")


class _Shared:
    """The names of the methods whose maps one forward and one backward pass give together: of pixels, then of every formula of `CAMS`.

    A view, as `dict.keys()` is: it says what is registered when it is asked.
    """

    def __contains__(self, name: object) -> bool:
        return name in PIXELS or name in CAMS

    def __iter__(self) -> Iterator[str]:
        yield from PIXELS
        yield from CAMS

    def __len__(self) -> int:
        return len(PIXELS) + len(CAMS)


SHARED = _Shared()


@dataclass(frozen=True, slots=True)
class SharedPass:
    """What one forward and one backward pass told about some pictures.

    targets           (B,) class index
    activations       logits, and copies of the layers that were asked to be kept
    grad_cam          {layer: Attribution}, in the order in which they were asked for
    cams              {method: {layer: Attribution}}, the other class activation maps that were asked for
    saliency          in pixels, as the method of that name
    input_x_gradient  in pixels, as the method of that name
    """

    targets: Tensor
    activations: Activations
    grad_cam: dict[str, Attribution]
    cams: dict[str, dict[str, Attribution]]
    saliency: Attribution
    input_x_gradient: Attribution


def grad_cam_all_layers(
    model: nn.Module,
    images: Images,
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
    parts, found = _parts(model, images, targets, labels, layers, (), ("grad_cam",), relu, batch, pixels=False)
    return _cams("grad_cam", parts, found, relu)


def cams_all_layers(
    model: nn.Module,
    images: Images,
    targets: Target = "predicted",
    *,
    names: Sequence[str] | None = None,
    labels: Tensor | None = None,
    layers: Sequence[str] | None = None,
    relu: bool = True,
    batch: int | None = None,
) -> dict[str, dict[str, Attribution]]:
    """Every gradient CAM of every layer from one forward and one backward pass of each batch: {method: {layer: map}}.

    names    of the methods; None: Grad-CAM, Grad-CAM++, XGrad-CAM, HiRes-CAM, LayerCAM, element-wise Grad-CAM
    layers   None: the ReLU after every convolution, where the papers read their maps; nothing is copied there
    others   as in `gradient_bundle`; `Against(a, b)` as targets gives the contrastive maps
    raises   UnknownName, InputRefused

    Nothing is normalised: a value is in logit, and layers, pictures and classes can be compared.
    """
    chosen = list(CAMS) if names is None else list(names)
    for name in chosen:
        CAMS[name]
    images = images_for(model, images)
    if layers is None:
        rows = layers_below(model, targets).values() if isinstance(targets, Neuron) else layers_of(model)
        layers = [
            layer.name for layer in rows if layer.kind in ACTIVATION_KINDS and not layer.path.startswith("classifier.")
        ]
    parts, found = _parts(model, images, targets, labels, layers, (), chosen, relu, batch, pixels=False)
    return {name: _cams(name, parts, found, relu) for name in chosen}


def gradient_bundle(
    model: nn.Module,
    images: Images,
    targets: Target = "predicted",
    *,
    labels: Tensor | None = None,
    layers: Sequence[str] | None = None,
    keep: Sequence[str] = (),
    cams: Sequence[str] = (),
    relu: bool = True,
    batch: int | None = None,
) -> SharedPass:
    """Saliency, input x gradient, Grad-CAM of all convolutions, logits and activations: one forward, one backward.

    images   (B, C, H, W) in [0, 1], on any device, or another form as in `attribute`; what comes back is on the model's
    targets  as in `attribute`; "predicted" and "runner-up" cost no pass of their own: the score is picked in the forward
    layers   of the Grad-CAMs; None: every convolution
    keep     layers whose activations are returned
    cams     of `CAMS`, for the same layers as the Grad-CAMs
    relu     as the paper; False keeps evidence against the class
    batch    pictures at once; None: by memory
    raises   UnknownName, InputRefused
    """
    parts, found = _parts(model, images, targets, labels, layers, keep, ("grad_cam", *cams), relu, batch, pixels=True)
    resolved = _joined(parts)

    def pixels(name: str, values: list[Tensor]) -> Attribution:
        about = METHODS[name]
        return Attribution(
            name,
            torch.cat(values),
            resolved.unit_for(about.unit),
            about.signed,
            None,
            resolved.targets,
            passes=2.0,
            against=resolved.against,
            unit_of=_unit(resolved),
        )

    return SharedPass(
        resolved.targets,
        Activations(
            {name: torch.cat([part.kept[name] for part in parts]) for name in parts[0].kept},
            torch.cat([part.logits for part in parts]),
        ),
        _cams("grad_cam", parts, found, relu),
        {name: _cams(name, parts, found, relu) for name in cams if name != "grad_cam"},
        pixels("saliency", [part.saliency for part in parts]),
        pixels("input_x_gradient", [part.product for part in parts]),
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """One batch's share; activations and gradients of the layers are already reduced to maps."""

    resolved: ResolvedTarget
    logits: Tensor
    kept: dict[str, Tensor]
    cams: dict[str, dict[str, Tensor]]  # of a layer, of a method
    saliency: Tensor
    product: Tensor


def _parts(
    model: nn.Module,
    images: Images,
    targets: Target,
    labels: Tensor | None,
    layers: Sequence[str] | None,
    keep: Sequence[str],
    names: Sequence[str],
    relu: bool,
    batch: int | None,
    *,
    pixels: bool,
) -> tuple[list[_Part], list[Layer]]:
    images = images_for(model, images)
    below: Iterable[Layer] = layers_of(model)
    if isinstance(targets, Neuron):
        below = layers_below(model, targets).values()
        layers = None if layers is None else [layer_for(model, images, name, targets) for name in layers]
    wanted = [layer.name for layer in below if layer.kind == "conv"] if layers is None else layers
    found = [spatial(model, name) for name in wanted]
    kept = [find(model, name).name for name in keep]
    names = tuple(dict.fromkeys(names))  # a map asked for twice would be added up twice
    size = batch or pictures_at_once(model, images)
    parts = []
    contexts = eval_mode(model), frozen(model), torch.inference_mode(False), torch.enable_grad()
    with ExitStack() as stack:
        for context in (*contexts, refusing_misfits(model, images)):
            stack.enter_context(context)
        pending = pending_target(targets, count=len(images), labels=labels)
        for start in range(0, len(images), size):
            here = slice(start, start + size)
            part = _one_pass(
                model,
                images[here].detach().clone(memory_format=torch.channels_last),
                pending.part(here),
                found,
                kept,
                names,
                relu=relu,
                pixels=pixels,
            )
            parts.append(part)
    return parts, found


def _one_pass(
    model: nn.Module,
    images: Tensor,
    pending: PendingTarget,
    found: list[Layer],
    kept: list[str],
    names: Sequence[str],
    *,
    relu: bool,
    pixels: bool,
) -> _Part:
    """One batch forward, then backward: each layer's gradient is made into maps as it comes by, and forgotten.

    Captum's own way for a list of layers, LayerGradientXActivation, says the same but copies every map and keeps every gradient.
    Without pixels the backward pass ends at the lowest layer that was asked for.
    """
    cams: dict[str, dict[str, Tensor]] = {}
    with ExitStack() as stack:
        heard = stack.enter_context(unit_output(model, pending.target)) if isinstance(pending.target, Neuron) else []
        copies = stack.enter_context(record_activations(model, *kept))
        rectified = [layer.name for layer in found if layer.kind == "relu"]
        making = reducing(cams, names, relu=relu, rectified=rectified)
        lowest = stack.enter_context(activations_and_gradients(model, [layer.name for layer in found], making))
        logits = class_logits(model, model(images.requires_grad_() if pixels else images))
        resolved = pending.resolve(logits)
        sources = [images] if pixels else lowest
        gradient = (
            torch.autograd.grad(_score(logits, resolved, heard), sources)[0].detach()
            if sources
            else images.new_zeros(0)
        )
    product = (gradient * images.detach()).sum(1) if pixels else gradient
    return _Part(resolved, logits.detach(), dict(copies), cams, gradient.abs().amax(1) if pixels else gradient, product)


def _score(logits: Tensor, resolved: ResolvedTarget, heard: list[Tensor]) -> Tensor:
    """The sum over pictures of what is asked about: a picture's gradient is then its own."""
    if resolved.neuron is not None:
        return heard[-1].sum()
    score = logits.gather(1, resolved.targets[:, None]).sum()
    return score if resolved.against is None else score - logits.gather(1, resolved.against[:, None]).sum()


def _cams(name: str, parts: list[_Part], found: list[Layer], relu: bool) -> dict[str, Attribution]:
    about = METHODS[name]
    resolved = _joined(parts)
    return {
        layer.name: Attribution(
            method=about.name,
            values=torch.cat([part.cams[layer.name][name] for part in parts]),
            unit=resolved.unit_for(about.unit),
            signed=CAMS[name].signed and not relu,
            layer=layer.name,
            targets=resolved.targets,
            passes=2.0,
            settings={"layer": layer.name, "relu": relu},
            against=resolved.against,
            unit_of=_unit(resolved),
        )
        for layer in found
    }


def _joined(parts: list[_Part]) -> ResolvedTarget:
    """What the maps of all parts are about."""
    against = [part.resolved.against for part in parts if part.resolved.against is not None]
    return ResolvedTarget(
        torch.cat([part.resolved.targets for part in parts]),
        torch.cat(against) if against else None,
        parts[0].resolved.neuron,
    )


def _unit(resolved: ResolvedTarget) -> str | None:
    return None if resolved.neuron is None else str(resolved.neuron)
