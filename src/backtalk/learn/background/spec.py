"""Specification of background learning, its rounds and their outcomes."""

from __future__ import annotations

import json
import operator
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, model_validator

from backtalk.errors import BacktalkError, NotFound
from backtalk.experiments.experiment import Signal
from backtalk.feedback import content_id
from backtalk.feedback.base import OVERALL
from backtalk.feedback.record import OMIT_EMPTY, Name, OptionalField, Record
from backtalk.learn.method import get_method
from backtalk.policy import Policy, read_policy
from backtalk.promotion import Gate, active_policy
from backtalk.store import Store
from backtalk.store.queries import Cursor


class WatchSpec(Record):
    """Specification of background learning: the method, its options, and the use of its policies.

    Examples
    --------
    >>> watch = WatchSpec(method="best-of-n", options={"n": 4})
    >>> watch.kind.startswith("learn best-of-n ")
    True
    """

    method: Name
    policy: OptionalField[Name] = None
    """Policy to improve, by name or id. Default: the active policy at the start of each round."""
    options: dict[str, JsonValue] = Field(default_factory=dict, exclude_if=OMIT_EMPTY)
    """Options of the method."""
    kinds: OptionalField[tuple[Name, ...]] = None
    """Kinds of feedback to learn from. Default: all."""
    aspect: Name = Field(default=OVERALL, exclude_if=partial(operator.eq, OVERALL))
    """Aspect of the judgements to learn from."""
    split: Literal["train", "all"] = "train"
    seed: int = 0
    name: OptionalField[Name] = None
    """Name of the learned policies."""
    judge: OptionalField[Name] = None
    """Judge that compares each policy with the active policy on held-out prompts. Default: none."""
    guards: tuple[Name, ...] = ()
    """Guardrail judges, whose scores must not get worse."""
    limit: OptionalField[Annotated[int, Field(ge=1)]] = None
    """Maximum number of held-out prompts. Default: all."""
    gate: OptionalField[Gate] = None
    """Gate for automatic promotion. Default: no policy is promoted."""
    experiment: OptionalField[Signal] = None
    """Feedback signal of the experiment that is started with each policy. Default: none is
    started."""
    actor: Name = "backtalk learn"
    """Name recorded with promotions and experiments."""

    @model_validator(mode="before")
    @classmethod
    def _rename_fields(cls, data: Any) -> Any:
        return _renamed(data, "who", "actor")

    @property
    def kind(self) -> str:
        """Kind of the jobs, equal for equal methods, policies, options, feedback and seeds."""
        fields = {"method", "policy", "options", "kinds", "aspect", "split", "seed"}
        identity = json.dumps(self.model_dump(mode="json", include=fields), sort_keys=True)
        return f"learn {self.method} {content_id('watch', identity)[:8]}"

    @property
    def learns_from(self) -> tuple[str, ...]:
        """Selected kinds of feedback that the method can use."""
        usable = get_method(self.method).kinds
        return tuple(kind for kind in usable if self.kinds is None or kind in self.kinds)

    def check(self, store: Store) -> None:
        """Check that rounds can succeed.

        Raises
        ------
        BacktalkError
            If the method, its options or the policy are unknown, the name is invalid, the method
            can use none of the kinds, or the settings contradict each other.
        """
        method = get_method(self.method)
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
                "Policies are either promoted by the gate or tested in an experiment",
                "Give either --promote or --experiment",
            )
        if self.judge is not None and self.split == "all":
            raise BacktalkError(
                "A policy cannot be judged on prompts that it learned from",
                "Leave out the judge or --split all",
            )
        if self.gate is not None and self.judge is None:
            raise BacktalkError(
                "Promotion needs a judge",
                "Name a judge with --judge (`backtalk evaluate --help` lists them)",
            )

    def parent(self, store: Store) -> Policy:
        """Return the policy that a round improves if it starts now.

        Raises
        ------
        NotFound
            If there is no such policy, or no active policy.
        """
        policy = active_policy(store) if self.policy is None else read_policy(store, self.policy)
        if policy is None:
            raise NotFound(
                f"Project {store.project!r} has no active policy",
                "Name a policy with --policy, or promote one with `backtalk promote NAME`",
            )
        return policy


class Round(Record):
    """One round: the specification, the policy to improve, and the feedback to learn from."""

    watch: WatchSpec
    parent: Name
    """Id of the policy to improve."""
    interactions: int
    """Sequence number of the last interaction that the round may use."""
    feedback: int
    """Sequence number of the last feedback item that the round may use."""

    @property
    def id(self) -> str:
        """Id from the content: rounds with equal ids give equal policies."""
        return content_id("round", self.watch.kind, self.parent, str(self.feedback))

    @property
    def until(self) -> Cursor:
        """Position of the last records that the round may use."""
        return Cursor(self.interactions, self.feedback)


class RoundOutcome(Record):
    """Results of a round, complete or up to its last checkpoint."""

    policy: OptionalField[Name] = None
    """Id of the learned policy."""
    evaluation: OptionalField[Name] = None
    """Id of the evaluation against the active policy."""
    promoted: OptionalField[bool] = None
    experiment: OptionalField[Name] = None
    """Name of the experiment with the policy."""
    reason: OptionalField[Name] = None
    """Reason why the policy was not evaluated, not promoted, or not tested in an experiment."""
    calls: int = 0
    """Number of model calls."""
    tokens: int = 0
    """Number of tokens."""
    money: float = 0.0
    """Cost, in the currency of the prices."""

    @model_validator(mode="before")
    @classmethod
    def _rename_fields(cls, data: Any) -> Any:
        return _renamed(data, "why", "reason")


def _renamed(data: Any, old: str, new: str) -> Any:
    """Return the fields of a record under their present names."""
    if isinstance(data, dict) and old in data and new not in data:
        return {new if key == old else key: value for key, value in data.items()}
    return data
