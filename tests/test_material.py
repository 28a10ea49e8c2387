"""The pictures of a report: seeded, not picked for beauty, with labels and masks that belong to them."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from vgg_viz.attribution import methods
from vgg_viz.data import shapes
from vgg_viz.data.folder import open_folder, read_folder
from vgg_viz.errors import DataRefused, UnknownName
from vgg_viz.maths.images import encode_png
from vgg_viz.models.build import architecture, build
from vgg_viz.records import Batch, Checkpoint, Provenance, Specimen
from vgg_viz.studies.answers import Answers, choose_images, select_images
from vgg_viz.studies.inputs import describe_origin, labelled_pictures, load_inputs, match_channels, specimen_batch
from vgg_viz.studies.output_summary import choice_summary
from vgg_viz.studies.preset import PRESETS, preset_for

SIDE = 24


def checkpoint(
    classes: tuple[str, ...] = shapes.CLASSES, *, channels: int = 3, data: dict | None = None, specimens=()
) -> Checkpoint:
    wanted = architecture("tiny_vgg", image_side=SIDE, num_classes=len(classes), in_channels=channels, width=0.2)
    origin = Provenance("net.pt", "", "vgg_viz", data=data or {})
    return Checkpoint(wanted, classes, build(wanted).state_dict(), specimens=tuple(specimens), provenance=origin)


def answers(right: str, confidences: list[float], labels: list[int]) -> Answers:
    """Answers of a network with 4 classes: "r" right, "w" wrong, with the given confidence."""
    logits = torch.zeros(len(right), 4)
    for i, (mark, confidence, label) in enumerate(zip(right, confidences, labels, strict=True)):
        said = label if mark == "r" else (label + 1) % 4
        logits[i] = torch.log(torch.tensor((1 - confidence) / 3))
        logits[i, said] = torch.log(torch.tensor(confidence))
    batch = Batch(torch.rand(len(right), 3, 4, 4), torch.tensor(labels), tuple(f"p{i}" for i in range(len(right))))
    return Answers(batch, torch.tensor(labels), logits)


@pytest.fixture
def pictures(tmp_path):
    """An ImageFolder whose pictures carry their class and number in their colour."""
    for number, name in enumerate(("zebra", "Ant Eater", "cat_fish")):
        (tmp_path / "zoo" / name).mkdir(parents=True)
        for copy in range(6):
            image = torch.full((3, SIDE, SIDE), (number * 6 + copy) / 20)
            (tmp_path / "zoo" / name / f"{copy}.png").write_bytes(encode_png(image))
    return tmp_path / "zoo"


# ---------------------------------------------------------------- what is looked into


def test_half_of_what_is_looked_into_are_the_surest_mistakes_the_rest_successes_of_each_class_in_turn():
    found = answers("rrwrwrwwrr", [0.9, 0.3, 0.5, 0.95, 0.9, 0.7, 0.7, 0.4, 0.99, 0.98], [0, 1, 0, 0, 1, 1, 2, 3, 0, 2])
    chosen = choose_images(found, 6)
    assert chosen[3:] == [4, 6, 2]  # the mistakes, the surest first
    # The first right one of the classes 0, 1 and 2 in the order of the file, though others are surer.
    assert chosen[:3] == [0, 1, 9]


def test_an_easier_picture_does_not_push_an_earlier_one_out():
    labels = [0, 0, 1, 1]
    hard_first = choose_images(answers("rrrr", [0.3, 0.99, 0.3, 0.99], labels), 2)
    easy_first = choose_images(answers("rrrr", [0.99, 0.3, 0.99, 0.3], labels), 2)
    assert hard_first == easy_first == [0, 2]


@pytest.mark.parametrize(
    ("right", "count", "expected"),
    [
        ("wwww", 4, 4),
        ("rrrr", 4, 4),
        ("wrrr", 4, 4),
        ("wrrr", 1, 1),
        ("r", 6, 1),
        ("w", 6, 1),
        ("w", 1, 1),
        ("wwwr", 3, 3),
    ],
)
def test_never_more_are_chosen_than_asked_for_and_none_twice(right, count, expected):
    chosen = choose_images(answers(right, [0.5] * len(right), list(range(len(right)))), count)
    assert len(chosen) == len(set(chosen)) == expected


def test_what_is_picked_keeps_picture_label_name_and_mask_together():
    batch = shapes.paint(6, seed=2, side=32)
    chosen = select_images(batch, [4, 0, 5])
    for place, index in enumerate([4, 0, 5]):
        assert torch.equal(chosen.images[place], batch.images[index])
        assert torch.equal(chosen.masks[place], batch.masks[index])
        assert chosen.names[place] == batch.names[index]
        assert chosen.labels[place] == batch.labels[index]


@pytest.mark.parametrize(("there", "asked"), [(1, 6), (2, 6), (3, 6), (5, 6), (6, 6), (20, 6)])
def test_given_pictures_are_looked_into_all_of_them_or_evenly_spread(there, asked, tmp_path):
    (tmp_path / "photos").mkdir()
    for number in range(there):
        (tmp_path / "photos" / f"{number:02d}.png").write_bytes(encode_png(torch.full((3, SIDE, SIDE), number / 20)))
    found = load_inputs(
        checkpoint(), images=tmp_path / "photos", data=None, preset=PRESETS["quick"], gigamacs=0.001, seed=0
    )
    numbers = [int(name[:2]) for name in found.inspected.names]
    assert len(numbers) == min(there, asked)
    assert numbers == sorted(set(numbers))
    assert (numbers[0], numbers[-1]) == (0, there - 1)
    steps = [b - a for a, b in pairwise(numbers)]
    assert not steps or max(steps) - min(steps) <= 1
    assert found.inspected_from.startswith(f"{len(numbers)} of {there} ")
    # A name still belongs to its picture.
    assert found.inspected.images.amax((1, 2, 3)).mul(20).round().tolist() == numbers


# ---------------------------------------------------------------- what is measured on


def test_labels_of_a_folder_are_those_of_the_checkpoint_by_name_not_by_order(pictures):
    own = ("cat fish", "zebra", "dog", "ant-eater")
    batch, origin = labelled_pictures(checkpoint(own), pictures, limit=100)
    number_of = {"zebra": 0, "ant-eater": 1, "cat fish": 2}  # as the colours say
    for image, label in zip(batch.images, batch.labels.tolist(), strict=True):
        assert int((image.mean() * 20).round()) // 6 == number_of[own[label]]
    assert describe_origin(origin) == "18 pictures of the folder 'zoo'"


def test_a_part_of_a_folder_is_drawn_by_the_seed_and_evenly_over_classes(pictures):
    def names(seed: int) -> tuple[str, ...]:
        batch, origin = labelled_pictures(checkpoint(("zebra", "ant eater", "cat fish")), pictures, limit=9, seed=seed)
        assert torch.bincount(batch.labels).tolist() == [3, 3, 3]
        assert describe_origin(origin) == "9 of 18 pictures of the folder 'zoo'"
        return batch.names

    assert names(1) == names(1)
    assert len({names(seed) for seed in range(5)}) > 1


def test_a_broken_picture_is_left_out_and_reaches_the_warnings_with_its_name(pictures):
    (pictures / "zebra" / "0.png").write_bytes(b"\x89PNG")
    net = checkpoint(("zebra", "ant eater", "cat fish"))
    found = load_inputs(net, images=None, data=pictures, preset=PRESETS["quick"], gigamacs=0.001, seed=0)
    assert len(found.labelled) == 17
    (warning,) = found.warnings
    assert "zebra/0.png" in warning


def test_painted_shapes_get_labels_in_the_order_of_the_checkpoint():
    shuffled = tuple(reversed(shapes.CLASSES))
    batch, _ = labelled_pictures(checkpoint(shuffled), "shapes", limit=12)
    expected = shapes.paint(12, seed=0, split="test", side=SIDE)
    assert [shuffled[i] for i in batch.labels.tolist()] == [shapes.CLASSES[i] for i in expected.labels.tolist()]
    assert torch.equal(batch.masks, expected.masks)


def test_the_painted_set_of_the_checkpoint_is_used_with_its_own_seed():
    trained_on = {"kind": "shapes", "seed": 11}
    batch, origin = labelled_pictures(checkpoint(data=trained_on), None, limit=5)
    assert torch.equal(batch.images, shapes.paint(5, seed=11, split="test", side=SIDE).images)
    assert (origin.kind, origin.seed) == ("painted", 11)
    with pytest.raises(DataRefused, match="--data shapes"):
        labelled_pictures(checkpoint(("a", "b"), data=trained_on), "shapes", limit=5)


def test_a_large_network_is_measured_on_fewer_pictures_but_never_on_hardly_any():
    counts = [
        len(
            load_inputs(
                checkpoint(data={"kind": "shapes"}),
                images=None,
                data=None,
                preset=replace(PRESETS["quick"], evaluated=60),
                gigamacs=cost,
                seed=0,
            ).labelled
        )
        for cost in (0.001, 20.0, 1e6)
    ]
    assert counts == [60, 30, 16]


# ---------------------------------------------------------------- specimens


def test_masks_of_specimens_lie_on_their_pictures_and_half_a_set_of_masks_is_none():
    batch = shapes.paint(4, seed=3, side=SIDE)
    whole = tuple(
        Specimen(encode_png(image), int(label), name, encode_png(mask.float()[None]))
        for image, label, name, mask in zip(batch.images, batch.labels, batch.names, batch.masks, strict=True)
    )
    found = specimen_batch(whole, SIDE)
    assert torch.equal(found.masks, batch.masks)
    torch.testing.assert_close(found.images, batch.images, atol=0.5 / 255 + 1e-6, rtol=0)
    assert specimen_batch((*whole[:3], replace(whole[3], mask=None)), SIDE).masks is None
    doubled = specimen_batch(whole, 2 * SIDE)
    assert torch.equal(doubled.masks, batch.masks.repeat_interleave(2, 1).repeat_interleave(2, 2))


def test_a_broken_specimen_is_named_and_all_broken_ones_are_refused():
    good = Specimen(encode_png(torch.rand(3, SIDE, SIDE)), 1, "good")
    bad = Specimen(b"no picture", 0, "bad one")
    found = specimen_batch((bad, good), SIDE)
    assert found.names == ("good",)
    assert found.labels.tolist() == [1]
    assert found.skipped[0][0] == "bad one"
    with pytest.raises(DataRefused, match="no specimen"):
        specimen_batch((bad, bad), SIDE)


def test_a_grey_network_gets_luma_and_a_colour_one_the_same_picture():
    primaries = torch.eye(3).view(3, 3, 1, 1).expand(3, 3, SIDE, SIDE)
    white = torch.ones(1, 3, SIDE, SIDE)
    batch = Batch(torch.cat([primaries, white]), None, ("red", "green", "blue", "white"))
    grey = match_channels(batch, checkpoint(channels=1))
    assert grey.images.shape == (4, 1, SIDE, SIDE)
    torch.testing.assert_close(grey.images[:, 0, 0, 0], torch.tensor([0.299, 0.587, 0.114, 1.0]))
    assert match_channels(batch, checkpoint()) is batch


# ---------------------------------------------------------------- how much


def test_a_large_network_spends_less_in_every_preset_but_the_full_one():
    for name in ("quick", "standard"):
        small, large = preset_for(name, 0.1), preset_for(name, 15.0)
        assert large.steps <= small.steps
        assert large.pictures <= small.pictures
        assert large.methods == small.methods
    assert preset_for("full", 15.0) == preset_for("full", 0.1)
    with pytest.raises(UnknownName, match="did you mean 'quick'"):
        preset_for("quik", 1.0)


def test_presets_name_methods_by_rule_so_that_a_new_method_is_one_file():
    known = methods()
    assert preset_for("full", 0.1).methods == tuple(known), "every method that is registered"
    quick = preset_for("quick", 0.1).methods
    assert {"saliency", "grad_cam", "guided_backprop"} <= set(quick)
    assert not {"integrated_gradients", "smoothgrad", "occlusion"} & set(quick), "one pass or two, no more"
    assert not [name for name in quick if name.startswith("lrp_")], (
        "LRP has a section of its own, and its passes are dear"
    )
    standard = preset_for("standard", 0.1).methods
    assert set(standard) <= set(known)
    assert {known[name].family for name in standard} == {about.family for about in known.values()}, (
        "something of every family"
    )
    assert "guided_backprop" in standard, "its failure is a lesson"


def test_classes_of_one_name_keep_rows_of_their_own_in_an_evaluation():
    logits = torch.eye(3).repeat(2, 1)
    found = choice_summary(logits, torch.tensor([0, 1, 2, 0, 2, 2]), ("crane", "crane", "kite"))
    assert list(found["per_class"]) == ["crane", "crane (1)", "kite"]
    assert found["per_class"]["crane (1)"] == {"n": 1, "recall": 1.0, "precision": 0.5}
    assert found["per_class"]["kite"] == {"n": 3, "recall": 2 / 3, "precision": 1.0}
    assert found["top1"] == 5 / 6


def test_a_folder_read_by_hand_gives_the_pictures_of_the_report(pictures):
    by_hand = read_folder(open_folder(pictures), image_side=SIDE)
    batch, _ = labelled_pictures(checkpoint(("zebra", "ant eater", "cat fish")), pictures, limit=100)
    assert torch.equal(batch.images, by_hand.images)
    assert batch.names == by_hand.names
