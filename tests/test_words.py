"""No copy-editor can break the program: facts are data, and whatever a sentence says, the same is decided."""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from networks import PlainVGG, settled
from test_trials import TRIALS
from torch import nn

import vgg_viz
from vgg_viz.cli import main
from vgg_viz.data.class_matching import match_classes
from vgg_viz.errors import DataRefused, InputRefused
from vgg_viz.faithfulness import verdict as trust_verdict
from vgg_viz.models import class_names
from vgg_viz.models.build import architecture, build
from vgg_viz.models.checkpoint import load
from vgg_viz.models.geometry import geometry
from vgg_viz.records import Batch, Checkpoint, Evidence, LayerChoice, PictureOrigin
from vgg_viz.sections.explain import facts
from vgg_viz.sections.report import attention
from vgg_viz.sections.report import faithfulness as trials_shown
from vgg_viz.sections.report.verdict import verdict
from vgg_viz.studies import picture_maps as compute
from vgg_viz.studies.answers import Answers
from vgg_viz.studies.inputs import labelled_pictures
from vgg_viz.studies.pair_inputs import shared_classes
from vgg_viz.studies.picture_request import Question
from vgg_viz.studies.preset import PRESETS
from vgg_viz.studies.subject import Inspected, Subject

HOUSE = Path(vgg_viz.__file__).parent
GIBBERISH = "Lorem (--ipsum, --dolor). conv1_1: sit amet of the folder "


@pytest.fixture
def garbled(monkeypatch):
    """Every sentence of evidence is gibberish, also those that are constants."""

    def other(_text: str, settled_by: tuple[str, ...] = (), **about: Any) -> Evidence:
        return Evidence(GIBBERISH, settled_by, **about)

    def apply() -> None:
        for name, module in list(sys.modules.items()):
            if name.startswith("vgg_viz.models"):
                for key, value in list(vars(module).items()):
                    if isinstance(value, Evidence):
                        monkeypatch.setattr(module, key, replace(value, text=GIBBERISH))
                    elif value is Evidence:
                        monkeypatch.setattr(module, key, other)

    return apply


@pytest.fixture
def nameless(tmp_path) -> Path:
    """A state dict of 32 px pictures and four classes, as anybody saves it: nothing but weights."""
    torch.save(settled(PlainVGG("vgg11", classifier=nn.Linear(64, 4))).state_dict(), tmp_path / "net.pt")
    return tmp_path / "net.pt"


# ---------------------------------------------------------------- evidence


@pytest.mark.parametrize(
    ("options", "gone"),
    [
        ({}, []),
        ({"mean": (0.1, 0.2, 0.3)}, []),
        ({"mean": (0.1, 0.2, 0.3), "std": (1.0, 1.0, 1.0)}, [("--mean", "--std")]),
        ({"image_size": 40}, [("--image-size",)]),
        ({"classes": ("a", "b", "c", "d")}, [("--classes",)]),
    ],
)
def test_what_is_a_guess_and_what_leaves_when_it_is_set_does_not_depend_on_the_words(options, gone, nameless, garbled):
    """`options` as the user sets them; `gone`: the guesses that they settle."""
    before = load(nameless, **options)
    guesses = [one.settled_by for one in before.provenance.evidence if one.assumed]
    every = (("--plan",), ("--image-size",), ("--mean", "--std"), ("--classes",))
    assert guesses == [one for one in every if one not in gone]
    garbled()
    after = load(nameless, **options)
    assert {one.text for one in after.provenance.evidence if one.assumed} <= {GIBBERISH}
    for kind in ("evidence", "alternatives"):
        told, untold = (getattr(one.provenance, kind) for one in (before, after))
        assert [one.settled_by for one in told] == [one.settled_by for one in untold]


def test_inspect_tells_guesses_from_facts_whatever_they_say(nameless, garbled, capsys):
    def lines() -> list[str]:
        assert main(["inspect", str(nameless)]) == 0
        heads = [line.split(":")[0] for line in capsys.readouterr().out.splitlines()]
        return [head for head in heads if head in ("known", "assumed", "or else")]

    before = lines()
    assert before.count("assumed") == 4
    garbled()
    assert lines() == before


