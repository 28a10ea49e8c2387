"""What a command says on stderr beside its answer: our own sentences alone, whatever stands around it."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
from PIL import Image

from vgg_viz import __version__, console
from vgg_viz.cli import main
from vgg_viz.console import Steps
from vgg_viz.data.shape_files import write_shapes
from vgg_viz.left_out import Loss, NoPicture, left_out_warning
from vgg_viz.progress import heard_by, tell, told
from vgg_viz.quiet_libraries import quiet_libraries

HOUSE = Path(__file__).parent.parent


def test_a_home_that_cannot_be_written_and_a_backend_that_does_not_exist_are_no_matter_to_anybody(tmp_path):
    Image.new("RGB", (64, 64), (200, 90, 30)).save(tmp_path / "a.png")
    around = {key: value for key, value in os.environ.items() if not key.startswith(("MPL", "XDG_", "PYTHONWARN"))}
    done = subprocess.run(
        [sys.executable, "-m", "vgg_viz", "explain", "tiny_vgg", tmp_path / "a.png", "--out", tmp_path / "b.png"],
        capture_output=True,
        text=True,
        check=False,
        cwd=HOUSE,
        env={**around, "HOME": "/proc/nowhere", "MPLBACKEND": "nonsense"},
    )
    assert done.returncode == 0, done.stderr
    assert all(line.startswith("vgg_viz explain: ") for line in done.stderr.splitlines()), done.stderr
    assert (tmp_path / "b.png").stat().st_size > 10_000


def test_libraries_are_quiet_during_a_command_and_as_before_after_it(monkeypatch, recwarn):
    logger = logging.getLogger("somebody.elses")
    with quiet_libraries():
        # An own -W or PYTHONWARNINGS is heeded, so what pytest was started with decides whether this one is heard.
        assert not logger.isEnabledFor(logging.WARNING)
        assert logger.isEnabledFor(logging.ERROR)
    assert logger.isEnabledFor(logging.WARNING)
    monkeypatch.setattr(sys, "warnoptions", [])
    with quiet_libraries():
        warnings.warn("from somebody's library", UserWarning, stacklevel=1)
    assert not recwarn.list
    with pytest.warns(UserWarning, match="heard again"):
        warnings.warn("heard again", UserWarning, stacklevel=1)


# ---------------------------------------------------------------- how far long work is


def work() -> None:
    """A fifth of a second's."""
    for _ in told(range(2_000), "reading pic\x1b[2Jtures"):
        time.sleep(0.0001)


def test_in_a_log_long_work_says_every_few_seconds_how_far_it_is(monkeypatch, capsys):
    monkeypatch.setattr(console, "EVERY", 0.05)
    with Steps("evaluate"):
        work()
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert 2 <= len(lines) <= 12
    assert all(line.startswith("vgg_viz evaluate: reading pic[U+001B][2Jtures, ") for line in lines)
    done = [int(line.split(", ", 1)[1].split(" of ")[0].replace(",", "")) for line in lines]
    assert done == sorted(set(done))
    assert " of 2,000 done, 0 s" in lines[0]


def test_short_work_and_quiet_work_say_nothing(monkeypatch, capsys):
    with Steps("evaluate"):
        work()
    monkeypatch.setattr(console, "EVERY", 0.02)
    with Steps("evaluate", quiet=True):
        work()
    assert capsys.readouterr() == ("", "")


def test_what_was_said_otherwise_counts_as_a_sign_of_life(monkeypatch, capsys):
    monkeypatch.setattr(console, "EVERY", 0.2)
    with Steps("train") as steps:
        for number in range(8):
            time.sleep(0.05)
            steps.print(f"epoch {number} [bold]")
    assert capsys.readouterr().err.splitlines() == [f"epoch {number} [bold]" for number in range(8)]


def test_steps_are_told_to_the_nearest_listener_alone():
    heard = []
    with heard_by(lambda *step: heard.append(step)):
        tell("outer")
        with heard_by(None):
            tell("inner")
        tell("outer", 1, 3)
    tell("nobody")
    assert heard == [("outer", 0, 1), ("outer", 1, 3)]


