"""What fits into a number of seconds: arithmetic by tables, a report under a fake clock, and refusals."""

from __future__ import annotations

import json
import time
from argparse import Namespace
from dataclasses import replace
from itertools import pairwise

import pytest
from test_report import trained

from vgg_viz.attribution import methods
from vgg_viz.attribution.method import METHODS
from vgg_viz.attribution.shared import SHARED
from vgg_viz.cli import main
from vgg_viz.commands.saying import landed
from vgg_viz.errors import InputRefused, SectionMissing
from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import save
from vgg_viz.registry import discover
from vgg_viz.report import build as builder
from vgg_viz.report import gallery, pacing
from vgg_viz.report.budget import OVERHEAD, Detail, Plan, Speed, Task, Trials, cost_of, evaluated, plan, reductions
from vgg_viz.report.calibration import Ratio, measured, painted
from vgg_viz.report.gallery import Result, report
from vgg_viz.report.map_cache import options_of
from vgg_viz.report.pacing import FIRST, Pace, pace
from vgg_viz.report.preset import PRESETS, preset_for
from vgg_viz.report.section import Section

SPEED = Speed(0.1, 0.3)
FULL = Detail(steps=32, samples=16, masks=1000, window=1 / 8, stride=0.5)
TASKS = (
    Task("grad_cam", lambda detail: 2, second=True),
    Task("saliency", lambda detail: 2),
    Task("guided", lambda detail: 4),
    Task("path", lambda detail: 2 * detail.steps + 2, second=True),
    Task("noise", lambda detail: 2 * detail.samples),
    Task("squares", lambda detail: 1 + round(2 / detail.stride / detail.window), backward=False, second=True),
)


@pytest.mark.parametrize(("level", "steps", "samples", "masks", "window", "stride"), [
    (0, 32, 16, 1000, 1 / 8, 0.5), (1, 16, 8, 500, 1 / 8, 1.0), (2, 8, 4, 250, 1 / 4, 1.0), (3, 4, 2, 125, 1 / 2, 1.0),
])  # fmt: skip
def test_a_level_of_detail_halves_everything_and_leaves_no_gap_between_squares(level, steps, samples, masks, window, stride):
    assert FULL.coarser(level) == Detail(steps, samples, masks, window, stride)


def test_detail_never_grows_nor_falls_below_what_says_something():
    small = Detail(steps=2, samples=1, masks=10, window=0.1, stride=1.0)
    assert small.coarser(3) == replace(small, window=0.4)
    assert replace(FULL, steps=8).coarser(3).steps == 4


@pytest.mark.parametrize(("methods_", "level", "pictures", "second", "passes_both", "passes_forward"), [
    (("grad_cam", "saliency"), 0, 4, False, 2 * 2 * 4, 0),  # the shared pass is for both classes, always
    (("grad_cam", "guided"), 0, 4, True, 2 * 2 * 4 + 4 * 4, 0),
    (("path",), 0, 3, True, 2 * 2 * 3 + 66 * 3 * 2, 0),
    (("path",), 2, 3, False, 2 * 2 * 3 + 18 * 3, 0),
    (("squares",), 1, 2, True, 2 * 2 * 2, 17 * 2 * 2),
])  # fmt: skip
def test_what_a_plan_costs_is_passes_times_pictures_times_seconds(methods_, level, pictures, second, passes_both, passes_forward):
    one = Plan(pictures, level, methods_, second, False, 0.0)
    expected = OVERHEAD * (passes_both * 0.3 / 2 + passes_forward * 0.1)
    assert cost_of(one, SPEED, TASKS, FULL) == pytest.approx(expected)


def test_trials_cost_maps_up_to_a_bound_and_passes_of_their_own():
    trials = Trials(pictures=10, pictures_dear=5, dear=20, most=100, forwards=50, around=0.25)
    for passes, maps in ((2, 20), (20, 100), (21, 100), (4, 40)):
        expected = OVERHEAD * (maps * 0.15 + 50 * 0.1) + 0.25
        assert trials.seconds(passes, SPEED, backward=True) == pytest.approx(expected)
    one = Plan(1, 0, ("guided",), False, True, 0.0)
    without = cost_of(replace(one, trials=False), SPEED, TASKS, FULL, trials=trials)
    assert cost_of(one, SPEED, TASKS, FULL, trials=trials) - without == pytest.approx(trials.seconds(4, SPEED, backward=True))


