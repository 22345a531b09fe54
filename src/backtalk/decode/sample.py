"""Sampling: one answer, as the model gives it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from backtalk.decode.base import Decoded
from backtalk.feedback import Message
from backtalk.feedback.record import Record
from backtalk.models.protocol import Model, Request, Sampling
from backtalk.rewards import Reward


class Sample(Record):
    """Answer with one sample."""

    kind: Literal["sample"] = "sample"
    sampling: Sampling = Sampling()

    @property
    def rewards_needed(self) -> tuple[str, ...]:
        """None."""
        return ()

    async def decode(
        self,
        model: Model,
        prompts: Sequence[tuple[Message, ...]],
        *,
        rewards: Mapping[str, Reward],  # noqa: ARG002 - as every decoder
        seed: int = 0,
    ) -> list[Decoded]:
        """Answer each prompt with one sample."""
        requests = [
            Request(messages=prompt, sampling=self.sampling, seed=seed) for prompt in prompts
        ]
        return [Decoded((completion,), 0) for completion in await model.generate(requests)]
