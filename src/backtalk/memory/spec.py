"""Memory of a policy: which entries it recalls, and how."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from backtalk.feedback.record import Name, Record


class MemorySpec(Record):
    """Memory that a policy recalls entries from.

    A policy sees the entries up to its revision: what is learned later comes with a new policy,
    which is evaluated and promoted like any other. What people do to an entry (edit, forget) and
    its retirement take effect at once in every policy.
    """

    name: Name = "memory"
    """Name of the memory in the project. Default: memory."""
    revision: Annotated[int, Field(ge=0)]
    """Last revision whose entries are visible."""
    embedder: Name = "hashed"
    """Embedder of entries and requests: hashed, which counts words, or sentence, which knows
    meanings and needs `backtalk[embed]`, or one of an installed package. Default: hashed."""
    limit: Annotated[int, Field(ge=1)] = 8
    """Maximum number of entries in a prompt. Default: 8."""
    max_characters: Annotated[int, Field(ge=1)] = 2000
    """Maximum length of the entries in a prompt together, in characters. Entries that do not fit
    are left out, the least relevant first. Default: 2000, about 500 tokens of English."""
    withhold: Annotated[float, Field(ge=0, le=0.5)] = 0.05
    """Probability with which an entry that applies is withheld in use, so that its effect on
    feedback can be estimated. Evaluations withhold none. Default: 0.05."""
    unsure: Literal["omit", "show"] = "omit"
    """Treatment of an entry whose scope may or may not contain the request: leave it out, so that
    no rule is applied where it was not meant, or show it. Default: omit."""
