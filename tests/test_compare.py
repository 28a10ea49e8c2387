"""Two checkpoints on one page: the same pictures for both, numbers that are true, and refusals in one sentence."""

from __future__ import annotations

import base64
import getpass
import json
import math
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from loose_options import attribute
from telling import tells
from viewer_data import told_to_viewer, unpacked

from vgg_viz.capture.predict import predict_logits
from vgg_viz.cli import main
from vgg_viz.data import shapes
from vgg_viz.data.shape_files import write_shapes
from vgg_viz.errors import InputRefused, VggVizError
from vgg_viz.figures import comparison as paint
from vgg_viz.figures.calibration import two_calibrations
from vgg_viz.figures.comparison import Measure, layers_of_two
from vgg_viz.figures.confusion import confusion_difference
from vgg_viz.gallery.viewer import payload_json
from vgg_viz.maths.heatmaps import place
from vgg_viz.maths.images import encode_png, resize
from vgg_viz.maths.metrics import Bin, mcnemar_exact
from vgg_viz.models.build import architecture, build
from vgg_viz.models.checkpoint import load, save
from vgg_viz.models.class_names import numbered
from vgg_viz.records import Checkpoint, Epoch, Provenance, Specimen
from vgg_viz.sections.compare.attention import attention
from vgg_viz.sections.compare.compare import build_comparison, open_pair
from vgg_viz.sections.compare.flipped import contrast, flips_of
from vgg_viz.sections.compare.verdict import by_chance, headline, score
from vgg_viz.sections.compare.viewer import payload
from vgg_viz.sections.compare.weights import distance, weights
from vgg_viz.studies.answers import select_images
from vgg_viz.studies.pair import Pictures, grad_cams
from vgg_viz.studies.pair_inputs import shared_classes
from vgg_viz.studies.request import PairRequest

SIDE = 32
HOSTILE = (
    "</script><script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "__proto__",
    "safe\u202egpj.exe",
    "W" * 300,
    "",
    "{{ 7 * 7 }}{% raise %}",
    "../../etc/passwd",
    "$\\frac{",
    '=HYPERLINK("http://x")\ncaf\udce9',
)
HISTORY = (Epoch(1, 2.3, 0.12, 2.2, 0.2, 1e-3, 1.0), Epoch(2, 2.0, 0.3, 2.1, 0.25, 1e-4, 1.0))


@cache
def trained(
    steps: int, *, seed: int = 3, side: int = SIDE, names: tuple[str, ...] = shapes.CLASSES, carried: int = 24
) -> Checkpoint:
    """A Tiny VGG taught for some steps, with painted specimens and a history."""
    wanted = architecture("tiny_vgg", image_side=side, num_classes=len(names), width=0.6)
    model = build(wanted, seed=seed).train()
    batch = shapes.paint(400, seed=7, side=side)
    optimizer = torch.optim.Adam(model.parameters(), 4e-3)
    for step in range(steps):
        here = [i % 400 for i in range(100 * step, 100 * step + 100)]
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(batch.images[here]), batch.labels[here] % len(names)).backward()
        optimizer.step()
    held = shapes.paint(max(carried, 1), seed=7, split="test", side=side)
    specimens = tuple(
        Specimen(
            encode_png(held.images[i]),
            int(held.labels[i]) % len(names),
            held.names[i],
            encode_png(held.masks[i].float()[None]),
        )
        for i in range(carried)
    )
    return Checkpoint(wanted, names, model.eval().state_dict(), HISTORY, specimens)


def saved(folder: Path, **checkpoints: Checkpoint) -> list[Path]:
    for name, checkpoint in checkpoints.items():
        save(folder / f"{name}.pt", checkpoint)
    return [folder / f"{name}.pt" for name in checkpoints]


def paired(*sources, data=None, images=None, preset="quick"):
    first, second = sources
    return open_pair(PairRequest(first=first, second=second, images=images, data=data, preset=preset))


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> Path:
    """Three networks for one task: hardly taught, taught, and taught at another side."""
    folder = tmp_path_factory.mktemp("networks")
    saved(folder, early=trained(6), late=trained(160), small=trained(40, side=24, seed=5))
    return folder


