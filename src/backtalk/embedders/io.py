"""Storage of embedders as plain files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from backtalk.embedders.registry import EMBEDDERS
from backtalk.errors import BacktalkError, RecordError
from backtalk.models.protocol import Embedder


@runtime_checkable
class _StorableEmbedder(Protocol):
    def to_files(self) -> dict[str, bytes]: ...


def embedder_to_files(embedder: Embedder) -> dict[str, bytes]:
    """Return an embedder as plain files, for an artifact.

    Raises
    ------
    BacktalkError
        If the embedder has no ``to_files``.
    """
    if not isinstance(embedder, _StorableEmbedder):
        raise BacktalkError(
            f"A {type(embedder).__name__} cannot be stored as files",
            f"Use one of the embedders {', '.join(EMBEDDERS)}",
        )
    return embedder.to_files()


def embedder_from_files(files: Mapping[str, bytes]) -> Embedder:
    """Return the embedder that :func:`embedder_to_files` wrote.

    Raises
    ------
    RecordError
        If the files are not those of an embedder.
    UnknownName
        If the kind of embedder is unknown; the message lists the known ones.
    """
    try:
        kind = json.loads(files["embedder.json"])["kind"]
    except (KeyError, TypeError, ValueError):
        names = ", ".join(files) or "none"
        raise RecordError(
            f"An embedder needs a file embedder.json with its kind; the files are: {names}"
        ) from None
    return EMBEDDERS.get(str(kind)).from_files(files)
