"""Text from outside on a terminal and in JSON: shown, never obeyed."""

from __future__ import annotations

import ast
import io
import json
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import vgg_viz
from vgg_viz.cli import main
from vgg_viz.models.build import build
from vgg_viz.safe_text import escape_json, one_line, say, short_name, visible

STEERING = "\x1b[31mred\x1b]0;owned\x07\u202ekcab\u2066x\u2069\x9b2J\r\nvgg_viz: fake\u2028line\x00"
NAMES = [STEERING.rstrip("\x00"), "W" * 200]  # of classes; a folder can be called so, too
FORBIDDEN = set("\x1b\x07\u202e\u2066\u2069\x9b\r\u2028\x00\x7f")


@given(st.text(max_size=400))
def test_what_is_said_is_one_line_without_a_control_character(text: str) -> None:
    held = io.StringIO()
    say(text + STEERING, file=held)
    assert held.getvalue().count("\n") == 1
    assert not FORBIDDEN & set(held.getvalue())
    assert not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in held.getvalue()[:-1])


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=60)))
def test_json_without_hidden_characters_says_the_same(value: dict[str, str]) -> None:
    value |= {STEERING: STEERING + "\U000e0041"}
    text = escape_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(text) == value
    assert not (FORBIDDEN | {"\U000e0041"}) & set(text)


def test_a_long_name_ends_in_an_ellipsis_and_a_short_one_stays() -> None:
    assert short_name("red panda") == "red panda"
    assert short_name("W" * 300) == "W" * 59 + "…"
    assert short_name("é" * 1_000_000, 10) == "é" * 9 + "…"
    assert short_name("a\nb\tc") == "a b c"


def test_what_cannot_be_seen_tells_no_names_apart() -> None:
    assert visible(" cat\u200b ") == visible("cat\u202e") == "cat"
    assert visible("\u2066\u2069 \u200b\u200d") == ""
    assert one_line("cat\u202egnp") == "cat[U+202E]gnp"


HOUSE = Path(vgg_viz.__file__).parent


def test_every_line_for_a_reader_is_said_by_one_function() -> None:
    stray = [
        f"{file.name}:{node.lineno}"
        for file in HOUSE.rglob("*.py")
        if file.name != "safe_text.py"
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") == "print"
        and node.args
        and "escape_json" not in ast.unparse(node)
    ]
    assert stray == []


@pytest.fixture
def steered(tmp_path):
    """A checkpoint whose names and pictures try to steer a terminal, and a picture of such a name."""
    weights = build("tiny_vgg", image_side=32, num_classes=2, width=0.3).state_dict()
    names = NAMES
    torch.save({"state_dict": weights, "classes": names, STEERING: "x"}, tmp_path / "net.pt")
    picture = tmp_path / "a\x1b[2J\u202eb.png"
    Image.new("RGB", (40, 32), (200, 90, 30)).save(picture)
    return tmp_path / "net.pt", picture


@pytest.mark.parametrize("json_too", [False, True])
@pytest.mark.parametrize(
    "command", ["inspect", "predict", "refused", "evaluate", "explain", "export", "check", "train"]
)
def test_names_of_a_checkpoint_and_of_a_picture_never_steer_a_terminal(command, json_too, steered, capsys) -> None:
    net, picture = steered
    folder = picture.parent / "data\x1b[2J"
    for part in ("train", "val"):
        for name in NAMES:
            (folder / part / name).mkdir(parents=True)
            shutil.copy(picture, folder / part / name)
            (folder / part / name / "broken\x07\n.png").write_bytes(b"no picture")
    made = str(picture.parent / "made\x1b[2J\u202e\n")
    line = {
        "inspect": ["inspect", str(net)],
        "predict": ["predict", str(net), str(picture)],
        "refused": ["inspect", str(net), "--key", STEERING],
        "evaluate": ["evaluate", str(net), "--data", str(folder)],
        "explain": ["explain", str(net), str(picture), "--target", "0", "--out", f"{made}.png"],
        "export": ["export", str(net), f"{made}.safetensors"],
        "check": ["data", "check", str(folder)],
        "train": [
            "train",
            "--data",
            str(folder),
            "--out",
            made,
            "--epochs",
            "1",
            "--image-size",
            "32",
            "--width",
            "0.25",
        ],
    }[command]
    status = main([*line, *["--json"] * json_too])
    assert status == 2 if command == "refused" else status in (0, 1)
    said = capsys.readouterr()
    assert not FORBIDDEN & set(said.out + said.err)
    if json_too and command == "inspect":
        assert json.loads(said.out)["classes"] == NAMES
    if command == "predict" and not json_too:
        assert said.out.count("\n") == 1
        assert "W" * 59 + "…" in said.out
        assert "W" * 60 not in said.out


def test_refusals_that_list_names_cut_them(steered, tmp_path, capsys) -> None:
    net, picture = steered
    (tmp_path / "data" / ("q" * 200)).mkdir(parents=True)
    (tmp_path / "data" / ("q" * 200) / "a.png").write_bytes(picture.read_bytes())
    for line in (
        ["explain", str(net), str(picture), "--target", "nope"],
        ["evaluate", str(net), "--data", str(tmp_path / "data")],
    ):
        assert main(line) == 2
        said = capsys.readouterr().err
        assert "W" * 59 + "…" in said
        assert not any(letter * 61 in said for letter in "Wq")
        assert not FORBIDDEN & set(said)