def planned(seconds: float, trials: Trials | None = None) -> Plan:
    return plan(seconds, SPEED, TASKS, FULL, pictures=6, trials=trials)


def test_a_budget_for_everything_cuts_nothing():
    found = planned(1e9, Trials())
    assert (found.pictures, found.level, found.second, found.trials, found.fits) == (6, 0, True, True, True)
    assert found.methods == tuple(task.name for task in TASKS)
    assert reductions(found, FULL, 6) == {}
    assert not planned(1e9).trials


def test_less_time_never_gives_more_and_every_plan_fits_what_it_was_given():
    budgets = [10 ** (exponent / 8) for exponent in range(-16, 40)]
    found = [planned(seconds, Trials()) for seconds in budgets]
    for seconds, one in zip(budgets, found, strict=True):
        assert one.seconds == pytest.approx(cost_of(one, SPEED, TASKS, FULL, trials=Trials()))
        assert one.fits == (one.seconds <= seconds)
        if not one.fits:
            assert (one.pictures, set(one.methods)) == (1, set(SHARED) & {task.name for task in TASKS})
    for poorer, richer in pairwise(found):
        assert poorer.trials <= richer.trials
        assert set(poorer.methods) <= set(richer.methods)
        assert poorer.second <= richer.second
    assert len({(one.pictures, one.level, one.methods, one.second, one.trials) for one in found}) >= 10


def test_detail_goes_before_trials_then_pictures_then_the_second_class_then_the_costliest_method():
    trials = Trials()
    steps = [planned(10 ** (exponent / 60), trials) for exponent in range(360, -120, -1)]
    order = list(dict.fromkeys((one.trials, one.pictures, one.second, len(one.methods)) for one in steps))
    assert order[0] == (True, 6, True, 6)
    assert order.index((False, 6, True, 6)) < order.index((False, 3, True, 6))
    counts = [entry[3] for entry in order]
    assert counts == sorted(counts, reverse=True)
    first_dropped = next(one for one in steps if len(one.methods) == 5)
    coarse = FULL.coarser(first_dropped.level)
    gone = next(task for task in TASKS if task.name not in first_dropped.methods)
    assert gone.passes(coarse) == max(task.passes(coarse) for task in TASKS if task.name not in SHARED)
    assert steps[-1].methods == ("grad_cam", "saliency")


def test_reductions_name_what_was_and_what_is():
    assert reductions(Plan(3, 1, (), True, True, 0.0), FULL, 6) == {
        "pictures": (6, 3), "steps": (32, 16), "samples": (16, 8), "masks": (1000, 500), "stride": (0.5, 1.0)}  # fmt: skip


@pytest.mark.parametrize(("seconds", "forward", "wanted", "count"), [
    (10, 0.1, 2000, 11), (10, 0.001, 2000, 600), (10, 0.0, 300, 300), (0.1, 1, 9, 1),
])  # fmt: skip
def test_answers_take_a_share_of_the_budget(seconds, forward, wanted, count):
    assert evaluated(seconds, Speed(forward, forward), wanted, preparing=0.001) == count


# ---------------------------------------------------------------- the clock


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_slow_network_is_measured_as_slow():
    clock = Clock()
    model = build("tiny_vgg", seed=1, image_side=32, width=0.4, num_classes=4)
    model.register_forward_hook(lambda *_: setattr(clock, "now", clock.now + 4.0))
    found = measured(model, 32, large=False, clock=clock)
    assert found == Speed(0.5, 0.5)  # eight pictures in four seconds
    assert measured(model, 32, large=True, clock=clock) == Speed(2.0, 4.0)  # the first pass warms up, so half of both counts
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("budget", [0, -1, float("nan"), float("inf")])
def test_a_budget_that_is_no_time_is_refused(budget, capsys):
    with pytest.raises(InputRefused, match="give the seconds"):
        pace(budget)
    with pytest.raises(SystemExit) as ended:
        main(["report", "--budget", str(budget)])
    assert ended.value.code == 2
    assert "leaves no time" in capsys.readouterr().err
    assert pace(None) is None


