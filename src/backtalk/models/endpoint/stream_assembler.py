"""Assembly of a streamed completion."""

from __future__ import annotations

from typing import Any

from backtalk.feedback.chat_answer import (
    REASONING_FIELDS,
    answer_reasoning,
    content_text,
    other_parts,
)
from backtalk.models.endpoint.tool_calls import ToolCallAssembler

NO_FINISH_REASON = "without a finish reason"
"""Value of ``cut`` for a stream that ended before its answer."""
ERROR_EVENT = "by an error event"
"""Value of ``cut`` for a stream that told of an error."""

_OTHER_FIELDS = frozenset({*REASONING_FIELDS, "refusal", "audio", "images", "function_call"})
_FIELDS = ("id", "model", "created", "usage", "system_fingerprint")


class StreamAssembler:
    """Assembles the chunks of a stream into the completion that would not have been streamed.

    Works for chat completions and for text completions. Reasoning is in ``reasoning_content`` of
    the message, wherever the server puts it. ``pieces`` of a choice is the number of pieces of text
    that it came in, without empty ones. An answer that is not whole has two more fields:
    ``cut`` says why, and ``error`` is the error that the stream told of.

    >>> assembler = StreamAssembler()
    >>> assembler.feed({"choices": [{"index": 0, "delta": {"content": "At "}}]})
    >>> assembler.feed({"choices": [{"index": 0, "delta": {"content": "nine."}}]})
    >>> completion = assembler.completion()
    >>> completion["choices"][0]["message"]["content"], completion["cut"]
    ('At nine.', 'without a finish reason')
    """

    def __init__(self) -> None:
        self._fields: dict[str, Any] = {}
        self._choices: dict[int, _Choice] = {}

    def feed(self, chunk: Any) -> None:
        """Add a chunk. Anything else is ignored."""
        if not isinstance(chunk, dict):
            return
        for name in _FIELDS:
            if chunk.get(name) is not None:
                self._fields[name] = chunk[name]
        error = chunk if chunk.get("object") == "error" else chunk.get("error")
        if error:
            self._fields["error"] = error
        for delta in _dicts(chunk.get("choices")):
            index = delta.get("index")
            index = index if isinstance(index, int) else 0
            choice = self._choices.get(index)
            if choice is None:
                choice = self._choices[index] = _Choice()
            choice.add(delta)

    def completion(self, *, expected: int = 1) -> dict[str, Any]:
        """Return the completion so far.

        Parameters
        ----------
        expected : int, default 1
            Number of choices of the whole answer. One with fewer is cut.
        """
        choices = [
            {"index": index, **choice.to_dict()} for index, choice in sorted(self._choices.items())
        ]
        completion = {**self._fields, "choices": choices}
        if "error" in completion:
            completion["cut"] = ERROR_EVENT
        elif (choices and len(choices) < expected) or not all(
            choice.get("finish_reason") for choice in choices
        ):
            completion["cut"] = NO_FINISH_REASON
        return completion


def delta_text(chunk: Any) -> str:
    """Return the text that a chunk adds to the first choice."""
    choices = _dicts(chunk.get("choices")) if isinstance(chunk, dict) else []
    delta = choices[0].get("delta") if choices else None
    return content_text(delta.get("content")) if isinstance(delta, dict) else ""


class _Choice:
    """Choice in progress. Its texts are joined at the end, as each addition would copy them."""

    __slots__ = ("_calls", "_fields", "_function", "_is_chat", "_logprobs", "_parts", "_texts")

    def __init__(self) -> None:
        self._texts: dict[str, list[str]] = {}
        self._fields: dict[str, Any] = {}
        self._logprobs: dict[str, list[Any]] = {}
        self._parts: list[dict[str, Any]] = []
        self._calls = ToolCallAssembler()
        self._function = ToolCallAssembler()
        self._is_chat = False

    def add(self, chunk: dict[str, Any]) -> None:
        """Add an item of ``choices``."""
        for name in ("finish_reason", "error"):
            if chunk.get(name):
                self._fields[name] = chunk[name]
        self._add_text("text", chunk.get("text"))
        logprobs = chunk.get("logprobs")
        if isinstance(logprobs, dict):
            for name in ("content", "refusal"):
                self._logprobs.setdefault(name, []).extend(_dicts(logprobs.get(name)))
        delta = chunk.get("delta")
        if isinstance(delta, dict):
            self._is_chat = True
            self._add_delta(delta)

    def _add_delta(self, delta: dict[str, Any]) -> None:
        content = delta.get("content")
        if isinstance(content, list):
            self._add_text("content", content_text(content))
        else:
            self._add_text("content", content)
        if isinstance(content, list) or not _OTHER_FIELDS.isdisjoint(delta):
            self._add_other(delta)
        for call in _dicts(delta.get("tool_calls")):
            self._calls.add(call)

    def _add_other(self, delta: dict[str, Any]) -> None:
        """Add the fields that most deltas do not have."""
        if thought := answer_reasoning(delta):
            self._add_text("reasoning_content", thought)
        self._parts += other_parts(delta)
        self._add_text("refusal", delta.get("refusal"))
        audio = delta.get("audio")
        if isinstance(audio, dict):
            self._add_text("transcript", audio.get("transcript"))
        if isinstance(delta.get("function_call"), dict):
            self._function.add({"index": 0, "function": delta["function_call"]})

    def _add_text(self, name: str, text: Any) -> None:
        if isinstance(text, str):
            self._texts.setdefault(name, []).append(text)

    def to_dict(self) -> dict[str, Any]:
        """Return the choice as a completion that is not streamed has it."""
        texts = {name: "".join(pieces) for name, pieces in self._texts.items()}
        choice = dict(self._fields)
        if "text" in texts:
            choice["text"] = texts.pop("text")
        if self._is_chat:
            choice["message"] = self._to_message(texts)
        if any(self._logprobs.values()):
            choice["logprobs"] = self._logprobs
        choice["pieces"] = sum(1 for pieces in self._texts.values() for piece in pieces if piece)
        return choice

    def _to_message(self, texts: dict[str, str]) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": None}
        if "transcript" in texts:
            message["audio"] = {"transcript": texts.pop("transcript")}
        message |= texts
        if self._parts:
            message["images"] = self._parts
        if calls := self._calls.calls():
            message["tool_calls"] = calls
        if functions := self._function.calls():
            message["function_call"] = functions[0]["function"]
        return message


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
