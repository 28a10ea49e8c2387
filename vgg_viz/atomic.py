"""Files and folders that are written whole or not at all; a disk that says no is one sentence; what killed commands left is swept."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from zlib import crc32

from vgg_viz.errors import OutputRefused

if sys.platform != "win32":  # there nothing can be locked so, and therefore nothing is swept
    import fcntl

SUFFIX = ".vgg_viz.tmp"  # of every temporary folder, and of nothing else
# A lock may be unknown to another machine that shares the disk: each sweeps only what it made itself.
HOST = f"{crc32(platform.node().encode('utf-8', 'backslashreplace')):08x}"
ADVICE = "free some space or choose another folder"


# ---------------------------------------------------------------- whole, or not at all


@contextmanager
def whole_file(path: Path, *, advice: str = ADVICE) -> Iterator[Path]:
    """A name to write to: it becomes `path` when the block ends well, and vanishes when it does not.

    Args:
        path: What the file will be called.
        advice: The next step, told where the disk says no.

    Raises:
        OutputRefused: Where `path` cannot be written, also when a library says so in its own error; `path` is then
            what it was. The block must therefore do nothing but write.
    """
    with disk_refused(path.name, advice=advice), hidden_folder(path) as hidden:
        yield hidden / path.name
        os.replace(hidden / path.name, path)


@contextmanager
def whole_folder(target: Path, *, advice: str = ADVICE) -> Iterator[Path]:
    """An empty folder to fill: it takes the place of `target` when the block ends well, and vanishes when it does not.

    Whether what stands at `target` may be replaced is the caller's to know.

    Raises:
        OutputRefused: As `whole_file` does; what stood at `target` then stands there still.
    """
    with disk_refused(target.name, advice=advice), hidden_folder(target) as hidden:
        fresh, old = hidden / "new" / target.name, hidden / "old" / target.name
        fresh.mkdir(parents=True)
        yield fresh
        try:
            if target.exists():
                old.parent.mkdir()
                os.rename(target, old)
            os.rename(fresh, target)
        except BaseException:
            bring_back(hidden)
            raise


# ---------------------------------------------------------------- temporary folders, and those of killed commands


@contextmanager
def hidden_folder(beside: Path) -> Iterator[Path]:
    """An empty hidden folder beside `beside`, on the same disk; gone, with all that is in it, when the block ends.

    It is locked while the block runs, and a lock ends with its process however that ends: so `sweep` knows what is alive.
    The folders that killed commands left in the same place are swept first.
    """
    sweep(beside.parent)
    hidden, lock = _locked_folder(beside)
    try:
        yield hidden
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def sweep(folder: Path) -> None:
    """Remove the temporary folders in `folder` whose command is dead; what one of them had moved out of the way comes back.

    A folder that is locked, that another machine made or that is not of this package's making is left alone, and so is all
    where the disk knows no locks.
    """
    with suppress(OSError):  # `folder` may be missing, or not to be read
        for left in list(folder.glob(f".*.{HOST}.*{SUFFIX}")):
            with suppress(OSError):
                lock = _lock(left)
                if lock is not None:
                    bring_back(left)
                    shutil.rmtree(left, ignore_errors=True)
                    os.close(lock)


def _locked_folder(beside: Path) -> tuple[Path, int | None]:
    while True:
        # The name is cut: with all that is added to it, it must still be a name.
        made = Path(tempfile.mkdtemp(prefix=f".{beside.name[:40]}.{HOST}.", suffix=SUFFIX, dir=beside.parent))
        with suppress(BlockingIOError, FileNotFoundError):
            lock = _lock(made)
            if made.is_dir():
                return made, lock
        # Another command swept it before it was locked.


def _lock(folder: Path) -> int | None:
    """A descriptor that locks `folder` until it is closed; None where locks are unknown.

    Raises:
        BlockingIOError: Where it is locked
        OSError: Where it is no folder.
    """
    if sys.platform == "win32":
        return None
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise
        return None
    return descriptor


def bring_back(hidden: Path) -> None:
    """What was moved out of the way goes back to its place, where nothing has taken that."""
    if (hidden / "old").is_dir():
        for old in list((hidden / "old").iterdir()):
            if not (hidden.parent / old.name).exists():
                os.rename(old, hidden.parent / old.name)


# ---------------------------------------------------------------- a disk that says no


@contextmanager
def disk_refused(name: str, *, advice: str = ADVICE) -> Iterator[None]:
    """Turn what the disk refuses in this block into OutputRefused, in whichever error a library wraps it."""
    try:
        yield
    except Exception as error:
        if (refused := disk_error(error)) is None:
            raise
        why = refused.strerror or str(refused) or type(refused).__name__
        raise OutputRefused(
            f"{name!r} could not be written whole ({why}), so nothing was changed; {advice}."
        ) from error


def disk_error(error: BaseException) -> OSError | None:
    """The system's error that `error` is or was raised over; None where it is about something else.

    torch.save raises RuntimeError ("unexpected pos") while it handles the OSError of its file: found by the chain of errors.
    safetensors, written in Rust, raises an error of its own in whose text alone the number stands: "(os error 28)".
    """
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        current = waiting.pop(0)
        if current is None or current in seen:
            continue
        if isinstance(current, OSError):
            return current
        seen.append(current)
        if isinstance(current, RuntimeError):
            waiting += [current.__cause__, None if current.__suppress_context__ else current.__context__]
    if number := re.search(r"\(os error (\d+)\)$", str(error)):
        return OSError(int(number[1]), os.strerror(int(number[1])))
    return None
