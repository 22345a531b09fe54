"""Origin of a policy: the feedback and the rewards in its lineage."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from backtalk.artifacts import Artifacts
from backtalk.errors import NotFound
from backtalk.evaluate.judges.circular import PolicyOrigin
from backtalk.evaluate.judges.info import JudgeInfo
from backtalk.evaluate.result import Evaluation
from backtalk.feedback.case import prompt_key
from backtalk.feedback.interaction import Prompt
from backtalk.feedback.requests import stored_prompt_key
from backtalk.feedback.snapshot import Snapshot
from backtalk.feedback.split import split_for
from backtalk.policy.policy import Lineage, Policy
from backtalk.policy.storage import list_policies
from backtalk.store import Store

_POLICY_OPTIONS = ("other", "reference", "base", "sampler", "refiner", "teacher")
"""Options of methods that name policies, from whose answers or weights a policy is learned."""
_COMMON_PROMPTS = 0.05
"""Share of the prompts of the smaller of two projects beyond which they have the same feedback."""
_RECIPE_METHODS = frozenset({"written", "mixture"})
"""Methods that use neither feedback nor rewards."""


def policy_origin(
    policy: Policy, store: Store | None = None, *, judge: JudgeInfo | None = None
) -> PolicyOrigin:
    """Return the feedback that a policy was learned from and the rewards that it optimises.

    The whole ancestry counts: a policy that is made from another one, by hand or by a method,
    inherits its feedback and rewards.

    Parameters
    ----------
    policy : Policy
        Policy.
    store : Store, optional
        Store with its ancestors and rewards. Without one, only the policy's own lineage counts.
    judge : JudgeInfo, optional
        Judge of the policy. If it was fitted in another project on prompts that the policy learned
        from, that feedback counts as the policy's own.
    """
    rewards: dict[str, JudgeInfo] = {}
    snapshots: dict[str, Snapshot] = {}
    models: set[str] = set()
    unknown: list[str] = []
    for member in _ancestry(policy, store, unknown):
        lineage = member.lineage
        artifacts = None if store is None else store.artifacts
        for info in (*_decoder_rewards(member, artifacts), *_method_rewards(lineage, artifacts)):
            rewards[info.to_json()] = info
        if lineage.snapshot is not None:
            snapshots[lineage.snapshot.to_json()] = lineage.snapshot
            models |= _model_annotators(lineage.snapshot, store)
        unknown += _missing_records(member)
    copy = None if judge is None or store is None else judge.fitted_on
    if copy is not None and store is not None and _has_prompts_of(copy, snapshots.values(), store):
        snapshots[copy.to_json()] = copy
    return PolicyOrigin(
        label=policy.label,
        rewards=tuple(rewards.values()),
        snapshots=tuple(snapshots.values()),
        models=tuple(sorted(models)),
        unknown=tuple(unknown),
    )


def optimised_by(policy: Policy, store: Store | None = None) -> tuple[JudgeInfo, ...]:
    """Return the rewards and judges that a policy or one of its ancestors optimises."""
    return policy_origin(policy, store).rewards


def with_origin(
    evaluation: Evaluation, candidate: Policy, store: Store, prompts: Iterable[Prompt]
) -> Evaluation:
    """Return an evaluation that records the origin of its candidate.

    Parameters
    ----------
    evaluation : Evaluation
        Evaluation of the candidate.
    candidate : Policy
        Candidate.
    store : Store
        Store with its ancestors and its feedback.
    prompts : iterable of Prompt
        Prompts of the evaluation.
    """
    origin = policy_origin(candidate, store, judge=evaluation.judge_info)
    keys = {stored_prompt_key(prompt) for prompt in prompts}
    return evaluation.model_copy(
        update={"origin": origin, "unseen": _is_unseen(keys, origin, store)}
    )


def _is_unseen(keys: set[str], origin: PolicyOrigin, store: Store) -> bool | None:
    """Return true if none of the prompts is among those that a policy learned from."""
    snapshots = [snapshot for snapshot in origin.snapshots if not snapshot.is_empty]
    splits = {split for snapshot in snapshots for split in _splits(snapshot.split)}
    if not any(split_for(key) in splits for key in keys):
        return True
    listed = [snapshot for snapshot in snapshots if snapshot.prompts is not None]
    if any(snapshot.project != store.project for snapshot in snapshots if snapshot not in listed):
        return None
    try:
        if any(keys & prompt_keys(snapshot, store.artifacts) for snapshot in listed):
            return False
    except NotFound:
        return None
    splits = {split for s in snapshots if s not in listed for split in _splits(s.split)}
    return not any(
        case.feedback
        and (key := prompt_key(case.interaction.prompt)) in keys
        and split_for(key) in splits
        for case in store.cases()
    )


def _has_prompts_of(copy: Snapshot, snapshots: Iterable[Snapshot], store: Store) -> bool:
    """Return true if feedback of another project is on the prompts of snapshots."""
    others = [
        snapshot
        for snapshot in snapshots
        if snapshot.project != copy.project
        and not snapshot.is_empty
        and not snapshot.overlaps(copy)
        and set(_splits(snapshot.split)) & set(_splits(copy.split))
    ]
    if not others or copy.is_empty:
        return False
    keys = _prompts_with_feedback(copy, store)
    for snapshot in others:
        learned = _prompts_with_feedback(snapshot, store)
        if len(keys & learned) > _COMMON_PROMPTS * min(len(keys), len(learned)):
            return True
    return False


def _prompts_with_feedback(snapshot: Snapshot, store: Store) -> set[str]:
    """Return the keys of the prompts of a snapshot's project and split that have feedback."""
    if snapshot.prompts is not None:
        with suppress(NotFound):
            return prompt_keys(snapshot, store.artifacts)
    if snapshot.project not in store.projects():
        return set()
    splits = _splits(snapshot.split)
    keys = (
        prompt_key(case.interaction.prompt)
        for case in store.in_project(snapshot.project).cases()
        if case.feedback
    )
    return {key for key in keys if split_for(key) in splits}


