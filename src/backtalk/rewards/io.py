"""Loading of rewards that are stored as artifacts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from backtalk.artifacts import Artifacts
from backtalk.registry import Registry
from backtalk.rewards.bradley_terry import KIND, BradleyTerryReward
from backtalk.rewards.protocol import Reward

REWARD_READERS: Registry[Callable[[Mapping[str, bytes]], Reward]] = Registry("kind of reward")
"""Functions that read a reward from the files of an artifact, by the ``kind`` in its
``reward.json``."""

REWARD_READERS.register(KIND, BradleyTerryReward.from_files)


def load_reward(id: str, artifacts: Artifacts) -> Reward:  # noqa: A002
    """Return the reward that is stored as an artifact.

    Raises
    ------
    NotFound
        If there is no such artifact.
    UnknownName
        If the kind of reward is unknown to this version; the message lists the known ones.
    """
    files = artifacts.read(id)
    kind = json.loads(files["reward.json"])["kind"]
    return REWARD_READERS.get(kind)(files)
