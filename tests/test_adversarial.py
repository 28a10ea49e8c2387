"""What a hostile or unlucky user brings: every defect that was once found by trying, kept from coming back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from PIL import Image

from vgg_viz.cli import main
from vgg_viz.data.folder import read_images
from vgg_viz.errors import CheckpointRefused
from vgg_viz.gallery.index import require_index_place, write_index
from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import load, save
from vgg_viz.models.vgg import describe
from vgg_viz.studies.saved_maps import read


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
    said = [str(one) for one in load(tmp_path / "other.pt").provenance.evidence]
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
    assert describe(load("tiny_vgg").architecture).variant == "tiny_vgg"


@pytest.mark.parametrize("line", [["inspect", "x" * 5000], ["report", "x" * 5000], ["evaluate", "--data", "x" * 5000]])
def test_a_name_too_long_for_the_system_is_refused_in_a_line(line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(line) == 2
    said = capsys.readouterr().err
    assert "File name too long" in said
    assert len(said) < 300


def test_a_checkpoint_whose_name_is_no_text_opens_and_is_saved(tmp_path):
    path = tmp_path / os.fsdecode(b"\xff\xfe.pt")
    with open(path, "wb") as file:
        torch.save(lab_weights(), file)
    checkpoint = load(path)
    save(path, checkpoint)
    assert load(path).provenance.format == "vgg_viz"
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_an_empty_file_of_class_names_is_not_taken_for_no_file(tmp_path):
    torch.save(lab_weights(), tmp_path / "lab.pt")
    with pytest.raises(CheckpointRefused, match="0 class names came for a network with 3"):
        load(tmp_path / "lab.pt", classes=[])


def gallery_in(folder):
    (folder / "figures").mkdir(parents=True)
    (folder / "manifest.json").write_text('{"vgg_viz": "0"}')
    (folder / "index.html").write_text("the gallery's page")
    Image.new("RGB", (9, 9)).save(folder / "figures" / "chart.png")


@pytest.mark.parametrize("inside", ["old", "old/figures", "old/new/deep"])
def test_a_report_into_a_gallery_is_refused_and_its_page_stays(inside, tmp_path, capsys):
    gallery_in(tmp_path / "old")
    assert main(["report", "--out", str(tmp_path / inside)]) == 2
    assert "lies in the gallery 'old'" in capsys.readouterr().err
    assert (tmp_path / "old" / "index.html").read_text() == "the gallery's page"


def test_a_page_that_somebody_else_wrote_is_not_replaced_by_the_index(tmp_path, capsys):
    (tmp_path / "index.html").write_text("<h1>my site</h1>")
    assert main(["report", "--out", str(tmp_path)]) == 2
    assert "did not write" in capsys.readouterr().err
    assert (tmp_path / "index.html").read_text() == "<h1>my site</h1>"


def test_the_index_may_be_written_again_and_leaves_out_what_is_being_written(tmp_path):
    gallery_in(tmp_path / "old")
    gallery_in(tmp_path / ".new.x.tmp")
    for _ in range(2):
        require_index_place(tmp_path)
        text = write_index(tmp_path).read_text(encoding="utf-8")
    assert "./old" in text or ">old<" in text
    assert ".new.x.tmp" not in text


def test_the_figures_of_a_gallery_are_no_pictures_to_look_into(picture, tmp_path):
    gallery_in(tmp_path / "gallery" / "best")
    assert read_images(tmp_path, image_side=16).names == ("red.png",)


def test_a_report_that_is_ended_half_way_leaves_no_half_gallery_and_only_whole_maps(tmp_path):
    # By SIGTERM; Ctrl-C, which Python itself turns into KeyboardInterrupt, is raised at every step in test_report and test_resume.
    run = subprocess.Popen(
        [sys.executable, "-m", "vgg_viz", "report", "--out", str(tmp_path / "out")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    patience = time.monotonic() + 60
    while not list(tmp_path.glob("out/.*.tmp")) and run.poll() is None and time.monotonic() < patience:
        time.sleep(0.05)
    time.sleep(1)
    run.send_signal(signal.SIGTERM)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 143
    assert b"Traceback" not in said
    # A gallery is there whole or not at all; what may stay are maps that were finished, each of which can be read.
    assert {entry.name for entry in tmp_path.glob("out/*")} <= {".sample.maps"}
    assert not (tmp_path / "out").exists() or any((tmp_path / "out").iterdir()), (
        "a folder that was made for nothing stays"
    )
    left = [path for path in tmp_path.glob("out/.sample.maps/**/*") if path.is_file()]
    assert all(read(path) for path in left if path.suffix == ".safetensors")
    assert {path.suffix for path in left} <= {".safetensors", ".json"}
