"""The bundled Tiny VGG: small, safe to open, honest about where it comes from, good but not perfect."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from vgg_viz.data import shapes
from vgg_viz.maths.images import decode, decode_mask, to_uint8
from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import BUNDLED, load
from vgg_viz.models.vgg import describe
from vgg_viz.records import Checkpoint
from vgg_viz.studies.inputs import labelled_pictures


@pytest.fixture(scope="module")
def sample() -> Checkpoint:
    return load()


@pytest.fixture(scope="module")
def answers(sample):
    """Predictions for the 2,000 pictures that `evaluate --data shapes --limit 2000` asks about, and the right labels."""
    batch, _ = labelled_pictures(sample, None, limit=2000)
    assert len(batch) == 2000
    model = build(sample)
    with torch.inference_mode():
        logits = torch.cat([model(images) for images in batch.images.split(250)])
    return logits, batch.labels


def test_it_is_below_600_kb_and_opens_with_weights_only():
    assert BUNDLED.stat().st_size < 600_000
    torch.load(BUNDLED, weights_only=True)


def test_it_is_the_tiny_vgg_of_the_courses(sample):
    assert describe(sample.architecture).variant == "tiny_vgg"
    assert sample.architecture.image_side == 64
    assert sum(weight.numel() for weight in sample.weights.values()) == 19_920
    assert sample.classes == shapes.CLASSES


def test_it_classifies_88_to_97_percent_of_2000_held_out_pictures_and_the_readme_says_how_many(answers):
    # Floating point may turn a picture or two on another machine.
    logits, labels = answers
    accuracy = float((logits.argmax(1) == labels).float().mean())
    assert 0.88 <= accuracy <= 0.97
    readme = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")
    assert accuracy * 100 == pytest.approx(
        float(re.search(r"([\d.]+) % of 2,000 held-out pictures", readme)[1]), abs=0.2
    )


def test_it_knows_every_class_and_still_makes_mistakes_in_several(answers):
    logits, labels = answers
    right = torch.stack([(logits.argmax(1) == labels)[labels == k].float().mean() for k in range(10)])
    assert float(right.min()) > 0.6
    assert int((right < 0.95).sum()) >= 3


def test_its_history_tells_of_its_own_accuracy(sample, answers):
    logits, labels = answers
    tested = float((logits.argmax(1) == labels).float().mean())
    best = max(epoch.val_accuracy for epoch in sample.history)
    assert abs(best - tested) < 0.03  # two samples of 2,000: about four standard errors
    assert [epoch.epoch for epoch in sample.history] == list(range(1, len(sample.history) + 1))


def test_its_specimens_are_pictures_of_the_held_out_split_with_their_exact_masks(sample):
    data = sample.provenance.data
    assert data["kind"] == "shapes"
    assert 40 <= len(sample.specimens) <= 64
    for specimen in sample.specimens:
        index = int(specimen.name.rsplit("-", 1)[1])
        picture = shapes.draw(index, seed=data["seed"], split="val")
        # Another processor's sine may round a pixel the other way: one level of 255, not more.
        levels = to_uint8(decode(specimen.png)).int() - torch.from_numpy(picture.pixels).int()
        assert int(levels.abs().max()) <= 1
        assert int((decode_mask(specimen.mask) ^ torch.from_numpy(picture.mask)).sum()) <= 1
        assert specimen.label == picture.label


def test_none_of_its_specimens_was_trained_on(sample):
    """The splits are separate streams by construction; every fifth training picture is painted to see it."""
    data = sample.provenance.data
    some = [shapes.draw(index, seed=data["seed"], split="train").pixels for index in range(0, data["train"], 5)]
    trained = torch.stack([torch.from_numpy(pixels[:, ::8, ::8]) for pixels in some]).float().flatten(1)
    specimens = torch.stack([to_uint8(decode(s.png)) for s in sample.specimens])[:, :, ::8, ::8].float().flatten(1)
    apart = torch.cdist(specimens, trained) / specimens.shape[1] ** 0.5  # [levels of 255], over 192 values a picture
    assert float(apart.min()) > 4


def test_its_specimens_are_spread_evenly_over_the_classes(sample):
    counts = torch.bincount(torch.tensor([specimen.label for specimen in sample.specimens]), minlength=10)
    assert int(counts.max() - counts.min()) <= 1


def test_its_filters_are_alive(sample):
    maps = {}
    model = build(sample)
    for name in ("conv_block_1", "conv_block_2"):
        block = model.get_submodule(name)
        maps[name] = block(maps["conv_block_1"] if maps else model.normalise(shapes.paint(50, split="test").images))
        assert bool((maps[name] > 0).any(dim=0).any(dim=-1).any(dim=-1).all())
