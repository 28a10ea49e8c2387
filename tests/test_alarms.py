"""The file as a witness: what it says of its network against what is in it, and against what is measured."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from networks import PlainVGG, settled
from safetensors.torch import save_file
from telling import tells
from torch import nn

from vgg_viz.cli import main
from vgg_viz.data import shapes
from vgg_viz.maths.images import encode_png
from vgg_viz.models.checkpoint import load
from vgg_viz.models.recorded_accuracy import recorded_accuracy
from vgg_viz.records import Evidence, Provenance, RecordedAccuracy
from vgg_viz.studies.alarms import MARGIN, measured_alarms

SHAPES = len(shapes.CLASSES)


def network(outputs: int = SHAPES) -> nn.Module:
    torch.manual_seed(0)
    return settled(PlainVGG("vgg11", classifier=nn.Linear(64, outputs)))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Painted pictures as an ImageFolder: 60, of ten classes."""
    folder = tmp_path_factory.mktemp("pictures") / "shapes"
    images = shapes.paint(4 * SHAPES, seed=0, split="test", side=32)
    for number, (image, label) in enumerate(zip(images.images, images.labels, strict=True)):
        place = folder / shapes.CLASSES[int(label)]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.png").write_bytes(encode_png(image))
    return folder


# ---------------------------------------------------------------- what is read


@pytest.mark.parametrize(
    ("key", "value", "share"),
    [
        ("acc", 0.703, 0.703),
        ("acc", 70.3, 0.703),
        ("best_acc", torch.tensor(70.25), 0.7025),
        ("best_acc1", np.float64(0.5), 0.5),
        ("best_prec1", torch.tensor([93.5]), 0.935),
        ("best_prec@1", 93.5, 0.935),
        ("val_acc", [0.1, 0.4, 0.6], 0.6),
        ("top1", "70.3 %", 0.703),
        ("valTop1Acc", 41, 0.41),
        ("accuracy", np.array([0.25]), 0.25),
    ],
)
def test_accuracies_are_read_as_shares_whatever_holds_them(key, value, share):
    found = recorded_accuracy([((), {key: value})])
    assert found is not None
    assert found.share == pytest.approx(share, abs=1e-6)
    assert found.place == key


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("top5", 0.9),
        ("best_acc5", 90.0),
        ("train_acc", 0.99),
        ("val_loss", 0.3),
        ("acc", 0),
        ("acc", 140.0),
        ("acc", float("nan")),
        ("acc", 10**400),
        ("acc", True),
        ("acc", torch.zeros(3)),
        ("acc", "good"),
        ("accumulate", 0.5),
        (3, 0.5),
    ],
)
def test_what_is_no_top_1_accuracy_of_held_out_pictures_is_left_alone(key, value):
    assert recorded_accuracy([((), {key: value})]) is None


def test_a_validation_set_counts_before_the_best_epoch_and_before_the_optimiser():
    bags = [((), {"best_acc": 0.9, "val_acc": 0.8, "acc": 0.7}), (("optimizer",), {"acc": 0.2})]
    assert recorded_accuracy(bags) == RecordedAccuracy(0.8, "val_acc")
    lightning = [(("callbacks", "ModelCheckpoint"), {"monitor": "val_acc", "current_score": torch.tensor(0.75)})]
    assert recorded_accuracy(lightning) == RecordedAccuracy(0.75, "val_acc (current_score)")


# ---------------------------------------------------------------- against a measurement


@pytest.mark.parametrize(("right", "alarmed"), [(160, True), (500, True), (560, False), (700, False), (900, False)])
def test_an_accuracy_alarms_beyond_its_interval_and_the_margin(right, alarmed):
    checkpoint = load()
    provenance = Provenance(
        "x.pt", "", "torchvision", evidence=(Evidence("a", ("--mean", "--std")),), accuracy=RecordedAccuracy(0.7, "acc")
    )
    alarms = measured_alarms(replace(checkpoint, provenance=provenance), right, 1000)
    assert bool(alarms) is alarmed
    if alarmed:
        assert tells(alarms[0].text, "70.0 %", f"{right / 10:.1f} %", "acc", "--mean, --std")
    assert 0.1 < MARGIN < 0.3
    assert not measured_alarms(checkpoint, 0, 1000)  # the bundled file records none


def test_few_pictures_do_not_alarm():
    checkpoint = replace(load(), provenance=Provenance("x.pt", "", "t", accuracy=RecordedAccuracy(0.7, "acc")))
    assert not measured_alarms(checkpoint, 1, 3)
    assert measured_alarms(checkpoint, 1, 12)


