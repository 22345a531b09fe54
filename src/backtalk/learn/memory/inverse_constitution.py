"""Inverse Constitutional AI: the principles that reconstruct preferences best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

from backtalk.embedders.registry import EmbedderName, get_embedder
from backtalk.feedback import Annotator
from backtalk.feedback.base import BaseFeedback
from backtalk.feedback.views import Pair
from backtalk.learn.availability import has_lesson
from backtalk.learn.context import MethodContext
from backtalk.learn.lazy_modules import np
from backtalk.learn.memory.agreement import cluster_texts
from backtalk.learn.memory.collecting import Collection
from backtalk.learn.memory.contexts import EditedAnswer, find_contrasts
from backtalk.learn.memory.droc import select_contrasts, state_rules
from backtalk.learn.memory.lesson import Lesson, make_lesson
from backtalk.learn.memory.option_types import Count, RecallLimit, Share, Withhold
from backtalk.learn.memory.options import RecallOptions
from backtalk.learn.memory.votes import (
    Principle,
    Votes,
    model_votes,
    reconstruct,
    trait_principles,
    trait_votes,
)
from backtalk.learn.memory.writing import write_lessons
from backtalk.learn.method import Paper, method
from backtalk.learn.training_set import TrainingSet
from backtalk.policy import Policy
from backtalk.run import Run

PAPER = Paper(
    "Inverse constitutional AI: compressing preferences into principles",
    "Findeis et al.",
    2024,
    "https://arxiv.org/abs/2406.06560",
)
_MAX_CONTRASTS, _GROUPS, _MAX_PROPOSALS = 12, 3, 12
_PROPOSAL_SEED, _VOTE_SEED = 41, 42


@dataclass(frozen=True)
class Constitution:
    """Principles with their votes on the pairs that they were made from, the best first."""

    principles: tuple[Principle, ...] = ()
    right: tuple[int, ...] = ()
    """Number of pairs whose chosen answer each principle favours."""
    wrong: tuple[int, ...] = ()
    """Number of pairs whose rejected answer each favours."""
    votes: Votes = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int8))

    @property
    def weights(self) -> list[float]:
        """Log-odds of each principle's votes, with one more of each kind."""
        return [
            float(np.log((good + 1) / (bad + 1)))
            for good, bad in zip(self.right, self.wrong, strict=True)
        ]

    @property
    def accuracy(self) -> float:
        """Share of the annotations that it reconstructs, ties counting half."""
        if not self.principles:
            return 0.5
        return float(reconstruct(self.votes, self.weights).mean())


@method(
    "inverse-constitution",
    target="memory",
    needs=[Pair],
    paper=PAPER,
    formula="constitution = argmax of agreement(annotations, votes of principles), "
    "|constitution| <= n",
    example="-o n=5 -o propose=traits",
)
async def inverse_constitution(
    policy: Policy,
    feedback: TrainingSet,
    run: Run,
    *,
    n: Count = 5,
    propose: str = "both",
    tested: Count = 60,
    min_relevance: Share = 0.1,
    memory_name: str | None = None,
    embedder: EmbedderName = "hashed",
    recall_limit: RecallLimit = 8,
    withhold: Withhold = 0.05,
) -> Policy:
    """Compress preferences into a short constitution that reconstructs them.

    Inverse constitutional AI, Findeis et al. (2024), section 3: propose principles from pairs,
    cluster them, let each vote on pairs, and keep those that vote right most often. Principles are
    proposed by a program, from traits of the answers that can be counted, and by the policy's
    model, from pairs whose chosen answers share words that the rejected ones lack. The first vote
    without a call. The others vote by the model: for the answer that the principle makes more
    likely, if the model computes log-probabilities, else by a question for each tested pair.

    Parameters
    ----------
    policy : Policy
        Policy to improve, whose model proposes and votes.
    feedback : TrainingSet
        Preferences, or feedback that converts to pairs.
    run : Run
        Seed, budget and cache.
    n : int, default 5
        Maximum number of principles.
    propose : {"both", "traits", "model"}, default "both"
        Source of principles; with ``traits`` no model is called.
    tested : int, default 60
        Number of pairs, drawn at random, on which the model's principles are tested.
    min_relevance : float, default 0.1
        Smallest share of pairs, in [0, 1], on which a principle must vote.
    memory_name : str, optional
        Name of the memory; that of the policy's memory by default, or ``memory``.
    embedder : {"hashed", "sentence"}, default "hashed"
        Embedder of requests and principles.
    recall_limit : int, default 8
        Maximum number of entries in a prompt.
    withhold : float, default 0.05
        Probability with which an entry that applies is withheld in use.
    """
    options = RecallOptions(memory_name, embedder, recall_limit, withhold)
    context = MethodContext(policy, feedback, run)
    collection = Collection.read(feedback)
    pairs = [pair for pair in feedback.views(Pair) if has_lesson(pair)]
    items = {item.id: item for case in collection.cases for item in case.feedback}
    sources = [
        (pair, items[pair.feedback[0]])
        for pair in pairs
        if pair.feedback and pair.feedback[0] in items
    ]
    constitution = await find_constitution(
        context,
        [pair for pair, _ in sources],
        n=n,
        propose=propose,
        tested=tested,
        min_relevance=min_relevance,
        embedder=embedder,
    )
    notes: dict[str, JsonValue] = {
        "pairs": len(sources),
        "annotations reconstructed": round(constitution.accuracy, 4),
    }
    return write_lessons(
        policy,
        feedback,
        run,
        _lessons(constitution, sources),
        method="inverse-constitution",
        options=options.with_own(n=n, propose=propose, tested=tested, min_relevance=min_relevance),
        spec=options.spec,
        notes=notes,
    )


