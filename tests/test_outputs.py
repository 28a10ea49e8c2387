"""What logits mean: one that decides between two classes, a yes or no each, scores."""

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score
from torch import nn

import vgg_viz
from vgg_viz.attribution import Against, Options, attribute, gradient_bundle, methods
from vgg_viz.attribution.lrp.conservation import ledger
from vgg_viz.capture.predict import class_network
from vgg_viz.cli import main
from vgg_viz.data.label_table import find_table, read_table
from vgg_viz.errors import CheckpointRefused, InputRefused
from vgg_viz.maths.images import decode, encode_png
from vgg_viz.maths.label_metrics import average_precision, best_threshold
from vgg_viz.maths.metrics import calibration
from vgg_viz.maths.outputs import both_sides, meaning
from vgg_viz.models.build import architecture, build
from vgg_viz.models.checkpoint import load, save
from vgg_viz.models.outputs import two_outputs
from vgg_viz.records import Checkpoint

SIDE = 32


def trained(count, *, outputs="softmax", classes=()):
    """A network of `count` outputs at an eighth of VGG A's width whose logits spread."""
    about = architecture(
        "vgg11", num_classes=count, image_side=SIDE, width=1 / 16, head=(256,), pooled=1, outputs=outputs
    )
    weights = {
        key: value * 1.3 if value.ndim > 1 and "classifier" in key else value
        for key, value in build(about, seed=5).state_dict().items()
    }
    weights["classifier.3.weight"] = torch.randn(weights["classifier.3.weight"].shape, generator=seeded()) * 2
    weights["classifier.0.weight"] = torch.randn(weights["classifier.0.weight"].shape, generator=seeded()) / 4
    return Checkpoint(about, tuple(classes), weights)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(count=3):
    return torch.rand(count, 3, SIDE, SIDE, generator=seeded(1))


def written(folder, count, **beside):
    """A state dict as a stranger writes it, with notes beside it."""
    file = folder / "stranger.pth"
    torch.save({"state_dict": dict(trained(count).weights), **beside}, file)
    return file


# ---------------------------------------------------------------- known from where


@pytest.mark.parametrize(
    ("beside", "outputs"),
    [
        ({"hyper_parameters": {"loss": "bce", "multilabel": True}}, "sigmoid"),
        ({"config": {"problem_type": "multi_label_classification"}}, "sigmoid"),
        ({"config": {"problem_type": "regression"}}, "scores"),
        ({"config": {"problem_type": "single_label_classification", "loss": "bce"}}, "softmax"),
        ({"args": {"criterion": "nn.BCEWithLogitsLoss()"}}, "sigmoid"),
        ({"args": {"loss": "MSELoss"}}, "scores"),
        ({"loss": 0.31, "args": {"criterion": "CrossEntropyLoss"}}, "softmax"),
        ({"loss": 0.31}, "softmax"),
    ],
)
def test_notes_beside_the_weights_say_what_three_outputs_mean(tmp_path, beside, outputs):
    checkpoint = load(written(tmp_path, 3, **beside))
    assert checkpoint.architecture.outputs == outputs
    assert len(checkpoint.classes) == 3


def test_one_output_beside_two_names_is_a_sigmoid_and_known(tmp_path):
    checkpoint = load(written(tmp_path, 1, class_to_idx={"cat": 0, "dog": 1}))
    assert (checkpoint.architecture.outputs, checkpoint.classes) == ("sigmoid", ("cat", "dog"))
    assert not [fact for fact in checkpoint.provenance.evidence if "--outputs" in fact.settled_by]


def test_one_output_alone_is_assumed_to_be_a_sigmoid(tmp_path):
    file = written(tmp_path, 1)
    checkpoint = load(file)
    assert (checkpoint.architecture.outputs, checkpoint.classes) == ("sigmoid", ("class 0", "class 1"))
    assert [fact.settled_by for fact in checkpoint.provenance.evidence if "--outputs" in fact.settled_by]
    told = load(file, outputs="sigmoid", classes=["dog"])
    assert told.classes == ("not dog", "dog")
    assert not [fact for fact in told.provenance.evidence if "--outputs" in fact.settled_by]
    assert load(file, outputs="scores").classes == ("output 0",)


