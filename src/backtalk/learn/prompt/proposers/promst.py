"""PROMST: people's rules name the errors of answers, and a learned score model filters prompts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from backtalk.learn.lazy_modules import np
from backtalk.learn.prompt.edits import lines, new_only, with_rules
from backtalk.learn.prompt.proposers.inner_scores import known_candidates, leaders, next_seed
from backtalk.learn.prompt.proposers.protegi import review
from backtalk.learn.prompt.protocol import PromptCandidate, SearchState, TextFeedback
from backtalk.learn.prompt.writer import PromptWriter

_DIMENSION = 256
_MIN_TRIALS = 4
"""Number of scored prompts from which the score model filters."""


class PromstProposer:
    """Proposer that writes many prompts by people's feedback, and passes on the promising ones.

    Feedback on answers comes from rules that people state and from their critiques; those that
    concern many answers come first. A regression of the scores of all prompts so far on the words
    of the prompt predicts the score of each new one, and the best by ``mean + deviation`` race.

    Chen et al. (2024), "PRompt Optimization in Multi-Step Tasks (PROMST)", section 3.

    Parameters
    ----------
    writer : PromptWriter
        Model that revises.
    rules : sequence of str, default ()
        Standing rules that people stated.
    reviewed : sequence of TextFeedback, default ()
        Answers that people reviewed.
    pool : int, default 24
        Number of prompts of which the score model selects.
    batch_size : int, default 6
        Number of answers whose feedback a revision reads.
    """

    name = "promst"

    def __init__(
        self,
        writer: PromptWriter,
        rules: Sequence[str] = (),
        reviewed: Sequence[TextFeedback] = (),
        *,
        pool: int = 24,
        batch_size: int = 6,
    ) -> None:
        self._writer = writer
        self._rules = [rule for rule, _ in Counter(rules).most_common()]
        self._reviewed = list(reviewed)
        self._pool = pool
        self._batch_size = batch_size

    async def propose(self, state: SearchState, count: int) -> list[PromptCandidate]:
        """Return the new prompts that the score model predicts to be best."""
        pool: list[PromptCandidate] = []
        parents = leaders(state, 3)
        for trial in parents:
            parent = trial.candidate
            pool += [
                with_rules(parent, (*parent.template.rules, rule), note=f"add: {rule}")
                for rule in self._rules
            ]
            batch = await review(state, trial, self._reviewed, self._batch_size)
            critiques = await self._writer.criticise(parent, [batch], seed=next_seed(state))
            number = max(1, self._pool // (2 * len(parents)))
            pool += await self._writer.revise(
                parent, critiques, batch, count=number, seed=next_seed(state)
            )
            pool += await self._writer.vary(parent, count=number, seed=next_seed(state))
        named = [replace(candidate, proposer=self.name) for candidate in pool]
        return await select_by_model(state, new_only(named, known_candidates(state)), count)


async def select_by_model(
    state: SearchState, pool: Sequence[PromptCandidate], count: int
) -> list[PromptCandidate]:
    """Return the prompts with the highest predicted scores plus one standard deviation.

    Parameters
    ----------
    state : SearchState
        Search whose scored prompts teach the model; with fewer than four, the draw is random.
    pool : sequence of PromptCandidate
        New prompts.
    count : int
        Number of prompts to return.
    """
    from sklearn.linear_model import BayesianRidge  # noqa: PLC0415 - slow to import

    scored = [trial for trial in state.trials if trial.scores]
    if len(pool) <= count:
        return list(pool)
    if len(scored) < _MIN_TRIALS:
        return [pool[i] for i in state.rng.permutation(len(pool))[:count]]
    from backtalk.embedders import HashedTfidf  # noqa: PLC0415 - slow to import

    texts = ["\n".join(lines(one)) for one in (*(trial.candidate for trial in scored), *pool)]
    vectors = await HashedTfidf.fit(texts, dimension=_DIMENSION).embed(texts)
    weights = np.array([len(trial.scores) for trial in scored], dtype=float)
    model = BayesianRidge().fit(
        vectors[: len(scored)], [trial.mean for trial in scored], sample_weight=weights
    )
    with np.errstate(invalid="ignore"):
        mean, deviation = model.predict(vectors[len(scored) :], return_std=True)
    # Rounding can make a variance negative, of which the root is not a number.
    bounds = mean + np.nan_to_num(deviation)
    return [pool[i] for i in np.argsort(-bounds, kind="stable")[:count]]
