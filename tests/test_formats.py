"""Every format: a real network saved as its tool saves it, opened, and its logits compared bit for bit with the network's own."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import NARROW_AND_FULL, CourseTiny, PlainVGG, mlp, of_torchvision, prepared, settled
from torch import nn

from vgg_viz.errors import CheckpointRefused
from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import load
from vgg_viz.models.plan import parse_plan
from vgg_viz.models.recognise import recognise
from vgg_viz.models.vgg import describe
from vgg_viz.records import Checkpoint


def opened(stored: Any, folder: Path, **options: Any) -> Checkpoint:
    """`stored` written by torch.save and opened as a user would."""
    torch.save(stored, folder / "file.pt")
    return load(folder / "file.pt", **options)


def same_logits(checkpoint: Checkpoint, network: nn.Module, side: int, channels: int = 3) -> bool:
    """Whether both answer bit for bit alike on two random pictures, each with its own way to normalise."""
    pictures = torch.rand(2, channels, side, side, generator=torch.Generator().manual_seed(5))
    architecture = checkpoint.architecture
    with torch.inference_mode():
        theirs = network(prepared(pictures, architecture.mean, architecture.std))
        assert theirs.std() > 1e-3  # logits that are all alike would prove nothing
        return torch.equal(build(checkpoint)(pictures), theirs)


def evidence(checkpoint: Checkpoint) -> str:
    return "\n".join(map(str, checkpoint.provenance.evidence))


# ---------------------------------------------------------------- torchvision and timm, at their full size


def torchvision_network(name: str, narrow: int = 1) -> nn.Module:
    return settled(of_torchvision(name, narrow=narrow, classes=5).to_empty(device="cpu"))


@pytest.mark.parametrize(("name", "narrow"), NARROW_AND_FULL)
def test_every_torchvision_variant_opens_with_its_own_logits(name: str, narrow: int) -> None:
    network = torchvision_network(name, narrow)
    reading = recognise(OrderedDict(network.state_dict()))
    assert reading is not None
    assert reading.format == "torchvision"
    found = Checkpoint(reading.architecture, (), reading.weights)
    assert describe(found.architecture).variant + ("_bn" if describe(found.architecture).batch_norm else "") == name
    assert (found.architecture.num_classes, found.architecture.image_side) == (5, 224)
    assert describe(found.architecture).head == (4096 // narrow,) * 2
    assert same_logits(found, network, 64)
    assert sum(p.numel() for p in build(found).parameters()) == sum(p.numel() for p in network.parameters())


def as_timm(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """torchvision's state dict under timm's keys, with fc6 and fc7 as kernels."""
    names = {"classifier.0": "pre_logits.fc1", "classifier.3": "pre_logits.fc2", "classifier.6": "head.fc"}
    found = {}
    for key, value in weights.items():
        stem, _, kind = key.rpartition(".")
        if kind == "weight" and stem in ("classifier.0", "classifier.3"):
            side = 7 if stem == "classifier.0" else 1
            value = value.view(value.shape[0], -1, side, side)
        found[f"{names.get(stem, stem)}.{kind}"] = value
    return found


def test_timms_keys_are_torchvisions_network_bit_for_bit(tmp_path: Path) -> None:
    network = torchvision_network("vgg16")
    back = opened(as_timm(network.state_dict()), tmp_path)
    assert back.provenance.format == "timm"
    assert same_logits(back, network, 224)


@pytest.mark.parametrize("side", [64, 224, 288])
def test_timms_own_network_answers_alike_below_at_and_above_its_usual_side(side: int, tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    network = settled(timm.create_model("vgg11", num_classes=5))
    back = opened(network.state_dict(), tmp_path, image_size=side)
    assert back.provenance.format == "timm"
    assert describe(back.architecture).dense == (side > 224)  # its classifier slides over larger pictures
    pictures = torch.rand(1, 3, side, side)
    with torch.inference_mode():
        theirs = network(prepared(pictures, back.architecture.mean, back.architecture.std))
        torch.testing.assert_close(build(back)(pictures), theirs, rtol=1e-4, atol=1e-4 * float(theirs.abs().max()))


def test_a_timm_network_without_a_classifier_is_refused(tmp_path: Path) -> None:
    whole = as_timm(torchvision_network("vgg11", narrow=8).state_dict())
    weights = {key: value for key, value in whole.items() if not key.startswith("head.")}
    with pytest.raises(CheckpointRefused, match="timm VGG without a classifier"):
        opened(weights, tmp_path)


# ---------------------------------------------------------------- heads, widths, depths


CIFAR = {
    "one linear layer without a number": (nn.Linear(64, 10), ()),
    "512-512-K": (
        nn.Sequential(
            nn.Dropout(),
            nn.Linear(64, 64),
            nn.ReLU(True),
            nn.Dropout(),
            nn.Linear(64, 64),
            nn.ReLU(True),
            nn.Linear(64, 10),
        ),
        (512, 512),
    ),
    "512-4096-4096-K": (mlp(64, 512, 512, 10), (4096, 4096)),
}


@pytest.mark.parametrize("head", CIFAR)
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("plan", ["vgg11", "c", "vgg16", "vgg19"])
def test_cifar_networks_of_any_head_open_with_their_own_logits(
    plan: str, batch_norm: bool, head: str, tmp_path: Path
) -> None:
    classifier, hidden = CIFAR[head]
    network = settled(PlainVGG(plan, batch_norm=batch_norm, classifier=classifier))
    back = opened(network.state_dict(), tmp_path)
    architecture = back.architecture
    about = describe(architecture)
    assert (about.variant, about.batch_norm, about.width) == (plan, batch_norm, 1 / 8)
    assert (architecture.image_side, about.pooled, about.head, architecture.num_classes) == (
        32,
        1,
        tuple(width // 8 for width in hidden),
        10,
    )
    assert same_logits(back, network, 32)
    assert any("CIFAR-10's" in text for text in map(str, back.provenance.alternatives))
    assert any("32 to 63 px" in text for text in map(str, back.provenance.alternatives))


@pytest.mark.parametrize(
    ("channels", "bias", "pool", "side"),
    [(1, True, None, 32), (3, False, None, 64), (3, True, 3, 96), (1, False, 7, 224)],
)
def test_channels_biases_and_the_last_map_are_read_off_the_shapes(
    channels: int, bias: bool, pool: int | None, side: int, tmp_path: Path
) -> None:
    last = pool or side // 32
    network = settled(
        PlainVGG("vgg13", batch_norm=True, bias=bias, channels=channels, pool=pool, classifier=mlp(64 * last**2, 32, 4))
    )
    back = opened(network.state_dict(), tmp_path)
    architecture = back.architecture
    first = next(step for step in parse_plan(architecture.plan) if step.kind == "conv")
    assert (architecture.in_channels, first.bias, describe(architecture).pooled) == (channels, bias, last)
    assert architecture.image_side == side
    assert len(architecture.mean) == channels
    assert same_logits(back, network, side, channels)
    assert sum(p.numel() for p in build(back).parameters()) == sum(p.numel() for p in network.parameters())
    assert ("The convolutions have no bias." in evidence(back)) == (not bias)


@pytest.mark.parametrize("width", [0.3, 0.35, 0.7, 1.1])
def test_a_width_that_rounds_channels_is_found_again(width: float, tmp_path: Path) -> None:
    model = build("vgg16", width=width, num_classes=3, image_side=32, seed=4)
    back = opened(model.state_dict(), tmp_path)
    pictures = torch.rand(1, 3, 32, 32)
    assert torch.equal(build(back)(pictures), model(pictures))


def test_batch_norm_without_weights_or_counters_opens_and_is_said(tmp_path: Path) -> None:
    network = settled(PlainVGG("vgg11", batch_norm=True, affine=False, classifier=nn.Linear(64, 4)))
    weights = {key: value for key, value in network.state_dict().items() if "num_batches" not in key}
    back = opened(weights, tmp_path)
    assert same_logits(back, network, 32)
    assert "affine=False" in evidence(back)


def test_a_linear_layer_without_bias_gets_zeros_and_it_is_said(tmp_path: Path) -> None:
    network = settled(PlainVGG("vgg11", classifier=nn.Linear(64, 4, bias=False)))
    back = opened(network.state_dict(), tmp_path)
    assert same_logits(back, network, 32)
    assert "1 layer has no bias in the file" in evidence(back)


def test_dropout_between_convolutions_shifts_their_numbers_and_it_is_said(tmp_path: Path) -> None:
    network = settled(PlainVGG("vgg16", batch_norm=True, dropout=True, classifier=nn.Linear(64, 10)))
    back = opened(network.state_dict(), tmp_path)
    assert same_logits(back, network, 32)
    assert "Pools are assumed at the paper's places" in evidence(back)


# ---------------------------------------------------------------- the courses' Tiny VGG


@pytest.mark.parametrize("prefix", ["conv_block_", "block_"])
@pytest.mark.parametrize(("padding", "side", "channels", "hidden"), [
    (0, 64, 3, 10), (1, 64, 3, 10), (1, 28, 1, 10), (0, 28, 1, 16), (1, 224, 3, 32), (0, 128, 3, 10),
])  # fmt: skip
def test_the_courses_tiny_vgg_opens_with_its_own_logits(
    prefix: str, padding: int, side: int, channels: int, hidden: int, tmp_path: Path
) -> None:
    network = settled(CourseTiny(padding=padding, side=side, channels=channels, hidden=hidden, prefix=prefix))
    back = opened(network.state_dict(), tmp_path)
    architecture = back.architecture
    assert (describe(architecture).padding, architecture.image_side, architecture.in_channels) == (
        padding,
        side,
        channels,
    )
    assert same_logits(back, network, side, channels)
    assert f"Padding {padding} at {side} px gives this map, a usual side (--padding, --image-size)." in evidence(back)


def test_every_other_padding_and_side_of_a_tiny_vgg_is_named(tmp_path: Path) -> None:
    network = settled(CourseTiny(padding=0, side=64))
    back = opened(network.state_dict(), tmp_path)
    (others,) = [text for text in map(str, back.provenance.alternatives) if "same map" in text]
    assert (
        others == "Padding 0 at 65 to 67 px or padding 1 at 52 to 55 px gives the same map (--padding, --image-size)."
    )
    pictures = torch.rand(1, 3, 52, 52)
    other = opened(network.state_dict(), tmp_path, padding=1)
    assert (describe(other.architecture).padding, other.architecture.image_side) == (1, 52)
    for name in ("conv_block_1", "conv_block_2"):
        for i in (0, 2):
            getattr(network, name)[i].padding = (1, 1)
    assert torch.equal(build(other)(pictures), network(pictures))


def test_a_side_that_is_not_usual_is_said_to_be_a_guess(tmp_path: Path) -> None:
    back = opened(settled(CourseTiny(padding=1, side=44)).state_dict(), tmp_path)
    assert "no usual one does" in evidence(back)


def test_tiny_vgg_with_a_layer_more_is_refused_and_not_loaded_without_it(tmp_path: Path) -> None:
    weights = settled(CourseTiny(padding=0, side=64)).state_dict()
    weights["conv_block_1.1.weight"] = torch.ones(10)  # a PReLU with a slope for each channel
    with pytest.raises(CheckpointRefused, match=r"'conv_block_1\.1\.weight' inside the network"):
        opened(weights, tmp_path)


# ---------------------------------------------------------------- names of nobody's convention


class Named(nn.Module):
    """Caffe's names for VGG's layers, as face networks have them."""

    def __init__(self) -> None:
        super().__init__()
        source = PlainVGG("vgg16", classifier=mlp(64, 32, 32, 6))
        block, place = 1, 0
        self.order = []
        for layer in source.features:
            if isinstance(layer, nn.Conv2d):
                place += 1
                setattr(self, f"conv_{block}_{place}", layer)
                self.order.append(layer)
            elif isinstance(layer, nn.MaxPool2d):
                block, place = block + 1, 0
        for number, i in ((6, 0), (7, 3), (8, 6)):
            setattr(self, f"fc{number}", source.classifier[i])
        self.source = [source]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.source[0](images)


def test_layers_under_names_of_nobodys_convention_open_in_their_order_and_it_is_said(tmp_path: Path) -> None:
    network = Named()
    settled(network.source[0])
    back = opened(network.state_dict(), tmp_path)
    assert back.provenance.format == "unfamiliar keys"
    assert same_logits(back, network, 32)
    assert "of no known convention" in evidence(back)
    assert any("as they were defined" in text for text in map(str, back.provenance.alternatives))


def test_features_with_a_classifier_of_another_name_open(tmp_path: Path) -> None:
    network = settled(PlainVGG("vgg11", batch_norm=True, classifier=nn.Linear(64, 6)))
    weights = {key.replace("classifier", "head.out"): value for key, value in network.state_dict().items()}
    back = opened(weights, tmp_path)
    assert same_logits(back, network, 32)
    assert "the gaps between the convolutions' numbers" in evidence(back).lower()


def test_keys_sorted_by_the_alphabet_are_put_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    network = settled(PlainVGG("vgg16", classifier=nn.Linear(64, 6)))
    numbers = {
        f"features.{i}": f"conv{n}"
        for n, i in enumerate(i for i, m in enumerate(network.features) if isinstance(m, nn.Conv2d))
    }
    weights = {}
    for key, value in network.state_dict().items():
        stem, _, kind = key.rpartition(".")
        weights[f"{numbers.get(stem, 'fc')}.{kind}"] = value
    back = opened(dict(sorted(weights.items())), tmp_path)  # conv10 comes before conv2 here
    assert same_logits(back, network, 32)


# ---------------------------------------------------------------- nearly a VGG


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w.update({"features.1.weight": torch.ones(8)}), "'features.1.weight' inside the network"),
        (
            lambda w: w.update({"classifier.1.running_mean": torch.ones(8), "classifier.1.weight": torch.ones(8)}),
            "inside the network",
        ),
        (lambda w: w.update({"features.0.weight": torch.ones(8, 2, 3, 3)}), "reads 2 channels"),
        (lambda w: w.update({"features.3.weight": torch.ones(16, 4, 3, 3)}), "one chain of full convolutions"),
        (lambda w: w.update({"features.0.weight": torch.ones(8, 3, 3, 5)}), "only square kernels"),
        (lambda w: w.update({"classifier.weight": torch.ones(5, 130)}), "no square map"),
    ],
)
def test_what_is_nearly_a_vgg_is_refused_in_one_sentence(change: Any, words: str, tmp_path: Path) -> None:
    weights = dict(settled(PlainVGG("vgg11", classifier=nn.Linear(64, 5))).state_dict())
    change(weights)
    with pytest.raises(CheckpointRefused, match=words) as refused:
        opened(weights, tmp_path)
    assert "\n" not in str(refused.value)


def test_batch_norm_without_statistics_is_refused(tmp_path: Path) -> None:
    network = settled(PlainVGG("vgg11", batch_norm=True, classifier=nn.Linear(64, 5)))
    weights = {
        key: value for key, value in network.state_dict().items() if "running" not in key and "num_batches" not in key
    }
    with pytest.raises(CheckpointRefused, match="track_running_stats"):
        opened(weights, tmp_path)


def test_counters_of_a_profiler_are_listed_and_harm_nothing(tmp_path: Path) -> None:
    network = settled(PlainVGG("vgg11", classifier=nn.Linear(64, 5)))
    back = opened(
        {**network.state_dict(), "features.0.total_ops": torch.zeros(1), "criterion.weight": torch.ones(5)}, tmp_path
    )
    assert same_logits(back, network, 32)
    assert set(back.provenance.ignored_keys) == {"features.0.total_ops", "criterion.weight"}


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_answer_as_the_network_in_single_precision_does(
    kind: torch.dtype, tmp_path: Path
) -> None:
    network = settled(PlainVGG("vgg11", batch_norm=True, classifier=nn.Linear(64, 5))).to(kind)
    back = opened(network.state_dict(), tmp_path)
    assert same_logits(back, network.float(), 32)
    assert "were converted to float32" in evidence(back)
