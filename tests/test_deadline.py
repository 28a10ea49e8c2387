"""A report that must end in time, under a clock that only the test moves: what is made, what is left out, and where that is said."""

from __future__ import annotations

import json
import math
import random
import time
from argparse import Namespace
from dataclasses import replace

import pytest
import torch
from loose_options import evidence
from test_report import trained

from vgg_viz.api import report
from vgg_viz.attribution import methods
from vgg_viz.attribution.single_pass import SHARED
from vgg_viz.cli import main
from vgg_viz.commands.output import print_result
from vgg_viz.errors import InputRefused
from vgg_viz.gallery import build as builder
from vgg_viz.gallery.sections import Section
from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import save
from vgg_viz.sections.report import attention
from vgg_viz.sections.report import report as gallery
from vgg_viz.studies import deadline as module
from vgg_viz.studies.deadline import (
    FIRST,
    LEAST_ANSWERS,
    MAPS,
    MARGIN,
    SHORT,
    TRIALS,
    WRITING,
    Deadline,
    deadline_of,
    seconds_of_a_pass,
)
from vgg_viz.studies.faithfulness import passes_of
from vgg_viz.studies.map_cache import MapCache
from vgg_viz.studies.preset import PRESETS, preset_for


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def ticking(model, clock, seconds):
    """A network whose every picture takes so long, forward.

    Listened to at its first layer: occlusion then asks about whole pictures, whose time this clock knows, and not about windows.
    """
    model.normalise.register_forward_hook(
        lambda module, given, said: setattr(clock, "now", clock.now + seconds * len(said))
    )
    return model


# ---------------------------------------------------------------- one measured pass


@pytest.mark.parametrize("seconds", [4.0, 0.01])
def test_a_slow_network_is_measured_as_slow_and_comes_back_as_it_was(seconds, clock):
    model = ticking(build("tiny_vgg", seed=1, image_side=32, width=0.4, num_classes=4), clock, seconds).train()
    before = clock()
    assert seconds_of_a_pass(model, 32, clock) == pytest.approx(seconds / 2)  # a forward and a backward pass are two
    assert clock() - before <= 26 * seconds
    assert clock() - before == seconds or seconds < 1, "a large network is asked once"
    assert model.training
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def shortened(left: float, *, loading: float = 4.0, a_pass: float = 0.001, preset: str = "standard"):
    """A deadline and the preset that it made of another, with so many seconds left after loading."""
    clock = Clock()
    found = Deadline(loading + left, clock() - loading, clock)
    model = ticking(build("tiny_vgg", seed=1), clock, 2 * a_pass)
    before = clock()
    cut = found.shorten(preset_for(preset, 0.1), model, 64)
    clock.now = before  # to measure took no time
    return found, cut


@pytest.mark.parametrize("preset", PRESETS)
def test_a_deadline_far_away_cuts_nothing(preset):
    found, cut = shortened(1e6, preset=preset)
    assert cut == preset_for(preset, 0.1)
    assert not found.cut
    assert found.sentence() == f"The budget of {found.seconds:g} s was enough for everything."


def test_less_time_never_gives_more_pictures_and_what_is_cut_is_named():
    for a_pass in (0.0001, 0.01, 1.0):
        cuts = [shortened(10 ** (exponent / 4), a_pass=a_pass)[1] for exponent in range(-8, 16)]
        for name in ("pictures", "evaluated", "rows", "trust"):
            values = [getattr(cut, name) for cut in cuts]
            assert values == sorted(values)
            assert values[0] < values[-1]
        assert all(cut.pictures >= 1 and cut.evaluated >= LEAST_ANSWERS for cut in cuts)
    found, cut = shortened(SHORT * 4.0 + 8.0, a_pass=0.5)
    assert found.reduced == {"pictures looked into": (5, cut.pictures), "labelled pictures": (2000, LEAST_ANSWERS)}
    assert (
        f"reduced: pictures looked into from 5 to {cut.pictures}, labelled pictures from 2,000 to 16."
        in found.sentence()
    )


