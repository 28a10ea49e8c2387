"""Live networks: whatever a module is written like, it is read as the chain that it is, or refused by the name of its layer."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from networks import EVERY_TORCHVISION, of_torchvision, settled
from torch import Tensor, nn
from torch.nn import functional

import vgg_viz
from vgg_viz.errors import CheckpointRefused, InputRefused
from vgg_viz.models.plan import parse_plan
from vgg_viz.records import Checkpoint

SIDE = 16


def lively(network: nn.Module) -> nn.Module:
    """Seeded weights; also of batch norms on single values."""
    settled(network)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            dice = torch.Generator().manual_seed(7)
            module.running_mean.copy_(torch.randn(module.running_mean.shape, generator=dice) * 0.2)
            module.running_var.copy_(torch.rand(module.running_var.shape, generator=dice) + 0.5)
    return network


class Net(nn.Module):
    """Layers, and a forward pass that each test writes itself."""

    def __init__(self, forward: Callable[[Any, Tensor], Any], **more: nn.Module) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.wide, self.last, self.few = nn.Linear(6 * 4 * 4, 12), nn.Linear(12, 5), nn.Linear(6, 5)
        for name, module in more.items():
            self.add_module(name, module)
        self._forward = forward

    def forward(self, images: Tensor) -> Any:
        return self._forward(self, images)


def features(net: Any, images: Tensor) -> Tensor:
    """(B, 6, 4, 4), by functions alone."""
    maps = functional.max_pool2d(functional.relu(net.first(images)), 2)
    return functional.max_pool2d(torch.relu(net.second(maps)), 2)


def uniform(count: int = 3, channels: int = 3, side: int = SIDE, seed: int = 5) -> Tensor:
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(seed))


def opened(network: nn.Module, **options: Any) -> Checkpoint:
    """Opened for pictures as the network takes them."""
    channels = next(module.in_channels for module in network.modules() if isinstance(module, nn.Conv2d))
    return vgg_viz.open(network, image_size=SIDE, mean=(0.0,) * channels, std=(1.0,) * channels, **options)


def same(
    checkpoint: Checkpoint, network: nn.Module, images: Tensor, then: Callable[[Tensor], Tensor] = lambda z: z
) -> bool:
    """Whether what was built of a checkpoint says what the network says, before its ending."""
    with torch.no_grad():
        theirs = network(images)
        theirs = theirs["logits"] if isinstance(theirs, dict) else theirs[0] if isinstance(theirs, tuple) else theirs
    ours = vgg_viz.activations(vgg_viz.build(checkpoint), images).logits
    return torch.allclose(then(ours).reshape(theirs.shape), theirs, atol=1e-5 * float(theirs.abs().max()))


# ---------------------------------------------------------------- ways of writing a chain

FORWARDS: dict[str, tuple[Callable[[Any, Tensor], Any], str]] = {
    "functions": (lambda s, x: s.last(functional.relu(s.wide(torch.flatten(features(s, x), 1)))), "6 M 6 M | 12 K"),
    "view, relu_": (lambda s, x: s.last(s.wide(features(s, x).view(x.size(0), -1)).relu_()), "6 M 6 M | 12 K"),
    "clamp": (lambda s, x: s.last(s.wide(features(s, x).reshape(len(x), -1)).clamp(min=0)), "6 M 6 M | 12 K"),
    "leaky": (
        lambda s, x: s.last(functional.leaky_relu(s.wide(features(s, x).flatten(1)), 0.2)),
        "6 M 6 M | 12+leaky0.2 K",
    ),
    "dropout": (
        lambda s, x: s.last(functional.dropout(s.wide(features(s, x).flatten(1)).relu(), 0.3, s.training)),
        "6 M 6 M | 12 drop0.3 K",
    ),
    "mean": (lambda s, x: s.few(features(s, x).mean([2, 3])), "6 M 6 M G | K"),
    "mean of means": (lambda s, x: s.few(features(s, x).mean(3).mean(2)), "6 M 6 M G | K"),
    "mean of means, the other way": (lambda s, x: s.few(features(s, x).mean(2).mean(-1)), "6 M 6 M G | K"),
    "adaptive, squeezed": (
        lambda s, x: s.few(functional.adaptive_avg_pool2d(features(s, x), 1).squeeze()),
        "6 M 6 M G | K",
    ),
    "average pool, viewed": (
        lambda s, x: s.few(functional.avg_pool2d(features(s, x), 4).view(-1, 6)),
        "6 M 6 M A4 | K",
    ),
    "largest": (lambda s, x: s.few(features(s, x).amax((2, 3))), "6 M 6 M GM | K"),
    "channels last, as Keras flattens": (
        lambda s, x: s.last(functional.relu(s.wide(features(s, x).permute(0, 2, 3, 1).flatten(1)))),
        "6 M 6 M | 12 K",
    ),
    "strides": (
        lambda s, x: s.few(functional.relu(functional.conv2d(x, s.first.weight, None, 2, 1)).mean((2, 3))),
        "6s2b0 G | K",
    ),
    "dilation, gelu": (
        lambda s, x: s.few(functional.gelu(functional.conv2d(x, s.first.weight, s.first.bias, 1, 2, 2)).mean((2, 3))),
        "6d2+gelu G | K",
    ),
    "zeros around": (
        lambda s, x: s.few(
            functional.conv2d(functional.pad(x, (1, 1, 1, 1)), s.first.weight, s.first.bias).relu().mean((2, 3))
        ),
        "6 G | K",
    ),
    "normalised by response": (
        lambda s, x: s.few(functional.local_response_norm(s.first(x).relu(), 5, 1e-3, 0.7, 2.0).mean((2, 3))),
        "6 lrn5/0.001/0.7/2 G | K",
    ),
    "overlapping pools that round up": (
        lambda s, x: s.few(functional.max_pool2d(s.first(x).relu(), 3, 2, ceil_mode=True).mean((2, 3))),
        "6 M3s2c G | K",
    ),
    "blue first": (lambda s, x: s.few(features(s, x[:, [2, 1, 0]]).mean((2, 3))), "6 M 6 M G | K"),
    "turned round": (lambda s, x: s.few(features(s, x.flip(1)).mean((2, 3))), "6 M 6 M G | K"),
    "a temperature": (lambda s, x: s.few(features(s, x).mean((2, 3))) / 2.5 + 1, "6 M 6 M G | K"),
    "numbers between layers": (lambda s, x: s.few((features(s, x) * 0.5 + 1).mean((2, 3))), "6 M 6 M bn G | K"),
    "some outputs": (lambda s, x: s.few(features(s, x).mean((2, 3)))[:, 1:4], "6 M 6 M G | K"),
    "a mapping": (lambda s, x: {"features": x * 2, "logits": s.few(features(s, x).mean((2, 3)))}, "6 M 6 M G | K"),
    "a tuple": (lambda s, x: (s.few(features(s, x).mean((2, 3))), features(s, x)), "6 M 6 M G | K"),
    "a look at values": (
        lambda s, x: s.few(features(s, x).mean((2, 3))) if torch.isfinite(x).all() else x,
        "6 M 6 M G | K",
    ),
    "a layer beside that nobody reads": (
        lambda s, x: (s.second(s.first(x)), s.few(features(s, x).mean((2, 3))))[1],
        "6 M 6 M G | K",
    ),
}


@pytest.mark.parametrize("way", FORWARDS)
def test_a_chain_is_read_however_it_is_written(way):
    forward, plan = FORWARDS[way]
    network = lively(Net(forward))
    checkpoint = opened(network)
    assert parse_plan(checkpoint.architecture.plan) == parse_plan(plan)
    assert same(checkpoint, network, uniform())
    assert "by running it once" in checkpoint.provenance.evidence[0].text


def sequential(*layers: nn.Module) -> nn.Module:
    return lively(nn.Sequential(*layers))


MODULES: dict[str, Callable[[], nn.Module]] = {
    "average pools, LeakyReLU": lambda: sequential(
        nn.Conv2d(3, 4, 3),
        nn.LeakyReLU(0.1, inplace=True),
        nn.AvgPool2d(2),
        nn.Conv2d(4, 8, 5),
        nn.ELU(),
        nn.Flatten(),
        nn.Linear(72, 3),
    ),
    "another epsilon": lambda: sequential(
        nn.Conv2d(3, 4, 3, bias=False),
        nn.BatchNorm2d(4, eps=1e-3),
        nn.ReLU(True),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(196, 3),
    ),
    "batch norm without a scale, in the head, PReLU": lambda: sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4, affine=False),
        nn.PReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.BatchNorm1d(196),
        nn.Linear(196, 3),
    ),
    "a head of convolutions": lambda: sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 8, 8),
        nn.ReLU(),
        nn.Dropout2d(),
        nn.Conv2d(8, 5, 1),
        nn.Flatten(),
    ),
    "no linear layer": lambda: sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ),
    "an adapter of one channel": lambda: sequential(
        nn.Conv2d(1, 3, 1),
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(True)),
        nn.AdaptiveMaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 3),
    ),
    "one layer twice": lambda: (
        lambda layer: sequential(
            nn.Conv2d(3, 4, 3, padding=1), layer, nn.ReLU(), layer, nn.Flatten(), nn.Linear(1024, 3)
        )
    )(nn.Conv2d(4, 4, 3, padding=1)),
    "weight norm": lambda: sequential(
        nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)), nn.ReLU(), nn.Flatten(), nn.Linear(784, 3)
    ),
    "zero padding as a layer": lambda: sequential(
        nn.ZeroPad2d(1),
        nn.Conv2d(3, 4, 3),
        nn.ReLU(),
        nn.ZeroPad2d(1),
        nn.MaxPool2d(3, 2),
        nn.Flatten(),
        nn.Linear(256, 3),
    ),
}


@pytest.mark.parametrize("name", MODULES)
def test_layers_as_modules_are_read_as_what_they_are(name):
    network = MODULES[name]().eval()
    channels = next(module.in_channels for module in network.modules() if isinstance(module, nn.Conv2d))
    assert same(opened(network), network, uniform(channels=channels))


@pytest.mark.parametrize("name", EVERY_TORCHVISION)
def test_torchvision_s_networks_say_what_they_said(name):
    with torch.device("cpu"):
        meta = of_torchvision(name, narrow=16, classes=7)
    network = settled(meta.to_empty(device="cpu")).train()
    checkpoint = vgg_viz.open(network, image_size=64)
    assert network.training
    network.eval()
    pictures = uniform(2, side=64)
    mean, std = (
        torch.tensor(values).view(3, 1, 1) for values in (checkpoint.architecture.mean, checkpoint.architecture.std)
    )
    with torch.no_grad():
        theirs = network((pictures - mean) / std)
    assert torch.allclose(
        vgg_viz.activations(vgg_viz.build(checkpoint), pictures).logits, theirs, atol=1e-5 * float(theirs.abs().max())
    )
    assert any(fact.settled_by == ("--mean", "--std") for fact in checkpoint.provenance.evidence)


@given(st.data())
def test_any_chain_of_layers_is_equal_or_refused(data):
    """Random depth, widths, kernels, strides, pools, activations and heads."""
    layers: list[nn.Module] = []
    channels, side = 3, SIDE
    for _ in range(data.draw(st.integers(1, 4))):
        kernel, stride = data.draw(st.sampled_from([1, 2, 3, 5])), data.draw(st.sampled_from([1, 1, 2]))
        padding, wide = data.draw(st.integers(0, 2)), data.draw(st.integers(1, 6))
        if side + 2 * padding < kernel + stride:
            break
        layers.append(nn.Conv2d(channels, wide, kernel, stride, padding, bias=data.draw(st.booleans())))
        side, channels = (side + 2 * padding - kernel) // stride + 1, wide
        layers += (
            [nn.BatchNorm2d(wide, eps=data.draw(st.sampled_from([1e-5, 1e-3])))] if data.draw(st.booleans()) else []
        )
        kinds = [
            nn.ReLU(True),
            nn.LeakyReLU(0.3),
            nn.ELU(0.5),
            nn.Tanh(),
            nn.SiLU(),
            nn.GELU(),
            nn.Identity(),
            nn.Hardswish(),
        ]
        layers.append(data.draw(st.sampled_from(kinds)))
        if side >= 4 and data.draw(st.booleans()):
            kernel = data.draw(st.sampled_from([2, 3]))
            layers.append(
                data.draw(
                    st.sampled_from(
                        [nn.MaxPool2d(kernel, 2), nn.AvgPool2d(kernel, 2), nn.MaxPool2d(kernel, 2, ceil_mode=True)]
                    )
                )
            )
            side = layers[-1](torch.zeros(1, 1, side, side)).shape[-1]
    pooled = data.draw(st.sampled_from([None, 1, 2]))
    layers += [nn.AdaptiveAvgPool2d(pooled)] if pooled else []
    wide = channels * (pooled or side) ** 2
    layers.append(nn.Flatten())
    for hidden in data.draw(st.lists(st.integers(1, 9), max_size=2)):
        layers += [
            nn.Linear(wide, hidden),
            *([nn.BatchNorm1d(hidden)] if data.draw(st.booleans()) else []),
            nn.Sigmoid(),
            nn.Dropout(0.2),
        ]
        wide = hidden
    layers.append(nn.Linear(wide, data.draw(st.integers(1, 4))))
    network = sequential(*layers).eval()
    assert same(opened(network), network, uniform())


# ---------------------------------------------------------------- what is no chain

BRANCHES: dict[str, tuple[Callable[[Any, Tensor], Any], str]] = {
    "a residual": (
        lambda s, x: s.few(functional.relu(s.first(x) + s.second(s.first(x))).mean((2, 3))),
        "joins 2 values \\(add\\)",
    ),
    "attention": (
        lambda s, x: s.few((features(s, x) * features(s, x).mean((2, 3), keepdim=True).sigmoid()).mean((2, 3))),
        "joins 2 values",
    ),
    "joined": (
        lambda s, x: s.last(torch.cat([features(s, x).mean((2, 3)), features(s, x).amax((2, 3))], 1)),
        "joins 2 values \\(cat\\)",
    ),
    "depthwise": (
        lambda s, x: s.few(functional.conv2d(s.first(x), s.second.weight[:, :1], groups=6).mean((2, 3))),
        "depthwise convolution",
    ),
    "reflected": (
        lambda s, x: s.few(s.first(functional.pad(x, (1, 1, 1, 1), "reflect")).mean((2, 3))),
        "reflection_pad2d",
    ),
    "dropped in eval mode": (
        lambda s, x: s.few(functional.dropout(features(s, x)).mean((2, 3))),
        "in eval mode as well",
    ),
    "layer norm": (lambda s, x: s.few(functional.layer_norm(features(s, x), (4, 4)).mean((2, 3))), "native_layer_norm"),
    "resized": (lambda s, x: s.few(features(s, functional.interpolate(x, size=24)).mean((2, 3))), "upsample_nearest2d"),
    "another way for bright pictures": (
        lambda s, x: s.few(features(s, x).mean((2, 3))) * (-1 if x.max() > 3 else 1),
        "goes another way",
    ),
    "cut at its borders": (
        lambda s, x: s.few(features(s, x[:, :, 1:-1, 1:-1]).mean((2, 3))),
        "first \\(Conv2d\\) computes convolution on a map",
    ),
    "its own mean": (lambda s, x: s.few(features(s, x - x.mean()).mean((2, 3))), "joins 2 values"),
    "squared": (lambda s, x: s.few((features(s, x) ** 2).mean((2, 3))), "computes pow"),
    "two answers": (
        lambda s, x: (s.few(features(s, x).mean((2, 3))), s.few(features(s, x).amax((2, 3)))),
        "returns 2 tensors",
    ),
    "no picture": (lambda s, x: torch.ones(len(x), 5), "depend"),
}


@pytest.mark.parametrize("name", BRANCHES)
def test_what_is_no_chain_is_refused_by_what_it_does_and_where(name):
    forward, says = BRANCHES[name]
    with pytest.raises(CheckpointRefused, match=says) as refusal:
        opened(lively(Net(forward)))
    assert "\n" not in str(refusal.value)


class Block(nn.Module):
    """A residual block."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        return functional.relu(maps + self.convolution(maps))


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "a block": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(Block()), nn.Flatten(), nn.Linear(784, 3)),
        "1.0 \\(Block\\)",
    ),
    "a group": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, groups=2), nn.Flatten(), nn.Linear(576, 3)),
        "1 \\(Conv2d\\) is a grouped",
    ),
    "reflection": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), nn.Flatten(), nn.Linear(1024, 3)),
        "0 \\(Conv2d\\)",
    ),
    "a kernel of 1 x 3": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, (1, 3)), nn.Flatten(), nn.Linear(896, 3)),
        "not square",
    ),
    "group norm": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(784, 3)),
        "1 \\(GroupNorm\\)",
    ),
    "instance norm": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4), nn.Flatten(), nn.Linear(784, 3)),
        "1 \\(InstanceNorm2d\\)",
    ),
    "batch norm without statistics": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.Flatten(), nn.Linear(784, 3)
        ),
        "without running statistics",
    ),
    "lazy": (lambda: nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(3)), "lazy layers"),
    "no values": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3, device="meta"), nn.Flatten()), "meta device"),
    "no weights": (lambda: nn.Sequential(nn.Flatten()), "no weights"),
    "no forward pass": (lambda: nn.ModuleDict({"layer": nn.Conv2d(3, 4, 3)}), "no forward pass of its own"),
    "another size": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(99, 3)),
        "runs on no pictures of 16 px",
    ),
    "NaN": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), _spoilt(nn.Linear(784, 3))), "NaN"),
}


