"""The builder of every gallery, whatever its kind: sections made and written, the page, the manifest, all swapped in whole."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from vgg_viz._version import __version__
from vgg_viz.errors import InputRefused
from vgg_viz.gallery import page
from vgg_viz.gallery.exhibits import Made, PresetFacts, Progress, failure, make_chapter, manifest_entries, write_chapter
from vgg_viz.gallery.explorer import FILE as EXPLORER
from vgg_viz.gallery.explorer import Explorer, render_explorer
from vgg_viz.gallery.folder import MANIFEST, SCHEMA, replacing
from vgg_viz.gallery.index import write_index
from vgg_viz.gallery.sections import Section, sections_of
from vgg_viz.gallery.source import Source
from vgg_viz.gallery.write_page import publish, standalone
from vgg_viz.plain_json import write_json
from vgg_viz.records import Finding
from vgg_viz.versions import made_at, reproducible, versions

Rows = tuple[tuple[str, str], ...]


class DeadlineFacts(Protocol):
    """What a gallery asks of a deadline: the order of sections, whether one still fits, and what is said of the rest."""

    seconds: float
    parts: list[str]

    @property
    def cut(self) -> bool: ...
    def rank(self, slug: str) -> int: ...
    def refusal(self, slug: str, title: str) -> str: ...
    def sentence(self) -> str: ...
    def ended(self) -> str: ...
    def facts(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Study:
    """What a gallery is about, whatever its kind.

    kind         of `section.KINDS`: which sections it has, each given `subject`
    folder       the name of its folder, harmless already
    sources      the checkpoints that it is about by letter; "" for the only one
    identity     what tells it from another gallery of its kind; (): its checkpoints do
    listed       its title among other galleries; "": the same
    measured_on  where its labelled pictures come from, in a phrase; looked_into: those that are looked into; "" where there are none
    classes      names, of a comparison those that both know
    facts        short facts for the head of the page and for the index, asked when the sections are made
    verdict      the findings of the page, from those that each section made, likewise
    origin       lines of the footer that only this kind has; more: the same of its manifest, asked when all is made
    deliver      writes what lies beside the page besides its sections into the folder `data`; returns its part of the manifest
    explorer     the network as a page to touch; None where this kind has none
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
    facts: Callable[[], Rows]
    verdict: Callable[[Sequence[Made]], Sequence[Finding]]
    classes: tuple[str, ...]
    identity: tuple[str, ...] = ()
    listed: str = ""
    measured_on: str = ""
    looked_into: str = ""
    warnings: tuple[str, ...] = ()
    origin: Rows = ()
    more: Callable[[], Mapping[str, Any]] = dict
    deliver: Callable[[Path], Mapping[str, Any]] = lambda _data: {}
    explorer: Callable[[], Explorer] | None = None
    explorer_name: str = "the network"

    @property
    def identities(self) -> list[str]:
        """What it is about: a gallery with the same is replaced, any other is left alone."""
        return [self.kind, *(self.identity or (source.identity for source in self.sources.values()))]


@dataclass(frozen=True, slots=True)
class Result:
    """Where a gallery landed; `missing` names the parts that could not be made, with the reason.

    single  the whole gallery as one file, where that was asked for and it is light enough
    said    what else is worth a line on stderr, though nothing is wrong
    told    those of `missing` that a warning tells of already, all in one sentence
    """

    index: Path
    missing: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    single: Path | None = None
    said: tuple[str, ...] = ()
    told: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Built:
    """A gallery that stands: where, what its sections made, what its page found, and how long it took to make and to write [s]."""

    result: Result
    made: tuple[Made, ...]
    findings: tuple[Finding, ...]
    seconds: Mapping[str, float] = field(default_factory=dict)


