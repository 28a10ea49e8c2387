"""Pickles that hold objects: what is said of them is true, and what is advised works when it is typed."""

from __future__ import annotations

import collections
import contextlib
import os
import pickle
import shlex
import sys
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from networks import PlainVGG, settled
from sklearn.linear_model import LogisticRegression
from test_formats import same_logits
from torch import nn

from vgg_viz.errors import CheckpointRefused
from vgg_viz.models.checkpoint import load
from vgg_viz.models.pickle_outline import outline
from vgg_viz.records import Checkpoint

NAMES = {name: index for index, name in enumerate("abcde")}


def network(seed: int = 0) -> PlainVGG:
    torch.manual_seed(seed)
    made = PlainVGG("vgg11", classifier=nn.Sequential(nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 5)))
    settled(made)
    return made


def refused(path: Path) -> str:
    with pytest.raises(CheckpointRefused) as caught:
        load(path)
    return str(caught.value)


def after_typing(path: Path) -> Checkpoint:
    """The checkpoint that comes of the command that the refusal names, run as `python -c` in the file's folder.

    Without a new interpreter, which would import torch for seconds; without the classes of this file all the same.
    """
    said = refused(path)
    assert "\n" not in said
    code = shlex.split("python -c" + said.partition("run python -c")[2])[2]
    main = types.ModuleType("__main__")
    with mock.patch.dict(sys.modules, {"__main__": main}), contextlib.chdir(path.parent), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a terminal shows them and goes on
        for name in (__name__, "networks"):
            del sys.modules[name]
        exec(code, main.__dict__)
    return load(path.with_name(f"{path.stem}-weights.pt"))


class Settings:
    """An object of a script, which a terminal does not know."""

    def __init__(self) -> None:
        self.rate = 0.1


class Learner:
    """An object around a network."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model


def with_names(made: nn.Module) -> nn.Module:
    made.class_to_idx = NAMES  # type: ignore[assignment]
    return made


FILES: dict[str, Callable[[PlainVGG], Any]] = {
    "a head beside the state dict": lambda made: {
        "arch": "vgg11",
        "classifier": made.classifier,
        "state_dict": made.state_dict(),
        "class_to_idx": NAMES,
        "optimizer": {"state": {0: torch.ones(2, 2, 2, 2)}},
    },
    "the network under a key": lambda made: {"model": made, "class_to_idx": NAMES, "epoch": 3, "settings": Settings()},
    "the network alone, names on it": with_names,
    "names on the network in a DataParallel": lambda made: {"net": nn.DataParallel(made), "classes": list("abcde")},
    "settings beside the weights": lambda made: {
        "weights": made.state_dict(),
        "classes": list("abcde"),
        "s": Settings(),
    },
    "settings among the weights": lambda made: {
        "best": {"net": made.state_dict(), "class_to_idx": NAMES, "s": Settings(), 3: "x"}
    },
}


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("name", FILES)
def test_the_command_that_is_named_keeps_the_weights_and_the_names(name: str, old: bool, tmp_path: Path) -> None:
    made = network()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(FILES[name](made), tmp_path / "it's x.pth", _use_new_zipfile_serialization=not old)
    back = after_typing(tmp_path / "it's x.pth")
    assert back.classes == tuple("abcde")
    made.__dict__.pop("class_to_idx", None)
    assert same_logits(back, made, 32)


def test_classes_of_a_script_need_not_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = network()
    for home in ("__main__", "my_project.models"):
        kind = type("MyNet", (PlainVGG,), {"__module__": home})
        mine = kind("vgg11", classifier=made.classifier)
        mine.load_state_dict(made.state_dict())
        with monkeypatch.context() as patch:
            for name in ("my_project", home):
                patch.setitem(sys.modules, name, types.ModuleType(name))
            patch.setattr(sys.modules[home], "MyNet", kind, raising=False)
            torch.save(mine, tmp_path / "x.pt")
        assert f"{home}.MyNet" in refused(tmp_path / "x.pt")
        assert same_logits(after_typing(tmp_path / "x.pt"), made, 32)


def test_a_learner_around_a_network_gives_its_network(tmp_path: Path) -> None:
    made = network()
    torch.save(Learner(made), tmp_path / "export.pkl")
    assert same_logits(after_typing(tmp_path / "export.pkl"), made, 32)


def test_torchscript_gives_its_weights(tmp_path: Path) -> None:
    made = network()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(made, torch.rand(1, 3, 32, 32)).save(str(tmp_path / "x.pt"))
    assert same_logits(after_typing(tmp_path / "x.pt"), made, 32)


@pytest.mark.parametrize("whole", [False, True])
def test_what_pickle_dump_wrote_is_converted_by_pickle(whole: bool, tmp_path: Path) -> None:
    made = network()
    with open(tmp_path / "x.pkl", "wb") as file:
        pickle.dump(made if whole else dict(made.state_dict()), file)
    assert same_logits(after_typing(tmp_path / "x.pkl"), made, 32)


def test_a_model_of_scikit_learn_is_called_so(tmp_path: Path) -> None:
    with open(tmp_path / "x.pkl", "wb") as file:
        pickle.dump(LogisticRegression().fit([[0.0], [1.0]], [0, 1]), file)
    said = refused(tmp_path / "x.pkl")
    assert said.startswith("'x.pkl' is a scikit-learn model (sklearn.linear_model._logistic.LogisticRegression")
    assert "python -c" not in said


def test_the_command_says_where_to_type_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(network(), tmp_path / "x.pt")
    assert "go to its folder and run python" in refused(tmp_path / "x.pt")
    monkeypatch.chdir(tmp_path)
    assert "trust it, run python" in refused(Path("x.pt"))


class Calls:
    """Unpickling this makes a folder."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("owned",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_outline_names_all_that_a_pickle_would_make_and_makes_none_of_it(
    protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    one = Settings()
    value = {
        "a": Calls(),
        "b": [one, one, (1, 2.5, None, True, b"x")],
        "c": collections.OrderedDict(k={3}),
        "d": "text",
    }
    read = outline(pickle.dumps(value, protocol))
    assert read is not None
    assert list(read.entries()) == ["a", "b", "c", "d"]
    assert {f"{os.mkdir.__module__}.mkdir", f"{__name__}.Settings", "collections.OrderedDict"} <= read.names
    assert read.entries()["d"].value == "text"
    first, second, _ = read.entries()["b"].parts
    assert first is second
    assert "rate" in first.entries()
    assert not (tmp_path / "owned").exists()


def test_an_outline_of_what_is_no_pickle_is_none() -> None:
    whole = pickle.dumps({"a": Settings()}, 2)
    assert all(outline(whole[:end]) is None for end in range(len(whole)))
    assert outline(b"\x80\x02K\x01t.") is None  # a tuple without its beginning
    assert outline(b"\x80\x02h\x05.") is None  # nothing was kept under 5
