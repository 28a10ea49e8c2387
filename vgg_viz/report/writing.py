"""Galleries on disk: built in a temporary folder, swapped in whole, never over something that is not a gallery."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from zlib import crc32

from vgg_viz.errors import OutputRefused

MANIFEST = "manifest.json"
SCHEMA = 1


def folder_name(stem: str) -> str:
    """A checkpoint's stem as a folder name: what could climb out, hide or break a shell becomes a dash; never empty.

    "best" -> "best", ".." -> "checkpoint", "a b/c" -> "a-b-c"; a name of other letters alone keeps apart from the next
    such name by its checksum
    """
    name = re.sub(r"[^\w.-]+|^[.-]+", "-", stem, flags=re.ASCII).strip("-.")[:100]
    return name or ("checkpoint" if stem.isascii() else f"checkpoint-{crc32(stem.encode('utf-8', 'backslashreplace')):08x}")


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A temporary folder that takes the place of `target` when the block ends well, and vanishes when it does not.

    So do the folders above `target` that had to be made for it, where nothing else lies in them.

    raises  OutputRefused before the block runs when `target` is something else than a gallery, or nothing can be written there;
            OutputRefused for an OSError of the block, which must be about writing
    """
    _require_replaceable(target)
    new = [folder for folder in target.parents if not folder.exists()]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
    except OSError as error:
        raise OutputRefused(
            f"nothing can be written in {target.parent.name or str(target.parent)!r} ({error.strerror}); choose another --out."
        ) from None
    try:
        yield temporary  # errors of the disk in this block are the user's to mend
        temporary.chmod(0o755)  # mkdtemp makes private folders; a gallery is to be shared
        old = temporary.with_suffix(".old")
        if target.exists():
            os.rename(target, old)
        try:
            os.rename(temporary, target)
        except OSError:
            if old.exists():
                os.rename(old, target)
            raise
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise OutputRefused(
            f"{target.name!r} could not be written whole ({error.strerror or error}), so nothing was changed; "
            "free some space or choose another --out."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        with suppress(OSError):  # one that is not empty stays, and those above it
            for folder in new:
                folder.rmdir()


def _require_replaceable(target: Path) -> None:
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise OutputRefused(f"{target.name!r} exists and is not a folder, a gallery was to be written there; choose another --out.")
    if target.is_dir() and any(target.iterdir()) and read_manifest(target) is None:
        raise OutputRefused(
            f"the folder {target.name!r} exists and is not a gallery of vgg_viz, so it is left alone; choose another --out."
        )


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a gallery, or None where there is none of ours."""
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "vgg_viz" in found else None
