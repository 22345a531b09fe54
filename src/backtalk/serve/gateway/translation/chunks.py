"""Reading of the chunks of a streamed chat completion, for their translation to another API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from backtalk.feedback.chat_answer import answer_reasoning, content_text
from backtalk.models.endpoint.tool_calls import ToolCallAssembler


@dataclass(frozen=True)
class Delta:
    """Additions of one chunk to an answer."""

    reasoning: str = ""
    text: str = ""
    refusal: str = ""
    logprobs: tuple[dict[str, Any], ...] = ()
    calls: tuple[tuple[int, str], ...] = ()
    """Position of a tool call, and the text that is added to its arguments."""


@dataclass
class ChunkReader:
    """Reader of the chunks of one answer.

    Only the first choice is read, as the APIs that are translated have no more.

    >>> reader = ChunkReader()
    >>> reader.read({"choices": [{"delta": {"content": "At nine."}, "finish_reason": "stop"}]})
    Delta(reasoning='', text='At nine.', refusal='', logprobs=(), calls=())
    >>> reader.finish_reason
    'stop'
    """

    calls: ToolCallAssembler = field(default_factory=ToolCallAssembler)
    finish_reason: str | None = None
    stop_reason: Any = None
    """Stop sequence that ended the answer, where the server tells it."""
    usage: Mapping[str, Any] | None = None
    model: str | None = None

    def read(self, chunk: Mapping[str, Any]) -> Delta:
        """Return what a chunk adds to the answer."""
        if isinstance(chunk.get("usage"), dict):
            self.usage = chunk["usage"]
        if isinstance(chunk.get("model"), str) and chunk["model"]:
            self.model = chunk["model"]
        choice = first_choice(chunk)
        self.finish_reason = choice.get("finish_reason") or self.finish_reason
        self.stop_reason = choice.get("stop_reason") or self.stop_reason
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            return Delta()
        refusal = delta.get("refusal")
        return Delta(
            reasoning=answer_reasoning(delta),
            text=content_text(delta.get("content")),
            refusal=refusal if isinstance(refusal, str) else "",
            logprobs=tuple(logprobs_of(choice)),
            calls=tuple(self._add_calls(delta)),
        )

    def _add_calls(self, delta: Mapping[str, Any]) -> list[tuple[int, str]]:
        pieces = delta.get("tool_calls")
        pieces = list(pieces) if isinstance(pieces, list) else []
        if isinstance(delta.get("function_call"), dict):
            pieces.append({"index": 0, "function": delta["function_call"]})
        return [self.calls.add(piece) for piece in pieces if isinstance(piece, dict)]


def first_choice(completion: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the choice with the index 0 of a completion or a chunk, empty if it has none."""
    choices = completion.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and not choice.get("index"):
            return choice
    return {}


def logprobs_of(choice: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the log-probabilities of the tokens of a choice, empty if it has none."""
    logprobs = choice.get("logprobs")
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    return [token for token in content if isinstance(token, dict)] if content else []


def as_chunk(completion: Mapping[str, Any]) -> dict[str, Any]:
    """Return a completion as the only chunk of a stream."""
    choice = dict(first_choice(completion))
    message = choice.pop("message", None)
    message = dict(message) if isinstance(message, dict) else {}
    if isinstance(message.get("tool_calls"), list):
        message["tool_calls"] = [
            {"index": i, **call}
            for i, call in enumerate(message["tool_calls"])
            if isinstance(call, dict)
        ]
    return {**completion, "choices": [{**choice, "delta": message}]}
