"""One picture explained: planted evidence is what has to go, every number is the one of the method, and odd input is one sentence."""

from __future__ import annotations

import json
import shlex
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from loose_options import attribute
from PIL import Image
from telling import tells
from viewer_data import unpacked

from vgg_viz.api import explain
from vgg_viz.attribution.method import METHODS
from vgg_viz.attribution.targets import Against
from vgg_viz.cli import main
from vgg_viz.errors import InputRefused, UnknownName
from vgg_viz.figures.explanation import ExplanationSheet
from vgg_viz.figures.explanation import explanation as paint
from vgg_viz.maths.heatmaps import Scale, on_picture
from vgg_viz.maths.images import decode, encode_png
from vgg_viz.models.build import architecture, build
from vgg_viz.models.checkpoint import save
from vgg_viz.models.geometry import fields_of
from vgg_viz.number_text import percent
from vgg_viz.records import Checkpoint, Neuron
from vgg_viz.sections.explain import counterfactual, depth, maps, summary_figure
from vgg_viz.sections.explain.summary import findings, no_better, removed
from vgg_viz.studies import saved_maps
from vgg_viz.studies.perturbation_path import hide_stepwise
from vgg_viz.studies.picture import explain_picture
from vgg_viz.studies.picture_maps import UNIT
from vgg_viz.studies.picture_request import class_of, parse_question, resolve_classes
from vgg_viz.studies.request import PictureRequest

SIDE, PATCH = 32, (12, 10, 20, 18)  # x0, y0, x1, y1 [px]
HOSTILE = (
    "</script><script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "safe\u202egpj.exe",
    "W" * 300,
    "",
    "{{ 7 * 7 }}",
)


