"""The whole loop in the mail world, where the truth is known.

Users ask for mails; a small language model drafts several; people react in every way there is. From
that a reward is learned, and a policy that chooses by it is evaluated on requests that nobody has
given feedback on. What is promoted, and what the gate refuses, is decided by the same functions
that the command line calls.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from backtalk.decode import Sample
from backtalk.evaluate.evaluate import AnswerSet, evaluate
from backtalk.evaluate.examples import examples
from backtalk.evaluate.result import Evaluation, headline
from backtalk.evaluate.storage import save_evaluation
from backtalk.feedback.views import Case
from backtalk.learn import TrainingSet, available_methods, find_method
from backtalk.models import Sampling, load_model
from backtalk.models.spec import NamedSpec
from backtalk.policy import Policy, load_policy, save_policy
from backtalk.promotion import GateRefused, promote
from backtalk.reports import save_exhibits
from backtalk.reports.plots import interval_plot
from backtalk.reports.policy_report import (
    change_blocks,
    choice_blocks,
    example_blocks,
    result_blocks,
)
from backtalk.reports.report import Figure, Report, Table, Text, percent
from backtalk.run import Progress, Run
from backtalk.store import Store
from backtalk.worlds import find_world
from backtalk.worlds.annotators import KINDS, Person
from backtalk.worlds.simulate import drafted
from backtalk.worlds.utility import TrueUtility

REQUESTS = 1_500
DRAFTS = 4
SAMPLES = 16
METHOD = "best-of-n"
WHO = "demo"

MAIL = find_world("mail")

THANKS = MAIL.rule("Say thank you in mails to my boss.")

PEOPLE = (
    Person("ada", temperature=0.02),
    Person("bo", temperature=0.04, position_bias=0.1),
    Person("chen", temperature=0.04, length_bias=0.05, rules=(THANKS,)),
    Person("dora", temperature=0.04, noise=0.2),
)
"""The people who react: careful and careless, one likes what stands first, one what is long."""

HASTY = Person("zed", temperature=0.02, length_bias=1.0)
"""Somebody who takes length for quality."""

AskedModel = Literal["small", "writer"]
"""The small language model of the mail world, or a grammar that writes such mails at once and needs
no ``backtalk[train]``."""


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
    trial: AnswerSet


def run_demo(
    folder: Path,
    *,
    seed: int = 0,
    requests: int = REQUESTS,
    model: AskedModel = "small",
    progress: Progress | None = None,
) -> Outcome:
    """Run the loop and write a report.

    Parameters
    ----------
    folder : Path
        Where the store ``mail.db`` and ``report.html`` go; those of an earlier run are replaced.
    seed : int, default 0
        Decides everything.
    requests : int, default REQUESTS
        How many requests users make. With far fewer the gate rightly finds nothing shown.
    model : AskedModel, default "small"
        What drafts the mails.
    progress : Progress, optional
        Told how far the work is.
    """
    location = _fresh(folder)
    with Store(location) as store, Run(seed=seed, progress=progress) as run:
        return asyncio.run(_Demo(store, run, folder, requests, model).play())


def _fresh(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("mail.db", "mail.db-wal", "mail.db-shm", "report.html", "report.json"):
        (folder / name).unlink(missing_ok=True)
    for name in ("mail.artifacts", "mail.runs"):
        shutil.rmtree(folder / name, ignore_errors=True)
    return folder / "mail.db"


class _Demo:
    """The demo, step by step."""

    def __init__(
        self, store: Store, run: Run, folder: Path, requests: int, model: AskedModel
    ) -> None:
        self.store = store
        self.requests = requests
        self.run = run
        self.folder = folder
        self.asked = MAIL.prompts("train", requests // 5 * 4, seed=run.seed)
        self.held_out = MAIL.prompts("held-out", requests // 5, seed=run.seed)
        sampling = Sampling(max_tokens=MAIL.max_tokens)
        self.plain = Policy(
            model=NamedSpec(name=model), decoder=Sample(sampling=sampling), name="plain"
        )

    async def play(self) -> Outcome:
        """Do it all."""
        await self._collect(self.store, PEOPLE)
        promote(self.store, self.plain, actor=WHO)
        chooser = await self._learn(self.store, "chooser")
        tried = await self._try(chooser)
        promote(self.store, chooser, tried.found, actor=WHO)

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
            store=self.folder / "mail.db",
            page=page,
            report=report,
            lines=(
                f"{given:,} pieces of feedback of {len(counts) - 1} kinds.",
                f"chooser against plain. {headline(tried.found)}. It is promoted.",
                f"long-winded against chooser. {headline(wrong.found)}. The gate refuses it.",
            ),
        )

    async def _collect(
        self, store: Store, people: Sequence[Person], kinds: Sequence[str] = KINDS
    ) -> None:
        """Let people react to drafts, each time in two ways."""
        interactions = await drafted(
            self.run.wrap(load_model(self.plain.model)),
            [*self.asked, *self.held_out],
            drafts=DRAFTS,
            sampling=self.plain.decoder.sampling,
            run=self.run,
            policy=self.plain.id,
            name=store.project,
        )
        rng = np.random.default_rng([self.run.seed, 1])
        with self.run.task(f"collecting feedback for {store.project}", len(interactions)) as step:

            def cases() -> Iterator[Case]:
                for done, interaction in enumerate(interactions, 1):
                    person = people[int(rng.integers(len(people)))]
                    ways = rng.choice(len(kinds), 2, replace=False)
                    said = [item for i in ways for item in person.give(kinds[i], interaction)]
                    step(done)
                    yield Case(interaction, tuple(said))

            store.add_cases(cases())

    async def _learn(self, store: Store, name: str, kinds: Sequence[str] | None = None) -> Policy:
        feedback = TrainingSet(store, kinds=kinds)
        learned = await find_method(METHOD).learn(self.plain, feedback, self.run, n=SAMPLES)
        named = learned.named(name)
        save_policy(store, named)
        return named

    async def _try(self, candidate: Policy, against: Policy | None = None) -> _Tried:
        """Evaluate a policy by the truth, on requests that nobody gave feedback on."""
        result, trial = await evaluate(
            load_policy(candidate, self.store.artifacts, wrap=self.run.wrap),
            load_policy(against or self.plain, self.store.artifacts, wrap=self.run.wrap),
            self.held_out,
            TrueUtility(),
            run=self.run,
            guards=[TrueUtility(aspect="safe")],
        )
        save_evaluation(self.store, result)
        save_exhibits(self.store, result, examples(trial))
        return _Tried(candidate, result, trial)

    def _refused(self, tried: _Tried) -> str:
        try:
            promote(self.store, tried.policy, tried.found, actor=WHO)
        except GateRefused as refusal:
            return refusal.what
        raise AssertionError("a policy that takes length for quality passed the gate")

    def _driving_kinds(self) -> list[str]:
        (method,) = [item for item in available_methods(self.store) if item.method.name == METHOD]
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
                "The loop, in the mail world",
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
                    f"{counts['interaction']:,} requests, {DRAFTS} drafts each, shown in random "
                    f"order. Each was looked at by one of {len(PEOPLE)} simulated people, careful "
                    f"and careless ones, who reacted in two of {len(KINDS)} ways. A fifth of the "
                    "requests is held out: no feedback on them is learned from."
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
                "Before and after: answers, from the greatest gain to the greatest loss",
                *example_blocks(examples(tried.trial), tried.policy, self.plain),
            )
        )
