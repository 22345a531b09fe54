"""The writer at the support desk: a grammar of replies behind the protocol of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from backtalk.models.protocol import Completion, Request, Usage
from backtalk.rewards.protocol import Answer, Scores
from backtalk.worlds import desk
from backtalk.worlds.desk import Manner, Ticket


class DeskModel:
    """A model that writes replies at random, by a manner. A token is a word.

    Parameters
    ----------
    manner
        How likely each choice is: the fields of :class:`~backtalk.worlds.desk.Manner`.
    """

    def __init__(self, **manner: float) -> None:
        self._manner = Manner(**manner)

    @property
    def name(self) -> str:
        """What to call it."""
        return "desk"

    @property
    def identity(self) -> str:
        """The manner decides what it writes."""
        return f"desk {sorted(asdict(self._manner).items())}"

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Write a reply to each request; raise ``RecordError`` for one that is not the desk's."""
        return [self._reply(request) for request in requests]

    def _reply(self, request: Request) -> Completion:
        ticket = Ticket.read(request.messages)
        chance = np.random.default_rng(desk.seed_of(ticket.text, str(request.sample_seed)))
        words = desk.write_reply(ticket, chance, self._manner).split(" ")
        limit = request.sampling.max_tokens
        return Completion(
            text=" ".join(words[:limit]),
            finish_reason="length" if len(words) > limit else "stop",
            usage=Usage(1, len(ticket.text.split()), min(len(words), limit)),
            model=self.name,
        )

    def bound(self, request: Request) -> Usage:
        """Return the most that a request can use."""
        return Usage(1, len(request.messages[-1].text.split()), request.sampling.max_tokens)


class TrueUtility:
    """The true utility of replies at the desk, as a reward. Only evaluation may use it.

    Parameters
    ----------
    aspect
        One aspect alone; the weighted mean of all where it is left out.
    """

    def __init__(self, aspect: str | None = None) -> None:
        self._aspect = aspect

    @property
    def name(self) -> str:
        """What to call it in reports."""
        return self._aspect or "true utility"

    @property
    def bounds(self) -> tuple[float, float]:
        """From useless to ideal."""
        return 0.0, 1.0

    async def score(self, answers: Sequence[Answer]) -> Scores:
        """Return the utility of each answer, in [0, 1]."""
        found = []
        for prompt, text in answers:
            ticket = Ticket.read(prompt)
            found.append(
                desk.aspects(ticket, text)[self._aspect]
                if self._aspect
                else desk.utility(ticket, text)
            )
        return Scores(np.array(found))
