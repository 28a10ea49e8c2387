"""Mutated checkpoints of every kind: each ends in a right load or in one sentence, runs nothing, hangs nowhere, takes no gigabyte."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import faults
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vgg_viz.errors import InputRefused
from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import load

FEW, MANY, MOST_A_CHILD = 600, 5000, 625
# Files whose layout may say one thing and its values another; a load of these is not always possible or not always wrong.
NEVER_LOADED = {"NaN and infinity", "hostile pickles", "swapped shapes", "truncated", "no files"}


def opened(first: int, last: int, report: Path) -> list[dict[str, Any]]:
    """What became of the mutants `first` to `last` - 1, in a process of its own; one that dies is replaced behind what killed it."""
    rows: dict[int, dict[str, Any]] = {}
    while first < last:
        command = [sys.executable, "-W", "ignore", faults.__file__, str(first), str(last), str(report)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        for line in report.read_text(encoding="utf-8").splitlines() if report.exists() else []:
            row = json.loads(line)
            rows.setdefault(row["number"], {}).update(row)
        if done.returncode == 0:
            break
        assert max(rows, default=-1) >= first, done.stderr[
            -2000:
        ]  # it died before the first mutant: the child itself is broken
        first = max(rows) + 1
        rows[first - 1] |= {
            "outcome": "wrong",
            "said": f"the process ended with {done.returncode}: {done.stderr[-300:]}",
        }
    return list(rows.values())


@pytest.mark.parametrize("mutants", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_mutants_are_loaded_rightly_or_refused_in_a_sentence(mutants, tmp_path, capsys):
    parts = [(first, min(first + MOST_A_CHILD, mutants)) for first in range(0, mutants, MOST_A_CHILD)]
    rows = [row for first, last in parts for row in opened(first, last, tmp_path / f"{first}.jsonl")]
    counts = Counter((row["kind"], row["outcome"]) for row in rows)
    kinds = sorted({kind for kind, _ in counts})
    with capsys.disabled():
        print()
        for kind in kinds:
            print(f"  {kind:20} {counts[kind, 'loaded']:5} loaded {counts[kind, 'refused']:5} refused")
    wrong = [row for row in rows if row["outcome"] not in ("loaded", "refused")]
    assert wrong == []
    assert sorted(row["number"] for row in rows) == list(range(mutants))
    assert len(kinds) == len(faults.KINDS)
    assert {row["from"] for row in rows} == set(faults.ALL)
    # Neither all refused nor all loaded: the harness sees both.
    assert all(counts[kind, "refused"] > 0 for kind in kinds if kind != "bits of weights")
    assert all(counts[kind, "loaded"] > 0 for kind in kinds if kind not in NEVER_LOADED | {"zip bombs", "huge sizes"})
    assert all(counts[kind, "loaded"] == 0 for kind in NEVER_LOADED)


# ---------------------------------------------------------------- the harness itself


def test_the_few_mutants_meet_every_way_of_every_kind_in_every_container():
    containers = [(kind, *pair) for kind in faults.KINDS for pair in zip(kind.names, kind.ways, strict=True)]
    wanted = {(kind, name, way) for kind, name, ways in containers for way in range(ways)}
    assert {faults.planned(number) for number in range(FEW)} == wanted
    assert {kind.make for kind in faults.KINDS} == {made for made in vars(faults).values() if _makes_mutants(made)}
    shares = Counter(faults.planned(number)[0] for number in range(FEW))
    assert shares == {kind: kind.share * FEW // 100 for kind in faults.KINDS}


def _makes_mutants(thing: object) -> bool:
    """Whether this is one of the mutations: a public function of (dice, sound, way)."""
    return callable(thing) and list(getattr(thing, "__annotations__", {})) == ["dice", "sound", "way", "return"]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound")
    return {name: (found, load(folder / found.main)) for name, found in faults.sound_files(folder).items()}


@pytest.mark.parametrize("name", faults.ALL)
def test_a_sound_file_is_loaded_rightly_and_a_changed_weight_is_seen(name, sound):
    case, found = faults.Mutant("sound", sound[name][0], {}), sound[name][1]
    assert faults.wrong_with(case, found, found) == ""
    weights = {key: value.clone() for key, value in found.weights.items()}
    weights["classifier.1.bias"][0] *= 1.000001
    changed = type(found)(found.architecture, found.classes, weights)
    assert "were flipped there" in faults.wrong_with(case, changed, found)
    first, last = next((a, b) for _, a, b in case.sound.places if b > a)
    flip = faults.Mutant("flip", case.sound, {}, ((case.sound.places[0][0], first, 1),))
    assert "1 were flipped" in faults.wrong_with(
        flip, found, found
    )  # a flip that a load does not show is no right load either
    assert last > first


def test_the_harness_sees_what_a_pickle_does_when_it_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"bait": faults.Called(os.mkdir, "owned")}, tmp_path / "bait.pt")
    torch.load(tmp_path / "bait.pt", weights_only=False)  # what this package never does
    assert (tmp_path / "owned").is_dir()


# ---------------------------------------------------------------- structured, by hypothesis

NAMES = st.sampled_from(
    [
        "module",
        "_orig_mod",
        "model",
        "net",
        "state_dict",
        "weights",
        "ema",
        "a.b",
        "",
        "é",
        "__proto__",
        "features",
        "0",
    ]
)
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=5))
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)
JUNK = st.dictionaries(NAMES, VALUES, max_size=3)


@settings(suppress_health_check=list(HealthCheck), derandomize=True)
@given(prefixes=st.lists(NAMES, max_size=4), wrappers=st.lists(st.tuples(NAMES, JUNK), max_size=5))
def test_weights_below_any_names_load_bit_equal_or_are_refused(prefixes, wrappers, tmp_path_factory):
    state: Any = faults.weights()
    for word in prefixes:
        state = {f"{word}.{key}": value for key, value in state.items()}
    for word, junk in wrappers:
        state = {**junk, word: state}
    path = tmp_path_factory.mktemp("nested") / "x.pt"
    torch.save(state, path)
    try:
        found = load(path)
        build(found)
    except InputRefused:
        return
    assert all(torch.equal(found.weights[key], value) for key, value in faults.weights().items())
    assert len(found.weights) == len(faults.weights())
