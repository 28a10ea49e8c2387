"""The words of a section, kept beside its module: one TOML file a module and language, such as `activations.en.toml`.

A file holds a table for each exhibit (`title`, `see`, `read`, `cannot`, `alt`; where the author gives them also `fact`, one
sentence with this network's number, and where a page keeps it: `card` with `tab`, or `shelf`),
`[section.SLUG]` with `title` and `lead`,
and single sentences in tables of the author's choice. Every text is a Jinja template. What it needs is passed by name:

    TEXTS = Texts(__name__)
    text = TEXTS.exhibit("silence", pictures=5, layers=found)
    Exhibit("activations-silence", text.title, text.caption, text.alt, ...)
    Finding("warn", TEXTS.say("findings.dead", channels=12))

A name that a text uses and nobody passed is an error, never an empty place on the page; `tests/test_texts.py` compares the
names of every text with those of its call without running either. No value may be called `true`, `false` or `none`: to Jinja
these are constants. Nothing is escaped here: the page does that, for all text.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, Template, UndefinedError

from vgg_viz.number_text import chosen, counted, listed, percent, rows_of, value_text
from vgg_viz.records import Caption

PARTS, CHOICES = ("title", "see", "read", "cannot", "alt"), ("fact", "tab", "card", "shelf")  # of an exhibit
ORIGINAL = "en"  # the language that every module has; where another lacks a text, this one stands
_LANGUAGE: ContextVar[str] = ContextVar("language", default=ORIGINAL)
_ENVIRONMENT = Environment(undefined=StrictUndefined, autoescape=False)  # the page escapes every text
_ENVIRONMENT.filters.update(counted=counted, listed=listed, percent=percent, rows_of=rows_of, fmt=format)
_ENVIRONMENT.filters.update(value=value_text, chosen=chosen)


@dataclass(frozen=True, slots=True)
class ExhibitText:
    """The words around one figure."""

    title: str
    caption: Caption
    alt: str


class Texts:
    """The texts of one module, in the language of the moment.

    Args:
        module: Name of the module whose words these are, as `__name__` gives it.
    """

    def __init__(self, module: str) -> None:
        self.module = module

    def exhibit(self, key: str, /, **values: Any) -> ExhibitText:
        """The words around the figure `key`, with these values in their places.

        Raises:
            KeyError: The file has no such table, or the table lacks one of its five texts.
            jinja2.UndefinedError: A text uses a value that was not passed.
        """
        title, see, read, cannot, alt = (self.say(f"{key}.{part}", **values) for part in PARTS)
        given = templates_of(self.module, ORIGINAL)
        choices = {part: self.say(f"{key}.{part}", **values) for part in CHOICES if f"{key}.{part}" in given}
        return ExhibitText(title, Caption(see=see, read=read, cannot=cannot, **choices), alt)

    def say(self, key: str, /, **values: Any) -> str:
        """One text, by its dotted key such as "findings.dead". Raises as `exhibit` does."""
        language = _LANGUAGE.get()
        found = templates_of(self.module, language)
        if key not in found and language != ORIGINAL:
            found = templates_of(self.module, ORIGINAL)
        if key not in found:
            raise KeyError(f"{self.module} has no text {key!r} in {ORIGINAL}")
        try:
            return found[key].render(values)
        except UndefinedError as error:
            raise UndefinedError(f"{key} in the texts of {self.module}: {error}") from None


@contextmanager
def language(code: str) -> Iterator[None]:
    """Texts in another language within this block, such as "fr"; where a module has no file of it, the original stands."""
    token = _LANGUAGE.set(code)
    try:
        yield
    finally:
        _LANGUAGE.reset(token)


@cache
def sources_of(module: str, code: str) -> Mapping[str, str]:
    """All texts of a module as its author wrote them, by dotted key; none where it has no file of this language."""
    file = Path(import_module(module).__file__ or "").with_suffix(f".{code}.toml")
    if not file.is_file():
        return {}
    return dict(_flattened(tomllib.loads(file.read_text(encoding="utf-8"))))


@cache
def templates_of(module: str, code: str) -> Mapping[str, Template]:
    """The same, compiled; a line break in the file, with the spaces around it, is one space."""
    return {
        key: _ENVIRONMENT.from_string(re.sub(r"\s*\n\s*", " ", text).strip())
        for key, text in sources_of(module, code).items()
    }


def _flattened(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flattened(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value
