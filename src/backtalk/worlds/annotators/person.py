"""One simulated person: what they value, how they err, how long they take."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args, get_type_hints

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from backtalk.errors import BacktalkError, UnknownName
from backtalk.feedback import Annotator, AnyFeedback, Interaction, content_id
from backtalk.worlds.world import Assessment, Rule, World, find_world

Critic = Literal["directional", "plain", "vague", "wrong"]
"""Critiques that say what to change into what, that only say what is wrong, that say nothing, or
that are false."""
Editing = Literal["minimal", "full"]
"""Edits that mend what is wrong and leave the rest, or that write the answer anew."""

SECONDS: Mapping[str, float] = {
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
"""How long a person works for a piece of feedback of each kind. What is observed costs nothing."""

_SETTABLE = (
    *("noise", "temperature", "length_bias", "position_bias", "sycophancy", "taste", "delay"),
    *("abstention", "acceptable", "no_difference", "critic", "editing", "pace"),
)

_LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Person:
    """Somebody who reacts to answers, as AlpacaFarm's simulated annotators do and in more ways.

    Deterministic: the same person says the same about the same interaction. With the defaults a
    person says the truth.

    Dubois et al. (2023), "AlpacaFarm: a simulation framework for methods that learn from human
    feedback", section 3.

    Examples
    --------
    >>> from backtalk.feedback import Interaction
    >>> from backtalk.worlds import find_world
    >>> mail = find_world("mail")
    >>> (task,) = mail.tasks("train", 1)
    >>> talk = Interaction.of(task.text, mail.ideal(task), "No idea.")
    >>> (said,) = Person("ada").give("preference", talk)
    >>> said.verdict
    'a'
    """

    name: str
    world: str = "mail"
    """The name of the world that the person lives in."""
    noise: float = 0.0
    """How likely each judgement is turned round, in [0, 0.5]."""
    temperature: float = 0.0
    """How much chance there is in what seems better: the scale of the Gumbel noise on each felt
    utility, so that a pair is judged by P(a) = sigmoid((u(a) - u(b)) / temperature), the
    Bradley-Terry model, and a ranking by the Plackett-Luce model."""
    length_bias: float = 0.0
    """How much utility an answer seems to gain by each hundred characters."""
    position_bias: float = 0.0
    """How much utility the answer shown first seems to gain; half as much the second, and so on."""
    sycophancy: float = 0.0
    """How likely the person repeats what they see that somebody said before, in [0, 1]."""
    taste: float = 0.0
    """The standard deviation of what the person alone finds in an answer, as utility: what makes
    people of one group differ."""
    weights: Mapping[str, float] | None = None
    """What the person values: the weights of the world's aspects; the true ones by default."""
    group: str | None = None
    drifts_to: Mapping[str, float] | None = None
    """What the person comes to value, where that changes."""
    drift_days: float = 30.0
    """How long the change takes, from :attr:`since` on."""
    since: datetime = _LONG_AGO
    delay: float = 0.0
    """How many seconds feedback comes after the interaction, on average."""
    abstention: float = 0.0
    """How likely the person says nothing, in [0, 1]."""
    acceptable: float = 0.85
    """The least felt utility of an answer that will do."""
    no_difference: float = 0.01
    """Felt utilities this close seem equal."""
    critic: Critic = "directional"
    editing: Editing = "minimal"
    rules: tuple[Rule, ...] = ()
    """The standing instructions that the person has in mind, each within its scope."""
    pace: float = 1.0
    """How long the person takes, against :data:`SECONDS`."""
    seed: int = 0

    def __post_init__(self) -> None:
        find_world(self.world)
        most = {"noise": 0.5, "sycophancy": 1.0, "abstention": 1.0}
        for name in ("noise", "sycophancy", "abstention", "temperature", "taste", "delay", "pace"):
            if not 0 <= getattr(self, name) <= most.get(name, math.inf):
                raise BacktalkError(
                    f"The {name} of {self.name!r} is {getattr(self, name)}",
                    f"Give a number in [0, {most.get(name, math.inf):g}]",
                )
        if self.drift_days <= 0:
            raise BacktalkError(
                f"The drift_days of {self.name!r} is {self.drift_days}", "Give a number above 0"
            )
        for name, known in (("critic", get_args(Critic)), ("editing", get_args(Editing))):
            if getattr(self, name) not in known:
                raise UnknownName.among(name, getattr(self, name), known)
        for weights in (self.weights, self.drifts_to):
            for aspect in weights or ():
                if aspect not in self.home.weights:
                    raise UnknownName.among("aspect", aspect, list(self.home.weights))

    @property
    def home(self) -> World[Any]:
        """The world that the person lives in."""
        return find_world(self.world)

    @property
    def annotator(self) -> Annotator:
        """The person as the source of feedback."""
        return Annotator.simulated(self.name, group=self.group)

    def cost(self, kind: str) -> float:
        """Return how many seconds the person works for a piece of feedback of a kind."""
        return self.pace * SECONDS[kind]

    def give(
        self, kind: str, interaction: Interaction, *, seen: Sequence[AnyFeedback] = ()
    ) -> list[AnyFeedback]:
        """Return the person's feedback of a kind on an interaction; none where there is no cause.

        Parameters
        ----------
        kind : str
            One of :data:`~backtalk.worlds.annotators.KINDS`.
        talk
            A prompt of the world with its responses.
        seen : sequence of AnyFeedback, default ()
            What the person sees that others said about it.

        Raises
        ------
        UnknownName
            For a kind that these people do not give.
        RecordError
            If the prompt is not one of the world's.
        """
        from backtalk.worlds.annotators.feedback import give  # noqa: PLC0415 - it needs this class

        return give(self, kind, interaction, seen)

    def rng(self, *about: str) -> np.random.Generator:
        """Return the person's luck in something, always the same."""
        digest = content_id("person", self.name, str(self.seed), *about)
        return np.random.default_rng(int(digest, 16))

    def assess(self, interaction: Interaction) -> list[Assessment]:
        """Return the truth about each response, under the rules that the person has in mind."""
        return [
            self.home.assess(interaction.prompt, response.text, self.rules)
            for response in interaction.responses
        ]

    def felt(self, interaction: Interaction) -> NDArray[np.float64]:
        """Return how good each response seems to the person, without chance, ``(responses,)``."""
        values = self._values(interaction.time)
        places = self._places(interaction)
        asked = interaction.prompt[-1].text
        return np.array(
            [
                sum(values[name] * value for name, value in result.aspects.items())
                + self.taste * self._own(asked, response.text)
                + self.length_bias * len(response.text) / 100
                + self.position_bias / (1 + place)
                for result, response, place in zip(
                    self.assess(interaction), interaction.responses, places, strict=True
                )
            ]
        )

    def _own(self, asked: str, text: str) -> float:
        return float(self.rng("taste", asked, text).normal()) if self.taste else 0.0

    def _values(self, time: datetime | None) -> Mapping[str, float]:
        """Return what the person values then."""
        values = self.weights or self.home.weights
        if self.drifts_to is None or time is None:
            return {name: values.get(name, 0.0) for name in self.home.weights}
        days = (time - self.since) / timedelta(days=1)
        share = float(np.clip(days / self.drift_days, 0, 1))
        return {
            name: (1 - share) * values.get(name, 0.0) + share * self.drifts_to.get(name, 0.0)
            for name in self.home.weights
        }

    @staticmethod
    def _places(interaction: Interaction) -> list[int]:
        """Return where each response was shown, from 0; as listed where that was not recorded."""
        ids = [response.id for response in interaction.responses]
        shown = list(interaction.shown or ids)
        return [shown.index(id_) if id_ in shown else len(shown) for id_ in ids]


def read_manner(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields of a :class:`Person` of the right types, texts converted.

    Raises
    ------
    UnknownName
        For what is no such field; it lists those that are.
    BacktalkError
        For a value that does not fit.
    """
    hints = get_type_hints(Person)
    results = {}
    for name, value in given.items():
        if name not in _SETTABLE:
            raise UnknownName.among("property of people", name, _SETTABLE)
        try:
            results[name] = TypeAdapter(hints[name]).validate_python(value)
        except ValidationError as error:
            raise BacktalkError(
                f"{name}={value!r} is not valid: {error.errors()[0]['msg']}"
            ) from None
    return results
