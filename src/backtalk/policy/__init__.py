"""Policies: records, storage, loading, and differences between two."""

from backtalk.policy.diff import diff
from backtalk.policy.loading import LoadedPolicy, as_response, load_policy
from backtalk.policy.policy import Lineage, Policy, Snapshot
from backtalk.policy.storage import list_policies, read_policy, save_policy

__all__ = [
    "Lineage",
    "LoadedPolicy",
    "Policy",
    "Snapshot",
    "as_response",
    "diff",
    "list_policies",
    "load_policy",
    "read_policy",
    "save_policy",
]
