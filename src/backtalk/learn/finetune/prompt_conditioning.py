"""Policies that are told what their answers should be like, as the methods train them to be told.

A method of hindsight learns good answers and bad ones, each behind words that say which it is. The
words stand in the system prompt, behind what else is there, and the policy that was learned keeps
the ones that ask for the best: so it answers well without anybody having to ask.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from backtalk.learn.finetune.encoding import Encoder
from backtalk.learn.method import METHODS
from backtalk.learn.training_set import TrainingSet
from backtalk.policy import Policy
from backtalk.prompts import is_condition
from backtalk.run import Run

_APART = "\n\n"

Words = str | Callable[[TrainingSet], str]
"""What a policy is told that was learned, where it depends on the feedback of that."""


def with_system_suffix(policy: Policy, words: str) -> Policy:
    r"""Return the policy with such words at the end of its system prompt, in the place of others.

    >>> from backtalk.models.spec import EndpointSpec
    >>> from backtalk.prompts import BAD, GOOD
    >>> policy = Policy(model=EndpointSpec(model="small"), system="Be brief.")
    >>> told(told(policy, BAD), GOOD).system
    'Be brief.\n\nGive a good answer.'
    """
    before = (policy.system or "").split(_APART)
    if is_condition(before[-1]):
        before.pop()
    system = _APART.join(filter(None, before)) or None
    return append_system(policy.derive(system=system, lineage=policy.lineage), words)


def append_system(policy: Policy, words: str) -> Policy:
    """Return the policy with further words at the end of its system prompt."""
    system = words if policy.system is None else f"{policy.system}{_APART}{words}"
    return policy.derive(system=system, lineage=policy.lineage)


def conditioned_encoder(encoder: Encoder, policy: Policy, words: str) -> Encoder:
    """Return an encoder that puts the words into the system prompt of the policy.

    What it leaves out is counted by the first.
    """
    own = Encoder(
        encoder.chat, longest=encoder.longest, prepare=with_system_suffix(policy, words).messages
    )
    own.left_out = encoder.left_out
    return own


def serve_with_prompt(name: str, words: Words) -> None:
    """Let what a method learns be told words: those that its training puts before the best."""
    known = METHODS[name]

    async def learn(policy: Policy, feedback: TrainingSet, run: Run, **given: Any) -> Policy:
        learned: Policy = await known.function(policy, feedback, run, **given)
        best = words if isinstance(words, str) else words(feedback)
        return learned.derive(
            system=with_system_suffix(policy, best).system, lineage=learned.lineage
        )

    learn.__doc__ = known.function.__doc__
    METHODS[name] = replace(known, function=learn)
