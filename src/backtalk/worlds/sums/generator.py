"""Generator of answers with random errors, the training data of the small model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from backtalk.worlds.generator import TaskGenerator
from backtalk.worlds.sums.phrases import CLOSING, DONT_KNOW, LEADS, NEEDLESS, OPENING, AnswerLayout
from backtalk.worlds.sums.task import LARGEST, Operation, SumTask, evaluate, perturb
from backtalk.worlds.world import ErrorRates, Rng

_OTHER = {"+": "-", "-": "+", "*": "+", "/": "-"}
"""Operator used by mistake for each operator."""


class AnswerGenerator(TaskGenerator[SumTask, AnswerLayout]):
    """Generator of one answer."""

    def __init__(
        self, task: SumTask, layout: AnswerLayout, rng: Rng, error_rates: ErrorRates
    ) -> None:
        super().__init__(task, layout, rng, error_rates)
        self._layout = self._perturb_layout(layout)

    def write(self) -> str:
        """Return a random answer."""
        if self._happens(self._error_rates.omissions / 20):
            return DONT_KNOW
        return "\n".join(self._lines())

    def _perturb_layout(self, layout: AnswerLayout) -> AnswerLayout:
        """Return the layout with random errors."""
        names = ("working", "equals", "numbered", "unit", "opening", "closing")
        slip = self._error_rates.style / 5
        mistaken: dict[str, object] = {
            name: not getattr(layout, name) for name in names if self._happens(slip)
        }
        if self._happens(slip):
            mistaken["lead"] = self._pick([lead for lead in LEADS if lead != layout.lead])
        return replace(layout, **mistaken)  # type: ignore[arg-type]

    def _lines(self) -> Iterator[str]:
        error_rates, layout = self._error_rates, self._layout
        extra = self._extra() if self._happens(error_rates.irrelevant) else ""
        steps, answer = self._work_out_steps()
        if layout.opening:
            yield OPENING
        if layout.working:
            yield from self._working(steps, extra)
        elif extra in NEEDLESS.values():
            yield extra
        if not self._happens(error_rates.omissions / 4):
            if self._happens(error_rates.wrong_facts / 3):
                answer = perturb(answer, self._rng)
            yield layout.last(answer, self._task.thing)
            if layout.closing:
                yield CLOSING

    def _working(self, steps: Sequence[str], extra: str) -> Iterator[str]:
        gap = (
            int(self._rng.integers(len(steps)))
            if self._happens(self._error_rates.omissions)
            else -1
        )
        halfway = self._happens(0.3)
        behind = int(self._rng.integers(len(steps))) if extra else -1
        for index, step in enumerate(steps):
            if index != gap:
                yield self._layout.step(index, step)
            elif halfway:
                yield self._layout.number(index) + step[: step.index("=")].rstrip()
            if index == behind:
                yield extra.format(step=self._layout.step(index, step))

    def _extra(self) -> str:
        """Return a superfluous line; ``{step}`` in it stands for the step before it."""
        kind = self._rng.random()
        if kind < 0.4:
            return self._pick(list(NEEDLESS.values()))
        if kind < 0.6:
            return "{step}"
        number, operand = self._task.start, int(self._rng.integers(1, 21))
        if kind < 0.8:
            return self._layout.step(0, f"{number} + {operand} = {number + operand}")
        return f"{number} and {operand} or so"

    def _work_out_steps(self) -> tuple[list[str], int]:
        """Return the steps with random errors, and the resulting answer."""
        so_far, steps = self._task.start, []
        for index, operation in enumerate(self._task.operations):
            right = _apply_operations(so_far, [operation])
            if right is None:
                break
            applied, result = operation, right
            if self._happens(self._error_rates.wrong_facts * 0.45):
                applied, result = self._wrong_step(
                    so_far, operation, right, self._task.operations[index + 1 :]
                )
            left, operator, operand = applied.step(so_far)
            steps.append(f"{left} {operator} {operand} = {result}")
            so_far = result
        return steps, so_far

    def _wrong_step(
        self, so_far: int, operation: Operation, right: int, later: Sequence[Operation]
    ) -> tuple[Operation, int]:
        """Return a wrong operation or result from which the later steps can follow."""
        other = replace(operation, operator=_OTHER[operation.operator])
        nearby = replace(operation, operand=max(1, perturb(operation.operand, self._rng)))
        tries: list[tuple[Operation, int | None]] = [
            (operation, perturb(right, self._rng)),
            (other, _apply_operations(so_far, [other])),
            (nearby, _apply_operations(so_far, [nearby])),
        ]
        for applied, result in (tries[at] for at in self._rng.permutation(len(tries))):
            if result not in {None, right} and _apply_operations(result, later) is not None:
                return applied, result
        return operation, right


def _apply_operations(so_far: int | None, operations: Sequence[Operation]) -> int | None:
    """Return the result of operations on a number, ``None`` if one is out of bounds."""
    for operation in operations:
        if so_far is None:
            return None
        so_far = evaluate(*operation.step(so_far))
        if so_far is not None and not 0 <= so_far <= LARGEST:
            return None
    return so_far
