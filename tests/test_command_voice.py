"""What a command says on stderr beside its answer: our own sentences alone, whatever stands around it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from PIL import Image

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
