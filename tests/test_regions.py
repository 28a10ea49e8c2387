"""One experiment on a region: whoever asks, and by whatever word, the same region of the same pictures has the same effect."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_timeline import NAMES, PATCH, handmade, painted, run_of, series_of_run

from vgg_viz.cli import main
from vgg_viz.data.shortcuts import KINDS, Shortcut, truth
from vgg_viz.errors import InputRefused
from vgg_viz.maths.images import encode_png
from vgg_viz.models.build import build
from vgg_viz.records import Batch
from vgg_viz.sections.timeline.shortcut import trials
from vgg_viz.shortcuts.findings import audit
from vgg_viz.shortcuts.intervention import intervene
from vgg_viz.shortcuts.region import Region, background, border
from vgg_viz.shortcuts.region_text import parse_region, place_of, region_as_json, region_of, require_inside
from vgg_viz.shortcuts.sampling import group_of
from vgg_viz.studies.candidate_regions import Suspect
from vgg_viz.studies.region_parts import parts

SIDE = 32


# ---------------------------------------------------------------- the same region, the same effect


def test_the_same_region_has_the_same_effect_in_an_audit_and_at_the_same_epoch_of_a_timeline(tmp_path):
    """`audit` said 64 % turned, 4.2 % by its control, where `compare RUN --findings` said 55.5 % and 0."""
    batch = painted(120)
    batch.images[::11, 2, :8, :8] = 1.0  # some discs carry the tag as well: a control of 0 would prove little
    seen = audit(build(handmade(0.6)), batch)
    assert seen.tried
    walk = series_of_run(run_of(tmp_path / "run", handmade(0.0), handmade(0.3), handmade(0.6)), batch)
    for tried, verdict in seen.tried:
        suspect = Suspect(tried.region, tried.wanted, NAMES[tried.wanted], "told by an audit", len(batch))
        found = trials(walk, suspect, parts(walk, suspect), len(seen.tried))
        assert found.verdicts[-1] == verdict
        assert found.used[-1] == any((one.wanted, one.region) == (tried.wanted, tried.region) for one in seen.findings)
    assert any(0 < abs(verdict.control) < abs(verdict.turned) for _, verdict in seen.tried)


def folder_of(batch: Batch, place: Path) -> Path:
    for name, label, image in zip(batch.names, batch.labels.tolist(), batch.images, strict=True):
        (place / NAMES[label]).mkdir(parents=True, exist_ok=True)
        (place / NAMES[label] / f"{name}.png").write_bytes(encode_png(image))
    return place


def test_the_two_commands_give_the_same_numbers_for_a_finding_and_for_its_region_on_the_same_folder(tmp_path, capsys):
    batch = painted(120)
    batch.images[:20:2, 2, :8, :8] = 1.0  # discs that carry the tag as well
    run = run_of(tmp_path / "run", handmade(0.0), handmade(0.6))
    shared = ["--data", str(folder_of(batch, tmp_path / "pictures")), "--out", str(tmp_path / "g"), "--json", "--quiet"]
    assert main(["audit", str(run / "epochs" / "epoch-001.pt"), *shared]) == 0
    told = json.loads(capsys.readouterr().out)
    (tmp_path / "audit.json").write_text(json.dumps({**told, "findings": told["findings"][:1]}), encoding="utf-8")
    finding = told["findings"][0]
    named = [
        "--region",
        ",".join(map(str, finding["region"])),
        "--class",
        finding["class"],
        "--findings",
        str(tmp_path / "audit.json"),
    ]
    assert main(["compare", str(run), *shared, "--preset", "quick", *named]) == 0
    series = json.loads(capsys.readouterr().out)["series"]
    for shown in (series["timeline-shortcut"], series["timeline-shortcut-2"]):
        assert (shown["class"], shown["kind"], shown["region"]) == (
            finding["class"],
            finding["kind"],
            finding["region"],
        )
        for key in ("turned", "control", "effect", "interval", "log_odds", "donors", "controls", "recipients"):
            assert shown[key][-1] == pytest.approx(finding[key], abs=1e-6), key
        assert shown["p"][-1] == pytest.approx(2 * finding["p"] / told["tried"])  # two suspects here
        assert shown["used"] == [False, True]


def test_donors_of_the_class_and_of_others_on_recipients_of_others_are_all_that_is_needed_and_nothing_less_will_do():
    batch, network = painted(12), build(handmade(1.0))
    whole = group_of(batch)
    boats, discs = (whole.part((batch.labels == label).nonzero()[:, 0]) for label in (1, 0))
    assert intervene(network, PATCH, whole, discs, 1) is not None
    assert intervene(network, PATCH, whole, boats, 1) is None  # no recipient of another class
    assert intervene(network, PATCH, discs, discs, 1) is None  # no donor of the class
    assert intervene(network, PATCH, boats, discs, 1) is None  # nothing to compare with


# ---------------------------------------------------------------- one vocabulary


@pytest.mark.parametrize(
    "region",
    [PATCH, border(SIDE), border(SIDE, 4), Region("background"), background(SIDE, masks=False), Region("colour")],
)
def test_a_region_is_read_back_as_an_audit_wrote_it(region):
    assert region_of(json.loads(json.dumps(region_as_json(region))), SIDE) == region


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_planted_is_read_as_the_region_that_carries_it(kind):
    shortcut = Shortcut(kind, "star", seed=3)
    told = truth(shortcut, SIDE)
    found = region_of(told, SIDE)
    assert found.kind == {"corner": "patch", "border": "border", "texture": "background", "cast": "colour"}[kind]
    assert (list(found.box) if found.box else None) == told["region"]
    assert found.width == (told["width"] or 0)


def test_a_border_that_a_user_names_is_the_one_that_an_audit_tries():
    batch = painted()
    tried = {suspect.region for one in audit(build(handmade(1.0)), batch).suspects for suspect in one}
    assert {parse_region("border", SIDE), parse_region("background", SIDE), parse_region("colours", SIDE)} <= tried


def test_regions_that_no_picture_has_are_refused_in_a_sentence():
    assert require_inside(Region("patch", (0, 0, 8, 16)), 16).box == (0, 0, 8, 16)
    wrong = {
        (0, 0, 9, 16): "leaves no room",
        (4, 4, 4, 8): "does not lie in a picture of 16 px",
        (0, 0, 4, 17): "up to 16",
    }
    for box, why in wrong.items():
        with pytest.raises(InputRefused, match=why):
            require_inside(Region("patch", box), 16)
    with pytest.raises(InputRefused, match="1 to 2 px of 16 were expected"):
        require_inside(border(16, 3), 16)
    with pytest.raises(InputRefused, match="up to 4 px of 16 were expected"):
        require_inside(Region("background", None, 10**9), 16)
    with pytest.raises(InputRefused, match="four numbers"):
        region_of({"kind": "patch", "region": [0, 0, "8", 8]}, 16)


def test_words_for_regions_say_where_they_lie():
    assert place_of(Region("patch", (0, 20, 12, 32)), SIDE) == "the lower left 12 × 12 px"
    assert [place_of(region, SIDE) for region in (border(SIDE, 4), Region("background"), Region("colour"))] == [
        "the border of 4 px",
        "the background",
        "the colours of the whole picture",
    ]
