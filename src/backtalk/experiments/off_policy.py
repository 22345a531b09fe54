"""Off-policy evaluation: estimate a policy's value from a project's log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backtalk.errors import BacktalkError, UnknownName
from backtalk.experiments.experiment import Signal, signal_kinds
from backtalk.experiments.signals import get_assignment, score_feedback
from backtalk.experiments.votes import CountedVote
from backtalk.feedback import Interaction, Prompt, Response, prompt_text
from backtalk.models.protocol import Scorer
from backtalk.models.run_sync import run_sync
from backtalk.models.spec import EndpointSpec
from backtalk.policy import LoadedPolicy, Policy, list_policies
from backtalk.rewards.features import simple_features
from backtalk.stats.estimate import Estimate
from backtalk.stats.intervals.choose import mean_interval
from backtalk.stats.off_policy import (
    OffPolicyEstimate,
    cross_fit_rewards,
    doubly_robust,
    importance_weights,
    ips,
    snips,
)
from backtalk.stats.validation import Floats
from backtalk.store import Store

_MIN_RESPONSES = 20
_SIGNALS = ("thumb", "rating", "outcome")


@dataclass(frozen=True)
class LoggedResponse:
    """A logged response with its judgement."""

    interaction: Interaction
    response: Response
    value: float
    """Judgement in [0, 1]."""

    @property
    def user(self) -> str:
        """Cluster for the intervals: the user, or the interaction if it has no user."""
        return self.interaction.user or self.interaction.id


@dataclass(frozen=True)
class PolicyValue:
    """Off-policy estimates of a policy's value."""

    basis: str
    """Source of the policy's probabilities of the logged responses, in words."""
    logged: Estimate
    """Mean judgement of the logged responses."""
    estimates: tuple[OffPolicyEstimate, ...]
    """Estimate of the policy's value by each estimator."""


def judged_responses(store: Store, outcome: Signal) -> list[LoggedResponse]:
    """Return the responses that have a signal, each with its first judgement.

    If its annotator judged it again, their last judgement counts.
    """
    responses = []
    for case in store.cases(kinds=signal_kinds(outcome)):
        vote: CountedVote | None = None
        for item in case.feedback:
            arm_and_score = score_feedback(case.interaction, item, outcome)
            if arm_and_score is not None and (vote is None or vote.is_superseded_by(item)):
                vote = CountedVote(item, *arm_and_score)
        if vote is not None:
            response = case.interaction.response(vote.item.references()[0][1])
            responses.append(LoggedResponse(case.interaction, response, vote.value))
    return responses


