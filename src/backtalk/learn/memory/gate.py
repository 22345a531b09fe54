"""GATE: a policy asks what people wish, by pairs of answers to edge cases, and remembers it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from backtalk.embedders.registry import EmbedderName
from backtalk.feedback import Interaction, Response, content_id
from backtalk.feedback.interaction import Prompt
from backtalk.feedback.kinds import Preference
from backtalk.feedback.views import Pair
from backtalk.learn.availability import has_lesson
from backtalk.learn.context import MethodContext
from backtalk.learn.lazy_modules import np
from backtalk.learn.memory.collecting import Collection
from backtalk.learn.memory.lesson import Lesson, make_lesson, normalise
from backtalk.learn.memory.option_types import Count, RecallLimit, Withhold
from backtalk.learn.memory.options import RecallOptions
from backtalk.learn.memory.traits import TRAITS, Trait
from backtalk.learn.memory.writing import memory_of, write_lessons
from backtalk.learn.method import Paper, method
from backtalk.learn.requirements import PROMPTS
from backtalk.learn.training_set import TrainingSet
from backtalk.memory import Memory
from backtalk.models import Request
from backtalk.policy import Policy
from backtalk.run import Run

PAPER = Paper(
    "Eliciting human preferences with language models",
    "Li et al.",
    2023,
    "https://arxiv.org/abs/2310.11589",
)
WISH = "elicited wish"
"""Key of the metadata of a response that was written under a wish."""
AS_IT_IS = ""
"""Wish of an answer that was written under none."""
MIN_CONFIDENCE = 0.6
"""Probability of a wish from which on it is remembered."""


@dataclass(frozen=True)
class Question:
    """Two answers to a request, each written under one of two contrary wishes or under none."""

    prompt: Prompt
    wishes: tuple[str, str]
    """Wish of each answer; empty for none."""
    answers: tuple[str, str]

    def interaction(self) -> Interaction:
        """Return the question as an interaction that people compare the answers of."""
        responses = tuple(
            Response(id=str(number), text=answer, metadata={WISH: wish})
            for number, (wish, answer) in enumerate(zip(self.wishes, self.answers, strict=True))
        )
        id_ = content_id("elicitation", *self.wishes, *self.answers)
        return Interaction(id=id_, prompt=self.prompt, responses=responses, shown=("0", "1"))


@method(
    "gate",
    target="memory",
    needs=[],
    alternatives=[Pair],
    requires=[PROMPTS],
    paper=PAPER,
    formula="question = argmax over wishes of entropy(P(wish | answers so far)); "
    "memory = wishes with P > 0.6",
    example="-o questions=3",
)
async def gate(
    policy: Policy,
    feedback: TrainingSet,
    run: Run,
    *,
    questions: Count = 3,
    memory_name: str | None = None,
    embedder: EmbedderName = "hashed",
    recall_limit: RecallLimit = 8,
    withhold: Withhold = 0.05,
) -> Policy:
    """Ask people for their wishes by edge cases, and remember what they answer.

    GATE, Li et al. (2023), with generated edge cases. For the wishes that the preferences so far
    tell least about, the policy answers a request of the store under the wish, under its contrary
    and under neither. Two of these answers that differ as the wish says are stored as one
    interaction, which people compare in the inbox like any other; where the policy can show no
    difference, it asks about the next wish. Run again, the method reads their answers: a wish that
    they prefer becomes an instruction, and the next most uncertain wishes are asked about.

    Parameters
    ----------
    policy : Policy
        Policy that writes the edge cases.
    feedback : TrainingSet
        Requests, and preferences so far.
    run : Run
        Seed, budget and cache.
    questions : int, default 3
        Number of new questions.
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
    collection = Collection.read(feedback)
    lessons = elicited(collection)
    traits = uncertain_traits(
        [pair for pair in feedback.views(Pair) if has_lesson(pair)],
        known=_known(memory_of(policy, feedback, memory_name), feedback, lessons),
    )
    asked_about = await make_questions(context, traits, questions)
    for question in asked_about:
        feedback.store.add(question.interaction())
    notes: dict[str, JsonValue] = {"questions for the inbox": len(asked_about)}
    return write_lessons(
        policy,
        feedback,
        run,
        lessons,
        method="gate",
        options=options.with_own(questions=questions),
        spec=options.spec,
        notes=notes,
        may_be_empty=True,
    )


