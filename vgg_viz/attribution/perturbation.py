"""Methods that change the picture and watch the class score."""

from __future__ import annotations

import math

import torch
from captum.attr import Occlusion
from torch import Tensor, nn

from vgg_viz.attribution.method import Map, Options, baseline_for, method
from vgg_viz.errors import InputRefused


@method(
    "occlusion", title="Occlusion", family="perturbation", signed=True, unit="logit",
    reads=("window", "stride", "baseline"), passes=lambda options, side: squares(options, side, side) + 1,
    about="How far the class score falls when a square of the picture is painted over: asked of the network, not of its gradients.",
    source="Zeiler & Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014",
)  # fmt: skip
def occlusion(model: nn.Module, images: Tensor, targets: Tensor, options: Options) -> Map:
    """Score of the picture minus score with a square painted over, averaged over the squares that cover a pixel.

    The square has an eighth of the picture's side and moves by half of its own; it is painted in the picture's mean
    colour, which says less than black. raises InputRefused when the square does not fit or leaves gaps.
    """
    count, channels, height, width = images.shape
    window, stride = square(options, height, width)
    if not 1 <= stride <= window <= min(height, width):
        raise InputRefused(
            f"a square of {window} px that moves by {stride} px came for pictures of {height}x{width} px; "
            f"it must fit into the picture, and move by no more than its own side."
        )
    with torch.no_grad():
        fall = Occlusion(model).attribute(
            images,
            sliding_window_shapes=(channels, window, window),
            strides=(channels, stride, stride),
            baselines=baseline_for(images, "mean" if options.baseline is None else options.baseline),
            target=targets,
            perturbations_per_eval=max(1, options.batch // count),
        )
    # The square covers all channels, so Captum's map says the same in each of them.
    return Map(fall[:, 0], passes=squares(options, height, width) + 1)


def square(options: Options, height: int, width: int) -> tuple[int, int]:
    """Side of the square and how far it moves [px], for pictures of this size."""
    window = max(1, min(height, width) // 8) if options.window is None else options.window
    return window, max(1, window // 2) if options.stride is None else options.stride


def squares(options: Options, height: int, width: int) -> int:
    """How many places the square takes on a picture of this size."""
    window, stride = square(options, height, width)
    return (math.ceil((height - window) / stride) + 1) * (math.ceil((width - window) / stride) + 1)
