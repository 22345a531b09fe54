"""Simulated traffic: requests of a world with drafts of a model, for simulated feedback."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from backtalk.feedback import Interaction, Message, Response, content_id
from backtalk.feedback.interaction import Prompt
from backtalk.models.protocol import Model, Request, Sampling
from backtalk.run import Run

START_TIME = datetime(2026, 1, 5, 9, tzinfo=UTC)
"""Time of the first request; the others follow at intervals of seven minutes."""

_BATCH_SIZE = 64


async def simulate_interactions(
    model: Model,
    prompts: Sequence[Prompt],
    *,
    num_drafts: int,
    sampling: Sampling,
    run: Run,
    system: str | None = None,
    policy: str | None = None,
    name: str = "simulated",
) -> list[Interaction]:
    """Return interactions with several drafts each, shown in random order.

    Parameters
    ----------
    model : Model
        Model that drafts.
    prompts : sequence of Prompt
        Prompts of the interactions.
    num_drafts : int
        Number of drafts for each prompt.
    sampling : Sampling
        Sampling options.
    run : Run
        Run with the seed, for progress reports.
    system : str, optional
        System prompt for the model; not recorded in the interactions.
    policy : str, optional
        Id of the policy that drafts.
    name : str, default "simulated"
        Name of the simulation, which distinguishes the ids of its interactions.
    """
    drafts: list[list[str]] = []
    system_messages = () if system is None else (Message.system(system),)
    with run.task("drafting answers", len(prompts)) as progress:
        for start in range(0, len(prompts), _BATCH_SIZE):
            requests = [
                Request(
                    messages=(*system_messages, *prompt),
                    sampling=sampling,
                    sample_index=i,
                    seed=run.seed,
                )
                for prompt in prompts[start : start + _BATCH_SIZE]
                for i in range(num_drafts)
            ]
            texts = [completion.text for completion in await model.generate(requests)]
            drafts += [texts[i : i + num_drafts] for i in range(0, len(texts), num_drafts)]
            progress(len(drafts))
    rng = np.random.default_rng([run.seed, 2])
    ids = tuple(str(i) for i in range(num_drafts))
    return [
        Interaction(
            id=content_id("simulated", name, str(run.seed), str(number)),
            prompt=prompt,
            responses=tuple(
                Response(
                    id=id_, text=texts[i], model=model.name, sample=i, propensity=1 / num_drafts
                )
                for id_, i in zip(ids, rng.permutation(num_drafts).tolist(), strict=True)
            ),
            shown=ids,
            user=f"user-{number}",
            policy=policy,
            time=START_TIME + timedelta(minutes=7 * number),
        )
        for number, (prompt, texts) in enumerate(zip(prompts, drafts, strict=True))
    ]