@pytest.mark.parametrize("command", ["evaluate", "predict", "inspect", "export", "check", "shapes", "train", "audit"])
def test_every_command_that_may_take_long_says_how_far_it_is(command, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(console, "EVERY", 0.0)
    data = write_shapes(tmp_path / "data", train=20, val=20, test=20, side=32)
    net = ["tiny_vgg", "--image-size", "32"]
    line = {
        "evaluate": ["evaluate", *net, "--data", str(data)],
        "predict": ["predict", *net, str(data / "val")],
        "inspect": ["inspect", *net, "--images", str(data / "val")],
        "export": ["export", "vgg11", "--image-size", "32", str(tmp_path / "net.safetensors")],
        "check": ["data", "check", str(data)],
        "shapes": ["data", "shapes", "--train", "20", "--val", "0", "--test", "0", "--out", str(tmp_path / "made")],
        "train": ["train", "--data", str(data), "--epochs", "1", "--width", "0.2", "--out", str(tmp_path / "run")],
        "audit": ["audit", "--out", str(tmp_path / "gallery"), "--limit", "20"],
    }[command]
    assert main(line) == 0
    said = [told for told in capsys.readouterr().err.splitlines() if told.endswith(" s")]
    assert said
    assert all(told.startswith(f"vgg_viz {line[0]}: ") for told in said)


# ---------------------------------------------------------------- what was left out


COMMANDS = ["evaluate", "predict", "inspect", "check", "train", "audit", "report", "compare", "timeline"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A painted folder, and a network and a run that learned from it."""
    place = tmp_path_factory.mktemp("status")
    data = write_shapes(place / "data", train=20, val=20, test=20, side=32)
    line = ["train", "--data", str(data), "--epochs", "1", "--width", "0.2", "--quiet", "--out", str(place / "run")]
    assert main(line) == 0
    return data


@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_broken_picture_has_the_same_status_in_every_command_and_notes_among_pictures_none(
    command, broken, pictures, tmp_path, few_sections, capsys
):
    few_sections("overview", "training")
    data = tmp_path / "data"
    shutil.copytree(pictures, data)
    for part in ("train", "val", "test"):
        (data / part / "star" / "notes.txt").write_text("of no concern")
        if broken:
            (data / part / "star" / "broken.png").write_bytes(b"no picture")
    net, run = str(pictures.parent / "run" / "best.pt"), str(pictures.parent / "run")
    out = ["--out", str(tmp_path / "out")]
    line = {
        "evaluate": ["evaluate", net, "--data", str(data)],
        "predict": ["predict", net, str(data / "val" / "star")],
        "inspect": ["inspect", net, "--images", str(data / "val")],
        "check": ["data", "check", str(data)],
        "train": ["train", "--data", str(data), "--epochs", "1", "--width", "0.2", *out],
        "audit": ["audit", net, "--data", str(data), "--limit", "20", *out],
        "report": ["report", net, "--data", str(data), "--preset", "quick", *out],
        "compare": ["compare", net, net, "--data", str(data), "--preset", "quick", *out],
        "timeline": ["compare", run, "--data", str(data), "--preset", "quick", *out],
    }[command]
    assert main(line) == int(broken)
    said = capsys.readouterr().err
    assert "notes.txt" in said
    assert ("broken.png" in said) is broken


def test_many_files_that_were_left_out_are_one_sentence():
    reasons = [f"{n}.png is cut short; take another copy." for n in range(12)]
    said = left_out_warning(reasons)
    assert said.startswith("12 files were left out: 0.png is cut short; take another copy; 1.png")
    assert said.endswith("; and 7 more.")
    assert ".;" not in said
    assert left_out_warning([NoPicture("a.txt has no picture's suffix.")]) == (
        "1 file was left out: a.txt has no picture's suffix."
    )
    assert [
        isinstance(left_out_warning(some), Loss) for some in (reasons, [NoPicture("a")], [NoPicture("a"), "b"])
    ] == [True, False, True]


@pytest.mark.parametrize("target", ["net.pt", "gone.pt"])
def test_a_link_to_nothing_is_called_so_and_never_advised_in_its_own_place(target, tmp_path, capsys):
    (tmp_path / "net.pt").symlink_to(target)
    assert main(["inspect", str(tmp_path / "net.pt")]) == 2
    said = capsys.readouterr().err
    assert "link" in said
    assert said.count("net.pt") == 1


def test_the_version_is_told_without_torch():
    program = (
        "import sys; from vgg_viz.cli import main\n"
        "try: main(['--version'])\n"
        "finally: print(*({'torch', 'matplotlib', 'numpy', 'rich'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=HOUSE)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (0, f"vgg_viz {__version__}\n", "")
