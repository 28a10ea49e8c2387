"""What the first screen of a gallery shows, as records: pages draw it, sections fill it.

Its box is the leading finding of the page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vgg_viz.records import Finding

Level = Literal["good", "note", "warn", "bad"]


@dataclass(frozen=True, slots=True)
class Bar:
    """A row of the list of classes.

    Attributes:
        name: Of the class.
        level: "bad" or "warn" where it fails, "note" where it is weaker, "" else.
        share: Where the bar ends, [0, 1]; None: there are no pictures of it.
        low: Of its interval, [0, 1].
        high: Of its interval, [0, 1]; equal to `low` without one.
        value: The share in words.
        more: Where the missed went, in a phrase; "".
        alt: The row for those who hear it.
    """

    name: str
    level: Level | Literal[""]
    share: float | None
    low: float
    high: float
    value: str
    more: str
    alt: str


@dataclass(frozen=True, slots=True)
class Bars:
    """The list of classes.

    Attributes:
        title: Its heading.
        rows: As many as there is room for.
        rest: What is said of all others; "".
        base: Where the dotted line stands, [0, 1]; None without one.
        key: How to read it.
    """

    title: str
    rows: tuple[Bar, ...]
    rest: str
    base: float | None
    key: str


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture of a row: its address (a data: URI), its words for those who hear it, and the line under it."""

    src: str
    alt: str
    under: str


@dataclass(frozen=True, slots=True)
class Look:
    """One picture of the network's with its maps.

    Attributes:
        right: Whether the answer is; None: nobody knows.
        title: What it is, and what was predicted.
        shots: The picture, then its maps on one scale.
        low: Of that scale, with its unit.
        high: Of that scale, with its unit.
        signed: Whether zero lies in the middle.
        clipped: What is said of values beyond it; "".
        sentence: What was measured of the maps.
    """

    right: bool | None
    title: str
    shots: tuple[Shot, ...]
    low: str
    high: str
    signed: bool
    clipped: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Step:
    """What to do next: a command that runs as it stands, unless it holds a word in capitals for what only the reader has."""

    title: str
    why: str
    command: str


@dataclass(frozen=True, slots=True)
class Opening:
    """The first screen below its box.

    Attributes:
        bars: The classes, worst first; None where there are none.
        looks_title: The heading of the maps.
        method: What made the maps, and what its tests said.
        looks: The mistake first; () where no picture is looked into.
        steps_title: The heading of the steps.
        steps: At most three.
        sure_title: The heading of what follows.
        sure: How sure all this is, in at most four findings.
        lines: Lesser findings, at most three, each with its address.
    """

    bars: Bars | None
    looks_title: str
    method: str
    looks: tuple[Look, ...]
    steps_title: str
    steps: tuple[Step, ...]
    sure_title: str
    sure: tuple[Finding, ...]
    lines: tuple[Finding, ...]
