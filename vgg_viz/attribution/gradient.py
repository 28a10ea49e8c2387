"""Methods that read the gradient of the class score with respect to the pixels."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from captum.attr import GuidedBackprop, InputXGradient, IntegratedGradients, NoiseTunnel, Saliency
from torch import Tensor, nn

from vgg_viz.attribution.method import Map, Options, baseline_for, method

SENSITIVITY = "logit / intensity"


@method(
    "saliency", title="Saliency", family="gradient", signed=False, unit=SENSITIVITY, passes=lambda options, side: 2,
    about="How much the class score would move if a pixel changed a little, whatever the direction.",
    source="Simonyan, Vedaldi & Zisserman, Deep Inside Convolutional Networks, ICLR workshop 2014",
)  # fmt: skip
def saliency(model: nn.Module, images: Tensor, targets: Tensor, options: Options) -> Map:
    """max over channels of |d score / d pixel|, as the paper reduces colour."""
    gradient = Saliency(model).attribute(images.requires_grad_(), target=targets, abs=True)
    return Map(gradient.amax(1), passes=2)


@method(
    "input_x_gradient", title="Input × Gradient", family="gradient", signed=True, unit="logit", passes=lambda options, side: 2,
    about="What each pixel adds to the class score if the network is taken for a linear one around this picture.",
    source="Shrikumar et al., Not Just a Black Box, 2016",
)  # fmt: skip
def input_x_gradient(model: nn.Module, images: Tensor, targets: Tensor, options: Options) -> Map:
    """Sum over channels of pixel times gradient; black pixels get nothing, by construction."""
    return Map(InputXGradient(model).attribute(images.requires_grad_(), target=targets).sum(1), passes=2)


@method(
    "integrated_gradients", title="Integrated Gradients", family="gradient", signed=True, unit="logit", complete=True,
    reads=("steps", "baseline"), passes=lambda options, side: 2 * options.steps + 2,
    about="What each pixel adds to the class score on the way from a blank picture to this one; the map adds up to the whole change.",
    source="Sundararajan, Taly & Yan, Axiomatic Attribution for Deep Networks, ICML 2017",
)  # fmt: skip
def integrated_gradients(model: nn.Module, images: Tensor, targets: Tensor, options: Options) -> Map:
    """(x - baseline) times the mean gradient on the straight path between them, summed over channels.

    The baseline is black by default, as in the paper: what is black in the picture then gets nothing, see `baseline`.
    The path has `steps` points by Gauss-Legendre; the residual says how far the sum is from f(x) - f(baseline).
    """
    baselines = baseline_for(images, "black" if options.baseline is None else options.baseline)
    values, residual = IntegratedGradients(model, multiply_by_inputs=True).attribute(
        images,
        baselines=baselines,
        target=targets,
        n_steps=options.steps,
        method="gausslegendre",
        # Captum's default puts all steps of all pictures into one batch: 19 GB for eight pictures of VGG16.
        internal_batch_size=max(options.batch, len(images)),
        return_convergence_delta=True,
    )
    return Map(values.sum(1), residual=residual, passes=2 * options.steps + 2)


@method(
    "smoothgrad", title="SmoothGrad", family="gradient", signed=False, unit=SENSITIVITY,
    reads=("seed", "samples", "noise"), passes=lambda options, side: 2 * options.samples,
    about="Saliency averaged over noisy copies of the picture, so that what flickers from copy to copy cancels.",
    source="Smilkov et al., SmoothGrad: removing noise by adding noise, 2017",
)  # fmt: skip
def smoothgrad(model: nn.Module, images: Tensor, targets: Tensor, options: Options) -> Map:
    """max over channels of |mean gradient over `samples` noisy copies|.

    The gradients are averaged with their sign, as in the paper; Captum's default would average magnitudes, and then
    nothing cancels. One picture at a time from the same seed: its map does not depend on its neighbours in the batch.
    """
    # Captum draws its noise in float32 and forgets the layout.
    tunnel = NoiseTunnel(Saliency(lambda noisy: model(noisy.to(images.dtype, memory_format=torch.channels_last))))
    maps = []
    for picture, target in zip(torch.split(images, 1), torch.split(targets, 1), strict=True):
        spread = options.noise * float(picture.max() - picture.min())
        with seeded(images.device, options.seed):
            gradient = tunnel.attribute(
                picture.float(),
                nt_type="smoothgrad",
                nt_samples=options.samples,
                nt_samples_batch_size=min(options.batch, options.samples),
                stdevs=spread,
                target=target,
                abs=False,
            )
        maps.append(gradient.abs().amax(1))
    return Map(torch.cat(maps), passes=2 * options.samples)


@method(
    "guided_backprop", title="Guided Backprop", family="gradient", signed=False, unit="logit / intensity, guided",
    passes=lambda options, side: 2,
    about="A gradient in which every ReLU passes back only what speaks for the class: crisp, but known to look alike for any class.",
    source="Springenberg et al., Striving for Simplicity, ICLR workshop 2015",
)  # fmt: skip
def guided_backprop(model: nn.Module, images: Tensor, targets: Tensor, options: Options) -> Map:
    """max over channels of |guided gradient|: no true gradient, hence the unit.

    Edges of the picture come through whatever the upper weights are (Adebayo et al. 2018): see `trust`.
    """
    return Map(guided_gradient(model, images, targets).abs().amax(1), passes=2)


def guided_gradient(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    """The gradient with every ReLU letting back only positive parts: (B, C, H, W)."""
    with warnings.catch_warnings():
        # Captum announces at every call that it will take its hooks off again.
        warnings.filterwarnings("ignore", "Setting backward hooks on ReLU", UserWarning)
        gradient: Tensor = GuidedBackprop(model).attribute(images.requires_grad_(), target=targets)
    return gradient


@contextmanager
def seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Dice thrown in this block come from `seed`; afterwards the global ones lie as before.

    NoiseTunnel takes no generator. torch.manual_seed would also reach the generators of devices that are not saved here.
    """
    cuda = device.type == "cuda"
    index = torch.cuda.current_device() if cuda and device.index is None else device.index
    with torch.random.fork_rng(devices=[index] if cuda else []):
        if cuda:
            torch.cuda.default_generators[index].manual_seed(seed)
        else:
            torch.default_generator.manual_seed(seed)
        yield
