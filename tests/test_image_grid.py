"""Many pictures on one sheet: everything at its place, nothing invented on the way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import colormaps

from vgg_viz.figures.image_grid import Grid, cell_side, compose_grid, fit, outlined, overlay, render_map
from vgg_viz.maths.heatmaps import Scale

SIGNED = Scale(-2, 2, True, "logit", "this map")
PLAIN = Scale(0, 2, False, "logit", "this map")


@given(
    st.integers(1, 40), st.integers(1, 9), st.integers(1, 12), st.integers(1, 12), st.integers(0, 5), st.integers(0, 5)
)
def test_cells_never_overlap_and_fill_the_sheet(
    count: int, columns: int, width: int, height: int, gap: int, above: int
) -> None:
    grid = Grid(count, min(columns, count), width, height, gap=gap, above=above, below=1)
    sheet = compose_grid(grid, [np.full((height, width), n, np.float32) for n in range(count)])
    assert sheet.shape == grid.size[::-1]
    found, areas = np.unique(sheet[np.isfinite(sheet)], return_counts=True)
    np.testing.assert_array_equal(found, np.arange(count))
    assert (areas == width * height).all()


def test_what_is_no_cell_is_transparent() -> None:
    sheet = compose_grid(Grid(2, 2, 4, 4, gap=3), [np.ones((4, 4, 3), np.float32)] * 2)
    assert (sheet[:, 4:7] == 0).all()
    assert (sheet[:, :4, 3] == 1).all()


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 90))
def test_fitting_keeps_the_mean_and_stays_in_its_cell(rows: int, columns: int, side: int) -> None:
    picture = np.random.default_rng(rows * columns).random((rows, columns)).astype(np.float32)
    small = fit(picture, side, side)
    assert max(small.shape) <= side
    assert small.min() >= picture.min() - 1e-6
    assert small.max() <= picture.max() + 1e-6
    if side >= max(rows, columns) or (rows % small.shape[0] == 0 and columns % small.shape[1] == 0):
        assert small.mean() == pytest.approx(picture.mean(), abs=1e-5)


def test_pixels_are_enlarged_a_whole_number_of_times() -> None:
    picture = np.arange(9, dtype=np.float32).reshape(3, 3)
    large = fit(picture, 11, 11)
    np.testing.assert_array_equal(large, np.kron(picture, np.ones((3, 3))))


@pytest.mark.parametrize(
    ("side", "wanted", "density", "cell"),
    [(64, 150, 1, 128), (64, 170, 1, 192), (224, 128, 1, 128), (64, 100, 2, 96), (3, 54, 1, 54)],
)
def test_a_cell_is_one_that_the_picture_fills(side: int, wanted: int, density: int, cell: int) -> None:
    assert cell_side(side, wanted, density=density) == cell


@given(st.integers(1, 300), st.integers(8, 200), st.integers(1, 2))
def test_a_cell_never_passes_the_room_there_is(side: int, most: int, density: int) -> None:
    assert cell_side(side, 2 * most, most=most, density=density) <= most


@pytest.mark.parametrize("scale", [SIGNED, PLAIN])
def test_a_zero_map_leaves_every_pixel_of_the_photo(scale: Scale) -> None:
    photo = np.random.default_rng(1).random((9, 9, 3)).astype(np.float32)
    np.testing.assert_array_equal(overlay(photo, np.zeros((9, 9)), scale), photo)


def test_a_flat_map_paints_nothing_over_the_photo() -> None:
    photo = np.random.default_rng(1).random((4, 4, 3)).astype(np.float32)
    np.testing.assert_array_equal(overlay(photo, np.full((4, 4), 3.0), Scale(3, 3, True, "logit", "this map")), photo)


def test_opacity_grows_with_the_distance_from_zero_on_both_sides() -> None:
    photo = np.full((1, 5, 3), 0.5, np.float32)
    values = np.array([[-2.0, -1.0, 0.0, 1.0, 2.0]])
    painted = overlay(photo, values, SIGNED, strength=1.0)
    ends = colormaps["RdBu_r"]([0.0, 1.0])[:, :3]
    np.testing.assert_allclose(painted[0, [0, 4]], ends, atol=1e-6)
    half = 0.5 * 0.5 + 0.5 * colormaps["RdBu_r"](0.25)[0]
    assert painted[0, 1, 0] == pytest.approx(half, abs=1e-6)


def test_a_value_beyond_the_scale_wears_its_end_colour() -> None:
    np.testing.assert_array_equal(render_map(np.array([[9.0]]), PLAIN), render_map(np.array([[2.0]]), PLAIN))


def test_an_outline_surrounds_the_mask_and_leaves_the_object() -> None:
    photo = np.full((20, 20, 3), 0.4, np.float32)
    mask = np.zeros((20, 20), bool)
    mask[8:12, 8:12] = True
    lined = outlined(photo, mask, thickness=1)
    np.testing.assert_array_equal(lined[mask], photo[mask])
    assert (lined[7, 8:12] == 1).all()
    assert (lined[6, 8:12] == np.float32(0.05)).all()
    np.testing.assert_array_equal(lined[:5], photo[:5])
