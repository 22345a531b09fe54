"""Methods ``ape`` and ``opro``: instructions from demonstrations, and from their own history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from backtalk.learn.method import Paper
from backtalk.learn.prompt.optimiser import Search, optimiser
from backtalk.learn.prompt.proposers.ape import ApeProposer, ScoreFunction
from backtalk.learn.prompt.proposers.opro import HistoryProposer
from backtalk.learn.prompt.protocol import Proposer


@optimiser(
    "ape",
    paper=Paper(
        "Large language models are human-level prompt engineers",
        "Zhou et al.",
        2023,
        "https://arxiv.org/abs/2211.01910",
    ),
    formula="prompt = argmax over rho ~ P(rho | demonstrations) of mean f(rho, x, y); then "
    "rho' ~ P(rho' | rho stays in meaning) for the best",
    example="-o pool=24",
)
async def ape(
    search: Search,
    *,
    pool: Annotated[int, Field(ge=2)] = 24,
    round_examples: Annotated[int, Field(ge=1)] = 8,
    score: ScoreFunction = "accuracy",
) -> Sequence[Proposer]:
    """Infer instructions from demonstrations, filter them by score, and vary the best.

    Demonstrations are people's edits, their own answers, and the answers that they prefer.

    Parameters
    ----------
    search : Search
        Context, signal and writer.
    pool : int, default 24
        Number of instructions that are inferred, each from other demonstrations.
    round_examples : int, default 8
        Number of examples of a round of scores, after which the worse half is dropped.
    score : {"accuracy", "log-probability"}, default "accuracy"
        Score of the filter: the judgement of the answers, or the log-probability of the
        demonstrations, for local models.
    """
    return [
        ApeProposer(
            search.writer,
            search.signal.known.good_answers,
            pool=pool,
            examples=round_examples,
            score=score,
        )
    ]


@optimiser(
    "opro",
    paper=Paper(
        "The importance of directional feedback for LLM-based optimizers",
        "Nie et al.",
        2024,
        "https://arxiv.org/abs/2405.16434",
    ),
    formula="d = direction(prompts and scores); prompt_{t+1} ~ P(prompt | best prompts with "
    "scores, d)",
    example="-o directional=false",
)
async def opro(
    search: Search,
    *,
    history: Annotated[int, Field(ge=2)] = 20,
    directional: bool = True,
) -> Sequence[Proposer]:
    """Continue the history of prompts and scores, in the direction in which scores rise.

    Parameters
    ----------
    search : Search
        Context, signal and writer.
    history : int, default 20
        Number of the best prompts so far that the writer sees with their scores.
    directional : bool, default True
        If true, the direction is put into words first; otherwise only the history is shown, as in
        Yang et al. (2024), "Large language models as optimizers".
    """
    return [
        HistoryProposer(
            search.writer,
            search.signal.known.good_answers,
            length=history,
            directional=directional,
        )
    ]
