"""A report that was interrupted goes on from its finished maps, and ends where an uninterrupted one ends: byte for byte."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save as packed
from test_report import EPOCH, trained

from vgg_viz.api import report
from vgg_viz.cli import main
from vgg_viz.faithfulness.verdict import Check
from vgg_viz.gallery.sections import Section, sections_of
from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import save
from vgg_viz.records import Batch, Caption, Exhibit
from vgg_viz.sections.report import attention
from vgg_viz.studies import map_cache
from vgg_viz.studies.faithfulness import decoded
from vgg_viz.studies.map_cache import STALE, MapCache, resumable
from vgg_viz.studies.preset import PRESETS, preset_for
from vgg_viz.studies.saved_maps import KEY, SUFFIX, read


@pytest.fixture(scope="module", autouse=True)
def attention_alone():
    """Reports of one section, on one thread: the others make no maps."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "vgg_viz.gallery.build.sections_of",
            lambda kind: [one for one in sections_of(kind) if one.slug == "attention"],
        )
        patch.setattr("vgg_viz.gallery.build._explorer", lambda *_: (None, "left out"))
        patch.setenv("SOURCE_DATE_EPOCH", EPOCH)
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.pt"
    save(path, trained(specimens=6))
    return path


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory) -> dict[str, bytes]:
    """The files of a report that nobody interrupted."""
    return files(report(source, out=tmp_path_factory.mktemp("whole"), preset="quick").index.parent)


def files(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()
    }


def interrupted(monkeypatch, after: int) -> None:
    """Ctrl-C comes when `after` maps are written."""
    written = []

    def failing(*arguments, **options):
        if len(written) >= after:
            raise KeyboardInterrupt
        written.append(plain_write(*arguments, **options))
        return written[-1]

    plain_write = map_cache.write
    monkeypatch.setattr(map_cache, "write", failing)


def counted(monkeypatch) -> list[str]:
    """The methods that are really computed from now on."""
    made: list[str] = []
    attribute, bundle = map_cache.attribute, map_cache.gradient_bundle
    monkeypatch.setattr(map_cache, "attribute", lambda *a, **o: (made.append(o["method"]), attribute(*a, **o))[1])
    monkeypatch.setattr(map_cache, "gradient_bundle", lambda *a, **o: (made.append("shared"), bundle(*a, **o))[1])
    return made


def test_a_report_killed_at_any_map_goes_on_and_ends_with_the_same_bytes(source, whole, tmp_path, monkeypatch, capsys):
    sets = sum(name.startswith("data/map-") for name in whole)
    assert sets >= 10
    after = random.randrange(1, sets)
    line = ["report", str(source), "--out", str(tmp_path), "--preset", "quick"]
    with monkeypatch.context() as patch:
        interrupted(patch, after)
        assert main(line) == 130
    said = capsys.readouterr().err
    assert f"{after} finished set" in said
    assert "the same command goes on from there" in said
    assert [entry.name for entry in tmp_path.iterdir()] == [".tiny.maps"]
    kept = sorted(tmp_path.glob(".tiny.maps/*/*.safetensors"))
    assert len(kept) == after
    assert all(read(path) for path in kept)

    made = counted(monkeypatch)
    assert main(line) == 0
    assert f"{after} of {sets} sets of maps were read" in capsys.readouterr().err
    assert len(made) <= sets - after
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["index.html", "tiny"]
    again = files(tmp_path / "tiny")
    assert again.keys() == whole.keys()
    # The command is told on the page and in the manifest; all else is the same.
    assert [name for name in whole if again[name] != whole[name]] == ["index.html", "manifest.json"]


@pytest.fixture
def unpainted(monkeypatch):
    """Reports whose only section makes the same maps and paints nothing."""

    def make(subject):
        maps = attention.compute(subject, subject.inspected)
        caption = Caption("what is seen", "how it is read", "what it cannot say")
        yield Exhibit("plain", "Plain", caption, "An alternative text.", numbers={"layer": maps.chosen_layer})

    monkeypatch.setattr(
        "vgg_viz.gallery.build.sections_of", lambda kind: [Section(kind, "plain", "Plain", "A lead.", 1, make)]
    )


def left_by(source, out, monkeypatch, after=4, **options):
    with monkeypatch.context() as patch:
        interrupted(patch, after)
        with pytest.raises(KeyboardInterrupt):
            report(source, out=out, preset="quick", **options)
    return sorted(out.glob(".tiny.maps/*/*.safetensors"))


def test_nothing_is_computed_twice_and_nothing_is_read_that_is_not_there(unpainted, source, tmp_path, monkeypatch):
    left_by(source, tmp_path, monkeypatch, after=10)
    made = counted(monkeypatch)
    result = report(source, out=tmp_path, preset="quick")
    assert "10 of" in result.notes[0]
    assert "saliency" not in made
    assert report(source, out=tmp_path / "other", preset="quick").notes == ()


