"""What is learned again and again, and one round of it."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from backtalk.errors import BacktalkError, NotFound
from backtalk.experiments.experiment import Signal
from backtalk.feedback import content_id
from backtalk.feedback.record import OMIT_EMPTY, Name, OptionalField, Record
from backtalk.learn.method import find_method
from backtalk.policy import Policy, read_policy
from backtalk.promotion import Gate, active_policy
from backtalk.store import Store
from backtalk.store.queries import Cursor


class WatchSpec(Record):
    """What is learned again and again as feedback comes in.

    Examples
    --------
    >>> watch = WatchSpec(method="best-of-n", options={"n": 4})
    >>> watch.kind.startswith("learn best-of-n ")
    True
    """

    method: Name
    policy: OptionalField[Name] = None
    """What is improved, by name or id; what is served when a round begins, if left out."""
    options: dict[str, JsonValue] = Field(default_factory=dict, exclude_if=OMIT_EMPTY)
    """The method's."""
    kinds: OptionalField[tuple[Name, ...]] = None
    """Only feedback of these kinds."""
    split: Literal["train", "all"] = "train"
    seed: int = 0
    name: OptionalField[Name] = None
    """What to call the policies."""
    judge: OptionalField[Name] = None
    """Who compares each policy with what is served, on held-out prompts; nobody, if left out."""
    guards: tuple[Name, ...] = ()
    """Judges by whom it must not get worse."""
    limit: OptionalField[Annotated[int, Field(ge=1)]] = None
    """On at most so many held-out prompts."""
    gate: OptionalField[Gate] = None
    """What a policy has to show before it is served; none is served by itself, if left out."""
    experiment: OptionalField[Signal] = None
    """The feedback that decides in an experiment, which each policy goes into; none is begun, if
    left out."""
    actor: Name = "backtalk learn"
    """In whose name policies are promoted, and experiments begun."""

    @property
    def kind(self) -> str:
        """The kind of its jobs: the same wherever the same is learned with the same options."""
        alike = {"method", "policy", "options", "kinds", "split", "seed"}
        told = json.dumps(self.model_dump(mode="json", include=alike), sort_keys=True)
        return f"learn {self.method} {content_id('watch', told)[:8]}"

    @property
    def learns_from(self) -> tuple[str, ...]:
        """The kinds of feedback that its method can use, and that it may."""
        able = find_method(self.method).kinds
        return tuple(kind for kind in able if self.kinds is None or kind in self.kinds)

    def check(self, store: Store) -> None:
        """Refuse what could only fail.

        Raises
        ------
        BacktalkError
            If the method, its options or the policy are not there, if the name is none, if the
            method can use none of the kinds, or if it is not clear who decides what is served.
        """
        method = find_method(self.method)
        method.read_options(dict(self.options))
        if not self.learns_from:
            raise BacktalkError(
                f"{self.method} learns nothing from {', '.join(self.kinds or ())}",
                f"It learns from {', '.join(method.kinds)}",
            )
        parent = self.parent(store)
        if self.name is not None:
            parent.named(self.name)
        if self.gate is not None and self.experiment is not None:
            raise BacktalkError(
                "A policy is promoted on a judge's word, or users decide in an experiment",
                "Give either --promote or --experiment",
            )
        if self.judge is not None and self.split == "all":
            raise BacktalkError(
                "A policy cannot be judged on prompts that it learned from",
                "Leave the judge out, or --split all",
            )
        if self.gate is not None and self.judge is None:
            raise BacktalkError(
                "A policy that is to be promoted has to be judged",
                "Name a judge with --judge (`backtalk evaluate --help` lists them)",
            )

    def parent(self, store: Store) -> Policy:
        """Return the policy that a round which begins now improves; raise ``NotFound``."""
        result = active_policy(store) if self.policy is None else read_policy(store, self.policy)
        if result is None:
            raise NotFound(
                f"Project {store.project!r} serves no policy yet",
                "Name one with --policy, or serve one with `backtalk promote NAME`",
            )
        return result


class Round(Record):
    """One round: what is learned from which policy, and from how much of the feedback."""

    watch: WatchSpec
    parent: Name
    """The id of the policy that is improved."""
    interactions: int
    feedback: int
    """The sequence numbers of the last records that it may use."""

    @property
    def id(self) -> str:
        """What the round is determined by: two rounds of one id give the same policy."""
        return content_id("round", self.watch.kind, self.parent, str(self.feedback))

    @property
    def until(self) -> Cursor:
        """The records that it may use."""
        return Cursor(self.interactions, self.feedback)


class RoundOutcome(Record):
    """What came of a round, as far as it got."""

    policy: OptionalField[Name] = None
    """The policy that was learned."""
    evaluation: OptionalField[Name] = None
    promoted: OptionalField[bool] = None
    experiment: OptionalField[Name] = None
    """The experiment that it went into."""
    why: OptionalField[Name] = None
    """Why it was not evaluated, not promoted, or went into no experiment."""
    calls: int = 0
    tokens: int = 0
    money: float = 0.0
