"""Learning to be controlled: answers behind words that say which aspects they have."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from backtalk import prompts as wording
from backtalk.embedders.named import EmbedderName
from backtalk.errors import BacktalkError
from backtalk.feedback import prompt_text
from backtalk.feedback.judgements import OVERALL
from backtalk.feedback.merge import prompt_key
from backtalk.feedback.views import LabelView
from backtalk.learn.context import Array, embedder_of
from backtalk.learn.finetune import objectives as _objectives  # noqa: F401 - registers them
from backtalk.learn.finetune.encoding import Chat, Encoder, Text
from backtalk.learn.finetune.objective import BuildTasks, TrainingTask, find_objective
from backtalk.learn.finetune.prompt_conditioning import (
    conditioned_encoder,
    serve_with_prompt,
    with_system_suffix,
)
from backtalk.learn.finetune.registration import MethodContext, training_method
from backtalk.learn.finetune.tree_builders import kept
from backtalk.learn.method import Paper
from backtalk.learn.training_set import TrainingSet

FAST = Paper(
    "FAST: improving controllability for text generation with feedback aware self-training",
    "Chai et al.",
    2022,
    "https://arxiv.org/abs/2210.03167",
)


@dataclass(frozen=True)
class Coded:
    """An answer, and which aspects it has."""

    prompt: Chat
    completion: str
    aspects: Mapping[str, bool]


@training_method("fast", needs=[LabelView], paper=FAST)
async def fast(
    work: MethodContext,
    *,
    counterfactuals: Annotated[int, Field(ge=0)] = 1,
    heaviest: Annotated[float, Field(ge=1)] = 5.0,
    embedder: EmbedderName = "hashed",
) -> BuildTasks:
    """FAST: control codes, with what the prompt says about them weighed out, and counterfactuals.

    Each answer is learned behind words that name the aspects that it has and those that it lacks.
    Where prompts of a sort mostly come with one aspect, a model could read the aspect off the
    prompt: so an example counts ``prod_a P(a) / P(a | prompt)``, by the propensity of each aspect.
    Then the policy is asked for answers with one aspect turned round, and those that a classifier
    of the feedback's aspects finds to be as asked are learned too; Chai et al. (2022).

    In one round it is the policy as it was before learning that is asked. The paper draws examples
    anew by these weights; here they weigh the loss, which has the same
    mean and less chance in it.

    Parameters
    ----------
    work : MethodContext
        The policy, the feedback and the run.
    counterfactuals : int, default 1
        How many answers with an aspect turned round are written for each answer.
    heaviest : float, default 5.0
        The most that an example counts, and the inverse of the least; with 1 all count the same.
    embedder : EmbedderName, default "hashed"
        What propensities and classifiers read texts with.
    """
    goal = find_objective("sft").bind()
    examples = coded(work.feedback)
    if not examples:
        raise BacktalkError(
            "fast has no answers whose aspects are known",
            "Collect labels, or ratings off the middle of their scale",
        )
    weights = await propensity_weights(examples, embedder, heaviest)
    written = await _turned_round(work, examples, counterfactuals, embedder)

    def make(encoder: Encoder) -> list[TrainingTask]:
        def behind(one: Coded, weight: float = 1.0) -> Any:
            own = conditioned_encoder(encoder, work.policy, wording.codes(one.aspects))
            return own.tree(one.prompt, [Text(one.completion)], weight=weight)

        return [
            TrainingTask("codes", goal, kept(map(behind, examples, weights.tolist()))),
            TrainingTask("counterfactuals", goal, kept(map(behind, written))),
        ]

    return make


def coded(feedback: TrainingSet) -> list[Coded]:
    """Return each answer with its aspects, by what most labels say.

    Judgements of the answer as a whole count as an aspect only where there are no others.
    """
    votes: dict[tuple[str, str], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    prompts: dict[str, Chat] = {}
    labels = feedback.views(LabelView)
    some = any(one.aspect != OVERALL for one in labels)
    for one in labels:
        if some and one.aspect == OVERALL:
            continue
        key = prompt_key(one.prompt)
        prompts.setdefault(key, one.prompt)
        name = "good" if one.aspect == OVERALL else one.aspect
        votes[key, one.completion][name] += one.weight if one.good else -one.weight
    results = []
    for (key, completion), counted in votes.items():
        aspects = {name: vote > 0 for name, vote in sorted(counted.items()) if vote != 0}
        if aspects:
            results.append(Coded(prompts[key], completion, aspects))
    return results


def best_codes(feedback: TrainingSet) -> str:
    """Return the words that ask for every aspect that the feedback knows."""
    names = sorted({name for one in coded(feedback) for name in one.aspects})
    return wording.codes(dict.fromkeys(names, True))


async def propensity_weights(
    examples: Sequence[Coded], embedder: EmbedderName, heaviest: float
) -> Array:
    """Return ``prod_a P(a) / P(a | prompt)`` of each example, clipped, with mean 1.

    The propensity ``P(a | prompt)`` is a logistic regression on the prompt's embedding.
    """
    texts = [prompt_text(one.prompt) for one in examples]
    vectors = (await embedder_of(embedder, texts).embed(texts)).astype(np.float64)
    logs = np.zeros(len(examples))
    for name in sorted({name for one in examples for name in one.aspects}):
        rows = np.array([i for i, one in enumerate(examples) if name in one.aspects])
        has = np.array([examples[i].aspects[name] for i in rows])
        model = _classifier(vectors[rows], has)
        if model is not None:
            probabilities = model.predict_proba(vectors[rows])[:, 1]
            given = np.where(has, probabilities, 1 - probabilities)
            logs[rows] += np.log(np.where(has, has.mean(), 1 - has.mean())) - np.log(given)
    weights = np.exp(np.clip(logs, -np.log(heaviest), np.log(heaviest)))
    return np.asarray(weights / weights.mean())


def _classifier(vectors: Array, has: Any) -> Any:
    """Return a logistic regression, or ``None`` where all or none have it."""
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - slow to import

    if has.all() or not has.any():
        return None
    return LogisticRegression(max_iter=1_000).fit(vectors, has)


async def _turned_round(
    work: MethodContext, examples: Sequence[Coded], count: int, embedder: EmbedderName
) -> list[Coded]:
    """Return answers of the policy with an aspect turned round, as the classifiers confirm."""
    texts = [one.completion for one in examples]
    reader = embedder_of(embedder, texts)
    vectors = (await reader.embed(texts)).astype(np.float64)
    models = {}
    for name in sorted({name for one in examples for name in one.aspects}):
        rows = [i for i, one in enumerate(examples) if name in one.aspects]
        has = np.array([examples[i].aspects[name] for i in rows])
        models[name] = _classifier(vectors[rows], has)
    rng = np.random.default_rng([work.run.seed, 13])
    asked: list[Coded] = []
    for one in examples if count else ():
        free = [name for name in one.aspects if models[name] is not None]
        if free:
            name = free[int(rng.integers(len(free)))]
            turned = {**one.aspects, name: not one.aspects[name]}
            asked.append(Coded(one.prompt, one.completion, turned))
    drawn = await work.sample(
        [one.prompt for one in asked],
        count,
        policies=[with_system_suffix(work.policy, wording.codes(one.aspects)) for one in asked],
        seed=6,
    )
    results = []
    for one, own in zip(asked, drawn, strict=True):
        distinct = [text for text in dict.fromkeys(own) if text.strip()]
        if not distinct:
            continue
        read = (await reader.embed(distinct)).astype(np.float64)
        fits = np.ones(len(distinct), dtype=bool)
        for name, wanted in one.aspects.items():
            if models[name] is not None:
                fits &= models[name].predict(read) == wanted
        results += [
            Coded(one.prompt, text, one.aspects)
            for text, fit in zip(distinct, fits.tolist(), strict=True)
            if fit
        ]
    return results


serve_with_prompt("fast", best_codes)
