"""The first screen: which mistake is shown, what is said of its maps, and next steps that are commands of this program."""

from __future__ import annotations

import math
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vgg_viz.commands import parser as command_parser
from vgg_viz.data.copies import copies_of, hash_pictures
from vgg_viz.maths.heatmaps import smoothed
from vgg_viz.maths.map_facts import edge_share, half_area
from vgg_viz.maths.metrics import calibration
from vgg_viz.models.build import architecture
from vgg_viz.records import Batch, Checkpoint, Epoch, Finding, Provenance
from vgg_viz.studies.answers import Answers, choose_images, right_example, telling_mistake
from vgg_viz.studies.judging import confidence_gap, verdict_on
from vgg_viz.studies.next_steps import CommandWords, Situation, command_words, next_steps, picture_file

CLASSES = ("a", "b", "c")


def answered(pairs: list[tuple[int, int, float]], *, contrast: dict[int, float] | None = None) -> Answers:
    """Pictures with (true class, predicted class, probability of that)."""
    labels = torch.tensor([true for true, _, _ in pairs])
    probabilities = torch.full((len(pairs), 3), 0.0)
    for n, (_, predicted, sure) in enumerate(pairs):
        probabilities[n] = (1 - sure) / 2
        probabilities[n, predicted] = sure
    images = torch.rand(len(pairs), 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 0.01
    for n, factor in (contrast or {}).items():
        images[n] = images[n] * factor
    return Answers(Batch(images, labels, tuple(f"{n}.png" for n in range(len(pairs)))), labels, probabilities.log())


# ---------------------------------------------------------------- which pictures


def test_the_mistake_is_of_the_class_that_fails_and_not_of_the_most_frequent_confusion():
    never = [(0, 1, 0.6)] * 9 + [(0, 2, 0.9)] * 3  # never recognised, mostly as b
    frequent = [(1, 2, 0.99)] * 10 + [(1, 1, 0.9)] * 40 + [(2, 2, 0.9)] * 50
    at = telling_mistake(answered(never + frequent), CLASSES)
    assert at is not None
    assert at < 9
    at = telling_mistake(answered([(0, 0, 0.9)] * 12 + frequent), CLASSES)
    assert at is not None
    assert 12 <= at < 22


def test_of_the_three_surest_the_one_with_most_contrast_is_shown():
    mistakes = [(0, 1, sure) for sure in (0.7, 0.9, 0.8, 0.95)]
    answers = answered(mistakes + [(0, 0, 0.9)] * 5, contrast={0: 90.0, 2: 50.0, 3: 20.0})
    assert telling_mistake(answers, CLASSES) == 2  # the first has more, and is not among the surest


def test_beside_a_mistake_stands_a_right_answer_of_the_class_that_was_predicted():
    answers = answered([(0, 1, 0.9), (0, 0, 0.9), (1, 1, 0.5), (1, 1, 0.7), (1, 1, 0.99)])
    assert right_example(answers, 0) == 3
    assert right_example(answered([(0, 1, 0.9), (0, 0, 0.9)]), 0) == 1
    assert right_example(answered([(0, 1, 0.9)]), 0) is None
    assert telling_mistake(answered([(0, 0, 0.9)]), CLASSES) is None


def test_both_are_among_the_pictures_that_are_looked_into():
    answers = answered([(n % 3, n % 3, 0.9) for n in range(20)] + [(0, 1, 0.5), (0, 1, 0.9), (0, 2, 0.8), (0, 2, 0.7)])
    assert {20, 19} <= set(choose_images(answers, 4, first=(20, 19)))
    assert len(choose_images(answers, 4, first=(20, 19))) == 4


# ---------------------------------------------------------------- numbers


def test_half_of_a_map_lies_on_the_fewest_cells_that_hold_it():
    values = torch.zeros(4, 4)
    values[0, 0], values[1, 1], values[2, 2] = 4.0, 3.0, 1.0
    assert half_area(values) == 1 / 16
    assert half_area(torch.ones(4, 4)) == 0.5
    assert math.isnan(half_area(-torch.ones(4, 4)))


def test_what_lies_at_the_edge():
    values = torch.zeros(8, 8)
    values[0, 3], values[4, 4] = 3.0, 1.0
    assert edge_share(values) == (0.75, 1 - 16 / 64)
    assert math.isnan(edge_share(torch.zeros(8, 8))[0])
    assert edge_share(torch.ones(3, 3)) == (1.0, 1.0)


def test_smoothing_is_a_gaussian_that_keeps_the_mass_and_a_constant():
    spot = torch.zeros(1, 41, 41)
    spot[0, 20, 20] = 1.0
    found = smoothed(spot, 8.0)[0]  # sigma 2
    distance = torch.arange(41) - 20.0
    wanted = torch.exp(-(distance[:, None] ** 2 + distance[None] ** 2) / (2 * 2.0**2)) / (2 * math.pi * 2.0**2)
    assert torch.allclose(found, wanted, atol=2e-4)
    assert float(found.sum()) == pytest.approx(1.0, abs=1e-5)
    assert torch.allclose(smoothed(torch.full((1, 9, 9), 3.0), 8.0), torch.tensor(3.0))
    assert torch.equal(smoothed(spot, 0.0), spot)
    assert torch.allclose(smoothed(spot, 1e6), smoothed(spot, 4 * 41 / 20)), "at most a twentieth of the side"


def test_exact_copies_are_the_same_pixels():
    images = torch.rand(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    images[2], images[3] = images[0], images[1] + 1e-4  # the last less than half a step of 8 bit, mostly
    images = (images * 255).round() / 255
    images[3, 0, 0, 0] = (images[1, 0, 0, 0] + 0.5) % 1
    found = copies_of(hash_pictures(images), [0, 1, 2, 1])
    assert (found.groups, found.extra, found.contradictory) == (((0, 2),), 1, 2)
    assert hash_pictures(images[:1]) != hash_pictures(images[:1].reshape(1, 3, 25, 1)), "a side is no pixel"


def test_copies_count_once_and_two_labels_are_a_problem():
    answers = answered([(0, 0, 0.9)] * 20 + [(1, 1, 0.9)] * 20 + [(2, 2, 0.9)] * 20)
    answers.batch.images[1:6] = answers.batch.images[0]
    answers.batch.images[20] = answers.batch.images[40]
    found = verdict_on(answers, CLASSES, Checkpoint(architecture("tiny_vgg", num_classes=3), CLASSES, {}), None)
    assert (found.judgement.n, found.measured.copies, found.measured.contradictory) == (55, 5, 2)
    assert found.findings[0].key == "labels"


def test_the_gap_of_confidence_is_that_of_the_calibration_and_its_noise_that_of_many_draws():
    generator = torch.Generator().manual_seed(0)
    confidence = torch.rand(400, generator=generator) * 0.5 + 0.5
    draws = torch.rand(2000, 400, generator=generator) < confidence  # every confidence is true
    gaps = torch.tensor([confidence_gap(confidence, draw)[0] for draw in draws[:1000]])
    assert confidence_gap(confidence, draws[0])[1] == pytest.approx(float(gaps.std()), rel=0.1)
    bins = calibration(confidence, draws[0], bins=1, by="width").bins
    assert confidence_gap(confidence, draws[0])[0] == pytest.approx(bins[-1].confidence - bins[-1].accuracy, abs=1e-6)


# ---------------------------------------------------------------- next steps

PLAIN = Checkpoint(architecture("vgg16", num_classes=3), CLASSES, {})
WORDS = CommandWords("runs/a b.pt", "pictures", ("--mean", "0.5,0.5,0.5"))


def verbs(situation: Situation) -> list[str]:
    return [shlex.split(step.command)[3] for step in next_steps(situation)]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["class"], ["evaluate", "explain", "compare"]),
        (["chance"], ["evaluate", "inspect", "audit"]),
        (["few"], ["report", "audit", "explain"]),
        (["labels"], ["data", "audit", "explain"]),
        (["overfit"], ["train", "audit", "explain"]),
        (["shortcut", "copies"], ["audit", "data", "explain"]),
        (["alarm", "class"], ["inspect", "evaluate", "explain"]),
        ([], ["audit", "explain", "compare"]),
    ],
)
def test_the_leading_finding_chooses(keys: list[str], expected: list[str]):
    findings = [Finding("bad", "x", key=key) for key in keys]
    assert verbs(Situation(WORDS, PLAIN, findings, True, ("pictures/a/0.png", "a", "b"))) == expected


