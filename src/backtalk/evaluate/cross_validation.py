"""How good a reward can be learned from this feedback: tried on prompts it has not seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backtalk.embedders.cached import CachedEmbedder
from backtalk.embedders.named import EmbedderName, named_embedder
from backtalk.errors import BacktalkError
from backtalk.feedback import Message
from backtalk.feedback.case import prompt_key
from backtalk.feedback.views import Pair
from backtalk.rewards import Answer, BradleyTerryReward, RecordedReward, learn_reward
from backtalk.run import Run
from backtalk.stats.baselines import BaselineComparison, compare_to_baselines
from backtalk.stats.calibration import CalibrationError, brier, calibration_error
from backtalk.stats.estimate import Estimate
from backtalk.stats.folds import group_folds
from backtalk.stats.intervals.choose import mean_interval
from backtalk.stats.win_rate import paired_difference

Array = NDArray[np.float64]

_EVEN = 0.5


@dataclass(frozen=True)
class HeuristicScore:
    """How often a simple rule picks the better answer of a pair, and the reward's lead on it."""

    accuracy: Estimate
    difference: Estimate
    """The reward's accuracy minus the rule's, paired."""


@dataclass(frozen=True)
class CrossValidation:
    """How rewards do on pairs, and on choices, of prompts that they did not learn from."""

    pairs: int
    """How many pairs with a winner were predicted."""
    prompts: int
    folds: int
    embedder: str
    accuracy: Estimate
    """How often the answer that was preferred has the higher score; clustered by prompt."""
    rules: dict[str, HeuristicScore]
    """``"longer wins"``, ``"shorter wins"``, and ``"first wins"`` where it is known which answer
    was shown first."""
    brier: Estimate
    """The mean squared error of the probability that the reward gives; 0.25 for always one half."""
    calibration: CalibrationError | None
    """How far the probabilities are from frequencies; ``None`` where the preferences themselves
    are probabilities."""
    choice: BaselineComparison | None
    """The value, by the feedback that is recorded, of choosing among the recorded answers of each
    prompt; ``None`` where no prompt has two that were judged alike."""
    choices: int
    """How many prompts had answers to choose among."""
    candidates: float
    """How many answers there were to choose among, on average."""

    def to_dict(self) -> dict[str, Any]:
        """The fields, ready for JSON."""
        return asdict(self)


async def cross_validate(
    pairs: Sequence[Pair],
    *,
    run: Run,
    embedder: EmbedderName = "hashed",
    folds: int = 10,
    recorded: RecordedReward | None = None,
) -> CrossValidation:
    """Learn rewards from all prompts but those of a fold, and try them on that fold; each in turn.

    Parameters
    ----------
    pairs : sequence of Pair
        What the feedback says. All pairs of one prompt are in one fold.
    run : Run
        Gives the seed and is told the progress.
    embedder : EmbedderName, default "hashed"
        What the rewards read answers with.
    folds : int, default 10
        How many.
    recorded : RecordedReward, optional
        What the answers are worth. Where a prompt has several answers that were judged, the
        reward of its fold chooses among them, beside rules such as taking the longest.

    Raises
    ------
    BacktalkError
        If there are fewer than two prompts with a pair that has a winner.
    """
    groups = [prompt_key(pair.prompt) for pair in pairs]
    prompts = len(set(groups))
    if prompts < 2 or all(pair.tie for pair in pairs):
        raise BacktalkError(
            f"Cross-validation needs pairs with a winner on two prompts or more, there are "
            f"{len(pairs)} pairs on {prompts}",
            "`backtalk methods` says which feedback makes pairs",
        )
    folds = min(folds, prompts)
    fold = group_folds(groups, folds, seed=run.seed)
    # What the hashed embedder learns, how rare words are, it learns without looking at feedback.
    reads = CachedEmbedder(named_embedder(embedder, pairs))
    predicted = np.full(len(pairs), np.nan)
    chosen: dict[str, int] = {}
    with run.task("cross-validating", folds) as step:
        for k in range(folds):
            train = [pair for pair, its in zip(pairs, fold, strict=True) if its != k]
            reward = (await learn_reward(train, reads, seed=run.seed)).reward
            held_out = np.flatnonzero(fold == k).tolist()
            mine = [pairs[i] for i in held_out]
            predicted[held_out] = await _probabilities(reward, mine)
            if recorded is not None:
                chosen |= await _choose(reward, mine, recorded)
            step(k + 1)
    decided = [i for i, pair in enumerate(pairs) if not pair.tie]
    return _summary(
        [pairs[i] for i in decided],
        predicted[decided],
        np.array([groups[i] for i in decided]),
        folds=folds,
        embedder=embedder,
        choice=_standing(chosen, recorded),
        seed=run.seed,
    )


