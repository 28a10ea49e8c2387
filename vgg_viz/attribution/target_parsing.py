"""What the words of a command line ask about: a class by its name, one against another, a unit."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vgg_viz.attribution.targets import WORDS, Against, Target
from vgg_viz.errors import InputRefused, UnknownName
from vgg_viz.records import Neuron

_UNIT = re.compile(r"([A-Za-z][A-Za-z0-9_]*):([0-9]{1,9})(?::([0-9]{1,9}),([0-9]{1,9}))?")


def parse_target(
    classes: Sequence[str], *, target: str | None = None, against: str | None = None, unit: str | None = None
) -> Target:
    """The target that `--target`, `--against` and `--unit` ask for; the predicted class when none of them came.

    classes  names in the order of the outputs; any text
    target   predicted, true, runner-up, a class name or its index
    against  the same: the class whose logit is subtracted
    unit     conv5_3:12 for a channel, conv5_3:12:3,4 for the unit in its row 3, column 4; without the other two
    raises   UnknownName with the nearest class; InputRefused for what cannot be read or asked together
    """
    if unit is not None:
        if target is not None or against is not None:
            raise InputRefused(
                f"unit {unit!r} came together with a class; a map is about one of them: leave out --unit or the class."
            )
        found = _UNIT.fullmatch(unit.strip())
        if found is None:
            raise InputRefused(
                f"unit {unit!r} cannot be read; write conv5_3:12 for a channel, or conv5_3:12:3,4 for row 3, column 4."
            )
        layer, channel, row, column = found.groups()
        return Neuron(layer, int(channel), None if row is None else int(row), None if column is None else int(column))
    first = "predicted" if target is None else parse_class(target, classes)
    if against is None:
        return first
    second = parse_class(against, classes)
    if first == second:
        raise InputRefused(
            f"target and --against are both {against!r}, and a class differs from itself nowhere; choose another."
        )
    return Against(first, second)


def is_unit(text: str, classes: Sequence[str]) -> bool:
    """Whether `text` is a unit such as conv5_3:12, and no class is called so."""
    return text not in classes and _UNIT.fullmatch(text.strip()) is not None


def parse_class(text: str, classes: Sequence[str]) -> str | int:
    """The class that `text` names: one of the words for all pictures, or an index.

    A word (predicted, true, runner-up) is taken first, then a name as it is spelt, then whatever its case, then a number; a
    class called like a word is reached by its index.
    raises  UnknownName with the nearest; InputRefused when several classes bear the name, or for an index beyond the last
    """
    if text in WORDS:
        return text
    for alike in (str, str.casefold):
        indices = [index for index, name in enumerate(classes) if alike(name) == alike(text)]
        if len(indices) > 1:
            known = ", ".join(map(str, indices[:8]))
            raise InputRefused(f"{len(indices)} classes are called {text!r}; say which by its index: {known}.")
        if indices:
            return indices[0]
    if text.isascii() and text.isdigit():
        if len(text) > 9 or int(text) >= len(classes):
            raise InputRefused(f"class {text[:12]} was asked for; the network knows classes 0 to {len(classes) - 1}.")
        return int(text)
    raise UnknownName("class", text, [*classes, *WORDS])
