"""PE2: a meta-prompt that guides a model through the inspection and the revision of a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from backtalk.feedback import Message
from backtalk.feedback.interaction import Prompt
from backtalk.learn.prompt import meta_prompts
from backtalk.learn.prompt.edits import new_only, with_instruction, with_rules
from backtalk.learn.prompt.proposers.inner_scores import (
    history_of,
    known_candidates,
    leaders,
    next_seed,
)
from backtalk.learn.prompt.proposers.protegi import review
from backtalk.learn.prompt.protocol import PromptCandidate, SearchState, TextFeedback
from backtalk.learn.prompt.writer import History, InstructionWriter, PromptWriter

QUESTIONS = (
    "Does the answer do as the feedback or the better answer says? If not, how does it differ?",
    "Does the instruction say what to do for this request, and is it right?",
    "Must the instruction change so that requests like this one get better answers?",
    "If so, which words are to be added, changed or removed?",
)
"""Questions that the model answers about each example before it revises the prompt."""


@dataclass
class EngineerProposer:
    """Proposer that inspects the worst answers step by step, and then revises the prompt.

    The meta-prompt has three parts: a description of the task in two steps, the place of the
    instruction among the messages, and questions about each example. The best prompts of the whole
    search are revised, so that a bad revision is taken back. Writers without prose, such as the
    small models of the worlds, criticise and revise instead.

    Ye et al. (2024), "Prompt engineering a prompt engineer", section 3.

    Parameters
    ----------
    writer : PromptWriter
        Model that inspects and revises.
    reviewed : sequence of TextFeedback, default ()
        Answers that people reviewed.
    beam : int, default 2
        Number of prompts that are revised in a round.
    batch_size : int, default 4
        Number of answers that an inspection reads.
    max_words : int, optional
        Maximum number of words that a revision may change: the step size.
    history : int, default 0
        Number of earlier prompts that are shown with their scores: the momentum.
    """

    writer: PromptWriter
    reviewed: Sequence[TextFeedback] = ()
    beam: int = 2
    batch_size: int = 4
    max_words: int | None = None
    history: int = 0
    name: str = "pe2"

    async def propose(self, state: SearchState, count: int) -> list[PromptCandidate]:
        """Return revisions of the best prompts, each by an inspection of other answers."""
        best = leaders(state, self.beam)
        past = history_of(state, self.history) if self.history else []
        revised: list[PromptCandidate] = []
        for number, trial in enumerate(best):
            share = len(range(number, count, len(best)))
            batches = [
                await review(state, trial, self.reviewed, self.batch_size) for _ in range(share)
            ]
            revised += await self._revise(state, trial.candidate, batches, past)
        named = [replace(candidate, proposer=self.name) for candidate in revised]
        return new_only(named, known_candidates(state))[:count]

    async def _revise(
        self,
        state: SearchState,
        candidate: PromptCandidate,
        batches: Sequence[Sequence[TextFeedback]],
        past: History,
    ) -> list[PromptCandidate]:
        """Return a revision for each batch of answers."""
        if isinstance(self.writer, InstructionWriter):
            return await self._engineer(state, self.writer, candidate, batches, past)
        critiques = await self.writer.criticise(candidate, batches, seed=next_seed(state))
        return [
            revision
            for critique, batch in zip(critiques, batches, strict=True)
            for revision in await self.writer.revise(
                candidate, [critique] if critique else [], batch, seed=next_seed(state)
            )
        ]

    async def _engineer(
        self,
        state: SearchState,
        writer: InstructionWriter,
        candidate: PromptCandidate,
        batches: Sequence[Sequence[TextFeedback]],
        past: History,
    ) -> list[PromptCandidate]:
        inspections = [inspection_request(candidate, batch) for batch in batches]
        replies = await writer.ask(inspections, seed=next_seed(state))
        requests = [
            (*inspection, Message.assistant(reply), *revision_request(self.max_words, past))
            for inspection, reply in zip(inspections, replies, strict=True)
        ]
        texts = await writer.ask(requests, seed=next_seed(state))
        instructions = [meta_prompts.parse_instruction(text) for text in texts]
        # The request shows instruction and rules as one text, and the reply replaces both.
        bare = with_rules(candidate, ())
        return [with_instruction(bare, text) for text in instructions if text]


def inspection_request(candidate: PromptCandidate, batch: Sequence[TextFeedback]) -> Prompt:
    """Return the request of the first step: to answer questions about each example."""
    questions = "\n".join(f"{number}. {text}" for number, text in enumerate(QUESTIONS, start=1))
    return meta_prompts.user_request(
        "An assistant answers requests by an instruction. Improve the instruction in two steps. "
        "First, inspect it and some answers that were written by it. Second, when you are asked "
        "to, write the improved instruction.",
        "The assistant reads the instruction and a request in this form:\n"
        "System: <instruction>\nUser: <request>\nAssistant: <answer>",
        f"Present instruction:\n{meta_prompts.describe_prompt(candidate)}",
        *(
            f"Example {number}\n{meta_prompts.quote_feedback(item)}"
            for number, item in enumerate(batch, start=1)
        ),
        f"Step 1. Answer these questions for each example:\n{questions}",
        "Then state in two or three sentences what the instruction must say.",
    )


def revision_request(max_words: int | None = None, history: History = ()) -> Prompt:
    """Return the request of the second step: to write the improved instruction.

    Parameters
    ----------
    max_words : int, optional
        Maximum number of words that may change.
    history : History, default ()
        Earlier prompts with their scores.
    """
    return meta_prompts.user_request(
        "Instructions so far, with the score of their answers in percent:" if history else "",
        *(
            f"{meta_prompts.describe_prompt(item)}\nScore: {100 * score:.0f}"
            for item, score in history
        ),
        "Step 2. Write the improved instruction. Keep what works. It must help with all requests "
        "of this kind, not with these examples alone.",
        f"Change at most {max_words} words." if max_words is not None else "",
        meta_prompts.REPLY_FORMAT,
    )