def test_what_cannot_be_is_refused(tmp_path):
    with pytest.raises(CheckpointRefused, match="--outputs softmax came for a network of one output"):
        load(written(tmp_path, 1), outputs="softmax")
    with pytest.raises(CheckpointRefused, match="'logits' came; one of softmax, sigmoid, scores was expected"):
        load(written(tmp_path, 3), outputs="logits")


@pytest.mark.parametrize(("count", "outputs"), [(1, "sigmoid"), (3, "sigmoid"), (2, "scores")])
def test_the_products_own_files_say_it(tmp_path, count, outputs):
    checkpoint = load(written(tmp_path, count), outputs=outputs)
    save(tmp_path / "own.pt", checkpoint)
    vgg_viz.export(checkpoint, tmp_path / "exported.safetensors")
    for name in ("own.pt", "exported.safetensors"):
        again = load(tmp_path / name)
        assert (again.architecture.outputs, again.classes) == (outputs, checkpoint.classes)


# ---------------------------------------------------------------- one logit, two classes


def binary():
    return trained(1, outputs="sigmoid", classes=("cat", "dog"))


def test_one_logit_has_two_probabilities():
    z = torch.tensor([[1.0], [-3.0]])
    shares = meaning(both_sides(z), "sigmoid")
    assert torch.allclose(shares[:, 1:], z.sigmoid())
    assert torch.allclose(shares.sum(1), torch.ones(2))
    assert torch.equal(meaning(both_sides(z), "scores"), both_sides(z))


def test_the_built_network_keeps_its_one_output_and_studies_ask_for_both_classes():
    checkpoint, images = binary(), pictures()
    with torch.no_grad():
        bare, both = build(checkpoint)(images), class_network(checkpoint)(images)
    assert bare.shape == (3, 1)
    assert torch.equal(both, torch.cat([-bare, bare], 1))


@pytest.mark.parametrize("name", methods())
def test_evidence_for_the_first_class_is_evidence_against_the_second(name):
    """Whichever network is asked: the bare one, or that with a score for both classes."""
    checkpoint, images = binary(), pictures(2)
    quick = {"steps": 3, "samples": 2, "window": 16, "masks": 4}
    about = methods()[name]
    options = Options(
        **{key: value for key, value in quick.items() if key in about.reads},
        **({"relu": False} if "relu" in about.reads else {}),
    )
    ask = {"method": name, "options": options}
    bare, studied = build(checkpoint), class_network(checkpoint)
    for target in (0, 1):
        found = attribute(bare, images, target=target, **ask)
        again = attribute(studied, images, target=target, **ask)
        assert torch.equal(found.values, again.values)
    if name in ("input_x_gradient", "integrated_gradients", "lrp_epsilon", "occlusion", "class_score_map"):
        cat, dog = (attribute(bare, images, target=target, **ask).values for target in (0, 1))
        assert torch.allclose(cat, -dog, atol=1e-5 * float(dog.abs().max()))
        assert float(dog.abs().max()) > 0


def test_the_shared_pass_and_the_ledger_ask_the_same():
    checkpoint, images = binary(), pictures(2)
    for model in (build(checkpoint), class_network(checkpoint)):
        cat, dog = (gradient_bundle(model, images, target, relu=False) for target in (0, 1))
        assert cat.activations.logits.shape == (2, 2)
        assert torch.allclose(cat.input_x_gradient.values, -dog.input_x_gradient.values)
        both = gradient_bundle(model, images, Against(1, 0)).input_x_gradient.values
        assert torch.allclose(both, 2 * dog.input_x_gradient.values)
        books = ledger(model, images, torch.tensor([0, 1]))
        assert torch.allclose(books.score.float(), dog.activations.logits[[0, 1], [0, 1]].cpu(), atol=1e-4)
        assert float(books.gap.abs().max()) < 1e-3


