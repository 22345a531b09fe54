"""Answers with tool calls as a chat template writes them, as text and as tokens.

Each model has a format of its own for tool calls, which its chat template writes. A probe, the same
answer with marks in place of names, arguments and text, shows whether the template writes all of
them, and where the answer ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from backtalk.feedback.interaction import Message
from backtalk.models.errors import TemplateError
from backtalk.models.local.answer_tokens import AnswerTokenizer, Piece, common_prefix_length

_TEXT = "Text0Before1Calls2"
_TRIED_ENDS = 3
"""Number of end-of-sequence tokens, the last first, that are tried as the end of an answer."""


@dataclass(frozen=True)
class Probe:
    """Answer with marks in place of its text and of the names and arguments of its tool calls."""

    message: Message
    """The marked answer."""
    names: tuple[str, ...]
    """Marks of the names of tools."""
    arguments: tuple[str, ...]
    """Marks of the names and values of arguments."""
    text: str
    """Mark of the text; empty if the answer has none."""

    @classmethod
    def of(cls, answer: Message) -> Probe:
        """Return the probe of an answer."""
        names, arguments, calls = [], [], []
        for i, call in enumerate(answer.tool_calls):
            name, key, value = f"name{i}Of9Call", f"key{i}Of9Call", f"value{i}Of9Call"
            function = call.get("function")
            fields: dict[str, Any] = dict(function) if isinstance(function, dict) else {}
            calls.append({**call, "function": {**fields, "name": name, "arguments": {key: value}}})
            names.append(name)
            arguments += [key, value]
        text = _TEXT if answer.text.strip() else ""
        marked = answer.model_copy(
            update={"content": text or answer.content, "tool_calls": tuple(calls)}
        )
        return cls(marked, tuple(names), tuple(arguments), text)

    def check(self, body: str, template: str) -> None:
        """Check that a template writes everything of an answer.

        Parameters
        ----------
        body : str
            Text that it writes for the probe.
        template : str
            Name of the template, for the error message.

        Raises
        ------
        TemplateError
            If something is missing.
        """
        for marks, what in (
            (self.names, "the tool calls of an answer"),
            (self.arguments, "the arguments of a tool call"),
            ((self.text,), "the text of an answer beside its tool calls"),
        ):
            if not all(mark in body for mark in marks):
                raise TemplateError(
                    f"{template} does not write {what}",
                    "Use a chat_template that writes tool_calls, in the format that the model "
                    "answers in",
                )

    def rest(self, body: str) -> str:
        """Return the text after the last mark."""
        marks = [mark for mark in (*self.names, *self.arguments, self.text) if mark]
        return body[max((body.rfind(mark) + len(mark) for mark in marks), default=0) :]


def continue_prompt(
    prompt: Sequence[int],
    conversation: Sequence[int],
    body: str,
    *,
    content: str,
    eos_token_ids: frozenset[int],
    tokenizer: AnswerTokenizer,
) -> list[int] | None:
    """Return the tokens of an answer with tool calls, as they continue a prompt.

    They are those of the rendered conversation, so that the special tokens of the format are
    special tokens. Where the tokenizer merges the end of the prompt with the beginning of the
    answer, and where the text of the answer has tokens that a model writes itself, such as
    ``<think>``, they are encoded anew. ``None`` if no tokens decode to the answer.

    Parameters
    ----------
    prompt : sequence of int
        Tokens of the prompt, as a sampler reads them.
    conversation : sequence of int
        Tokens of the prompt with its answer.
    body : str
        Text that the template writes for the answer, up to its end.
    content : str
        Text of the answer beside its tool calls.
    eos_token_ids : frozenset[int]
        Tokens that end an answer.
    tokenizer : AnswerTokenizer
        Encoder of answers.
    """
    before = body[: max(body.find(content), 0)]
    encodes_content = content in body and tokenizer.writes_own_tokens(content)
    least = len(before) + len(content) if encodes_content else 0
    shared = common_prefix_length(prompt, conversation)
    ends = [i for i, token in enumerate(conversation) if i >= shared and token in eos_token_ids]
    for end in ends[: -_TRIED_ENDS - 1 : -1]:
        for start in range(shared, end + 1):
            tail = conversation[start:end]
            if not eos_token_ids.isdisjoint(tail):
                break
            if start == len(prompt) and not encodes_content:
                if tokenizer.is_rendered(prompt, tail, body):
                    return [*tail]
                continue
            text = tokenizer.following_text(conversation[:start], tail)
            if text is None or not body.endswith(text):
                continue
            head = body[: len(body) - len(text)]
            if len(head) < least:
                continue
            if tokenizer.writes_special_tokens(head[least:]):
                break
            pieces = [Piece(head)]
            if encodes_content:
                opening = Piece(before, is_template=True)
                pieces = [opening, Piece(content), Piece(head[least:])]
            encoded = tokenizer.encode(prompt, pieces)
            if encoded is not None and tokenizer.is_exact(prompt, [*encoded, *tail], body):
                return [*encoded, *tail]
    return None
