"""Methods ``adaptive-prompt`` and ``meta-prompt``: several prompts, selected by the request."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from pydantic import Field, JsonValue

from backtalk.embedders.registry import EmbedderName
from backtalk.feedback.views import CritiqueView, LabelView, Pair, ScoreView, SFTExample
from backtalk.learn.method import Paper, method
from backtalk.learn.no_improvement import NoImprovement
from backtalk.learn.prompt.compositions.grid import measure_effects, select_compositions
from backtalk.learn.prompt.compositions.kinds import find_kinds
from backtalk.learn.prompt.compositions.learning import (
    CompositionSettings,
    Design,
    SelectedPrompts,
    learn_compositions,
)
from backtalk.learn.prompt.compositions.sources import (
    best_set,
    collect_techniques,
    request_embedder,
    route,
    write_prompts,
)
from backtalk.learn.prompt.learning import (
    ENOUGH_PROMPTS,
    JUDGEMENTS,
    MAX_CONFIRMATION,
    MAX_EXAMPLES,
)
from backtalk.learn.training_set import TrainingSet
from backtalk.policy import Policy
from backtalk.run import Run

_SHARE_OF_BUDGET = 0.35
"""Share of a budget of calls that random compositions may take."""
_MIN_ANSWERS = 24


@method(
    "adaptive-prompt",
    target="prompt",
    needs=[Pair],
    alternatives=[ScoreView, LabelView, SFTExample, CritiqueView],
    requires=[ENOUGH_PROMPTS, JUDGEMENTS],
    paper=Paper(
        "Adaptive prompting: Ad-hoc prompt composition for social bias detection",
        "Spliethöver et al.",
        2025,
        "https://arxiv.org/abs/2502.06487",
    ),
    formula="prompt(x) = argmax over compositions z of sum_j z_j (a_j + w_j x), fitted to answers "
    "with random z",
    example="-o answers=400",
)
async def adaptive_prompt(
    policy: Policy,
    feedback: TrainingSet,
    run: Run,
    *,
    answers: Annotated[int, Field(ge=_MIN_ANSWERS)] = 400,
    kinds: Annotated[int, Field(ge=1)] = 4,
    explore: Annotated[float, Field(ge=0, le=0.5)] = 0.05,
    examples: Annotated[int, Field(ge=4)] = MAX_EXAMPLES,
    confirmation: Annotated[int, Field(ge=4)] = MAX_CONFIRMATION,
    level: Annotated[float, Field(gt=0.5, lt=1)] = 0.95,
    judge: str | None = None,
    writer: str | None = None,
    embedder: EmbedderName = "hashed",
) -> Policy:
    """Learn which composition of prompting techniques suits which request.

    The techniques are rules that people state, rules that a model finds in the good answers to each
    kind of request, lines of general advice, and demonstrations of each kind. The policy gets the
    compositions that are best for some request and a small linear model, which selects one when a
    request comes. Without evidence that requests differ, all get the best single composition.

    Parameters
    ----------
    policy : Policy
        Policy to improve; any model that answers will do.
    feedback : TrainingSet
        Feedback of any kind.
    run : Run
        Seed, budget and cache.
    answers : int, default 400
        Number of answers to random compositions.
    kinds : int, default 4
        Maximum number of kinds of requests that have rules and demonstrations of their own.
    explore : float, default 0.05
        Probability with which the gateway shows another composition than the selected one.
    examples : int, default 64
        Maximum number of stored prompts that are answered.
    confirmation : int, default 100
        Maximum number of other stored prompts that confirm the result.
    level : float, default 0.95
        Probability that no improvement is reported if there is none.
    judge : str, optional
        Judge of answers beside the feedback, such as ``llm:MODEL`` or ``reward:NAME``.
    writer : str, optional
        Policy whose model writes rules; the policy itself by default.
    embedder : {"hashed", "sentence"}, default "hashed"
        Embedder of requests and of the learned reward.

    Raises
    ------
    NoImprovement
        If the result is not shown to be better.
    BacktalkError
        If there are too few prompts, or nothing tells better answers from worse.
    """

    async def make(design: Design) -> SelectedPrompts:
        fitted = request_embedder(design, embedder)
        request_kinds = await find_kinds(design.examples, fitted, most=kinds, seed=run.seed)
        techniques = await collect_techniques(design, request_kinds)
        if not techniques:
            raise _nothing_to_combine()
        techniques, model = await measure_effects(
            design.base,
            techniques,
            design.examples,
            design.evaluator.evaluate,
            request_kinds,
            answers=_affordable_answers(run, answers),
            rng=design.rng,
        )
        candidates, selector = await select_compositions(
            design.base,
            techniques,
            model,
            request_kinds,
            design.examples,
            proposer="adaptive-prompt",
        )
        effects = await model.predict(design.examples)
        measured: list[JsonValue] = [
            f"{one.label}: {effect:+.3f}"
            for one, effect in zip(techniques, effects.mean(axis=0), strict=True)
        ]
        notes: dict[str, JsonValue] = {
            "kinds of requests": len(request_kinds.centers),
            "mean effects": measured,
        }
        return SelectedPrompts(candidates, selector, notes)

    settings = CompositionSettings(
        examples, confirmation, level, explore, judge=judge, writer=writer, embedder=embedder
    )
    options: dict[str, JsonValue] = {
        "answers": answers,
        "kinds": kinds,
        **_search_options(settings),
    }
    return await learn_compositions(
        policy, feedback, run, make, method="adaptive-prompt", options=options, settings=settings
    )


@method(
    "meta-prompt",
    target="prompt",
    needs=[Pair],
    alternatives=[ScoreView, LabelView, SFTExample, CritiqueView],
    requires=[ENOUGH_PROMPTS, JUDGEMENTS],
    paper=Paper(
        "On meta-prompting",
        "de Wynter et al.",
        2023,
        "https://arxiv.org/abs/2312.06562",
    ),
    formula="prompt(x) = model(meta-prompt, context of the task of x)",
    example="-o kinds=4",
)
async def meta_prompt(
    policy: Policy,
    feedback: TrainingSet,
    run: Run,
    *,
    kinds: Annotated[int, Field(ge=1)] = 4,
    samples: Annotated[int, Field(ge=1)] = 4,
    explore: Annotated[float, Field(ge=0, le=0.5)] = 0.0,
    examples: Annotated[int, Field(ge=4)] = MAX_EXAMPLES,
    confirmation: Annotated[int, Field(ge=4)] = MAX_CONFIRMATION,
    level: Annotated[float, Field(gt=0.5, lt=1)] = 0.95,
    judge: str | None = None,
    writer: str | None = None,
    embedder: EmbedderName = "hashed",
) -> Policy:
    """Let a model write the prompt of each task from the context of that task.

    The tasks are the kinds of requests in the store. For each one, the model reads requests of it,
    good answers, what people said about others, and the present prompt, and writes the prompt with
    which requests of this task are answered. The same meta-prompt serves all tasks.

    Parameters
    ----------
    policy : Policy
        Policy to improve; any model that answers will do.
    feedback : TrainingSet
        Feedback of any kind.
    run : Run
        Seed, budget and cache.
    kinds : int, default 4
        Maximum number of tasks.
    samples : int, default 4
        Number of times that the prompts are written; the best ones are confirmed.
    explore : float, default 0.0
        Probability with which the gateway shows the prompt of another task.
    examples : int, default 64
        Maximum number of stored prompts that are answered.
    confirmation : int, default 100
        Maximum number of other stored prompts that confirm the result.
    level : float, default 0.95
        Probability that no improvement is reported if there is none.
    judge : str, optional
        Judge of answers beside the feedback, such as ``llm:MODEL`` or ``reward:NAME``.
    writer : str, optional
        Policy whose model writes prompts; the policy itself by default.
    embedder : {"hashed", "sentence"}, default "hashed"
        Embedder of requests and of the learned reward.

    Raises
    ------
    NoImprovement
        If the result is not shown to be better.
    BacktalkError
        If there are too few prompts, or nothing tells better answers from worse.
    """

    async def make(design: Design) -> SelectedPrompts:
        fitted = request_embedder(design, embedder)
        request_kinds = await find_kinds(design.examples, fitted, most=kinds, seed=run.seed)
        sets = await write_prompts(design, request_kinds, count=samples)
        candidates = await best_set(design, request_kinds, sets)
        notes: dict[str, JsonValue] = {
            "tasks": len(candidates),
            "prompts": [one.note for one in candidates],
        }
        return route(design.base, candidates, request_kinds, notes)

    settings = CompositionSettings(
        examples, confirmation, level, explore, judge=judge, writer=writer, embedder=embedder
    )
    options: dict[str, JsonValue] = {
        "kinds": kinds,
        "samples": samples,
        **_search_options(settings),
    }
    return await learn_compositions(
        policy, feedback, run, make, method="meta-prompt", options=options, settings=settings
    )


def _affordable_answers(run: Run, answers: int) -> int:
    """Return the number of answers to random compositions that a budget of calls allows."""
    if run.budget.calls is None:
        return answers
    return min(answers, max(_MIN_ANSWERS, int(_SHARE_OF_BUDGET * run.budget.calls)))


def _nothing_to_combine() -> NoImprovement:
    return NoImprovement(
        "There is no technique to combine: neither the feedback nor the model supplies a rule, "
        "general advice or a demonstration",
        "Collect edits, demonstrations or rules, or name a model that writes: -o writer=NAME",
    )


def _search_options(settings: CompositionSettings) -> dict[str, JsonValue]:
    """Return the options that both methods have and that are set, for the lineage."""
    return {name: value for name, value in asdict(settings).items() if value is not None}
