"""Verbal feedback at prompt level: instructions with a scope learned from where they were said."""

from __future__ import annotations

from dataclasses import replace

from pydantic import JsonValue

from backtalk.embedders.registry import EmbedderName
from backtalk.feedback.kinds import Instruction
from backtalk.learn.memory.collecting import Collection
from backtalk.learn.memory.contexts import context_word, with_context
from backtalk.learn.memory.lesson import Lesson, merge
from backtalk.learn.memory.option_types import RecallLimit, Withhold
from backtalk.learn.memory.options import RecallOptions
from backtalk.learn.memory.requirements import INSTRUCTIONS
from backtalk.learn.memory.statements import StatementReader
from backtalk.learn.memory.writing import write_lessons
from backtalk.learn.method import Paper, method
from backtalk.learn.training_set import TrainingSet
from backtalk.memory.requests import request_text
from backtalk.policy import Policy
from backtalk.run import Run

PAPER = Paper(
    "RLVF: learning from verbal feedback without overgeneralization",
    "Stephan et al.",
    2024,
    "https://arxiv.org/abs/2402.10893",
)


@method(
    "verbal-feedback",
    target="memory",
    needs=[],
    requires=[INSTRUCTIONS],
    paper=PAPER,
    formula="prompt(x) = instruction + x if x is in the scope of the instruction, else x",
    example="-o recall_limit=4",
)
async def verbal_feedback(
    policy: Policy,
    feedback: TrainingSet,
    run: Run,
    *,
    memory_name: str | None = None,
    embedder: EmbedderName = "hashed",
    recall_limit: RecallLimit = 8,
    withhold: Withhold = 0.05,
) -> Policy:
    """Put instructions into the prompt where they were meant, and nowhere else.

    The counterpart of ``c3po`` at the level of the prompt, for RLVF, Stephan et al. (2024): the
    scope is a decision before the answer instead of a constraint on weights, so that it works
    behind an endpoint and can be edited. An instruction that was given on answers holds for
    requests like theirs. Requests whose answers were judged without it are near misses. The word
    that tells the two apart, if there is one, becomes the condition of the scope. An instruction
    that was given on no answer holds as its own scope says. No model is called.

    Parameters
    ----------
    policy : Policy
        Policy to improve.
    feedback : TrainingSet
        Instructions, and other feedback on requests outside their scopes.
    run : Run
        Seed, budget and cache.
    memory_name : str, optional
        Name of the memory; that of the policy's memory by default, or ``memory``.
    embedder : {"hashed", "sentence"}, default "hashed"
        Embedder of requests and entries.
    recall_limit : int, default 8
        Maximum number of entries in a prompt.
    withhold : float, default 0.05
        Probability with which an entry that applies is withheld in use.
    """
    options = RecallOptions(memory_name, embedder, recall_limit, withhold)
    lessons = scoped_instructions(Collection.read(feedback), feedback)
    named = sum(bool(lesson.scope.where) for lesson in lessons)
    notes: dict[str, JsonValue] = {"instructions with a condition": named}
    return write_lessons(
        policy,
        feedback,
        run,
        lessons,
        method="verbal-feedback",
        options=options.with_own(),
        spec=options.spec,
        notes=notes,
    )


def scoped_instructions(collection: Collection, feedback: TrainingSet) -> list[Lesson]:
    """Return instructions with the scopes that the requests on both sides show.

    Parameters
    ----------
    collection : Collection
        Feedback.
    feedback : TrainingSet
        Training set, whose interactions without an instruction are outside.
    """
    reader = StatementReader(collection.speakers, lambda reason: None)  # noqa: ARG005
    lessons = [one for item in collection.system_wide for one in reader.read_system_wide(item)]
    for case in collection.cases:
        request = request_text(case.interaction.prompt)
        for item in case.of(Instruction):
            for lesson in reader.read(replace(case, feedback=(item,))):
                inside = tuple(dict.fromkeys((*lesson.scope.inside, request)))
                scope = lesson.scope.model_copy(update={"inside": inside})
                lessons.append(replace(lesson, scope=scope))
    requests = [request_text(case.interaction.prompt) for case in feedback.every_case()]
    return [_scoped(lesson, requests) for lesson in merge(lessons) if lesson.kind == "instruction"]


def _scoped(lesson: Lesson, requests: list[str]) -> Lesson:
    """Return an instruction that holds for requests like those on which it was given."""
    inside = lesson.scope.inside
    if not inside or lesson.scope.outside or lesson.scope.where:
        return lesson
    if context_word(inside, [one for one in requests if one not in inside]) is None:
        # Nothing tells the requests apart: it was said of answers of every kind.
        everywhere = len(inside) > 1
        scope = lesson.scope.model_copy(update={"inside": () if everywhere else inside})
        return replace(lesson, scope=scope)
    return with_context(lesson, requests)