@pytest.fixture(scope="session")
def painted(tmp_path_factory) -> Path:
    return write_shapes(tmp_path_factory.mktemp("shapes") / "set", train=10, val=10, test=80, seed=11, side=48)


class Made:
    """A finished comparison."""

    def __init__(self, first: Path, second: Path, out: Path, **options) -> None:
        self.result = build_comparison(PairRequest(first=first, second=second, out=out, preset="quick", **options))
        self.folder = self.result.index.parent
        self.page = self.result.index.read_text(encoding="utf-8")
        self.manifest = json.loads((self.folder / "manifest.json").read_text(encoding="utf-8"))
        told = {exhibit["slug"]: exhibit["numbers"] for exhibit in self.manifest["exhibits"]}
        self.numbers = {slug: self.read(one["file"]) if set(one) == {"file"} else one for slug, one in told.items()}

    def read(self, file: str) -> dict:
        return json.loads((self.folder / file).read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def made(files, painted, tmp_path_factory) -> Made:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", "1700000000")
        out = tmp_path_factory.mktemp("out") / "g"
        return Made(files / "early.pt", files / "late.pt", out, data=painted, command="vgg_viz compare")


# ---------------------------------------------------------------- what is compared


def with_names(*names: str) -> Checkpoint:
    """A checkpoint whose classes are called so; by their numbers, where nobody has named them."""
    return Checkpoint(architecture("tiny_vgg", num_classes=len(names)), names, {}, named=names != numbered(len(names)))


@pytest.mark.parametrize(
    ("a", "b", "places"),
    [
        (("cat", "dog", "owl"), ("cat", "dog", "owl"), {0: 0, 1: 1, 2: 2}),
        (("cat", "dog", "owl"), ("owl", "elk", "cat"), {0: 2, 2: 0}),
        (("crane", "cat", "crane"), ("cat", "crane", "emu", "crane"), {0: 1, 1: 0, 2: 3}),
        (("class 0", "class 1"), ("class 0", "class 1"), {0: 0, 1: 1}),
    ],
)
def test_classes_are_paired_by_name_and_equal_names_in_their_order(a, b, places):
    assert shared_classes(with_names(*a), with_names(*b), None) == places


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (("cat", "dog"), ("elk", "owl")),
        (("cat", "dog"), ("cat", "owl")),
        (("class 0", "class 1"), ("class 0", "class 1", "class 2")),
    ],
)
def test_fewer_than_two_shared_classes_are_refused_with_what_either_knows(a, b):
    with pytest.raises(InputRefused, match=rf"share .* \(A knows {a[0]}, {a[1]}; B knows {b[0]}.*--classes"):
        shared_classes(with_names(*a), with_names(*b), None)


def test_only_shared_classes_are_compared_each_in_its_own_place(files, painted, tmp_path):
    other = trained(40, seed=4, names=("yacht", *reversed(shapes.CLASSES[2:]), "zebra"))
    (path,) = saved(tmp_path, other=other)
    pair, warnings = paired(files / "late.pt", path, data=painted)
    assert pair.classes == shapes.CLASSES[2:]
    a, b = pair.answers
    assert set(a.labels.tolist()) == set(range(8))
    assert len(a.labels) == 64
    assert any(tells(line, "2 classes", "arrow, circle") for line in warnings)
    whole = predict_logits(build(other), b.batch.images)
    for place_of, name in enumerate(pair.classes):
        assert torch.equal(b.logits[:, place_of], whole[:, other.classes.index(name)])
    assert all(
        name.split("/")[0] == pair.classes[int(label)] for name, label in zip(a.batch.names, a.labels, strict=True)
    )


