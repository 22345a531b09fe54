"""Test cases of a task: fixed, and chosen to distinguish the right program from similar ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from typing import Any

from backtalk.worlds.programs.phrases import FLAGS, LISTS, NUMBERS, PAIRS, STRINGS
from backtalk.worlds.programs.sandbox import ProgramTestCase, same_value
from backtalk.worlds.programs.task import ProgramTask

_COUNT = 8
_LISTS: tuple[list[int], ...] = (
    [3, 8, -5, 12, 6],
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14],
    [-4, 7, 0, -9, 15, 20],
    [6, 5, 4, 3, 2, 1, 0, -1, -2],
    [10, 21, 36, 45, 56, 63, 72],
    [2, -7, 2, 9, -7],
    [5],
    [],
)
_NUMBERS = ((3, 4), (-2, 5), (10, -3), (0, 0), (7, 2), (1, 9), (-6, -1), (12, 6))
_STRINGS = ("banana", "Tree tops", "a", "rest", "sensor7", "", "Anna eats", "xyz")


def _pool(task: ProgramTask) -> Iterator[tuple[Any, ...]]:
    """Yield arguments, the most useful ones first."""
    match task.kind:
        case kind if kind == LISTS:
            yield from (([*xs],) for xs in _LISTS)
            yield from (([k + 1, k, k - 1],) for k in range(-1, 14))
            yield from (([k * 2, k * 7, k, k * 5],) for k in range(2, 10))
        case kind if kind == PAIRS:
            yield from (([*xs], [*ys]) for xs in _LISTS for ys in reversed(_LISTS))
        case kind if kind == STRINGS:
            yield from ((s,) for s in _STRINGS)
        case kind if kind == FLAGS:
            yield from ((a, b) for a in (True, False) for b in (True, False))
        case kind if kind == NUMBERS:
            two = len(task.arguments) == 2
            yield from (pair if two else pair[:1] for pair in _NUMBERS)
            yield from ((x, 1) if two else (x,) for x in range(-14, 30))


@lru_cache(maxsize=1 << 12)
def cases_for(task: ProgramTask) -> tuple[ProgramTestCase, ...]:
    """Return the test cases of a task."""
    pool = []
    for arguments in _pool(task):
        with suppress(ValueError):
            pool.append(ProgramTestCase(arguments, task.result(arguments)))
    chosen: list[ProgramTestCase] = pool[:3]
    for other in task.near_tasks():
        if len(chosen) == _COUNT:
            break
        if not any(_tells_apart(case, other) for case in chosen):
            chosen += [case for case in pool if _tells_apart(case, other)][:1]
    chosen += [case for case in pool if case not in chosen][: _COUNT - len(chosen)]
    return tuple(chosen)


def _tells_apart(case: ProgramTestCase, other: ProgramTask) -> bool:
    """Return true if the case distinguishes its task from another."""
    try:
        return not same_value(other.result(case.arguments), case.expected)
    except ValueError:
        return True
