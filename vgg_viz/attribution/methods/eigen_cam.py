"""Maps along the one direction of channels in which a layer says most: of its activations, or of what they add to the score."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vgg_viz.attribution.layers import default_layer, spatial
from vgg_viz.attribution.method import Map, method
from vgg_viz.attribution.options import MethodOptions
from vgg_viz.capture.hooks import activations_and_gradients, record_activations


@method(
    "eigen_cam",
    title="Eigen-CAM",
    family="cam",
    signed=False,
    unit="activation",
    layered=True,
    reads=("layer", "relu"),
    passes=lambda options, side: 1,
    about="Where the layer says what it says most: its main pattern over the picture. No class is asked, so none is explained.",
    source="Muhammad & Yeasin, Eigen-CAM: Class Activation Map using Principal Components, IJCNN 2020",
)
def eigen_cam(model: nn.Module, images: Tensor, targets: Tensor, options: MethodOptions) -> Map:
    """Projection of the activations at each place on their first right singular vector: A v, A (places x channels) = U S V'."""
    layer = spatial(model, options.layer or default_layer(model, images))
    with record_activations(model, layer.name) as said, torch.no_grad():
        model(images)
        values = main_direction(said[layer.name])
    return Map(values.relu() if options.relu else values, layer=layer.name, passes=1, signed=not options.relu)


@method(
    "eigen_grad_cam",
    title="Eigen-Grad-CAM",
    family="cam",
    signed=False,
    unit="logit",
    layered=True,
    reads=("layer", "relu"),
    passes=lambda options, side: 2,
    about="Eigen-CAM of gradient times activation: the main pattern of what the layer adds to this class's score.",
    source="Gildenblat and contributors, PyTorch library for CAM methods (EigenGradCAM), 2021",
)
def eigen_grad_cam(model: nn.Module, images: Tensor, targets: Tensor, options: MethodOptions) -> Map:
    """Projection of gradient times activation at each place on its first right singular vector."""
    layer = spatial(model, options.layer or default_layer(model, images))
    found: list[Tensor] = []
    with activations_and_gradients(
        model, [layer.name], lambda _name, maps, gradient: found.append(main_direction(maps * gradient))
    ) as lowest:
        torch.autograd.grad(model(images).gather(1, targets[:, None]).sum(), lowest)
    return Map(found[0].relu() if options.relu else found[0], layer=layer.name, passes=2, signed=not options.relu)


@torch.no_grad()
def main_direction(maps: Tensor) -> Tensor:
    """Each place's share in the first singular direction of a picture's channels: (B, C, h, w) -> (B, h, w) float32, same unit.

    Not centred, as in the paper. A singular vector has no sign of its own: it is turned so that the map goes along with the sum
    of the channels. From the channels' table of products in float64: a VGG has up to 50,176 places, but at most 512 channels.
    """
    rows = maps.double().flatten(2)
    direction = torch.linalg.eigh(rows @ rows.transpose(1, 2)).eigenvectors[:, :, -1]
    values = torch.einsum("bc,bcn->bn", direction, rows)
    along = (values * rows.sum(1)).sum(1, keepdim=True)
    return torch.where(along < 0, -values, values).view(len(maps), *maps.shape[2:]).float()
