"""Verification: answers under a rule are compared with the answers that people wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from backtalk.learn.context import MethodContext
from backtalk.learn.memory.edit_words import edit_similarity
from backtalk.learn.memory.induction import Example
from backtalk.models import Request
from backtalk.rewards.judge_info import JudgeInfo

MAX_TESTS = 6
"""Maximum number of examples on which a rule is tested."""
MAX_CANDIDATES = 3
"""Maximum number of rules that are tested on the same examples."""


@dataclass(frozen=True)
class VerifiedRule:
    """Rule with the comparison of answers under it and answers without it."""

    rule: str
    closer: int
    """Number of answers that the rule brings closer to those that people wrote."""
    farther: int
    """Number of answers that it takes farther away."""
    gain: float
    """Mean difference in similarity, in [-1, 1]."""

    @property
    def holds(self) -> bool:
        """True if answers under the rule are closer on average."""
        return self.gain > 0

    @property
    def confidence(self) -> float:
        """Posterior mean, in (0, 1), of the probability that the rule brings an answer closer."""
        return (self.closer + 1) / (self.closer + self.farther + 2)


async def best_rules(
    context: MethodContext,
    candidates: Sequence[tuple[Sequence[str], Sequence[Example]]],
    *,
    seed: int = 0,
) -> list[VerifiedRule | None]:
    """Return the rule of each group that brings answers closest to those that people wrote.

    The policy answers the requests of the examples with each rule and without one. Models state
    wrong rules too, and a wrong one shows here: its answers are not closer.

    Parameters
    ----------
    context : MethodContext
        Policy, feedback and run. Calls are cached and count against the budget.
    candidates : sequence of tuple
        For each group its rules, the likeliest first, and its examples. The first three rules are
        tested on the last six examples.
    seed : int, default 0
        Seed within the run.

    Returns
    -------
    list of VerifiedRule or None
        ``None`` where no rule brings the answers closer.
    """
    groups = [(rules[:MAX_CANDIDATES], tests[-MAX_TESTS:]) for rules, tests in candidates]
    trials = [
        (text, example)
        for rules, tests in groups
        if rules
        for text in (None, *rules)
        for example in tests
    ]
    scores = iter(await closeness(context, trials, seed=seed))
    results: list[VerifiedRule | None] = []
    for rules, tests in groups:
        if not rules or not tests:
            results.append(None)
            continue
        before, *after = ([next(scores) for _ in tests] for _ in (None, *rules))
        verified = [_compare(rule, before, one) for rule, one in zip(rules, after, strict=True)]
        holding = [one for one in verified if one.holds]
        results.append(max(holding, key=lambda one: one.gain, default=None))
    return results


def _compare(rule: str, before: Sequence[float], after: Sequence[float]) -> VerifiedRule:
    gains = [new - old for old, new in zip(before, after, strict=True)]
    closer, farther = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
    return VerifiedRule(rule, closer, farther, sum(gains) / len(gains))


async def closeness(
    context: MethodContext, trials: Sequence[tuple[str | None, Example]], *, seed: int = 0
) -> list[float]:
    """Return the similarity of answers to those that people wrote, in [0, 1].

    The similarity is recorded in ``context.rewards``.

    Parameters
    ----------
    context : MethodContext
        Policy that answers, feedback and run.
    trials : sequence of tuple
        Text that the prompt holds, ``None`` for none, and the example with the request.
    seed : int, default 0
        Seed within the run.
    """
    policy = context.policy
    sampling = policy.decoder.base_sampling.model_copy(update={"temperature": 0.0})
    requests = [
        Request(
            messages=policy.messages(example.prompt, remembered=[] if text is None else [text]),
            sampling=sampling,
            seed=context.run.seed * 1_000 + seed,
        )
        for text, example in trials
    ]
    if not requests:
        return []
    context.rewards.append(JudgeInfo(name="closeness to corrections"))
    with context.run.task("testing rules", len(requests)):
        answers = await context.model().generate(requests)
    return [
        edit_similarity(answer.text, example.better)
        for answer, (_, example) in zip(answers, trials, strict=True)
    ]
