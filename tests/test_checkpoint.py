"""Checkpoints: what is written comes back, what is not one is refused in a sentence."""

from __future__ import annotations

import argparse
import os
from collections import OrderedDict
from pathlib import Path
from typing import IO

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from vgg_viz.errors import CheckpointRefused, InputRefused, OutputRefused
from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import load, read_extra, save
from vgg_viz.models.vgg import describe
from vgg_viz.records import Checkpoint, Epoch, Provenance, Specimen


@pytest.fixture
def checkpoint(tiny: nn.Module) -> Checkpoint:
    return Checkpoint(
        tiny.architecture,
        (*(f"c{i}" for i in range(9)), "</script>"),
        tiny.state_dict(),
        (Epoch(1, 2.0, 0.3, 2.1, 0.25, 0.01, 3.5),),
        (Specimen(b"\x89PNG one", 3, "a.png", b"mask"), Specimen(b"\x89PNG two longer", 0, "b.png")),
        Provenance("", "", "", data={"kind": "shapes", "seed": 4}),
    )


def test_everything_comes_back_equal(checkpoint: Checkpoint, tmp_path: Path) -> None:
    save(tmp_path / "x.pt", checkpoint, extra={"step": 7, "momentum": torch.ones(2)})
    back = load(tmp_path / "x.pt")
    assert back.architecture == checkpoint.architecture
    assert back.classes == checkpoint.classes
    assert back.history == checkpoint.history
    assert back.specimens == checkpoint.specimens
    assert back.provenance.data == {"kind": "shapes", "seed": 4}
    assert all(torch.equal(back.weights[k], v) for k, v in checkpoint.weights.items())
    assert read_extra(tmp_path / "x.pt")["step"] == 7
    picture = torch.rand(1, 3, 64, 64)
    assert torch.equal(build(back)(picture), build(checkpoint)(picture))


def test_files_open_without_running_anything(checkpoint: Checkpoint, tmp_path: Path) -> None:
    save(tmp_path / "x.pt", checkpoint)
    assert torch.load(tmp_path / "x.pt", weights_only=True)["format"] == "vgg_viz"


def test_a_failed_write_leaves_the_old_file(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "x.pt", checkpoint)
    before = (tmp_path / "x.pt").read_bytes()

    def dies(_: object, path: IO[bytes]) -> None:
        path.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", dies)
    with pytest.raises(OutputRefused, match="disk full"):
        save(tmp_path / "x.pt", checkpoint)
    assert (tmp_path / "x.pt").read_bytes() == before
    assert os.listdir(tmp_path) == ["x.pt"]


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("owned",)


