"""Interleaving of two policies that answer the same request."""

from __future__ import annotations

import secrets
from collections.abc import Callable


def _coin() -> bool:
    return secrets.randbits(1) == 1


def team_draft(length: int, *, coin: Callable[[], bool] = _coin) -> tuple[int, ...]:
    """Return the team at each position, by team-draft interleaving.

    Radlinski, Kurup and Joachims (2008), "How does clickthrough data reflect retrieval quality?",
    section 3.3: in each round a coin decides which team picks first, so that neither team is above
    the other more often. With length 2, it decides which of two answers comes first.

    Parameters
    ----------
    length : int
        Number of positions.
    coin : Callable[[], bool], default _coin
        Coin: true if the second team picks first.

    Returns
    -------
    tuple of int
        Team at each position, 0 or 1.

    Examples
    --------
    >>> team_draft(3, coin=lambda: True)
    (1, 0, 1)
    """
    teams: list[int] = []
    while len(teams) < length:
        first = int(coin())
        teams += [first, 1 - first]
    return tuple(teams[:length])
