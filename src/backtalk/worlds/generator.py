"""What the writers of all worlds share: a task, a manner, luck, and how likely they err."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

from backtalk.worlds.world import AnyTask, ErrorRates, Rng

AnyManner = TypeVar("AnyManner")
Choice = TypeVar("Choice")


class TaskGenerator(ABC, Generic[AnyTask, AnyManner]):
    """Writes one answer, its faults drawn at random: what the small models are trained on.

    Parameters
    ----------
    task, manner
        What is to be written, and how.
    chance
        Where luck comes from.
    care : ErrorRates
        How likely faults are.
    """

    def __init__(self, task: AnyTask, manner: AnyManner, rng: Rng, care: ErrorRates) -> None:
        self._task = task
        self._manner = manner
        self._probability = rng
        self._care = care

    @abstractmethod
    def write(self) -> str:
        """Return the answer."""

    def _happens(self, probability: float) -> bool:
        return bool(self._probability.random() < probability)

    def _pick(self, choices: Sequence[Choice]) -> Choice:
        return choices[int(self._probability.integers(len(choices)))]
