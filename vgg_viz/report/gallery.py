"""From a checkpoint to a gallery: sections are made, painted, written and swapped in whole."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from vgg_viz._version import __version__
from vgg_viz.errors import InputRefused
from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import BUNDLED, load, sha256
from vgg_viz.models.containers import model_files
from vgg_viz.models.geometry import geometry
from vgg_viz.plain_json import write_json
from vgg_viz.records import Checkpoint, Exhibit, Finding
from vgg_viz.registry import discover
from vgg_viz.report import page
from vgg_viz.report.exhibits import Made, Progress, failure, make_chapter, manifest_entries, write_chapter
from vgg_viz.report.explorer import FILE as EXPLORER
from vgg_viz.report.explorer import Explorer, explore, render_explorer
from vgg_viz.report.index import require_index_place, write_index
from vgg_viz.report.material import folder_classes, gather
from vgg_viz.report.pacing import Pace, pace
from vgg_viz.report.preset import fitting, preset_for
from vgg_viz.report.publishing import publish, standalone
from vgg_viz.report.resuming import resumable
from vgg_viz.report.scene import write_scene
from vgg_viz.report.section import SECTIONS, SectionMaker, Subject
from vgg_viz.report.shelf import Shelf
from vgg_viz.report.verdict import facts, subtitle, verdict
from vgg_viz.report.writing import MANIFEST, SCHEMA, folder_name, replacing
from vgg_viz.versions import made_at, reproducible, versions

RECEIPTS = "data/map-*.npz hold every map raw, as float; data/map-*.json say what each depends on"


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


def report(
    source: str | os.PathLike[str] | None = None,
    *,
    images: str | os.PathLike[str] | None = None,
    data: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] = "gallery",
    preset: str = "standard",
    seed: int = 0,
    device: str | torch.device = "cpu",
    overrides: Mapping[str, Any] | None = None,
    one_file: bool = False,
    keep: bool = True,
    budget: float | None = None,
    began: float | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> Result:
    """Turn a checkpoint into `<out>/<stem>/index.html` with its figures and numbers.

    source     checkpoint file, a variant's name, or None for the bundled Tiny VGG
    images     a folder of pictures, or one: what the report looks into
    data       an ImageFolder: what the report measures on
    overrides  keywords of `load` (arch, classes, image_size, padding, mean, std, key, weights)
    one_file   write the gallery as one file to mail too, where that is light enough
    keep       the receipts of all maps beside the page, and those of finished maps where the report is interrupted
    budget     seconds that it may take: methods, pictures and chapters are cut to fit, and what was cut is said; None: all of it
    began      when the budget began to run (time.perf_counter), for a command that had to load first; None: now
    command    as the reader would type it; shown on the page
    raises     InputRefused and its kin before anything is written; OutputRefused when writing fails: nothing has changed then
    """
    started, course = time.perf_counter(), pace(budget, began)
    require_index_place(Path(out))
    checkpoint = load(source, seed=seed, **{"folder_classes": folder_classes(data), **(overrides or {})})
    stem = Path(os.path.abspath(source)).stem if source is not None else BUNDLED.stem  # "." is a folder with a name
    file = BUNDLED if source is None else Path(source)
    # A variant's name is no file, also where a folder is called so.
    fingerprint = sha256(file) if checkpoint.provenance.format != "untrained" else ""
    model = build(checkpoint).to(device)
    gigamacs = sum(row.macs for row in geometry(model)) / 1e9
    chosen = fitting(preset_for(preset, gigamacs), model)
    if course:
        chosen = course.prepare(chosen, model, checkpoint.architecture.image_side, gigamacs)
    material = gather(checkpoint, images=images, data=data, preset=chosen, gigamacs=gigamacs, seed=seed)
    target = Path(out) / folder_name(stem)
    with replacing(target) as folder, resumable(target, settings=(fingerprint, chosen.name, seed, str(device))) as receipts:
        for name in ("figures", "data"):
            (folder / name).mkdir()
        shelf = Shelf(model, checkpoint.classes, chosen, seed, checkpoint=fingerprint, folder=receipts if keep else None)
        if course:
            shelf.allowance = course
            course.answers(len(material.labelled or ()))
        subject = Subject(checkpoint, model, material, chosen, seed, maps=shelf)
        made, shown = _chapters(subject, folder, course, progress)
        missing = tuple((part.title, reason) for part in made for reason, _ in part.missing)
        no_time = course.refusal("explorer", "") if course else ""
        explorer, no_explorer = (None, no_time) if no_time else write_explorer(folder, lambda: explore(subject))
        said = course.sentences() if course else ()
        context = {
            "command": command, "preset": chosen.name, "seed": seed, "device": str(device), "dtype": "float32", "sha256": fingerprint,
            "files": [part.name for part in model_files(file)] if fingerprint else [],
            "receipts": RECEIPTS if keep and shelf.kept else "none were kept",
            "seconds": time.perf_counter() - started, "no_explorer": no_explorer, "stored": explorer.stored if explorer else "",
            "budget": course.footer() if course else "", "warnings": material.warnings + (said if course and course.cut else ()),
        }  # fmt: skip
        findings = verdict(subject, [finding for part in made for finding in part.findings])
        built = _page(stem, subject, findings, shown, context)
        warnings = (*built.warnings, *publish(folder, built))
        single = f"{folder_name(stem)}-alone.html"
        if one_file and (too_heavy := standalone(folder, built, explorer, single)):
            missing = (*missing, ("One file", too_heavy))
        kept = _receipts(folder / "data", subject, shelf) if keep else []
        write_json(folder / MANIFEST, {**_manifest(subject, findings, made, context), "warnings": warnings, "receipts": kept,
                                       **({"budget": course.told()} if course else {})})  # fmt: skip
    write_index(Path(out))
    alone = target / single if (target / single).is_file() else None
    if course is None:
        return Result(target / "index.html", missing, warnings, alone, shelf.said())
    # Stderr hears what it took as well, which the page cannot know.
    others, told = tuple(warning for warning in warnings if warning not in said), (course.ended(),)
    return Result(target / "index.html", missing, others + (told if course.cut else ()), alone,
                  shelf.said() + (() if course.cut else told), frozenset(course.refused))  # fmt: skip


# ---------------------------------------------------------------- making


def _chapters(
    subject: Subject, folder: Path, course: Pace | None, progress: Progress | None
) -> tuple[list[Made], list[page.Section]]:  # fmt: skip
    """Every chapter made and written in its turn, in the page's order; under a budget the most important are made first."""
    discover("vgg_viz.report.sections")
    makers = sorted((maker for _, maker in SECTIONS.items()), key=lambda maker: maker.order)
    done: dict[str, tuple[Made, page.Section]] = {}
    for number, maker in enumerate(course.ordered(makers, lambda maker: maker.slug) if course else makers):
        if progress:
            progress(maker.title, number, len(makers))
        if course and (no_time := course.refusal(maker.slug, maker.title)):
            part = Made(maker.slug, maker.title, maker.lead, missing=[(no_time, "python -m vgg_viz report CHECKPOINT")])
        else:
            part = make_chapter(maker.slug, maker.title, maker.lead, partial(_in_time, course, maker, subject))
        begun = time.perf_counter()
        done[maker.slug] = part, write_chapter(part, folder, subject.preset)
        if course and part.seconds:
            course.learn(maker.slug, part.seconds + time.perf_counter() - begun)
    if progress:
        progress("Writing", len(makers), len(makers))
    return [done[maker.slug][0] for maker in makers], [done[maker.slug][1] for maker in makers]


