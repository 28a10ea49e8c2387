"""Methods over random draws, against closed forms, Captum itself, and evidence that was planted."""

import math

import numpy as np
import pytest
import torch
from captum.attr import GradientShap, IntegratedGradients, NoiseTunnel, Saliency
from loose_options import attribute
from torch import nn

from vgg_viz.attribution.methods.rise import CELLS, _masks
from vgg_viz.attribution.options import blurred
from vgg_viz.capture.hooks import eval_mode, frozen
from vgg_viz.models.build import build

SIDE = 28


class Linear(nn.Module):
    """w x + c of three classes: what every method must say about it can be written down."""

    def __init__(self, side: int = SIDE) -> None:
        super().__init__()
        dice = torch.Generator().manual_seed(3)
        self.weight = nn.Parameter(torch.randn(3, 3, side, side, generator=dice))
        self.bias = nn.Parameter(torch.tensor([5.0, -2.0, 40.0]))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.einsum("bchw,kchw->bk", images, self.weight.to(images.dtype)) + self.bias


def pictures(count: int = 2, side: int = SIDE) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def tiny():
    return build("tiny_vgg", num_classes=4, image_side=32, seed=4)


# ---------------------------------------------------------------- gradients over draws


def test_a_linear_network_has_its_weight_for_a_mean_gradient_and_no_variance():
    model = Linear()
    smooth = attribute(model, pictures(), method="smoothgrad", target=1, samples=4)
    spread = attribute(model, pictures(), method="vargrad", target=1, samples=4)
    assert torch.allclose(smooth.values, model.weight[1].abs().amax(0).expand(2, -1, -1), rtol=1e-5)
    assert float(spread.values.detach().abs().max()) < 1e-9


def test_vargrad_is_captums_variance_of_the_gradient(tiny):
    images = pictures(1, 32)
    found = attribute(tiny, images, method="vargrad", target=2, samples=6, noise=0.2, seed=9)
    torch.manual_seed(9)
    with eval_mode(tiny), frozen(tiny):
        tunnel = NoiseTunnel(Saliency(tiny))
        spread = tunnel.attribute(
            images.clone(),
            nt_type="vargrad",
            nt_samples=6,
            nt_samples_batch_size=6,
            target=2,
            abs=False,
            stdevs=0.2 * float(images.max() - images.min()),
        )
    expected = spread.amax(1)
    assert expected.max() > 0
    assert float((found.values - expected).abs().max() / expected.max()) < 1e-4


def test_integrated_gradients_of_several_pictures_are_captums_one_by_one(tiny):
    images = pictures(3, 32)
    found = attribute(tiny, images, method="integrated_gradients", target=[0, 3, 1], steps=12, batch=4)
    with eval_mode(tiny), frozen(tiny):
        values, delta = IntegratedGradients(tiny).attribute(
            images.clone(),
            baselines=0.0,
            target=torch.tensor([0, 3, 1]),
            n_steps=12,
            method="gausslegendre",
            return_convergence_delta=True,
        )
    expected = values.sum(1)
    assert float((found.values - expected).abs().max() / expected.abs().max()) < 1e-5
    assert torch.allclose(found.residual, delta.float(), atol=1e-5)


@pytest.mark.parametrize("baseline", ["black", "mean", 0.3])
def test_gradient_shap_of_a_linear_network_is_weight_times_the_way_from_the_baseline(baseline):
    model, images = Linear(), pictures()
    found = attribute(model, images, method="gradient_shap", target=0, samples=3, baseline=baseline)
    blank = images.mean((2, 3), keepdim=True) if baseline == "mean" else 0.0 if baseline == "black" else baseline
    expected = (model.weight[0] * (images - blank)).sum(1)
    assert torch.allclose(found.values, expected, atol=1e-4)
    assert float(found.residual.abs().max()) < 1e-2, "a linear way has no error, whatever the points on it"


def test_gradient_shap_over_many_draws_meets_the_mean_over_its_baselines():
    model, images = Linear(), pictures(1)
    found = attribute(model, images, method="gradient_shap", target=2, samples=400)
    weight = model.weight[2].detach()
    blanks = torch.cat([torch.zeros_like(images), images * 0 + 0.5, images * 0 + 1, blurred(images, SIDE / 16)])
    expected = (weight * (images - blanks.mean(0, keepdim=True))).sum(1)
    # Each of 400 draws is off by at most the spread of w (x - b); of 784 pixels a mean off by more than 6 standard errors is an error.
    error = (weight * (images - blanks)).sum(1).std(0) / math.sqrt(400)
    assert float(((found.values[0] - expected[0]).abs() / error.clamp(min=1e-3)).max()) < 6


