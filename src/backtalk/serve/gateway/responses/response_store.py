"""Responses as they are stored: retrieval, and the conversation that a response continues."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from backtalk.feedback import Interaction, Message, Response
from backtalk.serve.auth import Caller
from backtalk.serve.gateway.responses.output import (
    PREFIX,
    ResponseContext,
    failed_fields,
    to_response,
)
from backtalk.serve.gateway.stored_interactions import delete_interaction, find_interaction
from backtalk.serve.gateway.stream_proxy import CUT_BY_CALLER
from backtalk.serve.gateway.translation.failures import error_of_stream, no_finish_reason
from backtalk.serve.interaction_log import project_from_id
from backtalk.serve.services import PROJECT_HEADER, Services

NOTE = "responses"
"""Field of ``metadata.gateway`` with the request, and with the upstream's own response."""

_UNSTORED_FIELDS = frozenset({"input", "stream", "stream_options"})
_RECENT_SECONDS = 2.0
"""Age of a response up to which another process may still write it."""
_MAX_WAIT_FOR_OTHERS_SECONDS = 0.5
"""Maximum delay until a recent interaction of another process is in the store."""


def stored_request(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a request that are stored with its response."""
    return {
        name: value
        for name, value in body.items()
        if value is not None and name not in _UNSTORED_FIELDS
    }


def stored_answer(response: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    """Return an upstream's own response without what it repeats of the request."""
    return {
        name: value for name, value in response.items() if name not in body or body[name] != value
    }


def is_stored(interaction: Interaction) -> bool:
    """Return true if an interaction is a response that the caller wanted to be stored."""
    request = _note(interaction).get("request")
    return isinstance(request, dict) and request.get("store") is not False


def render(interaction: Interaction) -> dict[str, Any]:
    """Return a stored interaction as a response."""
    note = _note(interaction)
    request: dict[str, Any] = note["request"]
    created = note.get("created") or 0
    context = ResponseContext(interaction.id, request, created)
    own = note.get("response")
    if isinstance(own, dict):
        own = {**own, "id": interaction.id}
        if own.get("previous_response_id"):
            own["previous_response_id"] = request.get("previous_response_id")
        return {**request, **own}
    gateway: Any = interaction.metadata["gateway"]
    answer = shown_response(interaction)
    message = _chat_message(answer)
    reason = answer.metadata.get("finish_reason")
    completion = {
        "model": answer.model or request.get("model"),
        "choices": [{"message": message, "finish_reason": reason}],
        "usage": gateway.get("usage"),
    }
    response = to_response(completion, context)
    return _cut_response(response, answer, gateway) if gateway.get("cut") else response


def _cut_response(
    response: Mapping[str, Any], answer: Response, gateway: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a response that is not whole: failed, as its stream was, unless the caller left.

    Parameters
    ----------
    response : Mapping[str, Any]
        The answer as a whole response.
    answer : Response
        Answer as it is stored.
    gateway : Mapping[str, Any]
        Field ``gateway`` of the interaction's metadata.
    """
    is_empty = not (answer.text or answer.reasoning or answer.messages)
    output = [] if is_empty else [{**item, "status": "incomplete"} for item in response["output"]]
    fields = {name: value for name, value in response.items() if name != "completed_at"}
    if gateway["cut"] == CUT_BY_CALLER:
        return {**fields, "status": "incomplete", "output": output}
    error = gateway.get("error")
    failure = error_of_stream(error) if error else no_finish_reason()
    return {
        **fields,
        **failed_fields(failure),
        "incomplete_details": None,
        "usage": None,
        "output": output,
    }


def shown_response(interaction: Interaction) -> Response:
    """Return the response that the caller received."""
    shown = interaction.shown
    return interaction.response(shown[0]) if shown else interaction.responses[0]


def conversation_after(interaction: Interaction) -> list[dict[str, Any]]:
    """Return the chat messages up to and including a response, without its instructions."""
    messages = [_message(message) for message in interaction.prompt]
    instructions = _note(interaction).get("request", {}).get("instructions")
    if isinstance(instructions, str) and messages[0]["role"] == "system":
        rest = str(messages[0]["content"]).removeprefix(instructions).lstrip("\n")
        messages[:1] = [{"role": "system", "content": rest}] if rest else []
    return [*messages, _chat_message(shown_response(interaction))]


def upstream_response_id(interaction: Interaction, upstream: str) -> str | None:
    """Return the id by which an upstream knows a response, ``None`` if it does not.

    Parameters
    ----------
    interaction : Interaction
        Stored response.
    upstream : str
        Name of the upstream.
    """
    gateway: Any = interaction.metadata["gateway"]
    own = _note(interaction).get("response")
    if gateway.get("upstream") != upstream or not isinstance(own, dict):
        return None
    id_ = own.get("id")
    return id_ if isinstance(id_, str) else None


class StoredResponses:
    """Stored responses that a caller may use.

    Parameters
    ----------
    request : Request
        HTTP request, which may name a project.
    caller : Caller
        Caller.
    """

    def __init__(self, request: Request, caller: Caller) -> None:
        self._services: Services = request.app.state.services
        self._request = request
        self._caller = caller

    def project(self, id_: str) -> str:
        """Return the project of a response.

        Raises
        ------
        APIError
            If the caller may not use the project that the request names.
        """
        named = project_from_id(id_) if self._caller.project is None else None
        header = self._request.headers.get(PROJECT_HEADER)
        return self._services.project(self._request, self._caller, header or named)

    async def find(self, id_: str, *, with_unstored: bool = False) -> Interaction | None:
        """Return the interaction of a response, ``None`` if it is not stored.

        A response that was just given is waited for until it is in the store.

        Parameters
        ----------
        id_ : str
            Id of the response.
        with_unstored : bool, default False
            If true, also return that of a response that the caller did not want to be stored.

        Raises
        ------
        APIError
            If the store is unavailable, or the caller may not use the project.
        """
        if not id_.startswith(PREFIX):
            return None
        min_wait = _MAX_WAIT_FOR_OTHERS_SECONDS if _is_recent(id_) else 0.0
        interaction = await find_interaction(
            self._services, self.project(id_), id_, min_wait=min_wait
        )
        is_found = interaction is not None and (with_unstored or is_stored(interaction))
        return interaction if is_found else None

    async def delete(self, id_: str) -> None:
        """Delete the interaction of a response, if it is not deleted already.

        Raises
        ------
        APIError
            If the store is unavailable, or the caller may not use the project.
        """
        await delete_interaction(self._services, self.project(id_), id_)


def _is_recent(id_: str) -> bool:
    """Return true if an id was made in the last seconds."""
    digits = id_.rpartition(":")[2].removeprefix(PREFIX)[:12]
    try:
        made = int(digits, 16) / 1_000
    except ValueError:
        return False
    return abs(time.time() - made) < _RECENT_SECONDS


def _note(interaction: Interaction) -> dict[str, Any]:
    gateway = interaction.metadata.get("gateway")
    note = gateway.get(NOTE) if isinstance(gateway, dict) else None
    return note if isinstance(note, dict) else {}


def _chat_message(response: Response) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": response.text or None}
    if response.messages:
        message = _message(response.messages[-1])
    if response.reasoning:
        message["reasoning_content"] = response.reasoning
    return message


def _message(message: Message) -> dict[str, Any]:
    fields = message.to_dict()
    reasoning = fields.pop("reasoning", None)
    return {**fields, **({"reasoning_content": reasoning} if reasoning else {})}
