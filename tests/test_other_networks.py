"""Checkpoints of other networks than one VGG are said as what they are; those of VGGs are never taken for one."""

from __future__ import annotations

import contextlib
import re
import shlex
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from networks import PlainVGG, settled
from torch import nn

from vgg_viz.errors import CheckpointRefused
from vgg_viz.models.checkpoint import load
from vgg_viz.models.other_networks import require_one_vgg


def keys(build: Callable[[], nn.Module]) -> dict[str, torch.Tensor]:
    """The keys of a network with weights of its shapes' number of axes, three channels at most."""
    with torch.device("meta"):
        made = build()
    return {key: torch.zeros([min(size, 3) for size in value.shape]) for key, value in made.state_dict().items()}


def prefixed(prefix: str, weights: dict[str, Any]) -> dict[str, Any]:
    return {f"{prefix}{key}": value for key, value in weights.items()}


def ssd_pytorch() -> dict[str, torch.Tensor]:
    vgg = prefixed("vgg.", {f"{i}.weight": torch.zeros(3, 3, 3, 3) for i in range(0, 30, 2)})
    return vgg | {"loc.0.weight": torch.zeros(4, 3, 3, 3), "conf.0.weight": torch.zeros(4, 3, 3, 3)}


class Double(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3))
        self.decoder = nn.Sequential(nn.ConvTranspose2d(4, 3, 3))


