"""Bandit with a few arms: responses are arm numbers, policies are tables of logits.

The optimum is known. Methods run unchanged, from feedback to training trees and objectives. Only
the trainer's language model is replaced by a table of logits with one row per prompt.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
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
from backtalk.stats.validation import Floats
from backtalk.store import Store

ANNOTATOR = Annotator.model("table")


@register_model("arms")
class Arms:
    """Tabular policy: the prompt is the number of a row, the response the number of an arm.

    Parameters
    ----------
    logits : list of list of float
        Logits of the arms, shape ``(prompts, arms)``.
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
            uniform = np.random.default_rng(request.draw_seed).random()
            arm = min(int(np.searchsorted(probabilities.cumsum(), uniform)), len(probabilities) - 1)
            results.append(Completion(text=str(arm), usage=Usage(1, 1, 1)))
        return results

    async def score(self, texts: Sequence[tuple[tuple[Message, ...], str]]) -> list[Floats]:
        """Return the log-probability of each arm, as arrays of shape ``(1,)``."""
        return [self._log[int(prompt[-1].text), [int(text)]] for prompt, text in texts]

    def bound(self, request: Request) -> Usage:  # noqa: ARG002 - as every model
        """Return the usage of one token."""
        return Usage(1, 1, 1)


class _Numbers:
    """Chat format in which a prompt and a response are one token each, their number."""

    def conversation_tokens(
        self,
        messages: Sequence[Message],
        completion: str,
        reasoning: str | None = None,  # noqa: ARG002 - as every chat format
    ) -> tuple[list[int], list[int]]:
        return [int(messages[-1].text)], [int(completion)]


@dataclass(frozen=True)
class Table:
    """Preference oracle given by a table.

    Parameters
    ----------
    preferences : ndarray
        Probability ``P(a > b)`` for each prompt, shape ``(prompts, arms, arms)``.
    """

    preferences: Floats
    name = "table"

    async def prefer(self, compared: Sequence[ResponsePair]) -> Floats:
        """Return the probability that the first response is preferred, shape ``(pairs,)``."""
        return np.array([self.preferences[int(p[-1].text), int(a), int(b)] for p, a, b in compared])


def bradley_terry_preferences(rewards: Floats) -> Floats:
    """Return the Bradley-Terry probabilities ``P(a > b)``, shape ``(..., arms, arms)``."""
    return np.asarray(1 / (1 + np.exp(rewards[..., None, :] - rewards[..., :, None])))


