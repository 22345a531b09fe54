"""Method ``apohf``: the best prompt from preferences alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from backtalk.learn.method import Paper
from backtalk.learn.prompt.optimiser import Search, optimiser
from backtalk.learn.prompt.proposers.apohf import DuelingProposer
from backtalk.learn.prompt.protocol import Proposer


@optimiser(
    "apohf",
    paper=Paper(
        "Prompt optimization with human feedback",
        "Lin et al.",
        2024,
        "https://arxiv.org/abs/2405.17346",
    ),
    formula="x1 = argmax h(x); x2 = argmax h(x) + nu ||g(x) - g(x1)||_{V^-1}; h minimises "
    "-sum log sigmoid(h(x_won) - h(x_lost))",
    example="-o comparisons=60",
)
async def apohf(
    search: Search,
    *,
    domain: Annotated[int, Field(ge=2)] = 40,
    comparisons: Annotated[int, Field(ge=1)] = 60,
    shown: Annotated[int, Field(ge=1)] = 4,
    exploration: Annotated[float, Field(ge=0)] = 1.0,
) -> Sequence[Proposer]:
    """Find the best prompt by comparing answers in pairs, chosen by a neural dueling bandit.

    Each comparison tells which of two prompts answers better, by what people's feedback teaches,
    never by how much. A network over vectors of the prompts learns from all comparisons at once.

    Parameters
    ----------
    search : Search
        Context, signal and writer.
    domain : int, default 40
        Number of prompts to choose from.
    comparisons : int, default 60
        Number of comparisons in a round.
    shown : int, default 4
        Number of requests whose answers one comparison shows.
    exploration : float, default 1.0
        Factor on the uncertainty of the network.
    """
    return [
        DuelingProposer(
            search.writer,
            search.signal.known.good_answers,
            domain=domain,
            comparisons=comparisons,
            shown=shown,
            exploration=exploration,
        )
    ]
