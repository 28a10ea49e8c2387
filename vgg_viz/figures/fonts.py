"""Which letters figures can draw: matplotlib's own font first, then what the system has for other scripts; else a class's number."""

from __future__ import annotations

import functools
import logging
import unicodedata
from collections.abc import Sequence
from typing import Final

from matplotlib import ft2font
from matplotlib.font_manager import FontEntry, findfont, findSystemFonts, fontManager, get_font

from vgg_viz.safe_text import LONGEST_NAME, short_name, shorten, visible

FONT: Final = "DejaVu Sans"  # comes with matplotlib: the same letters on every machine
MOST_NAMED = 5  # classes in the sentence about names that no font has
_LOGOGRAMS = (
    *(
        "CJK SC",
        "CJK",
        "Han Sans",
        "Sans SC",
        "Sans TC",
        "Sans JP",
        "YaHei",
        "JhengHei",
        "PingFang",
        "Hiragino",
        "Heiti",
        "SimHei",
    ),
    *(
        "WenQuanYi",
        "Droid Sans Fallback",
        "Yu Gothic",
        "Meiryo",
        "MS Gothic",
        "IPAGothic",
        "Takao",
        "VL Gothic",
        "SimSun",
        "Ming",
    ),
)
_INDIC = ("Nirmala", "Lohit", "Kohinoor")
_EVERYTHING = ("Arial Unicode", "FreeSans", "FreeSerif", "Unifont")
# A few letters of a script, and what the names of fonts for it hold, the better ones first. DejaVu Sans itself has Latin, Greek,
# Cyrillic, Arabic, Hebrew, Armenian and Georgian.
_SCRIPTS: Final = (
    ("猫鳥车", _LOGOGRAMS),
    ("ネコいぬ", _LOGOGRAMS),
    ("고양이", ("CJK", "Sans KR", "Nanum", "Malgun", "SD Gothic", "AppleGothic", "Gulim", "Dotum", "Baekmuk")),
    ("قطة", ("Arabic", "Naskh", "Amiri", "Geeza")),
    ("חתול", ("Hebrew",)),
    ("बिल्ली", ("Devanagari", "Mangal", "Gargi", *_INDIC)),
    ("বিড়াল", ("Bengali", "Vrinda", *_INDIC)),
    ("ਬਿੱਲੀ", ("Gurmukhi", "Raavi", *_INDIC)),
    ("બિલાડી", ("Gujarati", "Shruti", *_INDIC)),
    ("பூனை", ("Tamil", "Latha", *_INDIC)),
    ("పిల్లి", ("Telugu", "Gautami", *_INDIC)),
    ("ಬೆಕ್ಕು", ("Kannada", "Tunga", *_INDIC)),
    ("പൂച്ച", ("Malayalam", "Kartika", *_INDIC)),
    ("පූසා", ("Sinhala", "Iskoola", *_INDIC)),
    ("แมว", ("Thai", "Leelawadee", "Thonburi", "Tahoma", "Loma")),
    ("ແມວ", ("Lao", "Leelawadee")),
    ("ឆ្មា", ("Khmer", "Leelawadee")),
    ("ကြောင်", ("Myanmar",)),
    ("ድመት", ("Ethiopic", "Nyala", "Ebrima", "Kefa", "Abyssinica")),
    ("კატა", ("Georgian",)),
    ("կատու", ("Armenian",)),
)
# matplotlib 3.11 joins and turns letters as their script asks (libraqm); before, it set them one by one from the left.
_SHAPES: Final = hasattr(ft2font, "__libraqm_version__")
_COMPLEX: Final = range(
    0x0900, 0x10A0
)  # the scripts of India and South-East Asia: marks around and before their letters


@functools.cache
def families() -> tuple[str, ...]:
    """The fonts that figures are drawn with, in the order in which a letter is looked for; the system's are looked up once."""
    chosen = [FONT]
    for letters, words in _SCRIPTS:
        if not _covered(letters, chosen) and (name := _family_for(letters, words)):
            chosen.append(name)
    logging.getLogger("matplotlib.font_manager").addFilter(_without_missing_weights)
    return tuple(chosen)


