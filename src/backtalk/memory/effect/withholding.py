"""Probability of withholding an entry in use: higher while its effect is unknown."""

from __future__ import annotations

from backtalk.memory.effect.effects import EntryEffect

_FIRST = 4.0
"""Probability for a new entry, as a multiple of the base probability."""
_LIMIT = 0.25
"""Maximum probability, if the base probability is lower."""
_ENOUGH = 200
"""Number of scored uses from which an entry is not new."""


def withhold_probability(base: float, effect: EntryEffect | None) -> float:
    """Return the probability of withholding an entry from an answer.

    It lies between the base probability and four times of it, at most 0.25, and depends on past
    answers only, so that the estimate and its interval stay valid. An entry starts at the upper end
    and reaches the base after 200 scored answers, or as soon as its effect is known to be good. One
    that seems harmful stays at the upper end until its effect is known.

    Parameters
    ----------
    base : float
        Base probability, in [0, 0.5]; 0 withholds nothing.
    effect : EntryEffect, optional
        Effect so far; ``None`` for a new entry.
    """
    upper = max(base, min(_FIRST * base, _LIMIT))
    if effect is None:
        return upper
    if effect.is_helpful:
        return base
    if (effect.shrunk or 0.0) < 0:
        return upper
    scored = effect.scored_shown + effect.scored_withheld
    return max(base, upper - (upper - base) * scored / _ENOUGH)
