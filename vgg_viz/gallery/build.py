"""The builder of every gallery, whatever its kind: sections made and written, the page, the manifest, all swapped in whole."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from vgg_viz._version import __version__
from vgg_viz.errors import InputRefused
from vgg_viz.figures.fonts import names_warning
from vgg_viz.gallery.explorer import FILE as EXPLORER
from vgg_viz.gallery.explorer import Explorer, render_explorer
from vgg_viz.gallery.folder import MANIFEST, SCHEMA, atomic_folder
from vgg_viz.gallery.index import write_index
from vgg_viz.gallery.layout import Layout, PageSection
from vgg_viz.gallery.make_section import (
    PresetFacts,
    SectionResult,
    failure,
    make_section,
    manifest_entries,
    write_section,
)
from vgg_viz.gallery.opening import Opening
from vgg_viz.gallery.page import Page
from vgg_viz.gallery.sections import sections_of
from vgg_viz.gallery.source import Source
from vgg_viz.gallery.write_page import publish, standalone
from vgg_viz.left_out import Loss
from vgg_viz.plain_json import write_json
from vgg_viz.progress import Progress, heard_by
from vgg_viz.records import Finding
from vgg_viz.versions import made_at, reproducible, versions

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
    """

    index: Path
    missing: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    single: Path | None = None
    notes: tuple[str, ...] = ()
    in_warnings: frozenset[tuple[str, str]] = frozenset()
    alarms: tuple[str, ...] = ()

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


def build(
    study: Study,
    *,
    out: Path,
    progress: Progress | None = None,
    deadline: DeadlineFacts | None = None,
    one_file: bool = False,
) -> BuiltGallery:
    """Write `<out>/<study.folder>/index.html` with its figures and numbers, and the page over all galleries of `out`.

    Where the gallery of another checkpoint has that name, the next free one is taken, and that is said.

    Args:
        study: What the gallery is about.
        out: The folder of galleries.
        progress: Called before each section.
        deadline: Asked for the order of the sections, and before each of them; None: there is time for everything.
        one_file: Write the gallery as one file to mail too, where that is light enough.

    Raises:
        OutputRefused: Writing failed; nothing has changed then.
    """
    if unread := names_warning(study.classes):
        study = replace(study, warnings=(*study.warnings, unread))
    with atomic_folder(out / study.folder, ours=partial(_same, study)) as place:
        folder = place.folder
        for name in ("figures", "data"):
            (folder / name).mkdir()
        clock = [time.perf_counter()]
        results, page_sections = _sections(study, folder, deadline, progress)
        clock.append(time.perf_counter())
        explorer, no_explorer = _explorer(study, folder, deadline)
        cut = (deadline.sentence(),) if deadline and deadline.cut else ()
        first = sorted(study.first(), key=lambda finding: finding.level != "bad")
        alarms = tuple(finding.text for finding in first if finding.level == "bad")
        told = tuple(finding.text for finding in first if finding.level != "bad")
        findings = _in_order(first, study.verdict(results))
        opening, unopened = _opening(study, findings)
        page = Page(
            study.title,
            study.subtitle,
            findings,
            study.facts(),
            (*study.warnings, *cut, *unopened),
            page_sections,
            tuple(_footer(study, time.perf_counter() - study.started, deadline)),
            explorer_href=EXPLORER if explorer else "",
            explorer_name=study.explorer_name,
            layout=study.layout,
            opening=opening,
            explorer_note=no_explorer or (explorer.stored if explorer else ""),
        )
        heavy = publish(folder, page)
        single = f"{study.folder}-alone.html"
        too_heavy = standalone(folder, page, explorer, single) if one_file else ""
        beside = study.deliver(folder / "data")
        live = {
            "file": EXPLORER if explorer else None,
            "live": bool(explorer and not explorer.stored),
            "reason": page.explorer_note,
        }
        write_json(
            folder / MANIFEST,
            {
                **_manifest(study, page, results),
                "explorer": live,
                "alarms": alarms,
                "warnings": (*told, *page.warnings, *heavy),
                **study.more(),
                **beside,
                **({"budget": deadline.facts()} if deadline else {}),
            },
        )
    write_index(out)
    missing = [
        (result.section.title, reason)
        for result in results
        for reason, _ in result.missing
        if not result.section.optional
    ]
    # Stderr hears what a budget cost with what it took as well, which the page cannot know.
    ended = (deadline.ended(),) if deadline else ()
    gallery = GalleryResult(
        place.target / "index.html",
        (*missing, *([("One file", too_heavy)] if too_heavy else [])),
        (*told, *study.warnings, *heavy, *_elsewhere(study.folder, place.target), *(ended if cut else ())),
        place.target / single if one_file and not too_heavy else None,
        () if cut else ended,
        frozenset(part for part in missing if deadline and part[0] in deadline.parts),
        alarms,
    )
    seconds = {"painting": clock[1] - clock[0], "writing": time.perf_counter() - clock[1]}
    return BuiltGallery(gallery, results, page.findings, seconds)


def _same(study: Study, manifest: Mapping[str, Any]) -> bool:
    """Whether a gallery is about the same as this one. Those of older versions hold their checksums alone."""
    if "identity" in manifest:
        return bool(manifest["identity"] == study.identities)
    kind, several, epochs = manifest.get("kind", "report"), manifest.get("checkpoints"), manifest.get("epochs")
    checkpoints = list(several.values()) if isinstance(several, dict) else [manifest.get("checkpoint")]
    known = [
        about.get("sha256") or f"untrained {about.get('file')}" for about in checkpoints if isinstance(about, dict)
    ]
    if kind == "timeline" and isinstance(epochs, list) and epochs and isinstance(epochs[0], dict):
        known = [f"run of {epochs[0].get('sha256')}"]
    return bool([kind, *known] == study.identities)


