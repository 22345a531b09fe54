"""Simulated traffic: requests of a world, and drafts of a model for people to react to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from backtalk.feedback import Interaction, Message, Response, content_id
from backtalk.models.protocol import Model, Request, Sampling
from backtalk.run import Run

Chat = tuple[Message, ...]

BEGIN = datetime(2026, 1, 5, 9, tzinfo=UTC)
"""When the first request comes; one every seven minutes follows."""

_AT_ONCE = 64


async def drafted(
    model: Model,
    prompts: Sequence[Chat],
    *,
    drafts: int,
    sampling: Sampling,
    run: Run,
    system: str | None = None,
    policy: str | None = None,
    name: str = "simulated",
) -> list[Interaction]:
    """Return interactions, each with several drafts that were shown in an order drawn at random.

    Parameters
    ----------
    model : Model
        What drafts.
    prompts : sequence of Chat
        What is asked.
    drafts : int
        How many there are for each.
    sampling : Sampling
        How they are drawn.
    run : Run
        Gives the seed, and is told how far the work is.
    system : str, optional
        What the model is told before each prompt; not part of the interactions' prompts.
    policy : str, optional
        The id of the policy that drafts.
    name : str, default "simulated"
        Makes the interactions' ids different from those of other simulations.
    """
    texts: list[list[str]] = []
    told = () if system is None else (Message.system(system),)
    with run.task("drafting answers", len(prompts)) as step:
        for start in range(0, len(prompts), _AT_ONCE):
            asked = prompts[start : start + _AT_ONCE]
            requests = [
                Request(messages=(*told, *prompt), sampling=sampling, sample_index=i, seed=run.seed)
                for prompt in asked
                for i in range(drafts)
            ]
            said = [completion.text for completion in await model.generate(requests)]
            texts += [said[i : i + drafts] for i in range(0, len(said), drafts)]
            step(len(texts))
    rng = np.random.default_rng([run.seed, 2])
    ids = tuple(str(i) for i in range(drafts))
    return [
        Interaction(
            id=content_id("simulated", name, str(run.seed), str(number)),
            prompt=prompt,
            responses=tuple(
                Response(id=id_, text=row[i], model=model.name, sample=i, propensity=1 / drafts)
                for id_, i in zip(ids, rng.permutation(drafts).tolist(), strict=True)
            ),
            shown=ids,
            user=f"user-{number}",
            policy=policy,
            time=BEGIN + timedelta(minutes=7 * number),
        )
        for number, (prompt, row) in enumerate(zip(prompts, texts, strict=True))
    ]
