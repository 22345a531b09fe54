"""Storage of policies in a project."""

from __future__ import annotations

import json

from backtalk.errors import NotFound
from backtalk.policy.policy import Policy
from backtalk.store import Store


def check_memory(store: Store, policy: Policy) -> None:
    """Raise an error if a policy's memory is not one of the project.

    Raises
    ------
    NotFound
        If the memory of the project has no such revision.
    UnknownName
        If there is no such embedder; the message lists the known ones.
    """
    if policy.memory is None:
        return
    from backtalk.embedders.registry import EMBEDDERS  # noqa: PLC0415 - imports embedders
    from backtalk.memory import Memory  # noqa: PLC0415 - needed for such policies only

    EMBEDDERS.get(policy.memory.embedder)
    last = Memory(store, policy.memory.name).revision
    if policy.memory.revision > last:
        raise NotFound(
            f"memory.revision: the memory {policy.memory.name!r} has no revision "
            f"{policy.memory.revision}, its last one is {last}",
            f"Write {last} or less; `backtalk learn memory` makes a new revision with its policy",
        )


def save_policy(store: Store, policy: Policy) -> str:
    """Save a policy in a project and return its id."""
    store.documents.put("policy", policy.id, policy.to_json())
    return policy.id


def saved_policy(store: Store, policy: Policy) -> Policy:
    """Save a policy in a project and return the one with its recipe that the project has.

    A recipe that was there before has the name that it was saved with first.
    """
    return Policy.model_validate_json(store.documents.get("policy", save_policy(store, policy)))


_NAME = "policy-name"
"""Kind of the documents of further names."""


def name_policy(store: Store, name: str, policy: Policy) -> None:
    """Give a saved policy a further name.

    A recipe that is saved again keeps its first name; by further names it is found too.

    Parameters
    ----------
    store : Store
        Store of the project.
    name : str
        Further name, which no other policy has.
    policy : Policy
        Policy that is saved in the project.
    """
    store.documents.put(_NAME, name, json.dumps({"policy": policy.id}))


def policy_names(store: Store) -> dict[str, str]:
    """Return the ids of policies by their further names, the oldest name first."""
    return {name: json.loads(body)["policy"] for name, _, body in store.documents.all(_NAME)}


def read_policy(store: Store, id: str) -> Policy:  # noqa: A002
    """Return a policy by its name, a further name, its id, or a prefix of its id.

    If several policies have the name, the latest is returned.

    Raises
    ------
    NotFound
        If the project has no such policy.
    """
    policies = list_policies(store)
    matches = [policy for policy in policies if policy.name == id]
    if matches:
        return matches[-1]
    known = policy_names(store).get(id)
    if known is not None:
        return next(policy for policy in policies if policy.id == known).named(id)
    return Policy.model_validate_json(store.documents.get("policy", id))


def list_policies(store: Store) -> list[Policy]:
    """Return all policies of a project, the oldest first."""
    return [Policy.model_validate_json(body) for _, _, body in store.documents.all("policy")]