def _spoilt(layer: nn.Linear) -> nn.Linear:
    layer.weight.data[0, 0] = float("nan")
    return layer


@pytest.mark.parametrize("name", REFUSED)
def test_a_layer_that_this_package_does_not_have_is_refused_by_its_name(name):
    make, says = REFUSED[name]
    with pytest.raises(CheckpointRefused, match=says):
        vgg_viz.open(make(), image_size=SIDE)


# ---------------------------------------------------------------- pictures in, answers out


@pytest.mark.parametrize(
    ("own", "mean", "std"),
    [
        (lambda x: (x - torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1)) / 0.2, (0.4, 0.5, 0.6), (0.2, 0.2, 0.2)),
        (lambda x: 2 * x - 1, (0.5,) * 3, (0.5,) * 3),
        (lambda x: 1 - x, (1.0,) * 3, (1.0,) * 3),
        (lambda x: x.flip(1) * torch.tensor([1.0, 2.0, 4.0]).view(1, 3, 1, 1), (0.0,) * 3, (0.25, 0.5, 1.0)),
    ],
)
def test_what_a_network_does_to_its_pictures_first_is_its_mean_and_std(own, mean, std):
    network = lively(Net(lambda s, x: s.few(features(s, own(x)).mean((2, 3)))))
    checkpoint = vgg_viz.open(network, image_size=SIDE)
    assert checkpoint.architecture.mean == pytest.approx(mean, abs=1e-6)
    assert checkpoint.architecture.std == pytest.approx(std, rel=1e-6)
    assert same(checkpoint, network, uniform())
    assert not any("--mean" in fact.settled_by for fact in checkpoint.provenance.evidence)


