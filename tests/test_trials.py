"""The trials in a report: the most credible lead, what fails is marked and stands last, and every number is beside its picture."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from telling import tells
from viewer_data import unpacked

from vgg_viz.attribution import methods
from vgg_viz.faithfulness.records import FaithfulnessResult
from vgg_viz.faithfulness.verdict import Check, Measure
from vgg_viz.gallery.sections import SECTIONS
from vgg_viz.records import Finding
from vgg_viz.sections.report.faithfulness import exhibits, finding
from vgg_viz.studies.faithfulness import faithfulness_results, ranked


def one(method: str, verdict: str, *, weak: int = 0, upper: float = 0.3) -> FaithfulnessResult:
    checks = [Check("road", verdict, "text", "brief"), *[Check("pictures", "weak", "text", "brief")] * weak]
    controls = {"centre": 0.4, "edge": 0.2, "random": 0.1, "blur-matched": 0.05}
    ahead = {name: (0.5 - value, 0.4 - value, 0.6 - value) for name, value in controls.items()}
    measures = tuple(Measure(n, "probability", 16, 0.5, (0.4, 0.6), controls, ahead) for n in ("insertion", "road"))
    lines = dict.fromkeys(("map", *controls), (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.1))
    return FaithfulnessResult(
        method=method,
        completeness=None,
        explained=0.9,
        discrimination=0.2,
        randomised_top=0.6,
        randomised_upper=upper,
        randomised_all=0.1,
        cascade=(("fc3", 0.6), ("conv2_1", upper), ("conv1_1", 0.1)),
        sensitivity=0.2,
        measures=measures,
        curves={"deletion": lines, "insertion": lines},
        pointing=None,
        controls=(),
        checks=tuple(checks),
        verdict=verdict,
        reason=f"{verdict}: for a reason.",
        pictures=16,
        compared=8,
    )


TRIALS = (
    one("saliency", "weak", weak=2),
    one("guided_backprop", "fails"),
    one("grad_cam", "weak"),
    one("occlusion", "passes"),
)


def test_the_most_credible_come_first_then_those_with_fewer_doubts():
    assert [trial.method for trial in ranked(TRIALS)] == ["occlusion", "grad_cam", "saliency", "guided_backprop"]


def test_the_first_exhibit_says_which_to_believe_and_which_not():
    panel, reasons, curves = exhibits(ranked(TRIALS))
    assert panel.slug == "attention-trials"
    assert tells(panel.caption.fact, "1 of 4", "Occlusion")
    assert tells(panel.caption.read, "Guided Backprop fails")
    assert tells(panel.caption.read, "Grad-CAM and Saliency", "weak")
    assert panel.table is not None
    assert [row[:2] for row in panel.table.rows] == [
        ("Occlusion", "passes"),
        ("Grad-CAM", "weak"),
        ("Saliency", "weak"),
        ("Guided Backprop", "fails"),
    ]
    columns = [column.name for column in panel.table.columns]
    assert columns[2:] == [
        "upper half random",
        "all weights random",
        "other class",
        "small noise",
        "insertion less deletion",
        "ROAD",
    ]
    assert panel.table.rows[0][2:] == (0.3, 0.1, 0.2, 0.2, 0.5, 0.5), (
        "the numbers of the figure, and no column that is empty"
    )
    assert reasons.table.rows[0][:4] == ("Occlusion", "passes", "passes: for a reason.", 0.9)
    assert list(panel.numbers) == ["occlusion", "grad_cam", "saliency", "guided_backprop"]
    assert panel.numbers["occlusion"]["measures"]["ROAD"]["ahead_of"]["blur-matched"] == "0.450 0.350 0.550"
    assert curves.numbers["rank_correlation"]["Saliency"] == [0.6, 0.3, 0.1]
    assert curves.numbers["deletion"]["Saliency"][0] == 0.9
    assert "random" in curves.numbers["deletion"]
    json.dumps([panel.numbers, curves.numbers], allow_nan=False)


def test_of_many_methods_the_curves_show_the_most_credible_and_the_least():
    names = ("saliency", "smoothgrad", "grad_cam", "occlusion", "guided_grad_cam", "integrated_gradients")
    many = [one(name, "weak") for name in names]
    *_, curves = exhibits(ranked([*many, one("guided_backprop", "fails")]))
    assert list(curves.numbers["rank_correlation"]) == [
        "Saliency",
        "SmoothGrad",
        "Grad-CAM",
        "Occlusion",
        "Guided Backprop",
    ]
    assert tells(curves.caption.see, "4 most credible", "least credible")


@pytest.mark.parametrize(
    ("found", "level", "words"),
    [
        (TRIALS, "note", "Of 4 attribution methods put to the test"),
        (TRIALS, "note", "1 passes every check (Occlusion), 2 are weak and 1 fails (Guided Backprop)."),
        (TRIALS[:2], "warn", "0 pass every check, 1 is weak and 1 fails (Guided Backprop)."),
    ],
)
def test_the_verdict_of_the_page_says_which_maps_to_believe(found, level, words):
    said = finding(found)
    assert said.level == level
    assert words in said.text


def test_the_section_leads_with_what_passes_and_marks_what_fails(monkeypatch):
    from test_report import trained

    from vgg_viz.models.build import build
    from vgg_viz.sections.report import attention
    from vgg_viz.studies.inputs import load_inputs
    from vgg_viz.studies.preset import preset_for
    from vgg_viz.studies.subject import Subject

    checkpoint = trained(specimens=6)
    preset = preset_for("quick", 0.01)
    inputs = load_inputs(checkpoint, images=None, data=None, preset=preset, gigamacs=0.01, seed=0)
    subject = Subject(checkpoint, build(checkpoint), inputs, preset, 0)
    told = ranked([one("saliency", "fails"), one("grad_cam", "passes"), one("guided_backprop", "weak")])
    monkeypatch.setattr(attention, "faithfulness_results", lambda subject, inspected: tuple(told))
    with torch.no_grad():
        shown = list(SECTIONS["report/attention"].make(subject))
    assert isinstance(shown[1], Finding)
    slugs = [exhibit.slug for exhibit in shown if not isinstance(exhibit, Finding)]
    assert slugs[:4] == ["attention-viewer", "attention-trials", "attention-verdicts", "attention-curves"]
    viewer = unpacked(shown[0].viewer)
    assert [entry["id"] for entry in viewer["methods"]][:3] == ["grad_cam", "guided_backprop", "saliency"]
    assert viewer["maps"][0]["method"] == "grad_cam"
    assert viewer["maps"][0]["layer"] == shown[0].numbers["chosen_layer"]
    assert viewer["start"] == {
        "photo": 0,
        "method": "grad_cam",
        "layer": shown[0].numbers["chosen_layer"],
        "target": "predicted",
    }
    titles = {entry["id"]: entry["title"] for entry in viewer["methods"]}
    assert titles["saliency"] == "Saliency (fails)"
    assert titles["grad_cam"] == "Grad-CAM"
    assert "On trial here it passes" in next(
        entry["evidence"] for entry in viewer["methods"] if entry["id"] == "grad_cam"
    )
    assert len(viewer["methods"]) == min(preset.viewer, len(preset.methods))
    named = [
        exhibit
        for exhibit in shown
        if not isinstance(exhibit, Finding) and exhibit.slug.startswith("attention-methods")
    ]
    assert [name for exhibit in named for name in exhibit.numbers["methods"]][:3] == [
        "grad_cam",
        "guided_backprop",
        "saliency",
    ]
    assert {name for exhibit in named for name in exhibit.numbers["methods"]} == set(preset.methods) <= set(methods())


@pytest.mark.parametrize(("name", "quick"), [("standard", True), ("full", False)])
def test_a_large_network_is_tried_on_the_pictures_shown_with_their_own_maps_and_within_its_bound(
    monkeypatch, name, quick
):
    from test_report import trained

    from vgg_viz.models.build import build
    from vgg_viz.studies import faithfulness as trials
    from vgg_viz.studies.inputs import load_inputs
    from vgg_viz.studies.preset import preset_for
    from vgg_viz.studies.subject import Subject

    monkeypatch.setattr(trials, "LARGE_GIGAMACS", 0.0)
    checkpoint = trained(specimens=8)
    methods_shown = ("grad_cam", "guided_backprop", "integrated_gradients")
    preset = replace(preset_for(name, 0.01), methods=methods_shown, pictures=5, steps=16)
    inputs = load_inputs(checkpoint, images=None, data=None, preset=preset, gigamacs=0.01, seed=0)
    subject = Subject(checkpoint, build(checkpoint), inputs, preset, 0)
    shelved = []
    attribute = type(subject.maps).attribute

    def counted(self, batch, method, *given, **options):
        shelved.append((method, len(batch)))
        return attribute(self, batch, method, *given, **options)

    monkeypatch.setattr(type(subject.maps), "attribute", counted)
    found = {trial.method: trial for trial in faithfulness_results(subject, subject.inspected)}
    assert sorted(shelved) == [("guided_backprop", 5), ("integrated_gradients", 5)]
    assert {trial.pictures for trial in found.values()} == {4}
    assert found["grad_cam"].compared == found["guided_backprop"].compared == 4
    assert found["integrated_gradients"].compared == (0 if quick else 4)
    assert (found["integrated_gradients"].verdict != "passes") or not quick
    assert (len(found["grad_cam"].cascade) == 1) == quick
    assert ("ROAD" in {measure.name for measure in found["grad_cam"].measures}) == (not quick)
    panel, _reasons, curves = exhibits(ranked(list(found.values())))
    if quick:
        assert tells(panel.caption.see, "random networks 4", "Integrated Gradients: none")
        assert "how alike it stays when all of its weights are noise" in panel.caption.see
        assert "upper half" not in panel.caption.see
        assert "ROAD" not in panel.caption.see
        assert tells(curves.caption.see, "25 %")
    else:
        assert "(ROAD)" in panel.caption.see
        assert "only drawn" not in curves.caption.see


def test_presets_put_large_networks_on_trial_but_for_the_quick_one():
    from vgg_viz.studies.preset import preset_for

    assert [preset_for(name, 15.5).trust for name in ("quick", "standard", "full")] == [False, True, True]


def test_a_preset_without_trials_tries_nothing():
    from types import SimpleNamespace

    assert (
        faithfulness_results(
            SimpleNamespace(preset=SimpleNamespace(trust=False), once=lambda _what, make: make()), None
        )
        == ()
    )