def test_two_files_without_names_take_those_of_the_folders(painted, tmp_path):
    for number in range(2):
        wanted = architecture("tiny_vgg", num_classes=len(shapes.CLASSES), image_side=SIDE)
        torch.save(build(wanted, seed=number).state_dict(), tmp_path / f"{number}.pth")
    pair, _ = paired(tmp_path / "0.pth", tmp_path / "1.pth", data=painted)
    assert pair.classes == tuple(sorted(shapes.CLASSES))
    assert pair.a.checkpoint.classes == pair.b.checkpoint.classes == pair.classes


def test_networks_of_two_sides_see_the_same_pictures_each_in_the_view_of_its_own_evaluation(files, painted):
    pair, _ = paired(files / "late.pt", files / "small.pt", data=painted)
    one, other = pair.labelled.a, pair.labelled.b
    assert (one.images.shape[-1], other.images.shape[-1]) == (32, 24)
    assert one.names == other.names
    assert torch.equal(one.labels, other.labels)
    apart = (resize(one.images, 24, "cover") - other.images).abs().mean((1, 2, 3))
    strangers = (resize(one.images, 24, "cover") - other.images.roll(7, 0)).abs().mean((1, 2, 3))
    assert apart.max() < 0.04 < strangers.min()
    assert pair.view.images.shape[-1] == 32


def test_without_data_both_are_measured_on_what_they_carry_each_picture_once(tmp_path):
    one, other = trained(6, carried=24), trained(60, carried=32)
    pair, warnings = paired(*saved(tmp_path, one=one, other=other))
    assert len(pair.labelled.a) == 32  # 24 are the same
    assert warnings == []
    pair, warnings = paired(*saved(tmp_path, one=one, bare=replace(other, specimens=())))
    assert len(pair.labelled.a) == 24
    assert any("whether B has learned from them nobody can tell" in line for line in warnings)


def test_a_checkpoint_that_was_trained_on_shapes_brings_the_held_out_split_again(tmp_path):
    told = Provenance("", "", "", data={"kind": "shapes", "seed": 5})
    pair, _ = paired(*saved(tmp_path, one=trained(6), other=replace(trained(60), provenance=told)))
    assert len(pair.labelled.a) == 500
    assert torch.equal(pair.labelled.a.images[:20], shapes.paint(20, seed=5, split="test", side=SIDE).images)
    assert (pair.labelled.origin.kind, pair.labelled.origin.seed) == ("painted", 5)


# ---------------------------------------------------------------- numbers


def by_hand(files: Path, pair, names=("early.pt", "late.pt")) -> list[list[int]]:
    return [build(load(files / name))(pair.labelled.a.images).argmax(1).tolist() for name in names]


def test_the_four_counts_and_the_test_are_those_of_a_count_by_hand(made, files, painted):
    pair, _ = paired(files / "early.pt", files / "late.pt", data=painted)
    with torch.no_grad():
        one, other = by_hand(files, pair)
    labels = pair.labelled.a.labels.tolist()
    right = [(a == t, b == t) for a, b, t in zip(one, other, labels, strict=True)]
    fixed, broken = right.count((False, True)), right.count((True, False))
    assert fixed > 5  # else nothing is shown
    alike = sum(a == b != t for a, b, t in zip(one, other, labels, strict=True))
    assert made.numbers["compare-transitions"] == {
        "n": 80,
        "same_answer": sum(a == b for a, b in zip(one, other, strict=True)),
        "both_right": right.count((True, True)),
        "only_b_right": fixed,
        "only_a_right": broken,
        "both_wrong_alike": alike,
        "both_wrong_differently": right.count((False, False)) - alike,
    }
    told = made.numbers["compare-facts"]["answers"]
    assert told["mcnemar_p"] == pytest.approx(mcnemar_exact(broken, fixed))
    assert told["difference"] == pytest.approx((fixed - broken) / 80)
    assert told["interval"][0] < told["difference"] < told["interval"][1]
    found = made.manifest["findings"]
    assert found[0]["level"] == "good"
    assert tells(found[0]["text"], "B is better", " 80 ")
    assert tells(found[1]["text"], f"right on {fixed} ")
    changed = made.numbers["compare-changed"]
    assert (changed["was_wrong_now_right"], changed["was_right_now_wrong"]) == (fixed, broken)
    for shown in changed["shown"][0]:
        assert shown["b"]["predicted"] == shown["true"] != shown["a"]["predicted"]
        assert shown["name"].startswith(shown["true"])
    classes = made.numbers["compare-classes"]["classes"]
    for index, row in enumerate(classes):
        here = [pair_of for pair_of, label in zip(right, labels, strict=True) if label == index]
        assert (row["right_a"], row["right_b"], row["n"]) == (sum(a for a, _ in here), sum(b for _, b in here), 8)
    change = np.array(made.numbers["compare-confusion"]["change"])
    assert change.sum(1).tolist() == [0] * 10
    assert np.trace(change) == fixed - broken