def test_its_own_normalisation_and_that_of_its_pictures_are_joined():
    network = lively(Net(lambda s, x: s.few(features(s, (x - 0.5) / 0.25).mean((2, 3)))))
    checkpoint = vgg_viz.open(network, image_size=SIDE, mean=(0.1, 0.2, 0.3), std=(2.0, 2.0, 4.0))
    pictures = uniform()
    seen = (pictures - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)) / torch.tensor([2.0, 2.0, 4.0]).view(3, 1, 1)
    with torch.no_grad():
        assert torch.allclose(vgg_viz.activations(vgg_viz.build(checkpoint), pictures).logits, network(seen), atol=1e-4)


def test_a_network_that_divides_by_255_reads_0_to_255_and_that_is_called_assumed():
    network = lively(Net(lambda s, x: s.few(features(s, x / 255).mean((2, 3)))))
    checkpoint = vgg_viz.open(network, image_size=SIDE)
    pictures = uniform()
    with torch.no_grad():
        theirs = network(pictures * 255)
    assert torch.allclose(vgg_viz.activations(vgg_viz.build(checkpoint), pictures).logits, theirs, atol=1e-5)
    assert any("0 to 255" in fact.text and fact.assumed for fact in checkpoint.provenance.evidence)


@pytest.mark.parametrize(
    ("ending", "outputs"),
    [
        (lambda z: z.softmax(1), "softmax"),
        (lambda z: functional.log_softmax(z, -1), "softmax"),
        (torch.sigmoid, "sigmoid"),
    ],
)
def test_what_stands_at_the_end_says_what_the_outputs_mean(ending, outputs):
    network = lively(Net(lambda s, x: ending(s.few(features(s, x).mean((2, 3))))))
    checkpoint = opened(network)
    assert checkpoint.architecture.outputs == outputs
    assert same(checkpoint, network, uniform(), ending)
    assert any("taken off" in fact.text for fact in checkpoint.provenance.evidence)