def test_gradient_shap_is_captums_with_the_same_dice(tiny):
    images = pictures(1, 32)
    found = attribute(tiny, images, method="gradient_shap", target=1, samples=4, baseline="grey", seed=5)
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002  # the dice that Captum throws
    with eval_mode(tiny), frozen(tiny):
        values = GradientShap(tiny).attribute(
            images.clone(), baselines=torch.full_like(images, 0.5), n_samples=4, stdevs=0.0, target=1
        )
    expected = values.sum(1).detach().float()
    assert float((found.values - expected).abs().max() / expected.abs().max()) < 1e-4


def test_the_residual_of_gradient_shap_is_what_the_map_misses(tiny):
    images = pictures(2, 32)
    found = attribute(tiny, images, method="gradient_shap", target=3, samples=5, baseline="white")
    with torch.no_grad(), eval_mode(tiny):
        change = tiny(images)[:, 3] - tiny(torch.ones_like(images))[:, 3]
    assert torch.allclose(found.residual, found.values.sum((1, 2)) - change, atol=1e-5)


@pytest.mark.parametrize("name", ["gradient_shap", "vargrad", "smoothgrad", "rise"])
def test_the_seed_decides_and_everybodys_dice_lie_as_before(tiny, name):
    images = pictures(2, 32)
    torch.manual_seed(77)
    np.random.seed(77)  # noqa: NPY002
    torchs, numpys = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002

    def found(seed: int) -> torch.Tensor:
        return attribute(tiny, images, method=name, target=1, samples=3, masks=12, seed=seed).values

    first = found(1)
    assert torch.equal(first, found(1))
    assert not torch.equal(first, found(2))
    assert torch.equal(torchs, torch.get_rng_state())
    assert all(np.array_equal(a, b) for a, b in zip(numpys, np.random.get_state(), strict=True))  # noqa: NPY002


# ---------------------------------------------------------------- RISE


def smoothed(values: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """What RISE must find for a linear network: w x through the masks' own covariance, computed with every pair of pixels."""
    flat = masks.flatten(1) - masks.flatten(1).mean(0)
    covariance = flat.T @ flat
    return (covariance @ values.flatten().double() / covariance.diagonal()).view(values.shape)


def test_rise_gives_a_linear_network_its_own_weights_through_the_masks():
    model, images = Linear(), pictures(2)
    found = attribute(model, images, method="rise", target=2, masks=200, seed=4)
    masks = torch.cat(list(_masks(200, 7, SIDE, SIDE, 4)))
    for at in range(2):
        expected = smoothed((model.weight[2].detach() * images[at]).sum(0), masks)
        assert float((found.values[at] - expected).abs().max() / expected.abs().max()) < 1e-4


def test_rise_does_not_feel_a_constant_that_is_added_to_the_score():
    model, images = Linear(), pictures(1)
    before = attribute(model, images, method="rise", target=0, masks=50).values
    with torch.no_grad():
        model.bias += 300
    after = attribute(model, images, method="rise", target=0, masks=50).values
    assert float((before - after).abs().max() / before.abs().max()) < 1e-3


def test_rise_finds_the_only_patch_that_a_network_reads():
    class Corner(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            here = images[:, :, 18:26, 2:10].mean((1, 2, 3)) ** 2
            return torch.stack([here, 1 - here], dim=1) * 10

    found = attribute(Corner(), pictures(1) * 0.2 + 0.6, method="rise", target=0, masks=600)
    row, column = divmod(int(found.values[0].argmax()), SIDE)
    assert 18 <= row < 26
    assert 2 <= column < 10
    other = attribute(Corner(), pictures(1) * 0.2 + 0.6, method="rise", target=1, masks=600)
    assert torch.allclose(found.values, -other.values, atol=1e-4)


def test_masks_of_rise_are_soft_half_visible_and_shifted_each_on_its_own():
    masks = torch.cat(list(_masks(800, 64, 30, 44, 0)))
    assert masks.shape == (800, 30, 44)
    assert 0 <= float(masks.min()) <= float(masks.max()) <= 1 + 1e-12
    assert float((masks.mean(0) - 0.5).abs().max()) < 6 * 0.5 / math.sqrt(800)
    assert torch.equal(masks, torch.cat(list(_masks(800, 3, 30, 44, 0)))), "how many go at once changes nothing"
    # A border of cells that always lay in the same place would make the spread dip there.
    spread = masks.var(0).mean(0)
    assert float(spread.min() / spread.max()) > 0.75
    assert len(torch.unique(masks[0])) > CELLS**2


def test_one_mask_says_nothing(tiny):
    assert float(attribute(tiny, pictures(1, 32), method="rise", target=0, masks=1).values.abs().max()) == 0
