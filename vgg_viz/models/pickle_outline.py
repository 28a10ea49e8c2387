"""A pickle read as an outline: which objects of which classes it would make, under which keys; none of them is made."""

from __future__ import annotations

import io
import pickletools
from collections.abc import Iterator
from dataclasses import dataclass, field

from torch._utils import IMPORT_MAPPING, NAME_MAPPING

TORCH_MAGIC = (
    0x1950A86A20F9469CFC6C  # with which torch.save began its older files: then version, system, and the object
)
MOST_WORDS = 5_000_000


@dataclass(eq=False, slots=True)
class Outline:
    """Something that a pickle would make.

    Attributes:
        name: The class or function that makes it, dotted; "" for plain values and containers.
        value: Of a plain value.
        items: Keys and values of a dict, or of a class of dicts.
        parts: Members of a list or tuple, what a class is called with, and the state that is set.
    """

    name: str = ""
    value: object = None
    items: list[tuple[Outline, Outline]] = field(default_factory=list)
    parts: list[Outline] = field(default_factory=list)

    def entries(self) -> dict[str, Outline]:
        """What lies under keys that are texts: of a dict, or among an object's attributes."""
        own = [*self.items, *(pair for part in self.parts for pair in part.items if self.name)]
        return {key.value: value for key, value in own if isinstance(key.value, str)}

    def everything(self) -> Iterator[Outline]:
        """Itself and all that it is made of, each once."""
        waiting, seen = [self], set()
        while waiting:
            one = waiting.pop()
            if id(one) in seen:
                continue
            seen.add(id(one))
            yield one
            waiting += [*one.parts, *(half for pair in one.items for half in pair)]

    @property
    def names(self) -> set[str]:
        """Every class and function in it."""
        return {one.name for one in self.everything() if one.name}

    @property
    def is_network(self) -> bool:
        """Whether it is a torch.nn.Module, by the attributes that each has."""
        return bool(self.name) and {"_modules", "_parameters"} <= self.entries().keys()

    @property
    def axes(self) -> set[int]:
        """How many axes the tensors in it have."""
        tensors = (one for one in self.everything() if one.name.startswith("torch._utils._rebuild_tensor"))
        calls = (one.parts[0].parts for one in tensors if one.parts)
        return {len(call[2].parts) for call in calls if len(call) > 2}


def outline(content: bytes) -> Outline | None:
    """The object that a pickle holds, of several in a file of torch.save the fourth; None where the bytes are no pickle."""
    stream = io.BytesIO(content)
    try:
        first = _one(stream)
        if first.value != TORCH_MAGIC:
            return first
        return [_one(stream) for _ in range(3)][-1]
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, EOFError, UnicodeDecodeError, OverflowError):
        return None


class _Mark(Outline):
    """Where the members of a container begin on the stack."""


def _one(stream: io.BytesIO) -> Outline:
    """The pickle machine's stack, with outlines for objects.

    Source: https://docs.python.org/3/library/pickletools.html, and the comments in CPython's Lib/pickletools.py.
    """
    stack: list[Outline] = []
    memo: dict[object, Outline] = {}
    for count, (word, argument, _) in enumerate(pickletools.genops(stream)):
        name = word.name
        if count > MOST_WORDS:
            raise ValueError("too long")
        if name == "STOP":
            return stack[-1]
        if name in ("PROTO", "FRAME", "NEXT_BUFFER", "READONLY_BUFFER"):
            continue
        if name == "MARK":
            stack.append(_Mark())
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name.endswith("PUT"):
            memo[argument] = stack[-1]
        elif name.endswith("GET"):
            stack.append(memo[argument])
        elif name in _INTO_TOP:
            _add(stack, name)
        elif name in _TAKEN:
            parts = [stack.pop() for _ in range(_TAKEN[name])][::-1]
            stack.append(Outline(_maker(name, parts), parts=parts[1:] if name in _CALLS else parts))
        elif name in ("TUPLE", "LIST", "FROZENSET", "DICT", "OBJ", "INST"):
            stack.append(_gathered(name, argument, _to_mark(stack)))
        elif name == "GLOBAL":
            stack.append(Outline(_dotted(argument)))
        elif name in ("POP", "POP_MARK"):
            _to_mark(stack) if name == "POP_MARK" else stack.pop()
        elif name == "DUP":
            stack.append(stack[-1])
        elif name in ("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "EMPTY_SET", "PERSID"):
            stack.append(Outline())
        elif not word.stack_before:  # a plain value
            stack.append(Outline(value=argument))
        else:
            raise ValueError(name)
    raise EOFError


_INTO_TOP = ("APPEND", "APPENDS", "ADDITEMS", "SETITEM", "SETITEMS", "BUILD")
_TAKEN = {
    "TUPLE1": 1,
    "TUPLE2": 2,
    "TUPLE3": 3,
    "REDUCE": 2,
    "NEWOBJ": 2,
    "NEWOBJ_EX": 3,
    "STACK_GLOBAL": 2,
    "BINPERSID": 1,
}
_CALLS = ("REDUCE", "NEWOBJ", "NEWOBJ_EX")


def _maker(word: str, parts: list[Outline]) -> str:
    if word == "STACK_GLOBAL":
        return f"{parts[0].value}.{parts[1].value}"
    if word == "BINPERSID":  # older files name a module's class beside its source: ("module", class, file, source)
        members = parts[0].parts
        return members[1].name if len(members) > 1 and members[0].value == "module" else ""
    return parts[0].name if word in _CALLS else ""


def _to_mark(stack: list[Outline]) -> list[Outline]:
    members: list[Outline] = []
    while not isinstance(last := stack.pop(), _Mark):
        members.append(last)
    return members[::-1]


def _add(stack: list[Outline], word: str) -> None:
    """What a word puts into the object below it on the stack."""
    single = 2 if word == "SETITEM" else 1
    members = _to_mark(stack) if word.endswith("S") else [stack.pop() for _ in range(single)][::-1]
    if word.startswith("SETITEM"):
        stack[-1].items += list(zip(members[::2], members[1::2], strict=True))
    else:
        stack[-1].parts += members


def _gathered(word: str, argument: object, members: list[Outline]) -> Outline:
    if word == "DICT":
        return Outline(items=list(zip(members[::2], members[1::2], strict=True)))
    if word == "OBJ":
        return Outline(members[0].name, parts=members[1:])
    return Outline(_dotted(argument) if word == "INST" else "", parts=members)


def _dotted(argument: object) -> str:
    """The name of a class or function, also where it is that of Python 2, as torch translates it."""
    module, _, name = str(argument).partition(" ")
    module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
    return f"{module}.{name}"
