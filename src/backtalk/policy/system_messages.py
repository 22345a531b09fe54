"""One system message, the first, from those of a policy and of a prompt.

Chat templates of many models take no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from backtalk.feedback import Message
from backtalk.policy.prompt_template import SEPARATOR

SYSTEM_ROLES = frozenset({"system", "developer"})
"""Roles of instructions. OpenAI's newer models call a system message that of the developer."""


def merge_system_messages(own: Sequence[Message], prompt: Sequence[Message]) -> tuple[Message, ...]:
    r"""Return the messages of a policy and a prompt, with one system message before the others.

    System messages that follow a message of the user stay there.

    >>> own = [Message.system("Be brief.")]
    >>> merged = merge_system_messages(own, [Message.system("A shop."), Message.user("Open?")])
    >>> [(message.role, message.content) for message in merged]
    [('system', 'Be brief.\n\nA shop.'), ('user', 'Open?')]

    Parameters
    ----------
    own : sequence of Message
        Messages of the policy, which begin with its system message if it has one.
    prompt : sequence of Message
        Messages of the prompt.
    """
    leading = list(takewhile(lambda message: message.role in SYSTEM_ROLES, prompt))
    rest = prompt[len(leading) :]
    if not own or not leading:
        return (*own, *prompt)
    if own[0].role != "system":
        return (*leading, *own, *rest)
    contents = [own[0].content, *(message.content for message in leading)]
    merged = leading[0].model_copy(update={"role": "system", "content": join_contents(contents)})
    return (merged, *own[1:], *rest)


def join_contents(contents: Sequence[Any]) -> Any:
    """Return the contents of several messages as that of one.

    Texts are joined by an empty line. If there are parts, the result is a list of parts.

    Parameters
    ----------
    contents : sequence
        Contents, each a text, a list of parts, or ``None``.
    """
    present = [content for content in contents if content]
    if all(isinstance(content, str) for content in present):
        return SEPARATOR.join(present)
    parts: list[Any] = []
    for content in present:
        if parts:
            parts.append({"type": "text", "text": SEPARATOR})
        parts += [{"type": "text", "text": content}] if isinstance(content, str) else content
    return tuple(parts) if any(isinstance(content, tuple) for content in present) else parts
