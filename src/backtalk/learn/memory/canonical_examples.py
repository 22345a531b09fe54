"""Canonical examples: one good or bad answer changes the answers to requests like its own only."""

from __future__ import annotations

from backtalk.embedders.registry import EmbedderName
from backtalk.feedback.kinds import Critique, Demonstration, Edit, Label
from backtalk.feedback.views import CritiqueView, LabelView, SFTExample
from backtalk.learn.memory.collecting import Collection
from backtalk.learn.memory.lesson import Lesson, merge
from backtalk.learn.memory.option_types import RecallLimit, Withhold
from backtalk.learn.memory.options import RecallOptions
from backtalk.learn.memory.requirements import reading
from backtalk.learn.memory.statements import StatementReader
from backtalk.learn.memory.writing import write_lessons
from backtalk.learn.method import Paper, method
from backtalk.learn.training_set import TrainingSet
from backtalk.memory.requests import request_text
from backtalk.policy import Policy
from backtalk.run import Run

PAPER = Paper(
    "Model editing with canonical examples",
    "Hewitt et al.",
    2024,
    "https://arxiv.org/abs/2402.06155",
)


def _examples(collection: Collection) -> list[Lesson]:
    reader = StatementReader(collection.speakers, lambda reason: None)  # noqa: ARG005
    results = []
    for case in collection.cases:
        request, user = request_text(case.interaction.prompt), case.interaction.user
        for item in case.feedback:
            if not request:
                continue
            if isinstance(item, Demonstration | Edit) and item.text.strip():
                results.append(reader.lesson_on("case", request, item.text, item, user))
            elif isinstance(item, Label) and item.good:
                text = case.text(item.response)
                results.append(reader.lesson_on("case", request, text, item, user))
            elif isinstance(item, Critique):
                results.append(reader.lesson_on("correction", request, item.text, item, user))
    return merge(results)


@method(
    "canonical-examples",
    target="memory",
    needs=[SFTExample],
    alternatives=[LabelView, CritiqueView],
    requires=[
        reading(
            "good answers, demonstrations, edits or critiques",
            _examples,
        )
    ],
    paper=PAPER,
    formula="prompt(x) = example + x if x is like the example's request, else x",
    example="-o recall_limit=2",
)
async def canonical_examples(
    policy: Policy,
    feedback: TrainingSet,
    run: Run,
    *,
    memory_name: str | None = None,
    embedder: EmbedderName = "hashed",
    recall_limit: RecallLimit = 2,
    withhold: Withhold = 0.05,
) -> Policy:
    """Change behaviour by single examples, and leave all other answers exactly as they are.

    The setting of Hewitt et al. (2024), at the level of the prompt: each demonstration, edit or
    good answer is a solved case, each bad answer that was criticised a correction. An entry is
    recalled for requests that are like its own, so that the prompts of all other requests, and
    with them the distribution of their answers, do not change at all.

    Parameters
    ----------
    policy : Policy
        Policy to improve.
    feedback : TrainingSet
        Demonstrations, edits, labels and critiques.
    run : Run
        Seed, budget and cache.
    memory_name : str, optional
        Name of the memory; that of the policy's memory by default, or ``memory``.
    embedder : {"hashed", "sentence"}, default "hashed"
        Embedder of requests and entries.
    recall_limit : int, default 2
        Maximum number of entries in a prompt.
    withhold : float, default 0.05
        Probability with which an entry that applies is withheld in use.
    """
    options = RecallOptions(memory_name, embedder, recall_limit, withhold)
    lessons = _examples(Collection.read(feedback))
    return write_lessons(
        policy,
        feedback,
        run,
        lessons,
        method="canonical-examples",
        options=options.with_own(),
        spec=options.spec,
    )