def test_with_little_time_left_the_least_is_made_and_said():
    found, cut = shortened(SHORT * 4.0 / (1 + WRITING) - 1.0)
    assert (cut.pictures, cut.rows, cut.trust) == (1, 1, False)
    assert {"grad_cam", "saliency"} <= set(cut.methods) <= set(SHARED)
    named = {methods()[name].title for name in preset_for("standard", 0.1).methods} - {
        methods()[name].title for name in cut.methods
    }
    assert named | {"the trials of the methods"} == set(found.left_out)
    assert all(name in found.sentence() for name in named)


# ---------------------------------------------------------------- the clock is asked


def test_no_section_begins_that_should_not_fit_and_the_first_are_always_made():
    dice = random.Random(3)
    names = ["overview", "training", "data", "attention", "examples", "filters", "evidence", "mistakes"]
    left_out = 0
    for _ in range(300):
        clock = Clock()
        found = Deadline(dice.uniform(1, 60), clock(), clock, loading=dice.uniform(0, 6))
        order = sorted(names, key=found.rank)
        assert order[:3] == list(FIRST)
        assert order[3:] == [name for name in names if name not in FIRST]
        taken, made = [], []
        for slug in order:
            left = found.seconds - (clock() - found.started) - WRITING * found.loading
            usual = math.sqrt(sum(one**2 for one in taken) / max(1, len(taken)))
            refused = found.refusal(slug, slug.title())
            assert bool(refused) == (slug not in FIRST and MARGIN * usual > left)
            if not refused:
                made.append(slug)
                seconds = dice.expovariate(1 / 3)
                clock.now += seconds
                taken += [seconds] if slug != "attention" else []
        assert set(made) >= set(FIRST)
        assert found.parts == [slug.title() for slug in order if slug not in made]
        assert all(repr(title) in found.sentence() for title in found.parts)
        left_out += len(found.parts)
    assert left_out > 300


def test_the_maps_of_a_section_take_half_of_what_is_left_when_it_begins(clock):
    found = Deadline(50.0, clock() - 10.0, clock, loading=8.0, a_pass=0.1)
    found.refusal("attention", "Attention")
    share = MAPS * (50 - 10 - WRITING * 8)
    most = share / 0.1 / MARGIN
    assert found.allows_map("Occlusion", 0.999 * most)
    assert not found.allows_map("RISE", 1.001 * most)
    assert not found.allows_map("RISE", 1.001 * most)
    clock.now += share - 1.0
    assert not found.allows_map("Occlusion", 100)
    assert found.allows_map("Guided Backprop", 4)
    assert found.left_out == ["RISE", "Occlusion"], "each is named once"


def test_a_round_of_trials_leaves_as_much_time_for_maps_and_slow_rounds_end_them(clock):
    found = Deadline(110.0, clock(), clock, a_pass=0.1)
    found.refusal("attention", "Attention")
    most = TRIALS * MAPS * 110 / 0.1 / MARGIN
    assert not found.allows_trials(["RISE", "Score-CAM"], 1.001 * most)
    assert found.allows_trials(["Grad-CAM"], 50)
    clock.now += 20.0  # five were expected
    assert not found.allows_trials(["Occlusion"], 40), (
        "four times as long as they should: 19 s of 35, and half is for maps"
    )
    assert found.allows_trials(["Saliency"], 30), "14 s"
    clock.now += 3.0
    assert found.allows_trials(["Guided Backprop"], 40), "the last one took what it should"
    assert found.left_out == ["the trials of RISE", "the trials of Score-CAM", "the trials of Occlusion"]


@pytest.mark.parametrize("preset", PRESETS)
def test_the_methods_of_every_preset_have_a_price_before_they_run(preset):
    chosen = preset_for(preset, 0.1)
    cache = MapCache(build("tiny_vgg", seed=1), ("a",) * 10, chosen, 0)
    assert all(cache.passes(name, 64) >= 1 for name in chosen.methods)