def test_one_output_decides_between_two_classes():
    network = lively(Net(lambda s, x: s.few(features(s, x).mean((2, 3)))[:, 0]))
    checkpoint = opened(network, classes=("cat", "dog"))
    assert checkpoint.architecture.outputs == "sigmoid"
    assert checkpoint.classes == ("cat", "dog")


def test_a_network_without_a_classifier_is_opened_for_its_features():
    network = lively(Net(features))
    checkpoint = opened(network)
    assert checkpoint.architecture.num_classes == 0
    said = vgg_viz.activations(vgg_viz.build(checkpoint), uniform(), "pool2").maps["pool2"]
    with torch.no_grad():
        assert torch.allclose(said, network(uniform()), atol=1e-5)


def test_the_side_that_only_fits_is_found_and_one_among_many_is_called_assumed():
    fits = lively(Net(lambda s, x: s.last(s.wide(features(s, x).flatten(1)).relu()), wide=nn.Linear(6 * 49, 12)))
    assert vgg_viz.open(fits).architecture.image_side == 28
    anything = lively(Net(lambda s, x: s.few(features(s, x).mean((2, 3)))))
    checkpoint = vgg_viz.open(anything)
    assert checkpoint.architecture.image_side == 224
    assert any("--image-size" in fact.settled_by for fact in checkpoint.provenance.evidence)


