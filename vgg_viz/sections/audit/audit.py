"""From a checkpoint and labelled pictures to the page that says where the network looks."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vgg_viz.capture.predict import class_network
from vgg_viz.data.annotations import truth_kind
from vgg_viz.errors import InputRefused, UnknownName
from vgg_viz.figures.fonts import readable_names
from vgg_viz.gallery.build import build
from vgg_viz.gallery.folder import folder_name
from vgg_viz.gallery.index import require_index_place
from vgg_viz.gallery.study import GalleryResult, Study
from vgg_viz.models.outputs import require_choice
from vgg_viz.models.vgg import title
from vgg_viz.number_text import counted, percent
from vgg_viz.progress import heard_by
from vgg_viz.records import Checkpoint, Finding, PictureOrigin
from vgg_viz.sections.audit.summary import as_json, leaning_as_json, summary
from vgg_viz.shortcuts.findings import Audit, audit
from vgg_viz.studies.alarms import measured_alarms
from vgg_viz.studies.answers import Answers
from vgg_viz.studies.inputs import describe_origin, folder_classes, labelled_pictures, open_checkpoint, reading_warnings
from vgg_viz.studies.judging import verdict_on
from vgg_viz.studies.preset import PRESETS
from vgg_viz.studies.request import AuditRequest
from vgg_viz.studies.subject import Case
from vgg_viz.studies.without_scores import require_scores
from vgg_viz.studies.witnesses import examine


@dataclass(frozen=True, slots=True)
class Audited:
    """Where the page landed, and the findings as plain values for a script."""

    result: GalleryResult
    facts: Mapping[str, Any]


def build_audit(request: AuditRequest) -> Audited:
    """Audit a checkpoint: `<out>/<stem>-audit/index.html` with figures and numbers.

    Raises:
        InputRefused: And its kin, before anything is written.
        OutputRefused: Writing failed; nothing has changed then.
    """
    started = time.perf_counter()
    out, data, seed, progress = Path(request.out), request.data, request.seed, request.progress
    require_index_place(out)
    own = open_checkpoint(
        request.source, seed=seed, overrides={"folder_classes": folder_classes(data), **request.overrides}
    )
    checkpoint = own.checkpoint
    require_scores(checkpoint.architecture, "audit")
    require_choice(checkpoint.architecture, "audit")
    wanted = _indices(request.classes, checkpoint.classes)
    batch, origin = labelled_pictures(checkpoint, data, limit=request.limit, seed=seed)
    if batch is None or batch.labels is None:
        raise InputRefused("the checkpoint carries no labelled pictures to look at; give some with --data DIR.")
    examined = examine(checkpoint, class_network(checkpoint).to(request.device), batch, seed=seed)
    checkpoint, model, own = examined.checkpoint, examined.model, replace(own, checkpoint=examined.checkpoint)
    steps = (lambda text: progress(text.capitalize(), 0, 6)) if progress else None
    with heard_by(None):
        seen = audit(model, batch, classes=wanted, seed=seed, progress=steps)
    found = [as_json(one, seen, checkpoint.classes) for one in seen.findings]
    study = Study(
        "audit",
        Case(model, seen, readable_names(checkpoint.classes), seed),
        f"{folder_name(own.stem)}-audit",
        f"Audit of {own.title}",
        f"{title(checkpoint.architecture)}; where does it look?",
        {"": own},
        PRESETS["standard"],
        seed,
        str(request.device),
        command=request.command,
        started=started,
        facts=lambda: _facts(seen),
        verdict=lambda _made: (
            *_failures(seen, checkpoint, origin),
            *summary(seen, readable_names(checkpoint.classes)),
        ),
        classes=checkpoint.classes,
        measured_on=describe_origin(origin),
        looked_into=describe_origin(origin),
        warnings=tuple(reading_warnings(batch)),
        first=lambda: (*measured_alarms(checkpoint, int(seen.right.sum()), len(seen.labels)), *examined.findings),
        origin=(("Objects", _objects(seen)), ("Heat maps", _maps(seen))),
        more=lambda: {"audit": found},
    )
    result = build(study, out=out, progress=progress).result
    facts = {
        "findings": found,
        "measured_on": describe_origin(origin),
        "pictures": len(seen.labels),
        "right": float(seen.right.float().mean()),
        "searched": len(seen.suspects),
        "tried": len(seen.tried),
        "leanings": [leaning_as_json(suspect, verdict, checkpoint.classes) for suspect, verdict in seen.leanings],
        "not_searched": [checkpoint.classes[i] for i in seen.too_few],
        "index": str(result.index),
    }
    return Audited(result, facts)


def _failures(seen: Audit, checkpoint: Checkpoint, origin: PictureOrigin | None) -> list[Finding]:
    """What is told before any word about shortcuts: problems of the network itself, and that there are too few pictures."""
    answers = Answers(seen.batch, seen.labels, seen.logits.cpu(), seen.outputs)
    judged = verdict_on(answers, readable_names(checkpoint.classes), checkpoint, origin, shortcut=False)
    return [one for one in judged.findings if one.level == "bad" or one.key == "few"]


def _indices(names: Sequence[str], known: Sequence[str]) -> list[int] | None:
    for name in names:
        if name not in known:
            raise UnknownName("class", name, known)
    return [known.index(name) for name in names] or None


def _facts(seen: Audit) -> tuple[tuple[str, str], ...]:
    return (
        ("Pictures", f"{len(seen.labels):,}"),
        ("Right", percent(float(seen.right.float().mean()), decimals=1)),
        ("Masks", {"outline": "yes", "box": "boxes", "both": "and boxes", "": "no"}[truth_kind(seen.batch)]),
        ("Classes searched", str(len(seen.suspects))),
        ("Suspects tried", str(len(seen.tried))),
        ("Findings", str(len(seen.findings))),
    )


def _objects(seen: Audit) -> str:
    kind = truth_kind(seen.batch)
    if not kind and seen.batch.box_note:  # too few of them
        return "masks or boxes are known for too few pictures: the object's place is where the other classes' evidence lies"
    if not kind:
        return "no masks: the object's place is where the other classes' evidence lies"
    known = {"outline": "masks are known", "box": "boxes are known, and what lies in a box counts as object"}.get(
        kind, "masks or boxes are known"
    )
    known += f" ({seen.batch.box_note})" if seen.batch.box_note else ""
    count = int(seen.batch.known.sum())
    return (
        known
        if count == len(seen.labels)
        else f"{known}, for {count:,} of {len(seen.labels):,} pictures; only those are searched and tried"
    )


def _maps(seen: Audit) -> str:
    return f"integrated gradients against each picture's mean colour, Grad-CAM beside them; {counted(len(seen.labels), 'picture')}"