def all_pairs(preferences: Floats, probabilities: Floats) -> list[Case]:
    """Return soft preferences between all pairs of arms, weighted by their probability.

    This is the limit of infinitely many comparisons of two samples. An arm is preferred to itself
    with probability 0.5.

    Parameters
    ----------
    preferences : ndarray
        Probability ``P(a > b)`` for each prompt, shape ``(prompts, arms, arms)``.
    probabilities : ndarray
        Probability of sampling each arm, shape ``(prompts, arms)``.
    """
    cases = []
    for prompt, (table, arm_weights) in enumerate(zip(preferences, probabilities, strict=True)):
        count = len(arm_weights)
        interaction = Interaction.of(str(prompt), *map(str, range(count)), *map(str, range(count)))
        meetings = np.outer(arm_weights, arm_weights)
        meetings = np.maximum(meetings / meetings.max(), 1e-300)
        pairs = [
            (a, b, table[a, b], meetings[a, b]) for a in range(count) for b in range(a + 1, count)
        ]
        # A pair of different arms stands for two ordered pairs, a pair of equal arms for one.
        pairs += [(a, a + count, 0.5, meetings[a, a] / 2) for a in range(count)]
        feedback = tuple(
            Preference(
                interaction=interaction.id,
                annotator=ANNOTATOR,
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
    """Test bench that runs methods on tabular policies.

    Parameters
    ----------
    store : Store
        Store of the policies.
    run : Run
        Source of seeds.
    """

    def __init__(self, store: Store, run: Run) -> None:
        self.store, self.run = store, run

    def policy(self, logits: Floats) -> Policy:
        """Return the policy of a table, saved in the store.

        Parameters
        ----------
        logits : ndarray
            Shape ``(prompts, arms)``.
        """
        policy = Policy(
            model=NamedSpec(name="arms", options={"logits": np.asarray(logits).tolist()})
        )
        save_policy(self.store, policy)
        return policy

    def answers(
        self, tables: Sequence[Floats], count: int, *, seed: int, judge: Table, draws: bool = True
    ) -> list[Case]:
        """Return samples from tables for each prompt, with verdicts on all pairs of them.

        Parameters
        ----------
        tables : sequence of ndarray
            Logits of the policies, each of shape ``(prompts, arms)``. Each interaction has one
            sample of every table.
        count : int
            Number of interactions per prompt.
        seed : int
            Seed of samples and verdicts.
        judge : Table
            Preference oracle.
        draws : bool, default True
            If true, sample verdicts from the probabilities; otherwise record the probabilities.
        """
        policies = [self.policy(logits) for logits in tables]
        rows = np.arange(len(tables[0])).repeat(count)
        rng = np.random.default_rng([seed, 3])
        samples = [
            [int(rng.choice(len(table[row]), p=softmax(table[row]))) for table in tables]
            for row in rows
        ]
        interactions = []
        for row, arms in zip(rows.tolist(), samples, strict=True):
            interaction = Interaction.of(str(row), *map(str, arms))
            responses = tuple(
                response.model_copy(update={"policy": policy.id})
                for response, policy in zip(interaction.responses, policies, strict=True)
            )
            interactions.append(interaction.model_copy(update={"responses": responses}))
        return run_sync(PairwiseOracle(judge, sample_verdicts=draws).give(interactions, seed=seed))

    def learn(
        self,
        method: str,
        start_logits: Floats,
        cases: Sequence[Case],
        *,
        reference: Floats | None = None,
        max_shift: float | None = None,
        **options: Any,
    ) -> Floats:
        """Return the log-probabilities of a table trained by a method, shape ``(prompts, arms)``.

        Parameters
        ----------
        method : str
            Name of the method.
        start_logits : ndarray
            Logits before training, shape ``(prompts, arms)``.
        cases : sequence of Case
            Training data.
        reference : ndarray, optional
            Logits of the reference policy; default: ``start_logits``.
        max_shift : float, optional
            Largest difference of a logit from the reference's, in nats; default: no limit.
        **options : Any
            Options of the method.
        """
        if reference is not None:
            options["reference"] = self.policy(reference).id
        context = MethodContext(
            self.policy(start_logits), InMemoryTrainingSet(self.store, cases), self.run
        )
        options = get_method(method).read_options(options)
        build_tasks, _ = run_sync(build_plan(method, context, options))
        tasks = [task for task in build_tasks(Encoder(_Numbers())) if task.trees]  # type: ignore[arg-type]
        return minimise_loss(
            tasks,
            start_logits,
            start_logits if reference is None else reference,
            max_shift=max_shift,
        )


@contextmanager
def open_bench(seed: int) -> Iterator[Bench]:
    """Open a bench with an in-memory store."""
    with Store(":memory:") as store, Run(seed=seed) as run:
        yield Bench(store, run)


def minimise_loss(
    tasks: Sequence[TrainingTask],
    start_logits: Floats,
    reference: Floats,
    *,
    max_shift: float | None = None,
) -> Floats:
    """Return the log-probabilities of the table that minimises the loss, by L-BFGS-B.

    Without tasks, the table is returned unchanged.

    Parameters
    ----------
    tasks : sequence of TrainingTask
        Training trees with their objectives; the loss is the sum over tasks.
    start_logits : ndarray
        Starting point of the search, shape ``(prompts, arms)``.
    reference : ndarray
        Logits of the reference policy, shape ``(prompts, arms)``.
    max_shift : float, optional
        See :meth:`Bench.learn`.
    """
    if not tasks:
        return np.asarray(log_softmax(start_logits, axis=1))
    reference_log_probs = log_softmax(reference, axis=1)
    batches = [_make_batch(task, torch.from_numpy(reference_log_probs)) for task in tasks]

    def loss(flat: Floats) -> tuple[float, Floats]:
        logits = torch.from_numpy(flat.reshape(start_logits.shape)).requires_grad_()
        log_probs = logits.log_softmax(dim=1)
        total = torch.zeros((), dtype=torch.float64)
        for task, (batch, index, weights) in zip(tasks, batches, strict=True):
            term = task.objective(replace(batch, policy=log_probs[index]))
            total = total + (term.losses * weights).sum() / weights.sum()
        (gradient,) = torch.autograd.grad(total, logits)
        return float(total.detach()), gradient.numpy().ravel()

    bounds = None
    start = log_softmax(start_logits, axis=1)
    if max_shift is not None:
        bounds = [(value - max_shift, value + max_shift) for value in reference_log_probs.ravel()]
        # Logits are defined up to a constant per prompt: use the mean of the reference's.
        start = start - (start - reference_log_probs).mean(axis=1, keepdims=True)
    result = minimize(
        loss,
        start.ravel(),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": 2000, "maxcor": 20, "ftol": 0.0, "gtol": 1e-12},
    )
    return np.asarray(log_softmax(result.x.reshape(start_logits.shape), axis=1))


def _make_batch(
    task: TrainingTask, reference_log_probs: Tensor
) -> tuple[Batch, tuple[Tensor, Tensor], Tensor]:
    branches = [(tree.prompt[0], branch) for tree in task.trees for branch in tree.responses]
    rows = torch.tensor([row for row, _ in branches])
    arms = torch.tensor([branch.tokens[0] for _, branch in branches])
    batch = Batch.from_trees(
        task.trees, reference_log_probs[rows, arms], reference_log_probs[rows, arms]
    )
    return batch, (rows, arms), task.objective.unit_weights(batch)


def kl_divergence(p: Floats, q: Floats) -> float:
    """Return the mean over prompts of ``KL(p || q)``, in nats, of tables of log-probabilities."""
    return float((np.exp(p) * (p - q)).sum(axis=1).mean())
