"""The value of a policy by a project's log, without letting it answer anybody."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from backtalk.errors import BacktalkError, UnknownName
from backtalk.experiments.experiment import Signal, signal_kinds
from backtalk.experiments.signals import get_assignment, score_feedback
from backtalk.feedback import Interaction, Response, prompt_text
from backtalk.models.protocol import Sampling, Scorer
from backtalk.models.run_sync import run_sync
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

_FEWEST = 20
_SCORED = ("thumb", "rating", "outcome")


@dataclass(frozen=True)
class LoggedResponse:
    """An answer that somebody judged."""

    interaction: Interaction
    response: Response
    value: float
    """What they said, in [0, 1]."""

    @property
    def user(self) -> str:
        """Whose answers share a cause: the user's, or this one's alone."""
        return self.interaction.user or self.interaction.id


@dataclass(frozen=True)
class PolicyValue:
    """What the log says of a policy."""

    by: str
    """How the policy's chance to give the logged answers is known, in words."""
    logged: Estimate
    """The mean of what was logged, which the policies that answered got."""
    found: tuple[OffPolicyEstimate, ...]
    """The policy's value by each estimator."""


def judged_responses(store: Store, outcome: Signal) -> list[LoggedResponse]:
    """Return the answers that feedback of a kind is about, each with its first judgement."""
    results = []
    for case in store.cases(kinds=signal_kinds(outcome)):
        for item in case.feedback:
            said = score_feedback(case.interaction, item, outcome)
            if said is not None:
                response = case.interaction.response(item.references()[0][1])
                results.append(LoggedResponse(case.interaction, response, said[1]))
                break
    return results


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
    """Estimate what a policy would get, from what was said about the answers of others.

    Its chance to give a logged answer is known in three cases: it was an arm of an experiment; it
    is the best of n of candidates that are in the log, one of which was shown by a logged chance;
    or its model can say how probable it finds the logged answers, which were drawn from models
    that logged how probable they found them.

    Parameters
    ----------
    store : Store
        The project.
    policy : Policy
        The target.
    outcome : Signal, default "thumb"
        The feedback that counts, as an experiment's outcome; not a preference.
    load : Callable[[], LoadedPolicy]
        Loads the policy, where it takes its model or reward.
    clip : float, optional
        Cut weights to this; as they are, if left out.
    level : float, default 0.95
        Nominal coverage of the intervals.
    seed : int, default 0
        Decides folds and draws.

    Raises
    ------
    UnknownName
        If there is no such outcome.
    BacktalkError
        If nothing in the log tells of the policy; the message says what is missing.
    NotIdentified
        If next to nothing does.
    """
    if outcome.partition(":")[0] not in _SCORED:
        raise UnknownName.among("outcome of single answers", outcome, _SCORED)
    rows = judged_responses(store, outcome)
    by, chosen, weights, model = _ways(store, policy, rows, load, seed)
    values = np.array([row.value for row in chosen])
    users = [row.user for row in chosen]
    own, other = cross_fit_rewards(model[0], values, model[1], users, seed=seed)
    return PolicyValue(
        by=by,
        logged=mean_interval(values, users, level=level),
        found=(
            ips(values, weights, users, clip=clip, level=level),
            snips(values, weights, users, clip=clip, level=level),
            doubly_robust(values, weights, own, other, users, clip=clip, level=level),
        ),
    )


_Way = tuple[str, list[LoggedResponse], Floats, tuple[Floats, Floats]]
"""How it is known, the rows that tell, their weights, features of answers and of the target's."""


def _ways(
    store: Store,
    policy: Policy,
    rows: Sequence[LoggedResponse],
    load: Callable[[], LoadedPolicy],
    seed: int,
) -> _Way:
    as_arm = [
        row
        for row in rows
        if policy.id in _probabilities(row) and row.interaction.policy is not None
    ]
    if as_arm:
        return _enough("the chances of the arms of experiments", as_arm, _as_arm(policy, as_arm))
    if policy.decoder.can_select:
        drawn = [row for row in rows if row.response.propensity is not None]
        _require(drawn, policy, "shown with a logged propensity of the response")
        return _enough("its choice among logged candidates", drawn, _choosing(drawn, load()))
    scored = _drawn(store, rows)
    _require(scored, policy, "drawn at temperature 1 with a logged log-probability")
    loaded = load()
    if not isinstance(loaded.model, Scorer) or not _plain(policy):
        raise BacktalkError(
            f"{policy.label} cannot say how probable it finds an answer: that takes a local model "
            "which draws one sample at temperature 1 and top-p 1",
            "Let it answer part of the traffic: `backtalk experiment start`",
        )
    return _enough("its model's probabilities", scored, _scoring(scored, loaded, seed))


