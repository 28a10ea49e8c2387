"""From a checkpoint and labelled pictures to the page that says where the network looks."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from vgg_viz._version import __version__
from vgg_viz.audit.findings import Audit, audit
from vgg_viz.errors import InputRefused, UnknownName
from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import BUNDLED, load, sha256
from vgg_viz.models.vgg import title
from vgg_viz.plain_json import write_json
from vgg_viz.records import Checkpoint, Finding
from vgg_viz.report import page
from vgg_viz.report.auditing.chapters import Case, attention, findings, ranking, repeated, search
from vgg_viz.report.auditing.telling import as_json, leaning_as_json, told
from vgg_viz.report.exhibits import Chapter, Made, Progress, make_all, manifest_entries, write_chapter
from vgg_viz.report.gallery import Result
from vgg_viz.report.index import require_index_place, write_index
from vgg_viz.report.material import folder_classes, labelled_pictures, left_out
from vgg_viz.report.preset import PRESETS
from vgg_viz.report.publishing import publish
from vgg_viz.report.section import counted, truth_word
from vgg_viz.report.writing import MANIFEST, SCHEMA, folder_name, replacing
from vgg_viz.versions import made_at, reproducible, versions


@dataclass(frozen=True, slots=True)
class Audited:
    """Where the page landed, and the findings as plain values for a script."""

    result: Result
    facts: Mapping[str, Any]


def audited(
    source: str | os.PathLike[str] | None,
    *,
    data: str | os.PathLike[str] | None = None,
    classes: Sequence[str] = (),
    limit: int = 600,
    out: str | os.PathLike[str] = "gallery",
    seed: int = 0,
    device: str | torch.device = "cpu",
    overrides: Mapping[str, Any] | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> Audited:
    """Audit a checkpoint: `<out>/<stem>-audit/index.html` with figures and numbers.

    data      an ImageFolder, "shapes", or None: what the checkpoint carries
    classes   names of those to search; none: all that have enough pictures
    limit     pictures at most, evenly over classes
    raises    InputRefused and its kin before anything is written
    """
    started = time.perf_counter()
    require_index_place(Path(out))
    checkpoint = load(source, seed=seed, folder_classes=folder_classes(data), **(overrides or {}))
    wanted = _indices(classes, checkpoint.classes)
    batch, origin = labelled_pictures(checkpoint, data, limit=limit, seed=seed)
    if batch is None or batch.labels is None:
        raise InputRefused("the checkpoint carries no labelled pictures to look at; give some with --data DIR.")
    model = build(checkpoint).to(device)
    steps = (lambda text: progress(text.capitalize(), 0, 6)) if progress else None
    seen = audit(model, batch, classes=wanted, seed=seed, progress=steps)
    case = Case(model, seen, checkpoint.classes, seed)
    stem = Path(source if source is not None else BUNDLED).stem
    target = Path(out) / f"{folder_name(stem)}-audit"
    warnings = list(left_out(batch))
    with replacing(target) as folder:
        for name in ("figures", "data"):
            (folder / name).mkdir()
        chapters: list[Chapter] = [
            ("findings", "Findings", "What stood the trial: pictures of other classes before and after a transplant.", partial(findings, case)),
            ("attention", "Attention", "Where the evidence for each class lies, over all its pictures.", partial(attention, case)),
            ("strategies", "Strategies", "Do groups of pictures get their answer in the same way?", partial(repeated, case)),
            ("suspicion", "Suspicion", "Which pictures to look at first.", partial(ranking, case)),
            ("search", "Search", "All suspects with their numbers, also those that came to nothing.", partial(search, case)),
        ]  # fmt: skip
        empty = (set() if seen.findings else {"findings"}) | (set() if seen.suspects else {"search"})
        made = make_all([chapter for chapter in chapters if chapter[0] not in empty], progress)
        shown = [write_chapter(part, folder, PRESETS["standard"]) for part in made]
        # No stable grouping is an answer, not a part that is missing.
        missing = tuple((part.title, reason) for part in made for reason, _ in part.missing if part.slug != "strategies")
        verdict = told(seen, checkpoint.classes)
        fingerprint = sha256(source) if source is not None and Path(source).exists() else sha256(BUNDLED) if source is None else ""
        built = page.Page(
            title=f"Audit of {checkpoint.provenance.file}", subtitle=f"{title(checkpoint.architecture)}; where does it look?",
            findings=tuple(verdict), facts=_facts(seen), warnings=tuple(warnings), sections=tuple(shown),
            footer=tuple(_footer(checkpoint, seen, origin, fingerprint, command, str(device), seed, time.perf_counter() - started)),
        )  # fmt: skip
        warnings += publish(folder, built)
        facts = {
            "findings": [as_json(one, seen, checkpoint.classes) for one in seen.findings], "measured_on": origin, "pictures": len(seen.labels),
            "right": float(seen.right.float().mean()), "searched": len(seen.suspects), "tried": len(seen.tried),
            "leanings": [leaning_as_json(suspect, verdict, checkpoint.classes) for suspect, verdict in seen.leanings],
            "not_searched": [checkpoint.classes[i] for i in seen.too_few], "index": str(target / "index.html"),
        }  # fmt: skip
        write_json(folder / MANIFEST, _manifest(checkpoint, seen, verdict, warnings, made, origin, fingerprint, command, str(device), seed))
    write_index(Path(out))
    return Audited(Result(target / "index.html", missing, tuple(warnings)), facts)


def _indices(names: Sequence[str], known: Sequence[str]) -> list[int] | None:
    for name in names:
        if name not in known:
            raise UnknownName("class", name, known)
    return [known.index(name) for name in names] or None


def _facts(seen: Audit) -> tuple[tuple[str, str], ...]:
    return (
        ("Pictures", f"{len(seen.labels):,}"), ("Right", f"{100 * float(seen.right.float().mean()):.1f} %"),
        ("Masks", {"outline": "yes", "": "no"}.get(truth_word(seen.batch), "boxes" if truth_word(seen.batch) == "box" else "and boxes")), ("Classes searched", str(len(seen.suspects))),
        ("Suspects tried", str(len(seen.tried))), ("Findings", str(len(seen.findings))),
    )  # fmt: skip


def _objects(seen: Audit) -> str:
    word = truth_word(seen.batch)
    if not word and seen.batch.told:  # too few of them
        return "masks or boxes are known for too few pictures: the object's place is where the other classes' evidence lies"
    if not word:
        return "no masks: the object's place is where the other classes' evidence lies"
    known = {"outline": "masks are known", "box": "boxes are known, and what lies in a box counts as object"}.get(word, "masks or boxes are known")
    known += f" ({seen.batch.told})" if seen.batch.told else ""
    count = int(seen.batch.known.sum())
    return known if count == len(seen.labels) else f"{known}, for {count:,} of {len(seen.labels):,} pictures; only those are searched and tried"


def _footer(
    checkpoint: Checkpoint, seen: Audit, origin: str, fingerprint: str, command: str, device: str, seed: int, seconds: float
) -> Iterable[tuple[str, str]]:
    yield "Command", command or "vgg_viz audit"
    yield "Made", made_at()
    yield "Versions", ", ".join(f"{name} {version}" for name, version in versions().items())
    yield "Device and numbers", f"{device}, float32"
    yield "Seed", str(seed)
    yield "Checkpoint", checkpoint.provenance.file
    yield "SHA-256", fingerprint or "not a file"
    yield "Looked at", origin
    yield "Objects", _objects(seen)
    yield "Heat maps", f"integrated gradients against each picture's mean colour, Grad-CAM beside them; {counted(len(seen.labels), 'picture')}"
    if not reproducible():
        yield "Run time", f"{seconds:.1f} s"


def _manifest(
    checkpoint: Checkpoint, seen: Audit, verdict: Sequence[Finding], warnings: Sequence[str], made: Sequence[Made], origin: str, fingerprint: str,
    command: str, device: str, seed: int,
) -> dict[str, Any]:  # fmt: skip
    provenance = checkpoint.provenance
    return {
        "vgg_viz": __version__, "schema": SCHEMA, "kind": "audit", "title": f"Audit of {provenance.file}", "command": command, "made": made_at(),
        "seed": seed, "device": device, "versions": versions(),
        "checkpoint": {"file": provenance.file, "sha256": fingerprint, "format": provenance.format, "evidence": provenance.evidence},
        "facts": dict(_facts(seen)), "findings": [{"level": one.level, "text": one.text} for one in verdict],
        "audit": [as_json(one, seen, checkpoint.classes) for one in seen.findings], "warnings": warnings, "data": {"measured_on": origin},
        "timings": {} if reproducible() else {part.slug: round(part.seconds, 3) for part in made}, **manifest_entries(made),
    }  # fmt: skip
