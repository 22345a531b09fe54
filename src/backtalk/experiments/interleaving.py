"""Which of two policies gives which answer, where both answer the same request."""

from __future__ import annotations

import secrets
from collections.abc import Callable


def _coin() -> bool:
    return secrets.randbits(1) == 1


def team_draft(places: int, *, coin: Callable[[], bool] = _coin) -> tuple[int, ...]:
    """Return which of two teams fills each place, as captains who pick by turns.

    Radlinski, Kurup and Joachims (2008), "How does clickthrough data reflect retrieval quality?",
    section 3.3: in each round a coin says who picks first, so that neither team stands above the
    other more often. Of two places, it is which of the two answers comes first.

    Parameters
    ----------
    places : int
        How many.
    coin : Callable[[], bool], default _coin
        Whether the second team picks first.

    Returns
    -------
    tuple of int
        0 or 1 for each place.

    Examples
    --------
    >>> team_draft(3, coin=lambda: True)
    (1, 0, 1)
    """
    results: list[int] = []
    while len(results) < places:
        first = int(coin())
        results += [first, 1 - first]
    return tuple(results[:places])