def test_a_budget_of_words_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["report", "--budget", "soon"])
    assert "'soon' is no number of seconds" in capsys.readouterr().err


def test_the_methods_of_every_preset_have_a_price_before_they_run():
    model = build("tiny_vgg", seed=1)
    course = Pace(1e9, lambda: 0.0)
    for name in PRESETS:
        preset = preset_for(name, 0.1)
        cut = course.prepare(preset, model, 64, 0.1)
        assert cut.methods == preset.methods
        assert course.planned.seconds > 0


def test_a_ratio_follows_what_was_learned_and_forgets_what_is_long_past():
    ratio = Ratio()
    ratio.guess(2.0)
    assert ratio.value == 2.0
    ratio.learn(1.0, 4.0)
    assert 2.0 < ratio.value < 3.0, "one thing outweighs no measurement"
    for _ in range(12):
        ratio.learn(1.0, 4.0)
    assert ratio.value == pytest.approx(4.0, rel=0.02)
    never = Ratio()
    never.learn(0.0, 3.0)
    assert never.value == 1.0


def test_chapters_that_no_longer_fit_are_left_out_and_the_pace_is_learned():
    clock = Clock()
    course = Pace(20.0, clock, clock())
    slugs = ["overview", "data", "mistakes", "attention", "evidence"]
    assert course.ordered(slugs, str) == ["overview", "attention", "evidence", "data", "mistakes"]
    usual = {slug: painted(slug, 0.0, rows=2) for slug in slugs}
    for slug in ("overview", "attention", "evidence", "data"):
        assert course.refusal(slug, slug.title()) == ""
        clock.now += usual[slug]
        course.learn(slug, usual[slug])
        assert course.slowness.value == pytest.approx(1.0)
    assert course.refusal("filters", "Filters") == ""
    clock.now += 8.0
    course.learn("filters", 8.0)
    assert course.slowness.value > 2
    assert "Left out to stay within the budget of 20 s" in course.refusal("mistakes", "Mistakes")
    assert course.chapters == ["Mistakes"]
    assert "left out: the chapter Mistakes." in course.sentences()[0]
    assert "network to touch was left out" in course.refusal("explorer", "")
    assert "left out: the network to touch, the chapter Mistakes." in course.sentences()[0]


def test_maps_tell_nothing_of_how_slow_painting_is():
    course = Pace(100.0, Clock())
    course.refusal("attention", "Attention")
    course.made("lrp_epsilon_gamma_box", 50.0)
    course.learn("attention", 50.0 + painted("attention", 0.0, rows=2))
    assert course.slowness.value == pytest.approx(1.0)


@pytest.fixture
def attending(monkeypatch):
    """The course of a report of a standard preset about to make its maps, with seconds enough for all: (seconds left) -> course."""
    monkeypatch.setattr(pacing, "painting", lambda clock: 1.0)

    def course(left: float) -> tuple[Pace, Clock]:
        clock, model = Clock(), build("tiny_vgg", seed=1)
        handle = model.register_forward_hook(lambda *_: setattr(clock, "now", clock.now + 0.08))  # ten milliseconds a picture
        found = Pace(1000.0, clock, clock())
        found.prepare(preset_for("standard", 0.1), model, 64, 0.1)
        handle.remove()
        found.ordered(["overview", "attention", "evidence", "data"], str)
        found.refusal("overview", "Overview")
        found.refusal("attention", "Attention")
        clock.now = found.started + found.seconds - left
        return found, clock

    return course


