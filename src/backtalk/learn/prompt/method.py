"""Method ``prompt``: a better prompt from any feedback, without a metric function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, JsonValue

from backtalk.embedders.registry import EmbedderName
from backtalk.feedback.views import CritiqueView, LabelView, Pair, ScoreView, SFTExample
from backtalk.learn.context import MethodContext
from backtalk.learn.method import Paper, method
from backtalk.learn.prompt.from_feedback.proposers import (
    DemonstrationProposer,
    LineProposer,
    ReflectionProposer,
)
from backtalk.learn.prompt.learning import (
    ENOUGH_PROMPTS,
    JUDGEMENTS,
    MAX_CONFIRMATION,
    MAX_EXAMPLES,
    learn_prompt,
)
from backtalk.learn.prompt.protocol import Proposer
from backtalk.learn.prompt.refinements import only_answers
from backtalk.learn.prompt.search import SearchSettings
from backtalk.learn.prompt.signals import FeedbackSignal
from backtalk.learn.prompt.writer import make_writer
from backtalk.learn.training_set import TrainingSet
from backtalk.policy import Policy
from backtalk.run import Run

PAPER = Paper(
    "Estimating means of bounded random variables by betting",
    "Waudby-Smith and Ramdas",
    2024,
    "https://arxiv.org/abs/2010.09686",
)


@method(
    "prompt",
    target="prompt",
    needs=[Pair],
    alternatives=[ScoreView, LabelView, SFTExample, CritiqueView],
    requires=[ENOUGH_PROMPTS, JUDGEMENTS],
    paper=PAPER,
    formula="accept if mean over f of prod(1 + f (s_candidate - s_incumbent)) >= candidates / "
    "(1 - level); then confirm on new prompts",
    example="-o candidates=20",
)
async def prompt(
    policy: Policy,
    feedback: TrainingSet,
    run: Run,
    *,
    candidates: Annotated[int, Field(ge=1)] = 20,
    examples: Annotated[int, Field(ge=4)] = MAX_EXAMPLES,
    confirmation: Annotated[int, Field(ge=4)] = MAX_CONFIRMATION,
    repeats: Annotated[int, Field(ge=1)] = 1,
    level: Annotated[float, Field(gt=0.5, lt=1)] = 0.95,
    judge: str | None = None,
    only_judge: bool = False,
    writer: str | None = None,
    rewrite: bool = True,
    pareto: bool = False,
    embedder: EmbedderName = "hashed",
) -> Policy:
    """Learn a prompt: instruction, rules and demonstrations, from feedback of any kind.

    Candidates come from the feedback: standing rules and repeated critiques as lines, rules that a
    model finds in good answers, removals of lines of the prompt, demonstrations, and rewritten
    instructions. Answers are judged by what the feedback teaches; no metric function is needed.
    Half of the prompts confirm the winner. Without an improvement that they show, the method ends
    with an error and the policy stays as it is.

    Parameters
    ----------
    policy : Policy
        Policy to improve; any model that answers will do.
    feedback : TrainingSet
        Feedback of any kind.
    run : Run
        Seed, budget and cache.
    candidates : int, default 20
        Maximum number of prompts that are tried.
    examples : int, default 64
        Maximum number of stored prompts that the search answers.
    confirmation : int, default 100
        Maximum number of other stored prompts that confirm the winner.
    repeats : int, default 1
        Number of answers to each prompt of the confirmation.
    level : float, default 0.95
        Probability that no improvement is reported if there is none, over the whole search.
    judge : str, optional
        Judge of answers beside the feedback, such as ``llm:MODEL`` or ``reward:NAME``.
    only_judge : bool, default False
        If true, the judge alone scores answers; candidates still come from the feedback.
    writer : str, optional
        Policy whose model writes prompts; the policy itself by default.
    rewrite : bool, default True
        If false, no model writes: candidates come from the words of people alone.
    pareto : bool, default False
        If true, rewrite prompts that are best on some example, not only the best on average.
    embedder : {"hashed", "sentence"}, default "hashed"
        Embedder of the learned reward.

    Raises
    ------
    NoImprovement
        If no candidate is shown to be better.
    BacktalkError
        If there are too few prompts, or nothing tells better answers from worse.
    """

    async def make_proposers(context: MethodContext, signal: FeedbackSignal) -> Sequence[Proposer]:
        known = signal.known
        answers = known.good_answers
        model = None
        if rewrite and (writer is not None or not only_answers(policy)):
            model = make_writer(context, writer)
        proposers: list[Proposer] = [LineProposer(known.reviews, answers, model)]
        if answers:
            proposers.append(DemonstrationProposer(answers, embedder=embedder))
        if model is not None:
            proposers.append(ReflectionProposer(model))
        return proposers

    options: dict[str, JsonValue] = {
        "candidates": candidates,
        "examples": examples,
        "confirmation": confirmation,
        "repeats": repeats,
        "level": level,
        "rewrite": rewrite,
        "pareto": pareto,
        "embedder": embedder,
        **({} if judge is None else {"judge": judge, "only_judge": only_judge}),
        **({} if writer is None else {"writer": writer}),
    }
    return await learn_prompt(
        policy,
        feedback,
        run,
        make_proposers,
        method="prompt",
        options=options,
        judge=judge,
        only_judge=only_judge,
        embedder=embedder,
        settings=SearchSettings(candidates=candidates, level=level, repeats=repeats, pareto=pareto),
        examples=examples,
        confirmation=confirmation,
    )
