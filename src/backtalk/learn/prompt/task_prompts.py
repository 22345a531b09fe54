"""Prompts that a model writes from the context of a task: requests, good answers, critiques.

De Wynter et al. (2023), "On meta-prompting": one meta-prompt turns the context of any task into the
prompt of that task.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from backtalk.feedback.interaction import Prompt, prompt_text
from backtalk.learn.lazy_modules import np
from backtalk.learn.prompt.edits import lines, with_instruction, with_rules
from backtalk.learn.prompt.examples import draw_groups
from backtalk.learn.prompt.meta_prompts import (
    REPLY_FORMAT,
    describe_prompt,
    parse_instruction,
    quote_example,
    quote_feedback,
    shorten,
    user_request,
)
from backtalk.learn.prompt.protocol import PromptCandidate, TextFeedback
from backtalk.learn.prompt.writer import Examples, InstructionWriter, PromptWriter

_SHOWN = 6
"""Number of requests, of answers and of critiques that a model reads."""
_GROUPS = 8
"""Number of groups of good answers in which a rule is looked for."""
_MAX_GENERAL = 8
REASONING = (
    "Work through the request step by step before you answer.",
    "Check the answer against the request before you give it.",
)
"""General advice for instruction models."""


@dataclass(frozen=True)
class TaskContext:
    """Context of a task."""

    requests: tuple[Prompt, ...]
    """Requests of the task."""
    examples: tuple[tuple[Prompt, str], ...] = ()
    """Requests with good answers."""
    reviews: tuple[TextFeedback, ...] = ()
    """Answers with what people said about them."""


def task_request(candidate: PromptCandidate, context: TaskContext) -> Prompt:
    """Return the meta-prompt: the request to write the prompt of a task from its context."""
    requests = "\n".join(f"- {shorten(prompt_text(p), 300)}" for p in context.requests[:_SHOWN])
    return user_request(
        "Users send an assistant requests of one task:\n" + requests,
        f"Its present instruction:\n{describe_prompt(candidate)}",
        *(quote_example(*example, name="Good answer") for example in context.examples[:_SHOWN]),
        *(quote_feedback(item) for item in context.reviews[:_SHOWN]),
        "Work out what these users want in this task. Write the instruction with which the "
        "assistant answers further requests of it.",
        REPLY_FORMAT,
    )


async def write_task_prompts(
    writer: PromptWriter,
    candidate: PromptCandidate,
    contexts: Sequence[TaskContext],
    *,
    count: int,
    rng: np.random.Generator,
) -> list[list[PromptCandidate]]:
    """Return several sets of prompts that a model writes, with a prompt for each task.

    An instruction model writes it in prose. The small model of a world writes the rules that it
    finds in the good answers, and lines of general advice: all, and in other sets a random half.

    Parameters
    ----------
    writer : PromptWriter
        Model that writes.
    candidate : PromptCandidate
        Present prompt.
    contexts : sequence of TaskContext
        Contexts, one for each prompt of a set.
    count : int
        Number of sets.
    rng : numpy.random.Generator
        Source of groups of examples.
    """
    if isinstance(writer, InstructionWriter):
        requests = [task_request(candidate, context) for context in contexts]
        replies = await writer.ask([one for one in requests for _ in range(count)])
        texts = [parse_instruction(reply) for reply in replies]
        written = [
            with_instruction(candidate, text, note=shorten(text, 80)) if text else candidate
            for text in texts
        ]
        sets = [written[number::count] for number in range(count)]
    else:
        general = await general_lines(writer, candidate)
        halves = [rng.permutation(len(general))[: len(general) // 2] for _ in range(count - 1)]
        advice = [general, *([general[i] for i in sorted(half)] for half in halves)]
        agreed = [await agreed_rules(writer, candidate, c.examples, rng) for c in contexts]
        sets = [[_with_added(candidate, [*rules, *some]) for rules in agreed] for some in advice]
    return [[replace(one, proposer="meta-prompt") for one in prompts] for prompts in sets]


def _with_added(candidate: PromptCandidate, added: Sequence[str]) -> PromptCandidate:
    rules = (*candidate.template.rules, *added)
    return with_rules(candidate, rules, note=" ".join(added))


async def agreed_rules(
    writer: PromptWriter, candidate: PromptCandidate, examples: Examples, rng: np.random.Generator
) -> list[str]:
    """Return the lines that a model finds in at least half of several groups of good answers.

    Of an instruction model, whose replies hardly ever agree, the first one is taken.

    Parameters
    ----------
    writer : PromptWriter
        Model that finds rules.
    candidate : PromptCandidate
        Prompt, whose own lines are left out.
    examples : sequence of tuple[Prompt, str]
        Requests with good answers; none are found in fewer than a group has.
    rng : numpy.random.Generator
        Source of the groups.
    """
    if len(examples) < writer.group_size:
        return []
    groups = draw_groups(examples, writer.group_size, _GROUPS, rng)
    seed = int(rng.integers(2**31))
    if isinstance(writer, InstructionWriter):
        (first,) = await writer.infer(candidate, groups[:1], seed=seed) or [candidate]
        text = first.system or ""
        return [] if text == (candidate.system or "") else [text]
    inferred = await writer.infer(candidate, groups, seed=seed)
    known = set(lines(candidate))
    votes = Counter(line for one in inferred for line in lines(one) if line not in known)
    return [line for line, count in votes.most_common(2) if count >= _GROUPS / 2]


async def general_lines(writer: PromptWriter, candidate: PromptCandidate) -> list[str]:
    """Return lines of general advice that the prompt does not have."""
    known = set(lines(candidate))
    if isinstance(writer, InstructionWriter):
        return [line for line in REASONING if line not in known]
    varied = await writer.vary(candidate, count=_MAX_GENERAL)
    new = [line for one in varied for line in lines(one) if line not in known]
    return sorted(dict.fromkeys(new))