def _enough(
    by: str, rows: list[LoggedResponse], known: tuple[Floats, tuple[Floats, Floats]]
) -> _Way:
    if len(rows) < _FEWEST:
        raise BacktalkError(
            f"Only {len(rows)} judged answers in the log tell of the policy",
            f"Collect {_FEWEST} at least",
        )
    return by, rows, *known


def _require(rows: Sequence[LoggedResponse], policy: Policy, how: str) -> None:
    if not rows:
        raise BacktalkError(
            f"No judged answer in the log tells of {policy.label}: it was in no experiment, and no "
            f"answer was {how}",
            "Let it answer part of the traffic: `backtalk experiment start`",
        )


def _probabilities(row: LoggedResponse) -> dict[str, float]:
    assigned = get_assignment(row.interaction)
    return {} if assigned is None else assigned.probabilities


def _as_arm(policy: Policy, rows: Sequence[LoggedResponse]) -> tuple[Floats, tuple[Floats, Floats]]:
    """Return weights and features where the policy was an arm: features of prompts, by arm."""
    arms = sorted({str(row.interaction.policy) for row in rows} | {policy.id})
    weights = importance_weights(
        [float(row.interaction.policy == policy.id) for row in rows],
        [_probabilities(row)[str(row.interaction.policy)] for row in rows],
    )
    asked = simple_features(
        [(row.interaction.prompt, prompt_text(row.interaction.prompt)) for row in rows]
    )
    asked = np.column_stack([np.ones(len(rows)), asked])
    places = np.array([arms.index(str(row.interaction.policy)) for row in rows])
    targets = np.full(len(rows), arms.index(policy.id))
    return weights, (_crossed(asked, places, len(arms)), _crossed(asked, targets, len(arms)))


def _crossed(features: Floats, places: np.ndarray, count: int) -> Floats:
    return np.asarray(
        (np.eye(count)[places][:, :, None] * features[:, None, :]).reshape(len(features), -1)
    )


def _choosing(
    rows: Sequence[LoggedResponse], loaded: LoadedPolicy
) -> tuple[Floats, tuple[Floats, Floats]]:
    """Return weights and features where the policy chooses among the candidates in the log."""
    picks = []
    for row in rows:
        responses = row.interaction.responses
        index = run_sync(
            loaded.policy.decoder.select(
                loaded.policy.messages(row.interaction.prompt),
                [response.text for response in responses],
                rewards=loaded.rewards,
            )
        )
        picks.append(responses[index])
    weights = importance_weights(
        [float(pick.id == row.response.id) for pick, row in zip(picks, rows, strict=True)],
        [row.response.propensity or 0.0 for row in rows],
    )
    return weights, _of_texts(rows, [pick.text for pick in picks])


def _scoring(
    rows: Sequence[LoggedResponse], loaded: LoadedPolicy, seed: int
) -> tuple[Floats, tuple[Floats, Floats]]:
    """Return weights by a model's probabilities, and features of one answer that it draws."""
    assert isinstance(loaded.model, Scorer)
    asked = [(loaded.policy.messages(row.interaction.prompt), row.response.text) for row in rows]
    scores = run_sync(loaded.model.score(asked))
    logs = np.array([float(np.sum(one)) for one in scores])
    given = np.array([row.response.log_probability or 0.0 for row in rows])
    answers = run_sync(loaded.decode([row.interaction.prompt for row in rows], seed=seed))
    return np.exp(logs - given), _of_texts(rows, [one.answer.text for one in answers])


def _of_texts(rows: Sequence[LoggedResponse], texts: Sequence[str]) -> tuple[Floats, Floats]:
    prompts = [row.interaction.prompt for row in rows]
    own = [row.response.text for row in rows]
    return (
        simple_features(list(zip(prompts, own, strict=True))),
        simple_features(list(zip(prompts, texts, strict=True))),
    )


def _drawn(store: Store, rows: Sequence[LoggedResponse]) -> list[LoggedResponse]:
    """Return the answers whose log-probability is that of what drew them."""
    plain = {policy.id for policy in list_policies(store) if _plain(policy)}
    return [
        row
        for row in rows
        if row.response.log_probability is not None
        and (row.response.policy or row.interaction.policy) in plain
    ]


def _plain(policy: Policy) -> bool:
    """Return whether a policy draws one answer from its model's own distribution."""
    if not policy.decoder.is_single_sample:
        return False
    sampling = policy.decoder.base_sampling
    whole = Sampling(max_tokens=sampling.max_tokens, temperature=1.0, top_p=1.0)
    return sampling == whole
