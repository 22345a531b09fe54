"""Scores of candidates inside a proposer, before the search compares the best of them."""

from __future__ import annotations

from collections.abc import Sequence

from backtalk.learn.lazy_modules import np
from backtalk.learn.prompt.protocol import PromptCandidate, SearchState, Trial


async def try_out(
    state: SearchState, candidates: Sequence[PromptCandidate], indices: Sequence[int]
) -> list[Trial]:
    """Return trials of candidates with answers and scores, all on the same examples.

    Parameters
    ----------
    state : SearchState
        State of the search, whose trials stay the same.
    candidates : sequence of PromptCandidate
        Prompts to try.
    indices : sequence of int
        Indices of examples.
    """
    trials = [Trial(candidate) for candidate in candidates]
    await extend(state, [(trial, index) for trial in trials for index in indices])
    return trials


async def extend(state: SearchState, pairs: Sequence[tuple[Trial, int]]) -> None:
    """Add the answers of candidates to examples, with their scores, to their trials.

    Parameters
    ----------
    state : SearchState
        State of the search.
    pairs : sequence of tuple[Trial, int]
        Trials, each with the index of an example.
    """
    if not pairs:
        return
    results = await state.evaluate([(trial.candidate, index) for trial, index in pairs])
    for (trial, index), (answer, score) in zip(pairs, results, strict=True):
        trial.answers[index], trial.scores[index] = answer, score


def draw_indices(state: SearchState, count: int) -> list[int]:
    """Return the indices of random distinct examples, all of them if there are fewer."""
    return [int(i) for i in state.rng.permutation(len(state.examples))[:count]]


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """Return trials by their mean score, the best first; those without scores last."""
    return sorted(trials, key=lambda trial: (not trial.scores, -trial.mean))


def leaders(state: SearchState, count: int) -> list[Trial]:
    """Return the trial that leads the search, then those with the best means."""
    others = [trial for trial in ranked(state.trials) if trial is not state.best]
    return [state.best, *others][:count]


def history_of(state: SearchState, length: int) -> list[tuple[PromptCandidate, float]]:
    """Return the best candidates of a search with their mean scores, the best last."""
    scored = [trial for trial in state.trials if trial.scores]
    return [(trial.candidate, trial.mean) for trial in reversed(ranked(scored)[:length])]


def known_candidates(state: SearchState) -> list[PromptCandidate]:
    """Return all candidates of a search."""
    return [trial.candidate for trial in state.trials]


def next_seed(state: SearchState) -> int:
    """Return a random seed."""
    return int(state.rng.integers(2**31))


def worst_answers(trial: Trial, count: int, rng: np.random.Generator) -> list[int]:
    """Return the indices of the answers with the lowest scores, equal ones in random order.

    Parameters
    ----------
    trial : Trial
        Candidate with its scores.
    count : int
        Maximum number of indices.
    rng : numpy.random.Generator
        Source of randomness.
    """
    order = [list(trial.scores)[i] for i in rng.permutation(len(trial.scores))]
    return sorted(order, key=lambda index: trial.scores[index])[:count]
