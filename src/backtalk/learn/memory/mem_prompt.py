"""MemPrompt: clarifications of misunderstood requests, recalled for requests like them."""

from __future__ import annotations

from backtalk.embedders.registry import EmbedderName
from backtalk.feedback import Scope
from backtalk.feedback.kinds import Critique, FollowUp, Instruction
from backtalk.feedback.views import CritiqueView
from backtalk.learn.memory.collecting import Collection
from backtalk.learn.memory.contexts import with_context
from backtalk.learn.memory.lesson import Lesson, make_lesson, merge
from backtalk.learn.memory.option_types import RecallLimit, Withhold
from backtalk.learn.memory.options import RecallOptions
from backtalk.learn.memory.requirements import reading
from backtalk.learn.memory.words import is_thanks
from backtalk.learn.memory.writing import write_lessons
from backtalk.learn.method import Paper, method
from backtalk.learn.training_set import TrainingSet
from backtalk.memory.requests import request_text
from backtalk.policy import Policy
from backtalk.run import Run

PAPER = Paper(
    "Memory-assisted prompt editing to improve GPT-3 after deployment",
    "Madaan et al.",
    2022,
    "https://arxiv.org/abs/2201.06009",
)


def clarifications(collection: Collection) -> list[Lesson]:
    """Return what users said of answers, keyed by the requests, one for each wording and user."""
    results = []
    for case in collection.cases:
        request = request_text(case.interaction.prompt)
        for item in case.feedback:
            if not isinstance(item, Critique | Instruction | FollowUp) or not request:
                continue
            if isinstance(item, FollowUp) and (item.act == "thanks" or is_thanks(item.text)):
                continue
            lesson = make_lesson(
                "principle",
                item.text,
                [item],
                scope=Scope(inside=(request,)),
                confidence=collection.speakers.reliability(item),
            )
            results.append(lesson.about(collection.speakers.users(item, case.interaction.user)))
    merged = merge(results)
    requests = {one for lesson in merged for one in lesson.scope.inside}
    return [with_context(lesson, requests) for lesson in merged]


@method(
    "mem-prompt",
    target="memory",
    needs=[],
    alternatives=[CritiqueView],
    requires=[
        reading(
            "critiques, instructions or follow-ups in words",
            clarifications,
        )
    ],
    paper=PAPER,
    formula="M = M + (x, clarification); prompt(x') = clarification of the nearest x in M + x'",
    example="-o recall_limit=2",
)
async def mem_prompt(
    policy: Policy,
    feedback: TrainingSet,
    run: Run,
    *,
    memory_name: str | None = None,
    embedder: EmbedderName = "hashed",
    recall_limit: RecallLimit = 4,
    withhold: Withhold = 0.05,
) -> Policy:
    """Remember how users clarified misunderstood requests, and say it again for similar ones.

    MemPrompt, Madaan et al. (2022). Each critique, instruction or correcting follow-up on an answer
    is an entry in the user's own words, keyed by the request. It edits the prompt of the requests
    that are like it. The same clarification of several requests is one entry for all of them, so
    that more requests are recognised as the memory grows. No model is called.

    Parameters
    ----------
    policy : Policy
        Policy to improve.
    feedback : TrainingSet
        Critiques, instructions and follow-ups on answers.
    run : Run
        Seed, budget and cache.
    memory_name : str, optional
        Name of the memory; that of the policy's memory by default, or ``memory``.
    embedder : {"hashed", "sentence"}, default "hashed"
        Embedder of requests and entries.
    recall_limit : int, default 4
        Maximum number of entries in a prompt.
    withhold : float, default 0.05
        Probability with which an entry that applies is withheld in use.
    """
    options = RecallOptions(memory_name, embedder, recall_limit, withhold)
    with run.task("reading feedback"):
        lessons = clarifications(Collection.read(feedback))
    return write_lessons(
        policy,
        feedback,
        run,
        lessons,
        method="mem-prompt",
        options=options.with_own(),
        spec={**options.spec, "unsure": "show"},
    )
