"""What the front door is given, by the names of its keywords: of which kind each is, and the sentence where something else came."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real

from vgg_viz.errors import InputRefused, UnknownName
from vgg_viz.records import Checkpoint, Resize


@dataclass(frozen=True, slots=True)
class Kind:
    """What may come under a name.

    Attributes:
        expected: In words, for the sentence: "a whole number from 0".
        fits: Whether a value is of this kind.
    """

    expected: str
    fits: Callable[[object], bool]


def _whole(least: int, most: int = 2**63 - 1) -> Kind:
    # To Python, True is a whole number.
    return Kind(
        f"a whole number from {least}" + (f" to {most:,}" if most < 2**63 - 1 else ""),
        lambda value: type(value) is not bool and isinstance(value, Integral) and least <= int(value) <= most,
    )


def _number(value: object) -> bool:
    return type(value) is not bool and isinstance(value, Real) and math.isfinite(value)


def _sequence(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    """Of a list, a tuple, or an array of one axis, whether all entries fit; a text is no list of its letters."""

    def fitting(value: object) -> bool:
        if isinstance(value, str | bytes | Mapping) or not (isinstance(value, Sequence) or hasattr(value, "tolist")):
            return False
        entries = value if isinstance(value, Sequence) else value.tolist()
        return isinstance(entries, Sequence) and all(map(fits, entries))

    return fitting


def _text(value: object) -> bool:
    return isinstance(value, str)


TEXT = Kind("a text", _text)
TEXTS = Kind('a list of texts, such as ["cat", "dog"]', _sequence(_text))
# Whether they are finite and make a network is judged where one is built of them, and told there.
NUMBERS = Kind(
    "a list of numbers, one a channel, such as [0.5, 0.5, 0.5]",
    _sequence(lambda value: type(value) is not bool and isinstance(value, Real)),
)
ANY_WHOLE = Kind("a whole number", lambda value: type(value) is not bool and isinstance(value, Integral))
YES_OR_NO = Kind("True or False", lambda value: type(value) is bool)
# A checkpoint, a module and its state dict can stand where a file of them can.
NETWORK = Kind(
    "the path of a checkpoint, a checkpoint or a network",
    lambda value: (
        isinstance(value, str | os.PathLike | Checkpoint)
        or (callable(getattr(value, "state_dict", None)) and not isinstance(value, type))
    ),
)
PATH = Kind("a path", lambda value: isinstance(value, str | os.PathLike))
CLASS = Kind("a class by name or index", lambda value: _text(value) or _whole(0).fits(value))

KINDS: dict[str, Kind] = {
    **dict.fromkeys(("arch", "plan", "model", "key", "weights", "head", "outputs"), TEXT),
    **dict.fromkeys(("preset", "region", "class_name", "unit", "layer"), TEXT),
    **dict.fromkeys(("folder_classes", "methods"), TEXTS),
    "classes": Kind(
        TEXTS.expected,
        lambda value: TEXTS.fits(value) or (isinstance(value, Mapping) and all(map(_text, value.values()))),
    ),
    **dict.fromkeys(("mean", "std"), NUMBERS),
    **dict.fromkeys(("one_file", "keep_maps", "force", "dense"), YES_OR_NO),
    **dict.fromkeys(("source", "first", "second"), NETWORK),
    **dict.fromkeys(("data", "out", "run", "findings", "path"), PATH),
    "limit": _whole(1),
    "image_side": Kind(_whole(1).expected, lambda value: isinstance(value, Resize) or _whole(1).fits(value)),
    "resize": Kind('pixels, such as 256, or "squash"', lambda value: _text(value) or _whole(1).fits(value)),
    **dict.fromkeys(("image_size", "padding"), ANY_WHOLE),
    **dict.fromkeys(("target", "against"), CLASS),
    "seed": _whole(0),
    "budget": Kind("a number of seconds above 0", lambda value: _number(value) and value > 0),  # type: ignore[operator]
    "progress": Kind("a function", callable),
    "overrides": Kind('keywords of load, such as {"image_size": 64}', lambda value: isinstance(value, Mapping)),
}


def require_arguments(given: Mapping[str, object], *, optional: Sequence[str] = ()) -> None:
    """Raise InputRefused for the first value that is not of the kind that its name stands for.

    Args:
        given: Values by the names of their keywords; names that stand for no kind of their own are passed over.
        optional: Names under which None may come.
    """
    for name, value in given.items():
        kind = KINDS.get(name)
        if kind is not None and not (value is None and name in optional) and not kind.fits(value):
            raise InputRefused(f"{name} {shown(value)} came, where {kind.expected} is expected.")


def require_keywords(given: Mapping[str, object], known: Sequence[str]) -> None:
    """Raise UnknownName for the first keyword that nothing takes."""
    for name in given:
        if name not in known:
            raise UnknownName("keyword", name, known)


def shown(value: object) -> str:
    """A value in a sentence, short and on one line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:59]}…"
