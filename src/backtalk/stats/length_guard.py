"""Guard of a length-controlled win rate: comparisons of the baseline with its own variants."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backtalk.stats.distributions import expit
from backtalk.stats.validation import Floats


class Guard(NamedTuple):
    """Comparisons that bear on the coefficients of length and difficulty only.

    Attributes
    ----------
    features
        Length term and difficulty of each comparison, shape (n, 2).
    outcomes, weights
        Probability that the variant wins, and weight, shape (n,).
    """

    features: Floats
    outcomes: Floats
    weights: Floats


def no_guard() -> Guard:
    """Return a guard without comparisons."""
    return Guard(np.empty((0, 2)), np.empty(0), np.empty(0))


def recorded_guard(preferences: Floats, lengths: Floats, gamma: Floats, weight: float) -> Guard:
    """Return the comparisons of the baseline with recorded variants of itself.

    Parameters
    ----------
    preferences, lengths : Floats
        Outcomes and length terms of the variants, shape (variants, instructions); NaN if not
        judged.
    gamma : Floats
        Difficulty of each instruction, shape (instructions,).
    weight : float
        Weight of all variants of an instruction together.
    """
    judged = ~np.isnan(preferences)
    gammas = np.broadcast_to(gamma, preferences.shape)
    features = np.column_stack([lengths[judged], gammas[judged]])
    return Guard(features, preferences[judged], np.full(len(features), weight / len(preferences)))


def expected_guard(length_effect: float, spread: float, gamma: Floats, weight: float) -> Guard:
    """Return the expected comparisons of the baseline with a longer and a shorter variant.

    Parameters
    ----------
    length_effect : float
        Coefficient of the length term.
    spread : float
        Length term of the shorter variant; that of the longer one is its negative.
    gamma : Floats
        Difficulty of each instruction, shape (instructions,).
    weight : float
        Weight of both variants together.
    """
    terms = np.repeat([spread, -spread], len(gamma))
    features = np.column_stack([terms, np.tile(gamma, 2)])
    outcomes = expit(features @ [length_effect, 1.0])
    return Guard(features, outcomes, np.full(len(terms), weight / 2))
