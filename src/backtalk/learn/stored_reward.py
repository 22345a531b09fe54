"""Learning of a reward from the feedback of a store, and its storage as an artifact."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from backtalk.embedders.registry import EmbedderName
from backtalk.errors import BacktalkError
from backtalk.feedback.base import OVERALL
from backtalk.learn.reward_feedback import fit_reward, reward_feedback
from backtalk.learn.training_set import Across, TrainingSet
from backtalk.models.run_sync import run_sync
from backtalk.rewards.rewards_by_name import HELD_OUT, REWARD_MAKERS, find_title
from backtalk.run import Run

if TYPE_CHECKING:
    from backtalk.rewards import Reward, RewardFit
    from backtalk.store import Store


async def learn_stored_reward(
    feedback: TrainingSet,
    run: Run,
    *,
    embedder: EmbedderName = "hashed",
    across: Across = "prompt",
    title: str | None = None,
) -> tuple[str, RewardFit]:
    """Learn a reward, store it, and return its artifact id and the fit.

    Parameters
    ----------
    feedback : TrainingSet
        Feedback on pairs or on single responses.
    run : Run
        Seed and progress reports.
    embedder : {"hashed", "sentence"}, default "hashed"
        Embedder of prompts and responses.
    across : {"prompt", "interaction"}, default "prompt"
        Responses that are compared.
    title : str, optional
        Name by which the reward is found.

    Raises
    ------
    BacktalkError
        If there is no pair with a winner, and no good and bad single response.
    """
    with run.task("reading feedback") as step:
        data = reward_feedback(feedback, across=across, progress=step)
    require_reward_feedback(feedback, enough=data.is_enough)
    with run.task("learning a reward"):
        fit = await fit_reward(data, feedback, embedder, seed=run.seed, title=title)
    return feedback.store.artifacts.put(fit.reward.to_files()), fit


def require_reward_feedback(feedback: TrainingSet, *, enough: bool) -> None:
    """Raise ``BacktalkError`` if feedback is not enough for a reward.

    Parameters
    ----------
    feedback : TrainingSet
        Feedback, for the message.
    enough : bool
        False if there is neither a pair with a winner nor a good and a bad single response.
    """
    if enough:
        return
    left_out, mend = feedback.explain_left_out()
    if feedback.split == HELD_OUT:
        mend = mend or "Take another judge, such as `--judge people` or `--judge llm:MODEL`"
    raise BacktalkError(
        f"No reward can be learned from the {feedback.split} feedback of {feedback.store.project}: "
        "it has no pair of answers with a winner, and not both good and bad single answers"
        + (f"; left out: {left_out}" if left_out else ""),
        mend or "`backtalk methods` counts the feedback that there is",
    )


def check_title(title: str) -> None:
    """Check the name for a reward.

    Raises
    ------
    BacktalkError
        If it has other characters than letters, digits, ``.``, ``-`` and ``_``, or is reserved.
    """
    if not re.fullmatch(r"[\w.-]+", title):
        raise BacktalkError(
            f"The name {title!r} has other characters than letters, digits, '.', '-' and '_'",
            "Choose another name",
        )
    if title == HELD_OUT:
        raise BacktalkError(
            f"The name {HELD_OUT} is reserved for the reward of the held-out feedback",
            f"Use it without learning it: --judge reward:{HELD_OUT}, or choose another name",
        )


def held_out_reward(store: Store, aspect: str) -> Reward:
    """Return the reward that is fitted on the feedback on held-out prompts; learn it if needed.

    Parameters
    ----------
    store : Store
        Store of the feedback.
    aspect : str
        Aspect of the judgements; empty for the overall ones.
    """
    from backtalk.rewards import load_reward  # noqa: PLC0415 - slow to import

    feedback = TrainingSet(store, split=HELD_OUT, aspect=aspect or OVERALL)
    title = f"{HELD_OUT}:{aspect}" if aspect else HELD_OUT
    for id_, info in find_title(title, store):
        if info.fitted_on == feedback.snapshot.of_feedback_only():
            return load_reward(id_, store.artifacts)
    id_, _ = run_sync(learn_stored_reward(feedback, Run(seed=0), title=title))
    return load_reward(id_, store.artifacts)


REWARD_MAKERS.register(HELD_OUT, held_out_reward)