def test_without_labels_or_weights_the_steps_are_others():
    assert verbs(Situation(WORDS, PLAIN, [], False)) == ["report", "inspect", "explain"]
    untrained = replace(PLAIN, provenance=Provenance("vgg16", "", "untrained"))
    assert verbs(Situation(CommandWords("vgg16"), untrained, [], False)) == ["train", "report", "inspect"]
    headless = replace(PLAIN.architecture, plan="8 M 8 M", num_classes=0)
    features = replace(PLAIN, architecture=headless)
    assert verbs(Situation(WORDS, features, [], False)) == ["inspect", "explain"]
    epochs = tuple(Epoch(n, 2 / n, 0.5, 2 / n, 0.5, 1e-3, 1.0) for n in range(1, 9))
    improving = replace(PLAIN, history=epochs)
    assert verbs(Situation(CommandWords(), improving, [], True))[0] == "train"


def test_every_step_is_understood_by_the_command_line(tmp_path: Path):
    parser = command_parser.build_parser()
    tricky = CommandWords(
        'it\'s a "file".pt', "my pictures", ("--image-size", "96", "--no-bgr", "--mean", "0.5,0.5,0.5")
    )
    steps = []
    for key in ("class", "chance", "few", "labels", "overfit", "alarm", "none"):
        for labelled in (True, False):
            situation = Situation(
                tricky, PLAIN, [Finding("bad", "x", key=key)], labelled, ("my pictures/a b.png", "a b", "c")
            )
            steps += next_steps(situation)
    for step in steps:
        words = shlex.split(step.command)
        assert words[:3] == ["python", "-m", "vgg_viz"]
        options = parser.parse_args(words[3:])
        assert options.command == words[3]


def test_words_of_a_request_name_no_place_outside_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    words = command_words(
        tmp_path / "runs" / "best.pt",
        "/somewhere/else/pictures",
        {"mean": (0.5, 0.25, 0.125), "bgr": False, "arch": "vgg16", "classes": ["a"], "image_size": 96, "plan": None},
    )
    assert words.source == "runs/best.pt"
    assert words.data == "pictures"
    assert words.options == ("--mean", "0.5,0.25,0.125", "--no-bgr", "--arch", "vgg16", "--image-size", "96")
    assert command_words(None, None, {}) == CommandWords()


def test_a_picture_is_found_in_its_folder_or_in_a_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for place in ("flat/a/0.png", "parts/test/a/1.png"):
        Path(place).parent.mkdir(parents=True)
        Path(place).write_bytes(b"")
    assert picture_file("flat", "a/0.png") == "flat/a/0.png"
    assert picture_file("parts", "a/1.png") == "parts/test/a/1.png"
    assert picture_file("flat", "a/1.png") == picture_file("shapes", "a/0.png") == picture_file(None, "a/0.png") == ""
