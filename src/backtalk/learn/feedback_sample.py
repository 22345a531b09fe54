"""Feedback samples: the first cases of a training set, held in memory and converted once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import Any, Self

from backtalk.feedback.case import Case
from backtalk.feedback.kinds import KINDS
from backtalk.learn.training_set import Across, TrainingSet

MAX_CASES = 2_000
"""Maximum number of cases of a sample, and of interactions without feedback."""
MIN_CASES_OF_A_KIND = 200
"""Number of cases that are read of a kind which the first cases do not have."""


class FeedbackSample(TrainingSet):
    """Training set that reads no more than a few thousand cases, each once.

    It tells within seconds whether a method finds anything to learn from. Conversions are
    cached for the next method that needs them.

    Parameters
    ----------
    feedback : TrainingSet
        Training set to sample; its split, kinds, position and aspect apply.
    """

    def __init__(self, feedback: TrainingSet) -> None:
        super().__init__(
            feedback.store,
            split=feedback.split,
            kinds=feedback.kinds,
            until=feedback.until,
            aspect=feedback.aspect,
        )
        self.writes = feedback.writes
        self.requested = feedback.requested
        self._drawn = feedback._drawn  # noqa: SLF001 - a training set too
        self._converted: dict[Any, dict[str, list[Any]]] = {}
        self._variants: dict[Any, Self] = {}

    @cached_property
    def _cases(self) -> list[Case]:
        cases: dict[str, Case] = {}
        counts = self.store.counts()
        self._read(cases, self.kinds or [*KINDS], MAX_CASES)
        for kind in self.kinds or KINDS:
            present = any(item.kind == kind for case in cases.values() for item in case.feedback)
            if counts.get(kind) and not present:
                self._read(cases, [kind], MIN_CASES_OF_A_KIND)
        return list(cases.values())

    @property
    def is_whole(self) -> bool:
        """True if the sample holds all cases of the training set."""
        return len(self._cases) < MAX_CASES

    def _read(self, cases: dict[str, Case], kinds: Sequence[str], limit: int) -> None:
        included = (
            case
            for case in self.store.cases(kinds=kinds, until=self.until)
            if self._includes(case.interaction.prompt)
        )
        for case in islice(included, limit):
            known = cases.get(case.interaction.id)
            feedback = case.feedback if known is None else (*known.feedback, *case.feedback)
            cases[case.interaction.id] = Case(case.interaction, feedback)

    @cached_property
    def _interactions(self) -> list[Case]:
        return list(islice(super().every_case(), MAX_CASES))

    def cases(self) -> Iterator[Case]:
        """Iterate over the cases of the sample."""
        yield from map(self._as_read, self._cases)

    def every_case(self) -> Iterator[Case]:
        """Iterate over the first cases of the split, also those without feedback."""
        yield from self._interactions

    def by_kind(
        self,
        target: type[Any],
        *,
        across: Across = "prompt",
        progress: Callable[[int], None] | None = None,
    ) -> dict[str, list[Any]]:
        """Return the feedback of the sample converted to a view, by kind of feedback.

        Parameters
        ----------
        target : type[View]
            View to convert to.
        across : {"prompt", "interaction"}, default "prompt"
            As for :meth:`~backtalk.learn.training_set.TrainingSet.by_kind`.
        progress : Callable[[int], None], optional
            Function called with the number of cases read so far.
        """
        key = target, across
        if key not in self._converted:
            self._converted[key] = super().by_kind(target, across=across, progress=progress)
        return self._converted[key]

    def _changed(self, **fields: object) -> Self:
        key = tuple(sorted(fields.items(), key=lambda item: item[0]))
        if key not in self._variants:
            other = super()._changed(**fields)
            vars(other).update(
                _cases=self._cases, _interactions=self._interactions, _converted={}, _variants={}
            )
            self._variants[key] = other
        return self._variants[key]
