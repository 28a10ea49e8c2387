"""From two checkpoints to one page that compares them on the same pictures."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from vgg_viz.capture.predict import class_network
from vgg_viz.gallery.build import build
from vgg_viz.gallery.folder import folder_name
from vgg_viz.gallery.index import require_index_place
from vgg_viz.gallery.study import GalleryResult, Study
from vgg_viz.models.geometry import geometry
from vgg_viz.models.outputs import require_alike
from vgg_viz.records import Finding
from vgg_viz.sections.compare.verdict import facts, headline, score, signed
from vgg_viz.sections.compare.viewer import live
from vgg_viz.studies.alarms import file_alarms, measured_alarms
from vgg_viz.studies.inputs import describe_origin, folder_classes, open_checkpoint
from vgg_viz.studies.pair import Network, Pair
from vgg_viz.studies.pair_inputs import class_columns, load_given, load_labelled, open_labelled_folder, shared_classes
from vgg_viz.studies.preset import preset_for
from vgg_viz.studies.request import PairRequest
from vgg_viz.studies.without_scores import lacks_of
from vgg_viz.studies.witnesses import examine

UNUSED = "The pictures were not used: without class scores of both networks, their weights alone can be compared."


def build_comparison(request: PairRequest) -> GalleryResult:
    """Set two checkpoints before the same pictures: `<out>/<first>-vs-<second>/index.html` with figures and numbers.

    Raises:
        InputRefused: And its kin, before anything is written.
        OutputRefused: Writing failed; nothing has changed then.
    """
    started = time.perf_counter()
    out = Path(request.out)
    require_index_place(out)
    pair, warnings = open_pair(request)
    a, b = pair.a, pair.b
    study = Study(
        "comparison",
        pair,
        f"{folder_name(a.source.stem)}-vs-{folder_name(b.source.stem)}",
        f"{a.name} and {b.name}",
        f"A: {a.name}, {a.title}; B: {b.name}, {b.title}"
        + (f"; {len(pair.classes):,} shared classes" if pair.classes else ""),
        {"A": a.source, "B": b.source},
        pair.preset,
        request.seed,
        str(request.device),
        command=request.command,
        started=started,
        facts=lambda: _facts(pair),
        verdict=lambda made: [*headline(pair), *(finding for part in made for finding in part.findings)],
        classes=pair.shared,
        measured_on=describe_origin(pair.labelled.origin) if pair.labelled else "",
        warnings=tuple(warnings),
        lacks=pair.lacks,
        first=lambda: _first(pair),
        looked_into=pair.inspected_from,
        explorer=lambda: live(pair),
        explorer_name="both networks",
    )
    return build(study, out=out, progress=request.progress).result


def open_pair(request: PairRequest) -> tuple[Pair, list[str]]:
    """Everything that the user named, opened, with warnings; whatever is refused is refused here."""
    folder, painted = open_labelled_folder(request.data)
    named = {"folder_classes": folder_classes(request.data), **request.overrides}
    sources = [open_checkpoint(given, seed=request.seed, overrides=named) for given in (request.first, request.second)]
    a, b = (source.checkpoint for source in sources)
    require_alike(a.architecture, b.architecture)
    scored = not lacks_of({"A": a, "B": b})
    places = shared_classes(a, b, folder) if scored else {}
    models = [class_network(checkpoint).to(request.device) for checkpoint in (a, b)]
    gigamacs = sum(row.macs for model in models for row in geometry(model)) / 1e9
    chosen = preset_for(request.preset, gigamacs)
    limit = max(16, min(chosen.evaluated, int(chosen.gigamacs / max(gigamacs, 1e-9))))
    pictures = inspected = None
    warnings: list[str] = []
    more: list[str] = []
    if scored:
        pictures, warnings = load_labelled(a, b, places, folder, painted=painted, limit=limit, seed=request.seed)
        inspected, more = load_given(a, b, request.images, chosen)
    elif request.images is not None or request.data is not None:
        warnings = [UNUSED]
    names = [source.title for source in sources]
    if names[0] == names[1] and sources[0].sha256 != sources[1].sha256:  # two runs leave two files of one name
        names = [f"{name} ({source.sha256[:6]})" for name, source in zip(names, sources, strict=True)]
    networks = []
    for number, (letter, column) in enumerate(zip("AB", class_columns(places), strict=True)):
        shown = pictures or inspected
        batch = None if shown is None else (shown.a, shown.b)[number]
        if batch is not None and batch.labels is not None:
            batch = replace(batch, labels=column[batch.labels])  # its own numbers of the classes
        seen = examine(sources[number].checkpoint, models[number], batch, seed=request.seed)
        source = replace(sources[number], checkpoint=seen.checkpoint)
        networks.append(Network(letter, names[number], source, seen.model, column, seen.findings))
    classes = tuple(a.classes[index] for index in places)
    return Pair(networks[0], networks[1], classes, pictures, inspected, chosen, request.seed), [*warnings, *more]


def _first(pair: Pair) -> tuple[Finding, ...]:
    """What stands on top of either by its letter; accuracies are only compared where all its classes are shared."""
    found: list[Finding] = []
    for net, answers in zip((pair.a, pair.b), pair.answers or (None, None), strict=True):
        about = file_alarms(net.checkpoint)
        if answers is not None and len(net.columns) == len(net.checkpoint.classes):
            about = measured_alarms(net.checkpoint, int(answers.correct.sum()), len(answers.labels))
        found += [replace(one, text=f"{net.letter}: {one.text}") for one in (*about, *net.findings)]
    return tuple(found)


def _facts(pair: Pair) -> tuple[tuple[str, str], ...]:
    found = score(pair)
    if found is None:
        return facts(pair)
    shares = [100 * share for share in found.accuracies]
    return (
        *facts(pair),
        ("Pictures", f"{found.n:,}"),
        ("A right", f"{shares[0]:.1f} %"),
        ("B right", f"{shares[1]:.1f} %"),
        ("B minus A", f"{signed(100 * found.difference)} points"),
    )
