"""From two checkpoints to one page that compares them on the same pictures."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from vgg_viz.gallery.build import GalleryResult, Study, build
from vgg_viz.gallery.folder import folder_name
from vgg_viz.gallery.index import require_index_place
from vgg_viz.gallery.make_section import Progress
from vgg_viz.models.build import build as network
from vgg_viz.models.geometry import geometry
from vgg_viz.sections.compare.live import live
from vgg_viz.sections.compare.verdict import facts, headline, score, signed
from vgg_viz.studies.inputs import folder_classes, phrase
from vgg_viz.studies.opening import opened as opened_source
from vgg_viz.studies.pair import Network, Pair
from vgg_viz.studies.pair_inputs import columns, given, labelled, opened, shared_classes
from vgg_viz.studies.preset import preset_for


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
) -> GalleryResult:
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
    a, b = pair.a, pair.b
    study = Study(
        "comparison",
        pair,
        f"{folder_name(a.source.stem)}-vs-{folder_name(b.source.stem)}",
        f"{a.name} and {b.name}",
        f"A: {a.name}, {a.title}; B: {b.name}, {b.title}; {len(pair.classes):,} shared classes",
        {"A": a.source, "B": b.source},
        pair.preset,
        seed,
        str(device),
        command=command,
        started=started,
        facts=lambda: _facts(pair),
        verdict=lambda made: [*headline(pair), *(finding for part in made for finding in part.findings)],
        classes=pair.classes,
        measured_on=phrase(pair.labelled.origin) if pair.labelled else "",
        warnings=tuple(warnings),
        looked_into=pair.looked_from,
        explorer=lambda: live(pair),
        explorer_name="both networks",
    )
    return build(study, out=Path(out), progress=progress).result


def _paired(
    first: str | os.PathLike[str],
    second: str | os.PathLike[str],
    images: str | os.PathLike[str] | None,
    data: str | os.PathLike[str] | None,
    preset: str,
    seed: int,
    device: str | torch.device,
    overrides: Mapping[str, Any],
) -> tuple[Pair, list[str]]:
    """Everything that the user named, opened; whatever is refused is refused here."""
    folder, painted = opened(data)
    named = {"folder_classes": folder_classes(data), **overrides}
    sources = [opened_source(given, seed=seed, overrides=named) for given in (first, second)]
    a, b = (source.checkpoint for source in sources)
    places = shared_classes(a, b, folder)
    models = [network(checkpoint).to(device) for checkpoint in (a, b)]
    gigamacs = sum(row.macs for model in models for row in geometry(model)) / 1e9
    chosen = preset_for(preset, gigamacs)
    limit = max(16, min(chosen.evaluated, int(chosen.gigamacs / max(gigamacs, 1e-9))))
    pictures, warnings = labelled(a, b, places, folder, painted=painted, limit=limit, seed=seed)
    looked, more = given(a, b, images, chosen)
    names = [source.title for source in sources]
    if names[0] == names[1] and sources[0].sha256 != sources[1].sha256:  # two runs leave two files of one name
        names = [f"{name} ({source.sha256[:6]})" for name, source in zip(names, sources, strict=True)]
    networks = [
        Network(letter, name, source, model, column)
        for letter, name, source, model, column in zip("AB", names, sources, models, columns(places), strict=True)
    ]
    classes = tuple(a.classes[index] for index in places)
    return Pair(networks[0], networks[1], classes, pictures, looked, chosen, seed), [*warnings, *more]


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
