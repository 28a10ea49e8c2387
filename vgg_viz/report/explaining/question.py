"""What is asked of one picture: which classes, by which methods, at which layer; whatever cannot be asked is refused here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from vgg_viz.attribution import methods
from vgg_viz.attribution.cam import spatial
from vgg_viz.attribution.method import METHODS
from vgg_viz.errors import InputRefused, UnknownName
from vgg_viz.models.names import find

USUAL = ("grad_cam", "saliency")


@dataclass(frozen=True, slots=True)
class Question:
    """A question that can be answered.

    methods  names of `attribution.methods()`, each once; the first leads: its maps stand large
    target   class index that the picture should get, or None: nobody said
    against  class index whose evidence is subtracted, or None: the answer is set against what was expected
    layer    where layered methods look, or None: chosen by map size and receptive field
    """

    methods: tuple[str, ...]
    target: int | None = None
    against: int | None = None
    layer: str | None = None


def asked(
    model: nn.Module, classes: Sequence[str], *, methods_: Sequence[str] = (), target: str | int | None = None,
    against: str | int | None = None, layer: str | None = None,
) -> Question:  # fmt: skip
    """The words of a reader as a question.

    methods_         names, also several in one word with commas between them; none: the usual ones
    target, against  a class by its name or its index
    raises           UnknownName for a class, method or layer; InputRefused for a layer without a map, or one class against itself
    """
    methods()
    names = tuple(dict.fromkeys(name for word in methods_ for name in re.split(r"[,\s]+", word) if name)) or USUAL
    layered = [name for name in names if METHODS[name].layered]
    if layer is not None and not layered:
        raise InputRefused(f"{' and '.join(names)} paint the picture and read no layer; leave --layer out, or add --method grad_cam.")
    chosen = None if layer is None else spatial(model, find(model, layer).name).name
    first, second = (None if word is None else class_index(classes, word) for word in (target, against))
    if first is not None and first == second:
        raise InputRefused(
            f"--target and --against are one class, {classes[first][:60]!r}, and its evidence less itself is zero; give two classes."
        )
    return Question(names, first, second, chosen)


def class_index(classes: Sequence[str], word: str | int) -> int:
    """The class that a reader means: by its name, however it is written, or by its index.

    raises  UnknownName with the nearest name; InputRefused for a name that several classes bear
    """
    if isinstance(word, str):
        plain = _plain(word)
        named = (
            [index for index, name in enumerate(classes) if name == word]
            or [index for index, name in enumerate(classes) if _plain(name) == plain and plain]
            or [index for index, name in enumerate(classes) if plain in map(_plain, re.sub(r"^n\d{8}[_ ]", "", name).split(",")) and plain]
        )
        if len(named) > 1:
            raise InputRefused(f"classes {_listed(named)} are all called {word[:60]!r}; give the index of the one that is meant.")
        if named:
            return named[0]
        if not (word.isascii() and word.isdigit() and len(word) < 10):
            raise UnknownName("class", word[:80], [name[:60] for name in classes])
    index = int(word)
    if not 0 <= index < len(classes):
        raise InputRefused(f"class {index} was asked for; the network knows classes 0 to {len(classes) - 1}.")
    return index


def _plain(name: str) -> str:
    return re.sub(r"[\s_\-]+", " ", name).strip().casefold()


def _listed(indices: Sequence[int]) -> str:
    shown = ", ".join(map(str, indices[:5]))
    return f"{shown} and {len(indices) - 5} more" if len(indices) > 5 else shown