def test_a_map_for_which_no_time_is_left_is_left_out_and_named_once(attending):
    course, clock = attending(200.0)
    assert course.planned.second
    assert course.offers("integrated_gradients", "predicted")
    course.made("integrated_gradients", 200 * course._map("integrated_gradients"))  # as if the machine stood nearly still
    clock.now += 150
    assert course.offers("grad_cam", "second"), "the shared pass has made it already"
    assert not course.offers("integrated_gradients", "second")
    assert not course.offers("integrated_gradients", "second")
    assert course.sentences()[0].count("Integrated Gradients for a second class") == 1
    course.refusal("relevance", "Relevance")
    assert course.offers("lrp_epsilon_gamma_box", "predicted"), "a chapter that was let in makes its own maps"


def test_trials_stop_when_they_take_longer_than_planned(attending):
    course, clock = attending(100.0)
    assert course.tries(["grad_cam", "saliency"])
    clock.now += 60.0
    assert not course.tries(["integrated_gradients"])
    assert not course.tries(["occlusion"])
    assert course.trying.value > 3
    assert "left out: the trials of Integrated Gradients, Occlusion" in course.sentences()[0]


def test_where_not_all_trials_fit_the_cheap_ones_are_held_and_the_others_named(monkeypatch):
    monkeypatch.setattr(pacing, "painting", lambda clock: 1.0)
    clock, model = Clock(), build("tiny_vgg", seed=1)
    monkeypatch.setattr(pacing, "measured", lambda *_, **__: Speed(0.001, 0.0025))
    course = Pace(32.0, clock, clock())
    cut = course.prepare(preset_for("standard", 0.1), model, 64, 0.1)
    assert not course.planned.trials
    assert cut.trust
    course.refusal("attention", "Attention")
    assert course.tries(["grad_cam", "hires_cam", "saliency"])
    clock.now += 6.0
    assert not course.tries(["integrated_gradients"])
    assert course.mapping == 6.0, "trials are no painting, either"
    assert "the trials of Integrated Gradients" in course.sentences()[0]
    assert "the trials of the methods" not in course.sentences()[0]
    poor = Pace(14.0, clock, clock())
    assert not poor.prepare(preset_for("standard", 0.1), model, 64, 0.1).trust
    assert "the trials of the methods" in poor.sentences()[0]


def test_of_a_method_that_is_left_out_nobody_hears_how_coarse_it_would_have_been(attending):
    course, clock = attending(200.0)
    course.reduced = {"steps": (32, 16), "window": (0.1, 0.2), "labelled pictures": (9, 1)}
    clock.now += 199.0
    assert not course.offers("integrated_gradients", "predicted")
    assert not course.offers("integrated_gradients", "predicted")
    assert set(course.reduced) == {"window", "labelled pictures"}, "occlusion may still be made"
    assert course.left_out.count("Integrated Gradients") == 1


def test_a_chapter_breaks_off_between_two_exhibits_and_never_before_the_first():
    clock = Clock()
    course = Pace(10.0, clock, clock())
    course.refusal("data", "Data")
    clock.now += 50.0
    shown = course.watched(iter("abc"), "Data")
    assert next(shown) == "a"
    with pytest.raises(SectionMissing, match="The rest was left out to stay within the budget of 10 s"):
        next(shown)
    assert "left out: the rest of Data." in course.sentences()[0]
    course.refusal("overview", "Overview")
    assert list(course.watched(iter("abc"), "Overview")) == ["a", "b", "c"], "tables cost nothing"
    richer = Pace(1000.0, clock, clock())
    richer.refusal("data", "Data")
    assert list(richer.watched(iter("abc"), "Data")) == ["a", "b", "c"]


def test_the_budget_runs_from_the_start_of_the_command_and_loading_counts(monkeypatch):
    clock = Clock()
    course = pace(10.0, clock() - 4.0, clock)
    assert course.spent == 4.0
    course.prepare(preset_for("quick", 0.1), build("tiny_vgg", seed=1), 64, 0.1)
    assert course.loading == 4.0
    assert "Asked 10 s, took 4.0 s, of which 4.0 s to load." in course.ended()
    monkeypatch.setattr(pacing, "measured", lambda *_, **__: pytest.fail("there is no time to measure"))
    late = pace(3.0, clock() - 4.0, clock)
    cut = late.prepare(preset_for("standard", 0.1), build("tiny_vgg", seed=1), 64, 0.1)
    assert (cut.pictures, cut.trust, set(cut.methods) <= set(SHARED), late.planned.fits) == (1, False, True, False)
    assert "Even the least takes longer than that." in late.ended()


