"""Methods that learn from critiques: better answers are made of them, and their making learned."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from backtalk import prompts as wording
from backtalk.embedders.named import EmbedderName
from backtalk.feedback.judgements import OVERALL
from backtalk.feedback.merge import prompt_key
from backtalk.feedback.views import CritiqueView, Pair, ScoreView
from backtalk.learn.context import (
    Array,
    Count,
    answer_trees,
    embedder_of,
    judged_by,
    named_policy,
    prompts_of,
    scored,
)
from backtalk.learn.finetune import objectives as _objectives  # noqa: F401 - registers them
from backtalk.learn.finetune.encoding import Chat, Encoder, Text
from backtalk.learn.finetune.objective import BuildTasks, TrainingTask, find_objective
from backtalk.learn.finetune.registration import MethodContext, training_method
from backtalk.learn.finetune.tree_builders import kept, pair_trees
from backtalk.learn.finetune.trees import PromptTree
from backtalk.learn.method import Paper

Temperature = Annotated[float, Field(gt=0)]

ILF = Paper(
    "Training language models with language feedback at scale",
    "Scheurer et al.",
    2023,
    "https://arxiv.org/abs/2303.16755",
)
SRT = Paper(
    "Teaching language models to self-improve by learning from language feedback",
    "Hu et al.",
    2024,
    "https://arxiv.org/abs/2406.07168",
)
SELF = Paper(
    "SELF: self-evolution with language feedback",
    "Lu et al.",
    2023,
    "https://arxiv.org/abs/2310.00533",
)
CDF = Paper(
    "Constructive large language models alignment with diverse feedback",
    "Yu et al.",
    2023,
    "https://arxiv.org/abs/2310.06450",
)

SIMILARITY = "similarity"
"""The judge of refinements that asks how near they are to the critique."""


@training_method("ilf", needs=[CritiqueView], paper=ILF)
async def ilf(
    work: MethodContext,
    *,
    samples: Count = 5,
    judge: str = SIMILARITY,
    embedder: EmbedderName = "hashed",
    refiner: str | None = None,
    with_edits: bool = True,
) -> BuildTasks:
    """Imitation from language feedback: critiques are carried out, and the best result learned.

    For each critique the refiner writes several refinements of the answer; the one that takes up
    the most of the critique is imitated; Scheurer et al. (2023). A refinement that
    changes nothing is none.

    Parameters
    ----------
    work : MethodContext
        The policy, the feedback and the run.
    samples : Count, default 5
        How many refinements are written for each critique.
    judge : str, default SIMILARITY
        What chooses among them: ``similarity`` for the cosine between refinement and critique,
        ``learned`` for a reward learned from the store's pairs, or a judge as ``backtalk
        evaluate`` names them.
    embedder : EmbedderName, default "hashed"
        What the similarity and the learned reward read texts with.
    refiner : str, optional
        The policy that refines, by name; the one that learns by default.
    with_edits : bool, default True
        Whether what people themselves made of answers is imitated too.
    """
    goal = find_objective("sft").bind()
    views = work.feedback.views(CritiqueView)
    results = await refinements(
        work, views, samples=samples, judge=judge, embedder=embedder, refiner=refiner
    )

    def make(encoder: Encoder) -> list[TrainingTask]:
        encoder.left_out["critiques without a refinement"] += sum(one is None for one in results)
        parts = [TrainingTask("refinements", goal, _examples(encoder, views, results))]
        if with_edits:
            edits = [view.refinement for view in views]
            parts.append(TrainingTask("edits", goal, _examples(encoder, views, edits)))
        return parts

    return make


async def refinements(
    work: MethodContext,
    views: Sequence[CritiqueView],
    *,
    samples: int,
    judge: str = SIMILARITY,
    embedder: EmbedderName = "hashed",
    refiner: str | None = None,
) -> list[str | None]:
    """Return a refinement for each critique, by a model; ``None`` where none changes anything."""
    asked = [wording.to_refine(view.prompt, view.completion, view.critique) for view in views]
    written = await work.sample(asked, samples, policy=named_policy(work, refiner), seed=1)
    changed = [
        [text for text in dict.fromkeys(own) if text.strip() not in {"", view.completion.strip()}]
        for view, own in zip(views, written, strict=True)
    ]
    if judge == SIMILARITY:
        scores = await _nearness([view.critique for view in views], changed, embedder)
    else:
        reward = await judged_by(work, judge, embedder)
        scores = await scored(reward, [view.prompt for view in views], changed)
    return [
        own[int(np.argmax(score))] if own else None
        for own, score in zip(changed, scores, strict=True)
    ]


async def _nearness(
    critiques: Sequence[str], texts: Sequence[Sequence[str]], embedder: EmbedderName
) -> list[Array]:
    """Return the cosine of each text with the critique that it goes with."""
    flat = [*critiques, *(text for own in texts for text in own)]
    vectors = (await embedder_of(embedder, flat).embed(flat)).astype(np.float64)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    ends = len(critiques) + np.cumsum([0, *(len(own) for own in texts)])
    return [vectors[ends[i] : ends[i + 1]] @ vectors[i] for i in range(len(critiques))]


def _examples(
    encoder: Encoder, views: Sequence[CritiqueView], better: Sequence[str | None]
) -> list[PromptTree]:
    return kept(
        encoder.tree(view.prompt, [Text(text, 1.0)], weight=view.weight)
        for view, text in zip(views, better, strict=True)
        if text is not None
    )


async def _completed(work: MethodContext, samples: int, refiner: str | None) -> list[CritiqueView]:
    """Return critiques with refinements: what people made, or else what the refiner writes."""
    views = work.feedback.views(CritiqueView)
    lacking = [view for view in views if view.refinement is None]
    written = iter(
        await refinements(work, lacking, samples=samples, refiner=refiner) if lacking else []
    )
    return [
        view
        if view.refinement is not None
        else view.model_copy(update={"refinement": next(written)})
        for view in views
    ]


@training_method("srt", needs=[CritiqueView], paper=SRT)
async def srt(
    work: MethodContext, *, samples: Count = 4, refiner: str | None = None, answers: bool = True
) -> BuildTasks:
    """Self-refinement tuning: a draft, its critique and the refinement are learned as a sequence.

    Asked what is wrong with a draft the model learns to give the critique, and asked to write it
    again, with the critique in view, the refinement; Hu et al. (2024). The draft
    itself is not learned. The paper's second stage, preferences between drafts and the model's own
    refinements of them, is what online rounds of a preference method are.

    Parameters
    ----------
    work : MethodContext
        The policy, the feedback and the run.
    samples : Count, default 4
        How many refinements are written where nobody edited the draft.
    refiner : str, optional
        The policy that writes them, by name; the one that learns by default.
    answers : bool, default True
        Whether refinements are learned as answers to the prompt too.
    """
    goal = find_objective("sft").bind()
    views = await _completed(work, samples, refiner)

    def make(encoder: Encoder) -> list[TrainingTask]:
        better = [view.refinement for view in views]
        parts = [
            TrainingTask("critiques", goal, _critique_trees(encoder, views)),
            TrainingTask(
                "refinements", goal, _refinement_trees(encoder, views, wording.to_write_again)
            ),
        ]
        if answers:
            parts.append(TrainingTask("answers", goal, _examples(encoder, views, better)))
        return parts

    return make


def _critique_trees(encoder: Encoder, views: Sequence[CritiqueView]) -> list[PromptTree]:
    return kept(
        encoder.tree(
            wording.to_criticise(view.prompt, view.completion),
            [Text(view.critique)],
            weight=view.weight,
        )
        for view in views
    )


def _refinement_trees(
    encoder: Encoder,
    views: Sequence[CritiqueView],
    ask: Callable[[Chat, str, str], Chat] = wording.to_refine,
) -> list[PromptTree]:
    return kept(
        encoder.tree(
            ask(view.prompt, view.completion, view.critique),
            [Text(view.refinement)],
            weight=view.weight,
        )
        for view in views
        if view.refinement is not None
    )


@training_method("self", needs=[CritiqueView], paper=SELF)
async def self_evolution(
    work: MethodContext,
    *,
    samples: Count = 4,
    refiner: str | None = None,
    evolve: bool = True,
    prompts: Count | None = None,
) -> BuildTasks:
    """SELF: the skills to criticise and to refine are learned, and used on the model's own answers.

    The corpus of skills has critiques of drafts, and refinements under critiques. To evolve, the
    policy answers the store's prompts, criticises its answers and refines them; an answer in which
    it finds nothing wrong, at once or after refining, is imitated; Lu et al. (2023). Each round
    evolves with the skills that the policy had at its beginning: the first one teaches them, later
    ones use them.

    Parameters
    ----------
    work : MethodContext
        The policy, the feedback and the run.
    samples : Count, default 4
        How many refinements are written where nobody edited the draft.
    refiner : str, optional
        The policy that writes them, by name; the one that learns by default.
    evolve : bool, default True
        Whether the policy's own refined answers are learned too.
    prompts : Count, optional
        The most prompts that it answers; all of the store's by default.
    """
    goal = find_objective("sft").bind()
    views = await _completed(work, samples, refiner)
    own = await evolved(work, prompts_of(work, prompts)) if evolve else []

    def make(encoder: Encoder) -> list[TrainingTask]:
        return [
            TrainingTask("critiques", goal, _critique_trees(encoder, views)),
            TrainingTask("refinements", goal, _refinement_trees(encoder, views)),
            TrainingTask("evolution", goal, answer_trees(encoder, own)),
        ]

    return make


async def evolved(work: MethodContext, prompts: Sequence[Chat]) -> list[tuple[Chat, str]]:
    """Return the policy's answers in which it finds nothing wrong, refined once where it did."""
    drafts = _first(prompts, await work.sample(prompts, 1, seed=2))
    result, faulty = await _found_right(work, drafts, seed=3)
    asked = [wording.to_refine(*one) for one in faulty]
    refined = _first([prompt for prompt, _, _ in faulty], await work.sample(asked, 1, seed=4))
    mended, _ = await _found_right(work, refined, seed=5)
    return [*result, *mended]


