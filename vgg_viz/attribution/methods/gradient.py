"""Methods that read one gradient of the class score with respect to the pixels, or its mean on a path."""

from __future__ import annotations

import warnings

import torch
from captum.attr import Deconvolution, GuidedBackprop, InputXGradient, IntegratedGradients, Saliency
from torch import Tensor, nn

from vgg_viz.attribution.layer_modules import ACTIVATIONS, require_layers_as_modules
from vgg_viz.attribution.method import Map, method, with_graph
from vgg_viz.attribution.options import MethodOptions, baseline_for

SENSITIVITY = "logit / intensity"


@method(
    "saliency",
    title="Saliency",
    family="gradient",
    signed=False,
    unit=SENSITIVITY,
    passes=lambda options, side: 2,
    about="How much the class score would move if a pixel changed a little, whatever the direction.",
    source="Simonyan, Vedaldi & Zisserman, Deep Inside Convolutional Networks, ICLR workshop 2014",
)
def saliency(model: nn.Module, images: Tensor, targets: Tensor, options: MethodOptions) -> Map:
    """max over channels of |d score / d pixel|, as the paper reduces colour."""
    gradient = Saliency(model).attribute(images.requires_grad_(), target=targets, abs=True)
    return Map(gradient.amax(1), passes=2)


@method(
    "input_x_gradient",
    title="Input × Gradient",
    family="gradient",
    signed=True,
    unit="logit",
    passes=lambda options, side: 2,
    about="What each pixel adds to the class score if the network is taken for a linear one around this picture.",
    source="Shrikumar et al., Not Just a Black Box, 2016",
)
def input_x_gradient(model: nn.Module, images: Tensor, targets: Tensor, options: MethodOptions) -> Map:
    """Sum over channels of pixel times gradient; black pixels get nothing, by construction."""
    return Map(InputXGradient(model).attribute(images.requires_grad_(), target=targets).sum(1), passes=2)


@method(
    "integrated_gradients",
    title="Integrated Gradients",
    family="gradient",
    signed=True,
    unit="logit",
    complete=True,
    reads=("steps", "baseline"),
    passes=lambda options, side: 2 * options.steps + 2,
    about="What each pixel adds to the class score on the way from a blank picture to this one; the map adds up to the whole change.",
    source="Sundararajan, Taly & Yan, Axiomatic Attribution for Deep Networks, ICML 2017",
)
def integrated_gradients(model: nn.Module, images: Tensor, targets: Tensor, options: MethodOptions) -> Map:
    """(x - baseline) times the mean gradient on the straight path between them, summed over channels.

    The baseline is black by default, as in the paper: what is black in the picture then gets nothing, see `baseline`.
    The path has `steps` points by Gauss-Legendre; the residual says how far the sum is from f(x) - f(baseline).
    """
    baselines = baseline_for(images, "black" if options.baseline is None else options.baseline)
    gradients = IntegratedGradients(model, multiply_by_inputs=True)
    maps, residuals = [], []
    # A picture at a time: Captum's batches hold at least one step of every picture, and its default all steps of them all,
    # which is 19 GB for eight pictures of VGG16.
    for at in range(len(images)):
        here = slice(at, at + 1)
        values, residual = gradients.attribute(
            images[here],
            baselines=baselines[here],
            target=targets[here],
            n_steps=options.steps,
            method="gausslegendre",
            internal_batch_size=with_graph(options),
            return_convergence_delta=True,
        )
        maps.append(values.detach().sum(1))
        residuals.append(residual)
    return Map(torch.cat(maps), residual=torch.cat(residuals), passes=2 * options.steps + 2)


@method(
    "guided_backprop",
    title="Guided Backprop",
    family="gradient",
    signed=False,
    unit="logit / intensity, guided",
    passes=lambda options, side: 2,
    about="A gradient in which every ReLU passes back only what speaks for the class: crisp, but known to look alike for any class.",
    source="Springenberg et al., Striving for Simplicity, ICLR workshop 2015",
)
def guided_backprop(model: nn.Module, images: Tensor, targets: Tensor, options: MethodOptions) -> Map:
    """max over channels of |guided gradient|: no true gradient, hence the unit.

    Edges of the picture come through whatever the upper weights are (Adebayo et al. 2018): see `trust`.
    """
    return Map(guided_gradient(model, images, targets).abs().amax(1), passes=2)


@method(
    "deconvolution",
    title="Deconvolution",
    family="gradient",
    signed=False,
    unit="logit / intensity, rectified",
    passes=lambda options, side: 2,
    about="A gradient whose ReLUs look only at what comes back, not at what went up: old, crisp, loosely tied to the class.",
    source="Zeiler & Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014",
)
def deconvolution(model: nn.Module, images: Tensor, targets: Tensor, options: MethodOptions) -> Map:
    """max over channels of |gradient with every ReLU applied to what comes back|: no true gradient, hence the unit.

    Guided backprop asks for both, a positive way up and a positive way back.
    """
    require_layers_as_modules(model, images, "deconvolution", ACTIVATIONS)
    with warnings.catch_warnings():
        # Captum announces at every call that it will take its hooks off again.
        warnings.filterwarnings("ignore", "Setting backward hooks on ReLU", UserWarning)
        gradient: Tensor = Deconvolution(model).attribute(images.requires_grad_(), target=targets)
    return Map(gradient.abs().amax(1), passes=2)


def guided_gradient(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    """The gradient with every ReLU letting back only positive parts: (B, C, H, W)."""
    require_layers_as_modules(model, images, "guided backprop", ACTIVATIONS)
    with warnings.catch_warnings():
        # Captum announces at every call that it will take its hooks off again.
        warnings.filterwarnings("ignore", "Setting backward hooks on ReLU", UserWarning)
        gradient: Tensor = GuidedBackprop(model).attribute(images.requires_grad_(), target=targets)
    return gradient
