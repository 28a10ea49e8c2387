"""What a hostile or unlucky user brings: every defect that was once found by trying, kept from coming back."""

from __future__ import annotations

import json
import os

import pytest
import torch
from PIL import Image

from vgg_viz.cli import main
from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import load


def lab_weights(side: int = 64, classes: int = 3) -> dict[str, torch.Tensor]:
    """A Tiny VGG under the names of the lab courses."""
    return build("tiny_vgg", image_side=side, num_classes=classes, width=0.4).state_dict()


@pytest.fixture
def picture(tmp_path):
    Image.new("RGB", (70, 60), (200, 90, 30)).save(tmp_path / "red.png")
    return tmp_path / "red.png"


def logits(capsys, *line) -> list[float]:
    assert main(["predict", *map(str, line), "--json"]) == 0
    return json.loads(capsys.readouterr().out)["images"][0]["logits"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_say_what_their_float32_values_say(dtype, picture, tmp_path, capsys):
    weights = {key: value.to(dtype) for key, value in lab_weights().items()}
    torch.save(weights, tmp_path / "other.pt")
    torch.save({key: value.float() for key, value in weights.items()}, tmp_path / "single.pt")
    assert logits(capsys, tmp_path / "other.pt", picture) == logits(capsys, tmp_path / "single.pt", picture)
    said = load(tmp_path / "other.pt").provenance.evidence
    assert any(str(dtype).removeprefix("torch.") in sentence and "float32" in sentence for sentence in said)


@pytest.mark.parametrize("dtype", [torch.int32, torch.complex64])
def test_weights_that_are_no_floats_are_refused_with_their_layer(dtype, tmp_path, capsys):
    torch.save({key: value.to(dtype) for key, value in lab_weights().items()}, tmp_path / "odd.pt")
    assert main(["inspect", str(tmp_path / "odd.pt")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"conv_block_1.0.weight as {str(dtype).removeprefix('torch.')}" in said


@pytest.mark.parametrize("side", [16, 48, 300])
def test_a_lab_network_for_unusual_pictures_opens_at_a_side_that_fits(side, tmp_path):
    torch.save(lab_weights(side=side), tmp_path / "lab.pt")
    assert load(tmp_path / "lab.pt").architecture.image_side == side
    assert load(tmp_path / "lab.pt", image_size=side + 1).architecture.image_side == side + 1


def test_a_pipe_in_place_of_a_picture_is_refused_at_once(tmp_path, capsys):
    torch.save(lab_weights(), tmp_path / "lab.pt")
    os.mkfifo(tmp_path / "pipe.png")
    assert main(["predict", str(tmp_path / "lab.pt"), str(tmp_path / "pipe.png")]) == 2
    assert "pipe.png cannot be read (it is no regular file)" in capsys.readouterr().err


def test_a_folder_called_like_a_variant_does_not_hide_the_variant(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny_vgg").mkdir()
    assert load("tiny_vgg").architecture.variant == "tiny_vgg"
