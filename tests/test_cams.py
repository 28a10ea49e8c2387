"""Class activation maps of all layers: each formula against a few lines of numpy, the one pass against Captum and one by one."""

import numpy as np
import pytest
import torch
from captum.attr import LayerActivation, LayerGradCam, LayerGradientXActivation
from loose_options import attribute
from torch import Tensor, nn

from vgg_viz.attribution import Against, Neuron, cams_all_layers, gradient_bundle, methods
from vgg_viz.attribution.cam_reduction import CAMS, reduced
from vgg_viz.capture.hooks import activations_and_gradients
from vgg_viz.errors import InputRefused, UnknownName
from vgg_viz.models.build import build
from vgg_viz.models.names import find

NAMES = ("grad_cam", "grad_cam_plus_plus", "xgrad_cam", "hires_cam", "layer_cam", "elementwise_grad_cam")


def reference(name: str, a: np.ndarray, g: np.ndarray) -> np.ndarray:
    """The map of one picture from activations and gradients (C, h, w), as the papers write it, in float64 and with its sign."""
    a, g = a.astype(np.float64), g.astype(np.float64)
    above, total = np.maximum(g, 0), a.sum((1, 2), keepdims=True)
    if name == "grad_cam":
        return (g.mean((1, 2), keepdims=True) * a).sum(0)
    if name == "grad_cam_plus_plus":
        alpha = np.divide(g**2, 2 * g**2 + total * g**3, out=np.zeros_like(g), where=g != 0)
        return ((alpha * above).sum((1, 2), keepdims=True) * a).sum(0)
    if name == "xgrad_cam":
        weights = np.divide((g * a).sum((1, 2), keepdims=True), total, out=np.zeros_like(total), where=total != 0)
        return (weights * a).sum(0)
    return {"hires_cam": g * a, "layer_cam": above * a, "elementwise_grad_cam": np.maximum(g * a, 0)}[name].sum(0)


def pictures(count: int = 3, side: int = 32, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def lively(name: str = "vgg11", *, inplace: bool = True, **overrides: object) -> nn.Module:
    """A small network whose logits and gradients differ from picture to picture."""
    overrides = {"width": 0.1} | overrides if name != "tiny_vgg" else overrides
    model = build(name, seed=3, num_classes=6, image_side=32, **overrides)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear):
                module.weight.mul_(20)
            if isinstance(module, nn.ReLU):
                module.inplace = inplace
    return model


def apart(found: Tensor, expected: object) -> float:
    expected = torch.as_tensor(expected).detach().float()
    assert expected.abs().max() > 0
    return float((found - expected).abs().max() / expected.abs().max())


def seen(model: nn.Module, layer: str, images: Tensor, target: object) -> tuple[Tensor, Tensor]:
    """Activations and gradients of a layer by Captum."""
    module = find(model, layer).module
    maps = LayerActivation(model, module).attribute(images)
    gradient = LayerGradientXActivation(model, module, multiply_by_inputs=False).attribute(images, target=target)
    return maps.detach(), gradient.detach()


# ---------------------------------------------------------------- the formulas


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(2, 5, 7, 6), (3, 16, 90, 80), (1, 700, 20, 20), (70, 3, 4, 4)])
def test_every_formula_is_that_of_its_paper_however_it_is_cut_into_blocks(name, shape, monkeypatch):
    dice = torch.Generator().manual_seed(0)
    maps = torch.rand(shape, generator=dice).sub(0.4).relu()
    gradient = torch.randn(shape, generator=dice)
    maps[:, 1], gradient[:, 2] = 0, 0  # a silent channel, and one that does not matter
    expected = np.stack([reference(name, a, g) for a, g in zip(maps.numpy(), gradient.numpy(), strict=True)])
    for layout in (torch.contiguous_format, torch.channels_last):
        a, g = maps.clone(memory_format=layout), gradient.clone(memory_format=layout)
        kept = reduced(a, g, [name], relu=False)[name]
        assert apart(kept, expected) < 1e-5
        assert torch.equal(reduced(a, g, [name], relu=True)[name], kept.relu())
        assert torch.equal(a, maps), "what the network said is not written to"
        assert torch.equal(g, gradient)
        together = reduced(a, g, NAMES, relu=False)[name]
        assert torch.allclose(together, kept, rtol=1e-5, atol=1e-6 * float(kept.abs().max())), (
            "nobody writes to what others read"
        )
    monkeypatch.setattr("vgg_viz.attribution.cam_reduction.VALUES", 64)
    assert apart(reduced(maps, gradient, [name], relu=False)[name], expected) < 1e-5


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1.0])
def test_grad_cam_plus_plus_of_small_gradients_is_not_swamped_by_a_constant(scale):
    maps, gradient = pictures(1, 8), torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * scale
    found = reduced(maps, gradient, ["grad_cam_plus_plus"], relu=False)["grad_cam_plus_plus"]
    assert apart(found, reference("grad_cam_plus_plus", maps[0].numpy(), gradient[0].numpy())[None]) < 1e-4


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("layer", ["relu2_1", "pool3", "conv4_1", "bn2_1"])
def test_a_method_is_its_formula_on_what_captum_sees(name, layer):
    model = lively("vgg11_bn")
    images, targets = pictures(), torch.tensor([4, 1, 0])
    maps, gradient = seen(model, layer, images, targets)
    expected = np.stack([reference(name, a, g) for a, g in zip(maps.numpy(), gradient.numpy(), strict=True)])
    found = attribute(model, images, method=name, target=targets, layer=layer, relu=False)
    # Where sums of A may be negative, two methods divide by what may be near zero, and rounding grows.
    assert apart(found.values, expected) < (1e-3 if layer in ("conv4_1", "bn2_1") else 1e-4)
    paper = attribute(model, images, method=name, target=targets, layer=layer)
    assert torch.allclose(paper.values, found.values.relu())
    assert (paper.signed, found.signed) == (False, name != "elementwise_grad_cam")


