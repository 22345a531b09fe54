"""Methods that learn from critiques: refined responses, and the skills to criticise and refine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from backtalk import prompts as prompt_texts
from backtalk.embedders.registry import EmbedderName, get_embedder
from backtalk.feedback.base import OVERALL
from backtalk.feedback.case import prompt_key
from backtalk.feedback.interaction import Prompt
from backtalk.feedback.views import CritiqueView, Pair, ScoreView
from backtalk.learn.context import MethodContext, score_responses
from backtalk.learn.finetune.encoding import Encoder, ResponseText
from backtalk.learn.finetune.methods.imitation import answer_trees
from backtalk.learn.finetune.objective import BuildTasks, TrainingTask, get_objective
from backtalk.learn.finetune.option_types import Count, Positive
from backtalk.learn.finetune.registration import training_method
from backtalk.learn.finetune.tree_builders import drop_none, pair_trees
from backtalk.learn.finetune.trees import PromptTree
from backtalk.learn.lazy_modules import np
from backtalk.learn.method import Paper

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
"""Judge of refinements: the cosine similarity of refinement and critique."""


@training_method("ilf", needs=[CritiqueView], objective="sft", paper=ILF)
async def ilf(
    context: MethodContext,
    *,
    samples: Count = 5,
    judge: str = SIMILARITY,
    embedder: EmbedderName = "hashed",
    refiner: str | None = None,
    with_edits: bool = True,
) -> BuildTasks:
    """Imitate the best of several refinements of each criticised response.

    Imitation from language feedback, Scheurer et al. (2023). The refiner writes several refinements
    for each critique. The one that incorporates the critique best is imitated. Refinements that
    equal the response are discarded.

    Parameters
    ----------
    context : MethodContext
        Policy, feedback and run.
    samples : int, default 5
        Number of refinements for each critique.
    judge : str, default "similarity"
        Judge that selects a refinement: ``similarity`` for the cosine of refinement and critique,
        ``learned`` for a reward fitted to the store's pairs, or a judge of ``backtalk evaluate``.
    embedder : {"hashed", "sentence"}, default "hashed"
        Embedder of the similarity and of the learned reward.
    refiner : str, optional
        Policy that refines, by name or id; the policy to improve by default.
    with_edits : bool, default True
        If true, also imitate the edits that people made.
    """
    goal = get_objective("sft").bind()
    views = context.feedback.views(CritiqueView)
    refined = await refine_responses(
        context, views, samples=samples, judge=judge, embedder=embedder, refiner=refiner
    )

    def build(encoder: Encoder) -> list[TrainingTask]:
        encoder.left_out["critiques without a refinement"] += sum(one is None for one in refined)
        parts = [TrainingTask("refinements", goal, _refined_trees(encoder, views, refined))]
        if with_edits:
            edits = [view.refinement for view in views]
            parts.append(TrainingTask("edits", goal, _refined_trees(encoder, views, edits)))
        return parts

    return build


async def refine_responses(
    context: MethodContext,
    views: Sequence[CritiqueView],
    *,
    samples: int,
    judge: str = SIMILARITY,
    embedder: EmbedderName = "hashed",
    refiner: str | None = None,
) -> list[str | None]:
    """Return the best refinement for each critique; ``None`` where no sample changes the response.

    Parameters
    ----------
    context : MethodContext
        Policy, feedback and run.
    views : sequence of CritiqueView
        N critiques.
    samples : int
        Number of refinements for each critique.
    judge : str, default "similarity"
        Judge that selects a refinement.
    embedder : {"hashed", "sentence"}, default "hashed"
        Embedder of the similarity and of the learned reward.
    refiner : str, optional
        Policy that refines, by name or id; the policy to improve by default.
    """
    requests = [
        prompt_texts.refinement_prompt(view.prompt, view.completion, view.critique)
        for view in views
    ]
    samples_by_view = await context.sample(
        requests, samples, policy=context.get_policy(refiner), seed=1
    )
    changed = [
        [text for text in dict.fromkeys(texts) if text.strip() not in {"", view.completion.strip()}]
        for view, texts in zip(views, samples_by_view, strict=True)
    ]
    if judge == SIMILARITY:
        scores = await _critique_similarities([view.critique for view in views], changed, embedder)
    else:
        reward = await context.judge(judge, embedder)
        scores = await score_responses(reward, [view.prompt for view in views], changed)
    return [
        texts[int(np.argmax(score))] if texts else None
        for texts, score in zip(changed, scores, strict=True)
    ]


async def _critique_similarities(
    critiques: Sequence[str], texts: Sequence[Sequence[str]], embedder: EmbedderName
) -> list[NDArray[np.float64]]:
    """Return the cosine similarities of the texts with their critiques."""
    flat = [*critiques, *(text for group in texts for text in group)]
    vectors = (await get_embedder(embedder, flat).embed(flat)).astype(np.float64)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    ends = len(critiques) + np.cumsum([0, *(len(group) for group in texts)])
    return [vectors[ends[i] : ends[i + 1]] @ vectors[i] for i in range(len(critiques))]


def _refined_trees(
    encoder: Encoder, views: Sequence[CritiqueView], better: Sequence[str | None]
) -> list[PromptTree]:
    return drop_none(
        encoder.tree(view.prompt, [ResponseText(text, label=True)], weight=view.weight)
        for view, text in zip(views, better, strict=True)
        if text is not None
    )


async def _complete_critiques(
    context: MethodContext, samples: int, refiner: str | None
) -> list[CritiqueView]:
    """Return the critiques with refinements: edits of people, or else samples of the refiner."""
    views = context.feedback.views(CritiqueView)
    incomplete = [view for view in views if view.refinement is None]
    refinements = iter(
        await refine_responses(context, incomplete, samples=samples, refiner=refiner)
        if incomplete
        else []
    )
    return [
        view
        if view.refinement is not None
        else view.model_copy(update={"refinement": next(refinements)})
        for view in views
    ]


@training_method("srt", needs=[CritiqueView], objective="sft", paper=SRT)
async def srt(
    context: MethodContext, *, samples: Count = 4, refiner: str | None = None, answers: bool = True
) -> BuildTasks:
    """Train on draft, critique and refinement as a sequence.

    Self-refinement tuning, Hu et al. (2024). Asked what is wrong with a draft, the model learns to
    give the critique; asked to write it again, with the critique in the context, the refinement.
    The draft itself is not learned. The paper's second stage, preferences between drafts and the
    model's own refinements, is online learning with a preference method.

    Parameters
    ----------
    context : MethodContext
        Policy, feedback and run.
    samples : int, default 4
        Number of refinements sampled where nobody edited the draft.
    refiner : str, optional
        Policy that refines, by name or id; the policy to improve by default.
    answers : bool, default True
        If true, also learn refinements as responses to the prompt.
    """
    goal = get_objective("sft").bind()
    views = await _complete_critiques(context, samples, refiner)

    def build(encoder: Encoder) -> list[TrainingTask]:
        better = [view.refinement for view in views]
        parts = [
            TrainingTask("critiques", goal, _critique_trees(encoder, views)),
            TrainingTask(
                "refinements", goal, _refinement_trees(encoder, views, prompt_texts.rewrite_prompt)
            ),
        ]
        if answers:
            parts.append(TrainingTask("answers", goal, _refined_trees(encoder, views, better)))
        return parts

    return build


def _critique_trees(encoder: Encoder, views: Sequence[CritiqueView]) -> list[PromptTree]:
    return drop_none(
        encoder.tree(
            prompt_texts.critique_prompt(view.prompt, view.completion),
            [ResponseText(view.critique)],
            weight=view.weight,
        )
        for view in views
    )


def _refinement_trees(
    encoder: Encoder,
    views: Sequence[CritiqueView],
    ask: Callable[[Prompt, str, str], Prompt] = prompt_texts.refinement_prompt,
) -> list[PromptTree]:
    return drop_none(
        encoder.tree(
            ask(view.prompt, view.completion, view.critique),
            [ResponseText(view.refinement)],
            weight=view.weight,
        )
        for view in views
        if view.refinement is not None
    )


@training_method("self", needs=[CritiqueView], objective="sft", paper=SELF)
async def self_evolution(
    context: MethodContext,
    *,
    samples: Count = 4,
    refiner: str | None = None,
    evolve: bool = True,
    prompts: Count | None = None,
) -> BuildTasks:
    """Train the skills to criticise and refine, and use them on the model's own responses.

    SELF, Lu et al. (2023). The skills are trained on critiques of drafts and refinements under
    critiques. To evolve, the policy responds to the store's prompts, criticises its responses and
    refines them. A response in which it finds nothing wrong, at once or after refinement, is
    imitated. Each round evolves with the skills that the policy had at its start: the first round
    teaches them, later rounds use them.

    Parameters
    ----------
    context : MethodContext
        Policy, feedback and run.
    samples : int, default 4
        Number of refinements sampled where nobody edited the draft.
    refiner : str, optional
        Policy that refines, by name or id; the policy to improve by default.
    evolve : bool, default True
        If true, also learn the policy's own refined responses.
    prompts : int, optional
        Maximum number of prompts to respond to; all prompts of the store by default.
    """
    goal = get_objective("sft").bind()
    views = await _complete_critiques(context, samples, refiner)
    evolved = await evolve_responses(context, context.prompts(prompts)) if evolve else []

    def build(encoder: Encoder) -> list[TrainingTask]:
        return [
            TrainingTask("critiques", goal, _critique_trees(encoder, views)),
            TrainingTask("refinements", goal, _refinement_trees(encoder, views)),
            TrainingTask("evolution", goal, answer_trees(encoder, evolved)),
        ]

    return build


async def evolve_responses(
    context: MethodContext, prompts: Sequence[Prompt]
) -> list[tuple[Prompt, str]]:
    """Return the policy's responses in which it finds nothing wrong, refined once if needed."""
    drafts = _first_responses(prompts, await context.sample(prompts, 1, seed=2))
    right, faulty = await _criticise_responses(context, drafts, seed=3)
    requests = [prompt_texts.refinement_prompt(*one) for one in faulty]
    refined = _first_responses(
        [prompt for prompt, _, _ in faulty], await context.sample(requests, 1, seed=4)
    )
    refined_right, _ = await _criticise_responses(context, refined, seed=5)
    return [*right, *refined_right]


