"""data/transforms.py: views keep what a picture is, come from the generator alone, and equal their formulas."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from vgg_viz.data import shapes
from vgg_viz.data.transforms import (
    AUGMENTATIONS,
    Augmentation,
    ColourAxes,
    augment,
    colour_axes,
    evaluation_view,
    transform_steps,
)


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    return shapes.paint(64).images


def view(images: torch.Tensor, seed: int = 0, axes: ColourAxes | None = None, **wanted: float | bool) -> torch.Tensor:
    return augment(images, Augmentation(**wanted), torch.Generator().manual_seed(seed), axes)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_preset_keeps_shape_and_range_and_leaves_the_original_alone(pictures, name):
    before = pictures.clone()
    axes = colour_axes(pictures)
    seen = augment(pictures, AUGMENTATIONS[name], torch.Generator().manual_seed(0), axes)
    assert seen.shape == pictures.shape
    assert 0 <= float(seen.min()) <= float(seen.max()) <= 1
    assert torch.equal(pictures, before)
    assert torch.equal(seen, pictures) == (name == "none")


@pytest.mark.parametrize("name", [name for name in AUGMENTATIONS if name != "none"])
def test_a_view_is_decided_by_the_generator_and_not_by_global_chance(pictures, name):
    axes = colour_axes(pictures)
    torch.manual_seed(1)
    first = augment(pictures, AUGMENTATIONS[name], torch.Generator().manual_seed(5), axes)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert torch.equal(first, augment(pictures, AUGMENTATIONS[name], torch.Generator().manual_seed(5), axes))
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(first, augment(pictures, AUGMENTATIONS[name], torch.Generator().manual_seed(6), axes))


def test_a_flip_mirrors_half_of_the_pictures_and_touches_no_other(pictures):
    many = pictures.repeat(8, 1, 1, 1)
    seen = view(many, flip=True)
    mirrored = torch.tensor([torch.equal(a, b.flip(-1)) for a, b in zip(seen, many, strict=True)])
    kept = torch.tensor([torch.equal(a, b) for a, b in zip(seen, many, strict=True)])
    assert bool((mirrored | kept).all())
    assert 0.4 < float(mirrored.float().mean()) < 0.6


def test_a_turn_is_one_of_the_eight_views_of_a_square(pictures):
    one = pictures[:1]
    eight = [k for flipped in (one, one.flip(-1)) for k in (torch.rot90(flipped, n, (-2, -1)) for n in range(4))]
    seen = view(one.repeat(200, 1, 1, 1), flip=True, turn=True)
    which = [next(index for index, known in enumerate(eight) if torch.equal(picture, known[0])) for picture in seen]
    assert set(which) == set(range(8))


def test_a_moved_picture_is_the_same_picture_somewhere_else():
    ramp = torch.arange(32.0).div(31).expand(1, 3, 32, 32)  # value = column
    seen = view(ramp.repeat(300, 1, 1, 1), crop=0.125)
    shifts = (seen[:, 0, 0, 16] * 31).round().long() - 16
    assert set(shifts.tolist()) == set(range(-4, 5))
    for picture, shift in zip(seen[:50], shifts[:50].tolist(), strict=True):
        expected = (torch.arange(32) + shift).clamp(0, 31) / 31  # beyond the edge, the edge goes on
        assert torch.allclose(picture[0, 0], expected, atol=1e-6)
    rows = view(ramp.transpose(-1, -2).repeat(300, 1, 1, 1), crop=0.125)
    assert set(((rows[:, 0, 16, 0] * 31).round().long() - 16).tolist()) == set(range(-4, 5))


def test_a_zoom_enlarges_by_no_more_than_its_share_and_stays_inside():
    x = torch.linspace(0, 1, 64).expand(1, 3, 64, 64)
    seen = view(x.repeat(300, 1, 1, 1), zoom=0.25)
    slope = (seen[:, 0, 32, 40] - seen[:, 0, 32, 24]) / (x[0, 0, 32, 40] - x[0, 0, 32, 24])  # 1 / enlargement
    assert float(slope.min()) == pytest.approx(1 / 1.25, abs=0.01)
    assert float(slope.max()) == pytest.approx(1, abs=0.01)
    assert bool((seen[:, 0, 32].diff(dim=-1) > 0).all())  # nothing from outside was repeated


def test_colour_jitter_without_saturation_and_contrast_is_torchvisions_brightness(pictures):
    seen = view(pictures[:1].repeat(50, 1, 1, 1), colour=0.3)
    generator = torch.Generator().manual_seed(0)
    amounts = [0.7 + 0.6 * torch.rand(50, 1, 1, 1, generator=generator) for _ in range(3)]
    for index in range(10):
        brightness, contrast, saturation = (float(amount[index]) for amount in amounts)
        image = pictures[0].clone() * brightness
        grey = reference.rgb_to_grayscale(image).mean()
        image = grey + contrast * (image - grey)
        grey = reference.rgb_to_grayscale(image)
        expected = (grey + saturation * (image - grey)).clamp(0, 1)
        assert torch.allclose(seen[index], expected, atol=2e-3)  # torchvision's grey weights have one digit more


def test_the_principal_axes_are_those_of_a_planted_covariance():
    generator = torch.Generator().manual_seed(0)
    axis = torch.tensor([0.6, 0.8, 0.0])
    values = 0.5 + 0.1 * torch.randn(20, 1, 40, 40, generator=generator) * axis[:, None, None]
    values = values + 0.01 * torch.randn(20, 3, 40, 40, generator=generator)
    axes = colour_axes(values)
    assert axes.variances.tolist() == pytest.approx([1e-4, 1e-4, 0.0101], rel=0.05)
    assert abs(float(axes.directions[:, 2] @ axis)) > 0.999


def test_the_pca_shift_has_the_variance_of_the_paper():
    """A shift of sum a_i s_i p_i with a ~ N(0, .1) has the covariance .01 times that of the colours."""
    axes = colour_axes(shapes.paint(100).images)
    grey = torch.full((20_000, 3, 1, 1), 0.5)
    shift = (view(grey, axes=axes, pca=0.1) - 0.5)[:, :, 0, 0]
    expected = axes.directions @ torch.diag(axes.variances) @ axes.directions.T * 0.01
    assert torch.allclose(torch.cov(shift.T), expected, atol=5e-5)
    assert float(shift.mean(0).abs().max()) < 2e-3


def test_the_evaluation_view_is_the_centre_of_the_resized_picture():
    image = torch.rand(3, 90, 50)
    seen = evaluation_view(image, 32)
    resized = reference.resize(image, [32], antialias=True)
    assert torch.allclose(seen, reference.center_crop(resized, [32, 32]), atol=1e-6)


def test_the_steps_of_a_figure_join_up_and_begin_with_the_evaluation_view():
    image = torch.rand(3, 90, 50)
    way = transform_steps(image, side=32, augmentation=AUGMENTATIONS["strong"], axes=colour_axes(image[None]), seed=3)
    assert [step.name for step in way[:2]] == ["shorter side to 32 px", "centre 32 × 32 px"]
    assert len(way) == 7
    assert torch.equal(way[0].before, image)
    assert torch.equal(way[1].after, evaluation_view(image, 32))
    for earlier, later in pairwise(way):
        assert torch.equal(earlier.after, later.before)
        assert earlier.name != later.name
    assert len(transform_steps(image, side=32, augmentation=AUGMENTATIONS["none"])) == 2
