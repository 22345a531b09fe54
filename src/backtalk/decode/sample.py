"""Sampling: a single sample of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from backtalk.decode.base import DecoderBase, DecoderOutput, register_decoder
from backtalk.feedback.interaction import Prompt
from backtalk.models.protocol import Model, Request, Sampling

if TYPE_CHECKING:
    from backtalk.rewards import Reward


@register_decoder("sample")
class Sample(DecoderBase):
    """Answer with a single sample."""

    kind: Literal["sample"] = "sample"
    sampling: Sampling = Sampling()
    """Sampling parameters."""

    @property
    def is_single_sample(self) -> bool:
        """Always true."""
        return True

    async def decode(
        self,
        model: Model,
        prompts: Sequence[Prompt],
        *,
        rewards: Mapping[str, Reward],  # noqa: ARG002 - no reward is used
        seed: int = 0,
    ) -> list[DecoderOutput]:
        """Answer each prompt with a single sample.

        Parameters
        ----------
        model : Model
            Model to sample from.
        prompts : sequence of Prompt
            Chat messages, including the system prompt.
        rewards : Mapping[str, Reward]
            Not used.
        seed : int, default 0
            Random seed.
        """
        requests = [
            Request(messages=prompt, sampling=self.sampling, seed=seed) for prompt in prompts
        ]
        return [DecoderOutput((completion,), 0) for completion in await model.generate(requests)]
