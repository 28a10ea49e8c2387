"""Convolutions without a classifier: what needs no class scores works, what does says so in a sentence, and nothing is a fault."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from vgg_viz.api import explain
from vgg_viz.attribution import attribute
from vgg_viz.cli import main
from vgg_viz.data.shapes import paint
from vgg_viz.errors import CheckpointRefused, InputRefused
from vgg_viz.gallery.sections import SECTIONS, sections_of
from vgg_viz.maths.images import encode_png
from vgg_viz.models.build import architecture, build
from vgg_viz.models.check_finite import require_finite
from vgg_viz.models.checkpoint import load, save
from vgg_viz.models.export import LastMap
from vgg_viz.models.vgg import title
from vgg_viz.records import Checkpoint, Neuron

PLAN, SIDE = "4 5 M 6 7 M", 32
NEED_SCORES = {"report": 6, "comparison": 4}  # how many sections of a page


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Convolutions alone from two starts, the first with a classifier too, one picture, and a folder of two classes."""
    folder = tmp_path_factory.mktemp("without scores")
    whole = build(architecture(f"{PLAN} | 5 K", image_side=SIDE, num_classes=3), seed=0)
    save(folder / "whole.pt", Checkpoint(whole.architecture, ("x", "y", "z"), whole.state_dict()))
    alone = architecture(PLAN, image_side=SIDE)
    weights = {key: value for key, value in whole.state_dict().items() if key.startswith("features")}
    save(folder / "a.pt", Checkpoint(alone, (), weights))
    save(folder / "b.pt", Checkpoint(alone, (), build(alone, seed=1).state_dict()))
    drawn = paint(4, seed=0, split="test", side=SIDE)
    for n, image in enumerate(drawn.images):
        target = folder / "classes" / ("one", "two")[n % 2]
        target.mkdir(parents=True, exist_ok=True)
        (target / f"{n}.png").write_bytes(encode_png(image))
    return folder


@pytest.fixture(scope="module")
def picture(place: Path) -> Path:
    return place / "classes" / "one" / "0.png"


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    status = main([str(word) for word in words])
    return status, *capsys.readouterr()


def manifest_of(page: str) -> dict[str, object]:
    found: dict[str, object] = json.loads((Path(page.strip()).parent / "manifest.json").read_text(encoding="utf-8"))
    return found


# ---------------------------------------------------------------- pages


