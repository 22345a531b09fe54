"""ProTeGi: critiques of a prompt as gradients, beam search, and a bandit that selects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from backtalk.learn.prompt.edits import new_only
from backtalk.learn.prompt.examples import draw
from backtalk.learn.prompt.proposers.inner_scores import (
    draw_indices,
    extend,
    known_candidates,
    leaders,
    next_seed,
    ranked,
    try_out,
    worst_answers,
)
from backtalk.learn.prompt.protocol import PromptCandidate, SearchState, TextFeedback, Trial
from backtalk.learn.prompt.writer import PromptWriter


class ProtegiProposer:
    """Proposer that edits the best prompts against critiques of their errors.

    For each prompt of the beam: answers with the lowest scores are criticised in small batches
    (the gradient), the prompt is revised by each critique, and revisions are reworded. An
    upper-confidence-bound bandit spends a budget of scored answers on the result and keeps the
    best.

    Pryzant et al. (2023), "Automatic prompt optimization with 'gradient descent' and beam
    search", algorithms 1 to 3.

    Parameters
    ----------
    writer : PromptWriter
        Model that criticises and revises.
    reviewed : sequence of TextFeedback, default ()
        Answers that people reviewed; they are criticised beside the prompt's own.
    beam : int, default 3
        Number of prompts that are edited.
    gradients : int, default 2
        Number of critiques of a prompt.
    batch_size : int, default 6
        Number of answers of a critique.
    edits : int, default 2
        Number of revisions for each critique.
    variations : int, default 2
        Number of reworded versions of a prompt.
    budget : int, default 120
        Number of answers that the bandit scores.
    exploration : float, default 0.5
        Factor on the width of the upper confidence bound.
    """

    name = "protegi"

    def __init__(
        self,
        writer: PromptWriter,
        reviewed: Sequence[TextFeedback] = (),
        *,
        beam: int = 3,
        gradients: int = 2,
        batch_size: int = 6,
        edits: int = 2,
        variations: int = 2,
        budget: int = 120,
        exploration: float = 0.5,
    ) -> None:
        self._writer = writer
        self._reviewed = list(reviewed)
        self._beam = beam
        self._gradients = gradients
        self._batch_size = batch_size
        self._edits = edits
        self._variations = variations
        self._budget = budget
        self._exploration = exploration

    async def propose(self, state: SearchState, count: int) -> list[PromptCandidate]:
        """Return the candidates that the bandit keeps of the expanded beam."""
        expanded: list[PromptCandidate] = []
        for trial in leaders(state, self._beam):
            expanded += await self._expand(state, trial)
        return await select_by_bandit(
            state,
            new_only(expanded, known_candidates(state)),
            count,
            budget=self._budget,
            exploration=self._exploration,
        )

    async def _expand(self, state: SearchState, trial: Trial) -> list[PromptCandidate]:
        batches = [
            await review(state, trial, self._reviewed, self._batch_size)
            for _ in range(self._gradients)
        ]
        critiques = await self._writer.criticise(trial.candidate, batches, seed=next_seed(state))
        revised: list[PromptCandidate] = []
        for critique, batch in zip(critiques, batches, strict=True):
            if critique or any(item.better is not None for item in batch):
                revised += await self._writer.revise(
                    trial.candidate, [critique], batch, count=self._edits, seed=next_seed(state)
                )
        varied = await self._writer.vary(
            trial.candidate, count=self._variations, seed=next_seed(state)
        )
        return [replace(candidate, proposer=self.name) for candidate in (*revised, *varied)]


async def review(
    state: SearchState, trial: Trial, reviewed: Sequence[TextFeedback], count: int
) -> list[TextFeedback]:
    """Return words about the worst answers of a prompt, and about answers that people reviewed.

    Half of them are the prompt's own. A prompt with few answers is tried on some examples first.

    Parameters
    ----------
    state : SearchState
        State of the search.
    trial : Trial
        Prompt with its answers.
    reviewed : sequence of TextFeedback
        Answers that people reviewed.
    count : int
        Number of answers.
    """
    shown = draw(reviewed, count // 2, state.rng)
    own = count - len(shown)
    source = trial
    if len(trial.answers) < own:
        (source,) = await try_out(state, [trial.candidate], draw_indices(state, 2 * own))
    pool = worst_answers(source, 2 * own, state.rng)
    indices = [pool[i] for i in state.rng.permutation(len(pool))[:own]]
    explained = await state.signal.explain(
        [state.examples[i] for i in indices], [source.answers[i] for i in indices]
    )
    return [*shown, *explained]


async def select_by_bandit(
    state: SearchState,
    candidates: Sequence[PromptCandidate],
    count: int,
    *,
    budget: int,
    exploration: float = 0.5,
    batch_size: int = 4,
) -> list[PromptCandidate]:
    """Return the best candidates by an upper-confidence-bound bandit.

    Each candidate is scored on one batch; then the one with the largest bound,
    ``mean + exploration * sqrt(log(t) / n)``, is scored on a further batch, while the budget
    lasts.

    Parameters
    ----------
    state : SearchState
        State of the search.
    candidates : sequence of PromptCandidate
        Arms.
    count : int
        Number of candidates to return.
    budget : int
        Number of answers to score.
    exploration : float, default 0.5
        Factor on the width of the bound.
    batch_size : int, default 4
        Number of examples of a batch.
    """
    if len(candidates) <= count:
        return list(candidates)
    arms = candidates[: max(count, budget // batch_size)]
    trials = await try_out(state, arms, draw_indices(state, batch_size))
    spent = batch_size * len(trials)
    while spent + batch_size <= budget:
        open_trials = [t for t in trials if len(t.scores) < len(state.examples)]
        if not open_trials:
            break
        width = exploration * math.sqrt(math.log(spent))
        best = max(open_trials, key=lambda t: t.mean + width / math.sqrt(len(t.scores)))
        fresh = [i for i in draw_indices(state, len(state.examples)) if i not in best.scores]
        await extend(state, [(best, i) for i in fresh[:batch_size]])
        spent += batch_size
    return [trial.candidate for trial in ranked(trials)[:count]]
