"""Comparisons of responses in one record of feedback."""

from __future__ import annotations

from backtalk.feedback.kinds import AnyFeedback, Choice, Preference, Ranking, verdict_score


def compared_responses(item: AnyFeedback) -> list[tuple[str, str, float]]:
    """Return pairs of ids of responses, with the score of the first against the second.

    The score is 1 if the first is better, 0 if the second is, and 0.5 for a tie. Feedback that
    compares no responses gives no pairs.
    """
    if isinstance(item, Preference):
        value = verdict_score(item.verdict) if item.probability is None else item.probability
        return [] if value is None else [(item.a, item.b, value)]
    if isinstance(item, Choice):
        shown = [one.response for one in item.shown]
        if item.chosen is None:
            return []
        return [(item.chosen, other, 1.0) for other in shown if other != item.chosen]
    if not isinstance(item, Ranking):
        return []
    placed = [(index, id_) for index, tier in enumerate(item.tiers) for id_ in tier]
    return [
        (a, b, 0.5 if index == other else 1.0)
        for i, (index, a) in enumerate(placed)
        for other, b in placed[i + 1 :]
        if index != other or item.within == "tied"
    ]
