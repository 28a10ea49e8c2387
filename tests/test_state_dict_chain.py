"""Bare state dicts of many kinds, none built by this package: read as the network that they are, or refused in a true sentence."""

from __future__ import annotations

import re
import shlex
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from networks import PlainVGG, mlp, prepared, settled
from test_formats import opened
from torch import Tensor, nn

from vgg_viz.errors import CheckpointRefused, PlanUnclear
from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import load
from vgg_viz.models.plan import parse_plan, write_plan
from vgg_viz.models.state_dict_chain import read_chain
from vgg_viz.records import Checkpoint


class Chain(nn.Module):
    """Parts that run one after another under any names, with what stands between them in `forward`."""

    def __init__(self, parts: dict[str, nn.Module], forward: Callable[[Chain, Tensor], Tensor] | None = None) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)
        self.course = forward

    def forward(self, images: Tensor) -> Tensor:
        if self.course is not None:
            return self.course(self, images)
        for part in self.children():
            images = part(images)
        return images


def lively(network: nn.Module) -> nn.Module:
    """As `settled`, also for batch norm of single values."""
    settled(network)
    die = torch.Generator().manual_seed(5)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.copy_(torch.randn(module.running_mean.shape, generator=die) * 0.2)
            module.running_var.copy_(torch.rand(module.running_var.shape, generator=die) + 0.5)
            module.weight.data = torch.rand(module.weight.shape, generator=die) + 0.5
    return network


