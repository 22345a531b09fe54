"""Claims about learning by words that go back through a program: TextGrad and OptoPrime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from backtalk.feedback.interaction import Prompt
from backtalk.learn import get_method
from backtalk.learn.context import MethodContext
from backtalk.learn.no_improvement import NoImprovement
from backtalk.learn.online.feedback_sources import InMemoryTrainingSet
from backtalk.learn.prompt.learning import learn_prompt
from backtalk.learn.prompt.proposers.opro import HistoryProposer
from backtalk.learn.prompt.protocol import Proposer
from backtalk.learn.prompt.search import SearchSettings
from backtalk.learn.prompt.signals import FeedbackSignal
from backtalk.learn.prompt.textgrad import Graph, Past, TextualGradientDescent, Variable
from backtalk.learn.prompt.writer import make_writer
from backtalk.models import Budget, Model, Request, Sampling
from backtalk.models.run_sync import run_sync
from backtalk.policy import Policy, load_policy
from backtalk.prompts import critique_prompt, refinement_prompt, reports_no_issues
from backtalk.run import Run
from backtalk.worlds.skills import VAGUE_CRITIQUES
from claims.claim import above, claim
from claims.learning import Trial, open_trial
from claims.prompts import PROMPTS, SEARCH, gain, hidden_rules

TASKS = 20
"""Number of programming tasks."""
STEPS = 2
"""Number of revisions of each program."""
CALLS = 400
"""Number of calls of a search, those of the writer and the confirmation included."""


@claim(
    system="TextGrad",
    paper="Yuksekgonul et al. (2024), TextGrad: automatic 'differentiation' via text, section 3",
    method="textgrad",
    world="programs",
    says="Programs that are revised by textual gradients, and a prompt that is revised by "
    "criticism of batches of its answers, get better.",
    expected=[
        above(
            "solutions",
            "share of programs that pass: TextGrad less zero-shot, by the model's own criticism",
            "LeetCode Hard: 0.26 to 0.36",
        ),
        above(
            "over_vague",
            "the same: TextGrad less as many revisions by criticism without content",
            "LeetCode Hard: 0.31 (Reflexion) to 0.36",
        ),
        above(
            "gain",
            "utility in lists: prompt by TextGrad less no prompt",
            "object counting: 0.78 to 0.92",
        ),
    ],
)
def textgrad(seed: int) -> Mapping[str, float]:
    """Revise programs by the model's own criticism, and a prompt by that of people."""
    with open_trial("programs", seed) as trial:
        prompts = trial.world.prompts("held-out", TASKS, seed=seed)
        drafts = [row[0] for row in trial.sample(trial.policy, prompts, 1, seed=seed)]
        model = load_policy(trial.policy, trial.store.artifacts, store=trial.store).model
        zero_shot = passing(trial, prompts, drafts)
        shares = {
            vague: passing(trial, prompts, run_sync(solve_all(model, prompts, drafts, vague=vague)))
            for vague in (False, True)
        }
    with open_trial("lists", seed) as trial:
        return {
            "solutions": shares[False] - zero_shot,
            "over_vague": shares[False] - shares[True],
            "gain": gain(trial, "textgrad", "critique", "edit"),
        }


def passing(trial: Trial, prompts: Sequence[Prompt], programs: Sequence[str]) -> float:
    """Return the share of programs that pass all tests.

    Parameters
    ----------
    trial : Trial
        Trial in the world of programs.
    prompts : sequence of Prompt
        Tasks.
    programs : sequence of str
        One program for each task.
    """
    results = zip(prompts, programs, strict=True)
    return float(np.mean([trial.world.score(*result).passed is True for result in results]))


async def solve_all(
    model: Model, prompts: Sequence[Prompt], drafts: Sequence[str], *, vague: bool
) -> list[str]:
    """Return the programs after the last revision.

    Parameters
    ----------
    model : Model
        Model that criticises and revises.
    prompts : sequence of Prompt
        Tasks.
    drafts : sequence of str
        First program of each task.
    vague : bool
        If true, criticism has no content.
    """
    results = zip(prompts, drafts, strict=True)
    return [await solve(model, prompt, draft, vague=vague) for prompt, draft in results]


