"""Dead, constant and duplicate filters are planted and found; effective fields equal their closed form."""

import math

import pytest
import torch
from test_capture import same, state_of
from torch import nn

from vgg_viz.capture.hooks import activations
from vgg_viz.errors import InputRefused, UnknownName
from vgg_viz.models.build import build
from vgg_viz.units.effective_field import effective_field
from vgg_viz.units.health import activation_health, filter_health


def pictures(count: int = 4, side: int = 64) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def planted() -> nn.Module:
    """A Tiny VGG whose first layer has a dead channel (2), a constant one (5), twins (1 and 7) and a silent one (9)."""
    model = build("tiny_vgg", seed=4)
    first = model.conv_block_1[0]
    with torch.no_grad():
        first.bias[2] = -100
        first.weight[5] = 0
        first.bias[5] = 0.75
        first.weight[7] = 2.5 * first.weight[1]
        first.weight[9] *= 1e-4
        first.weight[8] = -first.weight[0]
    return model


# ---------------------------------------------------------------- activations


def test_planted_dead_and_constant_channels_are_found(planted):
    maps = activations(planted, pictures(), ["relu1_1", "relu2_2"]).maps
    first, last = activation_health(maps)
    assert 2 in first.dead
    assert 5 in first.constant
    assert 2 not in first.constant
    assert (first.layer, first.channels, first.pictures) == ("relu1_1", 10, 4)
    assert last.layer == "relu2_2"


def test_sparsity_is_the_share_of_zeros_counted_by_hand():
    values = torch.tensor(
        [[[[0.0, 1.0], [0.0, 2.0]], [[0.0, 0.0], [0.0, 0.0]]], [[[3.0, 0.0], [1.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]]]
    )
    (found,) = activation_health({"relu9": values})
    assert found.sparsity == 11 / 16
    assert found.dead == (1,)
    assert found.constant == ()


def test_a_channel_that_lives_on_one_picture_is_not_dead():
    values = torch.zeros(8, 3, 4, 4)
    values[7, 1, 3, 3] = 1e-6
    (found,) = activation_health({"relu": values})
    assert found.dead == (0, 2)


def test_one_picture_makes_no_unit_of_the_classifier_constant():
    (found,) = activation_health({"relu6": torch.tensor([[0.0, 2.0, 3.0]])})
    assert found.constant == ()
    assert found.dead == (0,)


def test_negative_values_are_neither_dead_nor_sparse():
    (found,) = activation_health({"conv": torch.full((2, 1, 3, 3), -1.0)})
    assert (found.sparsity, found.dead, found.constant) == (0.0, (), (0,))


# ---------------------------------------------------------------- weights


def test_planted_twins_are_found_and_opposites_are_not(planted):
    first, *others = filter_health(planted)
    assert [(pair.first, pair.second) for pair in first.twins] == [(1, 7)]
    assert first.twins[0].cosine == pytest.approx(1)
    assert set(first.silent) == {5, 9}
    assert [layer.layer for layer in (first, *others)] == ["conv1_1", "conv1_2", "conv2_1", "conv2_2"]
    assert all(layer.twins == () for layer in others)


def test_norms_and_twins_agree_with_a_loop_over_pairs(planted):
    filters = planted.conv_block_2[0].weight.detach().flatten(1).tolist()
    dot = [[sum(x * y for x, y in zip(a, b, strict=True)) for b in filters] for a in filters]
    found = filter_health(planted, threshold=0.05)[2]
    assert found.norms == pytest.approx([math.sqrt(dot[i][i]) for i in range(10)], rel=1e-5)
    expected = {(i, j): dot[i][j] / math.sqrt(dot[i][i] * dot[j][j]) for i in range(10) for j in range(i + 1, 10)}
    expected = {pair: cosine for pair, cosine in expected.items() if cosine >= 0.05}
    assert {(t.first, t.second): t.cosine for t in found.twins} == pytest.approx(expected, abs=1e-6)
    assert [t.cosine for t in found.twins] == sorted((t.cosine for t in found.twins), reverse=True)


def test_filters_without_length_are_nobodys_twins():
    model = nn.Sequential(nn.Conv2d(3, 4, 3))
    nn.init.zeros_(model[0].weight)
    (found,) = filter_health(model)
    assert found.silent == (0, 1, 2, 3)
    assert found.twins == ()


# ---------------------------------------------------------------- effective field


def ones(depth: int) -> nn.Module:
    model = nn.Sequential(*[nn.Conv2d(3 if i == 0 else 1, 1, 3, padding=1) for i in range(depth)])
    for layer in model:
        nn.init.ones_(layer.weight)
    return model


@pytest.mark.parametrize("depth", [1, 2, 4, 7])
def test_a_chain_of_box_filters_has_the_binomial_like_influence_of_its_closed_form(depth):
    line = [1.0]
    for _ in range(depth):
        line = [sum(line[max(0, i - 2) : i + 1]) for i in range(len(line) + 2)]
    peak = max(line)
    closed = torch.tensor([[a * b / peak**2 for b in line] for a in line])
    found = effective_field(ones(depth), pictures(3, 24), f"conv1_{depth}")
    low, high = 12 - depth, 12 + depth + 1
    assert torch.allclose(found.influence[low:high, low:high], closed, atol=1e-5)
    assert found.influence.sum().item() == pytest.approx(closed.sum().item(), rel=1e-5), "nothing outside the field"
    assert found.size == pytest.approx(math.sqrt((closed > 0.0455).sum().item()))
    assert (found.unit, found.pictures, found.threshold) == ((12, 12), 3, 0.0455)


def test_the_effective_field_lies_inside_the_theoretical_one_and_is_smaller():
    model = build("vgg11", width=0.1, image_side=64, seed=2)
    before = state_of(model)
    found = effective_field(model, pictures(4), "conv4_1")
    assert same(before, state_of(model))
    box = found.field.box(*found.unit).clipped(64, 64)
    inside = torch.zeros(64, 64, dtype=torch.bool)
    inside[box.y0 : box.y1, box.x0 : box.x1] = True
    assert (~inside).sum() > 1000
    assert found.influence[~inside].max() == 0
    assert 0 < found.size < found.field.size
    assert found.influence.max() == 1


def test_the_threshold_is_respected_and_a_silent_unit_has_no_field():
    wide, narrow = (effective_field(ones(4), pictures(1, 24), "conv1_4", threshold=t).size for t in (0.01, 0.5))
    assert narrow < wide
    silent = ones(2)
    nn.init.zeros_(silent[1].weight)
    assert effective_field(silent, pictures(1, 24), "conv1_2").size == 0


def test_only_maps_have_centres():
    with pytest.raises(InputRefused, match="fc3 has no map"):
        effective_field(build("tiny_vgg"), pictures(1), "fc3")
    with pytest.raises(UnknownName, match="conv9"):
        effective_field(build("tiny_vgg"), pictures(1), "conv9")
