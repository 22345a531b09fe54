"""Wrapper of ``openai`` clients that adds feedback to their answers."""

from __future__ import annotations

import functools
import inspect
from typing import Any, TypeVar

from backtalk.client.client import AsyncClient, Client

C = TypeVar("C")


def wrap(client: C, *, user: str | None = None, retries: int = 4) -> C:
    """Return a copy of an ``openai`` client of a gateway whose answers have ``.feedback(...)``.

    Streamed answers have no such method: send feedback on them with
    :class:`backtalk.client.Client`, by the id that every chunk has.

    Parameters
    ----------
    client : C
        ``OpenAI`` or ``AsyncOpenAI``, with the address and the key of a gateway.
    user : str, optional
        Id of the annotator of feedback that has none.
    retries : int, default 4
        Maximum number of retries of a request with feedback.

    Examples
    --------
    >>> client = wrap(openai.OpenAI(base_url="http://localhost:8080/v1"))  # doctest: +SKIP
    >>> answer = client.chat.completions.create(model="small", messages=messages)  # doctest: +SKIP
    >>> answer.feedback(thumb="up")  # doctest: +SKIP
    """
    original: Any = client
    wrapped: Any = original.copy()
    synchronous = not inspect.iscoroutinefunction(original.close)
    client_class = Client if synchronous else AsyncClient
    sender = client_class(str(original.base_url), api_key=original.api_key, retries=retries)

    def feedback(self: Any, **fields: Any) -> Any:
        """Send feedback on this answer; see :meth:`backtalk.client.Client.feedback`."""
        if user is not None and "annotator" not in fields:
            fields.setdefault("user", user)
        return sender.feedback(self.id, **fields)

    classes: dict[type, type] = {}

    def with_feedback(answer: Any) -> Any:
        cls = type(answer)
        if hasattr(answer, "choices") or hasattr(answer, "output"):
            if cls not in classes:
                classes[cls] = type(cls.__name__, (cls,), {"feedback": feedback})
            answer.__class__ = classes[cls]
        return answer

    for resource in (wrapped.chat.completions, wrapped.completions, wrapped.responses):
        for name in ("create", "parse"):
            if hasattr(resource, name):
                method = getattr(resource, name)
                setattr(resource, name, _map(method, with_feedback, synchronous=synchronous))
    wrapped.feedback = sender.feedback
    return wrapped  # type: ignore[no-any-return]


def _map(call: Any, function: Any, *, synchronous: bool) -> Any:
    """Return a function that applies another one to the results of a call."""
    if synchronous:

        @functools.wraps(call)
        def apply(*args: Any, **kwargs: Any) -> Any:
            return function(call(*args, **kwargs))

        return apply

    @functools.wraps(call)
    async def apply_async(*args: Any, **kwargs: Any) -> Any:
        return function(await call(*args, **kwargs))

    return apply_async