async def _criticise_responses(
    context: MethodContext, answers: Sequence[tuple[Prompt, str]], *, seed: int
) -> tuple[list[tuple[Prompt, str]], list[tuple[Prompt, str, str]]]:
    """Return the responses that the policy finds right, and the others with critiques."""
    requests = [prompt_texts.critique_prompt(prompt, text) for prompt, text in answers]
    critiques_by_response = await context.sample(requests, 1, seed=seed)
    right, faulty = [], []
    for (prompt, text), critiques in zip(answers, critiques_by_response, strict=True):
        if critiques and prompt_texts.reports_no_issues(critiques[0]):
            right.append((prompt, text))
        elif critiques and critiques[0].strip():
            faulty.append((prompt, text, critiques[0]))
    return right, faulty


def _first_responses(
    prompts: Sequence[Prompt], answers: Sequence[Sequence[str]]
) -> list[tuple[Prompt, str]]:
    return [(prompt, texts[0]) for prompt, texts in zip(prompts, answers, strict=True) if texts]


@training_method("cdf", needs=[CritiqueView, Pair], objective="dpo", paper=CDF)
async def cdf(
    context: MethodContext,
    *,
    beta: Positive = 0.1,
    samples: Count = 4,
    refiner: str | None = None,
) -> BuildTasks:
    """Train easy prompts by critiques, medium ones by refinements and hard ones by preferences.

    Constructive and diverse feedback, Yu et al. (2023). Prompts are divided into three groups of
    equal size by the quality of their responses. The easiest are trained by critiques, the next by
    refinements, the hardest by preferences (DPO). A prompt without the feedback of its group is
    trained by the nearest kind that it has.

    Parameters
    ----------
    context : MethodContext
        Policy, feedback and run.
    beta : float, default 0.1
        Coefficient of DPO's implicit KL penalty.
    samples : int, default 4
        Number of refinements sampled where nobody edited the draft.
    refiner : str, optional
        Policy that refines, by name or id; the policy to improve by default.
    """
    likelihood = get_objective("sft").bind()
    preference = get_objective("dpo").bind(beta=beta)
    views = await _complete_critiques(context, samples, refiner)
    pairs = [pair for pair in context.feedback.views(Pair) if not pair.tie]
    group = group_by_difficulty(context, views, pairs)

    def build(encoder: Encoder) -> list[TrainingTask]:
        def select(name: str, items: Sequence[Any]) -> list[Any]:
            return [item for item in items if group[prompt_key(item.prompt)] == name]

        refined = select("refinement", views)
        answers = _refined_trees(encoder, refined, [view.refinement for view in refined])
        return [
            TrainingTask(
                "critique", likelihood, _critique_trees(encoder, select("critique", views))
            ),
            TrainingTask(
                "refinement", likelihood, [*_refinement_trees(encoder, refined), *answers]
            ),
            TrainingTask(
                "preference", preference, pair_trees(encoder, select("preference", pairs))
            ),
        ]

    return build


