"""Reasons why feedback that a method needs is missing: another split, another aspect, ties."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from backtalk.feedback.aspects import listed_aspects
from backtalk.feedback.base import OVERALL
from backtalk.feedback.split import split_for
from backtalk.feedback.views import Pair, View
from backtalk.learn.training_set import NOT_PLAIN, TrainingSet

if TYPE_CHECKING:
    from backtalk.learn.availability import ViewSource
    from backtalk.learn.feedback_sample import FeedbackSample


@dataclass(frozen=True)
class FeedbackCounts:
    """Number of feedback items of a store, by kind and by what sets them apart."""

    learned: Counter[str]
    """On the prompts and the aspect to learn from."""
    other_aspects: dict[str, Counter[str]]
    """On the prompts to learn from, on other aspects: by kind and aspect."""
    held_out: Counter[str]
    """On the aspect to learn from, on other prompts."""
    prompts: int
    """Number of prompts with feedback, of all splits."""
    held_out_prompts: int
    """Number of prompts with feedback that are not learned from."""

    @classmethod
    def of(cls, feedback: TrainingSet) -> Self:
        """Count the feedback of the store of a training set."""
        learned: Counter[str] = Counter()
        held_out: Counter[str] = Counter()
        others: dict[str, Counter[str]] = {}
        prompts: dict[str, bool] = {}
        for item in feedback.store.counts_by_prompt():
            if feedback.kinds is not None and item.kind not in feedback.kinds:
                continue
            if item.prompt not in prompts:
                prompts[item.prompt] = feedback.split in {"all", split_for(item.prompt)}
            aspect = item.aspect or OVERALL
            is_about = item.kind == "critique" or feedback.aspect in {None, aspect}
            if not prompts[item.prompt]:
                held_out[item.kind] += item.total * is_about
            elif is_about:
                learned[item.kind] += item.total
            else:
                others.setdefault(item.kind, Counter())[aspect] += item.total
        return cls(
            learned, others, held_out, len(prompts), sum(not use for use in prompts.values())
        )

    def count(self, kind: str, *, every_aspect: bool = False) -> int:
        """Return the number of items of a kind to learn from.

        Parameters
        ----------
        kind : str
            Kind of feedback.
        every_aspect : bool, default False
            If true, count those on other aspects too.
        """
        others = self.other_aspects.get(kind, Counter()).total() if every_aspect else 0
        return self.learned[kind] + others

    @property
    def all_held_out(self) -> bool:
        """True if there is feedback, and every prompt with feedback is held out."""
        return 0 < self.prompts == self.held_out_prompts


def explain_missing(
    need: type[View],
    sources: Sequence[ViewSource],
    sample: FeedbackSample,
    counts: FeedbackCounts,
) -> str:
    """Return the reason why a training set has no view of a type.

    The kinds that the store holds are named with what keeps them from being learned from; if it
    holds none, all kinds that would do are named.

    Parameters
    ----------
    need : type[View]
        View that is missing.
    sources : sequence of ViewSource
        Kinds that convert to it, or to an alternative.
    sample : FeedbackSample
        First cases of the training set.
    counts : FeedbackCounts
        Feedback in the store.
    """
    reasons, others = [], []
    for kind, conditions in _conditions(sources).items():
        if counts.learned[kind]:
            reasons.append(_unusable(kind, conditions, need, sample, counts.learned[kind]))
        elif kind in counts.other_aspects:
            listed = listed_aspects(counts.other_aspects[kind])
            reasons.append(f"{kind} on the aspect {sample.aspect} ({listed})")
        elif counts.held_out[kind]:
            count = counts.held_out[kind]
            which = "the only one is" if count == 1 else f"all {count:,} are"
            reasons.append(f"{kind} on training prompts ({which} on held-out prompts)")
        else:
            others.append(kind)
    return " or ".join([*reasons, *others])


def _conditions(sources: Sequence[ViewSource]) -> dict[str, str]:
    """Return the condition of each kind, in the order of the sources."""
    results: dict[str, str] = {}
    for source in sources:
        results.setdefault(source.kind, source.condition)
    return results


def _unusable(
    kind: str, condition: str, need: type[View], sample: FeedbackSample, count: int
) -> str:
    """Return the reason why feedback that is to be learned from gives no view."""
    views = sample.by_kind(need).get(kind, [])
    if views and need is Pair:
        ties = sum(view.tie for view in views)
        what = "are ties" if ties == len(views) else "are ties or compare equal texts"
        return f"{kind} with a winner (all {len(views):,} {what})"
    if sample.left_out[NOT_PLAIN] and not views:
        return f"{kind} of single messages ({sample.left_out[NOT_PLAIN]:,} are {NOT_PLAIN})"
    return f"{kind}: {condition} (none of {count:,})" if condition else kind


def held_out_remark(counts: FeedbackCounts) -> str:
    """Return a sentence for a store whose feedback is all held out; empty for other stores.

    Parameters
    ----------
    counts : FeedbackCounts
        Feedback in the store.
    """
    if not counts.all_held_out:
        return ""
    what = (
        "The one prompt with feedback is"
        if counts.prompts == 1
        else f"All {counts.prompts:,} prompts with feedback are"
    )
    return (
        f"{what} held out for evaluation, as a fifth of all prompts is. Feedback on other prompts "
        "is needed to learn from; `backtalk learn METHOD --split all` learns from it, and then "
        "evaluation needs other prompts"
    )


MAX_METHODS = 8
"""Maximum number of other methods that an error names."""
COMMON_METHODS = ("best-of-n", "sft", "dpo", "kto")
"""Methods that an error names first."""


def nothing_learned_mend(
    counts: FeedbackCounts, feedback: TrainingSet, kinds: Collection[str], others: Sequence[str]
) -> str:
    """Return what to do if a method has nothing to learn from.

    Parameters
    ----------
    counts : FeedbackCounts
        Feedback in the store.
    feedback : TrainingSet
        Training set without anything to learn from.
    kinds : collection of str
        Kinds of feedback that the method can learn from.
    others : sequence of str
        Methods that find something to learn from.
    """
    mends = []
    if any(counts.held_out[kind] for kind in kinds):
        mends.append(_held_out_mend(counts, feedback))
    elif any(kind in counts.other_aspects for kind in kinds):
        mends.append("Name an aspect to learn from it: --aspect NAME, aspect= in Python")
    elif kinds:
        mends.append(f"Collect feedback that it can learn from: {', '.join(sorted(kinds))}")
    there = {kind: count for kind, count in sorted(counts.learned.items()) if count}
    if there:
        listed = ", ".join(f"{count:,} {kind}" for kind, count in there.items())
        mends.append(f"There is, on the {feedback.split} prompts: {listed}")
    if others:
        more = ", ..." if len(others) > MAX_METHODS else ""
        common = [name for name in COMMON_METHODS if name in others]
        named = [*common, *sorted(set(others) - {*common})][:MAX_METHODS]
        mends.append(f"Methods that can learn from it: {', '.join(named)}{more}")
    return ". ".join(mends)


def _held_out_mend(counts: FeedbackCounts, feedback: TrainingSet) -> str:
    if feedback.split == "held-out":
        return "Feedback on other prompts is not read: leave out --split held-out"
    learn_from_all = (
        "--split all (split='all' in Python) learns from it too, and then evaluation needs other "
        "prompts: --prompts FILE"
    )
    if counts.prompts == counts.held_out_prompts == 1:
        return f"The one prompt with feedback is held out for evaluation. {learn_from_all}"
    return f"A fifth of all prompts is held out: collect feedback on others. {learn_from_all}"