def test_swapping_a_and_b_turns_every_difference_round(files, painted):
    names = ("early.pt", "late.pt")
    forth, back = (paired(files / one, files / other, data=painted)[0] for one, other in (names, names[::-1]))
    one, other = score(forth), score(back)
    assert one.difference == -other.difference != 0
    assert one.interval == pytest.approx((-other.interval[1], -other.interval[0]))
    assert one.p == other.p
    assert forth.changed == back.changed[::-1]
    assert [finding.level for finding in (headline(forth)[0], headline(back)[0])] == ["good", "warn"]


@pytest.mark.parametrize(
    ("p", "words"),
    [
        (0.5, "in 5 of 10 cases"),
        (1.0, "in 10 of 10 cases"),
        (0.031, "in 3 of 100 cases"),
        (0.0004, "in 4 of 10,000 cases"),
        (2e-7, "in fewer than 1 of 1,000,000 cases"),
        (0.0, "in fewer than 1 of 1,000,000 cases"),
    ],
)
def test_chance_is_told_as_a_frequency(p, words):
    assert by_chance(p) == words


def test_the_same_file_twice_says_so_and_differs_in_nothing(files, tmp_path):
    made = Made(files / "late.pt", files / "late.pt", tmp_path)
    assert made.result.missing == ()
    assert made.folder.name == "late-vs-late"
    assert "the same file" in made.manifest["findings"][0]["text"]
    assert (
        made.numbers["compare-transitions"]["only_a_right"] == made.numbers["compare-transitions"]["only_b_right"] == 0
    )
    assert made.numbers["compare-facts"]["answers"]["mcnemar_p"] == 1.0
    assert {row["relative"] for row in made.numbers["compare-distances"]["layers"]} == {0.0}
    differences = [entry for entry in told_to_viewer(made.page)["maps"] if entry["method"].startswith("difference")]
    assert differences
    # Zero lies between the bytes 127 and 128.
    assert all(abs(decoded(entry)).max() <= (entry["high"] - entry["low"]) / 500 for entry in differences)


def test_distance_is_zero_for_the_same_and_the_root_of_two_for_strangers():
    dice = torch.Generator().manual_seed(0)
    a, b = torch.randn(40, 30, 3, 3, generator=dice), torch.randn(40, 30, 3, 3, generator=dice)
    assert (distance("x", a, a).relative, distance("x", a, a).cosine) == pytest.approx((0, 1), abs=1e-6)
    assert distance("x", a, b).relative == pytest.approx(math.sqrt(2), abs=0.02)
    assert distance("x", a, 5 * b).relative == pytest.approx(math.sqrt(2), abs=0.02)  # of whatever size
    assert distance("x", a, -a).relative == pytest.approx(2)
    assert distance("x", torch.zeros(3), torch.zeros(3)).relative == 0


def test_one_start_is_told_from_two(made, files, tmp_path):
    assert made.numbers["compare-distances"]["mean_cosine"] > 0.5  # early and late are one run
    (path,) = saved(tmp_path, other=trained(60, seed=9))
    strangers = {exhibit.slug: exhibit.numbers for exhibit in weights(paired(files / "late.pt", path)[0])}
    assert abs(strangers["compare-distances"]["mean_cosine"]) < 0.1


# ---------------------------------------------------------------- maps