def _bad_files(folder: Path, tiny: nn.Module) -> dict[str, tuple[Path, str]]:
    weights = tiny.state_dict()
    broken = {**weights, "conv_block_1.0.weight": torch.full_like(weights["conv_block_1.0.weight"], float("nan"))}
    files = {
        "empty": (b"", "is empty"),
        "text": (b"hello\nworld", "is a text file"),
        "noise": (bytes(range(256)) * 9, "is damaged"),
    }
    found = {}
    for name, (content, sentence) in files.items():
        (folder / f"{name}.pt").write_bytes(content)
        found[name] = (folder / f"{name}.pt", sentence)
    for name, value, sentence in [
        ("nan", broken, "NaN or infinite weights in conv_block_1.0.weight"),
        ("module", tiny, "is a whole network pickled by torch.save"),
        ("payload", {"state_dict": weights, "x": Payload()}, "would run code to open"),
        ("list", [1, 2], "holds an object of type list"),
        ("other", {"a": torch.rand(3)}, "no VGG checkpoint"),
        (
            "unclear",
            {"features.0.weight": torch.rand(7, 3, 3, 3), "classifier.0.weight": torch.rand(2, 7)},
            "fit several networks",
        ),
        ("whole", {"format": "vgg_viz", "schema": 1}, "not whole"),
        ("future", {"format": "vgg_viz", "schema": 99}, "schema 99"),
        ("odd_tiny", {**weights, "classifier.1.weight": torch.rand(10, 1691)}, "no square map"),
    ]:
        torch.save(value, folder / f"{name}.pt")
        found[name] = (folder / f"{name}.pt", sentence)
    whole = (folder / "other.pt").read_bytes()
    (folder / "cut.pt").write_bytes(whole[: len(whole) // 2])
    found["cut"] = (folder / "cut.pt", "is damaged")
    found["folder"] = (folder, "is a folder")
    found["missing"] = (folder / "empti.pt", "there is 'empty.pt' beside it")
    return found


@pytest.mark.parametrize(
    "name",
    [
        "empty",
        "text",
        "noise",
        "nan",
        "module",
        "payload",
        "list",
        "other",
        "unclear",
        "whole",
        "future",
        "odd_tiny",
        "cut",
        "folder",
        "missing",
    ],
)
def test_what_is_no_checkpoint_is_refused_in_one_sentence(
    name: str, tiny: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path, sentence = _bad_files(tmp_path, tiny)[name]
    with pytest.raises(CheckpointRefused, match=sentence) as refused:
        load(path)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "owned").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs on this system")
def test_a_fifo_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(CheckpointRefused, match="not a regular file"):
        load(tmp_path / "pipe.pt")


def test_a_class_count_that_does_not_match_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    save(tmp_path / "x.pt", checkpoint)
    with pytest.raises(CheckpointRefused, match="3 class names came for a network with 10 classes"):
        load(tmp_path / "x.pt", classes=["a", "b", "c"])


def test_overrides_that_do_not_fit_are_refused_and_those_that_do_are_said(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    save(tmp_path / "x.pt", checkpoint)
    with pytest.raises(CheckpointRefused, match="do not fit it: the classifier in this file reads a 13 × 13 map"):
        load(tmp_path / "x.pt", image_size=96)
    changed = load(tmp_path / "x.pt", mean=(0.5,) * 3, std=(0.5,) * 3)
    assert changed.architecture.mean == (0.5, 0.5, 0.5)
    assert any("You set mean" in sentence for sentence in map(str, changed.provenance.evidence))
    with pytest.raises(InputRefused, match="means"):
        load(tmp_path / "x.pt", mean=(0.5,))


@pytest.mark.parametrize("name", ["vgg11", "vgg13_bn", "vgg16", "vgg19_bn"])
def test_torchvision_state_dicts_are_recognised_by_their_shapes(name: str, tmp_path: Path) -> None:
    with torch.device("meta"):
        theirs = getattr(torchvision.models, name)(init_weights=False)
    from vgg_viz.models.recognise import recognise

    reading = recognise(OrderedDict(theirs.state_dict()))
    assert reading is not None
    assert describe(reading.architecture).variant + ("_bn" if describe(reading.architecture).batch_norm else "") == name
    assert reading.architecture.num_classes == 1000
    assert any("ImageNet's mean" in sentence for sentence in map(str, reading.evidence))


@pytest.mark.parametrize("name", ["a_lrn", "c_bn", "vgg11", "vgg16_bn"])
def test_a_bare_state_dict_of_any_variant_and_width_gives_the_same_logits(name: str, tmp_path: Path) -> None:
    model = build(name, width=1 / 16, num_classes=4, image_side=64, seed=2)
    torch.save(
        {
            "model_state_dict": {f"module.{k}": v for k, v in model.state_dict().items()},
            "args": argparse.Namespace(lr=0.1),
            "best": np.float64(0.9),
        },
        tmp_path / "wrapped.pt",
    )
    back = load(tmp_path / "wrapped.pt", image_size=64)
    picture = torch.rand(2, 3, 64, 64)
    assert torch.equal(build(back)(picture), model(picture))
    assert any(one.text.startswith("module. was taken off the keys") for one in back.provenance.evidence)


@pytest.mark.parametrize(("padding", "side"), [(0, 64), (1, 64), (1, 224)])
def test_the_lab_courses_tiny_vgg_is_told_apart_by_its_last_map(padding: int, side: int, tmp_path: Path) -> None:
    model = build("tiny_vgg", padding=padding, image_side=side, num_classes=3)
    torch.save(model.state_dict(), tmp_path / "lab.pt")
    back = load(tmp_path / "lab.pt")
    assert (describe(back.architecture).padding, back.architecture.image_side) == (padding, side)


def test_a_variants_name_gives_seeded_random_weights() -> None:
    one, two = load("tiny_vgg", seed=1), load("tiny_vgg", seed=1)
    assert all(torch.equal(one.weights[k], two.weights[k]) for k in one.weights)
    assert one.provenance.format == "untrained"


def test_a_thousand_classes_get_the_names_of_imagenet() -> None:
    names = load("vgg11").classes
    assert len(names) == 1000
    assert names[1] == "goldfish"
