"""Learning in decoding: a reward from pairs, and the best of n samples by it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from backtalk.decode import BestOfN
from backtalk.embedders.named import EmbedderName, named_embedder
from backtalk.feedback.record import now
from backtalk.feedback.views import Pair
from backtalk.learn.method import Paper, method
from backtalk.learn.training_set import TrainingSet
from backtalk.policy import Lineage, Policy
from backtalk.rewards import learn_reward
from backtalk.run import Run

PAPER = Paper(
    "Learning to summarize from human feedback",
    "Stiennon et al.",
    2020,
    "https://arxiv.org/abs/2009.01325",
)


@method("best-of-n", place="decoding", needs=[Pair], paper=PAPER)
async def best_of_n(
    policy: Policy,
    feedback: TrainingSet,
    run: Run,
    *,
    n: Annotated[int, Field(ge=2)] = 8,
    embedder: EmbedderName = "hashed",
    pessimism: Annotated[float, Field(ge=0)] = 0.0,
    across: Literal["interaction", "prompt"] = "interaction",
) -> Policy:
    """Learn a Bradley-Terry reward from pairs, and answer with the best of n samples by it.

    Parameters
    ----------
    policy : Policy
        What samples; its model, system prompt and sampling stay.
    feedback : TrainingSet
        Any kind that can be seen as pairs.
    run : Run
        Gives the seed and the budget.
    n : int, default 8
        How many samples are drawn for an answer.
    embedder : EmbedderName, default "hashed"
        What the reward reads answers with: hashed TF-IDF, which needs nothing, or a sentence
        embedding model, which needs ``backtalk[embed]``.
    pessimism : float, default 0.0
        How many standard deviations are taken off a score before the best is chosen.
    across : {"interaction", "prompt"}, default "interaction"
        ``"prompt"`` also compares responses of different interactions with the same prompt.
    """
    with run.task("reading feedback") as step:
        pairs = feedback.views(Pair, across=across, progress=step)
    with run.task("learning a reward"):
        learned = await learn_reward(pairs, named_embedder(embedder, pairs), seed=run.seed)
    reward = feedback.store.artifacts.put(learned.reward.to_files())
    options: dict[str, JsonValue] = {
        "n": n,
        "embedder": embedder,
        "pessimism": pessimism,
        "across": across,
    }
    return policy.derive(
        decoder=BestOfN(n=n, reward=reward, pessimism=pessimism, sampling=policy.decoder.sampling),
        lineage=Lineage(
            method="best-of-n",
            parent=policy.id,
            options=options,
            seed=run.seed,
            snapshot=feedback.snapshot,
            time=now(),
            notes={"pairs": len(pairs), "temperature": learned.reward.temperature},
        ),
    )
