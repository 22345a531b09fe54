"""Small language models of the worlds; see ``docs/sandbox.md``."""

from __future__ import annotations

from pathlib import Path

from backtalk.models.local.model import LocalModel
from backtalk.worlds.registry import get_world


def small_model_folder(world: str) -> Path:
    """Return the folder with the weights of a world's small model."""
    return Path(__file__).parent / world


def small_model(world: str = "mail") -> LocalModel:
    """Return the small model of a world.

    Raises
    ------
    UnknownName
        If there is no such world.
    """
    return LocalModel(str(small_model_folder(get_world(world).name)), name=world)
