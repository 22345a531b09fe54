"""Base class of the answer generators of all worlds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

from backtalk.worlds.world import AnyTask, ErrorRates, Rng

AnyStyle = TypeVar("AnyStyle")
AnyChoice = TypeVar("AnyChoice")


class TaskGenerator(ABC, Generic[AnyTask, AnyStyle]):
    """Generator of one answer with random errors, the training data of the small models.

    Parameters
    ----------
    task : AnyTask
        Task to answer.
    style : AnyStyle
        Required style or layout.
    rng : Rng
        Source of randomness.
    error_rates : ErrorRates
        Probability of each type of error.
    """

    def __init__(self, task: AnyTask, style: AnyStyle, rng: Rng, error_rates: ErrorRates) -> None:
        self._task = task
        self._style = style
        self._rng = rng
        self._error_rates = error_rates

    @abstractmethod
    def write(self) -> str:
        """Return a random answer."""

    def _happens(self, probability: float) -> bool:
        return bool(self._rng.random() < probability)

    def _pick(self, choices: Sequence[AnyChoice]) -> AnyChoice:
        return choices[int(self._rng.integers(len(choices)))]
