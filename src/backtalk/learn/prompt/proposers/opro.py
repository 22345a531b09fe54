"""Directional feedback: candidates that continue a history of prompts and scores."""

from __future__ import annotations

from dataclasses import replace

from backtalk.learn.prompt.edits import new_only
from backtalk.learn.prompt.proposers.inner_scores import (
    history_of,
    known_candidates,
    next_seed,
)
from backtalk.learn.prompt.protocol import PromptCandidate, SearchState
from backtalk.learn.prompt.writer import PromptWriter


class HistoryProposer:
    """Proposer that reads the best prompts so far with their scores, and goes on from them.

    With ``directional``, the direction in which scores rise is put into words first, and the next
    prompt follows it: feedback with a direction is to words what a gradient is to numbers. Without
    it, only the history is shown, as in OPRO.

    Nie et al. (2024), "The importance of directional feedback for LLM-based optimizers";
    Yang et al. (2024), "Large language models as optimizers".

    Parameters
    ----------
    writer : PromptWriter
        Model that writes prompts.
    length : int, default 20
        Number of prompts of the history that are shown.
    directional : bool, default True
        If true, the direction is synthesised from the history.
    """

    name = "opro"

    def __init__(self, writer: PromptWriter, *, length: int = 20, directional: bool = True) -> None:
        self._writer = writer
        self._length = length
        self._directional = directional

    async def propose(self, state: SearchState, count: int) -> list[PromptCandidate]:
        """Return new candidates that continue the history; variations while it is empty."""
        history = history_of(state, self._length)
        if len(history) < 2:
            varied = await self._writer.vary(
                state.best.candidate, count=count, seed=next_seed(state)
            )
            return self._named(varied, state)[:count]
        direction = ""
        if self._directional:
            direction = await self._writer.find_direction(history, seed=next_seed(state))
        proposals = await self._writer.continue_history(
            history, direction, count=2 * count, seed=next_seed(state)
        )
        return self._named(proposals, state)[:count]

    def _named(
        self, candidates: list[PromptCandidate], state: SearchState
    ) -> list[PromptCandidate]:
        named = [replace(candidate, proposer=self.name) for candidate in candidates]
        return new_only(named, known_candidates(state))
