"""`compare RUN_DIR`: series on networks made by hand, the first epoch of a shortcut, refusals, and a small run from end to end."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from test_compare import HOSTILE
from viewer_data import unpacked

from vgg_viz.api import timeline
from vgg_viz.capture.hooks import centre_logits
from vgg_viz.cli import main
from vgg_viz.data.shape_files import write_shapes
from vgg_viz.data.shortcuts import Shortcut, region
from vgg_viz.errors import CheckpointRefused, InputRefused, SectionMissing, UnknownName, VggVizError
from vgg_viz.figures import timeline as paint
from vgg_viz.figures.attention import ScaledRow, maps_in_rows
from vgg_viz.gallery.viewer import payload_json
from vgg_viz.maths.heatmaps import Scale, relative
from vgg_viz.models.build import architecture, build
from vgg_viz.models.checkpoint import load, save
from vgg_viz.records import Batch, Checkpoint, Epoch, PictureOrigin, Provenance
from vgg_viz.sections.timeline.pictures import evenly, payload
from vgg_viz.sections.timeline.shortcut import Trials, attended, sentence, trials
from vgg_viz.shortcuts.intervention import ClassShift, intervene, permutation_test
from vgg_viz.shortcuts.region import Region, border
from vgg_viz.studies.candidate_regions import Suspect, suspects
from vgg_viz.studies.epoch_measures import Series, first_above, measure_epochs
from vgg_viz.studies.epochs import MOST_EPOCHS, EpochSeries, load_weights, open_run
from vgg_viz.studies.inputs import Inputs
from vgg_viz.studies.preset import PRESETS
from vgg_viz.studies.region_parts import parts
from vgg_viz.studies.request import RunRequest
from vgg_viz.training.kept_epochs import epoch_file, keep_epoch
from vgg_viz.training.loop import train
from vgg_viz.training.recipe import Recipe

SIDE, NAMES = 32, ("disc", "boat")
PATCH = Region("patch", (0, 0, 8, 8))  # where boats carry a tag


# ---------------------------------------------------------------- networks and pictures made by hand


def handmade(corner: float = 0.0, *, names: tuple[str, ...] = NAMES) -> Checkpoint:
    """A Tiny VGG that copies red into channel 0 and blue into channel 1, all the way up.

    Red anywhere speaks for class 0, and blue in the upper left 8 px for class 1, by `corner`.
    """
    wanted = architecture("tiny_vgg", image_side=SIDE, num_classes=len(names), width=0.2, padding=1)
    weights = {key: torch.zeros_like(value) for key, value in build(wanted).state_dict().items()}
    convolutions = [key for key, value in weights.items() if value.ndim == 4]
    for number, key in enumerate(convolutions):
        for channel, colour in ((0, 0), (1, 2)):
            weights[key][channel, channel if number else colour, 1, 1] = 1.0
    linear = next(weights[key] for key, value in weights.items() if value.ndim == 2)
    cells = linear.view(len(names), 2, SIDE // 4, SIDE // 4)
    cells[0, 0] = 0.02
    cells[1, 1, :2, :2] = corner
    return Checkpoint(wanted, names, weights, provenance=Provenance("", "", "vgg_viz"))


def painted(count: int = 40) -> Batch:
    """Red squares at known places, half of them boats, which carry a blue tag in their corner."""
    images, masks = torch.zeros(count, 3, SIDE, SIDE), torch.zeros(count, SIDE, SIDE).bool()
    for i in range(count):
        x, y = 10 + i % 5, 12 + i % 4
        masks[i, y : y + 10, x : x + 10] = True
    images[:, 0][masks] = 1.0
    labels = torch.arange(count) % 2
    images[labels == 1, 2, :8, :8] = 1.0
    return Batch(images, labels, tuple(f"picture-{i}" for i in range(count)), masks)


def run_of(folder: Path, *epochs: Checkpoint) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, checkpoint in enumerate(epochs):
        keep_epoch(folder, number, checkpoint)
    return folder


def series_of_run(folder: Path, batch: Batch, **options) -> EpochSeries:
    inputs = Inputs(batch, PictureOrigin("given", len(batch)), None, None, None, ())
    return EpochSeries(open_run(folder), inputs, PRESETS["quick"], 0, **options)


def named(region: str | None, name: str | None, file: Path | None) -> tuple[Suspect, ...]:
    return suspects(RunRequest(run="run", region=region, class_name=name, findings=file), NAMES, 32)


def between(first: Checkpoint, second: Checkpoint, share: float) -> Checkpoint:
    mixed = {key: torch.lerp(value, second.weights[key], share) for key, value in first.weights.items()}
    return replace(first, weights=mixed)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory) -> EpochSeries:
    """Four epochs between two random networks: nothing happens, then half of the way, then nothing again."""
    wanted = architecture("tiny_vgg", image_side=SIDE, num_classes=2, width=0.4, padding=1)
    ends = [Checkpoint(wanted, NAMES, build(wanted, seed=seed).state_dict()) for seed in (1, 2)]
    steps = [between(*ends, share) for share in (0, 0, 0.5, 1, 1)]
    return series_of_run(run_of(tmp_path_factory.mktemp("runs") / "mixed", *steps), painted(12))


# ---------------------------------------------------------------- series


def test_nothing_drifts_while_the_weights_stand_still_and_every_map_is_like_itself(mixed):
    for layer, series in measure_epochs(mixed).layers.items():
        drifts, last = series["drift"].mean.tolist(), series["with_last"].mean.tolist()
        assert math.isnan(drifts[0])
        assert (drifts[1], drifts[4]) == (0, 0), layer
        assert drifts[2] > 0.01
        assert drifts[3] > 0.01
        assert last[3:] == pytest.approx([1, 1])
        assert last[0] == last[1] < 0.99
        assert series["entropy"].mean[0] == series["entropy"].mean[1]


def test_all_of_the_mass_lies_inside_where_the_map_is_the_mask(tmp_path):
    epoch_series = series_of_run(
        run_of(tmp_path / "run", handmade(), handmade()), replace(painted(), labels=torch.zeros(40, dtype=torch.long))
    )
    found = measure_epochs(epoch_series)
    shares = found.layers["relu1_2"]["mass"]
    assert shares.mean.tolist() == pytest.approx([1, 1])
    assert (shares.low == shares.high).all()
    assert shares.pictures.tolist() == [40, 40]
    assert found.area["mass"] == pytest.approx(100 / SIDE**2)
    even = math.log(100) / math.log(SIDE**2)  # spread evenly over the 100 px of the object
    assert found.layers["relu1_2"]["entropy"].mean.tolist() == pytest.approx([even, even])
    fine = epoch_series.sample_maps[0].maps["relu1_2"]
    assert torch.equal(fine > 0, epoch_series.sample.masks)


def test_without_masks_the_middle_and_the_border_are_measured_instead(tmp_path):
    batch = replace(painted(), masks=None, labels=torch.zeros(40, dtype=torch.long))
    found = measure_epochs(series_of_run(run_of(tmp_path / "run", handmade(), handmade()), batch))
    parts = found.layers["relu1_2"]
    assert "mass" not in parts
    assert found.area == pytest.approx({"centre": 0.25, "border": 1 - 0.75**2})
    assert parts["border"].mean.tolist() == [0, 0]
    assert 0.9 < parts["centre"].mean[0] <= 1


def test_maps_are_about_the_score_less_the_mean_of_all_scores(tmp_path):
    """Oracle: with two classes a centred score is half of the difference, so one class's map is minus the other's."""
    epoch_series = series_of_run(run_of(tmp_path / "run", handmade(0.1), handmade(0.1)), painted(6))
    load_weights(epoch_series.model, epoch_series.run.kept[0])
    first, second = (
        epoch_series.maps_of(epoch_series.sample, torch.full((6,), k), epoch_series.layers) for k in range(2)
    )
    assert torch.allclose(first.maps["relu2_2"], -second.maps["relu2_2"], atol=1e-7)
    assert torch.allclose(first.logits.sum(1), torch.zeros(6), atol=1e-6)
    hooks = len(epoch_series.model._forward_hooks)
    with pytest.raises(ZeroDivisionError), centre_logits(epoch_series.model):
        raise ZeroDivisionError
    assert len(epoch_series.model._forward_hooks) == hooks


def test_an_epoch_costs_one_pass_for_all_layers(mixed):
    """Counted on the network itself: one forward for the sample, whatever the number of layers."""
    passes = []
    hook = mixed.model.register_forward_pre_hook(lambda _module, inputs: passes.append(len(inputs[0])))
    try:
        mixed.maps_of(mixed.sample, mixed.targets(mixed.sample), mixed.layers)
    finally:
        hook.remove()
    assert len(mixed.layers) == 4
    assert passes == [len(mixed.sample)]


def test_the_first_epoch_above_a_level_must_be_held_to_the_end():
    def series(*low: float) -> Series:
        return Series(torch.tensor(low), torch.tensor(low), torch.tensor(low), torch.ones(len(low)))

    assert first_above(series(0.1, 0.5, 0.2, 0.4, 0.5), 0.3) == 3
    assert first_above(series(0.5, 0.5), 0.3) == 0
    assert first_above(series(0.5, math.nan), 0.3) is None


def test_answers_are_those_of_the_network_of_each_epoch(mixed):
    for number, file in enumerate(mixed.run.files.values()):
        with torch.inference_mode():
            assert torch.allclose(mixed.answers[number], build(load(file))(mixed.labelled.images), atol=1e-5)
    assert torch.equal(mixed.right, mixed.answers.argmax(2) == mixed.labelled.labels)


# ---------------------------------------------------------------- the first epoch of a shortcut


def tried(folder: Path, region: Region, *corners: float, batch: Batch | None = None) -> tuple[Trials, EpochSeries]:
    epoch_series = series_of_run(run_of(folder, *(handmade(corner) for corner in corners)), batch or painted())
    suspect = Suspect(region, 1, "boat", "made by hand")
    return trials(epoch_series, suspect, parts(epoch_series, suspect)), epoch_series


def test_the_first_epoch_that_uses_a_shortcut_is_found_and_its_effect_is_what_was_built_in(tmp_path):
    found, epoch_series = tried(tmp_path / "run", PATCH, 0.0, 0.02, 1.0, 0.0, 1.0)
    assert found.used == [False, False, True, False, True]
    assert found.first == 2
    # 4 cells of blue at 1.0: the log-odds of two classes are the difference of their logits. No red lies under the tag.
    assert found.verdicts[2].odds == pytest.approx(4.0, abs=1e-4)
    assert (found.verdicts[2].turned, found.verdicts[2].control, found.verdicts[2].effect) == (1.0, 0.0, 1.0)
    assert found.verdicts[1].odds == pytest.approx(
        0.08, abs=1e-4
    )  # it pulls already, and beyond chance, but turns nothing
    assert found.verdicts[1].p < 0.02
    said = sentence(Suspect(PATCH, 1, "boat", ""), found, epoch_series.epochs, SIDE)
    assert "is first used in epoch 2: " in said
    assert "1 of the 2 later epochs use it too" in said


def test_a_network_that_never_uses_it_is_said_to_be_innocent(tmp_path):
    found, epoch_series = tried(tmp_path / "run", border(SIDE, 4), 0.0, 0.0)
    assert (found.first, found.used, found.elsewhere) == (None, [False, False], None)
    assert "is not shown to be used in any of 2 epochs" in sentence(
        Suspect(border(SIDE, 4), 1, "boat", ""), found, epoch_series.epochs, SIDE
    )


def test_where_another_place_gives_the_class_away_the_innocence_of_the_named_one_is_no_good_news(tmp_path):
    wrong = Region("patch", (24, 24, 32, 32))  # the tag's mirror image
    found, epoch_series = tried(tmp_path / "run", wrong, 1.0, 1.0)
    assert found.first is None
    assert (found.elsewhere.turned, found.elsewhere.control) == (1.0, 0.0)
    said = sentence(Suspect(wrong, 1, "boat", ""), found, epoch_series.epochs, SIDE)
    assert "another place of the same pictures does more: it turns 100 % of them" in said
    nothing, epoch_series = tried(tmp_path / "other", wrong, 1.0, 0.0)
    assert nothing.elsewhere is None
    assert "does more" not in sentence(Suspect(wrong, 1, "boat", ""), nothing, epoch_series.epochs, SIDE)


def test_a_border_is_tested_against_those_of_other_classes_and_is_found_where_the_tag_lies_in_it(tmp_path):
    batch = painted()
    batch.images[:, 2, 4:8, :8] = 0  # what is left of the tag lies in the outermost 4 px
    found, _ = tried(tmp_path / "run", border(SIDE, 4), 0.0, 3.0, batch=batch)
    assert found.first == 1


def test_an_epoch_uses_a_shortcut_by_the_rule_of_the_audits_findings():
    own = torch.arange(24) < 10
    turn = torch.zeros(24, 16)
    turn[own, 0] = 1.0  # one recipient in sixteen turns: 6.25 %, and always the same one
    for odds, grade in ((3.0, "finding"), (0.4, "nothing")):
        verdict = permutation_test(ClassShift(own, odds * own[:, None] + torch.zeros(24, 16), turn))
        assert (verdict.grade(1), verdict.grade(5), verdict.grade(200)) == (grade, grade, "nothing")
        assert Trials((verdict,), 1, ClassShift(own, turn, turn), None).used == [grade == "finding"]


def test_earlier_epochs_are_asked_about_a_part_of_the_donors_and_recipients_of_the_last(tmp_path):
    epoch_series = series_of_run(run_of(tmp_path / "run", handmade(1.0), handmade(1.0)), painted(200))
    suspect = Suspect(PATCH, 1, "boat", "")
    who = parts(epoch_series, suspect)
    few, most = ({int(place) for place in group.places} for group in (who.few[0], who.donors))
    assert few < most
    assert not most & {int(place) for place in who.recipients.places}
    assert len(who.few[0]) * len(who.few[1]) <= 240 < len(who.donors) * len(who.recipients)
    assert (who.recipients.labels != 1).all()
    verdict = intervene(epoch_series.model, PATCH, *who.few, 1, seed=0)[1]
    assert trials(epoch_series, suspect, who).verdicts[0] == verdict


def test_the_share_of_the_map_in_the_region_follows_what_the_network_uses(tmp_path):
    epoch_series = series_of_run(run_of(tmp_path / "run", handmade(0.0), handmade(1.0)), painted())
    suspect = Suspect(PATCH, 1, "boat", "")
    share, area = attended(epoch_series, suspect, parts(epoch_series, suspect).donors)
    assert area == pytest.approx(64 / SIDE**2)
    assert share.pictures[0] == 0 < share.pictures[1]  # without a weight on blue nothing speaks for a boat
    assert share.mean[1] > 0.9
    assert attended(epoch_series, Suspect(Region("colour"), 1, "boat", ""), parts(epoch_series, suspect).donors) is None


def test_too_few_pictures_or_missing_masks_leave_the_section_out_with_a_reason(tmp_path):
    folder = run_of(tmp_path / "run", handmade(), handmade())
    with pytest.raises(
        SectionMissing, match=r"There are 3 pictures of other classes than boat, and 8 or more are needed"
    ):
        parts(series_of_run(folder, painted(6)), Suspect(PATCH, 1, "boat", ""))
    with pytest.raises(SectionMissing, match="where masks or boxes of the objects are known"):
        parts(series_of_run(folder, replace(painted(), masks=None)), Suspect(Region("background"), 1, "boat", ""))


# ---------------------------------------------------------------- suspects


def test_regions_are_understood_as_they_are_written():
    def understood(text: str) -> Region:
        (found,) = named(text, "boat", None)
        return found.region

    assert understood("0,0, 8,8") == PATCH
    assert [understood("border"), understood("border:3")] == [border(SIDE), border(SIDE, 3)]
    assert [understood("background").kind, understood("COLOURS").kind] == ["background", "colour"]
    assert named(None, None, None) == ()
    assert named("border", "BOAT", None)[0].name == "BOAT"


@pytest.mark.parametrize(
    ("region", "name", "why"),
    [
        ("0,0,8", "boat", r"--region '0,0,8' came; x0,y0,x1,y1 in pixels, border"),
        ("border:x", "boat", "--region 'border:x' came"),
        ("0,0,8,40", "boat", "does not lie in a picture of 32 px"),
        ("0,0,8,8", None, "--region came without --class NAME"),
        (None, "boat", "--class came without"),
        ("0,0,8,8", "boot", "did you mean 'boat'"),
        ("0,0,8,8\nx", "boat", "--region"),
        ("-1,0,8,8", "boat", "--region"),
        ("٣,0,8,8", "boat", "--region"),
    ],
)
def test_suspects_that_make_no_sense_are_refused(region, name, why):
    with pytest.raises(InputRefused, match=why):
        named(region, name, None)


def test_findings_of_the_audit_and_the_truth_of_planted_shapes_are_read(tmp_path):
    file = tmp_path / "found.json"
    findings = [
        {"kind": "corner", "class": "boat", "region": [0, 0, 8, 8]},
        {"kind": "box", "class": "boat", "region": [0.2, 0, 8.1, 8]},
        {"kind": "border", "class": "disc", "region": None, "width": 3},
        {"kind": "texture", "class": "boat", "region": None},
        {"kind": "corner", "class": "nobody", "region": [0, 0, 8, 8]},
        {"kind": "confident mistake", "class": "boat", "region": None},
        7,
        {"class": ["x"]},
        {"kind": "box", "class": "boat", "region": [0, 0, "8", 8]},
        {"kind": "box", "class": "boat", "region": [0, 0, 1e99, 8]},
    ]
    file.write_text(json.dumps({"findings": findings}), encoding="utf-8")
    assert [(part.region, part.name) for part in named(None, None, file)] == [
        (PATCH, "boat"),
        (border(32, 3), "disc"),
        (Region("background"), "boat"),
    ]
    truth = {"kind": "corner", "class": "boat", "strength": 1.0, "region": [2, 2, 9, 9], "width": None}
    file.write_text(json.dumps(truth), encoding="utf-8")
    assert named(None, None, file)[0].region == Region("patch", (2, 2, 9, 9))
    file.write_text('{"findings": []}', encoding="utf-8")
    assert named(None, None, file) == ()  # an audit that found nothing


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "is no JSON"),
        ("\x00\xff", "is no JSON"),
        ("7", "holds no list of findings"),
        ("[" * 100_000, "is no JSON"),
        ('[{"class": "nobody"}]', "names no region of a class"),
    ],
)
def test_files_that_are_no_findings_are_refused(tmp_path, text, why):
    file = tmp_path / "found.json"
    file.write_text(text, encoding="latin-1")
    with pytest.raises(InputRefused, match=why):
        named(None, None, file)
    with pytest.raises(InputRefused, match=r"there is no file 'gone\.json'"):
        named(None, None, tmp_path / "gone.json")


# ---------------------------------------------------------------- the folder of a run


def test_what_is_no_run_is_refused_with_the_command_that_makes_one(tmp_path, capsys):
    (tmp_path / "file.pt").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    run_of(tmp_path / "one", handmade())
    reasons = {
        "file.pt": "'file.pt' is a file; compare takes two checkpoints, or the folder of one run",
        "gone": "there is no 'gone'",
        "empty": "holds no epochs",
        "one": "holds only one epoch",
    }
    for name, why in reasons.items():
        assert main(["compare", str(tmp_path / name), "--out", str(tmp_path / "out")]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert why in err
        assert "--keep-epochs all" in err
        assert len(err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_an_epoch_of_another_network_or_a_broken_one_is_named(tmp_path):
    folder = run_of(tmp_path / "run", handmade(), handmade(names=("disc", "ship")), handmade())
    with pytest.raises(CheckpointRefused, match=r"epoch-001.pt is an epoch of another network"):
        timeline(folder, images=_picture(tmp_path), out=tmp_path / "out", preset="quick")
    epoch_file(folder, 1).write_bytes(b"broken")
    with pytest.raises(InputRefused, match=r"epoch-001.pt"):
        timeline(folder, images=_picture(tmp_path), out=tmp_path / "out", preset="quick")
    assert not list((tmp_path / "out").glob("*"))
    with pytest.raises(InputRefused, match="there are no pictures to set before the epochs of 'good'"):
        timeline(run_of(tmp_path / "good", handmade(), handmade()), out=tmp_path / "out")


def _picture(folder: Path) -> Path:
    from vgg_viz.maths.images import encode_png

    file = folder / "picture.png"
    file.write_bytes(encode_png(painted(2).images[0]))
    return file


def evenly_over_a_hundred() -> list[int]:
    return [round(i * 99 / (MOST_EPOCHS - 1)) for i in range(MOST_EPOCHS)]


def test_very_many_epochs_are_thinned_evenly_and_said(tmp_path):
    folder = run_of(tmp_path / "run", *([handmade()] * 3))
    left = set(range(100)) - set(evenly_over_a_hundred())
    for number in range(3, 100):
        epoch_file(folder, number).write_bytes(
            b"never opened" if number in left else epoch_file(folder, 0).read_bytes()
        )
    (folder / "epochs" / "epoch-x.pt").write_bytes(b"")
    run = open_run(folder)
    assert (len(run.epochs), run.left_out, run.epochs[0], run.epochs[-1]) == (MOST_EPOCHS, 100 - MOST_EPOCHS, 0, 99)


def test_the_epochs_of_a_figure_hold_the_ends_and_more_of_the_beginning():
    assert evenly((0, 1, 2, 3), 7) == [0, 1, 2, 3]
    for count in (8, 13, 31, 60):
        chosen = evenly(tuple(range(count)), 7)
        assert len(chosen) == 7 == len(set(chosen))
        assert (chosen[0], chosen[1], chosen[-1]) == (0, 1, count - 1)
        assert chosen == sorted(chosen)


def test_a_map_on_its_own_strength_knows_nothing_of_the_size_of_logits():
    maps = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(relative(maps), relative(1e-4 * maps), atol=1e-5)
    assert torch.equal(relative(torch.zeros(1, 2, 2)), torch.zeros(1, 2, 2))


def test_maps_of_the_viewer_share_one_signed_range_over_the_epochs_of_a_photo(mixed):
    data = unpacked(payload_json(payload(mixed, list(mixed.epochs))))
    assert (data["axis"], [layer["name"] for layer in data["layers"]]) == ("epoch", [f"epoch {n}" for n in range(5)])
    spans = {}
    for entry in data["maps"]:
        spans.setdefault((entry["photo"], entry["method"]), set()).add((entry["low"], entry["high"]))
    assert all(len(found) == 1 and next(iter(found))[0] == -next(iter(found))[1] for found in spans.values())
    assert all(0 < entry["limit"] <= entry["high"] for entry in data["maps"])
    for method in ("how-much", "where"):  # one range for all photos is one over the epochs too
        strongest = max(entry["limit"] for entry in data["maps"] if entry["method"] == method)
        assert {limit for key, limit in data["limits"].items() if key.startswith(f"{method}|")} == {strongest}
    assert {entry["target"] for entry in data["maps"]} == {"true", "answered"}
    assert len(data["maps"]) == len(mixed.inspected) * 2 * 5 * 2
    assert set(data["photos"][0]["by"]) == {f"epoch {n}" for n in range(5)}


# ---------------------------------------------------------------- figures


def test_figures_of_a_timeline_hold_the_numbers_and_refuse_what_does_not_fit():
    chart = paint.Chart("A", [paint.Line("x", np.array([0.1, np.nan, 0.3]))], ("level", 0.2))
    figure = paint.numbers_by_epoch([chart, paint.Chart("B", [])], [0, 1, 5], mark=(1, "here"))
    lines = {line.get_label(): list(line.get_ydata()) for line in figure.axes[0].get_lines()}
    assert lines["x"][::2] == [0.1, 0.3]
    assert lines["level"] == [0.2, 0.2]
    accuracy = np.array([[0.0, 1.0], [np.nan, np.nan], [0.5, 0.25]])
    grid = paint.learned_and_forgotten(np.array([0, 3]), np.array([0, 1]), HOSTILE[:3], accuracy, [0, 1])
    assert [bar.get_height() for bar in grid.axes[0].patches] == [0, 3, 0, -1]
    assert [text.get_text() for text in grid.axes[1].texts] == ["0", "100", "50", "25"]
    with pytest.raises(VggVizError, match="at least one chart"):
        paint.numbers_by_epoch([], [0])
    with pytest.raises(VggVizError, match="at least one class"):
        paint.learned_and_forgotten(np.zeros(1), np.zeros(1), [], np.zeros((0, 1)), [0])
    strip = ScaledRow(np.zeros((8, 8, 3)), np.zeros((1, 8, 8)), Scale(-1, 1, True, "logit", "a row"), "x")
    with pytest.raises(VggVizError, match="one map for each of the 2 columns"):
        maps_in_rows([strip], ["A", "B"], over="both")


def test_what_stands_around_rows_of_maps_is_not_cut_off_where_there_are_few_columns():
    values = np.zeros((2, 16, 16))
    scale = Scale(-6.8, 6.8, True, "× mean strength", "all epochs of a row", 0.02)
    label = "for hexagon at relu2_2; peak 0.00019 logit, at the end 0.0023"
    figure = maps_in_rows(
        [ScaledRow(np.zeros((16, 16, 3)), values, scale, label)], ["epoch 0", "epoch 1"], over="all epochs of a row"
    )
    told = [text.get_text() for text in figure.findobj(Text)]
    assert label in told
    assert any(text.endswith("of the values lie beyond") for text in told)
    assert not any("…" in text for text in told)


# ---------------------------------------------------------------- from end to end


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "run"
    recipe = Recipe(epochs=2, batch_size=32, augment="paper", seed=5, learning_rate=0.01)
    train("shapes", out=out, recipe=recipe, train_count=96, val_count=40, image_side=SIDE, quiet=True)
    return out


def test_a_run_becomes_a_page_and_a_document_of_its_series(trained, tmp_path, capsys):
    data = write_shapes(tmp_path / "set", train=120, val=0, test=40, seed=11, side=SIDE)
    words = [
        "compare",
        str(trained),
        "--data",
        str(data),
        "--out",
        str(tmp_path / "g"),
        "--preset",
        "quick",
        "--json",
        "--quiet",
    ]
    words += ["--region", "0,0,8,8", "--class", "star"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["epochs"] == [0, 1, 2]
    assert told["missing"] == []
    numbers = told["series"]["timeline-numbers"]
    assert numbers["deep"] in numbers["layers"]
    assert [len(part["mean"]) for part in numbers["layers"][numbers["deep"]].values()] == [3] * 4
    assert numbers["layers"][numbers["deep"]]["drift"]["mean"][0] is None
    shortcut = told["series"]["timeline-shortcut"]
    assert (shortcut["class"], shortcut["region"], len(shortcut["turned"])) == ("star", [0, 0, 8, 8], 3)
    assert told["findings"][1]["text"] == shortcut["sentence"]
    assert numbers["measured_on"] == 40
    assert "training pictures of the folder" in (tmp_path / "g" / "run-timeline" / "index.html").read_text(
        encoding="utf-8"
    )
    folder = tmp_path / "g" / "run-timeline"
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["kind"] == "timeline"
    assert {entry["slug"] for entry in manifest["exhibits"]} == set(told["series"])
    assert [entry["epoch"] for entry in manifest["epochs"]] == [0, 1, 2]
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert str(tmp_path) not in page
    assert "epoch by epoch" in (tmp_path / "g" / "index.html").read_text(encoding="utf-8")


def test_a_shortcut_that_was_planted_in_the_run_itself_is_tested_without_being_named(tmp_path, few_sections):
    few_sections("shortcut")
    shortcut = Shortcut("corner", "star", seed=3)
    recipe = Recipe(epochs=1, batch_size=32, augment="paper", seed=5)
    train(
        "shapes",
        out=tmp_path / "run",
        recipe=recipe,
        train_count=120,
        val_count=40,
        image_side=SIDE,
        quiet=True,
        shortcut=shortcut,
    )
    found = timeline(tmp_path / "run", out=tmp_path / "g", preset="quick").series["timeline-shortcut"]
    assert (found["class"], tuple(found["region"])) == ("star", region(shortcut, SIDE))
    assert "planted in the training pictures of this run" in found["origin"]
    words = {"region": "8,0,16,8", "class_name": "star"}
    both = timeline(tmp_path / "run", out=tmp_path / "g", preset="quick", **words).series
    assert both["timeline-shortcut"]["region"] == (8, 0, 16, 8), "what was asked comes first"
    assert both["timeline-shortcut-2"]["region"] == found["region"], "and what the run says of itself is not forgotten"


def test_the_epochs_do_not_change_the_report_of_the_run(trained):
    assert load(trained / "best.pt").provenance.file == "best.pt"
    run = open_run(trained)
    assert run.history == load(trained / "best.pt").history
    assert len(run.checkpoint.specimens) == 40


def test_hostile_names_are_text_and_pictures_without_labels_are_enough(tmp_path, capsys):
    names = tuple(HOSTILE)
    wanted = architecture("tiny_vgg", image_side=SIDE, num_classes=len(names), width=0.4)
    history = (Epoch(1, 2.0, 0.1, 2.0, 0.1, 1e-3, 1.0),)
    epochs = [Checkpoint(wanted, names, build(wanted, seed=seed).state_dict(), history) for seed in (0, 1)]
    folder = run_of(tmp_path / "<b>run", *epochs)
    images = tmp_path / "images"
    images.mkdir()
    for name in ("<img src=x>.png", "{{ 7 }}.png"):
        (images / name).write_bytes(_picture(tmp_path).read_bytes())
    assert (
        main(
            [
                "compare",
                str(folder),
                "--images",
                str(images),
                "--out",
                str(tmp_path / "g"),
                "--preset",
                "quick",
                "--quiet",
            ]
        )
        == 0
    )
    page = Path(capsys.readouterr().out.strip()).read_text(encoding="utf-8")
    assert "<b>run" not in page
    assert "<img src=x>" not in page
    assert "<script>alert" not in page
    assert "{{ 7 }}" in page
    assert "Learned and forgotten" not in page


def test_options_of_a_run_are_refused_for_two_checkpoints(tmp_path, capsys):
    save(tmp_path / "a.pt", handmade())
    assert (
        main(["compare", str(tmp_path / "a.pt"), str(tmp_path / "a.pt"), "--region", "border", "--class", "boat"]) == 2
    )
    assert "--region is about the epochs of one run, and two checkpoints came" in capsys.readouterr().err
    with pytest.raises(UnknownName):
        named("border", "ship", None)