_PROMPTS = "prompts.json"


def save_prompt_keys(keys: Iterable[str], artifacts: Artifacts) -> str:
    """Store the keys of prompts, for :attr:`Snapshot.prompts`, and return the artifact's id."""
    return artifacts.put({_PROMPTS: json.dumps(sorted(set(keys))).encode()})


def prompt_keys(snapshot: Snapshot, artifacts: Artifacts) -> set[str]:
    """Return the keys of the prompts that a snapshot lists; raise ``NotFound`` if it lists none."""
    return set(json.loads(artifacts.read(snapshot.prompts or "")[_PROMPTS]))


def _splits(name: str) -> tuple[str, ...]:
    return ("train", "held-out") if name == "all" else (name,)


def _ancestry(policy: Policy, store: Store | None, unknown: list[str]) -> Iterator[Policy]:
    """Yield a policy and the policies that it was made from, and note those that are missing."""
    stored = [] if store is None else list_policies(store)
    waiting, seen = [policy], {policy.id}
    while waiting:
        member = waiting.pop()
        yield member
        parents = [_find(name, stored) for name in _named_policies(member)]
        if member.lineage.parent is not None and store is not None:
            parent = _find(member.lineage.parent, stored)
            parents.append(parent)
            if parent is None:
                unknown.append(
                    f"The policy {member.lineage.parent[:8]} that {member.label} was made from is "
                    "not in the project, so that its feedback and rewards are unknown"
                )
        for parent in parents:
            if parent is not None and parent.id not in seen:
                seen.add(parent.id)
                waiting.append(parent)


def _find(name: str, stored: Sequence[Policy]) -> Policy | None:
    """Return the latest policy with a name, or else with an id that begins with it."""
    named = [policy for policy in stored if policy.name == name]
    matches = named or [policy for policy in stored if policy.id.startswith(name)]
    return matches[-1] if matches else None


def _named_policies(policy: Policy) -> Iterator[str]:
    for option in _POLICY_OPTIONS:
        name = policy.lineage.options.get(option)
        if isinstance(name, str) and name:
            yield name


def _decoder_rewards(policy: Policy, artifacts: Artifacts | None) -> Iterator[JudgeInfo]:
    return (_reward_info(id_, artifacts) for id_ in policy.decoder.rewards_needed)


def _reward_info(id_: str, artifacts: Artifacts | None) -> JudgeInfo:
    from backtalk.rewards.io import reward_info  # noqa: PLC0415 - slow to import

    unknown = JudgeInfo(name=f"reward {id_[:8]}", kind="reward", artifact=id_)
    if artifacts is None:
        return unknown
    try:
        return reward_info(id_, artifacts)
    except NotFound:
        return unknown


def _method_rewards(lineage: Lineage, artifacts: Artifacts | None) -> Iterator[JudgeInfo]:
    """Yield the rewards that a method optimised: recorded ones, or by the option of its judge."""
    yield from lineage.rewards or ()
    kind, _, id_ = str(lineage.options.get("judge", "")).partition(":")
    if lineage.rewards is None and kind == "reward":
        yield _reward_info(id_, artifacts)


def _missing_records(policy: Policy) -> Iterator[str]:
    """Yield sentences about records that the method of a policy should have made."""
    lineage = policy.lineage
    if lineage.method in _RECIPE_METHODS:
        return
    if lineage.snapshot is None:
        yield f"It is not recorded which feedback {policy.label} was learned from"
    elif lineage.rewards is None and lineage.snapshot.judges is not None:
        yield (
            f"It is not recorded which rewards {policy.label} optimises: its method "
            f"{lineage.method} sets no Lineage.rewards"
        )


def _model_annotators(snapshot: Snapshot, store: Store | None) -> set[str]:
    """Return the models that gave the feedback; for an old snapshot, those known to the store."""
    if snapshot.judges is not None:
        return set(snapshot.judges)
    return set() if store is None else set(store.model_annotators())
