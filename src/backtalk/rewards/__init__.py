"""What scores: reward models learned from feedback."""

from __future__ import annotations

import json

from backtalk.artifacts import Artifacts
from backtalk.errors import UnknownName
from backtalk.rewards.bradley_terry import BradleyTerryReward, Learned, learn_reward
from backtalk.rewards.preference_oracle import ByReward, Compared, PreferenceOracle
from backtalk.rewards.protocol import Answer, Reward, Scores
from backtalk.rewards.recorded import RecordedReward
from backtalk.rewards.registry import named_reward, register_reward

KINDS = {"bradley-terry": BradleyTerryReward}
"""The rewards that can be kept as an artifact, by the ``kind`` in their ``reward.json``."""


def load_reward(id: str, artifacts: Artifacts) -> Reward:  # noqa: A002
    """Return the reward that was kept as an artifact.

    Raises
    ------
    NotFound
        If there is no such artifact.
    UnknownName
        If it holds a kind of reward that this version does not know.
    """
    files = artifacts.read(id)
    kind = json.loads(files["reward.json"])["kind"]
    if kind not in KINDS:
        raise UnknownName.among("kind of reward", kind, list(KINDS))
    return KINDS[kind].from_files(files)


__all__ = [
    "Answer",
    "BradleyTerryReward",
    "ByReward",
    "Compared",
    "Learned",
    "PreferenceOracle",
    "RecordedReward",
    "Reward",
    "Scores",
    "learn_reward",
    "load_reward",
    "named_reward",
    "register_reward",
]
