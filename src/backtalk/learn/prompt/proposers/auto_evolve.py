"""Auto-Evolve: reasoning modules that a model makes for the task, a plan of them, refinement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest

from backtalk.feedback.interaction import Prompt, prompt_text
from backtalk.learn.prompt.edits import (
    lines,
    new_only,
    with_instruction,
    with_lines,
    with_rules,
)
from backtalk.learn.prompt.meta_prompts import (
    REPLY_FORMAT,
    describe_prompt,
    parse_instruction,
    parse_list,
    quote_example,
    shorten,
    user_request,
)
from backtalk.learn.prompt.proposers.inner_scores import known_candidates, next_seed
from backtalk.learn.prompt.proposers.protegi import review
from backtalk.learn.prompt.protocol import PromptCandidate, SearchState, TextFeedback
from backtalk.learn.prompt.task_prompts import agreed_rules, general_lines
from backtalk.learn.prompt.writer import Examples, InstructionWriter, PromptWriter

_SHOWN = 6
"""Number of requests that a model reads to make modules."""


class AutoEvolveProposer:
    """Proposer that lets a model make the reasoning modules of a task, and refines their plan.

    The first call makes modules for the requests at hand, from no list, and prompts with a plan of
    them. Each further call refines the prompt that leads by what is wrong with its answers, a step
    at a time. An instruction model writes modules and plan in prose. The modules of the small model
    of a world are the rules that it finds in good answers, and lines of general advice; a
    refinement adds a rule or removes a line.

    Aswani et al. (2024), "Auto-Evolve: Enhancing large language model's performance via
    self-reasoning framework", section 3.

    Parameters
    ----------
    writer : PromptWriter
        Model that makes modules and plans.
    examples : sequence of tuple[Prompt, str], default ()
        Requests with good answers.
    reviewed : sequence of TextFeedback, default ()
        Answers that people reviewed.
    modules : int, default 5
        Maximum number of modules that an instruction model makes.
    plans : int, default 2
        Number of plans of the first call.
    refine : bool, default True
        If false, there is no refinement.
    batch_size : int, default 6
        Number of answers that a refinement reads.
    """

    name = "auto-evolve"

    def __init__(
        self,
        writer: PromptWriter,
        examples: Examples = (),
        reviewed: Sequence[TextFeedback] = (),
        *,
        modules: int = 5,
        plans: int = 2,
        refine: bool = True,
        batch_size: int = 6,
    ) -> None:
        self._writer = writer
        self._examples = list(examples)
        self._reviewed = list(reviewed)
        self._modules = modules
        self._plans = plans
        self._refine = refine
        self._batch_size = batch_size
        self._is_new = True

    async def propose(self, state: SearchState, count: int) -> list[PromptCandidate]:
        """Return prompts with plans of new modules, then refinements of the prompt that leads."""
        if self._is_new:
            self._is_new = False
            candidates = await self._plan(state)
        elif self._refine:
            candidates = await self._refined(state, count)
        else:
            candidates = []
        named = [replace(candidate, proposer=self.name) for candidate in candidates]
        return new_only(named, known_candidates(state))[:count]

    async def _plan(self, state: SearchState) -> list[PromptCandidate]:
        base = state.best.candidate
        if isinstance(self._writer, InstructionWriter):
            return await self._written_plans(self._writer, base, state)
        rules = await agreed_rules(self._writer, base, self._examples, state.rng)
        general = await general_lines(self._writer, base)
        plans = [list(dict.fromkeys((*rules, *general))), rules]
        return [
            with_rules(base, (*base.template.rules, *plan), note=" ".join(plan))
            for plan in plans[: self._plans]
            if plan
        ]

    async def _written_plans(
        self, writer: InstructionWriter, base: PromptCandidate, state: SearchState
    ) -> list[PromptCandidate]:
        shown = state.rng.permutation(len(state.examples))[:_SHOWN]
        requests = [state.examples[i] for i in shown]
        seed = next_seed(state)
        replies = await writer.ask(
            [modules_request(requests, self._examples[:2], count=self._modules)] * self._plans,
            seed=seed,
        )
        modules = [parse_list(reply)[: self._modules] for reply in replies]
        plans = await writer.ask(
            [plan_request(base, one, requests) for one in modules if one], seed=seed
        )
        texts = [parse_instruction(plan) for plan in plans]
        return [with_instruction(base, text, note=shorten(text, 80)) for text in texts if text]

    async def _refined(self, state: SearchState, count: int) -> list[PromptCandidate]:
        """Return small changes of the prompt that leads: revisions, and single lines less."""
        leader = state.best
        batch = await review(state, leader, self._reviewed, self._batch_size)
        critiques = await self._writer.criticise(leader.candidate, [batch], seed=next_seed(state))
        revised = await self._writer.revise(
            leader.candidate,
            [text for text in critiques if text],
            batch,
            count=count,
            seed=next_seed(state),
        )
        if isinstance(self._writer, InstructionWriter):
            return revised
        own = lines(leader.candidate)
        shorter = [
            with_lines(leader.candidate, [one for one in own if one != line], note=f"less: {line}")
            for line in own
        ]
        turns = zip_longest(revised, shorter)
        return [one for turn in turns for one in turn if one is not None]


def modules_request(requests: Sequence[Prompt], examples: Examples, *, count: int) -> Prompt:
    """Return the request to make reasoning modules for a task.

    Parameters
    ----------
    requests : sequence of Prompt
        Requests of the task.
    examples : sequence of tuple[Prompt, str]
        Requests with good answers.
    count : int
        Maximum number of modules.
    """
    return user_request(
        "Users send an assistant requests such as:\n"
        + "\n".join(f"- {shorten(prompt_text(prompt), 300)}" for prompt in requests),
        *(quote_example(*example, name="Good answer") for example in examples),
        f"List up to {count} ways of thinking that lead to right answers to such requests, one a "
        "line. Make them for these requests; do not name ways that suit any request.",
    )


def plan_request(
    candidate: PromptCandidate, modules: Sequence[str], requests: Sequence[Prompt]
) -> Prompt:
    """Return the request to turn reasoning modules into a plan of action.

    Parameters
    ----------
    candidate : PromptCandidate
        Present prompt.
    modules : sequence of str
        Reasoning modules.
    requests : sequence of Prompt
        Requests of the task.
    """
    return user_request(
        f"Instruction of an assistant:\n{describe_prompt(candidate)}",
        "Some of its requests:\n"
        + "\n".join(f"- {shorten(prompt_text(prompt), 300)}" for prompt in requests),
        "Ways of thinking that help:\n" + "\n".join(f"- {module}" for module in modules),
        "Write an instruction with a plan of numbered steps that uses them, and that keeps what "
        "the present instruction demands.",
        REPLY_FORMAT,
    )
