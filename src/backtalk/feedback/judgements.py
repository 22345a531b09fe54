"""Feedback that says how good: ratings, labels, preferences, rankings."""

from __future__ import annotations

from itertools import chain
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from backtalk.feedback.base import BaseFeedback, ResponseFeedback
from backtalk.feedback.record import Name, OptionalField, Probability, Record, repeated

OVERALL = "overall"
"""The aspect of a judgement that is about a response as a whole."""


class Scale(Record):
    """A named scale of numbers, larger is better.

    >>> Scale.STARS.normalise(4)
    0.75
    """

    name: Name
    low: float
    """The worst value."""
    high: float
    """The best value."""

    STARS: ClassVar[Scale]
    UNIT: ClassVar[Scale]
    PERCENT: ClassVar[Scale]
    LIKERT_7: ClassVar[Scale]

    @model_validator(mode="after")
    def _low_below_high(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low: {self.low} is not below high, {self.high}")
        return self

    def normalise(self, value: float) -> float:
        """Return ``value`` moved to [0, 1]."""
        return (value - self.low) / (self.high - self.low)


Scale.STARS = Scale(name="stars", low=1, high=5)
Scale.UNIT = Scale(name="unit", low=0, high=1)
Scale.PERCENT = Scale(name="percent", low=0, high=100)
Scale.LIKERT_7 = Scale(name="likert-7", low=1, high=7)


class Rating(ResponseFeedback):
    """A number on a named scale, for one aspect of one response."""

    kind: Literal["rating"] = "rating"
    value: float
    scale: Scale = Scale.STARS
    aspect: Name = OVERALL

    @model_validator(mode="after")
    def _value_on_scale(self) -> Self:
        if not self.scale.low <= self.value <= self.scale.high:
            raise ValueError(
                f"value: {self.value} is not on the scale {self.scale.name!r}, "
                f"{self.scale.low:g} to {self.scale.high:g}"
            )
        return self

    @property
    def normalised(self) -> float:
        """The value moved to [0, 1]."""
        return self.scale.normalise(self.value)


class Label(ResponseFeedback):
    """Good or bad: a thumb."""

    kind: Literal["label"] = "label"
    good: bool
    aspect: Name = OVERALL


Verdict = Literal["a", "b", "tie", "both_bad"]


class Preference(BaseFeedback):
    """Which of two responses is better.

    ``"tie"`` says that they are equally good; ``"both_bad"`` says that neither will do, which is
    a judgement on each of them and not a tie.

    >>> from backtalk.feedback import Annotator
    >>> judged = Preference(interaction="i", annotator=Annotator.human("ada"),
    ...                     a="0", b="1", verdict="b")
    >>> judged.chosen, judged.rejected
    ('1', '0')
    """

    kind: Literal["preference"] = "preference"
    a: Name
    """The id of one response."""
    b: Name
    """The id of the other."""
    verdict: Verdict
    probability: OptionalField[Probability] = None
    """The annotator's probability that ``a`` is the better one, in [0, 1], where they gave one
    (a judge's softmax, a panel's share of votes). It must agree with the verdict."""
    strength: OptionalField[Annotated[float, Field(gt=0, le=1)]] = None
    """How much better, in (0, 1], where the annotator said; 1 is the strongest they could say."""
    aspect: Name = OVERALL

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.a == self.b:
            raise ValueError(f"b: response {self.b!r} is compared with itself")
        p = self.probability
        if p is not None and (
            self.verdict == "both_bad"
            or (self.verdict == "a" and p < 0.5)
            or (self.verdict == "b" and p > 0.5)
            or (self.verdict == "tie" and p != 0.5)
        ):
            raise ValueError(f"probability: {p} does not go with the verdict {self.verdict!r}")
        if self.strength is not None and self.verdict not in {"a", "b"}:
            raise ValueError(f"strength: the verdict {self.verdict!r} has none")
        return self

    @staticmethod
    def verdict_of(probability: float) -> Verdict:
        """Return the verdict that goes with a probability that ``a`` is better."""
        if probability == 0.5:
            return "tie"
        return "a" if probability > 0.5 else "b"

    @property
    def chosen(self) -> str | None:
        """The id of the better response, ``None`` for a tie and for "both bad"."""
        return {"a": self.a, "b": self.b}.get(self.verdict)

    @property
    def rejected(self) -> str | None:
        """The id of the worse response, ``None`` for a tie and for "both bad"."""
        return {"a": self.b, "b": self.a}.get(self.verdict)

    def references(self) -> tuple[tuple[str, str], ...]:
        """Return the two responses compared."""
        return (("a", self.a), ("b", self.b))


class Ranking(BaseFeedback):
    """An order over several responses, best first; responses in one tier are not told apart.

    Responses that are in no tier were not ranked. ``within`` says what sharing a tier means: the
    annotator found them equal (``"tied"``), or did not compare them (``"unordered"``), as when
    only the best of K was picked.
    """

    kind: Literal["ranking"] = "ranking"
    tiers: Annotated[
        tuple[Annotated[tuple[Name, ...], Field(min_length=1)], ...], Field(min_length=1)
    ]
    within: Literal["tied", "unordered"] = "tied"
    aspect: Name = OVERALL

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        items = list(chain.from_iterable(self.tiers))
        if (twice := repeated(items)) is not None:
            raise ValueError(f"tiers: response {twice!r} is ranked twice")
        if len(items) < 2:
            raise ValueError("tiers: a ranking needs at least two responses")
        if len(self.tiers) == 1 and self.within == "unordered":
            raise ValueError("tiers: one tier whose responses are unordered says nothing")
        return self

    def references(self) -> tuple[tuple[str, str], ...]:
        """Return every response ranked."""
        return tuple(("tiers", item) for tier in self.tiers for item in tier)
