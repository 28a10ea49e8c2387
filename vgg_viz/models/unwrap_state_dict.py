"""Where in a file the weights lie: wrappers, prefixes and averaged copies taken off until nothing is left to take.

Training scripts wrap a state dict in others (`{"model": {"state_dict": ...}}`), put `module.` or `_orig_mod.` into its keys, keep
a running average of the weights beside the raw ones, or hold the network inside another one (`model.`, `student.`). Every set of
tensors that could be a network is a candidate; which of them is one, the formats say. Files are hostile: walks are bounded, cycles
end, and nothing is read but what containers hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

# Written into keys by DataParallel and DDP, torch.compile, FSDP, activation checkpointing: layers of nobody's network.
INFIXES = {
    "module": "DataParallel, DDP or AveragedModel",
    "_orig_mod": "torch.compile",
    "_fsdp_wrapped_module": "FSDP",
    "_checkpoint_wrapped_module": "activation checkpointing",
}
# Where weights usually lie, the likelier first; any other key is found too, after these.
WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "network",
    "weights",
    "params",
    "model_state",
    "checkpoint",
    "module",
)
AVERAGED = re.compile(r"(^|[._])(ema|swa|averaged?|shadow|polyak|moving_average)([._]|$)")
NO_WEIGHTS = re.compile(r"optim|lr_sched|scheduler|scaler|^rng|^gradients?$")
DEEPEST, MOST_CONTAINERS, MOST_CHILDREN, MOST_CANDIDATES, MOST_PREFIXES = 16, 5_000, 200_000, 32, 8


@dataclass(frozen=True, slots=True)
class StateDictCandidate:
    """One set of tensors under bare names.

    Attributes:
        place: How `--key` calls it: the keys to it and the prefix in it, joined by dots; "" is the file itself.
        averaged: True for a running average of the weights (EMA, SWA).
        evidence: One sentence for each thing that was taken off.
        others: Tensors beside it that do not belong to it.
        prefix: That was taken off its keys; "" where it is all that the place holds.
    """

    place: str
    weights: dict[str, Tensor]
    averaged: bool = False
    evidence: tuple[str, ...] = ()
    others: Mapping[str, Tensor] = field(default_factory=dict)
    prefix: str = ""


def state_dict_candidates(stored: object) -> list[StateDictCandidate]:
    """Every set of tensors that could be a network: averaged ones and the usual places first.

    Args:
        stored: What a file held; anything.
    """
    candidates = [stripped for path, tensors in _sets(stored) for stripped in _networks(path, tensors)]
    # Lightning's WeightAveraging keeps the average where the weights usually are.
    if isinstance(stored, Mapping) and "averaging_state" in stored and "current_model_state" in stored:
        candidates = [
            replace(candidate, averaged=True) if candidate.place.split(".")[0] == "state_dict" else candidate
            for candidate in candidates
        ]
    candidates += _shadows(stored, candidates)
    raw = [candidate for candidate in candidates if not candidate.averaged]
    candidates = [_with_statistics(candidate, raw) if candidate.averaged else candidate for candidate in candidates]
    return sorted(candidates, key=_rank)[:MOST_CANDIDATES]


def bags(stored: object) -> Iterator[tuple[tuple[str, ...], Mapping[Any, Any]]]:
    """Every mapping in what a file held, with the keys that lead to it; the nearest first. Attribute bags count as mappings."""
    waiting: list[tuple[tuple[str, ...], object]] = [((), stored)]
    seen: set[int] = set()
    for _ in range(MOST_CONTAINERS):
        if not waiting:
            return
        path, value = waiting.pop(0)
        if id(value) in seen:
            continue
        seen.add(id(value))
        inside = _opened(value)
        if isinstance(inside, Mapping):
            yield path, inside
        if len(path) < DEEPEST and inside is not None:
            children = inside.items() if isinstance(inside, Mapping) else enumerate(inside)
            room = MOST_CONTAINERS - len(waiting)
            deeper = [((*path, str(key)[:200]), child) for key, child in children if _opened(child) is not None]
            waiting += deeper[: max(0, room)]


def _opened(value: object) -> Mapping[Any, Any] | list[Any] | tuple[Any, ...] | None:
    """A container's inside, or None: what is too long to be settings or weights stays closed."""
    if type(value).__name__ in ("Namespace", "SimpleNamespace"):
        value = vars(value)
    if isinstance(value, Mapping | list | tuple) and len(value) <= MOST_CHILDREN:
        return value
    return None


# ---------------------------------------------------------------- sets of tensors


def _sets(stored: object) -> Iterator[tuple[tuple[str, ...], dict[str, Tensor]]]:
    for path, bag in bags(stored):
        if any(NO_WEIGHTS.search(key.lower()) for key in path):
            continue
        tensors = {key: value for key, value in bag.items() if isinstance(key, str) and isinstance(value, Tensor)}
        if any(value.ndim == 4 for value in tensors.values()):
            yield path, tensors


