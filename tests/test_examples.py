"""The grid of examples: which pictures are shown, and whether every number about them is true."""

from __future__ import annotations

import base64
import io
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from loose_options import attribute
from PIL import Image
from telling import tells

from vgg_viz.data import shapes
from vgg_viz.errors import SectionMissing
from vgg_viz.gallery.layout import PageExhibit, PageSection
from vgg_viz.gallery.page import Page, render
from vgg_viz.maths.heatmaps import place
from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import load
from vgg_viz.records import Batch
from vgg_viz.sections.report.examples import examples, sheet
from vgg_viz.studies.answers import Answers, choose_images
from vgg_viz.studies.inputs import Inputs
from vgg_viz.studies.preset import PRESETS
from vgg_viz.studies.subject import Subject

PICTURES, SHOWN = 160, 40


@pytest.fixture(scope="module")
def checkpoint():
    return load(None)


@pytest.fixture(scope="module")
def batch(checkpoint) -> Batch:
    painted = shapes.paint(PICTURES, seed=5, split="test", side=64)
    order = torch.tensor([checkpoint.classes.index(name) for name in shapes.CLASSES])
    return replace(painted, labels=order[painted.labels])


def subject_of(checkpoint, batch: Batch | None, **preset) -> Subject:
    wanted = replace(PRESETS["standard"], examples=SHOWN, **preset)
    return Subject(checkpoint, build(checkpoint), Inputs(batch, None, None, None, None, ()), wanted, 0)


def only(subject: Subject):
    (exhibit,) = examples(subject)
    return exhibit


@pytest.fixture(scope="module")
def subject(checkpoint, batch) -> Subject:
    return subject_of(checkpoint, batch)


@pytest.fixture(scope="module")
def exhibit(subject):
    return only(subject)


def scores(subject: Subject) -> np.ndarray:
    """Logits one picture at a time, float64."""
    with torch.inference_mode():
        return np.stack([subject.model(image[None])[0].double().numpy() for image in subject.inputs.labelled.images])


# ---------------------------------------------------------------- which pictures


def test_every_mistake_is_shown_where_there_is_room_and_right_ones_of_every_class(exhibit, subject):
    wrong = scores(subject).argmax(1) != subject.inputs.labelled.labels.numpy()
    assert 3 < wrong.sum() < SHOWN * 0.75, "the oracle needs few mistakes"
    places = [place - 1 for place in exhibit.numbers["place"]]
    assert places == sorted(set(places))
    assert len(places) == SHOWN
    assert set(np.flatnonzero(wrong)) <= set(places)
    right = [exhibit.numbers["true"][n] for n, i in enumerate(places) if not wrong[i]]
    counts = np.bincount(right, minlength=10)
    assert counts.max() - counts.min() <= 1
    assert tells(exhibit.caption.see, f"{SHOWN} of {PICTURES} ", f"{wrong.sum()} mistakes", f" {SHOWN - wrong.sum()} ")


def test_of_too_many_mistakes_the_surest_are_shown_beside_right_answers(checkpoint, batch):
    turned = replace(batch, labels=torch.where(torch.arange(PICTURES) % 2 == 0, (batch.labels + 1) % 10, batch.labels))
    subject = subject_of(checkpoint, turned)
    found = only(subject)
    logits = scores(subject)
    surest = (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).max(1)
    wrong = logits.argmax(1) != turned.labels.numpy()
    places = [place - 1 for place in found.numbers["place"]]
    shown = [i for i in places if wrong[i]]
    assert len(shown) == round(0.75 * SHOWN)
    assert set(shown) == set(sorted(np.flatnonzero(wrong), key=lambda i: -surest[i])[: len(shown)])
    assert tells(found.caption.see, f"{len(shown)} surest of {wrong.sum()} mistakes")


def test_a_small_set_is_shown_whole(checkpoint, batch):
    few = Batch(batch.images[:12], batch.labels[:12], batch.names[:12], batch.masks[:12])
    found = only(subject_of(checkpoint, few))
    assert found.numbers["place"] == list(range(1, 13))
    assert tells(found.caption.see, "All 12 ")


def test_without_labels_the_section_says_why_it_is_missing(checkpoint, batch):
    for nothing in (None, replace(batch, labels=None)):
        with pytest.raises(SectionMissing, match="no labelled pictures"):
            list(examples(subject_of(checkpoint, nothing)))


