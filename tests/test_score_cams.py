"""Maps without a gradient: against loops that run the whole network, Captum's ablation, and sums known by arithmetic."""

import pytest
import torch
from captum.attr import LayerFeatureAblation
from loose_options import attribute
from torch import Tensor, nn

from vgg_viz.attribution import Against, Neuron, methods, on_pixels
from vgg_viz.attribution.options import MethodOptions
from vgg_viz.capture.hooks import activations, replace_activations
from vgg_viz.capture.partial_forward import forward_after, work_after
from vgg_viz.models.build import architecture, build, skeleton
from vgg_viz.models.names import find, layers


def pictures(count: int = 2, side: int = 32, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def lively(name: str, *, inplace: bool = True, **overrides: object) -> nn.Module:
    overrides = ({} if name == "tiny_vgg" else {"width": 0.05}) | overrides
    model = build(name, seed=3, num_classes=6, image_side=32, **overrides)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear):
                module.weight.mul_(20)
            if isinstance(module, nn.ReLU):
                module.inplace = inplace
    return model


def apart(found: Tensor, expected: Tensor) -> float:
    assert expected.abs().max() > 0
    return float((found - expected).abs().max() / expected.abs().max())


FORMS = [("tiny_vgg", {}), ("vgg11", {}), ("vgg11_bn", {}), ("vgg11", {"dense": True, "pooled": 1})]


@pytest.mark.parametrize("inplace", [True, False])
@pytest.mark.parametrize(("name", "form"), FORMS, ids=["tiny", "vgg", "bn", "dense"])
def test_what_follows_any_layer_says_what_the_whole_network_says(name, form, inplace):
    model, images = lively(name, inplace=inplace, **form), pictures(2, 64 if form else 32)
    names = [layer.name for layer in layers(model)]
    said = activations(model, images, names)
    with torch.no_grad():
        for layer in names:
            run = forward_after(model, layer, images, lambda logits: logits)
            assert torch.allclose(run(said.maps[layer].clone()), said.logits, atol=1e-6), layer


def test_another_network_is_run_as_a_whole_with_the_layers_answer_exchanged():
    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, padding=1)

        def forward(self, images: Tensor) -> Tensor:
            seen = self.conv(images)
            return seen.mean((2, 3)) + 2 * seen.amax((2, 3))

    model, images = Beside(), pictures(2)
    values = torch.rand(5, 4, 32, 32)
    run = forward_after(model, "conv1_1", images, lambda logits: logits)
    assert torch.allclose(run(values), values.mean((2, 3)) + 2 * values.amax((2, 3)))
    assert work_after(model, "conv1_1", 32) == 1
    assert not model.conv._forward_hooks


@pytest.mark.parametrize("layer", ["conv2_1", "relu3_2", "pool4", "conv5_2"])
@pytest.mark.parametrize("dense", [False, True])
def test_ablation_cam_weighs_channels_as_captums_ablation_does(layer, dense):
    model = lively("vgg11", **({"dense": True, "pooled": 1} if dense else {}))
    images, targets = pictures(2, 64 if dense else 32), torch.tensor([4, 1])
    maps = activations(model, images, [layer]).maps[layer]
    channels = torch.arange(maps.shape[1]).view(1, -1, 1, 1).expand_as(maps[:1])
    falls = LayerFeatureAblation(model, find(model, layer).module).attribute(
        images, target=targets, layer_mask=channels
    )
    found = attribute(model, images, method="ablation_cam", target=targets, layer=layer, relu=False)
    assert apart(found.values, (falls * maps).sum(1)) < 1e-4
    assert torch.equal(
        attribute(model, images, method="ablation_cam", target=targets, layer=layer).values, found.values.relu()
    )


def test_ablation_cam_of_mean_and_linear_is_the_sum_of_squared_maps():
    model = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4))
    images = pictures(2, 12)
    maps, weight = model[0](images).detach(), model[3].weight[2].detach()
    closed = torch.einsum("c,bc,bchw->bhw", weight, maps.mean((2, 3)), maps)
    assert torch.allclose(
        attribute(model, images, method="ablation_cam", target=2, relu=False).values, closed, atol=1e-6
    )


