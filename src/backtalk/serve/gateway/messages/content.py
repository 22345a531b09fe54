"""Conversion of the messages of Anthropic's API to chat messages.

>>> chat_messages([{"role": "user", "content": "Are you open?"}], system="Be brief.")
[{'role': 'system', 'content': 'Be brief.'}, {'role': 'user', 'content': 'Are you open?'}]
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from backtalk.serve.gateway.messages.parameter_types import check_block
from backtalk.serve.gateway.translation.parameters import TEXT, TEXT_OR_LIST, check_types
from backtalk.serve.gateway.translation.reasoning import without_old_reasoning
from backtalk.serve.gateway.translation.refusals import cannot_express, invalid

_MESSAGE = {"role": TEXT, "content": TEXT_OR_LIST}
_ERROR = "Error: "
"""Beginning of the result of a tool that failed."""


def chat_messages(
    messages: Any, *, system: Any = None, strict: bool = True
) -> list[dict[str, Any]]:
    """Return messages of Anthropic's API as chat messages.

    Hints for caching are left out. Thinking is kept since the last message of the user that is no
    result of a tool, for models that call tools between their thoughts.

    Parameters
    ----------
    messages : Any
        Field ``messages`` of the request.
    system : Any, optional
        Field ``system`` of the request.
    strict : bool, default True
        If false, a block that chat messages cannot express is left as it is.

    Raises
    ------
    APIError
        If a message is not valid, or cannot be expressed.
    """
    converter = _Converter(strict=strict)
    if system and (strict or isinstance(system, str | list)):
        text = converter.text(system, "system")
        converter.messages.append({"role": "system", "content": text})
    if not isinstance(messages, list):
        if strict:
            raise invalid("messages", "a list of messages")
        messages = []
    for index, message in enumerate(messages):
        converter.add(message, f"messages[{index}]")
    return without_old_reasoning(converter.messages)


class _Converter:
    def __init__(self, *, strict: bool) -> None:
        self._strict = strict
        self.messages: list[dict[str, Any]] = []

    def add(self, message: Any, path: str) -> None:
        """Add a message."""
        role = message.get("role") if isinstance(message, dict) else None
        if self._strict and isinstance(message, dict):
            check_types(message, _MESSAGE, path, required=_MESSAGE)
        if role == "assistant":
            self.messages.append(self._assistant(message.get("content"), f"{path}.content"))
        elif role == "user":
            self._add_user(message.get("content"), f"{path}.content")
        elif role == "system":
            text = self.text(message.get("content"), f"{path}.content")
            self.messages.append({"role": "system", "content": text})
        elif self._strict:
            raise invalid(f"{path}.role", "user or assistant")
        else:
            self.messages.append({"role": "user", "content": json.dumps(message)})

    def _check(self, block: Any, path: str) -> None:
        """Check the types of the parameters of a block."""
        if self._strict:
            check_block(block, path)

    def text(self, content: Any, path: str) -> str:
        """Return content that may only be text."""
        if isinstance(content, str) or content is None:
            return content or ""
        if not isinstance(content, list):
            raise invalid(path, "a text or a list of blocks")
        texts = []
        for index, block in enumerate(content):
            self._check(block, f"{path}[{index}]")
            if _type(block) == "text":
                texts.append(str(block.get("text") or ""))
            elif self._strict:
                raise cannot_express(f"{path}[{index}].type", _type(block))
            else:
                texts.append(json.dumps(block, ensure_ascii=False))
        return "".join(texts)

    def _assistant(self, content: Any, path: str) -> dict[str, Any]:
        blocks = _blocks(content, path)
        texts, thoughts, calls = [], [], []
        for index, block in enumerate(blocks):
            self._check(block, f"{path}[{index}]")
            kind = _type(block)
            if kind == "text":
                texts.append(str(block.get("text") or ""))
            elif kind == "thinking":
                thoughts.append(str(block.get("thinking") or ""))
            elif kind == "tool_use":
                calls.append(chat_call(block))
            elif kind != "redacted_thinking" and self._strict:
                raise cannot_express(f"{path}[{index}].type", kind)
        message: dict[str, Any] = {"role": "assistant", "content": "".join(texts)}
        if calls:
            message |= {"content": message["content"] or None, "tool_calls": calls}
        if any(thoughts):
            message["reasoning_content"] = "".join(thoughts)
        return message

    def _add_user(self, content: Any, path: str) -> None:
        """Add a user's message: the results of tools, then the rest of it."""
        parts = []
        for index, block in enumerate(_blocks(content, path)):
            place = f"{path}[{index}]"
            self._check(block, place)
            if _type(block) == "tool_result":
                text = self.text(block.get("content"), f"{place}.content")
                if block.get("is_error") and not text.startswith(_ERROR):
                    text = _ERROR + text
                result = {"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": text}
                self.messages.append(result)
            else:
                parts += self._parts(block, place)
        if len(parts) == 1 and parts[0].get("type") == "text":
            self.messages.append({"role": "user", "content": parts[0]["text"]})
        elif parts:
            self.messages.append({"role": "user", "content": parts})
        elif not content:
            self.messages.append({"role": "user", "content": ""})

    def _parts(self, block: Any, path: str) -> list[dict[str, Any]]:
        """Return a block of a user's message as parts of a chat message."""
        kind = _type(block)
        if kind == "text":
            return [{"type": "text", "text": str(block.get("text") or "")}]
        source = block.get("source") if isinstance(block, dict) else None
        source = source if isinstance(source, dict) else {}
        if kind == "image" and source.get("type") in ("base64", "url"):
            return [{"type": "image_url", "image_url": {"url": _url(source)}}]
        if kind == "document":
            parts = self._document(block, source, path)
            if parts is not None:
                return parts
        if not self._strict:
            return [block] if isinstance(block, dict) else []
        if kind in ("image", "document"):
            raise cannot_express(f"{path}.source.type", source.get("type"))
        raise cannot_express(f"{path}.type", kind)

    def _document(
        self, block: Mapping[str, Any], source: Mapping[str, Any], path: str
    ) -> list[dict[str, Any]] | None:
        citations = block.get("citations")
        if self._strict and isinstance(citations, dict) and citations.get("enabled"):
            raise cannot_express(f"{path}.citations")
        names = [str(block[name]) for name in ("title", "context") if block.get(name)]
        before = [{"type": "text", "text": "\n".join(names)}] if names else []
        if source.get("type") == "text":
            return [*before, {"type": "text", "text": str(source.get("data") or "")}]
        if source.get("type") == "content":
            inner = _blocks(source.get("content"), f"{path}.source.content")
            for index, item in enumerate(inner):
                self._check(item, f"{path}.source.content[{index}]")
            return [*before, *(part for item in inner for part in self._parts(item, path))]
        if source.get("type") == "base64":
            file = {"filename": block.get("title") or "document.pdf", "file_data": _url(source)}
            context = [{"type": "text", "text": block["context"]}] if block.get("context") else []
            return [*context, {"type": "file", "file": file}]
        return None


def chat_call(block: Mapping[str, Any]) -> dict[str, Any]:
    """Return the use of a tool as a tool call of a chat message."""
    arguments = json.dumps(block.get("input") or {}, ensure_ascii=False)
    function = {"name": block.get("name"), "arguments": arguments}
    return {"id": block.get("id"), "type": "function", "function": function}


def _url(source: Mapping[str, Any]) -> str:
    if source.get("type") == "url":
        return str(source.get("url"))
    return f"data:{source.get('media_type')};base64,{source.get('data')}"


def _blocks(content: Any, path: str) -> list[Any]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if content is None:
        return []
    if not isinstance(content, list):
        raise invalid(path, "a text or a list of blocks")
    return content


def _type(block: Any) -> Any:
    return block.get("type") if isinstance(block, dict) else type(block).__name__
