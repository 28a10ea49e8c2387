"""What a file holds: the format that it is, or the bare state dict in it that is a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vgg_viz.errors import CheckpointRefused, PlanUnclear
from vgg_viz.models.formats import FORMATS, ReadCheckpoint
from vgg_viz.models.formats.state_dict import part_only, read_state_dict
from vgg_viz.models.metadata import noted_chains
from vgg_viz.models.reparametrised import folded
from vgg_viz.models.state_dict_modules import harmless
from vgg_viz.models.unwrap_state_dict import StateDictCandidate, state_dict_candidates
from vgg_viz.models.vgg import title
from vgg_viz.models.wishes import Wishes
from vgg_viz.records import Evidence

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
    found, refused = _readings(_chosen(candidates, key), stored, wishes)
    known = [(one.candidate, one.reading) for one in found]
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


@dataclass(frozen=True, slots=True)
class _Known:
    """A set of tensors that is a network."""

    candidate: StateDictCandidate
    reading: ReadCheckpoint
    foreign: tuple[str, ...] = ()  # keys beside it that are no counters, losses or metrics


def _readings(
    candidates: list[StateDictCandidate], stored: object, wishes: Wishes
) -> tuple[list[_Known], CheckpointRefused | None]:
    """Every candidate that is a network, and the first refusal.

    A part of a set of tensors counts where the rest is nothing or other networks, or where the user asked for it.
    """
    refused: CheckpointRefused | None = None
    known: list[_Known] = []
    notes = noted_chains(stored)
    for candidate in candidates:
        if any(not one.foreign and _holds(one.candidate, candidate) for one in known):
            continue  # the same tensors, seen from further in
        try:
            weights, sentences = folded(candidate.weights)
            reading = read_state_dict(weights, wishes, notes)
        except CheckpointRefused as error:
            refused = refused or error
            continue
        if reading is not None:
            foreign = tuple(key for key, value in candidate.others.items() if not harmless(key, value))
            known.append(
                _Known(candidate, replace(reading, evidence=(*map(Evidence, sentences), *reading.evidence)), foreign)
            )
    if wishes.key is not None:
        return [_as_asked(one) for one in known], refused
    whole = [one for one in known if not one.foreign or _beside_networks(one, known)]
    part = next((one for one in known if one.foreign and one.reading.architecture.num_classes), None)
    if not whole and part and refused and not isinstance(refused, PlanUnclear):
        key = part.candidate.place[:60]
        refused = CheckpointRefused(
            f"{refused} To read the part under {key!r} alone, which is then another network, give --key {key}."
        )
    return whole, refused


def _holds(one: StateDictCandidate, other: StateDictCandidate) -> bool:
    mine = {id(value) for value in one.weights.values()}
    return all(id(value) in mine for value in other.weights.values())


def _beside_networks(one: _Known, known: Sequence[_Known]) -> bool:
    """Whether all that stands beside it in its set of tensors are other whole networks: a teacher beside its student."""
    prefixes = [
        other.candidate.prefix
        for other in known
        if other.candidate.prefix and other is not one and other.reading.architecture.num_classes
    ]
    return one.reading.architecture.num_classes > 0 and all(key.startswith(tuple(prefixes)) for key in one.foreign)


def _as_asked(one: _Known) -> _Known:
    if not one.foreign:
        return one
    return replace(one, reading=part_only(one.reading, one.candidate.place, one.foreign))


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
