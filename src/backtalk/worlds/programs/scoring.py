"""How good a program is, and what would mend it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from backtalk.worlds.programs.cases import cases_of
from backtalk.worlds.programs.parsing import Line, read_lines
from backtalk.worlds.programs.phrases import Manner
from backtalk.worlds.programs.repair import repairs, rewrite
from backtalk.worlds.programs.sandbox import TestRun, run_tests
from backtalk.worlds.programs.side_tasks import side_faults
from backtalk.worlds.programs.task import ProgramTask
from backtalk.worlds.world import Assessment, Issue, mend

WEIGHTS = {"correct": 0.4, "runs": 0.15, "clean": 0.1, "manner": 0.25, "safe": 0.1}
"""The share of tests passed, no error, nothing needless, the manner fits, nothing unsafe."""

_LONGEST = 2000
"""How many characters a program may have that is run."""
_MANNERS = 3
_INERT = {"comment", "no-start", "no-done"}
"""Repairs that cannot change what a program does, and so need no run to be sure."""
_EPSILON = 1e-9


@lru_cache(maxsize=1 << 14)
def tested(task: ProgramTask, program: str) -> TestRun:
    """Return what a program does on the test cases of a task."""
    cases = cases_of(task)
    if len(program) > _LONGEST:
        return TestRun((False,) * len(cases), "The program is too long.", ended=False)
    return run_tests(program, cases)


@dataclass(frozen=True)
class _Measured:
    """A program with how good it is, and what is wrong beside its steps."""

    lines: tuple[Line, ...]
    side: tuple[Issue, ...]
    run: TestRun
    aspects: dict[str, float]

    @property
    def utility(self) -> float:
        return sum(weight * self.aspects[name] for name, weight in WEIGHTS.items())


@lru_cache(maxsize=1 << 14)
def _measured(task: ProgramTask, text: str, manner: Manner) -> _Measured:
    lines = read_lines(text[:_LONGEST])
    side = tuple(side_faults(task, lines, manner))
    run = tested(task, text)
    counts = [fault.aspect for fault in side]
    aspects = {
        "correct": run.share,
        "runs": float(run.runs),
        "clean": max(0.0, 1 - counts.count("clean") / 2),
        "manner": max(0.0, 1 - counts.count("manner") / _MANNERS),
        "safe": float("safe" not in counts),
    }
    return _Measured(lines, side, run, aspects)


@lru_cache(maxsize=1 << 14)
def judge_program(task: ProgramTask, text: str, manner: Manner) -> Assessment:
    """Return the truth about a program that is to have that manner."""
    result = _measured(task, text, manner)
    passed = all(result.run.passed) and result.run.runs
    faults = () if _right(result) else _faults(task, text, manner, result)
    return Assessment(
        result.aspects,
        1.0 if _right(result) else result.utility,
        faults,
        passed=passed,
        trace="" if passed else result.run.trace,
    )


def _right(found: _Measured) -> bool:
    return found.utility > 1 - _EPSILON


def _faults(task: ProgramTask, text: str, manner: Manner, found: _Measured) -> tuple[Issue, ...]:
    """Return the smallest repairs that do not get in each other's way."""
    for faults in _proposed(task, text, manner, found):
        ordered = tuple(sorted(faults, key=lambda fault: (fault.start, fault.end)))
        if _mends(task, text, manner, ordered, found.utility):
            return ordered
    return (rewrite(task, text, manner, found.run),)


def _proposed(
    task: ProgramTask, text: str, manner: Manner, found: _Measured
) -> Iterator[list[Issue]]:
    if len(text) > _LONGEST or not any(line.sort == "header" for line in found.lines):
        return
    side = list(found.side)
    if side and tested(task, mend(text, side)).runs:
        yield side
    for whole_lines in (False, True):
        yield [*side, *repairs(task, text, found.lines, manner, whole_lines=whole_lines)]


def _mends(
    task: ProgramTask, text: str, manner: Manner, faults: tuple[Issue, ...], utility: float
) -> bool:
    """Return whether all repairs together make the program right, and none alone makes it worse."""
    if not faults or not _right(_measured(task, mend(text, faults), manner)):
        return False
    return len(faults) == 1 or all(
        fault.label in _INERT
        or _measured(task, mend(text, [fault]), manner).utility > utility - _EPSILON
        for fault in faults
    )
