"""Evidence that a gate would accept where a judge is circular, as commands."""

from __future__ import annotations

from backtalk.evaluate.judges.circular import PolicyOrigin, circularity, prompts_learned_from
from backtalk.evaluate.judges.info import describe_judge
from backtalk.feedback.case import Case, prompt_key
from backtalk.feedback.conversions import views
from backtalk.feedback.split import split_for
from backtalk.feedback.views import Pair
from backtalk.policy.origin import policy_origin
from backtalk.policy.policy import Policy
from backtalk.policy.storage import list_policies
from backtalk.promotion.history import active_policy
from backtalk.store import Store

HELD_OUT_REWARD = "reward:held-out"
"""Name of the judge that is a reward fitted on the feedback on held-out prompts."""


def command_name(policy: Policy, store: Store) -> str:
    """Return the text by which commands find a policy: its name, or the first digits of its id.

    A name that a later policy has as well is not enough.
    """
    named = [item for item in list_policies(store) if item.name and item.name == policy.name]
    return str(policy.name) if named and named[-1].id == policy.id else policy.id[:8]


def circular_judge(judge: object, policy: Policy, store: Store) -> str | None:
    """Return the reason why a judge's verdicts on a policy cannot promote it, and what could.

    Parameters
    ----------
    judge : object
        Judge; its attribute ``info`` says what it is.
    policy : Policy
        Candidate.
    store : Store
        Store with its ancestors, rewards and feedback.

    Returns
    -------
    str or None
        Sentences; ``None`` if the gate would accept the judge.
    """
    info = describe_judge(judge)
    origin = policy_origin(policy, store, judge=info)
    reason = circularity(info, origin)
    if reason is None:
        return None
    return f"The gate will refuse this evidence. {reason}. {other_evidence(policy, origin, store)}"


def other_evidence(policy: Policy, origin: PolicyOrigin, store: Store, *, against: str = "") -> str:
    """Return the commands that give evidence on a policy from judges that are not circular.

    Parameters
    ----------
    policy : Policy
        Candidate.
    origin : PolicyOrigin
        Its feedback and rewards.
    store : Store
        Store of the project.
    against : str, default ""
        Option of the commands that names the baseline, if the project has no active policy.
    """
    name = command_name(policy, store)
    command = f"backtalk evaluate {name}{against}"
    unseen = not any(prompts_learned_from(origin, "held-out"))
    ways = []
    if unseen and any(map(_has_winner, store.cases())):
        ways.append(
            f"`{command} --judge {HELD_OUT_REWARD}`, a reward fitted on the held-out feedback"
        )
    if unseen:
        ways.append(f"`{command} --judge people`, which makes tasks for people")
        ways.append(f"`{command} --judge llm:MODEL`, a language model")
    if active_policy(store) is not None:
        ways.append(
            f"`backtalk experiment start NAME --candidate {name}`, an experiment in traffic"
        )
    if not ways:
        return "Learn it again from the train split"
    return "Evidence that can count: " + "; ".join(ways)


def _has_winner(case: Case) -> bool:
    if split_for(prompt_key(case.interaction.prompt)) != "held-out":
        return False
    return any(not pair.tie for pair in views(case, Pair))
