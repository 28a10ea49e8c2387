"""data/shapes.py: only form tells the class, the mask is the object, and a picture depends on its address alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.path import Path as Outline

from vgg_viz.data import shapes
from vgg_viz.data.folder import open_folder, read_folder
from vgg_viz.data.shape_files import write_shapes
from vgg_viz.errors import DataRefused, OutputRefused, UnknownName
from vgg_viz.maths.images import to_uint8

COUNT = 600


@pytest.fixture(scope="module")
def painted():
    return shapes.paint_pixels(COUNT)


# ---------------------------------------------------------------- address and balance


def test_a_picture_depends_on_seed_split_and_index_and_on_nothing_else(painted):
    pixels, labels, masks, names = painted
    for index in (599, 7, 123):  # in another order, alone
        again = shapes.draw(index)
        assert np.array_equal(again.pixels, pixels[index])
        assert np.array_equal(again.mask, masks[index])
        assert again.label == labels[index] == shapes.label_of(index)
        assert names[index] == f"{shapes.CLASSES[again.label]}-{index:06d}"


def test_painting_leaves_the_global_generators_alone():
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    shapes.paint(3)
    assert np.array_equal(before[0], np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(before[1], torch.get_rng_state())


def test_splits_and_seeds_share_no_picture(painted):
    seen: set[bytes] = set()
    for seed, split in ((0, "train"), (0, "val"), (0, "test"), (1, "train")):
        pixels = (
            painted[0][:100] if (seed, split) == (0, "train") else shapes.paint_pixels(100, seed=seed, split=split)[0]
        )
        seen |= {picture.tobytes() for picture in pixels}
    assert len(seen) == 400


def test_classes_are_balanced_in_every_ten_and_shuffled_between(painted):
    tens = painted[1].reshape(-1, 10)
    assert all(sorted(ten) == list(range(10)) for ten in tens)
    assert len({tuple(ten) for ten in tens}) > 50


def test_paint_is_the_same_pictures_as_floats_in_0_1(painted):
    batch = shapes.paint(20)
    assert torch.equal(to_uint8(batch.images), torch.from_numpy(painted[0][:20]))
    assert torch.equal(batch.images, torch.from_numpy(painted[0][:20]).float() / 255)
    assert batch.masks.dtype == torch.bool
    assert len(batch) == 20


def test_impossible_wishes_are_refused():
    with pytest.raises(DataRefused, match="0 pictures were asked for"):
        shapes.paint(0)
    with pytest.raises(DataRefused, match="a side of 8 px"):
        shapes.paint(1, side=8)
    with pytest.raises(UnknownName, match="there is no split 'tset'; did you mean 'test'"):
        shapes.paint(1, split="tset")


# ---------------------------------------------------------------- the mask


def test_the_mask_is_the_outline_filled_by_another_rasteriser():
    """Oracle: matplotlib's point-in-polygon at pixel centres, even-odd over the hole."""
    for index in range(60):
        picture = shapes.draw(index)
        difference = picture.mask ^ _inside(picture, np.arange(64) + 0.5)
        edge = _edge(picture.mask)
        assert not (difference & ~edge).any()
        assert difference.sum() <= 0.25 * edge.sum()


def test_the_picture_differs_from_its_ground_on_the_object_and_nowhere_else():
    for index in range(60):
        picture = shapes.draw(index)
        ground = np.rint(np.clip(picture.ground, 0, 1) * 255).astype(int)
        changed = np.abs(picture.pixels.astype(int) - ground).max(axis=0) > 0
        touched = (
            _inside(picture, (np.arange(64 * 4) + 0.5) / 4).reshape(64, 4, 64, 4).any(axis=(1, 3))
        )  # thin tips too
        assert not (changed & ~_grown(touched)).any()
        assert changed[picture.mask].mean() > 0.97  # a texture may cross the ground's colour here and there


def test_every_object_lies_wholly_in_its_picture(painted):
    masks = painted[2]
    assert not masks[:, [0, -1]].any()
    assert not masks[:, :, [0, -1]].any()
    assert masks.mean(axis=(1, 2)).min() > 0.07


def test_another_side_shows_the_same_scene_larger():
    small, large = shapes.draw(5), shapes.draw(5, side=128)
    halved = large.pixels.reshape(3, 64, 2, 64, 2).mean(axis=(2, 4)) / 255
    assert np.corrcoef(halved.ravel(), small.pixels.ravel())[0, 1] > 0.9
    assert (large.mask.reshape(64, 2, 64, 2).mean(axis=(1, 3)).round().astype(bool) ^ small.mask).mean() < 0.01


def _inside(picture: shapes.PaintedPicture, along: np.ndarray) -> np.ndarray:
    points = np.stack(np.meshgrid(along, along), axis=2).reshape(-1, 2)
    inside = np.zeros(len(points), bool)
    for outline in picture.outlines:
        inside ^= Outline(np.vstack([outline, outline[:1]])).contains_points(points)
    return inside.reshape(len(along), len(along))


def _grown(mask: np.ndarray) -> np.ndarray:
    padded = np.pad(mask, 1)
    height, width = mask.shape
    return np.any([padded[y : y + height, x : x + width] for y in range(3) for x in range(3)], axis=0)


def _edge(mask: np.ndarray) -> np.ndarray:
    return _grown(mask) & _grown(~mask)


# ---------------------------------------------------------------- nothing but form tells the class


def _nearest_centroid(features: np.ndarray, labels: np.ndarray) -> float:
    """Accuracy on the second half of a classifier fitted on the first."""
    features = (features - features.mean(0)) / (features.std(0) + 1e-9)
    half = len(labels) // 2
    centroids = np.stack([features[:half][labels[:half] == k].mean(0) for k in range(10)])
    guesses = ((features[half:, None] - centroids) ** 2).sum(2).argmin(1)
    return float((guesses == labels[half:]).mean())


