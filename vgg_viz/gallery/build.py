"""The builder of every gallery, whatever its kind: sections made and written, the page, the manifest, all swapped in whole."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from vgg_viz._version import __version__
from vgg_viz.errors import InputRefused
from vgg_viz.figures.fonts import names_warning
from vgg_viz.gallery.explorer import FILE as EXPLORER
from vgg_viz.gallery.explorer import Explorer, render_explorer
from vgg_viz.gallery.folder import MANIFEST, SCHEMA, atomic_folder
from vgg_viz.gallery.index import write_index
from vgg_viz.gallery.layout import PageSection
from vgg_viz.gallery.make_section import SectionResult, failure, make_section, manifest_entries, write_section
from vgg_viz.gallery.opening import Opening
from vgg_viz.gallery.page import Page
from vgg_viz.gallery.sections import sections_of
from vgg_viz.gallery.study import BuiltGallery, DeadlineFacts, GalleryResult, Study
from vgg_viz.gallery.write_page import publish, standalone
from vgg_viz.plain_json import write_json
from vgg_viz.progress import Progress, heard_by
from vgg_viz.records import Finding
from vgg_viz.versions import made_at, reproducible, versions


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
        page.findings,
        opening.steps if opening else (),
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
