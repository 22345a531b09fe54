"""Identifiability checks: conditions for paired comparisons to determine the strengths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backtalk.stats.estimate import NotIdentified
from backtalk.stats.validation import Floats, Ints

_RIDGE = "or pass ridge= for a penalised estimate"


def require_connected(items: Sequence[Any], beats: NDArray[np.bool_]) -> None:
    """Raise unless every item can be reached from every other along wins.

    The likelihood has a maximum exactly then (Ford 1957; Zermelo 1929).

    Parameters
    ----------
    items : sequence of Any
        Names of the items.
    beats : NDArray[np.bool_]
        Shape (items, items): true if the row item was ever preferred, wholly or in part, to the
        column item. A tie counts both ways.

    Raises
    ------
    NotIdentified
        If the graph is not strongly connected. The message names the smallest group that never
        met the others, never lost to them, or never beat them.
    """
    if _is_strongly_connected(beats):
        return
    component = _components(beats | beats.T, strong=False)
    if component.max() > 0:
        few = _smallest(component, range(component.max() + 1))
        raise NotIdentified(
            f"{_listed(items, few)} never met {_others(len(items), few)}",
            f"Compare across the groups, {_RIDGE}",
        )
    group = _components(beats, strong=True)
    across = group[:, None] != group[None, :]
    won, lost = np.nonzero(beats & across)
    unbeaten = set(range(group.max() + 1)) - set(group[lost].tolist())
    winless = set(range(group.max() + 1)) - set(group[won].tolist())
    few = _smallest(group, sorted(unbeaten | winless))
    verb = "never lost to" if group[few[0]] in unbeaten else "never beat"
    raise NotIdentified(
        f"{_listed(items, few)} {verb} {_others(len(items), few)}, "
        "so no finite difference in strength maximises the likelihood",
        f"Gather more comparisons between them, {_RIDGE}",
    )


def require_cycle(items: Sequence[Any], wins: NDArray[np.bool_], ties: NDArray[np.bool_]) -> None:
    """Raise unless Davidson's tie parameter is identified together with the strengths.

    Spreading all strengths while making ties likelier raises the likelihood without bound if
    numbers d exist with ``d_i - d_j >= 1`` for each win and ``|d_i - d_j| <= 1`` for each tie.
    They exist unless some cycle of results has more wins in it than ties.

    Parameters
    ----------
    items : sequence of Any
        Names of the items.
    wins, ties : NDArray[np.bool_]
        Shape (items, items): true if the row item ever won against, or tied with, the column item.

    Raises
    ------
    NotIdentified
        If no cycle has more wins than ties.
    """
    costs = np.where(wins, -1.0, np.where(ties | ties.T, 1.0, np.inf))
    reached = np.zeros(len(items))
    for _ in range(len(items) + 1):
        shorter = np.minimum(reached, (reached[:, None] + costs).min(0))
        if (shorter == reached).all():
            raise NotIdentified(
                "Ties and wins rank the items without contradiction, so the strengths "
                "and the tie parameter have no finite maximum likelihood estimate",
                "Use ties='half', gather more comparisons, " + _RIDGE,
            )
        reached = shorter


def _is_strongly_connected(links: NDArray[np.bool_]) -> bool:
    """Return true if every node reaches every other, by repeated squaring of the links."""
    reached = links | np.eye(len(links), dtype=bool)
    for _ in range(max(len(links) - 1, 1).bit_length()):
        if reached.all():
            return True
        steps = reached.astype(np.float32)
        reached = steps @ steps > 0
    return bool(reached.all())


def _components(links: NDArray[np.bool_], *, strong: bool) -> Ints:
    from scipy.sparse.csgraph import connected_components  # noqa: PLC0415 - slow to import

    kind = "strong" if strong else "weak"
    return np.asarray(connected_components(links, directed=True, connection=kind)[1], dtype=np.intp)


def _smallest(groups: Ints, among: Sequence[int] | range) -> Ints:
    members = [np.flatnonzero(groups == group) for group in among]
    return min(members, key=len)


def _listed(items: Sequence[Any], chosen: Ints) -> str:
    shown = ", ".join(repr(items[number]) for number in chosen[:5])
    return shown if len(chosen) <= 5 else f"{shown} and {len(chosen) - 5} more"


def _others(count: int, chosen: Ints) -> str:
    return "the other item" if count - len(chosen) == 1 else f"the other {count - len(chosen)}"


def result_matrix(first: Ints, second: Ints, chosen: NDArray[np.bool_], count: int) -> Any:
    """Return which pairs of items occur among the chosen comparisons.

    Parameters
    ----------
    first, second : Ints
        Item indices of each comparison, shape (n,).
    chosen : NDArray[np.bool_]
        Mask of the comparisons to count, shape (n,).
    count : int
        Number of items.

    Returns
    -------
    NDArray[np.bool_]
        Shape (count, count): true if the row item was ``first`` against the column item.
    """
    matrix = np.zeros((count, count), dtype=bool)
    matrix[first[chosen], second[chosen]] = True
    return matrix


def beats_matrix(first: Ints, second: Ints, outcomes: Floats, count: int) -> NDArray[np.bool_]:
    """Return which items were ever preferred, wholly or in part, to which others.

    Parameters
    ----------
    first, second : Ints
        Item indices of each comparison, shape (n,).
    outcomes : Floats
        Share of the first item, shape (n,), in [0, 1].
    count : int
        Number of items.

    Returns
    -------
    NDArray[np.bool_]
        Shape (count, count): true if the row item was preferred to the column item.
    """
    return np.asarray(
        result_matrix(first, second, outcomes > 0, count)
        | result_matrix(second, first, outcomes < 1, count)
    )
