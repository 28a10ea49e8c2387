"""maths/change.py and maths/transplant.py: what is known by hand about maps that change, and about parts of pictures that are moved."""

from __future__ import annotations

import math

import pytest
import torch

from vgg_viz.errors import InputRefused
from vgg_viz.maths.change import border_mask, centre_mask, drift, learning, map_entropy
from vgg_viz.maths.transplant import Region, box_mask, checked_region, control_boxes, elsewhere, transplant

ANY = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(0)) - 0.3


def test_entropy_is_one_for_a_flat_map_zero_for_a_single_value_and_known_in_between():
    single = torch.zeros(6, 6)
    single[2, 3] = 5.0
    quarter = torch.zeros(4, 4)
    quarter[:2, :2] = 0.1  # four equal values of sixteen: ln 4 / ln 16
    assert map_entropy(torch.stack([torch.full((6, 6), 0.2), single])).tolist() == pytest.approx([1.0, 0.0])
    assert float(map_entropy(quarter[None])) == pytest.approx(0.5)
    assert float(map_entropy(quarter[None] - 1000 * (quarter[None] == 0))) == pytest.approx(0.5)  # evidence against counts as nothing
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


# ---------------------------------------------------------------- transplants


def pictures(count: int, value: float, side: int = 16) -> torch.Tensor:
    return torch.full((count, 3, side, side), value)


@pytest.mark.parametrize("region", [Region("box", (2, 3, 6, 5)), Region("border", width=2)], ids=["box", "border"])
def test_a_moved_region_is_the_donors_there_and_the_pictures_own_everywhere_else(region):
    images, donors = pictures(4, 0.2), pictures(4, 0.9)
    inside = box_mask((2, 3, 6, 5), 16) if region.box else border_mask(16, 2)
    treated = transplant(region, images, donors, None, None)
    assert torch.equal(treated == 0.9, inside.expand(4, 3, -1, -1))
    assert torch.equal(treated == 0.2, (~inside).expand(4, 3, -1, -1))
    assert torch.equal(images, pictures(4, 0.2))
    if region.box:
        changed = elsewhere(region, images, donors) == 0.9
        assert not (changed & inside).any()
        assert changed.sum((2, 3)).unique().tolist() == [8]
        assert len({tuple(part.flatten().tolist()) for part in changed}) == 3  # three places, taken in turn


def test_a_moved_background_leaves_the_object_and_does_not_bring_the_donors_object_along():
    images, donors = pictures(1, 0.2), pictures(1, 0.9)
    mask, donor_mask = torch.zeros(2, 1, 16, 16).bool()
    mask[0, 2:5, 2:5] = True
    donor_mask[0, 9:13, 10:14] = True
    donors[0, :, 9:13, 10:14] = 0.5  # the donor's object
    treated = transplant(Region("background"), images, donors, mask, donor_mask)
    assert (treated[0, :, 2:5, 2:5] == 0.2).all()
    assert (treated[0].masked_select(~mask[0]) == 0.9).all()
    donor_mask[:] = True  # an object everywhere leaves no ground to take
    assert transplant(Region("background"), images, donors, mask, donor_mask).isfinite().all()
    with pytest.raises(InputRefused, match="every picture has a mask"):
        transplant(Region("background"), images, donors, mask, None)


def test_a_moved_cast_gives_the_donors_hue_and_keeps_the_pictures_own_light():
    images = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * 0.4 + 0.1
    donors = pictures(3, 0.4, 8)
    donors[:, 0] = 0.6
    treated = transplant(Region("colours"), images, donors, None, None)
    means = treated.mean((2, 3))
    assert torch.allclose(means[:, 0] / means[:, 1], torch.full((3,), 1.5), atol=1e-4)
    assert torch.allclose(means.mean(1), images.mean((1, 2, 3)), atol=1e-4)


def test_regions_that_cannot_be_compared_are_refused_in_a_sentence():
    assert checked_region(Region("box", (0, 0, 8, 16)), 16).box == (0, 0, 8, 16)
    wrong = {(0, 0, 9, 16): "leaves no room", (4, 4, 4, 8): "does not lie in a picture of 16 px", (0, 0, 4, 17): "up to 16"}
    for box, why in wrong.items():
        with pytest.raises(InputRefused, match=why):
            checked_region(Region("box", box), 16)
    with pytest.raises(InputRefused, match="1 to 2 px of 16 were expected"):
        checked_region(Region("border", width=3), 16)
    for box in ((0, 0, 5, 5), (6, 6, 10, 10), (3, 0, 11, 8)):
        assert all((box_mask(other, 16) & box_mask(box, 16)).sum() == 0 for other in control_boxes(box, 16))
        assert all(box_mask(other, 16).sum() == box_mask(box, 16).sum() for other in control_boxes(box, 16))


def test_words_for_regions_say_where_they_lie():
    assert str(Region("box", (0, 0, 12, 12))) == "the region x 0 to 11, y 0 to 11 px"
    assert [str(Region("border", width=4)), str(Region("background")), str(Region("colours"))] == [
        "the border of 4 px", "the background", "the cast of the colours",
    ]  # fmt: skip
    assert math.isclose(float(centre_mask(8).double().mean()), 0.25)
