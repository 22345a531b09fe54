"""Method ``auto-evolve``: reasoning modules that a model makes for the task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from backtalk.learn.method import Paper
from backtalk.learn.prompt.optimiser import Search, optimiser
from backtalk.learn.prompt.proposers.auto_evolve import AutoEvolveProposer
from backtalk.learn.prompt.protocol import Proposer


@optimiser(
    "auto-evolve",
    paper=Paper(
        "Auto-Evolve: Enhancing large language model's performance via self-reasoning framework",
        "Aswani et al.",
        2024,
        "https://arxiv.org/abs/2410.06328",
    ),
    formula="modules = model(requests); plan = model(modules); plan_{t+1} = refine(plan_t, "
    "critiques of its answers)",
    example="-o refine=false",
)
async def auto_evolve(
    search: Search,
    *,
    modules: Annotated[int, Field(ge=1)] = 5,
    plans: Annotated[int, Field(ge=1)] = 2,
    refine: bool = True,
    batch_size: Annotated[int, Field(ge=1)] = 6,
) -> Sequence[Proposer]:
    """Make reasoning modules for the task, turn them into a plan, and refine it step by step.

    No list of modules is given: the model makes them from the requests and good answers.

    Parameters
    ----------
    search : Search
        Context, signal and writer.
    modules : int, default 5
        Maximum number of modules of an instruction model.
    plans : int, default 2
        Number of plans at the start.
    refine : bool, default True
        If false, the plans are not refined.
    batch_size : int, default 6
        Number of answers that a refinement reads.
    """
    known = search.signal.known
    return [
        AutoEvolveProposer(
            search.writer,
            known.good_answers,
            known.reviews,
            modules=modules,
            plans=plans,
            refine=refine,
            batch_size=batch_size,
        )
    ]
