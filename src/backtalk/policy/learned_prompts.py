"""Prompts that policies learned from, themselves or through a policy that they were made from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from backtalk.errors import NotFound
from backtalk.feedback.case import prompt_key
from backtalk.feedback.snapshot import Snapshot
from backtalk.feedback.split import split_for
from backtalk.policy.origin import policy_origin, prompt_keys
from backtalk.policy.policy import Policy
from backtalk.store import Store


def learned_prompts(
    policies: Sequence[Policy], store: Store, keys: Iterable[str]
) -> tuple[set[str], list[str]]:
    """Return those of some prompts that policies learned from, and what is not known of them.

    A training on a part of a split counts as one on all of it, because the part is not recorded.

    Parameters
    ----------
    policies : sequence of Policy
        Policies of the store.
    store : Store
        Store with their ancestors.
    keys : iterable of str
        Keys of prompts; see :func:`~backtalk.feedback.case.prompt_key`.

    Returns
    -------
    set of str
        Keys of the prompts that they learned from.
    list of str
        Sentences about records that are missing.
    """
    prompts = set(keys)
    learned: set[str] = set()
    unknown: dict[str, None] = {}
    for policy in policies:
        origin = policy_origin(policy, store)
        unknown |= dict.fromkeys(reason for reason in origin.unknown if "feedback" in reason)
        for snapshot in origin.snapshots:
            if snapshot.is_empty:
                continue
            try:
                learned |= _learned_from(snapshot, store, prompts)
            except NotFound:
                unknown[
                    f"{policy.label} learned from {snapshot.label}, whose prompts are not known "
                    f"in project {store.project}"
                ] = None
    return learned, list(unknown)


def _learned_from(snapshot: Snapshot, store: Store, keys: set[str]) -> set[str]:
    """Return the keys that a snapshot may hold; raise ``NotFound`` if its prompts are unknown."""
    if snapshot.prompts is not None:
        return keys & prompt_keys(snapshot, store.artifacts)
    own = {key for key in keys if snapshot.split == "all" or split_for(key) == snapshot.split}
    if snapshot.project == store.project:
        return own
    if snapshot.project not in store.projects():
        raise NotFound(f"There is no project {snapshot.project!r}", "Open the store that has it")
    return own & {
        prompt_key(case.interaction.prompt)
        for case in store.in_project(snapshot.project).cases()
        if case.feedback
    }
