"""An ``openai`` client whose answers take feedback."""

from __future__ import annotations

import functools
import inspect
from typing import Any, TypeVar

from backtalk.client.client import AsyncClient, Client

C = TypeVar("C")


def wrap(client: C, *, user: str | None = None, retries: int = 4) -> C:
    """Return a copy of an ``openai`` client for a gateway, whose answers have ``.feedback(...)``.

    Of a stream, ``backtalk.client.Client`` takes feedback by the id that every chunk has.

    Parameters
    ----------
    client : C
        An ``OpenAI`` or ``AsyncOpenAI``, with the address and the key of a gateway.
    user : str, optional
        Who gives the feedback, where it does not say.
    retries : int, default 4
        How often feedback is sent again.

    Examples
    --------
    >>> client = wrap(openai.OpenAI(base_url="http://localhost:8080/v1"))  # doctest: +SKIP
    >>> answer = client.chat.completions.create(model="small", messages=messages)  # doctest: +SKIP
    >>> answer.feedback(thumb="up")  # doctest: +SKIP
    """
    own: Any = client
    wrapped: Any = own.copy()
    waits = not inspect.iscoroutinefunction(own.close)
    kind = Client if waits else AsyncClient
    sender = kind(str(own.base_url), api_key=own.api_key, retries=retries)

    def feedback(self: Any, **fields: Any) -> Any:
        """Send feedback on this answer; see :meth:`backtalk.client.Client.feedback`."""
        if user is not None and "annotator" not in fields:
            fields.setdefault("user", user)
        return sender.feedback(self.id, **fields)

    classes: dict[type, type] = {}

    def with_feedback(answer: Any) -> Any:
        cls = type(answer)
        if hasattr(answer, "choices"):
            if cls not in classes:
                classes[cls] = type(cls.__name__, (cls,), {"feedback": feedback})
            answer.__class__ = classes[cls]
        return answer

    for part in (wrapped.chat.completions, wrapped.completions):
        for name in ("create", "parse"):
            if hasattr(part, name):
                setattr(part, name, _around(getattr(part, name), with_feedback, waits=waits))
    wrapped.feedback = sender.feedback
    return wrapped  # type: ignore[no-any-return]


def _around(call: Any, with_feedback: Any, *, waits: bool) -> Any:
    if waits:

        @functools.wraps(call)
        def answered(*args: Any, **kwargs: Any) -> Any:
            return with_feedback(call(*args, **kwargs))

        return answered

    @functools.wraps(call)
    async def answered_later(*args: Any, **kwargs: Any) -> Any:
        return with_feedback(await call(*args, **kwargs))

    return answered_later
