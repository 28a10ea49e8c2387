"""Files and folders written whole or not at all, on disks that fill, and the rests of commands that were killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from full_disk import files_up_to

from vgg_viz.atomic import HOST, SUFFIX, disk_error, disk_refused, hidden_folder, sweep, whole_file, whole_folder
from vgg_viz.cli import main
from vgg_viz.data.shape_files import write_shapes
from vgg_viz.errors import InputRefused, OutputRefused
from vgg_viz.models.build import architecture, build
from vgg_viz.models.checkpoint import load, save
from vgg_viz.models.export import export
from vgg_viz.records import Checkpoint

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no such locks and limits there")
SHARES = (0.0, 0.02, 0.2, 0.4, 0.6, 0.8, 0.9, 0.99, 0.999)  # of a file's bytes for which there is space


def checkpoint() -> Checkpoint:
    wanted = architecture("tiny_vgg", num_classes=3, image_side=32)
    return Checkpoint(wanted, ("a", "b", "c"), build(wanted, seed=1).state_dict())


# ---------------------------------------------------------------- a disk that fills


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
def test_a_disk_that_fills_under_a_checkpoint_is_one_sentence_and_the_old_file_stays(name, share, tmp_path):
    def write() -> None:
        (save if name == "a.pt" else lambda path, one: export(one, path, force=True))(tmp_path / name, checkpoint())

    write()
    before = (tmp_path / name).read_bytes()
    with files_up_to(int(len(before) * share)), pytest.raises(OutputRefused, match=rf"'{name}'.*File too large"):
        write()
    assert (tmp_path / name).read_bytes() == before
    assert os.listdir(tmp_path) == [name]


def test_a_full_disk_under_a_command_is_status_2_and_leaves_nothing(tmp_path, capsys):
    save(tmp_path / "a.pt", checkpoint())
    for words in (
        ["export", str(tmp_path / "a.pt"), str(tmp_path / "b.safetensors")],
        ["export", str(tmp_path / "a.pt"), str(tmp_path / "b.onnx")],
        ["data", "shapes", "--out", str(tmp_path / "painted"), "--train", "20", "--val", "10", "--test", "10"],
        [
            "train",
            "--data",
            "shapes",
            "--out",
            str(tmp_path / "run"),
            "--epochs",
            "1",
            "--train-count",
            "20",
            "--val-count",
            "10",
            "--quiet",
        ],
    ):
        with files_up_to(600):
            assert main(words) == 2, words
        out, err = capsys.readouterr()
        assert out == ""
        assert len(err.splitlines()) == 1
        assert "File too large" in err
        assert os.listdir(tmp_path) == ["a.pt"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_standard_output_on_a_full_disk_is_status_2_in_one_sentence():
    for words in (["doctor", "--json"], ["inspect", "tiny_vgg", "--json"]):
        with open("/dev/full", "w") as full:
            found = subprocess.run(
                [sys.executable, "-m", "vgg_viz", *words], stdout=full, stderr=subprocess.PIPE, text=True
            )
        assert found.returncode == 2, found.stderr
        assert len(found.stderr.splitlines()) == 1
        assert "No space left on device" in found.stderr


def test_the_systems_error_is_found_however_a_library_wraps_it():
    full = OSError(28, "No space left on device")

    def while_handling(error: BaseException, raised: Exception) -> Exception:
        raised.__context__ = error
        return raised

    assert disk_error(full) is full
    assert disk_error(while_handling(full, RuntimeError("unexpected pos 64 vs 0"))) is full
    assert disk_error(while_handling(while_handling(full, RuntimeError("inner")), RuntimeError("outer"))) is full
    rust = disk_error(Exception("Error while serializing: I/O error: gibberish (os error 28)"))
    assert (rust.errno, rust.strerror) == (28, os.strerror(28))
    assert disk_error(RuntimeError("shapes do not fit")) is None
    assert disk_error(while_handling(full, TypeError("a fault of the program"))) is None
    hidden = while_handling(full, RuntimeError("on purpose"))
    hidden.__suppress_context__ = True
    assert disk_error(hidden) is None


def test_what_is_not_about_the_disk_passes_as_it_is(tmp_path):
    for error in (InputRefused("no"), RuntimeError("a fault"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as raised, whole_file(tmp_path / "a"):
            raise error
        assert raised.value is error
        with pytest.raises(type(error)), disk_refused("a"):
            raise error
    assert os.listdir(tmp_path) == []


# ---------------------------------------------------------------- whole folders


def test_a_folder_takes_its_place_whole_or_not_at_all(tmp_path):
    with whole_folder(tmp_path / "new") as fresh:
        (fresh / "inside").mkdir()
        assert not (tmp_path / "new").exists()
    with pytest.raises(OutputRefused), whole_folder(tmp_path / "new") as fresh:  # noqa: PT012
        (fresh / "half").touch()
        raise OSError(28, "No space left on device")
    assert [entry.relative_to(tmp_path).as_posix() for entry in tmp_path.rglob("*")] == ["new", "new/inside"]
    with whole_folder(tmp_path / "new") as fresh:
        (fresh / "other").mkdir()
    assert [entry.relative_to(tmp_path).as_posix() for entry in tmp_path.rglob("*")] == ["new", "new/other"]


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full disk", "Ctrl-C"]
)
def test_where_the_last_rename_fails_what_stood_there_comes_back(error, tmp_path, monkeypatch):
    (tmp_path / "a" / "old").mkdir(parents=True)
    rename = os.rename

    def failing(source, destination):
        if "new" in Path(source).parts:
            raise error
        rename(source, destination)

    monkeypatch.setattr("vgg_viz.atomic.os.rename", failing)
    with pytest.raises((OutputRefused, KeyboardInterrupt)), whole_folder(tmp_path / "a"):
        pass
    assert os.listdir(tmp_path) == ["a"]
    assert os.listdir(tmp_path / "a") == ["old"]


def test_files_in_a_whole_folder_have_the_rights_of_other_new_files(tmp_path):
    (tmp_path / "usual").mkdir()
    (tmp_path / "usual.txt").touch()
    with whole_folder(tmp_path / "made"), whole_file(tmp_path / "made.txt") as file:
        file.touch()
    assert (tmp_path / "made").stat().st_mode == (tmp_path / "usual").stat().st_mode
    assert (tmp_path / "made.txt").stat().st_mode == (tmp_path / "usual.txt").stat().st_mode


def test_a_name_as_long_as_a_name_may_be_can_be_written(tmp_path):
    for name in ("n" * 255, "ä" * 127):
        with whole_file(tmp_path / name) as file:
            file.write_bytes(b"x")
        assert os.listdir(tmp_path) == [name]
        (tmp_path / name).unlink()


# ---------------------------------------------------------------- the rests of killed commands

WRITER = """
import sys
from pathlib import Path
from vgg_viz.atomic import whole_file, whole_folder
with whole_file(Path(sys.argv[1]) / "a.pt") as file, whole_folder(Path(sys.argv[1]) / "gallery") as folder:
    file.write_bytes(b"half")
    (folder / "half").mkdir()
    print("writing", flush=True)
    sys.stdin.read()