async def _found_right(
    work: MethodContext, answers: Sequence[tuple[Chat, str]], *, seed: int
) -> tuple[list[tuple[Chat, str]], list[tuple[Chat, str, str]]]:
    """Return the answers in which the policy finds nothing wrong, and the others with critiques."""
    asked = [wording.to_criticise(prompt, text) for prompt, text in answers]
    said = await work.sample(asked, 1, seed=seed)
    right, faulty = [], []
    for (prompt, text), critiques in zip(answers, said, strict=True):
        if critiques and wording.finds_nothing(critiques[0]):
            right.append((prompt, text))
        elif critiques and critiques[0].strip():
            faulty.append((prompt, text, critiques[0]))
    return right, faulty


def _first(prompts: Sequence[Chat], answers: Sequence[Sequence[str]]) -> list[tuple[Chat, str]]:
    return [(prompt, own[0]) for prompt, own in zip(prompts, answers, strict=True) if own]


@training_method("cdf", needs=[CritiqueView, Pair], paper=CDF)
async def cdf(
    work: MethodContext,
    *,
    beta: Temperature = 0.1,
    samples: Count = 4,
    refiner: str | None = None,
) -> BuildTasks:
    """Constructive and diverse feedback: easy prompts teach criticism, hard ones preference.

    Prompts are put in three groups of the same size by how good the answers to them were found,
    and each teaches by one kind of feedback: the easiest by critiques, the ones in between by
    refinements, the hardest by preferences (DPO); Yu et al. (2023). A prompt that lacks
    the feedback of its group teaches by the nearest one that it has.

    Parameters
    ----------
    work : MethodContext
        The policy, the feedback and the run.
    beta : Temperature, default 0.1
        Of DPO.
    samples : Count, default 4
        How many refinements are written where nobody edited the draft.
    refiner : str, optional
        The policy that writes them, by name; the one that learns by default.
    """
    likelihood = find_objective("sft").bind()
    preference = find_objective("dpo").bind(beta=beta)
    views = await _completed(work, samples, refiner)
    pairs = [pair for pair in work.feedback.views(Pair) if not pair.tie]
    group = by_difficulty(work, views, pairs)

    def make(encoder: Encoder) -> list[TrainingTask]:
        def of(name: str, items: Sequence[Any]) -> list[Any]:
            return [one for one in items if group[prompt_key(one.prompt)] == name]

        refined = of("refinement", views)
        answers = _examples(encoder, refined, [view.refinement for view in refined])
        return [
            TrainingTask("critique", likelihood, _critique_trees(encoder, of("critique", views))),
            TrainingTask(
                "refinement", likelihood, [*_refinement_trees(encoder, refined), *answers]
            ),
            TrainingTask("preference", preference, pair_trees(encoder, of("preference", pairs))),
        ]

    return make


