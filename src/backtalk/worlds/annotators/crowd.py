"""Crowds of simulated people, with groups of different values and a total of working time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from backtalk.errors import BacktalkError
from backtalk.feedback import AnyFeedback, Interaction
from backtalk.feedback.case import Case
from backtalk.worlds.annotators.feedback import give_feedback
from backtalk.worlds.annotators.person import Person


@dataclass(frozen=True)
class Group:
    """Part of a crowd with the same values."""

    name: str
    share: float
    """Share of the people, in (0, 1]."""
    weights: Mapping[str, float] | None = None
    """Weight of each aspect; the true weights by default."""


@dataclass
class Crowd:
    """Several people who share the work."""

    people: Sequence[Person]
    seed: int = 0
    seconds: float = field(default=0.0, init=False)
    """Total working time so far, in seconds."""

    def __post_init__(self) -> None:
        if not self.people:
            raise BacktalkError("The crowd is empty", "Pass at least one person")

    def annotate(
        self,
        interactions: Iterable[Interaction],
        kinds: Sequence[str],
        *,
        people_per_interaction: int = 1,
    ) -> Iterator[Case]:
        """Yield interactions with the feedback of randomly chosen people.

        Parameters
        ----------
        interactions : iterable of Interaction
            Prompts of the world with their responses.
        kinds : sequence of str
            Kinds of feedback that each person gives.
        people_per_interaction : int, default 1
            Number of different people who see an interaction, one after the other.

        Raises
        ------
        BacktalkError
            If there are fewer people than that.
        """
        if not 1 <= people_per_interaction <= len(self.people):
            raise BacktalkError(
                f"{people_per_interaction} different people cannot annotate each interaction",
                f"Choose a number in [1, {len(self.people)}]",
            )
        rng = np.random.default_rng([self.seed, 3])
        for interaction in interactions:
            feedback: list[AnyFeedback] = []
            for index in rng.choice(len(self.people), people_per_interaction, replace=False):
                feedback += self._give(self.people[index], interaction, kinds, feedback)
            yield Case(interaction, tuple(feedback))

    def _give(
        self,
        person: Person,
        interaction: Interaction,
        kinds: Sequence[str],
        seen: Sequence[AnyFeedback],
    ) -> list[AnyFeedback]:
        feedback: list[AnyFeedback] = []
        for kind in kinds:
            items = give_feedback(person, kind, interaction, seen=seen)
            self.seconds += person.cost(kind) if items else 0.0
            feedback += items
        return feedback


def make_crowd(
    world: str,
    size: int,
    *,
    groups: Sequence[Group] = (),
    seed: int = 0,
    **options: Any,
) -> Crowd:
    """Return a crowd of people who differ only in names, groups and tastes.

    Parameters
    ----------
    world : str
        Name of the world.
    size : int
        Number of people.
    groups : sequence of Group, default ()
        Groups, whose shares sum to 1. By default all people have the true weights.
    seed : int, default 0
        Seed of tastes and noise.
    **options : Any
        Fields of :class:`Person` that all people have: ``noise``, ``taste``, ``temperature``.

    Raises
    ------
    BacktalkError
        If a share is not in (0, 1], or the shares do not sum to 1.

    Examples
    --------
    >>> minority = Group("curt", 0.25, {"relevant": 1.0})
    >>> people = make_crowd("mail", 8, groups=[Group("most", 0.75), minority], noise=0.1).people
    >>> [person.group for person in people].count("curt")
    2
    """
    groups = list(groups) or [Group("", 1.0)]
    for group in groups:
        if not 0 < group.share <= 1:
            raise BacktalkError(
                f"The share of the group {group.name!r} is {group.share:g}",
                "Choose a share in (0, 1]",
            )
    total = sum(group.share for group in groups)
    if abs(total - 1) > 1e-9:
        raise BacktalkError(f"The shares of the groups sum to {total:g}", "Make them sum to 1")
    ends = np.round(np.cumsum([group.share for group in groups]) * size).astype(int)
    people = []
    for index in range(size):
        group = groups[int(np.searchsorted(ends, index, side="right"))]
        people.append(
            Person(
                f"person-{index}",
                world_name=world,
                weights=group.weights,
                group=group.name or None,
                seed=seed,
                **options,
            )
        )
    return Crowd(people, seed=seed)
