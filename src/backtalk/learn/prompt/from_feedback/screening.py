"""Screening of many changes of a prompt at once, by a designed experiment.

Twenty lines could be tried one by one, each on all examples. Here each answer is to a prompt with a
random third of the changes, and a regression finds the effect of each change from all answers
together: Plackett and Burman (1946), "The design of optimum multifactorial experiments". One change
costs about as many answers as all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from backtalk.learn.lazy_modules import np
from backtalk.learn.prompt.edits import lines, with_rules
from backtalk.learn.prompt.protocol import PromptCandidate, SearchState

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SHARE = 1 / 3
"""Share of the changes that one prompt has: with more, changes hide one another."""
_PER_CHANGE = 5
"""Number of answers for each change."""
_MIN_ANSWERS = 24
_MIN_PER_CHANGE = 2
"""Minimum number of answers for each change where a budget limits them."""
_BUDGET_SHARE = 0.5
"""Share of what is left of a budget that a screening may take."""
_PRIOR = 4.0
"""Weight of the prior that a change has no effect, in answers."""


@dataclass(frozen=True)
class Change:
    """Addition or removal of a line."""

    line: str
    removes: bool = False

    @property
    def note(self) -> str:
        """Description in a few words."""
        return f"{'remove' if self.removes else 'add'}: {self.line}"


def apply_changes(
    candidate: PromptCandidate, changes: Sequence[Change], *, proposer: str
) -> PromptCandidate:
    """Return a prompt with changes.

    Parameters
    ----------
    candidate : PromptCandidate
        Prompt to change.
    changes : sequence of Change
        Additions, which become rules, and removals.
    proposer : str
        Name of the proposer.
    """
    removed = {change.line for change in changes if change.removes}
    added = [change.line for change in changes if not change.removes]
    system = "\n".join(
        line for line in (candidate.system or "").split("\n") if line not in removed
    ).strip()
    rules = [rule for rule in candidate.template.rules if rule not in removed]
    note = "; ".join(change.note for change in changes)
    return with_rules(
        replace(candidate, system=system or None), [*rules, *added], proposer=proposer, note=note
    )


def possible_changes(candidate: PromptCandidate, suggested: Sequence[str]) -> list[Change]:
    """Return the removals of a prompt's lines, then the additions of suggested ones."""
    now = lines(candidate)
    removals = [Change(line, removes=True) for line in now]
    return [*removals, *(Change(line) for line in suggested if line not in now)]


@dataclass(frozen=True)
class Effects:
    """Estimated effects of changes on the score."""

    changes: Sequence[Change]
    values: NDArray[np.float64]
    errors: NDArray[np.float64]
    """Standard errors."""

    def above(self, threshold: float) -> list[Change]:
        """Return the changes whose effect is at least that many standard errors above 0."""
        ratios = self.values / self.errors
        order = np.argsort(-ratios)
        return [self.changes[i] for i in order if ratios[i] > threshold]


async def screen(state: SearchState, changes: Sequence[Change]) -> Effects:
    """Return the effects of changes of the prompt that leads.

    Parameters
    ----------
    state : SearchState
        State of the search; the answers count in its budget.
    changes : sequence of Change
        Changes, at least one.
    """
    base = state.best.candidate
    count = _affordable(state, changes)
    design = _design(count, len(changes), state.rng)
    indices = [row % len(state.examples) for row in range(count)]
    jobs = [
        (
            apply_changes(
                base, [changes[j] for j in np.flatnonzero(row).tolist()], proposer="screening"
            ),
            index,
        )
        for row, index in zip(design, indices, strict=True)
    ]
    results = await state.evaluate([*jobs, *((base, index) for index in indices)])
    scores = np.array([score for _, score in results]).reshape(2, count)
    values, errors = regress(design, scores[0] - scores[1])
    return Effects(changes, values, errors)


def can_screen(state: SearchState, changes: Sequence[Change]) -> bool:
    """Return whether the budget allows enough answers to tell the effects of changes apart."""
    return _affordable(state, changes) >= _MIN_PER_CHANGE * len(changes)


def _affordable(state: SearchState, changes: Sequence[Change]) -> int:
    """Return the number of answers of a screening, at most a share of those left in a budget."""
    count = max(_MIN_ANSWERS, _PER_CHANGE * len(changes))
    # Each has one to the prompt that leads beside it.
    return int(min(count, _BUDGET_SHARE * state.room() / 2))


def _design(rows: int, columns: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a random design in which each column has the same number of ones."""
    ones = max(1, round(rows * _SHARE))
    pattern = np.repeat([1.0, 0.0], [ones, rows - ones])
    return np.stack([rng.permutation(pattern) for _ in range(columns)], axis=1)


def regress(
    design: NDArray[np.float64], outcomes: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return ridge coefficients, and their standard errors.

    Parameters
    ----------
    design : numpy.ndarray, shape (n, changes)
        One where an answer's prompt has a change, and zero elsewhere.
    outcomes : numpy.ndarray, shape (n,)
        Scores less those of the same example without changes.
    """
    precision = design.T @ design + _PRIOR * np.eye(design.shape[1])
    inverse = np.linalg.inv(precision)
    values = inverse @ (design.T @ outcomes)
    residuals = outcomes - design @ values
    freedom = max(1.0, len(outcomes) - np.trace(design @ inverse @ design.T))
    variance = max(float(residuals @ residuals) / freedom, 1e-9)
    return values, np.sqrt(variance * np.diag(inverse))