def test_closed_forms_of_conv_mean_linear():
    """Mean pool and one linear layer: G is the class's weight over the number of places, whatever the picture."""
    model = nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4)
    )
    images, targets = pictures(2, 12), [1, 3]
    maps, weight = model[:2](images).detach(), model[4].weight[targets].detach() / 144
    found = {
        name: attribute(model, images, method=name, target=targets, layer="relu1_1", relu=False).values
        for name in NAMES
    }
    plain = torch.einsum("bc,bchw->bhw", weight, maps)
    total = maps.sum((2, 3))
    for name in ("grad_cam", "xgrad_cam", "hires_cam"):
        assert torch.allclose(found[name], plain, atol=1e-6), name
    for name in ("layer_cam", "elementwise_grad_cam"):
        assert torch.allclose(found[name], torch.einsum("bc,bchw->bhw", weight.relu(), maps), atol=1e-6), name
    plus = 144 * weight.relu() / (2 + total * weight.relu())
    assert torch.allclose(found["grad_cam_plus_plus"], torch.einsum("bc,bchw->bhw", plus, maps), atol=1e-5)
    with torch.no_grad():
        score = (model(images) - model[4].bias)[[0, 1], targets]
    assert torch.allclose(found["hires_cam"].sum((1, 2)), score, atol=1e-5), "it adds up to the score without its bias"


def test_xgrad_cam_adds_up_to_gradient_times_activation():
    model, images = lively(), pictures()
    maps, gradient = seen(model, "relu3_1", images, 2)
    found = attribute(model, images, method="xgrad_cam", target=2, layer="relu3_1", relu=False)
    assert torch.allclose(found.values.sum((1, 2)), (maps * gradient).sum((1, 2, 3)), rtol=1e-4, atol=1e-5)


def test_hires_cam_does_not_point_where_the_network_does_not_read():
    class Quarter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, padding=1)

        def forward(self, images: Tensor) -> Tensor:
            return self.conv(images)[:, :, :8, :8].mean((2, 3))

    for name, clean in [("hires_cam", True), ("layer_cam", True), ("elementwise_grad_cam", True), ("grad_cam", False)]:
        values = attribute(Quarter(), pictures(1, 16), method=name, target=0, relu=False).values
        assert bool((values[:, 8:, 8:] == 0).all()) is clean, name


# ---------------------------------------------------------------- all layers from one pass


@pytest.mark.parametrize("inplace", [True, False])
@pytest.mark.parametrize("name", ["vgg13", "vgg11_bn", "a_lrn", "tiny_vgg"])
@pytest.mark.parametrize("kind", ["conv", "relu"])
def test_one_pass_gives_the_maps_that_the_methods_give_one_by_one(name, inplace, kind):
    model, images, targets = lively(name, inplace=inplace), pictures(2), torch.tensor([4, 1])
    usual = list(cams_all_layers(model, images, targets)["grad_cam"])
    layers = usual if kind == "relu" else [layer.replace("relu", "conv") for layer in usual]
    found = cams_all_layers(model, images, targets, relu=False, layers=layers)
    assert list(found) == list(CAMS)
    for layer in layers:
        oracle = LayerGradCam(model, find(model, layer).module).attribute(images, target=targets)[:, 0]
        assert apart(found["grad_cam"][layer].values, oracle) < 1e-5
        for method in set(found) - {"grad_cam"} - ({"xgrad_cam"} if kind == "conv" else set()):
            one = attribute(model, images, method=method, target=targets, layer=layer, relu=False)
            other = found[method][layer]
            assert apart(other.values, one.values) < (1e-3 if kind == "conv" else 1e-5)
            assert (other.method, other.layer, other.unit, other.signed, other.passes) == (
                method,
                layer,
                "logit",
                one.signed,
                2,
            )


