"""Shortcuts planted in painted pictures: where they lie, how often, and what they leave alone."""

import json

import numpy as np
import pytest
import torch

from vgg_viz.cli import main
from vgg_viz.data.cache import open_training_data
from vgg_viz.data.shape_files import write_shapes
from vgg_viz.data.shapes import CLASSES, draw
from vgg_viz.data.shortcuts import (
    KINDS,
    Shortcut,
    as_provenance,
    carries,
    from_provenance,
    marked,
    region,
    truth,
    with_shortcut,
)
from vgg_viz.errors import DataRefused, InputRefused, UnknownName
from vgg_viz.maths.images import decode
from vgg_viz.models.checkpoint import load


@pytest.mark.parametrize("kind", KINDS)
def test_a_mark_changes_what_it_says_and_nothing_else(kind):
    shortcut = Shortcut(kind, "star", seed=3)
    picture = draw(5, seed=1)
    changed = (marked(picture, shortcut, 5) != picture.pixels).any(0)
    if kind == "corner":
        x0, y0, x1, y1 = region(shortcut, 64)
        assert changed[y0:y1, x0:x1].mean() > 0.9
        changed[y0:y1, x0:x1] = False
        assert not changed.any()
    elif kind == "border":
        assert changed[:4].mean() > 0.9
        assert changed[:, -4:].mean() > 0.9
        assert not changed[4:-4, 4:-4].any()
    elif kind == "texture":
        inner = np.logical_and.reduce([np.roll(picture.mask, by, axis) for by in (-2, 0, 2) for axis in (0, 1)])
        assert changed[~picture.mask].mean() > 0.8
        assert not changed[inner].any()
    else:
        gains = marked(picture, shortcut, 5).mean((1, 2)) / picture.pixels.mean((1, 2))
        assert gains.max() > 1.1
        assert gains.min() < 0.7


@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_the_strength_is_kept_and_other_splits_are_clean_unless_asked(strength):
    shortcut = Shortcut("corner", "ring", strength, elsewhere=0.05, seed=2)
    ring = CLASSES.index("ring")
    own = np.mean([carries(shortcut, ring, index, "train") for index in range(2000)])
    other = np.mean([carries(shortcut, ring - 1, index, "train") for index in range(2000)])
    assert own == pytest.approx(strength, abs=0.04)
    assert other == pytest.approx(0.05, abs=0.02)
    assert not any(
        carries(shortcut, label, index, split)
        for label in range(10)
        for index in range(50)
        for split in ("val", "test")
    )
    asked = Shortcut("corner", "ring", strength, held_out=1.0, seed=2)
    assert all(carries(asked, ring, index, "test") for index in range(50))


def test_a_seed_paints_the_same_again_and_another_another_mark():
    picture, seen = draw(0), set()
    for seed in range(6):
        first, again = (marked(picture, Shortcut("corner", "star", seed=seed), 0) for _ in range(2))
        assert np.array_equal(first, again)
        seen.add(first.tobytes())
    assert len(seen) == 6
    assert np.array_equal(
        with_shortcut(picture, Shortcut("corner", CLASSES[picture.label - 1], elsewhere=0), 0), picture.pixels
    )


def test_a_folder_says_what_was_planted_and_keeps_the_objects_masks(tmp_path):
    shortcut = Shortcut("border", "heart", 1.0, elsewhere=0.0, seed=4)
    plain, marked_folder = write_shapes(tmp_path / "plain", train=20, val=10, test=0, side=32), tmp_path / "marked"
    write_shapes(marked_folder, train=20, val=10, test=0, side=32, shortcut=shortcut)
    told = json.loads((marked_folder / "shortcut.json").read_text())
    assert told["files"] == ["train/heart/000.png", "train/heart/001.png"]
    assert {**told, "files": None} == {**truth(shortcut, 32), "files": None}
    assert told["region"] == [0, 0, 32, 32]
    for file in sorted(plain.rglob("*.png")):
        twin = marked_folder / file.relative_to(plain)
        same = torch.equal(decode(file), decode(twin))
        assert same == (file.relative_to(plain).as_posix() not in told["files"]), twin
    assert not (plain / "shortcut.json").exists()


def test_a_checkpoint_remembers_what_it_was_taught(tmp_path):
    line = [
        "train",
        "--data",
        "shapes",
        "--image-size",
        "16",
        "--train-count",
        "20",
        "--val-count",
        "20",
        "--epochs",
        "1",
        "--quiet",
    ]
    main(
        [
            *line,
            "--shortcut",
            "cast",
            "--class",
            "star",
            "--strength",
            "0.5",
            "--held-out",
            "1",
            "--out",
            str(tmp_path / "run"),
        ]
    )
    remembered = from_provenance(load(tmp_path / "run" / "best.pt").provenance.data)
    assert remembered == Shortcut("cast", "star", 0.5, held_out=1.0)
    held = as_provenance(remembered)
    assert from_provenance(held) == remembered
    assert from_provenance({}) is None
    for key, value in (("kind", "laser"), ("name", ["star"]), ("strength", 2), ("held_out", "all"), ("seed", -1)):
        assert from_provenance({**held, f"shortcut_{key}": value}) is None


def test_what_cannot_be_planted_is_refused(tmp_path):
    with pytest.raises(UnknownName, match="did you mean 'border'"):
        write_shapes(tmp_path / "a", train=1, val=0, test=0, shortcut=Shortcut("bordr", "star"))
    with pytest.raises(UnknownName, match="no shape 'boat'"):
        write_shapes(tmp_path / "a", train=1, val=0, test=0, shortcut=Shortcut("border", "boat"))
    with pytest.raises(DataRefused, match=r"strength of 1\.5"):
        write_shapes(tmp_path / "a", train=1, val=0, test=0, shortcut=Shortcut("border", "star", 1.5))
    with pytest.raises(DataRefused, match="painted pictures only"):
        open_training_data(tmp_path, side=32, shortcut=Shortcut("border", "star"))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--shortcut", "corner"], "needs the class"),
        (["--class", "star"], "name its kind with --shortcut"),
        (["--shortcut", "corner", "--class", "star", "--strength", "nan"], "a share of pictures"),
    ],
)
def test_half_a_shortcut_is_refused_in_a_sentence(tmp_path, words, sentence):
    from vgg_viz.commands.parser import build_parser
    from vgg_viz.commands.shortcut_options import planted_shortcut

    options = build_parser().parse_args(["data", "shapes", "--out", str(tmp_path), *words])
    with pytest.raises(InputRefused, match=sentence):
        planted_shortcut(options)
