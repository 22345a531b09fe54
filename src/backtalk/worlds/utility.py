"""True utility of a world as a reward, for evaluation only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backtalk.errors import UnknownName
from backtalk.rewards.judge_info import JudgeInfo
from backtalk.rewards.protocol import PromptResponse, Scores
from backtalk.worlds.registry import get_world, world_names


class TrueUtility:
    """True utility of answers in a world, in [0, 1].

    Parameters
    ----------
    world : str, default "mail"
        Name of the world.
    aspect : str, optional
        Single aspect to score; the weighted mean of all aspects by default.
    rules : sequence of str, default ()
        Wordings of additional rules, each within its scope.

    Raises
    ------
    UnknownName
        If there is no such world, aspect or rule.
    """

    bounds = (0.0, 1.0)
    """Smallest and largest possible score."""

    def __init__(
        self, world: str = "mail", aspect: str | None = None, *, rules: Sequence[str] = ()
    ) -> None:
        self._world = get_world(world)
        self._rules = [self._world.get_rule(text) for text in rules]
        self._aspect = aspect
        if aspect is not None and aspect not in self._world.weights:
            raise UnknownName.among(f"aspect of {world}", aspect, list(self._world.weights))

    @classmethod
    def from_spec(cls, spec: str = "mail") -> TrueUtility:
        """Return the reward for a specification on the command line.

        Parameters
        ----------
        spec : str, default "mail"
            World such as ``"sums"``, aspect of the mail world such as ``"safe"``, or aspect of
            another world such as ``"sums/correct"``.

        Raises
        ------
        UnknownName
            If there is no such world or aspect.
        """
        world, slash, aspect = spec.partition("/")
        if slash:
            return cls(world, aspect)
        return cls(world) if world in world_names() else cls(aspect=world)

    @property
    def name(self) -> str:
        """Name in reports."""
        return self._aspect or "true utility"

    @property
    def info(self) -> JudgeInfo:
        """Description as a judge: the truth, which no policy can learn too well."""
        return JudgeInfo(name=self.name, kind="oracle")

    async def score(self, answers: Sequence[PromptResponse]) -> Scores:
        """Return the utility, or the aspect, of each answer."""
        results = [self._world.score(prompt, text, self._rules) for prompt, text in answers]
        return Scores(
            np.array(
                [
                    result.aspects[self._aspect] if self._aspect else result.utility
                    for result in results
                ],
                dtype=float,
            )
        )