def elicited(collection: Collection) -> list[Lesson]:
    """Return the wishes that people preferred in answers to questions."""
    votes: dict[tuple[str, str], list[tuple[Preference, int]]] = defaultdict(list)
    for case in collection.cases:
        wishes = {r.id: r.metadata.get(WISH) for r in case.interaction.responses}
        for item in case.of(Preference):
            chosen, rejected = wishes.get(item.chosen or ""), wishes.get(item.rejected or "")
            if isinstance(chosen, str) and isinstance(rejected, str):
                first, second = sorted((chosen, rejected))
                votes[first, second].append((item, 1 if chosen == first else -1))
    lessons = []
    for (first, second), answers in votes.items():
        total = sum(sign for _, sign in answers)
        agreed = [item for item, sign in answers if sign * total > 0]
        confidence = (len(agreed) + 1) / (len(answers) + 2)
        text = first if total > 0 else second
        if total and text != AS_IT_IS and confidence >= MIN_CONFIDENCE:
            lessons.append(make_lesson("instruction", text, agreed, confidence=confidence))
    return lessons


def uncertain_traits(pairs: Sequence[Pair], *, known: frozenset[str]) -> list[Trait]:
    """Return the traits by how little preferences tell about them, the most uncertain first.

    Parameters
    ----------
    pairs : sequence of Pair
        Preferences so far.
    known : frozenset of str
        Normalised texts that need no question.
    """
    results = []
    for trait in TRAITS:
        if {normalise(trait.more), normalise(trait.less)} & known:
            continue
        directions = [trait.direction(pair.rejected, pair.chosen) for pair in pairs]
        more, less = directions.count(1), directions.count(-1)
        share = (more + 1) / (more + less + 2)
        entropy = -share * math.log(share) - (1 - share) * math.log(1 - share)
        # The more often it was judged, the less an answer can change.
        results.append((entropy / math.sqrt(more + less + 1), trait))
    return [trait for _, trait in sorted(results, key=lambda pair: -pair[0])]


async def make_questions(
    context: MethodContext, traits: Sequence[Trait], count: int
) -> list[Question]:
    """Return questions about the first traits of which the policy can show the difference.

    Parameters
    ----------
    context : MethodContext
        Policy that answers, feedback and run.
    traits : sequence of Trait
        Traits to ask about, the most uncertain first.
    count : int
        Maximum number of questions.
    """
    questions: list[Question] = []
    prompts = context.prompts()
    rng = np.random.default_rng([context.run.seed, 101])
    remaining = list(traits)
    while remaining and len(questions) < count:
        batch = remaining[: count - len(questions)]
        remaining = remaining[len(batch) :]
        chosen = [prompts[int(rng.integers(len(prompts)))] for _ in batch]
        cases = await _answer(context, batch, chosen)
        new = (_question(*case) for case in zip(batch, chosen, cases, strict=True))
        questions += [question for question in new if question is not None]
    return questions


async def _answer(
    context: MethodContext, traits: Sequence[Trait], prompts: Sequence[Prompt]
) -> list[dict[str, str]]:
    """Return the answer to each prompt by the wish under which it was written."""
    wishes = [(trait.more, trait.less, AS_IT_IS) for trait in traits]
    # The most probable answers differ by the wish alone.
    sampling = context.policy.decoder.base_sampling.model_copy(update={"temperature": 0.0})
    requests = [
        Request(
            messages=context.policy.messages(prompt, remembered=[wish] if wish else []),
            sampling=sampling,
            seed=context.run.seed * 1_000 + 101,
        )
        for prompt, contrary in zip(prompts, wishes, strict=True)
        for wish in contrary
    ]
    with context.run.task("writing edge cases", len(requests)):
        replies = await context.model().generate(requests)
    texts = iter(reply.text for reply in replies)
    return [{wish: next(texts) for wish in contrary} for contrary in wishes]


def _question(trait: Trait, prompt: Prompt, answers: Mapping[str, str]) -> Question | None:
    """Return two answers that differ in a trait as their wishes say; ``None`` without any."""
    for wishes in ((trait.more, trait.less), (trait.more, AS_IT_IS), (AS_IT_IS, trait.less)):
        more, less = (answers[wish] for wish in wishes)
        if trait.direction(less, more) == 1:
            return Question(prompt, wishes, (more, less))
    return None


def _known(memory: Memory, feedback: TrainingSet, lessons: Sequence[Lesson]) -> frozenset[str]:
    """Return the wishes that the memory has, that were answered, or that people are asked about."""
    texts = [entry.text for entry in memory.entries()] + [lesson.text for lesson in lessons]
    for case in feedback.every_case():
        for response in case.interaction.responses:
            wish = response.metadata.get(WISH)
            texts += [wish] if isinstance(wish, str) else []
    return frozenset(map(normalise, texts))
