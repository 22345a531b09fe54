"""Online learning: sample from the current policy, collect feedback, learn, evaluate, repeat."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from backtalk.errors import BacktalkError
from backtalk.evaluate.evaluate import evaluate
from backtalk.evaluate.judges.new_answers import check_new_answers
from backtalk.evaluate.result import Evaluation
from backtalk.feedback import Interaction, Response, content_id
from backtalk.feedback.answers import response_key
from backtalk.feedback.interaction import Prompt
from backtalk.feedback.requests import as_requested, with_settings_in_metadata
from backtalk.feedback.views import Pair
from backtalk.learn.left_out_rows import LeftOutRow, LeftOutRows, read_max_left_out
from backtalk.learn.method import Method, get_method
from backtalk.learn.online.feedback_sources import (
    FeedbackSource,
    InMemoryTrainingSet,
    WaitingForFeedback,
)
from backtalk.learn.online.oracle_feedback import make_feedback_source
from backtalk.learn.online.samplers import get_sampler, sample_responses
from backtalk.learn.training_set import TrainingSet
from backtalk.models import BudgetExceeded, ModelError
from backtalk.policy import LoadedPolicy, Policy, load_policy, read_policy, save_policy
from backtalk.rewards.protocol import Reward
from backtalk.run import Run
from backtalk.store import Store


@dataclass(frozen=True)
class OnlineResult:
    """Policies and evaluations of the rounds of online learning."""

    policies: tuple[Policy, ...]
    """Policy after each round."""
    evaluations: tuple[Evaluation, ...]
    """Evaluation of each policy against the one before, on held-out prompts; empty without a
    judge."""
    ended: str
    """Reason why there were no further rounds."""

    @property
    def best(self) -> Policy | None:
        """Last policy whose win rate over the one before has a lower bound above one half."""
        better = [
            policy
            for policy, evaluation in zip(self.policies, self.evaluations, strict=False)
            if evaluation.win_rate.low > 0.5
        ]
        return better[-1] if better else None


@dataclass(frozen=True)
class OnlineConfig:
    """Number of rounds, prompts and responses, and the sampling of responses."""

    rounds: int = 3
    """Maximum number of rounds."""
    prompts_per_round: int = 200
    """Number of training prompts drawn in each round."""
    num_samples: int = 4
    """Number of responses to each prompt."""
    until_flat: bool = True
    """If true, stop after a round whose policy is not shown to be better than the one before."""
    sampler: str | None = None
    """Name in :data:`~.samplers.SAMPLERS`; the method's default if ``None``."""
    mixture_weight: float = 0.125
    """Weight of the first or past policies in samplers that mix policies, in [0, 1]."""
    teacher: str | None = None
    """Name or id of a policy that gives one further response to each prompt."""


