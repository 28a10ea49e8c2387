"""Localisation by saliency and a cut: planted objects are found, controls know nothing, boxes are measured rightly."""

import numpy as np
import pytest
import torch

from vgg_viz.attribution.localisation import by_saliency, controls, localise, overlaps, spot
from vgg_viz.maths.receptive_field import Box
from vgg_viz.maths.segmentation import box_of, box_overlap, grab_cut, largest_piece
from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import load
from vgg_viz.sections.report.localisation import OURS, localisation
from vgg_viz.studies.inputs import load_inputs
from vgg_viz.studies.preset import preset_for
from vgg_viz.studies.subject import Subject


def scene(*boxes: Box, side: int = 48) -> tuple[torch.Tensor, torch.Tensor]:
    """A green picture with red boxes, a little noise on both, and its mask."""
    image = torch.full((3, side, side), 0.2)
    image[1] = 0.6
    mask = torch.zeros(side, side, dtype=torch.bool)
    for box in boxes:
        mask[box.y0 : box.y1, box.x0 : box.x1] = True
    image[:, mask] = torch.tensor([0.8, 0.2, 0.2])[:, None]
    return image + 0.02 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0)), mask


def test_a_few_salient_pixels_of_a_planted_object_lead_to_all_of_it():
    planted = Box(8, 12, 26, 30)
    image, mask = scene(planted)
    saliency = torch.rand(48, 48, generator=torch.Generator().manual_seed(1))
    saliency[mask] += 0.5 * torch.rand(int(mask.sum()), generator=torch.Generator().manual_seed(2)) + 0.4
    (found,) = localise(saliency[None], image[None])
    assert 0.04 < found.objects.mean() < 0.06
    assert 0.29 < found.ground.mean() < 0.31
    assert found.box == planted
    assert (found.piece == mask.numpy()).mean() > 0.99


def test_of_two_objects_the_larger_piece_is_kept():
    small, large = Box(2, 2, 8, 8), Box(20, 20, 40, 36)
    image, mask = scene(small, large)
    (found,) = localise(torch.where(mask, 1.0, 0.0)[None] + 0.1 * torch.rand(1, 48, 48), image[None])
    assert found.box == large


def test_a_flat_map_finds_nothing_and_costs_no_error():
    (found,) = localise(torch.zeros(1, 16, 16), torch.rand(1, 3, 16, 16))
    assert found.box is None
    assert not found.piece.any()
    assert overlaps((None,), torch.ones(1, 16, 16, dtype=torch.bool)).tolist() == [0.0]


def test_the_same_picture_gives_the_same_cut_also_in_grey():
    image, mask = scene(Box(8, 12, 26, 30))
    seeds = mask.numpy() & (np.random.default_rng(0).random((48, 48)) < 0.2)
    cuts = [grab_cut(image[:1], seeds, ~mask.numpy()) for _ in range(2)]
    assert (cuts[0] == cuts[1]).all()
    assert (cuts[0] == mask.numpy()).mean() > 0.95


@pytest.mark.parametrize(("first", "second", "share"), [
    (Box(0, 0, 4, 4), Box(0, 0, 4, 4), 1.0),
    (Box(0, 0, 4, 4), Box(2, 0, 6, 4), 8 / 24),
    (Box(0, 0, 4, 4), Box(1, 1, 3, 3), 4 / 16),
    (Box(0, 0, 4, 4), Box(4, 0, 8, 4), 0.0),
    (Box(0, 0, 4, 4), Box(6, 6, 8, 8), 0.0),
])  # fmt: skip
def test_the_overlap_of_two_boxes_is_their_pixels_counted(first, second, share):
    masks = []
    for box in (first, second):
        mask = np.zeros((10, 10), bool)
        mask[box.y0 : box.y1, box.x0 : box.x1] = True
        assert box_of(mask) == largest_piece(mask)[1] == box
        masks.append(mask)
    counted = (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum()
    assert box_overlap(first, second) == box_overlap(second, first) == pytest.approx(counted) == pytest.approx(share)


def test_controls_know_the_size_of_the_picture_and_the_middle_only():
    image, _ = scene(Box(14, 14, 34, 34))
    found = controls(image[None].repeat(2, 1, 1, 1))
    assert found["whole picture"] == (Box(0, 0, 48, 48),) * 2
    (square, _) = found["centre square"]
    assert (square.x1 - square.x0) * (square.y1 - square.y0) == pytest.approx(48 * 48 / 2, rel=0.05)
    assert found["cut from the centre"][0] == Box(14, 14, 34, 34), "an object in the middle is found without a network"
    assert spot(image[None]).argmax() in (23 * 48 + 23, 23 * 48 + 24, 24 * 48 + 23, 24 * 48 + 24)


@pytest.fixture(scope="module")
def exhibits():
    checkpoint, preset = load(), preset_for("standard", 0.005)
    inputs = load_inputs(checkpoint, images=None, data=None, preset=preset, gigamacs=0.005, seed=0)
    subject = Subject(checkpoint, build(checkpoint), inputs, preset, 0)
    return {shown.slug: shown for shown in localisation(subject)}, subject


def test_the_section_measures_what_it_says(exhibits):
    shown, subject = exhibits
    assert list(shown) == ["localisation-steps", "localisation-overlap"]
    numbers = shown["localisation-overlap"].numbers
    batch = subject.inputs.labelled
    _, found = by_saliency(subject.model, batch.images[: numbers["pictures"]])
    scores = overlaps(tuple(one.box for one in found), batch.masks[: numbers["pictures"]])
    assert numbers["boxes"][OURS]["overlap"] == pytest.approx(float(scores.mean()))
    assert numbers["boxes"][OURS]["found"] == pytest.approx(float((scores >= 0.5).double().mean()))
    low, high = numbers["gain_interval"]
    verdict = "better than" if low > 0 else "worse than" if high < 0 else "not clearly different from"
    assert f"{verdict} the best control, {numbers['best_control']}" in shown["localisation-overlap"].caption.fact
    assert [row[0] for row in shown["localisation-overlap"].table.rows] == list(numbers["boxes"])