def redness() -> Checkpoint:
    """A Tiny VGG that says "red" where there is something red, however small, and "grey" otherwise: made by hand."""
    model = build(
        architecture("tiny_vgg", image_side=SIDE, num_classes=3, width=0.2, mean=(0, 0, 0), std=(1, 1, 1)), seed=0
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        convolutions = [module for module in model.modules() if isinstance(module, torch.nn.Conv2d)]
        convolutions[0].weight[0, :, 1, 1] = torch.tensor([1.0, -0.5, -0.5])
        convolutions[0].bias[0] = -0.7  # a blur of something red is not red enough
        for convolution in convolutions[1:]:
            convolution.weight[0, 0, 1, 1] = 1.0
        last = [module for module in model.modules() if isinstance(module, torch.nn.Linear)][-1]
        last.weight[0].view(2, -1)[0] = 1.0
        last.bias[1] = 0.25
    return Checkpoint(model.architecture, ("red", "grey", "neither"), model.state_dict())


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """Checkpoints and pictures of all kinds."""
    folder = tmp_path_factory.mktemp("explain")
    save(folder / "red.pt", redness())
    dice = torch.Generator().manual_seed(3)
    picture = (0.5 + 0.1 * torch.rand(1, SIDE, SIDE, generator=dice)).expand(3, -1, -1).clone()
    x0, y0, x1, y1 = PATCH
    picture[:, y0:y1, x0:x1] = torch.tensor([1.0, 0.1, 0.1])[:, None, None]
    (folder / "patch.png").write_bytes(encode_png(picture))
    image = Image.fromarray((255 * torch.rand(48, 64, 3, generator=dice)).byte().numpy())
    image.save(folder / "wide.png")
    image.convert("L").save(folder / "grey.png")
    image.convert("RGBA").save(folder / "alpha.png")
    image.resize((3, 2)).save(folder / "tiny.png")
    image.resize((4000, 1)).save(folder / "thin.png")
    square = image.crop((8, 0, 56, 48))
    square.save(folder / "upright.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    square.transpose(Image.Transpose.ROTATE_90).save(folder / "turned.png", exif=exif)
    (folder / "noise.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing of the kind")
    (folder / "words.txt").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def planted(files):
    return explain_picture(PictureRequest(source=files / "red.pt", image=files / "patch.png"))


@pytest.fixture(scope="module")
def bundled(files):
    return explain_picture(
        PictureRequest(
            source=None, image=files / "upright.png", methods=("grad_cam,input_x_gradient", "saliency"), target="star"
        )
    )


# ---------------------------------------------------------------- what had to go


def test_the_region_that_has_to_go_is_the_patch_that_decides(planted):
    x0, y0, x1, y1 = PATCH
    area = (x1 - x0) * (y1 - y0) / SIDE**2
    region = planted.removal.rank < planted.removal.share
    inside = region[y0 - 3 : y1 + 3, x0 - 3 : x1 + 3]
    assert planted.classes[planted.computed.classes.predicted] == "red"
    assert planted.classes[planted.removal.becomes] == "grey"
    assert 0.2 * area < planted.removal.share < 2 * area
    assert int(inside.sum()) == int(region.sum())
    assert int(region[y0:y1, x0:x1].sum()) > 0.7 * int(region.sum())


def test_a_random_order_takes_several_times_as_much_and_the_sentence_says_so(planted):
    shares = [1.0 if share is None else share for share in planted.removal.chance_shares]
    assert len(shares) == 8
    assert np.median(shares) > 4 * planted.removal.share
    assert not no_better(planted.removal)
    said = removed(planted)
    assert said.startswith("Blurring ")
    assert "turns red (" in said
    assert "into grey (" in said
    assert "in random order it takes" in said
    assert "again" not in said, "the patch is gone, and nothing brings the answer back"


def test_the_hidden_picture_is_the_picture_outside_of_the_region(planted):
    region = planted.removal.rank < planted.removal.share
    image = planted.batch.images[0]
    assert torch.equal(planted.removal.hidden[:, ~region], image[:, ~region])
    assert not torch.equal(planted.removal.hidden[:, region], image[:, region])


def test_the_shares_on_the_path_are_hidden_exactly_and_the_answers_are_the_networks_own(planted):
    found = planted.removal
    assert found.by_map.shares.tolist() == sorted(found.by_map.shares.tolist())
    assert (float(found.by_map.shares[0]), float(found.by_map.shares[-1])) == (0.0, 1.0)
    at = found.by_map.changed(found.answer)
    with torch.no_grad():
        again = planted.model(found.hidden[None])[0]
    torch.testing.assert_close(found.by_map.logits[at], again)
    assert int(found.by_map.answers[at - 1]) == found.answer != int(again.argmax())
    for path in found.by_chance:
        torch.testing.assert_close(path.logits[[0, -1]], found.by_map.logits[[0, -1]])


def test_what_goes_first_has_most_of_the_difference_between_the_two_classes(bundled):
    order = bundled.removal.rank.flatten().argsort()
    difference = bundled.computed.difference("grad_cam")
    raw = on_picture(difference.values[:1].float(), difference.layer, fields_of(bundled.rows), bundled.size)[
        0
    ].flatten()[order]
    assert bundled.computed.classes.pair == (bundled.removal.answer, bundled.removal.expected)
    assert bool((raw.diff() <= 0).all())


def test_the_figures_show_what_was_hidden_and_what_was_measured(planted):
    shown = counterfactual.hidden(planted)
    changed = np.abs(shown.picture - planted.batch.images[0].movedim(0, -1).numpy()).max(-1) > 0
    assert not (changed & ~shown.region).any()
    assert (changed == shown.region).mean() > 0.99
    (exhibit,) = counterfactual.counterfactual(planted)
    lines = {tuple(np.round(line.get_ydata(), 4)) for line in exhibit.figure.axes[0].lines}
    for index in (planted.removal.answer, planted.removal.expected):
        assert tuple(np.round(100 * planted.removal.by_map.probabilities[:, index].numpy(), 4)) in lines
    assert exhibit.numbers["share"] == shown.share == planted.removal.share


def test_each_method_is_put_to_the_same_test(bundled):
    assert set(bundled.others) == {"input_x_gradient", "saliency"}
    found = bundled.others["input_x_gradient"]
    assert (found.answer, found.expected) == (bundled.removal.answer, bundled.removal.expected)
    assert not torch.equal(found.rank, bundled.removal.rank)
    (exhibit,) = counterfactual.counterfactual(bundled)
    shares = {"grad_cam": bundled.removal.share, **{name: one.share for name, one in bundled.others.items()}}
    assert exhibit.numbers["shares_by_method"] == shares
    assert "In the order of Saliency it takes" in exhibit.caption.read


def test_the_wrong_order_needs_more_and_is_said_to_be_no_better_than_chance(planted):
    def answer(pictures):
        with torch.no_grad():
            return planted.model(pictures)

    image = planted.batch.images[0]
    worst = hide_stepwise(answer, image, planted.removal.rank.float(), said=0, expected=1, orders=4)
    assert worst.share > 8 * planted.removal.share
    assert no_better(worst)
    flat = hide_stepwise(answer, image, torch.zeros(SIDE, SIDE), said=0, expected=1, orders=4)
    assert flat.rank.flatten().diff().abs().mean() > 0.2, "equal values must not be hidden row by row"


def test_where_a_blur_of_everything_changes_nothing_a_tone_hides_and_the_page_says_which(files):
    image = torch.tensor([0.9, 0.1, 0.1])[:, None, None].expand(3, SIDE, SIDE).clone()

    def answer(pictures):  # by the colour of the whole
        warm = pictures[:, 0].mean((1, 2)) - pictures[:, 1].mean((1, 2))
        return torch.stack([20 * warm, torch.full_like(warm, 4.0)], 1)

    found = hide_stepwise(
        answer, image, torch.rand(SIDE, SIDE, generator=torch.Generator().manual_seed(1)), said=0, expected=1
    )
    assert found.cover == "grey"
    assert found.share == pytest.approx(0.75, abs=0.01)
    assert float(found.all_hidden["blur"][0]) > 4


def test_an_answer_that_nothing_changes_is_told_and_shown_as_such(files, tmp_path):
    checkpoint = redness()
    checkpoint.weights["classifier.1.bias"][0] = 9.0
    save(tmp_path / "sure.pt", checkpoint)
    found = explain_picture(PictureRequest(source=tmp_path / "sure.pt", image=files / "patch.png"))
    assert found.removal.share is found.removal.becomes is None
    assert removed(found).startswith("However much of the picture is blurred or painted over")
    assert next(summary_figure.summary_figure(found)).figure.get_size_inches()[0] > 5


# ---------------------------------------------------------------- maps


def test_every_map_is_the_one_that_its_method_gives(bundled):
    classes = bundled.computed.classes
    assert bundled.question.methods == ("grad_cam", "input_x_gradient", "saliency")
    assert set(bundled.computed.maps) == {
        (name, index) for name in bundled.question.methods for index in classes.targets
    }
    for (name, index), one in bundled.computed.maps.items():
        options = {"layer": bundled.computed.layer} if name == "grad_cam" else {}
        alone = attribute(bundled.model, bundled.batch.images, method=name, target=index, relu=False, **options)
        torch.testing.assert_close(one.values, alone.values, rtol=1e-4, atol=1e-6)
        assert (one.layer, one.signed) == (alone.layer, alone.signed)


def test_the_difference_of_signed_maps_is_the_map_of_one_class_against_the_other(bundled):
    pair = bundled.computed.classes.pair
    for name in ("grad_cam", "input_x_gradient"):
        options = {"layer": bundled.computed.layer} if name == "grad_cam" else {}
        alone = attribute(
            bundled.model, bundled.batch.images, method=name, target=Against(*pair), relu=False, **options
        )
        torch.testing.assert_close(bundled.computed.difference(name).values, alone.values, rtol=1e-4, atol=1e-6)


def test_the_maps_of_the_sheet_share_one_signed_scale_with_zero_in_its_middle(bundled):
    panels, scale = summary_figure.panels_of(bundled)
    values = np.stack([panel for _, panel in panels])
    assert scale.signed
    assert scale.low == -scale.high
    assert scale.high == pytest.approx(float(np.quantile(np.abs(values), 0.98)), rel=0.02), "a few peaks lie beyond"
    assert 0 < scale.clipped < 0.0201
    first, second, difference, against = values
    assert bundled.computed.classes.pair == bundled.computed.about
    np.testing.assert_allclose(difference, first - second, atol=1e-6)
    np.testing.assert_array_equal(against, np.minimum(first, 0))


def test_the_channels_add_up_to_the_sum_of_the_map(bundled):
    whole = bundled.computed.maps["grad_cam", bundled.computed.predicted].values.sum()
    torch.testing.assert_close(bundled.computed.channels.sum(), whole, rtol=1e-4, atol=1e-5)
    assert bundled.computed.activation.shape[0] == len(bundled.computed.channels)


def test_the_layer_sheet_has_every_convolution_with_its_map_and_field(bundled):
    (shown,) = depth.layers(bundled)
    rows = {row.name: row for row in bundled.rows}
    assert shown.numbers["layers"] == [name for name in rows if name.startswith("relu")]
    for name, size, field in zip(*(shown.numbers[key] for key in ("layers", "map", "field")), strict=True):
        assert size == " × ".join(map(str, rows[name].shape[1:]))
        assert field == rows[name].field.size
    text = " ".join(one.get_text() for one in shown.figure.findobj() if hasattr(one, "get_text"))
    assert "each layer's own map" in text
    assert "sees 14 px" in text


@pytest.mark.parametrize(
    ("methods", "deep"),
    [
        (["saliency"], "grad_cam"),
        (["saliency", "hires_cam", "grad_cam"], "hires_cam"),
        (["layer_cam"], "layer_cam"),
        (["eigen_cam"], "grad_cam"),
    ],
)
def test_the_layer_sheet_is_of_the_first_method_that_gives_all_layers_and_says_so_where_none_does(files, methods, deep):
    found = explain_picture(PictureRequest(image=files / "upright.png", methods=methods, preset="quick"))
    (shown,) = depth.layers(found)
    assert shown.numbers["method"] == found.computed.deep == deep
    for layer, one in found.computed.by_layer.items():
        alone = attribute(
            found.model, found.batch.images, method=deep, target=found.computed.predicted, layer=layer, relu=False
        )
        torch.testing.assert_close(one.values, alone.values, rtol=1e-4, atol=1e-7)
        assert one.signed == alone.signed
    title, viewer = METHODS[deep].title, next(maps.maps(found))
    assert f"{title} for" in shown.caption.see
    assert ("hence Grad-CAM" in shown.caption.see) == (deep not in methods)
    assert (f"{title} at every convolution" in viewer.caption.see) == (deep in methods)
    layers = {one["layer"] for one in unpacked(viewer.viewer)["maps"] if one["method"] == deep}
    assert layers == (set(found.computed.by_layer) if deep in methods else set())


def test_what_the_shared_pass_gives_costs_no_pass_of_its_own(files):
    alone, several = (
        explain_picture(PictureRequest(image=files / "upright.png", methods=names, preset="quick"))
        for names in (["grad_cam"], ["hires_cam", "grad_cam", "saliency"])
    )
    assert several.computed.passes == alone.computed.passes


def test_a_flat_map_is_said_to_be_flat(files, tmp_path):
    checkpoint = redness()
    checkpoint.weights["classifier.1.weight"].zero_()
    save(tmp_path / "flat.pt", checkpoint)
    found = explain_picture(PictureRequest(source=tmp_path / "flat.pt", image=files / "patch.png", preset="quick"))
    assert any("flat" in finding.text and "Grad-CAM" in finding.text for finding in findings(found))
    panels, scale = summary_figure.panels_of(found)
    assert all(lines[1] == "flat: zero everywhere" for lines, _ in panels)
    assert scale.low == scale.high == 0


def test_a_unit_is_asked_about_in_place_of_a_class(bundled, files):
    found = explain_picture(
        PictureRequest(
            source=None, image=files / "upright.png", unit="conv2_1:3:5,6", methods=("input_x_gradient", "grad_cam")
        )
    )
    neuron = Neuron("conv2_1", 3, 5, 6)
    alone = attribute(found.model, found.batch.images, method="input_x_gradient", target=neuron)
    torch.testing.assert_close(found.computed.maps["input_x_gradient", UNIT].values, alone.values, rtol=1e-4, atol=1e-7)
    assert found.removal is found.computed.classes is None
    assert list(found.computed.by_layer) == ["relu1_1", "relu1_2"]
    outside = found.map("input_x_gradient", UNIT)[~torch.from_numpy(summary_figure._seen_by_unit(found))]
    assert not bool(outside.any())
    assert "conv2_1:3:5,6" in findings(found)[0].text
    told = unpacked(next(maps.maps(found)).viewer)
    assert {told["classes"][one["class"]] for one in told["maps"]} == {"unit conv2_1:3:5,6"}
    assert {one["unit"] for one in told["methods"]} == {"activation"}


# ---------------------------------------------------------------- the question


asked = partial(PictureRequest, image="picture.png")
LOGITS = torch.tensor([0.5, 3.0, 2.0, 1.0])  # class 1, then 2, 3, 0


@pytest.mark.parametrize(("target", "against", "expected", "pair"), [
    (None, None, 2, (1, 2)), (3, None, 3, (1, 3)), (1, None, 2, (1, 2)), (None, 0, 0, (1, 0)), (3, 0, 3, (3, 0)), (1, 0, 0, (1, 0)),
    (3, 1, 3, (3, 1)), ("runner-up", None, 2, (1, 2)), ("predicted", 3, 3, (1, 3)),
])  # fmt: skip
def test_what_is_expected_and_what_is_subtracted_follow_from_what_was_said(target, against, expected, pair):
    question = parse_question(
        build("tiny_vgg", image_side=SIDE, num_classes=4), ("a", "b", "c", "d"), asked(target=target, against=against)
    )
    found = resolve_classes(question, LOGITS)
    assert (found.predicted, found.expected, found.pair) == (1, expected, pair)
    assert found.expected_given == (target is not None)


def test_one_class_against_itself_is_refused_also_when_the_network_says_it():
    model = build("tiny_vgg", image_side=SIDE, num_classes=4)
    with pytest.raises(InputRefused, match="one class, 'a'"):
        parse_question(model, "abcd", asked(target="a", against="0"))
    with pytest.raises(InputRefused, match="answers already"):
        resolve_classes(parse_question(model, "abcd", asked(against="b")), LOGITS)
    with pytest.raises(InputRefused, match="one class gives every picture"):
        resolve_classes(parse_question(model, "a", asked()), LOGITS[:1])


def test_a_class_is_understood_however_it_is_written():
    names = ("red panda", "tabby, tabby cat", "crane", "crane", "7")
    assert [class_of(names, word) for word in ("Red Panda", "red_panda", "tabby", "7", "3", 1)] == [0, 0, 1, 4, 3, 1]
    for word, said in (
        ("red pand", "did you mean 'red panda'"),
        ("true", "true class"),
        ("crane", "index"),
        ("99", "0 to 4"),
    ):
        with pytest.raises(InputRefused, match=said):
            class_of(names, word)
    with pytest.raises(UnknownName):
        class_of(names, "")


# ---------------------------------------------------------------- the command


REFUSED = (
    ("red.pt missing.png", "missing.png cannot be read"),
    ("red.pt .", "no regular file"),
    ("red.pt noise.png", "picture"),
    ("red.pt words.txt", "not a picture"),
    ("missing.pt patch.png", "missing.pt"),
    ("red.pt patch.png --target rad", "did you mean 'red'"),
    ("red.pt patch.png --target 7", "classes 0 to 2"),
    ("red.pt patch.png --target grey --against grey", "one class"),
    ("red.pt patch.png --against red", "answers already"),
    ("red.pt patch.png --method grad_cat", "did you mean 'grad_cam'"),
    ("red.pt patch.png --method ''", "without a name"),
    ("red.pt patch.png --method , --unit conv2_1:1", "without a name"),
    ("red.pt patch.png --layer conv9_9", "layer"),
    ("red.pt patch.png --layer fc3", "no map"),
    ("red.pt patch.png --layer conv2_1 --method saliency", "read no layer"),
    ("red.pt patch.png --unit conv2_1:1 --target red", "one of them"),
    ("red.pt patch.png --unit conv2_1:1 --layer conv2_2", "does not lie below"),
    ("red.pt patch.png --unit conv2_1:99", "channels 0 to"),
    ("red.pt patch.png --unit conv1_1:0", "below"),
    ("red.pt patch.png --unit panda", "cannot be read"),
    ("red.pt patch.png --out red.pt", "nothing can be written"),
    ("red.pt patch.png --out nowhere/x.png", "no folder"),
    ("red.pt patch.png --out patch.png", "--force"),
)


@pytest.mark.parametrize(("words", "said"), REFUSED)
def test_what_cannot_be_asked_is_one_sentence_and_status_2_and_nothing_is_written(
    files, capsys, monkeypatch, words, said
):
    monkeypatch.chdir(files)
    before = {file: file.stat().st_mtime_ns for file in files.rglob("*")}
    assert main(["explain", *shlex.split(words), "--preset", "quick"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("vgg_viz explain: ")
    assert err.count("\n") == 1
    assert said in err
    assert {file: file.stat().st_mtime_ns for file in files.rglob("*")} == before


@pytest.mark.parametrize("name", ["wide", "grey", "alpha", "tiny", "thin"])
def test_pictures_of_any_shape_and_kind_are_explained(files, tmp_path, capsys, name):
    words = [
        "explain",
        str(files / "red.pt"),
        str(files / f"{name}.png"),
        "--out",
        str(tmp_path / "x.png"),
        "--preset",
        "quick",
    ]
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'x.png'}\n"
    assert ("centre square" in err) == (name != "square")
    assert ("enlarged" in err) == (name in ("tiny", "thin"))
    with Image.open(tmp_path / "x.png") as written:
        assert min(written.size) > 600


def test_a_picture_that_says_how_it_must_be_turned_is_turned(files):
    upright, turned = (
        explain_picture(PictureRequest(image=files / f"{name}.png", preset="quick")) for name in ("upright", "turned")
    )
    assert torch.equal(upright.batch.images, turned.batch.images)


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_one_figure_alone_is_written_twice_with_the_same_bytes(files, tmp_path, capsys, suffix, start):
    place = tmp_path / f"sheet{suffix}"
    told = explain(files / "red.pt", files / "patch.png", out=place, preset="quick")
    first = place.read_bytes()
    assert first.startswith(start)
    assert told.files == (place,)
    assert told.result is None
    assert explain(files / "red.pt", files / "patch.png", out=place, preset="quick", force=True).files == (place,)
    assert place.read_bytes() == first
    assert [file.name for file in tmp_path.iterdir()] == [place.name]


@pytest.mark.parametrize("name", ["sheet.gif", "sheet.jpg", "sheet.WEBP"])
def test_a_figure_of_a_kind_that_is_not_written_does_not_become_a_folder_of_that_name(files, tmp_path, name, capsys):
    assert main(["explain", str(files / "red.pt"), str(files / "patch.png"), "--out", str(tmp_path / name)]) == 2
    assert "a figure can be .png, .svg or .pdf" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_gallery_has_a_page_figures_numbers_and_raw_maps_that_agree(files, tmp_path, capsys):
    words = [
        "explain",
        str(files / "red.pt"),
        str(files / "patch.png"),
        "--target",
        "grey",
        "--out",
        str(tmp_path),
        "--json",
    ]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    folder = tmp_path / "red-patch"
    assert told["index"] == str(folder / "index.html")
    assert sorted(told["files"]) == sorted(str(file) for file in folder.rglob("*") if file.is_file())
    assert told["missing"] == []
    assert [entry["class"] for entry in told["top"]] == ["red", "grey", "neither"]
    assert sum(entry["probability"] for entry in told["top"]) == pytest.approx(1)
    assert told["predicted"] == {"class": "red", "index": 0}
    assert told["expected"] == {"class": "grey", "index": 1, "told": True}
    assert told["removal"]["becomes"] == {"class": "grey", "index": 1}
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["kind"] == "explanation"
    assert manifest["findings"][0]["level"] == "bad"
    assert [exhibit["slug"] for exhibit in manifest["exhibits"]] == [
        "explain-sheet",
        "explain-viewer",
        "explain-methods",
        "explain-arrays",
        "explain-removal",
        "explain-layers",
        "explain-channels",
    ]
    assert str(tmp_path) not in json.dumps(manifest)
    assert "red-patch" in (tmp_path / "index.html").read_text(encoding="utf-8")
    arrays = json.loads((folder / "data" / "explain-arrays.json").read_text(encoding="utf-8"))["files"]
    assert sorted(arrays) == sorted(f"data/{path.name}" for path in (folder / "data").glob("*.safetensors"))
    kept = {path.stem: saved_maps.read(path) for path in (folder / "data").glob("map-*.safetensors")}
    assert {one.target for one in kept.values()} == {"predicted", "expected", "difference"}
    for entry in told["maps"]:
        wanted = (entry["method"], entry["part"], entry["layer"])
        one = next(one for one in kept.values() if (one.found.method, one.target, one.found.layer) == wanted)
        values = one.found.values[0]
        assert float(values[entry["peak"]["row"], entry["peak"]["column"]]) == pytest.approx(entry["peak"]["value"])
        assert [float(values.min()), float(values.max())] == pytest.approx([entry["low"], entry["high"]])
    x0, y0, x1, y1 = PATCH
    peak = next(
        entry["peak"] for entry in told["maps"] if entry["method"] == "saliency" and entry["part"] == "predicted"
    )
    assert x0 <= peak["column"] < x1
    assert y0 <= peak["row"] < y1


def test_hostile_names_are_text_on_the_page_and_in_no_path(tmp_path):
    checkpoint = redness()
    save(tmp_path / "h.pt", Checkpoint(checkpoint.architecture, HOSTILE[:3], checkpoint.weights))
    picture = tmp_path / "$(reboot) {{ 7 * 7 }}'\u202e.png"
    picture.write_bytes(encode_png(torch.full((3, SIDE, SIDE), 0.4)))
    told = explain(tmp_path / "h.pt", picture, out=tmp_path / "out", target=HOSTILE[0])
    page = told.result.index.read_text(encoding="utf-8")
    assert told.result.missing == ()
    assert not any(raw in page for raw in (*HOSTILE[:3], "\u202e"))
    assert all(file.relative_to(tmp_path / "out").as_posix().isascii() for file in told.files)


def test_a_disk_that_fails_leaves_what_was_there(files, tmp_path, capsys, monkeypatch):
    words = [
        "explain",
        str(files / "red.pt"),
        str(files / "patch.png"),
        "--out",
        str(tmp_path),
        "--preset",
        "quick",
        "--quiet",
    ]
    assert main(words) == 0
    page = (tmp_path / "red-patch" / "index.html").read_bytes()

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vgg_viz.gallery.build.publish", full)
    assert main(words) == 2
    assert "could not be written whole" in capsys.readouterr().err
    assert (tmp_path / "red-patch" / "index.html").read_bytes() == page
    assert sorted(file.name for file in tmp_path.iterdir()) == ["index.html", "red-patch"]


def test_a_sheet_needs_maps_on_a_signed_scale():
    photo = np.zeros((8, 8, 3), np.float32)
    with pytest.raises(Exception, match="one signed scale"):
        paint(ExplanationSheet(photo, [(("a", "b"), photo[..., 0])], Scale(0, 1, False, "logit", "x"), []), title="t")


def test_cnn_explainers_red_panda_is_confidently_taken_for_espresso(shared_data):
    folder = shared_data / "cnn-explainer"
    found = explain_picture(PictureRequest(source=folder, image=folder / "images" / "panda_5.jpeg", target="red panda"))
    assert tells(findings(found)[0].text, "espresso (98.5 %)", "red panda (1.3 %)", "expected")
    assert tells(removed(found), "blurred", "espresso (95.2 %)")
    assert found.classes[found.removal.becomes] == "red panda"
    path = found.removal.by_map
    at = path.changed(found.removal.answer)
    back = next(n for n in range(at, len(path.shares)) if int(path.answers[n]) == found.removal.answer)
    assert removed(found).endswith(f" With {percent(float(path.shares[back]))} hidden it says espresso again.")
    decoded = decode(folder / "images" / "panda_5.jpeg")
    assert found.original == tuple(decoded.shape[-2:])
