"""Finished maps of a report that was interrupted: kept beside its place, read by the next one, gone when a gallery stands."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vgg_viz.studies.evaluation_cache import FILE
from vgg_viz.studies.saved_maps import SUFFIX

STALE = 24 * 3600.0  # after which other reports' leftovers are removed too [s]


@contextmanager
def resumable(target: Path, *, settings: object) -> Iterator[Path]:
    """A hidden folder beside `target` for finished maps: `.<name>.maps/<digest of the settings>`.

    settings  what tells this report from another one of the same checkpoint; the maps in the folder are matched by
              their own facts besides, so that a wrong one would never be used
    The folder goes when the block ends well. When it does not, finished maps stay (each a whole file), and Ctrl-C says so.
    Two reports at once have a folder each, or the same one with the same maps in it.
    """
    beside = target.parent / f".{target.name}.maps"
    mine = beside / hashlib.sha256(repr(settings).encode()).hexdigest()[:16]
    try:
        yield mine
    except BaseException as ended:
        count = len(list(mine.glob(f"map-*{SUFFIX}"))) if mine.is_dir() else 0
        tried = mine.is_dir() and any(mine.glob(FILE))
        if count or tried:
            maps = [f"{count} finished {'set' if count == 1 else 'sets'} of maps"] if count else []
            kept = " and ".join([*maps, *(["the trials"] if tried else [])])
            ended.add_note(
                f"{kept} {'is' if count == 1 and not tried else 'are'} kept: the same command goes on from there."
            )
        else:
            _remove(mine, beside)
        raise
    _remove(mine, beside)


def _remove(mine: Path, beside: Path) -> None:
    shutil.rmtree(mine, ignore_errors=True)
    with suppress(OSError):  # gone already, or another report is at it
        for other in beside.iterdir():
            if time.time() - other.stat().st_mtime > STALE:
                shutil.rmtree(other, ignore_errors=True)
        beside.rmdir()
