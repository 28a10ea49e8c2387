"""Grad-CAM: its closed form, all layers from one pass, and the choice of the layer."""

import pytest
import torch
from captum.attr import GuidedGradCam, LayerGradCam
from loose_options import attribute
from torch import Tensor, nn

from vgg_viz.attribution import choose_layer, grad_cam_all_layers, gradient_bundle
from vgg_viz.capture.hooks import record_activations
from vgg_viz.errors import InputRefused, UnknownName
from vgg_viz.models.build import build
from vgg_viz.models.geometry import geometry
from vgg_viz.models.names import find, layers


def pictures(count: int = 2, side: int = 64, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def lively(name: str, *, inplace: bool = True, **overrides: object) -> nn.Module:
    """A small VGG whose logits differ."""
    model = build(name, seed=3, num_classes=6, image_side=64, **overrides)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear):
                module.weight.mul_(20)
            if isinstance(module, nn.ReLU):
                module.inplace = inplace
    return model


class Counter:
    """Counts forward passes through the first layer and backward passes of autograd."""

    def __init__(self, model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
        self.forward = self.backward = 0
        first, last = model.normalise.forward, torch.autograd.grad

        def forward(images: Tensor) -> Tensor:
            self.forward += 1
            return first(images)

        def backward(*arguments: object, **options: object) -> tuple[Tensor, ...]:
            self.backward += 1
            return last(*arguments, **options)

        monkeypatch.setattr(model.normalise, "forward", forward)
        monkeypatch.setattr(torch.autograd, "grad", backward)


def test_grad_cam_of_conv_mean_linear_is_the_class_weighted_sum_of_its_maps():
    model = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4))
    images = pictures(2, 12)
    maps = model[0](images).detach()
    closed = torch.einsum("bc,bchw->bhw", model[3].weight[[1, 3]].detach(), maps) / 12**2
    kept = attribute(model, images, target=[1, 3], relu=False)
    paper = attribute(model, images, target=[1, 3])
    assert torch.allclose(kept.values, closed, atol=1e-7)
    assert torch.allclose(paper.values, closed.relu(), atol=1e-7)
    assert (kept.values < 0).any()
    assert (kept.signed, paper.signed) == (True, False)
    assert paper.layer == "conv1_1"


@pytest.mark.parametrize("inplace", [True, False])
@pytest.mark.parametrize("name", ["vgg13", "vgg11_bn", "a_lrn", "tiny_vgg"])
@pytest.mark.parametrize("kind", ["conv", "relu"])
def test_the_shared_pass_equals_captum_layer_by_layer(name, inplace, kind):
    model = lively(name, inplace=inplace, **({} if name == "tiny_vgg" else {"width": 0.1}))
    images, targets = pictures(), torch.tensor([4, 1])
    names = [layer.name for layer in layers(model) if layer.kind == kind and not layer.path.startswith("classifier.")]
    found = grad_cam_all_layers(model, images, targets, relu=False, layers=None if kind == "conv" else names)
    assert list(found) == names
    for layer, cam in found.items():
        oracle = LayerGradCam(model, find(model, layer).module).attribute(images, target=targets)[:, 0]
        assert oracle.abs().max() > 0
        assert (cam.values - oracle).abs().max() <= 1e-5 * oracle.abs().max(), layer
        alone = attribute(model, images, method="grad_cam", layer=layer, target=targets, relu=False)
        assert (alone.values - oracle).abs().max() <= 1e-5 * oracle.abs().max(), layer


def test_all_layers_cost_exactly_one_forward_and_one_backward(monkeypatch):
    model = lively("vgg16", width=0.1)
    count = Counter(model, monkeypatch)
    found = grad_cam_all_layers(model, pictures(), "predicted")
    assert len(found) == 13
    assert (count.forward, count.backward) == (1, 1)


def test_the_bundle_costs_one_pass_and_equals_the_methods_one_by_one(monkeypatch):
    model, images = lively("vgg11", width=0.1), pictures(3)
    expected = {
        name: attribute(model, images, method=name, target="runner-up") for name in ("saliency", "input_x_gradient")
    }
    cams = grad_cam_all_layers(model, images, "runner-up")
    with torch.no_grad(), record_activations(model, "relu3_1", "pool5") as captured:
        logits = model(images.contiguous(memory_format=torch.channels_last))
    count = Counter(model, monkeypatch)
    found = gradient_bundle(model, images, "runner-up", keep=["relu3_1", "pool5"])
    assert (count.forward, count.backward) == (1, 1)
    for name, one in expected.items():
        other = getattr(found, name)
        assert torch.allclose(other.values, one.values, rtol=1e-4, atol=1e-6 * one.values.abs().max())
        assert (other.method, other.unit, other.signed) == (one.method, one.unit, one.signed)
        assert torch.equal(other.targets, one.targets)
    for layer, cam in cams.items():
        assert torch.allclose(found.grad_cam[layer].values, cam.values, atol=1e-7)
    for layer, maps in captured.items():
        assert torch.equal(found.activations.maps[layer], maps)
    assert torch.equal(found.activations.logits, logits)


