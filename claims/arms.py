"""A world of a few arms: answers are numbers, a policy is a table, and the optimum is known.

The methods are the project's own, from feedback to the trees and the objective that they train on;
only the trainer's language model is replaced by a table of logits, one row a prompt.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from torch import Tensor

from backtalk.feedback import Annotator, Interaction, Message, Preference, content_id
from backtalk.feedback.case import Case
from backtalk.learn import get_method
from backtalk.learn.context import MethodContext
from backtalk.learn.finetune import Batch, TrainingTask
from backtalk.learn.finetune.encoding import Encoder
from backtalk.learn.finetune.registration import build_plan
from backtalk.learn.online.feedback_sources import InMemoryTrainingSet
from backtalk.learn.online.oracle_feedback import PairwiseOracle
from backtalk.models import Completion, NamedSpec, Request, Usage, register_model
from backtalk.models.run_sync import run_sync
from backtalk.policy import Policy, save_policy
from backtalk.rewards import ResponsePair
from backtalk.run import Run
from backtalk.store import Store

Array = NDArray[np.float64]
WHO = Annotator.model("table")


@register_model("arms")
class Arms:
    """A policy that is a table: the prompt is a row's number, the answer an arm's.

    Parameters
    ----------
    logits
        Shape ``(prompts, arms)``.
    """

    name = "arms"

    def __init__(self, *, logits: list[list[float]]) -> None:
        self._log = log_softmax(np.array(logits), axis=1)
        self.identity = content_id("arms", json.dumps(logits))

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Sample an arm for each request, with the seed of the request."""
        results = []
        for request in requests:
            probabilities = np.exp(self._log[int(request.messages[-1].text)])
            draw = np.random.default_rng(request.draw_seed).random()
            arm = min(int(np.searchsorted(probabilities.cumsum(), draw)), len(probabilities) - 1)
            results.append(Completion(text=str(arm), usage=Usage(1, 1, 1)))
        return results

    async def score(self, texts: Sequence[tuple[tuple[Message, ...], str]]) -> list[Array]:
        """Return the log-probability of each arm."""
        return [self._log[int(prompt[-1].text), [int(text)]] for prompt, text in texts]

    def bound(self, request: Request) -> Usage:  # noqa: ARG002 - as every model
        """Return one token."""
        return Usage(1, 1, 1)


class _Numbers:
    """Prompts and arms as tokens: their numbers."""

    def conversation(
        self, messages: Sequence[Message], completion: str
    ) -> tuple[list[int], list[int]]:
        return [int(messages[-1].text)], [int(completion)]


@dataclass(frozen=True)
class Table:
    """Preferences between arms, as an oracle.

    Parameters
    ----------
    preferences
        ``P(a > b)`` for each prompt, shape ``(prompts, arms, arms)``.
    """

    preferences: Array
    name = "table"

    async def prefer(self, compared: Sequence[ResponsePair]) -> Array:
        """Return the table's entries."""
        return np.array([self.preferences[int(p[-1].text), int(a), int(b)] for p, a, b in compared])


def by_rewards(rewards: Array) -> Array:
    """Return the Bradley-Terry preferences of rewards, shape ``(..., arms, arms)``."""
    return np.asarray(1 / (1 + np.exp(rewards[..., None, :] - rewards[..., :, None])))


def every_pair(preferences: Array, drawn: Array) -> list[Case]:
    """Return what endless comparisons of samples say: all arms, weighted by how often they meet.

    An arm that meets itself is even with it.

    Parameters
    ----------
    preferences
        As :class:`Table` has them.
    drawn
        How often each arm is drawn, shape ``(prompts, arms)``.
    """
    cases = []
    for prompt, (table, often) in enumerate(zip(preferences, drawn, strict=True)):
        count = len(often)
        interaction = Interaction.of(str(prompt), *map(str, range(count)), *map(str, range(count)))
        met = np.outer(often, often)
        met = np.maximum(met / met.max(), 1e-300)
        pairs = [(a, b, table[a, b], met[a, b]) for a in range(count) for b in range(a + 1, count)]
        # A pair counts once for each of its two arms: with itself, twice for one.
        pairs += [(a, a + count, 0.5, met[a, a] / 2) for a in range(count)]
        feedback = tuple(
            Preference(
                interaction=interaction.id,
                annotator=WHO,
                a=str(a),
                b=str(b),
                verdict=Preference.verdict_for(float(p)),
                probability=float(p),
                confidence=float(weight),
            )
            for a, b, p, weight in pairs
        )
        cases.append(Case(interaction, feedback))
    return cases


