"""The command line: its exit statuses, its one-sentence refusals, and documents that a script can rely on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vgg_viz.cli import main
from vgg_viz.data import shapes
from vgg_viz.data.shape_files import write_shapes
from vgg_viz.maths.images import encode_png
from vgg_viz.models.build import architecture, build
from vgg_viz.models.checkpoint import load, save
from vgg_viz.records import Checkpoint, Specimen

SIDE = 32


def checkpoint(
    side: int = SIDE, classes: tuple[str, ...] = shapes.CLASSES, *, specimens: int = 12, seed: int = 3
) -> Checkpoint:
    """A small untrained Tiny VGG with a few painted specimens."""
    wanted = architecture("tiny_vgg", image_side=side, num_classes=len(classes), width=0.4)
    batch = shapes.paint(specimens, seed=5, split="test", side=side) if specimens else None
    carried = (
        ()
        if batch is None or batch.labels is None
        else tuple(
            Specimen(encode_png(image), int(label) % len(classes), name)
            for image, label, name in zip(batch.images, batch.labels, batch.names, strict=True)
        )
    )
    return Checkpoint(wanted, classes, build(wanted, seed=seed).state_dict(), specimens=carried)


@pytest.fixture(scope="session")
def net(tmp_path_factory) -> Path:
    """A checkpoint file; tests read it and never write it."""
    path = tmp_path_factory.mktemp("nets") / "net.pt"
    save(path, checkpoint())
    return path


@pytest.fixture(scope="session")
def painted(tmp_path_factory) -> Path:
    """A tiny painted ImageFolder with three parts."""
    return write_shapes(tmp_path_factory.mktemp("painted") / "pictures", train=40, val=20, test=30, seed=1, side=SIDE)


def refused(capsys, *arguments: object) -> str:
    """The one sentence with which these arguments are refused; checks that there is nothing else."""
    assert main([str(argument) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith(f"vgg_viz {arguments[0]}: ")
    assert line.endswith((".", "?")), line
    assert "Traceback" not in line
    return line


def document(capsys, *arguments: object, status: int = 0) -> dict:
    """The JSON document on stdout; checks that stdout holds nothing else."""
    assert main([str(argument) for argument in arguments]) == status
    out, _ = capsys.readouterr()
    return json.loads(out, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


# ---------------------------------------------------------------- refusals


COMMANDS_WITH_A_CHECKPOINT = ("report", "inspect", "evaluate")


@pytest.mark.parametrize("command", COMMANDS_WITH_A_CHECKPOINT)
def test_a_file_that_is_not_there_is_refused_with_the_one_that_is(command, net, capsys):
    said = refused(capsys, command, net.with_name("nett.pt"))
    assert "'nett.pt'" in said
    assert "'net.pt'" in said
    assert str(net.parent) not in said


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty (0 bytes)"),
        (b"weights: none\n" * 20, "is a text file"),
        (os.urandom(4096), "is damaged"),
        (b"PK\x03\x04" + bytes(200), "is damaged"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_refused_for_what_it_is(content, words, tmp_path, capsys):
    (tmp_path / "net.pt").write_bytes(content)
    assert words in refused(capsys, "report", tmp_path / "net.pt", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_in_place_of_a_checkpoint_is_refused(tmp_path, capsys):
    assert "is a folder" in refused(capsys, "report", tmp_path, "--out", tmp_path / "out")


def test_a_cut_checkpoint_is_refused(net, tmp_path, capsys):
    (tmp_path / "net.pt").write_bytes(net.read_bytes()[:-2000])
    assert "damaged" in refused(capsys, "inspect", tmp_path / "net.pt")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_with_their_layer(bad, tmp_path, capsys):
    made = checkpoint()
    weights = {key: value.clone() for key, value in made.weights.items()}
    first = next(iter(weights))
    weights[first].view(-1)[3] = bad
    save(tmp_path / "net.pt", replace(made, weights=weights))
    said = refused(capsys, "report", tmp_path / "net.pt", "--out", tmp_path / "out")
    assert first in said
    assert "NaN or infinite" in said


def test_a_file_of_class_names_of_another_number_is_refused_with_both_numbers(net, tmp_path, capsys):
    (tmp_path / "names.txt").write_text("one\ntwo\nthree\n")
    said = refused(capsys, "report", net, "--classes", tmp_path / "names.txt", "--out", tmp_path / "out")
    assert "3 class names" in said
    assert "10 classes" in said


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "cannot be read"), (b"\xff\xfe\xfa", "cannot be read"), (b'["a", ', "begins like a JSON list but is none")],
)
def test_a_file_of_class_names_that_cannot_be_read_is_refused_without_its_path(content, words, net, tmp_path, capsys):
    if content is not None:
        (tmp_path / "names.txt").write_bytes(content)
    said = refused(capsys, "inspect", net, "--classes", tmp_path / "names.txt")
    assert words in said
    assert str(tmp_path) not in said


def test_a_folder_of_other_classes_is_refused_with_their_names(net, tmp_path, capsys):
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        (tmp_path / "pets" / name / "1.png").write_bytes(encode_png(torch.rand(3, 8, 8)))
    said = refused(capsys, "evaluate", net, "--data", tmp_path / "pets")
    assert "'cat', 'dog'" in said
    assert "--classes" in said


def test_a_folder_without_pictures_is_refused(net, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("no picture")
    for arguments in (("report", net, "--images"), ("report", net, "--data"), ("evaluate", net, "--data")):
        said = refused(
            capsys, *arguments, tmp_path / "empty", *(("--out", tmp_path / "out") if arguments[0] == "report" else ())
        )
        assert "'empty' holds no picture" in said
    assert "'empty' holds no picture" in refused(capsys, "predict", net, tmp_path / "empty")
    assert not (tmp_path / "out").exists()


def test_a_single_broken_picture_is_refused_with_its_name(net, tmp_path, capsys):
    (tmp_path / "cat.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut off")
    assert "cat.jpg" in refused(capsys, "predict", net, tmp_path / "cat.jpg")
    assert "cat.jpg" in refused(capsys, "report", net, "--images", tmp_path / "cat.jpg", "--out", tmp_path / "out")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--mean", "0.5,0.5"], "2 means"),
        (["--std", "0,0,0"], "not above 0"),
        (["--image-size", "0"], "image side of 0 px"),
        (["--image-size", "99999"], "4 to 4096"),
        (["--arch", "vgg17"], "'vgg17'"),
        (["--device", "mps"], "'mps' is not available"),
        (["--mean", "nan,0,0"], "no finite number"),
        (["--std", "inf,1,1"], "no finite number"),
    ],
)
def test_an_override_that_makes_no_network_is_refused(arguments, words, net, capsys):
    assert words in refused(capsys, "inspect", net, *arguments)


def test_an_architecture_that_the_weights_do_not_fit_is_refused(tmp_path, capsys):
    wanted = architecture("vgg11", num_classes=2, image_side=SIDE, width=1 / 16)
    save(tmp_path / "net.pt", Checkpoint(wanted, ("a", "b"), build(wanted).state_dict()))
    assert "8 convolutions of vgg11, --arch vgg13 has 10" in refused(
        capsys, "inspect", tmp_path / "net.pt", "--arch", "vgg13"
    )


def test_a_variant_that_does_not_exist_is_refused_with_those_that_do(tmp_path, capsys):
    said = refused(capsys, "report", "vgg17", "--out", tmp_path / "out")
    assert "'vgg17'" in said
    assert "vgg16" in said


def test_training_on_nothing_is_refused(tmp_path, capsys):
    assert "'nowhere' does not exist" in refused(
        capsys, "train", "--data", tmp_path / "nowhere", "--out", tmp_path / "run"
    )
    assert "0 epochs" in refused(capsys, "train", "--data", "shapes", "--epochs", "0", "--out", tmp_path / "run")


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["reprot"], "did you mean report?"),
        (["report", "--presett", "quick"], "did you mean --preset?"),
        (["report", "--preset", "quik"], "did you mean quick?"),
        (["report", "x.pt", "--imges=photos"], "did you mean --images?"),
        (["report", "--mean", "a,b,c"], "0.485,0.456,0.406"),
        (["report", "--seed", "x"], "see vgg_viz report --help"),
        ([], "--help"),
        (["data", "shpes"], "did you mean shapes?"),
        (["predict"], "IMAGE"),
        (["evaluate", "--limit", "0"], "at least 1"),
        (["evaluate", "--out", "x"], "see vgg_viz evaluate --help"),
        (["data", "shapes", "--out", "x", "--sidee=3"], "did you mean --side?"),
        (["report", "--seed", "-1"], "no whole number from 0 on"),
        (["report", "--seed", str(2**64)], "no whole number"),
    ],
)
def test_a_mistyped_line_is_refused_in_one_line_with_the_nearest_word(arguments, hint, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    out, err = capsys.readouterr()
    assert stop.value.code == 2
    assert out == ""
    assert len(err.splitlines()) == 1
    assert hint in err


def test_a_folder_that_is_no_gallery_is_not_overwritten(net, tmp_path, capsys):
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "thesis.txt").write_text("three years")
    assert "not a gallery" in refused(capsys, "report", net, "--out", tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["net"]
    assert (tmp_path / "net" / "thesis.txt").read_text() == "three years"


def test_a_place_where_nothing_can_be_written_is_refused(net, tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    assert "nothing can be written" in refused(capsys, "report", net, "--out", tmp_path / "file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_write_permission_is_refused(net, tmp_path, capsys):
    (tmp_path / "locked").mkdir(mode=0o555)
    assert "nothing can be written" in refused(capsys, "report", net, "--out", tmp_path / "locked")


def test_data_shapes_for_other_classes_is_refused(tmp_path, capsys):
    save(tmp_path / "net.pt", checkpoint(classes=("cat", "dog"), specimens=0))
    assert "--data shapes" in refused(capsys, "evaluate", tmp_path / "net.pt", "--data", "shapes")


def test_a_checkpoint_without_pictures_cannot_be_evaluated_without_data(capsys):
    assert "--data" in refused(capsys, "evaluate", "tiny_vgg")


# ---------------------------------------------------------------- documents


def test_inspect_says_what_the_contract_promises(net, capsys):
    found = document(capsys, "inspect", net, "--json")
    assert {
        "variant",
        "num_classes",
        "classes",
        "image_side",
        "padding",
        "mean",
        "std",
        "parameters",
        "macs",
        "evidence",
        "alternatives",
        "ignored_keys",
        "layers",
    } <= set(found)
    assert found["variant"] == "tiny_vgg"
    assert found["classes"] == list(shapes.CLASSES)
    assert found["parameters"] == sum(value.numel() for value in load(net).weights.values())
    assert found["macs"] == sum(layer["macs"] for layer in found["layers"])
    for layer in found["layers"]:
        assert {"name", "kind", "shape", "receptive_field", "jump", "padding", "centre", "parameters", "macs"} <= set(
            layer
        )
    first = next(layer for layer in found["layers"] if layer["name"] == "conv1_1")
    assert (first["receptive_field"], first["jump"], first["padding"], first["centre"]) == (3, 1, 0, 1.0)


def test_inspect_for_a_reader_names_every_layer(net, capsys):
    assert main(["inspect", str(net)]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("Tiny VGG", "conv1_1", "conv2_2", "pool2", "fc3"))


def test_inspect_of_a_variants_name_needs_no_file(capsys):
    found = document(capsys, "inspect", "vgg16_bn", "--json")
    assert found["variant"] == "vgg16_bn"
    assert found["parameters"] == 138_365_992


def test_predict_says_what_the_network_says(net, painted, capsys):
    pictures = sorted((painted / "test").rglob("*.png"))[:3]
    found = document(capsys, "predict", net, *pictures, "--json")
    assert [image["file"] for image in found["images"]] == [picture.name for picture in pictures]
    from vgg_viz.data.folder import read_images

    model = build(load(net))
    for image, picture in zip(found["images"], pictures, strict=True):
        with torch.inference_mode():
            logits = model(read_images(picture, image_side=SIDE).images)[0]
        torch.testing.assert_close(torch.tensor(image["logits"]), logits, atol=1e-5, rtol=1e-5)
        assert len(image["top"]) == 5
        best = image["top"][0]
        assert set(best) >= {"class", "index", "probability", "logit"}
        assert best["index"] == int(logits.argmax())
        assert best["class"] == shapes.CLASSES[best["index"]]
        assert best["probability"] == pytest.approx(float(logits.softmax(0).max()), abs=1e-5)


def test_predict_leaves_a_broken_file_among_good_ones_out_and_names_it(net, painted, tmp_path, capsys):
    good = sorted((painted / "test").rglob("*.png"))[0]
    shutil.copy(good, tmp_path / "good.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    for arguments in ([tmp_path], [tmp_path / "broken.png", tmp_path / "good.png"]):
        assert main(["predict", str(net), *map(str, arguments), "--json"]) == 1
        out, err = capsys.readouterr()
        assert [image["file"] for image in json.loads(out)["images"]] == ["good.png"]
        assert "broken.png" in err
        assert len(err.splitlines()) == 1


def test_evaluate_counts_right(net, painted, capsys):
    found = document(capsys, "evaluate", net, "--data", painted, "--json")
    assert {"top1", "top5", "n", "per_class", "confusion", "ece"} <= set(found)
    counts = torch.tensor(found["confusion"])
    assert found["n"] == int(counts.sum()) == 30
    assert found["top1"] == pytest.approx(int(counts.diagonal().sum()) / 30)
    assert 0 <= found["top1"] <= found["top5"] <= 1
    assert list(found["per_class"]) == list(shapes.CLASSES)
    for index, name in enumerate(shapes.CLASSES):
        assert found["per_class"][name]["n"] == int(counts[index].sum())


def test_evaluate_in_the_dense_form_gives_the_same_numbers(tmp_path, painted, capsys):
    wanted = architecture("vgg11", num_classes=10, image_side=SIDE, width=1 / 16)
    save(tmp_path / "net.pt", Checkpoint(wanted, shapes.CLASSES, build(wanted, seed=1).state_dict()))
    usual = document(capsys, "evaluate", tmp_path / "net.pt", "--data", painted, "--json")
    assert document(capsys, "evaluate", tmp_path / "net.pt", "--data", painted, "--dense", "--json") == usual


def test_evaluate_without_data_measures_on_what_the_checkpoint_carries(net, capsys):
    found = document(capsys, "evaluate", net, "--json")
    assert found["n"] == 12
    assert "specimens" in found["measured_on"]


def test_doctor_tells_a_script_what_it_found(capsys):
    found = document(capsys, "doctor", "--json")
    assert all(set(check) == {"name", "good", "found", "fix"} for check in found["checks"])


# ---------------------------------------------------------------- data and training


def test_data_shapes_writes_what_data_check_counts_and_a_broken_file_is_named(tmp_path, capsys):
    place = tmp_path / "größe 32"
    made = document(
        capsys, "data", "shapes", "--out", place, "--train", 11, "--val", 3, "--test", 2, "--side", 16, "--json"
    )
    assert made["pictures"] == {"train": 11, "val": 3, "test": 2}
    victim = sorted((place / "train").rglob("*.png"))[0]
    victim.write_bytes(b"\x89PNG\r\n\x1a\n cut")
    (victim.parent / "notes.txt").write_text("not a picture")
    found = document(capsys, "data", "check", place, "--json", status=1)
    assert found["readable"] == 15
    assert found["parts"] == {"train": 10, "val": 3, "test": 2}
    assert sum(found["per_class"].values()) == 15
    assert found["sides"] == {"16x16": 15}
    assert found["classes"] == sorted(shapes.CLASSES)
    assert sorted(name.split("/")[-1] for name, _ in found["skipped"]) == [victim.name, "notes.txt"]
    assert main(["data", "check", str(place)]) == 1
    out, err = capsys.readouterr()
    assert "15 pictures of 10 classes" in out
    assert victim.name in err


def test_data_shapes_does_not_write_over_somebody_elses_folder(tmp_path, capsys):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("three years")
    assert "'thesis' exists" in refused(capsys, "data", "shapes", "--out", tmp_path / "thesis")
    assert "does not exist" in refused(capsys, "data", "check", tmp_path / "nowhere")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--train", "-1"],
        ["--side", "0"],
        ["--side", "-5"],
        ["--side", "99999999"],
        ["--train", "0", "--val", "0", "--test", "0"],
    ],
)
def test_data_shapes_of_impossible_size_is_refused(arguments, tmp_path, capsys):
    refused(capsys, "data", "shapes", "--out", tmp_path / "new", *arguments)
    assert not list(tmp_path.iterdir())


def test_what_was_trained_can_be_evaluated_inspected_and_reported(painted, tmp_path, capsys, few_sections):
    few_sections("overview", "training", "data", "mistakes")  # all of them stand in test_report
    run = tmp_path / "erster lauf ü"
    small = ("--epochs", 1, "--image-size", SIDE, "--width", 0.4)
    trained = document(capsys, "train", "--data", painted, *small, "--out", run, "--quiet", "--json")
    assert trained["epochs"] == 1
    assert {"best.pt", "last.pt", "history.jsonl"} <= {entry.name for entry in run.iterdir()}
    assert (
        document(capsys, "inspect", run / "best.pt", "--json")["history"][0]["val_accuracy"] == trained["val_accuracy"]
    )
    assert document(capsys, "evaluate", run / "best.pt", "--data", painted, "--json")["n"] == 30
    made = document(
        capsys, "report", run / "best.pt", "--preset", "quick", "--out", tmp_path / "out", "--quiet", "--json"
    )
    assert made["missing"] == []
    manifest = json.loads((Path(made["index"]).parent / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["facts"]["Epochs"] == "1"
    assert str(tmp_path) not in json.dumps(manifest)


# ---------------------------------------------------------------- report


def test_report_prints_where_the_page_is_and_names_what_is_missing(tmp_path, capsys):
    assert main(["report", "tiny_vgg", "--preset", "quick", "--image-size", "32", "--out", str(tmp_path / "out")]) == 1
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'out' / 'tiny_vgg' / 'index.html'}\n"
    assert (tmp_path / "out" / "tiny_vgg" / "index.html").is_file()
    assert (tmp_path / "out" / "index.html").is_file()
    assert "the part 'Mistakes' is missing" in err
    assert "the part 'Training' is missing" in err
    assert all(line.startswith("vgg_viz report: ") for line in err.splitlines())


def test_ctrl_c_ends_with_130_and_says_so_without_a_traceback(monkeypatch, capsys):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("vgg_viz.sections.report.report.build_report", interrupted)
    assert main(["report"]) == 130
    out, err = capsys.readouterr()
    assert out == ""
    assert "interrupted" in err
    assert "Traceback" not in err


def test_a_reader_that_goes_away_is_no_error(net):
    program = f"{sys.executable} -m vgg_viz inspect {net} | head -1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent.parent,
    )
    assert done.stdout.startswith("Tiny VGG")
    assert done.stderr == ""
    assert done.returncode == 0


EVERY = ("report", "explain", "train", "evaluate", "predict", "inspect", "data", "data shapes", "data check", "doctor")


@pytest.mark.parametrize("command", EVERY)
def test_every_command_helps_with_an_example(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*command.split(), "--help"])
    shown = capsys.readouterr().out
    assert stop.value.code == 0
    assert f"python -m vgg_viz {command.split()[0]}" in shown
    if command != "data":
        assert all(option in shown for option in ("--seed", "--device", "--quiet", "--json"))
