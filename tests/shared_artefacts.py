"""Artefacts that are dear to make, such as whole galleries: made once a test run, read by every test of both workers."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest


def shared_gallery(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """The folder `name` of this test run, which `make` filled; whoever comes first makes it, the others wait for it.

    `make` is given the empty folder. The folder is the run's own, not the worker's: nobody may change what lies in it.
    An interrupted `make` leaves no marker, so the next who asks gets the error too, or the whole folder.
    """
    base = tmp_path_factory.getbasetemp()
    run = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base  # a worker's own folder lies in that of the run
    folder, marker = run / f"shared-{name}", run / f"shared-{name}.made"
    with (run / f"shared-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # let go when the file closes, also when the process dies
        if not marker.exists():
            if folder.exists():
                raise RuntimeError(
                    f"the shared folder {name} could not be made; the first test that asked for it says why"
                )
            folder.mkdir()
            make(folder)
            marker.touch()
    return folder
