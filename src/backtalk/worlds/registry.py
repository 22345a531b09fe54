"""Registry of worlds: the built-in ones and those of installed packages."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeVar

from backtalk.registry import Registry
from backtalk.worlds.world import World

WORLDS = Registry[type[World[Any]]](
    "world",
    entry_points="backtalk.worlds",
    modules=tuple(
        f"backtalk.worlds.{name}.world" for name in ("lists", "mail", "programs", "sums")
    ),
    item_type=type,
)
"""World classes by name."""

AnyWorld = TypeVar("AnyWorld", bound=type[World[Any]])


def world(world_class: AnyWorld) -> AnyWorld:
    """Register a world class under its name; a class decorator."""
    WORLDS.register(world_class.name, world_class)
    return world_class


def world_names() -> tuple[str, ...]:
    """Return the names of all worlds."""
    return WORLDS.names()


def get_world(name: str) -> World[Any]:
    """Return the world of that name, the same object at each call.

    Raises
    ------
    UnknownName
        If there is no such world; the message lists the known names.
    BacktalkError
        If the package that provides it cannot be loaded.
    """
    return _make_world(WORLDS.get(name))


@lru_cache
def _make_world(world_class: type[World[Any]]) -> World[Any]:
    return world_class()
