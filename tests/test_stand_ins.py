"""Stand-ins compute what the layers do, and leave no trace; batch norm is merged without a change of the logits."""

import copy

import pytest
import torch
from test_capture import same, state_of, unusual
from torch import nn

from vgg_viz.capture.out_of_place import merged, without_inplace
from vgg_viz.errors import InputRefused
from vgg_viz.models.build import build
from vgg_viz.models.names import find


def settled(name: str = "vgg11_bn", **overrides: object) -> nn.Module:
    model = build(name, num_classes=4, width=0.1, image_side=32, seed=2, **overrides)
    dice = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(torch.randn(module.running_mean.shape, generator=dice))
            module.running_var.copy_(torch.rand(module.running_var.shape, generator=dice) + 0.2)
            module.weight.data = torch.rand(module.weight.shape, generator=dice) + 0.2
            module.bias.data = torch.randn(module.bias.shape, generator=dice)
    return model


@pytest.mark.parametrize("conv_bias", [True, False])
def test_a_network_with_merged_batch_norm_has_the_same_logits(conv_bias):
    model = settled(conv_bias=conv_bias)
    images = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        before = model(images)
        with without_inplace(model, merge=True):
            assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
            after = model(images)
        again = model(images)
    assert (before - after).abs().max() < 1e-5 * before.abs().max()
    assert torch.equal(before, again)


def test_merging_into_one_convolution_is_exact_in_float64():
    convolution, norm = nn.Conv2d(3, 4, 3).double(), nn.BatchNorm2d(4).double().eval()
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.1, 2)
    norm.weight.data.normal_()
    weight, bias = merged(convolution, norm)
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    assert torch.allclose(norm(convolution(images)), nn.functional.conv2d(images, weight, bias), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("raising", [False, True])
def test_every_layer_is_back_in_its_place_whatever_happened_to_its_stand_in(raising):
    model = unusual(settled())
    before, modules = state_of(model), list(model.modules())
    parameters = [(p, p.data_ptr(), p._version) for p in model.parameters()]
    try:
        with without_inplace(model, merge=True):
            for module in list(model.modules()):
                module.note = "left behind"
                for parameter in module._parameters.values():
                    if parameter is not None and not any(parameter is own for own, _, _ in parameters):
                        parameter.data.zero_()
            if raising:
                raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert same(before, state_of(model))
    assert all(a is b for a, b in zip(modules, model.modules(), strict=True))
    assert [(p, p.data_ptr(), p._version) for p in model.parameters()] == parameters
    assert not any(hasattr(module, "note") for module in model.modules() if not any(module.children()))


def test_relus_do_not_work_in_place_and_shared_ones_are_parted():
    shared = nn.ReLU(inplace=True)
    model = nn.Sequential(nn.Conv2d(3, 2, 3), shared, nn.Conv2d(2, 2, 3), shared)
    with without_inplace(model):
        assert model[1] is not model[3]
        assert not model[1].inplace
    assert model[1] is model[3] is shared
    assert shared.inplace


def test_hooks_that_were_there_are_still_heard_and_new_ones_are_gone_afterwards():
    model, heard = settled(), []
    find(model, "relu1_1").module.register_forward_hook(lambda *_: heard.append("old"))
    with without_inplace(model), torch.no_grad():
        find(model, "relu1_1").module.register_forward_hook(lambda *_: heard.append("new"))
        model(torch.rand(1, 3, 32, 32))
    with torch.no_grad():
        model(torch.rand(1, 3, 32, 32))
    assert heard == ["old", "new", "old"]


@pytest.mark.parametrize(
    ("layers", "sentence"),
    [
        ([nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)], "does not follow a convolution"),
        ([nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)], "depends on the batch"),
    ],
)
def test_a_batch_norm_that_cannot_be_merged_is_refused_and_nothing_changed(layers, sentence):
    model = nn.Sequential(*layers)
    kept = copy.copy(list(model))
    with pytest.raises(InputRefused, match=sentence), without_inplace(model, merge=True):
        pass
    assert list(model) == kept
