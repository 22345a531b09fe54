"""Cross-validation of learned rewards on held-out prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backtalk.embedders.cache import CachedEmbedder
from backtalk.embedders.registry import EmbedderName, embedder_for_pairs
from backtalk.errors import BacktalkError
from backtalk.feedback.case import prompt_key
from backtalk.feedback.interaction import Prompt
from backtalk.feedback.views import Pair
from backtalk.rewards import BradleyTerryReward, PromptResponse, RecordedReward, learn_reward
from backtalk.run import Run
from backtalk.stats.baselines import BaselineComparison, compare_to_baselines
from backtalk.stats.calibration import CalibrationError, brier, calibration_error
from backtalk.stats.estimate import Estimate
from backtalk.stats.folds import group_folds
from backtalk.stats.intervals.choose import mean_interval
from backtalk.stats.validation import Floats
from backtalk.stats.win_rate import paired_difference

_TIE = 0.5


@dataclass(frozen=True)
class HeuristicScore:
    """Accuracy of a heuristic that picks the better answer of a pair, compared with the reward."""

    accuracy: Estimate
    """Share of pairs in which the heuristic picks the preferred answer."""
    difference: Estimate
    """Accuracy of the reward minus that of the heuristic, paired."""


@dataclass(frozen=True)
class CrossValidation:
    """Cross-validated accuracy and calibration of rewards on pairs, and value of their choices."""

    pairs: int
    """Number of pairs with a winner."""
    prompts: int
    """Number of prompts with such a pair."""
    folds: int
    embedder: str
    """Name of the embedder that the rewards use."""
    accuracy: Estimate
    """Share of pairs in which the preferred answer has the higher score; clustered by prompt."""
    rules: dict[str, HeuristicScore]
    """Score of each heuristic: ``"longer wins"``, ``"shorter wins"``, and ``"first wins"`` if the
    order of the answers was recorded."""
    brier: Estimate
    """Mean squared error of the reward's probabilities; 0.25 for a constant probability of 1/2."""
    calibration: CalibrationError | None
    """Calibration error of the probabilities; ``None`` if the preferences are probabilities
    themselves."""
    choice: BaselineComparison | None
    """Value, by the recorded feedback, of choosing among the recorded answers of each prompt;
    ``None`` if fewer than two prompts have several answers with comparable feedback."""
    choices: int
    """Number of prompts with answers to choose from."""
    candidates: float
    """Mean number of answers to choose from."""
    left_out: int = 0
    """Number of pairs of equal texts, whose answers differ in tool calls or other messages only."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        return asdict(self)


async def cross_validate(
    pairs: Sequence[Pair],
    *,
    run: Run,
    embedder: EmbedderName = "hashed",
    folds: int = 10,
    recorded: RecordedReward | None = None,
) -> CrossValidation:
    """Cross-validate the rewards learned from pairs, one fold of prompts at a time.

    Parameters
    ----------
    pairs : sequence of Pair
        Preference pairs. All pairs of one prompt are in one fold.
    run : Run
        Seed and progress of the run.
    embedder : EmbedderName, default "hashed"
        Name of the embedder of the answers.
    folds : int, default 10
        Number of folds; at most the number of prompts.
    recorded : RecordedReward, optional
        Values of recorded answers. For a prompt with several of them, the reward of its fold
        chooses one, and the choice is compared with rules such as the longest answer.

    Raises
    ------
    BacktalkError
        If fewer than two prompts have pairs, or no pair has a winner.
    """
    total = len(pairs)
    pairs = [pair for pair in pairs if pair.tie or pair.chosen != pair.rejected]
    groups = [prompt_key(pair.prompt) for pair in pairs]
    prompts = len(set(groups))
    if prompts < 2 or all(pair.tie for pair in pairs):
        raise BacktalkError(
            f"Cross-validation needs pairs with a winner on two prompts or more, there are "
            f"{len(pairs)} pairs on {prompts}",
            "`backtalk methods` lists the feedback that can be converted to pairs",
        )
    folds = min(folds, prompts)
    fold = group_folds(groups, folds, seed=run.seed)
    # The hashed embedder learns word frequencies only, which do not depend on the feedback.
    cached = CachedEmbedder(embedder_for_pairs(embedder, pairs))
    predicted = np.full(len(pairs), np.nan)
    chosen: dict[str, int] = {}
    with run.task("cross-validating", folds) as step:
        for k in range(folds):
            train = [pair for pair, number in zip(pairs, fold, strict=True) if number != k]
            reward = (await learn_reward(train, cached, seed=run.seed)).reward
            held_out = np.flatnonzero(fold == k).tolist()
            test = [pairs[i] for i in held_out]
            predicted[held_out] = await _probabilities(reward, test)
            if recorded is not None:
                chosen |= await _choose(reward, test, recorded)
            step(k + 1)
    decided = [i for i, pair in enumerate(pairs) if not pair.tie]
    summary = _summary(
        [pairs[i] for i in decided],
        predicted[decided],
        np.array([groups[i] for i in decided]),
        folds=folds,
        embedder=embedder,
        choice=_compare_choices(chosen, recorded),
        seed=run.seed,
    )
    return replace(summary, left_out=total - len(pairs))


async def _probabilities(reward: BradleyTerryReward, pairs: Sequence[Pair]) -> Floats:
    """Return the probability that the chosen answer is preferred, given no tie, shape ``(n,)``."""
    verdicts = await reward.compare(
        [(pair.prompt, pair.chosen) for pair in pairs],
        [(pair.prompt, pair.rejected) for pair in pairs],
    )
    return np.asarray(verdicts[:, 0] / (verdicts[:, 0] + verdicts[:, 1]))


async def _choose(
    reward: BradleyTerryReward, pairs: Sequence[Pair], recorded: RecordedReward
) -> dict[str, int]:
    prompts: dict[str, Prompt] = {prompt_key(p.prompt): p.prompt for p in pairs}
    answers: list[PromptResponse] = []
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


_ChoiceSummary = tuple[BaselineComparison, int, float]
"""Comparison of the choices, number of prompts, mean number of candidates."""


def _compare_choices(
    chosen: dict[str, int], recorded: RecordedReward | None
) -> _ChoiceSummary | None:
    if recorded is None or len(chosen) < 2:
        return None
    rows = [recorded.candidates(key) for key in chosen]
    comparison = compare_to_baselines(
        [list(row) for row in rows],
        [list(row.values()) for row in rows],
        list(chosen.values()),
        bounds=recorded.bounds,
    )
    return comparison, len(rows), float(np.mean([len(row) for row in rows]))


def _summary(
    pairs: Sequence[Pair],
    predicted: Floats,
    groups: NDArray[np.str_],
    *,
    folds: int,
    embedder: str,
    choice: _ChoiceSummary | None,
    seed: int,
) -> CrossValidation:
    correct = _accuracy(predicted - _TIE)
    rules: dict[str, Callable[[Pair], float]] = {
        "longer wins": lambda pair: len(pair.chosen) - len(pair.rejected),
        "shorter wins": lambda pair: len(pair.rejected) - len(pair.chosen),
    }
    if any(pair.first for pair in pairs):
        rules["first wins"] = lambda pair: {"chosen": 1, "rejected": -1, None: 0}[pair.first]
    # Half of the pairs are swapped at random: otherwise the outcome would be constant.
    swapped = np.random.default_rng(seed).random(len(pairs)) < _TIE
    outcome = np.array([pair.probability for pair in pairs])
    probabilities = np.where(swapped, 1 - predicted, predicted)
    truth = np.where(swapped, 1 - outcome, outcome)
    comparison, choices, candidates = choice or (None, 0, 0.0)
    return CrossValidation(
        pairs=len(pairs),
        prompts=len(set(groups.tolist())),
        folds=folds,
        embedder=embedder,
        accuracy=mean_interval(correct, groups),
        rules={
            name: _heuristic_score(
                correct, _accuracy(np.array([float(rule(pair)) for pair in pairs])), groups
            )
            for name, rule in rules.items()
        },
        brier=brier(probabilities, truth, clusters=groups).estimate,
        calibration=calibration_error(probabilities, truth)
        if set(truth.tolist()) <= {0, 1}
        else None,
        choice=comparison,
        choices=choices,
        candidates=candidates,
    )


def _accuracy(margin: Floats) -> Floats:
    """Return 1 for a positive margin of the chosen answer, 0 for a negative one, 1/2 for a tie."""
    return np.asarray((np.sign(margin) + 1) / 2)


def _heuristic_score(
    correct: Floats, heuristic: Floats, groups: NDArray[np.str_]
) -> HeuristicScore:
    return HeuristicScore(
        accuracy=mean_interval(heuristic, groups),
        difference=paired_difference(correct, heuristic, clusters=groups),
    )