def edit(path: Path, **changes) -> None:
    with safe_open(path, framework="pt") as file:
        facts, arrays = json.loads(file.metadata()[KEY]), {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    for name, value in changes.items():
        place = facts["origin"] if name in facts["origin"] else facts
        place[name] = value
    path.write_bytes(packed(arrays, metadata={KEY: json.dumps(facts)}))


@pytest.mark.parametrize(
    "changes",
    [
        {"checkpoint": "0" * 64},
        {"network": "0" * 64},
        {"pixels": "0" * 64},
        {"versions": {"torch": "1.0"}},
        {"device": "cuda"},
        {"target": "second"},
        {"settings": {"steps": 7}},
        {"sha256": "0" * 64},
        {"unit": "<script>alert(1)</script>"},
        {"passes": -7},
        {"unit_of": "conv1_1:0"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_maps_that_are_stale_or_foreign_are_never_used(changes, unpainted, source, whole, tmp_path, monkeypatch):
    for path in left_by(source, tmp_path, monkeypatch):
        edit(path, **changes)
    result = report(source, out=tmp_path, preset="quick")
    assert result.notes == ()
    again = files(result.index.parent)
    assert all(again[name] == whole[name] for name in whole if name.startswith("data/map-"))


def test_damaged_maps_are_computed_again(unpainted, source, whole, tmp_path, monkeypatch):
    dice = random.Random(5)
    for path in left_by(source, tmp_path, monkeypatch, after=6):
        content = path.read_bytes()
        path.write_bytes(content[: dice.randrange(len(content))])
    result = report(source, out=tmp_path, preset="quick")
    assert result.notes == ()
    assert all(
        content == whole[name] for name, content in files(result.index.parent).items() if name.startswith("data/map-")
    )


def test_a_report_with_another_seed_or_preset_reads_nothing_and_leaves_the_others_maps(
    unpainted, source, tmp_path, monkeypatch
):
    left_by(source, tmp_path, monkeypatch)
    assert report(source, out=tmp_path, preset="quick", seed=3).notes == ()
    assert len(list(tmp_path.glob(".tiny.maps/*/*.safetensors"))) == 4
    assert report(source, out=tmp_path, preset="quick").notes != ()
    assert not list(tmp_path.glob(".tiny.maps"))


def test_the_page_over_all_galleries_ignores_what_an_interrupted_report_left(unpainted, source, tmp_path, monkeypatch):
    left_by(source, tmp_path, monkeypatch)
    other = source.with_name("other.pt")
    other.write_bytes(source.read_bytes())
    assert (
        ".tiny.maps"
        not in report(other, out=tmp_path, preset="quick").index.parent.parent.joinpath("index.html").read_text()
    )


def test_a_folder_that_vanishes_under_a_report_costs_nothing(unpainted, source, whole, tmp_path, monkeypatch):
    """As when a second report of the same checkpoint ends first."""
    import shutil

    plain_write = map_cache.write

    def vanishing(folder, *arguments, **options):
        name = plain_write(folder, *arguments, **options)
        if ".maps" in str(folder):
            shutil.rmtree(folder.parent)
        return name

    monkeypatch.setattr(map_cache, "write", vanishing)
    again = files(report(source, out=tmp_path, preset="quick").index.parent)
    assert all(again[name] == whole[name] for name in whole if name.startswith("data/map-"))


def test_where_finished_maps_cannot_be_kept_the_report_is_made_all_the_same(
    unpainted, source, whole, tmp_path, monkeypatch
):
    """As when something else lies in their place."""
    for path in left_by(source, tmp_path, monkeypatch, after=2):
        path.unlink()
        path.mkdir()
    again = files(report(source, out=tmp_path, preset="quick").index.parent)
    assert all(again[name] == whole[name] for name in whole if name.startswith("data/map-"))


# ---------------------------------------------------------------- the folder itself


def test_the_folder_goes_when_all_is_well_and_stays_with_finished_maps_only(tmp_path):
    with resumable(tmp_path / "tiny", settings=1) as mine:
        mine.mkdir(parents=True)
        (mine / f"map-a{SUFFIX}").write_bytes(b"")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(KeyboardInterrupt), resumable(tmp_path / "tiny", settings=1):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []

    def ended_after_one_map() -> None:
        with resumable(tmp_path / "tiny", settings=1) as mine:
            mine.mkdir(parents=True)
            (mine / f"map-a{SUFFIX}").write_bytes(b"")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as ended:
        ended_after_one_map()
    assert ended.value.__notes__ == ["1 finished set of maps is kept: the same command goes on from there."]
    assert len(list(tmp_path.glob(".tiny.maps/*/map-a.safetensors"))) == 1


def test_two_reports_have_a_folder_each_and_old_leftovers_go(tmp_path):
    with resumable(tmp_path / "tiny", settings="a") as first, resumable(tmp_path / "tiny", settings="b") as second:
        assert first != second
        for mine in (first, second):
            mine.mkdir(parents=True)
        old = first.parent / "left"
        old.mkdir()
        os.utime(old, (time.time() - 2 * STALE, time.time() - 2 * STALE))
    assert list(tmp_path.iterdir()) == []


def test_a_map_in_the_cache_is_computed_once(monkeypatch):
    made = counted(monkeypatch)
    model = build("tiny_vgg", seed=1, image_side=32, width=0.4, num_classes=4)
    batch = Batch(torch.rand(2, 3, 32, 32), None, ("a", "b"))
    one = MapCache(model, ("a", "b", "c", "d"), PRESETS["quick"], 0)
    classes = torch.tensor([1, 2])
    first = one.attribute(batch, "guided_backprop", classes, target="predicted")
    assert one.attribute(batch, "guided_backprop", classes, target="predicted") is first
    one.attribute(batch, "guided_backprop", classes + 1, target="second")
    one.attribute(replace(batch, images=batch.images.flip(0)), "guided_backprop", classes, target="predicted")
    assert made == ["guided_backprop"] * 3
    shared = one.shared(batch, classes, target="predicted", layers=["relu1_1", "relu2_2"], also=["saliency"])
    assert set(shared) == {("saliency", None), ("grad_cam", "relu1_1"), ("grad_cam", "relu2_2")}
    one.shared(batch, classes, target="predicted", layers=["relu2_2"])
    assert made[3:] == ["shared"]
    assert shared["grad_cam", "relu2_2"].settings == {"layer": "relu2_2", "relu": True}
    assert shared["saliency", None].seconds > 0


def test_trials_that_were_held_are_not_held_again_and_come_back_to_the_bit(unpainted, source, tmp_path, monkeypatch):
    from vgg_viz.studies import faithfulness as trials

    held, known = [], []
    evaluate_methods = trials.evaluate_methods
    monkeypatch.setattr(trials, "evaluate_methods", lambda *a: (held.append(a[2].methods), evaluate_methods(*a))[1])
    monkeypatch.setattr(trials, "TRIED", 4)
    monkeypatch.setattr(trials, "COMPARED", 2)

    def make(subject):
        subject.preset = replace(
            subject.preset, trust=True, methods=("grad_cam", "saliency", "integrated_gradients"), steps=4
        )
        known.append(trials.faithfulness_results(subject, subject.inspected))
        attention.compute(subject, subject.inspected)
        yield from ()

    monkeypatch.setattr(
        "vgg_viz.gallery.build.sections_of", lambda kind: [Section(kind, "plain", "Plain", "A lead.", 1, make)]
    )
    with monkeypatch.context() as patch:
        interrupted(patch, 0)
        with pytest.raises(KeyboardInterrupt) as ended:
            report(source, out=tmp_path, preset="quick")
    assert ended.value.__notes__ == ["the trials are kept: the same command goes on from there."]
    (kept,) = tmp_path.glob(".tiny.maps/*/trials.json")
    text = kept.read_text(encoding="utf-8")
    report(source, out=tmp_path, preset="quick")
    assert held == [("grad_cam", "saliency", "integrated_gradients")]
    assert repr(known[0]) == repr(known[1])
    assert not list(tmp_path.glob(".tiny.maps"))
    swaps = (('"verdict": "', '"verdict": "x'), ('"seed": 0', '"seed": 1'))
    for damage in (text[:200], *(text.replace(*swap) for swap in swaps)):
        assert damage != text
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(damage, encoding="utf-8")
        before = len(held)
        report(source, out=tmp_path, preset="quick")
        assert len(held) == before + 1


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (float, "1"),
        (float, True),
        (int, 1.5),
        (int, True),
        (str, 5),
        (float | None, "x"),
        (tuple[float, float], [1.0]),
        (tuple[str, ...], "text"),
        (Literal["a", "b"], "c"),
        (Mapping[str, float], {"a": "b"}),
        (Mapping[str, float], []),
        (Check, {"criterion": "x"}),
        (Check, []),
    ],
    ids=str,
)
def test_what_a_stranger_wrote_in_the_place_of_trials_is_no_record(kind, told):
    with pytest.raises(ValueError, match="no "):
        decoded(kind, told)


def test_a_map_of_every_method_is_found_again(tmp_path):
    """Whatever a method answers, its file must have the name under which it is looked for."""
    model = build("tiny_vgg", seed=1, image_side=32, width=0.4, num_classes=4)
    batch = Batch(torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(3)), None, ("a",))
    preset = replace(preset_for("full", 0.01), steps=2, samples=2)
    for name in preset.methods:
        if name == "rise":
            continue  # its masks cannot be fewer by a preset yet
        for known in (0, 1):
            one = MapCache(model, ("a", "b", "c", "d"), preset, 0, folder=tmp_path)
            one.attribute(batch, name, torch.tensor([1]), target="predicted", layer="relu2_2")
            assert one.read_back == known, name
