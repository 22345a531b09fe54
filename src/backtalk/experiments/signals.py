"""Feedback signals of experiments: a score for an arm, or the result of a duel.

The gateway records the experiment and the probabilities of the arms in each interaction's metadata.
Feedback is converted to numbers by the conversions of :mod:`backtalk.feedback`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from backtalk.experiments.experiment import (
    Experiment,
    RandomizationUnit,
    signal_aspect,
    signal_kinds,
)
from backtalk.feedback import AnyFeedback, Choice, Interaction, Preference, Ranking
from backtalk.feedback.case import Case
from backtalk.feedback.comparisons import compared_responses
from backtalk.feedback.conversions import views
from backtalk.feedback.views import ScoreView

_DIGITS = 3


@dataclass(frozen=True)
class ArmAssignment:
    """Assignment of an interaction to an arm."""

    probabilities: dict[str, float]
    """Probability of each active arm; in a duel, of being one of the two."""


def make_note(experiment: str, probabilities: dict[str, float]) -> dict[str, Any]:
    """Return the metadata of an interaction that is part of an experiment."""
    return {"name": experiment, "probabilities": probabilities}


def get_assignment(interaction: Interaction, experiment: str | None = None) -> ArmAssignment | None:
    """Return the assignment of an interaction, ``None`` if it was not part of the experiment.

    Parameters
    ----------
    interaction : Interaction
        Interaction with the gateway's metadata.
    experiment : str, optional
        Name of the experiment. Default: any.
    """
    gateway = interaction.metadata.get("gateway")
    note = gateway.get("experiment") if isinstance(gateway, dict) else None
    if not isinstance(note, dict) or experiment not in {None, note.get("name")}:
        return None
    probabilities = note.get("probabilities", note.get("chances"))
    if not isinstance(probabilities, dict):
        return None
    return ArmAssignment(
        {
            arm: float(p)
            for arm, p in probabilities.items()
            if isinstance(p, (int, float)) and 0 < p <= 1
        }
    )


def get_arms(interaction: Interaction) -> tuple[str, ...]:
    """Return the distinct arms that answered, in the order of their first response."""
    arms = [response.policy or interaction.policy for response in interaction.responses]
    return tuple(dict.fromkeys(arm for arm in arms if arm is not None))


def get_unit(interaction: Interaction, unit: RandomizationUnit) -> str:
    """Return the unit that counts once: the session or user, or else the interaction."""
    named = {"request": None, "session": interaction.session, "user": interaction.user}[unit]
    return f"{unit}:{named}" if named else interaction.id


def score_feedback(
    interaction: Interaction, item: AnyFeedback, signal: str
) -> tuple[str, float] | None:
    """Return the arm and the score of feedback.

    Parameters
    ----------
    interaction : Interaction
        Interaction that the feedback is about.
    item : AnyFeedback
        Feedback.
    signal : str
        Signal of the experiment.

    Returns
    -------
    tuple or None
        Id of the policy, and the score in [0, 1], rounded to 3 digits. ``None`` if the feedback
        does not carry the signal.
    """
    if item.kind not in signal_kinds(signal) or isinstance(item, (Preference, Ranking, Choice)):
        return None
    result = views(Case(interaction, (item,)), ScoreView)
    if not result or result[0].aspect != signal_aspect(signal):
        return None
    arm = _arm(interaction, item.references()[0][1])
    return None if arm is None else (arm, round(result[0].score, _DIGITS))


def duel(interaction: Interaction, item: AnyFeedback, experiment: Experiment) -> float | None:
    """Return the result of a duel, from the view of the arm that is first in the experiment.

    Parameters
    ----------
    interaction : Interaction
        Interaction with responses of two arms.
    item : AnyFeedback
        Feedback.
    experiment : Experiment
        Experiment with dueling allocation.

    Returns
    -------
    float or None
        1 for a win, 0 for a loss, 0.5 for a tie; for a ranking, the share of the pairs of
        responses that it won. ``None`` if the feedback does not compare the two.
    """
    if not is_comparison(item, experiment):
        return None
    first = min(get_arms(interaction), key=experiment.arms.index)
    won = [
        value if one == first else 1 - value
        for a, b, value in compared_responses(item)
        if (one := _arm(interaction, a)) != (other := _arm(interaction, b))
        and None not in {one, other}
    ]
    return round(sum(won) / len(won), _DIGITS) if won else None


def is_comparison(item: AnyFeedback, experiment: Experiment) -> bool:
    """Return true if feedback carries the outcome of a duel, be it for neither response."""
    return item.kind in signal_kinds(experiment.outcome) and getattr(item, "aspect", None) in {
        None,
        signal_aspect(experiment.outcome),
    }


def _arm(interaction: Interaction, response: str) -> str | None:
    return interaction.response(response).policy or interaction.policy
