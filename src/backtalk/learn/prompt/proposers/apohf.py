"""APOHF: the best prompt of a domain, from preferences alone, by a neural dueling bandit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from backtalk.learn.lazy_modules import np
from backtalk.learn.prompt.dueling_bandit import NeuralDuelingBandit
from backtalk.learn.prompt.edits import lines, new_only
from backtalk.learn.prompt.examples import draw_groups
from backtalk.learn.prompt.proposers.inner_scores import (
    draw_indices,
    extend,
    known_candidates,
    next_seed,
)
from backtalk.learn.prompt.protocol import PromptCandidate, SearchState, Trial
from backtalk.learn.prompt.writer import Examples, PromptWriter

if TYPE_CHECKING:
    from numpy.typing import NDArray


DIMENSION = 24
"""Maximum length of the vectors of prompts."""
_SAME = 1e-9


class DuelingProposer:
    """Proposer that finds the best prompt of a domain by comparing answers in pairs.

    The domain holds prompts that the writer infers from examples, and combinations of their lines.
    Each comparison shows the answers of two prompts to a few requests, and tells which are
    better, never by how much.

    Lin et al. (2024), "Prompt optimization with human feedback", section 3.

    Parameters
    ----------
    writer : PromptWriter
        Model that writes the domain.
    demonstrations : sequence of tuple[Prompt, str]
        Requests with good answers; may be empty.
    domain : int, default 40
        Number of prompts of the domain.
    comparisons : int, default 60
        Number of comparisons of one call.
    shown : int, default 4
        Number of requests whose answers one comparison shows.
    exploration : float, default 1.0
        Factor on the bandit's uncertainty.
    """

    name = "apohf"

    def __init__(
        self,
        writer: PromptWriter,
        demonstrations: Examples,
        *,
        domain: int = 40,
        comparisons: int = 60,
        shown: int = 4,
        exploration: float = 1.0,
    ) -> None:
        self._writer = writer
        self._demonstrations = list(demonstrations)
        self._size = domain
        self._comparisons = comparisons
        self._shown = shown
        self._exploration = exploration

    async def propose(self, state: SearchState, count: int) -> list[PromptCandidate]:
        """Return the prompts that the bandit ranks first."""
        domain = await self._make_domain(state)
        if len(domain) < 2:
            return [replace(candidate, proposer=self.name) for candidate in domain]
        bandit = NeuralDuelingBandit(
            await embed_prompts(domain), exploration=self._exploration, seed=next_seed(state)
        )
        trials = [Trial(candidate) for candidate in domain]
        for _ in range(self._comparisons):
            first, second = bandit.select()
            won = await compare(state, trials[first], trials[second], self._shown)
            bandit.observe(first, second, first_won=won)
        order = [bandit.best, *(int(i) for i in np.argsort(-bandit.utilities))]
        return [
            replace(domain[i], proposer=self.name) for i in dict.fromkeys(order) if i < len(domain)
        ][:count]

    async def _make_domain(self, state: SearchState) -> list[PromptCandidate]:
        base = state.best.candidate
        groups = draw_groups(
            self._demonstrations, self._writer.group_size, self._size // 2, state.rng
        )
        results = await self._writer.infer(base, groups, seed=next_seed(state))
        sources: Sequence[PromptCandidate] = new_only([base, *results], [])
        while len(results) < 2 * self._size:
            source = sources[int(state.rng.integers(len(sources)))]
            varied = await self._writer.vary(source, count=2, seed=next_seed(state))
            fresh = new_only(varied, [*results, base])
            if not fresh:
                break
            results += fresh
            sources = [*sources, *fresh]
        return new_only(results, known_candidates(state))[: self._size]


async def embed_prompts(candidates: Sequence[PromptCandidate]) -> NDArray[np.float64]:
    """Return a vector of the words of each prompt.

    Returns
    -------
    numpy.ndarray
        Principal components of hashed TF-IDF vectors, shape ``(candidates, dimension)`` with at
        most :data:`DIMENSION` columns.
    """
    from backtalk.embedders import HashedTfidf  # noqa: PLC0415 - slow to import

    texts = ["\n".join(lines(candidate)) for candidate in candidates]
    vectors = await HashedTfidf.fit(texts).embed(texts)
    left, values, _ = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    return np.asarray(left[:, :DIMENSION] * values[:DIMENSION], dtype=float)


async def compare(state: SearchState, first: Trial, second: Trial, shown: int = 1) -> float:
    """Return 1 if the first prompt's answers to random examples are better, 0 if they are worse.

    A tie is 0.5.

    Parameters
    ----------
    state : SearchState
        State of the search.
    first, second : Trial
        Prompts to compare; their answers are added to them.
    shown : int, default 1
        Number of examples whose answers are compared.
    """
    indices = draw_indices(state, shown)
    await extend(
        state,
        [(trial, i) for trial in (first, second) for i in indices if i not in trial.scores],
    )
    difference = sum(first.scores[i] - second.scores[i] for i in indices)
    return 0.5 if abs(difference) < _SAME else float(difference > 0)
