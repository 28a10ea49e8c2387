"""Galleries on disk: whole or not at all, never over something else, never a name that climbs out."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vgg_viz.errors import OutputRefused
from vgg_viz.gallery.folder import MANIFEST, atomic_folder, folder_name, read_manifest
from vgg_viz.plain_json import plain, write_json


def gallery(folder: Path, word: str = "old") -> Path:
    """A folder that counts as a gallery of ours."""
    folder.mkdir(parents=True)
    (folder / MANIFEST).write_text(json.dumps({"vgg_viz": "0", "word": word}), encoding="utf-8")
    (folder / "index.html").write_text(word, encoding="utf-8")
    return folder


def put(folder: Path, word: str) -> None:
    (folder / MANIFEST).write_text(json.dumps({"vgg_viz": "0", "word": word}), encoding="utf-8")


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("best", "best"),
        ("vgg16_bn-e10.2", "vgg16_bn-e10.2"),
        ("a b/c", "a-b-c"),
        ("..", "checkpoint"),
        ("", "checkpoint"),
        ("../../etc/passwd", "etc-passwd"),
        (".hidden", "hidden"),
        ("-rf", "rf"),
        ("netz größe", "netz-gr-e"),
        ("x" * 300, "x" * 100),
        ("a\u202eb\0c\nd", "a-b-c-d"),
        ("C:\\nets\\best", "C-nets-best"),
    ],
)
def test_a_checkpoints_stem_becomes_a_harmless_folder_name(stem, name):
    assert folder_name(stem) == name


def test_two_stems_without_a_latin_letter_stay_apart():
    assert folder_name("猫") != folder_name("犬")
    assert folder_name("猫").startswith("checkpoint-")


@given(st.text(max_size=300))
def test_no_stem_whatever_climbs_out_hides_or_needs_quotes(stem):
    name = folder_name(stem)
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", name), name
    assert name == folder_name(name)


# ---------------------------------------------------------------- replacing


def test_a_new_gallery_appears_whole_and_can_be_read_by_others(tmp_path):
    with atomic_folder(tmp_path / "deep" / "net") as place:
        put(place.folder, "new")
        assert not (tmp_path / "deep" / "net").exists()
    assert read_manifest(tmp_path / "deep" / "net")["word"] == "new"
    assert (tmp_path / "deep" / "net").stat().st_mode & 0o777 == 0o755
    assert [entry.name for entry in (tmp_path / "deep").iterdir()] == ["net"]


def test_an_old_gallery_gives_way_with_everything_in_it(tmp_path):
    target = gallery(tmp_path / "net")
    (target / "figures").mkdir()
    with atomic_folder(target) as place:
        put(place.folder, "new")
    assert sorted(entry.name for entry in target.iterdir()) == [MANIFEST]
    assert [entry.name for entry in tmp_path.iterdir()] == ["net"]


@pytest.mark.parametrize(
    "failure", [RuntimeError("no"), KeyboardInterrupt(), OutputRefused("x")], ids=["error", "Ctrl-C", "refusal"]
)
def test_a_failure_keeps_the_old_gallery_and_leaves_no_litter(tmp_path, failure):
    target = gallery(tmp_path / "net")
    with pytest.raises(type(failure)), atomic_folder(target) as place:  # noqa: PT012
        put(place.folder, "half")
        raise failure
    assert read_manifest(target)["word"] == "old"
    assert (target / "index.html").read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["net"]


@pytest.mark.parametrize("failure", [RuntimeError("no"), KeyboardInterrupt()], ids=["error", "Ctrl-C"])
def test_folders_that_were_made_for_a_gallery_go_with_it(tmp_path, failure):
    (tmp_path / "mine").mkdir()
    with pytest.raises(type(failure)), atomic_folder(tmp_path / "mine" / "new" / "deep" / "net") as place:  # noqa: PT012
        put(place.folder, "half")
        raise failure
    assert [entry.name for entry in tmp_path.rglob("*")] == ["mine"], (
        "what was there before stays, although it is empty"
    )
    with pytest.raises(type(failure)), atomic_folder(tmp_path / "new" / "net"):  # noqa: PT012
        (tmp_path / "new" / "other").mkdir()
        raise failure
    assert (tmp_path / "new" / "other").is_dir(), "and what others put there meanwhile"


def test_where_the_last_rename_fails_the_old_gallery_comes_back(tmp_path, monkeypatch):
    target = gallery(tmp_path / "net")
    rename = os.rename

    def failing(source, destination):
        if Path(source).name == "new":
            raise OSError(28, "No space left on device")
        rename(source, destination)

    monkeypatch.setattr("vgg_viz.gallery.folder.os.rename", failing)
    with (
        pytest.raises(OutputRefused, match=r"No space left on device.*nothing was changed"),
        atomic_folder(target) as place,
    ):
        put(place.folder, "new")
    assert read_manifest(target)["word"] == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["net"]


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    target = tmp_path / "thesis"
    target.mkdir()
    (target / "chapter.txt").write_text("three years")
    with pytest.raises(OutputRefused, match=r"'thesis' exists and is not a gallery.*--out"), atomic_folder(target):
        pytest.fail("the block must not run")
    assert (target / "chapter.txt").read_text() == "three years"


@pytest.mark.parametrize("manifest", ["", "[]", "{", '{"name": "other tool"}', "\xff"])
def test_another_tools_manifest_does_not_make_a_folder_ours(tmp_path, manifest):
    target = tmp_path / "app"
    target.mkdir()
    (target / MANIFEST).write_bytes(manifest.encode("latin-1"))
    with pytest.raises(OutputRefused, match="not a gallery"), atomic_folder(target):
        pytest.fail("the block must not run")


def test_an_empty_folder_may_be_filled(tmp_path):
    (tmp_path / "net").mkdir()
    with atomic_folder(tmp_path / "net") as place:
        put(place.folder, "new")
    assert read_manifest(tmp_path / "net")["word"] == "new"


def test_a_link_or_a_file_in_the_place_is_refused(tmp_path):
    gallery(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    for name in ("link", "dangling", "file"):
        with pytest.raises(OutputRefused, match=f"{name!r} exists and is not a folder"), atomic_folder(tmp_path / name):
            pytest.fail("the block must not run")
    assert read_manifest(tmp_path / "real")["word"] == "old"


def test_a_place_below_a_file_is_refused_before_any_work(tmp_path):
    (tmp_path / "file").write_text("x")
    with (
        pytest.raises(OutputRefused, match=r"nothing can be written in 'file'.*--out"),
        atomic_folder(tmp_path / "file" / "net"),
    ):
        pytest.fail("the block must not run")


# ---------------------------------------------------------------- numbers


def test_whatever_a_section_hands_over_becomes_plain_json():
    nan, infinite = float("nan"), float("inf")
    given_values = {
        "tensor": torch.tensor([[1.5, nan]]),
        "array": np.array([1, 2]),
        "scalar": np.float32(0.5),
        "zero": torch.tensor(3),
        "tuple": (1, (2.5, infinite)),
        7: -infinite,
        "yes": True,
        "no": np.bool_(False),
        "none": None,
        "path": Path("a"),
        "text": "é",
        "vector_with_nan": np.array([nan, 1.0]),
    }
    assert plain(given_values) == {
        "tensor": [[1.5, None]],
        "array": [1, 2],
        "scalar": 0.5,
        "zero": 3,
        "tuple": [1, [2.5, None]],
        "7": None,
        "yes": True,
        "no": False,
        "none": None,
        "path": "a",
        "text": "é",
        "vector_with_nan": [None, 1.0],
    }
    assert plain(given_values)["yes"] is True
    assert plain(given_values)["no"] is False


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()


@given(st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12))
def test_plain_values_always_make_strict_json_and_are_changed_only_once(value):
    once = plain(value)
    assert plain(once) == once
    assert json.loads(json.dumps(once, allow_nan=False, ensure_ascii=False).encode()) == once


def test_the_same_numbers_give_the_same_bytes_and_a_lone_surrogate_is_no_crash(tmp_path):
    # A file name may hold any bytes; Python shows what is no UTF-8 as a lone surrogate.
    for name in ("a", "b"):
        write_json(tmp_path / name, {"file": "caf\udce9.png", "set": [1.0, float("nan")]})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert json.loads((tmp_path / "a").read_text(encoding="utf-8"))["set"] == [1.0, None]


# ---------------------------------------------------------------- another gallery in the way


def mine(manifest) -> bool:
    return manifest.get("word") == "mine"


def test_a_gallery_of_something_else_is_left_alone_and_the_next_free_name_is_taken(tmp_path):
    gallery(tmp_path / "best", "other")
    gallery(tmp_path / "best-2", "another")
    with atomic_folder(tmp_path / "best", ours=mine) as place:
        put(place.folder, "mine")
    assert place.target == tmp_path / "best-3"
    assert {name: read_manifest(tmp_path / name)["word"] for name in ("best", "best-2", "best-3")} == {
        "best": "other",
        "best-2": "another",
        "best-3": "mine",
    }


def test_the_same_again_takes_its_own_place_back(tmp_path):
    gallery(tmp_path / "best", "other")
    gallery(tmp_path / "best-2", "mine")
    with atomic_folder(tmp_path / "best", ours=mine) as place:
        put(place.folder, "mine")
    assert place.target == tmp_path / "best-2"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["best", "best-2"]
    assert not (place.target / "index.html").exists(), "the old one is gone"


def test_of_two_commands_at_once_into_one_folder_neither_is_lost(tmp_path):
    with atomic_folder(tmp_path / "best", ours=mine) as first:
        put(first.folder, "mine")
        with atomic_folder(tmp_path / "best", ours=lambda manifest: manifest["word"] == "theirs") as second:
            put(second.folder, "theirs")
    assert (first.target.name, second.target.name) == ("best-2", "best")
    assert [read_manifest(place.target)["word"] for place in (first, second)] == ["mine", "theirs"]


def test_of_two_commands_at_once_about_the_same_both_end_well(tmp_path):
    gallery(tmp_path / "best", "mine")
    with atomic_folder(tmp_path / "best", ours=mine) as first:
        put(first.folder, "mine")
        with atomic_folder(tmp_path / "best", ours=mine) as second:
            put(second.folder, "mine")
    assert first.target == second.target == tmp_path / "best"
    assert [entry.name for entry in tmp_path.iterdir()] == ["best"]


@pytest.mark.parametrize("when", ["before the old one is moved", "after"])
def test_a_gallery_that_comes_between_the_two_renames_is_not_lost(tmp_path, monkeypatch, when):
    """Another command may put its gallery there at any moment: a rename onto it fails, and the next name is taken."""
    rename, done = os.rename, []

    def slow(source, destination):
        if Path(destination).name == "best" and Path(source).name == "new" and not done:
            done.append(gallery(tmp_path / "best", "theirs"))
        rename(source, destination)

    if when == "after":
        gallery(tmp_path / "best", "mine")
    monkeypatch.setattr("vgg_viz.gallery.folder.os.rename", slow)
    with atomic_folder(tmp_path / "best", ours=mine) as place:
        put(place.folder, "mine")
    assert done
    assert read_manifest(tmp_path / "best")["word"] == "theirs"
    assert place.target == tmp_path / "best-2"


def test_names_taken_by_files_links_and_other_folders_are_passed_over(tmp_path):
    gallery(tmp_path / "best", "other")
    (tmp_path / "best-2").write_text("a file", encoding="utf-8")
    (tmp_path / "best-3").symlink_to(tmp_path / "nowhere")
    (tmp_path / "best-4").mkdir()
    (tmp_path / "best-4" / "thesis.txt").write_text("years of work", encoding="utf-8")
    with atomic_folder(tmp_path / "best", ours=mine) as place:
        put(place.folder, "mine")
    assert place.target.name == "best-5"
    assert (tmp_path / "best-2").read_text() == "a file"
    assert (tmp_path / "best-4" / "thesis.txt").exists()


@pytest.mark.parametrize("ended", [KeyboardInterrupt(), SystemExit(143)], ids=["Ctrl-C", "SIGTERM"])
def test_an_interrupt_between_the_two_renames_loses_neither_the_old_gallery_nor_leaves_litter(
    tmp_path, monkeypatch, ended
):
    target = gallery(tmp_path / "best", "mine")
    rename = os.rename

    def interrupted(source, destination):
        rename(source, destination)
        if Path(source) == target:
            raise ended

    monkeypatch.setattr("vgg_viz.gallery.folder.os.rename", interrupted)
    with pytest.raises(type(ended)), atomic_folder(target, ours=mine) as place:
        put(place.folder, "mine")
    assert (target / "index.html").read_text(encoding="utf-8") == "mine"
    assert [entry.name for entry in tmp_path.iterdir()] == ["best"]