@pytest.mark.parametrize(
    "extent",
    [
        {"compared": 4, "levels": 5, "draws": 2, "most_passes": None},
        {
            "compared": 4,
            "levels": 1,
            "draws": 1,
            "most_passes": 60,
            "shares": (0.0, 0.25, 1.0),
            "road": False,
            "grids": 0,
        },
    ],
    ids=["small", "large"],
)
@pytest.mark.parametrize("names", [("grad_cam", "saliency"), ("integrated_gradients",)], ids=" ".join)
def test_what_a_round_of_trials_costs_is_known_within_a_factor_of_two_before_it_is_held(names, extent):
    model, asked = build("tiny_vgg", seed=1, image_side=32, width=0.4, num_classes=4), []
    model.normalise.register_forward_hook(
        lambda *given: asked.append(len(given[-1]) * (2 if given[-1].requires_grad else 1))
    )
    images = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    evidence(model, images, names=names, steps=4, **extent)
    cache = MapCache(model, ("a",) * 4, replace(PRESETS["quick"], steps=4), 0)
    assert 0.5 < sum(passes_of(cache.passes(name, 32), len(images), extent) for name in names) / sum(asked) < 2


# ---------------------------------------------------------------- refused, and begun


@pytest.mark.parametrize("budget", [0, -1, float("nan"), float("inf")])
def test_a_budget_that_is_no_time_is_refused(budget, capsys):
    with pytest.raises(InputRefused, match="give the seconds"):
        deadline_of(budget)
    with pytest.raises(SystemExit) as ended:
        main(["report", "--budget", str(budget)])
    assert ended.value.code == 2
    assert "leaves no time" in capsys.readouterr().err


def test_a_budget_of_words_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["report", "--budget", "soon"])
    assert "'soon' is no number of seconds" in capsys.readouterr().err


def test_the_command_tells_when_it_began(monkeypatch, tmp_path):
    asked = {}

    def report(request):
        asked.update(budget=request.budget, began=request.began)
        raise InputRefused("enough seen.")

    monkeypatch.setattr(gallery, "build_report", report)
    before = time.perf_counter()
    assert main(["report", "--budget", "7", "--out", str(tmp_path)]) == 2
    assert asked["budget"] == 7.0
    assert before <= asked["began"] <= time.perf_counter()


def test_the_budget_runs_from_the_start_of_the_command_and_loading_counts(clock):
    found = deadline_of(10.0, clock() - 4.0, clock)
    assert found.spent == 4.0
    assert found.left == 6.0
    found.shorten(preset_for("quick", 0.1), build("tiny_vgg", seed=1), 64)
    assert found.loading == 4.0
    assert "Asked 10 s, took 4.0 s, of which 4.0 s to load." in found.ended()


# ---------------------------------------------------------------- a report


@pytest.fixture
def slow_report(tmp_path, monkeypatch, clock):
    """Reports of light sections under a clock that only the network and the sections move: (budget) -> result, manifest, spent."""
    seconds = {"overview": 0.5, "data": 1.5, "mistakes": 3.2, "attention": 4.0, "evidence": 0.3}
    order = []

    def making(slug):
        def make(subject):
            order.append(slug)
            clock.now += seconds[slug]
            if slug == "attention":
                attention.compute(subject, subject.inspected)
            yield from ()

        return make

    sections = [
        Section("report", slug, slug.title(), "A lead.", number, making(slug)) for number, slug in enumerate(seconds)
    ]
    monkeypatch.setattr(builder, "sections_of", lambda kind: sections)
    monkeypatch.setattr(builder, "_explorer", lambda *_: (None, "left out"))
    monkeypatch.setattr(gallery, "deadline_of", lambda budget, began: deadline_of(budget, clock() - 2.0, clock))
    monkeypatch.setattr(gallery, "class_network", lambda checkpoint: ticking(build(checkpoint), clock, 0.01))
    save(tmp_path / "net.pt", trained(specimens=6))

    def run(budget):
        before = clock.now - 2.0
        order.clear()
        result = report(tmp_path / "net.pt", out=tmp_path / "out", preset="standard", budget=budget)
        manifest = json.loads((result.index.parent / "manifest.json").read_text(encoding="utf-8"))
        return result, manifest, clock.now - before, tuple(order)

    return run


