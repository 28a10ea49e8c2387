"""The sentences in which this package refuses.

    VggVizError
    ├── InputRefused          the user's input cannot be used; the command line ends with status 2
    │   ├── CheckpointRefused a file that is no checkpoint, or not one that can be trusted
    │   │   └── PlanUnclear   weights that several networks could have
    │   ├── ImageRefused      a file that is no picture, or too large a one
    │   ├── DataRefused       a folder that holds no usable pictures
    │   ├── BoxesRefused      a file beside pictures whose boxes cannot be believed
    │   ├── OutputRefused     a place where nothing may be written
    │   ├── MapRefused        a saved map that is damaged, or none
    │   └── UnknownName       a layer, class, method or variant that does not exist
    └── SectionMissing        a part of a report that cannot be made from what is there
        └── NotForThisNetwork a part that says nothing about such a network: left out, and no fault

Every text says what came, what was expected and the next step, in one sentence.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from vgg_viz.safe_text import shorten


class VggVizError(Exception):
    """The root: whatever this package raises on purpose."""


class InputRefused(VggVizError):
    """The user's input cannot be used."""


class CheckpointRefused(InputRefused):
    """A file that is no checkpoint, or not one that can be trusted."""


class PlanUnclear(CheckpointRefused):
    """Weights that several networks could have, and nothing in the file tells which.

    Attributes:
        plans: Those networks, in the words of `models.plan`.
    """

    def __init__(self, text: str, plans: Iterable[str]) -> None:
        super().__init__(text)
        self.plans = tuple(plans)


class ImageRefused(InputRefused):
    """A file that is no picture, or too large a one."""


class DataRefused(InputRefused):
    """A folder that holds no usable pictures, or pictures that do not fit the model."""


class BoxesRefused(InputRefused):
    """A file of boxes that is damaged, contradicts itself or its picture, or may be about several pictures."""


class OutputRefused(InputRefused):
    """A place where nothing may be written."""


class MapRefused(InputRefused):
    """A saved map that is damaged, too large, or no map at all."""


class UnknownName(InputRefused):
    """A name that does not exist, with the nearest one that does.

    Attributes:
        kind: What was looked for: "layer", "method", "class", ...
        name: What came.
        known: What exists.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = list(known)
        text = name if isinstance(name, str) else ""
        near = get_close_matches(text.lower(), [n.lower() for n in names], n=1, cutoff=0.5)
        nearest = next((n for n in names if near and n.lower() == near[0]), None)
        hint = f"did you mean {shorten(nearest)!r}? " if nearest else ""
        # Names may come from a stranger's file: what a terminal would obey instead of showing is spelt out.
        listed = ", ".join(name if name.isprintable() else repr(name) for name in map(shorten, names[:40])) + (
            ", ..." if len(names) > 40 else ""
        )
        super().__init__(f"there is no {kind} {name!r}; {hint}known are: {listed or 'none'}.")
        self.kind, self.name, self.known = kind, name, tuple(names)


class SectionMissing(VggVizError):
    """A part of a report cannot be made from what is there.

    Attributes:
        reason: Why, in one sentence.
        command: What the reader can run to fill it.
    """

    def __init__(self, reason: str, command: str = "") -> None:
        super().__init__(reason)
        self.reason, self.command = reason, command


class NotForThisNetwork(SectionMissing):
    """A part of a gallery that says nothing about a network of this kind: the page says why, and nothing is missing."""
