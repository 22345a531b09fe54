"""Registries: named collections of formats, models, methods and other parts, open to plug-ins."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from backtalk.errors import BacktalkError, Conflict, UnknownName

Item = TypeVar("Item")

_log = logging.getLogger(__name__)


class Registry(Generic[Item]):
    """Items of one kind by name: those registered in this process and those of installed packages.

    Parameters
    ----------
    kind : str
        Name of the kind in error messages, such as ``"format"``.
    entry_points : str, optional
        Entry-point group through which installed packages add items, such as
        ``"backtalk.formats"``. An entry point refers to an item, or to a function whose decorator
        registers one under the name of the entry point.
    modules : sequence of str, default ()
        Modules that register the built-in items when imported; imported on first use.
    item_type : type, optional
        Required type of an item that an entry point refers to; any object by default.

    Examples
    --------
    >>> colours = Registry[str]("colour")
    >>> colours.register("red", "#f00")
    '#f00'
    >>> colours.get("red"), colours.names()
    ('#f00', ('red',))
    """

    def __init__(
        self,
        kind: str,
        *,
        entry_points: str | None = None,
        modules: Sequence[str] = (),
        item_type: type[Any] | None = None,
    ) -> None:
        self.kind = kind
        self.entry_points = entry_points
        self._pending = list(modules)
        self._item_type = item_type
        self._items: dict[str, Item] = {}
        self._origins: dict[str, str | None] = {}

    def register(
        self, name: str, item: Item, *, origin: Callable[..., object] | None = None
    ) -> Item:
        """Add an item and return it.

        Registering a definition again, as a notebook cell that runs twice does, replaces it.

        Parameters
        ----------
        name : str
            Name to look it up by.
        item : Item
            The item.
        origin : callable, optional
            Function or class that the item is made from; the item itself by default.

        Raises
        ------
        Conflict
            If another definition has the name.
        """
        made_by = _qualified_name(item if origin is None else origin)
        if name in self._items and made_by != self._origins[name]:
            raise Conflict(
                f"The {self.kind} {name!r} of {made_by or 'this process'} is registered already, "
                f"by {self._origins[name] or 'other code'}",
                "Choose another name",
            )
        self._items[name] = item
        self._origins[name] = made_by
        return item

    def get(self, name: str) -> Item:
        """Return the item of that name.

        Raises
        ------
        UnknownName
            If there is none; the message lists the known names.
        BacktalkError
            If the package that provides it cannot be loaded.
        """
        self._import_modules()
        if name not in self._items:
            declared = self._declared()
            if name not in declared:
                raise UnknownName.among(self.kind, name, self.names())
            self._load(declared[name])
        return self._items[name]

    def names(self) -> tuple[str, ...]:
        """Return all names: registered ones in order of registration, then those of plug-ins."""
        self._import_modules()
        return tuple(dict.fromkeys([*self._items, *sorted(self._declared())]))

    def values(self) -> list[Item]:
        """Return all items. A plug-in that cannot be loaded is logged and left out."""
        self._import_modules()
        for name, entry in sorted(self._declared().items()):
            if name not in self._items:
                try:
                    self._load(entry)
                except BacktalkError as error:
                    _log.warning("%s", error)
        return list(self._items.values())

    def __contains__(self, name: object) -> bool:
        """Whether an item has the name."""
        return name in self.names()

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self.names())

    def __len__(self) -> int:
        """Return the number of names."""
        return len(self.names())

    def _import_modules(self) -> None:
        while self._pending:
            import_module(self._pending.pop(0))

    def _declared(self) -> dict[str, EntryPoint]:
        if self.entry_points is None:
            return {}
        return {entry.name: entry for entry in entry_points(group=self.entry_points)}

    def _load(self, entry: EntryPoint) -> None:
        provider = "an installed package" if entry.dist is None else entry.dist.name
        try:
            item = entry.load()
        except Exception as error:
            raise BacktalkError(
                f"The {self.kind} {entry.name!r} of {provider} cannot be loaded from "
                f"{entry.value}: {type(error).__name__}: {error}",
                f"Upgrade or uninstall {provider}",
            ) from error
        if entry.name in self._items:
            return
        if self._item_type is not None and not isinstance(item, self._item_type):
            raise BacktalkError(
                f"The {self.kind} {entry.name!r} of {provider} is not one: {entry.value} is a "
                f"{type(item).__name__} and registers no {self.kind} of that name",
                f"Let the entry point refer to a {self.kind}, named as it is registered",
            )
        self.register(entry.name, item)


def _qualified_name(item: object) -> str | None:
    name = getattr(item, "__qualname__", None)
    return None if name is None else f"{getattr(item, '__module__', '?')}.{name}"