@pytest.mark.parametrize("budget", [10.0, 15.0, 20.0])
def test_a_report_ends_near_its_budget_and_what_it_cut_is_named_in_three_places(budget, slow_report):
    result, manifest, spent, order = slow_report(budget)
    told = manifest["budget"]
    assert spent <= 1.1 * budget
    assert order[:3] == FIRST
    assert told["seconds"] == budget
    assert told["loading"] == 2.0
    assert told["spent"] == pytest.approx(spent)
    assert told["skipped"]
    page = result.index.read_text(encoding="utf-8")
    assert f"To stay within the budget of {budget:g} s" in page
    said = [warning for warning in manifest["warnings"] if f"To stay within the budget of {budget:g} s" in warning]
    assert len(said) == 1
    for name in told["skipped"]:
        assert name in said[0]
        assert name in result.warnings[-1]
        assert name in page
    assert {title for title, _ in result.missing} == set(told["skipped"]) & {"Data", "Mistakes"}
    assert set(result.missing) == result.in_warnings, "one sentence on stderr tells of all of them"
    assert f"Asked {budget:g} s, took {spent:.1f} s" in result.warnings[-1]


def test_a_budget_too_small_for_anything_still_gives_a_page_with_the_cheapest_maps(slow_report):
    result, manifest, _, order = slow_report(0.01)
    assert order == FIRST
    assert manifest["budget"]["reduced"]["pictures looked into"] == {"from": 5, "to": 1}
    kept = {(one["method"], one["target"]) for one in manifest["maps"]}
    assert {("grad_cam", "predicted"), ("saliency", "predicted")} <= kept
    assert {name for name, _ in kept} <= set(SHARED)
    assert all(one["shape"][0] == 1 for one in manifest["maps"])
    assert {title for title, _ in result.missing} == {"Mistakes", "Data"}
    assert set(FIRST) & {part["section"] for part in manifest["missing"]} == set()


def test_an_interrupted_report_goes_on_with_more_seconds_from_the_maps_that_it_had(slow_report, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(builder, "_explorer", interrupted)
        with pytest.raises(KeyboardInterrupt):
            slow_report(5_000.0)
    result, manifest, _, _ = slow_report(50_000.0)
    count = len(manifest["maps"])
    assert count > 4
    assert result.notes[0].startswith(f"{count} of {count} sets of maps were read")


def test_parts_that_a_budget_left_out_are_told_in_one_sentence_and_are_missing_all_the_same(capsys, tmp_path):
    cut, failed = ("Data", "Left out."), ("Mistakes", "this part failed")
    result = builder.GalleryResult(
        tmp_path / "index.html", (cut, failed), ("To stay within the budget.",), in_warnings=frozenset({cut})
    )
    options = Namespace(command="report", json=True, open=False, quiet=False)
    assert print_result(options, result) == 1
    out, err = capsys.readouterr()
    said = ["To stay within the budget.", "the part 'Mistakes' is missing: this part failed"]
    assert err.splitlines() == [f"vgg_viz report: {sentence}" for sentence in said]
    assert [one["section"] for one in json.loads(out)["missing"]] == ["Data", "Mistakes"]


def test_without_a_budget_nothing_is_asked_and_nothing_is_said_of_one(slow_report, monkeypatch):
    monkeypatch.setattr(module, "Deadline", lambda *_: pytest.fail("there is no deadline"))
    result, manifest, _, order = slow_report(None)
    assert order == ("overview", "data", "mistakes", "attention", "evidence"), "in the page's order"
    assert "budget" not in manifest
    assert "budget" not in " ".join(result.notes)
    assert {one["method"] for one in manifest["maps"]} >= {"integrated_gradients", "occlusion"}


def test_what_the_shared_pass_gives_are_methods():
    assert set(SHARED) <= set(methods())
