"""Names of the classes in the order of the network's outputs: from a list, a numbered mapping, or a file of either."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from vgg_viz.errors import CheckpointRefused, InputRefused
from vgg_viz.safe_text import short_name, visible

MOST_BYTES = 16_000_000  # of a file of names; ImageNet-22k needs half a million
# ImageNet has two cranes and two maillots, and many lists call both of a pair by one name.
IMAGENET_TWINS = ((134, 517), (638, 639))
Side = Literal["keys", "values"]


def in_order(value: object, *, of: str, numbers: Side | None = None) -> tuple[str, ...]:
    """The names in the order of the outputs.

    Args:
        value: A list of names; {0: "cat", 1: "dog"} (the numbers may be text); {"cat": 0, "dog": 1}.
        of: What holds them, for the sentence.
        numbers: On which side of a mapping the numbers are where both sides look like numbers, as in {"10": "1"}.

    Raises:
        CheckpointRefused: When the numbers are not 0 to K - 1, each once, a class has no name or that of another, or when it is
            no such thing.
    """
    if isinstance(value, list | tuple):
        if all(isinstance(name, str | int | float) for name in value):
            return require_distinct(tuple(str(name) for name in value), of)
        raise CheckpointRefused(f"{of} is a list, but not of names; give one name a class, in the order of training.")
    if not isinstance(value, Mapping):
        raise CheckpointRefused(
            f'{of} is of type {type(value).__name__}; a list of names, {{"0": name}} or {{name: 0}} was expected.'
        )
    sides: dict[Side, list[tuple[int | None, Any]]] = {
        "keys": [(_number(key), name) for key, name in value.items()],
        "values": [(_number(number), name) for name, number in value.items()],
    }
    numbered = {side: pairs for side, pairs in sides.items() if all(number is not None for number, _ in pairs)}
    if not numbered:
        raise CheckpointRefused(
            f'{of} numbers its classes neither by its keys nor by its values; {{"0": name}} or {{name: 0}} was expected.'
        )
    side = next(iter(numbered))
    if len(numbered) == 2 and _sorted(sides["keys"]) != _sorted(sides["values"]):
        if (chosen := numbers or _side_of_numbers(value, sides)) is None:
            raise CheckpointRefused(
                f"{of} holds numbers on both sides, so that names and positions cannot be told apart; give a list instead."
            )
        side = chosen
    return require_distinct(_contiguous(sides[side], of), of)


def _side_of_numbers(value: Mapping[Any, Any], sides: Mapping[Side, list[tuple[int | None, Any]]]) -> Side | None:
    """Where both sides could be numbers, which are: the side of real numbers, else the one that runs from 0 to K - 1."""
    real: dict[Side, bool] = {
        "keys": all(isinstance(key, int) for key in value),
        "values": all(isinstance(name, int) for name in value.values()),
    }
    whole: dict[Side, bool] = {
        side: sorted(number or 0 for number, _ in pairs) == list(range(len(pairs))) for side, pairs in sides.items()
    }
    for test in (real, whole):
        if test["keys"] != test["values"]:
            return "keys" if test["keys"] else "values"
    return None


def require_distinct(names: tuple[str, ...], of: str) -> tuple[str, ...]:
    """The names, if each class has one that can be seen and that no other class has; raises CheckpointRefused with the outputs.

    Only a list of 1,000 may name the twins of ImageNet alike.
    """
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        seen = visible(name)
        if not seen:
            raise CheckpointRefused(
                f"{of} has no name for output {index} that can be seen ({short_name(name)!r}); give every class a name, "
                "in the order of training."
            )
        before = first.setdefault(seen, index)
        if before != index and not (len(names) == 1000 and (before, index) in IMAGENET_TWINS):
            raise CheckpointRefused(
                f"{of} calls the outputs {before} and {index} by one name ({short_name(name)!r}); give each class a name of its own, "
                "in the order of training."
            )
    return names


def from_file(path: Path) -> tuple[str, ...]:
    """The names in a text file (one a line) or a JSON file (see `in_order`).

    Raises:
        CheckpointRefused: Naming the file, never its folder.
    """
    return _names(read_file(path), repr(path.name))


def read_file(path: Path) -> Sequence[str] | Mapping[str, Any]:
    """What a file of names holds: the lines of a text, or a JSON list or mapping; in no order yet.

    Raises:
        CheckpointRefused: Naming the file, never its folder.
    """
    quoted = repr(path.name)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise CheckpointRefused(
                f"{quoted} has {path.stat().st_size:,} bytes, too many for class names; give one name a line."
            )
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        # The system's own sentence would hold the whole path, and the decoder's the bytes.
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise CheckpointRefused(
            f"the class names in {quoted} cannot be read ({why}); give a text file, one name a line."
        ) from None
    if text.lstrip()[:1] in ("[", "{"):
        kind = "list" if text.lstrip()[0] == "[" else "mapping"
        try:
            value: Any = json.loads(text, object_pairs_hook=_unique)
        except (ValueError, RecursionError):
            raise CheckpointRefused(
                f"{quoted} begins like a JSON {kind} but is none; give one name a line instead."
            ) from None
        if isinstance(value, Mapping):
            # Files such as {"classes": [...], "version": 2} hold the names one step further in.
            value = next((value[key] for key in KEYS if isinstance(value.get(key), list | Mapping)), value)
        return value if isinstance(value, Mapping) else in_order(value, of=quoted)
    # Only line feeds part names: a name that holds another separator stays one, and is told as it is.
    return require_distinct(tuple(line.strip() for line in text.rstrip().split("\n")) if text.strip() else (), quoted)


def of_user(given: Sequence[str] | Mapping[str, Any], own: Sequence[str]) -> tuple[str, ...]:
    """The names that a user gives, in the order of the outputs.

    Args:
        given: In that order, or as `in_order` takes them; or {"21": "fire lily"}: names for the file's own names.
        own: What the file itself calls its classes; () where it says nothing.

    Raises:
        CheckpointRefused: Out of order, alike or empty.
    """
    if own and isinstance(given, Mapping) and all(isinstance(given.get(name), str) for name in own):
        # Before any order of their own: the folders "1", "10", "2" stand in the order of text, not of numbers.
        return require_distinct(tuple(given[name] for name in own), GIVEN)
    return _names(given, GIVEN)


GIVEN = "the list of class names"


def _names(given: Sequence[str] | Mapping[str, Any], of: str) -> tuple[str, ...]:
    return in_order(given, of=of) if isinstance(given, Mapping) else require_distinct(tuple(map(str, given)), of)


KEYS = (
    "class_to_idx",
    "idx_to_class",
    "class_names",
    "classes",
    "label_names",
    "labels",
    "categories",
    "id2label",
    "label2id",
    "idx2label",
    "label2idx",
    "names",
    "target_names",
)
SIDES: Mapping[str, Side] = {  # what these names say of the numbers in them
    **dict.fromkeys(("class_to_idx", "label2id", "label2idx"), "values"),
    **dict.fromkeys(("idx_to_class", "id2label", "idx2label"), "keys"),
}


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON lets a key stand twice; a class that does would lose one of its numbers without a word."""
    unique = dict(pairs)
    if len(unique) != len(pairs):
        twice = next(key for i, (key, _) in enumerate(pairs) if key in {before for before, _ in pairs[:i]})
        raise CheckpointRefused(f"the class names hold {short_name(twice)!r} twice; each class has one number.")
    return unique


