"""Protocols of prompt optimisation: candidates, signals from feedback, and proposers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from backtalk.feedback.interaction import Prompt
from backtalk.learn.context import MethodContext
from backtalk.policy import Lineage, Policy, PromptTemplate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class PromptCandidate:
    """Values of all slots of a prompt."""

    system: str | None
    template: PromptTemplate = field(default_factory=PromptTemplate)
    proposer: str = "seed"
    """Name of the proposer that made it."""
    note: str = ""
    """Change, in a few words."""

    @classmethod
    def of(cls, policy: Policy) -> PromptCandidate:
        """Return the prompt of a policy."""
        return cls(policy.system, policy.prompt or PromptTemplate())

    def apply(self, policy: Policy, lineage: Lineage) -> Policy:
        """Return a policy with this prompt."""
        template = self.template if self.template != PromptTemplate() else None
        return policy.derive(system=self.system, prompt=template, lineage=lineage)


@dataclass(frozen=True)
class TextFeedback:
    """Words about one answer: a critique, a correction, the output of a check."""

    prompt: Prompt
    answer: str
    text: str
    """Critique or advice; empty if there is none."""
    better: str | None = None
    """Answer that is better, such as an edit; ``None`` if there is none."""


class Signal(Protocol):
    """Judgement of new answers, made from the feedback of a store.

    All optimisers use one, so that none needs a metric function.
    """

    name: str

    async def score(self, prompts: Sequence[Prompt], answers: Sequence[str]) -> NDArray[np.float64]:
        """Return the score of each answer, in [0, 1]."""
        ...

    async def explain(
        self, prompts: Sequence[Prompt], answers: Sequence[str]
    ) -> list[TextFeedback]:
        """Return words about each answer, as far as the feedback or a critic has any."""
        ...


@dataclass
class Trial:
    """Candidate with the scores of its answers so far."""

    candidate: PromptCandidate
    scores: dict[int, float] = field(default_factory=dict)
    """Score by index of the example."""
    answers: dict[int, str] = field(default_factory=dict)
    """Answer by index of the example."""
    accepted: bool = False
    """True if the gate accepted it over the incumbent of its time."""

    @property
    def mean(self) -> float:
        """Mean score; 0 without scores."""
        return sum(self.scores.values()) / len(self.scores) if self.scores else 0.0


@dataclass
class SearchState:
    """State of a search that proposers read."""

    context: MethodContext
    signal: Signal
    examples: list[Prompt]
    """Prompts that the search may use; the confirmation has others."""
    trials: list[Trial]
    """Candidates so far; the first is the seed."""
    incumbent: int
    """Index of the best candidate that the gate accepted."""
    rng: np.random.Generator


class Proposer(Protocol):
    """Part of an optimiser that makes new candidates."""

    name: str

    async def propose(self, state: SearchState, count: int) -> list[PromptCandidate]:
        """Return up to ``count`` new candidates; none if it has no further idea."""
        ...
