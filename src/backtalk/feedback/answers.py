"""Answers as messages: two answers are the same only if all of their messages are."""

from __future__ import annotations

from collections.abc import Callable

from backtalk.feedback.interaction import Message, Prompt, Response
from backtalk.feedback.record import content_id

Messages = tuple[Message, ...]
"""Messages of an answer; empty if it is one plain message with the answer's text."""


def is_plain(messages: Messages) -> bool:
    """Return true if an answer's text is all of it: one message without tool calls or media."""
    return not messages or (len(messages) == 1 and _is_text(messages[0]))


def answer_key(text: str, messages: Messages = ()) -> tuple[str, ...]:
    """Return a key that two answers share only if they are the same in text and messages.

    The key of an answer that is all text is that text, however its message is written. Reasoning
    is no part of an answer.

    >>> answer_key("Yes.", (Message.assistant("Yes."),)) == answer_key("Yes.")
    True
    >>> call = Message(role="assistant", content="Yes.", tool_calls=({"id": "c"},))
    >>> answer_key("Yes.", (call,)) == answer_key("Yes.")
    False
    """
    if is_plain(messages):
        return (messages[0].text if messages else text,)
    return (text, *(message.model_dump_json(exclude={"reasoning"}) for message in messages))


def response_key(response: Response) -> tuple[str, ...]:
    """Return the :func:`answer_key` of a response."""
    return answer_key(response.text, response.messages)


def response_content_id(response: Response) -> str:
    """Return the content id of a response: its model, text and messages."""
    return content_id(response.model or "", *response_key(response))


class MessageText(str):
    """Text of an answer that is more than text, such as a tool call, with its message.

    It is the text that a model writes for the message, so that it can be read, compared and trained
    on as any other; chat templates render the message itself.

    Special tokens are no part of the text, but two answers are equal only if they agree in them: a
    call that begins with a special token is not the same answer as its text without.
    """

    __slots__ = ("marked", "message")
    message: Message
    marked: str
    """Text with its special tokens; empty if it has none."""

    def __new__(cls, text: str, message: Message, marked: str = "") -> MessageText:
        """Return the text of a message."""
        result = super().__new__(cls, text)
        result.message = message
        result.marked = marked
        return result

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other) is True and self.marked == getattr(other, "marked", "")

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__

    def __getnewargs__(self) -> tuple[str, Message, str]:  # type: ignore[override]
        return str(self), self.message, self.marked


WriteAnswer = Callable[[Prompt, Message], str]
"""Function from a prompt and an answer to the text that a model writes for the answer."""


def is_one_message(messages: Messages) -> bool:
    """Return true if an answer is one message of the assistant, with or without tool calls."""
    return not messages or (len(messages) == 1 and messages[0].role == "assistant")


def _is_text(message: Message) -> bool:
    if message.role != "assistant" or message.tool_calls or message.tool_call_id or message.name:
        return False
    if message.content is None or isinstance(message.content, str):
        return True
    return all(part.get("type") in ("text", None) and "text" in part for part in message.content)