# ---------------------------------------------------------------- left as it was


def state_of(network: nn.Module) -> list[object]:
    """All that looking could leave behind."""
    return [
        [
            (name, module.training, type(module), dict(module._forward_hooks))
            for name, module in network.named_modules()
        ],
        [
            (name, value.clone(), value.requires_grad, value.dtype, id(value))
            for name, value in network.named_parameters()
        ],
        [(name, value.clone(), id(value)) for name, value in network.named_buffers()],
        [parameter.grad for parameter in network.parameters()],
        torch.get_rng_state().tolist(),
        random.getstate(),
        np.random.get_state()[1].tolist(),  # noqa: NPY002 - the global one
    ]


@pytest.mark.parametrize("kind", ["training", "half", "DataParallel", "partly frozen", "refused"])
def test_a_network_is_left_as_it_was_found(kind):
    network = settled(of_torchvision("vgg11_bn", narrow=32, classes=3).to_empty(device="cpu")).train()
    network.features[1].eval()
    given: nn.Module = network
    if kind == "half":
        network.half()
    elif kind == "DataParallel":
        given = nn.DataParallel(network)
    elif kind == "partly frozen":
        network.features.requires_grad_(False)
        network.classifier[0].weight.grad = torch.ones_like(network.classifier[0].weight)
    elif kind == "refused":
        network.classifier[3] = nn.LayerNorm(128)
    network.features[0].register_forward_hook(lambda *_: None)
    before = state_of(network)
    if kind == "refused":
        with pytest.raises(CheckpointRefused, match=r"classifier.3 \(LayerNorm\)"):
            vgg_viz.open(given, image_size=64)
    else:
        checkpoint = vgg_viz.open(given, image_size=64)
        assert all(value.dtype in (torch.float32, torch.int64) for value in checkpoint.weights.values())
    after = state_of(network)
    assert str(before) == str(after)


