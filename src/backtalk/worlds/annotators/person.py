"""Simulated person: values, biases, noise and speed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args, get_type_hints

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from backtalk.errors import BacktalkError, UnknownName
from backtalk.feedback import Annotator, Interaction, content_id
from backtalk.worlds.registry import get_world
from backtalk.worlds.world import Assessment, Rule, World

CritiqueStyle = Literal["directional", "plain", "vague", "wrong"]
"""Style of critiques: ``"directional"`` states the correction, ``"plain"`` only the issue,
``"vague"`` neither, and ``"wrong"`` is false."""
EditStyle = Literal["minimal", "full"]
"""Style of edits: ``"minimal"`` fixes the issues only, ``"full"`` replaces the answer."""

SECONDS_PER_ITEM: Mapping[str, float] = {
    "label": 5,
    "rating": 10,
    "aspects": 30,
    "preference": 15,
    "ranking": 30,
    "critique": 40,
    "edit": 60,
    "demonstration": 120,
    "spans": 40,
    "steps": 40,
    "outcome": 0,
    "follow_up": 0,
    "choice": 0,
    "instruction": 30,
    "realtime": 10,
}
"""Working time for feedback of each kind, in seconds; 0 for observed behaviour."""

_OPTIONS = (
    *("noise", "temperature", "length_bias", "position_bias", "sycophancy", "taste", "delay"),
    *("abstention", "acceptance_threshold", "tie_threshold", "critique_style", "edit_style"),
    "time_factor",
)
_OLD_OPTIONS: Mapping[str, str] = {
    "acceptable": "acceptance_threshold",
    "no_difference": "tie_threshold",
    "critic": "critique_style",
    "editing": "edit_style",
    "pace": "time_factor",
}

_LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Person:
    """Simulated annotator of a world, after AlpacaFarm's and with more kinds of feedback.

    Deterministic: a person gives the same feedback on the same interaction each time. With the
    defaults all feedback is true.

    Dubois et al. (2023), "AlpacaFarm: a simulation framework for methods that learn from human
    feedback", section 3.

    Examples
    --------
    >>> from backtalk.feedback import Interaction
    >>> from backtalk.worlds import get_world
    >>> from backtalk.worlds.annotators import give_feedback
    >>> mail = get_world("mail")
    >>> (task,) = mail.tasks("train", 1)
    >>> interaction = Interaction.of(task.text, mail.ideal(task), "No idea.")
    >>> (preference,) = give_feedback(Person("ada"), "preference", interaction)
    >>> preference.verdict
    'a'
    """

    name: str
    world_name: str = "mail"
    """Name of the world."""
    noise: float = 0.0
    """Probability that a judgement is flipped, in [0, 0.5]."""
    temperature: float = 0.0
    """Scale of the Gumbel noise on each perceived utility. Pairs then follow the Bradley-Terry
    model, P(a) = sigmoid((u(a) - u(b)) / temperature), and rankings the Plackett-Luce model."""
    length_bias: float = 0.0
    """Perceived utility gained by each hundred characters of an answer."""
    position_bias: float = 0.0
    """Perceived utility gained by being shown first; half of it second, a third third."""
    sycophancy: float = 0.0
    """Probability of repeating the last feedback of the kind that the person sees, in [0, 1]."""
    taste: float = 0.0
    """Standard deviation of the person's own perceived utility of an answer; it makes people of
    one group differ."""
    weights: Mapping[str, float] | None = None
    """Weight of each aspect; the true weights of the world by default."""
    group: str | None = None
    """Name of the person's group."""
    drifts_to: Mapping[str, float] | None = None
    """Weights after a drift; no drift by default."""
    drift_days: float = 30.0
    """Duration of the drift in days, from :attr:`since` on."""
    since: datetime = _LONG_AGO
    """Start of the drift."""
    delay: float = 0.0
    """Mean delay of feedback after the interaction, in seconds."""
    abstention: float = 0.0
    """Probability of giving no feedback, in [0, 1]."""
    acceptance_threshold: float = 0.85
    """Smallest perceived utility of an acceptable answer."""
    tie_threshold: float = 0.01
    """Smallest difference of perceived utilities that is noticed."""
    critique_style: CritiqueStyle = "directional"
    """Style of critiques."""
    edit_style: EditStyle = "minimal"
    """Style of edits."""
    rules: tuple[Rule, ...] = ()
    """Rules that the person expects to be followed, each within its scope."""
    time_factor: float = 1.0
    """Working time relative to :data:`SECONDS_PER_ITEM`."""
    seed: int = 0
    """Seed of taste and noise."""

    def __post_init__(self) -> None:
        get_world(self.world_name)
        highest = {"noise": 0.5, "sycophancy": 1.0, "abstention": 1.0}
        for name in (
            *("noise", "sycophancy", "abstention", "temperature", "taste", "delay"),
            "time_factor",
        ):
            if not 0 <= getattr(self, name) <= highest.get(name, math.inf):
                raise BacktalkError(
                    f"The {name} of {self.name!r} is {getattr(self, name)}",
                    f"Choose a number in [0, {highest.get(name, math.inf):g}]",
                )
        if self.drift_days <= 0:
            raise BacktalkError(
                f"The drift_days of {self.name!r} is {self.drift_days}", "Choose a number above 0"
            )
        for name, known in (
            ("critique_style", get_args(CritiqueStyle)),
            ("edit_style", get_args(EditStyle)),
        ):
            if getattr(self, name) not in known:
                raise UnknownName.among(name, getattr(self, name), known)
        for weights in (self.weights, self.drifts_to):
            for aspect in weights or ():
                if aspect not in self.world.weights:
                    raise UnknownName.among("aspect", aspect, list(self.world.weights))

    @property
    def world(self) -> World[Any]:
        """The world of the person."""
        return get_world(self.world_name)

    @property
    def annotator(self) -> Annotator:
        """Annotator record of the person's feedback."""
        return Annotator.simulated(self.name, group=self.group)

    def cost(self, kind: str) -> float:
        """Return the working time for feedback of a kind, in seconds."""
        return self.time_factor * SECONDS_PER_ITEM[kind]

    def rng(self, *key: str) -> np.random.Generator:
        """Return a generator that depends on the person and the key only."""
        digest = content_id("person", self.name, str(self.seed), *key)
        return np.random.default_rng(int(digest, 16))

    def score(self, interaction: Interaction) -> list[Assessment]:
        """Return the assessment of each response, under the rules that the person expects."""
        return [
            self.world.score(interaction.prompt, response.text, self.rules)
            for response in interaction.responses
        ]

    def perceived_utility(self, interaction: Interaction) -> NDArray[np.float64]:
        """Return the perceived utility of each response without noise, ``(responses,)``."""
        weights = self._weights_at(interaction.time)
        positions = self._positions(interaction)
        request = interaction.prompt[-1].text
        return np.array(
            [
                sum(weights[name] * value for name, value in assessment.aspects.items())
                + self.taste * self._taste(request, response.text)
                + self.length_bias * len(response.text) / 100
                + self.position_bias / (1 + position)
                for assessment, response, position in zip(
                    self.score(interaction), interaction.responses, positions, strict=True
                )
            ]
        )

    def _taste(self, request: str, text: str) -> float:
        return float(self.rng("taste", request, text).normal()) if self.taste else 0.0

    def _weights_at(self, time: datetime | None) -> Mapping[str, float]:
        """Return the weight of each aspect at a time, drift included."""
        weights = self.weights or self.world.weights
        if self.drifts_to is None or time is None:
            return {name: weights.get(name, 0.0) for name in self.world.weights}
        days = (time - self.since) / timedelta(days=1)
        share = float(np.clip(days / self.drift_days, 0, 1))
        return {
            name: (1 - share) * weights.get(name, 0.0) + share * self.drifts_to.get(name, 0.0)
            for name in self.world.weights
        }

    @staticmethod
    def _positions(interaction: Interaction) -> list[int]:
        """Return the position at which each response was shown, from 0; its index if unknown."""
        ids = [response.id for response in interaction.responses]
        shown = list(interaction.shown or ids)
        return [shown.index(id_) if id_ in shown else len(shown) for id_ in ids]


def parse_person_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of :class:`Person` with texts converted to the types of the fields.

    The names before version 0.1 are accepted: ``acceptable``, ``no_difference``, ``critic``,
    ``editing`` and ``pace``.

    Raises
    ------
    UnknownName
        If an option is unknown; the message lists the known ones.
    BacktalkError
        If a value is invalid.
    """
    hints = get_type_hints(Person)
    results = {}
    for option, value in options.items():
        name = _OLD_OPTIONS.get(option, option)
        if name not in _OPTIONS:
            raise UnknownName.among("property of people", option, _OPTIONS)
        try:
            results[name] = TypeAdapter(hints[name]).validate_python(value)
        except ValidationError as error:
            raise BacktalkError(
                f"{option}={value!r} is not valid: {error.errors()[0]['msg']}"
            ) from None
    return results