def test_maps_are_those_of_either_network_for_its_own_number_of_the_class_placed_by_fields(files, tmp_path):
    other = trained(40, seed=4, names=tuple(reversed(shapes.CLASSES)))
    (path,) = saved(tmp_path, other=other)
    pair, _ = paired(files / "late.pt", path)
    classes = pair.inspected.a.labels
    found = grad_cams(pair, pair.inspected, classes, SIDE)
    for number, network in enumerate((pair.a, pair.b)):
        own = torch.tensor([network.checkpoint.classes.index(pair.classes[int(c)]) for c in classes])
        layer = network.report_layer()[0]
        alone = attribute(network.model, pair.inspected.a.images, method="grad_cam", target=own, layer=layer)
        assert torch.allclose(found.raw[number], alone.values, atol=1e-6)
        field = next(row.field for row in network.rows if row.name == layer)
        assert torch.allclose(found.placed[number], place(alone.values, field, SIDE), atol=1e-6)


def test_where_has_the_mean_one_and_an_empty_map_stays_empty(files):
    pair, _ = paired(files / "early.pt", files / "late.pt")
    found = grad_cams(pair, pair.inspected, pair.inspected.a.labels, SIDE)
    means = found.where.mean((2, 3))
    empty = found.placed.amax((2, 3)) == 0
    assert not empty.all()
    assert torch.allclose(means, (~empty).float(), atol=1e-4)


def test_a_flipped_picture_is_asked_for_the_right_class_rather_than_the_wrong_answer_in_both(files, painted):
    """Oracle: Grad-CAM without its last ReLU is linear in the score, so the map of a difference is the difference of two maps."""
    pair, _ = paired(files / "early.pt", files / "late.pt", data=painted)
    found = flips_of(pair)
    a, b = pair.answered()
    for place_of, right, wrong, gained in zip(found.places, found.right, found.wrong, found.gained, strict=True):
        assert a.labels[place_of] == right != wrong
        assert (a, b)[0 if gained else 1].predicted[place_of] == wrong
        assert (b, a)[0 if gained else 1].predicted[place_of] == right
    sample = Pictures(select_images(pair.labelled.a, found.places), select_images(pair.labelled.b, found.places))
    maps, strongest = contrast(pair, sample, found.right, found.wrong, SIDE)
    for number, network in enumerate((pair.a, pair.b)):
        layer = network.report_layer()[0]
        options = {"method": "grad_cam", "layer": layer, "relu": False}
        one, other = (
            attribute(network.model, sample.a.images, target=network.columns[classes], **options).values
            for classes in (found.right, found.wrong)
        )
        raw = one - other
        field = next(row.field for row in network.rows if row.name == layer)
        assert torch.allclose(maps[number], place(raw / raw.abs().mean((1, 2), keepdim=True), field, SIDE), atol=1e-3)
        assert torch.allclose(strongest[number], raw.abs().amax((1, 2)), atol=1e-5)
    assert flips_of(paired(files / "late.pt", files / "late.pt", data=painted)[0]) is None


def test_layers_of_one_network_do_not_drift_and_those_of_two_do(files, painted):
    (same,), (two,) = (
        [
            part.numbers
            for part in attention(paired(files / first, files / "late.pt", data=painted)[0])
            if part.slug == "compare-depth"
        ]
        for first in ("late.pt", "early.pt")
    )
    assert [row["layer"] for row in two["layers"]] == ["relu1_1", "relu1_2", "relu2_1", "relu2_2"]
    for row in same["layers"]:
        assert (row["drift"], row["interval"]) == (0, (0, 0))
        assert row["mass"][0] == row["mass"][1]
        assert row["entropy"][0] == row["entropy"][1]
    assert all(
        0.05 < row["drift"] < 1.5 and row["interval"][0] < row["drift"] < row["interval"][1] for row in two["layers"]
    )
    slugs = [part.slug for part in attention(paired(files / "late.pt", files / "small.pt", data=painted)[0])]
    assert "compare-depth" not in slugs  # layers of two sides are no pairs
    assert "compare-agreement" in slugs


