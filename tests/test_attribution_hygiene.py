"""Every registered method leaves the model as it found it: whatever happens, and however unusual it was."""

import pytest
import torch
from loose_options import attribute
from test_capture import same, state_of, unusual

from vgg_viz.attribution import MethodOptions, grad_cam_all_layers, gradient_bundle, methods
from vgg_viz.errors import InputRefused
from vgg_viz.models.build import build

QUICK = {"steps": 2, "samples": 2, "window": 16, "masks": 4}


class Boom(Exception):
    pass


def act(name, model, images, target, when_fails=None):
    """Run a method; if asked, the network's last layer raises at its `when_fails`-th call."""
    calls = 0
    last = model.classifier[-1]
    true_forward = last.forward

    def forward(values):
        nonlocal calls
        calls += 1
        if calls == when_fails:
            raise Boom
        return true_forward(values)

    last.forward = forward
    try:
        if name == "shared pass":
            return gradient_bundle(model, images, target, keep=["relu1_1"])
        if name == "all layers":
            return grad_cam_all_layers(model, images, target)
        return attribute(model, images, method=name, target=target, **QUICK)
    finally:
        del last.forward


@pytest.mark.parametrize("how", ["normal", "wrong target", "raises at once", "raises later"])
@pytest.mark.parametrize("name", [*methods(), "shared pass", "all layers"])
def test_no_trace_is_left(name, how):
    model = unusual(build("vgg11_bn", num_classes=4, width=0.05, image_side=32, seed=2))
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    images.grad = None
    before, picture = state_of(model), images.clone()
    if how == "normal":
        act(name, model, images, "predicted")
    elif how == "wrong target":
        with pytest.raises(InputRefused, match="class 4"):
            act(name, model, images, 4)
    else:
        later = 1 if name in ("shared pass", "all layers") else 2
        with pytest.raises(Boom):
            act(name, model, images, "predicted", 1 if how == "raises at once" else later)
    assert same(before, state_of(model))
    assert torch.equal(images, picture)
    assert not images.requires_grad
    assert images.grad is None


@pytest.mark.parametrize("name", methods())
def test_frozen_weights_and_pictures_that_ask_for_gradients_are_no_obstacle(name):
    model = build("tiny_vgg", image_side=32).requires_grad_(False)
    images = torch.rand(1, 3, 32, 32).requires_grad_()
    found = attribute(model, images, method=name, **QUICK)
    assert not found.values.requires_grad
    assert images.grad is None
    assert images.requires_grad


@pytest.mark.parametrize("name", methods())
def test_what_a_method_costs_is_known_before_it_runs(name):
    about = methods()[name]
    assert about.passes is not None, f"{name} does not say what it costs"
    model = build("tiny_vgg", image_side=32)
    found = attribute(model, torch.rand(2, 3, 32, 32), method=name, target=1, **QUICK)
    assert about.cost(model, MethodOptions(**QUICK), 32) == found.passes
    assert about.passes(MethodOptions(**QUICK), 32) >= found.passes, "no network costs more"
    assert set(found.settings) == set(about.reads)
    assert found.seconds > 0
