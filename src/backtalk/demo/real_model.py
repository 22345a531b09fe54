"""Demo: the whole loop with a real language model, whose weights learn from preferences.

The model answers questions twice, simulated people prefer one of the answers by a rule that a
program can check, and the model's weights are trained on these preferences by direct preference
optimisation (DPO) with a low-rank adapter. The trained model is compared with the untrained one on
held-out questions by the same rule, and promoted if the gate accepts it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np

from backtalk.decode import Sample
from backtalk.demo.questions import BriefAnswers, NamesSubject, questions, worth
from backtalk.demo.result import ACTOR, DemoResult, prepare_folder
from backtalk.evaluate.evaluate import AnswerSet, evaluate
from backtalk.evaluate.examples import select_examples
from backtalk.evaluate.result import Evaluation, headline
from backtalk.evaluate.storage import save_evaluation
from backtalk.feedback import Annotator, Interaction, Preference
from backtalk.feedback.case import Case
from backtalk.learn import TrainingSet, get_method
from backtalk.models import Sampling, load_model
from backtalk.models.spec import LocalSpec
from backtalk.policy import Policy, load_policy, save_policy
from backtalk.promotion import GateRefused, promote
from backtalk.reports import save_examples
from backtalk.reports.before_after import (
    cost_blocks,
    example_blocks,
    split_examples,
    verdict_blocks,
)
from backtalk.reports.policy_report import (
    change_blocks,
    read_training,
    result_blocks,
    training_blocks,
)
from backtalk.reports.report import Paragraph, Report
from backtalk.run import Progress, Run
from backtalk.store import Store
from backtalk.worlds.simulate import simulate_interactions

REQUESTS = 120
NUM_DRAFTS = 2
MAX_TOKENS = 64
METHOD = "dpo"
OPTIONS = {"adapter": "lora", "batch_size": 4, "learning_rate": 1e-3}
"""Options of the training: few feedback records, so small batches and a high learning rate."""

PEOPLE = {"ada": 0.0, "bo": 0.05, "chen": 0.1}
"""Simulated people, each with the share of verdicts in which the person errs."""


def run_real_model_demo(
    folder: Path,
    *,
    model: str = "smollm2",
    seed: int = 0,
    requests: int = REQUESTS,
    max_tokens: int = MAX_TOKENS,
    progress: Progress | None = None,
) -> DemoResult:
    """Run the loop with a model on this machine, and write a report.

    Parameters
    ----------
    folder : Path
        Folder of the store ``questions.db`` and of ``report.html``; those of an earlier run are
        replaced.
    model : str, default "smollm2"
        Name of a fetched model, or folder of a model.
    seed : int, default 0
        Seed of the whole run.
    requests : int, default REQUESTS
        Number of questions; a third of them is held out. With far fewer, the promotion gate finds
        no significant improvement, and the report says so.
    max_tokens : int, default MAX_TOKENS
        Maximum number of tokens of an answer.
    progress : Progress, optional
        Receiver of progress reports.

    Raises
    ------
    NotFound
        If the model has not been fetched.
    MissingExtra
        If the packages for training are missing.
    """
    plain = Policy(
        model=LocalSpec(model=model),
        decoder=Sample(sampling=Sampling(max_tokens=max_tokens)),
        name="plain",
    )
    load_model(plain.model).identity  # noqa: B018 - loads it before anything is replaced
    location = prepare_folder(folder, "questions")
    with Store(location) as store, Run(seed=seed, progress=progress) as run:
        return asyncio.run(_RealModelDemo(store, run, folder, requests, plain).run_all())


class _RealModelDemo:
    """Steps of the demo."""

    def __init__(self, store: Store, run: Run, folder: Path, requests: int, plain: Policy) -> None:
        self.store = store
        self.run = run
        self.folder = folder
        self.plain = plain
        held_out = max(requests // 3, 1)
        self.training_prompts = questions("train", requests - held_out, seed=run.seed)
        self.held_out_prompts = questions("held-out", held_out, seed=run.seed)

    async def run_all(self) -> DemoResult:
        """Run all steps."""
        ties = await self._collect()
        promote(self.store, self.plain, actor=ACTOR)
        tuned = await get_method(METHOD).learn(
            self.plain, TrainingSet(self.store), self.run, **OPTIONS
        )
        tuned = tuned.named("tuned")
        save_policy(self.store, tuned)
        evaluation, answers = await evaluate(
            load_policy(tuned, self.store.artifacts, store=self.store, wrap=self.run.wrap),
            load_policy(self.plain, self.store.artifacts, store=self.store, wrap=self.run.wrap),
            self.held_out_prompts,
            BriefAnswers(),
            run=self.run,
            guards=[NamesSubject()],
        )
        save_evaluation(self.store, evaluation)
        save_examples(self.store, evaluation, select_examples(answers))
        refusal = self._promote(tuned, evaluation)
        report = self._report(tuned, evaluation, answers, refusal, ties)
        page, _ = report.write(self.folder / "report.html")
        verdict = "promoted" if refusal is None else "refused"
        lengths = _mean_words(answers)
        return DemoResult(
            store=self.folder / "questions.db",
            page=page,
            report=report,
            lines=(
                f"{self.store.counts()['preference']:,} preferences, {ties} of them ties.",
                f"tuned against plain: {headline(evaluation)}. It is {verdict}.",
                f"Words in an answer: {lengths[0]:.1f} before, {lengths[1]:.1f} after.",
            ),
        )

    @property
    def _model_name(self) -> str:
        assert isinstance(self.plain.model, LocalSpec)
        return Path(str(self.plain.model.model)).name

    async def _collect(self) -> int:
        """Add interactions with a preference each, and return the number of ties."""
        interactions = await simulate_interactions(
            self.run.wrap(load_model(self.plain.model)),
            self.training_prompts,
            num_drafts=NUM_DRAFTS,
            sampling=self.plain.decoder.base_sampling,
            run=self.run,
            policy=self.plain.id,
            name="questions",
        )
        rng = np.random.default_rng([self.run.seed, 1])
        preferences = [_judge(interaction, rng) for interaction in interactions]
        self.store.add_cases(map(_case, interactions, preferences))
        return sum(preference.verdict == "tie" for preference in preferences)

    def _promote(self, tuned: Policy, evaluation: Evaluation) -> str | None:
        """Promote the trained policy, or return the gate's reasons to refuse it."""
        try:
            promote(self.store, tuned, evaluation, actor=ACTOR)
        except GateRefused as refusal:
            return refusal.what
        return None

    def _report(
        self,
        tuned: Policy,
        evaluation: Evaluation,
        answers: AnswerSet,
        refusal: str | None,
        ties: int,
    ) -> Report:
        counts = self.store.counts()
        first, rest = split_examples(select_examples(answers))
        before, after = _mean_words(answers)
        verdict = "It is promoted." if refusal is None else "The gate refuses it."
        return (
            Report(
                f"The loop with {self._model_name}",
                f"{headline(evaluation)}. It learned from {counts['preference']:,} preferences. "
                f"{verdict} An answer has {before:.1f} words before and {after:.1f} after.",
                numbers={
                    "counts": counts,
                    "ties": ties,
                    "evaluation": evaluation.to_dict(),
                    "words": {"before": before, "after": after},
                    "refusal": refusal,
                },
            )
            .with_section(
                "Before and after: the largest gain, the middle and the largest loss",
                *verdict_blocks(evaluation, self.plain),
                *example_blocks(first, tuned, self.plain),
            )
            .with_section("Held-out questions", *result_blocks(evaluation))
            .with_section(
                "Feedback",
                Paragraph(
                    f"The model answered {counts['interaction']:,} questions twice, in at most "
                    f"{self.plain.decoder.base_sampling.max_tokens} tokens. One of {len(PEOPLE)} "
                    "simulated people preferred an answer: one that names the subject of the "
                    "question to one that does not, and then the one with fewer words; answers "
                    f"of equal worth are ties ({ties}). The people err in 0, 5 and 10 % of their "
                    "verdicts. The held-out questions are others, about the same subjects, and "
                    "are judged by the rule without errors. The rule is all that this shows: "
                    "whether the answers are true is not checked."
                ),
            )
            .with_section(
                "Training: DPO with a low-rank adapter",
                *training_blocks(read_training(self.store, tuned)),
            )
            .with_section("Cost of an answer", *cost_blocks(evaluation))
            .with_section("Changes of the policy", *change_blocks(tuned, self.plain))
            .with_section("More answers", *example_blocks(rest, tuned, self.plain))
        )


def _judge(interaction: Interaction, rng: np.random.Generator) -> Preference:
    """Return the preference of a random person between the two answers."""
    name = list(PEOPLE)[int(rng.integers(len(PEOPLE)))]
    errs = rng.random() < PEOPLE[name]
    question = interaction.prompt[-1].text
    a, b = (worth(question, response.text) for response in interaction.responses)
    return Preference(
        interaction=interaction.id,
        annotator=Annotator.simulated(name),
        a=interaction.responses[0].id,
        b=interaction.responses[1].id,
        verdict="tie" if a == b else "a" if (a > b) != errs else "b",
        time=interaction.time,
    )


def _case(interaction: Interaction, preference: Preference) -> Case:
    return Case(interaction, (preference,))


def _mean_words(answers: AnswerSet) -> tuple[float, float]:
    """Return the mean number of words of the answers before and after."""
    before, after = (
        float(np.mean([len(output.answer.text.split()) for output in outputs]))
        for outputs in answers.answers
    )
    return before, after
