"""When two names mean the same class: but for case, for "_", "-" and spaces, for a WordNet id, and among synonyms."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vgg_viz.errors import DataRefused
from vgg_viz.safe_text import shorten


def keys(name: str) -> set[str]:
    """What a class name can be recognised by; two names mean the same class where these meet."""
    plain = re.sub(r"[\s_\-]+", " ", name).strip().casefold()
    bare = re.sub(r"^n\d{8} ", "", plain)
    return {plain, bare, *(part.strip() for part in bare.split(","))} - {""}


def match_classes(
    folder_classes: Sequence[str], checkpoint_classes: Sequence[str], *, named: bool = True
) -> tuple[int, ...]:
    """For each class of a folder, its index in the checkpoint; a folder may hold some of the classes only.

    Names agree when they are equal but for case and for "_", "-" and spaces; "n02123045_tabby" and "tabby, tabby cat"
    agree with "tabby". A checkpoint whose classes nobody named (`named` is False) and a folder with as many classes agree by
    order, and so do 1,000 WordNet ids with 1,000 names, which is ImageNet's order.

    Raises:
        DataRefused: It names what the checkpoint does not know.
    """
    known: dict[str, set[int]] = {}
    for index, name in enumerate(checkpoint_classes):
        for key in keys(name):
            known.setdefault(key, set()).add(index)
    exact = {name: index for index, name in enumerate(checkpoint_classes)}
    matches: list[int | None] = []
    for name in folder_classes:
        meant = {exact[name]} if name in exact else set().union(*(known.get(key, set()) for key in keys(name)))
        matches.append(meant.pop() if len(meant) == 1 else None)
    matched = tuple(index for index in matches if index is not None)
    if len(matched) == len(matches) == len(set(matched)):
        return matched
    if len(folder_classes) == len(checkpoint_classes) and not matched:
        wordnet = len(folder_classes) == 1000 and all(re.fullmatch(r"n\d{8}", name) for name in folder_classes)
        if wordnet or not named:
            return tuple(range(len(folder_classes)))
    strangers = [name for name, index in zip(folder_classes, matches, strict=True) if index is None] or list(
        folder_classes
    )
    fewer = not matched and len(folder_classes) < len(checkpoint_classes)
    why = _last_layer_kept(len(folder_classes)) if fewer else ""
    raise DataRefused(
        f"of the folder's {len(folder_classes)} classes, {len(strangers)} ({_few(strangers)}) cannot be told among the "
        f"checkpoint's {len(checkpoint_classes):,} ({_few(checkpoint_classes)}){why}; "
        "give the class folders the checkpoint's names, or name its classes with --classes."
    )


def _last_layer_kept(classes: int) -> str:
    return (
        f" (was the network's last layer replaced? In PyTorch `out_features = {classes}` changes no weights: put a new nn.Linear in "
        "its place and train it)"
    )


def _few(names: Sequence[str]) -> str:
    return ", ".join(repr(shorten(name)) for name in names[:5]) + (", ..." if len(names) > 5 else "")
