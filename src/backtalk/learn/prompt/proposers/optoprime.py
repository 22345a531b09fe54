"""OptoPrime on a prompt: its slots are parameters of the program that answers requests."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from backtalk.errors import BacktalkError
from backtalk.feedback.interaction import prompt_text
from backtalk.feedback.record import Name
from backtalk.learn.prompt.edits import with_instruction, with_rules
from backtalk.learn.prompt.examples import draw
from backtalk.learn.prompt.meta_prompts import quote_feedback
from backtalk.learn.prompt.proposers.batches import propose_by_batches
from backtalk.learn.prompt.proposers.inner_scores import next_seed
from backtalk.learn.prompt.proposers.protegi import review
from backtalk.learn.prompt.protocol import PromptCandidate, SearchState, TextFeedback
from backtalk.learn.prompt.trace import Node, traced
from backtalk.learn.prompt.trace.pseudo_program import pseudo_program
from backtalk.learn.prompt.trace.request import (
    Attempt,
    correction_request,
    suggestion_request,
)
from backtalk.learn.prompt.trace.suggestion import parse_suggestion
from backtalk.learn.prompt.writer import InstructionWriter, PromptWriter
from backtalk.policy.prompt_template import SEPARATOR

MAX_REPLY_TOKENS = 1_000
"""Maximum length of a reply with new values."""


class OptoPrimeProposer:
    """Proposer that lets a model infer new slots of a prompt from traced executions.

    The program puts the slots together and answers a batch of requests. Its trace has the answers,
    and as feedback what people said about them. Earlier batches are the memory. An instruction
    model reads the pseudo-program and replies with new values, which are checked. The small model
    of a world reads no program: it finds rules in the answers and feedback of the same trace.

    Cheng, Nie and Swaminathan (2024), "Trace is the next AutoDiff: generative optimization with
    rich feedback, execution traces, and LLMs". For programs with other parameters, code included,
    see :mod:`backtalk.learn.prompt.trace`.

    Parameters
    ----------
    writer : PromptWriter
        Model that suggests values.
    reviewed : sequence of TextFeedback, default ()
        Answers to the first prompt that people reviewed.
    batch_size : int, default 6
        Number of answers of a batch.
    memory_size : int, default 3
        Number of earlier batches that the model reads.
    """

    name = "optoprime"

    def __init__(
        self,
        writer: PromptWriter,
        reviewed: Sequence[TextFeedback] = (),
        *,
        batch_size: int = 6,
        memory_size: int = 3,
    ) -> None:
        self._writer = writer
        self._reviewed = list(reviewed)
        self._batch_size = batch_size
        self._memory: deque[tuple[PromptCandidate, list[TextFeedback]]] = deque(maxlen=memory_size)

    async def propose(self, state: SearchState, count: int) -> list[PromptCandidate]:
        """Return the prompts with the suggested values.

        Without a new one, further batches are read.
        """
        return await propose_by_batches(state, self._step, name=self.name, count=count)

    async def _step(self, state: SearchState, count: int) -> list[PromptCandidate]:
        """Return the prompts with the values that a new batch suggests."""
        candidate = state.best.candidate
        batch = await review(state, state.best, (), self._batch_size)
        memory = list(self._memory)
        if known := draw(self._reviewed, self._batch_size, state.rng):
            memory.append((state.trials[0].candidate, known))
        if isinstance(self._writer, InstructionWriter):
            # They are answered and scored already.
            jobs = [(candidate, state.examples.index(item.prompt)) for item in batch]
            scores = [score for _, score in await state.evaluate(jobs)]
            slots = slot_nodes(candidate)
            trace_answers(slots, batch, scores)
            proposals = await self._suggest(
                self._writer, candidate, slots, memory, count=count, seed=next_seed(state)
            )
        else:
            proposals = await self._revise(candidate, batch, memory, state, count)
        self._memory.append((candidate, batch))
        return proposals

    async def _revise(
        self,
        candidate: PromptCandidate,
        batch: Sequence[TextFeedback],
        memory: Sequence[tuple[PromptCandidate, Sequence[TextFeedback]]],
        state: SearchState,
        count: int,
    ) -> list[PromptCandidate]:
        """Return revisions by the batch alone, and by the batch with the memory."""
        earlier = [item for _, items in memory for item in items]
        revised: list[PromptCandidate] = []
        for items in (list(batch), [*earlier, *batch]):
            texts = [item.text for item in items if item.text]
            revised += await self._writer.revise(
                candidate, texts, items, count=count, seed=next_seed(state)
            )
        return revised

    async def _suggest(
        self,
        writer: InstructionWriter,
        candidate: PromptCandidate,
        slots: Mapping[str, Node],
        memory: Sequence[tuple[PromptCandidate, Sequence[TextFeedback]]],
        *,
        count: int,
        seed: int,
    ) -> list[PromptCandidate]:
        """Return the candidates of correct replies; wrong ones are sent back once."""
        program = pseudo_program(slots["instruction"].subgraphs)
        attempts = [
            Attempt(
                values={name: slot.json_value for name, slot in slot_nodes(earlier).items()},
                feedback="\n\n".join(map(quote_feedback, items)),
            )
            for earlier, items in memory
        ]
        request = suggestion_request(program, attempts, allowed=program.parameters)
        results: list[PromptCandidate] = []
        wrong = []
        replies = await writer.ask([request] * count, seed=seed, max_tokens=MAX_REPLY_TOKENS)
        for reply in replies:
            try:
                values = parse_suggestion(reply, program.parameters).values
            except BacktalkError as error:
                wrong.append(correction_request(request, reply, error, allowed=program.parameters))
            else:
                results.append(with_values(candidate, values))
        for reply in await writer.ask(wrong, seed=seed, max_tokens=MAX_REPLY_TOKENS):
            try:
                values = parse_suggestion(reply, program.parameters).values
            except BacktalkError:
                continue
            results.append(with_values(candidate, values))
        return results


def slot_nodes(candidate: PromptCandidate) -> dict[str, Node]:
    """Return the slots of a prompt as parameters, by name."""
    template = candidate.template
    slots = {
        "instruction": Node(
            candidate.system or "",
            name="instruction",
            description="Instruction of the assistant.",
            trainable=True,
        ),
        "rules": Node(
            list(template.rules),
            name="rules",
            description="Rules below the instruction, one sentence each.",
            trainable=True,
            kind=list[Name],
        ),
    }
    if template.tools:
        slots["tools"] = Node(
            dict(template.tools),
            name="tools",
            description="Descriptions of the tools by name.",
            trainable=True,
            kind=dict[str, Name],
        )
    return slots


def trace_answers(
    slots: Mapping[str, Node], batch: Sequence[TextFeedback], scores: Sequence[float]
) -> None:
    """Build the trace of a program that answered a batch of requests, with its feedback.

    Parameters
    ----------
    slots : Mapping[str, Node]
        Parameters by name.
    batch : sequence of TextFeedback
        Requests, answers, and what was said about them.
    scores : sequence of float
        Scores of the answers, in [0, 1].
    """
    shared = {"system": _system_message(slots["instruction"], slots["rules"])}
    if "tools" in slots:
        shared["tools"] = slots["tools"]
    for item, score in zip(batch, scores, strict=True):
        answer = Node(
            item.answer,
            name="answer",
            description="Let the language model answer the request under the system message.",
            inputs={**shared, "request": Node(prompt_text(item.prompt), name="request")},
        )
        better = "" if item.better is None else f"A better answer: {item.better}"
        parts = (f"Score {100 * score:.0f} of 100.", item.text, better)
        answer.backward("\n".join(part for part in parts if part))


@traced(name="system_message")
def _system_message(instruction: str, rules: list[str]) -> str:
    """Put the rules below the instruction, one a line."""
    return SEPARATOR.join(part for part in (instruction, "\n".join(rules)) if part)


def with_values(candidate: PromptCandidate, values: Mapping[str, Any]) -> PromptCandidate:
    """Return a candidate with new values of slots, by name; the others stay."""
    changed = candidate
    if "instruction" in values:
        changed = with_instruction(changed, values["instruction"].strip())
    if "rules" in values:
        changed = with_rules(changed, values["rules"])
    if "tools" in values:
        known = candidate.template.tools
        tools = {name: values["tools"].get(name, text) for name, text in known.items()}
        template = changed.template.model_copy(update={"tools": tools})
        changed = replace(changed, template=template)
    return replace(changed, note=f"change: {', '.join(values)}")
