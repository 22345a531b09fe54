"""Whether paired comparisons determine the strengths of the items that were compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backtalk.stats.estimate import NotIdentified
from backtalk.stats.validation import Floats, Ints

_RIDGE = "or pass ridge=, which answers with a penalty and says so"


def require_connected(items: Sequence[Any], beats: NDArray[np.bool_]) -> None:
    """Raise unless every item can be reached from every other along wins.

    That is when strengths have a maximum of the likelihood (Ford 1957; Zermelo 1929).

    Parameters
    ----------
    items : sequence of Any
        Their names.
    beats : NDArray[np.bool_]
        Shape (items, items): whether the row was ever preferred to the column, in part too;
        a tie counts both ways.

    Raises
    ------
    NotIdentified
        Naming the smallest group that never met the others, never lost to them, or never
        beat them.
    """
    apart = _components(beats | beats.T, strong=False)
    if apart.max() > 0:
        few = _smallest(apart, range(apart.max() + 1))
        raise NotIdentified(
            f"{_listed(items, few)} never met {_others(len(items), few)}",
            f"Compare across the groups, {_RIDGE}",
        )
    group = _components(beats, strong=True)
    if group.max() == 0:
        return
    across = group[:, None] != group[None, :]
    won, lost = np.nonzero(beats & across)
    unbeaten = set(range(group.max() + 1)) - set(group[lost].tolist())
    winless = set(range(group.max() + 1)) - set(group[won].tolist())
    few = _smallest(group, sorted(unbeaten | winless))
    verb = "never lost to" if group[few[0]] in unbeaten else "never beat"
    raise NotIdentified(
        f"{_listed(items, few)} {verb} {_others(len(items), few)}, "
        "so that no finite difference in strength fits best",
        f"Gather more comparisons between them, {_RIDGE}",
    )


def require_cycle(items: Sequence[Any], wins: NDArray[np.bool_], ties: NDArray[np.bool_]) -> None:
    """Raise unless the chance of a tie is determined beside the strengths, in Davidson's model.

    Moving all strengths apart while making ties likelier raises the likelihood for ever when
    numbers d exist with ``d_i - d_j >= 1`` for each win and ``|d_i - d_j| <= 1`` for each tie.
    They exist unless some cycle of results has more wins in it than ties.

    Parameters
    ----------
    items : sequence of Any
        Their names.
    wins, ties : NDArray[np.bool_]
        Shape (items, items): whether the row ever won against, or tied with, the column.

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
                "Ties and wins rank the items without contradiction, "
                "so that strengths and the chance of a tie can grow together for ever",
                "Use ties='half', gather more comparisons, " + _RIDGE,
            )
        reached = shorter


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
    """Whether each row item was ever ``first`` to each column item among the chosen rows."""
    matrix = np.zeros((count, count), dtype=bool)
    matrix[first[chosen], second[chosen]] = True
    return matrix


def beats_matrix(first: Ints, second: Ints, outcomes: Floats, count: int) -> NDArray[np.bool_]:
    """Whether each row item was ever preferred to each column item, in part too."""
    return np.asarray(
        result_matrix(first, second, outcomes > 0, count)
        | result_matrix(second, first, outcomes < 1, count)
    )
