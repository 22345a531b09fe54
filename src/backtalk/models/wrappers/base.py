"""Base class of wrappers around a model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from backtalk.models.protocol import (
    Checkable,
    Completion,
    Model,
    PromptResponse,
    Request,
    Scorer,
    Streamer,
    Usage,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class ModelWrapper:
    """Model around a model, with the same name, identity and bound.

    It scores, streams and checks itself if the wrapped model does; a subclass overrides
    ``_stream``. Otherwise the instance lacks the attribute, so that ``isinstance(model, Scorer)``
    is correct.

    Parameters
    ----------
    model : Model
        Model to wrap.
    """

    score: Callable[[Sequence[PromptResponse]], Awaitable[list[NDArray[np.float64]]]]
    stream: Callable[[Request], AsyncIterator[str | Completion]]
    check: Callable[[], Awaitable[None]]
    concurrency: int

    def __init__(self, model: Model) -> None:
        self.model = model
        if isinstance(model, Scorer):
            self.score = model.score
        if isinstance(model, Streamer):
            self._inner_stream = model.stream
            self.stream = self._stream
        if isinstance(model, Checkable):
            self.check = model.check
        if hasattr(model, "concurrency"):
            self.concurrency = model.concurrency

    @property
    def name(self) -> str:
        """Name of the wrapped model."""
        return self.model.name

    @property
    def identity(self) -> str:
        """Identity of the wrapped model."""
        return self.model.identity

    def bound(self, request: Request) -> Usage:
        """Return the maximum usage of a request."""
        return self.model.bound(request)

    def _stream(self, request: Request) -> AsyncIterator[str | Completion]:
        return self._inner_stream(request)
