"""maths/change.py: what is known by hand about maps that change."""

from __future__ import annotations

import math

import pytest
import torch

from vgg_viz.maths.change import border_mask, centre_mask, drift, learning, map_entropy

ANY = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(0)) - 0.3


def test_entropy_is_one_for_a_flat_map_zero_for_a_single_value_and_known_in_between():
    single = torch.zeros(6, 6)
    single[2, 3] = 5.0
    quarter = torch.zeros(4, 4)
    quarter[:2, :2] = 0.1  # four equal values of sixteen: ln 4 / ln 16
    assert map_entropy(torch.stack([torch.full((6, 6), 0.2), single])).tolist() == pytest.approx([1.0, 0.0])
    assert float(map_entropy(quarter[None])) == pytest.approx(0.5)
    assert float(map_entropy(quarter[None] - 1000 * (quarter[None] == 0))) == pytest.approx(
        0.5
    )  # evidence against counts as nothing
    assert map_entropy(torch.stack([torch.zeros(3, 3), -torch.ones(3, 3)])).isnan().all()


def test_entropy_knows_neither_the_unit_of_a_map_nor_the_size_of_its_grid():
    fine = ANY.repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert torch.allclose(map_entropy(ANY), map_entropy(1e-6 * ANY))
    assert ((map_entropy(fine) - map_entropy(ANY)).abs() < 0.1).all()


def test_drift_is_zero_where_nothing_changed_two_where_the_order_is_turned_and_blind_to_strength():
    assert drift(ANY, ANY).tolist() == [0, 0, 0]
    assert drift(ANY, 40 * ANY + 3).tolist() == pytest.approx([0, 0, 0], abs=1e-12)
    assert drift(ANY, -ANY).tolist() == pytest.approx([2, 2, 2])
    assert drift(ANY, ANY.flip(0))[0] > 0.5
    flat = torch.zeros(2, 4, 4)
    assert drift(flat, flat).tolist() == [0, 0]
    assert drift(flat, ANY[:2, :4, :4]).isnan().all()


def test_learning_and_forgetting_are_counted_as_by_hand():
    right = torch.tensor([
        # always, never, learned at 2, forgotten twice, lucky start, learned last
        [1, 0, 0, 1, 1, 0],
        [1, 0, 0, 0, 0, 0],
        [1, 0, 1, 1, 0, 0],
        [1, 0, 1, 0, 0, 1],
    ]).bool()  # fmt: skip
    found = learning(right)
    assert found.first.tolist() == [0, -1, 2, 0, 0, 3]
    assert found.final.tolist() == [0, -1, 2, -1, -1, 3]
    assert found.times_forgotten.tolist() == [0, 0, 0, 2, 1, 0]
    assert found.learned.sum(1).tolist() == [0, 0, 2, 1]
    assert found.forgotten.sum(1).tolist() == [0, 2, 0, 1]


def test_the_border_and_the_middle_have_the_areas_that_they_say():
    assert int(border_mask(16, 2).sum()) == 16 * 16 - 12 * 12
    assert int(centre_mask(16).sum()) == 64
    assert not (border_mask(16, 2) & centre_mask(16)).any()
    assert math.isclose(float(centre_mask(8).double().mean()), 0.25)
