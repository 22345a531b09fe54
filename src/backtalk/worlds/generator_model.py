"""The writer of a world behind the protocol of a model: answers at once, without a network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backtalk.models.protocol import Completion, Request, Usage
from backtalk.worlds.train.curriculum import GUIDANCE, HEEDED
from backtalk.worlds.world import ErrorRates, find_world


class GeneratorModel:
    """A model that writes as the small model of its world was taught to. A token is a word.

    It follows the standing instructions and the guidance in system messages; it only answers, and
    knows none of the small model's other skills.

    Parameters
    ----------
    world : str, default "mail"
        The world's name.
    care
        How likely each sort of fault is: the fields of :class:`~backtalk.worlds.ErrorRates`.
    """

    def __init__(self, world: str = "mail", **care: float) -> None:
        self._world = find_world(world)
        self._care = ErrorRates(**care)

    @property
    def name(self) -> str:
        """What to call it."""
        return f"{self._world.name}-writer"

    @property
    def identity(self) -> str:
        """The world and the care decide what it writes."""
        return f"writer {self._world.name} {sorted(vars(self._care).items())}"

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Answer each request; raise ``RecordError`` for one that is not of the world."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Completion:
        task = self._world.read(request.messages)
        told = " ".join(message.text for message in request.messages if message.role == "system")
        minded = {
            name: HEEDED * getattr(self._care, name)
            for name, words in GUIDANCE.items()
            if words in told
        }
        text = self._world.write(
            task,
            np.random.default_rng(request.draw_seed),
            ErrorRates(**{**vars(self._care), **minded}),
            self._world.rules_in(request.messages),
        )
        words = text.split(" ")
        limit = request.sampling.max_tokens
        return Completion(
            text=" ".join(words[:limit]),
            finish_reason="length" if len(words) > limit else "stop",
            usage=Usage(1, len(task.text.split()), min(len(words), limit)),
            model=self.name,
        )

    def bound(self, request: Request) -> Usage:
        """Return the most that a request can use."""
        words = len(self._world.read(request.messages).text.split())
        return Usage(1, words, request.sampling.max_tokens)
