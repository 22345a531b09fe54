"""Clients of a gateway: one that waits, one that is asynchronous."""

from __future__ import annotations

import asyncio
import functools
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

import httpx2

from backtalk.client.protocol import Ask, Conversation, Reply, Sent, asking, sending, single
from backtalk.feedback import AnyFeedback

P = ParamSpec("P")
T = TypeVar("T")

URL = "BACKTALK_URL"
API_KEY = "BACKTALK_API_KEY"
_DEFAULT_URL = "http://127.0.0.1:8080/v1"

Row = AnyFeedback | Mapping[str, Any]


def id_of(answer: Any) -> str:
    """Return the id of an answer: of an object or mapping that has one, or the id itself.

    >>> id_of("0123"), id_of({"id": "0123"})
    ('0123', '0123')
    """
    if isinstance(answer, str):
        return answer
    result = answer["id"] if isinstance(answer, Mapping) else answer.id
    return str(result)


def _options(
    base_url: str | None, api_key: str | None, project: str | None, timeout: float
) -> dict[str, Any]:
    key = api_key or os.environ.get(API_KEY)
    headers = {"content-type": "application/json"}
    if key:
        headers["authorization"] = f"Bearer {key}"
    if project:
        headers["x-backtalk-project"] = project
    address = base_url or os.environ.get(URL) or _DEFAULT_URL
    return {"base_url": address, "headers": headers, "timeout": timeout}


def _outcome(answer: Any, name: str, result: object) -> dict[str, Any]:
    """Return what a verifier found, as a row."""
    row = {
        "kind": "outcome",
        "interaction": id_of(answer),
        "response": "0",
        "annotator": {"id": name, "kind": "verifier"},
    }
    if isinstance(result, AssertionError):
        return {**row, "passed": False, "text": str(result)}
    if isinstance(result, float):
        return {**row, "score": result}
    return {**row, "passed": bool(result)}


class Client:
    """Sends feedback to a gateway, again if need be, and waits until it is safe there.

    Parameters
    ----------
    base_url : str, optional
        Of the gateway, up to and with ``/v1``; without one, what ``BACKTALK_URL`` says.
    api_key : str, optional
        A key of the gateway; without one, what ``BACKTALK_API_KEY`` says.
    project : str, optional
        The project, where the key is for several.
    timeout : float, default 10.0
        Seconds for one try.
    retries : int, default 4
        How often a request is sent again.

    Examples
    --------
    >>> with Client("http://localhost:8080/v1") as client:  # doctest: +SKIP
    ...     client.feedback(answer.id, thumb="up", user="bo")
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        api_key: str | None = None,
        project: str | None = None,
        timeout: float = 10.0,
        retries: int = 4,
    ) -> None:
        self._retries = retries
        self._http = httpx2.Client(**_options(base_url, api_key, project, timeout))

    def feedback(self, interaction: Any = None, /, **fields: Any) -> Sent:
        """Send one piece of feedback.

        Parameters
        ----------
        interaction : Any, optional
            An answer, or its id; ``None`` for what is about no answer.
        fields
            ``thumb="up"``, ``edit="..."``, ``comment="..."``, or the fields of any kind of
            feedback with its ``kind``. ``user`` says who gave it.

        Raises
        ------
        NotSent
            If the gateway does not take it.
        """
        return single(self.send(_row(interaction, fields)))

    def send(self, *rows: Row) -> list[Sent]:
        """Send feedback, each a record or its fields; return what became of each.

        Raises
        ------
        NotSent
            If the gateway cannot be reached, or does not let this caller in.
        """
        sent: list[Sent] = self._carry_out(sending(rows, retries=self._retries))
        return sent

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of a row of feedback."""
        results: dict[str, Any] = self._carry_out(
            asking("GET", "/feedback/schema", retries=self._retries)
        )
        return results

    def verifier(self, name: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
        """Make feedback of what a function finds about an answer, its first argument.

        The function returns whether the answer passes, or a score in [0, 1] as a float; a failed
        ``assert`` is an answer that does not pass.

        Parameters
        ----------
        name : str
            Of the verifier, as the feedback's annotator.
        """

        def decorate(function: Callable[P, T]) -> Callable[P, T]:
            @functools.wraps(function)
            def verify(*args: P.args, **kwargs: P.kwargs) -> T:
                try:
                    result = function(*args, **kwargs)
                except AssertionError as error:
                    self.send(_outcome(args[0], name, error))
                    raise
                self.send(_outcome(args[0], name, result))
                return result

            return verify

        return decorate

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _carry_out(self, conversation: Conversation) -> Any:
        ask = _begin(conversation)
        while isinstance(ask, Ask):
            time.sleep(ask.wait)
            try:
                reply = _reply(self._http.request(ask.method, ask.path, content=ask.body))
            except httpx2.TransportError as error:
                reply = _no_reply(error)
            ask = _go_on(conversation, reply)
        return ask.value


class AsyncClient:
    """As :class:`Client`, for asynchronous programs."""

    def __init__(
        self,
        base_url: str | None = None,
        *,
        api_key: str | None = None,
        project: str | None = None,
        timeout: float = 10.0,
        retries: int = 4,
    ) -> None:
        self._retries = retries
        self._http = httpx2.AsyncClient(**_options(base_url, api_key, project, timeout))

    async def feedback(self, interaction: Any = None, /, **fields: Any) -> Sent:
        """Send one piece of feedback; see :meth:`Client.feedback`."""
        return single(await self.send(_row(interaction, fields)))

    async def send(self, *rows: Row) -> list[Sent]:
        """Send feedback; see :meth:`Client.send`."""
        sent: list[Sent] = await self._carry_out(sending(rows, retries=self._retries))
        return sent

    async def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of a row of feedback."""
        results: dict[str, Any] = await self._carry_out(
            asking("GET", "/feedback/schema", retries=self._retries)
        )
        return results

    def verifier(
        self, name: str
    ) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Awaitable[T]]]:
        """Make feedback of what an asynchronous function finds; see :meth:`Client.verifier`."""

        def decorate(function: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
            @functools.wraps(function)
            async def verify(*args: P.args, **kwargs: P.kwargs) -> T:
                try:
                    result = await function(*args, **kwargs)
                except AssertionError as error:
                    await self.send(_outcome(args[0], name, error))
                    raise
                await self.send(_outcome(args[0], name, result))
                return result

            return verify

        return decorate

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _carry_out(self, conversation: Conversation) -> Any:
        ask = _begin(conversation)
        while isinstance(ask, Ask):
            await asyncio.sleep(ask.wait)
            try:
                reply = _reply(await self._http.request(ask.method, ask.path, content=ask.body))
            except httpx2.TransportError as error:
                reply = _no_reply(error)
            ask = _go_on(conversation, reply)
        return ask.value


def _row(interaction: Any, fields: Mapping[str, Any]) -> dict[str, Any]:
    return dict(fields) if interaction is None else {"interaction": id_of(interaction), **fields}


def _begin(conversation: Conversation) -> Ask | StopIteration:
    try:
        return next(conversation)
    except StopIteration as end:
        return end


def _go_on(conversation: Conversation, reply: Reply) -> Ask | StopIteration:
    try:
        return conversation.send(reply)
    except StopIteration as end:
        return end


def _reply(response: httpx2.Response) -> Reply:
    return Reply(response.status_code, response.content, response.headers)


def _no_reply(error: httpx2.TransportError) -> Reply:
    return Reply(0, failure=str(error) or type(error).__name__)