def build(
    study: Study,
    *,
    out: Path,
    command: str,
    started: float,
    progress: Progress | None = None,
    deadline: DeadlineFacts | None = None,
    one_file: bool = False,
) -> Built:
    """`<out>/<study.folder>/index.html` with its figures and numbers, and the page over all galleries of `out`.

    Where the gallery of another checkpoint has that name, the next free one is taken, and that is said.

    command   as the reader would type it; started: when it began, by time.perf_counter
    deadline  asked for the order of the sections, and before each of them; None: there is time for everything
    one_file  write the gallery as one file to mail too, where that is light enough
    raises    OutputRefused when writing fails: nothing has changed then
    """
    with replacing(out / study.folder, ours=partial(_same, study)) as place:
        folder = place.folder
        for name in ("figures", "data"):
            (folder / name).mkdir()
        clock = [time.perf_counter()]
        made, shown = _sections(study, folder, deadline, progress)
        clock.append(time.perf_counter())
        parts = tuple(part for part, _ in made)
        explorer, no_explorer = _explorer(study, folder, deadline)
        cut = (deadline.sentence(),) if deadline and deadline.cut else ()
        built = page.Page(
            study.title,
            study.subtitle,
            tuple(study.verdict(parts)),
            study.facts(),
            (*study.warnings, *cut),
            shown,
            tuple(_footer(study, command, time.perf_counter() - started, deadline)),
            explorer_href=EXPLORER if explorer else "",
            explorer_name=study.explorer_name,
            explorer_note=no_explorer or (explorer.stored if explorer else ""),
        )
        heavy = publish(folder, built)
        single = f"{study.folder}-alone.html"
        too_heavy = standalone(folder, built, explorer, single) if one_file else ""
        beside = study.deliver(folder / "data")
        live = {
            "file": EXPLORER if explorer else None,
            "live": bool(explorer and not explorer.stored),
            "reason": built.explorer_note,
        }
        write_json(
            folder / MANIFEST,
            {
                **_manifest(study, built, parts, command),
                "explorer": live,
                "warnings": (*built.warnings, *heavy),
                **study.more(),
                **beside,
                **({"budget": deadline.facts()} if deadline else {}),
            },
        )
    write_index(out)
    missing = [(part.title, reason) for part, section in made for reason, _ in part.missing if not section.optional]
    # Stderr hears what a budget cost with what it took as well, which the page cannot know.
    ended = (deadline.ended(),) if deadline else ()
    result = Result(
        place.target / "index.html",
        (*missing, *([("One file", too_heavy)] if too_heavy else [])),
        (*study.warnings, *heavy, *_elsewhere(study.folder, place.target), *(ended if cut else ())),
        place.target / single if one_file and not too_heavy else None,
        () if cut else ended,
        frozenset(one for one in missing if deadline and one[0] in deadline.parts),
    )
    seconds = {"painting": clock[1] - clock[0], "writing": time.perf_counter() - clock[1]}
    return Built(result, parts, built.findings, seconds)


def _same(study: Study, manifest: Mapping[str, Any]) -> bool:
    """Whether a gallery is about the same as this one. Those of older versions tell their checksums alone."""
    if "identity" in manifest:
        return bool(manifest["identity"] == study.identities)
    kind, several, epochs = manifest.get("kind", "report"), manifest.get("checkpoints"), manifest.get("epochs")
    told = list(several.values()) if isinstance(several, dict) else [manifest.get("checkpoint")]
    known = [about.get("sha256") or f"untrained {about.get('file')}" for about in told if isinstance(about, dict)]
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
) -> tuple[list[tuple[Made, Section]], tuple[page.Section, ...]]:
    """Every section made and written in its turn, in the page's order; under a deadline the most important are made first."""
    sections = [one for one in sections_of(study.kind) if one.when(study.subject)]
    done: dict[str, tuple[Made, page.Section]] = {}
    for number, section in enumerate(
        sorted(sections, key=lambda one: deadline.rank(one.slug)) if deadline else sections
    ):
        if progress:
            progress(section.title, number, len(sections))
        if deadline and (no_time := deadline.refusal(section.slug, section.title)):
            part = Made(
                section.slug, section.title, section.lead, missing=[(no_time, "python -m vgg_viz report CHECKPOINT")]
            )
        else:
            part = make_chapter(section.slug, section.title, section.lead, partial(section.make, study.subject))
        done[section.slug] = part, write_chapter(part, folder, study.preset)
    if progress:
        progress("Writing", len(sections), len(sections))
    return [(done[one.slug][0], one) for one in sections], tuple(done[one.slug][1] for one in sections)


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


def _footer(study: Study, command: str, seconds: float, deadline: DeadlineFacts | None) -> Iterable[tuple[str, str]]:
    yield "Command", command or "vgg_viz"
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


def _manifest(study: Study, built: page.Page, made: Sequence[Made], command: str) -> dict[str, Any]:
    """What every kind of gallery says of itself, under the same keys."""
    told = {letter: source.told() for letter, source in study.sources.items()}
    return {
        "vgg_viz": __version__,
        "schema": SCHEMA,
        "kind": study.kind,
        "identity": study.identities,
        "title": study.listed or built.title,
        "command": command,
        "made": made_at(),
        "seed": study.seed,
        "preset": study.preset.name,
        "device": study.device,
        "versions": versions(),
        **({"checkpoint": told[""]} if "" in told else {"checkpoints": told}),
        "facts": dict(built.facts),
        "findings": [{"level": one.level, "text": one.text} for one in built.findings],
        "data": {"measured_on": study.measured_on, "looked_into": study.looked_into, "classes": study.classes},
        "timings": {} if reproducible() else {part.slug: round(part.seconds, 3) for part in made},
        **manifest_entries(made),
    }
