"""What all wrappers around a model share: they stay what they wrap, apart from what they add."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from backtalk.feedback.interaction import Message
from backtalk.models.protocol import Completion, Model, Request, Scorer, Streamer, Usage

Texts = Sequence[tuple[tuple[Message, ...], str]]


class ModelWrapper:
    """A model around a model, with its name, identity and bound.

    It scores and streams where the model inside does; a subclass says how by ``_stream``. What is
    not there is not there on the instance either, so that ``isinstance(model, Scorer)`` tells.

    Parameters
    ----------
    model : Model
        What is wrapped.
    """

    score: Callable[[Texts], Awaitable[list[NDArray[np.float64]]]]
    stream: Callable[[Request], AsyncIterator[str | Completion]]
    concurrency: int

    def __init__(self, model: Model) -> None:
        self.model = model
        if isinstance(model, Scorer):
            self.score = model.score
        if isinstance(model, Streamer):
            self._inner_stream = model.stream
            self.stream = self._stream
        if hasattr(model, "concurrency"):
            self.concurrency = model.concurrency

    @property
    def name(self) -> str:
        """The name of the model inside."""
        return self.model.name

    @property
    def identity(self) -> str:
        """The identity of the model inside."""
        return self.model.identity

    def bound(self, request: Request) -> Usage:
        """Return the most that a request can use."""
        return self.model.bound(request)

    def _stream(self, request: Request) -> AsyncIterator[str | Completion]:
        return self._inner_stream(request)