async def find_constitution(
    context: MethodContext,
    pairs: Sequence[Pair],
    *,
    n: int = 5,
    propose: str = "both",
    tested: int = 60,
    min_relevance: float = 0.1,
    embedder: EmbedderName = "hashed",
) -> Constitution:
    """Return the principles that reconstruct the winners of pairs best.

    Principles are added one by one, each the one that raises the number of reconstructed
    annotations most, until none raises it.

    Parameters
    ----------
    context : MethodContext
        Policy whose model proposes and votes, feedback and run.
    pairs : sequence of Pair
        Pairs with a winner.
    n : int, default 5
        Maximum number of principles.
    propose : {"both", "traits", "model"}, default "both"
        Source of principles.
    tested : int, default 60
        Number of pairs on which the model's principles are tested.
    min_relevance : float, default 0.1
        Smallest share of pairs on which a principle must vote.
    embedder : EmbedderName, default "hashed"
        Embedder by which proposals are clustered.
    """
    rng = np.random.default_rng([context.run.seed, 43])
    if propose != "traits":
        order = rng.permutation(len(pairs))[:tested]
        pairs = [pairs[i] for i in sorted(order.tolist())]
    principles = trait_principles() if propose != "model" else []
    proposed = await propose_principles(context, pairs, embedder) if propose != "traits" else []
    votes = np.vstack(
        [
            trait_votes(principles, pairs),
            await model_votes(context, proposed, pairs, seed=_VOTE_SEED),
        ]
    )
    return _select([*principles, *proposed], votes, n=n, min_relevance=min_relevance)


async def propose_principles(
    context: MethodContext, pairs: Sequence[Pair], embedder: EmbedderName
) -> list[Principle]:
    """Return what a model says of pairs whose chosen answers differ alike, one of each cluster.

    Parameters
    ----------
    context : MethodContext
        Policy whose model proposes, feedback and run.
    pairs : sequence of Pair
        Pairs with a winner.
    embedder : EmbedderName
        Embedder by which proposals are clustered.
    """
    answers = [
        EditedAnswer(pair.prompt, pair.rejected, pair.chosen, _NO_FEEDBACK) for pair in pairs
    ]
    contrasts = select_contrasts(find_contrasts(answers), min_support=2, max_p=0.2)
    stated = await state_rules(
        context, contrasts[:_MAX_CONTRASTS], answers, groups=_GROUPS, seed=_PROPOSAL_SEED
    )
    counts = sum(stated, Counter())
    texts = [text for text, _ in counts.most_common(_MAX_PROPOSALS)]
    if not texts:
        return []
    clusters = await cluster_texts(texts, get_embedder(embedder, texts), min_similarity=0.9)
    return [Principle(texts[group[0]]) for group in clusters]


_NO_FEEDBACK = BaseFeedback(interaction="pair", annotator=Annotator.human())
"""Placeholder of the feedback, which proposals do not read."""


def _select(
    principles: Sequence[Principle], votes: Votes, *, n: int, min_relevance: float
) -> Constitution:
    right, wrong = (votes > 0).sum(axis=1), (votes < 0).sum(axis=1)
    relevant = np.flatnonzero((right > wrong) & (right + wrong >= min_relevance * votes.shape[1]))
    weights = np.log((right + 1) / (wrong + 1))
    chosen: list[int] = []
    best = 0.5
    while len(chosen) < n:
        scores = {
            row: float(reconstruct(votes[[*chosen, row]], weights[[*chosen, row]]).mean())
            for row in relevant.tolist()
            if row not in chosen
        }
        if not scores or max(scores.values()) <= best:
            break
        row = max(scores, key=lambda one: scores[one])
        best = scores[row]
        chosen.append(row)
    return Constitution(
        tuple(principles[row] for row in chosen),
        tuple(int(right[row]) for row in chosen),
        tuple(int(wrong[row]) for row in chosen),
        votes[chosen],
    )


def _lessons(
    constitution: Constitution, sources: Sequence[tuple[Pair, BaseFeedback]]
) -> list[Lesson]:
    lessons = []
    for principle, right, wrong in zip(
        constitution.principles, constitution.right, constitution.wrong, strict=True
    ):
        items = {item.id: item for _, item in sources}
        confidence = (right + 1) / (right + wrong + 2)
        lessons.append(
            make_lesson("principle", principle.text, items.values(), confidence=confidence)
        )
    return lessons