async def _probabilities(reward: BradleyTerryReward, pairs: Sequence[Pair]) -> Array:
    """Return the probability that the chosen answer is preferred, ties apart."""
    result = await reward.compare(
        [(pair.prompt, pair.chosen) for pair in pairs],
        [(pair.prompt, pair.rejected) for pair in pairs],
    )
    return np.asarray(result[:, 0] / (result[:, 0] + result[:, 1]))


async def _choose(
    reward: BradleyTerryReward, pairs: Sequence[Pair], recorded: RecordedReward
) -> dict[str, int]:
    prompts: dict[str, tuple[Message, ...]] = {prompt_key(p.prompt): p.prompt for p in pairs}
    answers: list[Answer] = []
    ends: dict[str, int] = {}
    for key, prompt in prompts.items():
        candidates = recorded.candidates(key)
        if len(candidates) > 1:
            answers += [(prompt, text) for text in candidates]
            ends[key] = len(answers)
    if not answers:
        return {}
    scores = (await reward.score(answers)).mean
    rows = np.split(scores, list(ends.values())[:-1])
    return {key: int(np.argmax(row)) for key, row in zip(ends, rows, strict=True)}


_Choice = tuple[BaselineComparison, int, float]


def _standing(chosen: dict[str, int], recorded: RecordedReward | None) -> _Choice | None:
    if recorded is None or len(chosen) < 2:
        return None
    rows = [recorded.candidates(key) for key in chosen]
    standing = compare_to_baselines(
        [list(row) for row in rows],
        [list(row.values()) for row in rows],
        list(chosen.values()),
        bounds=recorded.bounds,
    )
    return standing, len(rows), float(np.mean([len(row) for row in rows]))


def _summary(
    pairs: Sequence[Pair],
    predicted: Array,
    groups: NDArray[np.str_],
    *,
    folds: int,
    embedder: str,
    choice: _Choice | None,
    seed: int,
) -> CrossValidation:
    right = _hit(predicted - _EVEN)
    rules: dict[str, Callable[[Pair], float]] = {
        "longer wins": lambda pair: len(pair.chosen) - len(pair.rejected),
        "shorter wins": lambda pair: len(pair.rejected) - len(pair.chosen),
    }
    if any(pair.first for pair in pairs):
        rules["first wins"] = lambda pair: {"chosen": 1, "rejected": -1, None: 0}[pair.first]
    # A pair is turned around by a coin, so that "the chosen one" is no constant to predict.
    turned = np.random.default_rng(seed).random(len(pairs)) < _EVEN
    outcome = np.array([pair.probability for pair in pairs])
    stated = np.where(turned, 1 - predicted, predicted)
    truth = np.where(turned, 1 - outcome, outcome)
    standing, choices, candidates = choice or (None, 0, 0.0)
    return CrossValidation(
        pairs=len(pairs),
        prompts=len(set(groups.tolist())),
        folds=folds,
        embedder=embedder,
        accuracy=mean_interval(right, groups),
        rules={
            name: _rule(right, _hit(np.array([float(rule(pair)) for pair in pairs])), groups)
            for name, rule in rules.items()
        },
        brier=brier(stated, truth, clusters=groups).estimate,
        calibration=calibration_error(stated, truth) if set(truth.tolist()) <= {0, 1} else None,
        choice=standing,
        choices=choices,
        candidates=candidates,
    )


def _hit(lead: Array) -> Array:
    """Return 1 where the chosen answer leads, 0 where it does not, one half where neither does."""
    return np.asarray((np.sign(lead) + 1) / 2)


def _rule(right: Array, theirs: Array, groups: NDArray[np.str_]) -> HeuristicScore:
    return HeuristicScore(
        accuracy=mean_interval(theirs, groups),
        difference=paired_difference(right, theirs, clusters=groups),
    )