def test_a_checkpoint_keeps_the_weights_that_the_network_had():
    network = lively(Net(lambda s, x: s.few(features(s, x).mean((2, 3)))))
    checkpoint = opened(network)
    before = vgg_viz.activations(vgg_viz.build(checkpoint), uniform()).logits
    network.few.weight.data.zero_()
    assert torch.equal(vgg_viz.activations(vgg_viz.build(checkpoint), uniform()).logits, before)


def test_pictures_of_the_user_are_tried_as_well():
    network = lively(
        Net(lambda s, x: s.few(features(s, x).mean((2, 3))) * (-1 if abs(float(x.sum()) - 768) < 1 else 1))
    )
    assert opened(network).architecture.num_classes == 5
    with pytest.raises(CheckpointRefused, match="another way"):
        opened(network, pictures=torch.ones(1, 3, SIDE, SIDE))


# ---------------------------------------------------------------- what is made of it


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return lively(
        nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.ReLU(True),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 8, 3),
            nn.LeakyReLU(0.1),
            nn.Flatten(),
            nn.Linear(288, 3),
        )
    )


def test_the_commands_take_a_module_and_what_was_opened_of_it(network, tmp_path, few_sections):
    few_sections("overview")
    checkpoint = opened(network, classes=("a", "b", "c"))
    assert vgg_viz.predict(checkpoint, uniform(1)).images[0]["top"][0]["class"] in "abc"
    assert vgg_viz.predict(network, uniform(1), overrides={"image_size": SIDE}).images
    made = vgg_viz.report(checkpoint, images=uniform(2), out=tmp_path, preset="quick")
    assert "by running it once" in (made.index.parent / "manifest.json").read_text(encoding="utf-8")
    assert vgg_viz.explain(checkpoint, uniform(1), out=tmp_path / "one.png", preset="quick").facts
    sides = {"image_size": SIDE}
    both = vgg_viz.compare(network, network, images=uniform(2), out=tmp_path, preset="quick", overrides=sides)
    assert both.index.is_file()
    vgg_viz.export(checkpoint, tmp_path / "net.safetensors")
    assert same(vgg_viz.load(tmp_path / "net.safetensors"), network, uniform())
    vgg_viz.save(tmp_path / "net.pt", checkpoint)
    assert same(vgg_viz.load(tmp_path / "net.pt"), network, uniform())


