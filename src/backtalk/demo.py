"""The whole loop at a simulated support desk, where the truth is known.

Customers write; a plain policy drafts several replies; people at the desk react in ten ways. From
that a reward is learned, and a policy that chooses by it is evaluated on requests that nobody has
given feedback on. What is promoted, and what the gate refuses, is decided by the same functions
that the command line calls.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from backtalk.evaluate.compare import Trial, evaluate
from backtalk.evaluate.evaluation import Evaluation, headline
from backtalk.evaluate.exhibits import exhibits
from backtalk.evaluate.plots import interval_plot
from backtalk.evaluate.report import Figure, Report, Table, Text, percent
from backtalk.feedback import Interaction, Message, Response, content_id
from backtalk.feedback.views import Case
from backtalk.learn import TrainingSet, find_method, in_split, what_can_run
from backtalk.models import Request
from backtalk.models.spec import NamedSpec
from backtalk.policy import (
    GateRefused,
    Policy,
    load_policy,
    promote,
    save_evaluation,
    save_exhibits,
    save_policy,
)
from backtalk.policy.reporting import (
    change_blocks,
    choice_blocks,
    example_blocks,
    result_blocks,
)
from backtalk.run import Progress, Run
from backtalk.store import Store
from backtalk.worlds.desk import tickets
from backtalk.worlds.desk_model import DeskModel, TrueUtility
from backtalk.worlds.desk_people import KINDS, Person

REQUESTS = 1_500
REPLIES = 4
SAMPLES = 16
METHOD = "best-of-n"
WHO = "demo"
BEGIN = datetime(2026, 1, 5, 9, tzinfo=UTC)

PEOPLE = (
    Person("ada", noise=0.08),
    Person("bo", noise=0.15, position_bias=0.05),
    Person("chen", noise=0.2, length_bias=0.03),
    Person("dora", noise=0.3),
)
"""The people at the desk: careful and careless, one likes what stands first, one what is long."""

HASTY = Person("zed", noise=0.1, length_bias=0.6)
"""Somebody who takes length for quality."""


@dataclass(frozen=True)
class Outcome:
    """What the demo made."""

    store: Path
    page: Path
    report: Report
    lines: tuple[str, ...]
    """What happened, in a few sentences."""


@dataclass(frozen=True)
class _Tried:
    policy: Policy
    found: Evaluation
    trial: Trial


def run_demo(
    folder: Path, *, seed: int = 0, requests: int = REQUESTS, progress: Progress | None = None
) -> Outcome:
    """Run the loop and write a report.

    Parameters
    ----------
    folder
        Where the store ``desk.db`` and ``report.html`` go; those of an earlier run are replaced.
    seed
        Decides everything.
    requests
        How many requests customers make. With far fewer the gate rightly finds nothing shown.
    progress
        Told how far the work is.
    """
    location = _fresh(folder)
    with Store(location) as store, Run(seed=seed, progress=progress) as run:
        return asyncio.run(_Demo(store, run, folder, requests).play())


def _fresh(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("desk.db", "desk.db-wal", "desk.db-shm", "report.html", "report.json"):
        (folder / name).unlink(missing_ok=True)
    for name in ("desk.artifacts", "desk.runs"):
        shutil.rmtree(folder / name, ignore_errors=True)
    return folder / "desk.db"


class _Demo:
    """The demo, step by step."""

    def __init__(self, store: Store, run: Run, folder: Path, requests: int) -> None:
        self.store = store
        self.requests = requests
        self.run = run
        self.folder = folder
        self.plain = Policy(model=NamedSpec(name="desk"), name="plain")

    async def play(self) -> Outcome:
        """Do it all."""
        await self._collect(self.store, PEOPLE)
        promote(self.store, self.plain, who=WHO)
        chooser = await self._learn(self.store, "chooser")
        tried = await self._try(chooser)
        promote(self.store, chooser, tried.found, who=WHO)

        lovers = self.store.in_project("length-lovers")
        await self._collect(lovers, (HASTY,), kinds=("preference", "rating", "ranking"))
        longwinded = await self._learn(lovers, "long-winded")
        save_policy(self.store, longwinded)
        wrong = await self._try(longwinded, against=chooser)
        refusal = self._refused(wrong)
        by_kind = [await self._by_kind(kind) for kind in self._driving_kinds()]
        report = self._report(tried, wrong, refusal, by_kind)
        page, _ = report.write(self.folder / "report.html")
        counts = self.store.counts()
        given = sum(count for kind, count in counts.items() if kind != "interaction")
        return Outcome(
            store=self.folder / "desk.db",
            page=page,
            report=report,
            lines=(
                f"{given:,} pieces of feedback of {len(counts) - 1} kinds.",
                f"chooser against plain. {headline(tried.found)}. It is promoted.",
                f"long-winded against chooser. {headline(wrong.found)}. The gate refuses it.",
            ),
        )

    async def _collect(
        self, store: Store, people: Sequence[Person], kinds: Sequence[str] = tuple(KINDS)
    ) -> None:
        """Let people react to replies, each time in two ways."""
        seed = self.run.seed
        with self.run.task(f"collecting feedback for {store.project}", self.requests) as step:
            talks = await self._talks(store.project)
            chance = np.random.default_rng([seed, 1])

            def cases() -> Iterator[Case]:
                for done, talk in enumerate(talks, 1):
                    person = people[int(chance.integers(len(people)))]
                    ways = chance.choice(len(kinds), 2, replace=False)
                    said = [item for i in ways for item in person.give(kinds[i], talk)]
                    step(done)
                    yield Case(talk, tuple(said))

            store.add_cases(cases())

    async def _talks(self, name: str) -> list[Interaction]:
        """Return requests with replies, shown in an order drawn at random."""
        seed = self.run.seed
        asked = tickets("train", self.requests, seed=seed)
        drafts = await DeskModel().generate(
            [
                Request(messages=ticket.prompt, sample=i, seed=seed)
                for ticket in asked
                for i in range(REPLIES)
            ]
        )
        chance = np.random.default_rng([seed, 2])
        ids = [str(i) for i in range(REPLIES)]
        return [
            Interaction(
                id=content_id("demo", name, str(seed), str(number)),
                prompt=ticket.prompt,
                responses=tuple(
                    Response(
                        id=ids[place],
                        text=drafts[number * REPLIES + i].text,
                        model=drafts[number * REPLIES + i].model,
                        sample=i,
                        propensity=1 / REPLIES,
                    )
                    for place, i in enumerate(chance.permutation(REPLIES).tolist())
                ),
                shown=tuple(ids),
                user=f"customer-{number}",
                policy=self.plain.id,
                time=BEGIN + timedelta(minutes=7 * number),
            )
            for number, ticket in enumerate(asked)
        ]

    async def _learn(self, store: Store, name: str, kinds: Sequence[str] | None = None) -> Policy:
        feedback = TrainingSet(store, kinds=kinds)
        learned = await find_method(METHOD).learn(self.plain, feedback, self.run, n=SAMPLES)
        named = learned.named(name)
        save_policy(store, named)
        return named

    async def _try(self, candidate: Policy, against: Policy | None = None) -> _Tried:
        """Evaluate a policy by the truth, on requests that nobody gave feedback on."""
        prompts = self._held_out()
        found, trial = await evaluate(
            load_policy(candidate, self.store.artifacts, wrap=self.run.around),
            load_policy(against or self.plain, self.store.artifacts, wrap=self.run.around),
            prompts,
            TrueUtility(),
            run=self.run,
            guards=[TrueUtility("safe")],
        )
        save_evaluation(self.store, found)
        save_exhibits(self.store, found, exhibits(trial))
        return _Tried(candidate, found, trial)

    def _held_out(self) -> list[tuple[Message, ...]]:
        asked = tickets("train", self.requests, seed=self.run.seed)
        return [ticket.prompt for ticket in asked if in_split(ticket.prompt, "held-out")]

    def _refused(self, tried: _Tried) -> str:
        try:
            promote(self.store, tried.policy, tried.found, who=WHO)
        except GateRefused as refusal:
            return refusal.what
        raise AssertionError("a policy that takes length for quality passed the gate")

    def _driving_kinds(self) -> list[str]:
        (method,) = [item for item in what_can_run(self.store) if item.method.name == METHOD]
        return list(method.drivers)

    async def _by_kind(self, kind: str) -> _Tried:
        return await self._try(await self._learn(self.store, f"from-{kind}", kinds=[kind]))

    def _report(
        self, tried: _Tried, wrong: _Tried, refusal: str, by_kind: Sequence[_Tried]
    ) -> Report:
        counts = self.store.counts()
        given = sum(count for kind, count in counts.items() if kind != "interaction")
        rates = {item.policy.label: item.found.win_rate for item in by_kind}
        rates = {"all kinds together": tried.found.win_rate, **rates}
        return (
            Report(
                "The loop, at a simulated support desk",
                f"{given:,} pieces of feedback of {len(counts) - 1} kinds went in. "
                f"{headline(tried.found)}, so it is served. A second policy, which learned from "
                "somebody who takes length for quality, was refused.",
                numbers={
                    "counts": counts,
                    "promoted": tried.found.to_dict(),
                    "refused": wrong.found.to_dict(),
                    "refusal": refusal,
                    "by kind": {
                        item.policy.label: item.found.win_rate.to_dict() for item in by_kind
                    },
                },
            )
            .with_section(
                "What went in",
                Text(
                    f"{counts['interaction']:,} requests, {REPLIES} replies each, shown in random "
                    f"order. Each was looked at by one of {len(PEOPLE)} simulated people, careful "
                    "and careless ones, who reacted in two of ten ways. A fifth of the requests "
                    "is held out: no feedback on them is learned from."
                ),
                Table(
                    ("feedback", "pieces"),
                    tuple((k, f"{n:,}") for k, n in counts.items() if k != "interaction"),
                    numbers=(1,),
                ),
            )
            .with_section(
                "Promoted: a policy that chooses the best of 16 drafts by what people said",
                *result_blocks(tried.found, self.plain),
            )
            .with_section("Its choice, beside simple rules", *choice_blocks(tried.found))
            .with_section(
                "What each kind of feedback is worth alone",
                Text(
                    "The same method, driven by one kind at a time. Kinds that cannot be seen as "
                    "comparisons of two replies do not drive it; other methods use them."
                ),
                Figure(
                    interval_plot(rates, reference=0.5),
                    "How often the policy beats the plain one, by true utility, on held-out "
                    "requests.",
                ),
                Table(
                    ("learned from", "wins"),
                    tuple((name, percent(rate)) for name, rate in rates.items()),
                    numbers=(1,),
                ),
            )
            .with_section(
                "Refused: a policy that learned from somebody who takes length for quality",
                *result_blocks(wrong.found, tried.policy),
            )
            .with_section(
                "Where the promoted policy comes from", *change_blocks(tried.policy, self.plain)
            )
            .with_section(
                "Replies, from the greatest gain to the greatest loss",
                *example_blocks(exhibits(tried.trial), tried.policy, self.plain),
            )
        )
