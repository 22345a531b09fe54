"""Many simulated people: groups that disagree, tastes that differ, and what they cost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from backtalk.errors import BacktalkError
from backtalk.feedback import AnyFeedback, Interaction
from backtalk.feedback.views import Case
from backtalk.worlds.annotators.person import Person


@dataclass(frozen=True)
class Group:
    """A part of a crowd that values the same things."""

    name: str
    share: float
    """Its share of the people, in (0, 1]."""
    weights: Mapping[str, float] | None = None
    """What it values; the true weights where left out."""


@dataclass
class Crowd:
    """Several people who share the work."""

    people: Sequence[Person]
    seed: int = 0
    seconds: float = field(default=0.0, init=False)
    """How long they have worked, together."""

    def __post_init__(self) -> None:
        if not self.people:
            raise BacktalkError("A crowd has nobody in it", "Give at least one person")

    def react(
        self, interactions: Iterable[Interaction], kinds: Sequence[str], *, each: int = 1
    ) -> Iterator[Case]:
        """Yield interactions with what different people said about them.

        Parameters
        ----------
        talks
            Prompts of the world with their responses.
        kinds : sequence of str
            The kinds of feedback that each person gives.
        each : int, default 1
            How many people look at an interaction, one after the other.
        """
        if not 1 <= each <= len(self.people):
            raise BacktalkError(
                f"{each} different people cannot look at each interaction",
                f"Give a number in [1, {len(self.people)}]",
            )
        rng = np.random.default_rng([self.seed, 3])
        for interaction in interactions:
            said: list[AnyFeedback] = []
            for place in rng.choice(len(self.people), each, replace=False):
                said += self._said(self.people[place], interaction, kinds, said)
            yield Case(interaction, tuple(said))

    def _said(
        self,
        person: Person,
        interaction: Interaction,
        kinds: Sequence[str],
        seen: Sequence[AnyFeedback],
    ) -> list[AnyFeedback]:
        said: list[AnyFeedback] = []
        for kind in kinds:
            given = person.give(kind, interaction, seen=seen)
            self.seconds += person.cost(kind) if given else 0.0
            said += given
        return said


def crowd(
    world: str,
    size: int,
    *,
    groups: Sequence[Group] = (),
    seed: int = 0,
    **manner: Any,
) -> Crowd:
    """Return a crowd of people who are alike but for their names, groups and tastes.

    Parameters
    ----------
    world : str
        Where they live.
    size : int
        How many they are.
    groups : sequence of Group, default ()
        Who among them values what; the shares sum to 1. All value the truth where left out.
    seed : int, default 0
        Decides tastes and luck.
    manner
        The fields of :class:`Person` that they share: ``noise``, ``taste``, ``temperature``.

    Raises
    ------
    BacktalkError
        If the shares do not sum to 1.

    Examples
    --------
    >>> minority = Group("curt", 0.25, {"relevant": 1.0})
    >>> people = crowd("mail", 8, groups=[Group("most", 0.75), minority], noise=0.1).people
    >>> [person.group for person in people].count("curt")
    2
    """
    parts = list(groups) or [Group("", 1.0)]
    for group in parts:
        if not 0 < group.share <= 1:
            raise BacktalkError(
                f"The share of the group {group.name!r} is {group.share:g}", "Give one in (0, 1]"
            )
    total = sum(group.share for group in parts)
    if abs(total - 1) > 1e-9:
        raise BacktalkError(f"The shares of the groups sum to {total:g}", "Make them sum to 1")
    ends = np.round(np.cumsum([group.share for group in parts]) * size).astype(int)
    people = []
    for place in range(size):
        group = parts[int(np.searchsorted(ends, place, side="right"))]
        people.append(
            Person(
                f"person-{place}",
                world=world,
                weights=group.weights,
                group=group.name or None,
                seed=seed,
                **manner,
            )
        )
    return Crowd(people, seed=seed)
