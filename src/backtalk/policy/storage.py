"""Keeping policies in a project."""

from __future__ import annotations

from backtalk.policy.policy import Policy
from backtalk.store import Store


def save_policy(store: Store, policy: Policy) -> str:
    """Keep a policy in its project and return its id."""
    store.documents.put("policy", policy.id, policy.to_json())
    return policy.id


def read_policy(store: Store, id: str) -> Policy:  # noqa: A002
    """Return a policy by its id, the beginning of its id, or its name.

    Where several were given the same name, the latest has it.

    Raises
    ------
    NotFound
        If the project has none such.
    """
    policies = list_policies(store)
    named = [policy for policy in policies if policy.name == id]
    if named:
        return named[-1]
    return Policy.model_validate_json(store.documents.get("policy", id))


def list_policies(store: Store) -> list[Policy]:
    """Return all policies of a project, the oldest first."""
    return [Policy.model_validate_json(body) for _, _, body in store.documents.all("policy")]
