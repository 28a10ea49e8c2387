"""How weights lie on disk, one file a kind: opened without running what is inside, and not yet understood.

A container is a function `(path) -> Stored | None`: None when the file is not of its kind, CheckpointRefused when it is but cannot
be opened. They are asked in the order of their file names, `safetensors_file` first and `torch_file` last; a newcomer adds a file. What
the objects mean is said in `models/formats/`.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from vgg_viz.errors import CheckpointRefused
from vgg_viz.file_kinds import ONNX, file_kind, kind_of_folder
from vgg_viz.models.vgg import VARIANTS
from vgg_viz.registry import Registry


@dataclass(frozen=True, slots=True)
class Stored:
    """What a file held: plain containers and tensors, and sentences on how they lay there.

    Attributes:
        files: Where a model lies in several: all of them, the one that names the others first.
    """

    container: str
    value: object
    evidence: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()


LARGEST_JSON = 16 * 2**20  # bytes; a VGG's topology or header with the names of 1,000 classes takes 60 kB
Opener = Callable[[Path], Stored | None]
# Safetensors are known by what they hold, whatever the file is called; torch takes any file that is left, and says what it is instead.
CONTAINERS: Registry[Opener] = Registry("container", fill=__name__, first=("safetensors_file",), last=("torch_file",))


def container(name: str) -> Callable[[Opener], Opener]:
    """Register a container under `name`."""

    def register(function: Opener) -> Opener:
        return CONTAINERS.add(name, function)

    return register


def open_file(path: Path) -> Stored:
    """What a file, or a folder that is a model, holds; raises CheckpointRefused."""
    _require_there(path)
    _require_familiar(path)
    for name in CONTAINERS:
        stored = CONTAINERS[name](path)
        if stored is not None:
            return stored
    if kind := kind_of_folder(p.name for p in path.iterdir()):
        raise CheckpointRefused(f"{shown(path)} is {kind.what}; {kind.for_network}.")
    inside = sorted(
        p.name for p in path.iterdir() if p.suffix in (".pt", ".pth", ".safetensors", ".h5", ".keras", ".onnx")
    )
    hint = f"such as {inside[0]!r}" if inside else "or a folder with the model.json of TensorFlow.js"
    raise CheckpointRefused(
        f"{shown(path)} is a folder, a checkpoint file was expected; name the file inside it, {hint}."
    )


def model_files(path: Path) -> tuple[Path, ...]:
    """The files that a checkpoint consists of: itself, or what a folder or an index names, in that order; raises CheckpointRefused."""
    return open_file(path).files or (path,) if path.is_dir() or path.suffix.lower() == ".json" else (path,)


def read_model_json(path: Path) -> Any:
    """A JSON file of moderate size; raises CheckpointRefused."""
    try:
        if not path.is_file():
            raise CheckpointRefused(f"{shown(path)} is not a regular file; give a model's files on disk.")
        if path.stat().st_size > LARGEST_JSON:
            raise CheckpointRefused(
                f"{shown(path)} has {path.stat().st_size:,} bytes, at most {LARGEST_JSON:,} are read of a model's description; "
                "give the model.json that the converter wrote."
            )
        return json.loads(path.read_bytes())
    except OSError as error:
        raise CheckpointRefused(f"{shown(path)} cannot be read ({error.strerror}); take another copy.") from None
    except (ValueError, RecursionError):
        raise CheckpointRefused(f"{shown(path)} is no JSON that can be read; take another copy.") from None


def file_beside(folder: Path, name: object) -> Path:
    """The file called `name` in `folder`, which another file names: never outside the folder, also not by a link.

    Raises:
        CheckpointRefused: It is missing, lies outside, or `name` is no name.
    """
    quoted = repr(str(name)[:80])
    if not isinstance(name, str) or not name or "\0" in name:
        raise CheckpointRefused(
            f"the model's description names {quoted} as a file, a name was expected; take another copy."
        )
    try:
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise CheckpointRefused(
                f"the model's description names the file {quoted}, which lies outside its folder; take another copy."
            )
        if path.is_file():
            return path
    except (OSError, ValueError, RuntimeError):  # a name too long, or links in a circle
        pass
    raise CheckpointRefused(
        f"the file {quoted} is missing beside the model's description; put all files of the model in one folder."
    )


def natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts numbers inside names by their value: layer 2 before layer 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]{1,9})", name)]


def shown(path: Path) -> str:
    """A path as a sentence names it: without its folders, which would say whose machine it was."""
    return repr(path.name or str(path))


def _require_there(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except OSError:
        if os.path.islink(path):
            raise CheckpointRefused(
                f"{shown(path)} is a link to nothing; give the file that it was made for."
            ) from None
        folder = path.parent
        beside = [p.name for p in folder.iterdir() if p.suffix in (".pt", ".pth")] if folder.is_dir() else []
        near = get_close_matches(path.name, beside, n=1, cutoff=0.4) or beside[:1]
        hint = f"there is {near[0]!r} beside it" if near else f"give a checkpoint file or one of {', '.join(VARIANTS)}"
        raise CheckpointRefused(f"there is no file {shown(path)}; {hint}.") from None
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise CheckpointRefused(f"{shown(path)} is not a regular file; give a checkpoint file on disk.")
    if stat.S_ISREG(mode) and path.stat().st_size == 0:
        raise CheckpointRefused(f"{shown(path)} is empty (0 bytes); its writing was cut off, take another copy.")


def _require_familiar(path: Path) -> None:
    """Refuse, as what they are, files that no container opens."""
    if path.is_dir():
        return
    try:
        with open(path, "rb") as file:
            kind = file_kind(file)
    except PermissionError:
        raise CheckpointRefused(f"{shown(path)} may not be read by this user; change its permissions.") from None
    if kind is not None and kind is not ONNX:
        raise CheckpointRefused(f"{shown(path)} is {kind.what}; {kind.for_network}.")
