"""Registries: named collections of formats, models, methods and other parts, open to plug-ins."""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar, cast

from backtalk.errors import BacktalkError, Conflict, UnknownName

Item = TypeVar("Item")
Product = TypeVar("Product")
Factory = TypeVar("Factory", bound=Callable[..., object])

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
        self._pending = tuple(modules)
        self._item_type = item_type
        self._items: dict[str, Item] = {}
        self._entries: dict[str, EntryPoint] = {}
        self._search_path: tuple[str, ...] | None = None
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

    def unregister(self, name: str) -> None:
        """Remove an item that was registered in this process, such as by a test."""
        self._items.pop(name, None)
        self._origins.pop(name, None)

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
                raise UnknownName.among(self.kind, name, sorted(self.names()))
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
        """Return true if an item has the name."""
        return name in self.names()

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self.names())

    def __len__(self) -> int:
        """Return the number of names."""
        return len(self.names())

    def _import_modules(self) -> None:
        # A second thread waits in import_module until the first has imported the module.
        for module in self._pending:
            import_module(module)
        self._pending = ()

    def _declared(self) -> dict[str, EntryPoint]:
        if self.entry_points is None:
            return {}
        search_path = tuple(sys.path)
        if search_path != self._search_path:
            self._entries = {entry.name: entry for entry in entry_points(group=self.entry_points)}
            self._search_path = search_path
        return self._entries

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


class FactoryRegistry(Registry[Callable[..., Product]]):
    """Registry of functions and classes that make objects of one kind, such as models.

    Parameters
    ----------
    kind : str
        Name of the kind in error messages, such as ``"model"``.
    product_type : type
        Required type of the objects; may be a runtime-checkable protocol.
    needs : str
        Names of the attributes that the protocol requires, for error messages.
    entry_points : str, optional
        Entry-point group through which installed packages add factories.
    modules : sequence of str, default ()
        Modules that register the built-in factories when imported; imported on first use.

    Examples
    --------
    >>> from collections.abc import Sized
    >>> sizes = FactoryRegistry[Sized]("size", product_type=Sized, needs="__len__")
    >>> @sizes.decorator("zeros")
    ... def zeros(*, count=3):
    ...     return [0] * count
    >>> sizes.make("zeros", count=2)
    [0, 0]
    """

    def __init__(
        self,
        kind: str,
        *,
        product_type: type[Any],
        needs: str,
        entry_points: str | None = None,
        modules: Sequence[str] = (),
    ) -> None:
        super().__init__(kind, entry_points=entry_points, modules=modules)
        self._product_type = product_type
        self._needs = needs

    def decorator(self, name: str) -> Callable[[Factory], Factory]:
        """Return a decorator that registers a function or class under a name.

        Raises
        ------
        Conflict
            If another definition has the name.
        """

        def register(factory: Factory) -> Factory:
            self.register(name, cast("Callable[..., Product]", factory))
            return factory

        return register

    def make(self, name: str, /, *arguments: Any, **options: Any) -> Product:
        """Return the object that the factory of that name makes.

        Parameters
        ----------
        name : str
            Name of the factory.
        *arguments, **options : Any
            Arguments of the factory.

        Raises
        ------
        UnknownName
            If there is no such factory, or it has no such option; the message lists the known ones.
        BacktalkError
            If an argument is missing or does not fit, or the object is not of the required type.
        """
        factory = self.get(name)
        self._check_options(name, factory, arguments, options)
        try:
            product: Any = factory(*arguments, **options)
        except TypeError as error:
            values = ", ".join(map(repr, [*arguments, *([options] if options else [])]))
            raise BacktalkError(
                f"The {self.kind} {name!r} cannot be made of ({values}): {error}"
            ) from error
        if not isinstance(product, self._product_type):
            raise BacktalkError(
                f"The factory registered as {name!r} makes a {type(product).__name__}, "
                f"not a {self.kind}",
                f"It needs {self._needs}",
            )
        return cast("Product", product)

    def _check_options(
        self,
        name: str,
        factory: Callable[..., Product],
        arguments: Sequence[Any],
        options: Mapping[str, Any],
    ) -> None:
        try:
            parameters = [*inspect.signature(factory).parameters.values()]
        except ValueError:  # a built-in without a signature
            return
        variadic = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            known = [parameter.name for parameter in parameters]
            for option in options:
                if option not in known:
                    raise UnknownName.among(f"option of {self.kind} {name}", option, known)
        for parameter in parameters[len(arguments) :]:
            required = parameter.default is parameter.empty and parameter.kind not in variadic
            if required and parameter.name not in options:
                raise BacktalkError(
                    f"The {self.kind} {name!r} needs its option {parameter.name!r}",
                    f"Add it to the options of the {self.kind}",
                )


def _qualified_name(item: object) -> str | None:
    name = getattr(item, "__qualname__", None)
    return None if name is None else f"{getattr(item, '__module__', '?')}.{name}"