def agrees(checkpoint: Checkpoint, network: nn.Module, side: int) -> bool:
    about = checkpoint.architecture
    images = torch.rand(2, about.in_channels, side, side, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        theirs = network(prepared(images, about.mean, about.std))
        ours = build(checkpoint)(images)
    assert theirs.std() > 1e-3
    return ours.shape == theirs.shape and float((ours - theirs).abs().max()) < 1e-5 * float(theirs.abs().max())


def block(*widths: int, norm: bool = False, pool: bool = True, padding: int = 1) -> list[nn.Module]:
    made: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        made += [nn.Conv2d(inputs, outputs, 3, padding=padding), *([nn.BatchNorm2d(outputs)] * norm), nn.ReLU()]
    return [*made, nn.MaxPool2d(2)] if pool else made


def named(prefixes: dict[str, str], layers: Sequence[nn.Module]) -> nn.Sequential:
    counts: dict[str, int] = {}
    made = OrderedDict()
    for layer in layers:
        kind = prefixes[type(layer).__name__]
        counts[kind] = counts.get(kind, 0) + 1
        made[f"{kind}{counts[kind]}"] = layer
    return nn.Sequential(made)


NAMES = {"Conv2d": "conv", "BatchNorm2d": "bn", "ReLU": "relu", "MaxPool2d": "pool", "Linear": "fc", "Flatten": "flat"}


def listed_convs(network: Chain, images: Tensor) -> Tensor:
    for place, conv in enumerate(network.convs):
        images = network.bns[place](conv(images)).relu()
        if place in (1, 3):
            images = images.max_pool2d(2) if hasattr(images, "max_pool2d") else nn.functional.max_pool2d(images, 2)
    return network.fc(images.flatten(1))


def lenet(network: Chain, images: Tensor) -> Tensor:
    images = nn.functional.max_pool2d(network.conv1(images).relu(), 2)
    images = nn.functional.max_pool2d(network.conv2(images).relu(), 2)
    images = network.fc1(images.flatten(1)).relu()
    return network.fc3(network.fc2(images).relu())


def mnist(network: Chain, images: Tensor) -> Tensor:
    images = nn.functional.max_pool2d(network.conv2(network.conv1(images).relu()).relu(), 2)
    return network.fc2(network.fc1(images.flatten(1)).relu())


# name: (network, side of its pictures, plan)
READ: dict[str, tuple[Callable[[], nn.Module], int, str]] = {
    "all in one Sequential": (
        lambda: nn.Sequential(
            *block(3, 8, 8), *block(8, 12, 12), nn.Flatten(), nn.Linear(12 * 64, 20), nn.ReLU(), nn.Linear(20, 3)
        ),
        32,
        "8 8 M 12 12 M | 20 K",
    ),
    "no pool before the linear layers, as numbers say": (
        lambda: nn.Sequential(*block(3, 8, 8), *block(8, 12, pool=False), nn.Flatten(), nn.Linear(12 * 256, 3)),
        32,
        "8 8 M 12 | K",
    ),
    "batch norm behind ReLU": (
        lambda: Chain(
            {
                "features": nn.Sequential(
                    *[nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(8), nn.MaxPool2d(2)],
                    *[nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(16), nn.MaxPool2d(2)],
                    *[nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(16), nn.MaxPool2d(2), nn.Flatten()],
                ),
                "classifier": nn.Linear(16 * 16, 4),
            }
        ),
        32,
        "+relu+bn 8 M 16 M 16 M | K",
    ),
    "names in an OrderedDict, in one block": (
        lambda: Chain(
            {"net": named(NAMES, [*block(3, 7), *block(7, 9), *block(9, 11), nn.Flatten(), nn.Linear(11 * 16, 3)])}
        ),
        32,
        "7 M 9 M 11 M | K",
    ),
    "blocks inside of features": (
        lambda: Chain(
            {
                "features": nn.Sequential(
                    *(nn.Sequential(*block(a, b, b, norm=True)) for a, b in ((3, 8), (8, 16), (16, 24)))
                ),
                "classifier": nn.Sequential(
                    nn.Flatten(), nn.Linear(24 * 16, 20), nn.ReLU(), nn.Dropout(), nn.Linear(20, 5)
                ),
            }
        ),
        32,
        "+bn+relu 8 8 M 16 16 M 24 24 M | 20 drop K",
    ),
    "numbers that go on from slice to slice": (
        lambda: Chain(
            {
                f"slice{n}": nn.Sequential(OrderedDict((str(place), layer) for place, layer in enumerate(part, start)))
                for n, (start, part) in enumerate(
                    (
                        (0, block(3, 8, 8, pool=False)),
                        (4, [nn.MaxPool2d(2), *block(8, 16, 16)]),
                        (10, [*block(16, 24), nn.Flatten()]),
                    ),
                    1,
                )
            }
            | {"last": nn.Linear(24 * 16, 5)}
        ),
        32,
        "8 8 M 16 16 M 24 M | K",
    ),
    "LeNet without padding": (
        lambda: Chain(
            {
                "conv1": nn.Conv2d(3, 6, 5),
                "conv2": nn.Conv2d(6, 16, 5),
                "fc1": nn.Linear(16 * 25, 120),
                "fc2": nn.Linear(120, 84),
                "fc3": nn.Linear(84, 10),
            },
            lenet,
        ),
        32,
        "6/5p0 M 16/5p0 M | 120 84 K",
    ),
    "two convolutions without padding, one pool": (
        lambda: Chain(
            {
                "conv1": nn.Conv2d(1, 32, 3),
                "conv2": nn.Conv2d(32, 64, 3),
                "fc1": nn.Linear(9216, 16),
                "fc2": nn.Linear(16, 10),
            },
            mnist,
        ),
        28,
        "32p0 64p0 M | 16 K",
    ),
    "one convolution": (
        lambda: nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 28 * 28, 3)),
        28,
        "6 | K",
    ),
    "a head without biases": (
        lambda: PlainVGG(
            "vgg11", classifier=nn.Sequential(nn.Linear(64, 20, bias=False), nn.ReLU(), nn.Linear(20, 3, bias=False))
        ),
        32,
        "8 M 16 M 32 32 M 64 64 M 64 64 M G | 20b0 Kb0",
    ),
    "a head of convolutions": (
        lambda: Chain(
            {
                "features": nn.Sequential(*block(3, 8), *block(8, 16), *block(16, 24)),
                "classifier": nn.Sequential(
                    nn.Conv2d(24, 32, 4),
                    nn.ReLU(),
                    nn.Dropout(),
                    nn.Conv2d(32, 5, 1),
                    nn.AdaptiveAvgPool2d(1),
                    nn.Flatten(),
                ),
            }
        ),
        32,
        "8 M 16 M 24 M | 32/4 drop K/1 G",
    ),
    "three heads in a row": (
        lambda: Chain(
            {
                "features": nn.Sequential(*block(3, 8), *block(8, 16), *block(16, 24), nn.Flatten()),
                "fc": nn.Sequential(nn.Linear(24 * 16, 30), nn.ReLU()),
                "fc1": nn.Sequential(nn.Dropout(), nn.Linear(30, 20), nn.ReLU()),
                "fc2": nn.Linear(20, 4),
            }
        ),
        32,
        "8 M 16 M 24 M | 30 drop 20 K",
    ),
    "batch norm of the flattened map": (
        lambda: Chain(
            {
                "features": nn.Sequential(*block(3, 8), *block(8, 16), *block(16, 24)),
                "classifier": nn.Sequential(
                    nn.Flatten(),
                    nn.BatchNorm1d(24 * 16),
                    nn.Dropout(0.25),
                    nn.Linear(24 * 16, 20),
                    nn.ReLU(),
                    nn.BatchNorm1d(20),
                    nn.Linear(20, 4),
                ),
            }
        ),
        32,
        "",
    ),
    "a ModuleList of convolutions and one of batch norms": (
        lambda: Chain(
            {
                "convs": nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in ((3, 8), (8, 8), (8, 16), (16, 16))),
                "bns": nn.ModuleList(map(nn.BatchNorm2d, (8, 8, 16, 16))),
                "fc": nn.Linear(16 * 49, 4),
            },
            listed_convs,
        ),
        28,
        "+bn+relu 8 8 M 16 16 M | K",
    ),
    "PReLU with one slope": (
        lambda: Chain(
            {
                "features": nn.Sequential(
                    *[nn.Conv2d(3, 8, 3, padding=1), nn.PReLU(init=0.3), nn.MaxPool2d(2)],
                    *[nn.Conv2d(8, 16, 3, padding=1), nn.PReLU(init=0.2), nn.MaxPool2d(2), nn.Flatten()],
                ),
                "classifier": nn.Linear(16 * 64, 4),
            }
        ),
        32,
        "",
    ),
    "kernels of 1, 5 and 7": (
        lambda: Chain(
            {
                "body": nn.Sequential(
                    *[nn.Conv2d(3, 8, 7, padding=3), nn.ReLU(), nn.MaxPool2d(2)],
                    *[nn.Conv2d(8, 12, 5, padding=2), nn.ReLU(), nn.Conv2d(12, 6, 1), nn.ReLU(), nn.MaxPool2d(2)],
                    *[nn.Conv2d(6, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()],
                ),
                "out": nn.Linear(12 * 16, 4),
            }
        ),
        32,
        "8/7 M 12/5 6/1 M 12 M | K",
    ),
    "names conv1_1 to fc8 at 224": (
        lambda: PlainVGG("vgg16", classifier=mlp(64 * 49, 32, 32, 6), pool=7),
        224,
        "8 8 M 16 16 M 32 32 32 M 64 64 64 M 64 64 64 M G7 | 32 drop 32 drop K",
    ),
}


