"""Graph of values that know what they were made of, for optimisers that go back through it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Protocol, TypeVar, cast

next_position = itertools.count().__next__
"""Function that numbers values in the order in which they are made."""


class GraphValue(Protocol):
    """Value in a graph of computations."""

    @property
    def position(self) -> int:
        """Position in the order in which values were made, higher than those of predecessors."""
        ...

    @property
    def trainable(self) -> bool:
        """True for a parameter."""
        ...

    @property
    def predecessors(self) -> Sequence[GraphValue]:
        """Values that it was made of."""
        ...


Value = TypeVar("Value", bound=GraphValue)


def ancestors(*values: Value) -> list[Value]:
    """Return values with all that they were made of, in the order in which they were made."""
    reached: dict[int, Value] = {}
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        if value.position not in reached:
            reached[value.position] = value
            waiting += cast("Sequence[Value]", value.predecessors)
    return [reached[position] for position in sorted(reached)]


def trainable_paths(order: Sequence[Value]) -> list[Value]:
    """Return the parameters of a graph and the values that are made of them.

    Parameters
    ----------
    order : sequence of Value
        Values, each after its predecessors, as :func:`ancestors` returns them.
    """
    on_path: dict[int, Value] = {}
    for value in order:
        if value.trainable or any(one.position in on_path for one in value.predecessors):
            on_path[value.position] = value
    return list(on_path.values())
