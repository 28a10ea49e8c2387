"""Named things that register themselves, so that a newcomer touches one file."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Generic, TypeVar

from vgg_viz.errors import UnknownName, VggVizError

Item = TypeVar("Item")


class Registry(Generic[Item]):
    """Things of one kind under unique names, in the order in which they were added."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._items: dict[str, Item] = {}

    def add(self, name: str, item: Item) -> Item:
        """Put `item` under `name`; a name that is taken explains itself."""
        if name in self._items:
            raise VggVizError(
                f"the {self.kind} {name!r} is registered twice, by {_origin(self._items[name])} "
                f"and {_origin(item)}; rename one of them."
            )
        self._items[name] = item
        return item

    def __getitem__(self, name: str) -> Item:
        """The item called `name`; raises UnknownName with the nearest known name."""
        try:
            return self._items[name]
        except KeyError:
            raise UnknownName(self.kind, name, self._items) from None

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def items(self) -> list[tuple[str, Item]]:
        """Names and items, in the order in which they were added."""
        return list(self._items.items())


def _origin(item: object) -> str:
    return str(getattr(item, "__module__", None) or type(item).__name__)


def discover(package: str) -> None:
    """Import every module of `package`, by name order, so that each registers what it holds."""
    found = importlib.import_module(package)
    for module in sorted(info.name for info in pkgutil.iter_modules(found.__path__)):
        importlib.import_module(f"{package}.{module}")