@pytest.fixture(scope="module")
def many():
    pixels, labels, masks, _ = shapes.paint_pixels(2000, seed=3)
    return pixels, labels, masks


CHANCE = 0.1 + 4 * np.sqrt(0.1 * 0.9 / 1000)  # four standard errors above guessing


def test_the_mean_colour_does_not_tell_the_class(many):
    pixels, labels, _ = many
    assert _nearest_centroid(pixels.mean(axis=(2, 3)), labels) < CHANCE


def test_the_colour_histogram_does_not_tell_the_class(many):
    pixels, labels, _ = many
    bins = np.stack([(pixels // 32 == level).mean(axis=(2, 3)) for level in range(8)], axis=2).reshape(len(labels), -1)
    assert _nearest_centroid(bins, labels) < CHANCE


def test_the_colour_and_texture_of_the_object_alone_do_not_tell_the_class(many):
    pixels, labels, masks = many
    inside = [pixels[i][:, masks[i]].astype(float) for i in range(len(labels))]
    looks = np.array([np.concatenate([values.mean(1), values.std(1)]) for values in inside])
    assert _nearest_centroid(looks, labels) < CHANCE


def test_size_and_place_do_not_tell_the_class_but_form_does(many):
    _, labels, masks = many
    place = np.array([np.argwhere(mask).mean(0) for mask in masks])
    size = masks.mean(axis=(1, 2))[:, None]
    assert _nearest_centroid(np.hstack([place, size]), labels) < CHANCE
    spread = np.array(
        [((np.argwhere(mask) - middle) ** 2).sum(1).mean() for mask, middle in zip(masks, place, strict=True)]
    )
    assert (
        _nearest_centroid(spread[:, None] / size, labels) > 0.3
    )  # the detector can see a difference where there is one


@pytest.mark.parametrize("name", shapes.CLASSES)
def test_every_outline_encloses_area_one_around_its_centre_of_gravity(name):
    fine = np.linspace(-1.2, 1.2, 481) + 0.0013  # off the corners of the square
    points = np.stack(np.meshgrid(fine, fine), axis=2).reshape(-1, 2)
    inside = np.zeros(len(points), bool)
    for outline in shapes.unit_outlines(name):
        inside ^= Outline(np.vstack([outline, outline[:1]])).contains_points(points)
    assert inside.sum() * 0.005**2 == pytest.approx(1, abs=0.01)
    assert np.abs(points[inside].mean(0)).max() < 0.005


def test_object_and_ground_differ_in_lightness(many):
    for index in range(100):
        picture = shapes.draw(index, seed=3)
        luma = np.array([0.299, 0.587, 0.114]) @ picture.pixels.reshape(3, -1)
        around = (_grown(_grown(_grown(picture.mask))) & ~_grown(picture.mask)).ravel()
        assert abs(luma[picture.mask.ravel()].mean() - luma[around].mean()) > 8


# ---------------------------------------------------------------- files


def test_the_written_folder_reads_back_bit_for_bit_with_masks(tmp_path):
    root = write_shapes(tmp_path / "shapes", train=20, val=10, test=10)
    for split, count in (("train", 20), ("val", 10), ("test", 10)):
        folder = open_folder(root, split=split)
        assert folder.classes == shapes.CLASSES
        batch, expected = read_folder(folder, image_side=64), shapes.paint(count, split=split)
        order = expected.labels.argsort(stable=True)
        assert torch.equal(batch.images, expected.images[order])
        assert torch.equal(batch.labels, expected.labels[order])
        assert torch.equal(batch.masks, expected.masks[order])
    assert (root / "train" / "arrow" / "000.png").is_file()
    assert (root / "masks" / "val" / "ring" / "000.png").is_file()


def test_its_own_folder_is_replaced_whole_and_says_how_it_was_made(tmp_path):
    root = write_shapes(tmp_path / "shapes", train=20, val=10, test=10)
    write_shapes(root, train=10, val=10, test=10, seed=4)
    assert len(open_folder(root, split="train").items) == 10
    assert json.loads((root / ".shapes.json").read_text())["seed"] == 4
    assert [entry.name for entry in tmp_path.iterdir()] == ["shapes"]


def test_a_folder_that_is_not_its_own_is_left_alone(tmp_path):
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "beach.jpg").write_bytes(b"dear")
    (tmp_path / "file").write_text("x")
    for name in ("holiday", "file"):
        with pytest.raises(OutputRefused, match=f"'{name}' exists and was not made by `vgg_viz data shapes`"):
            write_shapes(tmp_path / name, train=10, val=10, test=10)
    assert (tmp_path / "holiday" / "beach.jpg").read_bytes() == b"dear"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "holiday"]


def test_an_empty_folder_may_be_filled(tmp_path):
    (tmp_path / "new").mkdir()
    assert open_folder(write_shapes(tmp_path / "new", train=10, val=10, test=10)).split == "test"


def test_a_failed_writing_leaves_the_old_folder_and_no_rest(tmp_path, monkeypatch):
    root = write_shapes(tmp_path / "shapes", train=10, val=10, test=10)
    before = sorted(path.relative_to(root) for path in root.rglob("*"))
    monkeypatch.setattr(Path, "write_bytes", _full_disk)
    with pytest.raises(OutputRefused, match="No space left"):
        write_shapes(root, train=20, val=10, test=10)
    assert sorted(path.relative_to(root) for path in root.rglob("*")) == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["shapes"]


def _full_disk(*_: object) -> int:
    raise OSError(28, "No space left on device")
