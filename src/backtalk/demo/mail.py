"""Demo: the whole loop in the mail world, whose true utility is known.

Users ask for mails, a small language model drafts several, and simulated people give all kinds of
feedback. A reward is learned from it, and a policy that chooses by the reward is evaluated on
held-out requests. The functions are those of the command line, including the promotion gate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from backtalk.decode import Sample
from backtalk.demo.result import ACTOR, DemoResult, prepare_folder
from backtalk.evaluate.evaluate import AnswerSet, evaluate
from backtalk.evaluate.examples import select_examples
from backtalk.evaluate.measures import score_preferences
from backtalk.evaluate.result import Evaluation, headline
from backtalk.evaluate.storage import save_evaluation
from backtalk.feedback.case import Case
from backtalk.learn import TrainingSet, available_methods, get_method
from backtalk.models import Sampling, load_model
from backtalk.models.spec import NamedSpec
from backtalk.policy import Policy, load_policy, save_policy
from backtalk.promotion import GateRefused, promote
from backtalk.reports import save_examples
from backtalk.reports.before_after import (
    cost_blocks,
    example_blocks,
    split_examples,
    verdict_blocks,
)
from backtalk.reports.kinds import KindResult, kinds_blocks
from backtalk.reports.policy_report import change_blocks, choice_blocks, result_blocks
from backtalk.reports.report import Paragraph, Report, Table
from backtalk.run import Progress, Run
from backtalk.store import Store
from backtalk.worlds import get_world
from backtalk.worlds.annotators import FEEDBACK_KINDS, Person, give_feedback
from backtalk.worlds.simulate import simulate_interactions
from backtalk.worlds.utility import TrueUtility

REQUESTS = 1_500
NUM_DRAFTS = 4
NUM_SAMPLES = 16
METHOD = "best-of-n"

MAIL = get_world("mail")

THANKS = MAIL.get_rule("Say thank you in mails to my boss.")

PEOPLE = (
    Person("ada", temperature=0.02),
    Person("bo", temperature=0.04, position_bias=0.1),
    Person("chen", temperature=0.04, length_bias=0.05, rules=(THANKS,)),
    Person("dora", temperature=0.04, noise=0.2),
)
"""Annotators: one with little noise, one with position bias, one with length bias, one noisy."""

LENGTH_LOVER = Person("zed", temperature=0.02, length_bias=1.0)
"""Annotator with a strong length bias."""

DemoModel = Literal["small", "writer"]
"""Model of the demo: the small language model of the mail world, or the faster generator that it
was trained on, which does not need ``backtalk[train]``."""


@dataclass(frozen=True)
class _EvaluatedPolicy:
    policy: Policy
    evaluation: Evaluation
    answers: AnswerSet


def run_demo(
    folder: Path,
    *,
    seed: int = 0,
    requests: int = REQUESTS,
    model: DemoModel = "small",
    progress: Progress | None = None,
) -> DemoResult:
    """Run the loop and write a report.

    Parameters
    ----------
    folder : Path
        Folder of the store ``mail.db`` and of ``report.html``; those of an earlier run are
        replaced.
    seed : int, default 0
        Seed of the whole run.
    requests : int, default REQUESTS
        Number of user requests. With far fewer, the promotion gate finds no significant
        improvement.
    model : {"small", "writer"}, default "small"
        Model that drafts the mails.
    progress : Progress, optional
        Receiver of progress reports.

    Raises
    ------
    GateRefused
        If the improved policy is not shown to be better, as with too few requests.
    """
    location = prepare_folder(folder, "mail")
    with Store(location) as store, Run(seed=seed, progress=progress) as run:
        return asyncio.run(_Demo(store, run, folder, requests, model).run_all())


class _Demo:
    """Steps of the demo."""

    def __init__(
        self, store: Store, run: Run, folder: Path, requests: int, model: DemoModel
    ) -> None:
        self.store = store
        self.run = run
        self.folder = folder
        self.training_prompts = MAIL.prompts("train", requests // 5 * 4, seed=run.seed)
        self.held_out_prompts = MAIL.prompts("held-out", requests // 5, seed=run.seed)
        sampling = Sampling(max_tokens=MAIL.max_tokens)
        self.plain = Policy(
            model=NamedSpec(name=model), decoder=Sample(sampling=sampling), name="plain"
        )

    async def run_all(self) -> DemoResult:
        """Run all steps."""
        await self._collect(self.store, PEOPLE)
        promote(self.store, self.plain, actor=ACTOR)
        chooser = await self._learn(self.store, "chooser")
        improved = await self._evaluate(chooser)
        promote(self.store, chooser, improved.evaluation, actor=ACTOR)

        biased_store = self.store.in_project("length-lovers")
        await self._collect(
            biased_store, (LENGTH_LOVER,), kinds=("preference", "rating", "ranking")
        )
        longwinded = await self._learn(biased_store, "long-winded")
        save_policy(self.store, longwinded)
        refused = await self._evaluate(longwinded, against=chooser)
        refusal = self._refusal(refused)
        by_kind = [await self._by_kind(kind) for kind in self._usable_kinds()]
        report = self._report(improved, refused, refusal, by_kind)
        page, _ = report.write(self.folder / "report.html")
        counts = self.store.counts()
        total = sum(count for kind, count in counts.items() if kind != "interaction")
        return DemoResult(
            store=self.folder / "mail.db",
            page=page,
            report=report,
            lines=(
                f"{total:,} feedback records of {len(counts) - 1} kinds.",
                f"chooser against plain: {headline(improved.evaluation)}. It is promoted.",
                f"long-winded against chooser: {headline(refused.evaluation)}. It is refused.",
            ),
        )

    async def _collect(
        self, store: Store, people: Sequence[Person], kinds: Sequence[str] = FEEDBACK_KINDS
    ) -> None:
        """Add drafts, each with feedback of two kinds by a random annotator."""
        interactions = await simulate_interactions(
            self.run.wrap(load_model(self.plain.model)),
            [*self.training_prompts, *self.held_out_prompts],
            num_drafts=NUM_DRAFTS,
            sampling=self.plain.decoder.base_sampling,
            run=self.run,
            policy=self.plain.id,
            name=store.project,
        )
        rng = np.random.default_rng([self.run.seed, 1])
        with self.run.task(
            f"collecting feedback for {store.project}", len(interactions)
        ) as progress:

            def cases() -> Iterator[Case]:
                for done, interaction in enumerate(interactions, 1):
                    person = people[int(rng.integers(len(people)))]
                    indices = rng.choice(len(kinds), 2, replace=False)
                    feedback = [
                        item
                        for index in indices
                        for item in give_feedback(person, kinds[index], interaction)
                    ]
                    progress(done)
                    yield Case(interaction, tuple(feedback))

            store.add_cases(cases())

    async def _learn(self, store: Store, name: str, kinds: Sequence[str] | None = None) -> Policy:
        feedback = TrainingSet(store, kinds=kinds)
        policy = await get_method(METHOD).learn(self.plain, feedback, self.run, n=NUM_SAMPLES)
        policy = policy.named(name)
        save_policy(store, policy)
        return policy

    async def _evaluate(self, candidate: Policy, against: Policy | None = None) -> _EvaluatedPolicy:
        """Evaluate a policy by true utility on held-out requests."""
        evaluation, answers = await evaluate(
            load_policy(candidate, self.store.artifacts, store=self.store, wrap=self.run.wrap),
            load_policy(
                against or self.plain, self.store.artifacts, store=self.store, wrap=self.run.wrap
            ),
            self.held_out_prompts,
            TrueUtility(),
            run=self.run,
            guards=[TrueUtility(aspect="safe")],
        )
        save_evaluation(self.store, evaluation)
        save_examples(self.store, evaluation, select_examples(answers))
        return _EvaluatedPolicy(candidate, evaluation, answers)

    def _refusal(self, evaluated: _EvaluatedPolicy) -> str:
        try:
            promote(self.store, evaluated.policy, evaluated.evaluation, actor=ACTOR)
        except GateRefused as refusal:
            return refusal.what
        raise AssertionError("the gate accepted a policy trained on length-biased feedback")

    def _usable_kinds(self) -> list[str]:
        (method,) = [item for item in available_methods(self.store) if item.method.name == METHOD]
        return list(method.kinds)

    async def _by_kind(self, kind: str) -> _EvaluatedPolicy:
        return await self._evaluate(await self._learn(self.store, f"from-{kind}", kinds=[kind]))

    def _report(
        self,
        improved: _EvaluatedPolicy,
        refused: _EvaluatedPolicy,
        refusal: str,
        by_kind: Sequence[_EvaluatedPolicy],
    ) -> Report:
        counts = self.store.counts()
        total = sum(count for kind, count in counts.items() if kind != "interaction")
        examples = select_examples(improved.answers)
        first, rest = split_examples(examples)
        plain, chooser = self.plain, improved.policy
        return (
            Report(
                "The loop in the mail world",
                f"{headline(improved.evaluation)}. It learned from {total:,} feedback records of "
                f"{len(counts) - 1} kinds, and is promoted. A second policy, trained on the "
                "feedback of an annotator with a strong length bias, is refused.",
                numbers={
                    "counts": counts,
                    "promoted": improved.evaluation.to_dict(),
                    "refused": refused.evaluation.to_dict(),
                    "refusal": refusal,
                    "by kind": {
                        item.policy.label: item.evaluation.win_rate.to_dict() for item in by_kind
                    },
                },
            )
            .with_section(
                "Before and after: the largest gain, the middle and the largest loss",
                *verdict_blocks(improved.evaluation, plain),
                *example_blocks(first, chooser, plain),
            )
            .with_section(
                f"Promoted: best of {NUM_SAMPLES} samples by a reward learned from the feedback",
                *result_blocks(improved.evaluation),
            )
            .with_section("Cost of an answer", *cost_blocks(improved.evaluation))
            .with_section(
                "Its choices, compared with simple rules", *choice_blocks(improved.evaluation)
            )
            .with_section(
                "Feedback",
                Paragraph(
                    f"{counts['interaction']:,} requests with {NUM_DRAFTS} drafts each, in random "
                    f"order. One of {len(PEOPLE)} simulated annotators, who differ in noise and "
                    f"bias, gave feedback of two of {len(FEEDBACK_KINDS)} kinds on each. One fifth "
                    "of the requests is held out: their feedback is not used for learning."
                ),
                Table(
                    ("kind", "records"),
                    tuple((k, f"{n:,}") for k, n in counts.items() if k != "interaction"),
                    numbers=(1,),
                ),
            )
            .with_section(
                "Value of each kind of feedback alone",
                *kinds_blocks(_kind_result(improved), [_kind_result(item) for item in by_kind]),
            )
            .with_section(
                "Refused: a policy trained on the feedback of an annotator with a length bias",
                *verdict_blocks(refused.evaluation, chooser),
                *result_blocks(refused.evaluation),
            )
            .with_section("Changes of the promoted policy", *change_blocks(chooser, plain))
            .with_section("More answers", *example_blocks(rest, chooser, plain))
        )


def _kind_result(item: _EvaluatedPolicy) -> KindResult:
    pairs, accuracy = (
        item.policy.lineage.notes.get(name) for name in ("pairs", "cross-validated accuracy")
    )
    return KindResult(
        item.policy.label.removeprefix("from-"),
        item.evaluation.win_rate,
        score_preferences(item.answers.values[1], item.answers.values[0]),
        pairs=pairs if isinstance(pairs, int) else 0,
        accuracy=accuracy if isinstance(accuracy, float) else None,
    )