def _number(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    return None


def _sorted(pairs: list[tuple[int | None, Any]]) -> list[str]:
    return [_text(name) for _, name in sorted(pairs, key=lambda pair: pair[0] or 0)]


def _text(name: object) -> str:
    """A name as text; of ["n01440764", "tench"], as Keras lists ImageNet, the second."""
    pair = isinstance(name, list | tuple) and len(name) == 2 and all(isinstance(part, str) for part in name)
    return str(name[1] if pair and isinstance(name, list | tuple) else name)


def _contiguous(pairs: list[tuple[int | None, Any]], of: str) -> tuple[str, ...]:
    numbers = sorted(number for number, _ in pairs if number is not None)
    wanted = list(range(len(pairs)))
    if numbers != wanted:
        twice = next((one for one, after in pairwise(numbers) if one == after), None)
        missing = next((one for one in wanted if one not in set(numbers)), None)
        fault = f"number {twice} stands twice" if twice is not None else f"number {missing} is missing"
        if numbers == [one + 1 for one in wanted]:
            fault = "they start at 1"
        raise CheckpointRefused(
            f"the classes of {of} must be numbered 0 to {len(pairs) - 1}, each once, but {fault}; number them in the order of training."
        )
    return tuple(_sorted(pairs))


def expected(names: tuple[str, ...], count: int) -> tuple[str, ...]:
    """`names`, if there are `count` of them; raises CheckpointRefused with both numbers."""
    if len(names) != count:
        raise CheckpointRefused(
            f"{len(names)} class names came for a network with {count} classes{last_layer_kept(len(names), count)}; "
            "give one name a line, in the order of training."
        )
    return names


def last_layer_kept(said: int, count: int) -> str:
    """What usually happened where a network has more outputs than classes were meant: a question with its reason, or "".

    Args:
        said: Classes that somebody named.
        count: Outputs of the network.
    """
    if said >= count:
        return ""
    return (
        f" (was its last layer replaced? In PyTorch `out_features = {said}` changes no weights: put a new nn.Linear in its place "
        "and train it)"
    )


def numbered(count: int) -> tuple[str, ...]:
    """What classes are called that nobody has named; `Checkpoint.named` is False then."""
    return tuple(f"class {index}" for index in range(count))


def imagenet() -> tuple[str, ...]:
    """The 1,000 names of ImageNet-1k in torchvision's order; raises InputRefused when torchvision does not carry them."""
    from torchvision.models import VGG16_Weights

    names = VGG16_Weights.IMAGENET1K_V1.meta.get("categories")
    if not names:
        raise InputRefused("this torchvision does not carry the names of ImageNet; give them with --classes FILE.")
    return tuple(str(name) for name in names)
