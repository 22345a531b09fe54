"""Search for a better prompt: proposals, races on paired examples, a gate, and a confirmation.

Each round, proposers make candidates from the prompt that leads. The candidates race: all answer a
few examples, the better half answers twice as many, and so on (successive halving: Jamieson and
Talwalkar 2016, "Non-stochastic best arm identification and hyperparameter optimization"). The best
leads if it is ahead by half a standard error. What leads is the search's best guess and no claim.
The claim is made by the confirmation, on prompts that no step saw; see
:mod:`~backtalk.stats.search_gate`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from backtalk.feedback.interaction import Prompt
from backtalk.feedback.record import Record
from backtalk.learn.context import MethodContext
from backtalk.learn.lazy_modules import np
from backtalk.learn.prompt.allowance import Allowance
from backtalk.learn.prompt.evaluation import Evaluator
from backtalk.learn.prompt.protocol import (
    PromptCandidate,
    Proposer,
    SearchState,
    Signal,
    Trial,
)
from backtalk.learn.prompt.tools.calls import ToolDefinition
from backtalk.models import BudgetExceeded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from backtalk.stats.search_gate import Confirmation

_LEAD = 0.5
"""Number of standard errors by which a candidate takes the lead. It is low, as steps of a search
are small, and a false one does not pass the confirmation."""


_CONFIRMED_AT_ONCE = 16
"""Number of prompts of a confirmation that are answered together."""
MIN_CONFIRMATION = 4
"""Minimum number of prompts of a confirmation."""


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
    """
    running = _Search(
        context, signal, examples, confirmation, settings or SearchSettings(), tools or {}
    )
    stopped = await running.run(proposers)
    return await running.finish(stopped, confirmation_signal or signal)


class _OutOfBudget(Exception):
    """End of a search whose budget is spent but for the confirmation."""


