"""One line of a prompt: its place among the other slots, and its tokens in a conversation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from backtalk.feedback.interaction import Prompt
from backtalk.learn.prompt.edits import lines, with_rules
from backtalk.learn.prompt.protocol import PromptCandidate
from backtalk.models.local.chat_template import ChatTemplate

_MARK = "§"
"""Text in place of another one, to find which tokens the other one has."""


@dataclass(frozen=True)
class PromptLine:
    """Place of a line in a prompt.

    Parameters
    ----------
    base : PromptCandidate
        Prompt with the line, or without it if the line is new.
    index : int
        Index among the lines of the prompt; their number for a new line.
    """

    base: PromptCandidate
    index: int

    @property
    def text(self) -> str:
        """Text of the line; empty if it is new."""
        now = lines(self.base)
        return now[self.index] if self.index < len(now) else ""

    def filled(self, text: str, *, proposer: str = "", note: str = "") -> PromptCandidate:
        """Return the prompt with this text as the line.

        Parameters
        ----------
        text : str
            Text of the line.
        proposer, note : str, default ""
            Fields of the candidate.
        """
        rules = self.base.template.rules
        first_rule = len(lines(self.base)) - len(rules)
        if self.index < first_rule:
            instruction = [line for line in (self.base.system or "").split("\n") if line.strip()]
            instruction[self.index] = text
            system = "\n".join(instruction)
            return replace(self.base, system=system, proposer=proposer, note=note)
        place = self.index - first_rule
        changed = (*rules[:place], text, *rules[place + 1 :])
        return with_rules(self.base, changed, proposer=proposer, note=note)

    def messages(self, text: str, prompt: Prompt) -> Prompt:
        """Return the messages that the model reads for a request.

        Parameters
        ----------
        text : str
            Text of the line.
        prompt : Prompt
            Request.
        """
        candidate = self.filled(text)
        return (*candidate.template.render(candidate.system, ()), *prompt)

    def find(self, chat: ChatTemplate, text: str, prompt: Prompt) -> tuple[list[int], slice]:
        """Return the tokens of a request with its prompt, and the place of the line in them.

        Parameters
        ----------
        chat : ChatTemplate
            Chat template of the model.
        text : str
            Text of the line.
        prompt : Prompt
            Request.
        """
        tokens = chat.prompt_tokens(self.messages(text, prompt))
        marked = chat.prompt_tokens(self.messages(_MARK, prompt))
        start = common_prefix(tokens, marked)
        limit = min(len(tokens), len(marked)) - start
        end = min(common_prefix(tokens[::-1], marked[::-1]), limit)
        return tokens, slice(start, len(tokens) - end)


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """Return the number of tokens with which both sequences begin."""
    pairs = enumerate(zip(a, b, strict=False))
    return next((i for i, (one, other) in pairs if one != other), min(len(a), len(b)))
