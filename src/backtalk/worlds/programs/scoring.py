"""True utility of a program, with its issues."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from backtalk.worlds.programs.cases import cases_for
from backtalk.worlds.programs.parsing import ProgramLine, read_lines
from backtalk.worlds.programs.phrases import ProgramStyle
from backtalk.worlds.programs.repair import repairs, rewrite
from backtalk.worlds.programs.sandbox import TestRun, run_tests
from backtalk.worlds.programs.side_tasks import side_issues
from backtalk.worlds.programs.task import ProgramTask
from backtalk.worlds.world import Assessment, Issue, apply_fixes

WEIGHTS = {"correct": 0.4, "runs": 0.15, "clean": 0.1, "manner": 0.25, "safe": 0.1}
"""Weights of: tests passed, no error, nothing needless, right style, nothing unsafe."""

_MAX_LENGTH = 2000
"""Maximum length of a program that is run, in characters."""
_STYLE_FEATURES = 3
_INERT = {"comment", "no-start", "no-done"}
"""Labels of fixes that cannot change behaviour and need no test run."""
_EPSILON = 1e-9


@lru_cache(maxsize=1 << 14)
def run_task_tests(task: ProgramTask, program: str) -> TestRun:
    """Return the result of a program on the test cases of a task."""
    cases = cases_for(task)
    if len(program) > _MAX_LENGTH:
        return TestRun((False,) * len(cases), "The program is too long.", completed=False)
    return run_tests(program, cases)


@dataclass(frozen=True)
class _Measurement:
    """Aspects, test run and side issues of a program."""

    lines: tuple[ProgramLine, ...]
    side: tuple[Issue, ...]
    run: TestRun
    aspects: dict[str, float]

    @property
    def utility(self) -> float:
        return sum(weight * self.aspects[name] for name, weight in WEIGHTS.items())


@lru_cache(maxsize=1 << 14)
def _measure(task: ProgramTask, text: str, style: ProgramStyle) -> _Measurement:
    lines = read_lines(text[:_MAX_LENGTH])
    side = tuple(side_issues(task, lines, style))
    run = run_task_tests(task, text)
    counts = [issue.aspect for issue in side]
    aspects = {
        "correct": run.share,
        "runs": float(run.runs),
        "clean": max(0.0, 1 - counts.count("clean") / 2),
        "manner": max(0.0, 1 - counts.count("manner") / _STYLE_FEATURES),
        "safe": float("safe" not in counts),
    }
    return _Measurement(lines, side, run, aspects)


@lru_cache(maxsize=1 << 14)
def score_program(task: ProgramTask, text: str, style: ProgramStyle) -> Assessment:
    """Return the assessment of a program.

    Parameters
    ----------
    task : ProgramTask
        Task that the text answers.
    text : str
        Text of the program.
    style : ProgramStyle
        Required style.
    """
    result = _measure(task, text, style)
    passed = all(result.run.passed) and result.run.runs
    issues = () if _is_perfect(result) else _find_issues(task, text, style, result)
    return Assessment(
        result.aspects,
        1.0 if _is_perfect(result) else result.utility,
        issues,
        passed=passed,
        trace="" if passed else result.run.trace,
    )


def _is_perfect(measurement: _Measurement) -> bool:
    return measurement.utility > 1 - _EPSILON


def _find_issues(
    task: ProgramTask, text: str, style: ProgramStyle, measurement: _Measurement
) -> tuple[Issue, ...]:
    """Return the smallest fixes that are compatible with each other."""
    for issues in _candidate_fixes(task, text, style, measurement):
        ordered = tuple(sorted(issues, key=lambda issue: (issue.start, issue.end)))
        if _fixes_work(task, text, style, ordered, measurement.utility):
            return ordered
    return (rewrite(task, text, style, measurement.run),)


def _candidate_fixes(
    task: ProgramTask, text: str, style: ProgramStyle, measurement: _Measurement
) -> Iterator[list[Issue]]:
    if len(text) > _MAX_LENGTH or not any(line.kind == "header" for line in measurement.lines):
        return
    side = list(measurement.side)
    if side and run_task_tests(task, apply_fixes(text, side)).runs:
        yield side
    for whole_lines in (False, True):
        yield [*side, *repairs(task, text, measurement.lines, style, whole_lines=whole_lines)]


def _fixes_work(
    task: ProgramTask, text: str, style: ProgramStyle, issues: tuple[Issue, ...], utility: float
) -> bool:
    """Return true if all fixes together make the program right and none alone makes it worse."""
    if not issues or not _is_perfect(_measure(task, apply_fixes(text, issues), style)):
        return False
    return len(issues) == 1 or all(
        issue.label in _INERT
        or _measure(task, apply_fixes(text, [issue]), style).utility > utility - _EPSILON
        for issue in issues
    )