@pytest.mark.parametrize("name", READ)
def test_a_chain_is_read_as_the_network_that_it_is(name: str, tmp_path: Path) -> None:
    made, side, plan = READ[name]
    network = lively(made())
    back = opened(network.state_dict(), tmp_path)
    assert agrees(back, network, side)
    assert back.architecture.image_side == side
    if plan:
        assert back.architecture.plan == plan


def test_layers_defined_in_another_order_are_put_into_the_only_one_that_fits(tmp_path: Path) -> None:
    parts = {
        "head": nn.Sequential(nn.Flatten(), nn.Linear(24 * 16, 5)),
        "tail": nn.Sequential(*block(16, 24)),
        "stem": nn.Sequential(*block(3, 8)),
        "body": nn.Sequential(*block(8, 16)),
    }
    network = lively(Chain(parts, lambda net, x: net.head(net.tail(net.body(net.stem(x))))))
    back = opened(network.state_dict(), tmp_path)
    assert agrees(back, network, 32)
    assert any("only order" in str(one) for one in back.provenance.evidence)


def test_a_list_in_the_file_says_where_pools_are(tmp_path: Path) -> None:
    plan = [8, "M", 16, 16, "M", 24]
    network = lively(
        Chain(
            {
                "features": nn.Sequential(*block(3, 8), *block(8, 16, 16), *block(16, 24, pool=False)),
                "fc": nn.Linear(24, 5),
            },
            lambda net, x: net.fc(net.features(x).mean((2, 3))),
        )
    )
    back = opened({"model": network.state_dict(), "args": {"cfg": plan}}, tmp_path)
    assert agrees(back, network, 32)
    assert back.architecture.plan == "8 M 16 16 M 24 G | K"