@pytest.fixture(scope="module")
def report(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a report on the pictures of the two classes."""
    out = tmp_path_factory.mktemp("out")
    words = ("report", place / "a.pt", "--data", place / "classes", "--preset", "quick", "--out", out)
    assert main([str(word) for word in words]) == 0
    return out / "a" / "index.html"


def test_a_report_says_why_what_needs_scores_is_absent_and_nothing_is_missing(report):
    told = manifest_of(str(report))
    absent = {one["section"]: one["reason"] for one in told["absent"]}
    assert set(absent) == {one.slug for one in sections_of("report") if one.needs == "scores"}
    assert len(absent) == NEED_SCORES["report"]
    assert set(absent.values()) == {"This needs class scores, and the file has no classifier."}
    assert told["missing"] == told["warnings"] == []
    shown = {one["section"] for one in told["exhibits"]}
    assert {"overview", "data", "filters", "receptive-fields", "forensics", "activations", "evidence"} <= shown
    assert not shown & set(absent)
    page = report.read_text(encoding="utf-8")
    assert page.count('<p class="absent">') == len(absent)
    assert "Missing here" not in page


def test_the_head_of_the_page_says_what_the_file_is(report):
    told = manifest_of(str(report))
    assert "no classifier" in told["findings"][0]["detail"]
    assert told["facts"]["Network"] == "4 convolutions, no classifier"
    assert "Classes" not in told["facts"]
    assert told["data"]["classes"] == []


def test_pictures_are_not_asked_for_answers(place, picture, capsys):
    status, out, err = run(capsys, "inspect", place / "a.pt", "--images", picture)
    assert (status, err) == (0, "")
    assert "without batch norm and without a classifier pictures cannot tell" in out


def test_pictures_of_classes_are_looked_into_and_their_labels_left_alone(report):
    told = manifest_of(str(report))
    assert told["data"]["measured_on"] == ""
    assert "4 of 4 pictures" in told["data"]["looked_into"] or "4 pictures" in told["data"]["looked_into"]
    (shown,) = (one for one in told["exhibits"] if one["slug"] == "data-specimens")
    assert shown["numbers"]["classes"] is None


def test_a_budget_leaves_out_what_it_must_and_no_part_that_cannot_be(place, picture, tmp_path, capsys):
    status, out, _ = run(
        capsys, "report", place / "a.pt", "--images", picture, "--budget", "600", "--preset", "quick", "--out", tmp_path
    )
    assert (status, len(manifest_of(out)["absent"])) == (0, NEED_SCORES["report"])


def test_two_files_of_convolutions_are_compared_by_their_weights(place, tmp_path, capsys):
    status, out, err = run(capsys, "compare", place / "a.pt", place / "b.pt", "--quiet", "--out", tmp_path)
    told = manifest_of(out)
    assert (status, err, told["missing"]) == (0, "", [])
    assert len(told["absent"]) == NEED_SCORES["comparison"]
    assert {one["reason"] for one in told["absent"]} == {"This needs class scores, and A and B have no classifier."}
    (distances,) = (one["numbers"]["layers"] for one in told["exhibits"] if one["slug"] == "compare-distances")
    assert [one["layer"] for one in distances] == ["conv1_1", "conv1_2", "conv2_1", "conv2_2"]


def test_convolutions_are_compared_with_a_network_that_begins_with_them(place, picture, tmp_path, capsys):
    status, out, err = run(
        capsys, "compare", place / "whole.pt", place / "a.pt", "--images", picture, "--out", tmp_path
    )
    told = manifest_of(out)
    assert status == 0
    assert "The pictures were not used" in err
    assert {one["reason"] for one in told["absent"]} == {"This needs class scores, and B has no classifier."}
    (distances,) = (one["numbers"]["layers"] for one in told["exhibits"] if one["slug"] == "compare-distances")
    assert [one["relative"] for one in distances] == [0.0] * 4


def test_a_section_that_needs_scores_is_made_where_there_are_some(place, picture, tmp_path, capsys, few_sections):
    few_sections("activations", "relevance")
    _, out, _ = run(capsys, "report", place / "whole.pt", "--images", picture, "--preset", "quick", "--out", tmp_path)
    told = manifest_of(out)
    assert told["absent"] == []
    assert {one["section"] for one in told["exhibits"]} == {"activations", "relevance"}


def test_what_a_section_may_need_is_known():
    assert {one.needs for _, one in SECTIONS.items()} == {"", "scores"}


# ---------------------------------------------------------------- a channel in the place of a class


@pytest.mark.parametrize("words", [("--target", "conv2_1:3"), ("--unit", "conv2_1:3")])
def test_a_channel_is_explained(words, place, picture, tmp_path, capsys):
    status, out, err = run(capsys, "explain", place / "a.pt", picture, *words, "--out", tmp_path, "--json", "--quiet")
    told = json.loads(out)
    assert (status, err, told["missing"]) == (0, "", [])
    assert (told["unit"]["name"], told["top"], told["predicted"], told["removal"]) == ("conv2_1:3", [], None, None)
    facts = manifest_of(told["index"])["facts"]
    assert set(facts) == {"Network", "Input"}


def test_the_map_of_a_channel_is_its_gradient(place):
    model = build(load(place / "a.pt"))
    images = torch.rand(
        2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)
    )  # no two values of a window are alike
    found = attribute(model, images, "saliency", target=Neuron("conv2_1", 3))
    images = images.clone().requires_grad_()
    score = model.features[:6](model.normalise(images))[:, 3].mean((1, 2)).sum()
    (gradient,) = torch.autograd.grad(score, images)
    torch.testing.assert_close(found.values, gradient.abs().amax(1))


def test_a_figure_of_a_channel_has_no_answers(place, picture, tmp_path, capsys):
    status, _, _ = run(
        capsys, "explain", place / "a.pt", picture, "--target", "conv2_2:0", "--out", tmp_path / "one.svg"
    )
    assert status == 0
    assert "what the network says" not in (tmp_path / "one.svg").read_text(encoding="utf-8")


def test_a_class_that_is_called_like_a_channel_stays_a_class(place, picture, tmp_path):
    checkpoint = load(place / "whole.pt")
    named = Checkpoint(checkpoint.architecture, ("conv2_1:3", "y", "z"), checkpoint.weights)
    save(tmp_path / "named.pt", named)
    assert (
        explain(tmp_path / "named.pt", picture, target="conv2_1:3", preset="quick", out=tmp_path).facts["unit"] is None
    )
    assert (
        explain(tmp_path / "named.pt", picture, target="conv2_1:2", preset="quick", out=tmp_path).facts["expected"]
        is None
    )


# ---------------------------------------------------------------- what cannot be


@pytest.mark.parametrize(
    "command",
    [("predict", "PICTURE"), ("evaluate", "--data", "CLASSES"), ("audit", "--data", "CLASSES"), ("explain", "PICTURE")],
)
def test_what_needs_scores_is_refused_in_a_sentence_whose_advice_works(command, place, picture, tmp_path, capsys):
    name, *words = ({"PICTURE": picture, "CLASSES": place / "classes"}.get(word, word) for word in command)
    status, out, err = run(capsys, name, place / "a.pt", *words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "the file has no classifier, so there are no class scores" in err
    advice = re.search(r"explain CHECKPOINT IMAGE (--target \S+)\.", err)
    assert advice is not None
    assert run(capsys, "explain", place / "a.pt", picture, *advice[1].split(), "--out", tmp_path)[0] == 0


def test_a_class_and_names_of_classes_are_refused(place, picture, tmp_path, capsys):
    assert run(capsys, "explain", place / "a.pt", picture, "--target", "dog")[0] == 2
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    status, _, err = run(capsys, "inspect", place / "a.pt", "--classes", tmp_path / "names.txt")
    assert status == 2
    assert "no classifier" in err
    with pytest.raises(InputRefused, match="no classifier"):
        attribute(build(load(place / "a.pt")), torch.rand(1, 3, SIDE, SIDE), "saliency")


# ---------------------------------------------------------------- files


def test_an_export_as_safetensors_is_the_same_file_again(place, tmp_path, capsys):
    assert run(capsys, "export", place / "a.pt", tmp_path / "a.safetensors")[0] == 0
    before, after = load(place / "a.pt"), load(tmp_path / "a.safetensors")
    assert (after.architecture, after.classes) == (before.architecture, ())
    assert all(torch.equal(before.weights[key], after.weights[key]) for key in before.weights)


@pytest.mark.skipif(not all(map(find_spec, ("onnx", "onnxscript", "onnxruntime"))), reason="onnx is not installed")
def test_an_export_as_onnx_gives_the_last_map(place, tmp_path, capsys):
    import onnxruntime

    status, out, _ = run(capsys, "export", place / "a.pt", tmp_path / "a.onnx", "--json")
    assert (status, json.loads(out)["output"]) == (0, "features: float32 (batch, 7, 8, 8)")
    images = torch.rand(2, 3, SIDE, SIDE)
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx", providers=["CPUExecutionProvider"])
    (maps,) = session.run(["features"], {"images": images.numpy()})
    np.testing.assert_allclose(maps, LastMap(build(load(place / "a.pt")))(images).detach(), atol=1e-5)


def test_inspect_tells_what_it_is(place, capsys):
    status, out, _ = run(capsys, "inspect", place / "a.pt")
    assert (status, out.splitlines()[0]) == (0, "4 convolutions, no classifier, 32 px")
    assert "0 classes" not in out
    assert json.loads(run(capsys, "inspect", place / "a.pt", "--json")[1])["num_classes"] == 0


@pytest.mark.parametrize(
    ("plan", "name"),
    [
        ("64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M", "convolutions of VGG D, no classifier"),
        (
            "+bn+relu 8 M 16 M 32 32 M 64 64 M 64 64 M",
            "convolutions of VGG A with batch norm, width 0.125, no classifier",
        ),
        ("10/3p0 10/3p0 M 10/3p0 10/3p0 M", "convolutions of Tiny VGG, no classifier"),
        ("3 M", "1 convolution, no classifier"),
    ],
)
def test_convolutions_are_called_what_they_are(plan, name):
    assert title(architecture(plan)) == name


def torchvision_like(*, last: float) -> dict[str, torch.Tensor]:
    """VGG11's convolutions, a sixteenth as wide, and a classifier of NaN whose last layer is filled with `last`."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    channels = 3
    for word in ("4", "M", "8", "M", "16", "16", "M", "32", "32", "M", "32", "32", "M"):
        if word == "M":
            layers.append(nn.MaxPool2d(2))
            continue
        layers += [nn.Conv2d(channels, int(word), 3, padding=1), nn.ReLU()]
        channels = int(word)
    net = nn.Module()
    net.features = nn.Sequential(*layers)
    net.classifier = nn.Sequential(
        nn.Linear(32 * 49, 6), nn.ReLU(), nn.Dropout(), nn.Linear(6, 6), nn.ReLU(), nn.Dropout(), nn.Linear(6, 10)
    )
    for name, parameter in net.classifier.named_parameters():
        parameter.data.fill_(last if name.startswith("6.") else torch.nan)
    return net.state_dict()


def test_a_classifier_of_nan_is_absent_and_no_diverged_training(tmp_path, capsys):
    torch.save(torchvision_like(last=torch.nan), tmp_path / "features.pth")
    status, out, err = run(capsys, "inspect", tmp_path / "features.pth")
    assert (status, err) == (0, "")
    assert out.startswith("convolutions of VGG A, width 0.0625, no classifier, 224 px\n")
    assert "diverged" not in out


def test_a_report_on_such_a_file_asks_no_answers(picture, tmp_path, capsys, few_sections):
    few_sections("overview", "attention")
    torch.save(torchvision_like(last=torch.nan), tmp_path / "features.pth")
    status, out, err = run(
        capsys,
        "report",
        tmp_path / "features.pth",
        "--images",
        picture,
        "--quiet",
        "--preset",
        "quick",
        "--out",
        tmp_path,
    )
    assert (status, err) == (0, "")
    assert [one["section"] for one in manifest_of(out)["absent"]] == ["attention"]


def test_linear_layers_that_were_never_filled_are_not_called_diverged(tmp_path, capsys):
    torch.save(torchvision_like(last=0.5), tmp_path / "half.pth")
    status, _, err = run(capsys, "inspect", tmp_path / "half.pth")
    assert status == 2
    assert "published without these linear layers" in err
    weights = torchvision_like(last=0.5)
    weights["classifier.0.weight"] = torch.zeros_like(weights["classifier.0.weight"])
    weights["features.0.weight"][0] = torch.inf
    with pytest.raises(CheckpointRefused, match="its training diverged"):
        require_finite(weights, Path("gone"))


def test_a_live_page_is_refused_and_galleries_are_served(place, tmp_path, capsys):
    pytest.importorskip("starlette")
    status, _, err = run(capsys, "serve", "--checkpoint", place / "a.pt")
    assert status == 2
    assert "no class scores to ask about on the live page" in err
