"""Class names and other notes: from the file, from text, JSON or a folder; an order that is not whole is refused."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from networks import CourseTiny, PlainVGG, settled
from test_formats import evidence, opened
from torch import nn

from vgg_viz.cli import main
from vgg_viz.errors import CheckpointRefused
from vgg_viz.maths.images import encode_png
from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import load, save
from vgg_viz.models.class_names import from_file, in_order
from vgg_viz.models.vgg import describe

NAMES = ("cat", "dog", "eel", "fox", "gnu")


def weights(classes: int = 5) -> dict[str, torch.Tensor]:
    return dict(settled(PlainVGG("vgg11", classifier=nn.Linear(64, classes))).state_dict())


@pytest.mark.parametrize(
    "value",
    [
        list(NAMES),
        NAMES,
        dict(enumerate(NAMES)),
        {str(i): name for i, name in enumerate(NAMES)},
        {name: i for i, name in enumerate(NAMES)},
        dict(reversed(list(enumerate(NAMES)))),
        {name: str(i) for i, name in enumerate(NAMES)},
    ],
)
def test_names_come_in_the_order_of_the_outputs_from_every_shape(value: Any) -> None:
    assert in_order(value, of="it") == NAMES


def test_names_that_are_digits_keep_their_places() -> None:
    assert in_order({"7": 0, "3": 1}, of="it") == ("7", "3")
    assert in_order({0: "7", 1: "3"}, of="it") == ("7", "3")
    assert in_order({"0": "0", "1": "1"}, of="it") == ("0", "1")
    with pytest.raises(CheckpointRefused, match="numbers on both sides"):
        in_order({"0": "1", "1": "2", "2": "0"}, of="it")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"a": 0, "b": 2}, "numbered 0 to 1, each once, but number 1 is missing"),
        ({"a": 1, "b": 2}, "they start at 1"),
        ({"a": 0, "b": 0, "c": 1}, "number 0 stands twice"),
        ({"a": "x", "b": "y"}, "neither by its keys nor by its values"),
        ([["a"], ["b"]], "not of names"),
        (7, "of type int"),
        ({"a": -1, "b": 0}, "number 1 is missing"),
        ({"a": True, "b": False}, "neither"),
    ],
)
def test_an_order_that_is_not_whole_is_refused(value: Any, words: str) -> None:
    with pytest.raises(CheckpointRefused, match=words) as refused:
        in_order(value, of="it")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(NAMES),
        "\ufeff" + "\r\n".join(NAMES) + "\n\n",
        json.dumps(NAMES),
        json.dumps({name: i for i, name in enumerate(NAMES)}),
        json.dumps({str(i): name for i, name in enumerate(NAMES)}),
        json.dumps({"classes": NAMES, "version": 3}),
    ],
)
def test_a_file_of_names_may_be_text_or_json(text: str, tmp_path: Path) -> None:
    (tmp_path / "names").write_text(text, encoding="utf-8")
    assert from_file(tmp_path / "names") == NAMES


def test_a_json_file_that_holds_a_class_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "names.json").write_text('{"cat": 0, "cat": 1}')
    with pytest.raises(CheckpointRefused, match="'cat' twice"):
        from_file(tmp_path / "names.json")


def test_a_tower_of_brackets_is_refused(tmp_path: Path) -> None:
    (tmp_path / "names.json").write_text("[" * 100_000)
    with pytest.raises(CheckpointRefused, match="begins like a JSON list but is none"):
        from_file(tmp_path / "names.json")


def test_numbers_on_both_sides_are_told_apart_by_their_type_their_run_or_the_name_of_the_mapping() -> None:
    names = tuple(
        sorted(map(str, range(1, 13)), key=str)
    )  # '1', '10', '11', '12', '2': as folders of numbers are sorted
    numbered = {name: index for index, name in enumerate(names)}
    assert in_order(numbered, of="it") == names
    assert (
        in_order({name: str(index) for name, index in numbered.items()}, of="it") == names
    )  # only one side runs from 0
    shifted = {"0": "1", "1": "2", "2": "0"}
    assert in_order(shifted, of="it", numbers="values") == ("2", "0", "1")
    assert in_order(shifted, of="it", numbers="keys") == ("1", "2", "0")


def test_keras_pairs_of_a_wordnet_number_and_a_name_give_the_name() -> None:
    assert in_order({"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"]}, of="it") == ("tench", "goldfish")


BAD = {
    "alike": (["cat", "dog", "cat"], "calls the outputs 0 and 2 by one name ('cat')"),
    "alike to the eye": (["cat", "dog", "cat\u200b "], "calls the outputs 0 and 2 by one name"),
    "empty": (["cat", "", "dog"], "has no name for output 1 that can be seen"),
    "nothing to see": (["cat", "dog", "\u2066\u2069 "], "has no name for output 2 that can be seen ('[U+2066][U+2069]"),
}


def lab(folder: Path, **beside: Any) -> Path:
    torch.save(
        {"state_dict": build("tiny_vgg", image_side=32, num_classes=3, width=0.3).state_dict(), **beside},
        folder / "l.pt",
    )
    return folder / "l.pt"


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("form", ["text", "list", "mapping", "call"])
def test_names_that_are_empty_or_alike_are_refused_with_their_outputs(kind, form, tmp_path, capsys) -> None:
    names, sentence = BAD[kind]
    net = lab(tmp_path)
    if form == "call":
        with pytest.raises(CheckpointRefused) as refused:
            load(net, classes=names)
        assert sentence in str(refused.value)
        return
    text = {"text": "\n".join(names), "list": json.dumps(names), "mapping": json.dumps(dict(enumerate(names)))}[form]
    (tmp_path / "names.json").write_text(text, encoding="utf-8")
    assert main(["inspect", str(net), "--classes", str(tmp_path / "names.json")]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("kind", BAD)
def test_a_files_own_names_that_are_empty_or_alike_are_not_used_and_it_is_said(kind, tmp_path) -> None:
    names, sentence = BAD[kind]
    own = tmp_path / "own.pt"
    save(own, replace(load(lab(tmp_path), classes=list("abc")), classes=tuple(names)))
    for file in (lab(tmp_path, classes=names), own):
        back = load(file)
        assert back.classes == ("class 0", "class 1", "class 2")
        assert not back.named
        assert sentence in evidence(back)
        assert "Class names were not taken from the file" in evidence(back)


def test_the_twins_of_imagenet_may_share_a_name_and_no_other_pair() -> None:
    names = [f"name {i}" for i in range(1000)]
    names[517] = names[134]
    assert in_order(names, of="it") == tuple(names)
    names[518] = names[135]
    with pytest.raises(CheckpointRefused, match="outputs 135 and 518"):
        in_order(names, of="it")


def test_names_for_the_files_own_names_follow_these_and_not_their_numbers(tmp_path, capsys) -> None:
    net = lab(tmp_path, class_to_idx={"0": 0, "10": 1, "2": 2})  # the order of folders
    (tmp_path / "cat_to_name.json").write_text(json.dumps({"2": "lily", "0": "rose", "10": "iris", "11": "poppy"}))
    assert main(["inspect", str(net), "--classes", str(tmp_path / "cat_to_name.json"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["classes"] == ["rose", "iris", "lily"]
    assert load(net, classes={"0": "a", "1": "b", "2": "c"}).classes == (
        "a",
        "b",
        "c",
    )  # 10 has no name: by their numbers
    with pytest.raises(CheckpointRefused, match="they start at 1"):
        load(lab(tmp_path), classes={"1": "a", "2": "b", "3": "c"})


def test_an_empty_line_between_names_is_a_class_without_a_name(tmp_path) -> None:
    (tmp_path / "names.txt").write_text("cat\n\ndog\n\n\n")
    with pytest.raises(CheckpointRefused, match=r"'names.txt' has no name for output 1"):
        from_file(tmp_path / "names.txt")


# ---------------------------------------------------------------- from the checkpoint


BESIDE: dict[str, Any] = {
    "class_to_idx": {"class_to_idx": {name: i for i, name in enumerate(NAMES)}},
    "classes": {"classes": list(NAMES)},
    "idx_to_class": {"idx_to_class": dict(enumerate(NAMES))},
    "label_names in hyper-parameters": {"hyper_parameters": {"label_names": list(NAMES), "num_classes": 5}},
    "arguments in a namespace": {"args": argparse.Namespace(classes=list(NAMES), lr=0.1)},
    "settings in a simple namespace": {"config": SimpleNamespace(data=SimpleNamespace(class_names=NAMES))},
}


@pytest.mark.parametrize("name", BESIDE)
def test_names_in_the_file_are_found_and_said(name: str, tmp_path: Path) -> None:
    back = opened({"state_dict": weights(), **BESIDE[name]}, tmp_path)
    assert back.classes == NAMES
    assert "The class names stand in the file under" in evidence(back)


def test_names_of_another_number_are_named_and_not_used(tmp_path: Path) -> None:
    back = opened({"state_dict": weights(), "classes": ["a", "b"], "class_to_idx": {"a": 0, "b": 5}}, tmp_path)
    assert back.classes == tuple(f"class {i}" for i in range(5))
    assert "'classes' has 2 entries for 5 classes and was not used" in evidence(back)
    assert "were not taken from the file: the classes of the file's 'class_to_idx' must be numbered" in evidence(back)


def test_given_names_win_over_the_files_and_it_is_said(tmp_path: Path) -> None:
    back = opened({"state_dict": weights(), "classes": list(NAMES)}, tmp_path, classes=list("abcde"))
    assert back.classes == tuple("abcde")
    assert "You gave the class names." in evidence(back)
    assert "stand in the file" not in evidence(back)


def pictures(folder: Path, side: int = 32) -> Path:
    for name in NAMES:
        (folder / name).mkdir(parents=True)
        (folder / name / "1.png").write_bytes(encode_png(torch.rand(3, side, side)))
    return folder


@pytest.mark.parametrize("option", ["--data", "--classes"])
def test_a_folder_of_classes_gives_the_names(option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(weights(), tmp_path / "net.pt")
    folder = pictures(tmp_path / "pets")
    command = "evaluate" if option == "--data" else "inspect"
    assert main([command, str(tmp_path / "net.pt"), option, str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    names = list(found["per_class"]) if command == "evaluate" else found["classes"]
    assert names == list(NAMES)


def test_a_folder_never_replaces_the_names_in_the_file(tmp_path: Path) -> None:
    back = opened({"state_dict": weights(), "classes": list("vwxyz")}, tmp_path, folder_classes=NAMES)
    assert back.classes == tuple("vwxyz")
    back = opened(weights(), tmp_path, folder_classes=("just", "two"))
    assert back.classes[0] == "class 0"
    assert "because the file carries no names (--classes)." in evidence(back)


def test_a_thousand_classes_are_said_to_be_a_guess(tmp_path: Path) -> None:
    back = opened(weights(1000), tmp_path)
    assert back.classes[1] == "goldfish"
    assert "ImageNet-1k's in torchvision's order, because there are 1,000 classes (--classes)." in evidence(back)


# ---------------------------------------------------------------- side, mean and std beside the weights


MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)
PREPARED: dict[str, Any] = {
    "settings": {"args": argparse.Namespace(mean=list(MEAN), std=list(STD))},
    "an array": {"config": {"norm": {"mean": np.array(MEAN), "std": np.array(STD)}}},
    "values from 0 to 255": {
        "hyper_parameters": {"pixel_mean": [255 * v for v in MEAN], "pixel_std": [255 * v for v in STD]}
    },
}


@pytest.mark.parametrize("name", PREPARED)
def test_mean_and_std_beside_the_weights_are_used_and_said(name: str, tmp_path: Path) -> None:
    back = opened({"model": weights(), **PREPARED[name]}, tmp_path)
    assert back.architecture.mean == pytest.approx(MEAN)
    assert back.architecture.std == pytest.approx(STD)
    assert "mean and std stand in the file" in evidence(back)
    assert "ImageNet's mean and std are assumed" not in evidence(back)


def test_buffers_of_a_layer_that_normalises_are_the_preprocessing(tmp_path: Path) -> None:
    stored = {
        "normalize.mean": torch.tensor(MEAN).view(1, 3, 1, 1),
        "normalize.std": torch.tensor(STD).view(1, 3, 1, 1),
    }
    back = opened({"model": {**stored, **{f"net.{key}": value for key, value in weights().items()}}}, tmp_path)
    assert back.architecture.mean == pytest.approx(MEAN)
    assert back.architecture.std == pytest.approx(STD)


@pytest.mark.parametrize("value", [48, "48", (48, 48), (3, 48, 48)])
def test_the_image_side_in_the_settings_is_used_and_said(value: Any, tmp_path: Path) -> None:
    back = opened({"model": weights(), "args": argparse.Namespace(img_size=value)}, tmp_path)
    assert back.architecture.image_side == 48
    assert "Image side: 48 px stands in the file under 'args.img_size'." in evidence(back)
    assert "is assumed, the usual one" not in evidence(back)


@pytest.mark.parametrize("value", [[], 3, -1, 10**9, "big", (32, 48), None, True, {"side": 32}, float("nan")])
def test_a_side_that_is_none_is_passed_over(value: Any, tmp_path: Path) -> None:
    assert opened({"model": weights(), "image_size": value}, tmp_path).architecture.image_side == 32


def test_the_side_decides_between_the_paddings_of_a_tiny_vgg(tmp_path: Path) -> None:
    made = settled(CourseTiny(padding=1, side=52)).state_dict()
    assert describe(opened({"model": made}, tmp_path).architecture).padding == 0
    back = opened({"model": made, "image_size": 52}, tmp_path)
    assert (describe(back.architecture).padding, back.architecture.image_side) == (1, 52)
    wrong = opened({"model": made, "image_size": 200}, tmp_path)
    assert "Pictures of 200 px do not fit the weights" in evidence(wrong)
