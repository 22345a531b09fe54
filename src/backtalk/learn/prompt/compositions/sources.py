"""Techniques and prompts for the kinds of requests, from the feedback and a model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from pydantic import JsonValue

from backtalk.embedders.registry import EmbedderName
from backtalk.learn.lazy_modules import np
from backtalk.learn.prompt.compositions.kinds import RequestKinds
from backtalk.learn.prompt.compositions.learning import Design, SelectedPrompts
from backtalk.learn.prompt.compositions.techniques import (
    Technique,
    demonstrations_of_kinds,
    group_by_kind,
)
from backtalk.learn.prompt.criteria import find_criteria
from backtalk.learn.prompt.from_feedback.suggested_lines import stated_lines
from backtalk.learn.prompt.protocol import PromptCandidate
from backtalk.learn.prompt.task_prompts import (
    TaskContext,
    agreed_rules,
    general_lines,
    write_task_prompts,
)
from backtalk.models.protocol import Embedder
from backtalk.policy.prompt_selector import request_text

MAX_TECHNIQUES = 10
"""Maximum number of techniques that are combined."""
_MAX_STATED = 3
"""Maximum number of lines that people state."""
_DIMENSION = 256
"""Length of the vectors of requests, if it can be chosen."""


def request_embedder(design: Design, name: EmbedderName) -> Embedder:
    """Return the embedder of requests, fitted to those of the design."""
    from backtalk.embedders.registry import get_embedder  # noqa: PLC0415 - slow to import

    texts = [request_text(prompt) for prompt in design.examples]
    return get_embedder(name, texts, dimension=_DIMENSION)


async def collect_techniques(design: Design, kinds: RequestKinds) -> list[Technique]:
    """Return the techniques that feedback and the writer supply, the sources taking turns."""
    answers = design.signal.known.good_answers
    criteria = await find_criteria(design.signal.known.reviews)
    stated = stated_lines(design.context.feedback, criteria)[:_MAX_STATED]
    agreed = [
        await agreed_rules(design.writer, design.base, group, design.rng)
        for group in await group_by_kind(kinds, answers)
    ]
    rules = [Technique(f"rules of kind {n + 1}", tuple(one)) for n, one in enumerate(agreed)]
    shown = await demonstrations_of_kinds(kinds, answers)
    sources = [
        [Technique("rule of people", (line,)) for line in stated],
        [Technique("rules of the kind", variants=tuple(rules))] if any(agreed) else [],
        [Technique("advice", (line,)) for line in await general_lines(design.writer, design.base)],
        [Technique("demonstrations of the kind", variants=tuple(shown))] if answers else [],
    ]
    turns = (one for position in zip_longest(*sources) for one in position if one is not None)
    distinct = {one.rules or (one.name,): one for one in turns}
    return list(distinct.values())[:MAX_TECHNIQUES]


async def write_prompts(
    design: Design, kinds: RequestKinds, *, count: int
) -> list[list[PromptCandidate]]:
    """Return several sets of prompts, with one that the writer makes for each kind of requests.

    Parameters
    ----------
    design : Design
        Feedback, requests and writer.
    kinds : RequestKinds
        Kinds of requests.
    count : int
        Number of sets.
    """
    known = design.signal.known
    examples = await group_by_kind(kinds, known.good_answers)
    labels = await kinds.of(design.examples)
    reviews = known.reviews
    reviewed = await kinds.of([item.prompt for item in reviews])
    contexts = [
        TaskContext(
            tuple(p for p, kind in zip(design.examples, labels, strict=True) if kind == number),
            tuple(group),
            tuple(item for item, kind in zip(reviews, reviewed, strict=True) if kind == number),
        )
        for number, group in enumerate(examples)
    ]
    return await write_task_prompts(
        design.writer, design.base, contexts, count=count, rng=design.rng
    )


async def best_set(
    design: Design, kinds: RequestKinds, sets: Sequence[list[PromptCandidate]]
) -> list[PromptCandidate]:
    """Return the set of prompts with the best answers to the requests of the design.

    Parameters
    ----------
    design : Design
        Requests and evaluation.
    kinds : RequestKinds
        Kinds of requests.
    sets : sequence of list of PromptCandidate
        Sets of prompts, one prompt for each kind.
    """
    if len(sets) == 1:
        return sets[0]
    labels = await kinds.of(design.examples)
    jobs = [(prompts[kind], index) for prompts in sets for index, kind in enumerate(labels)]
    scores = [score for _, score in await design.evaluator.evaluate(jobs)]
    means = np.reshape(scores, (len(sets), -1)).mean(axis=1)
    return sets[int(means.argmax())]


def route(
    base: PromptCandidate,
    candidates: list[PromptCandidate],
    kinds: RequestKinds,
    notes: dict[str, JsonValue],
) -> SelectedPrompts:
    """Return the prompts of kinds of requests with the selector of the kind.

    Parameters
    ----------
    base : PromptCandidate
        Prompt before, which is used where the selector cannot be read.
    candidates : list of PromptCandidate
        Prompt of each kind.
    kinds : RequestKinds
        Kinds of requests.
    notes : dict[str, JsonValue]
        Results for the lineage.
    """
    selector = kinds.nearest()
    if len(candidates) == 1:
        return SelectedPrompts(candidates, selector, notes)
    return SelectedPrompts([base, *candidates], selector.with_unused_first(), notes)
