"""Best of n: sample several answers, give the one that a reward likes most."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from backtalk.decode.base import Decoded
from backtalk.errors import NotFound
from backtalk.feedback import Message
from backtalk.feedback.record import Name, Record
from backtalk.models.protocol import Model, Request, Sampling
from backtalk.rewards import Reward


class BestOfN(Record):
    """Answer with the best of n samples by a reward.

    Stiennon et al. (2020), "Learning to summarize from human feedback", section 4.3. Of answers
    that score the same, the first is given.
    """

    kind: Literal["best_of_n"] = "best_of_n"
    n: Annotated[int, Field(ge=1)]
    reward: Name
    """The artifact id of the reward."""
    pessimism: Annotated[float, Field(ge=0)] = 0.0
    """How many standard deviations are taken off each score before the best is chosen: more makes
    the choice shun answers that the reward knows little about. Coste et al. (2024), "Reward model
    ensembles help mitigate overoptimization", section 3, use the variance so."""
    sampling: Sampling = Sampling()

    @property
    def rewards_needed(self) -> tuple[str, ...]:
        """The reward that chooses."""
        return (self.reward,)

    @property
    def kl_bound(self) -> float:
        """The most that the answers' distribution departs from the model's, KL in nats.

        ``log n - (n - 1) / n``; Beirami et al. (2024), "Theoretical guarantees on the best-of-n
        alignment policy", show that it is an upper bound.
        """
        return math.log(self.n) - (self.n - 1) / self.n

    async def decode(
        self,
        model: Model,
        prompts: Sequence[tuple[Message, ...]],
        *,
        rewards: Mapping[str, Reward],
        seed: int = 0,
    ) -> list[Decoded]:
        """Answer each prompt with the best of n samples."""
        if self.reward not in rewards:
            raise NotFound(
                f"The reward {self.reward!r} that best-of-{self.n} chooses by was not loaded",
                "Load the policy with the artifacts of the store that it was learned in",
            )
        requests = [
            Request(messages=prompt, sampling=self.sampling, sample_index=i, seed=seed)
            for prompt in prompts
            for i in range(self.n)
        ]
        completions = await model.generate(requests)
        scores = await rewards[self.reward].score(
            [(request.messages, c.text) for request, c in zip(requests, completions, strict=True)]
        )
        values = scores.mean
        if self.pessimism and scores.std is not None:
            values = values - self.pessimism * scores.std
        return [
            Decoded(
                tuple(completions[start : start + self.n]),
                int(np.argmax(values[start : start + self.n])),
                values[start : start + self.n],
            )
            for start in range(0, len(requests), self.n)
        ]
