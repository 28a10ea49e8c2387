"""Long work tells how far it is, to whoever listens: a command does, a notebook may, and else nobody.

for item in told(items, "reading pictures"):
...

with heard_by(steps):
...
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

Progress = Callable[[str, int, int], None]  # what is being made, how many are done, of how many
Item = TypeVar("Item")

_LISTENER: ContextVar[Progress | None] = ContextVar("listener", default=None)


def tell(what: str, done: int = 0, total: int = 1) -> None:
    """Say what is being made, and how many parts of how many are done."""
    if listener := _LISTENER.get():
        listener(what, done, total)


def told(items: Sequence[Item], what: str) -> Iterator[Item]:
    """The items one by one; each is told as done when the next is asked for."""
    for done, item in enumerate(items, start=1):
        yield item
        tell(what, done, len(items))


@contextmanager
def heard_by(listener: Progress | None) -> Iterator[None]:
    """What is told inside reaches `listener` and nobody else; None: what goes on inside is part of a step already told."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)