@pytest.mark.parametrize("name", ["tiny_vgg", "vgg11"])
def test_score_cam_is_the_papers_loop_over_whole_passes(name):
    model, images, layer = lively(name), pictures(), "relu2_1"
    maps = activations(model, images, [layer]).maps[layer]
    found = attribute(model, images, method="score_cam", target=[4, 1], layer=layer)
    for at, target in enumerate((4, 1)):
        scores = []
        for one in maps[at]:
            if one.max() > one.min():
                mask = on_pixels(model, layer, ((one - one.min()) / (one.max() - one.min()))[None], (32, 32))
                scores.append(activations(model, images[at : at + 1] * mask).logits[0, target])
            else:
                scores.append(torch.tensor(-torch.inf))
        expected = torch.einsum("c,chw->hw", torch.stack(scores).softmax(0), maps[at]).relu()
        assert apart(found.values[at], expected) < 1e-4


def test_score_cam_at_the_layer_is_a_loop_that_masks_the_layer():
    model, images, layer = lively("vgg11"), pictures(1), "conv3_1"
    (maps,) = activations(model, images, [layer]).maps[layer]
    scores = []
    for one in maps:
        mask = (one - one.min()) / (one.max() - one.min())
        with replace_activations(model, {layer: lambda _module, output, mask=mask: output * mask}):
            scores.append(activations(model, images).logits[0, 3])
    expected = torch.einsum("c,chw->hw", torch.stack(scores).softmax(0), maps).relu()
    assert apart(attribute(model, images, method="layer_score_cam", target=3, layer=layer).values[0], expected) < 1e-4


def test_score_cam_asks_the_channels_that_vary_most_when_it_may_not_ask_all():
    model, images = lively("tiny_vgg"), pictures()
    few = attribute(model, images, method="score_cam", target=1, masks=3)
    assert few.passes == 4
    assert few.settings["masks"] == 3
    layer = few.layer
    maps = activations(model, images, [layer]).maps[layer]
    for at, picture in enumerate(images):
        chosen = maps[at].flatten(1).var(1).argsort(descending=True)[:3]
        low, high = (pick(maps[at][chosen], (1, 2)) for pick in (torch.amin, torch.amax))
        masks = on_pixels(model, layer, (maps[at][chosen] - low[:, None, None]) / (high - low)[:, None, None], (32, 32))
        weights = activations(model, masks[:, None] * picture).logits[:, 1].softmax(0)
        assert apart(few.values[at], torch.einsum("c,chw->hw", weights, maps[at][chosen])) < 1e-4
    every = attribute(model, images, method="score_cam", target=1, masks=10)
    assert every.passes == 11
    assert torch.equal(every.values, attribute(model, images, method="score_cam", target=1).values)
    assert not torch.allclose(every.values, few.values)


@pytest.mark.parametrize("name", ["ablation_cam", "score_cam", "layer_score_cam"])
def test_differences_of_classes_and_units_reach_the_layers_that_are_run_alone(name):
    model, images = lively("vgg11"), pictures()
    a, b, both = (
        attribute(model, images, method=name, target=t, layer="relu2_1", relu=False).values
        for t in (2, 5, Against(2, 5))
    )
    if name == "ablation_cam":
        assert apart(both, a - b) < 1e-4, "it is linear in the score"
    else:
        assert not torch.allclose(both, a)
    unit = attribute(model, images, method=name, target=Neuron("conv4_1", 3), layer="relu2_1", relu=False)
    assert unit.values.abs().max() > 0
    assert unit.unit_of == "conv4_1:3"


@pytest.mark.parametrize("name", ["score_cam", "layer_score_cam", "ablation_cam"])
def test_a_layer_that_says_the_same_everywhere_weighs_nothing(name):
    model = build("tiny_vgg", image_side=32, num_classes=3)
    with torch.no_grad():
        model.conv_block_2[2].weight.zero_()
        model.conv_block_2[2].bias.fill_(-1)
    found = attribute(model, pictures(), method=name, target=0, layer="relu2_2")
    assert torch.equal(found.values, torch.zeros_like(found.values))


def test_a_tail_counts_by_its_multiply_adds():
    """Behind relu5_3 of VGG16 stand the 123,633,664 weights of the classifier, of 15,470,264,320 multiply-adds in all."""
    model, about = skeleton(architecture("vgg16")), methods()["ablation_cam"]
    assert about.cost(model, MethodOptions(layer="conv5_3"), 224) == pytest.approx(
        1 + 512 * 123_633_664 / 15_470_264_320
    )
    assert about.cost(model, MethodOptions(layer="relu1_1"), 224) == pytest.approx(
        1 + 64 * (1 - 86_704_128 / 15_470_264_320)
    )
    assert methods()["score_cam"].cost(model, MethodOptions(masks=100), 224) == 101
    assert work_after(model, "fc8", 224) == 0
