"""The small language models of the worlds, which really read; see ``docs/sandbox.md``."""

from __future__ import annotations

from pathlib import Path

from backtalk.models.local.model import LocalModel
from backtalk.worlds.world import find_world


def folder_of(world: str) -> Path:
    """Return where the weights of a world's model are kept."""
    return Path(__file__).parent / world


def small_model(world: str = "mail") -> LocalModel:
    """Return the small model of a world.

    Raises
    ------
    UnknownName
        If there is no such world.
    """
    return LocalModel(str(folder_of(find_world(world).name)), name=world)
