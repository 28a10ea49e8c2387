"""What pictures say of how a network was read is used where nobody recorded otherwise, and told first by every command."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from telling import tells

from vgg_viz.cli import main
from vgg_viz.data import shapes
from vgg_viz.maths.images import encode_png
from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import load, save
from vgg_viz.records import Batch, Evidence
from vgg_viz.studies.picture_dependence import picture_dependence
from vgg_viz.studies.preprocessing_check import candidates
from vgg_viz.studies.witnesses import examine, is_open

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
from detective import folded, remembering

SIDE, OPEN = 64, Evidence("Assumed.", ("--mean", "--std"))


@pytest.fixture(scope="module")
def batch() -> Batch:
    """Painted pictures with the bundled network's own labels."""
    own = load()
    painted = shapes.paint(40, seed=0, split="test", side=SIDE)
    labels = torch.tensor([own.classes.index(name) for name in shapes.CLASSES])[painted.labels]
    return Batch(painted.images, labels, tuple(map(str, range(40))))


def misread(name: str, batch: Batch, *, recorded: bool = False):
    """The bundled network as if it had been trained under the candidate `name`, and read under [0, 1]; and what fits."""
    own = load()
    wanted = next(one for one in candidates(own.architecture, batch.images) if one.name == name)
    model = folded(wanted)
    evidence = () if recorded else (OPEN,)
    provenance = replace(own.provenance, format="torchvision", evidence=evidence)
    checkpoint = replace(own, architecture=model.architecture, weights=model.state_dict(), provenance=provenance)
    return checkpoint, wanted


def right(model, batch: Batch) -> float:
    with torch.no_grad():
        return float((model(batch.images).argmax(1) == batch.labels).float().mean())


@pytest.mark.parametrize("name", ["0 to 255", "mean subtraction in 0 to 255"])
def test_what_labels_say_is_used_where_nobody_recorded_otherwise(name, batch):
    checkpoint, wanted = misread(name, batch)
    model = build(checkpoint)
    assert right(model, batch) < 0.4
    seen = examine(checkpoint, model, batch)
    assert seen.used
    assert seen.checkpoint.architecture.std == wanted.std
    assert right(seen.model, batch) > 0.8
    assert tells(seen.findings[0].text, "divided by 255 once too often", wanted.flags, "as if you had typed")
    assert is_open(seen.checkpoint)  # still no more than what pictures say
    assert checkpoint.architecture.std == (1.0,) * 3  # and what was given stays as it was


def test_what_is_recorded_or_given_stays(batch):
    checkpoint, _ = misread("0 to 255", batch, recorded=True)
    seen = examine(checkpoint, build(checkpoint), batch)
    assert not seen.used
    assert seen.checkpoint is checkpoint
    assert tells(" ".join(one.text for one in seen.findings), "hardly depend")


def test_a_network_that_is_read_rightly_is_left_alone_in_silence(batch):
    own = load()
    provenance = replace(own.provenance, format="torchvision", evidence=(OPEN,))
    for checkpoint in (own, replace(own, provenance=provenance)):
        seen = examine(checkpoint, build(checkpoint), batch)
        assert (seen.used, seen.findings) == (False, ())
        assert examine(checkpoint, build(checkpoint), replace(batch, labels=None)).findings == ()


@pytest.mark.parametrize("count", [1, 4, 40])
def test_answers_that_hardly_depend_on_the_picture_are_told_from_one_picture_on(count, batch):
    checkpoint, _ = misread("0 to 255", batch)
    images = batch.images[:count]
    assert picture_dependence(build(checkpoint), images).hardly
    assert not picture_dependence(build(load()), images).hardly
    seen = examine(checkpoint, build(checkpoint), Batch(images, None, batch.names[:count]))
    assert not seen.used  # the answers alone prove nothing
    assert any("hardly depend" in one.text for one in seen.findings)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, batch):
    """The pictures as an ImageFolder under the names of the bundled network's classes."""
    place = tmp_path_factory.mktemp("witness")
    own = load()
    for number, (image, label) in enumerate(zip(batch.images, batch.labels, strict=True)):
        (place / "data" / own.classes[label]).mkdir(parents=True, exist_ok=True)
        (place / "data" / own.classes[label] / f"{number}.png").write_bytes(encode_png(image))
    checkpoint, _ = misread("0 to 255", batch)
    torch.save(
        {"state_dict": dict(checkpoint.weights), "classes": list(own.classes), "image_size": SIDE}, place / "net.pth"
    )
    save(place / "recorded.pt", replace(load(), specimens=()))
    return place


def test_every_command_tells_it_first(folder, tmp_path, capsys):
    net, data = str(folder / "net.pth"), str(folder / "data")
    picture = str(next((folder / "data").glob("*/*.png")))
    line = ["evaluate", net, "--data", data, "--json"]
    assert main(line) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["top1"] > 0.8
    assert said["preprocessing"]["used"]
    assert tells(said["warnings"][0], "0 to 255", "--std 0.00392157")
    assert main(["audit", net, "--data", data, "--out", str(tmp_path / "audit"), "--json", "--quiet"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["right"] > 0.8
    assert "--std 0.00392157" in said["warnings"][0]
    main(
        [
            "report",
            net,
            "--data",
            data,
            "--out",
            str(tmp_path / "r"),
            "--budget",
            "1",
            "--json",
            "--quiet",
            "--preset",
            "quick",
        ]
    )
    said = capsys.readouterr()
    assert "--std 0.00392157" in json.loads(said.out)["warnings"][0]
    (gallery,) = [one for one in (tmp_path / "r").iterdir() if one.is_dir()]
    assert "--std 0.00392157" in json.loads((gallery / "manifest.json").read_text())["findings"][1]["text"]
    for command in (
        ["predict", net, picture],
        ["explain", net, picture, "--out", str(tmp_path / "one.png"), "--preset", "quick"],
    ):
        assert main([*command, "--json"]) == 0
        assert "hardly depend" in json.loads(capsys.readouterr().out)["warnings"][0]
    both = [
        "compare",
        net,
        str(folder / "recorded.pt"),
        "--data",
        data,
        "--out",
        str(tmp_path / "c"),
        "--json",
        "--quiet",
    ]
    main([*both, "--preset", "quick"])
    assert tells(json.loads(capsys.readouterr().out)["warnings"][0], "A: Pictures are divided by 255", "--std")


def test_what_the_user_types_is_not_overruled(folder, capsys):
    line = ["evaluate", str(folder / "net.pth"), "--data", str(folder / "data"), "--json"]
    assert main([*line, "--mean", "0,0,0", "--std", "1,1,1"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["top1"] < 0.4
    assert said["preprocessing"] is None


def test_batch_norm_is_used_without_any_label():
    images = shapes.paint(160, seed=3, split="train", side=32).images
    wanted = next(
        one
        for one in candidates(build("vgg11_bn", width=0.125, image_side=32).architecture, images)
        if one.name == "[0, 1]"
    )
    model = remembering(wanted, images[:128], 0)
    own = load()
    provenance = replace(own.provenance, format="torchvision", evidence=(OPEN,))
    checkpoint = replace(own, architecture=model.architecture, weights=model.state_dict(), provenance=provenance)
    seen = examine(checkpoint, build(checkpoint), Batch(images[128:], None, ("x",) * 32))
    assert seen.used
    assert seen.checkpoint.architecture.mean == (0.0,) * 3
    assert tells(seen.findings[0].text, "running statistics", "[0, 1] fits")