"""


def test_the_next_command_sweeps_what_a_killed_one_left_and_nothing_of_one_that_lives(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout.readline() == b"writing\n"
        at_work = sorted(os.listdir(tmp_path))
        assert [name.startswith(".") for name in at_work] == [True, True]
        sweep(tmp_path)
        assert sorted(os.listdir(tmp_path)) == at_work, "the command lives"
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        assert sorted(os.listdir(tmp_path)) == at_work, "a killed command cannot tidy up"
        with whole_file(tmp_path / "b.pt") as file:
            file.write_bytes(b"whole")
        assert os.listdir(tmp_path) == ["b.pt"]


def test_what_a_killed_command_had_moved_out_of_the_way_comes_back(tmp_path):
    left = tmp_path / f".gallery.{HOST}.x{SUFFIX}"
    (left / "old" / "gallery" / "figures").mkdir(parents=True)
    (left / "new" / "gallery").mkdir(parents=True)
    sweep(tmp_path)
    assert [entry.relative_to(tmp_path).as_posix() for entry in tmp_path.rglob("*")] == ["gallery", "gallery/figures"]


def test_where_the_new_one_stands_already_the_old_one_goes(tmp_path):
    (tmp_path / f".gallery.{HOST}.x{SUFFIX}" / "old" / "gallery" / "old").mkdir(parents=True)
    (tmp_path / "gallery" / "new").mkdir(parents=True)
    sweep(tmp_path)
    assert [entry.relative_to(tmp_path).as_posix() for entry in tmp_path.rglob("*")] == ["gallery", "gallery/new"]


def test_nothing_else_is_swept(tmp_path):
    (tmp_path / f".a.00000000.x{SUFFIX}").mkdir()  # of another machine
    (tmp_path / ".a.tmp").mkdir()
    (tmp_path / f"a.{HOST}.x{SUFFIX}").mkdir()
    (tmp_path / f".file.{HOST}.x{SUFFIX}").write_text("a file")
    (tmp_path / "thesis").mkdir()
    (tmp_path / f".link.{HOST}.x{SUFFIX}").symlink_to(tmp_path / "thesis")
    before = sorted(os.listdir(tmp_path))
    with hidden_folder(tmp_path / "x"):
        sweep(tmp_path)
        sweep(tmp_path / "missing")
    assert sorted(os.listdir(tmp_path)) == before


def test_where_the_disk_knows_no_locks_files_are_written_and_nothing_is_swept(tmp_path, monkeypatch):
    def unknown(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("vgg_viz.atomic.fcntl.flock", unknown)
    (tmp_path / f".a.{HOST}.x{SUFFIX}").mkdir()
    save(tmp_path / "a.pt", checkpoint())
    assert load(tmp_path / "a.pt").classes == ("a", "b", "c")
    assert sorted(os.listdir(tmp_path)) == [f".a.{HOST}.x{SUFFIX}", "a.pt"]


def test_a_folder_that_is_swept_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    import vgg_viz.atomic as module

    lock, made = module._lock, []

    def late(folder: Path) -> int | None:
        made.append(folder)
        if len(made) == 1:
            folder.rmdir()
        return lock(folder)

    monkeypatch.setattr(module, "_lock", late)
    with hidden_folder(tmp_path / "a") as hidden:
        assert hidden.is_dir()
    assert len(made) == 2


def test_painted_pictures_on_a_full_disk_leave_the_folder_that_was_there(tmp_path):
    root = write_shapes(tmp_path / "shapes", train=10, val=10, test=10)
    before = {file: file.read_bytes() for file in root.rglob("*") if file.is_file()}
    with files_up_to(1500), pytest.raises(OutputRefused, match="'shapes' could not be written whole"):
        write_shapes(root, train=20, val=10, test=10)
    assert {file: file.read_bytes() for file in root.rglob("*") if file.is_file()} == before
    assert os.listdir(tmp_path) == ["shapes"]
