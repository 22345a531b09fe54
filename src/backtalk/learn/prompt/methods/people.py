"""Methods ``promst`` and ``control``: prompts by what people say of answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from backtalk.feedback.kinds import Instruction
from backtalk.learn.method import Paper
from backtalk.learn.prompt.criteria import find_criteria
from backtalk.learn.prompt.optimiser import Search, optimiser
from backtalk.learn.prompt.proposers.control import (
    ControllerName,
    ControlProposer,
    make_controller,
)
from backtalk.learn.prompt.proposers.promst import PromstProposer
from backtalk.learn.prompt.protocol import Proposer


@optimiser(
    "promst",
    paper=Paper(
        "PRompt Optimization in Multi-Step Tasks (PROMST)",
        "Chen et al.",
        2024,
        "https://arxiv.org/abs/2402.08702",
    ),
    formula="pool = revise(prompts, people's rules and critiques); race = argmax of predicted "
    "score + deviation over the pool",
    example="-o pool=24",
)
async def promst(
    search: Search,
    *,
    pool: Annotated[int, Field(ge=1)] = 24,
    batch_size: Annotated[int, Field(ge=1)] = 6,
) -> Sequence[Proposer]:
    """Revise prompts by people's rules and critiques, and filter them by a learned score model.

    Parameters
    ----------
    search : Search
        Context, signal and writer.
    pool : int, default 24
        Number of prompts of which the score model selects those that race.
    batch_size : int, default 6
        Number of answers whose feedback a revision reads.
    """
    rules = [
        item.text
        for case in search.context.feedback.every_case()
        for item in case.feedback
        if isinstance(item, Instruction)
    ]
    reviewed = search.signal.known.reviews
    return [PromstProposer(search.writer, rules, reviewed, pool=pool, batch_size=batch_size)]


@optimiser(
    "control",
    paper=Paper(
        "Linear feedback control systems for iterative prompt optimization in large language "
        "models",
        "Karn",
        2025,
        "https://arxiv.org/abs/2501.11979",
    ),
    formula="u_t = kp e_t + ki sum(e_0..e_t) + kd (e_t - e_{t-1}), for the error e of each "
    "criterion; criticisms with the largest u revise the prompt",
    example="-o controller=pid",
)
async def control(
    search: Search,
    *,
    controller: ControllerName = "pi",
    batch_size: Annotated[int, Field(ge=1)] = 8,
) -> Sequence[Proposer]:
    """Change the prompt by the criticisms that a P, PI or PID controller picks.

    Parameters
    ----------
    search : Search
        Context, signal and writer.
    controller : {"p", "pi", "pid"}, default "pi"
        Terms of the controller: the present error, its sum, its change.
    batch_size : int, default 8
        Number of answers by which the errors are measured.
    """
    criteria = await find_criteria(search.signal.known.reviews)
    return [
        ControlProposer(
            search.writer,
            criteria,
            controller=make_controller(controller),
            batch_size=batch_size,
        )
    ]
