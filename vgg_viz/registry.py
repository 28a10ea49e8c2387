"""Named things that register themselves, so that a newcomer touches one file.

    METHODS: Registry[Method] = Registry("attribution method", fill="vgg_viz.attribution.methods")

A registry is complete whenever anybody looks at it: its first look imports every module of the packages that fill it. Its order
is that of their names. Neither depends on what was imported before.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Generic, TypeVar

from vgg_viz.errors import UnknownName, VggVizError

Item = TypeVar("Item")


class Registry(Generic[Item]):
    """Things of one kind under unique names, which modules add while they are imported.

    Items stand in the order of packages, of module names, and of adding within a module; those that come from elsewhere, such as a
    notebook, behind those of the packages. A look (`[]`, `in`, `len`, iteration, `items`) raises VggVizError while a module of these
    packages is being imported by the one who looks: what it saw would depend on the order of imports.

    Attributes:
        kind: What one of them is called in a refusal.
        fill: The package, or packages, whose modules add them; None: whoever likes, and then the order is that of
            adding.
        first: Modules of these packages (names alone) whose items stand before all others, in this order.
        last: Modules whose items stand behind all others.
    """

    def __init__(
        self, kind: str, *, fill: str | Sequence[str] | None = None, first: Sequence[str] = (), last: Sequence[str] = ()
    ) -> None:
        self.kind = kind
        self._packages = (fill,) if isinstance(fill, str) else tuple(fill or ())
        self._first, self._last = tuple(first), tuple(last)
        self._items: dict[str, Item] = {}
        self._modules: dict[str, str] = {}  # the module that added each
        self._filled = not self._packages

    def add(self, name: str, item: Item, *, by: str | None = None) -> Item:
        """Put `item` under `name`; a name that is taken explains itself.

        Args:
            name: What it is called by.
            item: What it stands for.
            by: The module that adds it, which says where it stands; None: the one that `item`, a function or a class,
                says of itself.
        """
        module = by or str(getattr(item, "__module__", None) or type(item).__name__)
        if name in self._items:
            raise VggVizError(
                f"the {self.kind} {name!r} is registered twice, by {self._modules[name]} and {module}; rename one of them."
            )
        self._items[name], self._modules[name] = item, module
        return item

    def __getitem__(self, name: str) -> Item:
        """The item called `name`; raises UnknownName with the nearest known name."""
        self._complete()
        try:
            return self._items[name]
        except (KeyError, TypeError):  # what cannot be a key is no name either
            raise UnknownName(self.kind, name, self._items) from None

    def __contains__(self, name: object) -> bool:
        self._complete()
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        self._complete()
        return iter(sorted(self._items, key=self._place))

    def __len__(self) -> int:
        self._complete()
        return len(self._items)

    def items(self) -> list[tuple[str, Item]]:
        """Names and items, in the registry's order."""
        return [(name, self._items[name]) for name in self]

    @contextmanager
    def temporarily(self, items: Mapping[str, Item] | None = None, *, alone: bool = False) -> Iterator[None]:
        """With `items` as well, in the place of what has their names; whatever the block adds goes at its end. For tests.

        Args:
            items: What is registered meanwhile.
            alone: With nothing else.
        """
        self._complete()
        before, modules = self._items, self._modules
        self._items = {**({} if alone else before), **(items or {})}
        self._modules = {name: modules.get(name, "") for name in self._items}
        try:
            yield
        finally:
            self._items, self._modules = before, modules

    def _complete(self) -> None:
        """Import what fills this registry, once.

        No lock and no flag: a second thread that comes meanwhile waits in the import system, as for any module.
        """
        if not self._filled:
            for package in self._packages:
                discover(package)
            self._filled = True

    def _place(self, name: str) -> tuple[int, int, str]:
        """What sorts items: `sorted` keeps the order of adding where this is the same."""
        package, _, module = self._modules[name].rpartition(".")
        if package not in self._packages:
            return (2, 0, "")
        if module in self._first or module in self._last:
            return (0, self._first.index(module), "") if module in self._first else (3, self._last.index(module), "")
        return (1, self._packages.index(package), module)


def discover(package: str) -> None:
    """Import every module of `package`, by name order, so that each registers what it holds.

    Raises:
        VggVizError: Where one of them is only half imported, because it is its own import that asks.
    """
    found = _whole(package)
    for module in sorted(info.name for info in pkgutil.iter_modules(found.__path__)):
        _whole(f"{package}.{module}")


def _whole(name: str) -> ModuleType:
    """A module, imported to its end."""
    module = importlib.import_module(name)
    # Of a module that another thread imports the line above has waited for the end; half a module is the caller's own.
    if getattr(module.__spec__, "_initializing", False):
        raise VggVizError(
            f"what {name} and its neighbours register is asked for while it is being imported; ask inside a function."
        )
    return module