def test_the_figure_of_layers_refuses_values_of_another_number_of_layers():
    measures = [Measure("x", np.array([[0.1, 0.2], [0.3, 0.4]])), Measure("y", np.array([[0.5, np.nan]]))]
    figure = layers_of_two(["a", HOSTILE[0]], measures)
    assert [list(line.get_xdata()) for line in figure.axes[0].get_lines()] == [[0.1, 0.2], [0.3, 0.4]]
    with pytest.raises(VggVizError, match="a value for each of the 3 layers"):
        layers_of_two(["a", "b", "c"], [Measure("x", np.zeros((2, 2)))])


def decoded(entry: dict) -> np.ndarray:
    levels = np.frombuffer(base64.b64decode(entry["data"]), np.uint8).astype(float).reshape(entry["h"], entry["w"])
    return entry["low"] + levels * (entry["high"] - entry["low"]) / 255


def test_the_viewer_holds_both_maps_on_one_range_and_their_true_difference(files, painted):
    # At two sides: A's map is that of its layer, B's was laid on A's photo in pixels.
    pair, _ = paired(files / "late.pt", files / "small.pt", data=painted)
    labels = pair.inspected.a.labels
    found = grad_cams(pair, pair.inspected, labels, SIDE)
    said = [pair.a.answers(pair.inspected.a), pair.b.answers(pair.inspected.b)]
    stored = {
        (m["photo"], m["method"], m["target"]): m
        for m in unpacked(payload_json(payload(pair, pair.view, said, {"true": labels}, {"true": found})))["maps"]
    }
    photos = {photo for photo, _, _ in stored}
    assert len(photos) == len(pair.inspected.a)
    for photo in photos:
        for kind, whole in (("where", found.where), ("how-much", found.placed)):
            a, b, apart = (stored[photo, f"{name}-{kind}", "true"] for name in ("a", "b", "difference"))
            assert a["low"] == b["low"] == 0
            assert (
                a["high"] == b["high"] == apart["high"] == -apart["low"] == a["limit"] == b["limit"] == apart["limit"]
            )
            step = a["high"] / 255
            assert abs(decoded(b) - whole[1, photo].numpy()).max() <= step
            assert abs(decoded(apart) - (whole[1] - whole[0])[photo].numpy()).max() <= 2 * step
            assert a["layer"] == f"{pair.a.report_layer()[0]} of A"
            assert b["layer"] is None


# ---------------------------------------------------------------- the page


def test_the_gallery_is_whole_and_stands_in_the_index(made):
    assert made.folder.name == "early-vs-late"
    assert made.result.missing == ()
    for exhibit in made.manifest["exhibits"]:
        assert exhibit["file"] is None or (made.folder / exhibit["file"]).is_file()
        assert all(exhibit["caption"].values())
        assert exhibit["alt"]
    assert {
        "compare-facts",
        "compare-transitions",
        "compare-changed",
        "compare-classes",
        "compare-calibration",
        "compare-attention",
        "compare-viewer",
        "compare-training",
        "compare-kernels",
        "compare-distances",
    } <= set(made.numbers)
    index = (made.folder.parent / "index.html").read_text(encoding="utf-8")
    assert 'href="./early-vs-late/index.html"' in index
    assert "B is better" in index


def test_both_checksums_and_no_path_are_on_the_page(made, files):
    from hashlib import sha256

    for name in ("early.pt", "late.pt"):
        assert sha256((files / name).read_bytes()).hexdigest() in made.page
    for file in [made.folder / "manifest.json", made.result.index]:
        text = file.read_text(encoding="utf-8")
        assert str(files) not in text
        assert f"/{getpass.getuser()}/" not in text


