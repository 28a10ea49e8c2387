"""Where in the picture the evidence for a class lies: one verb for every method; the door of Captum.

A new method is a new file in this folder with one decorated function, see `method`.
"""

from __future__ import annotations

import time
import warnings
from contextlib import ExitStack
from dataclasses import replace
from importlib import import_module

import torch
from torch import Tensor, nn

with warnings.catch_warnings():
    # Captum's progress bar asks for ipywidgets in a notebook, and nobody here shows it.
    warnings.filterwarnings("ignore", message="IProgress not found")
    import captum.attr  # noqa: F401

from vgg_viz.arguments import require_arguments
from vgg_viz.attribution.layers import after_activation, choose_layer, default_layer, layer_for, on_pixels
from vgg_viz.attribution.method import METHODS, Family, Map, Method, method, pictures_at_once
from vgg_viz.attribution.options import MethodOptions, Options, refuse_options
from vgg_viz.attribution.single_pass import SharedPass, cams_all_layers, grad_cam_all_layers, gradient_bundle
from vgg_viz.attribution.target_parsing import parse_target
from vgg_viz.attribution.targets import Against, ResolvedTarget, Target, pending_target
from vgg_viz.capture.hooks import eval_mode, frozen, refusing_misfits, replace_output
from vgg_viz.capture.model_input import images_for
from vgg_viz.errors import InputRefused
from vgg_viz.maths.image_forms import Images
from vgg_viz.models.outputs import class_count, class_logits
from vgg_viz.records import Architecture, Attribution, Neuron

__all__ = [
    "Against",
    "Family",
    "Map",
    "Method",
    "MethodOptions",
    "Neuron",
    "Options",
    "SharedPass",
    "Target",
    "after_activation",
    "attribute",
    "cams_all_layers",
    "choose_layer",
    "grad_cam_all_layers",
    "gradient_bundle",
    "method",
    "methods",
    "on_pixels",
    "parse_target",
]

import_module(
    "vgg_viz.attribution.methods"
)  # Python binds that room's name once, here: the function below then takes it
DEFAULTS = Options()
ORDER: tuple[Family, ...] = ("gradient", "cam", "relevance", "perturbation")


def methods() -> dict[str, Method]:
    """All attribution methods by name: those of gradients first, then of layer maps, of relevance, and those that perturb."""
    return dict(sorted(METHODS.items(), key=lambda item: ORDER.index(item[1].family)))


def attribute(  # noqa: PLR0913 - the verb of the front door: what is asked, of which layer, and how
    model: nn.Module,
    images: Images,
    method: str = "grad_cam",
    *,
    target: Target = "predicted",
    labels: Tensor | None = None,
    layer: str | None = None,
    options: Options = DEFAULTS,
) -> Attribution:
    """Attribution maps of a method, one a picture, raw: no clamp, no rescale, no resize.

    The model comes back as it was: weights, modes, hooks, requires_grad, .grad and the global random state.

    Args:
        model: A network that gives logits (B, K).
        images: (B, C, H, W) in [0, 1], or another form that `images_for` reads: uint8, channels last, PIL, a `Batch`, a list; for
            a network that vgg_viz did not build, floats as it takes them.
        method: A name of `methods()`.
        target: "predicted", "true" (reads `labels`), "runner-up", a class index for all, or one for each picture;
            `Against(first, second)` of two such: the logit of the first minus that of the second;
            `Neuron(layer, channel, row, column)`: a unit, or a whole channel, in place of a class.
        labels: (B,) class indices, for the target "true".
        layer: For layered methods; None: the ReLU after the convolution that `choose_layer` picks; for a neuron, below it.
        options: What the method is to do otherwise than usual, see `Options`; `methods()[method].reads` names what it reads.

    Returns:
        The maps (B, h, w), on the model's device.

    Raises:
        UnknownName: For a method, layer or target.
        InputRefused: For an option that the method does not read or that is out of its range, for a class or unit that the network
            does not have, and for a layer that does not lie below the neuron.
    """
    chosen = METHODS[method]
    if layer is not None and not chosen.layered:
        raise InputRefused(f"{method} paints the picture and reads no layer; leave layer out, or choose grad_cam.")
    require_arguments({"layer": layer}, optional=("layer",))
    refuse_options(method, chosen.reads, options)
    started = time.perf_counter()
    images = images_for(model, images)
    size = options.batch or pictures_at_once(model, images)
    if chosen.layered:
        layer = (
            layer_for(model, images, layer, target)
            if isinstance(target, Neuron)
            else layer or default_layer(model, images)
        )
    given = MethodOptions.of(replace(options, batch=size), layer=layer)
    with ExitStack() as stack:
        contexts = eval_mode(model), frozen(model), torch.inference_mode(False), torch.enable_grad()
        for context in (*contexts, refusing_misfits(model, images)):
            stack.enter_context(context)
        resolved, extra_passes = _resolve(model, images, target, labels, size)
        pairs, columns = resolved.columns()
        given = replace(given, scores=stack.enter_context(replace_output(model, pairs, neuron=resolved.neuron)))
        maps = []
        for start in range(0, len(images), size):
            here = slice(start, start + size)
            of_part, baseline = given, options.baseline
            if isinstance(baseline, Tensor) and baseline.ndim == 4 and len(baseline) == len(images):
                of_part = replace(given, baseline=baseline[here])
            # Channels last: convolutions of a Tiny VGG then take half the time, those of VGG16 a fifth less.
            part = images[here].detach().clone(memory_format=torch.channels_last)
            maps.append(chosen.compute(model, part, columns[here], of_part))
    residuals = [part.residual for part in maps if part.residual is not None]
    first = maps[0]
    return Attribution(
        method=method,
        values=torch.cat([part.values for part in maps]).detach().float(),
        unit=resolved.unit_for(chosen.unit),
        signed=chosen.signed if first.signed is None else first.signed,
        layer=first.layer,
        targets=resolved.targets,
        residual=torch.cat(residuals).detach().float() if residuals else None,
        passes=first.passes + extra_passes,
        seconds=time.perf_counter() - started,
        settings={name: _plain(getattr(given, name)) for name in chosen.reads},
        against=resolved.against,
        unit_of=None if resolved.neuron is None else str(resolved.neuron),
    )


def _plain(value: object) -> object:
    """A setting as a saved map can hold it: a baseline given as a tensor by its shape and mean."""
    return f"tensor {tuple(value.shape)}, mean {float(value.mean()):.6g}" if isinstance(value, Tensor) else value


@torch.no_grad()
def _resolve(
    model: nn.Module, images: Tensor, target: Target, labels: Tensor | None, size: int
) -> tuple[ResolvedTarget, int]:
    """What each map is about, and how many forward passes a picture it took to know."""
    pending = pending_target(target, count=len(images), labels=labels)
    about = getattr(model, "architecture", None)
    classes = class_count(about) if isinstance(about, Architecture) else None
    if isinstance(target, Neuron):
        return pending.resolve(torch.empty(1, 1, device=images.device)), 0
    if pending.known and classes is not None:
        return pending.resolve(torch.empty(1, classes, device=images.device)), 0
    # A network that does not say how many classes it has must be asked: one picture is enough when targets are given.
    asked = images[:1] if pending.known else images
    logits = torch.cat([model(asked[start : start + size]) for start in range(0, len(asked), size)])
    logits = class_logits(model, logits)
    return pending.resolve(logits), int(not pending.known)
