"""Textual gradient descent on a prompt: batches of criticised answers, with momentum."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from backtalk.learn.prompt.proposers.batches import propose_by_batches
from backtalk.learn.prompt.proposers.inner_scores import next_seed
from backtalk.learn.prompt.proposers.protegi import review
from backtalk.learn.prompt.protocol import PromptCandidate, SearchState, TextFeedback
from backtalk.learn.prompt.writer import PromptWriter


class TextGradProposer:
    """Proposer that revises the leading prompt by the gradients of a batch and of earlier ones.

    One parameter, the prompt; the losses are what is said about a batch of its answers. With
    momentum, the batches of the last steps count as well in half of the revisions: their criticisms
    and better answers. They are about earlier prompts, so that the other half leaves them out.

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
        """Return revisions of the prompt that leads, each by another sample of the writer.

        Without a new one, further batches are read.
        """
        return await propose_by_batches(state, self._step, name=self.name, count=count)

    async def _step(self, state: SearchState, count: int) -> list[PromptCandidate]:
        """Return revisions by a new batch, and by this one with those of the last steps."""
        candidate = state.best.candidate
        batch = await review(state, state.best, self._reviewed, self._batch_size)
        (critique,) = await self._writer.criticise(candidate, [batch], seed=next_seed(state))
        past = list(self._past)
        self._past.append((critique, batch))
        steps = [[(critique, batch)], [*past, (critique, batch)]][: 2 if past else 1]
        revised: list[PromptCandidate] = []
        for step in steps:
            revised += await self._writer.revise(
                candidate,
                [text for text, _ in step if text],
                [item for _, items in step for item in items],
                count=2 * count // len(steps),
                seed=next_seed(state),
            )
        return revised
