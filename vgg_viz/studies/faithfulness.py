"""The methods of attribution tested on the checkpoint of a report; what came of it is kept beside finished maps."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from vgg_viz.atomic import whole_file
from vgg_viz.attribution import Options, methods
from vgg_viz.attribution.layers import default_layer
from vgg_viz.attribution.single_pass import SHARED
from vgg_viz.errors import MapRefused
from vgg_viz.faithfulness.deletion import SHARES
from vgg_viz.faithfulness.evaluate import evaluate_methods
from vgg_viz.faithfulness.records import FaithfulnessRequest, FaithfulnessResult
from vgg_viz.faithfulness.verdict import FEWEST
from vgg_viz.plain_json import json_text, plain
from vgg_viz.records import Attribution, Batch
from vgg_viz.safe_reading import read_json
from vgg_viz.studies.answers import select_images
from vgg_viz.studies.map_cache import TESTS_FILE, options_of
from vgg_viz.studies.preset import LARGE_GIGAMACS
from vgg_viz.studies.saved_maps import pixels_of
from vgg_viz.studies.subject import Inspected, Subject

TRIED, COMPARED = 16, 8  # pictures on which methods are put to the test, and those of them that get every check
# Passes of the network that one method may spend on either kind of question; "full" does not bound those of a small network.
PASSES = 2600
# The same for a large network in any preset but "full". A pass of VGG16 takes a fifth of a second of two cores: this is 12 of them a
# method of a pass or two, and none of a map of 30 passes.
PASSES_OF_LARGE = 60
# And what it is asked less of: one level of the cascade, one draw of noise, one share of the tiles, neither ROAD nor grids.
SPARING: dict[str, Any] = {"levels": 1, "draws": 1, "shares": (0.0, 0.25, 1.0), "road": False, "grids": 0}
ORDER = ("passes", "weak", "fails")
TESTED = "tests of the methods"  # where a subject keeps what came of them


def faithfulness_results(subject: Subject, inspected: Inspected) -> tuple[FaithfulnessResult, ...]:
    """The methods put to the test on this checkpoint, the most credible first; nothing where the preset leaves that out."""
    return subject.once(TESTED, lambda: _results(subject, inspected))


def _results(subject: Subject, inspected: Inspected) -> tuple[FaithfulnessResult, ...]:
    if not subject.preset.trust or subject.outputs == "scores":  # there is no probability to watch
        return ()
    large = sum(row.macs for row in subject.geometry) / 1e9 >= LARGE_GIGAMACS
    full = subject.preset.name == "full"
    # Not the pictures looked into where there are others: half of those are mistakes, chosen for being so. Of a large network just
    # those, whose maps are made anyway.
    part, places = _part(inspected.batch, FEWEST) if large else _part(subject.inputs.labelled or inspected.batch, TRIED)
    extent: dict[str, Any] = {
        "compared": COMPARED,
        "most_passes": None if full and not large else PASSES,
        "levels": 5,
        "draws": 2,
    }
    if large:
        options = options_of(subject.preset, subject.seed, part.images.shape[-1], None)
        extent |= {"window": options.window, "stride": options.stride, "least": 0, "levels": 3, "draws": 1}
        extent |= {} if full else {**SPARING, "most_passes": PASSES_OF_LARGE}
    deadline = subject.maps.deadline

    def affords(names: Sequence[str]) -> bool:
        """Whether a report that must end in time has the time for these."""
        passes = sum(passes_of(subject.maps.passes(name, part.images.shape[-1]), len(part), extent) for name in names)
        return deadline is None or deadline.allows_trials([methods()[name].title for name in names], passes)

    def hold() -> tuple[FaithfulnessResult, ...]:
        limits = {name: value for name, value in extent.items() if name not in ("window", "stride")}
        request = FaithfulnessRequest(
            methods=subject.preset.methods,
            options=Options(
                seed=subject.seed,
                steps=subject.preset.steps,
                samples=subject.preset.samples,
                masks=subject.preset.masks,
                window=extent.get("window"),
                stride=extent.get("stride"),
            ),
            labels=part.labels,
            masks=part.masks,
            boxed=part.boxed,
            affords=affords if deadline else None,
            made=_made(subject, inspected, places) if large else None,
            **limits,
        )
        return evaluate_methods(subject.model, part.images.to(subject.device), request)

    key = {
        "methods": subject.preset.methods,
        "seed": subject.seed,
        "steps": subject.preset.steps,
        "samples": subject.preset.samples,
        "random masks": subject.preset.masks,
        **extent,
        "labels": part.labels,
        "origin": subject.maps.facts(part),
        "masks": None if part.masks is None else pixels_of(part.masks),
        "boxed": None if part.boxed is None else part.boxed.tolist(),
    }
    return tuple(ranked(cached(subject.maps.folder, key, hold, whole=len(subject.preset.methods))))


def passes_of(cost: float, pictures: int, extent: Mapping[str, Any]) -> float:
    """Passes of the network that the tests of a method take, whose map costs `cost`; `extent` as fields of `FaithfulnessRequest`.

    Its maps (of all pictures, and of those that are compared for the runner-up, under noise and with random weights), and the
    pictures with parts gone or back in the order of the map and of its blur-matched control.
    """
    maps: int = pictures + min(pictures, extent["compared"]) * (extent["levels"] + extent["draws"] + 1)
    most: float | None = extent["most_passes"]
    apart: int = 4 * pictures * len(extent.get("shares", SHARES))
    return (cost * maps if most is None else min(cost * maps, 2 * most)) + apart


def _part(batch: Batch, most: int) -> tuple[Batch, list[int]]:
    """The first `most` pictures, those whose object is known where some are, and their places in the batch.

    Where too few are known, no place is measured against them.
    """
    known = batch.known.nonzero()[:, 0].tolist()
    if len(known) >= min(FEWEST, len(batch)):
        return select_images(batch, known[:most]), known[:most]
    places = list(range(min(most, len(batch))))
    return replace(select_images(batch, places), masks=None, boxed=None), places


def _made(subject: Subject, inspected: Inspected, places: list[int]) -> Callable[[str], Attribution | None]:
    """The maps that the report shows of some of the pictures looked into, for those methods that are tried as they are shown."""
    layer = default_layer(subject.model, inspected.batch.images)
    classes = inspected.logits.argsort(dim=1, descending=True, stable=True)[:, 0]

    def made(name: str) -> Attribution | None:
        if name in SHARED or "relu" in methods()[name].reads:
            return None  # tried without their ReLU
        found = subject.maps.attribute(inspected.batch, name, classes, target="predicted", layer=layer)
        residual = None if found.residual is None else found.residual[places]
        return replace(found, values=found.values[places], targets=found.targets[places], residual=residual)

    return made


def ranked(found: Sequence[FaithfulnessResult]) -> list[FaithfulnessResult]:
    """The most credible first: by verdict, then by how many checks failed, then by how many were weak; else as they came."""

    def doubts(one: FaithfulnessResult) -> tuple[int, int, int]:
        verdicts = [check.verdict for check in one.checks]
        return ORDER.index(one.verdict), verdicts.count("fails"), verdicts.count("weak")

    return sorted(found, key=doubts)


def cached(
    folder: Path | None,
    key: Mapping[str, Any],
    hold: Callable[[], tuple[FaithfulnessResult, ...]],
    *,
    whole: int | None = None,
) -> tuple[FaithfulnessResult, ...]:
    """The trials as `folder` tells them, where they were held under the very same `key`; else held now, and written down.

    key     all that they depend on, as plain values
    folder  None: nothing is kept
    whole   how many there should be: where a budget left some out they are not written down, for the next report may have the time
    raises  OutputRefused when the disk says no
    """
    wanted = plain(key)
    if folder is not None and (folder / TESTS_FILE).exists():
        try:
            told = read_json(folder / TESTS_FILE, {"key": (dict,), "found": (list,)})
            if told["key"] == wanted:
                return tuple(decoded(FaithfulnessResult, one) for one in told["found"])
        except (MapRefused, ValueError):
            pass  # damaged, or of another version: held again and written over
    found = hold()
    if folder is not None and (whole is None or len(found) == whole):
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(folder / TESTS_FILE) as temporary:
            temporary.write_text(json_text({"key": wanted, "found": [encoded(one) for one in found]}), encoding="utf-8")
    return found


def encoded(value: Any) -> Any:
    """A record as JSON can hold it, to the bit: dataclasses by field, and numbers that are none as their names."""
    if is_dataclass(value):
        return {field.name: encoded(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): encoded(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [encoded(item) for item in value]
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else value


def decoded(kind: Any, told: Any) -> Any:
    """What `encoded` wrote, as the type `kind`; raises ValueError for anything else, for a stranger may have written it."""
    parts = get_args(kind)
    shape = get_origin(kind)
    if is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind)
        if isinstance(told, dict) and set(told) == set(hints):
            return kind(**{name: decoded(hint, told[name]) for name, hint in hints.items()})
    elif shape in (Union, UnionType):
        (inner,) = (part for part in parts if part is not NoneType)
        return None if told is None else decoded(inner, told)
    elif shape is Literal:
        if told in parts:
            return told
    elif shape is tuple and isinstance(told, list):
        if len(parts) == 2 and parts[1] is Ellipsis:
            return tuple(decoded(parts[0], item) for item in told)
        if len(parts) == len(told):
            return tuple(decoded(part, item) for part, item in zip(parts, told, strict=True))
    elif isinstance(shape, type) and issubclass(shape, Mapping) and isinstance(told, dict):
        return {name: decoded(parts[1], item) for name, item in told.items()}
    elif kind is float and (told in ("nan", "inf", "-inf") or (type(told) in (int, float))):
        return float(told)
    elif kind in (str, int, bool) and type(told) is kind:
        return told
    raise ValueError(f"no {getattr(kind, '__name__', kind)}: {json.dumps(told)[:60]}")
