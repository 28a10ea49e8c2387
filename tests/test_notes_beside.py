"""Files beside the weights: names, side, mean and std of Hugging Face's and timm's folders are used, hostile ones harm nobody."""

from __future__ import annotations

import json

import pytest
import torch
from networks import PlainVGG, settled
from safetensors.torch import save_file
from telling import tells
from torch import nn

from vgg_viz.errors import CheckpointRefused
from vgg_viz.models.checkpoint import load
from vgg_viz.models.notes_beside import LARGEST, notes_beside

TIMM = {
    "architecture": "vgg11",
    "num_classes": 3,
    "label_names": ["bread", "dairy", "meat"],
    "pretrained_cfg": {"input_size": [3, 32, 32], "mean": [0.5, 0.4, 0.3], "std": [0.6, 0.5, 0.4], "crop_pct": 0.875},
}
CONFIG = {"model_type": "vgg", "id2label": {"0": "bread", "1": "dairy", "2": "meat"}}
PROCESSOR = {
    "image_processor_type": "X",
    "do_normalize": True,
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.6, 0.5, 0.4],
    "size": {"height": 32, "width": 32},
}


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    save_file(settled(PlainVGG("vgg11", classifier=nn.Linear(64, 3))).state_dict(), tmp_path / "model.safetensors")
    return tmp_path


@pytest.mark.parametrize(
    "described", [{"config.json": TIMM}, {"config.json": CONFIG, "preprocessor_config.json": PROCESSOR}]
)
@pytest.mark.parametrize("named", ["file", "folder"])
def test_names_side_mean_and_std_come_from_the_files_beside(folder, described, named):
    for name, value in described.items():
        (folder / name).write_text(json.dumps(value))
    found = load(folder if named == "folder" else folder / "model.safetensors")
    assert found.classes == ("bread", "dairy", "meat")
    assert found.architecture.image_side == 32
    assert (found.architecture.mean, found.architecture.std) == ((0.5, 0.4, 0.3), (0.6, 0.5, 0.4))
    said = " ".join(one.text for one in found.provenance.evidence if not one.assumed)
    assert tells(said, "beside the file in config.json", "mean and std stand beside the file")
    assert not any("--mean" in one.settled_by for one in found.provenance.evidence)


def test_a_processor_that_does_not_normalise_means_none(folder):
    processor = {"image_processor_type": "X", "do_normalize": False, "size": 32}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    found = load(folder).architecture
    assert (found.mean, found.std) == ((0.0,) * 3, (1.0,) * 3)


def test_the_user_and_the_file_itself_count_before_the_files_beside(folder):
    (folder / "config.json").write_text(json.dumps(TIMM))
    assert load(folder, mean=(0.1,) * 3, std=(0.2,) * 3).architecture.mean == (0.1,) * 3
    own = {"mean": "0.7,0.7,0.7", "std": "0.7,0.7,0.7"}
    weights = {key: value.clone() for key, value in load(folder).weights.items()}
    save_file(
        {key: value for key, value in weights.items() if key.startswith("features")} | head(weights),
        folder / "model.safetensors",
        metadata=own,
    )
    assert load(folder).architecture.mean == (0.7,) * 3


def head(weights):
    return {key: value for key, value in weights.items() if not key.startswith("features")}


def test_a_folder_with_pytorch_model_bin_opens(folder):
    (folder / "model.safetensors").unlink()
    torch.manual_seed(0)
    torch.save(settled(PlainVGG("vgg11", classifier=nn.Linear(64, 3))).state_dict(), folder / "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps(TIMM))
    assert load(folder).classes == ("bread", "dairy", "meat")


def test_another_networks_files_are_left_alone(folder):
    (folder / "config.json").write_text(json.dumps(TIMM))
    (folder / "model.safetensors").rename(folder / "mine.safetensors")
    assert load(folder / "mine.safetensors").named  # alone in its folder
    (folder / "other.pth").write_bytes(b"x")
    assert not load(folder / "mine.safetensors").named
    (folder / "other.pth").unlink()
    (folder / "config.json").write_text(json.dumps({"mean": [0.1] * 3, "std": [0.1] * 3}))  # of something else
    assert load(folder / "mine.safetensors").architecture.mean != (0.1,) * 3


def test_fewer_classes_beside_than_outputs_alarm(folder):
    (folder / "config.json").write_text(json.dumps({**TIMM, "label_names": ["bread", "dairy"], "num_classes": 2}))
    found = load(folder)
    (alarm,) = [one.text for one in found.provenance.evidence if one.alarm and not one.plans]
    assert tells(alarm, "config.json.label_names", "2 entries", "last layer")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b"\xff\xfe",
        b"[1, 2]",
        b'{"model_type": ' + b'{"a":' * 5_000 + b"1" + b"}" * 5_001,
        json.dumps({"model_type": 3, "id2label": {"0": {}, "1": []}, "image_size": "x" * 1000}).encode(),
        json.dumps({"architecture": "v", "label_names": [None, {}, 3], "pretrained_cfg": [[[]]]}).encode(),
        json.dumps({"architecture": "v", "pretrained_cfg": {"mean": ["a", {}, None], "std": [0, 0, 0]}}).encode(),
        b'{"architecture": "v", "mean": [NaN, 1, 2], "std": [Infinity, 1, 1], "input_size": 1e999}',
    ],
)
def test_what_stands_beside_never_refuses_a_checkpoint(folder, content):
    plain = load(folder)
    (folder / "config.json").write_bytes(content)
    (folder / "preprocessor_config.json").write_bytes(content)
    found = load(folder)
    assert found.architecture == plain.architecture
    assert not found.named


def test_files_that_are_no_files_or_too_large_are_not_read(folder):
    (folder / "config.json").mkdir()
    with open(folder / "preprocessor_config.json", "wb") as file:
        file.truncate(LARGEST + 1)
    assert notes_beside(folder) == {}
    with pytest.raises(CheckpointRefused):
        load(folder / "config.json")
