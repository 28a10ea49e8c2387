"""Registries: complete and in one order, whoever looks first and whatever was imported before."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import count
from pathlib import Path

import pytest

from vgg_viz.errors import UnknownName, VggVizError
from vgg_viz.registry import Registry

NUMBERS = count()
LOOKS: dict[str, Callable[[Registry[str]], object]] = {
    "in": lambda things: "first" in things,
    "[]": lambda things: things["first"],
    "len": len,
    "iteration": list,
    "items": Registry.items,
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Write a package whose `registry` module is filled by the others; returns its name."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made: list[str] = []

    def write(options: str = "", **modules: str) -> str:
        name = f"room_of_a_test_{next(NUMBERS)}"
        made.append(name)
        (tmp_path / name).mkdir()
        top = f"from vgg_viz.registry import Registry\nTHINGS = Registry('thing', fill='{name}'{options})\n"
        for file, text in {"__init__": "", "registry": top, **modules}.items():
            (tmp_path / name / f"{file}.py").write_text(text.replace("ROOM", name), encoding="utf-8")
        return name

    yield write
    for module in [module for module in sys.modules if module.split(".")[0] in made]:
        del sys.modules[module]


def adds(*names: str, first: str = "", then: str = "") -> str:
    """The text of a module that adds things."""
    lines = [
        first,
        "from ROOM.registry import THINGS",
        *(f"THINGS.add('{name}', '{name}', by=__name__)" for name in names),
        then,
    ]
    return "\n".join(lines)


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_every_first_look_sees_all_that_there_is(
    package: Callable[..., str], look: Callable[[Registry[str]], object]
) -> None:
    room = package(b=adds("first"), c=adds("second"))
    things: Registry[str] = import_module(f"{room}.registry").THINGS
    assert look(things) in (True, "first", 2, ["first", "second"], [("first", "first"), ("second", "second")])


@pytest.mark.parametrize("before", ["a", "b", "c", "deep"])
def test_the_order_is_that_of_module_names_whatever_was_imported_first(
    package: Callable[..., str], before: str
) -> None:
    room = package(a=adds("1", "0"), b=adds("2", first="import ROOM.deep"), c=adds("3"), deep=adds("4"))
    import_module(f"{room}.{before}")
    assert list(import_module(f"{room}.registry").THINGS) == ["1", "0", "2", "3", "4"]


def test_some_modules_stand_before_and_some_behind_all_others(package: Callable[..., str]) -> None:
    room = package(", first=('c', 'b'), last=('a',)", a=adds("4"), b=adds("2"), c=adds("1"), d=adds("3"))
    things: Registry[str] = import_module(f"{room}.registry").THINGS
    things.add("elsewhere", "here", by="notebook")
    assert list(things) == ["1", "2", "3", "elsewhere", "4"]


@pytest.mark.parametrize("at", ["registry", "a", "z", "__init__"])
def test_a_look_while_one_of_its_own_modules_is_imported_is_refused(package: Callable[..., str], at: str) -> None:
    """Such a look would freeze what an import happened to see; it depends on the order of imports."""
    text = "import ROOM.registry\nlen(ROOM.registry.THINGS)\n"
    own = {"registry": "from vgg_viz.registry import Registry\nTHINGS = Registry('thing', fill='ROOM')\nlen(THINGS)\n"}
    room = package(**(own if at == "registry" else {at: text}), m=adds("one"))
    with pytest.raises(VggVizError, match="while it is being imported"):
        import_module(f"{room}.{at}" if at != "__init__" else room)


def test_two_threads_that_look_at_once_both_see_all(package: Callable[..., str]) -> None:
    room = package(a=adds("1", first="import time; time.sleep(.05)"), b=adds("2", first="import time; time.sleep(.05)"))
    things: Registry[str] = import_module(f"{room}.registry").THINGS
    seen: list[list[str]] = []
    threads = [threading.Thread(target=lambda: seen.append(list(things))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [["1", "2"]] * 4


def test_a_module_that_cannot_be_imported_is_heard_of_at_every_look(package: Callable[..., str]) -> None:
    room = package(a="raise OSError('no such disk')")
    things: Registry[str] = import_module(f"{room}.registry").THINGS
    for _ in range(2):
        with pytest.raises(OSError, match="no such disk"):
            len(things)


def test_what_a_test_adds_goes_with_its_block_and_what_it_replaces_comes_back(package: Callable[..., str]) -> None:
    things: Registry[str] = import_module(f"{package(a=adds('1', '2'))}.registry").THINGS
    with things.temporarily({"1": "one", "3": "three"}):
        things.add("4", "four")
        assert things.items() == [("1", "one"), ("2", "2"), ("3", "three"), ("4", "four")]
    assert things.items() == [("1", "1"), ("2", "2")]
    with things.temporarily({"3": "three"}, alone=True):
        assert list(things) == ["3"]
    with things.temporarily():
        things.add("4", "four")
    assert list(things) == ["1", "2"]


def test_a_name_is_given_once_and_a_refusal_names_both_files_or_the_nearest_name() -> None:
    things: Registry[str] = Registry("thing")
    things.add("needle", "a", by="haystack")
    with pytest.raises(VggVizError, match="'needle' is registered twice, by haystack and barn"):
        things.add("needle", "b", by="barn")
    with pytest.raises(UnknownName, match="needle"):
        things["needel"]
