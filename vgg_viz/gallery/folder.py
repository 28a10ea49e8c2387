"""Galleries on disk: built in a temporary folder, swapped in whole, never over something that is not a gallery."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

from vgg_viz.atomic import bring_back, disk_refused, hidden_folder
from vgg_viz.errors import OutputRefused

MANIFEST = "manifest.json"
SCHEMA = 1
MOST_OF_A_NAME = 1000  # galleries of one name in a folder


def folder_name(stem: str) -> str:
    """A checkpoint's stem as a folder name: what could climb out, hide or break a shell becomes a dash; never empty.

    "best" -> "best", ".." -> "checkpoint", "a b/c" -> "a-b-c"; a name of other letters alone keeps apart from the next
    such name by its checksum
    """
    name = re.sub(r"[^\w.-]+|^[.-]+", "-", stem, flags=re.ASCII).strip("-.")[:100]
    return name or (
        "checkpoint" if stem.isascii() else f"checkpoint-{crc32(stem.encode('utf-8', 'backslashreplace')):08x}"
    )


@dataclass(slots=True)
class NewFolder:
    """A gallery on its way to its place: `folder` is written to, `target` is where it stands once the block has ended."""

    folder: Path
    target: Path


@contextmanager
def atomic_folder(
    target: Path, *, ours: Callable[[Mapping[str, Any]], bool] = lambda _manifest: True
) -> Iterator[NewFolder]:
    """A temporary folder that becomes `target` when the block ends well, and vanishes when it does not.

    So do the folders above `target` that had to be made for it, where nothing else lies in them.

    Args:
        target: Where it is to stand.
        ours: Whether the gallery with this manifest may be replaced; where another one stands, the next free name is
            taken (`best-2`, `best-3`, ...), also where another command put it there meanwhile.

    Raises:
        OutputRefused: Before the block runs, when `target` is something else than a gallery or nothing can be written there;
            and for an OSError of the block, which must be about writing.
    """
    _require_replaceable(target)
    new = [folder for folder in target.parents if not folder.exists()]
    with ExitStack() as stack:
        stack.callback(_remove_empty, new)  # the last to run
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            hidden = stack.enter_context(hidden_folder(target))
        except OSError as error:
            raise OutputRefused(
                f"nothing can be written in {target.parent.name or str(target.parent)!r} ({error.strerror}); choose another --out."
            ) from None
        stack.enter_context(disk_refused(target.name, advice="free some space or choose another --out"))
        place = NewFolder(hidden / "new", target)
        place.folder.mkdir()
        yield place
        place.folder.chmod(0o755)  # a gallery is to be shared, whatever the mask of its maker
        try:
            place.target = _put(hidden, target, ours)
        except BaseException:  # also Ctrl-C between the two renames
            bring_back(hidden)
            raise


def _remove_empty(folders: Iterable[Path]) -> None:
    with suppress(OSError):  # one that is not empty stays, and those above it
        for folder in folders:
            folder.rmdir()


def _put(hidden: Path, target: Path, ours: Callable[[Mapping[str, Any]], bool]) -> Path:
    """Rename the new gallery to the first of `target`, `target-2`, ... that is free or may be replaced; returns which.

    A rename onto a folder with something in it fails, so of two commands that come at once each sees what the other has put there.
    What has to give way waits in `hidden/old`: `sweep` brings it back, should this process be killed between the two renames.
    """
    (hidden / "old").mkdir()
    for place in (target, *(target.with_name(f"{target.name}-{number}") for number in range(2, MOST_OF_A_NAME))):
        while True:
            old = hidden / "old" / place.name
            if _replaceable(place, ours):
                shutil.rmtree(old, ignore_errors=True)  # another command was faster, and is replaced in its turn
                with suppress(FileNotFoundError):  # another command has just moved it away
                    os.rename(place, old)
            elif os.path.lexists(place) and not _empty(place):
                break
            try:
                os.rename(hidden / "new", place)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                continue  # another command was faster
            return place
    raise OSError(errno.EEXIST, f"{MOST_OF_A_NAME - 2} galleries of that name stand there already")


def _replaceable(place: Path, ours: Callable[[Mapping[str, Any]], bool]) -> bool:
    manifest = None if place.is_symlink() else read_manifest(place)
    return manifest is not None and ours(manifest)


def _empty(place: Path) -> bool:
    return not place.is_symlink() and place.is_dir() and not any(place.iterdir())


def _require_replaceable(target: Path) -> None:
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise OutputRefused(
            f"{target.name!r} exists and is not a folder, a gallery was to be written there; choose another --out."
        )
    if target.is_dir() and any(target.iterdir()) and read_manifest(target) is None:
        raise OutputRefused(
            f"the folder {target.name!r} exists and is not a gallery of vgg_viz, so it is left alone; choose another --out."
        )


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a gallery, or None where there is none of ours."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) and "vgg_viz" in manifest else None
