"""Description of a judge: its kind, and the feedback that it was fitted on."""

from __future__ import annotations

from typing import Literal

from backtalk.feedback.record import Name, OptionalField, Record
from backtalk.feedback.snapshot import Snapshot
from backtalk.stats.estimate import Estimate

JudgeKind = Literal["recorded", "reward", "llm", "people", "live", "oracle", "other"]
"""Kind of a judge. An ``"oracle"`` is the truth itself: a sandbox world's utility, or a program
that checks. ``"other"`` is any other registered reward or object of the caller's."""


class JudgeInfo(Record):
    """Description of a judge, as evaluations and lineages record it."""

    name: Name
    """Name in reports."""
    kind: JudgeKind = "other"
    artifact: OptionalField[Name] = None
    """Artifact id of a learned reward."""
    digest: OptionalField[Name] = None
    """Hash of the weights and the embedder of a learned reward; other names or calibrations of the
    same reward have the same digest."""
    model: OptionalField[Name] = None
    """Name of the model that judges."""
    people: OptionalField[int] = None
    """Number of people who judged."""
    people_agreement: OptionalField[Estimate] = None
    """Share of pairs of people who gave the same verdict on the same item; ``None`` if no item has
    two verdicts."""
    fitted_on: OptionalField[Snapshot] = None
    """Feedback that a learned reward was fitted on; ``None`` if it is unknown, as for rewards of
    earlier versions."""


def describe_judge(judge: object) -> JudgeInfo:
    """Return the description of a judge: its attribute ``info``, or one of kind ``"other"``."""
    info = getattr(judge, "info", None)
    if isinstance(info, JudgeInfo):
        return info
    return JudgeInfo(name=str(getattr(judge, "name", type(judge).__name__)))
