"""Control codes: responses are trained under a text that names the aspects they have."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from backtalk import prompts as prompt_texts
from backtalk.embedders.registry import EmbedderName, get_embedder
from backtalk.errors import BacktalkError
from backtalk.feedback import prompt_text
from backtalk.feedback.base import OVERALL
from backtalk.feedback.case import prompt_key
from backtalk.feedback.interaction import Prompt
from backtalk.feedback.views import LabelView
from backtalk.learn.context import MethodContext
from backtalk.learn.finetune.encoding import Encoder, ResponseText
from backtalk.learn.finetune.objective import BuildTasks, TrainingTask, get_objective
from backtalk.learn.finetune.prompt_conditioning import (
    conditioned_encoder,
    with_system_suffix,
)
from backtalk.learn.finetune.registration import training_method
from backtalk.learn.finetune.tree_builders import drop_none
from backtalk.learn.lazy_modules import np
from backtalk.learn.method import Paper
from backtalk.learn.requirements import FeedbackRequirement
from backtalk.learn.training_set import TrainingSet

if TYPE_CHECKING:
    from numpy.typing import NDArray

FAST = Paper(
    "FAST: improving controllability for text generation with feedback aware self-training",
    "Chai et al.",
    2022,
    "https://arxiv.org/abs/2210.03167",
)


@dataclass(frozen=True)
class CodedResponse:
    """A response with the aspects that it has and lacks."""

    prompt: Prompt
    completion: str
    aspects: Mapping[str, bool]


def coded_responses(feedback: TrainingSet) -> list[CodedResponse]:
    """Return each response with its aspects, by weighted majority of the labels.

    Labels of the response as a whole count as an aspect only if there are no others.
    """
    votes: dict[tuple[str, str], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    prompts: dict[str, Prompt] = {}
    views = feedback.on_aspect(None).views(LabelView)
    has_aspects = any(view.aspect != OVERALL for view in views)
    for view in views:
        if has_aspects and view.aspect == OVERALL:
            continue
        key = prompt_key(view.prompt)
        prompts.setdefault(key, view.prompt)
        name = "good" if view.aspect == OVERALL else view.aspect
        votes[key, view.completion][name] += view.weight if view.good else -view.weight
    results = []
    for (key, completion), counts in votes.items():
        aspects = {name: vote > 0 for name, vote in sorted(counts.items()) if vote != 0}
        if aspects:
            results.append(CodedResponse(prompts[key], completion, aspects))
    return results


def best_codes(feedback: TrainingSet) -> str:
    """Return the control code that asks for every aspect in the feedback."""
    names = sorted({name for response in coded_responses(feedback) for name in response.aspects})
    return prompt_texts.control_codes_condition(dict.fromkeys(names, True))


@training_method(
    "fast",
    needs=[LabelView],
    every_aspect=True,
    requires=[
        FeedbackRequirement(
            "answers with more judgements on one side of an aspect than on the other",
            lambda feedback: bool(coded_responses(feedback)),
        )
    ],
    objective="sft",
    paper=FAST,
    system_prompt=best_codes,
)
async def fast(
    context: MethodContext,
    *,
    counterfactuals: Annotated[int, Field(ge=0)] = 1,
    max_weight: Annotated[float, Field(ge=1)] = 5.0,
    embedder: EmbedderName = "hashed",
) -> BuildTasks:
    """Train on control codes, weighted by inverse propensity, and on counterfactual samples.

    FAST, Chai et al. (2022). Each response is learned under a system prompt that names the aspects
    that it has and those that it lacks. Where prompts of a type mostly come with one aspect, a
    model could infer the aspect from the prompt; so an example has the weight ``prod_a P(a) / P(a |
    prompt)``. Then the policy is asked for responses with one aspect inverted, and those that
    classifiers of the feedback's aspects confirm are learned too.

    Samples are drawn from the policy before learning. The paper resamples examples by these
    weights; here they weight the loss, which has the same mean and less variance.

    Parameters
    ----------
    context : MethodContext
        Policy, feedback and run.
    counterfactuals : int, default 1
        Number of samples with an inverted aspect for each response.
    max_weight : float, default 5.0
        Upper bound of a weight, and inverse of its lower bound; 1 gives equal weights.
    embedder : {"hashed", "sentence"}, default "hashed"
        Embedder of the propensity models and classifiers.

    Raises
    ------
    BacktalkError
        If no response has labelled aspects.
    """
    goal = get_objective("sft").bind()
    examples = coded_responses(context.feedback)
    if not examples:
        raise BacktalkError(
            "fast has no answers whose aspects are known",
            "Collect labels, or ratings off the middle of their scale",
        )
    weights = await propensity_weights(examples, embedder, max_weight)
    sampled = await _sample_counterfactuals(context, examples, counterfactuals, embedder)

    def build(encoder: Encoder) -> list[TrainingTask]:
        def conditioned_tree(example: CodedResponse, weight: float = 1.0) -> Any:
            conditioned = conditioned_encoder(
                encoder, context.policy, prompt_texts.control_codes_condition(example.aspects)
            )
            return conditioned.tree(
                example.prompt, [ResponseText(example.completion)], weight=weight
            )

        return [
            TrainingTask(
                "codes", goal, drop_none(map(conditioned_tree, examples, weights.tolist()))
            ),
            TrainingTask("counterfactuals", goal, drop_none(map(conditioned_tree, sampled))),
        ]

    return build


async def propensity_weights(
    examples: Sequence[CodedResponse], embedder: EmbedderName, max_weight: float
) -> NDArray[np.float64]:
    """Return the weight ``prod_a P(a) / P(a | prompt)`` of each example, clipped, with mean 1.

    The propensity ``P(a | prompt)`` is a logistic regression on the prompt's embedding.

    Parameters
    ----------
    examples : sequence of Coded
        N examples.
    embedder : {"hashed", "sentence"}
        Embedder of the prompts.
    max_weight : float
        Upper bound of a weight before normalisation, and inverse of its lower bound.

    Returns
    -------
    numpy.ndarray
        Weights, shape ``(N,)``.
    """
    texts = [prompt_text(example.prompt) for example in examples]
    vectors = (await get_embedder(embedder, texts).embed(texts)).astype(np.float64)
    logs = np.zeros(len(examples))
    for name in sorted({name for example in examples for name in example.aspects}):
        rows = np.array([i for i, example in enumerate(examples) if name in example.aspects])
        labels = np.array([examples[i].aspects[name] for i in rows])
        model = _classifier(vectors[rows], labels)
        if model is not None:
            probabilities = model.predict_proba(vectors[rows])[:, 1]
            conditional = np.where(labels, probabilities, 1 - probabilities)
            logs[rows] += np.log(np.where(labels, labels.mean(), 1 - labels.mean())) - np.log(
                conditional
            )
    weights = np.exp(np.clip(logs, -np.log(max_weight), np.log(max_weight)))
    return np.asarray(weights / weights.mean())


def _classifier(vectors: NDArray[np.float64], labels: Any) -> Any:
    """Return a logistic regression, or ``None`` if all labels are equal."""
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - slow to import

    if labels.all() or not labels.any():
        return None
    return LogisticRegression(max_iter=1_000).fit(vectors, labels)


async def _sample_counterfactuals(
    context: MethodContext, examples: Sequence[CodedResponse], count: int, embedder: EmbedderName
) -> list[CodedResponse]:
    """Return samples with an inverted aspect that the classifiers confirm."""
    texts = [target.completion for target in examples]
    reader = get_embedder(embedder, texts)
    vectors = (await reader.embed(texts)).astype(np.float64)
    models = {}
    for name in sorted({name for target in examples for name in target.aspects}):
        rows = [i for i, target in enumerate(examples) if name in target.aspects]
        labels = np.array([examples[i].aspects[name] for i in rows])
        models[name] = _classifier(vectors[rows], labels)
    rng = np.random.default_rng([context.run.seed, 13])
    targets: list[CodedResponse] = []
    for target in examples if count else ():
        invertible = [name for name in target.aspects if models[name] is not None]
        if invertible:
            name = invertible[int(rng.integers(len(invertible)))]
            inverted = {**target.aspects, name: not target.aspects[name]}
            targets.append(CodedResponse(target.prompt, target.completion, inverted))
    samples = await context.sample(
        [target.prompt for target in targets],
        count,
        policies=[
            with_system_suffix(context.policy, prompt_texts.control_codes_condition(target.aspects))
            for target in targets
        ],
        seed=6,
    )
    results = []
    for target, texts in zip(targets, samples, strict=True):
        distinct = [text for text in dict.fromkeys(texts) if text.strip()]
        if not distinct:
            continue
        vectors_of_texts = (await reader.embed(distinct)).astype(np.float64)
        confirmed = np.ones(len(distinct), dtype=bool)
        for name, label in target.aspects.items():
            if models[name] is not None:
                confirmed &= models[name].predict(vectors_of_texts) == label
        results += [
            CodedResponse(target.prompt, text, target.aspects)
            for text, keep in zip(distinct, confirmed.tolist(), strict=True)
            if keep
        ]
    return results