def test_a_state_dict_and_a_path_are_opened_as_files_are(tmp_path):
    network = settled(of_torchvision("vgg11", narrow=16, classes=4).to_empty(device="cpu"))
    torch.save(network.state_dict(), tmp_path / "net.pth")
    of_memory, of_file = vgg_viz.open(network.state_dict()), vgg_viz.open(tmp_path / "net.pth")
    assert of_memory.architecture == of_file.architecture
    assert all(torch.equal(of_memory.weights[key], value) for key, value in of_file.weights.items())
    for wrong in (7, None, [], nn.Sequential):
        with pytest.raises(InputRefused, match="network"):
            vgg_viz.open(wrong)


def test_keywords_of_files_are_refused_for_what_is_none(network):
    checkpoint = opened(network)
    with pytest.raises(InputRefused, match="open already"):
        vgg_viz.predict(checkpoint, uniform(1), overrides={"mean": (0, 0, 0)})
    with pytest.raises(InputRefused, match="'plan'"):
        vgg_viz.predict(network, uniform(1), overrides={"plan": "8 | K"})


@pytest.mark.parametrize(
    "method", ["saliency", "grad_cam", "integrated_gradients", "occlusion", "deep_lift", "eigen_cam", "layer_cam"]
)
def test_attribute_takes_a_plain_module_as_it_is(network, method):
    pictures = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(3))
    found = vgg_viz.attribute(network, pictures, method)
    ours = vgg_viz.attribute(vgg_viz.build(opened(network)), uniform(), method)
    assert found.values.isfinite().all()
    assert found.unit == ours.unit


@pytest.mark.parametrize("method", ["guided_backprop", "deconvolution", "deep_lift", "lrp_epsilon_plus_flat"])
def test_a_method_that_must_find_layers_refuses_functions_and_takes_what_was_opened(method):
    """Captum's hooks see modules only: with ReLUs as functions guided backprop would be a plain gradient under another name."""
    network = lively(Net(lambda s, x: s.few(features(s, x).mean((2, 3)))))
    with pytest.raises(InputRefused, match="as a function"):
        vgg_viz.attribute(network, uniform(), method)
    built = vgg_viz.build(opened(network))
    modules = lively(
        nn.Sequential(
            *(network.first, nn.ReLU(), nn.MaxPool2d(2), network.second, nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), network.few),
        )
    )
    ours, theirs = (
        vgg_viz.attribute(one, uniform(), method).values for one in (vgg_viz.build(opened(modules)), modules)
    )
    assert torch.allclose(ours, theirs, atol=1e-5 * float(ours.abs().max()))
    assert vgg_viz.attribute(built, uniform(), method).values.isfinite().all()