def _without_missing_weights(record: logging.LogRecord) -> bool:
    """False for the line that a font has no bold letters: its plain ones are drawn, and stderr is for what a reader can mend."""
    told = record.args  # the weight that was asked for, the family, the weight that is drawn
    return not (isinstance(told, tuple) and len(told) == 3 and told[1] in families()[1:])


def _family_for(letters: str, words: Sequence[str]) -> str | None:
    for fresh in (False, True):
        names = sorted({entry.name for entry in (_unlisted() if fresh else fontManager.ttflist)})
        for word in (*words, *_EVERYTHING):
            for name in names:
                if word.casefold() in name.casefold() and _covered(letters, [name]):
                    return name
    return None


@functools.cache
def _unlisted() -> list[FontEntry]:
    """Fonts that were installed since matplotlib made its list, which it keeps for years; they are on it afterwards."""
    known = {entry.fname for entry in fontManager.ttflist}
    before = len(fontManager.ttflist)
    for path in findSystemFonts():
        if path not in known:
            try:
                fontManager.addfont(path)
            except (OSError, RuntimeError, ValueError):  # no font, or none that FreeType reads
                continue
    return fontManager.ttflist[before:]


def _covered(letters: str, names: Sequence[str]) -> bool:
    return all(any(ord(letter) in _letters_of(name) for name in names) for letter in letters)


@functools.cache
def _letters_of(family: str) -> frozenset[int]:
    try:
        return frozenset(get_font(findfont(family, fallback_to_default=False)).get_charmap())
    except (OSError, RuntimeError, ValueError):
        return frozenset()


@functools.cache
def can_draw(letter: str) -> bool:
    """Whether one of the fonts has a letter, and whether it stands there as its script asks."""
    if ord(letter) in _letters_of(FONT) and ord(letter) < 0x590:
        return True
    if not _SHAPES and _turned(letter):
        return False
    return any(ord(letter) in _letters_of(name) for name in families())


def _turned(letter: str) -> bool:
    """Whether a letter runs from the right, or changes its form or place by its neighbours."""
    return unicodedata.bidirectional(letter) in ("R", "AL") or ord(letter) in _COMPLEX


def drawable(text: str) -> bool:
    """Whether all letters, marks and digits of a text can be drawn, and some of it; signs such as emoji may be missing."""
    seen = visible(text)
    letters = [letter for letter in seen if unicodedata.category(letter)[0] in "LMN"]
    return all(map(can_draw, letters)) and any(can_draw(letter) for letter in seen)


@functools.lru_cache(maxsize=32)  # sections ask for one name at a time
def readable_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Class names as pages and figures show them: by number where no font has their letters, and with an ellipsis where they are long.

    What an ellipsis makes alike is told apart by its number.
    """
    undrawn = set(undrawable(names))
    shown = [f"class {i}" if i in undrawn else shorten(name) for i, name in enumerate(names)]
    meant: dict[str, set[str]] = {}
    for name, short in zip(names, shown, strict=True):
        meant.setdefault(short, set()).add(name)
    return tuple(
        f"{shorten(short, LONGEST_NAME - 10)} ({i})" if len(meant[short]) > 1 else short
        for i, short in enumerate(shown)
    )


def undrawable(names: Sequence[str]) -> list[int]:
    """Which names cannot be drawn here; one without anything to see is not among them."""
    return [i for i, name in enumerate(names) if visible(name) and not drawable(name)]


def names_warning(names: Sequence[str]) -> str:
    """The sentence that says which classes `readable_names` calls by number, and why; "" where it is none."""
    numbers = undrawable(names)
    if not numbers:
        return ""
    told = ", ".join(f"class {i} is {short_name(names[i])!r}" for i in numbers[:MOST_NAMED])
    more = f", and {len(numbers) - MOST_NAMED:,} more" if len(numbers) > MOST_NAMED else ""
    many = "one class name" if len(numbers) == 1 else f"{len(numbers):,} class names"
    unset = not _SHAPES and all(any(_turned(letter) for letter in names[i]) for i in numbers)
    why, advice = (
        (f"This version of matplotlib cannot set the letters of {many}", "Get matplotlib 3.11 or later")
        if unset
        else (f"No font on this machine has the letters of {many}", "Install a font for them, such as Noto Sans")
    )
    return f"{why}, so page and figures call by number: {told}{more}. {advice}, and make the page again."
