"""Every variant: numbers of the paper, names of the paper, logits of torchvision."""

from __future__ import annotations

import pytest
import torch
from networks import NARROW_AND_FULL, of_torchvision
from torch import nn

from vgg_viz.errors import InputRefused, UnknownName
from vgg_viz.models.build import architecture, build
from vgg_viz.models.geometry import geometry
from vgg_viz.models.names import find, layers
from vgg_viz.models.network import VGG
from vgg_viz.models.vgg import describe

TABLE = [
    ("vgg11", 132_863_336, 7.609),
    ("vgg11_bn", 132_868_840, 7.609),
    ("a_lrn", 132_863_336, 7.609),
    ("vgg13", 133_047_848, 11.308),
    ("vgg13_bn", 133_053_736, 11.308),
    ("c", 133_638_952, 11.771),
    ("c_bn", 133_647_400, 11.771),
    ("vgg16", 138_357_544, 15.470),
    ("vgg16_bn", 138_365_992, 15.470),
    ("vgg19", 143_667_240, 19.632),
    ("vgg19_bn", 143_678_248, 19.632),
]


def on_meta(name: str, **options: object) -> VGG:
    with torch.device("meta"):
        return VGG(architecture(name, **options))


@pytest.mark.parametrize(("name", "parameters", "gigamacs"), TABLE)
def test_parameters_and_macs_are_those_of_the_paper(name: str, parameters: int, gigamacs: float) -> None:
    model = on_meta(name)
    rows = geometry(model)
    assert sum(row.parameters for row in rows) == parameters == sum(p.numel() for p in model.parameters())
    assert round(sum(row.macs for row in rows) / 1e9, 3) == gigamacs


def test_macs_equal_torchinfo_less_the_biases_that_it_counts() -> None:
    from torchinfo import summary

    model = on_meta("vgg16")
    biases = sum(
        m.bias.numel() * (row.shape[1] * row.shape[2] if len(row.shape) == 3 else 1)
        for row, layer in zip(geometry(model), layers(model), strict=True)
        for m in [layer.module]
        if isinstance(m, nn.Conv2d | nn.Linear)
    )
    counted = summary(model, (1, 3, 224, 224), verbose=0, device="meta").total_mult_adds
    assert counted == 15_483_821_032
    assert sum(row.macs for row in geometry(model)) == counted - biases