def test_relevance_refuses_a_branch():
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), Block(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    with pytest.raises(InputRefused, match="joins two values"):
        vgg_viz.attribute(network, uniform(), "lrp_epsilon_plus_flat")
    assert vgg_viz.attribute(network, uniform(), "grad_cam").values.isfinite().all()


# ---------------------------------------------------------------- the user's own code

CODE = """
import torch
from torch import nn
from sibling import width
print("built")

class Net(nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, width, 3), nn.LeakyReLU(0.2), nn.AvgPool2d(2))
        self.top = nn.Linear(width * 49, classes)

    def forward(self, images):
        return self.top(self.body(images).flatten(1))

class Hungry(Net):
    def __init__(self, classes, kind):
        super().__init__(classes)

def network():
    return Net()

def broken():
    raise ValueError("no weights\\nhere")

def number():
    return 7

ready = Net()
text = "x"
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """models.py beside its weights, with a sibling that it imports."""
    (tmp_path / "models.py").write_text(CODE, encoding="utf-8")
    (tmp_path / "sibling.py").write_text("width = 4\n", encoding="utf-8")
    torch.manual_seed(2)
    network = lively(nn.ModuleDict({"body": nn.Sequential(nn.Conv2d(3, 4, 3)), "top": nn.Linear(196, 3)}))
    torch.save(
        {"model": {f"module.{key}": value for key, value in network.state_dict().items()}, "epoch": 3},
        tmp_path / "net.pth",
    )
    monkeypatch.setattr(
        "sys.modules", {name: value for name, value in __import__("sys").modules.items() if name != "sibling"}
    )
    return tmp_path / "models.py"


@pytest.mark.parametrize("name", ["Net", "network", "ready"])
def test_the_user_s_own_code_says_what_the_layers_are(code, name):
    checkpoint = vgg_viz.load(code.parent / "net.pth", model=f"{code}:{name}", image_size=SIDE)
    assert checkpoint.architecture.plan == "+leaky0.2 4p0 A2 | K"
    assert any(f"models.py:{name}" in fact.text for fact in checkpoint.provenance.evidence)
    weights = torch.load(code.parent / "net.pth", weights_only=True)["model"]
    assert torch.equal(checkpoint.weights["classifier.0.weight"], weights["module.top.weight"])


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("models.py:Nett", "did you mean 'Net'"),
        ("models.py:Hungry", "needs classes, kind"),
        ("models.py:broken", "fails in line 24 with ValueError: no weights"),
        ("models.py:number", "gave int"),
        ("models.py:text", "no network"),
        ("models.py", "FILE.py:NAME|such as --model"),
        ("model.py:Net", "there is no file 'model.py'"),
        ("models.txt:Net", "such as --model"),
        ("wrong.py:Net", "fails in line 2 with NameError"),
        ("leaves.py:Net", "SystemExit"),
        ("other.py:Net", "does not hold the weights of other.py:Net: its 'body.0.weight'|it lacks"),
    ],
)
def test_code_that_does_not_run_or_does_not_fit_is_refused_in_one_sentence(code, name, says):
    (code.parent / "wrong.py").write_text("x = 1\nundefined\n", encoding="utf-8")
    (code.parent / "leaves.py").write_text("raise SystemExit(3)\n", encoding="utf-8")
    (code.parent / "other.py").write_text(CODE.replace("self.top", "self.head"), encoding="utf-8")
    with pytest.raises(InputRefused, match=says) as refusal:
        vgg_viz.load(code.parent / "net.pth", model=f"{code.parent / name}")
    assert "\n" not in str(refusal.value)


def test_the_command_line_runs_code_only_where_it_was_typed(code, capsys, monkeypatch):
    from vgg_viz.cli import main

    monkeypatch.chdir(code.parent)
    assert main(["inspect", "net.pth", "--model", "models.py:Net", "--image-size", "16", "--json"]) == 0
    said = capsys.readouterr()
    assert "built" in said.err
    assert "models.py:Net" in said.out
    assert main(["inspect", "net.pth", "--model", "models.py:Net", "--plan", "8 | K"]) == 2
    assert "leave --plan out" in capsys.readouterr().err
    assert main(["inspect", "vgg11", "--model", "models.py:Net"]) == 2
