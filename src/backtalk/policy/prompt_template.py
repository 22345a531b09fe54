"""Prompt templates: the words around a user's request, in named slots that methods can learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from backtalk.feedback import Message, content_id
from backtalk.feedback.interaction import Prompt
from backtalk.feedback.record import OMIT_EMPTY, Name, Record

SEPARATOR = "\n\n"
"""Text between two parts of a system prompt."""


class Example(Record):
    """Demonstration in a prompt: a request and an ideal answer, as a user and an assistant turn."""

    prompt: Prompt
    """Messages of the request."""
    answer: Name
    """Ideal answer."""


class PromptTemplate(Record):
    r"""Slots of a prompt beside the instruction, which is the policy's ``system``.

    The system message holds the instruction, the rules, one a line, and what a memory adds, in this
    order. Demonstrations follow as turns before the user's messages.

    >>> template = PromptTemplate(rules=("Be brief.",))
    >>> [message.text for message in template.render("You write mails.", ())]
    ['You write mails.\n\nBe brief.']
    """

    rules: tuple[Name, ...] = Field(default=(), exclude_if=OMIT_EMPTY)
    """Rules, each one sentence or a short paragraph."""
    demonstrations: tuple[Example, ...] = Field(default=(), exclude_if=OMIT_EMPTY)
    """Demonstrations, the first one first in the prompt."""
    tools: dict[str, Name] = Field(default_factory=dict, exclude_if=OMIT_EMPTY)
    """Descriptions of tools by name, which replace those of the request."""

    @property
    def version(self) -> str:
        """Hash of the template, 32 hexadecimal digits."""
        return content_id("prompt", self.to_json())

    def render(self, instruction: str | None, remembered: Sequence[str]) -> tuple[Message, ...]:
        """Return the messages before the user's own.

        Parameters
        ----------
        instruction : str or None
            Instruction of the policy.
        remembered : sequence of str
            Texts of memory entries.
        """
        parts = [instruction or "", "\n".join(self.rules), "\n".join(remembered)]
        text = SEPARATOR.join(part for part in parts if part)
        turns = [
            message
            for example in self.demonstrations
            for message in (*example.prompt, Message.assistant(example.answer))
        ]
        return (*((Message.system(text),) if text else ()), *turns)

    def with_tools(self, tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return tool definitions of a request with the descriptions of this template."""
        return [self._described(dict(tool)) for tool in tools]

    def _described(self, tool: dict[str, Any]) -> dict[str, Any]:
        function = tool.get("function")
        if not isinstance(function, Mapping) or function.get("name") not in self.tools:
            return tool
        return {**tool, "function": {**function, "description": self.tools[function["name"]]}}