def vgg(seed: int = 0, width: int = 16) -> PlainVGG:
    torch.manual_seed(seed)
    made = PlainVGG("vgg11", width=width, classifier=nn.Linear(512 // width, 5))
    settled(made)
    return made


MODELS = torchvision.models
OTHERS: dict[str, tuple[Callable[[], Any], str]] = {
    "ResNet": (lambda: keys(MODELS.resnet18), "a ResNet"),
    "ResNet in Lightning": (lambda: {"state_dict": prefixed("net.", keys(MODELS.resnet50))}, "a ResNet"),
    "DenseNet": (lambda: keys(MODELS.densenet121), "a DenseNet"),
    "GoogLeNet": (lambda: keys(lambda: MODELS.googlenet(init_weights=False)), "an Inception network"),
    "SqueezeNet": (lambda: keys(MODELS.squeezenet1_0), "a SqueezeNet"),
    "ViT": (lambda: {"model": keys(MODELS.vit_b_16)}, "a transformer"),
    "Swin": (lambda: keys(MODELS.swin_t), "a Swin transformer"),
    "SSD": (
        lambda: keys(lambda: MODELS.detection.ssd300_vgg16(weights_backbone=None)),
        "an SSD detector .*built on a VGG",
    ),
    "SSD of its first port": (ssd_pytorch, "an SSD detector .*built on a VGG"),
    "Faster R-CNN": (
        lambda: keys(lambda: MODELS.detection.fasterrcnn_resnet50_fpn(weights_backbone=None)),
        "a detector \\(Faster",
    ),
    "DeepLab": (lambda: keys(lambda: MODELS.segmentation.deeplabv3_resnet50(weights_backbone=None)), "a segmenter"),
    "FCN on VGG": (
        lambda: vgg().state_dict() | {"upscore8.weight": torch.zeros(2, 2, 16, 16)},
        "a segmenter \\(FCN\\)",
    ),
    "autoencoder": (lambda: keys(Double), "an encoder with a decoder"),
    "GAN": (
        lambda: {
            "netG": {"main.0.weight": torch.zeros(8, 3, 4, 4)},
            "netD": {"main.0.weight": torch.zeros(8, 3, 4, 4)},
        },
        "a GAN",
    ),
    "captions": (
        lambda: prefixed("vgg.", vgg().state_dict()) | prefixed("lstm.", nn.LSTM(4, 4).state_dict()),
        "recurrent",
    ),
    "video": (lambda: keys(MODELS.video.r3d_18), "3-D convolutions"),
    "two networks": (
        lambda: {"vgg": vgg().state_dict(), "small": vgg(1, 32).state_dict()},
        "two networks, under 'vgg' and 'small'; choose one by --key vgg",
    ),
    "two networks in one state dict": (
        lambda: prefixed("a.", vgg().state_dict()) | prefixed("b.", vgg(1, 32).state_dict()),
        "two networks, under 'a' and 'b'",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_network_is_said_as_what_it_is(name: str, tmp_path: Path) -> None:
    made, what = OTHERS[name]
    torch.save(made(), tmp_path / "x.pt")
    with pytest.raises(CheckpointRefused, match=f"'x.pt' holds .*{what}"):
        load(tmp_path / "x.pt")


@pytest.mark.parametrize("name", ["two networks", "two networks in one state dict"])
def test_each_key_that_is_named_opens_its_network(name: str, tmp_path: Path) -> None:
    torch.save(OTHERS[name][0](), tmp_path / "x.pt")
    with pytest.raises(CheckpointRefused) as refused:
        load(tmp_path / "x.pt")
    named = re.findall(r"--key (\w+)", str(refused.value))
    widths = [load(tmp_path / "x.pt", key=key).weights["features.0.weight"].shape[0] for key in named]
    assert widths == [4, 2]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda sd: sd,
        lambda sd: {"model": sd, "ema": sd, "optimizer": {"state": {0: torch.ones(3, 3, 3, 3, 3)}}},
        lambda sd: {"state_dict": prefixed("net.module.", sd), "best_state_dict": sd},
        lambda sd: {"teacher": sd, "student": vgg(1).state_dict()},
        lambda sd: {"encoder": {k: v for k, v in sd.items() if v.ndim == 4}, "decoder": {"weight": torch.ones(5, 32)}},
    ],
)
def test_a_vgg_is_taken_for_no_other_network(wrap: Callable[[Any], Any]) -> None:
    require_one_vgg(wrap(vgg().state_dict()), Path("x.pt"), None)


@pytest.mark.parametrize("name", [name for name in MODELS.list_models() if name.startswith("vgg")])
def test_no_vgg_of_torchvision_is_taken_for_another_network(name: str) -> None:
    require_one_vgg({"state_dict": keys(lambda: MODELS.get_model(name))}, Path("x.pt"), None)


# ---------------------------------------------------------------- quantised


def quantised(tmp_path: Path, wrap: Callable[[Any], Any] = lambda state: state) -> PlainVGG:
    made = vgg()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        small = torch.ao.quantization.quantize_dynamic(made, {nn.Linear}, dtype=torch.qint8)
        torch.save(wrap(small.state_dict()), tmp_path / "int8.pth")
    return made


@pytest.mark.parametrize("wrap", [lambda state: state, lambda state: {"model": state}])
def test_a_quantised_head_is_said_and_the_command_that_is_named_expands_it(
    wrap: Callable[[Any], Any], tmp_path: Path
) -> None:
    made = quantised(tmp_path, wrap)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(
            CheckpointRefused, match="layer 'classifier' was quantised to 8-bit whole numbers"
        ) as refused:
            load(tmp_path / "int8.pth")
        code = shlex.split("python -c" + str(refused.value).partition("run python -c")[2])[2]
        with contextlib.chdir(tmp_path):
            exec(code, {})
    back = load(tmp_path / "int8-weights.pt")
    original = made.classifier.weight.detach()
    step = original.abs().max() / 127
    (head,) = (weight for key, weight in back.weights.items() if weight.ndim == 2)
    assert (head - original).abs().max() <= step


def test_other_quantised_weights_are_said_too(tmp_path: Path) -> None:
    state = vgg().state_dict()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spoiled = state | {
            "features.0.weight": torch.quantize_per_tensor(state["features.0.weight"], 0.1, 0, torch.qint8)
        }
        for stored in (spoiled, state | {"classifier.weight.absmax": torch.ones(3)}):
            torch.save(stored, tmp_path / "x.pt")
            with pytest.raises(CheckpointRefused, match="holds a quantised network"):
                load(tmp_path / "x.pt")
