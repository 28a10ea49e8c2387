"""The doctor: what it finds here, what it proposes, and the one thing that it mends by itself."""

from __future__ import annotations

import sys

import pytest

from vgg_viz import doctor
from vgg_viz.doctor import Check, examine, fix_opencv
from vgg_viz.errors import VggVizError


class Runner:
    """Answers commands with planned exit statuses and remembers them."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.commands: list[list[str]] = []

    def __call__(self, command) -> int:
        self.commands.append(list(command))
        return self.statuses.pop(0)

    def words(self) -> list[str]:
        """The commands without the interpreter, one text each."""
        assert all(command[0] == sys.executable for command in self.commands)
        return [" ".join(command[1:]) for command in self.commands]


def test_where_opencv_can_be_imported_nothing_is_touched():
    run = Runner(0)
    assert fix_opencv(run) == ""
    assert run.words() == ["-c import cv2"]


def test_where_libgl_is_missing_the_headless_build_takes_the_place_and_that_is_said():
    run = Runner(1, 0, 0, 0)
    said = fix_opencv(run)
    tried, removed, installed, again = run.words()
    assert tried == again == "-c import cv2"
    assert removed == "-m pip uninstall --yes opencv-python"
    assert installed.startswith("-m pip install") and installed.endswith("opencv-python-headless")  # noqa: PT018
    assert "opencv-python-headless was put in its place" in said
    assert said.count(".") == 1


@pytest.mark.parametrize(
    "statuses", [(1, 0, 1), (1, 0, 0, 1), (1, 1, 1)], ids=["install fails", "import still fails", "both fail"]
)
def test_where_that_does_not_help_it_says_so_instead_of_claiming_success(statuses):
    said = fix_opencv(Runner(*statuses))
    assert "could not be put in its place" in said
    assert "doctor" in said


def test_nothing_fails_on_the_machine_that_runs_the_tests():
    checks = examine()
    assert [check for check in checks if not check.good] == []
    assert [check.name for check in checks if not check.found] == []
    assert {"python", "torch", "opencv", "bundled checkpoint"} <= {check.name for check in checks}


def test_a_package_that_cannot_be_imported_fails_with_the_command_that_brings_it(monkeypatch):
    def missing(name):
        raise ImportError(f"No module named {name!r}\nsecond line")

    monkeypatch.setattr(doctor.importlib, "import_module", missing)
    check = doctor._package("PIL")
    assert check == Check("PIL", False, "No module named 'PIL'", "pip install pillow")


def test_an_opencv_without_libgl_fails_with_the_headless_command(monkeypatch):
    def broken():
        raise VggVizError("libGL.so.1: cannot open shared object file")

    monkeypatch.setattr("vgg_viz.maths.images.opencv", broken)
    check = doctor._opencv()
    assert not check.good
    assert "libGL" in check.found
    assert "opencv-python-headless" in check.fix


def test_every_failing_check_names_a_fix(monkeypatch, capsys):
    from vgg_viz.cli import main

    monkeypatch.setattr(
        doctor, "examine", lambda: [Check("torch", False, "absent", "pip install torch"), Check("rich", True, "13")]
    )
    assert main(["doctor"]) == 1
    shown = capsys.readouterr().out
    assert "FAIL torch: absent" in shown
    assert "fix: pip install torch" in shown
