"""Where in the picture the evidence for a class lies: one verb for every method; the door of Captum.

A new method is a new file in this folder with one decorated function, see `method`.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

import torch
from torch import Tensor, nn

with warnings.catch_warnings():
    # Captum's progress bar asks for ipywidgets in a notebook, and nobody here shows it.
    warnings.filterwarnings("ignore", message="IProgress not found")
    import captum.attr  # noqa: F401

from vgg_viz.attribution.method import METHODS, Baseline, Family, Map, Method, Options, method, pictures_at_once
from vgg_viz.attribution.methods.cam import after_relu, choose_layer, default_layer, layer_for, on_pixels
from vgg_viz.attribution.single_pass import SharedPass, cams_all_layers, grad_cam_all_layers, gradient_bundle
from vgg_viz.attribution.target_parsing import parse_target
from vgg_viz.attribution.targets import Against, ResolvedTarget, Target, pending_target
from vgg_viz.capture.hooks import eval_mode, frozen, on_device_of, replace_output
from vgg_viz.errors import InputRefused
from vgg_viz.records import Attribution, Neuron

__all__ = [
    "Against",
    "Family",
    "Map",
    "Method",
    "Neuron",
    "Options",
    "SharedPass",
    "Target",
    "after_relu",
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

ORDER: tuple[Family, ...] = ("gradient", "cam", "relevance", "perturbation")


def methods() -> dict[str, Method]:
    """All attribution methods by name: those of gradients first, then of layer maps, of relevance, and those that perturb."""
    return dict(sorted(METHODS.items(), key=lambda item: ORDER.index(item[1].family)))


def attribute(
    model: nn.Module,
    images: Tensor,
    *,
    method: str = "grad_cam",
    target: Target = "predicted",
    labels: Tensor | None = None,
    layer: str | None = None,
    seed: int = 0,
    steps: int = 32,
    samples: int = 16,
    noise: float = 0.15,
    baseline: Baseline | None = None,
    window: int | None = None,
    stride: int | None = None,
    windows: Sequence[int] | None = None,
    masks: int = 1000,
    relu: bool = True,
    batch: int | None = None,
) -> Attribution:
    """Where a method sees the evidence for a class, one map a picture, raw: no clamp, no rescale, no resize.

    images   (B, C, H, W) in [0, 1], on any device
    method   a name of `methods()`
    target   "predicted", "true" (reads `labels`), "runner-up", a class index for all, or one for each picture;
             `Against(first, second)` of two such: the logit of the first minus that of the second;
             `Neuron(layer, channel, row, column)`: a unit, or a whole channel, in place of a class
    layer    for layered methods; None: the ReLU after the convolution that `choose_layer` picks; for a neuron, below it
    batch    pictures that go through the network at once; None: by memory
    others   see `Options`; a method reads those that it knows
    returns  on the model's device
    raises   UnknownName for a method, layer or target; InputRefused for a class or unit that the network does not have,
             and for a layer that the neuron asked about hears nothing of

    The model comes back as it was: weights, modes, hooks, requires_grad, .grad and the global dice.
    """
    chosen = METHODS[method]
    if layer is not None and not chosen.layered:
        raise InputRefused(f"{method} paints the picture and reads no layer; leave layer out, or choose grad_cam.")
    if images.ndim != 4 or len(images) == 0:
        raise InputRefused(f"pictures of shape {tuple(images.shape)} came; (B, C, H, W) with at least one is expected.")
    started = time.perf_counter()
    images = on_device_of(model, images)
    size = batch or pictures_at_once(model, images)
    if chosen.layered:
        layer = (
            layer_for(model, images, layer, target)
            if isinstance(target, Neuron)
            else layer or default_layer(model, images)
        )
    options = Options(
        layer=layer,
        seed=seed,
        steps=steps,
        samples=samples,
        noise=noise,
        baseline=baseline,
        window=window,
        stride=stride,
        windows=None if windows is None else tuple(windows),
        masks=masks,
        relu=relu,
        batch=size,
    )
    with ExitStack() as stack:
        for context in (eval_mode(model), frozen(model), torch.inference_mode(False), torch.enable_grad()):
            stack.enter_context(context)
        resolved, extra_passes = _resolve(model, images, target, labels, size)
        pairs, columns = resolved.columns()
        options = replace(options, scores=stack.enter_context(replace_output(model, pairs, neuron=resolved.neuron)))
        maps = []
        for start in range(0, len(images), size):
            here = slice(start, start + size)
            if isinstance(baseline, Tensor) and baseline.ndim == 4 and len(baseline) == len(images):
                options = replace(options, baseline=baseline[here])
            # Channels last: convolutions of a Tiny VGG then take half the time, those of VGG16 a fifth less.
            part = images[here].detach().clone(memory_format=torch.channels_last)
            maps.append(chosen.compute(model, part, columns[here], options))
    options = replace(options, baseline=baseline)  # all of it, not what the last few pictures were compared with
    residuals = [found.residual for found in maps if found.residual is not None]
    first = maps[0]
    return Attribution(
        method=method,
        values=torch.cat([found.values for found in maps]).detach().float(),
        unit=resolved.unit_for(chosen.unit),
        signed=chosen.signed if first.signed is None else first.signed,
        layer=first.layer,
        targets=resolved.targets,
        residual=torch.cat(residuals).detach().float() if residuals else None,
        passes=first.passes + extra_passes,
        seconds=time.perf_counter() - started,
        settings={name: _plain(getattr(options, name)) for name in chosen.reads},
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
    found = pending_target(target, count=len(images), labels=labels)
    classes = getattr(getattr(model, "architecture", None), "num_classes", None)
    if isinstance(target, Neuron):
        return found.resolve(torch.empty(1, 1, device=images.device)), 0
    if found.known and classes is not None:
        return found.resolve(torch.empty(1, classes, device=images.device)), 0
    # A network that does not say how many classes it has must be asked: one picture is enough when targets are given.
    shown = images[:1] if found.known else images
    logits = torch.cat([model(shown[start : start + size]) for start in range(0, len(shown), size)])
    return found.resolve(logits), int(not found.known)
