"""Every command on a second device: pictures are taken to the network, and what is painted or written comes back to the CPU."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from loose_options import attribute, evidence
from serving import picture
from stand_in_device import DEVICE, stand_in
from torch.nn import functional as F

import vgg_viz
from vgg_viz.attribution import cams_all_layers, gradient_bundle, methods
from vgg_viz.attribution.lrp.conservation import ledger
from vgg_viz.capture.hooks import activations
from vgg_viz.capture.predict import predict_logits
from vgg_viz.cli import main
from vgg_viz.data import shapes
from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import load
from vgg_viz.notebook import plot_activations, plot_attribution
from vgg_viz.serve.network import ServedNetwork
from vgg_viz.studies import request
from vgg_viz.units.effective_field import effective_field

QUICK = {"steps": 2, "samples": 2, "window": 16, "masks": 4}
RANDOM = {"smoothgrad", "vargrad", "gradient_shap"}  # noise of the device's own generator


@pytest.fixture(scope="module", autouse=True)
def device() -> Iterator[torch.device]:
    """A second device, which `--device auto` chooses."""
    try:
        with stand_in() as found, pytest.MonkeyPatch.context() as patch:
            given = torch.ones(2, device=found, requires_grad=True)
            torch.autograd.grad((given * 2).sum(), [given])
            patch.setattr(request, "resolve_device", lambda name: DEVICE.type if name == "auto" else name)
            patch.setenv("VGG_VIZ_DEBUG", "1")  # a section that fails is no section that is left out
            yield found
    except (AttributeError, NotImplementedError) as error:
        pytest.skip(f"torch {torch.__version__} has no room for a device of Python's: {error}")


# ---------------------------------------------------------------- the device itself


@pytest.mark.parametrize(
    "mixed",
    [
        lambda here, away: here + away,
        lambda here, away: away - here,
        lambda here, away: torch.cat([here, away]),
        lambda here, away: here @ away.T,
        lambda here, away: away.add_(here),
        lambda here, away: F.linear(here, away),
        lambda here, away: torch.where(away > 0, here, 0.0),
        lambda here, away: here.gather(1, away.long()),
        lambda here, away: away * here.sum(),
        lambda here, away: away.sum().add_(here.sum()),
        lambda here, away: torch.equal(here, away),
        lambda here, away: torch.stack([here.sum(), away.sum()]),
        lambda here, away: here.masked_fill(away > 0, 1.0),
        lambda here, away: F.cross_entropy(here, away.argmax(1)),
        lambda here, away: F.conv2d(here[None, None], away[None, None]),
        lambda here, away: here[:, [0]].index_put_((torch.tensor([0]),), away[:1, :1]),
    ],
)
def test_tensors_of_two_devices_do_not_meet_in_one_operator(mixed):
    with pytest.raises(RuntimeError, match="same device"):
        mixed(torch.ones(3, 3, device=DEVICE), torch.ones(3, 3))


def test_what_cuda_lets_pass_is_let_pass():
    here, number = torch.arange(6.0, device=DEVICE).view(2, 3), torch.tensor(2.0)
    for made in (
        here * number,
        number - here,
        here[torch.tensor([1])],
        here[torch.ones(2).bool()],
        here.to(torch.float64),
        here + 1,
    ):
        assert made.device == DEVICE
    here[0] = torch.zeros(3)  # written from the other device, which is a copy
    here[torch.tensor([1])] = number
    assert here.tolist() == [[0, 0, 0], [2, 2, 2]]
    assert torch.ones(2, 3).copy_(here).device.type == "cpu"
    assert (
        torch.tensor([1, 2], device=DEVICE).device == torch.zeros_like(here).device == here.new_ones(2).device == DEVICE
    )
    assert float(here.sum()) == int(here.sum()) == 6


def test_what_cuda_refuses_beside_that_is_refused():
    here = torch.ones(3, device=DEVICE)
    for painted in (here.numpy, lambda: np.asarray(here)):
        with pytest.raises(TypeError, match=r"Use Tensor\.cpu\(\)"):
            painted()
    with pytest.raises(RuntimeError, match="indices should be either on cpu"):
        torch.ones(3)[torch.arange(2, device=DEVICE)]
    with pytest.raises(RuntimeError, match="device type for generator"):
        torch.rand(3, device=DEVICE, generator=torch.Generator())


def test_chance_on_the_device_leaves_the_dice_of_the_cpu_alone():
    before = torch.get_rng_state()
    made = torch.rand(3, device=DEVICE), torch.randn(3, device=DEVICE), F.dropout(torch.ones(9, device=DEVICE))
    assert all(one.device == DEVICE for one in made)
    assert torch.equal(before, torch.get_rng_state())


# ---------------------------------------------------------------- the front door


@pytest.fixture(scope="module")
def pair(device):
    """One network on either device, and pictures on the CPU."""
    nets = [build("vgg11_bn", num_classes=4, width=0.05, image_side=32, seed=2).eval() for _ in range(2)]
    return nets[0], nets[1].to(device), torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", methods())
def test_pictures_are_taken_to_the_network_and_maps_are_those_of_the_cpu(name, pair):
    plain, moved, images = pair
    labels = torch.tensor([0, 1, 2, 3])
    here, there = (
        attribute(m, images, method=name, target="true", labels=labels, baseline="mean", **QUICK)
        for m in (plain, moved)
    )
    assert there.values.device == DEVICE
    assert name in RANDOM or torch.allclose(here.values, there.values.cpu(), atol=1e-6)


def test_whatever_sends_pictures_through_a_network_takes_them_there(pair):
    plain, moved, images = pair
    for ask in (
        lambda model: predict_logits(model, images),
        lambda model: activations(model, images).logits,
        lambda model: gradient_bundle(model, images, keep=["relu1_1"]).saliency.values,
        lambda model: cams_all_layers(model, images, [0, 1, 2, 3])["layer_cam"]["relu2_1"].values,
        lambda model: effective_field(model, images, "conv3_1").influence,
        lambda model: ledger(model, images, torch.tensor([0, 1, 2, 3])).leaving,
    ):
        assert torch.allclose(ask(plain), ask(moved).cpu(), atol=1e-6)
    masks = torch.zeros(4, 32, 32).bool()
    masks[:, 8:24, 8:24] = True
    found = [
        evidence(
            model,
            images,
            names=["saliency", "grad_cam"],
            masks=masks,
            labels=torch.zeros(4).long(),
            **{key: value for key, value in QUICK.items() if key != "masks"},
        )
        for model in (plain, moved)
    ]
    assert [one.verdict for one in found[0]] == [one.verdict for one in found[1]]
    plot_activations(vgg_viz.activations(moved, images), "relu1_1")
    plot_attribution(moved, images, attribute(moved, images, method="saliency"))


# ---------------------------------------------------------------- the commands


@pytest.fixture(scope="module")
def place(tmp_path_factory, device) -> Iterator[Path]:
    """A folder with a run that was trained on the device, a picture, and labelled pictures."""
    folder = tmp_path_factory.mktemp("devices")
    (folder / "p.png").write_bytes(picture())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        line = "data shapes --out painted --train 100 --val 10 --test 40 --side 32 --quiet"
        assert main(line.split()) == 0
        line = "--data shapes --image-size 32 --width 0.4 --epochs 2 --train-count 64 --val-count 32 --keep-epochs all --quiet"
        assert main(["train", "--out", "run", *line.split()]) == 0
        yield folder


def test_a_run_of_the_device_is_a_run_of_the_cpu_and_goes_on(place):
    kept = load(place / "run" / "last.pt")
    assert {value.device.type for value in kept.weights.values()} == {"cpu"}
    line = "--data shapes --image-size 32 --width 0.4 --epochs 2 --train-count 64 --val-count 32 --keep-epochs all --quiet --resume"
    assert main(["train", "--out", "run", *line.split()]) == 0


@pytest.mark.parametrize(
    "line",
    [
        "report run/best.pt --data painted --preset quick --no-maps",
        "compare run/best.pt run/last.pt --data painted --preset quick",
        "compare run --data painted --preset quick --region border --class ring",
        "explain run/best.pt p.png --method grad_cam,saliency,occlusion,lrp_epsilon_gamma_box",
        "explain run/best.pt p.png --preset quick --unit conv2_1:2",
        "audit run/best.pt --limit 60 --json",
        "evaluate run/best.pt --data painted/test --json",
        "predict run/best.pt p.png --json",
        "inspect run/best.pt --json",
        "export run/best.pt out.safetensors",
        pytest.param("report run/best.pt --data painted --preset standard", marks=pytest.mark.slow),
        pytest.param("report run/best.pt --data painted --preset full", marks=pytest.mark.slow),
    ],
    ids=lambda line: "-".join(line.split()[:3:2]),
)
def test_every_command_does_its_work_on_another_device(line, place, capsys):
    """`audit` ended in a traceback: its pictures stayed on the CPU."""
    assert main([*line.split(), "--quiet"]) == 0
    said = capsys.readouterr().out
    for index in [word for word in said.split() if word.endswith("index.html")]:
        assert json.loads((Path(index).parent / "manifest.json").read_text(encoding="utf-8"))["device"] == DEVICE.type


def test_a_server_answers_and_draws_maps_on_another_device(place):
    network = ServedNetwork(load(place / "run" / "best.pt"), device=DEVICE.type)
    seen = network.seen(network.prepared((place / "p.png").read_bytes()))
    names = ["saliency", "grad_cam", "layer_cam", "occlusion", "smoothgrad", "lrp_epsilon_gamma_box"]
    viewer = network.maps(seen, network.wish({"methods": names, "classes": [0, 1]}), lambda *_: None, lambda _: None)
    assert {entry["method"] for entry in viewer["maps"]} == set(names)
    assert shapes.CLASSES[int(seen.probabilities.argmax())] in load(place / "run" / "best.pt").classes
