"""Embedders, and getting one back from the files that describe it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from backtalk.embedders.hashed_tfidf import HashedTfidf
from backtalk.embedders.sentence import SentenceEmbedder
from backtalk.errors import BacktalkError, RecordError, UnknownName
from backtalk.models.protocol import Embedder

__all__ = ["HashedTfidf", "SentenceEmbedder", "embedder_from_files", "embedder_to_files"]

_KINDS = {cls.kind: cls for cls in (HashedTfidf, SentenceEmbedder)}


@runtime_checkable
class _Filed(Protocol):
    def to_files(self) -> dict[str, bytes]: ...


def embedder_to_files(embedder: Embedder) -> dict[str, bytes]:
    """Return an embedder as plain files, for an artifact.

    Raises
    ------
    BacktalkError
        If the embedder cannot be kept so: it is not one of this library's.
    """
    if not isinstance(embedder, _Filed):
        raise BacktalkError(
            f"{type(embedder).__name__} cannot be kept as files",
            f"Use one of {', '.join(cls.__name__ for cls in _KINDS.values())}",
        )
    return embedder.to_files()


def embedder_from_files(files: Mapping[str, bytes]) -> Embedder:
    """Return the embedder that :func:`embedder_to_files` wrote.

    Raises
    ------
    RecordError
        If the files are not those of an embedder.
    UnknownName
        If it is of a kind that this version does not know.
    """
    try:
        kind = json.loads(files["embedder.json"])["kind"]
    except (KeyError, TypeError, ValueError):
        result = ", ".join(files) or "nothing"
        raise RecordError(
            f"An embedder needs a file embedder.json with its kind, but there is {result}"
        ) from None
    if kind not in _KINDS:
        raise UnknownName.among("kind of embedder", str(kind), list(_KINDS))
    return _KINDS[kind].from_files(files)