# ---------------------------------------------------------------- not clear


def unclear() -> nn.Module:
    """Four convolutions, the mean of their last map: nothing tells where its pools are."""
    parts: dict[str, nn.Module] = {}
    for place, (inputs, outputs) in enumerate(((3, 8), (8, 16), (16, 32), (32, 64)), 1):
        parts[f"conv{place}"] = nn.Conv2d(inputs, outputs, 3, padding=1)
    parts["fc"] = nn.Linear(64, 10)

    def course(net: Chain, x: Tensor) -> Tensor:
        for place in range(1, 5):
            x = getattr(net, f"conv{place}")(x).relu()
            x = nn.functional.max_pool2d(x, 2) if place % 2 == 0 else x
        return net.fc(x.mean((2, 3)))

    return lively(Chain(parts, course))


def test_what_several_networks_could_have_is_refused_with_plans_that_work_when_typed(tmp_path: Path) -> None:
    network = unclear()
    with pytest.raises(PlanUnclear) as refused:
        opened(network.state_dict(), tmp_path)
    words = shlex.split(str(refused.value))
    typed = [words[place + 1] for place, word in enumerate(words) if word == "--plan"]
    assert [plan.rstrip(",") for plan in typed] == list(refused.value.plans)
    assert 2 <= len(refused.value.plans) <= 3
    back = [load(tmp_path / "file.pt", plan=plan) for plan in refused.value.plans]
    assert [one.architecture.plan for one in back] == [write_plan(parse_plan(plan)) for plan in refused.value.plans]
    assert [agrees(one, network, 32) for one in back].count(True) == 1


@pytest.mark.parametrize("head", ["linear", "average"])
def test_convolutions_that_numbers_leave_no_pools_between_are_refused_with_plans_of_strides(
    head: str, tmp_path: Path
) -> None:
    layers: list[nn.Module] = []
    for inputs, outputs, stride in ((3, 8, 1), (8, 8, 2), (8, 16, 1), (16, 16, 2), (16, 24, 1)):
        layers += [nn.Conv2d(inputs, outputs, 3, stride, padding=1), nn.ReLU()]
    end = (
        [nn.Flatten(), nn.Linear(24 * 64, 5)]
        if head == "linear"
        else [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 5)]
    )
    network = lively(Chain({"features": nn.Sequential(*layers), "classifier": nn.Sequential(*end)}))
    with pytest.raises(PlanUnclear, match="no room for pools") as refused:
        opened(network.state_dict(), tmp_path)
    back = [load(tmp_path / "file.pt", plan=plan) for plan in refused.value.plans]
    small = [one for one in back if one.architecture.image_side == 32]
    assert [agrees(one, network, 32) for one in small].count(True) == 1


def test_a_side_of_pictures_that_is_not_usual_is_an_alarm(tmp_path: Path) -> None:
    network = lively(nn.Sequential(*block(3, 8), *block(8, 16), nn.Flatten(), nn.Linear(16 * 81, 4)))
    back = opened(network.state_dict(), tmp_path)
    assert agrees(back, network, 36)
    assert any(one.alarm and "No usual side" in one.text for one in back.provenance.evidence)


def test_a_doubt_stands_on_top_and_its_plans_work_when_typed(tmp_path: Path) -> None:
    network = lively(PlainVGG("vgg11", batch_norm=True, classifier=nn.Linear(64, 5)))
    back = opened(network.state_dict(), tmp_path)
    doubt = next(one for one in back.provenance.evidence if one.alarm)
    assert len(doubt.plans) == 2
    for plan in doubt.plans:
        other = load(tmp_path / "file.pt", plan=plan)
        assert other.architecture.plan == plan
        assert not any(one.alarm for one in other.provenance.evidence)
        assert not agrees(other, network, 32)


