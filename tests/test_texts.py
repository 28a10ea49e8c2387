"""Words beside the sections: every text finds its values, every value its text, and a second language is a second file."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jinja2
import pytest
from jinja2 import meta

import vgg_viz
from vgg_viz.gallery import texts
from vgg_viz.gallery.sections import KINDS, sections_of
from vgg_viz.gallery.texts import CHOICES, PARTS, Texts, language, sources_of

ROOT = Path(vgg_viz.__file__).parent
FILES = sorted(ROOT.rglob("*.en.toml"))


@dataclass(frozen=True)
class Call:
    """One use of a text in a module: its keys, those it may have besides, and the names of the values passed."""

    line: int
    keys: tuple[str, ...]
    choices: tuple[str, ...]
    values: frozenset[str]


def module_of(file: Path) -> str:
    return ".".join(("vgg_viz", *file.relative_to(ROOT).parts))[: -len(".en.toml")]


def calls_in(module: str) -> Iterator[Call]:
    """`TEXTS.exhibit("key", name=...)` and `TEXTS.say("key", name=...)`; a key or values that only running would show are refused."""
    source = Path(importlib.import_module(module).__file__ or "").read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        if not (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("exhibit", "say")
        ):
            continue
        if not (isinstance(node.func.value, ast.Name) and node.func.value.id == "TEXTS"):
            continue
        assert len(node.args) == 1, f"{module}:{node.lineno}: one key, and values by name"
        key = node.args[0]
        assert isinstance(key, ast.Constant), f"{module}:{node.lineno}: write the key out"
        assert all(value.arg for value in node.keywords), (
            f"{module}:{node.lineno}: pass each value by its name, not **values"
        )
        exhibit = node.func.attr == "exhibit"
        keys = tuple(f"{key.value}.{part}" for part in PARTS) if exhibit else (str(key.value),)
        choices = tuple(f"{key.value}.{part}" for part in CHOICES if exhibit)
        yield Call(node.lineno, keys, choices, frozenset(str(value.arg) for value in node.keywords))


def names_in(text: str) -> set[str]:
    return meta.find_undeclared_variables(texts._ENVIRONMENT.parse(text))


@pytest.mark.parametrize("module", [module_of(file) for file in FILES])
def test_every_text_has_its_values_and_every_value_its_text(module: str) -> None:
    sources = sources_of(module, "en")
    used = {key for key in sources if key.startswith("section.")}
    for call in calls_in(module):
        missing = [key for key in call.keys if key not in sources]
        assert not missing, f"{module}:{call.line}: no text {missing}"
        chosen = [key for key in call.choices if key in sources]
        wanted = set().union(*(names_in(sources[key]) for key in (*call.keys, *chosen)))
        assert wanted == call.values, (
            f"{module}:{call.line} passes {sorted(call.values)}, its texts use {sorted(wanted)}"
        )
        used.update(call.keys, chosen)
    assert not set(sources) - used, f"{module}: texts that nothing shows: {sorted(set(sources) - used)}"


@pytest.mark.parametrize("file", sorted(ROOT.rglob("*.toml")), ids=lambda file: file.name)
def test_every_file_of_texts_belongs_to_a_module_and_compiles(file: Path) -> None:
    stem, code, _ = file.name.rsplit(".", 2)
    assert (file.parent / f"{stem}.py").is_file()
    assert re.fullmatch("[a-z]{2}(-[A-Z]{2})?", code)
    module = ".".join(("vgg_viz", *file.parent.relative_to(ROOT).parts, stem))
    assert texts.templates_of(module, code)
    assert set(sources_of(module, code)) <= set(sources_of(module, "en")), "a text that the original lacks"


def test_every_section_has_a_title_and_a_lead() -> None:
    for kind in KINDS:
        for section in sections_of(kind):
            assert section.title
            assert section.lead


@pytest.fixture
def module_with_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "worded").mkdir()
    (tmp_path / "worded" / "__init__.py").write_text("")
    (tmp_path / "worded" / "page.py").write_text("")
    (tmp_path / "worded" / "page.en.toml").write_text(
        '[wall]\ntitle = "{{ count | counted(\'map\') }}"\nsee = """\nOne\n  two {{ name }}."""\n'
        'read = "{{ share | percent }} of {{ name }}"\ncannot = "{{ share | fmt(\'.3f\') }}"\nalt = "Wall"\n'
        '[end]\nfull = "Full stop."\n'
    )
    (tmp_path / "worded" / "page.fr.toml").write_text('[wall]\nsee = "Un, deux {{ name }}."\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    sources_of.cache_clear()
    texts.templates_of.cache_clear()
    yield "worded.page"
    sources_of.cache_clear()
    texts.templates_of.cache_clear()


def test_a_text_with_its_values(module_with_texts: str) -> None:
    wall = Texts(module_with_texts).exhibit("wall", count=2, name="<b>\n", share=0.5)
    assert (wall.title, wall.alt) == ("2 maps", "Wall")
    assert wall.caption.see == "One two <b>\n."  # a line break of the author is a space, one in a value stays
    assert (wall.caption.read, wall.caption.cannot) == ("50 % of <b>\n", "0.500")


def test_a_missing_value_is_an_error_and_so_is_a_missing_text(module_with_texts: str) -> None:
    with pytest.raises(jinja2.UndefinedError, match=r"wall\.see in the texts of worded\.page: 'name' is undefined"):
        Texts(module_with_texts).exhibit("wall", count=2, share=0.5)
    with pytest.raises(KeyError, match=r"wall\.nothing"):
        Texts(module_with_texts).say("wall.nothing")


def test_a_second_language_is_a_second_file(module_with_texts: str) -> None:
    with language("fr"):
        wall = Texts(module_with_texts).exhibit("wall", count=1, name="noms", share=1.0)
        assert wall.caption.see == "Un, deux noms."
        assert wall.title == "1 map"  # not translated yet: the original stands
    assert Texts(module_with_texts).say("end.full") == "Full stop."
