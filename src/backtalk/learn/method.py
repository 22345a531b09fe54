"""The register of methods: functions from a policy and feedback to a better policy."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, get_type_hints

from pydantic import TypeAdapter

from backtalk.errors import UnknownName
from backtalk.feedback.conversions import conversions_to
from backtalk.feedback.views import View
from backtalk.learn.options import read_options
from backtalk.learn.training_set import TrainingSet
from backtalk.policy import Policy
from backtalk.run import Run

Place = Literal["decoding", "prompt", "memory", "weights"]


@dataclass(frozen=True)
class Paper:
    """Where a method comes from."""

    title: str
    authors: str
    year: int
    url: str = ""

    def __str__(self) -> str:
        return f"{self.authors} ({self.year}), {self.title}"


@dataclass(frozen=True)
class OnlineDefaults:
    """How a method learns online, unless somebody says otherwise."""

    update_reference_every: int | None = None
    """After how many rounds the reference is set to what the policy is by then; where it is left
    out, the reference is the first policy throughout."""
    sampling: str = "policy"
    """Who draws the answers; see :data:`~backtalk.learn.online.samplers.SAMPLERS`."""
    pairs: str = "best-worst"
    """Which answers are compared; see :func:`~backtalk.learn.online.oracle_feedback.make_feedback_source`."""


@dataclass(frozen=True)
class Method:
    """A way to learn: what it needs, where it acts, and the function itself."""

    name: str
    target: Place
    """What of a policy it changes."""
    needs: tuple[type[View], ...]
    """The views of feedback that it learns from; it needs some of each."""
    paper: Paper
    function: Callable[..., Any]
    options: dict[str, Any] = field(default_factory=dict)
    """Its options with their defaults."""
    types: dict[str, Any] = field(default_factory=dict)
    """The type of each option."""
    rounds: OnlineDefaults = OnlineDefaults()
    """How it learns online."""

    @property
    def summary(self) -> str:
        """What it does, in one sentence."""
        return (inspect.getdoc(self.function) or "").split("\n", maxsplit=1)[0]

    @property
    def kinds(self) -> list[str]:
        """The kinds of feedback that can drive it."""
        return sorted({way.source for need in self.needs for way in conversions_to(need)})

    def read_options(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return options of the right types, texts converted, defaults filled in.

        Raises
        ------
        UnknownName
            For an option that the method does not have; it lists those that it has.
        BacktalkError
            For a value that does not fit.
        """
        return read_options(self.name, self.options, self.types, given)

    async def learn(
        self, policy: Policy, feedback: TrainingSet, run: Run, **options: Any
    ) -> Policy:
        """Return the policy that the method makes of this one.

        Raises
        ------
        BacktalkError
            If the feedback holds nothing that the method can learn from.
        """
        values = self.read_options(options)
        learned = await self.function(policy, feedback, run, **values)
        return TypeAdapter(Policy).validate_python(learned)


METHODS: dict[str, Method] = {}
"""Every method by name."""


def method(
    name: str, *, place: Place, needs: Iterable[type[View]], paper: Paper
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register an async function ``(policy, feedback, run, *, options) -> policy`` as a method."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        options = {
            option.name: option.default
            for option in inspect.signature(function).parameters.values()
            if option.kind is option.KEYWORD_ONLY
        }
        types = get_type_hints(function, include_extras=True)
        METHODS[name] = Method(name, place, tuple(needs), paper, function, options, types)
        return function

    return register


def find_method(name: str) -> Method:
    """Return a method by name, or raise ``UnknownName``."""
    if name not in METHODS:
        raise UnknownName.among("method", name, list(METHODS))
    return METHODS[name]
