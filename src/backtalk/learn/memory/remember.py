"""Method ``memory``: everything that people said becomes entries, without a call of a model."""

from __future__ import annotations

from pydantic import JsonValue

from backtalk.embedders.registry import EmbedderName
from backtalk.feedback.views import (
    CritiqueView,
    LabelView,
    Pair,
    ScoreView,
    SFTExample,
    SpanWeights,
    StepLabels,
)
from backtalk.learn.context import MethodContext
from backtalk.learn.memory.collecting import Collection
from backtalk.learn.memory.effect_check import check_effect
from backtalk.learn.memory.option_types import (
    EntryKinds,
    RecallLimit,
    Requests,
    Withhold,
    split_kinds,
)
from backtalk.learn.memory.requirements import LESSONS
from backtalk.learn.memory.rewriting import Rewrites, rewrite_lessons
from backtalk.learn.memory.writing import memory_of, write_lessons
from backtalk.learn.method import Paper, method
from backtalk.learn.no_improvement import NoImprovement
from backtalk.learn.training_set import TrainingSet
from backtalk.policy import Policy
from backtalk.run import Run

PAPER = Paper(
    "Memory-assisted prompt editing to improve GPT-3 after deployment",
    "Madaan et al.",
    2022,
    "https://arxiv.org/abs/2201.06009",
)


@method(
    "memory",
    target="memory",
    needs=[],
    alternatives=[CritiqueView, SFTExample, Pair, LabelView, ScoreView, SpanWeights, StepLabels],
    requires=[LESSONS],
    paper=PAPER,
    formula="entries = statements(feedback) + habits(edits, preferences) + agreement(people)",
    example="--name remembers",
)
async def memory(
    policy: Policy,
    feedback: TrainingSet,
    run: Run,
    *,
    memory_name: str | None = None,
    entry_kinds: EntryKinds = "all",
    embedder: EmbedderName = "hashed",
    recall_limit: RecallLimit = 8,
    withhold: Withhold = 0.05,
    rewrite: bool = False,
    check: Requests = 0,
) -> Policy:
    """Remember what people said: corrections, rules, preferences and facts, each with its scope.

    No model is called. An instruction is an entry with its own scope. A critique, an edit or a
    correction in a follow-up is an entry about its request. What a person changes in nearly every
    edit, or prefers significantly often, is a preference of theirs; critiques that say the same are
    a principle. A good answer after a correction is a solved case.

    A wish of one user is remembered for that user. It is remembered for all if several people share
    it, or if it is an instruction for all. Learning again adds only what is new, and nothing that a
    person forgot, undid or changed comes back.

    Parameters
    ----------
    policy : Policy
        Policy to improve; its model, prompt and decoder stay the same.
    feedback : TrainingSet
        Feedback of any kind.
    run : Run
        Seed, budget and cache.
    memory_name : str, optional
        Name of the memory in the project; that of the policy's memory by default, or ``memory``.
    entry_kinds : str, default "all"
        Kinds of entries to write, separated by commas: correction, principle, preference, fact,
        instruction, case.
    embedder : {"hashed", "sentence"}, default "hashed"
        Embedder of entries and requests: hashed TF-IDF, or a sentence embedding model, which needs
        ``backtalk[embed]``.
    recall_limit : int, default 8
        Maximum number of entries in a prompt.
    withhold : float, default 0.05
        Probability with which an entry that applies is withheld in use, so that its effect can be
        measured.
    rewrite : bool, default False
        If true, the policy's model rewrites entries as general advice. A rewritten entry is used
        only if answers under it are closer to those that people wrote, on several edits.
    check : int, default 0
        Maximum number of requests on which the policy's model answers with and without each kind
        of entry. A kind that makes answers worse, as the feedback judges them, is left out.

    Raises
    ------
    BacktalkError
        If the feedback says nothing that a memory can hold.
    NoImprovement
        If every kind of entry makes answers worse.
    """
    with run.task("reading feedback"):
        collection = Collection.read(feedback)
        entries = memory_of(policy, feedback, memory_name).entries()
        written = [entry for entry in entries if entry.method == "written"]
        lessons = await collection.lessons(embedder, written)
    kinds = split_kinds(entry_kinds)
    selected = [lesson for lesson in lessons if lesson.kind in kinds]
    notes: dict[str, JsonValue] = {
        f"left out: {reason}": count for reason, count in collection.left_out.items()
    }
    if len(selected) < len(lessons):
        notes["left out: other kinds of entries"] = len(lessons) - len(selected)
    context = MethodContext(policy, feedback, run)
    if check and selected:
        effects = await check_effect(
            context, selected, count=check, embedder=embedder, recall_limit=recall_limit
        )
        notes |= effects.notes
        selected = [lesson for lesson in selected if lesson.kind not in effects.harmful]
        if not selected:
            raise NoImprovement(
                f"Each kind of entry makes answers worse ({', '.join(sorted(effects.harmful))})",
                "Collect more feedback, or name the kinds to remember all the same: "
                "-o entry_kinds=instruction -o check=0",
            )
    rewrites = Rewrites()
    if rewrite:
        rewrites = await rewrite_lessons(context, selected, collection)
    return write_lessons(
        policy,
        feedback,
        run,
        selected,
        method="memory",
        options={
            "memory_name": memory_name,
            "entry_kinds": entry_kinds,
            "embedder": embedder,
            "recall_limit": recall_limit,
            "withhold": withhold,
            "rewrite": rewrite,
            "check": check,
        },
        spec={
            "name": memory_name,
            "embedder": embedder,
            "limit": recall_limit,
            "withhold": withhold,
        },
        notes={**notes, **rewrites.notes},
        rewrite=rewrites.texts,
        rewards=context.rewards,
    )
