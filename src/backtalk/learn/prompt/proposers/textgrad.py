"""Textual gradient descent on a prompt: batches of criticised answers, with momentum."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from backtalk.learn.prompt.edits import new_only
from backtalk.learn.prompt.proposers.inner_scores import known_candidates, next_seed
from backtalk.learn.prompt.proposers.protegi import review
from backtalk.learn.prompt.protocol import PromptCandidate, SearchState, TextFeedback
from backtalk.learn.prompt.writer import PromptWriter


class TextGradProposer:
    """Proposer that revises the leading prompt by the gradients of a batch and of earlier ones.

    One parameter, the prompt; the losses are what is said about a batch of its answers. With
    momentum, the batches of the last steps count as well: their criticisms and better answers.

    Yuksekgonul et al. (2024), "TextGrad: Automatic 'differentiation' via text", sections 2 and 3.
    For graphs with more than one call see :mod:`backtalk.learn.prompt.textgrad`.

    Parameters
    ----------
    writer : PromptWriter
        Model that criticises and revises.
    reviewed : sequence of TextFeedback, default ()
        Answers that people reviewed.
    batch_size : int, default 6
        Number of answers of a batch.
    momentum : int, default 2
        Number of earlier batches that count.
    """

    name = "textgrad"

    def __init__(
        self,
        writer: PromptWriter,
        reviewed: Sequence[TextFeedback] = (),
        *,
        batch_size: int = 6,
        momentum: int = 2,
    ) -> None:
        self._writer = writer
        self._reviewed = list(reviewed)
        self._batch_size = batch_size
        self._past: deque[tuple[str, list[TextFeedback]]] = deque(maxlen=momentum)

    async def propose(self, state: SearchState, count: int) -> list[PromptCandidate]:
        """Return revisions of the prompt that leads, each by another sample of the writer."""
        trial = state.best
        batch = await review(state, trial, self._reviewed, self._batch_size)
        (critique,) = await self._writer.criticise(trial.candidate, [batch], seed=next_seed(state))
        critiques = [*(text for text, _ in self._past), critique]
        together = [item for _, items in self._past for item in items] + batch
        revised = await self._writer.revise(
            trial.candidate,
            [text for text in critiques if text],
            together,
            count=2 * count,
            seed=next_seed(state),
        )
        self._past.append((critique, batch))
        named = [replace(candidate, proposer=self.name) for candidate in revised]
        return new_only(named, known_candidates(state))[:count]
