"""Rankings that the comparisons of several responses determine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from backtalk.feedback.annotator import Annotator
from backtalk.feedback.case import Case
from backtalk.feedback.conversions.provenance import provenance
from backtalk.feedback.conversions.registry import conversion
from backtalk.feedback.conversions.scores import tiers_of
from backtalk.feedback.kinds import Preference
from backtalk.feedback.views import RankingView

_MIN_RESPONSES = 3


@conversion(
    RankingView,
    "preference",
    condition="preferences of one annotator that put three responses or more in order",
)
def preference_rankings(case: Case) -> list[RankingView]:
    """Convert the preferences of one annotator between several responses to their ranking.

    Ties are tiers. There is no ranking where the preferences leave the order of two responses open,
    or contradict each other. Uncertain preferences and "both bad" count for nothing.
    """
    groups: dict[tuple[Annotator, str], list[Preference]] = defaultdict(list)
    for item in case.of(Preference):
        if item.verdict != "both_bad" and item.probability in {None, 0.0, 1.0}:
            groups[item.annotator, item.aspect].append(item)
    rankings = []
    for (_, aspect), items in groups.items():
        tiers = rank_by_preferences(items)
        if sum(map(len, tiers)) >= _MIN_RESPONSES:
            rankings.append(
                RankingView(**tiers_of(case, tiers), aspect=aspect, **provenance(case, *items))
            )
    return rankings


def rank_by_preferences(items: Sequence[Preference]) -> list[list[str]]:
    """Return the tiers of responses, best first, that preferences determine; none otherwise.

    >>> by = {"interaction": "i", "annotator": Annotator.human()}
    >>> wins = [
    ...     Preference(a="x", b="y", verdict="b", **by), Preference(a="x", b="z", verdict="a", **by)
    ... ]
    >>> rank_by_preferences(wins)
    [['y'], ['x'], ['z']]
    >>> rank_by_preferences([*wins, Preference(a="z", b="y", verdict="a", **by)])
    []
    """
    tier = {id_: id_ for item in items for id_ in (item.a, item.b)}
    for item in items:
        if item.verdict == "tie":
            old, new = tier[item.b], tier[item.a]
            tier = {id_: new if name == old else name for id_, name in tier.items()}
    worse: dict[str, set[str]] = {name: set() for name in tier.values()}
    for item in items:
        if item.verdict != "tie":
            better, other = (item.a, item.b) if item.verdict == "a" else (item.b, item.a)
            worse[tier[better]].add(tier[other])
    order = _only_order(worse)
    return [[id_ for id_, own in tier.items() if own == name] for name in order]


def _only_order(worse: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the one order in which each name is before those worse than it; else none."""
    left = {name: set(others) for name, others in worse.items()}
    order = []
    while left:
        beaten = set().union(*left.values())
        best = [name for name in left if name not in beaten]
        if len(best) != 1:
            return []
        order.append(best[0])
        del left[best[0]]
    return order
