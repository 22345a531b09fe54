"""Versions of a project's prompt: the policies with each, its origin and its evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from backtalk.evaluate.result import Evaluation
from backtalk.policy import Policy


@dataclass(frozen=True)
class PromptVersion:
    """Version of a prompt, with the policies that have it."""

    id: str
    """Hash of the prompt, as in the records of answers."""
    policies: Sequence[Policy]
    """Policies with this prompt, oldest first."""
    parent: str | None
    """Version that it was made from; ``None`` if there was no prompt or it is unknown."""
    evaluations: Sequence[Evaluation]
    """Evaluations of its policies against policies with another prompt, latest first."""
    serves: bool
    """True if the active policy has this prompt."""

    @property
    def first(self) -> Policy:
        """Oldest policy with this prompt."""
        return self.policies[0]

    @property
    def label(self) -> str:
        """Name for people: that of the oldest named policy, or the first digits of the id."""
        return next((item.name for item in self.policies if item.name), self.id[:8])

    @property
    def time(self) -> datetime | None:
        """Time at which its oldest policy was made."""
        return self.first.lineage.time


def prompt_versions(
    policies: Sequence[Policy], evaluations: Sequence[Evaluation], *, served: str | None
) -> dict[str, PromptVersion]:
    """Return the versions of the prompts of policies by id, latest first.

    Parameters
    ----------
    policies : sequence of Policy
        Policies of the project, oldest first.
    evaluations : sequence of Evaluation
        Evaluations of the project, oldest first.
    served : str or None
        Id of the active policy.
    """
    by_id = {policy.id: policy for policy in policies}
    groups: dict[str, list[Policy]] = {}
    for policy in policies:
        if policy.prompt_version is not None:
            groups.setdefault(policy.prompt_version, []).append(policy)
    versions = {
        id_: PromptVersion(
            id_,
            group,
            parent=_parent(group[0], by_id),
            evaluations=_evidence(id_, evaluations, by_id),
            serves=any(policy.id == served for policy in group),
        )
        for id_, group in groups.items()
    }
    return dict(reversed(versions.items()))


def _parent(policy: Policy, by_id: Mapping[str, Policy]) -> str | None:
    """Return the prompt of the closest ancestor with another one."""
    seen: set[str] = set()
    ancestor: Policy | None = policy
    while ancestor is not None and ancestor.prompt_version == policy.prompt_version:
        seen.add(ancestor.id)
        parent = ancestor.lineage.parent or ""
        ancestor = None if parent in seen else by_id.get(parent)
    return None if ancestor is None else ancestor.prompt_version


def _evidence(
    version: str, evaluations: Sequence[Evaluation], by_id: Mapping[str, Policy]
) -> list[Evaluation]:
    def prompt_of(id_: str) -> str | None:
        return by_id[id_].prompt_version if id_ in by_id else None

    return [
        evaluation
        for evaluation in reversed(evaluations)
        if prompt_of(evaluation.candidate) == version and prompt_of(evaluation.baseline) != version
    ]
