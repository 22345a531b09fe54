"""Synchronous and asynchronous clients of a gateway."""

from __future__ import annotations

import asyncio
import functools
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ParamSpec, Self, TypeVar

import httpx2

from backtalk.client.protocol import (
    FeedbackInput,
    GatewayRequest,
    GatewayResponse,
    RequestFlow,
    SendResult,
    request_json,
    send_feedback,
    single_result,
)
from backtalk.closable import Closable

P = ParamSpec("P")
T = TypeVar("T")

URL = "BACKTALK_URL"
"""Environment variable with the address of the gateway."""
API_KEY = "BACKTALK_API_KEY"
"""Environment variable with the API key."""
_DEFAULT_URL = "http://127.0.0.1:8080/v1"


def get_id(answer: Any) -> str:
    """Return the id of an answer, which is an object or mapping with an id, or the id itself.

    >>> get_id("0123"), get_id({"id": "0123"})
    ('0123', '0123')
    """
    if isinstance(answer, str):
        return answer
    return str(answer["id"] if isinstance(answer, Mapping) else answer.id)


def _http_options(
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


def _outcome(answer: Any, verifier: str, result: object) -> dict[str, Any]:
    """Return the result of a verifier as the fields of an outcome."""
    fields = {
        "kind": "outcome",
        "interaction": get_id(answer),
        "response": "0",
        "annotator": {"id": verifier, "kind": "verifier"},
    }
    if isinstance(result, AssertionError):
        return {**fields, "passed": False, "text": str(result)}
    if isinstance(result, float):
        return {**fields, "score": result}
    return {**fields, "passed": bool(result)}


class Client(Closable):
    """Client that sends feedback to a gateway, with retries, and waits for its acceptance.

    Parameters
    ----------
    base_url : str, optional
        Address of the gateway, including ``/v1``. Default: ``BACKTALK_URL``.
    api_key : str, optional
        API key of the gateway. Default: ``BACKTALK_API_KEY``.
    project : str, optional
        Name of the project, if the key is for several.
    timeout : float, default 10.0
        Timeout of an attempt, in seconds.
    retries : int, default 4
        Maximum number of retries of a request.

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
        self._http = httpx2.Client(**_http_options(base_url, api_key, project, timeout))

    def feedback(self, interaction: Any = None, /, **fields: Any) -> SendResult:
        """Send one piece of feedback.

        Parameters
        ----------
        interaction : Any, optional
            Answer, or its id; ``None`` for feedback that is not about an answer.
        **fields : Any
            ``thumb="up"``, ``rating="4/5"``, ``prefer=1``, ``edit="..."``, ``comment="..."``, or
            the fields of any kind of feedback with its ``kind``. ``user`` is the id of the
            annotator.

        Raises
        ------
        SendError
            If the gateway does not accept the feedback.
        """
        return single_result(self.send(_feedback_fields(interaction, fields)))

    def send(self, *rows: FeedbackInput) -> list[SendResult]:
        """Send feedback, as records or as their fields, and return a result for each.

        Raises
        ------
        SendError
            If the gateway cannot be reached, or does not authorise the client.
        """
        results: list[SendResult] = self._run(send_feedback(rows, retries=self._retries))
        return results

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of a row of feedback."""
        schema: dict[str, Any] = self._run(
            request_json("GET", "/feedback/schema", retries=self._retries)
        )
        return schema

    def verifier(self, name: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
        """Return a decorator that sends the result of a function as feedback on its first argument.

        The function returns true if the answer passes, or a score in [0, 1] as a float. An answer
        with a failed ``assert`` does not pass.

        Parameters
        ----------
        name : str
            Name of the verifier, which is the annotator of the feedback.
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

    def _run(self, flow: RequestFlow) -> Any:
        step = _start(flow)
        while isinstance(step, GatewayRequest):
            time.sleep(step.delay)
            try:
                response = _to_response(
                    self._http.request(step.method, step.path, content=step.body)
                )
            except httpx2.TransportError as error:
                response = _failed_response(error)
            step = _resume(flow, response)
        return step.value


class AsyncClient:
    """Asynchronous :class:`Client`, with the same parameters."""

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
        self._http = httpx2.AsyncClient(**_http_options(base_url, api_key, project, timeout))

    async def feedback(self, interaction: Any = None, /, **fields: Any) -> SendResult:
        """Send one piece of feedback; see :meth:`Client.feedback`."""
        return single_result(await self.send(_feedback_fields(interaction, fields)))

    async def send(self, *rows: FeedbackInput) -> list[SendResult]:
        """Send feedback; see :meth:`Client.send`."""
        results: list[SendResult] = await self._run(send_feedback(rows, retries=self._retries))
        return results

    async def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of a row of feedback."""
        schema: dict[str, Any] = await self._run(
            request_json("GET", "/feedback/schema", retries=self._retries)
        )
        return schema

    def verifier(
        self, name: str
    ) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Awaitable[T]]]:
        """Return a decorator for asynchronous functions; see :meth:`Client.verifier`."""

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

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _run(self, flow: RequestFlow) -> Any:
        step = _start(flow)
        while isinstance(step, GatewayRequest):
            await asyncio.sleep(step.delay)
            try:
                response = _to_response(
                    await self._http.request(step.method, step.path, content=step.body)
                )
            except httpx2.TransportError as error:
                response = _failed_response(error)
            step = _resume(flow, response)
        return step.value


def _feedback_fields(interaction: Any, fields: Mapping[str, Any]) -> dict[str, Any]:
    return dict(fields) if interaction is None else {"interaction": get_id(interaction), **fields}


def _start(flow: RequestFlow) -> GatewayRequest | StopIteration:
    try:
        return next(flow)
    except StopIteration as end:
        return end


def _resume(flow: RequestFlow, response: GatewayResponse) -> GatewayRequest | StopIteration:
    try:
        return flow.send(response)
    except StopIteration as end:
        return end


def _to_response(response: httpx2.Response) -> GatewayResponse:
    return GatewayResponse(response.status_code, response.content, response.headers)


def _failed_response(error: httpx2.TransportError) -> GatewayResponse:
    return GatewayResponse(0, failure=str(error) or type(error).__name__)
