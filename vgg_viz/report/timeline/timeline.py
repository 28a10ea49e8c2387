"""From the folder of a run to one page that looks back on it, epoch by epoch."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from vgg_viz._version import __version__
from vgg_viz.data import cache, shapes
from vgg_viz.data.folder import match_classes, open_folder, read_folder
from vgg_viz.data.shortcuts import from_provenance
from vgg_viz.errors import InputRefused
from vgg_viz.figures.style import percent
from vgg_viz.models.build import skeleton
from vgg_viz.models.checkpoint import sha256
from vgg_viz.models.geometry import geometry
from vgg_viz.models.vgg import title
from vgg_viz.plain_json import write_json
from vgg_viz.records import Batch, Finding
from vgg_viz.report import page
from vgg_viz.report.exhibits import Chapter, Made, Progress, make_all, manifest_entries, write_chapter
from vgg_viz.report.gallery import Result
from vgg_viz.report.index import require_index_place, write_index
from vgg_viz.report.material import folder_classes, gather, in_channels
from vgg_viz.report.preset import preset_for
from vgg_viz.report.publishing import publish
from vgg_viz.report.section import counted
from vgg_viz.report.timeline.curves import curves
from vgg_viz.report.timeline.flips import flips
from vgg_viz.report.timeline.kept_run import open_run
from vgg_viz.report.timeline.pictures import pictures
from vgg_viz.report.timeline.shortcut import shortcuts
from vgg_viz.report.timeline.suspects import Suspect, planted, suspects
from vgg_viz.report.timeline.walk import Walk
from vgg_viz.report.writing import MANIFEST, SCHEMA, folder_name, replacing
from vgg_viz.versions import made_at, reproducible, versions

DONORS = 400  # pictures of the training part that regions are taken from, evenly over the classes


@dataclass(frozen=True, slots=True)
class Timeline:
    """Where the page landed, and everything measured, as plain values: {exhibit: its numbers}."""

    result: Result
    epochs: tuple[int, ...]
    series: Mapping[str, Any]
    findings: tuple[Finding, ...]


def timeline(
    run: str | os.PathLike[str],
    *,
    images: str | os.PathLike[str] | None = None,
    data: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] = "gallery",
    preset: str = "standard",
    seed: int = 0,
    device: str | torch.device = "cpu",
    overrides: Mapping[str, Any] | None = None,
    region: str | None = None,
    of_class: str | None = None,
    suspected: str | os.PathLike[str] | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> Timeline:
    """Set the network of every kept epoch before the same pictures: `<out>/<run>-timeline/index.html` with figures and numbers.

    run        the folder of a run that has kept its epochs
    region     of a suspected shortcut: "x0,y0,x1,y1" [px], "border[:WIDTH]", "background" or "colours"; of_class: its class
    suspected  a file of suspects: what `audit --json` printed, or the truth of `data shapes --shortcut`
    Other arguments as in `compare`.
    raises     InputRefused and its kin before anything is written; OutputRefused when writing fails: nothing has changed then
    """
    started = time.perf_counter()
    require_index_place(Path(out))
    kept = open_run(run, {"folder_classes": folder_classes(data), **(overrides or {})})
    wanted = kept.checkpoint.architecture
    named = suspects(region, of_class, None if suspected is None else Path(suspected), kept.checkpoint.classes, wanted.image_side)
    # What the run itself says was planted is tried in any case: another suspect may be the wrong place.
    known = {(one.region, one.index) for one in named}
    own = planted(kept.checkpoint.provenance.data, kept.checkpoint.classes, wanted.image_side)
    named = (*named, *(one for one in own if (one.region, one.index) not in known))
    gigamacs = sum(row.macs for row in geometry(skeleton(wanted))) / 1e9
    chosen = preset_for(preset, gigamacs * len(kept.epochs))
    material = gather(kept.checkpoint, images=images, data=data, preset=chosen, gigamacs=gigamacs * len(kept.epochs), seed=seed)
    if material.labelled is None and material.looked is None:
        raise InputRefused(f"there are no pictures to set before the epochs of {kept.name!r}; give some with --data DIR or --images DIR.")
    walk = Walk(kept, material, chosen, seed, device=device)
    warnings = list(material.warnings)
    if kept.left_out:
        are = "is" if kept.left_out == 1 else "are"
        warnings.append(f"{counted(kept.left_out, 'epoch')} of the run {are} left out: {len(kept.epochs)} were taken evenly over it.")
    target = Path(out) / f"{folder_name(kept.name)}-timeline"
    with replacing(target) as folder:
        for name in ("figures", "data"):
            (folder / name).mkdir()
        made = make_all(_chapters(walk, named, data), progress)
        shown = [write_chapter(part, folder, chosen) for part in made]
        missing = tuple((part.title, reason) for part in made for reason, _ in part.missing)
        findings = _verdict(made, named)
        footer = tuple(_footer(walk, command, str(device), time.perf_counter() - started))
        built = page.Page(
            title=f"{kept.name}, epoch by epoch",
            subtitle=f"{title(wanted)}; {counted(len(kept.epochs), 'kept epoch')}, {kept.epochs[0]} to {kept.epochs[-1]}",
            findings=findings, facts=_facts(walk), warnings=tuple(warnings), sections=tuple(shown), footer=footer,
        )  # fmt: skip
        warnings += publish(folder, built)
        write_json(folder / MANIFEST, _manifest(walk, findings, warnings, made, command, str(device)))
    write_index(Path(out))
    series = {exhibit.slug: exhibit.numbers for part in made for exhibit in part.exhibits}
    return Timeline(Result(target / "index.html", missing, tuple(warnings)), kept.epochs, series, findings)


def _chapters(walk: Walk, named: Sequence[Suspect], data: str | os.PathLike[str] | None) -> list[Chapter]:
    told: list[Chapter] = [
        ("numbers", "In numbers", "What was learned, and what the evidence did meanwhile, on one axis of epochs.", partial(curves, walk)),
        ("maps", "Where it looked", "The same picture, the same class, one network after the other.", partial(pictures, walk)),
    ]  # fmt: skip
    if walk.material.labelled is not None:
        told.append(("learning", "Learned and forgotten", "A network does not only learn: which answers came, which went, and which came back?", partial(flips, walk)))
    if named:
        told.append(("shortcut", "A shortcut", "Something other than the object may give a class away: from which epoch on does the network use it?",
                     lambda: _tested(walk, tuple(named), data)))  # fmt: skip
    return told


def _tested(walk: Walk, named: tuple[Suspect, ...], data: str | os.PathLike[str] | None) -> Iterable[Any]:
    donors, origin = _donors(walk, data)
    return shortcuts(walk, named, donors, origin)


def _donors(walk: Walk, data: str | os.PathLike[str] | None) -> tuple[Batch, str]:
    """Where regions come from: the training part of --data or of the painted set, where a shortcut lies; else the labelled pictures."""
    told = walk.run.checkpoint.provenance.data
    if (data is None or str(data) == "shapes") and told.get("kind") == "shapes" and set(walk.classes) == set(shapes.CLASSES):
        count = min(max(DONORS, 40 * len(walk.classes)), int(told.get("train", DONORS)))
        painted = cache.painted(count, seed=int(told.get("seed", 0)), split="train", side=walk.side, shortcut=from_provenance(told)).as_batch()
        numbers = torch.tensor([walk.classes.index(name) for name in shapes.CLASSES])
        return in_channels(replace(painted, labels=numbers[painted.labels]), walk.run.checkpoint), f"{count:,} painted training pictures"
    if data is None or str(data) == "shapes" or not open_folder(data).split:
        return walk.labelled, walk.material.labelled_from
    try:
        folder = open_folder(data, split="train")
    except InputRefused:
        return walk.labelled, walk.material.labelled_from
    order = torch.tensor(match_classes(folder.classes, walk.classes))
    count = max(DONORS, 40 * len(walk.classes))
    batch = in_channels(read_folder(folder, image_side=walk.side, limit=count, seed=walk.seed), walk.run.checkpoint)
    labels = None if batch.labels is None else order[batch.labels]
    return Batch(batch.images, labels, batch.names, batch.masks, boxed=batch.boxed), f"{len(batch):,} training pictures of the folder {folder.root.name!r}"


def _verdict(made: Sequence[Made], named: Sequence[Suspect]) -> tuple[Finding, ...]:
    """What the chapters found; a shortcut comes right after the first line."""
    found = [(part.slug, finding) for part in made for finding in part.findings]
    first, rest = [finding for slug, finding in found if slug != "shortcut"], [finding for slug, finding in found if slug == "shortcut"]
    none = [] if named else [Finding("note", "No shortcut was looked for; name one with --region x0,y0,x1,y1 --class NAME, or give what audit found with --findings FILE.")]
    return (*first[:1], *rest, *first[1:], *none)


def _facts(walk: Walk) -> tuple[tuple[str, str], ...]:
    told = [("Network", title(walk.run.checkpoint.architecture)), ("Classes", f"{len(walk.classes):,}"), ("Epochs", f"{len(walk.epochs):,} kept")]
    if walk.material.labelled is not None:
        told += [("Pictures", f"{len(walk.labelled):,}"), ("Right at the end", percent(float(walk.right[-1].double().mean())))]
    return tuple(told)


def _footer(walk: Walk, command: str, device: str, seconds: float) -> Iterable[tuple[str, str]]:
    last = walk.run.files[walk.epochs[-1]]
    yield "Command", command or "vgg_viz.report.timeline.timeline(...)"
    yield "Made", made_at()
    yield "Versions", ", ".join(f"{name} {version}" for name, version in versions().items())
    yield "Device and numbers", f"{device}, float32"
    yield "Seed", str(walk.seed)
    yield "Preset", walk.preset.name
    yield "Run", walk.run.name
    yield f"SHA-256 of {last.name}", sha256(last)
    yield "Measured on", walk.material.labelled_from or "no labelled pictures"
    yield "Looked into", walk.material.looked_from or "no pictures"
    if not reproducible():
        yield "Run time", f"{seconds:.1f} s"


def _manifest(walk: Walk, findings: Sequence[Finding], warnings: Sequence[str], made: Sequence[Made], command: str, device: str) -> dict[str, Any]:
    return {
        "vgg_viz": __version__, "schema": SCHEMA, "kind": "timeline", "title": f"{walk.run.name}, epoch by epoch", "command": command,
        "made": made_at(), "seed": walk.seed, "preset": walk.preset.name, "device": device, "versions": versions(),
        "epochs": [{"epoch": epoch, "file": file.name, "sha256": sha256(file)} for epoch, file in walk.run.files.items()],
        "facts": dict(_facts(walk)),
        "findings": [{"level": finding.level, "text": finding.text} for finding in findings],
        "warnings": list(warnings),
        "data": {"measured_on": walk.material.labelled_from, "looked_into": walk.material.looked_from, "classes": walk.classes},
        "timings": {} if reproducible() else {part.slug: round(part.seconds, 3) for part in made},
        **manifest_entries(made),
    }  # fmt: skip
