"""Protocols of prompt optimisation: candidates, signals from feedback, and proposers."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from backtalk.decode import DecoderBase
from backtalk.feedback import content_id
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
    decoder: DecoderBase | None = None
    """Decoder that answers; that of the policy by default."""

    @cached_property
    def version(self) -> str:
        """Hash of the slots; candidates with the same words have the same version."""
        decoder = () if self.decoder is None else (self.decoder.to_json(),)
        return content_id("prompt", self.system or "", self.template.version, *decoder)

    @classmethod
    def of(cls, policy: Policy) -> PromptCandidate:
        """Return the prompt of a policy."""
        return cls(policy.system, policy.prompt or PromptTemplate())

    def apply(self, policy: Policy, lineage: Lineage) -> Policy:
        """Return a policy with this prompt for all requests."""
        template = self.template if self.template != PromptTemplate() else None
        changes = {} if self.decoder is None else {"decoder": self.decoder}
        return policy.derive(
            system=self.system, prompt=template, compositions=None, lineage=lineage, **changes
        )


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
    evidence: float = 0.0
    """Logarithm of the evidence that it is better than the incumbent of its time; see
    :func:`~backtalk.stats.search_gate.log_evidence`."""

    @property
    def mean(self) -> float:
        """Mean score; 0 without scores."""
        return sum(self.scores.values()) / len(self.scores) if self.scores else 0.0


Evaluate = Callable[[Sequence[tuple[PromptCandidate, int]]], Awaitable[list[tuple[str, float]]]]
"""Function that answers examples, by index, with candidates, and returns answers and scores."""


@dataclass
class SearchState:
    """State of a search that proposers read."""

    context: MethodContext
    signal: Signal
    examples: list[Prompt]
    """Prompts that the search may use, in random order; the confirmation has others. Candidates
    answer the first ones first: proposers that do so as well share their answers."""
    trials: list[Trial]
    """Candidates so far; the first is the seed."""
    incumbent: int
    """Index of the candidate that leads the search; proposers build on it."""
    rng: np.random.Generator
    evaluate: Evaluate
    """Evaluation of candidates by a proposer of its own; the answers count in the budget."""
    pareto: bool = False
    """True if :meth:`parent` draws from the candidates that are best on some example."""
    room: Callable[[], float] = lambda: math.inf
    """Function that returns the number of further answers that the budget allows."""

    @property
    def best(self) -> Trial:
        """Trial of the candidate that leads the search."""
        return self.trials[self.incumbent]

    def parent(self) -> Trial:
        """Return a candidate to build on: the incumbent, or one of the Pareto front.

        A candidate of the front is drawn with a probability proportional to the number of examples
        on which none scores higher: Agrawal et al. (2025), "GEPA: Reflective prompt evolution can
        outperform reinforcement learning", algorithm 2.
        """
        if not self.pareto:
            return self.best
        counts = pareto_counts([trial.scores for trial in self.trials])
        total = sum(counts)
        if not total:
            return self.best
        return self.trials[self.rng.choice(len(counts), p=[count / total for count in counts])]


def pareto_counts(scores: Sequence[Mapping[int, float]]) -> list[int]:
    """Return the number of examples on which each candidate has the highest score.

    Candidates that another one dominates, being as good on all their examples, count 0.

    Parameters
    ----------
    scores : sequence of Mapping[int, float]
        Scores of each candidate, by index of the example.
    """
    highest: dict[int, float] = {}
    for one in scores:
        for index, score in one.items():
            highest[index] = max(highest.get(index, score), score)
    fronts = [{index for index, score in one.items() if score == highest[index]} for one in scores]
    return [0 if any(front < other for other in fronts) else len(front) for front in fronts]


class Proposer(Protocol):
    """Part of an optimiser that makes new candidates."""

    name: str

    async def propose(self, state: SearchState, count: int) -> list[PromptCandidate]:
        """Return up to ``count`` new candidates; none if it has no further idea."""
        ...
