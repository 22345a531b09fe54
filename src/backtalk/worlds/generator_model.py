"""Model that answers with the generator of a world: fast, and without downloads or torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backtalk.models.protocol import Completion, Request, Usage
from backtalk.worlds.registry import get_world
from backtalk.worlds.train.curriculum import GUIDANCE, GUIDANCE_FACTOR
from backtalk.worlds.world import ErrorRates


class GeneratorModel:
    """Model that generates the answers that the small model of a world is trained on.

    It follows rules and guidance in system messages. It only answers; the other skills of the
    small model are missing. A token is a word.

    Parameters
    ----------
    world : str, default "mail"
        Name of the world.
    **error_rates : float
        Probability of each type of error: the fields of :class:`~backtalk.worlds.ErrorRates`. The
        names before version 0.1 are accepted (``slips``, ``gaps``, ``extras``, ``manner``,
        ``spills``).
    """

    def __init__(self, world: str = "mail", **error_rates: float) -> None:
        self._world = get_world(world)
        self._error_rates = ErrorRates.from_options(**error_rates)

    @property
    def name(self) -> str:
        """Name in reports."""
        return f"{self._world.name}-writer"

    @property
    def identity(self) -> str:
        """World and error rates, which determine the answers."""
        return f"writer {self._world.name} {sorted(vars(self._error_rates).items())}"

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Answer each request.

        Raises
        ------
        RecordError
            If a request is not one of the world.
        """
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Completion:
        task = self._world.parse_prompt(request.messages)
        system = " ".join(message.text for message in request.messages if message.role == "system")
        reduced = {
            name: GUIDANCE_FACTOR * getattr(self._error_rates, name)
            for name, words in GUIDANCE.items()
            if words in system
        }
        text = self._world.write(
            task,
            np.random.default_rng(request.draw_seed),
            ErrorRates(**{**vars(self._error_rates), **reduced}),
            self._world.stated_rules(request.messages),
        )
        words = text.split(" ")
        limit = request.sampling.local_max_tokens
        return Completion(
            text=" ".join(words[:limit]),
            finish_reason="length" if len(words) > limit else "stop",
            usage=Usage(1, len(task.text.split()), min(len(words), limit)),
            model=self.name,
        )

    def bound(self, request: Request) -> Usage:
        """Return the maximum usage of a request."""
        words = len(self._world.parse_prompt(request.messages).text.split())
        return Usage(1, words, request.sampling.local_max_tokens)