def test_the_command_tells_when_it_began(monkeypatch, tmp_path):
    asked = {}

    def report(*_, **given):
        asked.update(given)
        raise InputRefused("enough seen.")

    monkeypatch.setattr(gallery, "report", report)
    before = time.perf_counter()
    assert main(["report", "--budget", "7", "--out", str(tmp_path)]) == 2
    assert asked["budget"] == 7.0
    assert before <= asked["began"] <= time.perf_counter()


def test_methods_of_very_many_passes_go_before_everything_else():
    dear = (*TASKS, Task("channels", lambda detail: 512.0, backward=False, second=True))
    found = plan(2000.0, SPEED, dear, FULL, pictures=6, trials=Trials())
    assert "channels" not in found.methods
    assert set(found.methods) == {task.name for task in TASKS}
    assert (found.pictures, found.second, found.trials) == (6, True, True)
    assert "channels" in plan(1e9, SPEED, dear, FULL, pictures=6, trials=Trials()).methods


def test_without_cuts_the_budget_says_so():
    course = Pace(30.0, Clock())
    assert course.sentences() == ("The budget of 30 s was enough for everything.",)
    assert not course.cut


def test_a_cut_of_random_masks_reaches_the_preset_that_maps_are_made_with(monkeypatch):
    asking = replace(METHODS["occlusion"], name="asking", reads=("masks",), passes=lambda options, side: options.masks, passes_on=None)
    monkeypatch.setitem(METHODS._items, "asking", asking)
    preset = replace(PRESETS["full"], methods=("grad_cam", "saliency", "asking"), trust=False)
    clock, model = Clock(), build("tiny_vgg", seed=1)
    model.register_forward_hook(lambda *_: setattr(clock, "now", clock.now + 0.01))
    course = Pace(60, clock, clock())
    cut = course.prepare(preset, model, 64, 0.1)
    assert cut.masks < preset.masks
    assert course.reduced["masks"] == (preset.masks, cut.masks)
    assert options_of(cut, 0, 64, None).masks == cut.masks


# ---------------------------------------------------------------- a report


@pytest.fixture
def slow_report(tmp_path, monkeypatch):
    """Reports of light chapters under a clock that only the network and the chapters move: (budget) -> result, manifest, spent."""
    clock = Clock()
    discover("vgg_viz.report.sections")
    seconds = {"overview": 0.5, "attention": 4.0, "evidence": 0.3, "mistakes": 3.2, "data": 1.5}

    def making(slug):
        def make(subject):
            clock.now += seconds[slug]
            if slug == "attention":
                maps_of(subject)
            yield from ()

        return make

    sections = [Section("report", slug, slug.title(), "A lead.", number, making(slug)) for number, slug in enumerate(seconds)]
    monkeypatch.setattr("vgg_viz.report.build.sections_of", lambda kind: sections)
    monkeypatch.setattr("vgg_viz.report.build._explorer", lambda *_: (None, "left out"))
    monkeypatch.setattr(pacing, "painting", lambda clock: 1.0)
    monkeypatch.setattr(gallery, "pace", lambda budget, began: Pace(budget, clock, clock()) if budget else None)
    monkeypatch.setattr(gallery, "network", lambda checkpoint: ticking(build(checkpoint), clock))
    save(tmp_path / "net.pt", trained(specimens=6))

    def run(budget):
        before = clock.now
        result = report(tmp_path / "net.pt", out=tmp_path / "out", preset="standard", budget=budget)
        manifest = json.loads((result.index.parent / "manifest.json").read_text(encoding="utf-8"))
        return result, manifest, clock.now - before

    return run


