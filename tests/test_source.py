"""What a checkpoint is called, which bytes it is and in which files it lies: decided once, the same for every command."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from keras_files import tiny_net

from vgg_viz.models.build import architecture, build
from vgg_viz.models.checkpoint import save
from vgg_viz.plain_json import json_text
from vgg_viz.records import Checkpoint
from vgg_viz.studies.inputs import names_of, open_checkpoint

CLASSES = ("disc", "ring")


def small(seed: int = 0) -> Checkpoint:
    wanted = architecture("tiny_vgg", image_side=16, num_classes=2, width=0.2)
    return Checkpoint(wanted, CLASSES, build(wanted, seed=seed).state_dict())


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("run1/best.pt", "run1-best"),
        ("run1/last.pt", "run1-last"),
        ("run1/checkpoint.pth", "run1-checkpoint"),
        ("run1/model.pt", "run1-model"),
        ("run1/model_best.pth.tar", "run1-model_best"),
        ("run1/model_best.pt", "run1-model_best"),
        ("run1/BEST.PT", "run1-BEST"),
        ("run1/checkpoints/best.pt", "run1-best"),
        ("run1/epochs/epoch-003.pt", "run1-epoch-003"),
        ("run1/checkpoint_12.pt", "run1-checkpoint_12"),
        ("run1/best_model.pt", "run1-best_model"),
        ("nets/vgg16.pth", "vgg16"),
        ("nets/bestiary.pt", "bestiary"),
        ("nets/modelling.pt", "modelling"),
        ("run.1/vgg.v2.pt", "vgg.v2"),
    ],
)
def test_a_file_goes_by_its_run_where_its_own_name_says_nothing(tmp_path, path, name):
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_bytes(b"x")
    assert names_of(file) == (name, f"{path.split('/')[0]}/{file.name}" if name.startswith("run1-") else file.name)


def test_a_file_without_any_telling_folder_keeps_its_own_name():
    assert names_of(Path("/model.pt")) == ("model", "model.pt")


def test_a_folder_goes_by_its_whole_name_also_as_a_dot(tmp_path, monkeypatch):
    folder = tmp_path / "run.v2"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert names_of(Path(".")) == ("run.v2", "run.v2")


def test_a_variants_name_is_no_file_even_where_a_folder_is_called_so(tmp_path, monkeypatch):
    (tmp_path / "tiny_vgg").mkdir()
    monkeypatch.chdir(tmp_path)
    found = open_checkpoint("tiny_vgg", seed=0)
    assert (found.sha256, found.files, found.stem) == ("", (), "tiny_vgg")
    assert found.identity == "untrained tiny_vgg"


def test_a_folder_and_the_file_that_names_its_parts_are_the_same_source(tmp_path, monkeypatch):
    folder = tiny_net(side=32, hidden=2).tfjs(tmp_path / "net", shard=500)
    by_folder, by_file = open_checkpoint(folder, seed=0), open_checkpoint(folder / "model.json", seed=0)
    assert by_folder.sha256 == by_file.sha256 != ""
    assert by_folder.files == by_file.files
    assert by_folder.files[0] == "model.json"
    monkeypatch.chdir(folder)
    here = open_checkpoint(".", seed=0)
    assert here.checkpoint.provenance.file == "net"
    assert here.sha256 == by_folder.sha256


def test_the_checksum_is_that_of_the_bytes(tmp_path):
    save(tmp_path / "net.pt", small())
    found = open_checkpoint(tmp_path / "net.pt", seed=0)
    assert found.sha256 == hashlib.sha256((tmp_path / "net.pt").read_bytes()).hexdigest()
    assert (found.stem, found.files, found.identity) == ("net", ("net.pt",), found.sha256)
    assert os.fspath(tmp_path) not in json_text(found.facts())
