"""Checkpoint formats, one file each: what a training script wrote, recognised and translated.

Two kinds, both functions that return None for what is not of their kind:

- `@checkpoint_format`: `(stored) -> Reading | None` gets all that the file held, for formats that are a file of their own.
- `@state_dict_format`: `(weights) -> Reading | None` gets one bare state dict, for conventions of naming layers. Wrappers, prefixes,
  averages and reparametrisations are taken off before (`models/unwrap_state_dict.py`, `models/reparametrised.py`): a format
  never sees them.

They are asked in the order of their file names; a newcomer adds a file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from vgg_viz.errors import CheckpointRefused
from vgg_viz.models.reparametrised import folded
from vgg_viz.models.unwrap_state_dict import StateDictCandidate, state_dict_candidates
from vgg_viz.models.vgg import title
from vgg_viz.models.wishes import Wishes
from vgg_viz.records import Architecture, Epoch, Evidence, RecordedAccuracy, Specimen
from vgg_viz.registry import Registry


@dataclass(frozen=True, slots=True)
class ReadCheckpoint:
    """What a format made of a file.

    Attributes:
        evidence: What was read or inferred, and from what. A guess is dropped when the user sets all options that
            settle it.
        alternatives: What else would fit.
        fits: Other architectures that the same weights fit (padding, image side), the likelier first.
        slides: Above the usual side the classifier slides over the map, as in the dense form.
        named: Whether somebody named the classes.
        accuracy: That the file says the network had.
    """

    format: str
    architecture: Architecture
    weights: Mapping[str, Tensor]
    classes: tuple[str, ...] = ()
    history: tuple[Epoch, ...] = ()
    specimens: tuple[Specimen, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    alternatives: tuple[Evidence, ...] = ()
    ignored_keys: tuple[str, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    fits: tuple[Architecture, ...] = ()
    slides: bool = False
    named: bool = True
    accuracy: RecordedAccuracy | None = None


Format = Callable[[object], ReadCheckpoint | None]
StateDictFormat = Callable[[Mapping[str, Tensor]], ReadCheckpoint | None]
FORMATS: Registry[Format] = Registry("checkpoint format", fill=__name__)
STATE_DICTS: Registry[StateDictFormat] = Registry("state-dict format", fill=__name__)
LAST: Registry[StateDictFormat] = Registry("state-dict format", fill=__name__)


def checkpoint_format(name: str) -> Callable[[Format], Format]:
    """Register a format of whole files under `name`."""

    def register(function: Format) -> Format:
        return FORMATS.add(name, function)

    return register


def state_dict_format(name: str, *, last: bool = False) -> Callable[[StateDictFormat], StateDictFormat]:
    """Register a convention of state-dict keys under `name`; `last` is asked only where no other knows any set of the file."""

    def register(function: StateDictFormat) -> StateDictFormat:
        return (LAST if last else STATE_DICTS).add(name, function)

    return register


NOTHING = Wishes()


def recognise(stored: object, wishes: Wishes = NOTHING) -> ReadCheckpoint | None:
    """What the first format that knows it made of what was stored, or None.

    Args:
        stored: All that the file held.
        wishes: Which weights: `key` as `StateDictCandidate.place` says it, where a file holds both an average and raw ones
            the average; which chain and which head.

    Raises:
        CheckpointRefused: What is asked for is not there, or what is there is nearly a VGG.
    """
    key, weights = wishes.key, wishes.weights
    for name, read in FORMATS.items():
        reading = read(stored)
        if reading is not None:
            if key is not None or weights == "ema":
                raise CheckpointRefused(
                    f"a file of the format {name} holds one set of weights; leave --key and --weights out."
                )
            if wishes.plan is not None or wishes.head is not None:
                raise CheckpointRefused(
                    f"a file of the format {name} says itself what its layers are: {reading.architecture.plan}; "
                    "leave --plan and --head out."
                )
            return reading
    candidates = state_dict_candidates(stored)
    known, refused = _readings(_chosen(candidates, key))
    if not known:
        if refused is not None:
            raise refused
        if key is not None and candidates:
            raise CheckpointRefused(
                f"there is no VGG under the key {key[:60]!r}; the file holds tensors at {_places(candidates)}."
            )
        return None
    usable = [
        (candidate, reading)
        for candidate, reading in known
        if weights is None or candidate.averaged == (weights == "ema")
    ]
    if not usable:
        there = "averaged (EMA or SWA)" if weights == "raw" else "raw"
        raise CheckpointRefused(
            f"--weights {weights} came, but the file's only weights are the {there} ones at {_places([at for at, _ in known])}; "
            "leave --weights out."
        )
    chosen, reading = usable[0]
    rest = [pair for pair in known if pair[0] is not chosen]
    sentences = [*chosen.evidence, *_about_averages(chosen, [candidate for candidate, _ in rest])]
    return replace(
        reading,
        evidence=(*map(Evidence, sentences), *reading.evidence),
        alternatives=(
            *(_alternative(chosen, candidate, other) for candidate, other in rest[:6]),
            *reading.alternatives,
        ),
        ignored_keys=(*reading.ignored_keys, *chosen.others),
    )


def _readings(
    candidates: list[StateDictCandidate],
) -> tuple[list[tuple[StateDictCandidate, ReadCheckpoint]], CheckpointRefused | None]:
    """Every candidate that a format knows, and the first refusal."""
    refused: CheckpointRefused | None = None
    for formats in (STATE_DICTS, LAST):
        known: list[tuple[StateDictCandidate, ReadCheckpoint]] = []
        for candidate in candidates:
            if formats is LAST and any(candidate.place.startswith(before.place) for before, _ in known):
                continue  # the same tensors, seen from further in
            try:
                weights, sentences = folded(candidate.weights)
                reading = next((made for _, read in formats.items() if (made := read(weights)) is not None), None)
            except CheckpointRefused as error:
                refused = refused or error
                continue
            if reading is not None:
                known.append((candidate, replace(reading, evidence=(*map(Evidence, sentences), *reading.evidence))))
        if known:
            return known, None
        if refused is not None:
            return [], refused
    return [], None


def _chosen(candidates: list[StateDictCandidate], key: str | None) -> list[StateDictCandidate]:
    """The candidates at `key`: that place itself, else places that begin or end with it."""
    if key is None:
        return candidates
    exact = [candidate for candidate in candidates if candidate.place == key]
    return exact or [
        candidate
        for candidate in candidates
        if candidate.place.startswith(f"{key}.") or candidate.place.endswith(f".{key}")
    ]


def _about_averages(chosen: StateDictCandidate, others: list[StateDictCandidate]) -> list[str]:
    if not chosen.averaged:
        return []
    raw = next((candidate.place for candidate in others if not candidate.averaged), None)
    beside = f"the raw ones are at {_shown(raw)} (--weights raw)" if raw is not None else "the file holds no raw ones"
    return [f"These are averaged weights (EMA or SWA); {beside}."]


def _alternative(chosen: StateDictCandidate, candidate: StateDictCandidate, reading: ReadCheckpoint) -> Evidence:
    kind = "averaged" if candidate.averaged else "raw"
    how = (
        f"--key {candidate.place}"
        if candidate.averaged == chosen.averaged and candidate.place
        else f"--weights {'ema' if candidate.averaged else 'raw'}"
    )
    return Evidence(
        f"The file also holds {kind} weights of {title(reading.architecture)} at {_shown(candidate.place)} ({how[:80]})."
    )


def _places(candidates: list[StateDictCandidate]) -> str:
    places = list(dict.fromkeys(_shown(candidate.place) for candidate in candidates))
    return ", ".join(places[:6]) + (", ..." if len(places) > 6 else "")


def _shown(place: str) -> str:
    return repr(place if len(place) <= 60 else f"{place[:57]}...") if place else "its top"
