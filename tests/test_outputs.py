"""What logits mean: one that decides between two classes, a yes or no each, scores."""

import pytest
import torch
from torch import nn

import vgg_viz
from vgg_viz.attribution import Against, Options, attribute, gradient_bundle, methods
from vgg_viz.attribution.lrp.conservation import ledger
from vgg_viz.capture.predict import class_network
from vgg_viz.errors import CheckpointRefused, InputRefused
from vgg_viz.maths.outputs import both_sides, meaning
from vgg_viz.models.build import architecture, build
from vgg_viz.models.checkpoint import load, save
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
