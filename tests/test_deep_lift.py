"""DeepLift: closed forms, completeness, and the modules that it stumbles over."""

import pytest
import torch
from captum.attr import DeepLift
from loose_options import attribute
from torch import Tensor, nn

from vgg_viz.attribution.targets import Against
from vgg_viz.errors import InputRefused
from vgg_viz.models.build import build
from vgg_viz.records import Neuron


def pictures(count: int = 3, side: int = 32, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def lively(name: str = "tiny_vgg", **overrides: object) -> nn.Module:
    """A small network whose logits differ, with biases."""
    model = build(name, seed=1, image_side=32, num_classes=6, **overrides)
    with torch.no_grad():
        for n, parameter in enumerate(model.parameters()):
            dice = torch.Generator().manual_seed(n)
            parameter.mul_(1.5).add_(0.02 * torch.randn(parameter.shape, generator=dice))
    return model


@pytest.mark.parametrize("baseline", ["black", "grey", 0.25, "mean"])
def test_of_a_linear_network_it_is_weight_times_step_from_the_baseline(baseline):
    model, images = nn.Sequential(nn.Flatten(), nn.Linear(48, 4)), pictures(side=4)
    nothing = {"black": 0.0, "grey": 0.5, "mean": images.mean((2, 3), keepdim=True)}.get(baseline, baseline)
    closed = (model[1].weight[2].detach().view(3, 4, 4) * (images - nothing)).sum(1)
    found = attribute(model, images, method="deep_lift", target=2, baseline=baseline)
    assert torch.allclose(found.values, closed, atol=1e-6)
    assert found.settings == {"baseline": baseline}


def test_a_relu_counts_by_its_change_and_not_by_its_slope():
    """relu(x1 + x2 - 1) from (0, 0) to (1, .5): the output rises by .5 where the input rises by 1.5, so input counts a third."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 1), nn.ReLU(inplace=True), nn.Linear(1, 1, bias=False))
    with torch.no_grad():
        model[1].weight.fill_(1)
        model[1].bias.fill_(-1)
        model[3].weight.fill_(3)
    found = attribute(model, torch.tensor([[[[1.0, 0.5]]]]), method="deep_lift", target=0)
    assert torch.allclose(found.values, torch.tensor([[[1.0, 0.5]]]), atol=1e-6)


@pytest.mark.parametrize("name", ["tiny_vgg", "vgg11", "vgg11_bn"])
def test_the_map_adds_up_to_the_change_of_the_score_up_to_its_residual(name):
    model, images = lively(name, **({} if name == "tiny_vgg" else {"width": 0.1})), pictures()
    found = attribute(model, images, method="deep_lift", target="predicted", baseline="grey")
    with torch.no_grad():
        change = (model(images) - model(torch.full_like(images, 0.5))).gather(1, found.targets[:, None])[:, 0]
    assert (found.values.sum((1, 2)) - change - found.residual).abs().max() < 1e-4 * change.abs().max()
    assert found.residual.abs().max() < 0.05 * change.abs().max()


def test_a_picture_gets_the_same_map_alone_and_among_others():
    model, images = lively(), pictures()
    images[:, :, :10] = 0  # where nothing differs from the baseline, Captum falls back on the first picture's gradient
    together = attribute(model, images, method="deep_lift", target=3).values
    for n in range(3):
        alone = attribute(model, images[n : n + 1], method="deep_lift", target=3).values[0]
        assert (together[n] - alone).abs().max() < 1e-5 * alone.abs().max()


def test_one_class_against_another_and_single_units_can_be_asked_about():
    model, images = lively(), pictures()
    first, second, both = (attribute(model, images, method="deep_lift", target=t).values for t in (0, 2, Against(0, 2)))
    assert (both - (first - second)).abs().max() < 1e-4 * both.abs().max()
    unit = attribute(model, images, method="deep_lift", target=Neuron("conv2_2", 3, 1, 1))
    assert unit.values.abs().sum() > 0
    assert unit.values[:, 16:].abs().max() == 0, "outside its field"


class Twice(nn.Module):
    """A network that uses one ReLU twice: under two names, or by calling it again."""

    def __init__(self, *, named: bool) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4 * 16, 2)
        self.relu = nn.ReLU(inplace=True)
        self.other = self.relu if named else None

    def forward(self, images: Tensor) -> Tensor:
        other = self.other or self.relu
        return self.last(other(self.second(self.relu(self.first(images)))).flatten(1))


def test_a_module_under_two_names_is_parted_and_one_that_is_called_twice_is_refused():
    images = pictures(side=8)
    model = Twice(named=True)
    with pytest.warns(UserWarning, match="hooks"), pytest.raises(RuntimeError, match="more than once"):
        DeepLift(model).attribute(images.clone().requires_grad_(), target=0)
    model = Twice(named=True)
    found = attribute(model, images, method="deep_lift", target=0)
    assert found.residual.abs().max() < 1e-5
    with pytest.raises(InputRefused, match="several places of one pass"):
        attribute(Twice(named=False), images, method="deep_lift", target=0)


def test_no_attribute_is_left_on_a_layer_when_a_pass_fails():
    """Captum keeps the inputs and outputs of layers on them, and forgets them there when a later layer raises."""
    images = pictures(side=8)

    class FailsOnBoth(nn.Linear):
        """Says no to a batch of pictures and their baselines, which only Captum sends."""

        def forward(self, values: Tensor) -> Tensor:
            if len(values) > len(images):
                raise RuntimeError("this pass fails")
            return super().forward(values)

    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), FailsOnBoth(4 * 36, 2))
    before = {name: set(module.__dict__) for name, module in model.named_modules()}
    with pytest.raises(InputRefused, match="this pass fails"):
        attribute(model, images, method="deep_lift", target=0, labels=None)
    assert {name: set(module.__dict__) for name, module in model.named_modules()} == before
