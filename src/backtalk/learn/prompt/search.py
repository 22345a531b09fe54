"""Search for a better prompt: proposals, races on paired examples, a gate, and a confirmation.

Each round, proposers make candidates from the prompt that leads, and the candidates race; see
:mod:`~backtalk.learn.prompt.race`. What leads is the search's best guess and no claim. The claim is
made by the confirmation, on prompts that no step saw; see :mod:`~backtalk.stats.search_gate`. With
a budget, rounds have as many candidates, and heats as many examples, as it allows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from backtalk.feedback.interaction import Prompt
from backtalk.feedback.record import Record
from backtalk.learn.context import MethodContext
from backtalk.learn.lazy_modules import np
from backtalk.learn.prompt.allowance import Allowance, OutOfBudget
from backtalk.learn.prompt.confirmation import MIN_CONFIRMATION, Confirmer
from backtalk.learn.prompt.evaluation import Evaluator
from backtalk.learn.prompt.protocol import (
    PromptCandidate,
    Proposer,
    SearchState,
    Signal,
    Trial,
)
from backtalk.learn.prompt.race import Race, affordable_entrants, paired_differences
from backtalk.learn.prompt.tools.calls import ToolDefinition
from backtalk.models import BudgetExceeded

if TYPE_CHECKING:
    from backtalk.stats.search_gate import Confirmation


class SearchSettings(Record):
    """Settings of a search."""

    candidates: Annotated[int, Field(ge=1)] = 20
    """Maximum number of candidates that race."""
    width: Annotated[int, Field(ge=1)] = 6
    """Number of candidates of a round."""
    patience: Annotated[int, Field(ge=1)] = 2
    """Number of rounds without a new leader after which the search stops."""
    batch: Annotated[int, Field(ge=2)] = 8
    """Number of examples of the first heat of a race; each further heat has twice as many."""
    level: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Probability that no improvement is reported if there is none."""
    repeats: Annotated[int, Field(ge=1)] = 1
    """Number of answers to each prompt of the confirmation. More of them show smaller gains where a
    model answers at random."""
    pareto: bool = False
    """If true, proposers build on candidates that are best on some example."""


@dataclass(frozen=True)
class SearchResult:
    """Result of a search."""

    trials: list[Trial]
    """All candidates; the first is the seed."""
    winner: int
    """Index of the candidate with the best estimate; 0 if none is better than the seed."""
    confirmation: Confirmation | None
    """Estimate of the winner on new prompts; ``None`` without a winner, or if the budget ended."""
    stopped: str
    """Reason why the search ended."""
    answers: int
    """Number of answers that were evaluated, those from the cache included."""

    @property
    def improved(self) -> bool:
        """True if the winner is shown to be better than the seed."""
        return self.confirmation is not None and self.confirmation.improved

    @property
    def best(self) -> PromptCandidate:
        """Winner if it is shown to be better, or else the seed."""
        return self.trials[self.winner if self.improved else 0].candidate


async def search(
    context: MethodContext,
    signal: Signal,
    proposers: Sequence[Proposer],
    *,
    examples: Sequence[Prompt],
    confirmation: Sequence[Prompt],
    confirmation_signal: Signal | None = None,
    settings: SearchSettings | None = None,
    tools: Mapping[str, Sequence[ToolDefinition]] | None = None,
    reserved: int | None = None,
) -> SearchResult:
    """Search for a better prompt of the policy to improve.

    It stops when the proposers have no further idea, after ``patience`` rounds without progress,
    after ``candidates``, or when the run's budget is spent but for the confirmation. Within a run
    that has a folder, a search that was killed goes on without repeating a paid call.

    Parameters
    ----------
    context : MethodContext
        Policy, feedback for the proposers, and run.
    signal : Signal
        Signal that scores answers.
    proposers : sequence of Proposer
        Sources of candidates, each of which is asked in every round.
    examples : sequence of Prompt
        Prompts of the search.
    confirmation : sequence of Prompt
        Other prompts, which nothing but the final estimate uses.
    confirmation_signal : Signal, optional
        Signal of the confirmation, such as one fitted to the feedback on its prompts alone;
        ``signal`` by default.
    settings : SearchSettings, optional
        Settings; the defaults suit 20 to 200 prompts.
    tools : Mapping[str, sequence of ToolDefinition], optional
        Definitions of tools that answers may call, by key of the prompt.
    reserved : int, optional
        Number of prompts of the confirmation for which the search leaves room in a budget; all by
        default. If the search leaves more, the confirmation has more.
    """
    running = _Search(
        context,
        signal,
        examples,
        confirmation,
        settings or SearchSettings(),
        tools or {},
        len(confirmation) if reserved is None else reserved,
    )
    stopped = await running.run(proposers)
    return await running.finish(stopped, confirmation_signal or signal)