def maps_of(subject) -> None:
    """All maps that the preset and the plan want."""
    batch, classes = subject.looked.batch, subject.looked.predicted
    for target in ("predicted", "second"):
        wanted = [name for name in subject.preset.methods if subject.maps.offers(name, target)]
        also = [name for name in wanted if name in SHARED]
        subject.maps.shared(batch, classes, target=target, layers=["relu1_1", "relu2_2"], also=also, layer="relu2_2")
        for name in wanted:
            if name not in SHARED:
                subject.maps.attribute(batch, name, classes, target=target, layer="relu2_2")


def ticking(model, clock):
    """A network whose every picture takes ten milliseconds, forward.

    Listened to at its first layer: occlusion then asks about whole pictures, whose time this clock knows, and not about windows.
    """
    model.normalise.register_forward_hook(lambda module, given, said: setattr(clock, "now", clock.now + 0.01 * len(said)))
    return model


@pytest.mark.parametrize("budget", [10.0, 20.0, 60.0])
def test_a_report_ends_near_its_budget_and_says_what_it_cut(budget, slow_report):
    result, manifest, spent = slow_report(budget)
    told = manifest["budget"]
    assert spent <= 1.1 * budget
    assert told["seconds"] == budget
    assert told["planned"] <= budget
    assert told["reduced"]
    assert told["spent"] == pytest.approx(spent)
    page = result.index.read_text(encoding="utf-8")
    assert f"To stay within the budget of {budget:g} s" in page
    assert any(f"To stay within the budget of {budget:g} s" in warning for warning in manifest["warnings"])
    for title, reason in result.missing:
        assert "eft out to stay within the budget" in reason
        assert {title, f"the rest of {title}"} & set(told["skipped"])
    assert set(result.missing) == result.told, "one sentence on stderr tells of all of them"
    assert f"Asked {budget:g} s, took {spent:.1f} s" in result.warnings[-1]


def test_a_budget_too_small_for_anything_still_gives_a_page_with_the_cheapest_maps(slow_report):
    result, manifest, _ = slow_report(0.01)
    assert "Even the least takes longer than that." in result.index.read_text(encoding="utf-8")
    kept = {(one["method"], one["target"]) for one in manifest["maps"]}
    assert ("grad_cam", "predicted") in kept
    assert {name for name, _ in kept} <= set(SHARED)
    assert {title for title, _ in result.missing} == {"Mistakes", "Data"}
    assert set(FIRST) & {part["section"] for part in manifest["missing"]} == set()


def test_an_interrupted_report_goes_on_with_more_seconds_from_the_maps_that_it_had(slow_report, monkeypatch):
    def interrupted(folder, made):
        raise KeyboardInterrupt

    written = builder._explorer
    monkeypatch.setattr(builder, "_explorer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        slow_report(5_000.0)
    monkeypatch.setattr(builder, "_explorer", written)
    result, manifest, _ = slow_report(50_000.0)
    count = len(manifest["maps"])
    assert count > 4
    assert result.said[0] == f"{count} of {count} sets of maps were read from what an interrupted report had left."


def test_parts_that_a_budget_left_out_are_told_in_one_sentence_and_are_missing_all_the_same(capsys, tmp_path):
    cut, failed = ("Data", "Left out."), ("Mistakes", "this part failed")
    result = Result(tmp_path / "index.html", (cut, failed), ("To stay within the budget.",), told=frozenset({cut}))
    options = Namespace(command="report", json=True, open=False)
    assert landed(options, result) == 1
    out, err = capsys.readouterr()
    said = ["To stay within the budget.", "the part 'Mistakes' is missing: this part failed"]
    assert err.splitlines() == [f"vgg_viz report: {sentence}" for sentence in said]
    assert [one["section"] for one in json.loads(out)["missing"]] == ["Data", "Mistakes"]


def test_without_a_budget_nothing_is_said_of_one(slow_report):
    result, manifest, _ = slow_report(None)
    assert "budget" not in manifest
    assert "budget" not in " ".join(result.said)
    assert {one["method"] for one in manifest["maps"]} >= {"integrated_gradients", "occlusion"}


def test_what_the_shared_pass_gives_are_methods():
    assert set(SHARED) <= set(methods())