_GROUPS = ("critique", "refinement", "preference")


def group_by_difficulty(
    context: MethodContext, views: Sequence[CritiqueView], pairs: Sequence[Pair]
) -> dict[str, str]:
    """Return the kind of feedback that each prompt is trained by.

    Difficulty is one minus the mean score of a prompt's responses. Without scores, it is the
    fraction of the distinct responses that lost a comparison or were criticised.

    Parameters
    ----------
    context : MethodContext
        Policy, feedback and run.
    views : sequence of CritiqueView
        Critiques with refinements.
    pairs : sequence of Pair
        Preferences.
    """
    kinds: dict[str, set[str]] = defaultdict(set)
    responses: dict[str, set[str]] = defaultdict(set)
    faulty: dict[str, set[str]] = defaultdict(set)
    values: dict[str, list[float]] = defaultdict(list)
    for view in views:
        key = prompt_key(view.prompt)
        kinds[key].add("critique")
        responses[key].add(view.completion)
        faulty[key].add(view.completion)
        if view.refinement is not None:
            kinds[key].add("refinement")
    for pair in pairs:
        key = prompt_key(pair.prompt)
        kinds[key].add("preference")
        responses[key] |= {pair.chosen, pair.rejected}
        faulty[key].add(pair.rejected)
    for scored in context.feedback.views(ScoreView):
        if scored.aspect == OVERALL:
            values[prompt_key(scored.prompt)].append(scored.score)
    ease = {
        key: float(np.mean(values[key]))
        if key in values
        else 1 - len(faulty[key]) / len(responses[key])
        for key in kinds
    }
    order = sorted(ease, key=lambda key: (-ease[key], key))
    results = {}
    for index, key in enumerate(order):
        target = 3 * index // len(order)
        results[key] = min(
            kinds[key], key=lambda name: (abs(_GROUPS.index(name) - target), _GROUPS.index(name))
        )
    return results
