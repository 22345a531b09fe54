"""A writer of answers, of any care: what the small model is trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from backtalk.worlds.generator import TaskGenerator
from backtalk.worlds.sums.phrases import CLOSING, DONT_KNOW, LEADS, NEEDLESS, OPENING, Layout
from backtalk.worlds.sums.task import LARGEST, Move, SumTask, near, work_out
from backtalk.worlds.world import ErrorRates, Rng

_OTHER = {"+": "-", "-": "+", "*": "+", "/": "-"}
"""Which operation is taken for which by mistake."""


class AnswerGenerator(TaskGenerator[SumTask, Layout]):
    """Writes one answer."""

    def __init__(self, task: SumTask, manner: Layout, rng: Rng, care: ErrorRates) -> None:
        super().__init__(task, manner, rng, care)
        self._layout = self._as_understood(manner)

    def write(self) -> str:
        """Return the answer."""
        if self._happens(self._care.omissions / 20):
            return DONT_KNOW
        return "\n".join(self._lines())

    def _as_understood(self, layout: Layout) -> Layout:
        """Return the layout as the writer has it in mind."""
        names = ("working", "equals", "numbered", "unit", "opening", "closing")
        slip = self._care.style / 5
        mistaken: dict[str, object] = {
            name: not getattr(layout, name) for name in names if self._happens(slip)
        }
        if self._happens(slip):
            mistaken["lead"] = self._pick([lead for lead in LEADS if lead != layout.lead])
        return replace(layout, **mistaken)  # type: ignore[arg-type]

    def _lines(self) -> Iterator[str]:
        care, layout = self._care, self._layout
        extra = self._extra() if self._happens(care.irrelevant) else ""
        steps, answer = self._worked_out()
        if layout.opening:
            yield OPENING
        if layout.working:
            yield from self._working(steps, extra)
        elif extra in NEEDLESS.values():
            yield extra
        if not self._happens(care.omissions / 4):
            if self._happens(care.wrong_facts / 3):
                answer = near(answer, self._probability)
            yield layout.last(answer, self._task.thing)
            if layout.closing:
                yield CLOSING

    def _working(self, steps: Sequence[str], extra: str) -> Iterator[str]:
        gap = (
            int(self._probability.integers(len(steps)))
            if self._happens(self._care.omissions)
            else -1
        )
        halfway = self._happens(0.3)
        behind = int(self._probability.integers(len(steps))) if extra else -1
        for index, step in enumerate(steps):
            if index != gap:
                yield self._layout.step(index, step)
            elif halfway:
                yield self._layout.number(index) + step[: step.index("=")].rstrip()
            if index == behind:
                yield extra.format(step=self._layout.step(index, step))

    def _extra(self) -> str:
        """Return a line that nobody asked for; an empty place in it is for the step before it."""
        kind = self._probability.random()
        if kind < 0.4:
            return self._pick(list(NEEDLESS.values()))
        if kind < 0.6:
            return "{step}"
        number, operand = self._task.start, int(self._probability.integers(1, 21))
        if kind < 0.8:
            return self._layout.step(0, f"{number} + {operand} = {number + operand}")
        return f"{number} and {operand} or so"

    def _worked_out(self) -> tuple[list[str], int]:
        """Return the steps as the writer does them, and what comes out."""
        so_far, steps = self._task.start, []
        for index, move in enumerate(self._task.moves):
            right = _follow(so_far, [move])
            if right is None:
                break
            taken, result = move, right
            if self._happens(self._care.wrong_facts * 0.45):
                taken, result = self._slip(so_far, move, right, self._task.moves[index + 1 :])
            left, operation, operand = taken.step(so_far)
            steps.append(f"{left} {operation} {operand} = {result}")
            so_far = result
        return steps, so_far

    def _slip(self, so_far: int, move: Move, right: int, later: Sequence[Move]) -> tuple[Move, int]:
        """Return a step taken or worked out wrongly, where the later ones can follow from it."""
        other = replace(move, operation=_OTHER[move.operation])
        nearby = replace(move, operand=max(1, near(move.operand, self._probability)))
        tries: list[tuple[Move, int | None]] = [
            (move, near(right, self._probability)),
            (other, _follow(so_far, [other])),
            (nearby, _follow(so_far, [nearby])),
        ]
        for taken, result in (tries[at] for at in self._probability.permutation(len(tries))):
            if result not in {None, right} and _follow(result, later) is not None:
                return taken, result
        return move, right


def _follow(so_far: int | None, moves: Sequence[Move]) -> int | None:
    """Return what moves make of a number, or ``None`` where a result is out of bounds."""
    for move in moves:
        if so_far is None:
            return None
        so_far = work_out(*move.step(so_far))
        if so_far is not None and not 0 <= so_far <= LARGEST:
            return None
    return so_far
