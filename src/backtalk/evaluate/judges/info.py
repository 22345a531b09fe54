"""Description of a judge, as evaluations record it."""

from __future__ import annotations

from typing import Literal

from backtalk.feedback.record import Name, OptionalField, Record
from backtalk.feedback.snapshot import Snapshot
from backtalk.rewards import Reward

JudgeKind = Literal["recorded", "reward", "llm", "people", "live", "other"]
"""Kind of a judge; ``"other"`` is a registered reward or an object of the caller's."""


class JudgeInfo(Record):
    """Description of a judge: its kind, and the feedback that it was fitted on."""

    name: Name
    """Name in reports."""
    kind: JudgeKind = "other"
    artifact: OptionalField[Name] = None
    """Artifact id of a learned reward."""
    model: OptionalField[Name] = None
    """Name of the model that judges."""
    fitted_on: OptionalField[Snapshot] = None
    """Feedback that a learned reward was fitted on."""


def describe_judge(judge: Reward) -> JudgeInfo:
    """Return the description of a judge: its attribute ``info``, or one of kind ``"other"``."""
    info = getattr(judge, "info", None)
    return info if isinstance(info, JudgeInfo) else JudgeInfo(name=judge.name)