def test_hostile_names_stay_text_and_the_command_says_where_the_page_is(tmp_path, capsys):
    one, other = (replace(trained(steps), classes=HOSTILE) for steps in (6, 60))
    files = saved(tmp_path, **{"a<b>&": one, "late": other})
    line = [
        "compare",
        *map(str, files),
        "--out",
        str(tmp_path / "out"),
        "--preset",
        "quick",
        "--quiet",
        "--device",
        "cpu",
        "--json",
    ]
    assert main(line) == 0
    told = json.loads(capsys.readouterr().out)
    (index,) = (tmp_path / "out").glob("*/index.html")
    assert told.pop("findings")
    assert told == {"index": str(index), "missing": [], "alarms": [], "warnings": [], "standalone": None, "next": []}
    for file in index.parent.rglob("*"):
        if file.suffix in (".html", ".svg"):
            text = file.read_text(encoding="utf-8")
            assert not any(sign in text for sign in ("<script>alert", "<img src=x", "onerror=alert(1)>", "\u202e"))
    assert re.fullmatch(r"[\w.-]+", index.parent.name)


def test_two_files_of_one_name_are_told_apart_by_their_runs_or_their_checksums(tmp_path):
    for name, steps in (("one", 6), ("two", 60)):
        (tmp_path / name).mkdir()
        save(tmp_path / name / "vgg.pt", trained(steps))
        save(tmp_path / name / "best.pt", trained(steps))
    pair, _ = paired(tmp_path / "one" / "vgg.pt", tmp_path / "two" / "vgg.pt")
    assert pair.a.name == f"vgg.pt ({pair.a.source.sha256[:6]})" != pair.b.name
    runs, _ = paired(tmp_path / "one" / "best.pt", tmp_path / "two" / "best.pt")
    assert (runs.a.name, runs.b.name) == ("one/best.pt", "two/best.pt")


def test_networks_of_different_kinds_and_random_ones_are_compared_without_a_gap(files, painted, tmp_path):
    (names,) = [tmp_path / "names.txt"]
    names.write_text("\n".join(shapes.CLASSES), encoding="utf-8")
    wide = build("vgg11", num_classes=len(shapes.CLASSES), image_side=32, width=0.1, seed=1)
    save(tmp_path / "vgg.pt", Checkpoint(wide.architecture, shapes.CLASSES, wide.state_dict(), HISTORY))
    made = Made(files / "late.pt", tmp_path / "vgg.pt", tmp_path / "g", data=painted)
    assert made.result.missing == ()
    assert made.manifest["findings"][0]["level"] == "warn"
    assert "compare-distances" not in made.numbers
    assert made.numbers["compare-layers"]["same_architecture"] is False


def test_random_weights_are_called_that(files):
    options = {"classes": list(shapes.CLASSES), "image_size": SIDE}
    pair, _ = open_pair(PairRequest(first=files / "late.pt", second="tiny_vgg", preset="quick", overrides=options))
    found = headline(pair)
    assert found[0].text.startswith("A is better")
    assert tells(found[-1].text, "B ", "random weights")
    assert not any("random" in finding.text for finding in headline(paired(files / "early.pt", files / "late.pt")[0]))


def test_without_any_picture_the_page_says_what_is_missing_and_what_fills_it(tmp_path):
    bare = [replace(trained(steps), specimens=(), history=()) for steps in (6, 60)]
    made = Made(*saved(tmp_path, one=bare[0], other=bare[1]), tmp_path / "g")
    assert {title for title, _ in made.result.missing} == {"What changed", "Confidence", "Attention"}
    assert "no training history" in made.page  # which nobody can ask of somebody else's files
    assert "--data DIR" in made.page
    assert "--images DIR" in made.page
    assert "compare-kernels" in made.numbers


def test_pictures_without_labels_are_looked_into_for_the_classes_that_either_chose(files, painted):
    pair, _ = paired(files / "early.pt", files / "late.pt", images=painted / "test" / "star")
    shown = {exhibit.slug: exhibit for exhibit in attention(pair)}
    assert {entry["target"] for entry in unpacked(shown["compare-viewer"].viewer)["maps"]} == {"A-chosen", "B-chosen"}
    assert tells(shown["compare-attention"].caption.see, "A chose")
    assert shown["compare-attention"].numbers["inside_mask"] is None