def estimate_policy(
    store: Store,
    policy: Policy,
    *,
    outcome: Signal = "thumb",
    load: Callable[[], LoadedPolicy],
    clip: float | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> PolicyValue:
    """Estimate a policy's value from judgements of other policies' responses.

    The estimate needs the policy's probability of each logged response. It is known in three cases:
    the policy was an arm of an experiment; it is a best-of-n policy and the log has all candidates,
    with the propensity of the one shown; or its model can compute log-probabilities and the
    log has those of the models that sampled the responses.

    Parameters
    ----------
    store : Store
        Store of the project.
    policy : Policy
        Target policy.
    outcome : Signal, default "thumb"
        Signal to estimate: a thumb, rating or outcome.
    load : Callable[[], LoadedPolicy]
        Function that loads the policy, called if its model or reward is needed.
    clip : float, optional
        Upper limit of the importance weights. Default: none.
    level : float, default 0.95
        Nominal coverage of the intervals.
    seed : int, default 0
        Seed of folds and samples.

    Raises
    ------
    UnknownName
        If there is no such outcome.
    BacktalkError
        If the log has no response with a known probability; the message says what is missing.
    NotIdentified
        If the log has too few of them.
    """
    if outcome.partition(":")[0] not in _SIGNALS:
        raise UnknownName.among("outcome of single answers", outcome, _SIGNALS)
    rows = judged_responses(store, outcome)
    basis, chosen, weights, features = _importance_weights(store, policy, rows, load, seed)
    values = np.array([row.value for row in chosen])
    users = [row.user for row in chosen]
    logged, target = cross_fit_rewards(features[0], values, features[1], users, seed=seed)
    options: dict[str, Any] = {"clip": clip, "bounds": (0.0, 1.0), "level": level}
    return PolicyValue(
        basis=basis,
        logged=mean_interval(values, users, level=level),
        estimates=(
            ips(values, weights, users, **options),
            snips(values, weights, users, **options),
            doubly_robust(values, weights, logged, target, users, **options),
        ),
    )


_Weighted = tuple[str, list[LoggedResponse], Floats, tuple[Floats, Floats]]
"""Basis, rows, their importance weights, and features of logged and of target responses."""


def _importance_weights(
    store: Store,
    policy: Policy,
    rows: Sequence[LoggedResponse],
    load: Callable[[], LoadedPolicy],
    seed: int,
) -> _Weighted:
    arm_rows = [
        row
        for row in rows
        if policy.id in _probabilities(row) and row.interaction.policy is not None
    ]
    if arm_rows:
        return _require_enough(
            "the probabilities of the arms of experiments", arm_rows, _weigh_arm(policy, arm_rows)
        )
    if policy.decoder.can_select:
        candidates = [row for row in rows if row.response.propensity is not None]
        _require(candidates, policy, "shown with a logged propensity of the response")
        return _require_enough(
            "its choice among logged candidates", candidates, _weigh_choice(candidates, load())
        )
    scored = _with_log_probability(store, rows)
    _require(scored, policy, "sampled at temperature 1 with a logged log-probability")
    loaded = load()
    if not isinstance(loaded.model, Scorer) or not _is_unmodified(policy):
        raise BacktalkError(
            f"{policy.label} cannot compute the probability of a response: that needs a local "
            "model with one sample at temperature 1 and top-p 1",
            "Give it part of the traffic: `backtalk experiment start`",
        )
    return _require_enough("its model's probabilities", scored, _weigh_model(scored, loaded, seed))


def _require_enough(
    basis: str, rows: list[LoggedResponse], known: tuple[Floats, tuple[Floats, Floats]]
) -> _Weighted:
    if len(rows) < _MIN_RESPONSES:
        raise BacktalkError(
            f"Only {len(rows)} judged responses in the log have a known probability",
            f"Collect at least {_MIN_RESPONSES}",
        )
    return basis, rows, *known


def _require(rows: Sequence[LoggedResponse], policy: Policy, condition: str) -> None:
    if not rows:
        raise BacktalkError(
            f"No judged response in the log has a known probability under {policy.label}: it was "
            f"in no experiment, and no response was {condition}",
            "Give it part of the traffic: `backtalk experiment start`",
        )


def _probabilities(row: LoggedResponse) -> dict[str, float]:
    assignment = get_assignment(row.interaction)
    return {} if assignment is None else assignment.probabilities


def _weigh_arm(
    policy: Policy, rows: Sequence[LoggedResponse]
) -> tuple[Floats, tuple[Floats, Floats]]:
    """Return weights and features if the policy was an arm: prompt features by arm."""
    arms = sorted({str(row.interaction.policy) for row in rows} | {policy.id})
    weights = importance_weights(
        [float(row.interaction.policy == policy.id) for row in rows],
        [_probabilities(row)[str(row.interaction.policy)] for row in rows],
    )
    features = simple_features(
        [(row.interaction.prompt, prompt_text(row.interaction.prompt)) for row in rows]
    )
    features = np.column_stack([np.ones(len(rows)), features])
    logged = np.array([arms.index(str(row.interaction.policy)) for row in rows])
    targets = np.full(len(rows), arms.index(policy.id))
    return weights, (
        _interact(features, logged, len(arms)),
        _interact(features, targets, len(arms)),
    )


def _interact(features: Floats, arms: np.ndarray, count: int) -> Floats:
    return np.asarray(
        (np.eye(count)[arms][:, :, None] * features[:, None, :]).reshape(len(features), -1)
    )


def _weigh_choice(
    rows: Sequence[LoggedResponse], loaded: LoadedPolicy
) -> tuple[Floats, tuple[Floats, Floats]]:
    """Return weights and features if the policy chooses among logged candidates."""
    picks = []
    for row, messages in zip(rows, _messages(rows, loaded), strict=True):
        responses = row.interaction.responses
        index = run_sync(
            loaded.policy.decoder.select(
                messages,
                [response.text for response in responses],
                rewards=loaded.rewards,
            )
        )
        picks.append(responses[index])
    weights = importance_weights(
        [float(pick.id == row.response.id) for pick, row in zip(picks, rows, strict=True)],
        [row.response.propensity or 0.0 for row in rows],
    )
    return weights, _text_features(rows, [pick.text for pick in picks])


def _weigh_model(
    rows: Sequence[LoggedResponse], loaded: LoadedPolicy, seed: int
) -> tuple[Floats, tuple[Floats, Floats]]:
    """Return weights from the model's probabilities, and features of one sampled response."""
    assert isinstance(loaded.model, Scorer)
    texts = [row.response.text for row in rows]
    pairs = list(zip(_messages(rows, loaded), texts, strict=True))
    scores = run_sync(loaded.model.score(pairs))
    target = np.array([float(np.sum(tokens)) for tokens in scores])
    logged = np.array([row.response.log_probability or 0.0 for row in rows])
    outputs = run_sync(
        loaded.decode(
            [row.interaction.prompt for row in rows],
            seed=seed,
            users=[row.interaction.user for row in rows],
        )
    )
    return np.exp(target - logged), _text_features(rows, [output.answer.text for output in outputs])


def _messages(rows: Sequence[LoggedResponse], loaded: LoadedPolicy) -> list[Prompt]:
    """Return the messages that the policy's model reads for each row's user."""
    prompts = [row.interaction.prompt for row in rows]
    users = [row.interaction.user for row in rows]
    messages, _ = run_sync(loaded.messages(prompts, users=users))
    return messages


def _text_features(rows: Sequence[LoggedResponse], texts: Sequence[str]) -> tuple[Floats, Floats]:
    prompts = [row.interaction.prompt for row in rows]
    logged = [row.response.text for row in rows]
    return (
        simple_features(list(zip(prompts, logged, strict=True))),
        simple_features(list(zip(prompts, texts, strict=True))),
    )


def _with_log_probability(store: Store, rows: Sequence[LoggedResponse]) -> list[LoggedResponse]:
    """Return the responses whose log-probability is that of the policy that sampled them."""
    unmodified = {policy.id for policy in list_policies(store) if _is_unmodified(policy)}
    return [
        row
        for row in rows
        if row.response.log_probability is not None
        and (row.response.policy or row.interaction.policy) in unmodified
    ]


def _is_unmodified(policy: Policy) -> bool:
    """Return true if a policy samples one response from its model's own distribution."""
    if not policy.decoder.is_single_sample:
        return False
    sampling = policy.decoder.base_sampling
    if isinstance(policy.model, EndpointSpec) and None in {sampling.temperature, sampling.top_p}:
        return False  # The defaults of the server are not known.
    return not sampling.stop and sampling.local_temperature == sampling.local_top_p == 1.0
