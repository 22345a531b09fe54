"""Experiment design: arms, allocation, signals and decision rule."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from backtalk.feedback.base import OVERALL
from backtalk.feedback.record import OMIT_EMPTY, Name, OptionalField, Probability, Record, repeated
from backtalk.store.legacy import rename_fields

AllocationKind = Literal["fixed", "thompson", "dueling"]
RandomizationUnit = Literal["request", "session", "user"]

SIGNALS: dict[str, tuple[str, ...]] = {
    "thumb": ("label",),
    "rating": ("rating",),
    "outcome": ("outcome",),
    "preference": ("preference", "ranking", "choice"),
}
"""Signals, with the kinds of feedback that carry them."""

Signal = Annotated[str, Field(pattern=r"^(thumb|rating|outcome|preference)(:.+)?$")]
"""Feedback signal: ``thumb``, ``rating``, ``outcome`` or ``preference``, optionally with an aspect
as in ``rating:politeness``. Default aspect: the overall judgement."""


def signal_kinds(signal: str) -> tuple[str, ...]:
    """Return the kinds of feedback that carry a signal.

    >>> signal_kinds("rating:politeness")
    ('rating',)
    """
    return SIGNALS[signal.partition(":")[0]]


def signal_aspect(signal: str) -> str:
    """Return the aspect of a signal."""
    return signal.partition(":")[2] or OVERALL


class DecisionRule(Record):
    """Rule by which an experiment stops arms, promotes an arm, and ends."""

    level: Probability = 0.95
    """Confidence level, valid at all times simultaneously. Several candidates share the error
    probability."""
    margin: Probability = 0.0
    """Difference from the control by which a candidate has to be worse to be stopped."""
    min_judgements: Annotated[int, Field(ge=1)] = 50
    """Minimum number of judgements of an arm and of the control before a decision on the arm."""
    horizon: OptionalField[Annotated[int, Field(ge=1)]] = None
    """Number of judgements after which the experiment ends. Default: no limit."""
    promote: bool = True
    """If true, a candidate is promoted as soon as it is significantly better."""

    @model_validator(mode="before")
    @classmethod
    def _rename_fields(cls, data: object) -> object:
        return rename_fields(data, {"at_least": "min_judgements"})


class Experiment(Record):
    """Candidates compared with the active policy on live traffic.

    Examples
    --------
    >>> experiment = Experiment(name="brief", control="a" * 32, candidates=("b" * 32,))
    >>> experiment.shares
    (0.5, 0.5)
    """

    name: Annotated[str, Field(pattern=r"^[\w.-]+$", max_length=100)]
    control: Name
    """Id of the active policy."""
    candidates: Annotated[tuple[Name, ...], Field(min_length=1, max_length=20)]
    """Ids of the candidate policies."""
    allocation: AllocationKind = "fixed"
    """``"fixed"``: constant shares. ``"thompson"``: Thompson sampling, which gives better arms more
    traffic. ``"dueling"``: two arms answer each request, and a person chooses."""
    shares: Annotated[tuple[float, ...], Field(exclude_if=OMIT_EMPTY)] = ()
    """Shares of a fixed allocation, the control's first. Default: equal shares."""
    floor: Annotated[float, Field(gt=0, le=0.5)] = 0.1
    """Minimum probability of an arm, or of a pair of arms, under adaptive allocation."""
    unit: RandomizationUnit = "request"
    """Unit of randomisation. A session or user keeps its arm; each request is assigned anew."""
    outcome: Signal = "thumb"
    """Signal that decides."""
    guards: Annotated[tuple[Signal, ...], Field(exclude_if=OMIT_EMPTY)] = ()
    """Guardrail signals, which must not get worse."""
    rule: DecisionRule = DecisionRule()

    @property
    def arms(self) -> tuple[str, ...]:
        """Ids of all policies, the control first."""
        return (self.control, *self.candidates)

    @property
    def signals(self) -> tuple[str, ...]:
        """Outcome and guards."""
        return (self.outcome, *self.guards)

    @property
    def level(self) -> float:
        """Confidence level for each candidate, after Bonferroni's correction."""
        count = len(self.candidates)
        return self.rule.level if count == 1 else 1 - (1 - self.rule.level) / count

    @model_validator(mode="before")
    @classmethod
    def _set_default_shares(cls, data: object) -> object:
        if isinstance(data, dict) and not data.get("shares"):
            arms = 1 + len(data.get("candidates") or ())
            if data.get("allocation", "fixed") == "fixed":
                return {**data, "shares": (1 / arms,) * arms}
        return data

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        for problem in (self._arms_problem(), self._shares_problem(), self._kind_problem()):
            if problem:
                raise ValueError(problem)
        return self

    def _arms_problem(self) -> str | None:
        duplicate = repeated(self.arms) or repeated(self.signals)
        return None if duplicate is None else f"candidates: {duplicate!r} is named twice"

    def _shares_problem(self) -> str | None:
        if self.allocation != "fixed":
            if self.shares:
                return f"shares: {self.allocation} allocation sets the shares itself"
            options = len(self.arms) if self.allocation == "thompson" else self._pairs
            if self.floor * options > 1:
                return f"floor: {self.floor:g} for each of {options} options exceeds 1"
            return None
        if len(self.shares) != len(self.arms):
            return f"shares: {len(self.shares)} shares for {len(self.arms)} arms"
        if min(self.shares) <= 0 or abs(sum(self.shares) - 1) > 1e-6:
            return "shares: all have to be above 0, and their sum has to be 1"
        return None

    def _kind_problem(self) -> str | None:
        duels = self.allocation == "dueling"
        if duels != (self.outcome.partition(":")[0] == "preference"):
            return (
                "outcome: a preference needs the allocation 'dueling', and that allocation needs "
                "a preference"
            )
        if any(guard.startswith("preference") for guard in self.guards):
            return "guards: a guard has to be a thumb, rating or outcome"
        if self.unit != "request" and self.allocation != "fixed":
            return (
                f"unit: a {self.unit} keeps its arm, but {self.allocation} allocation changes the "
                "shares; use 'fixed' allocation, or the unit 'request'"
            )
        return None

    @property
    def _pairs(self) -> int:
        return len(self.arms) * (len(self.arms) - 1) // 2
