"""Conversion of the input items of the Responses API to chat messages.

>>> chat_messages([{"role": "user", "content": "Are you open?"}])
[{'role': 'user', 'content': 'Are you open?'}]
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from backtalk.feedback.chat_answer import answer_reasoning
from backtalk.serve.gateway.responses.parameter_types import check_item, check_part
from backtalk.serve.gateway.translation.reasoning import without_old_reasoning
from backtalk.serve.gateway.translation.refusals import cannot_express, invalid

_ROLES = ("user", "assistant", "system", "developer")
_SYSTEM = ("system", "developer")
_ITEMS = ("message", "reasoning", "function_call", "function_call_output")
_TEXT = ("input_text", "output_text", "text")


def chat_messages(
    items: Any, *, instructions: str | None = None, history: Sequence[Any] = (), strict: bool = True
) -> list[dict[str, Any]]:
    """Return the input of a request as chat messages.

    Reasoning is kept since the last message of the user, for models that call tools between their
    thoughts. That of earlier turns is left out. System messages at the beginning become one.

    Parameters
    ----------
    items : str or list
        Field ``input`` of the request.
    instructions : str, optional
        Field ``instructions`` of the request, the first system message.
    history : sequence, default ()
        Chat messages that the input continues.
    strict : bool, default True
        If false, an item that chat messages cannot express becomes a message with its JSON, and a
        part of a message is left as it is.

    Raises
    ------
    APIError
        If an item is not valid, or cannot be expressed.
    """
    converter = _Converter(strict=strict)
    if instructions:
        converter.messages.append({"role": "system", "content": instructions})
    converter.messages += history
    if isinstance(items, str):
        items = [{"role": "user", "content": items}]
    if not isinstance(items, list):
        items = [] if items is None else [items]
    for index, item in enumerate(items):
        converter.add(item, f"input[{index}]")
    return without_old_reasoning(_with_one_system_message(converter.messages))


class _Converter:
    def __init__(self, *, strict: bool) -> None:
        self._strict = strict
        self._reasoning = ""
        self.messages: list[dict[str, Any]] = []

    def add(self, item: Any, path: str) -> None:
        """Add an item."""
        kind = item.get("type", "message") if isinstance(item, dict) else None
        if self._strict and kind in _ITEMS and (kind != "message" or item.get("role") in _ROLES):
            check_item(item, kind, path)
        if kind == "message" and item.get("role") in _ROLES:
            self._add_message(item, path)
        elif kind == "reasoning":
            self._reasoning += item_reasoning(item)
        elif kind == "function_call":
            self._add_call(item)
        elif kind == "function_call_output":
            self._add_output(item, path)
        elif not self._strict:
            self.messages.append({"role": "user", "content": json.dumps(item, ensure_ascii=False)})
        elif kind is None or kind == "message":
            raise invalid(path, "an item with a type, or a message with a role and content")
        else:
            raise cannot_express(f"{path}.type", kind)

    def _add_message(self, item: Mapping[str, Any], path: str) -> None:
        role, content = item["role"], item.get("content")
        if role == "assistant":
            message = {"role": "assistant", "content": self._text(content, f"{path}.content")}
            self.messages.append({**message, **self._take_reasoning()})
            return
        if role in _SYSTEM:
            converted: Any = self._text(content, f"{path}.content")
        else:
            converted = self._parts(content, f"{path}.content")
        self.messages.append({"role": "user" if role == "user" else "system", "content": converted})

    def _add_call(self, item: Mapping[str, Any]) -> None:
        call = {
            "id": item.get("call_id") or item.get("id"),
            "type": "function",
            "function": {"name": item.get("name"), "arguments": item.get("arguments") or "{}"},
        }
        last = self.messages[-1] if self.messages else {}
        if last.get("role") == "assistant" and not self._reasoning:
            last["tool_calls"] = [*last.get("tool_calls", ()), call]
            return
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        self.messages.append({**message, **self._take_reasoning()})

    def _add_output(self, item: Mapping[str, Any], path: str) -> None:
        text = self._text(item.get("output"), f"{path}.output")
        call_id = item.get("call_id")
        self.messages.append({"role": "tool", "tool_call_id": call_id, "content": text})

    def _take_reasoning(self) -> dict[str, str]:
        reasoning, self._reasoning = self._reasoning, ""
        return {"reasoning_content": reasoning} if reasoning else {}

    def _text(self, content: Any, path: str) -> str:
        """Return content that may only be text."""
        if isinstance(content, str) or content is None:
            return content or ""
        if not isinstance(content, list):
            raise invalid(path, "a text or a list of parts")
        return "".join(self._part_text(part, f"{path}[{i}]") for i, part in enumerate(content))

    def _part_text(self, part: Any, path: str) -> str:
        if self._strict:
            check_part(part, path)
        if isinstance(part, dict):
            if part.get("type") in _TEXT and isinstance(part.get("text"), str):
                return str(part["text"])
            if part.get("type") == "refusal":
                return str(part.get("refusal") or "")
        if self._strict:
            raise cannot_express(f"{path}.type", _type_of(part))
        return json.dumps(part, ensure_ascii=False)

    def _parts(self, content: Any, path: str) -> Any:
        """Return the content of a user's message: a text, or parts."""
        if isinstance(content, str) or content is None:
            return content or ""
        if not isinstance(content, list):
            raise invalid(path, "a text or a list of parts")
        parts = [self._part(part, f"{path}[{i}]") for i, part in enumerate(content)]
        if len(parts) == 1 and parts[0].get("type") == "text":
            return parts[0]["text"]
        return parts

    def _part(self, part: Any, path: str) -> dict[str, Any]:
        if self._strict:
            check_part(part, path)
        kind = _type_of(part)
        if kind in _TEXT:
            return {"type": "text", "text": part.get("text") or ""}
        if kind == "input_image" and part.get("image_url"):
            image = {"url": part["image_url"]}
            if part.get("detail"):
                image["detail"] = part["detail"]
            return {"type": "image_url", "image_url": image}
        if kind == "input_audio":
            return {"type": "input_audio", "input_audio": part.get("input_audio")}
        if kind == "input_file" and not part.get("file_url"):
            names = ("file_data", "file_id", "filename")
            file = {name: part[name] for name in names if part.get(name)}
            return {"type": "file", "file": file}
        if not self._strict:
            return part if isinstance(part, dict) else {"type": "text", "text": str(part)}
        if kind in ("input_image", "input_file"):
            field = "file_url" if kind == "input_file" else "file_id"
            raise cannot_express(f"{path}.{field}")
        raise cannot_express(f"{path}.type", kind)


def item_reasoning(item: Mapping[str, Any]) -> str:
    """Return the text of a reasoning item: its content, else its summary."""
    return answer_reasoning({"content": item.get("content")}) or answer_reasoning(
        {"content": item.get("summary")}
    )


def _type_of(part: Any) -> Any:
    return part.get("type") if isinstance(part, dict) else type(part).__name__


def _with_one_system_message(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return messages in which the system messages at the beginning are one."""
    count = 0
    while count < len(messages) and messages[count]["role"] in _SYSTEM:
        count += 1
    if count < 2:
        return messages
    text = "\n\n".join(message["content"] or "" for message in messages[:count])
    return [{"role": "system", "content": text}, *messages[count:]]
