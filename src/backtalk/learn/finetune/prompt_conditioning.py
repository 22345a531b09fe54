"""Conditioning by the system prompt: text that says what the response should be like.

Hindsight methods learn good and bad responses, each under a text that says which it is. The text is
the last paragraph of the system prompt. The learned policy keeps the text for the best responses,
so that it responds well without being asked to.
"""

from __future__ import annotations

from collections.abc import Callable

from backtalk.learn.finetune.encoding import Encoder
from backtalk.learn.training_set import TrainingSet
from backtalk.policy import Policy
from backtalk.prompts import is_condition

_SEPARATOR = "\n\n"

SystemPrompt = str | Callable[[TrainingSet], str]
"""Text at the end of a learned policy's system prompt, or a function of its training set."""


def with_system_suffix(policy: Policy, text: str) -> Policy:
    r"""Return the policy with a condition as the last paragraph of its system prompt.

    A condition that the system prompt already ends with is replaced.

    >>> from backtalk.models.spec import EndpointSpec
    >>> from backtalk.prompts import BAD_CONDITION, GOOD_CONDITION
    >>> policy = Policy(model=EndpointSpec(model="small"), system="Be brief.")
    >>> with_system_suffix(with_system_suffix(policy, BAD_CONDITION), GOOD_CONDITION).system
    'Be brief.\n\nGive a good answer.'
    """
    paragraphs = (policy.system or "").split(_SEPARATOR)
    if is_condition(paragraphs[-1]):
        paragraphs.pop()
    system = _SEPARATOR.join(filter(None, paragraphs)) or None
    return append_system(policy.derive(system=system, lineage=policy.lineage), text)


def append_system(policy: Policy, text: str) -> Policy:
    """Return the policy with a further paragraph at the end of its system prompt."""
    system = text if policy.system is None else f"{policy.system}{_SEPARATOR}{text}"
    return policy.derive(system=system, lineage=policy.lineage)


def conditioned_encoder(encoder: Encoder, policy: Policy, text: str) -> Encoder:
    """Return an encoder that ends the policy's system prompt with a condition.

    It shares the count of left-out trees with the original encoder.

    Parameters
    ----------
    encoder : Encoder
        Encoder to derive from.
    policy : Policy
        Policy whose system prompt is extended.
    text : str
        Condition at the end of the system prompt.
    """
    conditioned = Encoder(
        encoder.chat,
        max_length=encoder.max_length,
        prepare=with_system_suffix(policy, text).messages,
    )
    conditioned.left_out = encoder.left_out
    conditioned.refused = encoder.refused
    return conditioned
