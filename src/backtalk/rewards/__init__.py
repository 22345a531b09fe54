"""Rewards: scores of responses, learned from feedback or recorded."""

from backtalk.rewards.bradley_terry import BradleyTerryReward, RewardFit, learn_reward
from backtalk.rewards.io import load_reward
from backtalk.rewards.preference_oracle import PreferenceOracle, ResponsePair, RewardOracle
from backtalk.rewards.protocol import PromptResponse, Reward, Scores
from backtalk.rewards.recorded_feedback import RecordedReward
from backtalk.rewards.registry import get_reward, register_reward

__all__ = [
    "BradleyTerryReward",
    "PreferenceOracle",
    "PromptResponse",
    "RecordedReward",
    "ResponsePair",
    "Reward",
    "RewardFit",
    "RewardOracle",
    "Scores",
    "get_reward",
    "learn_reward",
    "load_reward",
    "register_reward",
]
