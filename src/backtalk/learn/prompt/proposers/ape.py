"""APE: instructions inferred from demonstrations, filtered by score and resampled."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Literal

from backtalk.errors import BacktalkError
from backtalk.learn.lazy_modules import np
from backtalk.learn.prompt.edits import new_only
from backtalk.learn.prompt.examples import draw_groups
from backtalk.learn.prompt.proposers.inner_scores import (
    draw_indices,
    extend,
    known_candidates,
    leaders,
    next_seed,
    ranked,
    try_out,
)
from backtalk.learn.prompt.protocol import PromptCandidate, SearchState
from backtalk.learn.prompt.writer import Examples, PromptWriter
from backtalk.models.protocol import Scorer

ScoreFunction = Literal["accuracy", "log-probability"]
"""Score by which proposals are filtered: the signal's score of the answers, or the
log-probability of the demonstrations."""


class ApeProposer:
    """Proposer that infers instructions from demonstrations and resamples the best of them.

    The first call infers ``pool`` instructions, each from another group of demonstrations. They
    are scored on a few examples; the better half is scored on twice as many, and so on. Further
    calls vary the best candidates of the search (iterative Monte-Carlo search).

    Zhou et al. (2023), "Large language models are human-level prompt engineers", section 3.

    Parameters
    ----------
    writer : PromptWriter
        Model that infers instructions.
    demonstrations : sequence of tuple[Prompt, str]
        Requests with good answers.
    pool : int, default 24
        Number of instructions that are inferred.
    examples : int, default 8
        Number of examples of the first round of scores.
    score : {"accuracy", "log-probability"}, default "accuracy"
        Score of proposals.
    """

    name = "ape"

    def __init__(
        self,
        writer: PromptWriter,
        demonstrations: Examples,
        *,
        pool: int = 24,
        examples: int = 8,
        score: ScoreFunction = "accuracy",
    ) -> None:
        self._writer = writer
        self._demonstrations = list(demonstrations)
        self._pool = pool
        self._examples = examples
        self._score = score
        self._first = True

    async def propose(self, state: SearchState, count: int) -> list[PromptCandidate]:
        """Return the best new candidates of a pool."""
        candidates = await (self._infer(state) if self._first else self._resample(state))
        self._first = False
        if self._score == "log-probability":
            return await self._by_log_probability(state, candidates, count)
        return await halve(state, candidates, count, self._examples)

    async def _infer(self, state: SearchState) -> list[PromptCandidate]:
        base = state.parent().candidate
        groups = draw_groups(self._demonstrations, self._writer.group_size, self._pool, state.rng)
        inferred = await self._writer.infer(base, groups, seed=next_seed(state))
        return self._new(state, most_frequent(inferred))

    async def _resample(self, state: SearchState) -> list[PromptCandidate]:
        best = leaders(state, max(1, self._pool // 8))
        results = []
        for trial in best:
            results += await self._writer.vary(
                trial.candidate, count=self._pool // len(best), seed=next_seed(state)
            )
        return self._new(state, results)

    def _new(self, state: SearchState, candidates: list[PromptCandidate]) -> list[PromptCandidate]:
        named = [replace(candidate, proposer=self.name) for candidate in candidates]
        return new_only(named, known_candidates(state))

    async def _by_log_probability(
        self, state: SearchState, candidates: list[PromptCandidate], count: int
    ) -> list[PromptCandidate]:
        model = state.context.model()
        if not isinstance(model, Scorer):
            raise BacktalkError(
                f"{model.name} reports no log-probabilities of given answers",
                "Choose -o score=accuracy, or a policy with a local model",
            )
        demonstrations = self._demonstrations[: self._examples]
        texts = [
            ((*candidate.template.render(candidate.system, ()), *prompt), answer)
            for candidate in candidates
            for prompt, answer in demonstrations
        ]
        means = [float(np.mean(values)) for values in await model.score(texts)] if texts else []
        totals = np.reshape(means, (len(candidates), -1)).sum(axis=1) if means else np.empty(0)
        return [candidates[i] for i in np.argsort(-totals, kind="stable")[:count]]


def most_frequent(candidates: list[PromptCandidate]) -> list[PromptCandidate]:
    """Return distinct candidates, those that were inferred most often first."""
    counts = Counter(candidate.version for candidate in candidates)
    first = {candidate.version: candidate for candidate in reversed(candidates)}
    return [first[version] for version, _ in counts.most_common()]


async def halve(
    state: SearchState, candidates: list[PromptCandidate], count: int, examples: int
) -> list[PromptCandidate]:
    """Return the best ``count`` candidates by successive halving.

    Each round adds examples, and drops the worse half.

    Parameters
    ----------
    state : SearchState
        State of the search.
    candidates : list of PromptCandidate
        Candidates.
    count : int
        Number of candidates to return.
    examples : int
        Number of examples of a round.
    """
    trials = await try_out(state, candidates, [])
    order = draw_indices(state, len(state.examples))
    while len(trials) > count and order:
        batch, order = order[:examples], order[examples:]
        await extend(state, [(trial, index) for trial in trials for index in batch])
        trials = ranked(trials)[: max(count, (len(trials) + 1) // 2)]
    return [trial.candidate for trial in trials[:count]]