# ---------------------------------------------------------------- figures


def test_the_dots_of_the_class_chart_stand_at_the_accuracies():
    right, n = np.array([[1, 6], [3, 2]]), np.array([4, 8])
    ends = np.array([[0.1, 0.8], [-0.9, 0.1]])
    figure = paint.class_accuracy(["cat", "dog"], right, n, np.array([0.5, -0.5]), ends)
    left, beside = figure.axes
    lines = {line.get_label(): line.get_xdata().tolist() for line in left.lines}
    assert lines["A"] == [25, 75]
    assert lines["B"] == [75, 25]
    assert beside.collections[-1].get_offsets()[:, 0].tolist() == [50, -50]


def test_the_bar_of_transitions_has_every_picture_once():
    figure = paint.transitions((("both right", 3), ("only B", 2), ("only A", 1), ("alike", 0), ("apart", 4)))
    (axes,) = figure.axes
    bars = [(bar.get_x(), bar.get_width()) for bar in axes.patches]
    assert bars == [(0, 3), (3, 2), (5, 1), (6, 0), (6, 4)]


def test_the_difference_of_confusions_writes_every_change_with_its_sign_on_one_symmetric_scale():
    figure = confusion_difference(np.array([[2, -2], [0, 0]]), ["cat", "dog"])
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["+2", "−2"]
    assert axes.images[0].get_clim() == (-2, 2)
    assert len(confusion_difference(np.zeros((2, 2), int), ["cat", "dog"]).axes[0].texts) == 0


def test_the_plane_counts_every_picture_once_with_a_across_and_b_up():
    shares = np.array([[0.01, 0.99, 0.99], [0.99, 0.99, 0.99]])
    image = paint.chosen_confidence(shares).axes[0].images[0].get_array()
    assert (10 ** image[19, 19], 10 ** image[19, 0]) == pytest.approx((2, 1))
    assert image.mask.sum() == 398


def test_both_calibrations_stand_at_what_was_claimed_and_kept():
    one, other = Bin(0.0, 0.1, 10, 0.07, 0.5), Bin(0.9, 1.0, 20, 0.97, 0.9)
    axes = two_calibrations([one], [other]).axes[0]
    lines = [line for line in axes.lines if len(line.get_xdata()) == 1 and line.get_marker() in ("o", "s")]
    points = {(line.get_xdata()[0], line.get_ydata()[0]) for line in lines}
    assert points == {(0.07, 0.5), (0.97, 0.9)}


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("there is no", ["late.pt", "gone.pt"]),
        ("text file", ["notes.txt", "late.pt"]),
        ("folder", ["late.pt", "empty"]),
        ("share no classes", ["late.pt", "tiny_vgg"]),
        ("no class folders", ["early.pt", "late.pt", "--data", "bare"]),
        ("none of which both", ["early.pt", "late.pt", "--data", "strangers"]),
        ("does not exist", ["early.pt", "late.pt", "--data", "nowhere"]),
        ("there is no", ["early.pt", "late.pt", "--images", "nowhere"]),
        ("not a gallery", ["early.pt", "late.pt", "--out", "taken"]),
    ],
)
def test_bad_input_is_refused_in_one_sentence_and_nothing_is_changed(words, line, files, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("early.pt", "late.pt"):
        (tmp_path / name).write_bytes((files / name).read_bytes())
    (tmp_path / "notes.txt").write_text("no weights here")
    for folder in ("empty", "bare", "strangers/elk", "taken/early-vs-late"):
        (tmp_path / folder).mkdir(parents=True)
    picture = encode_png(shapes.paint(1, side=16).images[0])
    (tmp_path / "bare" / "x.png").write_bytes(picture)
    (tmp_path / "strangers" / "elk" / "x.png").write_bytes(picture)
    (tmp_path / "taken" / "early-vs-late" / "thesis.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    assert main(["compare", *line, "--quiet", "--device", "cpu"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("vgg_viz compare: ")
    assert words in captured.err
    assert sorted(tmp_path.rglob("*")) == before
