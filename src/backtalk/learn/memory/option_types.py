"""Types of the options of methods that learn memories."""

from __future__ import annotations

from typing import Annotated, get_args

from pydantic import AfterValidator, Field

from backtalk.errors import UnknownName
from backtalk.memory import EntryKind

ALL = "all"


def split_kinds(text: str) -> tuple[EntryKind, ...]:
    """Return the kinds of entries in a list with commas; all kinds for ``"all"``.

    >>> split_kinds("instruction, fact")
    ('fact', 'instruction')
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    kinds: tuple[EntryKind, ...] = get_args(EntryKind)
    return kinds if ALL in names else tuple(kind for kind in kinds if kind in names)


def _check_kinds(text: str) -> str:
    known = [*get_args(EntryKind), ALL]
    for name in text.split(","):
        if name.strip() not in known:
            raise ValueError(str(UnknownName.among("kind of entry", name.strip(), known)))
    return text


EntryKinds = Annotated[str, AfterValidator(_check_kinds)]
"""Kinds of entries, separated by commas, or ``"all"``."""

RecallLimit = Annotated[int, Field(ge=1)]
"""Maximum number of entries in a prompt."""

Withhold = Annotated[float, Field(ge=0, le=0.5)]
"""Probability, in [0, 0.5], with which an entry that applies is withheld in use."""

Share = Annotated[float, Field(ge=0, le=1)]
"""Number in [0, 1]."""

Count = Annotated[int, Field(ge=1)]
"""Positive number."""

Requests = Annotated[int, Field(ge=0)]
"""Number of requests, 0 for none."""
