"""Input of a request that refers to earlier responses, written out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from backtalk.feedback import Interaction
from backtalk.serve.errors import APIError
from backtalk.serve.gateway.responses.output import response_id_of_item
from backtalk.serve.gateway.responses.response_store import conversation_after, render

Find = Callable[[str], Awaitable[Interaction | None]]
"""Function that returns the interaction of a response, ``None`` if there is none."""


async def with_referenced_items(body: Mapping[str, Any], find: Find) -> Mapping[str, Any]:
    """Return a request in which references to items of the gateway's responses are those items.

    Parameters
    ----------
    body : Mapping[str, Any]
        Body of the request.
    find : Callable[[str], Awaitable[Interaction | None]]
        Function that returns the interaction of a response.

    Raises
    ------
    APIError
        If a response of the gateway has no such item.
    """
    items = body.get("input")
    if not isinstance(items, list) or not any(map(_reference, items)):
        return body
    outputs: dict[str, list[dict[str, Any]]] = {}
    written = []
    for index, item in enumerate(items):
        reference = _reference(item)
        response = response_id_of_item(reference) if reference else None
        if response is None:
            written.append(item)
            continue
        if response not in outputs:
            interaction = await find(response)
            outputs[response] = [] if interaction is None else render(interaction)["output"]
        output = [own for own in outputs[response] if own.get("id") == reference]
        if not output:
            raise APIError(
                400,
                f"Item with id {reference!r} not found. Send the item itself",
                code="item_not_found",
                param=f"input[{index}]",
            )
        written += output
    return {**body, "input": written}


def parent_of(items: Any) -> str | None:
    """Return the id of the last of the gateway's responses that an input has items of.

    >>> parent_of([{"type": "message", "id": f"msg_{32 * '0'}"}, {"role": "user"}])
    'resp_00000000000000000000000000000000'
    """
    for item in reversed(items if isinstance(items, list) else []):
        id_ = item.get("id") if isinstance(item, dict) else None
        if isinstance(id_, str) and (response := response_id_of_item(id_)) is not None:
            return response
    return None


def input_items(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return chat messages as input items.

    >>> input_items([{"role": "user", "content": "Are you open?"}])
    [{'type': 'message', 'role': 'user', 'content': 'Are you open?'}]
    """
    items: list[dict[str, Any]] = []
    for message in messages:
        content, role = message.get("content"), message.get("role")
        if role == "tool":
            items.append(
                {
                    "type": "function_call_output",
                    "call_id": message.get("tool_call_id"),
                    "output": content or "",
                }
            )
            continue
        if content:
            is_input = role != "assistant"
            parts = (
                [_item_part(part, is_input=is_input) for part in content]
                if isinstance(content, list)
                else content
            )
            items.append({"type": "message", "role": role, "content": parts})
        for call in message.get("tool_calls") or ():
            function = call.get("function") or {}
            names = {"name": function.get("name"), "arguments": function.get("arguments") or "{}"}
            items.append({"type": "function_call", "call_id": call.get("id"), **names})
    return items


def listed_items(interaction: Interaction) -> list[dict[str, Any]]:
    """Return the input of a stored response as a list of it has the items.

    Each has an id and a status, and the content of a message is a list of parts.
    """
    return [
        {"id": f"item_{interaction.id}_{index}", **item, "status": "completed", **_parts(item)}
        for index, item in enumerate(input_items(conversation_after(interaction)[:-1]))
    ]


def _parts(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a message as parts; nothing if an item has no content."""
    content = item.get("content")
    if not isinstance(content, str):
        return {} if content is None else {"content": content}
    return {"content": [_text_part(content, is_input=item["role"] != "assistant")]}


def _text_part(text: Any, *, is_input: bool) -> dict[str, Any]:
    if is_input:
        return {"type": "input_text", "text": text}
    return {"type": "output_text", "text": text, "annotations": []}


def _item_part(part: Mapping[str, Any], *, is_input: bool) -> dict[str, Any]:
    kind = part.get("type")
    if kind == "text":
        return _text_part(part.get("text"), is_input=is_input)
    if kind == "image_url" and isinstance(part.get("image_url"), dict):
        image = part["image_url"]
        detail = image.get("detail") or "auto"
        return {"type": "input_image", "image_url": image.get("url"), "detail": detail}
    if kind == "file" and isinstance(part.get("file"), dict):
        return {"type": "input_file", **part["file"]}
    return dict(part)


def _reference(item: Any) -> str | None:
    """Return the id that a reference to an item names, ``None`` if it is no reference."""
    if not isinstance(item, dict) or not isinstance(item.get("id"), str):
        return None
    is_reference = item.get("type") == "item_reference" or set(item) == {"id"}
    return str(item["id"]) if is_reference else None
