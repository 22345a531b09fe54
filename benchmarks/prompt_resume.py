"""Commands that learn a prompt or a memory, killed at random points and run again.

The model is an endpoint that counts what it is paid for. A request is repeated at most if it was in
flight at the kill; the result is that of a run that nobody killed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from backtalk.cli import main
from backtalk.cli.exit_codes import ExitCode
from backtalk.feedback import Annotator, Critique, Edit, Interaction
from backtalk.memory import Memory
from backtalk.models.spec import EndpointSpec
from backtalk.policy import Policy, list_policies, save_policy
from backtalk.store import Store
from benchmarks.paid_endpoint import CONCURRENCY, PaidEndpoint
from benchmarks.table import Table

RUNS = 5
"""Number of runs of each command."""
MAX_KILLS = 3
"""Maximum number of kills of a run."""
INTERACTIONS = 60
_SEARCH = ("-o", "candidates=6", "-o", "examples=12", "-o", "confirmation=20")
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "learn prompt": ("prompt", *_SEARCH),
    "learn ape": ("ape", *_SEARCH, "-o", "pool=8"),
    "learn gepa": ("gepa", *_SEARCH),
    "learn memory -o rewrite=true": ("memory", "-o", "rewrite=true"),
}
"""Arguments of ``learn``."""
SEED, LEARNED = "plain", "learned"
_ENDED = (ExitCode.DONE, ExitCode.NO_IMPROVEMENT)
_PRELOADED = (
    __name__,
    "anyio._backends._asyncio",
    "backtalk.api",
    "backtalk.learn.memory.remember",
    "backtalk.learn.prompt.method",
    "backtalk.learn.prompt.methods.inference",
    "backtalk.rewards",
    "openai.resources.chat",
    "scipy.optimize",
    "sklearn.cluster",
    "sklearn.feature_extraction.text",
    "sklearn.linear_model",
)
"""Modules that each process has loaded when it starts."""


@dataclass(frozen=True)
class Outcome:
    """Result of a command."""

    policy: str
    """Id of the learned policy, or of the first one if none is better."""
    prompt: str
    """System prompt and rules of the policy."""
    entries: tuple[tuple[str, str], ...]
    """Kind and text of the entries of its memory."""


@dataclass(frozen=True)
class Killed:
    """Run of a command with its kills."""

    outcome: Outcome
    kills: int
    payments: Mapping[str, int]
    """Number of payments for each request."""

    @property
    def repeated(self) -> int:
        """Number of payments beyond the first for each request."""
        return sum(self.payments.values()) - len(self.payments)


def make_store(folder: Path, address: str) -> None:
    """Write a store with a policy, edits and critiques into an empty folder."""
    with Store(folder / "store.db") as store:
        spec = EndpointSpec(model="paid", base_url=address, concurrency=CONCURRENCY)
        save_policy(store, Policy(model=spec, name=SEED))
        for number in range(INTERACTIONS):
            item = Interaction.of(f"What is item {number}", f"The answer is {number}.")
            common = {
                "interaction": item.id,
                "response": item.responses[0].id,
                "annotator": Annotator.human(f"user-{number % 3}"),
            }
            polite = f"The answer is {number}. Please tell me if that helps."
            store.add(
                item, Edit(**common, text=polite), Critique(**common, text="It is not polite.")
            )


def run_command(arguments: Sequence[str], log: Path) -> None:
    """Run a command with its output in a file, and exit with its code."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for output in (1, 2):
        os.dup2(file, output)
    raise SystemExit(main(arguments))


class Bench:
    """Store and endpoint on which a command runs again and again.

    Parameters
    ----------
    folder : Path
        Empty folder for stores.
    endpoint : PaidEndpoint
        Running endpoint.
    """

    def __init__(self, folder: Path, endpoint: PaidEndpoint) -> None:
        self._folder = folder
        self._endpoint = endpoint
        self._context = get_context("forkserver")
        self._context.set_forkserver_preload(list(_PRELOADED))
        (folder / "template").mkdir()
        make_store(folder / "template", endpoint.address)

    def run(self, command: Sequence[str], kills: Sequence[int] = ()) -> Killed:
        """Run a command on a new copy of the store, again after each kill, to its end.

        Parameters
        ----------
        command : sequence of str
            Arguments of ``learn``.
        kills : sequence of int, default ()
            Number of the request of each process, from 1, at which it is killed. A process with
            fewer requests ends before.

        Raises
        ------
        RuntimeError
            If the command fails.
        """
        folder = self._folder / "run"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self._folder / "template", folder)
        self._endpoint.payments.clear()
        arguments = ["learn", *command, "--policy", SEED, "--name", LEARNED]
        arguments += ["--store", str(folder / "store.db")]
        killed = 0
        for kill_at in (*kills, None):
            process = self._context.Process(
                target=run_command, args=(arguments, folder / "log.txt")
            )
            code = self._endpoint.run(process, kill_at=kill_at)
            killed += code == -9
            if code in _ENDED:
                break
            if code != -9:
                output = (folder / "log.txt").read_text(encoding="utf-8")
                raise RuntimeError(f"{' '.join(command)} ended with code {code}: {output}")
        return Killed(self._outcome(folder), killed, dict(self._endpoint.payments))

    @staticmethod
    def _outcome(folder: Path) -> Outcome:
        with Store(folder / "store.db") as store:
            *_, policy = list_policies(store)
            rules = () if policy.prompt is None else policy.prompt.rules
            prompt = "\n".join((policy.system or "", *rules)).strip()
            entries = () if policy.memory is None else Memory(store, policy.memory.name).entries()
            texts = tuple(sorted((entry.kind, entry.text) for entry in entries))
            return Outcome(policy.id, prompt, texts)


def kill_points(calls: int, rng: np.random.Generator) -> list[int]:
    """Return numbers of requests between which a run of that many calls is killed."""
    points = sorted(rng.choice(np.arange(1, calls), int(rng.integers(1, MAX_KILLS + 1))))
    return [int(point) for point in np.diff([0, *points]) if point > 0]


def tables() -> Iterator[Table]:
    """Kill each command at random points, and compare it with a run that nobody killed."""
    rows = []
    with TemporaryDirectory() as folder, PaidEndpoint() as endpoint:
        bench = Bench(Path(folder), endpoint)
        for name, command in COMMANDS.items():
            whole = bench.run(command)
            rng = np.random.default_rng([len(rows), 61])
            runs = [bench.run(command, kill_points(len(whole.payments), rng)) for _ in range(RUNS)]
            kills = sum(run.kills for run in runs)
            equal = sum(run.outcome == whole.outcome for run in runs)
            same_calls = sum(run.payments.keys() == whole.payments.keys() for run in runs)
            repeated = sum(run.repeated for run in runs)
            rows.append(
                (
                    f"`{name}`",
                    str(len(whole.payments)),
                    f"{kills} in {RUNS} runs",
                    f"{same_calls} of {RUNS}",
                    f"{equal} of {RUNS}",
                    f"{repeated / kills:.1f}",
                    str(max(max(run.payments.values()) for run in runs)),
                )
            )
    yield Table(
        "prompt-resume",
        "Commands killed at random points",
        (
            "command",
            "calls",
            "kills",
            "same calls",
            "same result",
            "repeated calls of a kill",
            "payments of one call, at most",
        ),
        tuple(rows),
        f"`SIGKILL` at random requests of an endpoint that counts what it is paid for, with up to "
        f"{CONCURRENCY} requests in flight, which are sent again. Each command then runs again, up "
        f"to {MAX_KILLS} kills a run.",
    )