def test_the_photos_of_the_viewer_are_found_again(exhibit, subject):
    inspected = subject.inspected.batch.names
    pairs = exhibit.viewer["photos"]
    assert sorted(photo for _, photo in pairs) == list(range(len(inspected)))
    assert all(exhibit.viewer["name"][example] == inspected[photo] for example, photo in pairs)


# ---------------------------------------------------------------- their numbers


def test_every_number_is_that_of_an_independent_pass(exhibit, subject):
    logits, labels = scores(subject), subject.inputs.labelled.labels.numpy()
    numbers = exhibit.numbers
    for n, place_ in enumerate(numbers["place"]):
        row, true = logits[place_ - 1], labels[place_ - 1]
        shares = np.exp(row - row.max()) / np.exp(row - row.max()).sum()
        first, second = np.argsort(-row)[:2]
        assert numbers["name"][n] == subject.inputs.labelled.names[place_ - 1]
        assert (numbers["true"][n], numbers["predicted"][n], numbers["runner_up"][n]) == (true, first, second)
        assert numbers["confidence"][n] == pytest.approx(shares[first], abs=2e-5)
        assert numbers["margin"][n] == pytest.approx(shares[first] - shares[second], abs=3e-5)
        assert numbers["loss"][n] == pytest.approx(-math.log(shares[true]), rel=2e-3, abs=2e-6)


def test_attention_inside_is_the_mass_of_the_grad_cam_of_the_attribution_door(exhibit, subject):
    places = [place_ - 1 for place_ in exhibit.numbers["place"]]
    batch, layer = subject.inputs.labelled, exhibit.numbers["layer"]
    said = torch.tensor(exhibit.numbers["predicted"])
    found = attribute(
        subject.model, batch.images[places], method="grad_cam", target=said, layer=layer
    )  # Captum's own, one layer
    field = next(row.field for row in subject.geometry if row.name == layer)
    maps = place(found.values.cpu(), field, 64).double().numpy()
    masks = batch.masks[places].numpy()
    for n, stored in enumerate(exhibit.numbers["attention_inside"]):
        expected = maps[n][masks[n]].sum() / maps[n].sum() if maps[n].sum() else None
        assert stored == (None if expected is None else pytest.approx(expected, abs=1e-3))
        assert exhibit.numbers["object_area"][n] == pytest.approx(masks[n].mean(), abs=1e-4)
    assert len(set(exhibit.numbers["attention_inside"])) > SHOWN / 2


def test_the_table_the_numbers_and_the_page_say_the_same(exhibit):
    numbers, viewer = exhibit.numbers, exhibit.viewer
    for n, row in enumerate(exhibit.table.rows):
        classes = [numbers["classes"][numbers[key][n]] for key in ("true", "predicted", "runner_up")]
        assert row == (
            numbers["name"][n],
            numbers["place"][n],
            classes[0],
            classes[1],
            numbers["confidence"][n],
            classes[2],
            numbers["margin"][n],
            numbers["loss"][n],
            numbers["attention_inside"][n],
            numbers["object_area"][n],
        )
        assert viewer["top"][n][0] == [numbers["predicted"][n], numbers["confidence"][n]]
        assert viewer["top"][n][1][0] == numbers["runner_up"][n]
    for key in ("place", "name", "true", "loss"):
        assert list(viewer[key]) == list(numbers[key])
    assert (viewer["inside"], viewer["area"]) == (numbers["attention_inside"], numbers["object_area"])
    assert len(exhibit.table.rows) == len(viewer["top"]) == SHOWN


def test_without_masks_there_is_no_attention_and_the_reason_is_given(checkpoint, batch):
    found = only(subject_of(checkpoint, replace(batch, masks=None)))
    assert set(found.numbers["attention_inside"]) == {None} == set(found.viewer["inside"])
    assert "without masks" in found.viewer["reason"]
    assert found.viewer["reason"] in found.caption.cannot
    html = render(page_of(found))
    assert 'data-filter="outside" disabled aria-describedby' in html
    assert found.viewer["reason"] in html
    assert 'data-filter="outside" disabled' not in render(page_of(only(subject_of(checkpoint, batch))))


