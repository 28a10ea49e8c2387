"""Boxes where masks are used: the same numbers as box-shaped masks, other words, and nothing counted where nobody knows."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from loose_options import evidence
from PIL import Image
from telling import tells
from torch import nn

from vgg_viz.cli import main
from vgg_viz.data.annotations import Truth, object_area, stack_truths, true_line, truth_kind, where_word
from vgg_viz.data.folder import open_folder, read_folder
from vgg_viz.data.shape_files import write_shapes
from vgg_viz.faithfulness.pointing import THRESHOLDS, best_box_iou, controls_for, pointing_of
from vgg_viz.maths.images import encode_png
from vgg_viz.maths.metrics import best_threshold_iou, mass_inside, pointing_hits
from vgg_viz.maths.segmentation import box_of
from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import load, save
from vgg_viz.records import Batch, Checkpoint, Specimen
from vgg_viz.shortcuts.findings import audit, share_beside, suspicion
from vgg_viz.shortcuts.sampling import forms
from vgg_viz.studies.answers import select_images
from vgg_viz.studies.faithfulness import _part
from vgg_viz.studies.inputs import specimen_batch

SIDE = 64


def boxes_of(folder, split="test"):
    """(picture's path below the split, its box) for every mask of a painted folder."""
    for mask in sorted((folder / "masks" / split).rglob("*.png")):
        box = box_of(np.asarray(Image.open(mask).convert("L")) > 127)
        yield mask.relative_to(folder / "masks" / split).as_posix(), (box.x0, box.y0, box.x1, box.y1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Painted pictures with the boxes around their masks: as a table, and as masks that are filled boxes."""
    place = tmp_path_factory.mktemp("boxes")
    painted = write_shapes(place / "painted", train=0, val=0, test=80, seed=5, side=SIDE)
    table, filled = place / "table", place / "filled"
    for folder in (table, filled):
        shutil.copytree(painted / "test", folder / "test")
    rows = ["file,x1,y1,x2,y2,label"]
    for name, (x0, y0, x1, y1) in boxes_of(painted):
        rows.append(f"test/{name},{x0},{y0},{x1},{y1},{name.split('/')[0]}")
        mask = np.zeros((SIDE, SIDE), np.uint8)
        mask[y0:y1, x0:x1] = 255
        target = filled / "masks" / "test" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(encode_png(mask))
    (table / "boxes.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return table, filled


@pytest.fixture(scope="module")
def batches(folders):
    return [read_folder(open_folder(folder), image_side=SIDE) for folder in folders]


def test_measures_on_boxes_are_those_on_masks_of_their_form_to_the_bit(batches):
    boxed, filled = batches
    assert torch.equal(boxed.masks, filled.masks)
    maps = torch.rand(len(boxed), SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    first, second = (pointing_of("noise", maps, batch.masks, boxed=batch.boxed) for batch in batches)
    assert first.box_iou > 0
    assert math.isnan(second.box_iou), "an outline is not to be met by a box"
    assert replace(first, box_iou=0.0) == replace(second, box_iou=0.0)
    assert controls_for(boxed.images[:8], boxed.masks[:8]) == controls_for(filled.images[:8], filled.masks[:8])


def test_trials_on_boxes_have_the_numbers_of_masks_of_their_form_and_another_name(batches):
    model = build(load(None))
    (first,), (second,) = (
        evidence(
            model,
            batch.images[:6],
            names=["grad_cam"],
            masks=batch.masks[:6],
            draws=1,
            levels=2,
            boxed=None if batch.boxed is None else batch.boxed[:6],
        )
        for batch in batches
    )
    assert first.measures[-1].criterion == "box"
    assert second.measures[-1].criterion == "object"
    assert replace(first.measures[-1], criterion="object") == second.measures[-1]
    assert replace(first.pointing, box_iou=0.0) == replace(second.pointing, box_iou=0.0)


def test_the_box_around_a_map_meets_the_true_box_as_arithmetic_says():
    mask = torch.zeros(3, 10, 10, dtype=torch.bool)
    mask[:, 2:6, 2:6] = True
    maps = torch.zeros(3, 10, 10)
    maps[0, 2:6, 2:6] = 1.0  # the box itself
    maps[1, 2:6, 2:10] = 1.0  # twice as wide
    maps[1, 0, 0] = 1.0  # a speck that the largest piece leaves out
    assert best_box_iou(maps, mask).tolist() == [1.0, 0.5, 0.0], "a flat map has no threshold"
    maps[2, 3:5, 3:5] = 1.0  # the best of several thresholds counts
    maps[2, 2:6, 2:6] += 0.55
    assert THRESHOLDS[2] == 0.3
    assert best_box_iou(maps, mask)[2] == 1.0


def test_an_empty_mask_says_that_nobody_knows_and_no_measure_counts_it():
    masks = torch.zeros(2, 8, 8, dtype=torch.bool)
    masks[0, :4] = True
    maps = torch.ones(2, 8, 8)
    maps[:, 0, 0] = 2.0
    hits = [pointing_hits(maps, masks, tolerance=reach) for reach in (0, 2)]
    for values in (mass_inside(maps, masks), *hits, *best_threshold_iou(maps, masks)):
        assert values.isnan().tolist() == [False, True]
    found = pointing_of("flat", maps, masks, 0.0, boxed=torch.tensor([True, False]))
    assert found.pictures == 1
    assert (found.hit_rate, found.mass) == (1.0, pytest.approx(33 / 65))


def half_known(count=8):
    truth = torch.zeros(4, 4, dtype=torch.bool)
    truth[1:3, 1:3] = True
    truths = [Truth(truth, "all boxes", "boxes.csv") if i % 2 else None for i in range(count)]
    whole = stack_truths(truths)
    names, labels = tuple(map(str, range(count))), torch.zeros(count, dtype=torch.long)
    return Batch(torch.rand(count, 3, 4, 4), labels, names, whole.masks, (), whole.boxed, whole.box_note, whole.doubts)


def test_words_say_box_where_it_is_one():
    batch = half_known()
    assert (truth_kind(batch), where_word(batch)) == ("box", "in the box")
    assert true_line(batch) == " The line is the object's true box, where it is known."
    assert object_area(batch).tolist()[1::2] == [0.25] * 4
    assert object_area(batch).isnan().tolist() == [True, False] * 4
    outlines = replace(batch, boxed=None, masks=torch.ones(8, 4, 4, dtype=torch.bool))
    assert (truth_kind(outlines), where_word(outlines)) == ("outline", "on the object")
    assert true_line(outlines) == " The outline is the object's true mask."
    mixed = replace(batch, boxed=torch.tensor([False, True, False, False] * 2))
    assert (truth_kind(mixed), where_word(mixed)) == ("both", "on the object or in its box")
    nothing = select_images(batch, [0, 2])
    assert (truth_kind(nothing), true_line(nothing)) == ("", ""), "of these two nobody knows"
    assert truth_kind(replace(batch, boxed=torch.ones(8, dtype=torch.bool))) == "box"
    assert (truth_kind(replace(batch, masks=None, boxed=None)), true_line(replace(batch, masks=None))) == ("", "")


def test_methods_are_tried_on_pictures_whose_place_is_known_where_there_are_enough():
    batch = half_known()
    part, _ = _part(batch, 3)
    assert part.names == ("1", "3", "5")
    assert part.known.all()
    few = select_images(batch, [0, 1, 2, 4, 6])
    assert _part(few, 4)[0].masks is None
    assert _part(few, 4)[0].names == ("0", "1", "2", "4")


def test_outlines_stay_all_or_none_and_say_so():
    truth = torch.ones(2, 2, dtype=torch.bool)
    assert stack_truths([Truth(truth, "outline")] * 2).masks.shape == (2, 2, 2)
    some = stack_truths([Truth(truth, "outline"), None])
    assert some.masks is None
    assert some.doubts == ("Only 1 of 2 pictures have a mask, so none is used.",)


def test_boxes_survive_a_checkpoint(tmp_path):
    picture, mask = encode_png(torch.rand(3, 8, 8)), encode_png(torch.ones(1, 8, 8))
    held = (Specimen(picture, 0, "a", mask, True), Specimen(picture, 0, "b", None))
    model = build("tiny_vgg", num_classes=2, image_side=32)
    save(tmp_path / "a.pt", Checkpoint(model.architecture, ("x", "y"), model.state_dict(), specimens=held))
    back = load(tmp_path / "a.pt").specimens
    assert [one.boxed for one in back] == [True, False]
    batch = specimen_batch(back, 8)
    assert batch.boxed.tolist() == [True, False]
    assert batch.known.tolist() == [True, False]
    assert "they travel in the checkpoint" in batch.box_note


class Corner(nn.Module):
    """Class 0 where the corner is red, else class 1: nothing of the object."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        with torch.no_grad():
            self.conv.weight.copy_(torch.eye(3)[:, :, None, None])
            self.conv.bias.zero_()

    def forward(self, images):
        red, green, _ = self.conv(images).unbind(1)
        return torch.stack([40 * (red - green)[:, :6, :6].mean((1, 2)) - 10, torch.zeros(len(images))], 1)


@pytest.mark.parametrize("known", [1.0, 0.7, 0.3])
def test_an_audit_searches_pictures_whose_box_is_known_and_goes_without_where_few_are(known):
    count = 80
    images = 0.5 + 0.02 * torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(count) % 2
    images[labels == 0, 0, :6, :6] = 1.0
    images[labels == 0, 1:, :6, :6] = 0.1
    masks = torch.zeros(count, 32, 32, dtype=torch.bool)
    masks[:, 12:20, 12:20] = True
    masks[round(known * count) :] = False
    batch = Batch(
        images.clamp(0, 1),
        labels,
        tuple(map(str, range(count))),
        masks,
        boxed=masks.flatten(1).any(1),
        box_note="boxes",
    )
    seen = audit(Corner(), batch, seed=0)
    first = seen.findings[0]
    assert (first.wanted, first.region.kind) == (0, "patch")
    assert (seen.batch.masks is None) == (known < 0.5)
    away = share_beside(seen)
    if known < 0.5:
        assert away.isnan().all()
    else:
        assert torch.equal(away.isnan(), ~batch.known)
        assert (away[: round(known * count)] > 0.9).all()
        assert max(first.places) < round(known * count), "only those with a box are carried"
    score, _ = suspicion(seen)
    assert not score.isnan().any()


def test_report_and_audit_say_box_all_through(folders, tmp_path, capsys, few_sections):
    table, _ = folders
    few_sections(
        "overview", "data", "examples", "attention", "relevance", "localisation", "findings", "suspicion", "search"
    )
    assert main(["report", "--data", str(table), "--preset", "quick", "--out", str(tmp_path), "--quiet"]) == 0
    page = (tmp_path / "sample" / "index.html").read_text(encoding="utf-8")
    manifest = json.loads((tmp_path / "sample" / "manifest.json").read_text(encoding="utf-8"))
    captions = json.dumps([exhibit["caption"] for exhibit in manifest["exhibits"]])
    assert "The line is the object's true box." in captions
    assert tells(captions, "24 pictures", "known boxes")
    assert "that lies in the box" in captions
    assert "true mask" not in captions
    assert "that lies on the object" not in captions
    assert tells(page, "boxes.csv", "80 of 80")
    assert manifest["warnings"] == []
    capsys.readouterr()
    assert main(["audit", "--data", str(table), "--out", str(tmp_path), "--quiet", "--json"]) == 0
    (page,) = tmp_path.glob("sample-audit/index.html")
    text = page.read_text(encoding="utf-8")
    assert "boxes are known, and what lies in a box counts as object" in text
    assert "beside the box" in text


def test_an_audit_carries_backgrounds_around_the_ellipse_in_a_box_and_leaves_outlines_as_they_are():
    masks = torch.zeros(2, 20, 20, dtype=torch.bool)
    masks[:, 4:12, 6:16] = True
    batch = Batch(torch.rand(2, 3, 20, 20), None, ("a", "b"), masks, boxed=torch.tensor([True, False]))
    box, outline = forms(batch)
    assert torch.equal(outline, masks[1])
    assert not box[4, 6]
    assert not box[11, 15]
    assert box[8, 6]
    assert box[4, 11]
    assert not (box & ~masks[0]).any()
    assert box.sum() == pytest.approx(math.pi * 4 * 5, abs=3)
    assert batch.masks[0].sum() == 80, "the record itself stays a box"
    assert forms(replace(batch, boxed=None)) is masks
