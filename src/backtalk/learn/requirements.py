"""Requirements of methods beyond feedback of a kind: rules, prompts, policies, local models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from backtalk.models import EndpointSpec
from backtalk.policy import list_policies
from backtalk.store import Store


@dataclass(frozen=True)
class Requirement:
    """Condition on a store without which a method cannot learn."""

    description: str
    """Missing thing in words, such as ``"at least two policies"``."""
    is_met: Callable[[Store], bool]


def has_prompts(store: Store) -> bool:
    """Return whether a store has an interaction."""
    return store.counts()["interaction"] > 0


def has_standing_rules(store: Store) -> bool:
    """Return whether a store has instruction feedback."""
    return store.counts().get("instruction", 0) > 0


def has_two_policies(store: Store) -> bool:
    """Return whether a store has two policies."""
    return len({policy.id for policy in list_policies(store)}) > 1


def has_trainable_policy(store: Store) -> bool:
    """Return whether a store has a policy with a local model, or no policy yet."""
    policies = list_policies(store)
    return not policies or any(not isinstance(p.model, EndpointSpec) for p in policies)


PROMPTS = Requirement("prompts", has_prompts)
STANDING_RULES = Requirement("standing rules (instruction feedback)", has_standing_rules)
TWO_POLICIES = Requirement("at least two policies", has_two_policies)
LOCAL_MODEL = Requirement("a policy with a local model", has_trainable_policy)


def option(description: str) -> Requirement:
    """Return the requirement of an option that has no default; no store can meet it.

    >>> option("-o style=TEXT").description
    'the option -o style=TEXT'
    """
    return Requirement(f"the option {description}", lambda _: False)