_GROUPS = ("critique", "refinement", "preference")


def by_difficulty(
    work: MethodContext, views: Sequence[CritiqueView], pairs: Sequence[Pair]
) -> dict[str, str]:
    """Return the kind of feedback that each prompt teaches by.

    A prompt is the harder the lower its answers were scored on average; where nothing was scored,
    the more of the distinct answers to it lost a comparison or were criticised.
    """
    has: dict[str, set[str]] = defaultdict(set)
    told: dict[str, set[str]] = defaultdict(set)
    lost: dict[str, set[str]] = defaultdict(set)
    values: dict[str, list[float]] = defaultdict(list)
    for view in views:
        key = prompt_key(view.prompt)
        has[key].add("critique")
        told[key].add(view.completion)
        lost[key].add(view.completion)
        if view.refinement is not None:
            has[key].add("refinement")
    for pair in pairs:
        key = prompt_key(pair.prompt)
        has[key].add("preference")
        told[key] |= {pair.chosen, pair.rejected}
        lost[key].add(pair.rejected)
    for one in work.feedback.views(ScoreView):
        if one.aspect == OVERALL:
            values[prompt_key(one.prompt)].append(one.score)
    ease = {
        key: float(np.mean(values[key])) if key in values else 1 - len(lost[key]) / len(told[key])
        for key in has
    }
    order = sorted(ease, key=lambda key: (-ease[key], key))
    results = {}
    for index, key in enumerate(order):
        wanted = 3 * index // len(order)
        results[key] = min(
            has[key], key=lambda name: (abs(_GROUPS.index(name) - wanted), _GROUPS.index(name))
        )
    return results