def test_the_options_stand_before_the_full_stop():
    assert str(Evidence("Assumed.", ("--mean", "--std"))) == "Assumed (--mean, --std)."
    assert str(Evidence("Known (--mean).")) == "Known (--mean)."
    assert (Evidence("Known (--mean).").assumed, Evidence("", ("--mean",)).assumed) == (False, True)


# ---------------------------------------------------------------- class names


def test_classes_that_nobody_named_are_told_by_a_flag_and_not_by_what_they_are_called(nameless, tmp_path, monkeypatch):
    monkeypatch.setattr(class_names, "numbered", lambda count: tuple(f"Klasse {index}" for index in range(count)))
    found = load(nameless)
    assert (found.classes[0], found.named) == ("Klasse 0", False)
    assert load(nameless, classes=("class 0", "class 1", "class 2", "class 3")).named
    assert load(nameless, folder_classes=("a", "b", "c", "d")).named
    assert match_classes(("a", "b", "c", "d"), found.classes, named=found.named) == (0, 1, 2, 3)
    with pytest.raises(DataRefused):
        match_classes(("a", "b", "c", "d"), ("class 0", "class 1", "class 2", "class 3"), named=True)


def test_two_networks_share_classes_by_name_where_somebody_named_them(nameless):
    found = load(nameless)
    named = replace(found, classes=("class 3", "class 2", "class 1", "other"), named=True)
    assert shared_classes(named, replace(named, classes=("other", "class 1", "x", "class 3")), None) == {
        0: 3,
        2: 1,
        3: 0,
    }
    with pytest.raises(InputRefused, match="share no classes"):
        shared_classes(named, found, None)  # numbers are no names
    assert shared_classes(found, found, None) == {index: index for index in range(4)}


# ---------------------------------------------------------------- origins


@pytest.mark.parametrize(
    ("origin", "held_out"),
    [
        (PictureOrigin("painted", 20), True),
        (PictureOrigin("specimens", 20), True),
        (PictureOrigin("folder", 20, name="a", split="test"), True),
        (PictureOrigin("folder", 20, name="a"), False),
        (PictureOrigin("folder", 20, name="held-out pictures of the folder 'x', test/"), False),
    ],
)
def test_pictures_are_held_out_by_where_they_come_from_and_not_by_how_that_is_said(origin, held_out, monkeypatch):
    monkeypatch.setattr("vgg_viz.studies.inputs.describe_origin", lambda _: GIBBERISH)
    labels = torch.arange(40) % 2
    batch = Batch(torch.rand(40, 3, 4, 4), labels, tuple(map(str, range(40))))
    answers = Answers(batch, labels, torch.nn.functional.one_hot(labels, 2).float())
    inputs = SimpleNamespace(measured_on=origin, labelled_from=GIBBERISH)
    checkpoint = Checkpoint(architecture("tiny_vgg", num_classes=2), ("a", "b"), {})
    subject = SimpleNamespace(
        answers=answers, classes=("a", "b"), inputs=inputs, checkpoint=checkpoint, once=lambda _what, make: make()
    )
    text = verdict(subject, [])[0].text
    assert ("held-out" in text) is held_out


def test_a_checkpoint_knows_where_its_pictures_come_from(tmp_path):
    _, origin = labelled_pictures(load(None), None, limit=30)
    assert (origin.kind, origin.count, origin.held_out) == ("painted", 30, True)


# ---------------------------------------------------------------- layers, parts, criteria


def reworded(rows, side) -> LayerChoice:
    from vgg_viz.attribution.layers import choose_layer

    return replace(choose_layer(rows, side), reason=GIBBERISH)


def test_the_chosen_layer_is_no_part_of_the_sentence_about_it(monkeypatch):
    model, images = build("tiny_vgg", seed=1, image_side=32, num_classes=4, width=0.4), torch.rand(2, 3, 32, 32)
    rows = geometry(model)
    from vgg_viz.capture.hooks import activations

    subject = Subject(
        Checkpoint(model.architecture, tuple("abcd"), model.state_dict()), model, SimpleNamespace(), PRESETS["quick"], 0
    )
    inspected = Inspected(Batch(images, None, ("a", "b")), activations(model, images))

    def chosen() -> tuple[str, str]:
        of_report = attention.compute(subject, inspected, ("grad_cam",)).chosen_layer
        return of_report, compute.compute(model, images[:1], Question(("grad_cam",)), rows).layer

    before = chosen()
    for module in (attention, compute):
        monkeypatch.setattr(module, "choose_layer", reworded)
    assert chosen() == before
    assert attention.compute(subject, inspected, ("grad_cam",)).reason == GIBBERISH


