"""Best-of-n decoding with a Bradley-Terry reward that is learned from pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, JsonValue

from backtalk.decode import BestOfN
from backtalk.embedders.registry import EmbedderName, embedder_for_pairs
from backtalk.errors import BacktalkError
from backtalk.feedback.record import now
from backtalk.feedback.views import Pair
from backtalk.learn.method import Paper, method
from backtalk.learn.training_set import TrainingSet
from backtalk.policy import Lineage, Policy
from backtalk.run import Run

if TYPE_CHECKING:
    from backtalk.rewards import BradleyTerryReward

PAPER = Paper(
    "Learning to summarize from human feedback",
    "Stiennon et al.",
    2020,
    "https://arxiv.org/abs/2009.01325",
)


@method(
    "best-of-n",
    target="decoding",
    needs=[Pair],
    paper=PAPER,
    formula="answer = argmax over y_1..y_n ~ policy of mean r(x, y) - pessimism * std r(x, y)",
    example="-o n=16",
)
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
        Policy that samples; its model, system prompt and sampling parameters stay the same.
    feedback : TrainingSet
        Feedback of any kind that converts to pairs.
    run : Run
        Seed, budget and cache.
    n : int, default 8
        Number of samples drawn for each answer.
    embedder : {"hashed", "sentence"}, default "hashed"
        Embedder of the reward: hashed TF-IDF, or a sentence embedding model, which needs
        ``backtalk[embed]``.
    pessimism : float, default 0.0
        Number of standard deviations subtracted from each score.
    across : {"interaction", "prompt"}, default "interaction"
        Responses that are compared: ``"prompt"`` also compares responses of different interactions
        with the same prompt.

    Raises
    ------
    BacktalkError
        If no pair has a winner.
    """
    from backtalk.rewards import learn_reward  # noqa: PLC0415 - slow to import

    with run.task("reading feedback") as step:
        pairs = feedback.views(Pair, across=across, progress=step)
    require_winner(pairs, feedback)
    with run.task("learning a reward"):
        learned = await learn_reward(
            pairs,
            embedder_for_pairs(embedder, pairs),
            seed=run.seed,
            fitted_on=feedback.snapshot,
        )
    reward = feedback.store.artifacts.put(learned.reward.to_files())
    options: dict[str, JsonValue] = {
        "n": n,
        "embedder": embedder,
        "pessimism": pessimism,
        "across": across,
    }
    return policy.derive(
        decoder=BestOfN(
            n=n, reward=reward, pessimism=pessimism, sampling=policy.decoder.base_sampling
        ),
        lineage=Lineage(
            method="best-of-n",
            parent=policy.id,
            options=options,
            seed=run.seed,
            snapshot=feedback.snapshot,
            rewards=(learned.reward.info.model_copy(update={"artifact": reward}),),
            time=now(),
            notes={
                "pairs": len(pairs),
                **{f"left out: {reason}": count for reason, count in feedback.left_out.items()},
                **fit_notes(learned.reward),
            },
        ),
    )


def fit_notes(reward: BradleyTerryReward) -> dict[str, JsonValue]:
    """Return the notes of a lineage on the fit of a reward."""
    notes: dict[str, JsonValue] = {"calibration slope": round(reward.calibration_slope, 3)}
    if reward.decided:
        notes["cross-validated accuracy"] = round(reward.correct / reward.decided, 3)
    if reward.remark is not None:
        notes["remark"] = reward.remark
    return notes


def require_winner(pairs: Sequence[Pair], feedback: TrainingSet) -> None:
    """Raise ``BacktalkError`` if no pair has a winner because feedback was left out."""
    left_out, mend = feedback.explain_left_out()
    if left_out and all(pair.tie for pair in pairs):
        raise BacktalkError(f"There is no pair with a winner; left out: {left_out}", mend)
