"""False improvements: whole searches over edits that change nothing, and what each gate reports.

Each search tries 20 candidates. Answers are right or wrong at random, with a probability for each
example. A candidate of a *no-op* search has the same probabilities as the seed. Whatever a search
then reports as an improvement is false. Power is the share of searches that report a truly better
candidate if a quarter of the candidates are better by 5, 10 or 20 points.

Backtalk's gate is the search itself, :func:`backtalk.learn.prompt.search.search`, with a model that
answers at random, without a budget and with one. GEPA's engine and SkillOpt's gate run in
environments of their own. The rules of MIPROv2 and of a tolerance are written here after their
sources, and applied to the same kind of scores.

Others can measure theirs with the same command and other sizes::

    python -m benchmarks.false_improvements --examples 50 --candidates 20 --searches 400 \
        --accuracy 0.6 --spread 0.3
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from backtalk.feedback import Message
from backtalk.feedback.interaction import Prompt
from backtalk.learn.context import MethodContext
from backtalk.learn.prompt.edits import with_rules
from backtalk.learn.prompt.learning import affordable_confirmation
from backtalk.learn.prompt.protocol import PromptCandidate, SearchState, TextFeedback
from backtalk.learn.prompt.search import SearchSettings, search
from backtalk.models import Budget, FunctionModel, Model, Request
from backtalk.models.run_sync import run_sync
from backtalk.models.spec import NamedSpec
from backtalk.policy import Policy
from backtalk.run import Run
from backtalk.stats import exact_interval
from backtalk.stats.validation import Floats
from benchmarks.peers.environments import GEPA, RUNS, SKILLOPT, Peer
from benchmarks.table import Table

SIZES = (20, 50, 200)
GAINS = (0.05, 0.1, 0.2)
CALLS_PER_EXAMPLE = 4
"""Number of calls of a search with a budget, by number of examples."""
POLICY = Policy(model=NamedSpec(name="random-answers"))


@dataclass(frozen=True)
class Setting:
    """Noise and size of simulated searches."""

    examples: int = 50
    candidates: int = 20
    searches: int = 200
    """Number of no-op searches; half as many for each other figure."""
    accuracy: float = 0.6
    """Mean probability of a right answer."""
    spread: float = 0.25
    """Standard deviation of that probability over examples."""
    better: float = 0.25
    """Share of the candidates that have the gain."""

    def probabilities(self, rng: np.random.Generator) -> Floats:
        """Return the probability of a right answer to each example, shape ``(examples,)``."""
        scale = self.accuracy * (1 - self.accuracy) / max(self.spread, 1e-6) ** 2 - 1
        return rng.beta(self.accuracy * scale, (1 - self.accuracy) * scale, self.examples)

    def gains(self, gain: float, rng: np.random.Generator) -> Floats:
        """Return the true gain of the seed, which is 0, and of each candidate."""
        better = rng.permutation(self.candidates) < round(self.better * self.candidates)
        return np.concatenate([[0.0], gain * better])


@dataclass(frozen=True)
class Report:
    """Result that one search reports."""

    winner: int = 0
    """Number of the candidate that it reports as an improvement; 0 for none."""
    gain: float = 0.0
    """Gain that it reports."""


Gate = Callable[["Scores"], Report]
"""Rule that reads scores and reports an improvement or not."""


@dataclass
class Scores:
    """Scores of a search: each call of :meth:`draw` is a new evaluation."""

    probabilities: Floats
    """Probability of a right answer of each candidate, the seed first, shape ``(k, n)``."""
    rng: np.random.Generator

    def draw(self, candidate: int, indices: Sequence[int] | None = None) -> Floats:
        """Return the scores of a candidate on examples, all by default."""
        rates = self.probabilities[candidate]
        rows = rates if indices is None else rates[list(indices)]
        return (self.rng.random(rows.size) < rows).astype(float)

    @property
    def size(self) -> int:
        """Number of examples."""
        return self.probabilities.shape[1]

    @property
    def candidates(self) -> range:
        """Numbers of the candidates but the seed."""
        return range(1, len(self.probabilities))

    def subset(self, count: int) -> list[int]:
        """Return the indices of a random minibatch."""
        return self.rng.permutation(self.size)[:count].tolist()


def argmax(scores: Scores) -> Report:
    """Report the best of all candidates on all examples."""
    means = [scores.draw(c).mean() for c in (0, *scores.candidates)]
    best = int(np.argmax(means))
    return Report(best, float(means[best] - means[0]))


@dataclass
class PeerGate:
    """Gate of another project in its own environment, in one process for all searches.

    Parameters
    ----------
    script : str
        Name of its script, without ``.py``.
    peer : Peer
        Project.
    """

    script: str
    peer: Peer
    _process: subprocess.Popen[str] | None = field(default=None, init=False)

    def __call__(self, scores: Scores) -> Report:
        """Return what its search reports."""
        if self._process is None:
            self._process = subprocess.Popen(
                [str(self.peer.python), str(RUNS / f"{self.script}.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        inputs, outputs = self._process.stdin, self._process.stdout
        assert inputs is not None
        assert outputs is not None
        body = {"rates": scores.probabilities.tolist(), "seed": int(scores.rng.integers(2**31))}
        inputs.write(json.dumps(body) + "\n")
        inputs.flush()
        winner, gain = json.loads(outputs.readline())
        return Report(winner, gain)


def mipro(scores: Scores) -> Report:
    """Try candidates on minibatches of 35, validate the best mean every 5 trials (MIPROv2)."""
    validated = {0: float(scores.draw(0).mean())}
    means: dict[int, float] = {}
    for candidate in scores.candidates:
        means[candidate] = float(scores.draw(candidate, scores.subset(35)).mean())
        if candidate % 5 == 0:
            pending = [c for c in means if c not in validated]
            chosen = max(pending, key=means.__getitem__)
            validated[chosen] = float(scores.draw(chosen).mean())
    best = max(validated, key=validated.__getitem__)
    return Report(best, validated[best] - validated[0])


def tolerance(scores: Scores) -> Report:
    """Keep each edit that loses at most 5 points on 20 cases."""
    winner, gain = 0, 0.0
    current = scores.draw(0, scores.subset(20)).mean()
    for candidate in scores.candidates:
        mean = scores.draw(candidate, scores.subset(20)).mean()
        if mean >= current - 0.05:
            winner, gain, current = candidate, gain + float(mean - current), mean
    return Report(winner, gain)


PEERS: Mapping[str, Gate] = {
    "best of all candidates": argmax,
    "SkillOpt 0.2.0, its gate": PeerGate("skillopt_gate", SKILLOPT),
    "GEPA 0.1.4, its engine": PeerGate("gepa_gate", GEPA),
    "MIPROv2's minibatches of 35": mipro,
    "5-point tolerance on 20 cases": tolerance,
}


@dataclass
class NoiseWorld:
    """Model and signal whose answers are right at random."""

    probabilities: Floats
    rng: random.Random
    name: str = "noise"

    def answer(self, request: Request) -> str:
        """Return ``1`` or ``0``; the system prompt names the candidate, the request the example."""
        system = next((m.text for m in request.messages if m.role == "system"), "0")
        rate = self.probabilities[int(system), int(request.messages[-1].text)]
        return str(int(self.rng.random() < rate))

    async def score(self, prompts: Sequence[Prompt], answers: Sequence[str]) -> Floats:
        """Return the score that an answer states."""
        del prompts
        return np.array([float(answer) for answer in answers])

    async def explain(
        self, prompts: Sequence[Prompt], answers: Sequence[str]
    ) -> list[TextFeedback]:
        """Return answers without words."""
        return [TextFeedback(p, a, "") for p, a in zip(prompts, answers, strict=True)]


@dataclass
class NumberedCandidates:
    """Proposer of candidates by their numbers."""

    numbers: list[int]
    name: str = "numbered"
    rounds: int = field(default=0, init=False)

    async def propose(self, state: SearchState, count: int) -> list[PromptCandidate]:
        """Return the next candidates."""
        taken, self.numbers = self.numbers[:count], self.numbers[count:]
        seed = state.trials[0].candidate
        return [with_rules(seed, [str(number)]) for number in taken]


@dataclass(frozen=True)
class _Context(MethodContext):
    """Context with a model of its own."""

    models: list[Model] = field(default_factory=list)

    def model(self, policy: Policy | None = None) -> Model:
        """Return the model without a cache, which nothing here reads again."""
        del policy
        return self.models[0]


def backtalk(scores: Scores, *, level: float = 0.95, calls: int | None = None) -> Report:
    """Search with Backtalk: races, gate, and a confirmation with half of the examples.

    Parameters
    ----------
    scores : Scores
        Scores of the search.
    level : float, default 0.95
        Level of the search.
    calls : int, optional
        Budget of calls; none by default.
    """
    world = NoiseWorld(scores.probabilities, random.Random(int(scores.rng.integers(2**31))))
    prompts = [(Message.user(str(index)),) for index in scores.rng.permutation(scores.size)]
    count = len(scores.candidates)
    settings = SearchSettings(candidates=count, width=max(6, count // 2), patience=4, level=level)
    budget = Budget(calls=calls)
    with Run(budget=budget) as run:
        context = _Context(POLICY, None, run)  # type: ignore[arg-type] - the feedback is not read
        context.models.append(FunctionModel(world.answer, name="noise"))
        result = run_sync(
            search(
                context,
                world,
                [NumberedCandidates(list(scores.candidates))],
                examples=prompts[0::2],
                confirmation=prompts[1::2],
                settings=settings,
                reserved=affordable_confirmation(run, settings),
            )
        )
    if not result.improved or result.confirmation is None:
        return Report()
    return Report(int(result.best.template.rules[0]), result.confirmation.gain.value)


def backtalk_with_budget(scores: Scores) -> Report:
    """Search with Backtalk and a budget, by which it plans its steps and may confirm early."""
    return backtalk(scores, calls=CALLS_PER_EXAMPLE * scores.size)


OWN: Mapping[str, Gate] = {
    "Backtalk": backtalk,
    f"Backtalk, {CALLS_PER_EXAMPLE} calls an example": backtalk_with_budget,
}


def simulate(
    gate: Gate, setting: Setting, gain: float, *, seed: int = 0
) -> list[tuple[bool, float]]:
    """Return for each search whether it reports an improvement that is as expected, and its gain.

    In a no-op search any improvement counts. With a gain, the winner must have it.

    Parameters
    ----------
    gate : Gate
        Rule of the search.
    setting : Setting
        Noise and size.
    gain : float
        True gain of the better candidates; 0 for a no-op search.
    seed : int, default 0
        Random seed.
    """
    results = []
    for number in range(setting.searches if gain == 0 else setting.searches // 2):
        rng = np.random.default_rng([seed, number, setting.examples, round(1000 * gain)])
        base = setting.probabilities(rng)
        gains = setting.gains(gain, rng)
        rates = np.clip(base[None, :] + gains[:, None], 0, 1)
        report = gate(Scores(rates, rng))
        right = report.winner > 0 and (gain == 0 or gains[report.winner] > 0)
        results.append((right, report.gain if report.winner else 0.0))
    return results


def keeps_loss(gate: Gate, setting: Setting, loss: float = 0.1) -> float:
    """Return the share of single edits that lose points and that a gate accepts.

    Parameters
    ----------
    gate : Gate
        Rule of the search.
    setting : Setting
        Noise and size.
    loss : float, default 0.1
        True loss of the edit.
    """
    accepted, searches = 0, setting.searches // 2
    for number in range(searches):
        rng = np.random.default_rng([7, number, setting.examples])
        base = setting.probabilities(rng)
        rates = np.clip(np.stack([base, base - loss]), 0, 1)
        accepted += gate(Scores(rates, rng)).winner > 0
    return accepted / searches


def row(name: str, gate: Gate, setting: Setting, gains: Sequence[float]) -> tuple[str, ...]:
    """Return the row of a gate: false improvements, apparent gain, losses, and power.

    Parameters
    ----------
    name : str
        Name of the gate.
    gate : Gate
        Rule of the search.
    setting : Setting
        Noise and size.
    gains : sequence of float
        True gains for the power.
    """
    results = simulate(gate, setting, 0.0)
    false = sum(hit for hit, _ in results)
    interval = exact_interval(false, len(results))
    apparent = float(np.mean([gain for hit, gain in results if hit])) if false else 0.0
    return (
        name,
        str(setting.examples),
        f"{100 * interval.value:.1f} % [{100 * interval.low:.1f}, {100 * interval.high:.1f}]",
        f"{100 * apparent:+.1f}",
        f"{100 * keeps_loss(gate, setting):.0f} %",
        *(
            f"{100 * np.mean([hit for hit, _ in simulate(gate, setting, gain)]):.0f} %"
            for gain in gains
        ),
    )


def table(settings: Iterable[Setting], gates: Mapping[str, Gate]) -> Table:
    """Return the table of gates at several sizes."""
    settings = list(settings)
    first = settings[0]
    return Table(
        "false-improvements",
        "False improvements of whole searches",
        (
            "gate",
            "examples",
            "searches with a false improvement",
            "apparent gain, points",
            "keeps a loss of 10 points",
            *(f"finds +{100 * gain:.0f}" for gain in GAINS),
        ),
        tuple(
            row(name, gate, setting, GAINS) for setting in settings for name, gate in gates.items()
        ),
        f"{first.candidates} candidates, {first.searches} no-op searches and half as many for each "
        "other figure. Answers are right or "
        f"wrong with a mean probability of {first.accuracy:g} and a standard deviation over "
        f"examples of {first.spread:g}; exact 95 % intervals. The last columns are the share of "
        "searches that report a truly better candidate if a quarter of the candidates have the "
        "gain. The gate of SkillOpt and the engine of GEPA are their own code; the rule of DSPy's "
        "MIPROv2, which validates the best mean of minibatches of 35 every 5 trials, and that of a "
        "tolerance are written after their sources.",
    )


def tables() -> Iterable[Table]:
    """Measure all gates at 20, 50 and 200 examples."""
    yield table([Setting(examples=n) for n in SIZES], {**OWN, **PEERS})


def main() -> None:
    """Measure with the sizes and the noise of the command line, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--examples", type=int, nargs="+", default=list(SIZES))
    for name, kind in (("candidates", int), ("searches", int), ("accuracy", float)):
        parser.add_argument(f"--{name}", type=kind, default=getattr(Setting(), name))
    parser.add_argument("--spread", type=float, default=Setting().spread)
    parser.add_argument("--gate", choices=[*OWN, *PEERS], nargs="+")
    options = parser.parse_args()
    settings = [
        Setting(n, options.candidates, options.searches, options.accuracy, options.spread)
        for n in options.examples
    ]
    gates = {**OWN, **PEERS}
    chosen = {name: gates[name] for name in options.gate or gates}
    sys.stdout.write(table(settings, chosen).markdown())


if __name__ == "__main__":
    main()