def test_all_maps_of_all_layers_cost_one_forward_and_one_backward(monkeypatch):
    model, calls = lively("vgg16"), {"forward": 0, "backward": 0}
    first, last = model.normalise.forward, torch.autograd.grad

    def counting(what, act):
        def counted(*arguments, **options):
            calls[what] += 1
            return act(*arguments, **options)

        return counted

    monkeypatch.setattr(model.normalise, "forward", counting("forward", first))
    monkeypatch.setattr(torch.autograd, "grad", counting("backward", last))
    found = cams_all_layers(model, pictures(), "predicted")
    assert {method: len(of) for method, of in found.items()} == dict.fromkeys(CAMS, 13)
    assert calls == {"forward": 1, "backward": 1}


@pytest.mark.parametrize("how", ["no_grad", "inference", "channels_last", "frozen", "in twos", "alone"])
def test_the_maps_are_the_same_however_they_are_asked_for(how):
    model, images, targets = lively(), pictures(3), torch.tensor([4, 1, 0])
    plain = cams_all_layers(model, images, targets)
    options: dict = {}
    if how == "channels_last":
        model, images = (
            model.to(memory_format=torch.channels_last),
            images.contiguous(memory_format=torch.channels_last),
        )
    if how == "frozen":
        model.requires_grad_(False)
    if how == "in twos":
        options = {"batch": 2}
    if how == "alone":
        parts = [cams_all_layers(model, images[i : i + 1], targets[i : i + 1]) for i in range(3)]
        other = {m: {layer: torch.cat([p[m][layer].values for p in parts]) for layer in of} for m, of in plain.items()}
    else:
        around = {"no_grad": torch.no_grad, "inference": torch.inference_mode}.get(how, torch.enable_grad)
        with around():
            again = cams_all_layers(model, images.clone(), targets, **options)
        other = {m: {layer: one.values for layer, one in of.items()} for m, of in again.items()}
    for method, of in plain.items():
        for layer, one in of.items():
            assert torch.allclose(other[method][layer], one.values, rtol=1e-3, atol=1e-4 * float(one.values.max())), (
                method,
                layer,
            )


def test_half_precision_is_summed_in_single():
    """bfloat16 has 8 bits: maps of the last layer keep their story; sums over thousands of places do not lose it."""
    maps = torch.rand(1, 4, 100, 100, generator=torch.Generator().manual_seed(0)).bfloat16()
    gradient = torch.rand(1, 4, 100, 100, generator=torch.Generator().manual_seed(1)).bfloat16()
    for name in NAMES:
        expected = reference(name, maps[0].float().numpy(), gradient[0].float().numpy())
        assert apart(reduced(maps, gradient, [name], relu=False)[name], expected[None]) < 1e-2, name


def test_contrastive_maps_and_units_come_from_the_same_pass():
    model, images = lively(), pictures()
    a, b, between = (
        cams_all_layers(model, images, target, relu=False, names=["hires_cam"]) for target in (2, 5, Against(2, 5))
    )
    for layer, one in between["hires_cam"].items():
        difference = a["hires_cam"][layer].values - b["hires_cam"][layer].values
        assert torch.allclose(one.values, difference, atol=1e-5 * float(difference.abs().max()))
        assert one.against.tolist() == [5, 5, 5]
    unit = cams_all_layers(model, images, Neuron("conv3_1", 4), names=["layer_cam"])
    assert list(unit["layer_cam"]) == ["relu1_1", "relu2_1"], "only what lies below hears of it"


def test_what_cannot_be_asked_is_refused():
    with pytest.raises(UnknownName, match="did you mean 'hires_cam'"):
        cams_all_layers(lively(), pictures(), names=["hirescam"])
    with pytest.raises(InputRefused, match="fc6 has no map"):
        cams_all_layers(lively(), pictures(), layers=["fc6"])
    assert set(NAMES) <= set(CAMS) <= set(methods())


def test_whoever_writes_over_a_layer_is_noticed():
    model, images = lively(inplace=False), pictures()
    # What a pool puts out is needed by no gradient, so autograd itself would not complain.
    model.features = nn.Sequential(*list(model.features[:3]), nn.ReLU(inplace=True), *list(model.features[3:]))
    score = None
    with activations_and_gradients(model, ["pool1"], lambda *_: None):
        score = model(images).sum()
    with pytest.raises(InputRefused, match="something wrote over what pool1 had said"):
        score.backward()


def test_a_bundle_without_layers_is_pixels_alone():
    assert gradient_bundle(lively(), pictures(), 1, layers=()).grad_cam == {}


def test_a_method_that_is_named_twice_is_counted_once():
    model, images = lively(), pictures()
    bundle = gradient_bundle(model, images, 1, layers=["relu2_1"], cams=["grad_cam", "hires_cam", "hires_cam"])
    once = attribute(model, images, method="grad_cam", target=1, layer="relu2_1")
    torch.testing.assert_close(bundle.grad_cam["relu2_1"].values, once.values, rtol=1e-4, atol=1e-7)
    again = attribute(model, images, method="hires_cam", target=1, layer="relu2_1")
    torch.testing.assert_close(bundle.cams["hires_cam"]["relu2_1"].values, again.values, rtol=1e-4, atol=1e-7)
