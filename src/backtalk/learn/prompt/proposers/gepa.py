"""Reflective evolution: parents of a Pareto front, revised by critiques of a few answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from backtalk.learn.prompt.edits import lines, new_only, with_lines
from backtalk.learn.prompt.proposers.inner_scores import known_candidates, next_seed
from backtalk.learn.prompt.proposers.protegi import review
from backtalk.learn.prompt.protocol import PromptCandidate, SearchState, TextFeedback
from backtalk.learn.prompt.writer import PromptWriter


class ReflectiveProposer:
    """Proposer that revises parents drawn from a Pareto front, and merges their lines.

    Agrawal et al. (2025), "GEPA: Reflective prompt evolution can outperform reinforcement
    learning", algorithms 1 and 2. Whether a child is kept is decided by the search's gate, not by
    a comparison on the minibatch.

    Parameters
    ----------
    writer : PromptWriter
        Model that criticises and revises.
    reviewed : sequence of TextFeedback, default ()
        Answers that people reviewed.
    batch_size : int, default 6
        Number of answers of a reflection.
    merge : bool, default True
        If true, every second child has the lines of two parents.
    """

    name = "gepa"

    def __init__(
        self,
        writer: PromptWriter,
        reviewed: Sequence[TextFeedback] = (),
        *,
        batch_size: int = 6,
        merge: bool = True,
    ) -> None:
        self._writer = writer
        self._reviewed = list(reviewed)
        self._batch_size = batch_size
        self._merge = merge

    async def propose(self, state: SearchState, count: int) -> list[PromptCandidate]:
        """Return children of parents of the front."""
        children: list[PromptCandidate] = []
        for position in range(count):
            if self._merge and position % 2 and len(state.trials) > 2:
                children += self._merged(state)
            else:
                children += await self._revised(state)
        named = [replace(child, proposer=self.name) for child in children]
        return new_only(named, known_candidates(state))[:count]

    async def _revised(self, state: SearchState) -> list[PromptCandidate]:
        parent = state.parent()
        batch = await review(state, parent, self._reviewed, self._batch_size)
        critiques = await self._writer.criticise(parent.candidate, [batch], seed=next_seed(state))
        revised = await self._writer.revise(
            parent.candidate, critiques, batch, seed=next_seed(state)
        )
        if not new_only(revised, known_candidates(state)):
            revised = await self._writer.vary(parent.candidate, seed=next_seed(state))
        return revised

    def _merged(self, state: SearchState) -> list[PromptCandidate]:
        first, second = state.parent().candidate, state.parent().candidate
        together = tuple(dict.fromkeys((*lines(first), *lines(second))))
        return [with_lines(first, together, note="merge of two prompts")]
