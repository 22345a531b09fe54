"""Judges by name, for the command line and configuration files."""

from __future__ import annotations

from backtalk.errors import UnknownName
from backtalk.feedback.base import OVERALL
from backtalk.rewards import Reward, load_reward
from backtalk.rewards.recorded_feedback import RecordedReward
from backtalk.rewards.registry import get_reward, reward_names
from backtalk.store import Store

RECORDED = "recorded"
"""Name of the judge that looks up recorded feedback."""
REWARD = "reward"
"""Prefix of the names of learned reward models."""


def judge_names() -> list[str]:
    """Return the names of all judges, for error messages and help texts."""
    return [RECORDED, f"{REWARD}:ARTIFACT", *reward_names()]


def get_judge(name: str, store: Store) -> Reward:
    """Return a judge by its name.

    Parameters
    ----------
    name : str
        ``"recorded"`` for the recorded feedback on the same answers, ``"recorded:ASPECT"`` for that
        on one aspect, such as ``"recorded:safety"``; ``"reward:ID"`` for a learned
        reward model, by the id of its artifact; otherwise the name of a registered reward, with an
        optional argument after a colon: ``"true-utility:safe"``.
    store : Store
        Store of the feedback and the artifacts.

    Raises
    ------
    UnknownName
        If no judge has that name; the message lists the known names.
    NotFound
        If the artifact does not exist.
    """
    kind, colon, argument = name.partition(":")
    if kind == RECORDED and bool(colon) == bool(argument):
        return RecordedReward.from_cases(store.cases(), aspect=argument or OVERALL)
    if kind == REWARD and argument:
        return load_reward(argument, store.artifacts)
    if kind not in reward_names():
        raise UnknownName.among("judge", name, judge_names())
    return get_reward(kind, *([argument] if colon else []))
