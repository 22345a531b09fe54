"""Measured effects of memory entries against known truth: ``python -m benchmarks memory-effects``.

Simulated users rate answers good or bad. An entry applies to some of their requests, the more often
the higher they rate, and is withheld at random. The interval is looked at after every 25 scores; it
covers if it has the true effect each time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from backtalk.feedback import MemoryUse, Message
from backtalk.memory.effect.recorder import EffectRecorder
from backtalk.memory.effect.retirement import spending
from backtalk.memory.effect.sums import EffectSums
from backtalk.stats import exact_interval
from benchmarks.table import Table

RUNS = 20
ANSWERS = 1_500
PEEK = 25
PROMPTS = tuple(
    (Message.user(text),)
    for text in (
        "Write a mail to my boss about the meeting.",
        "Write a mail to a friend about the party.",
        "Summarise the report for the board.",
        "Answer the customer who waits for a parcel.",
    )
)
PROMPT_EFFECTS = (-0.1, 0.1, -0.05, 0.05)


@dataclass(frozen=True)
class Scenario:
    """Users, entries and feedback of a simulation."""

    name: str
    effects: tuple[float, ...] = (0.1,)
    """True effect of each entry; the first one is estimated."""
    withhold: float = 0.1
    confounded: bool = True
    """True if entries apply more often to users who rate higher."""
    missing: float = 0.0
    """Share of the answers without feedback for the median user; grumpy users rate more often."""
    delay: int = 0
    """Mean number of answers until a score arrives."""
    spread: float = 0.0
    """Standard deviation of the effect between users."""
    adaptive: bool = False
    """True if the probability of withholding doubles while the estimate is negative."""


SCENARIOS = (
    Scenario("entries apply to all users alike", confounded=False),
    Scenario("apply more often to users who rate higher"),
    Scenario("five entries at once", effects=(0.1, -0.15, 0.1, 0.0, -0.05)),
    Scenario("no effect", effects=(0.0,)),
    Scenario("half of the feedback missing, the rest delayed", missing=0.5, delay=200),
    Scenario("effects differ between users", spread=0.15),
    Scenario("withheld more often while it seems harmful", effects=(-0.05,), adaptive=True),
)


@dataclass
class Log:
    """Scores with and without the first entry, for the peers."""

    all_scores: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    """Scores of all answers without and with the entry in the prompt."""
    weighted: list[float] = field(default_factory=list)
    """Inverse-propensity numbers of the answers that it applied to."""
    true_effects: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Answer:
    """Scored answer."""

    user: int
    prompt: int
    uses: tuple[MemoryUse, ...]
    score: float
    effect: float
    """True effect of the first entry on the mean score."""


def simulate(scenario: Scenario, seed: int, answers: int) -> Iterator[tuple[EffectRecorder, Log]]:
    """Yield the estimates after each score.

    Parameters
    ----------
    scenario : Scenario
        Users, entries and feedback.
    seed : int
        Seed of all draws.
    answers : int
        Number of answers.
    """
    rng = np.random.default_rng(seed)
    recorder, log = EffectRecorder(), Log()
    level = np.clip(0.5 + 0.2 * rng.standard_normal(40), 0.1, 0.9)
    own = scenario.spread * rng.standard_normal(40)
    pending: list[tuple[float, int, Answer]] = []
    for i in range(answers):
        answer = _answer(scenario, rng, recorder, level, own)
        silent = rng.random() < min(2 * scenario.missing * level[answer.user], 1)
        if scenario.missing and silent:
            continue
        arrival = i + (rng.exponential(scenario.delay) if scenario.delay else 0)
        pending = sorted([*pending, (arrival, i, answer)])
        while pending and pending[0][0] <= i:
            _record(pending.pop(0)[2], recorder, log)
            yield recorder, log


def _answer(
    scenario: Scenario,
    rng: np.random.Generator,
    recorder: EffectRecorder,
    level: np.ndarray,
    own: np.ndarray,
) -> Answer:
    user, prompt = int(rng.integers(level.size)), int(rng.integers(len(PROMPTS)))
    applies = rng.random(len(scenario.effects)) < (level[user] if scenario.confounded else 0.5)
    withhold = scenario.withhold
    if scenario.adaptive and "0" in recorder.entries:
        withhold *= 2 if recorder.entries["0"].sums["judgements"].effect < 0 else 1
    shown = rng.random(len(scenario.effects)) >= withhold
    effects = np.array(scenario.effects)
    effects[0] += own[user]
    base = level[user] + PROMPT_EFFECTS[prompt] + float(effects[1:] @ (applies & shown)[1:])
    with_entry, without = (min(max(base + e, 0.0), 1.0) for e in (effects[0], 0.0))
    mean = with_entry if applies[0] and shown[0] else without
    uses = tuple(
        MemoryUse(entry=str(k), shown=bool(shown[k]), propensity=1 - withhold)
        for k in np.flatnonzero(applies)
    )
    return Answer(user, prompt, uses, float(rng.random() < mean), with_entry - without)


def _record(answer: Answer, recorder: EffectRecorder, log: Log) -> None:
    recorder.add(
        "judgements",
        answer.uses,
        answer.score,
        prompt=PROMPTS[answer.prompt],
        user=f"user {answer.user}",
    )
    use = next((use for use in answer.uses if use.entry == "0"), None)
    log.all_scores[use is not None and use.shown].append(answer.score)
    if use is not None:
        p = use.propensity
        log.weighted.append(answer.score / p if use.shown else -answer.score / (1 - p))
        log.true_effects.append(answer.effect)


Interval = tuple[float, float, float]
"""Estimate and ends of its interval."""


def ours(recorder: EffectRecorder, log: Log) -> Interval:  # noqa: ARG001
    """Return the doubly robust estimate with its confidence sequence."""
    estimate = _sums(recorder).interval(level=0.95, grouped=True)
    assert estimate is not None
    return estimate.value, estimate.low, estimate.high


def naive(recorder: EffectRecorder, log: Log) -> Interval:  # noqa: ARG001
    """Return the difference of answers with and without the entry in the prompt."""
    without, with_entry = (np.array(scores) for scores in log.all_scores)
    if min(without.size, with_entry.size) < 2:
        return 0.0, -1.0, 1.0
    error = math.sqrt(with_entry.var() / with_entry.size + without.var() / without.size)
    value = float(with_entry.mean() - without.mean())
    return value, value - 1.96 * error, value + 1.96 * error


def ips(recorder: EffectRecorder, log: Log) -> Interval:  # noqa: ARG001
    """Return the inverse-propensity estimate with a normal interval."""
    numbers = np.array(log.weighted)
    value, error = float(numbers.mean()), float(numbers.std() / math.sqrt(numbers.size))
    return value, value - 1.96 * error, value + 1.96 * error


SYSTEMS: dict[str, Callable[[EffectRecorder, Log], Interval]] = {
    "doubly robust, anytime-valid": ours,
    "with against without": naive,
    "inverse propensities, normal interval": ips,
}


def _sums(recorder: EffectRecorder) -> EffectSums:
    return recorder.entry("0").sums["judgements"]


def coverage() -> Table:
    """Return bias, error and coverage at all times of each estimator in each scenario."""
    rows = []
    for scenario in SCENARIOS:
        errors: dict[str, list[float]] = {name: [] for name in SYSTEMS}
        missed = dict.fromkeys(SYSTEMS, 0)
        for seed in range(RUNS):
            last, misses = _peek(scenario, seed)
            for name in SYSTEMS:
                errors[name].append(last[name])
                missed[name] += name in misses
        for name in SYSTEMS:
            values = np.array(errors[name])
            covered = exact_interval(RUNS - missed[name], RUNS)
            rows.append(
                (
                    scenario.name,
                    name,
                    f"{values.mean():+.3f}",
                    f"{math.sqrt((values**2).mean()):.3f}",
                    f"{covered.value:.3f} [{covered.low:.3f}, {covered.high:.3f}]",
                )
            )
    return Table(
        "memory-effect-coverage",
        "Effect of a memory entry: estimates against the truth, looked at after every 25 scores",
        ("scenario", "estimator", "bias", "root mean square error", "covers at all times"),
        tuple(rows),
        f"{RUNS} runs of {ANSWERS:,} answers to 40 users each, withheld with probability 0.1; the "
        "effect is 0.1 on scores of 0 and 1 where the scenario does not say otherwise. Intervals "
        "have 95 %; covering means that no look misses.",
    )


def _peek(scenario: Scenario, seed: int) -> tuple[dict[str, float], set[str]]:
    last: dict[str, float] = {}
    missed: set[str] = set()
    for number, (recorder, log) in enumerate(simulate(scenario, seed, ANSWERS), 1):
        if number % PEEK or not _sums(recorder).is_identified:
            continue
        truth = float(np.mean(log.true_effects))
        for name, estimate in SYSTEMS.items():
            value, low, high = estimate(recorder, log)
            last[name] = value - truth
            if not low <= truth <= high:
                missed.add(name)
    return last, missed


def power() -> Table:
    """Return the number of scored uses until effects of 0.1 are found."""
    rows = []
    for withhold in (0.05, 0.1, 0.2):
        cells = [f"{100 * withhold:.0f} %"]
        for effect, first, last in ((0.1, _is_helpful, None), (-0.1, _retires(1), _retires(1_000))):
            scenario = Scenario("power", effects=(effect,), withhold=withhold)
            reached = [_until(scenario, seed, (first, last)) for seed in range(POWER_RUNS)]
            cells.append(f"{median(one[0] for one in reached):,.0f}")
            if last is not None:
                cells.append(f"{median(one[1] for one in reached):,.0f}")
        rows.append(tuple(cells))
    return Table(
        "memory-effect-power",
        "Scored uses of a memory entry until its effect is found",
        (
            "withheld",
            "+0.1: interval above 0",
            "-0.1: the first entry of a memory retires",
            "-0.1: the entry number 1,000 retires",
        ),
        tuple(rows),
        f"Medians over {POWER_RUNS} runs, scores of 0 and 1, looked at after every {PEEK} uses. "
        "The error rate of retirement is 5 % over all entries of the memory.",
    )


POWER_RUNS = 3
MAX_ANSWERS = 80_000
Criterion = Callable[[EffectSums], bool]


def _is_helpful(sums: EffectSums) -> bool:
    estimate = sums.interval(level=0.95, grouped=True)
    return estimate is not None and estimate.low > 0


def _retires(order: int) -> Criterion:
    def is_met(sums: EffectSums) -> bool:
        evidence = sums.log_evidence_of_harm(grouped=True) - math.log(2)  # of two measures
        return evidence >= -math.log(0.05 * spending(order))

    return is_met


def _until(
    scenario: Scenario, seed: int, criteria: tuple[Criterion, Criterion | None]
) -> list[float]:
    times = [math.inf, math.inf]
    for recorder, _ in simulate(scenario, seed, MAX_ANSWERS):
        sums = _sums(recorder)
        if sums.n % PEEK:
            continue
        for index, is_met in enumerate(criteria):
            if is_met is not None and times[index] == math.inf and is_met(sums):
                times[index] = sums.n
        if times[0] < math.inf and (criteria[1] is None or times[1] < math.inf):
            break
    return times


def tables() -> list[Table]:
    """Measure coverage and power."""
    return [coverage(), power()]
