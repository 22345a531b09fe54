"""Rewriting of lessons by a model, with the evidence that decides which wording is used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import JsonValue

from backtalk.feedback import Message
from backtalk.feedback.case import Case
from backtalk.feedback.kinds import Edit
from backtalk.learn.context import MethodContext
from backtalk.learn.lazy_modules import np
from backtalk.learn.memory.collecting import Collection
from backtalk.learn.memory.induction import MAX_RULE, Example, induce_rules, sandbox_world
from backtalk.learn.memory.lesson import Lesson
from backtalk.learn.memory.verification import MAX_TESTS, closeness
from backtalk.memory.contradictions import contradiction
from backtalk.models import Request, Sampling

if TYPE_CHECKING:
    from numpy.typing import NDArray

REWRITTEN_KINDS = frozenset({"correction", "principle", "preference"})
MIN_CONFIDENCE = 0.75
"""Minimum posterior mean of the probability that a new wording brings an answer closer."""
_REQUEST = (
    "A person said this about an answer:\n{text}\n\nWrite it as one general instruction to the "
    "writer of future answers, in one sentence that begins with a verb. Add nothing that was not "
    "said."
)


@dataclass
class Rewrites:
    """Better wording of lessons by their key, and the evidence for the lineage."""

    texts: dict[str, str] = field(default_factory=dict)
    notes: dict[str, JsonValue] = field(default_factory=dict)


async def rewrite_lessons(
    context: MethodContext, lessons: Sequence[Lesson], collection: Collection
) -> Rewrites:
    """Return the lessons that a model states better than the feedback did.

    Answers under both wordings, and without either, are compared with those that people wrote, on
    the requests of the lesson's edits. A new wording is used if its answers are the closest on
    average, if it brings far more answers closer than farther away, and if it does not contradict
    the first one. Small models state nonsense that changes one answer by accident.

    Parameters
    ----------
    context : MethodContext
        Policy, feedback and run.
    lessons : sequence of Lesson
        Lessons to rewrite.
    collection : Collection
        Feedback that they were made from.
    """
    edits = collection.edits()
    by_id: dict[str, tuple[Case, Edit]] = {item.id: (case, item) for case, item in edits}
    tested = [
        lesson
        for lesson in lessons
        if lesson.kind in REWRITTEN_KINDS and any(id_ in by_id for id_ in lesson.feedback)
    ]
    wordings = await _reword(context, tested, by_id)
    results = Rewrites()
    before, after = [], []
    for lesson, words in zip(tested, wordings, strict=True):
        if words is None or words == lesson.text:
            continue
        examples = [_example(*by_id[id_]) for id_ in lesson.feedback if id_ in by_id][:MAX_TESTS]
        trials = [(text, example) for text in (None, lesson.text, words) for example in examples]
        scores = np.array(await closeness(context, trials, seed=22)).reshape(3, len(examples))
        none, old, new = map(float, scores.mean(axis=1))
        is_likely = _confidence(scores[2] - scores[1]) >= MIN_CONFIDENCE
        if new > max(none, old) and is_likely and contradiction(lesson.text, words) is None:
            results.texts[lesson.key] = words
            before.append(old)
            after.append(new)
    results.notes["rewritten"] = len(results.texts)
    results.notes["rewrites not used"] = sum(words is not None for words in wordings) - len(
        results.texts
    )
    if before:
        results.notes["similarity to edits before rewriting"] = round(float(np.mean(before)), 4)
        results.notes["similarity to edits after rewriting"] = round(float(np.mean(after)), 4)
    return results


async def _reword(
    context: MethodContext, lessons: Sequence[Lesson], by_id: dict[str, tuple[Case, Edit]]
) -> list[str | None]:
    if sandbox_world(context.policy) is not None:
        groups = [
            [_example(*by_id[id_]) for id_ in one.feedback if id_ in by_id] for one in lessons
        ]
        return await induce_rules(context, [group[:3] for group in groups], seed=21)
    requests = [
        Request(
            messages=(Message.user(_REQUEST.format(text=lesson.text)),),
            sampling=Sampling(max_tokens=96, temperature=0),
            seed=context.run.seed * 1_000 + 21,
        )
        for lesson in lessons
    ]
    if not requests:
        return []
    with context.run.task("rewriting entries", len(requests)):
        replies = await context.model().generate(requests)
    texts = [reply.text.strip().strip("\"“”'").split("\n")[0].strip() for reply in replies]
    return [text if 0 < len(text) <= MAX_RULE else None for text in texts]


def _confidence(differences: NDArray[np.float64]) -> float:
    """Return the posterior mean of the probability that a difference is positive, without ties."""
    closer, farther = int((differences > 0).sum()), int((differences < 0).sum())
    return (closer + 1) / (closer + farther + 2)


def _example(case: Case, edit: Edit) -> Example:
    return Example(case.interaction.prompt, edit.text, case.text(edit.response))
