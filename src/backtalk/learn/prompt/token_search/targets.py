"""Answers whose loss a token search lowers, each after reasoning that the model generates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from backtalk.feedback.interaction import Prompt
from backtalk.learn.prompt.token_search.line import PromptLine, common_prefix
from backtalk.learn.prompt.token_search.settings import EXTRACTION, Reasoning
from backtalk.models import Model, Request, Sampling
from backtalk.models.local.chat_template import ChatTemplate


@dataclass
class Targets:
    """Good answers as targets of a prompt, with the reasoning that leads to them.

    Parameters
    ----------
    model : Model
        Model that reasons, within the budget of the run.
    chat : ChatTemplate
        Its chat template.
    examples : sequence of tuple[Prompt, str]
        Requests with good answers.
    sampling : Sampling
        Sampling parameters of the policy; reasoning is generated at temperature 0.
    reasoning : {"auto", "none", "steps", "response"}, default "auto"
        Text between the request and the answer.
    extraction : str, default EXTRACTION
        Text that leads from a response to the final answer.
    seed : int, default 0
        Seed of the requests.
    context_length : int, optional
        Maximum number of tokens of a conversation; ``None`` if there is no limit.
    """

    model: Model
    chat: ChatTemplate
    examples: Sequence[tuple[Prompt, str]]
    sampling: Sampling
    reasoning: Reasoning = "auto"
    extraction: str = EXTRACTION
    seed: int = 0
    context_length: int | None = None
    _responses: dict[str, list[str]] = field(default_factory=dict, init=False)

    async def prefixes(self, line: PromptLine, text: str) -> list[str]:
        """Return the text of the model before each answer, under a prompt.

        Parameters
        ----------
        line : PromptLine
            Line of the prompt.
        text : str
            Its text.
        """
        if self.reasoning == "auto":
            self.reasoning = await self._choose_reasoning(line, text)
        if self.reasoning == "none":
            return [""] * len(self.examples)
        responses = await self._respond(line, text)
        if self.reasoning == "response":
            return [f"{response.rstrip()}\n{self.extraction} " for response in responses]
        return [_without_last_line(response) for response in responses]

    def answers(self) -> list[str]:
        """Return the text of each answer whose loss counts."""
        if self.reasoning == "steps":
            return [text.rstrip().rsplit("\n", 1)[-1] for _, text in self.examples]
        return [text for _, text in self.examples]

    def encode(self, messages: Prompt, prefix: str, answer: str) -> tuple[list[int], list[int]]:
        """Return the tokens of a prompt with reasoning, and those of the answer with its end.

        Parameters
        ----------
        messages : Prompt
            Messages of the prompt.
        prefix : str
            Reasoning.
        answer : str
            Answer.
        """
        prompt, tokens = self.chat.conversation_tokens(messages, prefix + answer)
        if not prefix:
            return prompt, tokens
        _, marked = self.chat.conversation_tokens(messages, f"{prefix}§")
        length = min(common_prefix(tokens, marked), len(tokens) - 1)
        return [*prompt, *tokens[:length]], tokens[length:]

    async def _choose_reasoning(self, line: PromptLine, text: str) -> Reasoning:
        responses = await self._respond(line, text)
        length = median(len(answer) for _, answer in self.examples)
        is_short = 2 * length < median(map(len, responses))
        return "response" if is_short else "none"

    async def _respond(self, line: PromptLine, text: str) -> list[str]:
        key = line.filled(text).version
        if key not in self._responses:
            completions = await self.model.generate(
                [
                    Request(
                        messages=line.messages(text, prompt),
                        sampling=self._sampling(line.messages(text, prompt), answer),
                        seed=self.seed,
                    )
                    for prompt, answer in self.examples
                ]
            )
            self._responses[key] = [completion.text for completion in completions]
        return self._responses[key]

    def _sampling(self, messages: Prompt, answer: str) -> Sampling:
        """Return greedy sampling that leaves room for the answer in the context window."""
        length = self.sampling.local_max_tokens
        if self.context_length is not None:
            prompt, tokens = self.encode(messages, f"\n{self.extraction} ", answer)
            length = min(length, self.context_length - len(prompt) - len(tokens))
        return self.sampling.model_copy(update={"temperature": 0.0, "max_tokens": max(length, 1)})


def _without_last_line(text: str) -> str:
    start, separator, _ = text.rstrip().rpartition("\n")
    return start + separator