def _elsewhere(wanted: str, landed: Path) -> tuple[str, ...]:
    if landed.name == wanted:
        return ()
    return (f"{wanted!r} holds another gallery, which was left alone; this one is {landed.name!r}.",)


# ---------------------------------------------------------------- making


def _sections(
    study: Study, folder: Path, deadline: DeadlineFacts | None, progress: Progress | None
) -> tuple[tuple[SectionResult, ...], tuple[PageSection, ...]]:
    """Every section made and written in its turn, in the page's order; under a deadline the most important are made first."""
    sections = [section for section in sections_of(study.kind) if section.when(study.subject)]
    turns = sorted(sections, key=lambda section: deadline.rank(section.slug)) if deadline else sections
    done: dict[str, tuple[SectionResult, PageSection]] = {}
    for number, section in enumerate(turns):
        if progress:
            progress(section.title, number, len(sections))
        if section.needs in study.lacks:
            result = SectionResult(section, absent=study.lacks[section.needs])
        elif deadline and (no_time := deadline.refusal(section.slug, section.title)):
            result = SectionResult(section, missing=[(no_time, "python -m vgg_viz report CHECKPOINT")])
        else:
            with heard_by(None):  # what a section does inside is no step of its own
                result = make_section(section, study.subject)
        done[section.slug] = result, write_section(result, folder, study.preset)
    if progress:
        progress("Writing", len(sections), len(sections))
    in_order = [done[section.slug] for section in sections]
    return tuple(result for result, _ in in_order), tuple(on_page for _, on_page in in_order)


def _in_order(first: Sequence[Finding], verdict: Sequence[Finding]) -> tuple[Finding, ...]:
    """Alarms, the leading finding of the verdict, then what else is told first: long sentences, which stand beside the answer."""
    alarms = [one for one in first if one.level == "bad"]
    return (*alarms, *verdict[:1], *(one for one in first if one.level != "bad"), *verdict[1:])


def _opening(study: Study, findings: Sequence[Finding]) -> tuple[Opening | None, tuple[str, ...]]:
    """The first screen, or what is said where it could not be made: the page then begins with its box and its findings."""
    if study.opening is None:
        return None, ()
    try:
        return study.opening(findings), ()
    except Exception as error:
        if os.environ.get("VGG_VIZ_DEBUG"):
            raise
        return None, (failure("The first screen failed", error),)


def _explorer(study: Study, folder: Path, deadline: DeadlineFacts | None) -> tuple[Explorer | None, str]:
    """Write the network as a page to touch; returns it, or why there is none."""
    if study.explorer is None:
        return None, ""
    if deadline and (no_time := deadline.refusal("explorer", "The network to touch")):
        return None, no_time
    try:
        explorer = study.explorer()
        (folder / EXPLORER).write_text(render_explorer(explorer), encoding="utf-8")
    except InputRefused as refused:
        return None, str(refused)
    except OSError:
        raise
    except Exception as error:
        # As with a section: the gallery is worth more than the page that could not be made.
        if os.environ.get("VGG_VIZ_DEBUG"):
            raise
        return None, failure("The explorer failed", error)
    return explorer, ""


# ---------------------------------------------------------------- what is said of it


def _footer(study: Study, seconds: float, deadline: DeadlineFacts | None) -> Iterable[tuple[str, str]]:
    yield "Command", study.command or "vgg_viz"
    yield "Made", made_at()
    yield "Versions", ", ".join(f"{name} {version}" for name, version in versions().items())
    yield "Device and numbers", f"{study.device}, float32"
    yield "Seed", str(study.seed)
    yield "Preset", study.preset.name
    if deadline:
        yield "Budget", f"{deadline.seconds:g} s from the start of the command"
    for letter, source in study.sources.items():
        yield f"Checkpoint {letter}".strip(), source.checkpoint.provenance.file
        yield f"SHA-256 of {letter}" if letter else "Checkpoint SHA-256", source.sha256 or "not a file"
        if len(source.files) > 1:
            yield f"Files hashed {letter}".strip(), ", then ".join(source.files)
    yield "Measured on", study.measured_on or "no labelled pictures"
    yield "Looked into", study.looked_into or "no pictures"
    yield from study.origin
    if not reproducible():
        yield "Run time", f"{seconds:.1f} s"


def _manifest(study: Study, page: Page, results: Sequence[SectionResult]) -> dict[str, Any]:
    """What every kind of gallery says of itself, under the same keys."""
    checkpoints = {letter: source.facts() for letter, source in study.sources.items()}
    return {
        "vgg_viz": __version__,
        "schema": SCHEMA,
        "kind": study.kind,
        "identity": study.identities,
        "title": study.listed or page.title,
        "command": study.command,
        "made": made_at(),
        "seed": study.seed,
        "preset": study.preset.name,
        "device": study.device,
        "versions": versions(),
        **({"checkpoint": checkpoints[""]} if "" in checkpoints else {"checkpoints": checkpoints}),
        "facts": dict(page.facts),
        "findings": [
            {"level": one.level, "text": one.text, "detail": one.detail, "key": one.key} for one in page.findings
        ],
        "next": [asdict(step) for step in page.opening.steps] if page.opening else [],
        "data": {"measured_on": study.measured_on, "looked_into": study.looked_into, "classes": study.classes},
        "timings": {} if reproducible() else {result.section.slug: round(result.seconds, 3) for result in results},
        **manifest_entries(results),
    }
