"""What a map is about: classes, one against another, single units; by every method, against networks built to say just that."""

import copy
from functools import partial

import pytest
import torch
from loose_options import attribute
from torch import Tensor, nn

from vgg_viz.attribution import Against, Neuron, grad_cam_all_layers, gradient_bundle, methods
from vgg_viz.attribution.target_parsing import parse_target
from vgg_viz.capture.hooks import activations, replace_output
from vgg_viz.errors import InputRefused, UnknownName
from vgg_viz.models.build import build
from vgg_viz.models.names import layers

QUICK = {"steps": 3, "samples": 3, "window": 8, "relu": False}
CLASSES = ["tabby cat", "Tiger", "school bus", "7", "predicted", "twin", "twin"]


def pictures(count: int = 3, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def lively() -> nn.Module:
    """A Tiny VGG of 10 classes whose logits differ."""
    model = build("tiny_vgg", seed=1, image_side=32)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
        model.classifier[1].weight.mul_(20)
        model.conv_block_1[0].bias.add_(0.05)
    return model


def difference(model: nn.Module, first: int, second: int) -> nn.Module:
    """A network of one class, whose logit is that of `first` minus that of `second`: by its weights, without a hook."""
    other = build("tiny_vgg", image_side=32, num_classes=1)
    weights = dict(model.state_dict())
    for key in ("classifier.1.weight", "classifier.1.bias"):
        weights[key] = weights[key][first : first + 1] - weights[key][second : second + 1]
    other.load_state_dict(weights)
    return other


class Upto(nn.Module):
    """A network that ends at a layer and says what its unit, or channel, says there."""

    def __init__(self, model: nn.Module, layer: str, pick) -> None:
        super().__init__()
        known = layers(copy.deepcopy(model))
        end = [found.name for found in known].index(layer)
        self.features = nn.Sequential(*(found.module for found in known[: end + 1]))
        self.pick = pick

    def forward(self, images: Tensor) -> Tensor:
        return self.pick(self.features(images))[:, None]


def apart(found: Tensor, expected: Tensor) -> float:
    assert expected.abs().max() > 0
    return float((found - expected).abs().max() / expected.abs().max())


# ---------------------------------------------------------------- one class against another


@pytest.mark.parametrize("name", [name for name, about in methods().items() if about.family != "relevance"])
def test_a_against_b_is_the_map_of_a_network_whose_logit_is_the_difference(name):
    model, images = lively(), pictures()
    first, second = [2, 5, 2], [4, 1, 5]
    found = attribute(model, images, method=name, target=Against(first, second), **QUICK)
    assert found.targets.tolist() == first
    assert found.against.tolist() == second
    for at in range(3):
        oracle = attribute(
            difference(model, first[at], second[at]), images[at : at + 1], method=name, target=0, **QUICK
        )
        assert apart(found.values[at], oracle.values[0]) < 1e-4


def test_words_on_either_side_are_settled_for_each_picture():
    model, images = lively(), pictures(4)
    ranked = activations(model, images).logits.argsort(1, descending=True)
    labels = torch.tensor([3, 1, 4, 1])
    found = attribute(model, images, method="saliency", target=Against("predicted", "runner-up"))
    assert torch.equal(found.targets, ranked[:, 0])
    assert torch.equal(found.against, ranked[:, 1])
    assert found.passes == 3, "one more forward pass, to know the classes"
    mixed = attribute(model, images, method="saliency", target=Against("true", 6), labels=labels)
    assert torch.equal(mixed.targets, labels)
    assert mixed.against.tolist() == [6, 6, 6, 6]
    assert mixed.passes == 2
    assert attribute(model, images, method="saliency", target=6).against is None


def test_a_class_against_itself_speaks_for_nothing():
    found = attribute(lively(), pictures(), method="input_x_gradient", target=Against(4, [4, 1, 4]))
    assert [bool(one.abs().max() > 0) for one in found.values] == [False, True, False]


def test_the_difference_of_two_classes_has_the_difference_of_their_gradients():
    model, images = lively(), pictures()
    a, b, apart_ = (attribute(model, images, method="input_x_gradient", target=t).values for t in (2, 7, Against(2, 7)))
    assert torch.allclose(apart_, a - b, atol=1e-5)


def test_the_shared_pass_knows_the_same_targets():
    model, images = lively(), pictures()
    for target in (Against("predicted", [0, 1, 2]), Neuron("conv2_2", 3), Neuron("relu2_2", 1, 4, 4)):
        bundle = gradient_bundle(model, images, target)
        cams = grad_cam_all_layers(model, images, target)
        assert list(cams) == [name for name in ("conv1_1", "conv1_2", "conv2_1", "conv2_2") if name in cams]
        for found in (bundle.saliency, bundle.input_x_gradient, *bundle.grad_cam.values(), *cams.values()):
            one = attribute(model, images, method=found.method, target=target, layer=found.layer)
            assert apart(found.values, one.values) < 1e-4
            assert torch.equal(found.targets, one.targets)
            assert (found.unit_of, found.unit) == (one.unit_of, one.unit)
            assert (found.against is None) == (one.against is None)
            assert found.against is None or torch.equal(found.against, one.against)
    assert torch.equal(
        gradient_bundle(model, images, Neuron("conv1_2", 0)).activations.logits, bundle.activations.logits
    )


# ---------------------------------------------------------------- a unit, a channel


@pytest.mark.parametrize(("method", "unit"), [("grad_cam", "activation"), ("saliency", "activation / intensity")])
def test_what_is_said_of_a_single_unit_is_counted_in_its_activation(method, unit):
    model, images = lively(), pictures()
    assert attribute(model, images, method=method, target=Neuron("conv2_2", 3)).unit == unit
    assert attribute(model, images, method=method, target=2).unit == unit.replace("activation", "logit")


PLACING = (
    "guided_grad_cam",
    "score_cam",
)  # read receptive fields, which nobody knows of the networks that this test builds


@pytest.mark.parametrize("inplace", [True, False])
@pytest.mark.parametrize(
    "name", [n for n, about in methods().items() if about.family != "relevance" and n not in PLACING]
)
def test_a_unit_gets_the_map_of_a_network_that_ends_there(name, inplace):
    model, images = lively(), pictures(2)
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = inplace
    below = {"layer": "relu1_2"} if methods()[name].layered else {}
    for neuron, pick in [
        (Neuron("conv2_1", 4), lambda maps: maps[:, 4].mean((1, 2))),
        (Neuron("conv2_1", 4, 5, 2), lambda maps: maps[:, 4, 5, 2].clone()),
        (Neuron("relu2_1", 0), lambda maps: maps[:, 0].mean((1, 2))),
    ]:
        found = attribute(model, images, method=name, target=neuron, **QUICK, **below)
        oracle = attribute(Upto(model, neuron.layer, pick), images, method=name, target=0, **QUICK, **below)
        assert apart(found.values, oracle.values) < 1e-4
        assert found.unit_of == str(neuron)
        assert found.targets.tolist() == [-1, -1]
        assert found.against is None


def test_the_gradient_of_a_unit_of_the_first_layer_is_its_kernel_where_it_looks():
    model, images = lively(), pictures(1)
    found = attribute(model, images, method="saliency", target=Neuron("conv1_1", 3, 10, 20))
    kernel = model.conv_block_1[0].weight[3].detach() / model.normalise.std
    expected = torch.zeros(32, 32)
    expected[10:13, 20:23] = kernel.abs().amax(0)
    assert torch.allclose(found.values[0], expected, atol=1e-6)


def test_a_unit_of_the_classifier_needs_no_place():
    model = build("vgg11", num_classes=4, width=0.05, image_side=32, seed=2)
    found = attribute(model, pictures(), method="occlusion", target=Neuron("fc6", 7), window=16)
    hidden = activations(model, pictures(), ["fc6"]).maps["fc6"][:, 7]
    assert found.values.shape == (3, 32, 32)
    with replace_output(model, neuron=Neuron("fc6", 7)), torch.no_grad():
        assert torch.equal(model.eval()(pictures())[:, 0], hidden)


def test_the_layer_of_a_units_map_lies_below_it():
    model = build("vgg16", num_classes=4, width=0.05, image_side=64)
    usual = attribute(model, pictures(), target=0).layer
    for unit, layer in [("fc7", usual), ("conv2_1", "relu1_2"), ("relu1_1", "conv1_1"), ("pool1", "relu1_2")]:
        assert attribute(model, pictures(), target=Neuron(unit, 1)).layer == layer
    with pytest.raises(
        InputRefused, match="layer conv3_1 does not lie below conv3_1, so unit conv3_1:1 hears nothing of it"
    ):
        attribute(model, pictures(), target=Neuron("conv3_1", 1), layer="conv3_1")
    with pytest.raises(InputRefused, match=r"no layer with a map lies below unit conv1_1:0; .*saliency"):
        attribute(model, pictures(), target=Neuron("conv1_1", 0))
    with pytest.raises(InputRefused, match="does not lie below"):
        grad_cam_all_layers(model, pictures(), Neuron("conv3_1", 1), layers=["conv1_1", "pool4"])


@pytest.mark.parametrize("name", ["saliency", "occlusion", "guided_backprop", "smoothgrad", "shared"])
@pytest.mark.parametrize(
    ("neuron", "sentence"),
    [
        (Neuron("conv9_1", 0), "no layer 'conv9_1'"),
        (Neuron("conv2_1", 10), "unit conv2_1:10 was asked for; conv2_1 has channels 0 to 9, rows 0 to 11"),
        (Neuron("conv2_1", -1), "channels 0 to 9"),
        (Neuron("conv2_1", 0, 12, 0), "rows 0 to 11 and columns 0 to 11"),
        (Neuron("fc3", 0, 1, 1), "fc3 has channels 0 to 9 and no map"),
        (Neuron("conv2_1", 0, 3), "give both, or neither"),
    ],
)
def test_a_unit_that_does_not_exist_is_refused(name, neuron, sentence):
    model = lively()
    act = gradient_bundle if name == "shared" else partial(attribute, method=name, target=neuron, **QUICK)
    with pytest.raises(InputRefused, match=sentence):
        act(model, pictures(), **({"targets": neuron} if name == "shared" else {}))
    assert not any(len(module._forward_hooks) for module in model.modules())


def test_columns_mean_the_same_for_every_picture_however_often_a_batch_is_repeated():
    model, images = lively(), pictures()
    pairs = torch.tensor([[2, 4], [5, 1]])
    logits = activations(model, images).logits
    expected = torch.stack([logits[:, 2] - logits[:, 4], logits[:, 5] - logits[:, 1]], 1)
    # Of the larger batch itself: some processors add in another order there.
    twice = activations(model, images.repeat(2, 1, 1, 1)).logits
    repeated = torch.stack([twice[:, 2] - twice[:, 4], twice[:, 5] - twice[:, 1]], 1)
    with torch.no_grad(), replace_output(model.eval(), pairs) as scores:
        assert torch.equal(model(images.repeat(2, 1, 1, 1)), repeated)
        assert torch.equal(scores(logits), expected)
        spread = scores(logits[:, :, None, None].expand(-1, -1, 2, 2))
        assert torch.equal(spread[:, :, 1, 0], expected), "a map of class scores is exchanged at every place"
    with torch.no_grad():
        assert torch.equal(model(images), logits)


# ---------------------------------------------------------------- the words of a command line


@pytest.mark.parametrize(
    ("words", "target"),
    [
        ({}, "predicted"),
        ({"target": "runner-up"}, "runner-up"),
        ({"target": "true"}, "true"),
        ({"target": "school bus"}, 2),
        ({"target": "tiger"}, 1),
        ({"target": "0"}, 0),
        ({"target": "7"}, 3),
        ({"target": "4"}, 4),
        ({"target": "predicted"}, "predicted"),
        ({"against": "Tiger"}, Against("predicted", 1)),
        ({"target": "school bus", "against": "1"}, Against(2, 1)),
        ({"unit": "conv5_3:12"}, Neuron("conv5_3", 12)),
        ({"unit": " conv5_3:12:3,4 "}, Neuron("conv5_3", 12, 3, 4)),
        ({"unit": "fc7:4095"}, Neuron("fc7", 4095)),
    ],
)
def test_words_become_targets(words, target):
    assert parse_target(CLASSES, **words) == target


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"target": "tabby kat"}, "no class 'tabby kat'; did you mean 'tabby cat'?"),
        ({"against": "runnerup"}, "did you mean 'runner-up'?"),
        ({"target": "twin"}, "2 classes are called 'twin'; say which by its index: 5, 6"),
        ({"target": "8"}, "class 8 was asked for; the network knows classes 0 to 6"),
        ({"target": "9" * 5000}, "class 999999999999 was asked for"),
        ({"target": "-1"}, "no class '-1'"),
        ({"target": "tiger", "against": "1"}, "a class differs from itself nowhere"),
        ({"unit": "conv5_3"}, "write conv5_3:12 for a channel"),
        ({"unit": "conv5_3:12:3"}, "or conv5_3:12:3,4 for row 3, column 4"),
        ({"unit": "conv5_3:-1"}, "cannot be read"),
        ({"unit": "conv5_3:1", "target": "Tiger"}, "leave out --unit or the class"),
    ],
)
def test_words_that_name_nothing_are_refused_with_the_nearest(words, sentence):
    with pytest.raises(InputRefused, match=sentence.replace("?", r"\?")):
        parse_target(CLASSES, **words)


def test_a_neuron_is_spelt_as_it_is_read():
    for spelling in ("conv5_3:12", "conv5_3:12:3,4", "fc6:0"):
        assert str(parse_target(CLASSES, unit=spelling)) == spelling


def test_hostile_class_names_stay_text():
    hostile = ["\x1b[2J\x1b]0;owned\x07", "<script>alert(1)</script>", "a\u202eb", "{0.__class__}", "%s%n"]
    for index, name in enumerate(hostile):
        assert parse_target(hostile, target=name) == index
    with pytest.raises(UnknownName) as refused:
        parse_target(hostile, target="script")
    assert str(refused.value).isprintable(), "a terminal shows the names and obeys none of them"
