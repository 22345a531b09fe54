"""Online learning: sample, collect feedback, learn, repeat."""

from backtalk.learn.online.feedback_sources import (
    FeedbackSource,
    HumanFeedback,
    RewardJudge,
    WaitingForFeedback,
)
from backtalk.learn.online.loop import OnlineConfig, OnlineLearner, OnlineResult
from backtalk.learn.online.oracle_feedback import PairwiseOracle, make_feedback_source

__all__ = [
    "FeedbackSource",
    "HumanFeedback",
    "OnlineConfig",
    "OnlineLearner",
    "OnlineResult",
    "PairwiseOracle",
    "RewardJudge",
    "WaitingForFeedback",
    "make_feedback_source",
]
