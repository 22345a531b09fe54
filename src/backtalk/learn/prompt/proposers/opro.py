"""Directional feedback: candidates that continue a history of prompts and scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from backtalk.learn.prompt.edits import new_only
from backtalk.learn.prompt.examples import draw_groups
from backtalk.learn.prompt.proposers.inner_scores import (
    history_of,
    known_candidates,
    next_seed,
)
from backtalk.learn.prompt.protocol import PromptCandidate, SearchState
from backtalk.learn.prompt.writer import Examples, PromptWriter


class HistoryProposer:
    """Proposer that reads the best prompts so far with their scores, and goes on from them.

    With ``directional``, the direction in which scores rise is put into words first, and the next
    prompt follows it: feedback with a direction is to words what a gradient is to numbers. Without
    it, only the history is shown, as in OPRO. The first prompts are inferred from examples.

    Nie et al. (2024), "The importance of directional feedback for LLM-based optimizers";
    Yang et al. (2024), "Large language models as optimizers".

    Parameters
    ----------
    writer : PromptWriter
        Model that writes prompts.
    examples : sequence of tuple[Prompt, str], default ()
        Requests with good answers.
    length : int, default 20
        Number of prompts of the history that are shown.
    directional : bool, default True
        If true, the direction is synthesised from the history.
    """

    name = "opro"

    def __init__(
        self,
        writer: PromptWriter,
        examples: Examples = (),
        *,
        length: int = 20,
        directional: bool = True,
    ) -> None:
        self._writer = writer
        self._examples = examples
        self._length = length
        self._directional = directional

    async def propose(self, state: SearchState, count: int) -> list[PromptCandidate]:
        """Return new candidates that continue the history, or that begin it."""
        history = history_of(state, self._length)
        if len(history) < 2:
            return self._new(await self._begin(state, count), state, count)
        direction = ""
        if self._directional:
            direction = await self._writer.find_direction(history, seed=next_seed(state))
        proposals = await self._writer.continue_history(
            history, direction, count=2 * count, seed=next_seed(state)
        )
        if not new_only(proposals, known_candidates(state)):
            proposals = await self._writer.vary(
                state.best.candidate, count=2 * count, seed=next_seed(state)
            )
        return self._new(proposals, state, count)

    async def _begin(self, state: SearchState, count: int) -> list[PromptCandidate]:
        base = state.best.candidate
        groups = draw_groups(self._examples, self._writer.group_size, 2 * count, state.rng)
        inferred = await self._writer.infer(base, groups, seed=next_seed(state))
        varied = await self._writer.vary(base, count=count, seed=next_seed(state))
        pairs = zip(new_only(inferred, []), varied, strict=False)
        return [*(one for pair in pairs for one in pair), *inferred, *varied]

    def _new(
        self, candidates: Sequence[PromptCandidate], state: SearchState, count: int
    ) -> list[PromptCandidate]:
        named = [replace(candidate, proposer=self.name) for candidate in candidates]
        return new_only(named, known_candidates(state))[:count]