def test_dropout_that_numbers_do_not_tell_from_pools_is_among_the_plans_of_an_alarm(tmp_path: Path) -> None:
    layers: list[nn.Module] = []
    for inputs, outputs, last in ((3, 8, 0), (8, 8, 1), (8, 16, 0), (16, 16, 1)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2) if last else nn.Dropout(0.3)]
    network = lively(Chain({"features": nn.Sequential(*layers, nn.Flatten()), "classifier": nn.Linear(16 * 64, 4)}))
    back = opened(network.state_dict(), tmp_path)  # pools behind all of them, at 128 px, fit as well
    alarm = next(one for one in back.provenance.evidence if one.alarm and "dropout" in one.text)
    assert any(agrees(load(tmp_path / "file.pt", plan=plan), network, 32) for plan in alarm.plans)


def test_average_pools_and_another_slope_are_read_with_their_plan(tmp_path: Path) -> None:
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.LeakyReLU(0.2), nn.AvgPool2d(2), nn.Conv2d(8, 16, 3, padding=1)]
    network = lively(nn.Sequential(*layers, nn.LeakyReLU(0.2), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16 * 64, 4)))
    torch.save(network.state_dict(), tmp_path / "net.pt")
    assert not agrees(load(tmp_path / "net.pt"), network, 32)
    assert agrees(load(tmp_path / "net.pt", plan="+leaky0.2 8 A2 16 A2 | K"), network, 32)


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ("8 M 12 M | K", "a convolution of 12 channels and 3 × 3 where the file holds a convolution of 16 channels"),
        ("8 M 16/5 M | K", "16 channels and 5 × 5 where the file holds a convolution of 16 channels and 3 × 3"),
        (
            "8 M 16 M | 20 K",
            "the plan has 2 convolutions and 2 linear layers, the file holds 2 convolutions and 1 linear layer",
        ),
        ("8 M 16 M M M M M M M M | K", "no side of pictures from 4 to 512 px fits"),
        ("+bn+relu 8 M 16 M | K", "the file has no batch norm behind"),
        ("8b0 M 16 M | K", "has no bias"),
    ],
)
def test_a_plan_that_contradicts_the_file_is_refused_with_what_came_and_what_was_expected(
    plan: str, words: str, tmp_path: Path
) -> None:
    network = lively(nn.Sequential(*block(3, 8), *block(8, 16), nn.Flatten(), nn.Linear(16 * 64, 4)))
    torch.save(network.state_dict(), tmp_path / "net.pt")
    with pytest.raises(CheckpointRefused, match=re.escape(words)) as refused:
        load(tmp_path / "net.pt", plan=plan)
    assert "\n" not in str(refused.value)


# ---------------------------------------------------------------- no chain


def beside(*parts: tuple[str, nn.Module]) -> dict[str, Tensor]:
    made = Chain(
        {
            "features": nn.Sequential(*block(3, 8), *block(8, 16), *block(16, 24)),
            **dict(parts),
            "classifier": nn.Sequential(nn.Flatten(), nn.Linear(24 * 16, 20), nn.ReLU(), nn.Linear(20, 4)),
        }
    )
    return dict(lively(made).state_dict())


NO_CHAIN: dict[str, tuple[Callable[[], dict[str, Tensor]], str]] = {
    "squeeze and excitation of 1 x 1 convolutions": (
        lambda: beside(("se", nn.Sequential(nn.Conv2d(24, 4, 1), nn.ReLU(), nn.Conv2d(4, 24, 1)))),
        r"'se\.0' stands beside the chain",
    ),
    "squeeze and excitation under another name": (
        lambda: beside(("weighting", nn.Sequential(nn.Linear(24, 4), nn.ReLU(), nn.Linear(4, 24)))),
        r"'weighting\.0' stands beside the chain",
    ),
    "a shortcut": (lambda: beside(("shortcut", nn.Conv2d(24, 24, 1))), "'shortcut' stands beside"),
    "an auxiliary classifier": (lambda: beside(("aux_head", nn.Linear(24 * 16, 4))), "'aux_head'"),
    "grouped convolutions": (lambda: beside(("depthwise", nn.Conv2d(24, 24, 3, groups=24))), "groups"),
    "a scale of each channel": (lambda: {**beside(), "gamma": torch.ones(24)}, "'gamma' inside the network"),
    "group norm": (
        lambda: beside(("norm", nn.GroupNorm(4, 24))),
        "'norm' is a normalisation without running statistics",
    ),
    "a recurrent layer": (lambda: beside(("lstm", nn.LSTM(24, 8))), r"'lstm\.weight_ih_l0'"),
    "a kernel that is no square": (lambda: beside(("wide", nn.Conv2d(24, 24, (1, 5)))), "1 × 5"),
    "blocks with shortcuts in their names": (
        lambda: beside(("res1", nn.Sequential(*block(24, 24, pool=False)))),
        r"'res1\.0'",
    ),
}


