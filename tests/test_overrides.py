"""What the user sets wins, is said, closes the question that it answers; what contradicts the file is refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import CourseTiny, PlainVGG, prepared, settled
from test_formats import evidence
from torch import nn

from vgg_viz.cli import main
from vgg_viz.errors import CheckpointRefused, InputRefused
from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import load
from vgg_viz.models.vgg import describe


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    torch.save(settled(PlainVGG("vgg11", classifier=nn.Linear(64, 5))).state_dict(), tmp_path / "plain.pt")
    return tmp_path / "plain.pt"


@pytest.fixture
def course(tmp_path: Path) -> Path:
    torch.save(settled(CourseTiny(padding=0, side=64)).state_dict(), tmp_path / "course.pt")
    return tmp_path / "course.pt"


@pytest.mark.parametrize(
    ("option", "field", "value", "guess"),
    [
        ({"image_size": 48}, "image_side", 48, "Image side: 32 px is assumed"),
        ({"padding": 0, "image_size": 256}, "padding", 0, "Image side: 32 px is assumed"),
        (
            {"mean": (0.1, 0.2, 0.3), "std": (1.0, 1.0, 1.0)},
            "mean",
            (0.1, 0.2, 0.3),
            "ImageNet's mean and std are assumed",
        ),
    ],
)
def test_an_override_wins_is_said_and_closes_its_question(
    option: Any, field: str, value: Any, guess: str, plain: Path
) -> None:
    before, after = load(plain), load(plain, **option)
    assert guess in evidence(before)
    assert guess not in evidence(after)
    about = describe(after.architecture) if field == "padding" else after.architecture
    assert getattr(about, field) == value
    assert f"You set {field.replace('_', ' ')} to" in evidence(after)
    build(after)(torch.rand(1, 3, after.architecture.image_side, after.architecture.image_side))


def test_a_mean_of_ones_own_reaches_the_network(plain: Path) -> None:
    pictures = torch.rand(2, 3, 32, 32)
    network = settled(PlainVGG("vgg11", classifier=nn.Linear(64, 5)))
    back = load(plain, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    with torch.inference_mode():
        assert torch.equal(build(back)(pictures), network(prepared(pictures, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7))))


def test_a_lrn_is_read_from_the_weights_of_a_when_asked_for(plain: Path) -> None:
    back = load(plain, arch="a_lrn")
    assert describe(back.architecture).variant == "a_lrn"
    pictures = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    assert not torch.equal(build(load(plain))(pictures), build(back)(pictures))
    assert {tuple(value.shape) for value in back.weights.values()} == {
        tuple(value.shape) for value in load(plain).weights.values()
    }


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"arch": "vgg19"}, "the 8 convolutions of vgg11, --arch vgg19 has 16"),
        ({"arch": "vgg11_bn"}, "--arch vgg11_bn came, but the file's network has no batch norm"),
        ({"arch": "tiny_vgg"}, "--arch tiny_vgg has 4"),
        ({"classes": ["a", "b"]}, "2 class names came for a network with 5 classes"),
        ({"key": "nowhere"}, "no VGG under the key 'nowhere'"),
        ({"weights": "ema"}, "--weights ema came, but the file's only weights are the raw ones"),
    ],
)
def test_an_override_that_contradicts_the_file_is_refused(option: Any, words: str, plain: Path) -> None:
    with pytest.raises(CheckpointRefused, match=words) as refused:
        load(plain, **option)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"image_size": 16}, "too small|leaves a 0|no map"),
        ({"image_size": 1}, "4 to 4096"),
        ({"mean": (0.5,)}, "1 means and 3 standard"),
        ({"std": (0.0, 1.0, 1.0)}, "not above 0"),
        ({"arch": "resnet50"}, "there is no variant 'resnet50'"),
    ],
)
def test_an_override_that_makes_no_network_is_refused(option: Any, words: str, plain: Path) -> None:
    with pytest.raises(InputRefused, match=words) as refused:
        load(plain, **option)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"image_size": 96}, r"--image-size 96 came, which leaves a 21 × 21 map, .* reads a 13 × 13 map"),
        ({"padding": 1, "image_size": 64}, r"--image-size 64 and --padding 1 came, which leaves a 16 × 16 map"),
        ({"image_size": 6}, "which leaves no map at all"),
    ],
)
def test_a_side_that_the_classifier_cannot_read_is_refused_with_both_maps(
    option: Any, words: str, course: Path
) -> None:
    with pytest.raises(CheckpointRefused, match=words):
        load(course, **option)


def test_one_answer_narrows_the_other_question(course: Path) -> None:
    def same_map(**options: Any) -> list[str]:
        return [text for text in map(str, load(course, **options).provenance.alternatives) if "same map" in text]

    assert same_map(padding=1) == ["Padding 1 at 53 to 55 px gives the same map (--image-size)."]
    assert same_map(image_size=66) == []
    assert describe(load(course, image_size=54).architecture).padding == 1


COMMANDS = ("inspect", "report", "evaluate", "predict")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_that_takes_a_checkpoint_takes_every_override(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    said = capsys.readouterr().out
    for option in ("--arch", "--image-size", "--padding", "--mean", "--std", "--classes", "--key", "--weights"):
        assert option in said


def test_inspect_tells_choice_evidence_and_alternatives(
    course: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(["inspect", str(course), "--json", "--padding", "1", "--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5"]) == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert (found["variant"], found["num_classes"], found["image_side"], found["padding"]) == ("tiny_vgg", 3, 52, 1)
    assert (found["mean"], found["std"]) == ([0.5] * 3, [0.5] * 3)
    assert found["parameters"] == sum(value.numel() for value in load(course).weights.values())
    assert "You set padding to 1." in found["evidence"]
    assert found["alternatives"]
    assert found["ignored_keys"] == []
