"""ConstitutionMaker: praise, critiques and rewrites become principles that people can edit."""

from __future__ import annotations

from collections.abc import Iterator

from backtalk.embedders.registry import EmbedderName
from backtalk.feedback.base import BaseFeedback
from backtalk.feedback.case import Case
from backtalk.feedback.kinds import Critique, Edit, Label, Rating, Spans
from backtalk.feedback.views import CritiqueView, LabelView, SFTExample
from backtalk.learn.context import MethodContext
from backtalk.learn.memory.cipher import edited_answers
from backtalk.learn.memory.collecting import Collection
from backtalk.learn.memory.edit_words import phrase_changes
from backtalk.learn.memory.induction import induce_rules
from backtalk.learn.memory.lesson import Lesson, make_lesson, merge
from backtalk.learn.memory.option_types import RecallLimit, Withhold
from backtalk.learn.memory.options import RecallOptions
from backtalk.learn.memory.requirements import reading
from backtalk.learn.memory.writing import write_lessons
from backtalk.learn.method import Paper, method
from backtalk.learn.training_set import TrainingSet
from backtalk.policy import Policy
from backtalk.run import Run

PAPER = Paper(
    "ConstitutionMaker: interactively critiquing large language models by converting feedback into "
    "principles",
    "Petridis et al.",
    2023,
    "https://arxiv.org/abs/2310.15428",
)
_GROUP = 3
"""Number of rewrites from which a model states one principle."""


def _stated_and_changed(collection: Collection) -> list[Lesson]:
    return [*_praise_and_critiques(collection), *_changes(collection)]


@method(
    "constitution-maker",
    target="memory",
    needs=[],
    alternatives=[CritiqueView, SFTExample, LabelView],
    requires=[
        reading(
            "praise, critiques or short changes in words",
            _stated_and_changed,
        )
    ],
    paper=PAPER,
    formula="principles = kudos(what to go on with) + critique(what to change) + rewrite(changes)",
    example="-o state_rewrites=true",
)
async def constitution_maker(
    policy: Policy,
    feedback: TrainingSet,
    run: Run,
    *,
    state_rewrites: bool = False,
    memory_name: str | None = None,
    embedder: EmbedderName = "hashed",
    recall_limit: RecallLimit = 8,
    withhold: Withhold = 0.05,
) -> Policy:
    """Convert praise, critiques and rewrites into principles for the application.

    ConstitutionMaker, Petridis et al. (2023), section 4. A critique is a principle in the words of
    its author. Praise of a part of an answer, or with a remark, is a principle to go on with it. A
    rewrite is a principle about what it changed: in the words that were changed, or as the
    policy's model states it. All are entries for every request, which `backtalk memory edit`
    changes.

    Parameters
    ----------
    policy : Policy
        Policy to improve.
    feedback : TrainingSet
        Labels and ratings with remarks, praised spans, critiques and edits.
    run : Run
        Seed, budget and cache.
    state_rewrites : bool, default False
        If true, the policy's model states the principle of every three rewrites by one user.
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
    collection = Collection.read(feedback)
    if state_rewrites:
        lessons = [
            *_praise_and_critiques(collection),
            *await _stated(MethodContext(policy, feedback, run), collection),
        ]
    else:
        lessons = _stated_and_changed(collection)
    return write_lessons(
        policy,
        feedback,
        run,
        merge(lessons),
        method="constitution-maker",
        options=options.with_own(state_rewrites=state_rewrites),
        spec=options.spec,
    )


def _praise_and_critiques(collection: Collection) -> list[Lesson]:
    return [lesson for case in collection.cases for lesson in _principles(case, collection)]


def _principles(case: Case, collection: Collection) -> Iterator[Lesson]:
    """Yield the principles of praise and critiques."""
    for item in case.feedback:
        for text in _statements(item, case):
            lesson = make_lesson(
                "principle", text, [item], confidence=collection.speakers.reliability(item)
            )
            yield lesson.about(collection.speakers.users(item, case.interaction.user))


def _statements(item: BaseFeedback, case: Case) -> Iterator[str]:
    if isinstance(item, Critique):
        yield item.text
    elif isinstance(item, Spans):
        answer = case.text(item.response)
        for span in item.spans:
            quoted = answer[span.start : span.end]
            if span.good:
                yield span.comment or f"Go on writing as in “{quoted}”."
            elif span.comment:
                yield span.comment
    elif isinstance(item, Label | Rating):
        remark = item.metadata.get("comment")
        if isinstance(remark, str) and remark.strip():
            yield remark


def _changes(collection: Collection) -> list[Lesson]:
    """Return a principle for each phrase that a rewrite replaced or removed."""
    results = []
    for case, item in collection.edits():
        users = collection.speakers.users(item, case.interaction.user)
        for change in phrase_changes(case.text(item.response), item.text):
            if change.replaces and change.has_words and _is_short(change.before, change.after):
                lesson = make_lesson(
                    "principle",
                    change.text,
                    [item],
                    confidence=collection.speakers.reliability(item) / 2,
                )
                results.append(lesson.about(users))
    return results


def _is_short(*phrases: str) -> bool:
    return all(len(phrase.split()) <= 3 for phrase in phrases)


async def _stated(context: MethodContext, collection: Collection) -> list[Lesson]:
    by_user: dict[tuple[str, ...], list[tuple[Edit, int]]] = {}
    edits = edited_answers(collection)
    for number, edit in enumerate(edits):
        if isinstance(edit.item, Edit):
            by_user.setdefault(edit.users, []).append((edit.item, number))
    groups = [
        members[start : start + _GROUP]
        for members in by_user.values()
        for start in range(0, len(members), _GROUP)
    ]
    replies = await induce_rules(
        context, [[edits[number].example for _, number in group] for group in groups], seed=51
    )
    return [
        make_lesson("principle", reply, [item for item, _ in group], confidence=0.5).about(
            edits[group[0][1]].users
        )
        for group, reply in zip(groups, replies, strict=True)
        if reply is not None
    ]
