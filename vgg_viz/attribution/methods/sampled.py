"""Methods that average gradients over random draws: noisy copies of the picture, or points between it and a baseline."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np
import torch
from captum.attr import GradientShap, NoiseTunnel, Saliency
from torch import Tensor, nn

from vgg_viz.attribution.method import Map, method, with_graph
from vgg_viz.attribution.methods.gradient import SENSITIVITY
from vgg_viz.attribution.options import Baseline, MethodOptions, baseline_for

# Of the pictures that GradientSHAP starts from where no baseline is given: whatever equals the baseline gets nothing, so that
# black alone would be blind for what is black, and one grey for what is grey.
BASELINES = ("black", "grey", "white", "blur")
# Its samples that go together: Captum offers no batches of its own here, and sixteen of VGG16 are 1.3 GB. A number of their
# own, because another one throws the dice in another order.
AT_ONCE = 4


@method(
    "smoothgrad",
    title="SmoothGrad",
    family="gradient",
    signed=False,
    unit=SENSITIVITY,
    reads=("seed", "samples", "noise"),
    passes=lambda options, side: 2 * options.samples,
    about="Saliency averaged over noisy copies of the picture, so that what flickers from copy to copy cancels.",
    source="Smilkov et al., SmoothGrad: removing noise by adding noise, 2017",
)
def smoothgrad(model: nn.Module, images: Tensor, targets: Tensor, options: MethodOptions) -> Map:
    """max over channels of |mean gradient over `samples` noisy copies|.

    The gradients are averaged with their sign, as in the paper; Captum's default would average magnitudes, and then
    nothing cancels.
    """
    return Map(_tunnelled("smoothgrad", model, images, targets, options).abs().amax(1), passes=2 * options.samples)


@method(
    "vargrad",
    title="VarGrad",
    family="gradient",
    signed=False,
    unit="(logit / intensity)²",
    reads=("seed", "samples", "noise"),
    passes=lambda options, side: 2 * options.samples,
    about="How much the gradient at a pixel flickers between noisy copies of the picture: where a little noise changes what counts.",
    source="Adebayo et al., Local Explanation Methods for Deep Neural Networks Lack Sensitivity to Parameter Values, 2018",
)
def vargrad(model: nn.Module, images: Tensor, targets: Tensor, options: MethodOptions) -> Map:
    """max over channels of the gradient's variance over `samples` noisy copies: mean of squares less the square of the mean.

    What the mean gradient says is no part of it: a linear network has variance zero everywhere, however large its weights.
    """
    spread = _tunnelled("vargrad", model, images, targets, options)
    return Map(spread.clamp(min=0).amax(1), passes=2 * options.samples)  # rounding leaves a little below zero


def _tunnelled(
    kind: Literal["smoothgrad", "vargrad"], model: nn.Module, images: Tensor, targets: Tensor, options: MethodOptions
) -> Tensor:
    """Mean or variance of the gradient over noisy copies: (B, C, H, W).

    One picture at a time from the same seed: its map does not depend on its neighbours in the batch.
    """
    # Captum draws its noise in float32 and forgets the layout.
    tunnel = NoiseTunnel(Saliency(lambda noisy: model(noisy.to(images.dtype, memory_format=torch.channels_last))))
    maps = []
    for picture, target in zip(torch.split(images, 1), torch.split(targets, 1), strict=True):
        with seeded(images.device, options.seed):
            gradient = tunnel.attribute(
                picture.float(),
                nt_type=kind,
                nt_samples=options.samples,
                nt_samples_batch_size=min(with_graph(options), options.samples),
                stdevs=options.noise * float(picture.max() - picture.min()),
                target=target,
                abs=False,
            )
        maps.append(gradient.detach())
    return torch.cat(maps)


@method(
    "gradient_shap",
    title="GradientSHAP",
    family="gradient",
    signed=True,
    unit="logit",
    complete=True,
    reads=("seed", "samples", "baseline"),
    passes=lambda options, side: 2 * options.samples + 1 + len(_blanks(options)),
    about="What each pixel adds to the class score on the way from several blank pictures to this one, at random points of the way.",
    source="Lundberg & Lee, A Unified Approach to Interpreting Model Predictions, NeurIPS 2017; Erion et al., Expected Gradients, 2021",
)
def gradient_shap(model: nn.Module, images: Tensor, targets: Tensor, options: MethodOptions) -> Map:
    """Mean over draws of (x - baseline) times the gradient at a random point between them, summed over channels.

    The baseline of a draw is black, grey, white or the picture's blur, at random, or the one that is given. No noise is added:
    with it the map would explain another picture. residual: its sum less f(x) and plus the mean of f over the baselines, which
    shrinks as samples grow, by the root of their number; Captum's own delta would throw its dice anew.
    One picture at a time from the same seed: its map does not depend on its neighbours in the batch.
    """

    def score(points: Tensor) -> Tensor:
        found: Tensor = model(points.to(images.dtype, memory_format=torch.channels_last))
        return found

    shap, kinds = GradientShap(score), _blanks(options)
    counts = [min(AT_ONCE, options.samples - start) for start in range(0, options.samples, AT_ONCE)]
    maps, residuals = [], []
    for picture, target in zip(torch.split(images.float(), 1), torch.split(targets, 1), strict=True):
        blanks = torch.cat([baseline_for(picture, kind) for kind in kinds])
        with seeded(images.device, options.seed):
            parts = [
                count * shap.attribute(picture, baselines=blanks, n_samples=count, target=target).detach()
                for count in counts
            ]
        maps.append(torch.stack(parts).sum((0, 2)) / options.samples)
        with torch.no_grad():
            ends = score(torch.cat([picture, blanks]))[:, target].flatten()
        residuals.append(maps[-1].sum((1, 2)) - (ends[:1] - ends[1:].mean()))
    return Map(torch.cat(maps), residual=torch.cat(residuals), passes=2 * options.samples + 1 + len(kinds))


def _blanks(options: MethodOptions) -> tuple[Baseline, ...]:
    return BASELINES if options.baseline is None else (options.baseline,)


@contextmanager
def seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Dice thrown in this block come from `seed`; afterwards the global ones lie as before.

    Captum takes no generator: NoiseTunnel throws torch's dice, GradientShap numpy's. torch.manual_seed would also reach the
    generators of devices that are not saved here.
    """
    cuda = device.type == "cuda"
    index = torch.cuda.current_device() if cuda and device.index is None else device.index
    numpys = np.random.get_state()  # noqa: NPY002  # the dice that Captum throws
    with torch.random.fork_rng(devices=[index] if cuda else []):
        if cuda:
            torch.cuda.default_generators[index].manual_seed(seed)
        else:
            torch.default_generator.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(numpys)  # noqa: NPY002
