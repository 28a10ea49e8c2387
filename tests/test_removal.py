"""Pictures taken apart: exact numbers of tiles whatever is tied, exact imputation, curves that are known beforehand."""

import numpy as np
import pytest
import torch
from torch import nn

from vgg_viz.faithfulness.deletion import ROAD_SHARES, SHARES, removals
from vgg_viz.maths.removal import area, first_tiles, imputed, tile_means


def test_exactly_so_many_tiles_go_however_many_are_tied():
    maps = torch.zeros(3, 16, 16)
    maps[0, 3, 5] = maps[0, 9, 9] = 1.0
    maps[1] = 7.0
    shares = (0.0, 0.1, 0.25, 0.5, 1.0)
    gone = first_tiles(maps, shares, tiles=16)
    assert gone.shape == (5, 3, 16, 16)
    for share, here in zip(shares, gone, strict=True):
        assert here.sum((1, 2)).tolist() == [round(share * 256)] * 3
    assert gone[1, 0, 3, 5]
    assert gone[1, 0, 9, 9]
    assert (gone[1:] >= gone[:-1]).all(), "what is gone stays gone"


def test_tied_tiles_go_in_any_order_and_not_from_the_upper_left():
    gone = first_tiles(torch.zeros(200, 8, 8), (0.5,), tiles=8, seed=3)[0].float().mean(0)
    assert gone.min() > 0.3
    assert gone.max() < 0.7
    assert torch.equal(
        first_tiles(torch.zeros(2, 8, 8), (0.5,), tiles=8), first_tiles(torch.zeros(2, 8, 8), (0.5,), tiles=8)
    )


