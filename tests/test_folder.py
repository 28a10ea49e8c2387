"""data/folder.py and data/cache.py: any folder opens, nothing in it is fatal, nothing is silent."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from vgg_viz.data.cache import (
    draw_specimens,
    fingerprint,
    natural_side,
    open_training_data,
    paint_labelled,
    read_labelled,
    statistics,
)
from vgg_viz.data.class_matching import match_classes
from vgg_viz.data.folder import open_folder, read_folder, read_images
from vgg_viz.errors import DataRefused, ImageRefused
from vgg_viz.maths.images import decode, encode_png, resize


def picture(path: Path, value: float = 0.5, *, height: int = 8, width: int = 8) -> Path:
    """A flat grey picture; its value says later which file it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(torch.full((3, height, width), value)))
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of three pictures; the grey value is (label * 100 + number) / 255."""
    for label, name in enumerate(("cat", "dog")):
        for number in range(3):
            picture(tmp_path / "pets" / name / f"{number}.png", (label * 100 + number) / 255)
    return tmp_path / "pets"


# ---------------------------------------------------------------- ImageFolder


def test_a_root_of_class_folders_opens_with_labels_in_the_order_of_names(root):
    folder = open_folder(root)
    assert folder.classes == ("cat", "dog")
    assert folder.split == ""
    assert [(item.name, item.label) for item in folder.items] == [
        ("cat/0.png", 0),
        ("cat/1.png", 0),
        ("cat/2.png", 0),
        ("dog/0.png", 1),
        ("dog/1.png", 1),
        ("dog/2.png", 1),
    ]
    batch = read_folder(folder, image_side=4)
    assert (batch.images[:, 0, 0, 0] * 255).round().tolist() == [0, 1, 2, 100, 101, 102]
    assert batch.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert batch.masks is None
    assert batch.skipped == ()


def test_it_agrees_with_torchvision_on_a_real_folder(shared_data):
    from torchvision.datasets import ImageFolder

    root = shared_data / "cifar10" / "test"
    ours, theirs = open_folder(shared_data / "cifar10"), ImageFolder(root)
    assert ours.split == "test"
    assert list(ours.classes) == theirs.classes
    assert [(str(item.path), item.label) for item in ours.items] == theirs.samples


def test_of_a_folder_with_parts_the_held_out_one_is_opened_unless_another_is_asked_for(tmp_path):
    for part in ("train", "val", "test"):
        picture(tmp_path / part / "a" / f"{part}.png")
    picture(tmp_path / "train" / "b" / "only.png")
    opened = {split: open_folder(tmp_path, split=split) for split in ("train", "val", "test", "held-out")}
    assert {split: folder.split for split, folder in opened.items()} == {
        "train": "train",
        "val": "val",
        "test": "test",
        "held-out": "test",
    }
    assert opened["held-out"].items[0].name == "a/test.png"
    assert all(folder.classes == ("a", "b") for folder in opened.values())  # labels agree between parts


def test_the_training_part_is_never_taken_for_the_held_out_one(tmp_path):
    picture(tmp_path / "train" / "a" / "0.png")
    with pytest.raises(DataRefused, match="holds train/ but no test/ or val/; add test/ or val/"):
        open_folder(tmp_path)


def test_classes_that_are_called_test_and_train_are_classes(tmp_path):
    picture(tmp_path / "train" / "0.png")
    picture(tmp_path / "test" / "0.png")
    assert open_folder(tmp_path).classes == ("test", "train")


def test_broken_files_are_left_out_and_named(root):
    (root / "cat" / "1.png").write_bytes(b"not a picture at all")
    (root / "dog" / "2.png").write_bytes((root / "dog" / "2.png").read_bytes()[:40])
    (root / "dog" / "notes.txt").write_text("x")
    (root / "dog" / "empty.jpg").write_bytes(b"")
    batch = read_folder(open_folder(root), image_side=8)
    assert batch.names == ("cat/0.png", "cat/2.png", "dog/0.png", "dog/1.png")
    reasons = dict(batch.skipped)
    assert set(reasons) == {"cat/1.png", "dog/2.png", "dog/notes.txt", "dog/empty.jpg"}
    assert "not a picture" in reasons["cat/1.png"]
    assert "'.txt'" in reasons["dog/notes.txt"]
    assert "empty" in reasons["dog/empty.jpg"]
    assert all(name in reason for name, reason in batch.skipped)


def test_a_folder_of_broken_files_only_is_refused_with_the_first_reason(tmp_path):
    for number in range(3):
        (tmp_path / "a").mkdir(exist_ok=True)
        (tmp_path / "a" / f"{number}.png").write_bytes(b"junk")
    with pytest.raises(
        DataRefused, match=r"holds no picture that can be read \(3 files were left out; the first: a/0\.png"
    ):
        read_folder(open_folder(tmp_path), image_side=8)


def test_hidden_files_litter_nesting_mixed_case_and_links_are_handled(root, tmp_path):
    picture(root / "cat" / ".hidden.png")
    picture(root / ".git" / "x.png")
    (root / "cat" / "Thumbs.db").write_bytes(b"x")
    picture(root / "cat" / "deep" / "er" / "LOUD.PNG")
    outside = picture(tmp_path / "elsewhere" / "linked.png")
    os.symlink(outside, root / "dog" / "link.png")
    os.symlink(outside.parent, root / "dog" / "linked folder")
    os.symlink(root / "dog", root / "dog" / "loop")  # would never end
    os.symlink(tmp_path / "gone.png", root / "dog" / "dangling.png")
    folder = open_folder(root)
    assert [item.name for item in folder.items if item.label == 0] == [
        "cat/0.png",
        "cat/1.png",
        "cat/2.png",
        "cat/deep/er/LOUD.PNG",
    ]
    assert [item.name for item in folder.items if item.label == 1] == [
        "dog/0.png",
        "dog/1.png",
        "dog/2.png",
        "dog/dangling.png",
        "dog/link.png",
        "dog/linked folder/linked.png",
    ]
    assert folder.classes == ("cat", "dog")
    assert [name for name, _ in read_folder(folder, image_side=8).skipped] == ["dog/dangling.png"]


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "a'b\"c", "日本 語", "{{7*7}}", "[bold]x[/bold]", "new\nline"]
)
def test_hostile_names_are_kept_as_the_text_they_are(tmp_path, name):
    name = name.replace("/", "∕")
    picture(tmp_path / name / f"{name}.png")
    batch = read_folder(open_folder(tmp_path), image_side=8)
    assert open_folder(tmp_path).classes == (name,)
    assert batch.names == (f"{name}/{name}.png",)


def test_a_name_that_is_no_valid_text_can_still_be_printed(tmp_path):
    picture(tmp_path / "a" / "0.png")
    os.rename(os.fsencode(tmp_path / "a" / "0.png"), os.fsencode(tmp_path / "a") + b"/\xff\xfe.png")
    name = read_folder(open_folder(tmp_path), image_side=8).names[0]
    assert name == "a/\\xff\\xfe.png"
    name.encode()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda path: None, r"'data' does not exist; give a folder with one folder of pictures for each class"),
        (lambda path: path.write_text("x"), r"'data' is a file; give a folder"),
        (lambda path: path.mkdir(), r"'data' holds no picture that can be read; expected a folder with one folder"),
        (lambda path: (path / "cat").mkdir(parents=True), r"'data' holds no picture that can be read"),
        (lambda path: picture(path / "0.png"), r"'data' holds pictures but no class folders.*use --images"),
    ],
)
def test_what_is_no_image_folder_is_refused_in_one_sentence(tmp_path, make, sentence):
    make(tmp_path / "data")
    with pytest.raises(DataRefused, match=sentence) as caught:
        open_folder(tmp_path / "data")
    assert str(tmp_path) not in str(caught.value)


def test_masks_beside_are_picked_up_and_are_no_class(tmp_path):
    for part in ("train", "val"):
        for number in range(2):
            picture(tmp_path / part / "a" / f"{number}.png", height=8, width=12)
            mask = torch.zeros(8, 12, dtype=torch.bool)
            mask[number:4, 4:8] = True
            place = tmp_path / "masks" / part / "a" / f"{number}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(encode_png(mask))
    for path in (tmp_path, tmp_path / "val"):  # the whole, and one part opened by itself
        batch = read_folder(open_folder(path, split="val"), image_side=8)
        assert open_folder(path, split="val").classes == ("a",)
        assert batch.masks.shape == (2, 8, 8)
        assert batch.masks.sum(dim=(1, 2)).tolist() == [16, 12]
        assert batch.masks[0, :4, 2:6].all()  # cropped as the picture was
    (tmp_path / "masks" / "val" / "a" / "1.png").unlink()
    assert read_folder(open_folder(tmp_path, split="val"), image_side=8).masks is None  # some is not all


def test_a_limit_takes_classes_evenly_and_the_same_pictures_for_a_seed(tmp_path):
    for label, count in (("a", 30), ("b", 5), ("c", 3)):
        for number in range(count):
            picture(tmp_path / label / f"{number:02d}.png", number / 255)
    folder = open_folder(tmp_path)
    first = read_folder(folder, image_side=8, limit=12, seed=1)
    assert torch.bincount(first.labels).tolist() == [5, 4, 3]
    assert first.names == read_folder(folder, image_side=8, limit=12, seed=1).names
    assert first.names != read_folder(folder, image_side=8, limit=12, seed=2).names


# ---------------------------------------------------------------- photographs without labels


def test_pictures_of_any_shape_become_squares_and_keep_their_middle(tmp_path):
    wide = torch.zeros(3, 10, 30)
    wide[:, :, 10:20] = 1
    (tmp_path / "wide.png").write_bytes(encode_png(wide))
    batch = read_images(tmp_path, image_side=10)
    assert batch.images.shape == (1, 3, 10, 10)
    assert batch.labels is None
    assert bool((batch.images == 1).all())


def test_one_picture_or_a_folder_with_broken_ones(tmp_path):
    one = picture(tmp_path / "b.png", 0.2)
    picture(tmp_path / "sub" / "c.png", 0.6)
    (tmp_path / "a.jpg").write_bytes(b"junk")
    assert read_images(one, image_side=8).names == ("b.png",)
    batch = read_images(tmp_path, image_side=8)
    assert batch.names == ("b.png", "sub/c.png")
    assert [name for name, _ in batch.skipped] == ["a.jpg"]
    assert read_images(tmp_path, image_side=8, limit=1).names == ("b.png",)
    with pytest.raises(ImageRefused, match=r"a\.jpg is not a picture"):
        read_images(tmp_path / "a.jpg", image_side=8)
    with pytest.raises(DataRefused, match="there is no 'nowhere'; give a picture, or a folder of pictures"):
        read_images(tmp_path / "nowhere", image_side=8)
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        DataRefused, match=r"'empty' holds no picture that can be read; expected a folder with pictures"
    ):
        read_images(tmp_path / "empty", image_side=8)


# ---------------------------------------------------------------- class names


def test_classes_are_matched_by_name_not_by_order():
    assert match_classes(("dog", "cat"), ("cat", "dog")) == (1, 0)
    assert match_classes(("Red-Panda", "espresso"), ("espresso", "koala", "red panda")) == (2, 0)


def test_a_subset_and_wordnet_names_are_fine():
    known = ("tench, Tinca tinca", "goldfish, Carassius auratus", "crane", "crane", "tabby, tabby cat")
    assert match_classes(("n02123045_tabby", "goldfish"), known) == (4, 1)
    ids = tuple(f"n{number:08d}" for number in range(1000))
    assert match_classes(ids, tuple(f"name {number}" for number in range(1000))) == tuple(range(1000))
    assert match_classes(ids[5:7], ids) == (5, 6)


def test_a_checkpoint_without_names_is_matched_by_order_when_the_counts_agree():
    assert match_classes(("a", "b"), ("class 0", "class 1"), named=False) == (0, 1)
    with pytest.raises(DataRefused, match="of the folder's 3 classes, 3 "):
        match_classes(("a", "b", "c"), ("class 0", "class 1"), named=False)


@pytest.mark.parametrize("folder", [("cat", "fish"), ("cat", "dog", "ox")])
def test_a_class_that_the_checkpoint_cannot_tell_is_refused_by_name(folder):
    with pytest.raises(DataRefused, match=rf"1 \('{folder[-1]}'\) cannot be told among the checkpoint's 2 .*--classes"):
        match_classes(folder, ("cat", "dog"))


def test_a_name_equal_to_the_letter_wins_over_one_that_is_alike():
    assert match_classes(("crane",), ("Crane", "crane")) == (1,)


def test_two_folders_for_one_class_are_refused():
    with pytest.raises(DataRefused, match="cannot be told"):
        match_classes(("red panda", "red_panda"), ("red panda", "koala"))


# ---------------------------------------------------------------- kept in memory


def test_kept_pictures_are_the_folders_rounded_to_bytes(root):
    pictures = read_labelled(root, "train", side=8)
    assert pictures.images.dtype == torch.uint8
    assert pictures.images[:, 0, 0, 0].tolist() == [0, 1, 2, 100, 101, 102]
    order = torch.tensor([5, 0, 3, 1, 2])
    pairs = list(pictures.batches(2, order))
    assert [len(labels) for _, labels in pairs] == [2, 2, 1]
    assert torch.cat([images[:, 0, 0, 0] for images, _ in pairs]).mul(255).round().tolist() == [102, 0, 100, 1, 2]
    assert torch.cat([labels for _, labels in pairs]).tolist() == [1, 0, 1, 0, 0]


def test_a_root_without_parts_is_divided_by_class_without_overlap(tmp_path):
    for label, count in (("a", 40), ("b", 5), ("c", 2)):
        for number in range(count):
            picture(tmp_path / label / f"{number:02d}.png", number / 255)
    source = open_training_data(tmp_path, side=8)
    assert torch.bincount(source.held_out.labels).tolist() == [4, 1, 1]
    assert not set(source.train.names) & set(source.held_out.names)
    assert len(source.train) + len(source.held_out) == 47
    assert source.provenance == {"kind": "folder", "name": tmp_path.name, "seed": 0, "side": 8, "train": 41, "val": 6}
    assert fingerprint(open_training_data(tmp_path, side=8).train) == fingerprint(source.train)
    assert fingerprint(open_training_data(tmp_path, side=8, seed=1).train) != fingerprint(source.train)


def test_a_single_picture_a_class_cannot_be_held_out(tmp_path):
    picture(tmp_path / "a" / "0.png")
    with pytest.raises(DataRefused, match="no class has two pictures"):
        open_training_data(tmp_path, side=8)


def test_statistics_are_the_mean_and_deviation_over_all_pixels():
    pictures = paint_labelled(50)
    values = pictures.images.double() / 255
    mean, std = statistics(pictures)
    assert mean == pytest.approx(values.mean(dim=(0, 2, 3)).tolist(), abs=6e-5)
    assert std == pytest.approx(values.std(dim=(0, 2, 3), correction=0).tolist(), abs=6e-5)


def test_a_flat_dataset_is_not_divided_by_zero(root):
    pictures = read_labelled(root, "train", side=8).part(torch.tensor([0]))
    assert statistics(pictures) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def test_specimens_are_the_pictures_themselves_drawn_evenly_and_blindly():
    pictures = paint_labelled(200, split="val")
    chosen = draw_specimens(pictures, limit=64)
    assert len(chosen) == 64
    counts = np.bincount([specimen.label for specimen in chosen], minlength=10)
    assert set(counts.tolist()) <= {6, 7}
    for specimen in chosen[:10]:
        index = pictures.names.index(specimen.name)
        assert torch.equal((decode(specimen.png) * 255).round().to(torch.uint8), pictures.images[index])
    assert draw_specimens(pictures, limit=64, seed=1) != chosen


def test_the_natural_side_is_the_pictures_own_where_they_are_small(tmp_path):
    for number in range(5):
        picture(tmp_path / "a" / f"{number}.png", height=48, width=40 + 10 * number)
    assert natural_side(tmp_path, 224) == 48
    assert natural_side(tmp_path, 36) == 36
    assert natural_side("shapes", 224) == 64


def test_resizing_a_batch_is_what_reading_does(shared_data):
    batch = read_images(shared_data / "photos", image_side=64, limit=3)
    files = sorted((shared_data / "photos").iterdir())[:3]
    for image, path in zip(batch.images, files, strict=True):
        assert torch.equal(image, resize(decode(path), 64, "cover"))


def test_masks_beside_given_pictures_are_read_and_are_no_pictures_themselves(tmp_path):
    left = torch.zeros(1, 32, 32)
    left[..., :16] = 1
    for name in ("a.png", "sub/b.png"):
        picture(tmp_path / name, height=32, width=32)
        mask = tmp_path / "masks" / name
        mask.parent.mkdir(parents=True, exist_ok=True)
        mask.write_bytes(encode_png(left))
    batch = read_images(tmp_path, image_side=32)
    assert batch.names == ("a.png", "sub/b.png")
    assert torch.equal(batch.masks, left.bool().expand(2, -1, -1))
    (tmp_path / "masks" / "a.png").unlink()
    assert read_images(tmp_path, image_side=32).masks is None, "half a truth would pass for a whole one"


def test_a_folder_of_pictures_may_be_called_masks(tmp_path):
    for name in ("masks/venice.png", "wall.png"):
        picture(tmp_path / name)
    assert read_images(tmp_path, image_side=8).names == ("wall.png", "masks/venice.png")
