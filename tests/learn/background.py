"""A project with feedback, methods with scripted behaviour, and a worker process.

The process records its start, and the start and end of each learning, as files named by process id.
"""

import asyncio
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

from backtalk.feedback import Annotator, Critique, Interaction, Preference
from backtalk.feedback.views import Pair
from backtalk.learn import METHODS, Paper, method
from backtalk.learn.background import WatchSpec, Worker, WorkerConfig
from backtalk.models.spec import NamedSpec
from backtalk.policy import Lineage, Policy
from backtalk.promotion import Gate, promote
from backtalk.store import Store

PLAIN = Policy(model=NamedSpec(name="writer"), name="plain")
PAPER = Paper("None", "Nobody", 2026)
REQUEST = "Write to my boss, Ms Klein.\nReport ready: Friday, {} pages."
PACE = WorkerConfig(poll_seconds=0.1, max_attempts=3, backoff_seconds=0.05, settle_seconds=0.0)
TAKES_OVER_SOON = replace(PACE, lease_seconds=2.5)
STEPS = 5


def preference(number):
    interaction = Interaction.of(REQUEST.format(number), "Dear Ms Klein, it is ready.", "ready")
    feedback = Preference(
        interaction=interaction.id, annotator=Annotator.human("ada"), a="0", b="1", verdict="a"
    )
    return interaction, feedback


def add(store, count, *, start=0):
    """Add preferences, all at once: a worker sees all of them or none."""
    store.add(*(item for number in range(start, start + count) for item in preference(number)))


def criticise(store, number):
    interaction = Interaction.of(REQUEST.format(number), "Ready.")
    ada = Annotator.human("ada")
    store.add(
        interaction,
        Critique(interaction=interaction.id, annotator=ada, response="0", text="Too short."),
    )


def project(location, count=40):
    store = Store(location)
    promote(store, PLAIN, actor="ada")
    add(store, count)
    return store


def register(name, learn):
    """Register a method which tells a policy how much feedback it learned from."""

    @method(name, target="prompt", needs=[Pair], paper=PAPER)
    async def function(policy, feedback, run):
        """Tell the policy how many pairs there are."""
        await learn(feedback, run)
        pairs = len(feedback.views(Pair))
        return policy.derive(
            system=f"{pairs} pairs were seen.",
            lineage=Lineage(method=name, parent=policy.id, snapshot=feedback.snapshot),
        )

    return METHODS.get(name)


def slow(folder, pause):
    """Return a way to learn that takes its time, and notes when it begins and ends."""

    async def learn(feedback, run):
        note(folder, "began")
        with run.task("learning", STEPS) as step:
            for done in range(STEPS):
                await asyncio.sleep(pause)
                step(done)
        note(folder, "ended")

    return learn


def note(folder, what):
    (Path(folder) / f"{what}-{os.getpid()}-{time.time_ns()}").touch()


def noted(folder, what):
    return [path.name for path in Path(folder).glob(f"{what}-*")]


def watch(location, folder, pause, *, judged):
    """Watch with the slow method until a signal says to end."""
    register("slow", slow(folder, pause))
    judge = {"judge": "true-utility", "gate": Gate()} if judged else {}
    with Store(location) as opened:
        worker = Worker(opened, WatchSpec(method="slow", **judge), every=10, config=TAKES_OVER_SOON)
        signal.signal(signal.SIGTERM, lambda *_: worker.stop())
        note(folder, "ready")
        worker.run()