def _in_time(course: Pace | None, maker: SectionMaker, subject: Subject) -> Iterable[Exhibit | Finding]:
    """A chapter's exhibits; under a budget as many as there is time for."""
    exhibits = maker.make(subject)
    return course.watched(exhibits, maker.title) if course else exhibits


# ---------------------------------------------------------------- writing


def _receipts(folder: Path, subject: Subject, shelf: Shelf) -> list[dict[str, Any]]:
    """The receipts of all maps, and the scene that they lie on; what the manifest says of them."""
    if shelf.kept and subject.looked is not None:
        write_scene(folder, subject.looked.batch, subject.looked.logits, subject.classes, subject.geometry, checkpoint=shelf.checkpoint)
    return shelf.deliver(folder)


def write_explorer(folder: Path, made: Callable[[], Explorer]) -> tuple[Explorer | None, str]:
    """Write a network as a page to touch; returns it, or why there is none."""
    try:
        explorer = made()
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


def _page(
    stem: str, subject: Subject, findings: Sequence[Finding], shown: Sequence[page.Section], context: Mapping[str, Any]
) -> page.Page:
    return page.Page(
        title=subject.checkpoint.provenance.file or stem,
        subtitle=subtitle(subject),
        findings=tuple(findings),
        facts=facts(subject),
        warnings=context["warnings"],
        sections=tuple(shown),
        footer=tuple(_footer(subject, context)),
        explorer_href="" if context["no_explorer"] else EXPLORER,
        explorer_note=str(context["no_explorer"] or context["stored"]),
    )