@dataclass
class _Search:
    context: MethodContext
    signal: Signal
    examples: Sequence[Prompt]
    confirmation: Sequence[Prompt]
    settings: SearchSettings
    tools: Mapping[str, Sequence[ToolDefinition]]
    trials: list[Trial] = field(default_factory=list)
    incumbent: int = 0

    def __post_init__(self) -> None:
        from backtalk.stats.search_gate import SearchGate  # noqa: PLC0415 - slow to import

        self.trials.append(Trial(PromptCandidate.of(self.context.policy)))
        self.evaluator = Evaluator(
            self.context, self.signal, self.examples, seed=1, tools=self.tools
        )
        self.gate = SearchGate(self.settings.level, self.settings.candidates)
        self.rng = np.random.default_rng([self.context.run.seed, 23])
        self.order: list[int] = self.rng.permutation(len(self.examples)).tolist()
        self.allowance = Allowance(
            self.context.run,
            getattr(self.context.policy.model, "model", ""),
            2 * self.settings.repeats * len(self.confirmation),
        )

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
                    await self._race(entrants)
                    idle = idle + 1 if self.incumbent == leader else 0
                    step(min(len(self.trials) - 1, total), f"best {self._gain():+.3f}")
            except (_OutOfBudget, BudgetExceeded):
                return "the budget is spent"
        return f"{total} candidates"

    async def _propose(self, proposers: Sequence[Proposer]) -> list[Trial]:
        """Return trials of new candidates, at most those of a round, taking turns."""
        room = min(self.settings.width, self.settings.candidates + 1 - len(self.trials))
        state = SearchState(
            self.context,
            self.signal,
            list(self.examples),
            self.trials,
            self.incumbent,
            self.rng,
            self._evaluate_for_proposer,
            self.settings.pareto,
        )
        known = {trial.candidate.version for trial in self.trials}
        lists = [await proposer.propose(state, room) for proposer in proposers]
        turns = [
            candidates[position]
            for position in range(max(map(len, lists), default=0))
            for candidates in lists
            if position < len(candidates)
        ]
        new = {c.version: Trial(c) for c in reversed(turns) if c.version not in known}
        chosen = list(reversed(new.values()))[:room]
        self.trials += chosen
        return chosen

    async def _evaluate_for_proposer(
        self, jobs: Sequence[tuple[PromptCandidate, int]]
    ) -> list[tuple[str, float]]:
        self._require(self.evaluator.count_missing(jobs))
        return await self.evaluator.evaluate(jobs)

    def _require(self, answers: int) -> None:
        if not self.allowance.permits(self.evaluator.used, answers):
            raise _OutOfBudget

    async def _race(self, entrants: Sequence[Trial]) -> None:
        """Let candidates race against the incumbent, and let the best lead if it is better."""
        alive = list(entrants)
        size = min(self.settings.batch, len(self.examples))
        while alive:
            await self._fill([self.trials[self.incumbent], *alive], self.order[:size])
            for trial in alive:
                self._test(trial)
            alive = self._survivors(alive, last=size == len(self.examples))
            if size == len(self.examples) or (alive and all(trial.accepted for trial in alive)):
                break
            size = min(2 * size, len(self.examples))
        if alive:
            self.incumbent = self.trials.index(max(alive, key=self._lead))

    async def _fill(self, trials: Sequence[Trial], indices: Sequence[int]) -> None:
        """Add the answers and scores of trials on examples."""
        jobs = [(t.candidate, i) for t in trials for i in indices if i not in t.scores]
        self._require(self.evaluator.count_missing(jobs))
        results = iter(await self.evaluator.evaluate(jobs))
        for trial in trials:
            for index in indices:
                if index not in trial.scores:
                    trial.answers[index], trial.scores[index] = next(results)

    def _differences(self, trial: Trial, other: int) -> NDArray[np.float64]:
        scores = self.trials[other].scores
        shared = [index for index in self.order if index in trial.scores and index in scores]
        return np.array([trial.scores[index] - scores[index] for index in shared])

    def _test(self, trial: Trial) -> None:
        from backtalk.stats.search_gate import log_evidence  # noqa: PLC0415 - slow to import

        differences = self._differences(trial, self.incumbent)
        trial.evidence = log_evidence(differences)
        trial.accepted |= self.gate.accepts(self.trials.index(trial), differences)

    def _lead(self, trial: Trial) -> float:
        return float(self._differences(trial, self.incumbent).mean())

    def _survivors(self, trials: Sequence[Trial], *, last: bool) -> list[Trial]:
        """Return the better half of those that may be better; at the end those that seem so."""
        alive = []
        for trial in trials:
            differences = self._differences(trial, self.incumbent)
            error = differences.std(ddof=1) / len(differences) ** 0.5
            bound = differences.mean() + (-_LEAD if last else 1) * error
            if bound > 0 or trial.accepted:
                alive.append(trial)
        if last:
            return alive
        return sorted(alive, key=self._lead, reverse=True)[: -(-len(trials) // 2)]

    def _gain(self) -> float:
        """Return the mean difference of the incumbent and the seed on the examples of both."""
        differences = self._differences(self.trials[self.incumbent], 0)
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
        leads = {self.trials.index(t): self._differences(t, 0).mean() for t in finalists}
        best = max(leads, key=lambda index: leads[index], default=0)
        return best if best and leads[best] > 0 else 0

    async def _confirm(self, winner: int, evaluator: Evaluator) -> Confirmation:
        from backtalk.stats.search_gate import confirm_gain  # noqa: PLC0415 - slow to import

        number = len(self.confirmation)
        candidates = (self.trials[winner].candidate, self.trials[0].candidate)
        scores: list[list[float]] = [[], []]
        # Pairs of answers, so that those before the end of a budget are of use.
        for start in range(0, number * self.settings.repeats, _CONFIRMED_AT_ONCE):
            indices = range(number * self.settings.repeats)[start : start + _CONFIRMED_AT_ONCE]
            try:
                results = await evaluator.evaluate(
                    [(one, index) for one in candidates for index in indices]
                )
            except BudgetExceeded:
                if len(scores[0]) < MIN_CONFIRMATION:
                    raise
                break
            values = [score for _, score in results]
            scores[0] += values[: len(indices)]
            scores[1] += values[len(indices) :]
        differences = np.array(scores[0]) - np.array(scores[1])
        search_gain = float(self._differences(self.trials[winner], 0).mean())
        clusters = [index % number for index in range(len(differences))]
        return confirm_gain(
            differences,
            search_gain,
            clusters=clusters if self.settings.repeats > 1 else None,
            level=self.settings.level,
        )
