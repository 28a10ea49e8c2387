"""The preprocessing detective: it names what the running statistics were made with, and says so when it cannot tell."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from telling import tells
from torch import Tensor, nn

from vgg_viz.cli import main
from vgg_viz.data import shapes
from vgg_viz.maths.images import encode_png
from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import load, save
from vgg_viz.records import Checkpoint
from vgg_viz.studies.preprocessing_check import FEWEST, candidates, infer_preprocessing

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
from detective import folded, remembering

FAMILIES = ("ImageNet mean and std", "[0, 1]", "[-1, 1]", "0 to 255", "mean subtraction in 0 to 255")


@pytest.fixture(scope="module")
def painted() -> tuple[Tensor, Tensor]:
    """Pictures for the statistics, and others to judge by."""
    images = shapes.paint(160, seed=3, split="train", side=32).images
    return images[:128], images[128:]


def candidate(name: str, images: Tensor):
    return next(
        c for c in candidates(build("vgg11_bn", width=0.125, image_side=32).architecture, images) if c.name == name
    )


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("seed", [0, 1])
def test_statistics_made_under_a_normalisation_point_to_it_alone_or_with_its_nearest_kin(name, seed, painted):
    wanted = candidate(name, painted[0])
    found = infer_preprocessing(remembering(wanted, painted[0], seed), painted[1])
    assert wanted.name in [c.name for c in found.possible]
    # None of the other families may be left: those are 4 to 65,000 times apart in variance.
    assert not {c.name for c in found.possible} & (set(FAMILIES) - {name})
    assert found.contradicts == (name != "ImageNet mean and std")  # the networks are set to ImageNet's
    if found.contradicts:
        assert found.usable
        assert found.fits.flags in found.advice()
        assert tells(found.sentence(), "ImageNet mean and std", "in use")


def test_nothing_is_changed_in_the_network(painted):
    model = remembering(candidate("[0, 1]", painted[0]), painted[0], 0)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    mean, training = model.normalise.mean.clone(), [m.training for m in model.modules()]
    infer_preprocessing(model, painted[1])
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert torch.equal(model.normalise.mean, mean)
    assert [m.training for m in model.modules()] == training


def test_few_pictures_and_pictures_of_noise_tell_nothing(painted):
    model = remembering(candidate("[0, 1]", painted[0]), painted[0], 0)
    few = infer_preprocessing(model, painted[1][: FEWEST["batch norm"] - 1])
    assert not few.possible
    assert not few.contradicts
    assert tells(few.sentence(), "3 pictures", "at least 4")
    noise = infer_preprocessing(model, torch.rand(16, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    assert not noise.contradicts or len(noise.possible) > 1 or not noise.clear
    assert not noise.clear


def test_statistics_that_no_normalisation_explains_are_not_explained(painted):
    model = remembering(candidate("[0, 1]", painted[0]), painted[0], 0)
    next(m for m in model.modules() if isinstance(m, nn.BatchNorm2d)).running_mean += 30.0
    found = infer_preprocessing(model, painted[1])
    assert found.possible == ()
    assert tells(found.sentence(), "no usual normalisation")


def test_cifar_and_imagenet_statistics_are_too_near_to_tell(painted):
    found = infer_preprocessing(remembering(candidate("CIFAR mean and std", painted[0]), painted[0], 0), painted[1])
    assert {"CIFAR mean and std", "ImageNet mean and std"} <= {c.name for c in found.possible}
    assert not found.contradicts
    assert "cannot tell" in found.sentence()


@pytest.mark.parametrize(("name", "contradicted"), [("0 to 255", True), ("[0, 1]", False)])
def test_without_batch_norm_the_loss_tells_what_is_far_off(name, contradicted):
    batch = shapes.paint(32, seed=0, split="test", side=64)
    own = load()
    labels = torch.tensor([own.classes.index(n) for n in shapes.CLASSES])[batch.labels]
    wanted = next(
        c
        for c in candidates(replace(own.architecture, mean=(0.0,) * 3, std=(1.0,) * 3), batch.images)
        if c.name == name
    )
    found = infer_preprocessing(folded(wanted), batch.images, labels)
    assert found.by == "loss"
    assert wanted in found.possible
    assert found.contradicts is contradicted
    assert infer_preprocessing(folded(wanted), batch.images).by == "confidence"


def test_a_folded_network_says_what_the_bundled_one_says():
    images = shapes.paint(4, seed=0, split="test", side=64).images
    own = load()
    for wanted in candidates(replace(own.architecture, mean=(0.0,) * 3, std=(1.0,) * 3), images)[:4]:
        turned = (images - torch.tensor(wanted.mean).view(1, -1, 1, 1)) / torch.tensor(wanted.std).view(1, -1, 1, 1)
        with torch.no_grad():
            assert torch.allclose(folded(wanted)(turned), build(own)(images), atol=2e-3)


def test_inspect_with_pictures_names_the_flags_that_mend_it(painted, tmp_path, capsys):
    model = remembering(candidate("[-1, 1]", painted[0]), painted[0], 0)
    torch.save(model.state_dict(), tmp_path / "x.pt")
    (tmp_path / "photos").mkdir()
    for number, image in enumerate(painted[1]):
        (tmp_path / "photos" / f"{number}.png").write_bytes(encode_png(image))
    line = ["inspect", str(tmp_path / "x.pt"), "--images", str(tmp_path / "photos")]
    assert main([*line, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["preprocessing"]
    assert found["contradicts"]
    assert found["possible"][0] == "[-1, 1]"
    assert main(line) == 0
    assert tells(capsys.readouterr().out, "--mean 0.5,0.5,0.5 --std 0.5,0.5,0.5")
    assert main([*line, "--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5", "--json"]) == 0
    assert not json.loads(capsys.readouterr().out)["preprocessing"]["contradicts"]


def test_inspect_does_not_advise_against_what_the_file_records(painted, tmp_path, capsys):
    model = remembering(candidate("[-1, 1]", painted[0]), painted[0], 0)
    save(tmp_path / "x.pt", Checkpoint(model.architecture, tuple(map(str, range(10))), model.state_dict()))
    (tmp_path / "photos").mkdir()
    for number, image in enumerate(painted[1]):
        (tmp_path / "photos" / f"{number}.png").write_bytes(encode_png(image))
    assert main(["inspect", str(tmp_path / "x.pt"), "--images", str(tmp_path / "photos")]) == 0
    said = capsys.readouterr().out
    assert "--mean" not in said
    assert tells(said, "recorded in the file", "stays")
