"""The file that a checkpoint came from: the only place that knows what it is called, which bytes it is and in which files they lie."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vgg_viz.models.checkpoint import BUNDLED, load, sha256
from vgg_viz.models.containers import model_files
from vgg_viz.records import Checkpoint

# Names that training scripts give to every run's file, and to the folders that they put it in: they tell no run from the next.
_SAYS_NOTHING = re.compile(
    r"((best|last|final|latest|model|checkpoint|ckpt|weights|epoch|state_dict|pytorch_model)s?[-_.]?)+\d*", re.I
)


@dataclass(frozen=True, slots=True)
class Source:
    """A checkpoint and where it came from.

    stem    what its galleries are called: of the file, behind the name of its run where the file's own says nothing (`run1-best`)
    title   the same for a reader: the file's name, such as `vgg16.pth`, or `run1/best.pt`
    sha256  of all its bytes; "" for a variant's name, which is no file
    files   names of all files that it lies in, in the order of the checksum
    """

    checkpoint: Checkpoint
    stem: str
    title: str
    sha256: str
    files: tuple[str, ...]

    @classmethod
    def of(cls, given: str | os.PathLike[str] | None, checkpoint: Checkpoint) -> Source:
        """`given` as the user named it, `checkpoint` as it was opened.

        A variant's name is no file, also where a folder is called so.
        """
        if checkpoint.provenance.format == "untrained":
            name = Path(str(given)).name
            return cls(checkpoint, name, name, "", ())
        file = BUNDLED if given is None else Path(given)
        stem, title = names_of(file)
        return cls(checkpoint, stem, title, sha256(file), tuple(part.name for part in model_files(file)))

    @property
    def identity(self) -> str:
        """What tells this checkpoint from another: its checksum, or the name of its variant."""
        return self.sha256 or f"untrained {self.checkpoint.provenance.file}"

    def told(self) -> dict[str, Any]:
        """For a manifest, as plain values."""
        about = self.checkpoint.provenance
        return {
            "file": about.file, "sha256": self.sha256, "files": self.files, "format": about.format, "evidence": about.evidence,
            "alternatives": about.alternatives, "ignored_keys": about.ignored_keys, "data": about.data, "training": about.training,
        }  # fmt: skip


def opened(given: str | os.PathLike[str] | None, *, seed: int, overrides: Mapping[str, Any] | None = None) -> Source:
    """The checkpoint that the user named, loaded, with where it came from.

    given      a file, a folder that is a model, a variant's name, or None for the bundled Tiny VGG
    overrides  keywords of `load`
    raises     CheckpointRefused and its kin
    """
    return Source.of(given, load(given, seed=seed, **(overrides or {})))


def names_of(file: Path) -> tuple[str, str]:
    """What a file is called, in words that tell it from the next: stem and title.

    `nets/vgg16.pth` is vgg16 and vgg16.pth; `run1/best.pt`, whose own name says nothing, is run1-best and run1/best.pt.
    A folder goes by its own name, also where it was named as "."
    """
    whole = Path(os.path.abspath(file))
    stem = whole.name if whole.is_dir() else whole.name.removesuffix(".tar").rpartition(".")[0] or whole.name
    said = _SAYS_NOTHING.fullmatch(stem)
    run = next((above.name for above in whole.parents if above.name and not _SAYS_NOTHING.fullmatch(above.name)), "") if said else ""
    return (f"{run}-{stem}", f"{run}/{whole.name}") if run else (stem, whole.name)
