"""Circular evidence: a judge that the candidate optimises, or that learned from the same feedback.

A policy that optimises a reward scores high by this reward, whether it is better or not: Gao et
al. (2023), "Scaling laws for reward model overoptimization". A reward that was fitted on the same
feedback repeats the same errors. Neither is evidence that the policy is better.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from backtalk.evaluate.judges.info import JudgeInfo, JudgeKind
from backtalk.feedback.record import OMIT_EMPTY, Name, Record
from backtalk.feedback.snapshot import Snapshot

UNBIASED: frozenset[JudgeKind] = frozenset({"live", "oracle", "people", "recorded"})
"""Kinds of judges whose verdicts no policy can have learned on prompts that it did not see."""


class PolicyOrigin(Record):
    """Feedback that a policy was learned from and rewards that it optimises.

    Those of its ancestors are included.
    """

    label: Name
    """Label of the policy."""
    rewards: tuple[JudgeInfo, ...] = Field(default=(), exclude_if=OMIT_EMPTY)
    """Rewards and judges that the decoder uses or a method optimised."""
    snapshots: tuple[Snapshot, ...] = Field(default=(), exclude_if=OMIT_EMPTY)
    """Feedback that the policy was learned from."""
    models: tuple[Name, ...] = Field(default=(), exclude_if=OMIT_EMPTY)
    """Ids of the models among the annotators of that feedback."""
    unknown: tuple[Name, ...] = Field(default=(), exclude_if=OMIT_EMPTY)
    """Sentences about policies whose feedback or rewards are not recorded."""


def circularity(judge: JudgeInfo, origin: PolicyOrigin) -> str | None:
    """Return the reason why a judge's verdicts on a policy prove nothing; ``None`` if they may.

    An unknown origin counts against a reward or a language model: it may be the same.

    Parameters
    ----------
    judge : JudgeInfo
        Judge of the policy's answers.
    origin : PolicyOrigin
        Feedback and rewards of the policy.
    """
    if judge.kind in UNBIASED:
        return None
    for reward in origin.rewards:
        if same_judge(judge, reward):
            return (
                f"{origin.label} optimises its judge, {judge.name}: it scores high by it whether "
                f"it is better or not"
            )
    if judge.kind in {"llm", "other"}:
        names = [name for name in origin.models if name in {judge.name, judge.model}]
        if names:
            return f"{origin.label} learned from the verdicts of its judge, {', '.join(names)}"
    if judge.kind == "reward":
        return _shared_feedback(judge, origin)
    if judge.kind == "llm" and origin.unknown:
        return origin.unknown[0]
    return None


def _shared_feedback(judge: JudgeInfo, origin: PolicyOrigin) -> str | None:
    if judge.fitted_on is None:
        if not (origin.snapshots or origin.rewards or origin.unknown):
            return None
        return (
            f"It is not recorded which feedback its judge, {judge.name}, was fitted on; it may be "
            f"the feedback that {origin.label} learned from"
        )
    for snapshot in origin.snapshots:
        if snapshot.overlaps(judge.fitted_on):
            return (
                f"Its judge, {judge.name}, was fitted on the feedback that {origin.label} learned "
                f"from: {judge.fitted_on.label}"
            )
    return origin.unknown[0] if origin.unknown else None


def same_judge(a: JudgeInfo, b: JudgeInfo) -> bool:
    """Return true if two descriptions are of one judge.

    Learned rewards are compared by their content, and by name only if the content of one is
    unknown; language models by their name; others by kind and name.
    """
    if a.kind != b.kind:
        return False
    if a.kind == "llm":
        return a.model == b.model if a.model and b.model else a.name == b.name
    known = [(x, y) for x, y in ((a.artifact, b.artifact), (a.digest, b.digest)) if x and y]
    if known:
        return any(x == y for x, y in known)
    return a.name == b.name


def prompts_learned_from(origin: PolicyOrigin, split: str) -> Iterable[Snapshot]:
    """Yield the feedback of a policy that may hold the prompts of an evaluation.

    Parameters
    ----------
    origin : PolicyOrigin
        Feedback of the policy.
    split : str
        Split of the prompts of the evaluation.
    """
    return (
        snapshot
        for snapshot in origin.snapshots
        if not snapshot.is_empty and snapshot.split in {split, "all"}
    )