def test_batches_of_the_shared_pass_are_joined_in_order():
    model, images = lively("tiny_vgg"), pictures(5)
    labels = torch.tensor([3, 1, 4, 1, 5])
    whole = gradient_bundle(model, images, "true", labels=labels, keep=["pool2"])
    parts = gradient_bundle(model, images, "true", labels=labels, keep=["pool2"], batch=2)
    assert torch.equal(parts.targets, labels)
    assert torch.allclose(whole.saliency.values, parts.saliency.values, atol=1e-6)
    assert torch.allclose(whole.activations.maps["pool2"], parts.activations.maps["pool2"], atol=1e-6)
    for layer in whole.grad_cam:
        assert torch.allclose(whole.grad_cam[layer].values, parts.grad_cam[layer].values, atol=1e-6)


def test_any_map_may_be_asked_for_and_nothing_else():
    model = lively("tiny_vgg")
    assert list(grad_cam_all_layers(model, pictures(), 0, layers=["pool2", "relu1_1"])) == ["pool2", "relu1_1"]
    with pytest.raises(InputRefused, match="fc3 has no map"):
        grad_cam_all_layers(model, pictures(), 0, layers=["fc3"])
    with pytest.raises(UnknownName, match="no layer 'conv7'"):
        gradient_bundle(model, pictures(), 0, layers=["conv7"])
    with pytest.raises(InputRefused, match="class 6"):
        grad_cam_all_layers(model, pictures(), 6)
    with pytest.raises(InputRefused, match="3 targets came for 2 pictures"):
        grad_cam_all_layers(model, pictures(), [0, 1, 2])


def test_guided_grad_cam_equals_captums_where_stretching_is_right():
    """Padded VGG: bilinear stretching and placing at field centres agree; Captum's product is per channel."""
    model, images = lively("vgg11", width=0.2), pictures()
    name = "conv3_1"
    with pytest.warns(UserWarning, match="backward hooks"):
        oracle = GuidedGradCam(model, find(model, name).module).attribute(
            images.clone().requires_grad_(), target=2, interpolate_mode="bilinear"
        )
    found = attribute(model, images, method="guided_grad_cam", layer=name, target=2)
    assert oracle.abs().max() > 0
    assert torch.allclose(found.values, oracle.detach().abs().amax(1), atol=1e-5 * oracle.abs().max().item())
    assert found.layer is None, "the map is in pixels"


def test_a_mean_gradient_cannot_tell_where_the_network_reads():
    """A limit of Grad-CAM to teach: a network that reads only the top left quarter gets a map of the whole picture."""

    class Quarter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, padding=1)

        def forward(self, images: Tensor) -> Tensor:
            return self.conv(images)[:, :, :8, :8].mean((2, 3))

    values = attribute(Quarter(), pictures(1, 16), target=0, relu=False).values
    elsewhere = values[:, 8:, 8:].abs().mean() / values[:, :8, :8].abs().mean()
    assert 0.5 < elsewhere < 2


# ---------------------------------------------------------------- choice of the layer


@pytest.mark.parametrize(
    ("name", "side", "layer", "numbers"),
    [
        ("vgg16", 224, "conv5_3", ["14 × 14", "196 of 224 px"]),
        ("vgg19", 224, "conv5_3", ["220 of 224 px", "conv5_4", "252 of 224 px"]),
        ("vgg11", 224, "conv5_2", ["14 × 14", "134 of 224 px"]),
        ("vgg16", 32, "conv3_2", ["8 × 8", "32 of 32 px", "40 of 32 px"]),
        ("vgg11_bn", 32, "conv3_2", ["8 × 8", "26 of 32 px", "conv4_1", "4 × 4"]),
        ("tiny_vgg", 64, "conv2_2", ["26 × 26", "14 of 64 px"]),
    ],
)
def test_the_layer_is_chosen_by_map_and_field_and_the_sentence_says_the_numbers(name, side, layer, numbers):
    model = build(name, image_side=side, **({} if name == "tiny_vgg" else {"width": 0.02}))
    found = choose_layer(geometry(model, side), side)
    chosen, reason = found.name, str(found)
    assert chosen == layer
    for number in numbers:
        assert number in reason
    assert attribute(model, pictures(1, side)).layer == layer.replace(
        "conv", "relu"
    )  # the paper's maps are those after it


def test_small_pictures_get_the_best_that_there_is():
    model = build("tiny_vgg", image_side=16, num_classes=3)
    found = choose_layer(geometry(model, 16), 16)
    chosen, reason = found.name, str(found)
    assert chosen == "conv1_2"
    assert "12 × 12" in reason
    assert "conv2_1: a 4 × 4 map" in reason
    tiniest = geometry(build("vgg11", image_side=32, num_classes=3, width=0.02), 32)
    coarse = [row for row in tiniest if row.name in ("conv4_1", "conv5_1")]
    found = choose_layer(coarse, 32)
    chosen, reason = found.name, str(found)
    assert chosen == "conv4_1"
    assert "no convolution has a map of 7 × 7" in reason


def test_a_network_without_convolutions_is_refused():
    with pytest.raises(InputRefused, match="no convolution"):
        attribute(nn.Sequential(nn.Flatten(), nn.Linear(3 * 16, 2)), pictures(1, 4))
