"""Eigen-CAM and Eigen-Grad-CAM against numpy's singular value decomposition, and what they can and cannot tell."""

import numpy as np
import pytest
import torch
from loose_options import attribute

from vgg_viz.attribution.methods.eigen_cam import main_direction
from vgg_viz.capture.hooks import activations
from vgg_viz.models.build import build


def by_numpy(maps: torch.Tensor) -> np.ndarray:
    """The paper's formula for one picture (C, h, w), its sign turned to the sum of the channels."""
    flat = maps.double().flatten(1).numpy()
    left, size, _ = np.linalg.svd(flat.T, full_matrices=False)
    found = left[:, 0] * size[0]
    return (found * np.sign(found @ flat.sum(0))).reshape(maps.shape[1:])


@pytest.fixture(scope="module")
def network():
    return build("tiny_vgg", num_classes=4, image_side=32, seed=3)


def pictures(count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("layer", ["relu1_2", "conv2_2", "pool2"])
def test_eigen_cam_is_the_first_component_of_numpys_decomposition(network, layer):
    found = attribute(network, pictures(), method="eigen_cam", layer=layer, relu=False)
    said = activations(network, pictures(), [layer]).maps[layer]
    for at in range(2):
        expected = by_numpy(said[at])
        assert np.abs(found.values[at].numpy() - expected).max() < 1e-5 * np.abs(expected).max()


def test_eigen_grad_cam_is_that_of_gradient_times_activation(network):
    images = pictures()
    found = attribute(network, images, method="eigen_grad_cam", layer="pool2", target=1, relu=False)
    head = network.classifier[-1].weight[1].detach()
    said = activations(network, images, ["pool2"]).maps["pool2"]
    gradient = head.view(said.shape[1:])  # flatten and one linear layer follow
    for at in range(2):
        expected = by_numpy(said[at] * gradient)
        assert np.abs(found.values[at].numpy() - expected).max() < 1e-4 * np.abs(expected).max()


def test_eigen_cam_knows_no_class_and_eigen_grad_cam_does(network):
    one, other = (attribute(network, pictures(1), method="eigen_cam", target=target).values for target in (0, 3))
    assert torch.equal(one, other)
    one, other = (
        attribute(network, pictures(1), method="eigen_grad_cam", target=target, relu=False).values for target in (0, 3)
    )
    assert not torch.allclose(one, other)


def test_channels_that_say_the_same_give_their_own_pattern_whatever_their_strength():
    pattern = torch.rand(5, 6, generator=torch.Generator().manual_seed(0))
    strength = torch.tensor([1.0, 2.0, -0.5])
    found = main_direction((strength[:, None, None] * pattern)[None])[0]
    assert torch.allclose(found, pattern * float(strength.norm()), atol=1e-6)


def test_a_silent_layer_gives_a_flat_map():
    assert float(main_direction(torch.zeros(2, 3, 4, 4)).abs().max()) == 0
