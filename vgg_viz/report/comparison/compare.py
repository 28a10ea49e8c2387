"""From two checkpoints to one page that compares them on the same pictures."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from vgg_viz._version import __version__
from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import load, sha256
from vgg_viz.models.geometry import geometry
from vgg_viz.plain_json import write_json
from vgg_viz.records import Finding
from vgg_viz.report import page
from vgg_viz.report.comparison.answers import changes
from vgg_viz.report.comparison.attention import attention
from vgg_viz.report.comparison.confidence import confidences
from vgg_viz.report.comparison.live import live
from vgg_viz.report.comparison.material import columns, given, labelled, opened, shared_classes
from vgg_viz.report.comparison.pair import Network, Pair
from vgg_viz.report.comparison.verdict import facts, headline, score, side_by_side, signed
from vgg_viz.report.comparison.weights import trainings, weights
from vgg_viz.report.exhibits import Chapter, Made, Progress, make_all, manifest_entries, write_chapter
from vgg_viz.report.explorer import FILE as EXPLORER
from vgg_viz.report.gallery import Result, write_explorer
from vgg_viz.report.index import require_index_place, write_index
from vgg_viz.report.preset import preset_for
from vgg_viz.report.publishing import publish
from vgg_viz.report.writing import MANIFEST, SCHEMA, folder_name, replacing
from vgg_viz.versions import made_at, reproducible, versions


def compare(
    first: str | os.PathLike[str],
    second: str | os.PathLike[str],
    *,
    images: str | os.PathLike[str] | None = None,
    data: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] = "gallery",
    preset: str = "standard",
    seed: int = 0,
    device: str | torch.device = "cpu",
    overrides: Mapping[str, Any] | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> Result:
    """Set two checkpoints before the same pictures: `<out>/<first>-vs-<second>/index.html` with figures and numbers.

    first, second  checkpoint files, or variants' names; A and B on the page
    images         a folder of pictures, or one: what the maps look into
    data           an ImageFolder, or "shapes": what both are measured on; None: what the checkpoints carry
    overrides      keywords of `load`, for both
    command        as the reader would type it; shown on the page
    raises         InputRefused and its kin before anything is written; OutputRefused when writing fails: nothing has changed then
    """
    started = time.perf_counter()
    require_index_place(Path(out))
    pair, warnings = _paired(first, second, images, data, preset, seed, device, overrides or {})
    target = Path(out) / f"{folder_name(Path(first).stem)}-vs-{folder_name(Path(second).stem)}"
    with replacing(target) as folder:
        for name in ("figures", "data"):
            (folder / name).mkdir()
        made = make_all(_chapters(pair), progress)
        shown = [write_chapter(part, folder, pair.preset) for part in made]
        missing = tuple((part.title, reason) for part in made for reason, _ in part.missing)
        explorer, no_explorer = write_explorer(folder, lambda: live(pair))
        findings = [*headline(pair), *(finding for part in made for finding in part.findings)]
        footer = tuple(_footer(pair, command, str(device), time.perf_counter() - started))
        built = page.Page(
            title=f"{pair.a.name} and {pair.b.name}",
            subtitle=f"A: {pair.a.name}, {pair.a.title}; B: {pair.b.name}, {pair.b.title}; {len(pair.classes):,} shared classes",
            findings=tuple(findings), facts=_facts(pair), warnings=tuple(warnings), sections=tuple(shown), footer=footer,
            explorer_href=EXPLORER if explorer else "", explorer_name="both networks", explorer_note=no_explorer,
        )  # fmt: skip
        warnings += publish(folder, built)
        entries = _manifest(pair, findings, warnings, made, command, str(device))
        live_page = {"file": EXPLORER if explorer else None, "live": explorer is not None, "reason": no_explorer}
        write_json(folder / MANIFEST, {**entries, "explorer": live_page})
    write_index(Path(out))
    return Result(target / "index.html", missing, tuple(warnings))


def _paired(
    first: str | os.PathLike[str], second: str | os.PathLike[str], images: str | os.PathLike[str] | None, data: str | os.PathLike[str] | None,
    preset: str, seed: int, device: str | torch.device, overrides: Mapping[str, Any],
) -> tuple[Pair, list[str]]:  # fmt: skip
    """Everything that the user named, opened; whatever is refused is refused here."""
    folder, painted = opened(data)
    named = {"folder_classes": folder.classes if folder else (), **overrides}
    a, b = (load(source, seed=seed, **named) for source in (first, second))
    places = shared_classes(a, b, folder)
    models = [build(checkpoint).to(device) for checkpoint in (a, b)]
    gigamacs = sum(row.macs for model in models for row in geometry(model)) / 1e9
    chosen = preset_for(preset, gigamacs)
    limit = max(16, min(chosen.evaluated, int(chosen.gigamacs / max(gigamacs, 1e-9))))
    pictures, warnings = labelled(a, b, places, folder, painted=painted, limit=limit, seed=seed)
    looked, more = given(a, b, images, chosen)
    files = [sha256(source) if Path(source).is_file() else "" for source in (first, second)]
    names = [checkpoint.provenance.file for checkpoint in (a, b)]
    if names[0] == names[1] and files[0] != files[1]:  # two runs leave two files of one name
        names = [f"{name} ({file[:6]})" for name, file in zip(names, files, strict=True)]
    networks = [
        Network(letter, name, checkpoint, model, file, column)
        for letter, name, checkpoint, model, file, column in zip("AB", names, (a, b), models, files, columns(places), strict=True)
    ]
    classes = tuple(a.classes[index] for index in places)
    return Pair(networks[0], networks[1], classes, pictures, looked, chosen, seed), [*warnings, *more]


def _chapters(pair: Pair) -> list[Chapter]:
    told = (
        ("sides", "Side by side", "What the two networks are, before any of their answers.", side_by_side),
        ("changes", "What changed", "The same pictures, both answers: which did B win, which did it lose, and where among the classes?", changes),
        ("confidence", "Confidence", "Being right is one thing, knowing it another.", confidences),
        ("attention", "Attention", "The same picture, the same class, two networks: where does each find its evidence?", attention),
        ("training", "Training", "How both came to be, on one axis.", trainings),
        ("weights", "Weights", "Do the two look at the picture itself in the same way, and did they start from the same place?", weights),
    )
    return [(slug, title, lead, partial(make, pair)) for slug, title, lead, make in told]


def _facts(pair: Pair) -> tuple[tuple[str, str], ...]:
    found = score(pair)
    if found is None:
        return facts(pair)
    shares = [100 * share for share in found.accuracies]
    return (
        *facts(pair), ("Pictures", f"{found.n:,}"), ("A right", f"{shares[0]:.1f} %"), ("B right", f"{shares[1]:.1f} %"),
        ("B minus A", f"{signed(100 * found.difference)} points"),
    )  # fmt: skip


def _footer(pair: Pair, command: str, device: str, seconds: float) -> Iterable[tuple[str, str]]:
    yield "Command", command or "vgg_viz.report.comparison.compare(...)"
    yield "Made", made_at()
    yield "Versions", ", ".join(f"{name} {version}" for name, version in versions().items())
    yield "Device and numbers", f"{device}, float32"
    yield "Seed", str(pair.seed)
    yield "Preset", pair.preset.name
    for net in (pair.a, pair.b):
        yield f"Checkpoint {net.letter}", net.checkpoint.provenance.file
        yield f"SHA-256 of {net.letter}", net.fingerprint or "not a file"
    yield "Measured on", pair.labelled.origin if pair.labelled else "no labelled pictures"
    yield "Looked into", pair.looked.origin if pair.given or pair.labelled else "no pictures"
    if not reproducible():
        yield "Run time", f"{seconds:.1f} s"


def _manifest(
    pair: Pair, findings: Sequence[Finding], warnings: Sequence[str], made: Sequence[Made], command: str, device: str
) -> dict[str, Any]:  # fmt: skip
    return {
        "vgg_viz": __version__, "schema": SCHEMA, "kind": "comparison", "title": f"{pair.a.name} and {pair.b.name}", "command": command,
        "made": made_at(), "seed": pair.seed, "preset": pair.preset.name, "device": device, "versions": versions(),
        "checkpoints": {
            net.letter: {
                "file": net.checkpoint.provenance.file, "sha256": net.fingerprint, "format": net.checkpoint.provenance.format,
                "evidence": net.checkpoint.provenance.evidence, "alternatives": net.checkpoint.provenance.alternatives,
                "ignored_keys": net.checkpoint.provenance.ignored_keys, "data": net.checkpoint.provenance.data,
                "training": net.checkpoint.provenance.training,
            }
            for net in (pair.a, pair.b)
        },
        "facts": dict(facts(pair)),
        "findings": [{"level": finding.level, "text": finding.text} for finding in findings],
        "warnings": warnings,
        "data": {
            "measured_on": pair.labelled.origin if pair.labelled else "",
            "looked_into": pair.looked.origin if pair.given or pair.labelled else "", "classes": pair.classes,
        },
        "timings": {} if reproducible() else {part.slug: round(part.seconds, 3) for part in made},
        **manifest_entries(made),
    }  # fmt: skip
