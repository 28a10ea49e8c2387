"""Names of the classes in the order of the network's outputs: from a list, a numbered mapping, or a file of either."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from vgg_viz.errors import CheckpointRefused, InputRefused

SHOWN = 60  # letters of a name in a sentence
MOST_BYTES = 16_000_000  # of a file of names; ImageNet-22k needs half a million


def in_order(value: object, *, of: str) -> tuple[str, ...]:
    """The names in the order of the outputs.

    Args:
        value: A list of names; {0: "cat", 1: "dog"} (the numbers may be text); {"cat": 0, "dog": 1}.
        of: What holds them, for the sentence.

    Raises:
        CheckpointRefused: When the numbers are not 0 to K - 1, each once, or when it is no such thing.
    """
    if isinstance(value, list | tuple):
        if all(isinstance(name, str | int | float) for name in value):
            return tuple(str(name) for name in value)
        raise CheckpointRefused(f"{of} is a list, but not of names; give one name a class, in the order of training.")
    if not isinstance(value, Mapping):
        raise CheckpointRefused(
            f'{of} is of type {type(value).__name__}; a list of names, {{"0": name}} or {{name: 0}} was expected.'
        )
    by_key = [(_number(key), name) for key, name in value.items()]
    by_value = [(_number(number), name) for name, number in value.items()]
    numbered = [pairs for pairs in (by_key, by_value) if all(number is not None for number, _ in pairs)]
    if not numbered:
        raise CheckpointRefused(
            f'{of} numbers its classes neither by its keys nor by its values; {{"0": name}} or {{name: 0}} was expected.'
        )
    if len(numbered) == 2 and _sorted(by_key) != _sorted(by_value):
        if all(isinstance(key, int) for key in value) == all(isinstance(name, int) for name in value.values()):
            raise CheckpointRefused(
                f"{of} holds numbers on both sides, so that names and positions cannot be told apart; give a list instead."
            )
        # The side that holds real numbers counts; the other one holds names such as "7".
        numbered = [by_key if all(isinstance(key, int) for key in value) else by_value]
    return _contiguous(numbered[0], of)


def from_file(path: Path) -> tuple[str, ...]:
    """The names in a text file (one a line) or a JSON file (see `in_order`).

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
        return in_order(value, of=quoted)
    return tuple(line.strip() for line in text.splitlines() if line.strip())


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


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON lets a key stand twice; a class that does would lose one of its numbers without a word."""
    unique = dict(pairs)
    if len(unique) != len(pairs):
        twice = next(key for i, (key, _) in enumerate(pairs) if key in {before for before, _ in pairs[:i]})
        raise CheckpointRefused(f"the class names hold {_short(twice)} twice; each class has one number.")
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
    return [str(name) for _, name in sorted(pairs, key=lambda pair: pair[0] or 0)]


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


def _short(text: str) -> str:
    return repr(text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}...")


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