def test_what_a_map_is_about_does_not_depend_on_how_that_is_said(monkeypatch):
    classes = SimpleNamespace(predicted=2, expected=1, expected_given=True, pair=(2, 1))
    found = SimpleNamespace(
        computed=SimpleNamespace(predicted=2, classes=classes), question=SimpleNamespace(target=2, against=None)
    )
    words = [facts.target(found, index) for index in (2, 1, 0)]
    assert words == ["predicted", "runner-up", "other"]
    monkeypatch.setattr(facts, "part_text", lambda *_: GIBBERISH)
    assert [facts.target(found, index) for index in (2, 1, 0)] == words


def test_trials_are_shown_alike_whatever_their_criteria_are_called(monkeypatch):
    def shown() -> list[tuple]:
        panel, _, curves = trials_shown.exhibits(TRIALS)
        return [tuple(row) for row in panel.table.rows] + [(curves.caption.read,)]

    before = shown()
    for criterion in trust_verdict.NAMES:
        monkeypatch.setitem(trust_verdict.NAMES, criterion, f"{criterion} {GIBBERISH}")
    assert shown() == before


# ---------------------------------------------------------------- the whole house

READING = {
    "startswith",
    "endswith",
    "removeprefix",
    "removesuffix",
    "partition",
    "rpartition",
    "split",
    "rsplit",
    "find",
    "index",
    "count",
    "search",
    "match",
    "fullmatch",
    "findall",
    "compile",
    "strip",
    "lstrip",
    "rstrip",
}
# What others say, and codes that happen to have a space in them.
MARKUP = ("figures/write.py", "serve/galleries.py")  # SVG, and policies of pages
FOREIGN = {
    "atomic.py": {r"\(os error (\d+)\)$"},  # Rust
    "attribution/methods/deep_lift.py": {"more than once"},  # captum
    "commands/parser.py": {"unrecognized arguments: ", "invalid choice: '([^']*)'"},  # argparse
    "models/containers/safetensors_file.py": {"Error while deserializing header: "},
    "studies/preprocessing_check.py": {"batch norm"},
    "models/reparametrised.py": {"weight norm"},
    "file_kinds.py": {"<!doctype html"},
}


def phrases_read(tree: ast.AST) -> set[str]:
    """Texts of two words or more that a program compares with, looks for or cuts at."""
    read: list[ast.expr] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in READING:
            read += node.args
        elif isinstance(node, ast.Compare):
            read += [node.left, *node.comparators]
    texts = [
        part for one in read for part in ([*one.elts] if isinstance(one, ast.Tuple | ast.Set | ast.List) else [one])
    ]
    texts = [part for one in texts for part in (one.values if isinstance(one, ast.JoinedStr) else [one])]
    found = {one.value for one in texts if isinstance(one, ast.Constant) and isinstance(one.value, str)}
    return {
        text for text in found if re.search(r"[A-Za-z]{2,}[^\w\s]? [A-Za-z]{2,}", text) or re.search(r"^ of |: $", text)
    }


def test_a_phrase_that_is_read_is_found():
    assert phrases_read(ast.parse("x = ' of the folder ' in said")) == {" of the folder "}
    assert phrases_read(ast.parse("x = said.startswith(('a b', 'The class names stand'))")) == {"The class names stand"}
    assert phrases_read(ast.parse("x = said.partition(f'{layer}: ')")) == {": "}
    assert phrases_read(ast.parse("x = 'a sentence that is only said'")) == set()


def test_nowhere_does_the_program_read_a_sentence():
    faults = []
    for file in sorted(HOUSE.rglob("*.py")):
        place = file.relative_to(HOUSE).as_posix()
        read = set() if place in MARKUP else phrases_read(ast.parse(file.read_text(encoding="utf-8")))
        faults += [f"{place}: {text!r}" for text in sorted(read - FOREIGN.get(place, set()))]
    assert faults == []
