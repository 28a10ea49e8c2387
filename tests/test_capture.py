"""What layers say is copied rightly, and the model never notices."""

import copy

import pytest
import torch
from torch import nn

from vgg_viz.capture.hooks import (
    activations,
    activations_and_gradients,
    eval_mode,
    frozen,
    record_activations,
    replace_output,
)
from vgg_viz.errors import InputRefused, UnknownName
from vgg_viz.models.build import build
from vgg_viz.models.names import layers
from vgg_viz.records import Neuron


def pictures(count: int = 2, side: int = 32, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def small_vgg() -> nn.Module:
    return build("vgg11_bn", num_classes=5, width=0.1, image_side=32, seed=1)


def state_of(model: nn.Module) -> dict:
    """Everything that a visitor could have left behind."""
    return {
        "weights": {k: v.clone() for k, v in model.state_dict().items()},
        "modes": [m.training for m in model.modules()],
        "asking": [p.requires_grad for p in model.parameters()],
        "grads": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "hooks": [
            (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks), len(m._backward_pre_hooks))
            for m in model.modules()
        ],
        "dice": torch.get_rng_state(),
    }


def same(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def unusual(model: nn.Module) -> nn.Module:
    """A model in a state that a careless restore would flatten: mixed modes, mixed requires_grad, some gradients."""
    model.train()
    for i, module in enumerate(model.modules()):
        module.training = i % 3 != 0
    for i, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(i % 2 == 0)
        if i % 4 == 0:
            parameter.grad = torch.full_like(parameter, float(i))
    return model


def test_every_layer_says_what_a_walk_by_hand_says(small_vgg):
    """The oracle applies the layers one after the other and copies each answer before the next can overwrite it."""
    images, said = pictures(), {}
    x = images
    with torch.no_grad():
        for layer in layers(small_vgg):
            x = layer.module(x)
            said[layer.name] = x.clone()
    found = activations(small_vgg, images, [layer.name for layer in layers(small_vgg)])
    assert list(found.maps) == list(said)
    for name, values in said.items():
        assert torch.equal(found.maps[name], values), name
    assert torch.equal(found.logits, x)


def test_conv_stays_conv_although_the_relu_runs_in_place(small_vgg):
    model = build("vgg16", num_classes=3, width=0.1, image_side=32)
    maps = activations(model, pictures(), ["conv5_3", "relu5_3"]).maps
    assert (maps["conv5_3"] < 0).any()
    assert torch.equal(maps["conv5_3"].clamp(min=0), maps["relu5_3"])


def test_copies_carry_no_graph_and_are_not_the_weights_business(small_vgg):
    images = pictures().requires_grad_()
    with record_activations(small_vgg, "conv1_1") as maps:
        logits = small_vgg(images)
    assert not maps["conv1_1"].requires_grad
    maps["conv1_1"].zero_()
    logits.sum().backward()
    assert images.grad.abs().sum() > 0


def test_a_later_pass_replaces_an_earlier_one(small_vgg):
    with record_activations(small_vgg, "pool5") as maps, torch.no_grad():
        small_vgg(pictures(3))
        assert maps["pool5"].shape[0] == 3
        small_vgg(pictures(1))
    assert maps["pool5"].shape[0] == 1
    with torch.no_grad():
        small_vgg(pictures(2))
    assert maps["pool5"].shape[0] == 1, "the ears are off after the block"


def test_an_unknown_layer_is_refused_before_anything_is_hooked(small_vgg):
    before = state_of(small_vgg)
    with pytest.raises(UnknownName, match="did you mean 'conv4_2'"), record_activations(small_vgg, "conv1_1", "conv42"):
        pass
    assert same(before, state_of(small_vgg))


def test_default_layers_leave_out_those_that_say_nothing_of_their_own(small_vgg):
    names = activations(small_vgg, pictures()).maps.keys()
    assert {"conv1_1", "bn1_1", "relu1_1", "pool5", "fc6", "fc7"} <= names
    assert not {"normalise", "flatten", "drop6"} & names


@pytest.mark.parametrize(
    "look",
    [
        "record_activations",
        "activations_and_gradients",
        "eval_mode",
        "frozen",
        "activations",
        "replace_output",
        "neuron",
    ],
)
@pytest.mark.parametrize("how", ["well", "badly"])
def test_the_model_comes_back_bit_equal(small_vgg, look, how):
    model = unusual(small_vgg)
    before = state_of(model)
    # In eval and no_grad, so that running statistics and dice are not moved by the pass itself.
    images = pictures() if how == "well" else torch.rand(2, 7, 32, 32, generator=torch.Generator())

    def act() -> None:
        if look == "activations":
            activations(model, images)
            return
        around = {
            "record_activations": lambda m: record_activations(m, "conv1_1", "fc6"),
            "activations_and_gradients": lambda m: activations_and_gradients(
                m, ["conv1_1", "relu5_1"], lambda *_: None
            ),
            "replace_output": lambda m: replace_output(m, torch.tensor([[0, 1], [3, 2]])),
            "neuron": lambda m: replace_output(m, neuron=Neuron("conv2_1", 3)),
            "eval_mode": eval_mode,
            "frozen": frozen,
        }[look]
        with around(model):
            if look == "frozen":
                assert not any(p.requires_grad for p in model.parameters())
            if look == "eval_mode":
                assert not any(m.training for m in model.modules())
            with eval_mode(model), torch.no_grad():
                model(images)

    if how == "well":
        act()
    else:
        # What the door of pictures refuses reaches no layer; the others are told by torch.
        with pytest.raises(InputRefused if look == "activations" else RuntimeError):
            act()
    assert same(before, state_of(model))


def test_the_oracle_of_this_file_notices_each_kind_of_trace(small_vgg):
    model = unusual(small_vgg)
    before = state_of(model)
    traces = [
        lambda m: m.train(),
        lambda m: m.requires_grad_(True),
        lambda m: m.features[0].register_forward_hook(lambda *_: None),
        lambda m: m.zero_grad(),
        lambda m: m.features[0].bias.data.add_(1e-3),
        lambda m: torch.rand(1),
    ]
    for leave in traces:
        other = copy.deepcopy(model)
        with torch.random.fork_rng(devices=[]):
            leave(other)
            assert not same(before, state_of(other))


def test_channels_last_and_half_precision_are_kept():
    model = build("tiny_vgg").to(memory_format=torch.channels_last)
    images = pictures(2, 64).contiguous(memory_format=torch.channels_last)
    maps = activations(model, images, ["conv2_2"]).maps
    assert maps["conv2_2"].is_contiguous(memory_format=torch.channels_last)
    assert activations(model.to(torch.bfloat16), images.bfloat16(), ["fc3"]).maps["fc3"].dtype == torch.bfloat16
