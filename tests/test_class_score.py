"""The class-score map: closed forms, exact sums, and where it cannot be made."""

import pytest
import torch
from networks import PlainVGG, mlp
from torch import Tensor, nn

from vgg_viz.attribution import attribute
from vgg_viz.attribution.methods.class_score import places, score_places
from vgg_viz.attribution.targets import Against
from vgg_viz.capture.hooks import activations
from vgg_viz.errors import InputRefused
from vgg_viz.models.build import assemble, build
from vgg_viz.models.network import dense_weights
from vgg_viz.records import Neuron
from vgg_viz.studies.preset import fit_preset, preset_for


def pictures(count: int = 2, side: int = 32, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def lively(name: str, **overrides: object) -> nn.Module:
    """A small network whose logits differ, with biases."""
    model = build(name, seed=1, num_classes=6, **overrides)
    with torch.no_grad():
        for n, parameter in enumerate(model.parameters()):
            dice = torch.Generator().manual_seed(n)
            spread = 0.1 if parameter.ndim == 1 else (2 / parameter[0].numel()) ** 0.5
            parameter.copy_(spread * torch.randn(parameter.shape, generator=dice))
    return model


@pytest.mark.parametrize("target", [[2, 5], Against(2, 4)])
def test_of_a_tiny_vgg_it_is_the_linear_layers_own_sum_before_it_is_added_up(target):
    model, images = lively("tiny_vgg", image_side=32), pictures()
    linear = model.classifier[1]
    weights = linear.weight[[2, 5]] if isinstance(target, list) else (linear.weight[2] - linear.weight[4]).expand(2, -1)
    biases = linear.bias[[2, 5]] if isinstance(target, list) else (linear.bias[2] - linear.bias[4]).expand(2)
    maps = activations(model, images, ["pool2"]).maps["pool2"]
    closed = (weights.view(2, 10, *maps.shape[2:]).detach() * maps).sum(1)
    found = attribute(model, images, method="class_score_map", target=target)
    assert found.layer == "pool2"
    assert torch.allclose(found.values, closed, atol=1e-5)
    logits = model(images).detach()
    scores = (
        logits.gather(1, torch.tensor([[2], [5]]))[:, 0] if isinstance(target, list) else logits[:, 2] - logits[:, 4]
    )
    assert torch.allclose(found.values.sum((1, 2)), scores - biases.detach(), atol=1e-5)
    assert found.residual.abs().max() < 1e-5


def test_an_average_pool_before_one_linear_layer_is_taken_apart_as_well():
    """Class activation mapping, as first proposed: weights of the class times the maps, over the number of places."""
    model, images = lively("vgg11", image_side=64, width=0.05, head=(), pooled=1), pictures(side=64)
    maps = activations(model, images, ["pool5"]).maps["pool5"]
    closed = (model.classifier[0].weight[3].detach().view(1, -1, 1, 1) * maps).sum(1) / 4
    found = attribute(model, images, method="class_score_map", target=3)
    assert closed.shape == (2, 2, 2)
    assert torch.allclose(found.values, closed, atol=1e-5)


def test_hidden_layers_slide_over_a_larger_picture_as_the_dense_form_does():
    model = lively("vgg11", image_side=64, width=0.05, head=(16, 16), pooled=2)
    dense = assemble(*dense_weights(model.architecture, model.state_dict()))
    larger = pictures(side=128)
    oracle = dense.class_map(larger).detach()
    assert oracle.shape == (2, 6, 3, 3)
    scores, logits = score_places(model, larger)
    assert torch.allclose(scores, oracle, atol=1e-5)
    assert torch.equal(logits, model(larger))
    found = attribute(dense, larger, method="class_score_map", target=[4, 1])
    assert torch.allclose(found.values, oracle[[0, 1], [4, 1]] / 9, atol=1e-6)
    assert found.residual.abs().max() < 1e-5
    assert found.layer == "fc8"
    with pytest.raises(InputRefused, match="build it with dense=True"):
        attribute(model, larger, method="class_score_map", target=4)
    at_home = attribute(model, pictures(side=64), method="class_score_map", target=4)
    assert at_home.values.shape == (2, 1, 1), "at its own size there is one place"
    assert at_home.residual.abs().max() < 1e-5


def test_the_residual_says_by_how_much_a_plain_network_and_its_places_differ():
    model = lively("vgg11", image_side=64, width=0.05, head=(16,), pooled=1)
    images = pictures(side=64)
    found = attribute(model, images, method="class_score_map", target=Against(0, 5))
    logits = model(images).detach()
    assert found.values.shape == (2, 2, 2)
    assert found.layer == "pool5"
    assert torch.allclose(found.values.sum((1, 2)) - found.residual, logits[:, 0] - logits[:, 5], atol=1e-5)
    assert found.residual.abs().max() > 1e-3, "an average before a hidden layer is not the average after it"


def test_networks_and_targets_without_places_are_refused_in_a_sentence():
    with pytest.raises(InputRefused, match="no map of places"):
        attribute(nn.Sequential(nn.Flatten(), nn.Linear(48, 2)), pictures(side=4), method="class_score_map", target=0)
    foreign = PlainVGG("vgg11", classifier=mlp(64, 8, 3), width=8)
    with pytest.raises(InputRefused, match="only a VGG's hidden layers"):
        attribute(foreign, pictures(), method="class_score_map", target=0)
    for model in (lively("tiny_vgg", image_side=32), lively("vgg11", image_side=32, width=0.05)):
        for neuron in (Neuron("conv1_1", 1), Neuron("conv2_1", 1, 0, 0)):
            with pytest.raises(InputRefused, match="single unit"):
                attribute(model, pictures(1), method="class_score_map", target=neuron)


@pytest.mark.parametrize(
    ("name", "about"),
    [
        ("tiny_vgg", {"image_side": 32}),
        ("vgg11", {"image_side": 64, "width": 0.05, "head": (), "pooled": 1}),
        ("vgg11", {"image_side": 32, "width": 0.05, "head": (), "pooled": 1}),
        ("vgg11", {"image_side": 224, "width": 0.02, "head": (16, 16)}),
        ("vgg11", {"image_side": 64, "width": 0.05, "head": (8,), "pooled": 1}),
        ("vgg11", {"image_side": 64, "width": 0.05, "head": (8,)}),
    ],
)
def test_how_many_places_the_map_has_is_known_before_it_is_made(name, about):
    model = build(name, seed=1, num_classes=6, **about)
    try:
        made = attribute(model, pictures(1, about["image_side"]), method="class_score_map", target=3).values[0].numel()
    except InputRefused:
        made = 0
    assert places(model) == made


def test_a_preset_shows_the_class_score_map_only_where_it_has_several_places():
    one, several = build("vgg11", seed=1, image_side=224, width=0.02, head=(16,)), build("tiny_vgg", seed=1)
    for preset in (preset_for("quick", 0.01), preset_for("full", 0.01)):
        assert fit_preset(preset, several) == preset
        assert set(preset.methods) - set(fit_preset(preset, one).methods) == {"class_score_map"}
    assert places(one) == 1
