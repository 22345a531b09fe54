"""Requirements of methods beyond feedback of a kind: rules, prompts, policies, packages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

from backtalk.errors import BacktalkError
from backtalk.learn.training_set import TrainingSet
from backtalk.models import LocalSpec, NamedSpec
from backtalk.policy import Policy, list_policies
from backtalk.store import Store

TRAINING_PACKAGES = ("torch", "transformers", "accelerate", "peft")
"""Packages of the extra ``backtalk[train]``."""


@dataclass(frozen=True)
class Requirement:
    """Condition on a store without which a method cannot learn."""

    description: str
    """Missing thing in words, such as ``"at least two policies"``."""
    is_met: Callable[[Store], bool]


@dataclass(frozen=True)
class FeedbackRequirement:
    """Condition on the feedback of a training set without which a method cannot learn."""

    description: str
    is_met: Callable[[TrainingSet], bool]
    definite: bool = True
    """False if an option or the policy's own samples can meet the condition too."""


@dataclass(frozen=True)
class PolicyRequirement:
    """Condition on the policy to improve."""

    description: str
    """Missing thing in words, such as ``"a policy with a local model"``."""
    is_met: Callable[[Policy], bool]


AnyRequirement = Requirement | FeedbackRequirement | PolicyRequirement


def has_prompts(feedback: TrainingSet) -> bool:
    """Return whether a training set has an interaction."""
    return any(True for _ in feedback.every_case())


def has_standing_rules(store: Store) -> bool:
    """Return whether a store has instruction feedback."""
    return store.counts().get("instruction", 0) > 0


def has_two_policies(store: Store) -> bool:
    """Return whether a store has two policies."""
    return len({policy.id for policy in list_policies(store)}) > 1


def has_one_other_policy(store: Store) -> bool:
    """Return whether a store has at most two policies, so that the other one is known."""
    return len({policy.id for policy in list_policies(store)}) < 3


def is_trainable(policy: Policy) -> bool:
    """Return whether the weights of a policy's model can be trained."""
    spec = policy.model
    if isinstance(spec, NamedSpec):
        # A registered model can be anything; only the model itself knows whether it is local.
        try:
            return hasattr(spec.load(), "load_trainable_engine")
        except BacktalkError:
            return False
    return isinstance(spec, LocalSpec)


def has_several_samples(policy: Policy) -> bool:
    """Return whether two samples of a policy can differ: its temperature is not 0."""
    return policy.decoder.base_sampling.temperature != 0


def has_training_packages(store: Store) -> bool:  # noqa: ARG001 - as every requirement of a store
    """Return whether the packages of ``backtalk[train]`` are installed."""
    return all(find_spec(name) is not None for name in TRAINING_PACKAGES)


PROMPTS = FeedbackRequirement("training prompts", has_prompts)
STANDING_RULES = Requirement("standing rules (instruction feedback)", has_standing_rules)
TWO_POLICIES = Requirement("at least two policies", has_two_policies)
TEACHER = Requirement(
    "the option -o teacher=NAME, as there are several other policies",
    has_one_other_policy,
)
LOCAL_MODEL = PolicyRequirement("a policy with a local model", is_trainable)
SAMPLES = PolicyRequirement("a policy with a temperature above 0", has_several_samples)
PACKAGES = Requirement("the packages of `pip install 'backtalk[train]'`", has_training_packages)


def option(description: str) -> Requirement:
    """Return the requirement of an option that has no default; no store can meet it.

    >>> option("-o style=TEXT").description
    'the option -o style=TEXT'
    """
    return Requirement(f"the option {description}", lambda _: False)