@dataclass
class _Search:
    context: MethodContext
    signal: Signal
    examples: Sequence[Prompt]
    confirmation: Sequence[Prompt]
    settings: SearchSettings
    tools: Mapping[str, Sequence[ToolDefinition]]
    reserved: int
    trials: list[Trial] = field(default_factory=list)
    incumbent: int = 0
    round: int = 0

    def __post_init__(self) -> None:
        from backtalk.stats.search_gate import SearchGate  # noqa: PLC0415 - slow to import

        self.trials.append(Trial(PromptCandidate.of(self.context.policy)))
        self.rng = np.random.default_rng([self.context.run.seed, 23])
        # Proposers and races begin with the first examples, and share the answers to them.
        self.examples = [self.examples[i] for i in self.rng.permutation(len(self.examples))]
        self.evaluator = Evaluator(
            self.context, self.signal, self.examples, seed=1, tools=self.tools
        )
        self.gate = SearchGate(self.settings.level, self.settings.candidates)
        self.allowance = Allowance(
            self.context.run,
            getattr(self.context.policy.model, "model", ""),
            2 * self.settings.repeats * min(self.reserved, len(self.confirmation)),
        )

    @property
    def room(self) -> float:
        """Number of further answers that the search may have.

        After a round without a leader there is nothing to confirm yet, and half of what is reserved
        may go into the next round.
        """
        allowance = self.allowance
        if self.round > 1 and not self.incumbent:
            allowance = replace(allowance, reserve=allowance.reserve // 2)
        return allowance.room(self.evaluator.used)

    async def run(self, proposers: Sequence[Proposer]) -> str:
        """Run rounds until the search ends, and return the reason."""
        idle = 0
        total = self.settings.candidates
        with self.context.run.task("searching for a better prompt", total) as step:
            try:
                while len(self.trials) <= total:
                    if idle == self.settings.patience:
                        return f"{idle} rounds without progress"
                    entrants = await self._propose(proposers)
                    if not entrants:
                        return "no further proposals"
                    leader = self.incumbent
                    self.incumbent = await self._race(entrants)
                    idle = idle + 1 if self.incumbent == leader else 0
                    step(min(len(self.trials) - 1, total), f"best {self._gain():+.3f}")
            except (OutOfBudget, BudgetExceeded):
                return "the budget is spent"
        return f"{total} candidates"

    async def _propose(self, proposers: Sequence[Proposer]) -> list[Trial]:
        """Return trials of new candidates, at most those of a round."""
        self.round += 1
        count = min(self.settings.width, self.settings.candidates + 1 - len(self.trials))
        if math.isfinite(self.room):
            count = min(count, affordable_entrants(self.room))
            if count < 1:
                raise OutOfBudget
        known = {trial.candidate.version for trial in self.trials}
        new = {
            candidate.version: Trial(candidate)
            for candidate in reversed(await self._candidates(proposers, count))
            if candidate.version not in known
        }
        chosen = list(reversed(new.values()))[:count]
        self.trials += chosen
        return chosen

    async def _candidates(self, proposers: Sequence[Proposer], count: int) -> list[PromptCandidate]:
        """Return candidates of proposers that take turns.

        If a budget allows few, proposers are asked one after another, another one first in each
        round, until there are enough.
        """
        state = SearchState(
            self.context,
            self.signal,
            list(self.examples),
            self.trials,
            self.incumbent,
            self.rng,
            self._evaluate_for_proposer,
            self.settings.pareto,
            lambda: self.room,
        )
        if count >= 2 * len(proposers) or not self.allowance.is_limited:
            lists = [await proposer.propose(state, count) for proposer in proposers]
            longest = max(map(len, lists), default=0)
            return [one[i] for i in range(longest) for one in lists if i < len(one)]
        known = {trial.candidate.version for trial in self.trials}
        first = (self.round - 1) % len(proposers)
        candidates: list[PromptCandidate] = []
        for proposer in (*proposers[first:], *proposers[:first]):
            candidates += await proposer.propose(state, count)
            if len({candidate.version for candidate in candidates} - known) >= count:
                break
        return candidates

    async def _evaluate_for_proposer(
        self, jobs: Sequence[tuple[PromptCandidate, int]]
    ) -> list[tuple[str, float]]:
        self._require(self.evaluator.count_missing(jobs))
        return await self.evaluator.evaluate(jobs)

    def _require(self, answers: int) -> None:
        if answers > self.room:
            raise OutOfBudget

    async def _race(self, entrants: Sequence[Trial]) -> int:
        """Return the index of the candidate that leads after a race."""
        race = Race(
            self.trials,
            self.incumbent,
            len(self.examples),
            self._evaluate_for_proposer,
            self.gate,
            self.settings.batch,
            (lambda: self.room) if self.allowance.is_limited else None,
        )
        return await race.run(entrants)

    def _gain(self) -> float:
        """Return the mean difference of the incumbent and the seed on the examples of both."""
        differences = paired_differences(self.trials[self.incumbent], self.trials[0])
        return float(differences.mean()) if differences.size else 0.0

    async def finish(self, stopped: str, signal: Signal) -> SearchResult:
        """Nominate the candidate with the best estimate, and estimate it again on new prompts."""
        winner = self._nominee()
        confirmation, answers = None, 0
        if winner and self.confirmation:
            checker = Evaluator(self.context, signal, self.confirmation, seed=2, tools=self.tools)
            try:
                confirmation = await self._confirm(winner, checker)
            except BudgetExceeded:
                stopped = "the budget ended before the confirmation"
            answers = checker.used.calls
        return SearchResult(
            self.trials, winner, confirmation, stopped, self.evaluator.used.calls + answers
        )

    def _nominee(self) -> int:
        """Return the index of the best of the candidates with the most examples, or 0."""
        most = max((len(trial.scores) for trial in self.trials[1:]), default=0)
        leader = self.trials[self.incumbent]
        finalists = [t for t in self.trials[1:] if t is leader or most == len(t.scores) > 0]
        leads = {
            self.trials.index(t): paired_differences(t, self.trials[0]).mean() for t in finalists
        }
        best = max(leads, key=lambda index: leads[index], default=0)
        return best if best and leads[best] > 0 else 0

    async def _confirm(self, winner: int, evaluator: Evaluator) -> Confirmation:
        limit = replace(self.allowance, reserve=0).room(self.evaluator.used) // 2
        pairs = min(len(self.confirmation) * self.settings.repeats, max(limit, MIN_CONFIRMATION))
        confirmer = Confirmer(
            evaluator,
            self.trials[winner].candidate,
            self.trials[0].candidate,
            paired_differences(self.trials[winner], self.trials[0]),
            self.settings.level,
            self.settings.repeats,
        )
        return await confirmer.run(int(pairs), stops_early=self.allowance.is_limited)