def test_a_strangers_module_of_one_output_stays_as_it_is():
    """Nobody has said that its output is a yes or no."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 1))
    with pytest.raises(InputRefused, match="class 1 was asked for"):
        attribute(model, torch.rand(1, 3, 2, 2), "saliency", target=1)


# ---------------------------------------------------------------- predict and evaluate


def in_folders(root, classes, count=6):
    """Pictures in class folders, in turn."""
    for index, image in enumerate(pictures(count)):
        place = root / classes[index % len(classes)]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{index}.png").write_bytes(encode_png(image))
    return root


def in_table(root, text, count=4):
    """Pictures a.png, b.png, ... with a table of labels beside them."""
    root.mkdir(parents=True, exist_ok=True)
    for name, image in zip("abcdefgh", pictures(count), strict=False):
        (root / f"{name}.png").write_bytes(encode_png(image))
    (root / "labels.csv").write_text(text)
    return root


def stored(folder, checkpoint):
    save(folder / "own.pt", checkpoint)
    return folder / "own.pt"


def document(capsys, *arguments):
    assert main([str(argument) for argument in arguments]) == 0
    return json.loads(capsys.readouterr().out)


def said(capsys, *arguments):
    assert main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


def test_one_logit_predicts_two_probabilities_and_keeps_its_logit(tmp_path, capsys):
    """The kind of `one_logit`: cats against dogs by BCEWithLogitsLoss."""
    file = written(tmp_path, 1, class_to_idx={"cat": 0, "dog": 1})
    folder = in_folders(tmp_path / "pets", ("cat", "dog"))
    found = document(capsys, "predict", file, folder, "--json")["images"]
    with torch.no_grad():
        logits = torch.cat([build(load(file))(decode(path)[None]) for path in sorted(folder.rglob("*.png"))])[:, 0]
    for image, logit in zip(found, logits, strict=True):
        shares = {entry["class"]: entry["probability"] for entry in image["top"]}
        assert image["logits"] == pytest.approx([float(logit)], abs=1e-4)
        assert shares["dog"] == pytest.approx(float(logit.sigmoid()), abs=1e-6)
        assert shares["cat"] == pytest.approx(1 - float(logit.sigmoid()), abs=1e-6)
    assert "100 %" not in said(capsys, "predict", file, folder)


def test_one_logit_is_evaluated_as_two_classes(tmp_path, capsys):
    file = written(tmp_path, 1, class_to_idx={"cat": 0, "dog": 1})
    folder = in_folders(tmp_path / "pets", ("cat", "dog"))
    found = document(capsys, "evaluate", file, "--data", folder, "--json")
    images = torch.stack([decode(path) for path in sorted(folder.rglob("*.png"))])
    with torch.no_grad():
        dog = build(load(file))(images)[:, 0].sigmoid()
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    right = (dog > 0.5) == (labels == 1)
    assert found["top1"] == pytest.approx(float(right.float().mean()))
    assert found["confusion"][1] == [int((dog[3:] <= 0.5).sum()), int((dog[3:] > 0.5).sum())]
    sure = torch.maximum(dog, 1 - dog)
    assert found["ece"] == pytest.approx(calibration(sure, right, bins=15, by="width").error, abs=1e-6)


def test_each_of_several_labels_has_a_probability_of_its_own(tmp_path, capsys):
    """The kind of `multi_label`: three findings, each yes or no."""
    names = ["effusion", "mass", "nodule"]
    file = written(tmp_path, 3, classes=names, hyper_parameters={"loss": "bce", "multilabel": True})
    text = "file,labels\na.png,effusion|mass\nb.png,No Finding\nc.png,nodule\nd.png,effusion; nodule\n"
    folder = in_table(tmp_path / "xrays", text)
    with torch.no_grad():
        shares = build(load(file))(torch.stack([decode(folder / f"{name}.png") for name in "abcd"])).sigmoid()
    found = document(capsys, "predict", file, folder, "--json")["images"]
    for image, row in zip(found, shares, strict=True):
        assert {entry["index"]: entry["probability"] for entry in image["top"]} == pytest.approx(
            {i: float(share) for i, share in enumerate(row)}, abs=1e-6
        )
    measured = document(capsys, "evaluate", file, "--data", folder, "--json")
    assert (measured["n"], measured["top1"], measured["confusion"]) == (4, None, None)
    assert set(measured["left_out"]) == {"top1", "top5", "interval", "confusion"}
    truth = torch.tensor([[1, 1, 0], [0, 0, 0], [0, 0, 1], [1, 0, 1]])
    for i, name in enumerate(names):
        row = measured["per_class"][name]
        assert row["average_precision"] == pytest.approx(average_precision_score(truth[:, i], shares[:, i]))
        assert row["n"] == int(truth[:, i].sum())
    line = said(capsys, "evaluate", file, "--data", folder)
    assert "mean average precision" in line
    assert "right" not in line


def test_a_table_has_columns_of_yes_and_no_with_gaps(tmp_path):
    folder = in_table(tmp_path, "image,Mass,other,effusion\na.png,1,x,0\nb.png,,y,1\nc.png,-1,z,0\n")
    table = read_table(find_table(folder), ("effusion", "mass", "nodule"))
    nan = torch.nan
    assert torch.equal(
        table.targets.nan_to_num(-9), torch.tensor([[0, 1, nan], [1, nan, nan], [0, nan, nan]]).nan_to_num(-9)
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name,labels\na.png,mass\n", "no column of files"),
        ("file,size\na.png,3\n", "no column of 'labels.csv' is called like one of the outputs"),
        ("file,labels\na.png,maas\n", "line 2 of 'labels.csv' has the label 'maas', which the network does not know"),
        ("file,mass\na.png,maybe\n", "line 2 of 'labels.csv' says 'maybe' of a label"),
        ("file,labels\n", "names no picture"),
        ("file,labels\n../a.png,mass\n", "no place below the table's folder"),
        ("file,labels\nz.png,mass\n", "none of the 1 pictures"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path, capsys, text, sentence):
    folder = in_table(tmp_path / "xrays", text)
    file = stored(tmp_path, trained(2, outputs="sigmoid", classes=("effusion", "mass")))
    assert main(["evaluate", str(file), "--data", str(folder)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert sentence in err
    assert len(err.splitlines()) == 1


def test_folders_of_single_labels_measure_several_labels_too(tmp_path, capsys):
    file = stored(tmp_path, trained(3, outputs="sigmoid", classes=("effusion", "mass", "nodule")))
    found = document(capsys, "evaluate", file, "--data", in_folders(tmp_path / "x", ("effusion", "mass")), "--json")
    assert [found["per_class"][name]["n"] for name in ("effusion", "mass", "nodule")] == [3, 3, 0]
    assert found["per_class"]["nodule"]["known"] == 0
    assert found["top1"] is None


def test_a_table_gives_single_labels_to_a_network_that_chooses_one(tmp_path, capsys):
    file = stored(tmp_path, binary())
    folder = in_table(tmp_path / "pets", "file,dog\na.png,1\nb.png,0\nc.png,1\nd.png,0\n")
    assert document(capsys, "evaluate", file, "--data", folder, "--json")["n"] == 4
    assert main(["evaluate", str(file), "--data", str(in_table(tmp_path / "two", "file,labels\na.png,cat|dog\n"))]) == 2
    assert "exactly one label" in capsys.readouterr().err


def test_scores_have_no_percentages(tmp_path, capsys):
    file = stored(tmp_path, trained(2, outputs="scores", classes=("age", "weight")))
    folder = in_table(tmp_path / "people", "file,age,weight\na.png,3,1\nb.png,5,\nc.png,4,2\n", count=3)
    with torch.no_grad():
        scores = build(load(file))(torch.stack([decode(folder / f"{name}.png") for name in "abc"]))
    found = document(capsys, "predict", file, folder, "--json")["images"]
    assert [[entry["logit"] for entry in image["top"]] for image in found] == [
        pytest.approx(row, abs=1e-4) for row in scores.tolist()
    ]
    assert {entry["probability"] for image in found for entry in image["top"]} == {None}
    measured = document(capsys, "evaluate", file, "--data", folder, "--json")
    error = (scores[:, 0] - torch.tensor([3.0, 5.0, 4.0])).abs().mean()
    assert measured["per_class"]["age"]["mean_absolute_error"] == pytest.approx(float(error), rel=1e-4)
    assert measured["per_class"]["weight"]["n"] == 2
    text = said(capsys, "predict", file, folder) + said(capsys, "evaluate", file, "--data", folder)
    assert "%" not in text
    assert main(["evaluate", str(file), "--data", str(in_folders(tmp_path / "x", ("age", "weight")))]) == 2
    assert "folders of classes say nothing about scores" in capsys.readouterr().err


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=12))
def test_average_precision_is_that_of_scikit_learn(pairs):
    scores, truth = torch.tensor([float(score) for score, _ in pairs]), torch.tensor([right for _, right in pairs])
    found = average_precision(scores, truth)
    if not truth.any():
        assert math.isnan(found)
        return
    assert found == pytest.approx(average_precision_score(truth, scores))
    threshold, f1 = best_threshold(scores, truth)
    tries = {value: f1_score(truth, scores >= value) for value in scores.tolist()}
    assert f1 == pytest.approx(max(tries.values()))
    assert tries[threshold] == pytest.approx(f1)


# ---------------------------------------------------------------- pages


def made(folder, checkpoint, pictures_at, few_sections, *slugs):
    """The page of a report with a few of its sections, and what is missing."""
    few_sections(*slugs)
    result = vgg_viz.report(stored(folder, checkpoint), data=pictures_at, out=folder / "g", preset="quick")
    return result, result.index.read_text(), json.loads((result.index.parent / "manifest.json").read_text())


def test_a_report_of_one_logit_counts_two_classes(tmp_path, few_sections):
    folder = in_folders(tmp_path / "pets", ("cat", "dog"))
    result, page, manifest = made(tmp_path, binary(), folder, few_sections, "mistakes", "examples")
    assert result.missing == ()
    assert "one logit for two classes" in page
    (confusion,) = [one for one in manifest["exhibits"] if one["slug"] == "mistakes-confusion"]
    assert "Confusion matrix of 2 classes" in confusion["alt"]


def test_a_report_of_labels_leaves_out_what_needs_one_class_and_that_is_no_fault(tmp_path, few_sections):
    checkpoint = trained(3, outputs="sigmoid", classes=("effusion", "mass", "nodule"))
    folder = in_table(tmp_path / "x", "file,effusion,mass,nodule\na.png,1,0,1\nb.png,0,1,0\nc.png,1,1,0\nd.png,0,0,1\n")
    result, page, manifest = made(tmp_path, checkpoint, folder, few_sections, "mistakes", "examples", "labels")
    assert result.missing == ()
    assert {one["section"] for one in manifest["absent"]} == {"mistakes", "examples"}
    assert "Every label is a yes or no of its own" in page
    assert [one["slug"] for one in manifest["exhibits"]] == ["labels-precision"]


def test_a_report_of_scores_has_no_probabilities(tmp_path, few_sections):
    folder = in_table(tmp_path / "x", "file,age\na.png,1\nb.png,2\nc.png,3\nd.png,4\n")
    checkpoint = trained(1, outputs="scores", classes=("age",))
    result, _, manifest = made(tmp_path, checkpoint, folder, few_sections, "mistakes", "labels", "activations")
    assert result.missing == ()
    (followed,) = [one for one in manifest["exhibits"] if one["slug"] == "activations-picture"]
    assert "%" not in followed["alt"]
    assert "largest score" in followed["alt"]


@pytest.mark.parametrize("count", [1, 2])
def test_scores_are_explained_without_percentages(tmp_path, count):
    picture = in_folders(tmp_path / "x", ("some",), 1) / "some" / "0.png"
    file = stored(tmp_path, trained(count, outputs="scores", classes=("age", "weight")[:count]))
    found = vgg_viz.explain(file, picture, out=tmp_path / "g")
    assert found.result.missing == ()
    assert {entry["probability"] for entry in found.facts["top"]} == {None}
    assert found.facts["removal"] is None
    assert "there is no one answer" in found.result.index.read_text()


def test_one_logit_is_explained_for_and_against(tmp_path):
    picture = in_folders(tmp_path / "x", ("some",), 1) / "some" / "0.png"
    facts = vgg_viz.explain(stored(tmp_path, binary()), picture, out=tmp_path / "g", preset="quick").facts
    assert sum(entry["probability"] for entry in facts["top"]) == pytest.approx(1)
    assert facts["top"][0]["logit"] == pytest.approx(-facts["top"][1]["logit"])


def test_an_audit_asks_for_one_class(tmp_path, capsys):
    file = stored(tmp_path, trained(2, outputs="sigmoid", classes=("mass", "nodule")))
    assert main(["audit", str(file), "--data", str(in_folders(tmp_path / "x", ("mass", "nodule")))]) == 2
    assert "this network gives a yes or no for each label" in capsys.readouterr().err


def test_a_page_that_shows_every_sum_has_both_scores_of_one_logit():
    checkpoint, images = binary(), pictures(2)
    with torch.no_grad():
        whole = two_outputs(build(checkpoint))(images)
        assert torch.allclose(whole, class_network(checkpoint)(images), atol=1e-5)