@pytest.mark.parametrize(("name", "narrow"), NARROW_AND_FULL)
def test_logits_equal_torchvision_bit_for_bit(name: str, narrow: int) -> None:
    theirs = of_torchvision(name, narrow=narrow)
    ours = build(name, seed=int(name[3:5]), width=1 / narrow)
    # Head weights scaled up: torchvision's initial logits are nearly constant, and a constant equals anything.
    with torch.no_grad():
        for module in ours.classifier:
            if isinstance(module, nn.Linear):
                module.weight.mul_(3)
    theirs.load_state_dict(ours.state_dict(), assign=True)
    theirs.eval()
    picture = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    normalised = (picture - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor(
        [0.229, 0.224, 0.225]
    ).view(3, 1, 1)
    with torch.no_grad():
        logits = ours(picture)
        assert torch.equal(logits, theirs(normalised))
    assert logits.std() > 1e-3


def test_dense_form_gives_the_same_logits_and_a_map_on_larger_pictures() -> None:
    plain = build("vgg11", width=1 / 16, num_classes=5, seed=3)
    from vgg_viz.records import Checkpoint

    checkpoint = Checkpoint(plain.architecture, tuple("abcde"), plain.state_dict())
    dense = build(checkpoint, dense=True)
    picture = torch.rand(2, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(dense(picture), plain(picture))
        wide = torch.rand(1, 3, 256, 320)
        scores = dense.class_map(wide)
        assert scores.shape == (1, 5, 2, 4)
        torch.testing.assert_close(dense(wide), scores.mean((2, 3)))
    with pytest.raises(InputRefused, match="dense=True"):
        plain.class_map(picture)


def test_lrn_of_alexnet_adds_alpha_times_the_sum() -> None:
    model = build("a_lrn", width=1 / 16, num_classes=2)
    lrn = find(model, "lrn1").module
    values = torch.rand(1, 4, 3, 3)
    squares = values**2
    padded = nn.functional.pad(squares, (0, 0, 0, 0, 2, 2))
    total = sum(padded[:, i : i + 4] for i in range(5))
    torch.testing.assert_close(lrn(values), values / (2 + 1e-4 * total) ** 0.75)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["vgg11", "c_bn", "tiny_vgg"])
def test_any_class_count_channels_and_width_run(name: str, channels: int) -> None:
    model = build(name, num_classes=7, in_channels=channels, width=0.3, image_side=48)
    assert model(torch.rand(2, channels, 48, 48)).shape == (2, 7)


def test_small_pictures_get_the_compact_head_and_large_ones_the_papers() -> None:
    assert describe(architecture("vgg16", image_side=32)).head == (512,)
    assert describe(architecture("vgg16", image_side=224)).head == (4096, 4096)
    assert describe(architecture("vgg16", image_side=32, head=(64, 64))).head == (64, 64)


def test_layers_are_called_as_in_the_paper() -> None:
    names = [layer.name for layer in layers(on_meta("vgg16"))]
    assert names[:6] == ["normalise", "conv1_1", "relu1_1", "conv1_2", "relu1_2", "pool1"]
    assert names[-12:] == [
        "conv5_3",
        "relu5_3",
        "pool5",
        "avgpool",
        "flatten",
        "fc6",
        "relu6",
        "drop6",
        "fc7",
        "relu7",
        "drop7",
        "fc8",
    ]
    assert find(on_meta("vgg16"), "conv5_3").path == "features.28"
    assert find(on_meta("vgg16_bn"), "bn5_3").path == "features.41"


def test_cnn_explainers_names_are_understood(tiny: nn.Module) -> None:
    for theirs, ours in [("conv_1_1", "conv1_1"), ("max_pool_2", "pool2"), ("relu_2_2", "relu2_2"), ("output", "fc3")]:
        assert find(tiny, theirs).name == ours


def test_an_unknown_layer_names_its_nearest(tiny: nn.Module) -> None:
    with pytest.raises(UnknownName, match="did you mean 'conv2_2'"):
        find(tiny, "conv2_3")


def test_an_unknown_variant_names_its_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'vgg16"):
        build("vgg16_b")


@pytest.mark.parametrize(("letter", "variant"), [("A", "vgg11"), ("a-lrn", "a_lrn"), ("D", "vgg16"), ("e_bn", "vgg19")])
def test_letters_of_the_paper_name_variants(letter: str, variant: str) -> None:
    assert describe(architecture(letter)).variant == variant


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"num_classes": 0}, "1 to 1,000,000"),
        ({"in_channels": 4}, "1 \\(grey\\) or 3"),
        ({"width": 0.0}, "above 0"),
        ({"image_side": 3}, "4 to 4096"),
        ({"std": (0.0, 1.0, 1.0)}, "not above 0"),
        ({"image_side": 16}, "too small"),
    ],
)
def test_numbers_that_make_no_network_are_refused_in_a_sentence(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputRefused, match=sentence):
        build("vgg11", **options)


def test_tiny_vgg_has_as_many_parameters_as_cnn_explainer(tiny: nn.Module) -> None:
    assert sum(p.numel() for p in tiny.parameters()) == 19_920


def test_the_seed_decides_the_weights_and_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    first, again, other = (build("tiny_vgg", seed=s).state_dict() for s in (5, 5, 6))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["conv_block_1.0.weight"], other["conv_block_1.0.weight"])


def test_pictures_are_normalised_by_the_first_layer() -> None:
    model = build("tiny_vgg", mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    plain = build("tiny_vgg")
    plain.load_state_dict(model.state_dict())
    picture = torch.rand(1, 3, 64, 64)
    shifted = (picture - torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1)) / torch.tensor([0.2, 0.3, 0.4]).view(3, 1, 1)
    assert torch.equal(model(picture), plain(shifted))
    assert not any("mean" in key for key in model.state_dict())