@pytest.mark.parametrize("name", NO_CHAIN)
def test_a_layer_beside_the_chain_is_named(name: str, tmp_path: Path) -> None:
    made, words = NO_CHAIN[name]
    with pytest.raises(CheckpointRefused, match=words) as refused:
        opened(made(), tmp_path)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 700


def test_two_heads_are_refused_and_the_advice_works_when_typed(tmp_path: Path) -> None:
    features = nn.Sequential(*block(3, 8), *block(8, 16), nn.Flatten())
    network = lively(
        Chain(
            {
                "features": features,
                "colour": nn.Linear(16 * 64, 3),
                "shape": nn.Sequential(nn.Linear(16 * 64, 12), nn.ReLU(), nn.Linear(12, 5)),
            }
        )
    )
    torch.save(network.state_dict(), tmp_path / "net.pt")
    with pytest.raises(CheckpointRefused, match="2 heads that read the same map") as refused:
        load(tmp_path / "net.pt")
    assert "--head colour" in str(refused.value)
    for head in ("colour", "shape"):
        network.course = lambda net, x, head=head: getattr(net, head)(net.features(x))
        back = load(tmp_path / "net.pt", head=head)
        assert agrees(back, network, 32)
        assert any("--head" in str(one) for one in back.provenance.evidence)
    with pytest.raises(CheckpointRefused, match="no linear layer is called so"):
        load(tmp_path / "net.pt", head="size")


def test_a_part_is_read_on_purpose_only_and_that_stands_on_top(tmp_path: Path) -> None:
    inner = PlainVGG("vgg11", batch_norm=True, classifier=mlp(64, 20, 10))
    weights = {
        **{f"vgg.{key}": value for key, value in lively(inner).state_dict().items()},
        "odd.weight": torch.ones(7, 9),
    }
    torch.save(weights, tmp_path / "net.pt")
    with pytest.raises(CheckpointRefused, match=r"'odd'.*--key vgg\."):
        load(tmp_path / "net.pt")
    back = load(tmp_path / "net.pt", key="vgg")
    assert agrees(back, inner, 32)
    assert any(one.alarm and "'odd.weight'" in one.text for one in back.provenance.evidence)


# ---------------------------------------------------------------- features only


def test_features_without_a_classifier_are_a_network_without_classes(tmp_path: Path) -> None:
    network = lively(PlainVGG("vgg16", classifier=nn.Linear(64, 4)))
    weights = {key: value for key, value in network.state_dict().items() if key.startswith("features")}
    back = opened(weights, tmp_path)
    assert back.architecture.num_classes == 0
    assert back.architecture.plan == "8 8 M 16 16 M 32 32 32 M 64 64 64 M 64 64 64 M"
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        ours = build(back).features(images)
        assert torch.equal(ours, network.features(images))


def test_a_classifier_of_nan_counts_as_absent_and_it_is_said(tmp_path: Path) -> None:
    network = lively(PlainVGG("vgg11", classifier=mlp(64 * 49, 20, 4), pool=7))
    for parameter in network.classifier.parameters():
        parameter.data.fill_(float("nan"))
    back = opened(network.state_dict(), tmp_path)
    assert back.architecture.num_classes == 0
    assert any("holds no numbers (NaN)" in str(one) for one in back.provenance.evidence)


def test_nothing_is_copied() -> None:
    weights = lively(PlainVGG("vgg11", batch_norm=True, classifier=nn.Linear(64, 5))).state_dict()
    chain = read_chain(weights)
    assert chain is not None
    used = {key for keys in chain.keys for key in keys.values()}
    assert used == {key for key in weights if not key.endswith("num_batches_tracked")}
    assert parse_plan(write_plan(chain.steps)) == chain.steps
