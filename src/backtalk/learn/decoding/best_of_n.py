"""Best-of-n decoding with a reward that is learned from pairs and single judgements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, JsonValue

from backtalk.decode import BestOfN
from backtalk.embedders.registry import EmbedderName
from backtalk.errors import BacktalkError
from backtalk.feedback.record import now
from backtalk.feedback.views import LabelView, Pair, ScoreView
from backtalk.learn.method import Paper, method
from backtalk.learn.requirements import SAMPLES
from backtalk.learn.reward_feedback import BETTER_AND_WORSE, fit_reward, reward_feedback
from backtalk.learn.training_set import Across, TrainingSet
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
    alternatives=[ScoreView, LabelView],
    requires=[BETTER_AND_WORSE, SAMPLES],
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
    across: Across = "prompt",
) -> Policy:
    """Learn a reward from feedback, and answer with the best of n samples by it.

    Pairs of responses and judgements of single ones, such as thumbs, are learned from together:
    their likelihoods add up. Thumbs alone make a logistic regression.

    Parameters
    ----------
    policy : Policy
        Policy that samples; its model, system prompt and sampling parameters stay the same.
    feedback : TrainingSet
        Feedback of any kind that compares or scores responses.
    run : Run
        Seed, budget and cache.
    n : int, default 8
        Number of samples drawn for each answer.
    embedder : {"hashed", "sentence"}, default "hashed"
        Embedder of the reward: hashed TF-IDF, or a sentence embedding model, which needs
        ``backtalk[embed]``.
    pessimism : float, default 0.0
        Number of standard deviations subtracted from each score.
    across : {"prompt", "interaction"}, default "prompt"
        Responses that are compared: those of one interaction only, or also those that were judged
        in different interactions with the same prompt.

    Raises
    ------
    BacktalkError
        If no pair has a winner, and single answers are not judged both good and bad.
    """
    with run.task("reading feedback") as step:
        data = reward_feedback(feedback, across=across, progress=step)
    if not data.points:
        require_winner(data.pairs, feedback)
    with run.task("learning a reward"):
        learned = await fit_reward(data, feedback, embedder, seed=run.seed)
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
                "pairs": len(data.pairs),
                **({"single judgements": len(data.points)} if data.points else {}),
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
    if reward.concordance is not None:
        notes["cross-validated AUC of single judgements"] = round(reward.concordance, 3)
    if reward.remark is not None:
        notes["remark"] = reward.remark
    return notes


def require_winner(pairs: Sequence[Pair], feedback: TrainingSet) -> None:
    """Raise ``BacktalkError`` if no pair has a winner because feedback was left out."""
    left_out, mend = feedback.explain_left_out()
    if left_out and all(pair.tie for pair in pairs):
        raise BacktalkError(f"There is no pair with a winner; left out: {left_out}", mend)