class OnlineLearner:
    """Online learning in rounds.

    Each round samples responses from the current policy, collects feedback on them, learns from
    this feedback, and evaluates the new policy. Responses and feedback are added to the store.

    The reference, if the method has one and none is named, is the first policy (Xiong et al., 2024,
    "Iterative preference learning from human feedback", algorithm 1) or an earlier round's policy,
    as the method's :class:`~backtalk.learn.method.OnlineDefaults` say. A method's ``base`` is the
    first policy.

    Learning ends after the last round, when the budget is spent, when human feedback is missing, or
    when the interval of a round's win rate over the one before is not above one half. A run with a
    folder can be resumed: completed rounds are not repeated, and a started round continues with the
    same responses.

    Parameters
    ----------
    method : Method or str
        Method to learn with.
    store : Store
        Store for interactions, feedback and policies.
    run : Run
        Seed, budget and folder.
    feedback_source : FeedbackSource, optional
        Source of feedback; the judge by default.
    judge : Reward, optional
        Judge that evaluates the rounds; they are not evaluated without one.
    config : OnlineConfig, optional
        Number of rounds, prompts and responses.
    options : Mapping[str, Any], optional
        Options of the method.

    Raises
    ------
    BacktalkError
        If there is neither a source of feedback nor a judge.
    """

    def __init__(
        self,
        method: Method | str,
        store: Store,
        run: Run,
        *,
        feedback_source: FeedbackSource | None = None,
        judge: Reward | None = None,
        config: OnlineConfig | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._method = get_method(method) if isinstance(method, str) else method
        if feedback_source is None:
            if judge is None:
                raise BacktalkError(
                    "Online learning needs a source of feedback",
                    "Name a judge, or let people give feedback",
                )
            feedback_source = make_feedback_source(
                judge, self._method.online.pair_selection, rates=needs_scores(self._method)
            )
        self._store = store
        self._run = run
        self._feedback_source = feedback_source
        self._judge = judge
        self._config = config or OnlineConfig()
        self._options = dict(options or {})

    async def learn(
        self,
        policy: Policy,
        prompts: Sequence[Prompt] | None = None,
        held_out: Sequence[Prompt] | None = None,
    ) -> OnlineResult:
        """Return the policies of all rounds and their evaluations.

        Parameters
        ----------
        policy : Policy
            First policy.
        prompts : sequence of Prompt, optional
            Prompts to learn on; the training prompts of the store by default.
        held_out : sequence of Prompt, optional
            Prompts to evaluate on; the held-out prompts of the store by default.

        Raises
        ------
        BacktalkError
            If there is no prompt, the judge cannot judge new answers, or a round finds nothing to
            learn from.
        """
        if prompts is None:
            prompts = TrainingSet(self._store).as_requested().prompts()
        if held_out is None:
            held_out = TrainingSet(self._store, split="held-out").as_requested().prompts()
        if not prompts:
            raise BacktalkError(
                "There is no prompt to learn on",
                "Add interactions: four fifths of their prompts are for training",
            )
        if self._judge is not None and policy.model.kind != "replay":
            await check_new_answers(self._judge, policy.label)
        past = [policy]
        policies: list[Policy] = []
        evaluations: list[Evaluation] = []
        ended = f"after {self._config.rounds} round{'s' * (self._config.rounds != 1)}"
        for number in range(self._config.rounds):
            try:
                learned = await self._run_round(number, past, prompts)
                evaluation = await self._evaluate(learned, policy, held_out)
            except BudgetExceeded:
                ended = "the budget was spent"
                break
            except WaitingForFeedback as waiting:
                ended = f"round {number + 1} waits: {waiting}"
                break
            policies.append(learned)
            policy = learned
            past.append(policy)
            if evaluation is None:
                continue
            evaluations.append(evaluation)
            if self._config.until_flat and evaluation.win_rate.low <= 0.5:
                ended = f"round {number + 1} is not shown to be better than the one before"
                break
        return OnlineResult(tuple(policies), tuple(evaluations), ended)

    async def _evaluate(
        self, learned: Policy, before: Policy, held_out: Sequence[Prompt]
    ) -> Evaluation | None:
        if self._judge is None:
            return None
        sides = self._load(learned), self._load(before)
        evaluation, _ = await evaluate(
            *sides, held_out, self._judge, run=self._run, max_left_out=self._max_left_out
        )
        return evaluation

    async def _run_round(
        self, number: int, past: Sequence[Policy], prompts: Sequence[Prompt]
    ) -> Policy:
        policy = past[-1]
        progress = _read_progress(number, policy, self._run)
        if "learned" in progress:
            return read_policy(self._store, progress["learned"])
        # The key was "asked" before version 0.1.
        ids = progress.get("interactions", progress.get("asked"))
        if ids is not None:
            interactions = [as_requested(self._store.interaction(id_)) for id_ in ids]
            refused = [LeftOutRow(**row) for row in progress.get("left_out", ())]
        else:
            interactions, refused = await self._sample(number, past, prompts)
            self._store.add(*interactions)
            _write_progress(
                number,
                policy,
                self._run,
                interactions=[interaction.id for interaction in interactions],
                left_out=[asdict(row) for row in refused],
            )
        cases = await self._feedback_source.give(interactions, seed=self._seed(number))
        self._store.add_cases(cases)
        feedback = InMemoryTrainingSet(self._store, cases, refused=refused)
        options = self._reference_options(number, past) | self._options
        learned = await self._method.learn(policy, feedback, self._run, **options)
        learned = learned.with_rewards(getattr(self._feedback_source, "judges", ()))
        save_policy(self._store, learned)
        _write_progress(number, policy, self._run, learned=learned.id)
        return learned

    def _reference_options(self, number: int, past: Sequence[Policy]) -> dict[str, str]:
        """Return the reference and base policies of a round as options of the method."""
        every = self._method.online.update_reference_every
        index = 0 if every is None else number // every * every
        return {
            option: save_policy(self._store, policy)
            for option, policy in {"reference": past[index], "base": past[0]}.items()
            if option in self._method.options
        }

    async def _sample(
        self, number: int, past: Sequence[Policy], prompts: Sequence[Prompt]
    ) -> tuple[list[Interaction], list[LeftOutRow]]:
        """Return responses to some of the prompts, and the prompts that a model refuses."""
        config, seed, policy = self._config, self._seed(number), past[-1]
        rng = np.random.default_rng([self._run.seed, number])
        indices = rng.permutation(len(prompts))[: config.prompts_per_round].tolist()
        sampler = get_sampler(config.sampler or self._method.online.sampler)
        teachers = [] if config.teacher is None else [read_policy(self._store, config.teacher)]
        requests = [
            (
                prompts[i],
                [*sampler(past, config.num_samples, config.mixture_weight, rng), *teachers],
            )
            for i in indices
        ]
        for responder in {p.id: p for _, policies in requests for p in policies}.values():
            save_policy(self._store, responder)
        with self._run.task(f"round {number + 1}: answering", len(indices)):
            results = await sample_responses(requests, load=self._load, seed=seed)
        rows = LeftOutRows()
        rows.total = len(requests)
        for (prompt, _), responses in zip(requests, results, strict=True):
            if isinstance(responses, ModelError):
                rows.count += 1
                rows.add(prompt, "", str(responses))
        cases = TrainingSet(self._store, split="all").every_case()
        rows.check(self._max_left_out, cases)
        refused = rows.find_records(TrainingSet(self._store, split="all").every_case())
        return [
            with_settings_in_metadata(
                Interaction(
                    id=_interaction_id(policy, seed, i, responses),
                    prompt=prompt,
                    responses=responses,
                    policy=policy.id,
                )
            )
            for i, (prompt, _), responses in zip(indices, requests, results, strict=True)
            if not isinstance(responses, ModelError)
        ], refused

    @property
    def _max_left_out(self) -> float:
        """Largest share of the prompts of a round or an evaluation that a model may refuse."""
        return read_max_left_out(self._options, self._method.options)

    def _seed(self, number: int) -> int:
        return self._run.seed * 1_000 + number

    def _load(self, policy: Policy) -> LoadedPolicy:
        return load_policy(policy, self._store.artifacts, store=self._store, wrap=self._run.wrap)


def _interaction_id(policy: Policy, seed: int, index: int, responses: Sequence[Response]) -> str:
    """Return an id that differs for other responses to the same prompt."""
    parts = [
        part for response in responses for part in (str(response.policy), *response_key(response))
    ]
    return content_id("round", policy.id, str(seed), str(index), *parts)


def _read_progress(number: int, policy: Policy, run: Run) -> dict[str, Any]:
    """Return the recorded progress of a round that started from this policy."""
    progress: dict[str, Any] = _read_rounds(run).get(str(number), {})
    return progress if progress.get("from") == policy.id else {}


def _write_progress(number: int, policy: Policy, run: Run, **changes: object) -> None:
    """Record the progress of a round, if the run has a folder."""
    if run.folder is None:
        return
    progress = {"from": policy.id, **_read_progress(number, policy, run), **changes}
    _rounds_file(run.folder).write_text(json.dumps({**_read_rounds(run), str(number): progress}))


def _read_rounds(run: Run) -> dict[str, Any]:
    if run.folder is None or not _rounds_file(run.folder).exists():
        return {}
    rounds: dict[str, Any] = json.loads(_rounds_file(run.folder).read_text())
    return rounds


def _rounds_file(folder: Path) -> Path:
    return folder / "rounds.json"


def needs_scores(method: Method) -> bool:
    """Return true if a method learns from scores or rankings instead of pairs."""
    return Pair not in method.needs
