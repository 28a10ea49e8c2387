"""Checkpoint formats, one file each: what a training script wrote, recognised and translated.

A format is a function `(stored) -> Reading | None`: None when the file is not of its kind. They are asked in the order of
their file names; a newcomer adds a file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from vgg_viz.records import Architecture, Epoch, Specimen
from vgg_viz.registry import Registry, discover


@dataclass(frozen=True, slots=True)
class Reading:
    """What a format made of a file.

    evidence, alternatives  sentences: what was inferred and from what; what else would fit
    """

    format: str
    architecture: Architecture
    weights: Mapping[str, Tensor]
    classes: tuple[str, ...] = ()
    history: tuple[Epoch, ...] = ()
    specimens: tuple[Specimen, ...] = ()
    evidence: tuple[str, ...] = ()
    alternatives: tuple[str, ...] = ()
    ignored_keys: tuple[str, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)


Format = Callable[[object], Reading | None]
FORMATS: Registry[Format] = Registry("checkpoint format")


def checkpoint_format(name: str) -> Callable[[Format], Format]:
    """Register a format under `name`."""

    def register(function: Format) -> Format:
        return FORMATS.add(name, function)

    return register


def recognise(stored: object) -> Reading | None:
    """The first format that recognises what was stored, or None."""
    discover(__name__)
    for name in FORMATS:
        reading = FORMATS[name](stored)
        if reading is not None:
            return reading
    return None
