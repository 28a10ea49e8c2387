"""Checkpoint formats, one file each: what a training script wrote, recognised and translated.

`@checkpoint_format`: `(stored) -> ReadCheckpoint | None` gets all that the file held, and returns None for what is not of its kind.
They are asked in the order of their file names; a newcomer adds a file. What none of them knows is searched for bare state dicts
(`models/recognise.py`), which `state_dict.py` reads, whatever their layers are called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from vgg_viz.records import Architecture, Epoch, Evidence, RecordedAccuracy, Specimen
from vgg_viz.registry import Registry


@dataclass(frozen=True, slots=True)
class ReadCheckpoint:
    """What a format made of a file.

    Attributes:
        evidence: What was read or inferred, and from what. A guess is dropped when the user sets all options that
            settle it.
        alternatives: What else would fit.
        fits: Other architectures that the same weights fit (padding, image side), the likelier first.
        slides: Above the usual side the classifier slides over the map, as in the dense form.
        named: Whether somebody named the classes.
        accuracy: That the file says the network had.
    """

    format: str
    architecture: Architecture
    weights: Mapping[str, Tensor]
    classes: tuple[str, ...] = ()
    history: tuple[Epoch, ...] = ()
    specimens: tuple[Specimen, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    alternatives: tuple[Evidence, ...] = ()
    ignored_keys: tuple[str, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    fits: tuple[Architecture, ...] = ()
    slides: bool = False
    named: bool = True
    accuracy: RecordedAccuracy | None = None


Format = Callable[[object], ReadCheckpoint | None]
FORMATS: Registry[Format] = Registry("checkpoint format", fill=__name__)


def checkpoint_format(name: str) -> Callable[[Format], Format]:
    """Register a format of whole files under `name`."""

    def register(function: Format) -> Format:
        return FORMATS.add(name, function)

    return register
