"""Rounds of a proposer that reads batches of answers until one suggests a new prompt."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from backtalk.learn.prompt.edits import new_only
from backtalk.learn.prompt.proposers.inner_scores import known_candidates
from backtalk.learn.prompt.protocol import PromptCandidate, SearchState

_MAX_BATCHES = 3
"""Maximum number of batches of a round."""


async def propose_by_batches(
    state: SearchState,
    step: Callable[[SearchState, int], Awaitable[list[PromptCandidate]]],
    *,
    name: str,
    count: int,
) -> list[PromptCandidate]:
    """Return new prompts from the first batch of answers that suggests one.

    Parameters
    ----------
    state : SearchState
        State of the search.
    step : Callable
        Function that draws a batch and returns that many prompts.
    name : str
        Name of the proposer.
    count : int
        Maximum number of prompts.
    """
    for _ in range(_MAX_BATCHES):
        named = [replace(one, proposer=name) for one in await step(state, count)]
        if new := new_only(named, known_candidates(state)):
            return new[:count]
    return []
