"""How weights lie on disk, one file a kind: opened without running what is inside, and not yet understood.

A container is a function `(path) -> Stored | None`: None when the file is not of its kind, CheckpointRefused when it is but cannot be
opened. They are asked in the order of their file names, `torch_file` last; a newcomer adds a file. What the objects mean is said in
`models/formats/`.
"""

from __future__ import annotations

import stat
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from vgg_viz.errors import CheckpointRefused
from vgg_viz.models.vgg import VARIANTS
from vgg_viz.registry import Registry, discover


@dataclass(frozen=True, slots=True)
class Stored:
    """What a file held: plain containers and tensors, and sentences on how they lay there."""

    container: str
    value: object
    evidence: tuple[str, ...] = ()


Opener = Callable[[Path], Stored | None]
CONTAINERS: Registry[Opener] = Registry("container")


def container(name: str) -> Callable[[Opener], Opener]:
    """Register a container under `name`."""

    def register(function: Opener) -> Opener:
        return CONTAINERS.add(name, function)

    return register


def open_file(path: Path) -> Stored:
    """What a file, or a folder that is a model, holds; raises CheckpointRefused."""
    _require_there(path)
    discover(__name__)
    for name in CONTAINERS:
        stored = CONTAINERS[name](path)
        if stored is not None:
            return stored
    raise CheckpointRefused(f"{shown(path)} is a folder, a checkpoint file was expected; name the .pt file inside it.")


def shown(path: Path) -> str:
    """A path as a sentence names it: without its folders, which would say whose machine it was."""
    return repr(path.name or str(path))


def _require_there(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except OSError:
        folder = path.parent
        beside = [p.name for p in folder.iterdir() if p.suffix in (".pt", ".pth")] if folder.is_dir() else []
        near = get_close_matches(path.name, beside, n=1, cutoff=0.4) or beside[:1]
        hint = f"there is {near[0]!r} beside it" if near else f"give a checkpoint file or one of {', '.join(VARIANTS)}"
        raise CheckpointRefused(f"there is no file {shown(path)}; {hint}.") from None
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise CheckpointRefused(f"{shown(path)} is not a regular file; give a checkpoint file on disk.")
    if stat.S_ISREG(mode) and path.stat().st_size == 0:
        raise CheckpointRefused(f"{shown(path)} is empty (0 bytes); its writing was cut off, take another copy.")
