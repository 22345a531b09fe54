"""CIPHER: latent preferences of a user, inferred from edits and recalled by context."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from pydantic import JsonValue

from backtalk.embedders.registry import EmbedderName
from backtalk.feedback import Scope
from backtalk.feedback.views import SFTExample
from backtalk.learn.context import MethodContext
from backtalk.learn.memory.collecting import Collection
from backtalk.learn.memory.contexts import Contrast, EditedAnswer, find_contrasts
from backtalk.learn.memory.edit_words import edit_similarity
from backtalk.learn.memory.induction import Example, induce_rules
from backtalk.learn.memory.lesson import MAX_EXAMPLES, Lesson, make_lesson, merge
from backtalk.learn.memory.option_types import Count, RecallLimit, Share, Withhold
from backtalk.learn.memory.requirements import EDITS
from backtalk.learn.memory.writing import (
    EVERY_STATE,
    known_feedback,
    memory_of,
    write_lessons,
)
from backtalk.learn.method import Paper, method
from backtalk.learn.training_set import TrainingSet
from backtalk.policy import Policy
from backtalk.run import Run

MAX_P = 0.01
"""Largest p-value of a word of the requests as the context of a change."""

PAPER = Paper(
    "Aligning LLM agents by learning latent preference from user edits",
    "Gao et al.",
    2024,
    "https://arxiv.org/abs/2404.15269",
)


@method(
    "cipher",
    target="memory",
    needs=[SFTExample],
    requires=[EDITS],
    paper=PAPER,
    formula="f_t = infer(draft_t, edit_t) if distance(draft_t, edit_t) > delta; "
    "prompt = aggregate(f_i for i in the k nearest contexts)",
    example="-o k=5",
)
async def cipher(
    policy: Policy,
    feedback: TrainingSet,
    run: Run,
    *,
    k: RecallLimit = 5,
    delta: Share = 0.02,
    min_support: Count = 2,
    memory_name: str | None = None,
    embedder: EmbedderName = "hashed",
    withhold: Withhold = 0.05,
) -> Policy:
    """Infer the preferences behind each user's edits, and recall them in similar contexts.

    PRELUDE with CIPHER, Gao et al. (2024), algorithm 1. The policy's model states the preference
    that an edit shows, with the user's most similar edit and a dissimilar one beside it. The
    preference is an entry of that user whose scope holds the requests in which it showed. Requests
    in which other preferences showed are outside. An edit that changes almost nothing confirms the
    answer, and needs no inference.

    Edits that the memory has been learned from are not read again, so that it can be called after
    every edit.

    Parameters
    ----------
    policy : Policy
        Policy whose model infers and answers.
    feedback : TrainingSet
        Edits.
    run : Run
        Seed, budget and cache.
    k : int, default 5
        Maximum number of preferences in a prompt.
    delta : float, default 0.02
        Share of an answer's words, in [0, 1], up to which an edit counts as no change.
    min_support : int, default 2
        Minimum number of edits in which a preference shows before it is remembered.
    memory_name : str, optional
        Name of the memory; that of the policy's memory by default, or ``memory``.
    embedder : {"hashed", "sentence"}, default "hashed"
        Embedder of contexts.
    withhold : float, default 0.05
        Probability with which an entry that applies is withheld in use.
    """
    context = MethodContext(policy, feedback, run)
    collection = Collection.read(feedback)
    memory = memory_of(policy, feedback, memory_name)
    known = known_feedback(memory, "cipher")
    remembered = {entry.id for entry in memory.entries(states=EVERY_STATE)}
    by_user: dict[tuple[str, ...], list[EditedAnswer]] = defaultdict(list)
    for edit in edited_answers(collection):
        if 1 - edit_similarity(edit.worse, edit.better) > delta:
            by_user[edit.users].append(edit)
    lessons: list[Lesson] = []
    uninferred = 0
    for edits in by_user.values():
        contrasts = find_contrasts(edits)
        rules = await _infer(context, edits, contrasts, known)
        uninferred += sum(rule is None for rule in rules.values())
        inferred = preferences(edits, rules, contrasts)
        keys = {lesson.key for lesson in inferred if len(lesson.feedback) >= min_support}
        lessons += [one for one in inferred if one.key in keys or one.key in remembered]
    notes: dict[str, JsonValue] = {"edits without a preference": uninferred}
    return write_lessons(
        policy,
        feedback,
        run,
        lessons,
        method="cipher",
        options={
            "k": k,
            "delta": delta,
            "min_support": min_support,
            "memory_name": memory_name,
            "embedder": embedder,
            "withhold": withhold,
        },
        spec={"name": memory_name, "embedder": embedder, "limit": k, "withhold": withhold},
        notes=notes,
        rewards=context.rewards,
    )


def edited_answers(collection: Collection) -> list[EditedAnswer]:
    """Return the edits of a training set, in the order of their time."""
    speakers = collection.speakers
    results = []
    for case, item in collection.edits():
        users = speakers.users(item, case.interaction.user)
        edit = EditedAnswer.of(case, item, item.text, case.text(item.response), users)
        results.append(replace(edit, reliability=speakers.reliability(item)))
    return results


async def _infer(
    context: MethodContext,
    edits: Sequence[EditedAnswer],
    contrasts: Sequence[Contrast],
    known: frozenset[str],
) -> dict[int, str | None]:
    """Return the preference of each new edit by its number, ``None`` if the model states none."""
    groups: dict[int, list[Example]] = {}
    for index, edit in enumerate(edits):
        if edit.item.id not in known:
            members = list(range(index + 1))[-3:]
            contrast = clearest(index, contrasts)
            if contrast is not None:
                # The edit, another one with its change in the same context, and one of neither.
                other = next(one for one in reversed(contrast.inside) if one != index)
                members = [index, other, *contrast.outside[-1:]]
            groups[index] = [edits[member].example for member in members]
    replies = await induce_rules(context, list(groups.values()))
    return dict(zip(groups, replies, strict=True))


def clearest(index: int, contrasts: Sequence[Contrast]) -> Contrast | None:
    """Return the clearest contrast that an edit is an example of; ``None`` if there is none."""
    return next((contrast for contrast in contrasts if index in contrast.inside), None)


def preferences(
    edits: Sequence[EditedAnswer],
    rules: dict[int, str | None],
    contrasts: Sequence[Contrast],
) -> list[Lesson]:
    """Return the preferences that edits show, each with the contexts in which it did.

    Parameters
    ----------
    edits : sequence of EditedAnswer
        Edits of one user.
    rules : dict[int, str or None]
        Preference by number of the edit.
    contrasts : sequence of Contrast
        Changes that go with words of the requests, the clearest first.
    """
    stated = {index: rule for index, rule in rules.items() if rule is not None}
    lessons = []
    for index, rule in stated.items():
        others = (edits[other].request for other, text in stated.items() if text != rule)
        outside = tuple(dict.fromkeys(text for text in others if text != edits[index].request))
        contrast = clearest(index, contrasts)
        scope = Scope(
            where=contrast.where if contrast is not None and contrast.p <= MAX_P else None,
            inside=(edits[index].request,),
            outside=outside[-MAX_EXAMPLES:],
        )
        lesson = make_lesson(
            "preference",
            rule,
            [edits[index].item],
            scope=scope,
            confidence=edits[index].reliability / 2,
        )
        lessons.append(lesson.about(edits[index].users))
    return merge(lessons)