def _networks(path: tuple[str, ...], tensors: Mapping[str, Tensor]) -> Iterator[StateDictCandidate]:
    """The whole set without infixes, and what lies under each prefix that holds several convolutions."""
    bare, evidence = _without_infixes(tensors)
    where = [f"The weights were found under the key {_quoted('.'.join(path))}."] if path else []
    count = bare.pop("n_averaged", None)
    averaged = bool(AVERAGED.search(".".join(path).lower())) or count is not None
    if count is not None and count.numel() == 1:
        evidence.append(f"n_averaged says that the weights are the average of {int(count)} states (EMA or SWA).")
    whole = StateDictCandidate(".".join(path), bare, averaged, (*where, *evidence))
    yield whole
    for prefix in _prefixes(bare):
        inside = {key.removeprefix(prefix): value for key, value in bare.items() if key.startswith(prefix)}
        yield replace(
            whole,
            place=".".join((*path, prefix.removesuffix("."))),
            weights=inside,
            averaged=averaged or bool(AVERAGED.search(prefix.lower())),
            evidence=(*whole.evidence, f"The prefix {_quoted(prefix)} was taken off the keys."),
            others={key: value for key, value in bare.items() if not key.startswith(prefix)},
            prefix=prefix,
        )


def _without_infixes(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    bare: dict[str, Tensor] = {}
    met: dict[str, str] = {}
    for key, value in tensors.items():
        parts = key.split(".")
        kept = [part for part in parts if part not in INFIXES]
        met |= {part: INFIXES[part] for part in parts if part in INFIXES}
        bare[".".join(kept)] = value
    if len(bare) != len(tensors):  # the same network with and without an infix: two sets, told apart by their prefix
        return dict(tensors), []
    return bare, [
        f"{part}. was taken off the keys, wherever it stood; {maker} writes it." for part, maker in met.items()
    ]


def _prefixes(tensors: Mapping[str, Tensor]) -> list[str]:
    """Beginnings of keys, up to a dot, that at least two convolutions share; the shortest first."""
    counts: dict[str, int] = {}
    for key, value in tensors.items():
        if value.ndim == 4:
            end = -1
            for _ in range(MOST_PREFIXES):
                end = key.find(".", end + 1)
                if end < 0:
                    break
                counts[key[: end + 1]] = counts.get(key[: end + 1], 0) + 1
    shared = [prefix for prefix, count in counts.items() if count >= 2]
    return sorted(shared, key=lambda prefix: prefix.count("."))[:MOST_CANDIDATES]


# ---------------------------------------------------------------- averages


def _shadows(stored: object, found: list[StateDictCandidate]) -> list[StateDictCandidate]:
    """Averages kept as a bare list in the order of the parameters (torch-ema): named after raw weights of the same shapes."""
    made = []
    for path, bag in bags(stored):
        shadow = bag.get("shadow_params")
        if not isinstance(shadow, list | tuple) or not all(isinstance(value, Tensor) for value in shadow):
            continue
        for raw in found:
            names = [key for key in raw.weights if not _is_buffer(key)]
            if [raw.weights[key].shape for key in names] == [value.shape for value in shadow]:
                place = ".".join((*path, "shadow_params"))
                sentence = (
                    f"The averaged weights are the list {_quoted(place)}, named in the order of {_quoted(raw.place)}."
                )
                made.append(
                    replace(
                        raw,
                        place=place,
                        averaged=True,
                        evidence=(*raw.evidence[1:], sentence),
                        weights={**raw.weights, **dict(zip(names, shadow, strict=True))},
                    )
                )
                break
    return made


def _with_statistics(averaged: StateDictCandidate, raw: list[StateDictCandidate]) -> StateDictCandidate:
    """An average of parameters only, completed with the batch-norm statistics of the raw weights beside it."""
    if any(_is_buffer(key) for key in averaged.weights):
        return averaged
    for candidate in raw:
        buffers = {key: value for key, value in candidate.weights.items() if _is_buffer(key)}
        names = {key for key in candidate.weights if key not in buffers}
        if buffers and names <= set(averaged.weights):
            sentence = "The average holds no batch-norm statistics; those of the raw weights stand in."
            return replace(averaged, weights={**averaged.weights, **buffers}, evidence=(*averaged.evidence, sentence))
    return averaged


def _is_buffer(key: str) -> bool:
    return key.rpartition(".")[2] in ("running_mean", "running_var", "num_batches_tracked")


def _rank(one: StateDictCandidate) -> tuple[bool, int, int]:
    parts = one.place.split(".") if one.place else []
    usual = min((WRAPPERS.index(part) for part in parts if part in WRAPPERS), default=len(WRAPPERS) if parts else 0)
    return (not one.averaged, usual, len(parts))


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
