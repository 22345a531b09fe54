"""Description of a judge, as evaluations record it."""

from __future__ import annotations

from backtalk.rewards.judge_info import JudgeInfo, JudgeKind, describe_judge

__all__ = ["JudgeInfo", "JudgeKind", "describe_judge", "judge_from_name"]


def judge_from_name(name: str) -> JudgeInfo:
    """Return the description of a judge of which an evaluation records only the name.

    Evaluations of earlier versions do so.

    >>> judge_from_name("recorded feedback").kind, judge_from_name("traffic:label").kind
    ('recorded', 'live')
    >>> judge_from_name("Bradley-Terry on 16 pairs").kind
    'reward'
    """
    if name == "recorded feedback":
        return JudgeInfo(name=name, kind="recorded")
    if name.startswith("Bradley-Terry on "):
        return JudgeInfo(name=name, kind="reward")
    if name.startswith("traffic:"):
        return JudgeInfo(name=name, kind="live")
    return JudgeInfo(name=name)