async def solve(model: Model, prompt: Prompt, draft: str, *, vague: bool) -> str:
    """Descend textual gradients on one program, in the words that the small model knows.

    Parameters
    ----------
    model : Model
        Model that criticises and revises.
    prompt : Prompt
        Task.
    draft : str
        First program.
    vague : bool
        If true, criticism has no content.
    """

    def revision(parameter: Variable, past: Past) -> Prompt:  # noqa: ARG001 - without momentum
        return refinement_prompt(prompt, parameter.value, " ".join(parameter.gradients))

    sampling = Sampling(temperature=0.0, max_tokens=200)
    graph = Graph(model)
    program = Variable(draft, "program", trainable=True)
    optimiser = TextualGradientDescent([program], model, make_request=revision, sampling=sampling)
    for step in range(STEPS):
        request = Request(messages=critique_prompt(prompt, program.value), sampling=sampling)
        (reply,) = await model.generate([request])
        text = reply.text.strip()
        if reports_no_issues(text):
            break
        await graph.loss(program, VAGUE_CRITIQUES[step] if vague else text).backward()
        await optimiser.step()
    return program.value


@claim(
    system="Trace / OptoPrime (OPTO)",
    paper="Cheng, Nie and Swaminathan (2024), Trace is the next AutoDiff: generative optimization "
    "with rich feedback, execution traces, and LLMs, section 5",
    method="optoprime",
    world="lists",
    says="An optimiser that reads the trace with its feedback finds a better prompt than one that "
    "sees prompts and scores alone, with the same number of calls.",
    expected=[
        above(
            "over_scores",
            f"utility after at most {CALLS} calls: OptoPrime less a history of prompts and scores",
            "figure: above OPRO after equal numbers of steps",
        ),
        above("gain", "utility: OptoPrime less no prompt"),
    ],
)
def optoprime(seed: int) -> Mapping[str, float]:
    """Learn from critiques and edits of people who have two rules, with equal budgets.

    The small model reads the answers and the words of the trace, and finds rules in them; it reads
    no pseudo-program. Code as a parameter needs a model that writes Python, and is no part of this.
    """
    with open_trial("lists", seed) as trial:
        rules = hidden_rules(trial)
        feedback = trial.feedback(
            trial.sample_interactions(PROMPTS, 1), "critique", "edit", rules=tuple(rules)
        )
        policies = {
            "none": trial.policy,
            "optoprime": search_within(trial, feedback, "optoprime"),
            "scores": search_within(trial, feedback, "scores"),
        }
        utilities = {
            policy.id: trial.utility(policy, prompts=80, rules=rules)
            for policy in {policy.id: policy for policy in policies.values()}.values()
        }
    learned = utilities[policies["optoprime"].id]
    return {
        "over_scores": learned - utilities[policies["scores"].id],
        "gain": learned - utilities[policies["none"].id],
    }


def search_within(trial: Trial, feedback: InMemoryTrainingSet, name: str) -> Policy:
    """Return the policy that a search learns within the budget; the first one without a gain.

    Parameters
    ----------
    trial : Trial
        World, policy and store.
    feedback : InMemoryTrainingSet
        Feedback.
    name : {"optoprime", "scores"}
        Search.
    """
    options: dict[str, Any] = {**SEARCH, "candidates": 24}
    with Run(seed=trial.seed, budget=Budget(calls=CALLS)) as run:
        try:
            if name == "scores":
                return run_sync(learn_from_scores(trial.policy, feedback, run, **options))
            learn = get_method(name).learn
            return run_sync(learn(trial.policy, feedback, run, **options))
        except NoImprovement:
            return trial.policy


async def learn_from_scores(
    policy: Policy,
    feedback: InMemoryTrainingSet,
    run: Run,
    *,
    candidates: int,
    examples: int,
    confirmation: int,
) -> Policy:
    """Learn a prompt with a writer that reads prompts with their scores, and nothing else.

    Parameters
    ----------
    policy : Policy
        Policy to improve.
    feedback : InMemoryTrainingSet
        Feedback, for the scores.
    run : Run
        Seed and budget.
    candidates, examples, confirmation : int
        Settings of the search.
    """

    async def make_proposers(
        context: MethodContext,
        signal: FeedbackSignal,  # noqa: ARG001 - scores only
    ) -> Sequence[Proposer]:
        return [HistoryProposer(make_writer(context), directional=False)]

    return await learn_prompt(
        policy,
        feedback,
        run,
        make_proposers,
        method="scores",
        options={},
        settings=SearchSettings(candidates=candidates),
        examples=examples,
        confirmation=confirmation,
    )