def test_evaluate_report_and_audit_say_so_before_anything_else(pictures, tmp_path, capsys):
    file = tmp_path / "net.pth"
    torch.save({"state_dict": network().state_dict(), "best_acc": 93.0, "classes": list(shapes.CLASSES)}, file)
    assert main(["evaluate", str(file), "--data", str(pictures), "--json"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert tells(found["alarms"][0], "93.0 %", "best_acc", "--mean")
    assert said.err.startswith(f"vgg_viz evaluate: ALARM: {found['alarms'][0]}")
    for command in ("audit", "report"):
        out = tmp_path / command
        line = [command, str(file), "--data", str(pictures), "--out", str(out), "--quiet", "--json"]
        main([*line, "--preset", "quick", "--budget", "1"] if command == "report" else line)
        said = capsys.readouterr()
        printed = json.loads(said.out)
        assert tells(printed["alarms"][0], "93.0 %", "best_acc")
        assert said.err.startswith(f"vgg_viz {command}: ALARM: ")
        (gallery,) = [one for one in out.iterdir() if one.is_dir()]
        first = json.loads((gallery / "manifest.json").read_text())["findings"][0]
        assert first == {"level": "bad", "text": printed["alarms"][0], "detail": "", "key": "alarm"}


# ---------------------------------------------------------------- the last layer


def test_fewer_names_than_outputs_alarm_in_every_command(pictures, tmp_path, capsys):
    file = tmp_path / "net.pth"
    names = {"bread": 0, "dairy": 1, "meat": 2, "rice": 3}
    torch.save({"model": network(1000).state_dict(), "class_to_idx": names}, file)
    picture = next(pictures.glob("*/*.png"))
    for line in (["inspect", str(file)], ["predict", str(file), str(picture)]):
        assert main([*line, "--json"]) == 0
        said = capsys.readouterr()
        alarms = json.loads(said.out)["alarms"]
        (alarm,) = [one for one in alarms if "class_to_idx" in one]
        assert tells(alarm, "4 entries", "1,000", "last layer", "nn.Linear")
        assert "ALARM" in said.err.splitlines()[0]
    assert main(["explain", str(file), str(picture), "--out", str(tmp_path / "one.png"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["alarms"]


@pytest.mark.parametrize(
    ("beside", "outputs", "alarmed"),
    [
        ({"class_to_idx": {"no": 0, "yes": 1}}, 1, False),
        ({"labels": list(range(50))}, 10, False),
        ({"classes": [str(n) for n in range(12)]}, 10, True),
        ({"num_classes": 4}, 10, True),
        ({"num_classes": 1000}, 10, False),
        ({"classes": [f"name {n}" for n in range(10)]}, 10, False),
    ],
)
def test_what_contradicts_the_outputs_alarms_and_what_only_looks_so_does_not(beside, outputs, alarmed, tmp_path):
    torch.save({"state_dict": network(outputs).state_dict(), **beside}, tmp_path / "net.pth")
    evidence = load(tmp_path / "net.pth").provenance.evidence
    (place,) = beside
    assert any(one.alarm and place in one.text for one in evidence) is alarmed


def test_a_folder_of_four_classes_before_a_thousand_outputs_asks_for_the_last_layer(tmp_path, pictures, capsys):
    torch.save(network(1000).state_dict(), tmp_path / "four.pth")
    for name in ("one", "two", "three", "four"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "a.png").write_bytes(next(pictures.glob("*/*.png")).read_bytes())
    assert main(["evaluate", str(tmp_path / "four.pth"), "--data", str(tmp_path / "data")]) == 2
    assert tells(capsys.readouterr().err, "4 classes", "1,000", "was the network's last layer replaced?")


# ---------------------------------------------------------------- safetensors


@pytest.mark.parametrize("spelling", ["[0.5, 0.4, 0.3]", "0.5,0.4,0.3", "(0.5, 0.4, 0.3)"])
def test_the_header_of_a_safetensors_file_is_read(tmp_path, spelling):
    header = {
        "mean": spelling,
        "std": spelling,
        "classes": json.dumps([f"name {n}" for n in range(SHAPES)]),
        "image_size": "32",
        "val_acc": "0.81",
    }
    save_file(network().state_dict(), tmp_path / "net.safetensors", metadata=header)
    checkpoint = load(tmp_path / "net.safetensors")
    assert checkpoint.architecture.mean == checkpoint.architecture.std == (0.5, 0.4, 0.3)
    assert checkpoint.architecture.image_side == 32
    assert checkpoint.classes[3] == "name 3"
    assert checkpoint.provenance.accuracy == RecordedAccuracy(0.81, "header.val_acc")
