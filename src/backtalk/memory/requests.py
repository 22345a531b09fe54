"""Text of a request: the part of a conversation that decides which entries apply."""

from __future__ import annotations

import re

from backtalk.feedback.interaction import Prompt, prompt_text

_FOLLOW_UP_WORDS = 8
"""Maximum number of words of a follow-up that refers to the message before it."""
_REFERENCE = re.compile(
    r"\b(?:again|also|it|its|instead|longer|more|less|now|same|shorter|that|them|this|too)\b",
    re.IGNORECASE,
)


def request_text(prompt: Prompt) -> str:
    """Return the text that states what a user asks for.

    It is the last message of the user. A follow-up of a few words that refers to something said
    before, such as "Make it shorter.", is preceded by the message before it, so that it stays in
    the scope of the conversation.

    >>> from backtalk.feedback import Message
    >>> request_text((Message.system("Be brief."), Message.user("Write to my boss.")))
    'Write to my boss.'
    """
    texts = [message.text for message in prompt if message.role == "user" and message.text]
    if not texts:
        return prompt_text(prompt)
    first = len(texts) - 1
    while first > 0 and _is_follow_up(texts[first]):
        first -= 1
    return "\n\n".join(texts[first:])


def _is_follow_up(text: str) -> bool:
    words = len(text.split())
    return words <= 2 or (words <= _FOLLOW_UP_WORDS and _REFERENCE.search(text) is not None)