def test_tiles_cover_the_picture_once_also_where_they_do_not_divide_it():
    maps = torch.rand(2, 13, 10)
    means = tile_means(maps, 4)
    rows, columns = ([[i for i in range(side) if i * 4 // side == tile] for tile in range(4)] for side in (13, 10))
    for y in range(4):
        for x in range(4):
            assert means[:, y, x] == pytest.approx(maps[:, rows[y]][:, :, columns[x]].mean((1, 2)).numpy(), abs=1e-6)
    assert first_tiles(maps, (0.5,), tiles=4).float().mean() == pytest.approx(0.5, abs=0.1)
    assert first_tiles(maps[:, :10], (0.5,), tiles=99).sum((2, 3)).tolist() == [[50, 50]], "no finer than pixels"


def test_the_strongest_tile_goes_first_by_its_mean():
    maps = torch.zeros(1, 8, 8)
    maps[0, 0, 0] = 9.0  # one high peak in the first tile
    maps[0, 4:, 4:] = 1.0  # but more in the last
    assert first_tiles(maps, (0.25,), tiles=2)[0, 0, 4:, 4:].all()


# ---------------------------------------------------------------- imputation


def solved(picture, gone):
    """The same by a dense solver, pixel by pixel: slower and simpler."""
    height, width = gone.shape
    unknown = [tuple(p) for p in np.argwhere(gone)]
    place = {p: i for i, p in enumerate(unknown)}
    matrix, right = np.zeros((len(unknown), len(unknown))), np.zeros(len(unknown))
    for (y, x), i in place.items():
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                q = (y + dy, x + dx)
                if (dy, dx) == (0, 0) or not (0 <= q[0] < height and 0 <= q[1] < width):
                    continue
                weight = 1 / 6 if dy == 0 or dx == 0 else 1 / 12
                matrix[i, i] += weight
                if q in place:
                    matrix[i, place[q]] -= weight
                else:
                    right[i] += weight * picture[q]
    found = picture.copy()
    for p, value in zip(unknown, np.linalg.solve(matrix, right), strict=True):
        found[p] = value
    return found


def test_what_is_missing_becomes_the_weighted_mean_of_its_neighbours_as_a_dense_solver_says():
    dice = torch.Generator().manual_seed(1)
    images = torch.rand(3, 2, 9, 11, generator=dice)
    gone = torch.rand(3, 9, 11, generator=dice) < torch.tensor([0.2, 0.6, 0.9])[:, None, None]
    found = imputed(images, gone, noise=0, tolerance=1e-7, most=2000)
    for b in range(3):
        for c in range(2):
            assert found[b, c].numpy() == pytest.approx(
                solved(images[b, c].double().numpy(), gone[b].numpy()), abs=1e-5
            )


def test_known_pixels_stay_noise_is_small_and_nothing_left_is_grey():
    images = torch.rand(2, 3, 16, 16)
    gone = torch.zeros(2, 16, 16, dtype=torch.bool)
    gone[0, 4:12, 4:12] = True
    gone[1] = True
    found = imputed(images, gone)
    assert torch.equal(found[0][:, ~gone[0]], images[0][:, ~gone[0]])
    assert found[1].mean().item() == pytest.approx(0.5, abs=0.01)
    assert found[1].std().item() == pytest.approx(0.01, abs=0.004)
    flat = imputed(torch.full((1, 3, 16, 16), 0.3), gone[:1], noise=0)
    assert flat == pytest.approx(torch.full((1, 3, 16, 16), 0.3).numpy(), abs=1e-6)


def test_the_quick_solver_is_within_its_own_noise():
    picture = nn.functional.avg_pool2d(torch.rand(4, 3, 68, 68), 5, 1)
    gone = first_tiles(torch.rand(4, 64, 64), (0.6,), tiles=16)[0]
    exact = imputed(picture, gone, noise=0, tolerance=1e-6, most=3000)
    quick = imputed(picture, gone, noise=0)
    assert (quick - exact).abs()[gone[:, None].expand_as(exact)].mean() < 0.005


# ---------------------------------------------------------------- a world with known curves


SHARP = 6.0
SIDE = 16
OBJECT = 32  # of the 256 pixels


class Brightness(nn.Module):
    """Two classes: the second one's logit is the mean brightness of the object's pixels, times SHARP."""

    def __init__(self, mask):
        super().__init__()
        self.mask = mask
        self.anchor = nn.Parameter(torch.zeros(1))

    def forward(self, images):
        logit = SHARP * (images[:, 0] * self.mask).sum((1, 2)) / self.mask.sum()
        return torch.stack([torch.zeros_like(logit), logit], 1)


@pytest.fixture
def world():
    mask = torch.zeros(SIDE, SIDE)
    mask[4:8, 4:12] = 1.0
    assert mask.sum() == OBJECT
    return Brightness(mask), mask.expand(4, 1, SIDE, SIDE).clone(), mask


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_deletion_of_a_known_world_is_its_closed_form_for_the_best_and_the_worst_map(world):
    model, images, mask = world
    targets = torch.ones(4, dtype=torch.long)
    best, worst = mask.expand(4, -1, -1), -mask.expand(4, -1, -1)
    found = removals(model, images, targets, {"best": best, "worst": worst}, tiles=SIDE)
    total, mean = SIDE * SIDE, OBJECT / SIDE**2  # the picture's mean colour takes the place of what is gone
    for name, first in (("best", 0), ("worst", total - OBJECT)):
        gone = [min(max(round(share * total) - first, 0), OBJECT) for share in SHARES]
        expected = [sigmoid(SHARP * (1 - (1 - mean) * g / OBJECT)) for g in gone]
        assert found[name].deletion[0].tolist() == pytest.approx(expected, abs=1e-5), name
    assert (found["best"].gap > 0.25).all()
    assert (found["worst"].gap < 0).all()
    assert found["best"].insertion[0, -1].item() == pytest.approx(sigmoid(SHARP))
    assert found["best"].insertion[0, 2:].tolist() == pytest.approx(
        [found["best"].insertion[0, -1].item()] * 6, abs=0.02
    )


def test_road_of_a_known_world_is_all_or_nothing_for_the_best_map_and_nothing_for_luck(world):
    model, images, mask = world
    images, targets = images.repeat(8, 1, 1, 1), torch.ones(32, dtype=torch.long)
    lucky = torch.rand(32, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    maps = {
        "best": mask.expand(32, -1, -1),
        "worst": -mask.expand(32, -1, -1),
        "luck": lucky,
        "flat": torch.zeros(32, SIDE, SIDE),
    }
    found = removals(model, images, targets, maps, tiles=SIDE, imputations=32)
    # The weakest gone first leaves the object whole; the strongest gone, the object is filled with its dark surroundings.
    everything = sigmoid(SHARP) - sigmoid(0)
    assert found["best"].road.shape == (32, len(ROAD_SHARES))
    assert found["best"].road_gap.mean().item() == pytest.approx(everything, abs=0.02)
    assert found["worst"].road_gap.mean().item() == pytest.approx(-everything, abs=0.02)
    assert abs(found["luck"].road_gap.mean().item()) < 0.05
    assert abs(found["flat"].road_gap.mean().item()) < 0.05, (
        "nothing but ties: by a threshold, all would be gone at once"
    )


def test_the_area_under_a_curve_is_its_mean_height():
    assert area(torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.5, 1.0]]), (0.0, 0.5, 1.0)).tolist() == [1.0, 0.5]
    assert area(torch.tensor([2.0, 2.0]), (0.2, 0.8)).item() == pytest.approx(2.0)
