"""The true utility of a world as a reward. Only evaluation may use it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backtalk.errors import UnknownName
from backtalk.rewards.protocol import Answer, Scores
from backtalk.worlds.world import find_world, worlds


class TrueUtility:
    """What answers in a world are truly worth, in [0, 1].

    Parameters
    ----------
    world : str, default "mail"
        The world's name.
    aspect : str, optional
        One aspect alone; the weighted mean of all where it is left out.
    rules : sequence of str, default ()
        The texts of standing instructions that are in force, each within its scope.

    Raises
    ------
    UnknownName
        If there is no such world, aspect or rule.
    """

    bounds = (0.0, 1.0)
    """From useless to ideal."""

    def __init__(
        self, world: str = "mail", aspect: str | None = None, *, rules: Sequence[str] = ()
    ) -> None:
        self._world = find_world(world)
        self._rules = [self._world.rule(text) for text in rules]
        self._aspect = aspect
        if aspect is not None and aspect not in self._world.weights:
            raise UnknownName.among(f"aspect of {world}", aspect, list(self._world.weights))

    @classmethod
    def named(cls, what: str = "mail") -> TrueUtility:
        """Return it as the command line names it.

        Parameters
        ----------
        what : str, default "mail"
            A world, ``"sums"``; an aspect of the mail world, ``"safe"``; or an aspect of another,
            ``"sums/correct"``.
        """
        world, slash, aspect = what.partition("/")
        if slash:
            return cls(world, aspect)
        return cls(world) if world in worlds() else cls(aspect=world)

    @property
    def name(self) -> str:
        """What to call it in reports."""
        return self._aspect or "true utility"

    async def score(self, answers: Sequence[Answer]) -> Scores:
        """Return the utility of each answer, or its aspect's value."""
        results = [self._world.assess(prompt, text, self._rules) for prompt, text in answers]
        return Scores(
            np.array(
                [one.aspects[self._aspect] if self._aspect else one.utility for one in results],
                dtype=float,
            )
        )
