"""LEAP's principles as rules of a prompt: the model errs on given examples and learns from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from backtalk.feedback.interaction import Prompt
from backtalk.learn.memory.edit_words import edit_similarity
from backtalk.learn.prompt.edits import with_rules
from backtalk.learn.prompt.meta_prompts import (
    parse_instruction,
    parse_list,
    quote_example,
    shorten,
    user_request,
)
from backtalk.learn.prompt.protocol import PromptCandidate, SearchState
from backtalk.learn.prompt.writer import Examples, InstructionWriter, PromptWriter

_MAX_LENGTH = 300
"""Maximum length of a principle, in characters."""


@dataclass(frozen=True)
class Mistake:
    """Wrong answer of the model to a request, beside the right one."""

    prompt: Prompt
    right: str
    wrong: str


class PrincipleProposer:
    """Proposer that leads the model to mistakes on given examples, and states what avoids them.

    Zhang et al. (2024), "In-context principle learning from mistakes", section 3: low-level
    principles, one for each mistake, and high-level ones that a model condenses from them. The
    examples need no answers beyond those that people gave.

    Parameters
    ----------
    writer : PromptWriter
        Model that reflects.
    answers : sequence of tuple[Prompt, str]
        Requests with a right answer.
    examples : int, default 12
        Maximum number of requests on which mistakes are made.
    samples : int, default 2
        Number of answers to each.
    max_similarity : float, default 0.98
        Share of words in common with the right answer, in [0, 1], from which on an answer is no
        mistake.
    principles : int, default 5
        Maximum number of high-level principles.
    """

    name = "leap"

    def __init__(
        self,
        writer: PromptWriter,
        answers: Examples,
        *,
        examples: int = 12,
        samples: int = 2,
        max_similarity: float = 0.98,
        principles: int = 5,
    ) -> None:
        self._writer = writer
        self._answers = list(answers)
        self._examples = examples
        self._samples = samples
        self._max_similarity = max_similarity
        self._principles = principles
        self._round = 0

    async def propose(self, state: SearchState, count: int) -> list[PromptCandidate]:
        """Return the prompt that leads with high-level, with low-level and with single principles.

        A second round reflects on other examples.
        """
        start = self._round * self._examples
        self._round += 1
        chosen = self._answers[start : start + self._examples]
        if not chosen:
            return []
        base = state.best.candidate
        low = await self._reflect(base, await self._mistakes(state, chosen))
        high = await self._condense(low)
        groups = [high, low, *([principle] for principle in high)]
        candidates = [
            with_rules(
                base,
                (*base.template.rules, *group),
                proposer=self.name,
                note="; ".join(f"add: {line}" for line in group),
            )
            for group in groups
            if group
        ]
        return list({one.version: one for one in candidates}.values())[:count]

    async def _mistakes(self, state: SearchState, chosen: Examples) -> list[Mistake]:
        """Return wrong answers of the policy beside the right ones."""
        policy = state.best.candidate.apply(state.context.policy, state.context.policy.lineage)
        sampled = await state.context.sample(
            [prompt for prompt, _ in chosen], self._samples, policy=policy, seed=71 + self._round
        )
        return [
            Mistake(prompt, right, text)
            for (prompt, right), texts in zip(chosen, sampled, strict=True)
            for text in dict.fromkeys(texts)
            if edit_similarity(text, right) < self._max_similarity
        ]

    async def _reflect(self, base: PromptCandidate, mistakes: Sequence[Mistake]) -> list[str]:
        """Return low-level principles, those that were stated most often first."""
        if isinstance(self._writer, InstructionWriter):
            requests = [principle_request(mistake) for mistake in mistakes]
            stated = await self._writer.ask(requests, seed=self._round)
            texts = [parse_instruction(reply).split("\n\n")[0].strip() for reply in stated]
            lines = [text for text in texts if 0 < len(text) <= _MAX_LENGTH]
        else:
            size = self._writer.group_size
            right = [(one.prompt, one.right) for one in mistakes]
            groups = [right[start : start + size] for start in range(0, len(right) - size + 1, 2)]
            inferred = await self._writer.infer(base, groups, seed=self._round)
            known = set(base.template.rules)
            lines = [rule for one in inferred for rule in one.template.rules if rule not in known]
        return [line for line, _ in Counter(lines).most_common()]

    async def _condense(self, low: Sequence[str]) -> list[str]:
        """Return high-level principles, or the first ones if the writer cannot condense."""
        first = list(low[: self._principles])
        if len(low) <= self._principles or not isinstance(self._writer, InstructionWriter):
            return first
        request = user_request(
            "Principles for an assistant, each learned from one mistake:",
            "\n".join(f"- {line}" for line in low),
            f"Condense them into at most {self._principles} general principles, one a line.",
        )
        (reply,) = await self._writer.ask([request], seed=self._round)
        return parse_list(reply)[: self._principles] or first


def principle_request(mistake: Mistake) -> Prompt:
    """Return the request to state the principle that avoids a mistake."""
    return user_request(
        quote_example(mistake.prompt, mistake.wrong, name="Wrong answer"),
        f"Right answer: {shorten(mistake.right)}",
        "State the principle that avoids this mistake in other requests as well, in one sentence.",
        "Write nothing but the principle, between <prompt> and </prompt>.",
    )
