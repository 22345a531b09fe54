"""An experiment: candidates that answer part of a project's traffic, and what decides on them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from backtalk.feedback.base import OVERALL
from backtalk.feedback.record import OMIT_EMPTY, Name, OptionalField, Probability, Record, repeated

AllocationKind = Literal["fixed", "thompson", "dueling"]
RandomizationUnit = Literal["request", "session", "user"]

SIGNALS: dict[str, tuple[str, ...]] = {
    "thumb": ("label",),
    "rating": ("rating",),
    "outcome": ("outcome",),
    "preference": ("preference", "ranking", "choice"),
}
"""What people may give, and the kinds of feedback that it comes as."""

Signal = Annotated[str, Field(pattern=r"^(thumb|rating|outcome|preference)(:.+)?$")]
"""Which feedback counts: ``thumb``, ``rating``, ``outcome`` or ``preference``, and of which aspect:
``rating:politeness``. Without one it is the judgement as a whole."""


def signal_kinds(signal: str) -> tuple[str, ...]:
    """Return the kinds of feedback that a signal comes as.

    >>> signal_kinds("rating:politeness")
    ('rating',)
    """
    return SIGNALS[signal.partition(":")[0]]


def signal_aspect(signal: str) -> str:
    """Return the aspect that a signal is about."""
    return signal.partition(":")[2] or OVERALL


class DecisionRule(Record):
    """When an experiment stops an arm, promotes one, and ends."""

    level: Probability = 0.95
    """The probability with which all that is said about a candidate holds, at all times together.
    Several candidates share what is missing to 1."""
    margin: Probability = 0.0
    """A candidate is stopped when it is shown to be worse than the control by more than this."""
    at_least: Annotated[int, Field(ge=1)] = 50
    """Nothing is decided about an arm before so many judgements of it, and of the control."""
    horizon: OptionalField[Annotated[int, Field(ge=1)]] = None
    """The experiment ends after so many judgements in all, if nothing was decided before."""
    promote: bool = True
    """Whether a candidate that is shown to be better is promoted at once."""


class Experiment(Record):
    """Candidates against what a project serves, under its traffic.

    Examples
    --------
    >>> trial = Experiment(name="brief", control="a" * 32, candidates=("b" * 32,))
    >>> trial.shares
    (0.5, 0.5)
    """

    name: Annotated[str, Field(pattern=r"^[\w.-]+$", max_length=100)]
    control: Name
    """The id of the policy that the project serves."""
    candidates: Annotated[tuple[Name, ...], Field(min_length=1, max_length=20)]
    """The ids of those that are to be better."""
    allocation: AllocationKind = "fixed"
    """``"fixed"``: each arm gets its share. ``"thompson"``: the better an arm does, the more it
    gets. ``"dueling"``: two arms answer the same request, for somebody to choose."""
    shares: Annotated[tuple[float, ...], Field(exclude_if=OMIT_EMPTY)] = ()
    """Of a fixed allocation, the control's first; equal ones, if left out."""
    floor: Annotated[float, Field(gt=0, le=0.5)] = 0.1
    """The least share of an arm, or of a pair of them, however badly it does."""
    unit: RandomizationUnit = "request"
    """What stays with one arm: each request draws anew, or a session or user keeps its arm."""
    outcome: Signal = "thumb"
    """The feedback that decides."""
    guards: Annotated[tuple[Signal, ...], Field(exclude_if=OMIT_EMPTY)] = ()
    """The feedback that must not get worse."""
    rule: DecisionRule = DecisionRule()

    @property
    def arms(self) -> tuple[str, ...]:
        """The policies that answer, the control first."""
        return (self.control, *self.candidates)

    @property
    def signals(self) -> tuple[str, ...]:
        """All feedback that counts: the outcome first, then the guards."""
        return (self.outcome, *self.guards)

    @property
    def level(self) -> float:
        """The level of what is said about one of the candidates."""
        many = len(self.candidates)
        return self.rule.level if many == 1 else 1 - (1 - self.rule.level) / many

    @model_validator(mode="before")
    @classmethod
    def _with_shares(cls, given: object) -> object:
        if isinstance(given, dict) and not given.get("shares"):
            arms = 1 + len(given.get("candidates") or ())
            if given.get("allocation", "fixed") == "fixed":
                return {**given, "shares": (1 / arms,) * arms}
        return given

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for problem in (self._arms_problem(), self._shares_problem(), self._kind_problem()):
            if problem:
                raise ValueError(problem)
        return self

    def _arms_problem(self) -> str | None:
        twice = repeated(self.arms) or repeated(self.signals)
        return None if twice is None else f"candidates: {twice!r} is named twice"

    def _shares_problem(self) -> str | None:
        if self.allocation != "fixed":
            if self.shares:
                return f"shares: a {self.allocation} allocation finds its own"
            options = len(self.arms) if self.allocation == "thompson" else self._pairs
            if self.floor * options > 1:
                return f"floor: {self.floor:g} for each of {options} is more than there is"
            return None
        if len(self.shares) != len(self.arms):
            return f"shares: {len(self.shares)} shares are given for {len(self.arms)} arms"
        if min(self.shares) <= 0 or abs(sum(self.shares) - 1) > 1e-6:
            return "shares: they have to be above 0 and to add up to 1"
        return None

    def _kind_problem(self) -> str | None:
        duels = self.allocation == "dueling"
        if duels != (self.outcome.partition(":")[0] == "preference"):
            return (
                "outcome: a preference chooses between two answers, which needs the allocation "
                "'dueling', and that needs a preference"
            )
        if any(guard.startswith("preference") for guard in self.guards):
            return "guards: a guard is a thumb, a rating or an outcome"
        if self.unit != "request" and self.allocation != "fixed":
            return (
                f"unit: a {self.unit} that keeps its arm cannot follow the {self.allocation} "
                "allocation, whose shares change; take 'fixed', or the unit 'request'"
            )
        return None

    @property
    def _pairs(self) -> int:
        return len(self.arms) * (len(self.arms) - 1) // 2
