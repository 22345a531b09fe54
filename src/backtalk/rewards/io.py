"""Loading of rewards that are stored as artifacts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from backtalk.artifacts import Artifacts
from backtalk.registry import Registry
from backtalk.rewards.artifact import REWARD_FILE, describe_files, read_fields
from backtalk.rewards.bradley_terry import KIND, BradleyTerryReward
from backtalk.rewards.judge_info import JudgeInfo
from backtalk.rewards.protocol import Reward

REWARD_READERS: Registry[Callable[[Mapping[str, bytes]], Reward]] = Registry("kind of reward")
"""Functions that read a reward from the files of an artifact, by the ``kind`` in its
``reward.json``."""

REWARD_READERS.register(KIND, BradleyTerryReward.from_files)


def load_reward(id: str, artifacts: Artifacts) -> Reward:  # noqa: A002
    """Return the reward that is stored as an artifact.

    Its attribute ``info`` is the :class:`~backtalk.rewards.judge_info.JudgeInfo` of the artifact,
    unless the kind of reward describes itself.

    Raises
    ------
    NotFound
        If there is no such artifact.
    UnknownName
        If the kind of reward is unknown to this version; the message lists the known ones.
    """
    files = artifacts.read(id)
    reward = REWARD_READERS.get(read_fields(files)["kind"])(files)
    if not isinstance(getattr(reward, "info", None), JudgeInfo):
        with suppress(AttributeError, TypeError):
            object.__setattr__(reward, "info", describe_files(id, files))
    return reward


def reward_info(id: str, artifacts: Artifacts) -> JudgeInfo:  # noqa: A002
    """Return the description of a stored reward.

    Raises
    ------
    NotFound
        If there is no such artifact, or it is not a reward.
    """
    artifacts.path(id)
    return _cached_info(id, artifacts.root)


@lru_cache(maxsize=256)
def _cached_info(id_: str, root: Path) -> JudgeInfo:
    return describe_files(id_, Artifacts(root).read(id_))


def reward_ids(artifacts: Artifacts) -> list[str]:
    """Return the ids of all stored rewards, sorted."""
    return [id_ for id_ in artifacts.ids() if (artifacts.path(id_) / REWARD_FILE).is_file()]