def test_a_costly_network_is_asked_for_fewer_maps_and_the_page_says_so(checkpoint, batch, subject):
    cost = 2 * sum(row.macs for row in subject.geometry) / 1e9
    found = only(subject_of(checkpoint, batch, gigamacs=7.5 * cost / 0.2))
    inside = found.numbers["attention_inside"]
    assert [value is not None for value in inside] == [True] * 7 + [False] * (SHOWN - 7)
    assert tells(found.viewer["reason"], "first 7 ", f" {SHOWN} ")
    assert found.viewer["reason"] in found.caption.read
    none = only(subject_of(checkpoint, batch, gigamacs=0.0))
    assert set(none.numbers["attention_inside"]) == {None}
    assert none.viewer["reason"]


def test_low_confidence_of_two_classes_has_another_threshold(checkpoint, batch):
    class Two(torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model, self.architecture = model, model.architecture

        def forward(self, images):
            return self.model(images)[:, :2]

    two = replace(checkpoint, classes=checkpoint.classes[:2])
    subject = subject_of(two, replace(batch, labels=batch.labels % 2, masks=None))
    subject.model = Two(subject.model)
    found = only(subject)
    assert found.viewer["low"] == found.numbers["low_confidence"] == 0.75
    assert "below 75 %" in found.caption.read
    assert min(found.numbers["confidence"]) >= 0.5


# ---------------------------------------------------------------- their pictures


def cut(made: dict, index: int) -> np.ndarray:
    """Picture `index` of a sheet, (side, side, 3) in [0, 1]."""
    whole = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(made["src"].split(",")[1]))).convert("RGB"), np.float32) / 255
    )
    y, x = (made["margin"] + made["cell"] * place_ for place_ in divmod(index, made["columns"]))
    return whole[y : y + made["side"], x : x + made["side"]]


@pytest.mark.parametrize(("side", "stored"), [(64, 64), (28, 28), (224, 64)])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_picture_stands_at_its_place_in_the_sheet(side, stored, channels):
    colours = torch.rand(23, channels, 1, 1, generator=torch.Generator().manual_seed(0))
    made = sheet(colours.expand(-1, -1, side, side).contiguous())
    assert made["side"] == stored
    assert made["cell"] % 16 == 0
    for index, colour in enumerate(colours[:, :, 0, 0]):
        # Flat colours: whatever the neighbour is, it does not bleed in.
        np.testing.assert_allclose(
            cut(made, index), np.broadcast_to(colour.expand(3).numpy(), (stored, stored, 3)), atol=0.06
        )


def test_the_stored_pictures_resemble_the_originals_more_than_any_other(exhibit, subject):
    originals = subject.inputs.labelled.images.movedim(1, -1).numpy()
    for n, place_ in enumerate(exhibit.numbers["place"]):
        apart = np.abs(originals - cut(exhibit.viewer["sheet"], n)).mean((1, 2, 3))
        assert apart.argmin() == place_ - 1


def page_of(exhibit) -> Page:
    section = PageSection(
        "examples", "Examples", exhibits=(PageExhibit(exhibit, files=(("CSV", "data/examples-grid.csv"),)),)
    )
    return Page("t", "", (), (), (), (section,), ())


def test_two_hundred_examples_weigh_less_than_150_kb(checkpoint):
    painted = shapes.paint(200, seed=5, split="test", side=64)
    subject = subject_of(checkpoint, painted)
    subject.preset = replace(subject.preset, examples=200)
    answers = Answers(painted, painted.labels, torch.from_numpy(scores(subject)).float())
    assert len(choose_images(answers, 200, mistakes=150)) == 200
    with_grid, without = (
        len(re.sub(r"<script>.*?</script>|<style>.*?</style>", "", render(one), flags=re.DOTALL))
        for one in (page_of(only(subject)), Page("t", "", (), (), (), (PageSection("examples", "Examples"),), ()))
    )
    assert 60_000 < with_grid - without < 135_000  # and 24 kB of script and style of its own


def test_the_rows_are_in_the_files_and_not_twice_on_the_page(exhibit):
    html = render(page_of(exhibit))
    assert "<tbody>" not in html
    assert 'href="./data/examples-grid.csv"' in html
    assert 'class="no-js"' in html
