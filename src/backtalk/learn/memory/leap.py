"""LEAP: principles learned from mistakes that the model was led to make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pydantic import JsonValue

from backtalk.embedders.registry import EmbedderName
from backtalk.feedback.kinds import Demonstration, Edit
from backtalk.feedback.views import SFTExample
from backtalk.learn.context import MethodContext
from backtalk.learn.memory.collecting import Collection
from backtalk.learn.memory.contexts import EditedAnswer
from backtalk.learn.memory.droc import distil
from backtalk.learn.memory.edit_words import edit_similarity
from backtalk.learn.memory.option_types import Count, RecallLimit, Share, Withhold
from backtalk.learn.memory.options import RecallOptions
from backtalk.learn.memory.writing import write_lessons
from backtalk.learn.method import Paper, method
from backtalk.learn.training_set import TrainingSet
from backtalk.policy import Policy
from backtalk.run import Run

PAPER = Paper(
    "In-context principle learning from mistakes",
    "Zhang et al.",
    2024,
    "https://arxiv.org/abs/2402.05403",
)


@method(
    "leap",
    target="memory",
    needs=[SFTExample],
    paper=PAPER,
    formula="mistakes = {y ~ policy(x) : y differs from the right answer}; "
    "principles = reflect(mistakes, right answers)",
    example="-o mistakes=2",
)
async def leap(
    policy: Policy,
    feedback: TrainingSet,
    run: Run,
    *,
    mistakes: Count = 2,
    max_similarity: Share = 0.98,
    max_examples: Count = 100,
    memory_name: str | None = None,
    embedder: EmbedderName = "hashed",
    recall_limit: RecallLimit = 8,
    withhold: Withhold = 0.05,
) -> Policy:
    """Learn principles from the policy's own mistakes on requests with a right answer.

    LEAP, Zhang et al. (2024), section 3. The policy answers requests for which people wrote an
    answer. Answers that differ from it are mistakes. Its model reads mistakes of one kind beside
    the right answers and states a principle that avoids them. No more examples are needed than
    people gave.

    Parameters
    ----------
    policy : Policy
        Policy that makes the mistakes and reflects on them.
    feedback : TrainingSet
        Demonstrations and edits.
    run : Run
        Seed, budget and cache.
    mistakes : int, default 2
        Number of answers that are sampled for each request.
    max_similarity : float, default 0.98
        Share of words in common with the right answer, in [0, 1], from which on an answer is none.
    max_examples : int, default 100
        Maximum number of requests.
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
    context = MethodContext(policy, feedback, run)
    right = _right_answers(Collection.read(feedback))[:max_examples]
    samples = await context.sample([one.prompt for one in right], mistakes, seed=61)
    answers = [
        EditedAnswer(one.prompt, text, one.better, one.item, one.users, one.reliability)
        for one, texts in zip(right, samples, strict=True)
        for text in texts
    ]
    is_mistake = [edit_similarity(one.worse, one.better) < max_similarity for one in answers]
    # Right answers have no change, and show where a principle is not needed.
    reflected = [
        one if wrong else replace(one, worse=one.better)
        for one, wrong in zip(answers, is_mistake, strict=True)
    ]
    lessons = await distil(context, reflected, min_support=2, max_p=0.05)
    notes: dict[str, JsonValue] = {"right answers": len(right), "mistakes": sum(is_mistake)}
    return write_lessons(
        policy,
        feedback,
        run,
        lessons,
        method="leap",
        options=options.with_own(
            mistakes=mistakes, max_similarity=max_similarity, max_examples=max_examples
        ),
        spec=options.spec,
        notes=notes,
        rewards=context.rewards,
    )


def _right_answers(collection: Collection) -> Sequence[EditedAnswer]:
    speakers = collection.speakers
    return [
        EditedAnswer(
            case.interaction.prompt,
            "",
            item.text,
            item,
            speakers.users(item, case.interaction.user),
            speakers.reliability(item),
        )
        for case in collection.cases
        for item in case.feedback
        if isinstance(item, Demonstration | Edit) and item.text.strip()
    ]
