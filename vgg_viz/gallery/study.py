"""What a gallery is about, whatever its kind, and what there is to say of it when it stands: the records of the builder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from vgg_viz.gallery.explorer import Explorer
from vgg_viz.gallery.layout import Layout
from vgg_viz.gallery.make_section import PresetFacts, SectionResult
from vgg_viz.gallery.opening import Opening, Step
from vgg_viz.gallery.source import Source
from vgg_viz.left_out import Loss
from vgg_viz.records import Finding

Rows = tuple[tuple[str, str], ...]


class DeadlineFacts(Protocol):
    """What a gallery needs of a deadline."""

    seconds: float
    parts: list[str]

    @property
    def cut(self) -> bool:
        """Whether anything was left out."""
        ...

    def rank(self, slug: str) -> int:
        """The place of a section in the order in which they are made."""
        ...

    def refusal(self, slug: str, title: str) -> str:
        """Why a section is left out, or "" where it still fits."""
        ...

    def sentence(self) -> str:
        """What the page says of what was left out."""
        ...

    def ended(self) -> str:
        """What the terminal says when all is made."""
        ...

    def facts(self) -> dict[str, Any]:
        """For the manifest."""
        ...


@dataclass(frozen=True, slots=True)
class Study:
    """What a gallery is about, whatever its kind, and the command that makes it.

    Attributes:
        kind: Of `sections.KINDS`: which sections it has, each given `subject`.
        subject: What the sections look at.
        folder: The name of its folder, harmless already.
        title: The heading of the page.
        subtitle: The line under it.
        sources: The checkpoints that it is about by letter; "" for the only one.
        preset: How much is computed and how figures are encoded.
        seed: Of everything random.
        device: That the network runs on.
        command: As the reader would type it.
        started: When the command began, by time.perf_counter [s].
        facts: Short facts for the head of the page and for the index, asked when the sections are made.
        verdict: The findings of the page, from what each section made, asked likewise.
        classes: Names; of a comparison those that both know.
        identity: What tells it from another gallery of its kind; (): its checkpoints do.
        listed: Its title among other galleries; "": the same.
        measured_on: Where its labelled pictures come from, in a phrase; "" where there are none.
        looked_into: The same of the pictures that are looked into.
        warnings: Sentences for the head of the page and for the terminal.
        lacks: What sections may need and there is not ("scores"), with the reason as a sentence.
        first: The first findings of the page, asked when the sections are made: what is "bad" among them may make everything here
            about another network, and is an alarm.
        origin: Lines of the footer that only this kind has.
        more: The same of its manifest, asked when all is made.
        deliver: Writes what lies beside the page besides its sections into the folder `data`; returns its part of the manifest.
        explorer: The network as a page to touch; None where this kind has none.
        explorer_name: What that shows.
        layout: The chapters of its page; without any, each section is one.
        opening: What the first screen shows below its box, from the findings of the page; None: this kind has none.
    """

    kind: str
    subject: Any
    folder: str
    title: str
    subtitle: str
    sources: Mapping[str, Source]
    preset: PresetFacts
    seed: int
    device: str
    command: str
    started: float
    facts: Callable[[], Rows]
    verdict: Callable[[Sequence[SectionResult]], Sequence[Finding]]
    classes: tuple[str, ...]
    identity: tuple[str, ...] = ()
    listed: str = ""
    measured_on: str = ""
    looked_into: str = ""
    warnings: tuple[str, ...] = ()
    lacks: Mapping[str, str] = field(default_factory=dict)
    first: Callable[[], Sequence[Finding]] = tuple
    origin: Rows = ()
    more: Callable[[], Mapping[str, Any]] = dict
    deliver: Callable[[Path], Mapping[str, Any]] = lambda _data: {}
    explorer: Callable[[], Explorer] | None = None
    explorer_name: str = "the network"
    layout: Layout = field(default_factory=Layout)
    opening: Callable[[Sequence[Finding]], Opening] | None = None

    @property
    def identities(self) -> list[str]:
        """What it is about: a gallery with the same is replaced, any other is left alone."""
        return [self.kind, *(self.identity or (source.identity for source in self.sources.values()))]


@dataclass(frozen=True, slots=True)
class GalleryResult:
    """Where a gallery stands, and what there is to say of it.

    Attributes:
        index: Its page.
        missing: The parts that could not be made: (title, reason).
        warnings: Sentences for stderr.
        single: The whole gallery as one file, where that was asked for and it is light enough.
        notes: What else is worth a line on stderr, though nothing is wrong.
        in_warnings: Those of `missing` that one sentence of the warnings covers already.
        alarms: What may make everything here about another network.
        findings: Those of the page, the leading one first.
        steps: What to do next.
    """

    index: Path
    missing: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    single: Path | None = None
    notes: tuple[str, ...] = ()
    in_warnings: frozenset[tuple[str, str]] = frozenset()
    alarms: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    steps: tuple[Step, ...] = ()

    @property
    def incomplete(self) -> bool:
        """Whether something is missing that was asked for or should have worked: a part, or a picture."""
        return bool(self.missing) or any(isinstance(warning, Loss) for warning in self.warnings)


@dataclass(frozen=True, slots=True)
class BuiltGallery:
    """A gallery that stands, and what it was made of.

    Attributes:
        result: Where it stands.
        sections: What each section made.
        findings: Those of the page.
        seconds: How long it took to make ("painting") and to write ("writing") [s].
    """

    result: GalleryResult
    sections: tuple[SectionResult, ...]
    findings: tuple[Finding, ...]
    seconds: Mapping[str, float] = field(default_factory=dict)