def _footer(subject: Subject, context: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    yield "Command", str(context["command"]) or "vgg_viz.report(...)"
    yield "Made", made_at()
    yield "Versions", ", ".join(f"{name} {version}" for name, version in versions().items())
    yield "Device and numbers", f"{context['device']}, {context['dtype']}"
    yield "Seed", str(context["seed"])
    yield "Preset", str(context["preset"])
    if context["budget"]:
        yield "Budget", str(context["budget"])
    yield "Checkpoint", subject.checkpoint.provenance.file
    yield "Checkpoint SHA-256", str(context["sha256"]) or "not a file"
    if len(context["files"]) > 1:
        yield "SHA-256 of", ", then ".join(context["files"])
    yield "Measured on", subject.material.labelled_from or "no labelled pictures"
    yield "Looked into", subject.material.looked_from or "no pictures"
    if objects := subject.material.objects:
        yield "Objects", objects
    yield "Receipts", str(context["receipts"])
    if not reproducible():
        yield "Run time", f"{context['seconds']:.1f} s"


def _manifest(subject: Subject, findings: Sequence[Finding], made: Sequence[Made], context: Mapping[str, Any]) -> dict[str, Any]:
    checkpoint: Checkpoint = subject.checkpoint
    timed = not reproducible()
    provenance = checkpoint.provenance
    return {
        "vgg_viz": __version__,
        "schema": SCHEMA,
        "title": provenance.file,
        "command": context["command"],
        "made": made_at(),
        "seed": context["seed"],
        "preset": context["preset"],
        "device": context["device"],
        "versions": versions(),
        "checkpoint": {
            "file": provenance.file, "sha256": context["sha256"], "files": context["files"], "format": provenance.format,
            "evidence": provenance.evidence, "alternatives": provenance.alternatives,
            "ignored_keys": provenance.ignored_keys, "data": provenance.data, "training": provenance.training,
        },
        "facts": dict(facts(subject)),
        "explorer": {"file": None if context["no_explorer"] else EXPLORER, "live": not (context["no_explorer"] or context["stored"]),
                     "reason": context["no_explorer"] or context["stored"]},
        "findings": [{"level": finding.level, "text": finding.text} for finding in findings],
        "data": {"measured_on": subject.material.labelled_from, "looked_into": subject.material.looked_from},
        "timings": {part.slug: round(part.seconds, 3) for part in made} if timed else {},
        **manifest_entries(made),
    }  # fmt: skip


def module_device(name: str) -> str:
    """"auto" as the best device there is; refuses one that is not."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available.get(name, False):
        raise InputRefused(f"device {name!r} is not available here; use --device cpu or auto.")
    return name