class Bench:
    """Test bench on which methods learn tables.

    Parameters
    ----------
    store, run
        Where policies are kept, and what seeds come from.
    """

    def __init__(self, store: Store, run: Run) -> None:
        self.store, self.run = store, run

    def policy(self, logits: Array) -> Policy:
        """Return the policy of a table, kept so that it can be named."""
        made = Policy(model=NamedSpec(name="arms", options={"logits": np.asarray(logits).tolist()}))
        save_policy(self.store, made)
        return made

    def answers(
        self, actor: Sequence[Array], count: int, *, seed: int, judge: Table, draws: bool = True
    ) -> list[Case]:
        """Return answers that tables draw for each prompt, and the verdicts on each two of them.

        Parameters
        ----------
        actor : sequence of Array
            Logits of the policies, which answer in turns.
        count : int
            Number of answers per prompt.
        seed : int
            Seed of answers and verdicts.
        judge
            Who compares.
        draws
            As for :class:`~backtalk.learn.online.oracle_feedback.PairwiseOracle`.
        """
        policies = [self.policy(logits) for logits in actor]
        rows = np.arange(len(actor[0])).repeat(count)
        rng = np.random.default_rng([seed, 3])
        drawn = [
            [int(rng.choice(len(table[row]), p=softmax(table[row]))) for table in actor]
            for row in rows
        ]
        interactions = []
        for row, arms in zip(rows.tolist(), drawn, strict=True):
            interaction = Interaction.of(str(row), *map(str, arms))
            by = tuple(
                response.model_copy(update={"policy": policy.id})
                for response, policy in zip(interaction.responses, policies, strict=True)
            )
            interactions.append(interaction.model_copy(update={"responses": by}))
        return run_sync(PairwiseOracle(judge, sample_verdicts=draws).give(interactions, seed=seed))

    def learned(
        self,
        method: str,
        now: Array,
        cases: Sequence[Case],
        *,
        reference: Array | None = None,
        within: float | None = None,
        **options: Any,
    ) -> Array:
        """Return the log-probabilities that a method makes of a table, shape ``(prompts, arms)``.

        Parameters
        ----------
        method
            By name.
        now
            The table that learns.
        cases
            What it learns from.
        reference
            The reference's table; the one that learns if left out.
        within
            The class of policies: by how many nats the logits may be away from the reference's.
        options
            The method's.
        """
        if reference is not None:
            options["reference"] = self.policy(reference).id
        chosen = get_method(method)
        work = MethodContext(self.policy(now), InMemoryTrainingSet(self.store, cases), self.run)
        make, _ = run_sync(build_plan(method, work, chosen.read_options(options)))
        parts = [part for part in make(Encoder(_Numbers())) if part.trees]  # type: ignore[arg-type]
        return least(parts, now, now if reference is None else reference, within=within)


@contextmanager
def bench(seed: int) -> Iterator[Bench]:
    """Make a bench for a while."""
    with Store(":memory:") as store, Run(seed=seed) as run:
        yield Bench(store, run)


def least(
    parts: Sequence[TrainingTask], now: Array, reference: Array, *, within: float | None = None
) -> Array:
    """Return the log-probabilities of the table that has the least loss, by L-BFGS-B.

    Where there is nothing to learn from, the table stays as it is.

    Parameters
    ----------
    parts
        What the loss is of.
    now
        Where the search begins.
    reference
        The reference's table.
    within
        As for :meth:`Bench.learned`.
    """
    if not parts:
        return np.asarray(log_softmax(now, axis=1))
    known = log_softmax(reference, axis=1)
    ready = [_ready(part, torch.from_numpy(known)) for part in parts]

    def loss(flat: Array) -> tuple[float, Array]:
        logits = torch.from_numpy(flat.reshape(now.shape)).requires_grad_()
        log_probs = logits.log_softmax(dim=1)
        total = torch.zeros((), dtype=torch.float64)
        for part, (batch, places, weights) in zip(parts, ready, strict=True):
            term = part.objective(replace(batch, policy=log_probs[places]))
            total = total + (term.losses * weights).sum() / weights.sum()
        (slope,) = torch.autograd.grad(total, logits)
        return float(total.detach()), slope.numpy().ravel()

    bounds = None
    start = log_softmax(now, axis=1)
    if within is not None:
        bounds = [(value - within, value + within) for value in known.ravel()]
        # Of the logits that give this policy, those whose mean is the reference's.
        start = start - (start - known).mean(axis=1, keepdims=True)
    result = minimize(
        loss,
        start.ravel(),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": 2000, "maxcor": 20, "ftol": 0.0, "gtol": 1e-12},
    )
    return np.asarray(log_softmax(result.x.reshape(now.shape), axis=1))


def _ready(part: TrainingTask, known: Tensor) -> tuple[Batch, tuple[Tensor, Tensor], Tensor]:
    branches = [(tree.prompt[0], branch) for tree in part.trees for branch in tree.responses]
    rows = torch.tensor([row for row, _ in branches])
    arms = torch.tensor([branch.tokens[0] for _, branch in branches])
    batch = Batch.from_trees(part.trees, known[rows, arms], known[rows, arms])
    return batch, (rows, arms), part.objective.unit_weights(batch)


def divergence(one: Array, other: Array) -> float:
    """Return the mean KL divergence, in nats, of one table of log-probabilities from another."""
    return float((np.exp(one) * (one - other)).sum(axis=1).mean())
