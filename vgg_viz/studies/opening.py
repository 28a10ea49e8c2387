"""The checkpoint that the user named, opened: the only place that knows what its galleries are called."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vgg_viz.gallery.source import Source
from vgg_viz.models.checkpoint import BUNDLED, load, sha256
from vgg_viz.models.containers import model_files
from vgg_viz.records import Checkpoint

# Names that training scripts give to every run's file, and to the folders that they put it in: they tell no run from the next.
_SAYS_NOTHING = re.compile(
    r"((best|last|final|latest|model|checkpoint|ckpt|weights|epoch|state_dict|pytorch_model)s?[-_.]?)+\d*", re.I
)


def source_of(given: str | os.PathLike[str] | None, checkpoint: Checkpoint) -> Source:
    """`given` as the user named it, `checkpoint` as it was opened.

    A variant's name is no file, also where a folder is called so.
    """
    if checkpoint.provenance.format == "untrained":
        name = Path(str(given)).name
        return Source(checkpoint, name, name, "", ())
    file = BUNDLED if given is None else Path(given)
    stem, title = names_of(file)
    return Source(checkpoint, stem, title, sha256(file), tuple(part.name for part in model_files(file)))


def opened(given: str | os.PathLike[str] | None, *, seed: int, overrides: Mapping[str, Any] | None = None) -> Source:
    """The checkpoint that the user named, loaded, with where it came from.

    given      a file, a folder that is a model, a variant's name, or None for the bundled Tiny VGG
    overrides  keywords of `load`
    raises     CheckpointRefused and its kin
    """
    return source_of(given, load(given, seed=seed, **(overrides or {})))


def names_of(file: Path) -> tuple[str, str]:
    """What a file is called, in words that tell it from the next: stem and title.

    `nets/vgg16.pth` is vgg16 and vgg16.pth; `run1/best.pt`, whose own name says nothing, is run1-best and run1/best.pt.
    A folder goes by its own name, also where it was named as "."
    """
    whole = Path(os.path.abspath(file))
    stem = whole.name if whole.is_dir() else whole.name.removesuffix(".tar").rpartition(".")[0] or whole.name
    said = _SAYS_NOTHING.fullmatch(stem)
    run = (
        next((above.name for above in whole.parents if above.name and not _SAYS_NOTHING.fullmatch(above.name)), "")
        if said
        else ""
    )
    return (f"{run}-{stem}", f"{run}/{whole.name}") if run else (stem, whole.name)
