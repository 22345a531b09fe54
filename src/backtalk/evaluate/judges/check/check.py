"""Check of a judge: its verdicts on pairs that people compared, in both orders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from backtalk.errors import BacktalkError
from backtalk.evaluate.judges.check.pairs import LabelledPair, pairs_for, person_name
from backtalk.evaluate.judges.check.result import JudgeBiases, JudgeCheck
from backtalk.evaluate.judges.info import describe_judge
from backtalk.evaluate.judges.protocol import Judge, PairwiseJudge, in_run
from backtalk.feedback.base import OVERALL
from backtalk.feedback.case import prompt_key
from backtalk.models import BudgetExceeded
from backtalk.rewards import PromptResponse, Reward
from backtalk.run import Run
from backtalk.stats.agreement import cohen_kappa
from backtalk.stats.estimate import Estimate, NotIdentified
from backtalk.stats.intervals.choose import mean_interval
from backtalk.stats.judge_bias import length_bias, position_bias
from backtalk.stats.validation import Floats
from backtalk.store import Store

Booleans = NDArray[np.bool_]

_BATCH_SIZE = 16
"""Number of pairs judged at a time. A budget that ends within a batch loses that batch."""


class NoPairs(BacktalkError):
    """Check of a judge without pairs that people compared."""


class NoVerdicts(BacktalkError):
    """Check of a judge whose replies cannot be read."""


@runtime_checkable
class OrderedJudge(Protocol):
    """Judge that sees two answers in an order, and can be put the question in one order only."""

    @property
    def both_orders(self) -> bool:
        """True if its comparisons ask in both orders."""
        ...

    async def compare_in_order(
        self, first: Sequence[PromptResponse], second: Sequence[PromptResponse]
    ) -> Floats:
        """Return P(first is preferred), P(second is preferred) and P(tie), shape ``(n, 3)``."""
        ...


@dataclass(frozen=True)
class _Verdicts:
    """Preferences for the first answer of each pair, shape ``(n,)``, NaN where unreadable.

    ``forward`` and ``backward`` are those where it is shown first and second.
    """

    preferences: Floats
    forward: Floats | None = None
    backward: Floats | None = None

    @property
    def readable(self) -> Booleans:
        """True for pairs with a verdict in both orders, shape ``(n,)``."""
        arrays = (self.preferences, self.forward, self.backward)
        missing = [np.isnan(array) for array in arrays if array is not None]
        return np.asarray(np.logical_not(np.any(missing, axis=0)))

    def select(self, rows: Booleans) -> _Verdicts:
        """Return the verdicts on some pairs."""
        return self._map(lambda array: np.asarray(array[rows]))

    def _map(self, function: Callable[[Floats], Floats]) -> _Verdicts:
        return _Verdicts(
            function(self.preferences),
            None if self.forward is None else function(self.forward),
            None if self.backward is None else function(self.backward),
        )


async def check_judge(
    judge: Judge, pairs: Sequence[LabelledPair], *, run: Run, level: float = 0.95
) -> JudgeCheck:
    """Measure the agreement of a judge with people, and its biases.

    Agreement is that of two randomly selected judges, one of each kind, on a random pair (Zheng et
    al. 2023, arXiv 2306.05685, section 4.1), where the person prefers one answer. Intervals are
    clustered by prompt. If the budget ends, the result has the pairs judged until then.

    Parameters
    ----------
    judge : Judge
        Judge to check.
    pairs : sequence of LabelledPair
        Pairs that people compared.
    run : Run
        Budget and progress of the run.
    level : float, default 0.95
        Nominal coverage of the intervals.

    Raises
    ------
    NoPairs
        If there is no pair.
    NoVerdicts
        If the judge gave a readable verdict on none.
    BudgetExceeded
        If the budget ends before the first pairs are judged.
    """
    if not pairs:
        raise NoPairs(
            "No pair of answers was compared by people",
            "Add comparisons, rankings or ratings of people: `backtalk task add` collects them",
        )
    verdicts = await _judge_in_batches(in_run(judge, run), pairs, run)
    judged = pairs[: len(verdicts.preferences)]
    readable = verdicts.readable
    if not readable.any():
        raise NoVerdicts(
            f"The judge {judge.name} gave no readable verdict on any of {len(judged)} pairs",
            "Use a larger model, or set `reasoning: true` or `probabilities: true` in a judge file",
        )
    labelled = [pair for pair, is_readable in zip(judged, readable, strict=True) if is_readable]
    verdicts = verdicts.select(readable)
    return JudgeCheck(
        judge=judge.name,
        aspect=getattr(judge, "aspect", OVERALL),
        pairs=len(labelled),
        prompts=len({prompt_key(pair.prompt) for pair in labelled}),
        held_out=sum(pair.held_out for pair in labelled),
        people=len({person_name(person) for pair in labelled for person in pair.people}),
        simulated=labelled[0].simulated,
        unreadable=int((~readable).sum()),
        complete=len(judged) == len(pairs),
        agreement=_agreement(verdicts.preferences, labelled, level),
        kappa=_kappa(verdicts.preferences, labelled, level),
        people_agreement=_people_agreement(labelled, level),
        biases=_biases(
            verdicts,
            [(pair.prompt, pair.a) for pair in labelled],
            [(pair.prompt, pair.b) for pair in labelled],
            labels=np.array([np.mean(pair.labels) for pair in labelled]),
            level=level,
        ),
    )


async def check_language_model(
    judge: Judge, store: Store, *, run: Run, pairs: int
) -> JudgeCheck | None:
    """Check a judge against people's feedback in a store, if it is a language model.

    Parameters
    ----------
    judge : Judge
        Judge.
    store : Store
        Store of the feedback.
    run : Run
        Budget and progress of the run.
    pairs : int
        Maximum number of pairs; 0 for no check.

    Returns
    -------
    JudgeCheck or None
        ``None`` for another kind of judge, without pairs that people compared, and if nothing can
        be measured within the budget.
    """
    if not pairs or describe_judge(judge).kind != "llm":
        return None
    try:
        return await check_judge(judge, pairs_for(judge, store, limit=pairs), run=run)
    except (NoPairs, NoVerdicts, BudgetExceeded):
        return None


async def measure_biases(
    judge: Judge, a: Sequence[PromptResponse], b: Sequence[PromptResponse], *, level: float = 0.95
) -> JudgeBiases | None:
    """Measure the biases of a judge on the answers of two policies, without labels.

    Parameters
    ----------
    judge : Judge
        Judge, within a run whose cache has its replies.
    a, b : sequence of PromptResponse
        Answers of two policies to the same prompts.
    level : float, default 0.95
        Nominal coverage of the intervals.

    Returns
    -------
    JudgeBiases or None
        ``None`` if no verdict can be read, or the judge has not seen both orders.
    """
    if isinstance(judge, OrderedJudge) and not judge.both_orders:
        return None
    verdicts = await _judge(judge, a, b)
    readable = verdicts.readable
    if not readable.any():
        return None
    return _biases(
        verdicts.select(readable),
        [answer for answer, is_readable in zip(a, readable, strict=True) if is_readable],
        [answer for answer, is_readable in zip(b, readable, strict=True) if is_readable],
        level=level,
    )


async def _judge_in_batches(judge: Judge, pairs: Sequence[LabelledPair], run: Run) -> _Verdicts:
    parts: list[_Verdicts] = []
    with run.task("checking the judge against people", len(pairs)) as step:
        for start in range(0, len(pairs), _BATCH_SIZE):
            batch = pairs[start : start + _BATCH_SIZE]
            try:
                parts.append(
                    await _judge(
                        judge,
                        [(pair.prompt, pair.a) for pair in batch],
                        [(pair.prompt, pair.b) for pair in batch],
                    )
                )
            except BudgetExceeded:
                if not parts:
                    raise
                break
            step(start + len(batch))
    return _Verdicts(
        np.concatenate([part.preferences for part in parts]),
        _concatenate([part.forward for part in parts]),
        _concatenate([part.backward for part in parts]),
    )


def _concatenate(parts: Sequence[Floats | None]) -> Floats | None:
    present = [part for part in parts if part is not None]
    return np.concatenate(present) if present else None


async def _judge(
    judge: Judge, a: Sequence[PromptResponse], b: Sequence[PromptResponse]
) -> _Verdicts:
    """Return the verdicts on pairs, in both orders if the judge sees an order."""
    if not isinstance(judge, PairwiseJudge):
        return _Verdicts(await _score_preferences(judge, a, b))
    if isinstance(judge, OrderedJudge):
        forward = _towards_first(await judge.compare_in_order(a, b))
        backward = 1.0 - _towards_first(await judge.compare_in_order(b, a))
        both = (forward + backward) / 2
        return _Verdicts(both if judge.both_orders else forward, forward, backward)
    preferences = _towards_first(await judge.compare(a, b))
    return _Verdicts(preferences, preferences, 1.0 - _towards_first(await judge.compare(b, a)))


async def _score_preferences(
    judge: Reward, a: Sequence[PromptResponse], b: Sequence[PromptResponse]
) -> Floats:
    scores = (await judge.score([*a, *b])).mean
    return np.asarray((np.sign(scores[: len(a)] - scores[len(a) :]) + 1) / 2)


def _towards_first(verdicts: Floats) -> Floats:
    return np.asarray(np.clip(verdicts[:, 0] + verdicts[:, 2] / 2, 0.0, 1.0))


def _agreement(preferences: Floats, pairs: Sequence[LabelledPair], level: float) -> Estimate | None:
    """Return the probability of agreement with a person who prefers one answer."""
    values, prompts = [], []
    for preference, pair in zip(preferences.tolist(), pairs, strict=True):
        decided = [label for label in pair.labels if label != 0.5]
        if decided:
            values.append(float(np.mean([_match(preference, label) for label in decided])))
            prompts.append(prompt_key(pair.prompt))
    return _clustered_mean(values, prompts, level)


def _people_agreement(pairs: Sequence[LabelledPair], level: float) -> Estimate | None:
    """Return the probability that a person agrees with another one who prefers an answer."""
    values, prompts = [], []
    for pair in pairs:
        matches = [
            _match(one, other)
            for index, other in enumerate(pair.labels)
            if other != 0.5
            for one in (*pair.labels[:index], *pair.labels[index + 1 :])
        ]
        if matches:
            values.append(float(np.mean(matches)))
            prompts.append(prompt_key(pair.prompt))
    return _clustered_mean(values, prompts, level)


def _match(preference: float, label: float) -> float:
    """Return 1 if a preference is on the side of a label, 1/2 for a tie, else 0."""
    return float((np.sign(preference - 0.5) * np.sign(label - 0.5) + 1) / 2)


def _clustered_mean(
    values: Sequence[float], prompts: Sequence[str], level: float
) -> Estimate | None:
    if not values:
        return None
    clusters = None if len(set(prompts)) == len(prompts) else list(prompts)
    return mean_interval(values, clusters, level=level)


def _kappa(preferences: Floats, pairs: Sequence[LabelledPair], level: float) -> Estimate | None:
    rows = [
        (float(np.sign(preference - 0.5)), float(np.sign(label - 0.5)), prompt_key(pair.prompt))
        for preference, pair in zip(preferences.tolist(), pairs, strict=True)
        for label in pair.labels
    ]
    judged, labels, prompts = zip(*rows, strict=True)
    clusters = None if len(set(prompts)) == len(prompts) else list(prompts)
    try:
        return cohen_kappa(list(judged), list(labels), clusters=clusters, level=level).estimate
    except NotIdentified:
        return None


def _biases(
    verdicts: _Verdicts,
    a: Sequence[PromptResponse],
    b: Sequence[PromptResponse],
    *,
    labels: Floats | None = None,
    level: float,
) -> JudgeBiases:
    prompts = [prompt_key(prompt) for prompt, _ in a]
    clusters = None if len(set(prompts)) == len(prompts) else prompts
    position = length = None
    if verdicts.forward is not None and verdicts.backward is not None:
        position = position_bias(
            verdicts.forward, verdicts.backward, clusters=clusters, level=level
        )
    lengths, other_lengths = ([len(text) for _, text in answers] for answers in (a, b))
    if lengths != other_lengths:
        length = length_bias(
            verdicts.preferences,
            np.array(lengths, dtype=float),
            np.array(other_lengths, dtype=float),
            labels=labels,
            intercept=labels is None,
            clusters=clusters,
            level=level,
        )
    return JudgeBiases(
        pairs=len(a),
        flips=None if position is None else position.flips,
        prefers_first=None if position is None else position.prefers_first,
        longer_wins=None if length is None else length.longer_wins,
        people_longer_wins=None if length is None else length.labels_longer_wins,
        length_excess=None if length is None else length.excess,
        length_coefficient=None if length is None else length.coefficient,
    )
