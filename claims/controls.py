"""Controls: feedback without the information that a claim's method is to learn from."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from backtalk.feedback.case import Case


def rotation(count: int, *, seed: int) -> NDArray[np.int64]:
    """Return a random permutation that leaves nothing in its place, shape ``(count,)``.

    Parameters
    ----------
    count : int
        Number of things, at least 2.
    seed : int
        Seed of the permutation.

    Raises
    ------
    ValueError
        If there are fewer than two things.
    """
    if count < 2:
        raise ValueError(f"count: {count} cannot be shuffled, 2 or more can")
    order = np.random.default_rng([seed, 131]).permutation(count)
    result = np.empty(count, dtype=np.int64)
    result[order] = np.roll(order, 1)
    return result


def shuffled(cases: Iterable[Case], *, seed: int) -> list[Case]:
    """Return the cases with all feedback of each moved to the answers of another.

    Cases without feedback stay as they are. Numbers of kinds, verdicts and texts stay the same, so
    that what a method learns from them alone, and not from the answers they are about, is left.

    Parameters
    ----------
    cases : iterable of Case
        Cases of different prompts, whose responses have the same ids.
    seed : int
        Seed of the permutation.

    Raises
    ------
    RecordError
        If feedback does not fit the answers of the other case.
    """
    results = list(cases)
    places = [place for place, case in enumerate(results) if case.feedback]
    origins = rotation(len(places), seed=seed)
    moved = [results[places[origin]].feedback for origin in origins]
    for place, feedback in zip(places, moved, strict=True):
        interaction = results[place].interaction
        items = tuple(item.model_copy(update={"interaction": interaction.id}) for item in feedback)
        for item in items:
            item.check(interaction)
        results[place] = Case(interaction, items)
    return results
