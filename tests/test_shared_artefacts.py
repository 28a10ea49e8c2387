"""A shared artefact is made once, by whoever comes first, and nobody sees half of one."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from shared_artefacts import shared_gallery


def counted(made: list[Path]) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        made.append(folder)
        time.sleep(0.05)  # long enough for a second worker to come
        (folder / "index.html").write_text("whole")

    return make


@pytest.fixture
def run(tmp_path_factory, monkeypatch, tmp_path):
    """A run of two workers whose common folder is this test's own."""
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    monkeypatch.setattr(tmp_path_factory, "_basetemp", tmp_path / "popen-gw0")
    return tmp_path_factory


def test_two_workers_at_once_get_one_whole_artefact(run, tmp_path):
    made: list[Path] = []
    with ThreadPoolExecutor(4) as workers:
        found = list(
            workers.map(lambda _: (shared_gallery(run, "report", counted(made)) / "index.html").read_text(), range(4))
        )
    assert found == ["whole"] * 4
    assert made == [tmp_path / "shared-report"]


def test_each_name_has_its_own_folder(run):
    made: list[Path] = []
    assert shared_gallery(run, "report", counted(made)) != shared_gallery(run, "audit", counted(made))
    assert len(made) == 2


def test_half_an_artefact_is_never_handed_out(run):
    def breaks(folder: Path) -> None:
        (folder / "index.html").write_text("ha")
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        shared_gallery(run, "report", breaks)
    with pytest.raises(RuntimeError, match="report could not be made"):
        shared_gallery(run, "report", counted([]))
