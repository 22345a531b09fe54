"""Tables of prompts: the true utility of answers to all combinations of a few lines.

Searches on a table are cheap, so that ways to search are compared on many runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np

from backtalk.learn.context import MethodContext
from backtalk.learn.prompt.edits import lines
from backtalk.learn.prompt.protocol import PromptCandidate, SearchState, TextFeedback
from backtalk.learn.prompt.protocol import Trial as PromptTrial
from backtalk.models import Request
from backtalk.models.run_sync import run_sync
from backtalk.policy import PromptTemplate, load_policy
from backtalk.run import Run
from backtalk.stats.validation import Floats
from backtalk.worlds.train.curriculum import GUIDANCE
from claims.learning import Trial, open_trial

WORLD = "lists"
FIRST_SEED = 500
"""First seed of the world; no method was developed on these."""
REQUESTS = 12
"""Number of requests that each prompt answers."""
WRONG_RULES = 2
"""Number of lines with rules that people do not have."""


@dataclass(frozen=True)
class PromptTable:
    """True utility of one answer of each prompt to each request.

    Prompts have all combinations of a rule of the people, two other rules and general advice.
    """

    lines: tuple[str, ...]
    """Lines of prompts, the people's rule first."""
    utilities: dict[frozenset[str], Floats]
    """Utility of the answers, by the lines of the prompt, each of shape ``(requests,)``."""

    @property
    def candidates(self) -> list[PromptCandidate]:
        """All prompts but the empty one."""
        groups = (
            group
            for size in range(1, len(self.lines) + 1)
            for group in combinations(self.lines, size)
        )
        return [make_candidate(group) for group in groups]

    def mean(self, candidate: PromptCandidate) -> float:
        """Return the mean utility of a prompt over all requests."""
        return float(self.utilities[frozenset(lines(candidate))].mean())

    @property
    def empty(self) -> float:
        """Mean utility of the empty prompt."""
        return float(self.utilities[frozenset()].mean())


def make_candidate(rules: Iterable[str] = ()) -> PromptCandidate:
    """Return a prompt of these lines."""
    return PromptCandidate(None, PromptTemplate(rules=tuple(rules)))


@lru_cache(maxsize=8)
def make_table(seed: int) -> PromptTable:
    """Return the table of a seed of the world, with the answers of its small model."""
    with open_trial(WORLD, FIRST_SEED + seed) as trial:
        rng = np.random.default_rng([seed, 71])
        rules = [rule for rule in trial.world.rules if rule.scope == "all"]
        right, *wrong = (rules[i] for i in rng.permutation(len(rules))[: WRONG_RULES + 1])
        texts = (right.text, *(rule.text for rule in wrong), *GUIDANCE.values())
        prompts = trial.world.prompts("train", REQUESTS, seed=trial.seed)
        groups = [group for size in range(len(texts) + 1) for group in combinations(texts, size)]
        requests = [
            Request(
                messages=(*candidate.template.render(candidate.system, ()), *prompt),
                sampling=trial.policy.decoder.base_sampling,
                seed=seed,
            )
            for candidate in map(make_candidate, groups)
            for prompt in prompts
        ]
        model = load_policy(trial.policy, trial.store.artifacts).model
        scores = [
            trial.world.score(prompts[i % REQUESTS], completion.text, [right]).utility
            for i, completion in enumerate(run_sync(model.generate(requests)))
        ]
        rows = np.reshape(scores, (len(groups), REQUESTS))
        utilities = {frozenset(group): row for group, row in zip(groups, rows, strict=True)}
        return PromptTable(texts, utilities)


class TableSearch:
    """Search on a table, with a limited number of answers.

    Parameters
    ----------
    table : PromptTable
        Table.
    trial : Trial
        Trial whose policy and store stand behind the state of the search.
    seed : int
        Seed of the search.
    """

    def __init__(self, table: PromptTable, trial: Trial, *, seed: int) -> None:
        self.table = table
        self.used = 0
        """Number of answers so far."""
        context = MethodContext(trial.policy, trial.training_set([]), Run(seed=seed))
        self.state = SearchState(
            context,
            _NoSignal(),
            list(trial.world.prompts("train", REQUESTS, seed=trial.seed)),
            [PromptTrial(make_candidate())],
            0,
            np.random.default_rng([seed, 72]),
            self._evaluate,
        )

    async def _evaluate(
        self, jobs: Sequence[tuple[PromptCandidate, int]]
    ) -> list[tuple[str, float]]:
        self.used += len(jobs)
        return [("", float(self.table.utilities[frozenset(lines(c))][i])) for c, i in jobs]

    async def try_out(self, candidate: PromptCandidate, answers: int) -> PromptTrial:
        """Add a prompt to the search with the scores of its answers to random requests.

        Parameters
        ----------
        candidate : PromptCandidate
            Prompt of the table.
        answers : int
            Number of answers.
        """
        indices = self.state.rng.permutation(REQUESTS)[:answers].tolist()
        results = await self._evaluate([(candidate, index) for index in indices])
        scores = {index: score for index, (_, score) in zip(indices, results, strict=True)}
        trial = PromptTrial(candidate, scores)
        self.state.trials.append(trial)
        if trial.mean > self.state.best.mean:
            self.state.incumbent = len(self.state.trials) - 1
        return trial


class _NoSignal:
    """Signal of a search on a table, whose scores are in the table."""

    name = "table"

    async def score(self, prompts: Sequence[object], answers: Sequence[str]) -> Floats:
        raise NotImplementedError

    async def explain(
        self, prompts: Sequence[object], answers: Sequence[str]
    ) -> list[TextFeedback]:
        raise NotImplementedError
