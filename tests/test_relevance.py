"""Layer-wise relevance: every rule against loops over single connections, the laws it keeps, and what those laws do not prove."""

import numpy as np
import pytest
import torch
from captum.attr import LRP, InputXGradient
from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, GammaRule
from torch import Tensor, nn

from vgg_viz.attribution import attribute
from vgg_viz.attribution.lrp.propagation import Preset, _Led, propagate
from vgg_viz.attribution.lrp.rules import AlphaBeta, Box, Epsilon, Flat, Gamma, Pass
from vgg_viz.attribution.methods.lrp import PRESETS
from vgg_viz.attribution.targets import Against
from vgg_viz.capture.hooks import eval_mode, frozen
from vgg_viz.capture.out_of_place import without_inplace
from vgg_viz.errors import InputRefused
from vgg_viz.maths.metrics import rank_correlation
from vgg_viz.models.build import assemble, build
from vgg_viz.models.names import layers
from vgg_viz.models.network import dense_weights
from vgg_viz.records import Neuron

LRP_0 = Preset("LRP-0", "", "", lambda darkest, brightest: Epsilon(), Epsilon, Epsilon, Epsilon)
EVERY = {**PRESETS, "lrp_0": LRP_0}


def pictures(count: int = 2, side: int = 32, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def dice(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def lively(name: str, *, bias: float = 0.1, **overrides: object) -> nn.Module:
    """A small VGG whose logits differ, with biases and batch-norm statistics that are not 0 and 1, or with no bias at all."""
    model = build(name, seed=3, num_classes=5, image_side=32, **overrides)
    with torch.no_grad():
        for n, module in enumerate(model.modules()):
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.weight.copy_(dice(*module.weight.shape, seed=n) * (2 / module.weight[0].numel()) ** 0.5)
                module.bias.copy_(bias * dice(*module.bias.shape, seed=n))
            elif isinstance(module, nn.BatchNorm2d):
                module.running_mean.copy_(0.3 * dice(*module.running_mean.shape, seed=n))
                module.running_var.copy_(0.5 + dice(*module.running_var.shape, seed=n).abs())
                module.weight.copy_(0.5 + dice(*module.weight.shape, seed=n).abs())
                module.bias.copy_(bias * dice(*module.bias.shape, seed=n))
    return model


def led(model: nn.Module, images: Tensor, preset: Preset, target: Tensor | None = None):
    with eval_mode(model), frozen(model):
        classes = model(images).argmax(1) if target is None else target
        return propagate(model, images.clone(), classes, preset)


# ---------------------------------------------------------------- each rule, slower and simpler


def connections(layer: nn.Module, shape: tuple[int, ...]) -> list[tuple[int, int, float]]:
    """Every (output, input, weight) of a convolution with stride 1 or a linear layer, by loops."""
    weights = layer.weight.detach().numpy()
    if isinstance(layer, nn.Linear):
        return [(k, j, float(weights[k, j])) for k in range(layer.out_features) for j in range(layer.in_features)]
    channels, height, width = shape
    kernel, pad = layer.kernel_size[0], layer.padding[0]
    rows, columns = height + 2 * pad - kernel + 1, width + 2 * pad - kernel + 1
    found = []
    for k in range(layer.out_channels):
        for y in range(rows):
            for x in range(columns):
                for c in range(channels):
                    for dy in range(kernel):
                        for dx in range(kernel):
                            v, u = y + dy - pad, x + dx - pad
                            if 0 <= v < height and 0 <= u < width:
                                here = ((k * rows + y) * columns + x, (c * height + v) * width + u)
                                found.append((*here, float(weights[k, c, dy, dx])))
    return found


def summed(layer: nn.Module, a: np.ndarray, outputs: int, part, biased) -> np.ndarray:
    """z_k, one connection at a time; part(a_j, w_jk) and biased(b_k) say what counts."""
    biases = layer.bias.detach().numpy()
    z = np.array([biased(float(biases[k * len(biases) // outputs])) for k in range(outputs)])
    for k, j, weight in connections(layer, a.shape):
        z[k] += part(a.reshape(-1)[j], weight)
    return z


def by_hand(layer: nn.Module, a: np.ndarray, relevance: np.ndarray, part, biased, epsilon: float = 0.0) -> np.ndarray:
    """R_j = sum_k part_jk / z_k R_k, one connection at a time."""
    flat, outputs = a.reshape(-1), relevance.reshape(-1)
    z = summed(layer, a, len(outputs), part, biased)
    z = z + epsilon * np.where(z < 0, -1, 1)
    found = np.zeros_like(flat)
    for k, j, weight in connections(layer, a.shape):
        if z[k] != 0:
            found[j] += part(flat[j], weight) / z[k] * outputs[k]
    return found.reshape(a.shape)


def zero(value: float) -> float:
    return 0.0


LOW, HIGH = -1.5, 2.5


def slow(rule: object, layer: nn.Module, a: np.ndarray, relevance: np.ndarray) -> np.ndarray:
    if isinstance(rule, Epsilon):
        return by_hand(layer, a, relevance, lambda x, w: x * w, lambda b: b, epsilon=rule.epsilon)
    if isinstance(rule, Gamma):
        return by_hand(
            layer, a, relevance, lambda x, w: x * w + rule.gamma * max(x * w, 0), lambda b: b + rule.gamma * max(b, 0)
        )
    if isinstance(rule, AlphaBeta):
        against = lambda x, w: min(x * w, 0)  # noqa: E731
        spoken = summed(layer, a, relevance.size, against, lambda b: min(b, 0)).reshape(relevance.shape) < 0
        alpha, beta = np.where(spoken, rule.alpha, rule.alpha - rule.beta), np.where(spoken, rule.beta, 0)
        paid = by_hand(layer, a, alpha * relevance, lambda x, w: max(x * w, 0), lambda b: max(b, 0))
        return paid - by_hand(layer, a, beta * relevance, against, lambda b: min(b, 0))
    if isinstance(rule, Flat):
        return by_hand(layer, a, relevance, lambda x, w: 1.0, zero)
    return by_hand(layer, a, relevance, lambda x, w: x * w - LOW * max(w, 0) - HIGH * min(w, 0), zero)


BOX = Box(torch.full((1, 2, 3, 3), LOW), torch.full((1, 2, 3, 3), HIGH))
RULES = [Epsilon(), Epsilon(0.3), Gamma(0.25), Gamma(2.0), AlphaBeta(1, 0), AlphaBeta(2, 1), Flat(), BOX]


@pytest.mark.parametrize("signs", ["after a ReLU", "of both signs"])
@pytest.mark.parametrize("kind", ["padded", "valid", "linear"])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_every_rule_does_what_a_loop_over_single_connections_does(rule, kind, signs):
    layer = (nn.Linear(18, 4) if kind == "linear" else nn.Conv2d(2, 3, 3, padding=int(kind == "padded"))).double()
    with torch.no_grad():
        layer.weight.copy_(dice(*layer.weight.shape, seed=1))
        layer.bias.copy_(dice(*layer.bias.shape, seed=2))
    inputs = dice(2, 2, 3, 3, seed=3).clamp(LOW, HIGH).double()
    inputs = inputs.clamp(min=0) if signs == "after a ReLU" else inputs
    inputs = inputs.flatten(1) if kind == "linear" else inputs
    with torch.no_grad():
        relevance = dice(*layer(inputs).shape, seed=4).double()
    found = rule.share(layer, inputs, relevance)
    for n in range(2):
        oracle = slow(rule, layer, inputs[n].double().numpy(), relevance[n].double().numpy())
        assert np.abs(oracle).max() > 0
        assert np.abs(found.inputs[n].numpy() - oracle).max() < 1e-5 * np.abs(oracle).max()
    gap = relevance.double().flatten(1).sum(1) - found.inputs.double().flatten(1).sum(1) - found.bias - found.epsilon
    assert gap.abs().max() < 1e-10 * found.inputs.abs().sum()


def test_a_relative_epsilon_is_a_share_of_each_pictures_own_spread():
    layer, inputs = nn.Linear(6, 5), torch.cat([dice(1, 6), 100 * dice(1, 6, seed=1)]).abs()
    relevance = dice(2, 5, seed=2)
    both = Epsilon(relative=0.25).share(layer, inputs, relevance)
    for n in range(2):
        rms = float(layer(inputs[n]).detach().square().mean().sqrt())
        alone = Epsilon(0.25 * rms).share(layer, inputs[n : n + 1], relevance[n : n + 1])
        assert torch.allclose(both.inputs[n], alone.inputs[0], rtol=1e-4)


def chain(bias: bool = True) -> nn.Sequential:
    """conv, ReLU, pool, conv, ReLU, flatten, linear, on pictures of 8 px."""
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, bias=bias),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3, bias=bias),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(16, 3, bias=bias),
    )
    with torch.no_grad():
        for n, parameter in enumerate(model.parameters()):
            parameter.copy_(0.5 * dice(*parameter.shape, seed=10 + n))
    return model


@pytest.mark.parametrize("name", ["epsilon_gamma_box", "epsilon_plus_flat", "kohlbrenner"])
def test_a_preset_on_a_whole_network_is_its_rules_one_after_the_other(name):
    model, image = chain(), pictures(1, 8)
    with torch.no_grad():
        first = model[1](model[0](image))
        pooled, won = nn.functional.max_pool2d(first, 2, return_indices=True)
        second = model[4](model[3](pooled))
        logits = model[6](second.flatten(1))
    middle = {"epsilon_gamma_box": Gamma(0.25), "epsilon_plus_flat": AlphaBeta(), "kohlbrenner": AlphaBeta(2, 1)}[name]
    start = np.zeros(3)
    start[1] = float(logits[0, 1])
    at = slow(Epsilon(1e-6), model[6], second[0].flatten().double().numpy(), start)
    at = slow(middle, model[3], pooled[0].double().numpy(), at.reshape(4, 2, 2))
    unpooled = nn.functional.max_unpool2d(torch.tensor(at)[None], won, 2)[0].numpy()
    if name == "epsilon_gamma_box":
        at = by_hand(
            model[0], image[0].double().numpy(), unpooled, lambda x, w: x * w - min(w, 0), zero
        )  # black 0, white 1
    else:
        at = slow(Flat(), model[0], image[0].double().numpy(), unpooled)
    found = attribute(model, image, method=f"lrp_{name}", target=1)
    assert np.abs(at).max() > 0
    assert np.abs(found.values[0].numpy() - at.sum(0)).max() < 1e-4 * np.abs(at).max()
    assert (found.unit, found.signed, found.layer) == ("logit", True, None)


def test_the_box_is_black_and_white_as_the_first_convolution_sees_them():
    model = lively("vgg11", width=0.05, bias=0.0, mean=(0.4, 0.5, 0.3), std=(0.2, 0.25, 0.3))
    first, seen = model.features[0], model.normalise(pictures(1))
    black, white = model.normalise(torch.zeros(1, 3, 1, 1)), model.normalise(torch.ones(1, 3, 1, 1))
    flow = led(model, pictures(1), PRESETS["epsilon_gamma_box"])
    with torch.no_grad():
        z = first(seen) - nn.functional.conv2d(black.expand_as(seen), first.weight.clamp(min=0), padding=1)
        z -= nn.functional.conv2d(white.expand_as(seen), first.weight.clamp(max=0), padding=1)
    assert (z > 0).all(), "no pixel is darker than black or brighter than white"
    assert flow.pixels.sum().item() == pytest.approx(float(flow.score), rel=1e-4)
    outside = Box(torch.zeros_like(seen), torch.ones_like(seen)).share(first, seen, torch.ones_like(z))
    inside = Box(black.expand_as(seen), white.expand_as(seen)).share(first, seen, torch.ones_like(z))
    assert (inside.inputs > -1e-4).all(), "inside the box a positive relevance stays positive"
    assert (outside.inputs < -0.01).any(), "with bounds in another unit it does not"


# ---------------------------------------------------------------- laws


@pytest.mark.parametrize("preset", [name for name in EVERY if name != "montavon"])
@pytest.mark.parametrize("name", ["vgg11", "a_lrn", "vgg13", "c", "tiny_vgg"])
def test_without_biases_all_of_the_score_reaches_the_pixels(name, preset):
    model = lively(name, bias=0.0, **({} if name == "tiny_vgg" else {"width": 0.08}))
    flow = led(model, pictures(), EVERY[preset])
    assert flow.score.abs().min() > 1e-3
    assert torch.allclose(flow.pixels.double().sum((1, 2, 3)), flow.score, rtol=2e-3)


@pytest.mark.parametrize("preset", EVERY)
@pytest.mark.parametrize("name", ["vgg11", "vgg11_bn", "a_lrn", "tiny_vgg"])
def test_with_biases_the_books_balance_layer_by_layer(name, preset):
    model = lively(name, **({} if name == "tiny_vgg" else {"width": 0.08}))
    images = pictures(3)
    flow = led(model, images, EVERY[preset])
    with torch.no_grad():
        assert torch.allclose(flow.score.float(), model(images).amax(1), rtol=1e-5)
    above = flow.score
    for step in flow.steps:
        entry = step.entry
        size = flow.score.abs() + entry.entering.abs() + entry.leaving.abs() + entry.bias.abs()
        assert ((entry.entering - entry.leaving - entry.bias - entry.epsilon).abs() < 1e-4 * size).all(), step.layer
        assert ((entry.entering - above).abs() < 1e-5 * size).all(), (
            f"{step.layer} got what the layer above it passed on"
        )
        above = entry.leaving
    assert torch.allclose(flow.pixels.double().sum((1, 2, 3)), above, rtol=1e-6)
    assert sum(step.entry.bias.abs() for step in flow.steps).min() > 1e-3


@pytest.mark.parametrize("name", ["vgg11", "tiny_vgg"])
def test_lrp_0_without_biases_is_input_times_gradient_as_captums_default_always_is(name):
    model = lively(name, bias=0.0, mean=(0.0,) * 3, std=(1.0,) * 3, **({} if name == "tiny_vgg" else {"width": 0.08}))
    images, target = pictures(), torch.tensor([2, 4])
    oracle = InputXGradient(model).attribute(images.clone().requires_grad_(), target=target).detach()
    flow = led(model, images, LRP_0, target)
    assert (flow.pixels - oracle).abs().max() < 1e-3 * oracle.abs().max()


class Bare(nn.Module):
    """What Captum's LRP can take by itself: it has no rule for nn.Flatten."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = chain(bias=False)
        self.inner[5] = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        first, second, third, fourth, fifth, _, last = self.inner
        return last(fifth(fourth(third(second(first(images))))).flatten(1))


@pytest.mark.parametrize("theirs", ["default", "gamma", "alpha 1 beta 0"])
def test_where_captum_has_the_rule_and_there_is_no_bias_the_maps_are_captums(theirs):
    model, images = Bare(), pictures(2, 8)
    del model.inner[5]
    model.inner.insert(5, nn.Dropout(0))
    model.eval()
    linear = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    for module in linear if theirs != "default" else []:
        module.rule = GammaRule(0.25) if theirs == "gamma" else Alpha1_Beta0_Rule()
    oracle = LRP(model).attribute(images.clone().requires_grad_(), target=1).detach()
    rule = {"default": Epsilon, "gamma": Gamma, "alpha 1 beta 0": AlphaBeta}[theirs]
    flow = led(model, images, Preset("", "", "", lambda *_: rule(), rule, rule, rule), torch.tensor([1, 1]))
    assert oracle.abs().max() > 0
    assert (flow.pixels - oracle).abs().max() < 1e-4 * oracle.abs().max()


@pytest.mark.parametrize("preset", EVERY)
def test_a_picture_gets_the_same_relevance_alone_and_among_others(preset):
    model, images = lively("vgg11_bn", width=0.08), pictures(3)
    together = led(model, images, EVERY[preset], torch.tensor([0, 1, 2])).pixels
    alone = led(model, images[1:2], EVERY[preset], torch.tensor([1])).pixels
    assert (together[1:2] - alone).abs().max() < 1e-4 * alone.abs().max()


@pytest.mark.parametrize("preset", PRESETS)
def test_relevance_of_one_class_against_another_is_the_difference_of_their_maps(preset):
    """Captum multiplies the map of a unit relevance by the score at the end, which is wrong for a difference of logits."""
    model, images = lively("vgg11_bn", width=0.08), pictures()
    first, second, both = (
        attribute(model, images, method=f"lrp_{preset}", target=target) for target in (0, 3, Against(0, 3))
    )
    assert (both.values - (first.values - second.values)).abs().max() < 1e-4 * first.values.abs().max()
    assert both.against.tolist() == [3, 3]


def test_a_single_unit_is_refused_in_a_sentence():
    model = lively("vgg11", width=0.08)
    for neuron in (Neuron("relu3_1", 2), Neuron("conv2_1", 1, 3, 3)):
        with pytest.raises(InputRefused, match="scores of classes, not from single units"):
            attribute(model, pictures(), method="lrp_montavon", target=neuron)


# ---------------------------------------------------------------- what conservation does not prove


def test_conserving_relevance_proves_nothing_about_a_map():
    """The flat rule everywhere conserves perfectly, and its map does not depend on a single weight below the last layer."""
    model, other, images = lively("tiny_vgg"), lively("tiny_vgg"), pictures()
    with torch.no_grad():
        for module in [*other.conv_block_1, *other.conv_block_2]:
            if isinstance(module, nn.Conv2d):
                module.weight.neg_()
    flat = Preset("", "", "", lambda *_: Flat(), Flat, Flat, Flat)
    target = torch.tensor([1, 2])
    first, second = (led(network, images, flat, target) for network in (model, other))
    for told in (first, second):
        assert torch.allclose(told.pixels.double().sum((1, 2, 3)), told.score, rtol=1e-5)
    assert rank_correlation(first.pixels.sum(1), second.pixels.sum(1)).abs().min() > 0.95


def test_batch_norm_passed_over_conserves_as_well_and_shares_out_by_the_wrong_weights():
    model, images = lively("vgg11_bn", width=0.08, bias=0.0), pictures()
    with eval_mode(model), frozen(model), without_inplace(model):
        for layer in layers(model):
            if layer.kind in ("conv", "fc"):
                layer.module.rule = Epsilon()
            elif layer.kind in ("normalise", "bn", "avgpool"):
                layer.module.rule = Pass() if layer.kind != "avgpool" else Epsilon()
        layers(model)[-1].module.rule.starts = True
        passed_over = _Led(model).attribute(images.clone().requires_grad_(), target=torch.tensor([1, 2])).detach()
    right = led(model, images, LRP_0, torch.tensor([1, 2]))
    assert torch.allclose(passed_over.double().sum((1, 2, 3)), right.score, rtol=1e-3)
    assert rank_correlation(passed_over.sum(1), right.pixels.sum(1)).max() < 0.8


@pytest.mark.parametrize("preset", PRESETS)
def test_relevance_stays_where_the_network_can_see(preset):
    """Evidence planted by construction: the last layer reads only the upper left unit of a 5x5 map."""
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(100, 2)
    )
    with torch.no_grad():
        model[4].weight.view(2, 4, 5, 5)[:, :, 1:] = 0
        model[4].weight.view(2, 4, 5, 5)[:, :, :, 1:] = 0
    values = attribute(model, pictures(1, 10), method=f"lrp_{preset}", target=1).values[0]
    assert values[:3, :3].abs().max() > 0
    assert values[3:].abs().max() == 0
    assert values[:, 3:].abs().max() == 0


# ---------------------------------------------------------------- networks of all kinds


def test_the_dense_form_gives_the_same_map_and_also_takes_larger_pictures():
    model = lively("vgg11", width=0.08)
    dense = assemble(*dense_weights(model.architecture, model.state_dict()))
    for preset in PRESETS:
        plain = attribute(model, pictures(), method=f"lrp_{preset}", target=2)
        other = attribute(dense, pictures(), method=f"lrp_{preset}", target=2)
        assert (plain.values - other.values).abs().max() < 1e-4 * plain.values.abs().max()
    flow = led(dense, pictures(1, 64), PRESETS["epsilon_plus_flat"])
    with torch.no_grad():
        assert float(flow.score) == pytest.approx(float(dense(pictures(1, 64)).max()), rel=1e-5)


def test_a_layer_without_a_rule_and_a_network_without_weights_are_refused():
    odd = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Softplus(), nn.Flatten(), nn.Linear(2 * 36, 2))
    with pytest.raises(InputRefused, match="Softplus, for which no rule"):
        attribute(odd, pictures(1, 8), method="lrp_kohlbrenner", target=0)
    with pytest.raises(InputRefused, match="nothing to share"):
        attribute(nn.Sequential(nn.Flatten()), pictures(1, 4), method="lrp_kohlbrenner", target=0)
