"""Endpoints of Anthropic's Messages API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from backtalk.feedback import Interaction
from backtalk.serve.errors import APIError
from backtalk.serve.gateway.completion_request import EndpointKind, parse_request
from backtalk.serve.gateway.endpoints import open_request
from backtalk.serve.gateway.messages.errors import as_error, error_event, error_response
from backtalk.serve.gateway.messages.events import MessageEvents
from backtalk.serve.gateway.messages.native import MessageStreamReader, read_message
from backtalk.serve.gateway.messages.output import PREFIX, MessageContext, to_message
from backtalk.serve.gateway.messages.request import chat_request, check_limit
from backtalk.serve.gateway.translation.exchange import Exchange, respond
from backtalk.serve.gateway.translation.support import Api
from backtalk.serve.gateway.translation.token_count import count_prompt_tokens
from backtalk.serve.interaction_log import RequestRecord, chat_interactions
from backtalk.serve.services import Services


def _interactions(record: RequestRecord, completion: Mapping[str, Any]) -> list[Interaction]:
    """Return the interaction of a message; blocks that chats do not have are in its metadata."""
    if "native" in completion:
        record.notes["messages"] = {"content": completion["native"]["content"]}
    return chat_interactions(record, completion)


MESSAGES = EndpointKind(
    "/messages",
    "message",
    _interactions,
    read_body=read_message,
    stream_reader=MessageStreamReader,
    error_event=error_event,
    id_prefix=PREFIX,
)


class MessageExchange(Exchange):
    """Request for a message, and its answer."""

    @property
    def api(self) -> Api:
        """Name of the API in the settings of an upstream."""
        return "messages"

    def chat_body(self) -> dict[str, Any]:
        """Return the body of the chat completion; raise ``APIError`` if it cannot express it."""
        return chat_request(self.original)

    def translate(self, completion: Mapping[str, Any]) -> dict[str, Any]:
        """Return a chat completion as a message."""
        return to_message(completion, self._context())

    def translator(self) -> MessageEvents:
        """Return a translator of a stream."""
        return MessageEvents(self._context())

    def translate_error(self, status: int, content: bytes) -> bytes:
        """Return the body of an error in the shape of Anthropic's API."""
        return to_json(as_error(status, content))

    def _context(self) -> MessageContext:
        return MessageContext(self.request.record.id, self.original)


async def create_message(request: Request) -> Response:
    """Create a message."""
    return await _with_errors(_create, request)


async def count_tokens(request: Request) -> Response:
    """Count the tokens of a message before it is created."""
    return await _with_errors(_count, request)


async def _with_errors(
    endpoint: Callable[[Request], Awaitable[Response]], request: Request
) -> Response:
    """Return the response of an endpoint, with errors in the shape of Anthropic's API."""
    try:
        return await endpoint(request)
    except APIError as error:
        return error_response(error)


async def _create(request: Request) -> Response:
    exchange = await _open(request)
    check_limit(exchange.original)
    return await respond(exchange)


async def _count(request: Request) -> Response:
    exchange = await _open(request)
    result = await count_prompt_tokens(exchange, "/messages/count_tokens")
    return result if isinstance(result, Response) else JSONResponse({"input_tokens": result})


async def _open(request: Request) -> MessageExchange:
    services: Services = request.app.state.services
    caller = services.authorize(request, "answer")
    raw_body, body = parse_request(request, await services.read_body(request))
    record_body = chat_request(body, strict=False)
    return MessageExchange(open_request(request, caller, MESSAGES, raw_body, record_body), body)
