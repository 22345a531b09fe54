"""Judges by name, as the command line and configuration files give them."""

from __future__ import annotations

from backtalk.errors import UnknownName
from backtalk.rewards import Reward, load_reward
from backtalk.rewards.recorded import RecordedReward
from backtalk.rewards.registry import named_reward, reward_names
from backtalk.store import Store

RECORDED = "recorded"
REWARD = "reward"


def judge_names() -> list[str]:
    """Return how judges can be named."""
    return [RECORDED, f"{REWARD}:ARTIFACT", *reward_names()]


def get_judge(name: str, store: Store) -> Reward:
    """Return a judge by its name.

    Parameters
    ----------
    name : str
        ``"recorded"`` for what the feedback in the store says about the very answers;
        ``"reward:ID"`` for a reward model that was learned, by its artifact's id; else a registered
        reward, with an argument after a colon: ``"true-utility:safe"``.
    store : Store
        Where feedback and artifacts are kept.

    Raises
    ------
    UnknownName
        If there is none of that name; it lists those there are.
    NotFound
        If the artifact is missing.
    """
    kind, colon, argument = name.partition(":")
    if name == RECORDED:
        return RecordedReward.of(store.cases())
    if kind == REWARD and argument:
        return load_reward(argument, store.artifacts)
    if kind not in reward_names():
        raise UnknownName.among("judge", name, judge_names())
    return named_reward(kind, *([argument] if colon else []))
