"""What a decoder is: how a policy spends compute when it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from backtalk.feedback import Message
from backtalk.models.protocol import Completion, Model, Usage
from backtalk.rewards import Reward


@dataclass(frozen=True)
class Decoded:
    """An answer, and the candidates that it was chosen from."""

    candidates: tuple[Completion, ...]
    chosen: int
    """The index of the answer among the candidates."""
    scores: NDArray[np.float64] | None = None
    """What each candidate was chosen by, where there was a choice."""

    @property
    def answer(self) -> Completion:
        """The candidate that was chosen."""
        return self.candidates[self.chosen]

    @property
    def usage(self) -> Usage:
        """What all candidates cost together."""
        return sum((candidate.usage for candidate in self.candidates), Usage())


class Decodes(Protocol):
    """What every decoder can do. A decoder is a record, so that a policy can hold it as JSON."""

    @property
    def rewards_needed(self) -> tuple[str, ...]:
        """The artifact ids of the rewards that it chooses by."""
        ...

    async def decode(
        self,
        model: Model,
        prompts: Sequence[tuple[Message, ...]],
        *,
        rewards: Mapping[str, Reward],
        seed: int = 0,
    ) -> list[Decoded]:
        """Answer each prompt.

        Parameters
        ----------
        model : Model
            What generates.
        prompts : Sequence[tuple[Message, ...]]
            Chat messages, the system prompt among them.
        rewards : Mapping[str, Reward]
            The rewards that ``rewards_needed`` names.
        seed : int, default 0
            Equal seeds give equal answers, where the model can.
        """
        ...
