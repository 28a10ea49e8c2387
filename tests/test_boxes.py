"""Boxes beside pictures: every format against boxes known to the pixel, and every lie in a file refused in one sentence."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vgg_viz.data.box_masks import BoxBook, chosen_boxes
from vgg_viz.data.box_reading import MOST_TABLE
from vgg_viz.data.boxes import Mark
from vgg_viz.data.cache import draw_specimens, read_labelled
from vgg_viz.data.check import check
from vgg_viz.data.folder import open_folder, read_folder, read_images
from vgg_viz.maths.images import encode_png

WIDE = (100, 60)  # width and height of most pictures here; at a side of 30 the square is columns 20 to 80, halved
BOX = (30, 10, 50, 40)  # x0, y0, x1, y1, edges
SEEN = (5, 5, 15, 20)  # the same on the square of 30 px, by hand: ((30 - 20) / 2, 10 / 2, (50 - 20) / 2, 40 / 2)


def picture(path, size=WIDE):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    Image.fromarray(noise).save(path)
    return path


def filled(box, side=30):
    mask = torch.zeros(side, side, dtype=torch.bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


def voc(box=BOX, name="cat", size=WIDE, extra=""):
    x0, y0, x1, y1 = box
    return (
        f"<annotation><folder>x</folder>{extra}<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size><object>"
        f"<name>{name}</name><part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
        f"<bndbox><xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object></annotation>"
    )


def coco(*boxes, file="cat/1.png", size=WIDE, **annotation):
    return json.dumps(
        {
            "images": [{"id": 7, "file_name": file, "width": size[0], "height": size[1]}],
            "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
            "annotations": [
                {
                    "image_id": 7,
                    "category_id": category,
                    "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                    **annotation,
                }
                for box, category in boxes
            ],
        }
    )


def yolo(box=BOX, number=0, size=WIDE):
    x0, y0, x1, y1 = box
    return f"{number} {(x0 + x1) / 2 / size[0]:.6f} {(y0 + y1) / 2 / size[1]:.6f} {(x1 - x0) / size[0]:.6f} {(y1 - y0) / size[1]:.6f}\n"


def csv(*rows, header="file,x1,y1,x2,y2,label"):
    return "\n".join((header, *rows)) + "\n"


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


def of_class(root, side=30):
    return read_folder(open_folder(root), image_side=side)


ROW = "cat/1.png,30,10,50,40,cat"


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("Annotations/cat/1.xml", voc()),
        ("Annotations/1.xml", voc()),
        ("boxes/cat/1.xml", voc()),
        ("cat/1.xml", voc()),
        ("../Annotations/set/cat/1.xml", voc()),
        ("annotations.json", coco((BOX, 1))),
        ("boxes.json", coco((BOX, 1), file="1.png")),
        ("annotations/instances_all.json", coco((BOX, 1), file="elsewhere/cat/1.png")),
        ("../annotations/instances_set.json", coco((BOX, 1))),
        ("../annotations.json", coco((BOX, 1), file="set/cat/1.png")),
        ("labels/cat/1.txt", yolo()),
        ("labels/1.txt", yolo()),
        ("../labels/set/cat/1.txt", yolo()),
        ("boxes.csv", csv(ROW)),
        ("boxes.csv", "\ufeff" + csv(ROW)),
        ("boxes.csv", csv("1.png,100,60,cat,30,10,50,40", header="filename,width,height,class,xmin,ymin,xmax,ymax")),
        ("boxes.csv", csv('"cat\\1.png",30,10,50,40,""')),
    ],
)
def test_every_format_lays_its_box_where_it_is_on_the_resized_and_cropped_picture(tmp_path, place, text):
    root = tmp_path / "set"
    picture(root / "cat" / "1.png")
    put(root / place, text)
    batch = of_class(root)
    assert torch.equal(batch.masks[0], filled(SEEN))
    assert batch.boxed.tolist() == [True]
    assert batch.skipped == (), "a file of boxes is not a picture that cannot be read"
    assert batch.box_note.startswith("boxes from ")
    assert batch.doubts == ()
    alone = read_images(root, image_side=30)
    if not place.startswith("Annotations/1") and not place.startswith("labels/1"):
        assert torch.equal(alone.masks[0], filled(SEEN))
    assert alone.skipped == ()


def test_a_tall_picture_is_cropped_the_other_way_and_a_box_is_cut_with_it(tmp_path):
    picture(tmp_path / "cat" / "1.png", size=(60, 100))
    put(tmp_path / "boxes.csv", csv("cat/1.png,10,0,40,50,cat"))
    assert torch.equal(of_class(tmp_path).masks[0], filled((5, 0, 20, 15)))  # rows 20 to 80 are seen


def test_pascal_voc_counts_pixels_from_one_and_includes_the_last(tmp_path):
    picture(tmp_path / "cat" / "1.png", size=(30, 30))
    put(tmp_path / "cat" / "1.xml", voc((0, 0, 1, 30), size=(30, 30)))  # xmin 1, xmax 1: one column
    assert torch.equal(of_class(tmp_path).masks[0], filled((0, 0, 1, 30)))


def test_the_layouts_of_voc_and_yolo_keep_pictures_in_a_folder_beside_their_boxes(tmp_path):
    picture(tmp_path / "JPEGImages" / "1.png")
    put(tmp_path / "Annotations" / "1.xml", voc())
    assert torch.equal(read_images(tmp_path / "JPEGImages", image_side=30).masks[0], filled(SEEN))
    picture(tmp_path / "images" / "val" / "2.png")
    put(tmp_path / "labels" / "val" / "2.txt", yolo())
    for root in ("images", "images/val"):
        batch = read_images(tmp_path / root, image_side=30)
        assert torch.equal(batch.masks[0], filled(SEEN))
        assert "because the pictures have no labels" in batch.box_note


def test_a_mask_goes_before_a_box_and_a_batch_may_hold_both(tmp_path):
    for number in (1, 2, 3):
        picture(tmp_path / "cat" / f"{number}.png")
        put(tmp_path / "cat" / f"{number}.xml", voc())
    half = torch.zeros(WIDE[1], WIDE[0], dtype=torch.bool)
    half[:, :50] = True
    put(tmp_path / "masks" / "cat" / "2.png", encode_png(half))
    (tmp_path / "cat" / "3.xml").unlink()
    batch = of_class(tmp_path)
    assert batch.boxed.tolist() == [True, False, False]
    assert batch.known.tolist() == [True, True, False]
    assert torch.equal(batch.masks[1], filled((0, 0, 15, 30)))
    assert "1 with a mask, which goes before a box" in batch.box_note
    assert batch.doubts == ("1 of 3 pictures are not counted where places are measured: 1 without a box.",)


def test_boxes_of_the_own_class_are_taken_and_otherwise_all_and_the_rule_is_told(tmp_path):
    other, both = (60, 20, 70, 30), filled(SEEN) | filled((20, 10, 25, 15))
    for number, pair in ((1, ((BOX, 1), (other, 2))), (2, ((BOX, 2), (other, 2)))):
        picture(tmp_path / "cat" / f"{number}.png")
        put(
            tmp_path / "cat" / f"{number}.xml",
            b"".join(
                [
                    b"<annotation>",
                    *(
                        f"<object><name>{' Catdog'[3 * c - 2 : 3 * c + 1]}</name><bndbox><xmin>{b[0] + 1}</xmin><ymin>{b[1] + 1}</ymin>"
                        f"<xmax>{b[2]}</xmax><ymax>{b[3]}</ymax></bndbox></object>".encode()
                        for b, c in pair
                    ),
                    b"</annotation>",
                ]
            ),
        )
    batch = of_class(tmp_path)
    assert torch.equal(batch.masks[0], filled(SEEN)), "the boxes of its class"
    assert torch.equal(batch.masks[1], both), "none bears its name: all"
    assert "in 1 of them the boxes of the picture's own class were taken" in batch.box_note
    assert "in 1 of them all boxes were taken, because none bears the name of the picture's class" in batch.box_note


def test_names_of_classes_meet_as_folders_and_checkpoints_do():
    marks = [Mark("tabby_cat", 0, 0, 1, 1), Mark("dog", 2, 2, 3, 3), Mark("", 4, 4, 5, 5)]
    assert chosen_boxes(marks, "n02123045_tabby, Tabby-Cat")[0] == marks[:1]
    assert chosen_boxes(marks, "bird") == (marks, "all boxes, no name met")
    assert chosen_boxes(marks[2:], "bird") == (marks[2:], "all boxes, unnamed")
    assert chosen_boxes(marks, None) == (marks, "all boxes")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("labels/classes.txt", "dog\ncat\n"),
        ("data.yaml", "train: images\nnames: ['dog', \"cat\"]\n"),
        ("data.yaml", "nc: 2\nnames:\n  0: dog\n  1: cat\n"),
        ("data.yaml", "names:\n- dog\n- cat\nnc: 2\n"),
    ],
)
def test_numbers_of_yolo_are_named_by_the_list_beside_them(tmp_path, file, text):
    picture(tmp_path / "cat" / "1.png")
    put(tmp_path / "labels" / "cat" / "1.txt", yolo((60, 20, 70, 30), 0) + yolo(BOX, 1))
    put(tmp_path / file, text)
    batch = of_class(tmp_path)
    assert torch.equal(batch.masks[0], filled(SEEN))
    assert read_images(tmp_path, image_side=30).skipped == ()


def test_a_box_that_the_square_does_not_show_counts_as_none(tmp_path):
    for number in (1, 2):
        picture(tmp_path / "cat" / f"{number}.png")
    put(
        tmp_path / "boxes.csv", csv("cat/1.png,0,0,15,60,cat", "cat/2.png,30,10,50,40,cat")
    )  # columns 0 to 20 are cropped away
    batch = of_class(tmp_path)
    assert batch.known.tolist() == [False, True]
    assert "1 with a box outside the square that the network sees, or too small to be in it." in batch.doubts[0]
    put(tmp_path / "boxes.csv", csv("cat/1.png,0,0,15,60,cat"))
    batch = of_class(tmp_path)
    assert batch.masks is None
    assert batch.doubts == ("No box reaches into the square that the network sees, so none is used.",)


def test_a_picture_that_a_file_lists_without_a_box_is_one_without_truth(tmp_path):
    for number in (1, 2):
        picture(tmp_path / "cat" / f"{number}.png")
    put(tmp_path / "boxes.csv", csv("cat/1.png,,,,,", "cat/2.png,30,10,50,40,cat"))
    assert of_class(tmp_path).known.tolist() == [False, True]
    put(tmp_path / "boxes.csv", csv("cat/1.png,,,,,"))
    assert of_class(tmp_path).masks is None


def test_crowds_are_left_out_and_polygons_are_not_read(tmp_path):
    picture(tmp_path / "cat" / "1.png")
    put(tmp_path / "annotations.json", coco((BOX, 1), segmentation=[[0, 0, 1, 1, 2, 2]], iscrowd=0))
    assert torch.equal(of_class(tmp_path).masks[0], filled(SEEN))
    put(tmp_path / "annotations.json", coco((BOX, 1), iscrowd=1))
    assert of_class(tmp_path).masks is None


BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bbbbbbbb"><!ENTITY c "&b;&b;&b;&b;">]><annotation>&c;</annotation>'
)
OUTSIDE = "a box inside the picture was expected"

HOSTILE = [
    ("cat/1.xml", BOMB, "cat/1.xml declares a DOCTYPE"),
    ("cat/1.xml", voc()[:-20], "cat/1.xml is no XML that can be read"),
    ("cat/1.xml", "<a>" * 100, "begins with <a>"),
    ("cat/1.xml", "<annotation>" * 100, "nests more than 32"),
    ("cat/1.xml", voc().replace("<xmin>31</xmin>", ""), "object 1 of cat/1.xml has no xmin"),
    ("cat/1.xml", voc((50, 10, 30, 40)), "goes from (51, 11) to (30, 40)"),
    ("cat/1.xml", voc().replace("<xmin>31<", "<xmin>nan<"), "xmin of object 1 of cat/1.xml is 'nan'"),
    ("cat/1.xml", voc().replace("<xmin>31<", "<xmin>1e400<"), "is '1e400'"),
    ("cat/1.xml", voc().replace("<xmax>50</xmax>", "<xmax>50</xmax><xmax>60</xmax>"), "has two of 'xmax'"),
    ("cat/1.xml", voc(size=(500, 375)), "is about a picture of 500 × 375 px, and cat/1.png has 100 × 60"),
    ("cat/1.xml", voc(size=(60, 100)), "turned by its EXIF orientation?"),
    ("cat/1.xml", b" " * (2**20 + 1), "more than the 1,048,576 that are read"),
    ("cat/1.xml", voc(name="ch\xe2t").encode("latin-1"), "is no XML that can be read"),
    ("boxes.json", b"{" * 100_000, "boxes.json is no JSON that can be read"),
    ("boxes.json", b"[" * 100_000, "boxes.json is no JSON that can be read"),
    ("boxes.json", "[1, 2]", 'has no lists "images" and "annotations"'),
    ("boxes.json", '{"images": [[]], "annotations": []}', 'has no lists "images" and "annotations"'),
    (
        "boxes.json",
        '{"images": [{"id": [1], "file_name": "1.png"}], "annotations": []}',
        "lists a picture with the id '[1]'",
    ),
    (
        "boxes.json",
        coco((BOX, 1)).replace("[30, 10, 20, 30]", "[30, 10, -20, 30]"),
        "annotation 1 of boxes.json is -20 wide",
    ),
    ("boxes.json", coco((BOX, 1)).replace("[30, 10, 20, 30]", "[NaN, 10, 20, 30]"), "is 'nan'"),
    ("boxes.json", coco((BOX, 1)).replace("[30, 10, 20, 30]", "[1e300, 10, 20, 30]"), "is '1e+300'"),
    ("boxes.json", coco((BOX, 1)).replace("[30, 10, 20, 30]", "[30, 10, " + "9" * 400 + ", 30]"), "a number from"),
    (
        "boxes.json",
        coco((BOX, 1)).replace("[30, 10, 20, 30]", "[30, 10, " + "9" * 5000 + ", 30]"),
        "boxes.json is no JSON",
    ),
    ("boxes.json", coco((BOX, 1)).replace("[30, 10, 20, 30]", "[true, 10, 20, 30]"), "is 'True'"),
    ("boxes.json", coco((BOX, 1)).replace("[30, 10, 20, 30]", '["30", 10, 20, 30]'), "text in its bbox"),
    ("boxes.json", coco((BOX, 1)).replace("[30, 10, 20, 30]", "[30, 10, 20]"), "has the bbox [30, 10, 20]"),
    ("boxes.json", coco((BOX, 1)).replace('"bbox"', '"box"'), "has the bbox None"),
    ("boxes.json", coco((BOX, 1), size=(640, 480)), "is about a picture of 640 × 480 px"),
    (
        "boxes.json",
        coco((BOX, 1), file="dog/1.png"),
        "names no picture of this folder, but 1 others (the first is 'dog/1.png')",
    ),
    (
        "boxes.json",
        coco((BOX, 1)).replace('"images": [', '"images": [{"id": 7, "file_name": "other.png"}, '),
        "the id '7' to two",
    ),
    (
        "boxes.json",
        coco((BOX, 1)).replace('"images": [', '"images": [{"id": 8, "file_name": "cat/1.png"}, '),
        "gives two sizes",
    ),
    (
        "boxes.json",
        coco((BOX, 1)).replace(
            '"images": [', '"images": [{"id": 8, "file_name": "cat/1.png", "width": 100, "height": 60},'
        ),
        "lists 'cat/1.png' twice",
    ),
    (
        "boxes.csv",
        ROW + "\n",
        "the first line of boxes.csv is 'cat/1.png,30,10,50,40,cat', without file, x1, y1, x2, y2",
    ),
    ("boxes.csv", "", "the first line of boxes.csv is ''"),
    ("boxes.csv", csv(ROW).replace(",", ";"), "without file"),
    ("boxes.csv", csv("cat/1.png,50,10,30,40,cat"), "goes from (50, 10) to (30, 40)"),
    (
        "boxes.csv",
        csv("cat/1.png,30,10,30,40,cat"),
        "the second corner must lie to the right of the first and below it",
    ),
    ("boxes.csv", csv("cat/1.png,thirty,10,50,40,cat"), "x1 in line 2 of boxes.csv is 'thirty'"),
    ("boxes.csv", csv("cat/1.png,inf,10,50,40,cat"), "x1 in line 2 of boxes.csv is 'inf'"),
    ("boxes.csv", csv("cat/1.png,3_0,10,50,40,cat"), "is '3_0'"),
    ("boxes.csv", csv("cat/1.png,30,10,50"), "has 4 cells; the header has 6"),
    ("boxes.csv", csv("cat/1.png,300,100,500,400,cat"), OUTSIDE),
    ("boxes.csv", csv("cat/1.png,-30,10,50,40,cat"), OUTSIDE),
    ("boxes.csv", csv("cat/1.png,100.5,10,101,40,cat"), "has a box beside cat/1.png"),
    ("boxes.csv", csv(ROW).encode("utf-16"), "boxes.csv is not UTF-8 (UTF-16)"),
    ("boxes.csv", csv("cat/1.png,30,10,50,40,ch\xe2t").encode("latin-1"), "boxes.csv is not UTF-8 (the byte 0xe2"),
    ("boxes.csv", csv('"cat/1.png'), "boxes.csv is no table"),
    ("boxes.csv", csv(ROW, header="file,x1,y1,x2,y2,file"), "2 columns for 'file'"),
    ("boxes.csv", csv("../../etc/passwd,30,10,50,40,cat"), "names no picture of this folder"),
    ("labels/cat/1.txt", "0 40 25 20 30\n", "shares of the picture's sides, from 0 to 1, were expected"),
    ("labels/cat/1.txt", "0 0.5 0.5 -0.2 0.3\n", "is -0.2 wide"),
    ("labels/cat/1.txt", "0 nan 0.5 0.2 0.3\n", "is 'nan'"),
    ("labels/cat/1.txt", "cat 0.5 0.5 0.2 0.3\n", "the class in line 1 of labels/cat/1.txt is 'cat'"),
    ("labels/cat/1.txt", "-1 0.5 0.5 0.2 0.3\n", "a number of a class from 0"),
    ("labels/cat/1.txt", "0 0.1 0.1 0.2 0.1 0.2 0.2\n", "has 7 values"),
    ("labels/cat/1.txt", b"\xff\xfe0\x00", "is not UTF-8"),
]


@pytest.mark.parametrize(("place", "text", "sentence"), HOSTILE)
def test_what_lies_is_refused_in_a_sentence_and_the_picture_counts_as_one_without_truth(
    tmp_path, place, text, sentence
):
    for number in (1, 2):
        picture(tmp_path / "cat" / f"{number}.png")
    put(tmp_path / place, text)
    batch = of_class(tmp_path)
    assert len(batch) == 2, "the picture itself is whole"
    assert batch.masks is None
    (told,) = batch.doubts
    assert told.startswith("Boxes that are not used: ")
    assert sentence in told
    assert len(told) < 500
    assert "\n" not in told
    assert str(tmp_path) not in told


def test_one_bad_box_costs_its_picture_and_no_other(tmp_path):
    for number in (1, 2):
        picture(tmp_path / "cat" / f"{number}.png")
    put(
        tmp_path / "boxes.csv",
        csv("cat/1.png,30,10,50,40,cat", "cat/1.png,nan,10,50,40,cat", "cat/2.png,30,10,50,40,cat"),
    )
    batch = of_class(tmp_path)
    assert batch.known.tolist() == [False, True], "half of a picture's boxes would be a wrong truth"
    assert "1 without a box" in batch.doubts[0]
    assert "x1 in line 3 of boxes.csv is 'nan'" in batch.doubts[1]


def test_a_format_that_is_refused_leaves_the_word_to_the_next(tmp_path):
    picture(tmp_path / "cat" / "1.png")
    put(tmp_path / "boxes.json", "no json")
    put(tmp_path / "cat" / "1.xml", voc())
    batch = of_class(tmp_path)
    assert torch.equal(batch.masks[0], filled(SEEN))
    assert "boxes.json is no JSON" in batch.doubts[0]


def test_a_large_table_is_refused_before_it_is_read(tmp_path, monkeypatch):
    picture(tmp_path / "cat" / "1.png")
    with (tmp_path / "boxes.json").open("wb") as stream:
        stream.truncate(200 * 2**20)  # holes, no bytes on the disk
    book = BoxBook(tmp_path, [tmp_path / "cat" / "1.png"])
    monkeypatch.setattr(Path, "open", lambda *_told, **_more: pytest.fail("a file that is too large was opened"))
    truth = book.truth(tmp_path / "cat" / "1.png", "cat/1.png", (60, 100), 30, "cat")
    assert truth.mask is None
    (told,) = truth.refused
    assert f"boxes.json has 209,715,200 bytes, more than the {MOST_TABLE:,} that are read" in told


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes with names")
def test_a_pipe_is_not_waited_for(tmp_path):
    picture(tmp_path / "cat" / "1.png")
    os.mkfifo(tmp_path / "boxes.csv")
    assert of_class(tmp_path).masks is None


def test_names_that_several_pictures_bear_are_no_guess(tmp_path):
    for name in ("cat/1.png", "dog/1.png"):
        picture(tmp_path / name)
    put(tmp_path / "boxes.csv", csv("1.png,30,10,50,40,cat"))
    (told,) = of_class(tmp_path).doubts
    assert "boxes.csv names '1.png', which may be cat/1.png and dog/1.png" in told
    put(tmp_path / "boxes.csv", csv("cat/1.png,30,10,50,40,cat"))
    assert of_class(tmp_path).known.tolist() == [True, False]
    (tmp_path / "boxes.csv").unlink()
    put(tmp_path / "Annotations" / "1.xml", voc())
    (told,) = of_class(tmp_path).doubts
    assert "Annotations/1.xml may be about cat/1.png and dog/1.png" in told
    (tmp_path / "Annotations" / "1.xml").unlink()
    picture(tmp_path / "cat" / "1.jpg")
    put(tmp_path / "cat" / "1.xml", voc())
    assert any("cat/1.xml may be about cat/1.jpg and cat/1.png" in told for told in of_class(tmp_path).doubts)


def test_accents_are_one_letter_or_two(tmp_path):
    picture(tmp_path / "cat" / "caf\u00e9.png")
    put(tmp_path / "boxes.csv", csv("cat/cafe\u0301.png,30,10,50,40,cat"))
    assert of_class(tmp_path).known.tolist() == [True]


def test_a_list_of_names_made_to_be_slow_is_not(tmp_path):
    picture(tmp_path / "cat" / "1.png")
    put(tmp_path / "labels" / "cat" / "1.txt", yolo())
    put(tmp_path / "data.yaml", "names:[\n" * 100_000)
    started = time.process_time()
    assert "because they bear no class names" in of_class(tmp_path).box_note
    assert time.process_time() - started < 10  # a search from each of them takes minutes


def test_boxes_of_another_split_are_never_taken(tmp_path):
    for name in ("train/cat/1.png", "val/cat/1.png"):
        picture(tmp_path / name)
    put(tmp_path / "boxes.csv", csv("train/cat/1.png,30,10,50,40,cat"))
    folder = open_folder(tmp_path, split="val")
    assert read_folder(folder, image_side=30).masks is None
    assert read_folder(open_folder(tmp_path, split="train"), image_side=30).known.tolist() == [True]
    put(tmp_path / "boxes.csv", csv("cat/1.png,30,10,50,40,cat"))
    for split in ("train", "val"):
        batch = read_folder(open_folder(tmp_path, split=split), image_side=30)
        assert batch.masks is None, "which split is meant?"
        assert "names no picture of this folder" in batch.doubts[0]


def test_a_box_that_rounding_pushed_over_the_edge_is_cut_there(tmp_path):
    picture(tmp_path / "cat" / "1.png", size=(30, 30))
    put(tmp_path / "boxes.csv", csv("cat/1.png,-1,-0.5,31.2,30,cat"))
    assert torch.equal(of_class(tmp_path).masks[0], torch.ones(30, 30, dtype=torch.bool))


def test_a_table_is_read_once_however_many_pictures_ask(tmp_path, monkeypatch):
    files = [picture(tmp_path / "cat" / f"{number}.png") for number in range(4)]
    put(tmp_path / "boxes.csv", csv(*(f"{n}.png,30,10,50,40,cat" for n in range(4))))
    from vgg_viz.data import box_reading

    reads = []
    monkeypatch.setattr(box_reading, "read_bounded", lambda path, *_more: reads.append(path) or path.read_bytes())
    book = BoxBook(tmp_path, files)
    assert reads == [], "nothing is opened before a picture asks"
    assert all(book.truth(file, file.name, (60, 100), 30, "cat").mask.any() for file in files)
    assert len(reads) == 1


def test_boxes_travel_with_training_pictures_and_specimens(tmp_path):
    for number in range(4):
        picture(tmp_path / "cat" / f"{number}.png")
    put(tmp_path / "boxes.csv", csv(*(f"{n}.png,30,10,50,40,cat" for n in range(3))))
    held = read_labelled(tmp_path, "train", side=30)
    assert held.boxed.tolist() == [True, True, True, False]
    assert held.part(torch.tensor([3, 0])).boxed.tolist() == [False, True]
    assert held.as_batch().known.tolist() == [True, True, True, False]
    assert [(one.mask is not None, one.boxed) for one in draw_specimens(held)] == [(True, True)] * 3 + [(False, False)]


def test_a_check_of_a_folder_counts_what_is_known_and_names_what_is_refused(tmp_path):
    for number in range(3):
        picture(tmp_path / "cat" / f"{number}.png")
    put(tmp_path / "boxes.csv", csv("0.png,30,10,50,40,cat", "1.png,nan,10,50,40,cat"))
    found = check(tmp_path)
    assert found["objects"] == {"outline": 0, "box": 1, "unknown": 2}
    assert [name for name, _ in found["skipped"]] == ["cat/1.png"]
