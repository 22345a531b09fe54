"""DROC: corrections are distilled into general rules, and the rest is recalled as it was said."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from pydantic import JsonValue

from backtalk.embedders.registry import EmbedderName
from backtalk.feedback import Scope
from backtalk.feedback.views import CritiqueView, SFTExample
from backtalk.learn.context import MethodContext
from backtalk.learn.memory.agreement import promote
from backtalk.learn.memory.cipher import edited_answers
from backtalk.learn.memory.collecting import Collection
from backtalk.learn.memory.contexts import Contrast, EditedAnswer, find_contrasts
from backtalk.learn.memory.induction import induce_rules
from backtalk.learn.memory.lesson import MAX_EXAMPLES, Lesson, make_lesson, merge
from backtalk.learn.memory.option_types import Count, RecallLimit, Share, Withhold
from backtalk.learn.memory.options import RecallOptions
from backtalk.learn.memory.requirements import CORRECTIONS
from backtalk.learn.memory.verification import best_rules
from backtalk.learn.memory.writing import write_lessons
from backtalk.learn.method import Paper, method
from backtalk.learn.training_set import TrainingSet
from backtalk.memory import EntryKind
from backtalk.policy import Policy
from backtalk.run import Run

PAPER = Paper(
    "Distilling and retrieving generalizable knowledge for robot manipulation via language "
    "corrections",
    "Zha et al.",
    2023,
    "https://arxiv.org/abs/2311.10678",
)
_RULE_SEED, _TEST_SEED = 31, 32
_GROUPS = 5
"""Maximum number of groups of examples from which each rule is stated."""


@method(
    "droc",
    target="memory",
    needs=[CritiqueView],
    alternatives=[SFTExample],
    requires=[CORRECTIONS],
    paper=PAPER,
    formula="rules = verify(distil(corrections that share a change and a context)); "
    "prompt = rules in scope + the most similar corrections",
    example="-o min_support=2",
)
async def droc(
    policy: Policy,
    feedback: TrainingSet,
    run: Run,
    *,
    min_support: Count = 2,
    max_p: Share = 0.05,
    single: bool = True,
    memory_name: str | None = None,
    embedder: EmbedderName = "hashed",
    recall_limit: RecallLimit = 8,
    withhold: Withhold = 0.05,
) -> Policy:
    """Distil corrections into general rules, and recall the others for similar requests.

    DROC, Zha et al. (2023). Edits that make the same change in the same context are distilled: the
    policy's model states the rule that they follow, several times. The policy then answers the
    requests of the edits with each of these rules and without one. The rule that brings the answers
    closest to the edited ones becomes a principle, or a preference if one user made the edits; if
    none brings them closer, none does. Its scope holds their requests; requests whose answers were
    edited otherwise are outside. Critiques that say the same
    on several requests become a principle as well. All other corrections stay as they were said,
    and are recalled for requests like theirs.

    Parameters
    ----------
    policy : Policy
        Policy whose model distils and answers.
    feedback : TrainingSet
        Critiques, edits and follow-ups.
    run : Run
        Seed, budget and cache.
    min_support : int, default 2
        Minimum number of edits with the same change in the same context.
    max_p : float, default 0.05
        Largest p-value, in [0, 1], of the association of a change with its context.
    single : bool, default True
        If true, corrections that no rule covers are remembered as they were said.
    memory_name : str, optional
        Name of the memory; that of the policy's memory by default, or ``memory``.
    embedder : {"hashed", "sentence"}, default "hashed"
        Embedder of requests and corrections.
    recall_limit : int, default 8
        Maximum number of entries in a prompt.
    withhold : float, default 0.05
        Probability with which an entry that applies is withheld in use.
    """
    options = RecallOptions(memory_name, embedder, recall_limit, withhold)
    context = MethodContext(policy, feedback, run)
    collection = Collection.read(feedback)
    by_user: dict[tuple[str, ...], list[EditedAnswer]] = defaultdict(list)
    for edit in edited_answers(collection):
        by_user[edit.users].append(edit)
    rules: list[Lesson] = []
    for edits in by_user.values():
        rules += await distil(context, edits, min_support=min_support, max_p=max_p)
    rules += await collection.principles(embedder)
    others = collection.statements(rules) if single else []
    lessons = promote(merge([*rules, *others]))
    notes: dict[str, JsonValue] = {
        f"left out: {reason}": count for reason, count in collection.left_out.items()
    }
    return write_lessons(
        policy,
        feedback,
        run,
        lessons,
        method="droc",
        options=options.with_own(min_support=min_support, max_p=max_p, single=single),
        spec=options.spec,
        notes={"rules from edits": len(rules), **notes},
        rewards=context.rewards,
    )


async def distil(
    context: MethodContext,
    edits: Sequence[EditedAnswer],
    *,
    min_support: int = 2,
    max_p: float = 0.05,
) -> list[Lesson]:
    """Return the rules that edits with the same change in the same context follow.

    Parameters
    ----------
    context : MethodContext
        Policy whose model states the rules, feedback and run.
    edits : sequence of EditedAnswer
        Edits of one user, or of all reviewers.
    min_support : int, default 2
        Minimum number of edits with the same change in the same context.
    max_p : float, default 0.05
        Largest p-value of their association.
    """
    contrasts = select_contrasts(find_contrasts(edits), min_support=min_support, max_p=max_p)
    stated = await state_rules(context, contrasts, edits)
    candidates = [
        (
            [rule for rule, _ in counts.most_common()],
            [edits[number].example for number in contrast.inside],
        )
        for contrast, counts in zip(contrasts, stated, strict=True)
    ]
    lessons: dict[str, Lesson] = {}
    for contrast, best in zip(
        contrasts, await best_rules(context, candidates, seed=_TEST_SEED), strict=True
    ):
        if best is not None:
            # The clearest contrast comes first: others are about words that go with its context.
            lessons.setdefault(best.rule, rule_lesson(best.rule, contrast, edits, best.confidence))
    return list(lessons.values())


async def state_rules(
    context: MethodContext,
    contrasts: Sequence[Contrast],
    edits: Sequence[EditedAnswer],
    *,
    groups: int = _GROUPS,
    seed: int = _RULE_SEED,
) -> list[Counter[str]]:
    """Return how often the model states which rule for each contrast.

    Parameters
    ----------
    context : MethodContext
        Policy whose model states the rules, feedback and run.
    contrasts : sequence of Contrast
        Changes that go with words of the requests.
    edits : sequence of EditedAnswer
        Edits to which the contrasts refer.
    groups : int, default 5
        Maximum number of groups of examples for each contrast.
    seed : int, default 31
        Seed within the run.
    """
    triples = [
        (number, triple) for number, one in enumerate(contrasts) for triple in _triples(one, groups)
    ]
    replies = await induce_rules(
        context, [[edits[index].example for index in triple] for _, triple in triples], seed=seed
    )
    counts: list[Counter[str]] = [Counter() for _ in contrasts]
    for (number, _), reply in zip(triples, replies, strict=True):
        if reply is not None:
            counts[number][reply] += 1
    return counts


def select_contrasts(
    contrasts: Sequence[Contrast], *, min_support: int, max_p: float
) -> list[Contrast]:
    """Return the clearest contrasts, of which no two are mostly about the same edits.

    Parameters
    ----------
    contrasts : sequence of Contrast
        Contrasts, the clearest first.
    min_support : int
        Minimum number of edits of each.
    max_p : float
        Largest p-value.
    """
    results: list[Contrast] = []
    for contrast in contrasts:
        inside = set(contrast.inside)
        covered = any(
            2 * len(inside & set(other.inside)) > len(inside)
            and (contrast.word == other.word or contrast.change == other.change)
            for other in results
        )
        if contrast.p <= max_p and len(inside) >= min_support and not covered:
            results.append(contrast)
    return results


def _triples(contrast: Contrast, count: int) -> list[list[int]]:
    """Return groups of two edits inside and one outside, without repeating an edit soon."""
    inside, outside = contrast.inside, contrast.outside
    return [
        [*inside[2 * turn : 2 * turn + 2], *outside[turn : turn + 1]]
        for turn in range(min(count, len(inside) // 2))
    ]


def rule_lesson(
    rule: str, contrast: Contrast, edits: Sequence[EditedAnswer], confidence: float
) -> Lesson:
    """Return a rule as a lesson whose scope the edits inside and outside show.

    Parameters
    ----------
    rule : str
        Rule in words.
    contrast : Contrast
        Edits that follow it, and others.
    edits : sequence of EditedAnswer
        All edits.
    confidence : float
        Probability, in (0, 1], that the rule brings an answer closer to what its person wrote.
    """
    members = [edits[number] for number in contrast.inside]
    inside = dict.fromkeys(edit.request for edit in members)
    outside = dict.fromkeys(edits[number].request for number in contrast.outside)
    scope = Scope()
    if contrast.where is not None:
        scope = Scope(
            where=contrast.where,
            inside=tuple(inside)[-MAX_EXAMPLES:],
            outside=tuple(text for text in outside if text not in inside)[-MAX_EXAMPLES:],
        )
    reliability = sum(edit.reliability for edit in members) / len(members)
    confidence *= reliability * (1 - contrast.p)
    users = members[0].users
    kind: EntryKind = "preference" if users else "principle"
    items = [edit.item for edit in members]
    return make_lesson(kind, rule, items, scope=scope, confidence=confidence).about(users)
